# cython: language_level=3, binding=True, boundscheck=False, wraparound=False
"""A router's checks of its deployments' limits before a call, and its counts after it.

They are those of LiteLLM's ``enforce_model_rate_limits`` and ``usage-based-routing-v2``. Stock renders the minute and
goes through two caches and a decorator for each counter; here the counter is read and raised in place. A deployment at
its limit is left to stock before anything is counted, so that the error is stock's own.
"""

from __future__ import annotations

from heapq import heappop, heappush

from litellm_accel._cy.gate cimport Gate

from litellm_accel._cy.routing import Snapshot
from litellm_accel.fastpath import decline
from litellm_accel.fastpath.decline import Unserved

__all__ = ["LimitChecks"]

cdef list _MINUTES = [f"{minute // 60:02}-{minute % 60:02}" for minute in range(24 * 60)]
# Loggers that are remembered; a router has one or two.
cdef Py_ssize_t _MOST_KNOWN = 32
# What LiteLLM's loggers hold. Anything else may be a method put in the place of their class's.
cdef frozenset _MODEL_FIELDS = frozenset(("dual_cache", "_io_token_conflict_warned_ids"))
cdef frozenset _USAGE_FIELDS = frozenset(
    (
        "router_cache",
        "routing_args",
        "dual_cache",
        "redis_increment_operation_queue",
        "_sync_task",
        "in_memory_keys_to_update",
    )
)


cdef class _Store:
    # An `InMemoryCache` and what it holds, while that stays the same.
    cdef object memory
    cdef dict entries
    cdef dict expiries
    cdef list heap
    cdef object lock
    cdef object clock
    cdef Py_ssize_t room
    cdef double ttl


cdef _Store _store(memory):
    cdef _Store store = _Store.__new__(_Store)
    store.memory = memory
    store.entries, store.expiries, store.heap = memory.cache_dict, memory.ttl_dict, memory.expiration_heap
    store.lock, store.clock = memory._increment_lock, memory._clock
    store.room = memory.max_size_in_memory if memory.max_size_per_item >= 1 else 0
    store.ttl = memory.default_ttl
    return store


