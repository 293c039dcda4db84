"""Modes ``canary`` and ``shadow``: what they decide, with turned clocks and made-up calls."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

import litellm_accel
from litellm_accel import hot
from litellm_accel.components.beside import Computed
from litellm_accel.operation import canary, shadow
from litellm_accel.operation.canary import Canary, chance
from litellm_accel.operation.schema import ComponentSettings
from litellm_accel.operation.ticker import TICKER
from made_up import Part, Register


class Traffic:
    """A component in a canary, whose two sides answer as they are told to."""

    def __init__(self, **settings: Any) -> None:
        self.now = 0.0
        self.gate = hot.gate.Gate("one", 10, 60, 300, lambda: self.now)
        self.gate.switch(True)
        self.mode = Canary("one", self.gate, ComponentSettings(mode="canary", **settings), lambda: self.now)
        self.random = random.Random(7)
        self.mode.enter()
        TICKER.stop("canary one")

    def calls(self, count: int, failing: tuple[float, float] = (0, 0), slow: tuple[float, float] = (0, 0)) -> None:
        """Make calls; of each side, ours and stock's, that share fails or is slow."""
        for _ in range(count):
            side = 0 if self.gate.admits((), {}) else 2
            errs, lags = (failing[0], slow[0]) if side == 0 else (failing[1], slow[1])
            taken = self.random.randrange(900, 1000) * (3 if self.random.random() < lags else 1) * 1000
            self.gate.record(side, None, taken, self.random.random() < errs, -1)

    def minutes(self, count: float) -> None:
        """Let time pass, looking as the timer does."""
        for _ in range(round(count * 60)):
            self.now += 1
            self.mode.look()


def test_the_chance_is_that_of_the_binomial_distribution() -> None:
    assert chance(3, 3, 0.5) == pytest.approx(0.125)
    assert chance(9, 10, 0.5) == pytest.approx(11 / 1024)
    assert chance(0, 100, 0.1) == chance(10, 100, 0.1) == chance(5, 5, 1.0) == chance(0, 0, 0.5) == 1.0
    assert chance(60_000, 1_000_000, 0.05) == pytest.approx(0, abs=1e-300)
    assert 0 < chance(50_400, 1_000_000, 0.05) < 0.05


def test_a_canary_that_is_no_worse_grows_to_all_calls(caplog: pytest.LogCaptureFixture) -> None:
    traffic = Traffic(min_calls=50, step_seconds=60)
    shares = []
    for _ in range(4):
        shares.append(str(traffic.mode))
        traffic.calls(2000, failing=(0.02, 0.02), slow=(0.05, 0.05))
        traffic.minutes(1.1)
    assert shares == ["canary 5 %", "canary 25 %", "canary 50 %", "canary 100 %"]
    assert str(traffic.mode) == "canary: done at 100 %" and traffic.gate.admits((), {}) == 1
    assert len(caplog.records) == 4


def test_a_step_waits_for_its_calls_and_its_time() -> None:
    traffic = Traffic(min_calls=200, step_seconds=600)
    traffic.minutes(60)
    assert str(traffic.mode) == "canary 5 %", "there were no calls"
    traffic.calls(10_000)
    traffic.minutes(0.1)
    assert str(traffic.mode) == "canary 25 %"
    traffic.calls(10_000)
    traffic.minutes(9)
    assert str(traffic.mode) == "canary 25 %", "its time is not over"


