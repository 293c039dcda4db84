"""What is remembered of authentication with virtual keys comes to what LiteLLM comes to. Run by ``-m slow``."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from proxy import gateways
from proxy.admitting import KEY
from proxy.keying import ADMINISTERED, KINDS

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
  store_model_in_db: true
  master_key: {KEY}
"""
# Changes after which LiteLLM comes to the same.
_SAME = {"a cached key that is equal", "budgets of groups", "a budget of the proxy"}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    if problem := gateways.missing("litellm_proxy_extras") or gateways.database_is_missing():
        pytest.skip(problem)
    folder = tmp_path_factory.mktemp("keys")
    (folder / "config.yaml").write_text(_CONFIG)
    script = Path(__file__).with_name("keying.py")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LITELLM", "PYTHON"))}
    with gateways.database(folder / "database") as database:
        environment = database.fresh("virtual-keys")
        path = os.pathsep.join((str(gateways.ROOT), environment["PYTHONPATH"]))
        more = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONPATH": path}
        ran = subprocess.run(
            [gateways.PYTHON, str(script), str(folder / "config.yaml")],
            **{"env": {**inherited, **environment, **more}, "capture_output": True, "text": True},
            **{"timeout": 240, "cwd": folder},
        )
        database.drop("virtual-keys")
    lines = [line for line in ran.stdout.splitlines() if line.startswith("found ")]
    assert lines, ran.stderr[-4000:]
    told = json.loads(lines[0].partition(" ")[2])
    if not told["known"]:
        pytest.skip("an authentication that is left to LiteLLM")
    assert not told["fault"]
    return told


def test_every_kind_of_key_comes_to_the_same(found: Any) -> None:
    assert {name: found["differ"].get(name) for name in KINDS} == dict.fromkeys(KINDS)
    assert {name: found["served"][name] for name in KINDS} == {name: 2 * row[2] for name, row in KINDS.items()}
    reasons = {reason.removeprefix("authentication: ") for reason in found["reasons"]}
    assert reasons >= {"the key's rpm_limit", "the key's blocked", "the key's metadata", "tags", "an end user"}


def test_what_an_administrator_changes_is_heeded_at_the_next_request(found: Any) -> None:
    names = [f"administered: {name}" for name in (*ADMINISTERED, "over")]
    assert {name: found["differ"].get(name) for name in names} == dict.fromkeys(names)
    assert {name: (found["served"][name], found["changed"][name]) for name in names} == dict.fromkeys(names, (2, True))
    assert found["served"]["administered: unblocked"] == 1  # LiteLLM reads it anew, then two are watched


def test_everything_else_that_changes_is_heeded_at_the_next_request(found: Any) -> None:
    others = {name for name in found["changed"] if not name.startswith("administered")}
    assert {name: found["differ"].get(name) for name in others} == dict.fromkeys(others)
    assert {name for name in others if not found["changed"][name]} == _SAME < others
    assert all(found["served"][name] for name in others)


def test_settings_that_are_read_from_the_database_again_are_no_changes(found: Any) -> None:
    assert found["reloads"] == {"looks": 0, "served": [4], "reason": None}
    assert found["changed"]["another setting in the database"]
    assert found["served"]["no such setting any more"] == 2
