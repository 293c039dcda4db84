"""The kernel of rate limits: against slow reference models, with turned clocks, many keys and many threads."""

from __future__ import annotations

import importlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from math import ceil, floor, inf, nan
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from litellm_accel import settings

Hot = Callable[[str], ModuleType]

SECOND = 1_000_000_000
KEYS = ("a", "b", "c")


class Clock:
    """A clock that tests turn."""

    def __init__(self, now: int = 0) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


class BucketModel:
    """One key of a token bucket, in fractions."""

    def __init__(self, rate: Fraction, burst: int, now: int) -> None:
        self.rate, self.limit = rate / SECOND, burst
        self.level, self.last = Fraction(burst), now

    def settle(self, now: int) -> None:
        if now > self.last:
            self.level = min(self.level + (now - self.last) * self.rate, Fraction(self.limit))
            self.last = now

    def free(self, now: int) -> int:
        return floor(self.level)

    def wait(self, cost: int, now: int) -> int:
        return ceil((cost - self.level) / self.rate) + max(self.last - now, 0)

    def take(self, cost: int, now: int) -> None:
        self.level -= cost

    def refund(self, cost: int, at: int, now: int) -> None:
        self.level = min(self.level + cost, Fraction(self.limit))


class LogModel:
    """One key of an exact log: a time for each permit."""

    def __init__(self, limit: int, window: int, now: int) -> None:
        self.limit, self.window, self.last = limit, window, now
        self.permits: list[int] = []

    def settle(self, now: int) -> None:
        self.permits = [when for when in self.permits if when > max(now, self.last) - self.window]

    def free(self, now: int) -> int:
        return self.limit - len(self.permits)

    def wait(self, cost: int, now: int) -> int:
        return self.permits[len(self.permits) + cost - self.limit - 1] + self.window - now

    def take(self, cost: int, now: int) -> None:
        self.last = max(self.last, now)
        self.permits += [self.last] * cost

    def refund(self, cost: int, at: int, now: int) -> None:
        for _ in range(cost):
            taken = [place for place, when in enumerate(self.permits) if when <= at]
            if taken:
                del self.permits[taken[-1]]


class CounterModel:
    """One key of two counters, in fractions."""

    def __init__(self, limit: int, window: int, now: int) -> None:
        self.limit, self.window = limit, window
        self.counts: dict[int, int] = {}
        self.current = now // window

    def settle(self, now: int) -> None:
        self.current = max(self.current, now // self.window)

    def used(self, now: int) -> int:
        left = min(Fraction((self.current + 1) * self.window - now, self.window), Fraction(1))
        return self.counts.get(self.current, 0) + ceil(self.counts.get(self.current - 1, 0) * left)

    def free(self, now: int) -> int:
        return self.limit - self.used(now)

    def wait(self, cost: int, now: int) -> int:
        this, before = self.counts.get(self.current, 0), self.counts.get(self.current - 1, 0)
        end, most = (self.current + 1) * self.window, self.limit - cost - this
        if most < 0:
            before, most = this, self.limit - cost
            if before <= most:
                return end - now
            end += self.window
        return end - floor(Fraction(most * self.window, before)) - now

    def take(self, cost: int, now: int) -> None:
        self.counts[self.current] = self.counts.get(self.current, 0) + cost

    def refund(self, cost: int, at: int, now: int) -> None:
        window = min(at // self.window, self.current)
        self.counts[window] = max(self.counts.get(window, 0) - cost, 0)


def _bucket(module: ModuleType, data: Any, clock: Clock) -> tuple[Any, Callable[[], Any]]:
    rate = data.draw(st.fractions(Fraction(1, 50), 50, max_denominator=60))
    burst = data.draw(st.integers(1, 12))
    return module.TokenBucket(rate, burst, clock=clock), lambda: BucketModel(rate, burst, clock.now)


def _log(module: ModuleType, data: Any, clock: Clock) -> tuple[Any, Callable[[], Any]]:
    limit, seconds = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 5))
    return module.SlidingLog(limit, seconds, clock=clock), lambda: LogModel(limit, seconds * SECOND, clock.now)


def _counter(module: ModuleType, data: Any, clock: Clock) -> tuple[Any, Callable[[], Any]]:
    limit, seconds = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 5))
    return module.SlidingCounter(limit, seconds, clock=clock), lambda: CounterModel(limit, seconds * SECOND, clock.now)


