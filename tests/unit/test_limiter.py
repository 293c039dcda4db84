"""Limits as text, several limits at once, and waiting for permits."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from math import inf, nan
from typing import Any

import pytest

from litellm_accel.ratelimit import Limiter, SlidingWindow, TokenBucket, Tokens, parse

SECOND = 1_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


def told(text: str) -> list[tuple[int, int, bool, str]]:
    return [
        (rule.limit.limit, rule.limit.window // SECOND, rule.of_tokens, type(rule.limit).__name__)
        for rule in parse(text)
    ]


def test_limits_are_written_as_the_package_limits_writes_them():
    assert told("100/minute;5/second") == [(100, 60, False, "SlidingLog"), (5, 1, False, "SlidingLog")]
    assert told("10 per 2 hours") == [(10, 7200, False, "SlidingLog")]
    assert told("1 PER day, 5/5 minutes|2/Month") == [
        (1, 86400, False, "SlidingLog"),
        (5, 300, False, "SlidingLog"),
        (2, 30 * 86400, False, "SlidingLog"),
    ]
    assert told("90000 tokens / minute; 1 token per year") == [
        (90000, 60, True, "SlidingCounter"),
        (1, 360 * 86400, True, "SlidingLog"),
    ]


@pytest.mark.parametrize(
    "text",
    ["", "fast", "5", "5/", "/minute", "0/minute", "-5/minute", "5/0 minutes", "nan/minute", "1.5/minute",
     "5/fortnight", "5/minute;", "5permin", f"{1 << 60}/minute", f"5/{1 << 60} years", None, 5],
)  # fmt: skip
def test_a_text_that_makes_no_sense_is_named(text: Any):
    with pytest.raises(ValueError, match="limit") as raised:
        parse(text)
    assert repr(text) in str(raised.value)
    with pytest.raises(ValueError, match="limit"):
        Limiter({"key": text})


def test_scopes_are_decided_on_together():
    clock = Clock()
    limiter = Limiter(
        {
            "global": "100/minute",
            "key": "3/minute; 1000 tokens/minute",
            "model": {"small": "50/minute", "large": ["2/minute", Tokens("500/minute")], "*": "10/minute"},
        },
        clock=clock,
    )
    large = {"key": "one", "model": "large"}
    decision = limiter.check(large, tokens=300)
    assert (decision.allowed, decision.remaining, decision.limit) == (True, 1, "model large 2/minute")
    refused = limiter.check(large, tokens=300)
    assert (refused.allowed, refused.remaining, refused.limit) == (False, 200, "model large 500/minute")
    assert refused.retry_after == 60
    assert limiter.check(large, tokens=200)
    small = {"key": "one", "model": "small"}
    assert limiter.check(small, tokens=500).remaining == 0
    assert limiter.check(small).limit == "key 3/minute"
    assert limiter.check({"key": "two", "model": "unheard of"}).limit == "key 3/minute"
    assert limiter.check({"model": "small"}).limit == "model small 50/minute"
    assert limiter.check({}).remaining == 94  # each call but the two that were refused, and this one
    clock.now += 60 * SECOND
    assert limiter.check(large, tokens=500)


def test_keys_without_a_limit_are_free():
    limiter = Limiter({"model": {"large": "1/minute"}})
    assert limiter.check("small") and limiter.check("small").retry_after == 0
    assert limiter.check("large") and not limiter.check("large")
    assert asyncio.run(limiter.check_async("small"))
    assert [bool(each) for each in limiter.check_many([("small", 1, 0), ("large", 1, 0)])] == [True, False]


def test_what_is_not_used_is_given_back_and_what_was_used_beyond_is_charged():
    clock = Clock()
    limiter = Limiter({"key": "1000 tokens/minute"}, clock=clock)
    reserved = limiter.check("one", tokens=800)
    limiter.refund("one", 0, 500, decision=reserved)
    assert limiter.check("one", tokens=700)
    limiter.charge("one", tokens=300)
    assert not limiter.check("one")  # in debt
    clock.now += 60 * SECOND
    assert limiter.check("one")
    limiter.refund("one", 0, 800, decision=reserved)  # which has left the window
    assert limiter.check("one", tokens=1000).remaining == 0


def test_own_limits():
    clock = Clock()
    limiter = Limiter(
        {"key": TokenBucket(10, 2, clock=clock), "user": SlidingWindow(3, 60, exact=False, name="users", clock=clock)}
    )
    both = {"key": "one", "user": "somebody"}
    assert limiter.check(both) and limiter.check(both)
    assert limiter.check(both).retry_after == 0.1
    clock.now += SECOND // 10
    assert limiter.check(both)
    clock.now += SECOND
    assert limiter.check(both).limit == "users"


@pytest.mark.parametrize(
    "limits",
    [None, {}, {"": "5/minute"}, {5: "5/minute"}, {"key": None}, {"key": 5}, {"key": []}, {"global": {"a": "5/minute"}},
     {"key": {"": "5/minute"}}, {"key": {"a": {"b": "5/minute"}}}, {"key": Tokens(None)}],
)  # fmt: skip
def test_limits_that_make_no_sense(limits: Any):
    with pytest.raises(ValueError):
        Limiter(limits)


def test_keys_costs_and_deadlines_that_make_no_sense():
    limiter = Limiter({"key": "5/minute", "user": "5/minute"})
    for key in ("", None, 5, {"key": ""}, {"key": 5}):
        with pytest.raises(ValueError, match="key"):
            limiter.check(key)
    with pytest.raises(ValueError, match="scopes"):
        Limiter({"team": "5/minute", "user": "5/minute"}).check("one")
    for cost in (-1, nan, inf, 1 << 70):
        with pytest.raises(ValueError, match="cost"):
            limiter.check("one", cost)  # type: ignore[arg-type]
    for deadline in (-1, nan, "1"):
        with pytest.raises(ValueError, match="deadline"):
            limiter.acquire("one", deadline=deadline)  # type: ignore[arg-type]


def test_who_waits_is_served_in_the_order_of_arrival():
    """Threads and two event loops in one queue."""
    limiter = Limiter({"key": TokenBucket(50, 1)})
    assert limiter.check("one")
    served: list[int] = []

    def wait(number: int) -> None:
        if number % 3:
            assert limiter.acquire("one", deadline=20)
        else:
            assert asyncio.run(limiter.acquire_async("one", deadline=20))
        served.append(number)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(9)]
    begin = time.monotonic()
    for number, thread in enumerate(threads):
        thread.start()
        while sum(len(queue.tickets) for queue in limiter._queues._queues.values()) + len(served) <= number:
            time.sleep(0.0005)
    for thread in threads:
        thread.join()
    assert served == sorted(served)
    assert 9 / 50 - 0.02 <= time.monotonic() - begin < 5
    assert limiter._queues._queues == {}


async def test_a_deadline_ends_the_wait():
    limiter = Limiter({"key": "1/minute"})
    assert limiter.acquire("one", deadline=0)
    begin = time.monotonic()
    first, second = await asyncio.gather(
        limiter.acquire_async("one", deadline=0.1), limiter.acquire_async("one", deadline=0.05)
    )
    assert not first and not second
    assert 50 < second.retry_after <= 60
    assert 0.1 <= time.monotonic() - begin < 2
    assert not limiter.acquire("one", deadline=0.01)
    assert limiter.acquire("one", 2).retry_after == math.inf  # which never comes
    assert limiter._queues._queues == {}


async def test_a_refund_wakes_who_waits():
    limiter = Limiter({"key": "1/hour"})
    decision = limiter.check("one")
    waiting = asyncio.ensure_future(limiter.acquire_async("one", deadline=30))
    thread = asyncio.ensure_future(asyncio.to_thread(limiter.acquire, "one", deadline=30))
    await asyncio.sleep(0.05)
    limiter.refund("one", decision=decision)
    second = await asyncio.wait_for(waiting, 5)
    assert second
    await limiter.refund_async("one", decision=second)
    assert await asyncio.wait_for(thread, 5)


async def test_who_gives_up_lets_the_next_one_on():
    limiter = Limiter({"key": TokenBucket(20, 1)})
    assert limiter.check("one")
    first = asyncio.ensure_future(limiter.acquire_async("one"))
    second = asyncio.ensure_future(limiter.acquire_async("one"))
    await asyncio.sleep(0.01)
    first.cancel()
    assert await asyncio.wait_for(second, 5)


def test_a_closed_loop_does_not_hold_up_the_queue():
    limiter = Limiter({"key": TokenBucket(5, 1)})
    assert limiter.check("one")
    loop = asyncio.new_event_loop()
    gone = loop.create_task(limiter.acquire_async("one"))
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    assert limiter.acquire("one", deadline=10)
    gone.get_coro().close()  # type: ignore[union-attr]
    gone._log_destroy_pending = False  # type: ignore[attr-defined]
