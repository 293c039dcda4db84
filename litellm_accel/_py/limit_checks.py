"""A router's checks of its deployments' limits before a call, and its counts after it.

They are those of LiteLLM's ``enforce_model_rate_limits`` and ``usage-based-routing-v2``. Stock renders the minute and
goes through two caches and a decorator for each counter; here the counter is read and raised in place. A deployment at
its limit is left to stock before anything is counted, so that the error is stock's own.
"""

from __future__ import annotations

from datetime import datetime
from math import inf
from types import ModuleType
from typing import TYPE_CHECKING, Any

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.decline import Unserved

if TYPE_CHECKING:
    from litellm_accel._py.gate import Gate
    from litellm_accel._py.routing import Chooser

__all__ = ["LimitChecks"]

_MINUTES = [f"{minute // 60:02}-{minute % 60:02}" for minute in range(24 * 60)]
# What LiteLLM's loggers hold. Anything else may be a method put in the place of their class's.
_MODEL_FIELDS = frozenset(("dual_cache", "_io_token_conflict_warned_ids"))
_USAGE_FIELDS = frozenset(
    (
        "router_cache",
        "routing_args",
        "dual_cache",
        "redis_increment_operation_queue",
        "_sync_task",
        "in_memory_keys_to_update",
    )
)