def _machine(module: ModuleType, make: Callable[..., Any]) -> type[RuleBasedStateMachine]:
    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.clock = Clock(7 * SECOND + 13)
            self.limit: Any = None
            self.models: dict[str, Any] = {}
            self.taken: list[tuple[str, int, int]] = []

        @precondition(lambda self: self.limit is None)
        @rule(data=st.data())
        def begin(self, data: Any) -> None:
            self.limit, self.make = make(module, data, self.clock)

        def model(self, key: str) -> Any:
            model = self.models.setdefault(key, self.make())
            model.settle(self.clock.now)
            return model

        @precondition(lambda self: self.limit is not None)
        @rule(key=st.sampled_from(KEYS), cost=st.integers(0, 14))
        def check(self, key: str, cost: int) -> None:
            model, now = self.model(key), self.clock.now
            free = model.free(now)
            decision = self.limit.check(key, cost)
            assert decision.allowed == bool(decision) == (cost <= free)
            assert (decision.at, decision.limit) == (now, self.limit.name)
            if decision:
                assert (decision.remaining, decision.retry_after) == (free - cost, 0)
                model.take(cost, now)
                self.taken.append((key, cost, now))
            else:
                assert decision.remaining == max(free, 0)
                assert decision.retry_after == (inf if cost > model.limit else model.wait(cost, now) / 1e9)

        @precondition(lambda self: self.limit is not None)
        @rule(key=st.sampled_from(KEYS), cost=st.integers(1, 12))
        def wait_as_told(self, key: str, cost: int) -> None:
            """A nanosecond before the time it is refused, then allowed."""
            if cost > self.limit.limit:
                return
            model = self.model(key)
            if cost <= model.free(self.clock.now):
                return
            self.clock.now += model.wait(cost, self.clock.now) - 1
            assert not self.limit.check(key, cost)
            self.clock.now += 1
            self.model(key).take(cost, self.clock.now)
            assert self.limit.check(key, cost)

        @precondition(lambda self: self.limit is not None)
        @rule(key=st.sampled_from(KEYS), cost=st.integers(1, 30))
        def charge(self, key: str, cost: int) -> None:
            model, now = self.model(key), self.clock.now
            taken = min(cost, model.free(now) + model.limit)
            if taken > 0:
                model.take(taken, now)
            self.limit.charge(key, cost)

        @precondition(lambda self: self.taken)
        @rule(data=st.data())
        def refund(self, data: Any) -> None:
            key, cost, at = self.taken.pop(data.draw(st.integers(0, len(self.taken) - 1)))
            cost = data.draw(st.integers(0, cost))
            self.model(key).refund(cost, at, self.clock.now)
            self.limit.refund(key, cost, at)

        @rule(step=st.one_of(st.integers(1, SECOND // 10), st.integers(1, 7 * SECOND), st.just(SECOND)))
        def pass_time(self, step: int) -> None:
            self.clock.now += step

        @invariant()
        def only_keys_that_matter_are_kept(self) -> None:
            assert self.limit is None or len(self.limit) <= len(KEYS)

    return Machine


@pytest.mark.parametrize("make", [_bucket, _log, _counter])
def test_decisions_are_those_of_a_slow_model(hot: Hot, make: Callable[..., Any]) -> None:
    machine = _machine(hot("rate_limit"), make)
    run_state_machine_as_test(machine, settings=hypothesis_settings(max_examples=60, deadline=None))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["check", "check", "check", "refund", "charge"]),
        st.sampled_from(KEYS),
        st.integers(0, 12),
        st.integers(-3 * SECOND, 7 * SECOND),
    ),
    max_size=60,
)


@pytest.mark.skipif(settings.pure(), reason="compares the two halves")
@pytest.mark.parametrize("kind", ["TokenBucket", "SlidingLog", "SlidingCounter"])
@hypothesis_settings(max_examples=150, deadline=None)
@given(first=st.integers(1, 12), second=st.integers(1, 6), steps=STEPS)
def test_both_halves_agree_whatever_the_clock_does(kind: str, first: int, second: int, steps: list[Any]) -> None:
    """Also where it goes back, which never gives more: the clock of a key stands still then."""
    clock = Clock(5 * SECOND)
    limits = [
        getattr(importlib.import_module(f"litellm_accel.{half}.rate_limit"), kind)(first, second, clock=clock)
        for half in ("_cy", "_py")
    ]
    for name, key, cost, step in steps:
        clock.now += step
        told = [getattr(limit, name)(key, cost) for limit in limits]
        assert repr(told[0]) == repr(told[1])
        assert len(limits[0]) == len(limits[1])


@pytest.mark.parametrize("kind", ["TokenBucket", "SlidingLog", "SlidingCounter"])
def test_a_clock_that_goes_back_gives_nothing(hot: Hot, kind: str) -> None:
    clock = Clock(100 * SECOND)
    limit = getattr(hot("rate_limit"), kind)(1, 5, clock=clock)
    while limit.check("key"):
        pass
    for _ in range(50):
        clock.now -= 3 * SECOND
        assert not limit.check("key")
        clock.now += 3 * SECOND
        assert not limit.check("key")
    assert 0 < limit.check("key").retry_after <= 10


