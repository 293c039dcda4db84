"""The half of component ``rate_limit`` in LiteLLM's proxy: its limiter of keys, teams, users and models.

It joins when the proxy's limiter has been imported. The proxy is half imported then, so that stock and accelerated are
compared when a limiter is first asked; until they agree, stock decides.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import logging
import random
import sys
from collections.abc import Callable, Coroutine
from datetime import datetime
from types import FunctionType, MethodType
from typing import Any

from litellm_accel import hot, patching
from litellm_accel.components.base import ProbeMismatch, Unavailable
from litellm_accel.components.late import Late
from litellm_accel.fastpath import decline
from litellm_accel.fastpath.decline import Why
from litellm_accel.hot import gate, proxy_limits, routing, watch
from litellm_accel.stock import guard, releases

MODULE = "litellm.proxy.hooks.parallel_request_limiter_v3"
_NAME = "_PROXY_MaxParallelRequestsHandler_v3"
# What is replaced, and by which method of the kernel; one of the same name takes parameters of the same names.
_METHODS = {
    "should_rate_limit": "should_rate_limit",
    "reserve_tpm_tokens": "reserve_tpm_tokens",
    "atomic_check_and_increment_by_n": "atomic_check_and_increment_by_n",
    "_release_parallel_request_slots_in_memory": "release_slots",
}
_CACHES = "litellm.caching.dual_cache", "litellm.caching.in_memory_cache"
_STORES = "litellm.redis.stores.rate_limits", "litellm.redis.stores.rate_limits.types"

_logger = logging.getLogger("litellm_accel")


def can_be_there() -> bool:
    """Return whether what LiteLLM's proxy needs is installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("fastapi", "backoff"))


class ProxyLimiter(Late):
    """Puts the kernel into the proxy's limiter, from when that is imported until ``leave()``."""

    def __init__(self, gate: hot.gate.Gate) -> None:
        super().__init__(MODULE, "the proxy's limiter")
        self._gate = gate
        self._stock: dict[str, FunctionType] = {}
        self._watch = watch.Watch()
        self._watched: set[str] = set()
        self._limits: Any = None
        self._is_proven: bool | None = None  # None: nobody has compared them

    def leave(self) -> None:
        """Give the methods back, and forget what is remembered of limiters."""
        super().leave()
        if self._limits is not None:
            self._limits.forget()

    def _made(self) -> list[patching.Patch]:
        module = importlib.import_module(MODULE)
        self._kind: type = getattr(module, _NAME)
        for name, value in vars(self._kind).items():
            if isinstance(value, FunctionType) and guard.is_disguised(value):
                raise Unavailable(f"{name} has been wrapped")
        self._see(MODULE, module)
        self._see(_NAME, self._kind)
        self._limits = self._kernel(self._gate, self._understood)
        patches = []
        for name, method in _METHODS.items():
            function = patching.resolve(f"{MODULE}:{_NAME}.{name}")
            self._stock[name] = patching.stock_copy(function)
            fast = getattr(self._limits, method)
            known, found = (list(inspect.signature(one).parameters)[1:] for one in (fast, function))
            if len(found) > len(known) or (method == name and found != known[: len(found)]):
                raise Unavailable(f"{name} takes {', '.join(found)}")
            patches.append(patching.Patch(function, self._gate.coroutine(fast, self._stock[name])))
        return patches

    def _kernel(self, gate: hot.gate.Gate, understood: Callable[[Any], Any]) -> Any:
        module = importlib.import_module(MODULE)
        settings = vars(importlib.import_module("litellm._logging"))
        differs = functools.partial(guard.differs, self._watch)
        return proxy_limits.ProxyLimits(gate, module, differs, understood, routing.Snapshot, settings)

    def _understood(self, handler: Any) -> tuple[Any, list[dict[str, Any]]] | Why:
        """Return where a limiter has its counters and what must stay for that, or why it is left to stock."""
        if type(handler) is not self._kind or guard.put_onto(handler) is not None:
            return decline.LIMITER_METHODS
        found = self._store(handler)
        if isinstance(found, tuple) and self._is_proven is None:
            self._is_proven = False  # for whoever asks meanwhile
            self._is_proven = self._agrees(handler)
        return found if self._is_proven or not isinstance(found, tuple) else decline.LIMITER_UNPROVEN

    def _store(self, handler: Any) -> tuple[Any, list[dict[str, Any]]] | Why:
        store = getattr(handler, "rate_limits", None)
        if store is not None:
            stores = importlib.import_module(_STORES[0])
            native = importlib.import_module("litellm.rust_bridge._native").NativeRateLimits
            if type(store) is not stores.RateLimitStore or type(store._handle) is not native:
                return decline.LIMITER_METHODS
            self._see(_STORES[0], stores.RateLimitStore)
            if store._handle.has_redis:
                return decline.LIMITER_REDIS
            kept = proxy_limits.NativeStore(store._handle, stores.RateLimitScope)
            return kept, [vars(handler), vars(store)]
        cache = handler.internal_usage_cache
        dual, memory = (importlib.import_module(name) for name in _CACHES)
        parts = [cache, cache.dual_cache, cache.dual_cache.in_memory_cache]
        utils = sys.modules.get("litellm.proxy.utils")
        kinds = [getattr(utils, "InternalUsageCache", None), dual.DualCache, memory.InMemoryCache]
        for part, kind in zip(parts, kinds, strict=True):
            if kind is None or type(part) is not kind or guard.put_onto(part) is not None:
                return decline.LIMITER_METHODS
            self._see(kind.__name__, kind)
        scripts = [value for name, value in vars(handler).items() if name.endswith("_script")]
        if parts[1].redis_cache is not None or any(script is not None for script in scripts):
            return decline.LIMITER_REDIS
        return proxy_limits.CacheStore(parts[2]), [vars(handler), *map(vars, parts)]

    def _see(self, name: str, owner: Any) -> None:
        """Watch ``owner`` from now on."""
        if name not in self._watched:
            self._watched.add(name)
            self._watch.add(name, owner)

    def _agrees(self, handler: Any) -> bool:
        """Return whether stock and the kernel decide alike on a hundred requests."""
        relied = (MODULE, *(_STORES if hasattr(handler, "rate_limits") else _CACHES))
        try:
            if (strange := releases.strange(relied)) is not None:
                raise Unavailable(f"{strange} is of no known release")
            _compare(self._probes(handler))
        except Exception as error:
            _logger.warning("litellm-accel: the proxy's limiter stays LiteLLM's: %s", error)
            _logger.debug("", exc_info=True)
            return False
        return True

    def _probes(self, handler: Any) -> list[_Probe]:
        """Return a limiter that stock decides for and one for the kernel, by one clock."""
        clock = _Clock()
        probes = []
        for is_stock in (True, False):
            cache = type(handler.internal_usage_cache)(importlib.import_module(_CACHES[0]).DualCache())
            made = self._kind(internal_usage_cache=cache, time_provider=clock)
            if is_stock:
                # What stock calls of itself is accelerated by now.
                vars(made).update({name: MethodType(function, made) for name, function in self._stock.items()})
                probes.append(_Probe(made, {name: vars(made)[name] for name in _METHODS}, clock))
            else:
                kernel = self._kernel(gate.Gate("probe", 1), self._store)
                fast = {name: functools.partial(getattr(kernel, method), made) for name, method in _METHODS.items()}
                probes.append(_Probe(made, fast, clock))
        return probes


