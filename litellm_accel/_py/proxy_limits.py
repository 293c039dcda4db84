"""A proxy's limits of requests, tokens and parallel requests, decided on in memory.

They are those of LiteLLM's ``parallel_request_limiter_v3`` without Redis. Stock makes an object or a name for each
counter and reads it twice, through coroutines or a dataclass; here a counter's names are kept, and it is read and
raised in place. Nothing is written before all that is read is understood.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from litellm_accel.fastpath import decline

if TYPE_CHECKING:
    from litellm_accel._py.gate import Gate

__all__ = ["CacheStore", "NativeStore", "ProxyLimits"]

_LARGEST = 1 << 53
# Limits that one request is checked against; more are left to stock.
_MOST = 64
# Scopes whose names are kept.
_MOST_SCOPES = 10_000
_KINDS = "requests", "tokens"
_LIMITS = "requests_per_unit", "tokens_per_unit"


class _Unserved(Exception):
    """Why this is stock's to do. Nothing has been written."""


class _Scope:
    """What is limited, a key or a team, and where a store has what is counted for it."""

    __slots__ = ("counters", "gauge", "key", "value", "window")

    def __init__(self, key: str, value: str, window: Any, counters: tuple[Any, Any], gauge: Any) -> None:
        self.key = key
        self.value = value
        self.window = window
        self.counters = counters  # of requests and of tokens
        self.gauge = gauge


class _Counter:
    __slots__ = ("amount", "kind", "limit", "scope", "start", "used", "window_size")

    def __init__(self, scope: _Scope, kind: int, limit: int) -> None:
        self.scope = scope
        self.kind = kind
        self.limit = limit
        self.amount = 0
        self.window_size = 0
        self.used: int | None = None
        self.start: int | None = None  # of the window

    @property
    def entry(self) -> Any:
        return self.scope.counters[self.kind]

    def read(self, store: Any) -> None:
        start, used = store._get(self.scope.window), store._get(self.entry)
        self.start = None if start is None else _whole(start)
        self.used = None if used is None else _whole(used)

    def is_over(self, read_only: bool) -> bool:
        return self.used is not None and self.used + read_only > self.limit

    def has_ended(self, now: int, window_size: int) -> bool:
        return self.start is None or now - self.start >= window_size


class CacheStore:
    """The counters in an ``InMemoryCache``, which holds them by names."""

    _is_read_again = True  # a write may drop what was read before it

    def __init__(self, memory: Any) -> None:
        self._memory = memory

    def _get(self, entry: str) -> Any:
        """Return what is counted under ``entry``, or None."""
        held: dict[str, Any] = self._memory.cache_dict
        return None if entry not in held or self._memory.evict_element_if_expired(entry) else held[entry]

    def _peek(self, entry: str) -> Any:
        """Return what ``_get`` would, and drop nothing that has expired."""
        return self._memory.cache_dict.get(entry)

    def _put(self, entry: str, value: Any, ttl: float) -> None:
        self._memory.set_cache(entry, value, ttl=ttl)

    def _scope(self, key: str, value: str) -> _Scope:
        """Return where the counters of a scope are."""
        name = f"{{{key}:{value}}}"
        return _Scope(
            key, value, f"{name}:window", (f"{name}:requests", f"{name}:tokens"), f"{name}:max_parallel_requests"
        )


class NativeStore:
    """The counters in a store of LiteLLM's own core, which holds them by objects; ``kind`` is that of their scopes."""

    _is_read_again = False

    def __init__(self, handle: Any, kind: type) -> None:
        self._get = self._peek = handle.get_local
        self._put = handle.set_local
        self._kind = kind

    def _scope(self, key: str, value: str) -> _Scope:
        made = self._kind(key, value)
        return _Scope(key, value, made.window, (made.counter("requests"), made.counter("tokens")), made.gauge)


