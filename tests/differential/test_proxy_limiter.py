"""The limiter of LiteLLM's proxy, ``parallel_request_limiter_v3``, against stock: decisions, headers, counts."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import litellm
import pytest
from litellm.caching.dual_cache import DualCache
from litellm.caching.in_memory_cache import InMemoryCache

import litellm_accel
from fastpath_switch import without_callbacks
from litellm_accel import _backend, activation, patching
from litellm_accel.components import proxy_limiter, rate_limit, routing
from litellm_accel.fastpath import decline
from litellm_accel.routing import accounting, filters
from litellm_accel.stock import releases

pytest.importorskip("fastapi")
limiter_v3 = importlib.import_module(proxy_limiter.MODULE)
from fastapi import HTTPException  # noqa: E402
from litellm.proxy._types import UserAPIKeyAuth  # noqa: E402

Limiter = limiter_v3._PROXY_MaxParallelRequestsHandler_v3
STOCK = {name: patching.stock_copy(vars(Limiter)[name]) for name in proxy_limiter._METHODS}
SCOPES = [("api_key", "a"), ("user", "b"), ("team", "c"), ("model_per_key", "a:g"), ("model_per_project_itpm", "d:g")]
RELEASE = "_release_parallel_request_slots_in_memory"


class _Stub(ModuleType):
    """A module of the proxy whose own needs are missing here: any other name in it is a class that does nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {"__new__": lambda kind, *args, **more: args[0] if args else None})


def _stubs() -> dict[str, ModuleType]:
    """Return what stands for the proxy's modules that cannot be imported here."""
    try:
        importlib.import_module("litellm.proxy.proxy_server")
        return {}
    except ImportError:
        utils, server = (_Stub(f"litellm.proxy.{name}") for name in ("utils", "proxy_server"))
        source = Path(litellm.__path__[0], "proxy", "utils.py").read_text("utf-8")
        (found,) = (node for node in ast.parse(source).body if getattr(node, "name", "") == "InternalUsageCache")
        vars(utils).update(DualCache=DualCache, Span=Any, Sequence=Sequence, Any=Any)
        exec(compile(ast.Module([found], []), "utils.py", "exec"), vars(utils))
        vars(server).update(llm_router=None, general_settings={}, prisma_client=None, open_telemetry_logger=None)
        return {utils.__name__: utils, server.__name__: server}


STUBS = _stubs()
UTILS = STUBS.get("litellm.proxy.utils") or sys.modules["litellm.proxy.utils"]


class Clock:
    """A clock that tests turn: of limiters, and of a cache where LiteLLM counts in one."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.25

    def __call__(self) -> datetime:
        return datetime.fromtimestamp(self.now)

    def seconds(self) -> float:
        return self.now


@pytest.fixture
def gate(restored: None, hot: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The gate of the active component, which has joined the limiter."""
    for module in (routing, filters, accounting, rate_limit):
        monkeypatch.setattr(module, "_hot", hot("routing"))
    monkeypatch.setattr(rate_limit, "limit_checks", hot("limit_checks"))
    for name in ("proxy_limits", "routing", "watch", "gate"):
        monkeypatch.setattr(proxy_limiter, name, hot(name))
    monkeypatch.setattr(rate_limit, "can_be_there", lambda: True)
    for name, module in STUBS.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(_backend._modules, "gate", hot("gate"))
    monkeypatch.setattr(activation, "_activations", {})
    with without_callbacks():
        assert litellm_accel.accelerate("rate_limit", strict=True)["rate_limit"].state == "active"
        yield activation._activations["rate_limit"].gate
        litellm_accel.restore()


def limiter(clock: Clock | None = None, kind: Any = Limiter, **more: Any) -> Any:
    clock = clock or Clock()
    memory = InMemoryCache(clock=clock.seconds, **more)
    return kind(UTILS.InternalUsageCache(DualCache(in_memory_cache=memory)), time_provider=clock)


def counts_in_cache() -> bool:
    return not hasattr(limiter(), "rate_limits")


def stock(made: Any) -> Any:
    """Return a limiter all of whose methods are stock's."""
    for name, function in STOCK.items():
        setattr(made, name, function.__get__(made))
    return made


