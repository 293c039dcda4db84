"""A proxy that is changed while component ``proxy`` serves it answers as stock from the next request on."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from proxy.gateways import PYTHON, ROOT, missing

pytestmark = pytest.mark.slow

_CHANGES = [
    "another master key",
    "a setting",
    "a hook",
    "no such model",
    "another route",
    "another authentication",
    "a middleware",
    "an exception handler",
    "another check of routes",
]


@pytest.fixture(scope="module")
def found() -> Any:
    if problem := missing():
        pytest.skip(problem)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LITELLM", "PYTHON"))}
    environment |= {"PYTHONPATH": str(ROOT), "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}
    script = Path(__file__).with_name("changes.py")
    ran = subprocess.run([PYTHON, str(script)], env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-4000:]
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", _CHANGES)
def test_what_changes_is_heeded_at_once(found: Any, name: str) -> None:
    case = found[name]
    assert case["served"] > 0
    assert case["before"][0] == 200
    assert case["accelerated"] == case["stock"]
    assert case["stock"][0] != case["before"]


def test_all_changes_are_looked_at(found: Any) -> None:
    assert list(found) == _CHANGES