class ProxyLimits:
    """Decides as LiteLLM's limiter does, or declines.

    ``module`` is the limiter's. ``is_patched()`` tells whether anything that is gone around is another than before.
    ``understood(handler)`` returns the store of a limiter's counters and the dictionaries that must stay as they are
    for that, or why it is left to stock. ``snapshot`` is the class of the kernel ``routing``; ``logging`` is what
    LiteLLM's module of that name holds.
    """

    __slots__ = ("_gate", "_is_patched", "_logging", "_of_projects", "_scopes", "_slot_ttl", "_understood")

    def __init__(
        self,
        gate: Gate,
        module: ModuleType,
        is_patched: Callable[[], bool],
        understood: Callable[[Any], Any],
        snapshot: type,
        logging: dict[str, Any],
    ) -> None:
        self._gate = gate
        self._is_patched = is_patched
        self._understood = understood
        self._logging = logging
        self._of_projects = module.PROJECT_ITPM_DESCRIPTOR_KEY, module.PROJECT_OTPM_DESCRIPTOR_KEY
        self._slot_ttl: int = module.PARALLEL_REQUEST_SLOT_TTL_SECONDS
        self.forget()

    def should_rate_limit(
        self,
        handler: Any,
        descriptors: Any,
        parent_otel_span: Any = None,
        read_only: Any = False,
        skip_tpm_check: Any = False,
        parallel_slot_id: Any = None,
        skip_parallel_check: Any = False,
    ) -> Any:
        """Decide as the method of this name does, or return ``DECLINED``."""
        try:
            return self._decide(
                handler,
                descriptors,
                _flag(read_only),
                _flag(skip_tpm_check),
                parallel_slot_id,
                _flag(skip_parallel_check),
            )
        except _Unserved as reason:
            return self._gate.decline(reason.args[0])

    def reserve_tpm_tokens(
        self,
        handler: Any,
        descriptors: Any,
        estimated_tokens: Any,
        parent_otel_span: Any = None,
        scope_estimates: Any = None,
    ) -> Any:
        """Reserve as the method of this name does, or return ``DECLINED``."""
        counters: list[_Counter] = []
        scopes: list[_Scope] = []
        try:
            store = self._store(handler)
            _listed(descriptors)
            for descriptor in descriptors:
                limits = _limits(descriptor)
                limit = limits.get("tokens_per_unit")
                if limit is None or descriptor["key"] in self._of_projects:
                    continue
                amount = estimated_tokens
                if scope_estimates:
                    amount = scope_estimates.get(descriptor["key"], estimated_tokens)
                scopes.append(self._scope(store, descriptor, scopes))
                _add_amount(counters, scopes[-1], 1, limit, _whole(amount), limits, handler)
            return self._reserve(store, handler, counters)
        except _Unserved as reason:
            return self._gate.decline(reason.args[0])

    def atomic_check_and_increment_by_n(
        self, handler: Any, descriptors: Any, increments: Any, parent_otel_span: Any = None
    ) -> Any:
        """Check and count as the method of this name does, or return ``DECLINED``."""
        counters: list[_Counter] = []
        scopes: list[_Scope] = []
        try:
            store = self._store(handler)
            _listed(descriptors)
            _listed(increments)
            if len(descriptors) != len(increments):
                raise _Unserved(decline.LIMITER_DESCRIPTORS)
            for descriptor, amounts in zip(descriptors, increments, strict=True):
                limits = _limits(descriptor)
                if type(amounts) is not dict:
                    raise _Unserved(decline.LIMITER_DESCRIPTORS)
                scopes.append(self._scope(store, descriptor, scopes))
                for kind in range(2):
                    limit = limits.get(_LIMITS[kind])
                    amount = _whole(amounts.get(_KINDS[kind], 0))
                    if limit is not None:
                        _add_amount(counters, scopes[-1], kind, limit, amount, limits, handler)
            return self._reserve(store, handler, counters)
        except _Unserved as reason:
            return self._gate.decline(reason.args[0])

    def release_slots(self, handler: Any, scopes: Any, slot_id: Any, parent_otel_span: Any = None) -> Any:
        """Give back as ``_release_parallel_request_slots_in_memory`` does, or return ``DECLINED``.

        ``scopes`` are what the store holds gauges by, names, or have it as their ``gauge``.
        """
        try:
            store = self._store(handler)
            _listed(scopes)
            gauges = []
            for scope in scopes:
                gauge = scope if type(scope) is str else scope.gauge
                gauges.append((gauge, _in_flight(store._peek(gauge))))
            for gauge, held in gauges:
                if store._is_read_again or len(gauges) > 1:
                    held = store._get(gauge)
                if type(held) is dict:
                    if slot_id in held:
                        held = held.copy()
                        del held[slot_id]
                        store._put(gauge, held, self._slot_ttl)
                elif held is not None:
                    store._put(gauge, max(0, _whole(held) - 1), self._slot_ttl)
        except _Unserved as reason:
            return self._gate.decline(reason.args[0])
        return None

    def forget(self) -> None:
        """Forget what is remembered of limiters and of what they have limited."""
        self._scopes: dict[tuple[str, str], _Scope] = {}

    def _decide(
        self, handler: Any, descriptors: Any, read_only: bool, skip_tpm: bool, slot_id: Any, skip_parallel: bool
    ) -> Any:
        counters: list[_Counter] = []
        scopes: list[_Scope] = []
        gauges: list[tuple[_Scope, int, Any]] = []
        store = self._store(handler)
        window_size = _window({}, handler)
        moment: float = handler._time_provider().timestamp()
        now = int(moment)
        _listed(descriptors)
        for descriptor in descriptors:
            limits = _limits(descriptor)
            wanted = (limits.get("requests_per_unit"), None if skip_tpm else limits.get("tokens_per_unit"))
            parallel = None if skip_parallel else limits.get("max_parallel_requests")
            if wanted == (None, None) and parallel is None:
                continue
            scope = self._scope(store, descriptor, scopes)
            scopes.append(scope)
            for kind, limit in enumerate(wanted):
                if limit is not None:
                    _add(counters, scope, kind, limit)
            if parallel is not None:
                gauges.append((scope, _whole(parallel), _in_flight(store._peek(scope.gauge))))
        if gauges and not read_only and (type(slot_id) is not str or not slot_id):
            raise _Unserved(decline.LIMITER_DESCRIPTORS)

        for counter in counters:
            counter.read(store)
        if not read_only and not any(counter.is_over(False) for counter in counters):
            _raise_all(store, counters, now, window_size, handler.window_size)
        statuses = [
            {
                "code": "OVER_LIMIT" if counter.is_over(read_only) else "OK",
                "current_limit": counter.limit,
                "limit_remaining": counter.limit if counter.used is None else counter.limit - counter.used,
                "rate_limit_type": _KINDS[counter.kind],
                "descriptor_key": counter.scope.key,
                "descriptor_value": counter.scope.value,
            }
            for counter in counters
        ]
        if any(counter.is_over(read_only) for counter in counters):
            return {"overall_code": "OVER_LIMIT", "statuses": statuses}
        if not gauges:
            return {"overall_code": "OK", "statuses": statuses}
        code = self._acquire(store, gauges, statuses, moment, None if read_only else slot_id)
        return {"overall_code": code, "statuses": statuses}

    def _acquire(
        self, store: Any, gauges: list[tuple[_Scope, int, Any]], statuses: list[Any], moment: float, slot_id: Any
    ) -> str:
        """Take a slot of each gauge, or of none; append what each says. Without a ``slot_id`` nothing is taken."""
        oldest = moment - self._slot_ttl
        code = "OK"
        taken = []
        for scope, limit, held in gauges:
            if store._is_read_again:
                held = store._get(scope.gauge)
            if type(held) is dict:
                held = {name: since for name, since in held.items() if since >= oldest}
                used = len(held)
            elif held is None:
                used, held = 0, {}
            else:
                used = max(0, _whole(held))
            taken.append((scope, limit, held, used))
        for scope, limit, _, used in taken:
            if used >= limit:
                code = "OVER_LIMIT"
            if used >= limit or slot_id is None:
                statuses.append(_gauge_status(scope, "OVER_LIMIT" if used >= limit else "OK", limit, used))
            if used >= limit and slot_id is not None:
                return code
        if slot_id is None:
            return code
        for scope, limit, held, used in taken:
            if type(held) is dict:
                held[slot_id] = moment
            else:
                held = used + 1
            store._put(scope.gauge, held, self._slot_ttl)
            statuses.append(_gauge_status(scope, code, limit, used + 1))
        return code

    def _reserve(self, store: Any, handler: Any, counters: list[_Counter]) -> Any:
        """Take the amount of every counter or of none."""
        statuses: list[Any] = []
        windows = []
        begun = set()
        if not counters:
            return {"overall_code": "OK", "statuses": []}
        now = int(handler._time_provider().timestamp())
        for counter in counters:
            start = store._get(counter.scope.window)
            counter.start = None if start is None else _whole(start)
            if counter.has_ended(now, counter.window_size):
                counter.start = None
                held = None
            else:
                held = store._get(counter.entry)
            counter.used = used = 0 if held is None else _whole(held)
            if used + counter.amount > counter.limit or (counter.amount == 0 and used >= counter.limit):
                status = _status(counter, "OVER_LIMIT", counter.limit - used)
                return {"overall_code": "OVER_LIMIT", "statuses": [status]}
        for counter in counters:
            if counter.start is None and counter.scope not in begun:
                begun.add(counter.scope)
                for entry in counter.scope.counters:
                    store._put(entry, 0, counter.window_size)
        for counter in counters:
            used = (counter.used or 0) + counter.amount
            if counter.start is None:
                store._put(counter.scope.window, str(now), counter.window_size)
            store._put(counter.entry, used, counter.window_size)
            statuses.append(_status(counter, "OK", counter.limit - used))
            windows.append((counter.entry, str(now if counter.start is None else counter.start), "local"))
        return {"overall_code": "OK", "statuses": statuses, "reservation_windows": frozenset(windows)}

    def _store(self, handler: Any) -> Any:
        """Return where a limiter's counters are. Raises ``_Unserved``."""
        if self._is_patched():
            raise _Unserved(decline.LIMITER_PATCHED)
        if self._logging["set_verbose"]:
            raise _Unserved(decline.ROUTING_VERBOSE)
        understood = self._understood(handler)
        if type(understood) is not tuple:
            raise _Unserved(understood)
        if handler._check_and_increment_lock.locked():
            raise _Unserved(decline.LIMITER_BUSY)
        if len(self._scopes) >= _MOST_SCOPES:
            self._scopes = {}
        return understood[0]

    def _scope(self, store: Any, descriptor: dict[str, Any], scopes: list[_Scope]) -> _Scope:
        """Return the scope of a descriptor, which is none of ``scopes``. Raises ``_Unserved``."""
        key, value = descriptor.get("key"), descriptor.get("value")
        if type(key) is not str or type(value) is not str:
            raise _Unserved(decline.LIMITER_DESCRIPTORS)
        scope = self._scopes.get((key, value))
        if scope is None:
            scope = self._scopes[key, value] = store._scope(key, value)
        if scope in scopes:
            raise _Unserved(decline.LIMITER_DESCRIPTORS)
        return scope


