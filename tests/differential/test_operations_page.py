"""The rollout that ``docs/operations.md`` describes, done as it is written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from litellm_accel import cli
from litellm_accel.provider import Provider

PAGE = Path(cli.__file__).parents[1] / "docs" / "operations.md"


@pytest.mark.slow
def test_a_rollout_from_5_to_100_percent_goes_as_it_is_written(provider: Provider, tmp_path: Path) -> None:
    section = re.search(r"## From 5 % to 100 %\n(.*?)\n## ", PAGE.read_text("utf-8"), re.S)
    assert section is not None
    (program,) = re.findall(r"```python\n(.*?)```", section[1], re.S)
    (tmp_path / "app.py").write_text(program)
    steps = [re.sub(r"(?m)^   ", "", step) for step in re.findall(r"   ```sh\n(.*?)   ```", section[1], re.S)]
    assert len(steps) == 5
    script = "set -e\ntrap 'kill $(jobs -p)' EXIT\n"
    script += "".join(f"echo '=== {number}'\n{step}" for number, step in enumerate(steps, 1))
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(PAGE.parents[1]),
            "OPENAI_API_KEY": "sk-1",
            "OPENAI_BASE_URL": provider.url,
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = dict(zip(range(1, 6), done.stdout.split("=== ")[1:], strict=True))
    assert "rollout 5 %" in told[2] and "rollout 25 %" in told[3]
    assert "canary: done at" in told[4] and "100 %" in told[4], told[4]
    assert "chat: rollout 25 %, was rollout 5 %" in done.stderr
    assert "chat: on, was canary: done at 100 %" in done.stderr
