"""What component ``routing`` does when a call has finished: the router's counters and its strategies' measurements.

Stock reads a deployment's limits through a deep copy of its whole price entry and renders the measurements of a model
group as text for a log line that is switched off. Here the limits are remembered while their sources stay as they are,
and the measurements are read and written in place. Everything is checked before the first counter moves, so that a
declined record is left to stock untouched.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from datetime import timedelta
from types import ModuleType
from typing import Any

from litellm_accel import hot
from litellm_accel.fastpath import decline
from litellm_accel.hot import routing as _hot
from litellm_accel.stock.providers import MAPPED

_NUMBERS = (int, float)
# What stock calls on the router itself when it counts.
_METHODS = ("_increment_deployment_usage", "get_deployment", "get_router_model_info")
_MINUTE = 60  # how long the successes and failures of a deployment are counted, in seconds


class Limits:
    """Whether a router counts the tokens and requests of its deployments, remembered while the sources are the same."""

    def __init__(self, litellm: dict[str, Any]) -> None:
        self._litellm = litellm
        self._get_provider = litellm["get_llm_provider"]
        self._has_io_limits = importlib.import_module("litellm.router").deployment_has_io_token_limits
        self._table: Any = None
        self._prices: _hot.Snapshot  # there is one once there is a table
        self._known: dict[tuple[int, str], tuple[dict[str, Any], Any, bool]] = {}

    def counted(self, router: Any, model_id: str, model_group: str) -> bool:
        """Return whether the deployment has a limit, so that stock counts its use. Raises ``Unserved``."""
        table = self._litellm["model_cost"]
        if table is not self._table or self._prices.changed():
            self._table, self._prices = table, _hot.Snapshot([table])
            self._known.clear()
        deployment = router.model_list[router.model_id_to_deployment_index_map[model_id]]
        key = (id(deployment), model_group)
        known = self._known.get(key)
        if known is None or known[0] is not deployment or known[1].changed():
            if len(self._known) > 8192:
                self._known.clear()
            known = self._known[key] = self._learn(router, deployment, model_id, model_group)
        return known[2]

    def _learn(self, router: Any, deployment: Any, model_id: str, model_group: str) -> tuple[dict[str, Any], Any, bool]:
        if type(deployment) is not dict or type(deployment.get("litellm_params")) is not dict:
            raise decline.Unserved(decline.DEPLOYMENT_TYPE)
        parts = [deployment, deployment["litellm_params"], deployment["model_info"]]
        model = deployment["litellm_params"].get("model")
        if type(model) is not str or "*" in model or router._discovered_model_info_cache.cache_dict:
            raise decline.Unserved(decline.CHANGING_LIMITS)
        seen = _hot.Snapshot(parts)
        parsed = router.get_deployment(model_id=model_id)
        provider = self._get_provider(model=model, litellm_params=parsed.litellm_params)[1]
        if provider not in MAPPED:
            raise decline.Unserved(decline.CHANGING_LIMITS)
        try:
            info = router.get_router_model_info(deployment=parsed, received_model_name=model_group)
        except Exception as error:  # stock fails the same way, and says so in its log
            raise decline.Unserved(decline.MODEL_UNPRICED) from error
        row = self._litellm["model_cost"].get(info.get("key"))
        if type(row) is dict and not seen.changed():
            seen = _hot.Snapshot([*parts, row])
        limits = (
            parsed.get("tpm"),
            parsed.get("rpm"),
            parsed.litellm_params.tpm,
            parsed.litellm_params.rpm,
            info.get("tpm"),
            info.get("rpm"),
        )
        counted = any(limit is not None for limit in limits) or self._has_io_limits(parsed.model_dump())
        return deployment, seen, counted


class Accounting:
    """Records finished calls as LiteLLM's router and its latency- and cost-based strategies do."""

    def __init__(
        self, gate: hot.gate.Gate, chooser: _hot.Chooser, litellm: dict[str, Any], strategies: Mapping[str, ModuleType]
    ) -> None:
        self._gate = gate
        self._chooser = chooser
        self._litellm = litellm
        self._strategies = strategies
        self._limits = Limits(litellm)
        self._router = importlib.import_module("litellm.router")
        tracking = importlib.import_module("litellm.router_utils.router_callbacks.track_deployment_metrics")
        self._counted_tokens = tracking.get_counted_usage_tokens
        self._not_live = importlib.import_module("litellm.router_utils.batch_utils").is_batch_retrieve_call_type
        self._keys = importlib.import_module("litellm.types.router").RouterCacheEnum

    def success(
        self, router: Any, kwargs: Any, completion_response: Any, start_time: Any, end_time: Any
    ) -> str | object | None:
        """Count a success as ``Router.deployment_callback_on_success`` does, or return ``DECLINED``."""
        try:
            return self._success(router, kwargs)
        except decline.Unserved as reason:
            return self._gate.decline(reason.args[0])

    def _success(self, router: Any, kwargs: Any) -> str | None:
        memory = self._checked(router)
        call_type = kwargs.get("call_type")
        if call_type in ("_aresponses_websocket", "_arealtime") or self._not_live(call_type):
            raise decline.Unserved(decline.RECORD_TYPE)
        payload, params = kwargs.get("standard_logging_object"), kwargs["litellm_params"]
        if type(payload) is not dict or type(params) is not dict:
            raise decline.Unserved(decline.RECORD_TYPE)
        metadata, info = params.get("metadata"), params.get("model_info")
        if type(metadata) is not dict or type(info) is not dict:
            raise decline.Unserved(decline.RECORD_TYPE)
        model_group, model_id = metadata.get("model_group"), info.get("id")
        if type(model_group) is not str or type(model_id) is not str:
            raise decline.Unserved(decline.RECORD_TYPE)
        if model_id not in router.model_id_to_deployment_index_map:
            return None
        tokens, counted, name = payload.get("total_tokens", 0), self._counted_tokens(params), metadata.get("deployment")
        if type(tokens) not in _NUMBERS:
            raise decline.Unserved(decline.RECORD_TYPE)
        tokens, calls = (tokens, 1) if counted is None else (max(0, tokens - counted), 0)
        name = name if isinstance(name, str) else None
        planned = self._planned(router, memory, model_id, name, model_group, tokens, calls)
        _hot.increment(memory, f"{model_id}:successes", 1, _MINUTE)
        return _add(memory, planned)

    def usage(
        self,
        router: Any,
        *,
        deployment_id: Any,
        deployment_name: Any,
        model_group: Any,
        total_tokens: Any,
        rpm_increment: Any,
        parent_otel_span: Any,
    ) -> str | object | None:
        """Count tokens and calls as ``Router._increment_deployment_usage`` does, or return ``DECLINED``."""
        try:
            memory = self._checked(router)
            if type(deployment_id) is not str or type(model_group) is not str:
                raise decline.Unserved(decline.RECORD_TYPE)
            if type(total_tokens) not in _NUMBERS or type(rpm_increment) is not int:
                raise decline.Unserved(decline.RECORD_TYPE)
            if deployment_id not in router.model_id_to_deployment_index_map:
                return None
            return _add(
                memory,
                self._planned(router, memory, deployment_id, deployment_name, model_group, total_tokens, rpm_increment),
            )
        except decline.Unserved as reason:
            return self._gate.decline(reason.args[0])

    def _checked(self, router: Any) -> Any:
        """Return the memory cache of a router that is understood, and counts by LiteLLM's own methods.

        Raises ``Unserved``.
        """
        memory, held = self._chooser.check(router), router.__dict__
        if any([method in held for method in _METHODS]):
            raise decline.Unserved(decline.ROUTER_METHODS)
        return memory

    def _planned(
        self, router: Any, memory: Any, model_id: str, name: str | None, model_group: str, tokens: float, calls: int
    ) -> list[tuple[str, float]]:
        """Return what is to be added to which counter; nothing where the deployment has no limit."""
        if not self._limits.counted(router, model_id, model_group) or (tokens <= 0 and calls <= 0):
            return []
        minute = self._router.get_utc_datetime().strftime("%H-%M")
        planned = [
            (kind.value.format(id=model_id, current_minute=minute, model=name), amount)
            for kind, amount in ((self._keys.TPM, tokens), (self._keys.RPM, calls))
        ]
        if any(type(memory.cache_dict.get(key, 0)) not in _NUMBERS for key, _ in planned):
            raise decline.Unserved(decline.CACHED_VALUE)
        return planned

    def latency(self, handler: Any, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> object:
        """Record a latency as ``LowestLatencyLoggingHandler.log_success_event`` does, or return ``DECLINED``."""
        try:
            self._latency(handler, kwargs, response_obj, start_time, end_time)
        except decline.Unserved as reason:
            return self._gate.decline(reason.args[0])
        return None

    def _latency(self, handler: Any, kwargs: Any, response: Any, start_time: Any, end_time: Any) -> None:
        module = self._strategies["lowest_latency"]
        memory = self._memory(handler, module.LowestLatencyLoggingHandler)
        model_group, model_id = self._subject(
            kwargs, "litellm_metadata" if "litellm_metadata" in kwargs else "metadata"
        )
        seconds = _seconds(end_time - start_time)
        first_token = None
        if kwargs.get("stream") is True:
            first_token = _seconds(kwargs.get("completion_start_time", end_time) - start_time)
        value: float = seconds
        tokens = 0
        usage = getattr(response, "usage", None) if isinstance(response, module.ModelResponse) else None
        if usage is not None:
            tokens = usage.total_tokens
            each = module.safe_divide_seconds(seconds, usage.completion_tokens)
            if each is not None:
                value = float(each)
        key = f"{model_group}_map"
        usages, entry = self._entry(memory, key, model_id)
        most = handler.routing_args.max_latency_list_size
        minute = vars(module)["datetime"].now().strftime("%Y-%m-%d-%H-%M")
        lists = {name: entry.get(name, []) for name in ("latency", "time_to_first_token_seconds")}
        used = _used(entry, minute, tokens)
        if any(type(samples) is not list for samples in lists.values()) or most < 1:
            raise decline.Unserved(decline.CACHED_VALUE)
        usages.setdefault(model_id, entry)
        _append(entry, "latency", value, most)
        if first_token is not None:
            _append(entry, "time_to_first_token_seconds", first_token, most)
        _count(entry, minute, used)
        self._store(handler, memory, key, usages, handler.routing_args.ttl)

    def cost(self, handler: Any, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> object:
        """Record a use as ``LowestCostLoggingHandler.log_success_event`` does, or return ``DECLINED``."""
        try:
            self._cost(handler, kwargs, response_obj)
        except decline.Unserved as reason:
            return self._gate.decline(reason.args[0])
        return None

    def _cost(self, handler: Any, kwargs: Any, response: Any) -> None:
        module = self._strategies["lowest_cost"]
        memory = self._memory(handler, module.LowestCostLoggingHandler)
        model_group, model_id = self._subject(kwargs, "metadata")
        usage = getattr(response, "usage", None) if isinstance(response, module.ModelResponse) else None
        tokens = usage.total_tokens if isinstance(usage, self._litellm["Usage"]) else 0
        key = f"cost_map:{model_group}"
        usages, entry = self._entry(memory, key, model_id)
        minute = vars(module)["datetime"].now().strftime("%Y-%m-%d-%H-%M")
        used = _used(entry, minute, tokens)
        usages.setdefault(model_id, entry)
        _count(entry, minute, used)
        self._store(handler, memory, key, usages, None)

    def tokens(self, handler: Any, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> object:
        """Record a use as ``LowestTPMLoggingHandler.log_success_event`` does, or return ``DECLINED``."""
        try:
            self._tokens(handler, kwargs, response_obj)
        except decline.Unserved as reason:
            return self._gate.decline(reason.args[0])
        return None

    def _tokens(self, handler: Any, kwargs: Any, response: Any) -> None:
        module = self._strategies["lowest_tpm_rpm"]
        memory = self._memory(handler, module.LowestTPMLoggingHandler)
        model_group, model_id = self._subject(kwargs, "metadata")
        usage = getattr(response, "usage", None) if isinstance(response, self._litellm["ModelResponse"]) else None
        if not isinstance(usage, self._litellm["Usage"]) or type(usage.total_tokens) is not int:
            raise decline.Unserved(decline.RECORD_TYPE)
        minute = vars(module)["datetime"].now().strftime("%H-%M")
        amounts = {f"{model_group}:tpm:{minute}": usage.total_tokens, f"{model_group}:rpm:{minute}": 1}
        for key in amounts:
            usages = memory.get_cache(key) or {}
            if type(usages) is not dict or type(usages.get(model_id, 0)) not in _NUMBERS:
                raise decline.Unserved(decline.CACHED_VALUE)
        for key, amount in amounts.items():
            usages = memory.get_cache(key) or {}  # again: storing the first one evicts what expires in this instant
            usages[model_id] = usages.get(model_id, 0) + amount
            self._store(handler, memory, key, usages, handler.routing_args.ttl)

    def failure(
        self, router: Any, kwargs: Any, completion_response: Any, start_time: Any, end_time: Any
    ) -> object | None:
        """Count a failed call as ``Router.async_deployment_callback_on_failure`` does, or return ``DECLINED``."""
        try:
            memory = self._chooser.check(router)
            _, model_id = self._subject(kwargs, "metadata")
            name = kwargs["litellm_params"]["metadata"].get("deployment")
            minute = self._router.get_utc_datetime().strftime("%H-%M")
            key = self._keys.RPM.value.format(id=model_id, current_minute=minute, model=name)
            if type(name) is not str:
                raise decline.Unserved(decline.RECORD_TYPE)
            _hot.increment(memory, key, 1, self._router.RoutingArgs.ttl.value)
        except decline.Unserved as reason:
            return self._gate.decline(reason.args[0])
        return None

    def failed(self, litellm_router_instance: Any, deployment_id: Any) -> object | None:
        """Count a failure as ``increment_deployment_failures_for_current_minute`` does, or return ``DECLINED``."""
        try:
            _hot.increment(self._chooser.check(litellm_router_instance), f"{deployment_id}:fails", 1, _MINUTE)
        except decline.Unserved as reason:
            return self._gate.decline(reason.args[0])
        return None

    def busy(self, handler: Any, kwargs: Any, delta: Any) -> object | None:
        """Count a request in flight as ``LeastBusyLoggingHandler._increment`` does, or return ``DECLINED``."""
        module = self._strategies["least_busy"]
        try:
            memory = self._memory(handler, module.LeastBusyLoggingHandler)
            model_group, model_id = self._subject(kwargs, "metadata")
            key = f"{model_group}_request_count:{model_id}"
            _hot.increment(memory, key, delta, module.IN_FLIGHT_COUNT_TTL_SECONDS, 0)
        except decline.Unserved as reason:
            return self._gate.decline(reason.args[0])
        return None

    def _memory(self, handler: Any, kind: Any) -> Any:
        """Return the in-memory cache behind a strategy's handler."""
        if (
            type(handler) is not kind
            or handler.test_flag
            or not vars(handler).keys() <= {"router_cache", "router_cache_id", "routing_args"}
        ):
            raise decline.Unserved(decline.STRATEGY_METHODS)
        return self._chooser.check_cache(handler.router_cache)

    def _subject(self, kwargs: Any, field: str) -> tuple[str, str]:
        """Return the model group and the deployment a record is about."""
        params = kwargs.get("litellm_params")
        if self._not_live(kwargs.get("call_type")) or type(params) is not dict:
            raise decline.Unserved(decline.RECORD_TYPE)
        metadata, info = params.get(field), params.get("model_info")
        if type(metadata) is not dict or type(info) is not dict:
            raise decline.Unserved(decline.RECORD_TYPE)
        model_group, model_id = metadata.get("model_group"), info.get("id")
        if type(model_group) is not str or type(model_id) is not str:
            raise decline.Unserved(decline.RECORD_TYPE)
        return model_group, model_id

    def _entry(self, memory: Any, key: str, model_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
        usages = memory.get_cache(key) or {}
        entry = usages.get(model_id, {}) if type(usages) is dict else None
        if type(entry) is not dict:
            raise decline.Unserved(decline.CACHED_VALUE)
        return usages, entry

    def _store(self, handler: Any, memory: Any, key: str, usages: dict[str, Any], ttl: float | None) -> None:
        lasting = handler.router_cache.default_in_memory_ttl if ttl is None else ttl
        memory.set_cache(key, usages, **({} if lasting is None else {"ttl": lasting}))


def _add(memory: Any, planned: list[tuple[str, float]]) -> str | None:
    """Raise counters; return the first one's key, or None where there is none."""
    for key, amount in planned:
        _hot.increment(memory, key, amount)
    return planned[0][0] if planned else None


def _seconds(elapsed: Any) -> float:
    if isinstance(elapsed, timedelta):
        return elapsed.total_seconds()
    if type(elapsed) is not float:
        raise decline.Unserved(decline.RECORD_TYPE)
    return elapsed


def _used(entry: dict[str, Any], minute: str, tokens: Any) -> dict[str, Any]:
    """Return the counters of this minute, one call of ``tokens`` tokens later."""
    used = entry.get(minute, {})
    if type(used) is not dict or type(tokens) not in _NUMBERS:
        raise decline.Unserved(decline.CACHED_VALUE)
    tpm, rpm = used.get("tpm", 0), used.get("rpm", 0)
    if type(tpm) not in _NUMBERS or type(rpm) not in _NUMBERS:
        raise decline.Unserved(decline.CACHED_VALUE)
    return {"tpm": tpm + tokens, "rpm": rpm + 1}


def _count(entry: dict[str, Any], minute: str, used: dict[str, Any]) -> None:
    entry.setdefault(minute, {}).update(used)


def _append(entry: dict[str, Any], name: str, sample: float, most: int) -> None:
    """Add a sample to a list of at most ``most``; a full list is replaced, as in stock."""
    if len(entry.get(name, [])) < most:
        entry.setdefault(name, []).append(sample)
    else:
        entry[name] = [*entry[name][1:], sample]
