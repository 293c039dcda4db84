"""Choosing a deployment and recording a finished call, by strategy and number of deployments.

``python -m benchmarks.routing`` measures stock and accelerated in turn in one process and prints the table of
``docs/routing.md``.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import litellm  # noqa: F401  # once, for asv's fork server

from benchmarks import PURE, SHIPPED, accelerate, require_served
from litellm_accel.bench.workloads import DEMANDS, STRATEGIES, choosing, narrowing, recording, router_of, writing
from litellm_accel.stock import seams

SIZES = (10, 1000)
TABLED = (10, 100, 1000)


def _accelerate(backend: str) -> None:
    if seams.has_core_of_its_own():
        raise NotImplementedError("the installed LiteLLM's routers choose natively")  # asv leaves it out
    accelerate("routing", backend)


def _end(loop: asyncio.AbstractEventLoop, backend: str) -> None:
    """End a measurement, or one that was left out: asv tears that down as well."""
    loop.close()
    if backend != "stock" and not seams.has_core_of_its_own():
        require_served("routing")


class _Choice:
    """One choice, as ``chooser`` makes them for a row of ``params``, whose last is the backend."""

    def chooser(self, *row: Any) -> Callable[[], Awaitable[Any]]:
        raise NotImplementedError

    def setup(self, *row: Any) -> None:
        self.loop = asyncio.new_event_loop()
        _accelerate(row[-1])
        self.choose = self.chooser(*row[:-1])

    def time_choice(self, *row: Any) -> None:
        self.loop.run_until_complete(self.choose())

    def teardown(self, *row: Any) -> None:
        _end(self.loop, row[-1])


class Choosing(_Choice):
    """One choice."""

    params = (list(STRATEGIES), list(SIZES), list(SHIPPED))
    param_names = ("strategy", "deployments", "backend")

    def chooser(self, strategy: str, deployments: int) -> Callable[[], Awaitable[Any]]:
        return choosing(router_of(strategy, deployments))


class Twins(Choosing):
    """One choice without compiled modules, which is never slower than stock's."""

    params = (list(STRATEGIES), [SIZES[0]], [PURE])


class Writing(_Choice):
    """One choice of the least busy deployment after a change of what is in flight."""

    params = (list(SIZES), list(SHIPPED))
    param_names = ("deployments", "backend")

    def chooser(self, deployments: int) -> Callable[[], Awaitable[Any]]:
        return writing(router_of("least-busy", deployments))


class Narrowing(_Choice):
    """One choice within tags, pre-call checks or a wildcard."""

    params = (list(DEMANDS), list(SIZES), list(SHIPPED))
    param_names = ("demand", "deployments", "backend")

    def chooser(self, demand: str, deployments: int) -> Callable[[], Awaitable[Any]]:
        return narrowing(demand, deployments)


class Groups(_Choice):
    """One choice in one of many model groups of ten deployments."""

    params = ([1, 100], list(SHIPPED))
    param_names = ("groups", "backend")

    def chooser(self, groups: int) -> Callable[[], Awaitable[Any]]:
        return choosing(router_of("simple-shuffle", 10, groups), f"g{groups // 2}")


class Recording:
    """The record of one finished call at 1000 deployments."""

    params = (list(STRATEGIES), ["success", "failure"], list(SHIPPED))
    param_names = ("strategy", "outcome", "backend")

    def setup(self, strategy: str, outcome: str, backend: str) -> None:
        self.loop = asyncio.new_event_loop()
        _accelerate(backend)
        self.record = recording(router_of(strategy, 1000), strategy, outcome == "failure")

    def time_record(self, strategy: str, outcome: str, backend: str) -> None:
        self.loop.run_until_complete(self.record())

    def teardown(self, strategy: str, outcome: str, backend: str) -> None:
        _end(self.loop, backend)


async def _each(work: Callable[[], Awaitable[Any]], seconds: float) -> float:
    """Return the microseconds of processor time of one call, measured for about ``seconds``."""
    await work()
    calls = 0
    start = time.process_time()
    while (spent := time.process_time() - start) < seconds:
        for _ in range(10 if calls else 1):
            await work()
            calls += 1
    return spent / calls * 1e6


async def _row(title: str, work: Callable[[], Awaitable[Any]]) -> None:
    import litellm_accel

    stock, fast = [], []
    for _ in range(5):
        litellm_accel.restore()
        stock.append(await _each(work, 0.1))
        litellm_accel.accelerate("routing", strict=True)
        fast.append(await _each(work, 0.05))
    require_served("routing")
    before, after = statistics.median(stock), statistics.median(fast)
    print(f"| {title} | {before:,.0f} µs | {after:.1f} µs | {before / after:,.0f}× |", flush=True)


async def _growth() -> None:
    """Print how an accelerated choice grows with its group, and with the number of other groups."""
    import litellm_accel

    litellm_accel.accelerate("routing", strict=True)
    print("\n| choosing, accelerated | " + " | ".join(f"{size:,}" for size in (*TABLED, 10_000)) + " |")
    print("|---" * (len(TABLED) + 2) + "|")
    rows: dict[str, tuple[Callable[[Any], Any], str]] = {f"`{name}`": (choosing, name) for name in STRATEGIES}
    rows["`least-busy`, after a write"] = (writing, "least-busy")
    for title, (work, strategy) in rows.items():
        works = [work(router_of(strategy, size)) for size in (*TABLED, 10_000)]
        print(f"| {title} | " + " | ".join(f"{spent:.1f} µs" for spent in await _in_turn(works)) + " |", flush=True)
    groups = (1, 1000)
    one, many = await _in_turn([choosing(router_of("simple-shuffle", 10, count), "g0") for count in groups])
    print(f"\none group of 10: {one:.2f} µs; one of 1000 groups of 10: {many:.2f} µs, {many / one - 1:+.0%}")
    require_served("routing")
    litellm_accel.restore()


async def _in_turn(works: Sequence[Callable[[], Awaitable[Any]]]) -> list[float]:
    """Return the microseconds of one call of each, the median of nine turns in which all take part."""
    turns: list[list[float]] = [[] for _ in works]
    for _ in range(9):
        for turn, work in zip(turns, works, strict=True):
            turn.append(await _each(work, 0.03))
    return [statistics.median(turn) for turn in turns]


async def _table() -> None:
    import litellm_accel

    print("| work | stock | accelerated | ratio |\n|---|---|---|---|")
    for strategy in STRATEGIES:
        for size in TABLED:
            await _row(f"choose, {strategy}, {size}", choosing(router_of(strategy, size)))
    await _row("choose, simple-shuffle, 1000 groups of 10", choosing(router_of("simple-shuffle", 10, 1000), "g500"))
    await _row("choose, least-busy, 1000, after a write", writing(router_of("least-busy", 1000)))
    for strategy in STRATEGIES:
        for failure in (False, True):
            work = recording(router_of(strategy, 1000), strategy, failure)
            await _row(f"record a {'failure' if failure else 'success'}, {strategy}, 1000", work)
    for demand in DEMANDS:
        for size in TABLED:
            await _row(f"choose, {demand}, {size}", narrowing(demand, size))
    litellm_accel.restore()
    await _growth()


if __name__ == "__main__":
    asyncio.run(_table())