def state(made: Any, scopes: list[tuple[str, str]] = SCOPES) -> Any:
    if hasattr(made, "rate_limits"):
        store = made.rate_limits
        kind = importlib.import_module("litellm.redis.stores.rate_limits").RateLimitScope
        made = [kind(*scope) for scope in scopes]
        return [store.local((one.window, one.counter("requests"), one.counter("tokens"), one.gauge)) for one in made]
    memory = made.internal_usage_cache.dual_cache.in_memory_cache
    return memory.cache_dict, memory.ttl_dict, sorted(memory.expiration_heap)


def gauges(made: Any, scopes: list[tuple[str, str]]) -> list[Any]:
    if not hasattr(made, "rate_limits"):
        return [f"{{{key}:{value}}}:max_parallel_requests" for key, value in scopes]
    kind = importlib.import_module("litellm.redis.stores.rate_limits").RateLimitScope
    return [kind(*scope) for scope in scopes]


def release(made: Any, scopes: list[tuple[str, str]], slot: str) -> None:
    asyncio.run(getattr(made, RELEASE)(gauges(made, scopes), slot, *(() if hasattr(made, "rate_limits") else (None,))))


def limits(draw: random.Random) -> dict[str, Any]:
    return {
        "requests_per_unit": draw.choice([None, 0, 3, 9]),
        "tokens_per_unit": draw.choice([None, 40, 100]),
        "max_parallel_requests": draw.choice([None, None, 2, 4]),
        "window_size": draw.choice([None, 60, 10]),
    }


@pytest.mark.parametrize("room", [200, 7])
def test_decisions_and_counts_are_stocks(gate: Any, room: int) -> None:
    """Any requests by a clock that goes on: what is said, what is counted, and how long it lives."""
    clock = Clock()
    pair = [stock(limiter(clock, max_size_in_memory=room)), limiter(clock, max_size_in_memory=room)]
    draw = random.Random(room)
    seen: set[str] = set()
    slots = ["none"]
    for step in range(400):
        clock.now += draw.choice([0, 0, 0.3, 5, 61, 3600]) * draw.choice([1, draw.random()])
        asked = [
            {"key": key, "value": value, "rate_limit": draw.choice([limits(draw), limits(draw), None])}
            for key, value in SCOPES
            if draw.random() < 0.6
        ]
        way = draw.choice([*STOCK, "should_rate_limit"])
        if way == RELEASE:
            scopes, slot = draw.sample(SCOPES, 3), draw.choice(slots)
            for made in pair:
                release(made, scopes, slot)
        else:
            args: tuple[Any, ...] = (asked,)
            more: dict[str, Any] = {}
            if way == "should_rate_limit":
                slots.append(f"slot {step}")
                more = {"parallel_slot_id": slots[-1], "skip_tpm_check": draw.random() < 0.5}
                more["read_only"] = draw.random() < 0.2
            elif way == "reserve_tpm_tokens":
                args = asked, draw.choice([0, 1, 7, 30])
            else:
                args = asked, [{"requests": draw.choice([0, 1, 2]), "tokens": draw.choice([0, 5, 20])} for _ in asked]
            said = [asyncio.run(getattr(made, way)(*args, **more)) for made in pair]
            assert repr(said[0]) == repr(said[1]), (way, args, more)
            seen.add(f"{way} {said[0]['overall_code']}")
        assert state(pair[0]) == state(pair[1]), (way, asked)
    assert len(seen) >= 5
    assert gate.served >= 400 and not gate.faults and not gate.declined


def caller(number: int, **more: Any) -> Any:
    return UserAPIKeyAuth(
        api_key=f"key {number}",
        user_id=f"user {number % 2}",
        team_id="team",
        end_user_id="customer",
        rpm_limit=6,
        tpm_limit=4000,
        max_parallel_requests=2,
        user_rpm_limit=9,
        team_rpm_limit=15,
        team_tpm_limit=20_000,
        end_user_tpm_limit=9000,
        metadata={"model_rpm_limit": {"g": 5}, "model_tpm_limit": {"g": 3000}},
        **more,
    )