@pytest.mark.parametrize(
    ("worse", "words"),
    [
        ({"failing": (0.2, 0.01)}, "calls failed, of stock's"),
        ({"slow": (0.3, 0.0)}, "calls took longer than stock's p95"),
        ({"failing": (0.05, 0.05)}, ""),
    ],
)
def test_what_is_worse_goes_back_to_stock_and_stays_there(
    worse: dict[str, Any], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    traffic = Traffic(min_calls=100, step_seconds=600)
    traffic.calls(6000, **worse)
    traffic.minutes(0.1)
    if not words:
        assert str(traffic.mode) == "canary 5 %", "stock fails as often"
        return
    assert str(traffic.mode).startswith("canary: back to 0 % at 5 %: ") and words in str(traffic.mode)
    assert not traffic.gate.on and traffic.gate.admits((), {}) == 0
    traffic.calls(6000)
    traffic.minutes(60)
    assert not traffic.gate.on and len(caplog.records) == 1


def test_a_canary_that_was_taken_off_changes_nothing() -> None:
    traffic = Traffic(min_calls=50, step_seconds=60)
    traffic.calls(5000)
    traffic.mode.leave()
    traffic.gate.set_share(0.0)
    traffic.minutes(2)
    assert not traffic.gate.on


def test_failures_beyond_the_bound_count_where_stock_has_no_calls_left() -> None:
    traffic = Traffic(percent=100, min_calls=100, step_seconds=600, max_error_rate=0.01)
    traffic.calls(2000, failing=(0.05, 0))
    traffic.minutes(0.1)
    assert "at most 1.00% may" in str(traffic.mode) and not traffic.gate.on


def test_an_open_breaker_ends_a_canary() -> None:
    traffic = Traffic()
    for _ in range(10):
        traffic.gate.fault(ValueError("x"))
    traffic.minutes(0.1)
    assert str(traffic.mode) == "canary: back to 0 % at 5 %: its breaker has opened: ValueError: x"
    traffic.now += 1000
    assert traffic.gate.admits((), {}) == 0


def test_false_alarms_are_rare() -> None:
    """Both sides are alike: of a hundred canaries with many looks hardly any may go back."""
    backs = 0
    for seed in range(100):
        traffic = Traffic(percent=50, min_calls=50, step_seconds=10**6)
        traffic.random.seed(seed)
        for _ in range(4):
            traffic.calls(400, failing=(0.1, 0.1), slow=(0.1, 0.1))
            traffic.minutes(1 / 60)
        backs += bool(traffic.mode.outcome)
    assert backs <= 3


def test_counters_that_are_set_to_zero_begin_the_step_anew() -> None:
    traffic = Traffic(min_calls=50, step_seconds=60)
    traffic.calls(5000)
    traffic.gate.clear()
    traffic.minutes(0.1)
    assert str(traffic.mode) == "canary 5 %"
    traffic.calls(5000)
    traffic.minutes(1.1)
    assert str(traffic.mode) == "canary 25 %"


def test_a_canary_that_is_set_in_settings_is_looked_at(
    victim: ModuleType, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canary, "_SECONDS", 0.02)
    monkeypatch.setattr(canary, "ALPHA", 0.0)  # the made-up component is slower than what it accelerates
    register(Part("one", "double"))
    steps = {"mode": "canary", "steps": [50, 100], "min_calls": 10, "step_seconds": 0.1}
    litellm_accel.accelerate(config={"components": {"one": steps}})
    until = time.monotonic() + 10
    while "done" not in litellm_accel.status()["one"].mode and time.monotonic() < until:
        victim.double(3)
        time.sleep(0.001)
    row = litellm_accel.status()["one"]
    assert row.mode == "canary: done at 100 %" and row.served > row.bypassed > 0
    assert TICKER.jobs == []
    litellm_accel.configure(components={"one": {"mode": "off"}})
    assert not litellm_accel.status()["one"].mode


# --- shadow


def compared(fast: Callable[..., Any], stock: Any, *calls: Any, percent: float = 100, reveal: bool = False) -> Any:
    """Return what a shadow has found in some calls."""
    gate = hot.gate.Gate("one")
    gate.switch(True)
    gate.set_share(0.0)
    found = shadow.Shadow(percent, reveal)
    gate.compare_with(found)
    call = gate.pure(fast, stock, Computed(stock, fast))
    for arguments in calls:
        assert call(*arguments) == stock(*arguments), "stock answers"
    until = time.monotonic() + 5
    while found.worker.waiting and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.05)
    assert gate.served == 0 and gate.bypassed == len(calls)
    return found


def count(model: str, text: Any) -> int:
    return len(text)


def test_a_shadow_counts_what_is_equal_and_keeps_what_differs(caplog: pytest.LogCaptureFixture) -> None:
    found = compared(
        lambda model, text: hot.gate.DECLINED if text == "odd" else len(text) + (len(text) > 9),
        count,
        *(("gpt-4o", "short"), ("gpt-4o", "odd"), *[("gpt-4o", "a secret text")] * 30),
    )
    assert (found.equal, found.declined, found.different, found.skipped, found.faults) == (1, 1, 30, 0, 0)
    assert len(found.differences) == 20
    assert found.differences[0] == shadow.Difference(
        "count", "{'model': 'gpt-4o', 'text': '<13 characters>'}", "13", "14"
    )
    assert "secret" not in repr(found.to_dict()) and "secret" not in caplog.text and len(caplog.records) == 1
    found = compared(lambda model, text: 0, count, ("m", "a secret text"), reveal=True)
    assert "a secret text" in repr(found.to_dict())


def test_a_shadow_compares_a_share_and_cannot_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    assert compared(count, count, *[("m", "text")] * 100, percent=10).equal == 10

    def broken(model: str, text: str) -> int:
        raise RuntimeError("broken")

    assert compared(broken, count, ("m", "text")).faults == 1
    assert compared(count, count, ("m", range(3))).skipped == 1, "what cannot be copied is not compared"
    monkeypatch.setattr(shadow, "redacted", broken)
    assert compared(count, count, ("m", "text")).faults == 1


def test_what_a_caller_changes_afterwards_is_compared_as_it_was() -> None:
    gate = hot.gate.Gate("one")
    gate.switch(True)
    found = shadow.Shadow(100, False)
    gate.compare_with(found)
    gate.set_share(0.0)
    wait = [True]

    def fast(model: str, text: Any) -> int:
        while wait:
            time.sleep(0.001)
        return len(text)

    call = gate.pure(fast, count, Computed(count, fast))
    messages = [{"role": "user"}]
    assert call("m", messages) == 1
    messages.append({"role": "assistant"})
    wait.clear()
    until = time.monotonic() + 5
    while not found.equal + found.different and time.monotonic() < until:
        time.sleep(0.01)
    assert (found.equal, found.different) == (1, 0)


def test_too_many_that_wait_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "_MOST_WAITING", 0)
    assert compared(count, count, ("m", "text")).skipped == 1
