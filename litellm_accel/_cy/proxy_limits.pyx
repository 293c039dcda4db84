# cython: language_level=3, binding=True, boundscheck=False, wraparound=False
"""A proxy's limits of requests, tokens and parallel requests, decided on in memory.

They are those of LiteLLM's ``parallel_request_limiter_v3`` without Redis. Stock makes an object or a name for each
counter and reads it twice, through coroutines or a dataclass; here a counter's names are kept, and it is read and
raised in place. Nothing is written before all that is read is understood.
"""

from __future__ import annotations

from heapq import heappop, heappush

from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.unicode cimport PyUnicode_AsUTF8AndSize

from litellm_accel._cy.gate cimport Gate

from litellm_accel.fastpath import decline

__all__ = ["CacheStore", "NativeStore", "ProxyLimits"]

cdef long long _LARGEST = 1LL << 53
# Scopes whose names are kept, and handlers.
cdef Py_ssize_t _MOST_SCOPES = 10_000
cdef Py_ssize_t _MOST_KNOWN = 32
cdef long long _NOTHING = -(1LL << 62)  # where nothing is counted
cdef enum:
    REQUESTS = 0
    TOKENS = 1
    GAUGE = 2
    MOST = 64  # limits that one request is checked against; more are left to stock


class _Unserved(Exception):
    """Why this is stock's to do. Nothing has been written."""


cdef class _Scope:
    # What is limited, a key or a team, and where a store has what is counted for it.
    cdef object window
    cdef object requests
    cdef object tokens
    cdef object gauge
    cdef tuple counters  # by which stock knows those of requests and of tokens
    cdef tuple statuses  # what is said of them and of the gauge, to be copied and filled in
    # Where this scope was the first of several: their counters and the starts of their windows, and what was said of
    # these, which takes long: stock's counters are hashed by Python code.
    cdef tuple reserved


cdef class _Entry:
    # One counter as a native store asks for it; stock's own class looks its suffix up.
    cdef readonly object scope
    cdef readonly str suffix


cdef _Scope _new_scope(str key, str value, window, requests, tokens, gauge, tuple counters):
    cdef _Scope scope = _Scope.__new__(_Scope)
    scope.window, scope.requests, scope.tokens, scope.gauge = window, requests, tokens, gauge
    scope.counters = counters
    told = {"code": "OK", "current_limit": 0, "limit_remaining": 0, "rate_limit_type": "", "descriptor_key": key}
    scope.statuses = (
        {**told, "rate_limit_type": "requests", "descriptor_value": value},
        {**told, "rate_limit_type": "tokens", "descriptor_value": value},
        {**told, "rate_limit_type": "max_parallel_requests"},
    )
    return scope


cdef _Entry _entry(scope, str suffix):
    cdef _Entry entry = _Entry.__new__(_Entry)
    entry.scope, entry.suffix = scope, suffix
    return entry


cdef struct Counter:
    int scope
    int kind
    long long limit
    long long amount
    long long window_size
    long long used
    long long start  # of the window


cdef class _Store:
    cdef bint _is_read_again  # a write may drop what was read before it

    cdef object _get(self, entry):
        """Return what is counted under ``entry``, or None."""

    cdef object _peek(self, entry):
        """Return what ``_get`` would, and drop nothing that has expired."""

    cdef int _put(self, entry, value, ttl) except -1:
        return 0

    cdef _Scope _scope(self, str key, str value):
        """Return where the counters of a scope are."""


