"""The commands with LiteLLM: programs run accelerated give stock's results, and the reports tell it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import litellm_accel
from forked import Imported

ROOT = Path(litellm_accel.__file__).parents[1]
COUNT = """\
import sys
from litellm import token_counter
print(token_counter(model="gpt-4o", text="A text to be counted, naïve and 日本語."), sys.argv)
"""
SERVED = COUNT + "import litellm_accel; print(litellm_accel.status()['tokens'].served, file=sys.stderr)\n"
STATUS = """\
from litellm_accel.cli import commands
commands.main(["status", "--json"], standalone_mode=False)
commands.main(["status"])
"""


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return python("-c", "from litellm_accel.cli import main; main()", *arguments, **environment)


def test_a_program_counts_accelerated_what_it_counts_in_stock(tmp_path: Path) -> None:
    script = tmp_path / "app.py"
    script.write_text(SERVED)
    plain = python(str(script), "--x")
    ran = command("run", str(script), "--x")
    assert ran.returncode == plain.returncode == 0, ran.stderr
    assert ran.stdout == plain.stdout
    assert ran.stderr.splitlines()[-1] == "1"
    assert plain.stderr.splitlines()[-1] == "0"


def test_the_console_script_of_litellm_runs() -> None:
    script = str(Path(sysconfig.get_path("scripts"), "litellm"))
    ran, plain = command("run", "litellm", "--help"), python(script, "--help")
    assert ran.returncode == plain.returncode == 0, ran.stderr
    assert "--config" in plain.stdout
    assert ran.stdout == plain.stdout


def test_status_tells_what_is_active(imported: Imported) -> None:
    ran = imported.run(STATUS)
    told, end = json.JSONDecoder().raw_decode(ran.stdout)
    assert told["litellm"] == litellm_accel.status().litellm
    assert {component["name"]: component["state"] for component in told["components"]}["tokens"] == "active"
    table = ran.stdout[end:]
    assert "tokens" in table and "active" in table


def test_doctor_finds_what_was_switched_off() -> None:
    ill = command("doctor", LITELLM_ACCEL_PURE="1")
    assert ill.returncode == 1
    assert all("runs in pure Python: LITELLM_ACCEL_PURE is set" in line for line in ill.stdout.splitlines()), ill.stdout
    assert ill.stdout
