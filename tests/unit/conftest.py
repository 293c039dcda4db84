"""Fixtures that put made-up components in the place of the real ones."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from litellm_accel import activation, components
from made_up import SOURCE, Part, Register


@pytest.fixture
def victim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "__init__.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("victim")
    sys.modules.pop("victim", None)


@pytest.fixture
def register(victim: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[Register]:
    def use(*parts: Part) -> None:
        known = {part.name: part for part in parts}
        monkeypatch.setattr(components, "NAMES", tuple(known))
        monkeypatch.setattr(components, "get", known.__getitem__)

    monkeypatch.setattr(activation, "_activations", {})
    monkeypatch.setattr(activation, "_control", None)
    monkeypatch.setattr(activation, "_HOST", "victim")
    monkeypatch.setattr(activation, "_watches", {"victim": activation._watch_for("victim")})
    yield use
    activation.restore()