class LimitChecks:
    """Checks and counts as LiteLLM's loggers do, or declines.

    ``chooser``, of the kernel ``routing``, knows whether a cache is understood and all that is gone around is stock's.
    ``models`` and ``usages`` are LiteLLM's modules of the two loggers.
    """

    __slots__ = ("_chooser", "_gate", "_in_pipelines", "_models", "_reserved", "_usages")

    def __init__(
        self,
        gate: Gate,
        chooser: Chooser,
        models: ModuleType,
        usages: ModuleType,
    ) -> None:
        self._gate = gate
        self._chooser = chooser
        self._models = models
        self._usages = usages
        # Later releases count in a pipeline after a call, which does not heed how long a counter is to live.
        self._in_pipelines = hasattr(usages.DualCache, "async_increment_cache_post_call")
        self._reserved: str = models.ITPM_RESERVED_KEY

    def model_check(self, handler: Any, deployment: Any, parent_otel_span: Any = None) -> Any:
        """Count a call as ``ModelRateLimitingCheck.pre_call_check`` does, or return ``DECLINED``."""
        try:
            return self._model_check(handler, deployment)
        except Unserved as reason:
            return self._gate.decline(reason.args[0])

    def _model_check(self, handler: Any, deployment: Any) -> Any:
        memory = self._memory(handler, False)
        params, info = _parts(deployment)
        if _first("itpm", deployment, params, info) is not None or _first("otpm", deployment, params, info) is not None:
            raise Unserved(decline.IO_TOKEN_LIMITS)
        tpm, rpm = _first("tpm", deployment, params, info), _first("rpm", deployment, params, info)
        if tpm is None and rpm is None:
            return deployment
        counter, minute = f"{info['id']}:{params['model']}", _minute(self._models)
        if tpm is not None and _counted(memory, f"{counter}:tpm:{minute}", memory._clock()) >= _limit(tpm):
            raise Unserved(decline.DEPLOYMENT_AT_LIMIT)
        if rpm is not None:
            _add(memory, f"{counter}:rpm:{minute}", 1, self._models.RoutingArgs.ttl, _limit(rpm))
        return deployment

    def model_success(
        self, handler: Any, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
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

    def usage_check(self, handler: Any, deployment: Any) -> Any:
        """Count a call as ``LowestTPMLoggingHandler_v2.pre_call_check`` does, or return ``DECLINED``."""
        try:
            self._usage_check(handler, deployment)
        except Unserved as reason:
            return self._gate.decline(reason.args[0])
        return deployment

    def usage_check_async(self, handler: Any, deployment: Any, parent_otel_span: Any) -> Any:
        """Count a call as ``LowestTPMLoggingHandler_v2.async_pre_call_check`` does, or return ``DECLINED``."""
        try:
            key, ttl = self._usage_check(handler, deployment)
        except Unserved as reason:
            return self._gate.decline(reason.args[0])
        handler.redis_increment_operation_queue.append({"key": key, "increment_value": 1, "ttl": ttl})
        handler.in_memory_keys_to_update.add(key)
        return deployment

    def _usage_check(self, handler: Any, deployment: Any) -> tuple[str, Any]:
        """Count a call; return under which key, and how long that lives."""
        memory = self._memory(handler, True)
        params, info = _parts(deployment)
        rpm = _first("rpm", deployment, params, info)
        key = f"{info['id']}:{params['model']}:rpm:{_minute(self._usages)}"
        ttl = handler.routing_args.ttl
        _add(memory, key, 1, ttl, None if rpm is None else _limit(rpm))
        return key, ttl

    def usage_success(
        self, handler: Any, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
    ) -> object | None:
        """Count tokens as ``LowestTPMLoggingHandler_v2.log_success_event`` does, or return ``DECLINED``."""
        return self._usage_success(handler, kwargs, False)

    def usage_success_async(
        self, handler: Any, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
    ) -> object | None:
        """Count tokens as ``LowestTPMLoggingHandler_v2.async_log_success_event`` does, or return ``DECLINED``.

        In most releases such a counter lives as long as the cache's own entries, whatever time it is given.
        """
        return self._usage_success(handler, kwargs, self._in_pipelines)

    def _usage_success(self, handler: Any, kwargs: Any, in_pipeline: bool) -> object | None:
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

    def _memory(self, handler: Any, is_usage: bool) -> Any:
        """Return the memory in which a logger counts. Raises what the chooser raises, or ``Unserved``."""
        kind = self._usages.LowestTPMLoggingHandler_v2 if is_usage else self._models.ModelRateLimitingCheck
        fields = _USAGE_FIELDS if is_usage else _MODEL_FIELDS
        if type(handler) is not kind or not handler.__dict__.keys() <= fields:
            raise Unserved(decline.STRATEGY_METHODS)
        cache = handler.dual_cache
        if is_usage and (handler.test_flag or cache is not handler.router_cache):
            raise Unserved(decline.STRATEGY_METHODS)
        return self._chooser.check_cache(cache)


def _parts(deployment: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the parameters and the information of a deployment that has texts for its model and its id."""
    if type(deployment) is dict:
        params: Any = deployment.get("litellm_params")
        info: Any = deployment.get("model_info")
        is_whole = type(params) is dict and type(info) is dict
        if is_whole and type(params.get("model")) is str and type(info.get("id")) is str:
            return params, info
    raise Unserved(decline.DEPLOYMENT_TYPE)


def _first(name: str, deployment: dict[str, Any], params: dict[str, Any], info: dict[str, Any]) -> Any:
    """Return a limit of a deployment, from the first of its parts that has one."""
    value = deployment.get(name)
    if value is None:
        value = params.get(name)
        if value is None:
            value = info.get(name)
    return value


def _limit(value: Any) -> float:
    if type(value) is not int and type(value) is not float:
        raise Unserved(decline.LIMITS_TYPE)
    return value


def _payload(kwargs: Any) -> dict[str, Any]:
    """Return what LiteLLM says of a finished call."""
    payload = kwargs.get("standard_logging_object") if type(kwargs) is dict else None
    if type(payload) is not dict:
        raise Unserved(decline.RECORD_TYPE)
    return payload


def _told(payload: dict[str, Any], module: ModuleType) -> tuple[str, float]:
    """Return under which key the tokens of a finished call are counted, and how many there are."""
    hidden = payload.get("hidden_params")
    model = hidden.get("litellm_model_name") if type(hidden) is dict else None
    model_id = payload.get("model_id")
    tokens: Any = payload.get("total_tokens")
    if type(model_id) is not str or type(model) is not str or not model or type(tokens) not in (int, float):
        raise Unserved(decline.RECORD_TYPE)
    return f"{model_id}:{model}:tpm:{_minute(module)}", tokens


def _minute(module: ModuleType) -> str:
    """Return hour and minute in UTC, by the clock that ``module`` has."""
    now: datetime = module.get_utc_datetime()
    return _MINUTES[60 * now.hour + now.minute]


def _counted(memory: Any, key: str, now: float) -> float:
    """Return what is counted under ``key``; an entry that has expired goes, as when stock reads it."""
    value = memory.cache_dict.get(key)
    if value is None:
        return 0
    if now > memory.ttl_dict.get(key, inf):
        memory._remove_key(key)
        return 0
    if type(value) is not int and type(value) is not float:
        raise Unserved(decline.CACHED_VALUE)
    number: float = value
    return number


def _add(memory: Any, key: str, amount: float, ttl: float | None, most: float | None) -> None:
    """Add ``amount`` to a counter as ``InMemoryCache.increment_cache`` does, unless the sum is more than ``most``.

    A counter that starts lives ``ttl`` seconds, the cache's own time where that is None.
    """
    with memory._increment_lock:
        total = _counted(memory, key, memory._clock()) + amount
        if most is not None and total > most:
            raise Unserved(decline.DEPLOYMENT_AT_LIMIT)
        memory.set_cache(key, total, ttl=ttl)
