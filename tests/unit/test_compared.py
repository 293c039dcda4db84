"""Functions without side effects that are compared before they serve."""

from __future__ import annotations

from typing import Any

import pytest

from litellm_accel.components.compared import compared
from litellm_accel.fastpath.plans.proof import Proof
from litellm_accel.hot import gate


def stock(text: str) -> int:
    return len(text) + ("\n" in text)


def fast(text: str) -> Any:
    return gate.DECLINED if text == "odd" else len(text)


@pytest.fixture
def proof() -> Proof:
    made = Proof(gate.Gate("tokens"))
    made.gate.switch(True)
    made.is_strange = True
    return made


def test_of_a_known_release_nothing_is_compared() -> None:
    assert compared(Proof(gate.Gate("tokens")), fast, stock) is fast


def test_a_new_outline_is_compared_and_then_served(proof: Proof) -> None:
    call = compared(proof, fast, stock)
    assert call("what") is gate.DECLINED
    assert call("when") == 4
    assert call("what " * 20) is gate.DECLINED
    assert call("when " * 20) == 100
    assert proof.gate.declined == {"being proven": 2}


def test_what_declines_is_not_compared(proof: Proof) -> None:
    assert compared(proof, fast, stock)("odd") is gate.DECLINED
    assert proof.gate.declined == {}


def test_one_difference_leaves_the_function_to_stock(proof: Proof) -> None:
    call = compared(proof, fast, stock)
    call("what")
    assert call("w\nat") is gate.DECLINED
    assert call("when") is gate.DECLINED
    assert proof.gate.declined == {"being proven": 1, "differs from stock: what stock returns": 2}


def test_stocks_own_error_is_the_callers(proof: Proof) -> None:
    def failing(text: str) -> int:
        raise ValueError(text)

    with pytest.raises(ValueError, match="what"):
        compared(proof, fast, failing)("what")
