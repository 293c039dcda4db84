"""What answers in the place of a function of the proxy's, made for a test that counts what that function is asked."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from litellm_accel import hot, patching


def made(module: ModuleType, kind: str, door: str, switched: bool = True) -> tuple[Callable[..., Any], Any, list[Any]]:
    """Return what is tested, LiteLLM's function, and a list of what that is asked meanwhile."""
    try:
        stock = patching.stock_copy(patching.resolve(module.TARGET))
    except patching.PatchError:
        pytest.skip("a release without it, or without a proxy")
    if not module.is_known(stock):
        pytest.skip("a release in which it is another")
    gate = hot.gate.Gate("proxy")
    gate.switch(switched)
    asked: list[Any] = []

    def asking(*given: Any) -> Any:
        asked.append(given)
        return stock(*given)

    answering = getattr(module, kind)(gate, stock)
    answering._stock = asking
    return getattr(answering, door), stock, asked