cdef class CacheStore(_Store):
    """The counters in an ``InMemoryCache``, which holds them by names."""

    cdef object _memory
    cdef dict _entries
    cdef dict _expiries
    cdef list _heap
    cdef object _clock
    cdef Py_ssize_t _room
    cdef double _largest_item

    def __init__(self, memory: object) -> None:
        self._is_read_again = True
        self._memory = memory
        self._entries, self._expiries, self._heap = memory.cache_dict, memory.ttl_dict, memory.expiration_heap
        self._clock = memory._clock
        self._room = memory.max_size_in_memory if memory.max_size_per_item >= 1 else 0
        self._largest_item = memory.max_size_per_item

    cdef object _get(self, entry):
        value = self._entries.get(entry)
        if value is None:
            return None
        expiry = self._expiries.get(entry)
        if expiry is not None and self._clock() > expiry:
            self._memory._remove_key(entry)
            return None
        return value

    cdef object _peek(self, entry):
        return self._entries.get(entry)

    cdef int _put(self, entry, value, ttl) except -1:
        cdef list heap = self._heap
        cdef dict expiries = self._expiries
        if len(self._entries) >= self._room or (
            type(value) is dict and <double>value.__sizeof__() / 1024 > self._largest_item
        ):
            self._memory.set_cache(entry, value, ttl=ttl)
            return 0
        now = self._clock()
        while heap and ((<tuple>heap[0])[0] != expiries.get((<tuple>heap[0])[1]) or (<tuple>heap[0])[0] <= now):
            expiry, name = heappop(heap)
            if expiry == expiries.get(name):
                self._entries.pop(name, None)
                expiries.pop(name, None)
        self._entries[entry] = value
        expiry = expiries.get(entry)
        if expiry is None or expiry < now:
            expiry = now + <double>ttl
            expiries[entry] = expiry
            heappush(heap, (expiry, entry))
        return 0

    cdef _Scope _scope(self, str key, str value):
        name = f"{{{key}:{value}}}"
        requests, tokens = f"{name}:requests", f"{name}:tokens"
        gauge = f"{name}:max_parallel_requests"
        return _new_scope(key, value, f"{name}:window", requests, tokens, gauge, (requests, tokens))


cdef class NativeStore(_Store):
    """The counters in a store of LiteLLM's own core, which holds them by objects; ``kind`` is that of their scopes."""

    cdef object _read
    cdef object _write
    cdef object _kind

    def __init__(self, handle: object, kind: object) -> None:
        self._read, self._write = handle.get_local, handle.set_local
        self._kind = kind

    cdef object _get(self, entry):
        return self._read(entry)

    cdef object _peek(self, entry):
        return self._read(entry)

    cdef int _put(self, entry, value, ttl) except -1:
        self._write(entry, value, ttl)
        return 0

    cdef _Scope _scope(self, str key, str value):
        made = self._kind(key, value)
        requests, tokens = made.counter("requests"), made.counter("tokens")
        return _new_scope(
            key,
            value,
            _entry(made, made.window.suffix),
            _entry(made, requests.suffix),
            _entry(made, tokens.suffix),
            _entry(made, made.gauge.suffix),
            (requests, tokens),
        )