def _raise_all(store: Any, counters: list[_Counter], now: int, window_size: int, ttl: Any) -> None:
    """Count a request under each counter."""
    begun: _Scope | None = None  # the scope before, if its window has just begun
    for counter in counters:
        scope = counter.scope
        if scope is begun:
            counter.start, counter.used = now, 0
        elif store._is_read_again:
            counter.read(store)
        if counter.has_ended(now, window_size):
            for entry in scope.counters:
                store._put(entry, 0, ttl)
            store._put(scope.window, str(now), ttl)
            counter.used = 1
            begun = scope
        else:
            counter.used = (counter.used or 0) + 1
        store._put(counter.entry, counter.used, ttl)


def _add(counters: list[_Counter], scope: _Scope, kind: int, limit: Any) -> None:
    if len(counters) == _MOST:
        raise _Unserved(decline.LIMITER_DESCRIPTORS)
    counters.append(_Counter(scope, kind, _whole(limit)))


def _add_amount(
    counters: list[_Counter], scope: _Scope, kind: int, limit: Any, amount: int, limits: dict[str, Any], handler: Any
) -> None:
    """Add a counter that ``amount`` is taken from; none where less than nothing is."""
    if amount >= 0:
        _add(counters, scope, kind, limit)
        counters[-1].amount, counters[-1].window_size = amount, _window(limits, handler)


