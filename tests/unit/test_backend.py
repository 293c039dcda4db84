"""The loader: compiled where it imports, else the twin, and why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import litellm_accel
from litellm_accel import _backend, hot, settings

HERE = Path(litellm_accel.__file__).parent


def _run(code: str, **environment: str) -> str:
    import os

    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def test_the_environment_forces_the_twins() -> None:
    code = "import litellm_accel; print({b for b in litellm_accel.backend().values()})"
    assert _run(code, LITELLM_ACCEL_PURE="1") == "{Backend(kind='pure', reason='LITELLM_ACCEL_PURE is set')}"


@pytest.mark.skipif(settings.pure(), reason="this run is pure")
def test_compiled_modules_are_used_where_they_import() -> None:
    code = "import litellm_accel; print({b.kind for b in litellm_accel.backend().values()})"
    assert _run(code, LITELLM_ACCEL_PURE="0") == "{'compiled'}"


def test_a_broken_compiled_module_gives_way_to_its_twin() -> None:
    code = """
import sys, types
class Broken:
    def find_spec(self, name, path, target=None):
        if name == "litellm_accel._cy.gate":
            raise ImportError("undefined symbol: PyNothing")
sys.meta_path.insert(0, Broken())
import litellm_accel
chosen = litellm_accel.backend()["gate"]
print(chosen.kind, "|", chosen.reason)
"""
    printed = _run(code, LITELLM_ACCEL_PURE="0")
    assert printed == "pure | compiled module fails to import: ImportError: undefined symbol: PyNothing"


def test_a_missing_compiled_module_gives_way_to_its_twin() -> None:
    code = """
import sys
sys.modules["litellm_accel._cy.gate"] = None
import litellm_accel
print(litellm_accel.backend()["gate"])
"""
    printed = _run(code, LITELLM_ACCEL_PURE="0")
    assert printed == "Backend(kind='pure', reason='no compiled module is installed')"


def test_bad_settings_are_logged_once_and_the_default_holds() -> None:
    code = """
import logging
logging.basicConfig(format="%(message)s", stream=__import__("sys").stdout)
from litellm_accel import settings
settings.pure(); settings.pure(); settings.max_faults(); settings.max_faults()
print(settings.pure(), settings.max_faults())
"""
    printed = _run(code, LITELLM_ACCEL_PURE="perhaps").splitlines()
    assert printed[0].startswith("litellm-accel: LITELLM_ACCEL_PURE='perhaps' is neither 0 nor 1")
    assert printed[1:] == ["False 10"]
    printed = _run(code, LITELLM_ACCEL_PURE="", LITELLM_ACCEL_MAX_FAULTS="-3").splitlines()
    assert printed[0].startswith("litellm-accel: LITELLM_ACCEL_MAX_FAULTS='-3' is not a whole number of at least 1")
    assert printed[1:] == ["False 10"]


def test_good_settings_are_read_without_a_word() -> None:
    code = "from litellm_accel import settings; print(settings.pure(), settings.max_faults(), settings.problems())"
    assert _run(code, LITELLM_ACCEL_PURE="on", LITELLM_ACCEL_MAX_FAULTS="3") == "True 3 []"


def test_every_twin_has_a_compiled_source() -> None:
    twins = {path.stem for path in (HERE / "_py").glob("*.py")} - {"__init__"}
    compiled = {path.stem for path in (HERE / "_cy").glob("*.pyx")}
    assert twins == compiled


def test_the_door_leads_to_every_hot_module() -> None:
    assert hot.__all__ == _backend.hot_modules()
    assert all(getattr(hot, name) is _backend.load(name) for name in hot.__all__)


def test_the_door_leads_nowhere_else() -> None:
    with pytest.raises(AttributeError, match=r"module 'litellm_accel\.hot' has no attribute 'nothing'"):
        hot.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_hot_modules_are_loaded_when_they_are_asked_for() -> None:
    code = """
import sys
def loaded():
    return sorted(name[18:] for name in sys.modules if name.startswith(("litellm_accel._cy.", "litellm_accel._py.")))
import litellm_accel.hot
before = loaded()
from litellm_accel.hot import gate
print(before, loaded(), gate is litellm_accel._backend.load("gate"))
"""
    assert _run(code, LITELLM_ACCEL_PURE="1") == "[] ['gate'] True"
