"""Choosing a deployment and recording a finished call, by strategy and number of deployments.

``python -m benchmarks.routing`` measures stock and accelerated in turn in one process and prints the table of
``docs/routing.md``.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta, timezone
from itertools import cycle
from typing import Any

import litellm

from benchmarks import PURE, SHIPPED, accelerate, require_served
from litellm_accel.stock import seams

STRATEGIES = (
    "simple-shuffle",
    "least-busy",
    "cost-based-routing",
    "latency-based-routing",
    "usage-based-routing-v2",
    "usage-based-routing",
)
SIZES = (10, 1000)
TABLED = (10, 100, 1000)
DEMANDS = ("tags", "pre-call checks", "wildcard")
MESSAGES = [{"role": "user", "content": "How many roads must a man walk down?"}]


def router_of(strategy: str, size: int, groups: int = 1) -> Any:
    """Return a router of ``groups`` model groups ``g0``, ``g1``, … of ``size`` deployments each, with measurements."""
    from litellm import Router

    models: list[dict[str, Any]] = [
        {
            "model_name": f"g{group}",
            "litellm_params": {
                "model": "openai/gpt-4o-mini",
                "api_key": "sk-benchmark",
                "api_base": f"http://{group}.{index}.test/v1",
                "weight": index % 7 + 1,
            },
            "model_info": {"id": f"d{group}-{index}"},
        }
        for group in range(groups)
        for index in range(size)
    ]
    router = Router(model_list=models, routing_strategy=strategy)
    ids = [model["model_info"]["id"] for model in models]
    memory = router.cache.in_memory_cache
    draw = random.Random(size)
    if strategy == "latency-based-routing":
        memory.set_cache("g0_map", {name: {"latency": [draw.random() for _ in range(10)]} for name in ids})
    elif strategy == "cost-based-routing":
        memory.set_cache("cost_map:g0", {name: {} for name in ids})
    elif strategy == "usage-based-routing":
        memory.set_cache(f"g0:tpm:{datetime.now():%H-%M}", {name: draw.randrange(1000) for name in ids}, ttl=600)
    elif strategy == "usage-based-routing-v2":
        minute = f"{datetime.now(timezone.utc):%H-%M}"
        for name in draw.sample(ids, min(size, 75)):
            for kind in ("tpm", "rpm"):
                memory.set_cache(f"{name}:openai/gpt-4o-mini:{kind}:{minute}", draw.randrange(1, 1000), ttl=600)
    elif strategy == "least-busy":
        for name in draw.sample(ids, min(size, 150)):
            memory.set_cache(f"g0_request_count:{name}", draw.randrange(1, 5))
    return router


def choosing(router: Any, group: str = "g0", tags: Sequence[str] = ()) -> Callable[[], Awaitable[Any]]:
    """Return a coroutine function that chooses a deployment for a request as ``Router.acompletion`` does."""

    def choose() -> Awaitable[Any]:
        metadata = {"tags": list(tags)} if tags else {}
        found: Awaitable[Any] = router.async_get_available_deployment(group, {"metadata": metadata}, MESSAGES)
        return found

    return choose


def writing(router: Any) -> Callable[[], Awaitable[Any]]:
    """Return a choice before which the requests in flight of one deployment change."""
    choose, memory, counts = choosing(router), router.cache.in_memory_cache.cache_dict, cycle((1, 2))
    counter = next(key for key in memory if key.startswith("g0_request_count:"))

    def work() -> Awaitable[Any]:
        memory[counter] = next(counts)
        return choose()

    return work


def narrowing(demand: str, size: int) -> Callable[[], Awaitable[Any]]:
    """Return a choice among those of ``size`` deployments that meet a ``demand``, one of ``DEMANDS``."""
    from litellm import Router

    if demand == "wildcard":
        name, model, asked = "openai/*", "openai/*", "openai/gpt-4o-mini"
    else:
        name, model, asked = "g0", "openai/gpt-4o-mini", "g0"
    models = [
        {
            "model_name": name,
            "litellm_params": {"model": model, "api_key": "sk-benchmark", "tags": [("free", "paid")[index % 2]]},
            "model_info": {"id": f"{demand}-{index}"},
        }
        for index in range(size)
    ]
    settings = {"tags": {"enable_tag_filtering": True}, "pre-call checks": {"enable_pre_call_checks": True}}
    router = Router(model_list=models, **settings.get(demand, {}))
    return choosing(router, asked, ["paid"] if demand == "tags" else ())


def recording(router: Any, strategy: str, failure: bool) -> Callable[[], Awaitable[Any]]:
    """Return a coroutine function that records a finished call in the router and in its strategy."""
    from litellm import ModelResponse, Router, Usage

    kwargs = {
        "call_type": "acompletion",
        "litellm_params": {
            "metadata": {"model_group": "g0", "deployment": "openai/gpt-4o-mini"},
            "model_info": {"id": "d0-3"},
        },
        "standard_logging_object": {
            "model_group": "g0",
            "model_id": "d0-3",
            "total_tokens": 12,
            "hidden_params": {"litellm_model_name": "openai/gpt-4o-mini"},
        },
        "exception": litellm.APIConnectionError("gone", "openai", "gpt-4o-mini"),
    }
    response = ModelResponse(usage=Usage(completion_tokens=5, prompt_tokens=7, total_tokens=12))
    start = datetime(2026, 1, 1)
    call = (kwargs, response, start, start + timedelta(seconds=1))
    selector = getattr(router, Router._DEFAULT_SELECTOR_ATTR_BY_STRATEGY.get(strategy, ""), None)

    async def succeed() -> None:
        await router.deployment_callback_on_success(*call)
        if selector is not None:
            await selector.async_log_success_event(*call)

    async def fail() -> None:
        await router.async_deployment_callback_on_failure(*call)
        router.deployment_callback_on_failure(*call)
        if selector is not None:
            await selector.async_log_failure_event(*call)

    return fail if failure else succeed


def _accelerate(backend: str) -> None:
    if seams.has_core_of_its_own():
        raise NotImplementedError("the installed LiteLLM's routers choose natively")  # asv leaves it out
    accelerate("routing", backend)


class _Choice:
    """One choice, as ``chooser`` makes them for a row of ``params``, whose last is the backend."""

    def chooser(self, *row: Any) -> Callable[[], Awaitable[Any]]:
        raise NotImplementedError

    def setup(self, *row: Any) -> None:
        _accelerate(row[-1])
        self.loop = asyncio.new_event_loop()
        self.choose = self.chooser(*row[:-1])

    def time_choice(self, *row: Any) -> None:
        self.loop.run_until_complete(self.choose())

    def teardown(self, *row: Any) -> None:
        self.loop.close()
        if row[-1] != "stock":
            require_served("routing")


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
        _accelerate(backend)
        self.loop = asyncio.new_event_loop()
        self.record = recording(router_of(strategy, 1000), strategy, outcome == "failure")

    def time_record(self, strategy: str, outcome: str, backend: str) -> None:
        self.loop.run_until_complete(self.record())

    def teardown(self, strategy: str, outcome: str, backend: str) -> None:
        self.loop.close()
        if backend != "stock":
            require_served("routing")


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
    turns = [[await _each(work, 0.03) for work in works] for _ in range(9)]
    return [statistics.median(turn[place] for turn in turns) for place in range(len(works))]


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
