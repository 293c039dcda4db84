"""mypy sees every part of the package, from a checkout as from an editable install."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HELPERS = ("benchmarks", "tests", "tests/programs", "tools")

# A wrong value, and a wrong argument for a hot module, which is what the types of the door are for.
PLANTED = """
planted: int = "no"
from litellm_accel import hot as planted_hot
planted_hot.gate.Gate(name=planted)
"""


def _copied(to: Path) -> None:
    """Copy all that mypy is to check."""
    shutil.copy(ROOT / "pyproject.toml", to)
    shutil.copytree(ROOT / "litellm_accel", to / "litellm_accel", ignore=shutil.ignore_patterns("*.c", "*.so"))
    for folder in HELPERS:
        (to / folder).mkdir()
        for module in (ROOT / folder).glob("*.py"):
            shutil.copy(module, to / folder)


def _planted(root: Path) -> set[str]:
    """Plant two errors in one module of each folder, in an ``__init__`` where there is no other; return which."""
    planted = set()
    for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
        modules = sorted(folder.glob("*.py"), key=lambda path: (path.name.startswith("_"), path.name))
        if modules:
            modules[0].write_text(modules[0].read_text(encoding="utf-8") + PLANTED, encoding="utf-8")
            planted.add(modules[0].relative_to(root).as_posix())
    return planted


def test_an_error_in_any_part_is_found(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    root = tmp_path / "checkout"
    root.mkdir()
    _copied(root)
    planted = _planted(root)
    assert {Path(module).parts[:2] for module in planted} >= {("litellm_accel", "_py"), ("litellm_accel", "_cy")}
    # An editable install puts the checkout on Python's path; mypy is silent there, but for what it is told to check.
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", tmp_path / "cache", "--no-error-summary"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert not ran.stderr and ran.returncode == 1
    found = re.findall(r"^(.+?):\d+: error: .+\[([a-z-]+)\]$", ran.stdout, re.MULTILINE)
    assert sorted(found) == sorted((module, code) for module in planted for code in ("arg-type", "assignment"))
