"""What stands at a plan's place: who is recorded, who is compared, and when a plan serves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.plans.slot import FOREVER, PlanSlot, State


def made(epoch: int = 7, expires: float = 5.0) -> Any:
    return SimpleNamespace(epoch=epoch, expires=expires)


def test_one_call_is_recorded_at_a_time() -> None:
    slot = PlanSlot(7)
    assert slot.state is State.RECORDING
    assert not slot.record_too(False)
    assert slot.recorded() == 0


def test_two_calls_are_recorded_where_callbacks_are_told() -> None:
    slot = PlanSlot(7)
    assert slot.record_too(True)
    assert slot.is_paired
    assert not slot.record_too(True)
    assert [slot.recorded(), slot.recorded()] == [1, 0]


def test_no_other_is_recorded_after_a_call_that_has_shown_something() -> None:
    assert not PlanSlot(7, observed="something").record_too(True)
    assert not PlanSlot(7, serving=PlanSlot.holding(made())).record_too(True)


def test_a_plan_without_missing_calls_is_ready() -> None:
    plan = made()
    slot = PlanSlot.holding(plan)
    assert (slot.state, slot.plan, slot.made) == (State.READY, plan, plan)
    assert (slot.epoch, slot.plan.expires) == (7, 5.0)


def test_a_routers_plan_holds_the_plan() -> None:
    plan = made()
    routed = SimpleNamespace(plan=plan)
    slot = PlanSlot.holding(routed)
    assert (slot.plan, slot.made) == (plan, routed)


def test_calls_with_different_messages_make_a_plan_ready() -> None:
    slot = PlanSlot.holding(made(), 2)
    assert slot.state is State.PROVING
    assert slot.begin_comparison(b"one")
    assert not slot.begin_comparison(b"one")  # it is being compared
    assert not slot.end_comparison(b"one", True)
    assert slot.missing == 1
    assert slot.begin_comparison(b"two")
    assert not slot.wants(b"three")  # one is missing, and one is being compared
    assert slot.end_comparison(b"two", True)
    assert slot.state is State.READY


def test_calls_with_the_same_messages_make_it_serve_those() -> None:
    slot = PlanSlot.holding(made(), 3)
    for _ in range(3):
        assert not slot.has_shown(b"one")
        assert slot.begin_comparison(b"one")
        assert not slot.end_comparison(b"one", True)
    assert slot.has_shown(b"one") and not slot.wants(b"one")
    assert slot.wants(b"two") and not slot.has_shown(b"two")
    assert slot.missing == 2


def test_repeated_messages_are_counted_within_bounds() -> None:
    slot = PlanSlot.holding(made(), 100)
    for number in range(100):
        assert slot.begin_comparison(b"%d" % number)
        slot.end_comparison(b"%d" % number, True)
    assert len(slot._shown) == 16


def test_a_call_that_shows_nothing_does_not_count() -> None:
    slot = PlanSlot.holding(made(), 1)
    assert slot.begin_comparison(b"one")
    assert not slot.end_comparison(b"one", False)
    assert slot.state is State.PROVING
    assert slot.begin_comparison(b"one")


def test_what_has_agreed_earlier_shows_nothing_new() -> None:
    earlier = PlanSlot.holding(made(), 3)
    earlier.begin_comparison(b"one")
    earlier.end_comparison(b"one", True)
    slot = PlanSlot.holding(made(), earlier.missing, earlier)
    assert slot.missing == 2
    assert slot.begin_comparison(b"one")
    assert not slot.end_comparison(b"one", True)
    assert slot.missing == 2
    assert slot.wants(b"two")


def test_a_plan_that_is_proven_while_another_call_is_recorded_serves() -> None:
    serving = PlanSlot.holding(made(), 1)
    recording = PlanSlot(7, serving=serving)
    serving.begin_comparison(b"one")
    assert serving.end_comparison(b"one", True)
    assert recording.serving is serving
    assert serving.state is State.READY


def test_a_refused_slot_says_why_and_for_how_long() -> None:
    slot = PlanSlot.refused(7, decline.FAILS_UNSENT, 9.0)
    assert (slot.state, slot.reason, slot.expires) == (State.REFUSED, decline.FAILS_UNSENT, 9.0)
    begun = PlanSlot(7)
    begun.refuse()
    assert begun.state is State.REFUSED
    assert str(begun.reason) == str(decline.REFUSED.of(decline.LEARNING_FAILED))
    assert begun.expires == FOREVER
