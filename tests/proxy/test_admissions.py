"""What is remembered of LiteLLM's authentication comes to what LiteLLM comes to. Run by ``-m slow``."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from proxy import gateways
from proxy.admitting import KEY, ROWS

pytestmark = pytest.mark.slow
_CONFIG = f"""
model_list:
  - model_name: gpt
    litellm_params: {{model: openai/gpt-4o-mini, api_base: 'http://127.0.0.1:9', api_key: sk-up, mock_response: hello}}
  - model_name: grouped
    litellm_params: {{model: openai/gpt-4o-mini, api_base: 'http://127.0.0.1:9', api_key: sk-up}}
    model_info: {{access_groups: [some]}}
router_settings: {{model_group_alias: {{alias: gpt}}}}
general_settings:
  master_key: {KEY}
"""


def test_the_same(tmp_path: Path) -> None:
    if problem := gateways.missing():
        pytest.skip(problem)
    (tmp_path / "config.yaml").write_text(_CONFIG)
    script = Path(__file__).with_name("admitting.py")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LITELLM", "PYTHON"))}
    more = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONPATH": str(gateways.ROOT)}
    ran = subprocess.run(
        [gateways.PYTHON, str(script), str(tmp_path / "config.yaml")],
        **{"env": {**environment, **more}, "capture_output": True, "text": True, "timeout": 120, "cwd": tmp_path},
    )
    lines = [line for line in ran.stdout.splitlines() if line.startswith("found ")]
    assert lines, ran.stderr[-2000:]
    found = json.loads(lines[0].partition(" ")[2])
    if not found["known"]:
        pytest.skip("an authentication that is left to LiteLLM")
    assert not found["differ"]
    assert not found["faults"]
    assert found["seen"] < 80
    served = found["served"]
    # A request is served from the third of its kind on; one that is served precedes each change.
    assert {name: served.pop(name) for name in ROWS} == {name: 2 * row[2] for name, row in ROWS.items()}
    assert served.pop("the application") == 2
    assert served
    assert set(served.values()) == {1}