cdef class LimitChecks:
    """Checks and counts as LiteLLM's loggers do, or declines.

    ``chooser``, of the kernel ``routing``, knows whether a cache is understood and all that is gone around is stock's.
    ``models`` and ``usages`` are LiteLLM's modules of the two loggers.
    """

    cdef Gate _gate
    cdef object _chooser
    cdef dict _known
    cdef object _models
    cdef object _usages
    cdef bint _in_pipelines
    cdef str _reserved

    def __init__(
        self,
        gate: object,
        chooser: object,
        models: object,
        usages: object,
    ) -> None:
        self._gate = gate
        self._chooser = chooser
        self._known = {}
        self._models = models
        self._usages = usages
        # Later releases count in a pipeline after a call, which does not heed how long a counter is to live.
        self._in_pipelines = hasattr(usages.DualCache, "async_increment_cache_post_call")
        self._reserved = models.ITPM_RESERVED_KEY

    def model_check(self, handler: object, deployment: object, parent_otel_span: object = None) -> object:
        """Count a call as ``ModelRateLimitingCheck.pre_call_check`` does, or return ``DECLINED``."""
        try:
            return self._model_check(handler, deployment)
        except Unserved as reason:
            return self._gate.decline(reason.args[0])

    cdef object _model_check(self, handler, deployment):
        cdef dict params, info
        cdef _Store memory = self._memory(handler, False)
        params, info = _parts(deployment)
        if _first("itpm", deployment, params, info) is not None or _first("otpm", deployment, params, info) is not None:
            raise Unserved(decline.IO_TOKEN_LIMITS)
        tpm, rpm = _first("tpm", deployment, params, info), _first("rpm", deployment, params, info)
        if tpm is None and rpm is None:
            return deployment
        counter, minute = f"{<str>info['id']}:{<str>params['model']}", _minute(self._models)
        if tpm is not None and _counted(memory, f"{counter}:tpm:{minute}", memory.clock()) >= _limit(tpm):
            raise Unserved(decline.DEPLOYMENT_AT_LIMIT)
        if rpm is not None:
            _add(memory, f"{counter}:rpm:{minute}", 1, self._models.RoutingArgs.ttl, _limit(rpm))
        return deployment

    def model_success(
        self, handler: object, kwargs: object, response_obj: object, start_time: object, end_time: object
    ) -> object | None:
        """Count tokens as ``ModelRateLimitingCheck.log_success_event`` does, or return ``DECLINED``."""
        try:
            memory = self._memory(handler, False)
            payload = _payload(kwargs)
            for metadata in (payload.get("metadata"), kwargs.get("metadata")):
                if metadata is not None and (type(metadata) is not dict or self._reserved in metadata):
                    raise Unserved(decline.IO_TOKEN_LIMITS)
            key, tokens = _told(payload, self._models)
            if tokens:
                _add(memory, key, tokens, self._models.RoutingArgs.ttl, None)
        except Unserved as reason:
            return self._gate.decline(reason.args[0])
        return None

    def usage_check(self, handler: object, deployment: object) -> object:
        """Count a call as ``LowestTPMLoggingHandler_v2.pre_call_check`` does, or return ``DECLINED``."""
        try:
            self._usage_check(handler, deployment)
        except Unserved as reason:
            return self._gate.decline(reason.args[0])
        return deployment

    def usage_check_async(self, handler: object, deployment: object, parent_otel_span: object) -> object:
        """Count a call as ``LowestTPMLoggingHandler_v2.async_pre_call_check`` does, or return ``DECLINED``."""
        try:
            key, ttl = self._usage_check(handler, deployment)
        except Unserved as reason:
            return self._gate.decline(reason.args[0])
        handler.redis_increment_operation_queue.append({"key": key, "increment_value": 1, "ttl": ttl})
        handler.in_memory_keys_to_update.add(key)
        return deployment

    cdef tuple _usage_check(self, handler, deployment):
        """Count a call; return under which key, and how long that lives."""
        cdef dict params, info
        cdef _Store memory = self._memory(handler, True)
        params, info = _parts(deployment)
        rpm = _first("rpm", deployment, params, info)
        key = f"{<str>info['id']}:{<str>params['model']}:rpm:{_minute(self._usages)}"
        ttl = handler.routing_args.ttl
        _add(memory, key, 1, ttl, None if rpm is None else _limit(rpm))
        return key, ttl

    def usage_success(
        self, handler: object, kwargs: object, response_obj: object, start_time: object, end_time: object
    ) -> object | None:
        """Count tokens as ``LowestTPMLoggingHandler_v2.log_success_event`` does, or return ``DECLINED``."""
        return self._usage_success(handler, kwargs, False)

    def usage_success_async(
        self, handler: object, kwargs: object, response_obj: object, start_time: object, end_time: object
    ) -> object | None:
        """Count tokens as ``LowestTPMLoggingHandler_v2.async_log_success_event`` does, or return ``DECLINED``.

        In most releases such a counter lives as long as the cache's own entries, whatever time it is given.
        """
        return self._usage_success(handler, kwargs, self._in_pipelines)

    cdef object _usage_success(self, handler, kwargs, bint in_pipeline):
        cdef dict payload
        try:
            memory = self._memory(handler, True)
            payload = _payload(kwargs)
            if type(payload.get("model_group")) is not str:
                raise Unserved(decline.RECORD_TYPE)
            key, tokens = _told(payload, self._usages)
            call_type = kwargs.get("call_type")
            if call_type == "acompletion" or not self._usages.is_batch_retrieve_call_type(call_type):
                _add(memory, key, tokens, None if in_pipeline else handler.routing_args.ttl, None)
        except Unserved as reason:
            return self._gate.decline(reason.args[0])
        return None

    def forget(self) -> None:
        """Forget what is remembered of loggers."""
        self._known.clear()

    cdef _Store _memory(self, handler, bint is_usage):
        """Return the memory in which a logger counts. Raises what the chooser raises, or ``Unserved``.

        It is remembered while logger and cache hold the same, which the twin looks at each time.
        """
        cdef tuple known
        self._chooser.check_process()
        known = self._known.get(id(handler))
        if known is None or known[0] is not handler or known[2].changed():
            kind = self._usages.LowestTPMLoggingHandler_v2 if is_usage else self._models.ModelRateLimitingCheck
            fields = _USAGE_FIELDS if is_usage else _MODEL_FIELDS
            if type(handler) is not kind or not handler.__dict__.keys() <= fields:
                raise Unserved(decline.STRATEGY_METHODS)
            cache = handler.dual_cache
            if is_usage and (handler.test_flag or cache is not handler.router_cache):
                raise Unserved(decline.STRATEGY_METHODS)
            seen = Snapshot([handler.__dict__, cache.__dict__, cache.in_memory_cache.__dict__])
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            known = self._known[id(handler)] = (handler, _store(self._chooser.check_cache(cache)), seen)
        return <_Store>known[1]


