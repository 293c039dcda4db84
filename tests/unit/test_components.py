"""What components have in common, without LiteLLM."""

from __future__ import annotations

from typing import Any

import pytest

from litellm_accel.components.base import Unavailable, with_parameters_of


def fast(first: Any, second: Any) -> tuple[Any, ...]:
    return first, second


def fitted(stock: Any) -> Any:
    return with_parameters_of(stock, fast, lambda name: f"declined {name}")


def test_the_same_parameters_cost_nothing():
    assert fitted(lambda first, second=2: None) is fast


def test_parameters_that_a_release_has_added_must_hold_their_defaults():
    call = fitted(lambda first, added="as ever", second=2: None)
    assert call(1, "as ever", 3) == (1, 3)
    assert call(1, "another", 3) == "declined added"


def test_parameters_that_a_release_lacks_are_none():
    assert fitted(lambda first: None)(1) == (1, None)


@pytest.mark.parametrize("stock", [lambda first, second, required: None, lambda *args: None, lambda **kwargs: None])
def test_parameters_that_cannot_be_understood(stock: Any):
    with pytest.raises(Unavailable):
        fitted(stock)