async def served_as_by_the_proxy(made: Any, number: int, fails: bool) -> Any:
    """Do with a request what the proxy does, and return what its client and its log learn."""
    limiter_v3._request_stash.set(None)
    key, data = caller(number), {"model": "g", "messages": [{"role": "user", "content": "Hello " * 30}]}
    data["litellm_call_id"] = f"call {number}"
    try:
        await made.async_pre_call_hook(key, DualCache(), data, "acompletion")
    except HTTPException as error:
        return error.status_code, str(error.detail), dict(error.headers or {})
    stash = limiter_v3.get_request_stash()
    if fails:
        await made.async_post_call_failure_hook(data, ValueError("of the provider"), key)
    else:
        response = litellm.ModelResponse(usage=litellm.Usage(prompt_tokens=40, completion_tokens=9, total_tokens=49))
        await made.async_post_call_success_hook(data, key, response)
        metadata = {"user_api_key_hash": key.api_key, "user_api_key_user_id": key.user_id}
        metadata |= {"user_api_key_team_id": "team", "user_api_key_end_user_id": "customer"}
        kwargs = {
            "standard_logging_object": {"metadata": metadata, "model_group": "g", "hidden_params": {}},
            "litellm_params": {"metadata": {"model_group": "g"}},
            "litellm_call_id": data["litellm_call_id"],
            "call_type": "acompletion",
        }
        await made.async_log_success_event(kwargs, response, None, None)
        return data, response._hidden_params["additional_headers"], stash.reserved_scopes
    return data, stash.rate_limit_response, stash.reserved_scopes


async def test_requests_of_a_proxy(gate: Any) -> None:
    """Key, user, team, model and end user: the same are let through, with the same headers, and refused alike."""
    clock = Clock()
    pair = [stock(limiter(clock)), limiter(clock)]
    scopes = [("api_key", f"key {number}") for number in range(4)]
    scopes += [("model_per_key", f"key {number}:g") for number in range(4)]
    scopes += [("user", "user 0"), ("user", "user 1"), ("team", "team"), ("end_user", "customer")]
    draw = random.Random(5)
    refused = allowed = 0
    for _ in range(60):
        clock.now += draw.choice([0, 1, 7, 50])
        number, fails = draw.randrange(4), draw.random() < 0.3
        said = [await served_as_by_the_proxy(made, number, fails) for made in pair]
        assert said[0] == said[1]
        if said[0][0] == 429:
            refused += 1
            assert int(said[0][2]["retry-after"]) == 60
        else:
            allowed += 1
            if not fails:
                assert said[0][1]["x-ratelimit-api_key-limit-requests"] == 6
                assert said[0][1]["x-ratelimit-team-remaining-tokens"] < 20_000
        assert state(pair[0], scopes) == state(pair[1], scopes)
    assert refused > 5 and allowed > 10
    assert gate.served > 100 and not gate.faults and not gate.declined


def declines(gate: Any, made: Any, *reasons: Any, way: str = "should_rate_limit", **more: Any) -> None:
    gate.clear()
    args = more.pop("args", ([{"key": "user", "value": "b", "rate_limit": {"requests_per_unit": 5}}],))
    with contextlib.suppress(Exception):  # what stock makes of it
        asyncio.run(getattr(made, way)(*args, **more))
    assert (gate.served, gate.declined) == (0, {str(reason): 1 for reason in reasons})