cdef class ProxyLimits:
    """Decides as LiteLLM's limiter does, or declines.

    ``module`` is the limiter's. ``is_patched()`` tells whether anything that is gone around is another than before.
    ``understood(handler)`` returns the store of a limiter's counters and the dictionaries that must stay as they are
    for that, or why it is left to stock. ``snapshot`` is the class of the kernel ``routing``; ``logging`` is what
    LiteLLM's module of that name holds.
    """

    cdef Gate _gate
    cdef object _is_patched
    cdef object _understood
    cdef object _snapshot
    cdef dict _logging
    cdef dict _known
    cdef dict _scopes
    cdef Py_ssize_t _held
    cdef tuple _of_projects
    cdef object _slot_ttl

    def __init__(
        self,
        gate: object,
        module: object,
        is_patched: object,
        understood: object,
        snapshot: object,
        logging: object,
    ) -> None:
        self._gate = gate
        self._is_patched = is_patched
        self._understood = understood
        self._snapshot = snapshot
        self._logging = logging
        self._of_projects = module.PROJECT_ITPM_DESCRIPTOR_KEY, module.PROJECT_OTPM_DESCRIPTOR_KEY
        self._slot_ttl = module.PARALLEL_REQUEST_SLOT_TTL_SECONDS
        self.forget()

    def should_rate_limit(
        self,
        handler: object,
        descriptors: object,
        parent_otel_span: object = None,
        read_only: object = False,
        skip_tpm_check: object = False,
        parallel_slot_id: object = None,
        skip_parallel_check: object = False,
    ) -> object:
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
        handler: object,
        descriptors: object,
        estimated_tokens: object,
        parent_otel_span: object = None,
        scope_estimates: object = None,
    ) -> object:
        """Reserve as the method of this name does, or return ``DECLINED``."""
        cdef Counter[MOST] counters
        cdef list scopes = []
        cdef int count = 0
        cdef _Store store
        cdef dict limits
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
                count = _add_amount(counters, count, len(scopes) - 1, TOKENS, limit, _whole(amount), limits, handler)
            return self._reserve(store, handler, counters, count, scopes)
        except _Unserved as reason:
            return self._gate.decline(reason.args[0])

    def atomic_check_and_increment_by_n(
        self, handler: object, descriptors: object, increments: object, parent_otel_span: object = None
    ) -> object:
        """Check and count as the method of this name does, or return ``DECLINED``."""
        cdef Counter[MOST] counters
        cdef list scopes = []
        cdef int count = 0, kind
        cdef _Store store
        cdef dict limits
        try:
            store = self._store(handler)
            _listed(descriptors)
            _listed(increments)
            if len(descriptors) != len(increments):
                raise _Unserved(decline.LIMITER_DESCRIPTORS)
            for descriptor, amounts in zip(descriptors, increments):
                limits = _limits(descriptor)
                if type(amounts) is not dict:
                    raise _Unserved(decline.LIMITER_DESCRIPTORS)
                scopes.append(self._scope(store, descriptor, scopes))
                for kind in range(2):
                    limit = limits.get("tokens_per_unit" if kind else "requests_per_unit")
                    amount = _whole(amounts.get("tokens" if kind else "requests", 0))
                    if limit is not None:
                        count = _add_amount(counters, count, len(scopes) - 1, kind, limit, amount, limits, handler)
            return self._reserve(store, handler, counters, count, scopes)
        except _Unserved as reason:
            return self._gate.decline(reason.args[0])

    def release_slots(
        self, handler: object, scopes: object, slot_id: object, parent_otel_span: object = None
    ) -> object:
        """Give back as ``_release_parallel_request_slots_in_memory`` does, or return ``DECLINED``.

        ``scopes`` are what the store holds gauges by, names, or have it as their ``gauge``.
        """
        cdef _Store store
        cdef list gauges
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
                    if slot_id in <dict>held:
                        held = (<dict>held).copy()
                        del (<dict>held)[slot_id]
                        store._put(gauge, held, self._slot_ttl)
                elif held is not None:
                    store._put(gauge, max(0, _whole(held) - 1), self._slot_ttl)
        except _Unserved as reason:
            return self._gate.decline(reason.args[0])
        return None

    def forget(self) -> None:
        """Forget what is remembered of limiters and of what they have limited."""
        self._known = {}
        self._scopes = {}
        self._held = 0

    cdef object _decide(self, handler, descriptors, bint read_only, bint skip_tpm, slot_id, bint skip_parallel):
        cdef Counter[MOST] counters
        cdef list scopes = [], gauges = []
        cdef int count = 0, place
        cdef long long limit, used, remaining
        cdef _Scope scope
        cdef dict limits
        cdef _Store store = self._store(handler)
        cdef long long window_size = _window({}, handler)
        moment = handler._time_provider().timestamp()
        cdef long long now = <long long>moment
        _listed(descriptors)
        for descriptor in descriptors:
            limits = _limits(descriptor)
            requests, tokens = limits.get("requests_per_unit"), limits.get("tokens_per_unit")
            parallel = None if skip_parallel else limits.get("max_parallel_requests")
            if skip_tpm:
                tokens = None
            if requests is None and tokens is None and parallel is None:
                continue
            scope = self._scope(store, descriptor, scopes)
            scopes.append(scope)
            if requests is not None:
                count = _add(counters, count, len(scopes) - 1, REQUESTS, requests)
            if tokens is not None:
                count = _add(counters, count, len(scopes) - 1, TOKENS, tokens)
            if parallel is not None:
                gauges.append((scope, _whole(parallel), _in_flight(store._peek(scope.gauge))))
        if gauges and not read_only and (type(slot_id) is not str or not slot_id):
            raise _Unserved(decline.LIMITER_DESCRIPTORS)
        cdef bint is_over = False
        for place in range(count):
            _read(store, &counters[place], <_Scope>scopes[counters[place].scope])
            if counters[place].used + read_only > counters[place].limit:
                is_over = True
        if not is_over and not read_only:
            is_over = _raise_all(store, counters, count, scopes, now, window_size, handler.window_size)
        cdef list statuses = []
        for place in range(count):
            scope = <_Scope>scopes[counters[place].scope]
            limit, used = counters[place].limit, counters[place].used
            remaining = limit if used == _NOTHING else limit - used
            statuses.append(_status(scope, counters[place].kind, used + read_only > limit, limit, remaining))
        if is_over:
            return {"overall_code": "OVER_LIMIT", "statuses": statuses}
        if not gauges:
            return {"overall_code": "OK", "statuses": statuses}
        code = self._acquire(store, gauges, statuses, moment, None if read_only else slot_id)
        return {"overall_code": code, "statuses": statuses}

    cdef str _acquire(self, _Store store, list gauges, list statuses, moment, slot_id):
        """Take a slot of each gauge, or of none; append what each says. Without a ``slot_id`` nothing is taken."""
        cdef double now = moment, oldest = now - <double>self._slot_ttl
        cdef long long limit, used
        cdef str code = "OK"
        cdef list taken = []
        for scope, limit, held in gauges:
            if store._is_read_again:
                held = store._get((<_Scope>scope).gauge)
            if type(held) is dict:
                held = {name: since for name, since in (<dict>held).items() if since >= oldest}
                used = len(<dict>held)
            elif held is None:
                used, held = 0, {}
            else:
                used = max(0, _whole(held))
            taken.append((scope, limit, held, used))
        for scope, limit, _, used in taken:
            if used >= limit:
                code = "OVER_LIMIT"
            if used >= limit or slot_id is None:
                statuses.append(_status(<_Scope>scope, GAUGE, used >= limit, limit, max(0, limit - used)))
            if used >= limit and slot_id is not None:
                return code
        if slot_id is None:
            return code
        for scope, limit, held, used in taken:
            if type(held) is dict:
                (<dict>held)[slot_id] = moment
            else:
                held = used + 1
            store._put((<_Scope>scope).gauge, held, self._slot_ttl)
            statuses.append(_status(<_Scope>scope, GAUGE, False, limit, max(0, limit - used - 1)))
        return code

    cdef object _reserve(self, _Store store, handler, Counter* counters, int count, list scopes):
        """Take the amount of every counter or of none."""
        cdef int place
        cdef long long now, used
        cdef Counter* counter
        cdef _Scope scope
        cdef list statuses = [], reserved = []
        cdef set begun = set()
        if count == 0:
            return {"overall_code": "OK", "statuses": []}
        now = <long long>handler._time_provider().timestamp()
        for place in range(count):
            counter, scope = &counters[place], <_Scope>scopes[counters[place].scope]
            start = store._get(scope.window)
            counter.start = _NOTHING if start is None else _whole(start)
            if now - counter.start >= counter.window_size:
                counter.start, counter.used = _NOTHING, 0
            else:
                held = store._get(scope.tokens if counter.kind else scope.requests)
                counter.used = 0 if held is None else _whole(held)
            used = counter.used
            if used + counter.amount > counter.limit or (counter.amount == 0 and used >= counter.limit):
                status = _status(scope, counter.kind, True, counter.limit, max(0, counter.limit - used))
                return {"overall_code": "OVER_LIMIT", "statuses": [status]}
        for place in range(count):
            counter, scope = &counters[place], <_Scope>scopes[counters[place].scope]
            if counter.start == _NOTHING and scope not in begun:
                begun.add(scope)
                store._put(scope.requests, 0, counter.window_size)
                store._put(scope.tokens, 0, counter.window_size)
        for place in range(count):
            counter, scope = &counters[place], <_Scope>scopes[counters[place].scope]
            entry = scope.tokens if counter.kind else scope.requests
            used = counter.used + counter.amount
            if counter.start == _NOTHING:
                store._put(scope.window, str(now), counter.window_size)
            store._put(entry, used, counter.window_size)
            statuses.append(_status(scope, counter.kind, False, counter.limit, max(0, counter.limit - used)))
            reserved.append(scope.counters[counter.kind])
            reserved.append(now if counter.start == _NOTHING else counter.start)
        scope = <_Scope>scopes[counters[0].scope]
        known = scope.reserved
        if known is None or known[0] != reserved:
            windows = [(reserved[2 * place], str(reserved[2 * place + 1]), "local") for place in range(count)]
            known = scope.reserved = (reserved, frozenset(windows))
        return {"overall_code": "OK", "statuses": statuses, "reservation_windows": known[1]}

    cdef _Store _store(self, handler):
        """Return where a limiter's counters are. Raises ``_Unserved``.

        It is remembered while the limiter and its parts hold the same, which the twin looks at each time.
        """
        cdef tuple known
        if self._is_patched():
            raise _Unserved(decline.LIMITER_PATCHED)
        if self._logging["set_verbose"]:
            raise _Unserved(decline.ROUTING_VERBOSE)
        known = self._known.get(id(handler))
        if known is None or known[0] is not handler or known[2].changed():
            understood = self._understood(handler)
            if type(understood) is not tuple:
                raise _Unserved(understood)
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            store, held = understood
            known = self._known[id(handler)] = (handler, store, self._snapshot(held))
        if handler._check_and_increment_lock.locked():
            raise _Unserved(decline.LIMITER_BUSY)
        if self._held >= _MOST_SCOPES:
            self._scopes, self._held = {}, 0
        return <_Store>known[1]

    cdef _Scope _scope(self, _Store store, dict descriptor, list scopes):
        """Return the scope of a descriptor, which is none of ``scopes``. Raises ``_Unserved``."""
        cdef dict held
        key, value = descriptor.get("key"), descriptor.get("value")
        if type(key) is not str or type(value) is not str:
            raise _Unserved(decline.LIMITER_DESCRIPTORS)
        held = self._scopes.get(key)
        if held is None:
            held = self._scopes[key] = {}
        scope = held.get(value)
        if scope is None:
            scope = held[value] = store._scope(<str>key, <str>value)
            self._held += 1
        for other in scopes:
            if other is scope:
                raise _Unserved(decline.LIMITER_DESCRIPTORS)
        return <_Scope>scope


