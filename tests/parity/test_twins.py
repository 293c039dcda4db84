"""Every compiled module and its twin have the same public names, signatures and docstrings."""

from __future__ import annotations

import importlib
import inspect
from types import ModuleType
from typing import Any

import pytest

from litellm_accel import _backend, settings

pytestmark = pytest.mark.skipif(settings.pure(), reason="this run is pure")


def _pair(name: str) -> tuple[ModuleType, ModuleType]:
    return importlib.import_module(f"litellm_accel._cy.{name}"), importlib.import_module(f"litellm_accel._py.{name}")


def _public(thing: Any) -> dict[str, Any]:
    return {name: getattr(thing, name) for name in dir(thing) if not name.startswith("_")}


def _signature(thing: Any) -> list[tuple[str, Any, Any]] | None:
    try:
        parameters = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):
        return None
    return [(parameter.name, parameter.kind, parameter.default) for parameter in parameters]


@pytest.mark.parametrize("name", _backend.hot_modules())
def test_compiled_and_pure_agree_on_the_public_face(name: str) -> None:
    compiled, pure = _pair(name)
    assert sorted(compiled.__all__) == sorted(pure.__all__)
    assert compiled.__doc__ == pure.__doc__
    for public in compiled.__all__:
        theirs, ours = getattr(compiled, public), getattr(pure, public)
        assert type(theirs).__name__ == type(ours).__name__ or callable(theirs) == callable(ours), public
        if not inspect.isclass(ours):
            if callable(ours):
                assert _signature(theirs) == _signature(ours), public
                assert inspect.getdoc(theirs) == inspect.getdoc(ours), public
            continue
        assert inspect.getdoc(theirs) == inspect.getdoc(ours), public
        assert sorted(_public(theirs)) == sorted(_public(ours)), public
        for method in _public(ours):
            if inspect.isfunction(getattr(ours, method)):
                assert _signature(getattr(theirs, method)) == _signature(getattr(ours, method)), f"{public}.{method}"
                assert inspect.getdoc(getattr(theirs, method)) == inspect.getdoc(getattr(ours, method)), method
