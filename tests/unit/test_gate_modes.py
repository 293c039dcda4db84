"""The gate with a share, a breaker that recovers, latencies, and doors through which whole calls go."""

from __future__ import annotations

import asyncio
import functools
import math
import subprocess
import sys
import threading
import timeit
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as bounds
from hypothesis import strategies as st

from litellm_accel import settings
from litellm_accel._py import gate as twin
from litellm_accel.operation import latency

Hot = Callable[[str], ModuleType]


class Clock:
    """A clock that tests turn."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def switched_on(hot: Hot, *args: Any, **kwargs: Any) -> Any:
    gate = hot("gate").Gate("part", *args, **kwargs)
    gate.switch(True)
    return gate


# --- shares


@given(st.text())
def test_a_key_has_one_place_in_both_implementations(key: str) -> None:
    place = twin.place_of(key)
    assert 0 <= place < 1 << 32
    if not settings.pure():
        from litellm_accel._cy import gate

        assert gate.place_of(key) == place


def test_places_are_those_of_every_release_and_python(hot: Hot) -> None:
    """These numbers are documented: whoever changes them moves users from one side to the other."""
    place_of = hot("gate").place_of
    assert [place_of(key) for key in ("user-1", "user-2", "", "ü", 7)] == [
        4186229313,
        645188025,
        0,
        2901851523,
        1155898794,
    ]
    assert place_of(7) == place_of("7")


@bounds(max_examples=25, deadline=None)
@given(st.integers(1, 99), st.integers(1, 99), st.integers(0, 10**6))
def test_a_share_is_kept_to_and_widening_keeps_who_was_in(one: int, two: int, seed: int) -> None:
    low, high = sorted((one, two))
    keys = [f"user-{seed}-{number}" for number in range(2000)]

    def inside(percent: int) -> set[str]:
        gate = twin.Gate("part")
        gate.switch(True)
        gate.set_share(percent / 100, ("metadata", "user"))
        return {key for key in keys if gate.admits((), {"metadata": {"user": key}})}

    narrow, wide = inside(low), inside(high)
    assert narrow <= wide
    for percent, found in ((low, narrow), (high, wide)):
        spread = (2000 * percent / 100 * (1 - percent / 100)) ** 0.5
        assert abs(len(found) - 20 * percent) <= 6 * spread + 1


def test_a_place_is_the_same_in_another_process() -> None:
    code = "from litellm_accel._py.gate import place_of; print([place_of(f'user-{n}') for n in range(50)])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == str([twin.place_of(f"user-{number}") for number in range(50)])


@pytest.mark.parametrize("share", [0.0, 0.05, 0.25, 0.5, 1.0])
def test_calls_without_a_key_are_admitted_in_turn(hot: Hot, share: float) -> None:
    gate = switched_on(hot)
    gate.set_share(share)
    admitted = sum(gate.admits((), {}) for _ in range(1000))
    assert abs(admitted - 1000 * share) <= 2


def test_a_key_is_found_among_named_arguments_and_in_dictionaries_given_by_place(hot: Hot) -> None:
    gate = switched_on(hot)
    gate.set_share(0.3, ("metadata", "user"))
    keys = [f"user-{number}" for number in range(200)]
    named = [bool(gate.admits((), {"metadata": {"user": key}})) for key in keys]
    placed = [bool(gate.admits(("model", None, {"metadata": {"user": key}}), {})) for key in keys]
    assert named == placed and 20 < sum(named) < 100
    for odd in ({"metadata": None}, {"metadata": {"user": None}}, {"metadata": "text"}):
        assert gate.admits((), odd) in (0, 1)


def test_a_share_leaves_the_rest_to_stock(hot: Hot) -> None:
    gate = switched_on(hot)
    gate.set_share(0.25)
    call = gate.pure(lambda value: "fast", lambda value: "stock")
    found = [call(value) for value in range(400)]
    assert gate.on and abs(found.count("fast") - 100) <= 2
    assert (gate.served, gate.bypassed) == (found.count("fast"), found.count("stock"))


def test_no_share_is_off_and_costs_nothing(hot: Hot) -> None:
    gate = switched_on(hot)
    gate.set_share(0.0)
    assert not gate.on
    assert gate.pure(pytest.fail, lambda: "stock")() == "stock"
    assert (gate.served, gate.bypassed) == (0, 0)
    gate.set_share(1.0)
    assert gate.on and gate.pure(lambda: "fast", pytest.fail)() == "fast"


# --- the breaker


def test_old_faults_do_not_open_the_breaker(hot: Hot) -> None:
    clock = Clock()
    gate = switched_on(hot, 3, 60.0, 300.0, clock)
    for _ in range(10):
        gate.fault(ValueError("x"))
        clock.now += 40
    assert gate.on and not gate.is_open and gate.faults == 10
    for _ in range(2):
        gate.fault(ValueError("x"))
    assert not gate.on and gate.is_open


def test_the_breaker_recovers_by_one_call(hot: Hot, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    gate = switched_on(hot, 2, 60.0, 300.0, clock)
    broken = True
    runs = []

    def fast(value: int) -> str:
        runs.append(value)
        if broken:
            raise RuntimeError("broken")
        return "fast"

    call = gate.pure(fast, lambda value: "stock")
    assert [call(number) for number in range(4)] == ["stock"] * 4 and runs == [0, 1]
    clock.now += 299
    assert call(4) == "stock" and runs == [0, 1], "the cooldown is not over"
    clock.now += 2
    assert call(5) == "stock" and runs == [0, 1, 5], "one call is tried"
    assert call(6) == "stock" and runs == [0, 1, 5], "the trial failed"
    clock.now += 301
    broken = False
    assert call(7) == "fast" and gate.on and not gate.is_open
    assert call(8) == "fast"
    assert [record.getMessage().split(":")[1].strip() for record in caplog.records] == [
        "part runs stock",
        "part stays on stock",
        "part serves again",
    ]


def test_a_trial_that_tells_nothing_is_followed_by_the_next(hot: Hot) -> None:
    clock = Clock()
    gate = switched_on(hot, 1, 60.0, 300.0, clock)
    call = gate.pure(lambda value: gate.decline("odd") if value else "fast", lambda value: "stock")
    gate.fault(ValueError("x"))
    clock.now += 301
    assert call(1) == "stock" and gate.is_open and not gate.on
    assert call(0) == "fast" and not gate.is_open


def test_while_a_call_is_tried_others_run_stock(hot: Hot) -> None:
    clock = Clock()
    gate = switched_on(hot, 1, 60.0, 300.0, clock)
    gate.fault(ValueError("x"))
    clock.now += 301
    inner = []

    def fast(value: int) -> str:
        if value:
            inner.append(gate.pure(pytest.fail, lambda value: "stock")(0))
        return "fast"

    assert gate.pure(fast, pytest.fail)(1) == "fast"
    assert inner == ["stock"]


def test_a_trial_that_never_ends_is_given_up(hot: Hot) -> None:
    clock = Clock()
    gate = switched_on(hot, 1, 60.0, 300.0, clock)
    gate.fault(ValueError("x"))
    clock.now += 301
    assert gate.admits((), {}) == 2
    assert gate.admits((), {}) == 0
    clock.now += 301
    assert gate.admits((), {}) == 2


# --- latencies


@given(st.integers(0, (1 << 44) - 1))
def test_buckets_are_within_two_percent(nanoseconds: int) -> None:
    side = twin.Side()
    side.record(nanoseconds, False, -1)
    bucket = side.buckets.index(1)
    assert latency.lowest_of(bucket) <= nanoseconds < latency.lowest_of(bucket + 1)
    assert abs(latency.middle_of(bucket) - nanoseconds) <= 0.016 * nanoseconds


@given(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=200), st.floats(0.01, 1))
def test_percentiles_are_those_of_the_sorted_calls(taken: list[int], share: float) -> None:
    side = twin.Side()
    for nanoseconds in taken:
        side.record(nanoseconds, False, -1)
    exact = sorted(taken)[max(math.ceil(share * len(taken)), 1) - 1]
    found = latency.quantile(side.buckets, share)
    assert found is not None and abs(found - exact) <= 0.016 * exact
    assert latency.quantile([0] * 1280, share) is None


@given(st.integers(-5, 1 << 62))
def test_both_implementations_use_the_same_buckets(nanoseconds: int) -> None:
    if settings.pure():
        return
    from litellm_accel._cy import gate

    one, two = twin.Side(), gate.Side()
    for side in (one, two):
        side.record(nanoseconds, True, nanoseconds)
    assert one.buckets == two.buckets and sum(one.buckets) == 1
    assert one.cpu_buckets == two.cpu_buckets and sum(one.cpu_buckets) == (nanoseconds >= 0)
    for name in ("calls", "errors", "nanoseconds", "slowest", "cpu_calls", "cpu_nanoseconds"):
        assert getattr(one, name) == getattr(two, name)


def test_each_side_is_measured(hot: Hot) -> None:
    gate = switched_on(hot)
    gate.measure(True)
    gate.set_share(0.5)

    def stock(value: int) -> str:
        if value < 0:
            raise ValueError("negative")
        return "stock"

    def fast(value: int) -> object:
        return gate.decline("odd") if value % 2 or value < 0 else "fast"

    call = gate.pure(fast, stock)
    for number in range(100):
        call(number)
    with pytest.raises(ValueError):
        for _ in range(3):
            call(-1)
    served, left, bypassed = gate.sides
    assert served.calls == gate.served and bypassed.calls == gate.bypassed
    assert left.calls == sum(gate.declined.values())
    assert served.calls + left.calls + bypassed.calls == 101
    assert left.errors + bypassed.errors == 1 and served.errors == 0
    assert served.nanoseconds > 0 and served.cpu_calls == served.calls
    gate.measure(False)
    assert gate.sides is None and gate.pure(lambda: 1, pytest.fail)() == 1


def test_counting_is_exact_in_sixteen_threads(hot: Hot) -> None:
    gate = switched_on(hot)
    gate.measure(True)
    gate.set_share(0.5)
    call = gate.pure(lambda value: gate.decline("third") if value % 3 == 0 else value, lambda value: value)
    switch_interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=lambda: [call(value) for value in range(1500)]) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switch_interval)
    assert gate.served + gate.bypassed + gate.declined["third"] == 16 * 1500
    assert [side.calls for side in gate.sides] == [gate.served, gate.declined["third"], gate.bypassed]
    assert [sum(side.buckets) for side in gate.sides] == [side.calls for side in gate.sides]


def test_an_observer_is_told_of_each_call_and_cannot_harm_it(hot: Hot) -> None:
    gate = switched_on(hot)
    seen: list[Any] = []
    gate.observe_with(lambda gate, side, reason, nanoseconds: seen.append((side, reason)))
    call = gate.pure(lambda value: gate.decline("odd") if value % 2 else value, lambda value: value)
    assert [call(2), call(3)] == [2, 3]
    assert seen == [(0, None), (1, "odd")]

    def broken(*args: Any) -> None:
        raise KeyError("observer")

    gate.observe_with(broken)
    assert call(4) == 4


# --- doors


class Served:
    """What ``chat`` does: a method that serves calls, or runs stock itself."""

    def __init__(self, gate: Any) -> None:
        self.gate = gate

    async def astock(self, value: int) -> str:
        await asyncio.sleep(0)
        if value < 0:
            raise ValueError("negative")
        return "stock"

    async def amethod(self, value: int) -> str:
        if value % 2:
            self.gate.decline("odd")
            return await self.astock(value)
        await asyncio.sleep(0.001)
        self.gate.serve()
        return "fast"

    def stock(self, value: int) -> str:
        return "stock"

    def method(self, value: int) -> str:
        if value % 2:
            self.gate.decline("odd")
            return self.stock(value)
        self.gate.serve()
        return "fast"


def test_calls_by_a_door_are_told_apart_by_what_became_of_them(hot: Hot) -> None:
    gate = switched_on(hot)
    served = Served(gate)
    door = hot("gate").AsyncDoor(gate, served.amethod, served.astock)
    gate.measure(True)

    async def ask(value: int) -> str:
        return str(await door(value))

    async def main() -> list[str]:
        return await asyncio.gather(*(ask(number) for number in range(20)))

    assert asyncio.run(main()) == ["fast", "stock"] * 10
    fast, left, bypassed = gate.sides
    assert (fast.calls, left.calls, bypassed.calls) == (10, 10, 0)
    assert fast.nanoseconds > 10 * 900_000 and fast.cpu_nanoseconds < fast.nanoseconds / 2
    gate.set_share(0.0)
    assert asyncio.run(ask(2)) == "stock" and bypassed.calls == 1
    with pytest.raises(ValueError, match="negative"):
        asyncio.run(ask(-2))
    assert bypassed.errors == 1


def test_the_end_of_a_stream_is_no_error(hot: Hot) -> None:
    gate = switched_on(hot)
    gate.measure(True)

    async def ends(wrapper: object) -> None:
        raise StopAsyncIteration

    def ends_at_once(wrapper: object) -> None:
        raise StopIteration

    async def main() -> None:
        with pytest.raises(StopAsyncIteration):
            await hot("gate").AsyncDoor(gate, ends)(None)

    asyncio.run(main())
    with pytest.raises(StopIteration):
        hot("gate").Door(gate, ends_at_once)(None)
    assert (gate.sides[1].calls, gate.sides[1].errors) == (2, 0)


def test_a_door_in_threads(hot: Hot) -> None:
    gate = switched_on(hot)
    served = Served(gate)
    door = hot("gate").Door(gate, served.method, served.stock)
    assert [door(2), door(3)] == ["fast", "stock"]
    gate.measure(True)
    gate.set_share(0.5)
    found = [door(number) for number in range(100)]
    assert [side.calls for side in gate.sides] == [found.count("fast"), 50 - found.count("fast"), 50]
    assert sum(side.cpu_calls for side in gate.sides) == 6


def test_what_stock_calls_in_the_course_of_a_call_is_on_its_side(hot: Hot) -> None:
    gate = switched_on(hot)
    served = Served(gate)
    inner = hot("gate").AsyncDoor(gate, served.amethod, served.astock)

    async def stock(value: int) -> str:
        return f"outer {await inner(value)}"

    async def method(value: int) -> str:
        gate.decline("outer")
        return await stock(value)

    outer = hot("gate").AsyncDoor(gate, method, stock)
    gate.measure(True)
    gate.set_share(0.5)

    async def ask(value: int) -> str:
        return str(await outer(value))

    assert {asyncio.run(ask(2)) for _ in range(20)} == {"outer fast", "outer stock"}
    assert gate.bypassed == 10 == gate.sides[2].calls
    assert sum(side.calls for side in gate.sides) == 20


def test_a_cancelled_call_ends_as_it_would(hot: Hot) -> None:
    gate = switched_on(hot)
    gate.measure(True)
    ended = []

    async def method() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    door = hot("gate").AsyncDoor(gate, method, method)

    async def main() -> None:
        async def ask() -> None:
            await door()

        task = asyncio.create_task(ask())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert ended == ["cancelled"] and gate.sides[1].errors == 1


def test_a_stream_s_door_leaves_the_side_to_its_method(hot: Hot) -> None:
    gate = switched_on(hot)
    gate.set_share(0.0)
    gate.measure(True)

    def method() -> str:
        gate.bypass()
        return "stock"

    assert hot("gate").Door(gate, method)() == "stock"
    assert (gate.bypassed, gate.sides[2].calls) == (1, 1)


def test_another_thread_can_carry_a_call_on(hot: Hot) -> None:
    gate = switched_on(hot)
    gate.measure(True)

    def method() -> str:
        thread = threading.Thread(target=gate.carried(gate.serve))
        thread.start()
        thread.join()
        return "fast"

    assert hot("gate").Door(gate, method, method)() == "fast"
    assert gate.sides[0].calls == 1


@pytest.mark.skipif(settings.pure(), reason="the bound is the compiled gate's")
def test_everything_on_costs_under_300_nanoseconds() -> None:
    from litellm_accel._cy.gate import Gate

    def work(model: str, metadata: dict[str, str]) -> int:
        return 1

    gate = Gate("part")
    gate.switch(True)
    gate.measure(True)
    gate.set_share(0.999999, ("metadata", "user"))
    call = gate.pure(work, work)
    given = {"user": "5f1c3c5e-4f9a-4a55-9a3c-2f1a4be0a7d1"}
    loops = 20  # so few that a busy machine, too, leaves some turns alone
    timers = [timeit.Timer(lambda f=f: f("gpt", metadata=given)) for f in (call, work)]  # type: ignore[misc]
    turns = [[timer.timeit(loops) for timer in timers] for _ in range(5000)]
    through, straight = (min(column) / loops for column in zip(*turns, strict=True))
    assert gate.served and gate.sides[0].calls == gate.served
    assert through - straight < 0.3e-6


def test_calls_are_passed_on_as_they_come_and_nothing_is_held(hot: Hot) -> None:
    class Thing:
        pass

    def outcome(how: str, *args: Any, **kwargs: Any) -> Any:
        if how == "fails":
            raise KeyError(how)
        if how == "declines":
            return gate.decline("odd")
        return how, args, kwargs

    def stock(how: str, *args: Any, **kwargs: Any) -> Any:
        if how == "fails" and kwargs.get("truly"):
            raise ValueError(how)
        return how, args, kwargs

    gate = switched_on(hot)
    call = gate.pure(outcome, stock)
    one, two = Thing(), Thing()
    expected = {name: (name, (one,), {"metadata": two}) for name in ("serves", "declines", "fails")}
    held = [sys.getrefcount(each) for each in (one, two, hot("gate").DECLINED)]

    def play() -> None:
        for name, result in expected.items():
            assert call(name, one, metadata=two) == result
            assert call(*(name, one), **{"metadata": two}) == result
            assert functools.partial(call, name)(one, metadata=two) == result
        with pytest.raises(ValueError):
            call("fails", one, metadata=two, truly=True)
        gate.reset_errors()

    def left() -> None:
        gate.set_share(0.5, ("metadata", "user"))
        play()
        gate.set_share(0.0)
        gate.measure(True)
        play()

    for change in (lambda: None, lambda: gate.measure(True), left, lambda: gate.switch(False)):
        change()
        for _ in range(20):
            play()
    assert [sys.getrefcount(each) for each in (one, two, hot("gate").DECLINED)] == held


def test_a_key_is_found_in_calls_of_any_form(hot: Hot) -> None:
    gate = switched_on(hot)
    user = next(f"user-{number}" for number in range(100) if hot("gate").place_of(f"user-{number}") < 2**31)
    gate.set_share(0.5, ("metadata", "user"))
    call = gate.pure(lambda *args, **kwargs: "in", lambda *args, **kwargs: "out")
    given = {"metadata": {"user": user}}
    for _ in range(4):  # whatever calls without a key are
        assert call(1, x=2, **given) == call(**given) == call({}, given) == call(given, metadata=None) == "in"
    gate.set_share(0.5, ("user",))
    assert {call(user=user), call(1, 2, {"user": user}, user=None)} == {"in"}
    assert sorted({call(1, metadata={"user": user}, user=None) for _ in range(4)}) == ["in", "out"]