cdef int _raise_all(
    _Store store, Counter* counters, int count, list scopes, long long now, long long window_size, ttl
) except -1:
    """Count a request under each counter; return whether one is more than its limit."""
    cdef int place
    cdef bint is_over = False
    cdef Counter* counter
    cdef _Scope scope
    cdef _Scope begun = None  # the scope before, if its window has just begun
    for place in range(count):
        counter, scope = &counters[place], <_Scope>scopes[counters[place].scope]
        if scope is begun:
            counter.start, counter.used = now, 0
        elif store._is_read_again:
            _read(store, counter, scope)
        if now - counter.start >= window_size:
            store._put(scope.requests, 0, ttl)
            store._put(scope.tokens, 0, ttl)
            store._put(scope.window, str(now), ttl)
            counter.used = 1
            begun = scope
        else:
            counter.used = 1 if counter.used == _NOTHING else counter.used + 1
        store._put(scope.tokens if counter.kind else scope.requests, counter.used, ttl)
        if counter.used > counter.limit:
            is_over = True
    return is_over


cdef int _read(_Store store, Counter* counter, _Scope scope) except -1:
    start, used = store._get(scope.window), store._get(scope.tokens if counter.kind else scope.requests)
    counter.start = _NOTHING if start is None else _whole(start)
    counter.used = _NOTHING if used is None else _whole(used)
    return 0


