"""What kinds of one family show for each other."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from litellm_accel.fastpath.plans.families import Family, Relatives
from litellm_accel.fastpath.plans.slot import PlanSlot, State

NONE: frozenset[Any] = frozenset()


def plan(model: str = "one", temperature: float = 0.5, **other: Any) -> Any:
    """A plan, of which some things are ``other`` than in most."""
    body = json.dumps({"model": model, "temperature": temperature, "n": other.get("n", 1)})
    headers = [(b"Authorization", model.encode()), (b"X-Odd", other.get("odd", b"1"))]
    return SimpleNamespace(
        epoch=1,
        log=other.get("log"),
        hidden=[("litellm_model_name", "constant", model), ("api_base", "constant", other.get("base"))],
        request={"url": other.get("url"), "timeout": 9, "head": object(), "headers": SimpleNamespace(fixed=headers)},
        prefix=b'{"messages":',
        suffix=b"," + body[1:].encode(),
        free={"temperature": b"%g" % temperature},
        spelled=lambda value: value,
        conversion=None,
        content_type="application/json",
        **dict.fromkeys(("spaced", "kinds", "sums", "tells_headers"), False),
    )


def agreeing(*plans: Any, relatives: Relatives | None = None, is_foretold: bool = True) -> Family:
    family = Family(3, relatives)
    for mark, one in enumerate(plans):
        family.note(one, NONE, mark, is_foretold=is_foretold and mark > 0)
    return family


def test_recorded_calls_count_but_one_must_be_compared() -> None:
    family = agreeing(*(plan(str(number), number + 0.5) for number in range(4)))
    assert family.evidence.missing == 1
    family.evidence.agree(9)
    assert family.is_proven


def test_one_comparison_is_enough_for_relatives() -> None:
    relatives = Relatives()
    agreeing(plan(), relatives=relatives).evidence.agree(9)
    assert agreeing(*map(plan, "abcd"), relatives=relatives).is_proven


@pytest.mark.parametrize(
    "other",
    [{"n": 2}, {"odd": b"2"}, {"log": "something"}, {"base": "b"}, {"url": "u"}],
)
def test_a_request_that_differs_in_more_than_its_own_shows_nothing(other: dict[str, Any]) -> None:
    family = agreeing(plan(), plan("two", **other))
    assert family.evidence.missing == 3


def test_equal_messages_and_answers_that_nothing_has_foretold_show_nothing() -> None:
    family = agreeing(plan(), plan("two"), is_foretold=False)
    family.note(plan("three"), NONE, 0, is_foretold=True)
    assert family.evidence.missing == 3


def test_functions_that_only_one_kind_runs_keep_it_apart() -> None:
    first, odd, general = object(), object(), object()
    relatives = Relatives()
    family, other = Family(3, relatives), Family(3, relatives)
    family.note(plan(), frozenset((first,)), 0, is_foretold=False)  # type: ignore[arg-type]
    family.observe(frozenset((odd, general)))  # type: ignore[arg-type]
    other.observe(frozenset((general,)))  # type: ignore[arg-type]
    assert family.admits(frozenset((first, general)))  # type: ignore[arg-type]
    assert not family.admits(frozenset((first, odd)))  # type: ignore[arg-type]


def test_one_difference_ends_what_is_shared() -> None:
    family = agreeing(*map(plan, "abcd"))
    family.evidence.agree(9)
    slot = PlanSlot.holding(plan(), shared=family.evidence)
    family.join(slot)
    assert slot.state is State.READY
    family.spoil()
    assert (slot.state, slot.missing) == (State.PROVING, 3)
    assert not family.admits(NONE)
