"""Fixtures of the tests that compare the fast path with stock LiteLLM."""

from __future__ import annotations

from collections.abc import Iterator

import litellm
import pytest

from fastpath_switch import Switch, without_callbacks


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """LiteLLM tells nobody of the test's calls, and prints no help."""
    monkeypatch.setattr(litellm, "suppress_debug_info", True)
    with without_callbacks():
        yield


@pytest.fixture
def switch(quiet: None) -> Switch:
    """The fast path, with a record and connections of its own."""
    return Switch()
