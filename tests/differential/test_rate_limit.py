"""Component ``rate_limit`` against stock: the same checks, errors and counters of a router's limits."""

from __future__ import annotations

import asyncio
import copy
import datetime
import random
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import litellm
import pytest
from litellm import Router
from litellm.caching.dual_cache import DualCache
from litellm.caching.in_memory_cache import InMemoryCache
from litellm.router_strategy import lowest_tpm_rpm_v2
from litellm.router_utils.pre_call_checks import model_rate_limit_check

import litellm_accel
from fastpath_switch import without_callbacks
from litellm_accel import _backend, activation, patching
from litellm_accel.components import rate_limit, routing
from litellm_accel.components.base import ProbeMismatch
from litellm_accel.provider import Provider
from litellm_accel.routing import accounting, filters, listings
from litellm_accel.stock import seams

if seams.has_core_of_its_own():
    pytest.skip("the installed LiteLLM's routers have a core of their own", allow_module_level=True)

MODELS, USAGES = model_rate_limit_check.ModelRateLimitingCheck, lowest_tpm_rpm_v2.LowestTPMLoggingHandler_v2
HOOKS = ("pre_call_check", "async_pre_call_check", "log_success_event", "async_log_success_event")
STOCK = {(kind, hook): patching.stock_copy(vars(kind)[hook]) for kind in (MODELS, USAGES) for hook in HOOKS}


@pytest.fixture
def gate(restored: None, hot: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The gate of the active component."""
    for module in (routing, filters, accounting, listings, rate_limit):
        monkeypatch.setattr(module, "_hot", hot("routing"))
    monkeypatch.setattr(rate_limit, "limit_checks", hot("limit_checks"))
    monkeypatch.setitem(_backend._modules, "gate", hot("gate"))
    monkeypatch.setattr(activation, "_activations", {})
    with without_callbacks():
        status = litellm_accel.accelerate("rate_limit", strict=True)["rate_limit"]
        assert (status.state, status.proof) == ("active", "at start")
        yield activation._activations["rate_limit"].gate
        litellm_accel.restore()


class Clock:
    """The clock of caches, and of LiteLLM's minutes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_800_000_000.0
        moment = SimpleNamespace(now=lambda zone: datetime.datetime.fromtimestamp(self.now, zone))
        fake = SimpleNamespace(datetime=moment, timezone=datetime.timezone)
        monkeypatch.setattr(litellm.utils, "datetime", fake)

    def __call__(self) -> float:
        return self.now


def logger(kind: Any, clock: Callable[[], float] = lambda: 1_800_000_000.0, **more: Any) -> Any:
    cache = DualCache(in_memory_cache=InMemoryCache(clock=clock, **more))
    if kind is MODELS:
        return MODELS(cache)
    made = USAGES.__new__(USAGES)
    vars(made).update(
        router_cache=cache,
        routing_args=lowest_tpm_rpm_v2.RoutingArgs(),
        dual_cache=cache,
        redis_increment_operation_queue=[],
        _sync_task=None,
        in_memory_keys_to_update=set(),
    )
    return made


def deployment(name: str = "one", **limits: Any) -> dict[str, Any]:
    return {
        "model_name": "chat",
        **limits.pop("own", {}),
        "litellm_params": {"model": "openai/gpt-4o-mini", **limits.pop("params", {})},
        "model_info": {"id": name, **limits.pop("info", {})},
        **limits,
    }


def finished(name: str = "one", tokens: Any = 7, **more: Any) -> dict[str, Any]:
    payload = {
        "model_group": "chat",
        "model_id": name,
        "total_tokens": tokens,
        "hidden_params": {"litellm_model_name": "openai/gpt-4o-mini"},
        "metadata": {},
    }
    return {"standard_logging_object": {**payload, **more}, "metadata": {}, "call_type": "acompletion"}


def told(function: Callable[..., Any], *args: Any) -> Any:
    """Return what a call returns or raises."""
    try:
        result = function(*args)
        return repr(asyncio.run(result) if asyncio.iscoroutine(result) else result)
    except litellm.RateLimitError as error:
        return str(error), error.response.text, dict(error.response.headers), error.num_retries, error.model


def state(made: Any) -> Any:
    memory = made.dual_cache.in_memory_cache
    queue = getattr(made, "redis_increment_operation_queue", []), getattr(made, "in_memory_keys_to_update", set())
    return memory.cache_dict, memory.ttl_dict, sorted(memory.expiration_heap), queue


def both(kind: Any, hook: str, pair: list[Any], *args: Any) -> Any:
    """Call stock on one logger and the accelerated method on its twin; return what both say."""
    said = told(STOCK[kind, hook], pair[0], *copy.deepcopy(args))
    assert told(getattr(pair[1], hook), *copy.deepcopy(args)) == said
    assert state(pair[0]) == state(pair[1])
    return said


@pytest.mark.parametrize("kind", [MODELS, USAGES])
@pytest.mark.parametrize("prefix", ["", "async_"])
@pytest.mark.parametrize("room", [200, 3])
def test_checks_and_counts_are_stocks(
    gate: Any, monkeypatch: pytest.MonkeyPatch, kind: Any, prefix: str, room: int
) -> None:
    """Any calls of any deployments by a clock that goes on: results, errors, counters and how long they live."""
    clock = Clock(monkeypatch)
    pair = [logger(kind, clock, max_size_in_memory=room) for _ in range(2)]
    draw = random.Random(f"{kind}{prefix}{room}")
    deployments = [
        deployment("a", rpm=3),
        deployment("b", params={"rpm": 5, "tpm": 60}),
        deployment("c", info={"tpm": 30.5, "rpm": 4.5}),
        deployment("d", params={"rpm": 0}),
        deployment("e"),
        deployment("f", own={"tpm": 20}, params={"tpm": 10**9}),
        deployment("g", params={"rpm": 2}, num_retries=3),
    ]
    refused = 0
    for _ in range(300):
        clock.now += draw.choice([0, 0, 0.5, 3, 3, 20, 61, 700]) * draw.random()
        one = draw.choice(deployments)
        if draw.random() < 0.6:
            refused += isinstance(both(kind, f"{prefix}pre_call_check", pair, one, *([None] if prefix else [])), tuple)
        else:
            call = finished(one["model_info"]["id"], draw.choice([0, 5, 7, 12.5]))
            both(kind, f"{prefix}log_success_event", pair, call, None, None, None)
    assert refused > 10
    assert gate.served > 150 and gate.faults == 0
    assert set(gate.declined) == {"a deployment at its limit"}


@pytest.mark.parametrize("kind", [MODELS, USAGES])
@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (deployment(params={"rpm": "5"}), "limits that are no numbers"),
        (deployment(params={"rpm": True}), "limits that are no numbers"),
        (deployment(info={"id": 5}), "deployments that are no plain dictionaries"),
        (
            {"model_name": "chat", "litellm_params": {"model": "m", "rpm": 3}},
            "deployments that are no plain dictionaries",
        ),
        ({}, "deployments that are no plain dictionaries"),
    ],
)
def test_deployments_that_are_left_to_stock(gate: Any, kind: Any, one: Any, reason: str) -> None:
    pair = [logger(kind) for _ in range(2)]
    served = gate.served
    both(kind, "pre_call_check", pair, one)
    assert (gate.served, gate.declined) == (served, {reason: 1})