@pytest.mark.parametrize("kind", ["SlidingLog", "SlidingCounter"])
def test_no_window_holds_more_than_is_promised(hot: Hot, kind: str) -> None:
    """At most the limit in any window; by two counters less than twice the limit, and no more than it if even."""
    clock = Clock()
    limit = getattr(hot("rate_limit"), kind)(10, 1, clock=clock)
    bound = 10 if kind == "SlidingLog" else 19
    allowed: list[int] = []
    most = 0
    for step in [SECOND * 9 // 10] + [SECOND // 997] * 3000 + [SECOND // 2] * 9 + [1] * 40 + [SECOND // 13] * 200:
        clock.now += step
        if limit.check("key"):
            allowed.append(clock.now)
        most = max(most, sum(when > clock.now - SECOND for when in allowed))
    assert 10 <= most <= bound
    assert len(allowed) >= 10 * (clock.now // SECOND) * 0.6


def test_rates_do_not_drift(hot: Hot) -> None:
    """A rate that no float holds: after an hour and a step a nanosecond, exactly what the fraction says."""
    clock = Clock()
    bucket = hot("rate_limit").TokenBucket(Fraction(100, 7), 1_000_000, clock=clock)
    bucket.charge("key", 2_000_000)
    for step in [1] * 10_000 + [3_600_000_003]:
        clock.now += step
        bucket.charge("key", 0)
    before = Fraction(-1_000_000) + Fraction(100, 7) * clock.now / SECOND
    clock.now += ceil(-before / Fraction(100, 7) * SECOND) - 1
    assert bucket.check("key", 0).retry_after == 1e-9
    clock.now += 1
    assert bucket.check("key", 0)


@pytest.mark.parametrize("kind", ["TokenBucket", "SlidingLog", "SlidingCounter"])
def test_keys_that_no_longer_matter_leave_as_others_come(hot: Hot, kind: str) -> None:
    clock = Clock()
    limit = getattr(hot("rate_limit"), kind)(1, 1, clock=clock)
    for number in range(20_000):
        assert limit.check(f"early {number}")
        assert not limit.check(f"early {number}")
    assert len(limit) == 20_000
    clock.now += 2 * SECOND
    kept = [f"late {number}" for number in range(500)]
    for round_ in range(40):
        clock.now += 2 * SECOND * (round_ % 2)
        for key in kept:
            limit.check(key)
    assert len(limit) <= 500
    for key in kept:  # none was lost or mixed up on the way
        limit.check(key)
        assert not limit.check(key)


def test_a_log_holds_as_many_marks_as_permits(hot: Hot) -> None:
    clock = Clock()
    log = hot("rate_limit").SlidingLog(3, 60, clock=clock)
    for _ in range(1000):
        clock.now += 1
        decision = log.check("key")
        assert decision
        log.refund("key", 1, decision.at)
    assert log.check("key", 0).remaining == 3


def test_a_refund_of_what_has_left_the_window_gives_nothing(hot: Hot) -> None:
    for kind in ("SlidingLog", "SlidingCounter"):
        clock = Clock()
        limit = getattr(hot("rate_limit"), kind)(10, 1, clock=clock)
        early = limit.check("key", 10)
        clock.now += 3 * SECOND
        assert limit.check("key", 10)
        limit.refund("key", 10, early.at)
        assert not limit.check("key")


def test_take_takes_all_or_none(hot: Hot) -> None:
    module, clock = hot("rate_limit"), Clock()
    requests = module.SlidingLog(2, 60, name="requests", clock=clock)
    tokens = module.TokenBucket(100, 100, name="tokens", clock=clock)
    everybody = module.SlidingCounter(1000, 60, name="everybody", clock=clock)
    demands = [(requests, "key", 1), (tokens, "key", 60), (everybody, "all", 1)]
    first = module.take(demands)
    assert (first.allowed, first.limit, first.remaining) == (True, "requests", 1)
    second = module.take(demands)
    assert (second.allowed, second.limit, second.remaining, second.retry_after) == (False, "tokens", 40, 0.2)
    assert (requests.check("key", 0).remaining, everybody.check("all", 0).remaining) == (1, 999)
    clock.now += SECOND // 5
    assert module.take(demands)
    assert module.take([(requests, "key", 1), (tokens, "key", 1)]).limit == "requests"  # the longest wait
    for wrong in ([], [(requests, "key", 1)] * 65):
        with pytest.raises(ValueError, match="demands"):
            module.take(wrong)


def test_a_refund_reaches_all_limits_of_a_decision(hot: Hot) -> None:
    """By the clock of the system, which goes on between two limits."""
    module = hot("rate_limit")
    for _ in range(200):
        logs = [module.SlidingLog(5 + number, 60) for number in range(4)]
        module.take([(log, "key", 1) for log in logs])
        decision = module.take([(log, "key", 3) for log in logs])
        for log in logs:
            log.refund("key", 3, decision.at)
        assert [log.check("key", 0).remaining for log in logs] == [4, 5, 6, 7]


@pytest.mark.parametrize("keys", [1, 1000])
@pytest.mark.parametrize("kind", ["TokenBucket", "SlidingLog", "SlidingCounter"])
def test_sixteen_threads_get_exactly_the_limit(hot: Hot, kind: str, keys: int) -> None:
    clock = Clock()
    limit = getattr(hot("rate_limit"), kind)(5, 3600, clock=clock)
    if kind == "TokenBucket":
        limit = hot("rate_limit").TokenBucket(Fraction(1, 3600), 5, clock=clock)
    names = [f"key {number}" for number in range(keys)]
    allowed: list[str] = []

    def work() -> None:
        for _ in range(max(10_000 // keys // 16, 2)):
            for name in names:
                if limit.check(name):
                    allowed.append(name)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert sorted(allowed) == sorted(names * 5)


def test_the_clock_of_the_system(hot: Hot) -> None:
    bucket = hot("rate_limit").TokenBucket(1000, 1)
    before = time.monotonic_ns()
    assert bucket.check("key")
    refused = bucket.check("key")
    assert before <= refused.at <= time.monotonic_ns()
    time.sleep(refused.retry_after)
    assert bucket.check("key")


@pytest.mark.parametrize("wrong", [0, -1, nan, inf, 1 << 70, 1.5, "5", None])
def test_limits_that_make_no_sense(hot: Hot, wrong: Any) -> None:
    module = hot("rate_limit")
    for make in (module.SlidingLog, module.SlidingCounter):
        with pytest.raises(ValueError, match="limit"):
            make(wrong, 60)
    with pytest.raises(ValueError, match="burst"):
        module.TokenBucket(1, wrong)
    if wrong != 1.5:
        for make in (module.SlidingLog, module.SlidingCounter):
            with pytest.raises(ValueError, match="seconds"):
                make(5, wrong)
        with pytest.raises(ValueError, match="rate"):
            module.TokenBucket(wrong, 5)


@pytest.mark.parametrize("key", ["", None, b"key", 5])
def test_keys_that_are_none(hot: Hot, key: Any) -> None:
    bucket = hot("rate_limit").TokenBucket(1, 1)
    for call in (bucket.check, bucket.refund, lambda key: bucket.charge(key, 1)):
        with pytest.raises(ValueError, match="key"):
            call(key)


@pytest.mark.parametrize("cost", [-1, 1.0, nan, inf, 1 << 60, 1 << 90, "1", None])
def test_costs_that_are_none(hot: Hot, cost: Any) -> None:
    bucket = hot("rate_limit").TokenBucket(1, 1)
    for call in (bucket.check, bucket.refund, bucket.charge):
        with pytest.raises(ValueError, match="cost"):
            call("key", cost)


def test_a_key_of_a_subclass_of_str_is_that_string(hot: Hot) -> None:
    class Name(str):
        def __eq__(self, other: object) -> bool:
            raise AssertionError("no code of the caller's runs")

        __hash__ = str.__hash__

    bucket = hot("rate_limit").TokenBucket(Fraction(1, 100), 2)
    assert bucket.check(Name("key")) and bucket.check("key")
    assert not bucket.check(Name("key"))


def test_the_largest_limits_do_not_overflow(hot: Hot) -> None:
    module, clock = hot("rate_limit"), Clock(1 << 62)
    largest = 1 << 53
    for limit in (
        module.SlidingCounter(largest, 2592000, clock=clock),
        module.TokenBucket(10**9, largest, clock=clock),
    ):
        assert limit.check("key", largest)
        assert not limit.check("key")
        limit.charge("key", largest)
        limit.charge("key", largest)
        assert 0 < limit.check("key", largest).retry_after < inf
        limit.refund("key", largest)
        limit.refund("key", largest)


MEMORY = """
import gc, resource, time
from litellm_accel._cy import rate_limit

def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

now = 0
limit = {make}
limit.check("warm")
begin = resident()
for number in range(1_000_000):
    limit.check("user-%07d" % number)
full = resident() - begin
now = 10**12
for _ in range(500_000):
    limit.check("warm")
print(full / 1e6, (resident() - begin) / full, len(limit))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.skipif(settings.pure(), reason="what the compiled half promises")
@pytest.mark.parametrize(
    "make",
    ["rate_limit.TokenBucket(1, 1, clock=lambda: now)", "rate_limit.SlidingCounter(1, 1, clock=lambda: now)"],
)
def test_a_million_keys_cost_little_and_are_given_back(make: str) -> None:
    program = MEMORY.format(make=make)
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    each, kept, keys = float(told[0]), float(told[1]), int(told[2])
    assert each <= 120, told
    assert kept <= 0.5, told
    assert keys <= 2