cdef int _add(Counter* counters, int count, int scope, int kind, limit) except -1:
    """Add a counter after ``count`` others; return how many there are."""
    if count == MOST:
        raise _Unserved(decline.LIMITER_DESCRIPTORS)
    counters[count].scope, counters[count].kind, counters[count].limit = scope, kind, _whole(limit)
    return count + 1


cdef int _add_amount(
    Counter* counters, int count, int scope, int kind, limit, long long amount, dict limits, handler
) except -1:
    """Add a counter that ``amount`` is taken from, as ``_add`` does; none where less than nothing is."""
    if amount < 0:
        return count
    count = _add(counters, count, scope, kind, limit)
    counters[count - 1].amount, counters[count - 1].window_size = amount, _window(limits, handler)
    return count


cdef dict _limits(descriptor):
    """Return the limits of a descriptor."""
    if type(descriptor) is dict:
        limits = (<dict>descriptor).get("rate_limit")
        if type(limits) is dict:
            return <dict>limits
        if limits is None:
            return {}
    raise _Unserved(decline.LIMITER_DESCRIPTORS)


cdef long long _window(dict limits, handler) except -1:
    """Return the seconds of a window."""
    cdef long long seconds = _whole(limits.get("window_size") or handler.window_size)
    if seconds <= 0:
        raise _Unserved(decline.LIMITER_DESCRIPTORS)
    return seconds