@pytest.mark.parametrize(
    "call",
    [
        {},
        {"standard_logging_object": None},
        finished(model_id=None),
        finished(model_id=5),
        finished(tokens=None),
        finished(tokens="7"),
        finished(hidden_params={}),
        finished(hidden_params={"litellm_model_name": None}),
    ],
)
@pytest.mark.parametrize("kind", [MODELS, USAGES])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_records_that_are_left_to_stock(gate: Any, kind: Any, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = [logger(kind) for _ in range(2)]
    served = gate.served
    for hook in ("log_success_event", "async_log_success_event"):
        monkeypatch.setattr(lowest_tpm_rpm_v2.verbose_logger, "disabled", True)
        both(kind, hook, pair, call, None, None, None)
    assert gate.served == served and gate.declined == {"an unexpected record of a call": 2}


def test_what_else_is_left_to_stock(gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one = deployment(params={"rpm": 5})

    def declines(pair: list[Any], reason: str, hook: str = "pre_call_check", *args: Any) -> None:
        gate.clear()
        both(type(pair[0]) if type(pair[0]) in (MODELS, USAGES) else USAGES, hook, pair, *(args or (one,)))
        assert (gate.served, gate.declined) == (0, {reason: 1})

    pair = [logger(MODELS) for _ in range(2)]
    declines(pair, "limits of input or output tokens", "pre_call_check", deployment(params={"itpm": None, "otpm": 0}))
    reserved = {**finished(), "metadata": {model_rate_limit_check.ITPM_RESERVED_KEY: 5}}
    declines(pair, "limits of input or output tokens", "log_success_event", reserved, None, None, None)
    for kind in (MODELS, USAGES):
        pair = [logger(kind) for _ in range(2)]
        both(kind, "pre_call_check", pair, one)
        for made in pair:
            made.dual_cache.redis_cache = SimpleNamespace(
                increment_cache=lambda *args, **kwargs: 1, get_cache=lambda *args, **kwargs: None
            )
        declines(pair, "Redis")
        pair = [logger(kind) for _ in range(2)]
        both(kind, "pre_call_check", pair, one)
        for made in pair:
            made.dual_cache.in_memory_cache.increment_cache = lambda key, value, **kwargs: 3
        declines(pair, "a router's part with methods of its own")
        pair = [logger(kind) for _ in range(2)]
        for made in pair:
            made.mine = 5
        declines(pair, "a strategy with methods of its own")
        pair = [logger(kind) for _ in range(2)]
        both(kind, "pre_call_check", pair, one)
        for made in pair:
            for key in made.dual_cache.in_memory_cache.cache_dict:
                made.dual_cache.in_memory_cache.cache_dict[key] = "text"
        declines(pair, "an unexpected value in the cache")
        pair = [logger(kind) for _ in range(2)]
        monkeypatch.setattr(litellm, "set_verbose", True)
        declines(pair, "verbose mode")
        monkeypatch.setattr(litellm, "set_verbose", False)
    with monkeypatch.context() as patched:
        patched.setattr(lowest_tpm_rpm_v2, "get_utc_datetime", lambda: datetime.datetime(2030, 1, 1, 1, 1))
        declines([logger(USAGES) for _ in range(2)], "LiteLLM's routing is patched")
    with monkeypatch.context() as patched:
        patched.setattr(MODELS, "_get_deployment_limits", lambda self, deployment: (None, 1))
        declines([logger(MODELS) for _ in range(2)], "LiteLLM's routing is patched")

    class Mine(USAGES):  # type: ignore[misc, valid-type]
        pass

    pair = [logger(USAGES) for _ in range(2)]
    for made in pair:
        made.__class__ = Mine
    declines(pair, "a strategy with methods of its own")


def test_a_difference_keeps_it_off(restored: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_rate_limit_check.RoutingArgs, "ttl", 60)
    real = rate_limit.limit_checks.LimitChecks

    class Other:
        def __init__(self, *args: Any) -> None:
            self._checks = real(*args)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._checks, name)

        def model_check(self, handler: Any, deployment: Any, parent_otel_span: Any = None) -> Any:
            handler.dual_cache.in_memory_cache.cache_dict["more"] = 1
            return self._checks.model_check(handler, deployment)

    monkeypatch.setattr(rate_limit, "limit_checks", SimpleNamespace(LimitChecks=Other))
    status = litellm_accel.accelerate("rate_limit")["rate_limit"]
    assert status.state == "failed" and "pre_call_check" in status.reason
    assert issubclass(ProbeMismatch, Exception)


def test_words_that_are_not_known_keep_it_off(restored: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limit, "_WORDS", frozenset(rate_limit._WORDS - {"ITPM"}))
    status = litellm_accel.accelerate("rate_limit")["rate_limit"]
    assert status.state == "off" and "ITPM" in status.reason


@pytest.mark.parametrize("settings", [{"optional_pre_call_checks": ["enforce_model_rate_limits"]},
                                      {"routing_strategy": "usage-based-routing-v2"}])  # fmt: skip
async def test_a_routers_calls(gate: Any, provider: Provider, settings: dict[str, Any]) -> None:
    """Through a real router: the limit's calls, then LiteLLM's own error, the same without the component."""
    params = {"model": "openai/gpt-4o-mini", "api_key": "sk-1", "api_base": provider.url, "rpm": 3}
    said = []
    for is_on in (True, False):
        litellm.callbacks.clear()
        gate.switch(is_on)
        served = gate.served
        models = [{"model_name": "chat", "litellm_params": dict(params), "model_info": {"id": "one"}}]
        router = Router(model_list=models, num_retries=0, disable_cooldowns=True, **copy.deepcopy(settings))
        while datetime.datetime.now().second > 50:  # the minute must not end
            await asyncio.sleep(0.5)
        calls = 0
        with pytest.raises(litellm.RateLimitError) as raised:
            while calls < 9:
                await router.acompletion(model="chat", messages=[{"role": "user", "content": "Hello"}])
                calls += 1
        text = str(raised.value).partition("id=")[0].partition("Deployments=")[0]  # tokens are counted when they are
        said.append((calls, type(raised.value), text))
        assert (gate.served - served >= 2) == is_on
    assert said[0] == said[1]