class _Clock:
    """A clock that the comparison turns."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.25

    def __call__(self) -> datetime:
        return datetime.fromtimestamp(self.now)


class _Probe:
    """A limiter that is only compared."""

    def __init__(self, limiter: Any, methods: dict[str, Any], clock: _Clock) -> None:
        self.limiter = limiter
        self.methods = methods
        self.clock = clock

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Return what a method says; nothing of it waits for anything in memory."""
        result = self.methods[name](*args, **kwargs)
        return _finished(result) if inspect.iscoroutine(result) else result

    def state(self, scopes: list[tuple[str, str]]) -> Any:
        """Return what is counted."""
        store = getattr(self.limiter, "rate_limits", None)
        if store is None:
            return self.limiter.internal_usage_cache.dual_cache.in_memory_cache.cache_dict
        kind = importlib.import_module(_STORES[0]).RateLimitScope
        made = [kind(*scope) for scope in scopes]
        entries = [(one.window, one.counter("requests"), one.counter("tokens"), one.gauge) for one in made]
        return [store.local(some) for some in entries]


def _finished(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return the result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise Unavailable("a decision in memory waits for something")


_SCOPES = [("api_key", "a"), ("user", "b"), ("team", "c"), ("model_per_key", "a:gpt"), ("model_per_project_itpm", "d")]
_STEPS = 120


def _compare(probes: list[_Probe]) -> None:
    """Ask both limiters the same. Raises ``ProbeMismatch``."""
    draw = random.Random(16)
    clock = probes[0].clock
    slots: list[str] = []
    for step in range(_STEPS):
        clock.now += draw.choice([0, 0, 0.3, 5, 61, 4000]) * draw.random()
        limits = [
            {
                "requests_per_unit": draw.choice([None, 3, 9]),
                "tokens_per_unit": draw.choice([None, 40, 100]),
                "max_parallel_requests": draw.choice([None, 2, 4]),
                "window_size": draw.choice([None, 60]),
            }
            for _ in _SCOPES
        ]
        asked = [
            {"key": key, "value": value, "rate_limit": limit}
            for (key, value), limit in zip(_SCOPES, limits, strict=True)
            if draw.random() < 0.6
        ]
        way = draw.choice(["should_rate_limit", "should_rate_limit", "reserve_tpm_tokens", "atomic", "release"])
        args: tuple[Any, ...] = (asked,)
        more: dict[str, Any] = {}
        if way == "should_rate_limit":
            slots.append(f"slot {step}")
            more = {
                "parallel_slot_id": slots[-1],
                "skip_tpm_check": draw.random() < 0.5,
                "read_only": draw.random() < 0.2,
            }
        elif way == "reserve_tpm_tokens":
            args = asked, draw.choice([1, 7, 30])
        elif way == "atomic":
            way = "atomic_check_and_increment_by_n"
            args = asked, [{"requests": draw.choice([0, 1, 2]), "tokens": draw.choice([0, 5, 20])} for _ in asked]
        else:
            way = "_release_parallel_request_slots_in_memory"
            args = (_gauges(probes[0].limiter, draw.sample(_SCOPES, 3)), draw.choice([*slots, "none"]))
            if "parent_otel_span" in inspect.signature(getattr(type(probes[0].limiter), way)).parameters:
                args = (*args, None)
        said = [probe.call(way, *args, **more) for probe in probes]
        states = [probe.state(_SCOPES) for probe in probes]
        if said[0] != said[1] or states[0] != states[1]:
            raise ProbeMismatch(f"{way}{args}: {said[0]} and {said[1]}")


def _gauges(limiter: Any, scopes: list[tuple[str, str]]) -> list[Any]:
    """Return by what a limiter knows the gauges of ``scopes``."""
    if not hasattr(limiter, "rate_limits"):
        return [f"{{{key}:{value}}}:max_parallel_requests" for key, value in scopes]
    kind = importlib.import_module(_STORES[0]).RateLimitScope
    return [kind(*scope) for scope in scopes]