def _limits(descriptor: Any) -> dict[str, Any]:
    """Return the limits of a descriptor."""
    if type(descriptor) is dict:
        limits = descriptor.get("rate_limit")
        if type(limits) is dict:
            return limits
        if limits is None:
            return {}
    raise _Unserved(decline.LIMITER_DESCRIPTORS)


def _window(limits: dict[str, Any], handler: Any) -> int:
    """Return the seconds of a window."""
    seconds = _whole(limits.get("window_size") or handler.window_size)
    if seconds <= 0:
        raise _Unserved(decline.LIMITER_DESCRIPTORS)
    return seconds


def _listed(held: Any) -> None:
    if type(held) is not list and type(held) is not tuple:
        raise _Unserved(decline.LIMITER_DESCRIPTORS)


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise _Unserved(decline.LIMITER_DESCRIPTORS)
    return value


def _in_flight(held: Any) -> Any:
    """Return what a gauge holds, if that is understood: since when each slot is taken, or how many are."""
    if type(held) is dict:
        if any(type(since) is not float for since in held.values()):
            raise _Unserved(decline.LIMITER_VALUE)
    elif held is not None:
        _whole(held)
    return held


def _whole(value: Any) -> int:
    """Return a count, a limit or a time in whole numbers, as ``int(value)`` does."""
    kind = type(value)
    is_known = kind in (int, float) and -_LARGEST <= value <= _LARGEST
    if is_known or (kind is str and value.isdigit() and value.isascii() and len(value) < 16):
        return int(value)
    raise _Unserved(decline.LIMITER_VALUE)


def _status(counter: _Counter, code: str, remaining: int) -> dict[str, Any]:
    return {
        "code": code,
        "current_limit": counter.limit,
        "limit_remaining": max(0, remaining),
        "rate_limit_type": _KINDS[counter.kind],
        "descriptor_key": counter.scope.key,
        "descriptor_value": counter.scope.value,
    }


def _gauge_status(scope: _Scope, code: str, limit: int, used: int) -> dict[str, Any]:
    return {
        "code": code,
        "current_limit": limit,
        "limit_remaining": max(0, limit - used),
        "rate_limit_type": "max_parallel_requests",
        "descriptor_key": scope.key,
    }