def test_what_is_left_to_stock(gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown, methods = decline.LIMITER_DESCRIPTORS, decline.LIMITER_METHODS
    made = limiter()
    five = {"requests_per_unit": 5}
    twice = [{"key": "user", "value": "b", "rate_limit": five}] * 2
    declines(gate, made, unknown, args=(twice,))
    declines(gate, made, unknown, args=([{"key": "user", "value": 7, "rate_limit": five}],))
    for limit in (True, 1 << 60):
        wrong = [{"key": "user", "value": "b", "rate_limit": {"requests_per_unit": limit}}]
        declines(gate, made, decline.LIMITER_VALUE, args=(wrong,))
    parallel = [{"key": "user", "value": "b", "rate_limit": {"max_parallel_requests": 5}}]
    declines(gate, made, unknown, args=(parallel,))  # stock makes up the slot's name
    made.should_rate_limit(parallel).close()

    async def busy() -> None:
        async with made._check_and_increment_lock:
            coroutine = made.should_rate_limit([], read_only=True)
            await coroutine

    gate.clear()
    asyncio.run(busy())
    assert gate.declined == {str(decline.LIMITER_BUSY): 1}

    class Mine(Limiter):  # type: ignore[misc, valid-type]
        pass

    declines(gate, limiter(kind=Mine), methods)
    own = limiter()
    own.is_cache_list_over_limit = own.is_cache_list_over_limit
    declines(gate, own, methods)
    with monkeypatch.context() as patched:
        patched.setattr(Limiter, "_gauge_status", lambda self, gauge, in_flight, code: {"code": code})
        declines(gate, made, decline.LIMITER_PATCHED)
    with monkeypatch.context() as patched:
        patched.setattr(importlib.import_module("litellm._logging"), "set_verbose", True)
        declines(gate, made, decline.ROUTING_VERBOSE)
    assert asyncio.run(made.should_rate_limit(parallel, parallel_slot_id="slot"))["overall_code"] == "OK"


def test_with_redis_the_scripts_decide(gate: Any) -> None:
    made = limiter()
    if hasattr(made, "rate_limits"):
        handle = made.rate_limits._handle
        kind = type(handle)
        client = importlib.import_module("litellm.rust_bridge._native").NativeRedisClient
        redis = importlib.import_module("litellm.caching.redis_cache").RedisCache(host="127.0.0.1", port=1)
        store = type(made.rate_limits)(kind(client.connect(redis.store_settings), 60))
        made = Limiter(made.internal_usage_cache, rate_limit_store=store)
    else:
        made.internal_usage_cache.dual_cache.redis_cache = SimpleNamespace()
    joined = rate_limit.COMPONENT._proxy
    assert joined is not None and joined._understood(made) is decline.LIMITER_REDIS


@pytest.mark.skipif(not counts_in_cache(), reason="LiteLLM counts in a core of its own")
def test_counts_that_are_not_understood(gate: Any) -> None:
    made = limiter()
    memory = made.internal_usage_cache.dual_cache.in_memory_cache
    five = [{"key": "user", "value": "b", "rate_limit": {"requests_per_unit": 5, "max_parallel_requests": 5}}]
    for name, value in (("requests", 1.5), ("window", "1799999990"), ("max_parallel_requests", 3)):
        memory.set_cache(f"{{user:b}}:{name}", value, ttl=60)
    assert asyncio.run(made.should_rate_limit(five, parallel_slot_id="slot"))["statuses"][0]["limit_remaining"] == 3
    memory.set_cache("{user:b}:max_parallel_requests", {"slot": "since"}, ttl=60)
    declines(gate, made, decline.LIMITER_VALUE, args=(five,), parallel_slot_id="slot")


class Lying:
    """A kernel that decides otherwise."""

    def __init__(self, *args: Any) -> None:
        self._kernel = self.made(*args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kernel, name)

    def should_rate_limit(self, handler: Any, descriptors: Any, *args: Any, **more: Any) -> Any:
        told = self._kernel.should_rate_limit(handler, descriptors, *args, **more)
        return {**told, "overall_code": "OK"} if type(told) is dict else told


def test_one_that_differs_stays_stocks(gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = proxy_limiter.proxy_limits
    kind = type("Lies", (Lying,), {"made": real.ProxyLimits})
    fake = SimpleNamespace(ProxyLimits=kind, CacheStore=real.CacheStore, NativeStore=real.NativeStore)
    monkeypatch.setattr(proxy_limiter, "proxy_limits", fake)
    made = limiter()
    declines(gate, made, decline.LIMITER_UNPROVEN)
    declines(gate, made, decline.LIMITER_UNPROVEN)


def test_one_of_an_unknown_release_stays_stocks(gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases, "strange", lambda modules: "litellm.proxy.hooks.another")
    made = limiter()
    declines(gate, made, decline.LIMITER_UNPROVEN)
    declines(gate, made, decline.LIMITER_UNPROVEN)


def test_it_joins_a_proxy_that_comes_later(gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    litellm_accel.restore()
    original = vars(Limiter)["should_rate_limit"].__code__
    monkeypatch.delitem(sys.modules, proxy_limiter.MODULE)
    with litellm_accel.accelerated("rate_limit", strict=True):
        later = importlib.import_module(proxy_limiter.MODULE)
        own = later._PROXY_MaxParallelRequestsHandler_v3
        made = limiter(kind=own)
        served = activation._activations["rate_limit"].gate.served
        five = [{"key": "user", "value": "b", "rate_limit": {"requests_per_unit": 5}}]
        assert asyncio.run(made.should_rate_limit(five))["overall_code"] == "OK"
        assert activation._activations["rate_limit"].gate.served == served + 1
    assert asyncio.run(made.should_rate_limit(five))["statuses"][0]["limit_remaining"] == 3
    assert vars(Limiter)["should_rate_limit"].__code__ is original