cdef int _listed(held) except -1:
    if type(held) is not list and type(held) is not tuple:
        raise _Unserved(decline.LIMITER_DESCRIPTORS)
    return 0


cdef int _flag(value) except -1:
    if value is True:
        return 1
    if value is not False:
        raise _Unserved(decline.LIMITER_DESCRIPTORS)
    return 0


cdef object _in_flight(held):
    """Return what a gauge holds, if that is understood: since when each slot is taken, or how many are."""
    if type(held) is dict:
        for since in (<dict>held).values():
            if type(since) is not float:
                raise _Unserved(decline.LIMITER_VALUE)
    elif held is not None:
        _whole(held)
    return held


cdef long long _whole(value) except? -1:
    """Return a count, a limit or a time in whole numbers, as ``int(value)`` does."""
    cdef int overflow = 0
    cdef long long number
    if type(value) is int:
        number = PyLong_AsLongLongAndOverflow(value, &overflow)
        if overflow == 0 and -_LARGEST <= number <= _LARGEST:
            return number
    elif type(value) is float:
        if -_LARGEST <= <double>value <= _LARGEST:
            return <long long><double>value
    elif type(value) is str:
        return _digits(value)
    raise _Unserved(decline.LIMITER_VALUE)


cdef long long _digits(str text) except -1:
    """Return the number that ``text`` is, up to fifteen digits."""
    cdef Py_ssize_t size = 0, place
    cdef const char* letters = PyUnicode_AsUTF8AndSize(text, &size)
    cdef long long number = 0
    if not 0 < size < 16:
        raise _Unserved(decline.LIMITER_VALUE)
    for place in range(size):
        if not c'0' <= letters[place] <= c'9':
            raise _Unserved(decline.LIMITER_VALUE)
        number = 10 * number + letters[place] - c'0'
    return number


cdef dict _status(_Scope scope, int kind, bint is_over, long long limit, long long remaining):
    cdef dict status = (<dict>scope.statuses[kind]).copy()
    if is_over:
        status["code"] = "OVER_LIMIT"
    status["current_limit"] = limit
    status["limit_remaining"] = remaining
    return status