cdef tuple _parts(deployment):
    """Return the parameters and the information of a deployment that has texts for its model and its id."""
    if type(deployment) is dict:
        params = (<dict>deployment).get("litellm_params")
        info = (<dict>deployment).get("model_info")
        if (
            type(params) is dict
            and type(info) is dict
            and type((<dict>params).get("model")) is str
            and type((<dict>info).get("id")) is str
        ):
            return params, info
    raise Unserved(decline.DEPLOYMENT_TYPE)


cdef object _first(str name, dict deployment, dict params, dict info):
    """Return a limit of a deployment, from the first of its parts that has one."""
    value = deployment.get(name)
    if value is None:
        value = params.get(name)
        if value is None:
            value = info.get(name)
    return value


cdef object _limit(value):
    if type(value) is not int and type(value) is not float:
        raise Unserved(decline.LIMITS_TYPE)
    return value


cdef dict _payload(kwargs):
    """Return what LiteLLM says of a finished call."""
    payload = (<dict>kwargs).get("standard_logging_object") if type(kwargs) is dict else None
    if type(payload) is not dict:
        raise Unserved(decline.RECORD_TYPE)
    return <dict>payload


cdef tuple _told(dict payload, module):
    """Return under which key the tokens of a finished call are counted, and how many there are."""
    hidden = payload.get("hidden_params")
    model = (<dict>hidden).get("litellm_model_name") if type(hidden) is dict else None
    model_id = payload.get("model_id")
    tokens = payload.get("total_tokens")
    if (
        type(model_id) is not str
        or type(model) is not str
        or not model
        or (type(tokens) is not int and type(tokens) is not float)
    ):
        raise Unserved(decline.RECORD_TYPE)
    return f"{<str>model_id}:{<str>model}:tpm:{_minute(module)}", tokens


cdef str _minute(module):
    """Return hour and minute in UTC, by the clock that ``module`` has."""
    now = module.get_utc_datetime()
    cdef int hour = now.hour, minute = now.minute
    return <str>_MINUTES[60 * hour + minute]


cdef object _counted(_Store store, str key, double now):
    """Return what is counted under ``key``; an entry that has expired goes, as when stock reads it."""
    value = store.entries.get(key)
    if value is None:
        return 0
    expiry = store.expiries.get(key)
    if expiry is not None and now > <double>expiry:
        store.memory._remove_key(key)
        return 0
    if type(value) is not int and type(value) is not float:
        raise Unserved(decline.CACHED_VALUE)
    return value


cdef int _add(_Store store, str key, amount, ttl, most) except -1:
    """Add ``amount`` to a counter as ``InMemoryCache.increment_cache`` does, unless the sum is more than ``most``.

    A counter that starts lives ``ttl`` seconds, the cache's own time where that is None.
    """
    cdef list heap = store.heap
    cdef dict expiries = store.expiries
    cdef double now
    with store.lock:
        now = store.clock()
        total = _counted(store, key, now) + amount
        if most is not None and total > most:
            raise Unserved(decline.DEPLOYMENT_AT_LIMIT)
        if len(store.entries) >= store.room:
            store.memory.set_cache(key, total, ttl=ttl)
            return 0
        while heap and ((<tuple>heap[0])[0] != expiries.get((<tuple>heap[0])[1]) or (<tuple>heap[0])[0] <= now):
            expiry, name = heappop(heap)
            if expiry == expiries.get(name):
                store.entries.pop(name, None)
                expiries.pop(name, None)
        store.entries[key] = total
        expiry = expiries.get(key)
        if expiry is None or <double>expiry < now:
            expiry = now + (store.ttl if ttl is None else <double>ttl)
            expiries[key] = expiry
            heappush(heap, (expiry, key))
    return 0
