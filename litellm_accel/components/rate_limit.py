"""Component ``rate_limit``: a router's checks of its deployments' limits, and the limiter of LiteLLM's proxy.

Reaches through it: routers with ``enforce_model_rate_limits`` or ``usage-based-routing-v2``, and proxies that count in
memory. What it goes around is watched; each start compares it with stock.
"""

from __future__ import annotations

import copy
import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any

from litellm_accel import hot
from litellm_accel.components.base import Component, Native, ProbeMismatch, Replaced, Replacement, Unavailable, Unproven
from litellm_accel.components.proxy_limiter import ProxyLimiter, can_be_there
from litellm_accel.components.routing import Reader, functions, located
from litellm_accel.hot import limit_checks
from litellm_accel.hot import routing as _hot
from litellm_accel.routing.probe import compare_apart
from litellm_accel.routing.setting_words import unknown_settings
from litellm_accel.stock import seams

_MODEL_CHECK = "litellm.router_utils.pre_call_checks.model_rate_limit_check"
_USAGE_CHECK = "litellm.router_strategy.lowest_tpm_rpm_v2"
_MODEL = f"{_MODEL_CHECK}:ModelRateLimitingCheck"
_USAGE = f"{_USAGE_CHECK}:LowestTPMLoggingHandler_v2"
# What is gone around; None stands for all functions there.
_AROUND: dict[str, tuple[str, ...] | None] = {
    "litellm.caching.dual_cache:DualCache": None,
    "litellm.caching.in_memory_cache:InMemoryCache": None,
    _MODEL: None,
    _USAGE: None,
    _MODEL_CHECK: ("deployment_has_io_token_limits", "get_utc_datetime"),
    _USAGE_CHECK: ("get_utc_datetime", "is_batch_retrieve_call_type"),
    "litellm.router_strategy.base_routing_strategy:BaseRoutingStrategy": (
        "_increment_value_in_current_window",
        "add_to_in_memory_keys_to_update",
    ),
}
_HOOKS = ("pre_call_check", "async_pre_call_check", "log_success_event", "async_log_success_event")


class RateLimit(Component):
    """Limits of requests and tokens a minute, a router's and the proxy's, checked and counted in place."""

    name = "rate_limit"
    summary = "a router's checks and counts of its deployments' limits; the limiter of LiteLLM's proxy"
    hot_modules = ("limit_checks", "proxy_limits", "routing")
    relies_on = (_MODEL_CHECK, _USAGE_CHECK)

    def __init__(self) -> None:
        self._reader: Any = None
        self._chooser: Any = None
        self._checks: Any = None
        self._proxy: ProxyLimiter | None = None

    def replacements(self, gate: hot.gate.Gate) -> Sequence[Replacement]:
        """Return the hooks of the two loggers that check and count; the proxy's limiter is joined later."""
        self._proxy = ProxyLimiter(gate) if can_be_there() else None
        if seams.has_core_of_its_own():
            if self._proxy is None:
                raise Native("the installed LiteLLM's routers count in a core of their own")
            return []
        try:
            reader = self._reader = Reader()
            owners = [(located(path), names) for path, names in _AROUND.items()]
            reader.code = [(owner, functions(vars(owner)) if names is None else names) for owner, names in owners]
            chooser = self._chooser = _hot.Chooser(gate, reader)
            loggers = located(_MODEL_CHECK), located(_USAGE_CHECK)
            checks = self._checks = limit_checks.LimitChecks(gate, chooser, *loggers)
        except (ImportError, AttributeError) as error:
            raise Unavailable(f"the installed LiteLLM checks limits otherwise: {error}") from error
        strange = unknown_settings([(located(_MODEL), _HOOKS), (located(_USAGE), _HOOKS)], reader.router_type) - _WORDS
        if strange:
            raise Unavailable(f"the installed LiteLLM's limits speak of {', '.join(sorted(strange))}")

        def sync(fast: Callable[..., Any]) -> Callable[[FunctionType], Callable[..., Any]]:
            return lambda stock: gate.pure(fast, stock)

        def coroutine(fast: Callable[..., Any]) -> Callable[[FunctionType], Callable[..., Any]]:
            return lambda stock: gate.coroutine(fast, stock)

        return [
            Replacement(f"{_MODEL}.pre_call_check", sync(checks.model_check)),
            Replacement(f"{_MODEL}.async_pre_call_check", coroutine(checks.model_check)),
            Replacement(f"{_MODEL}.log_success_event", sync(checks.model_success)),
            Replacement(f"{_MODEL}.async_log_success_event", coroutine(checks.model_success)),
            Replacement(f"{_USAGE}.pre_call_check", sync(checks.usage_check)),
            Replacement(f"{_USAGE}.async_pre_call_check", coroutine(checks.usage_check_async)),
            Replacement(f"{_USAGE}.log_success_event", sync(checks.usage_success)),
            Replacement(f"{_USAGE}.async_log_success_event", coroutine(checks.usage_success_async)),
        ]

    def prove(self, replaced: Mapping[str, Replaced]) -> None:
        """Compare checks and counts of small deployments with stock. Raises ``ProbeMismatch`` or ``Unproven``."""
        if replaced:
            compare_apart(self._reader, lambda: _compare(replaced), "checks limits")

    def started(self) -> None:
        """Join the proxy's limiter, once it is there."""
        if self._proxy is not None:
            self._proxy.join()

    def stopped(self) -> None:
        """Leave the proxy's limiter, and forget what is remembered of routers."""
        if self._proxy is not None:
            self._proxy.leave()
        for held in (self._chooser, self._checks):
            if held is not None:
                held.forget()


# Deployments by where their limits are, and how often each is called.
_DEPLOYMENTS: tuple[dict[str, Any], ...] = (
    {"rpm": 2},
    {"litellm_params": {"rpm": 3, "tpm": 20}},
    {"model_info": {"tpm": 12.5}},
    {"tpm": 30, "litellm_params": {"rpm": 5, "tpm": 1}},
    {"litellm_params": {"rpm": 0}},
    {},
)
_CALLS = 4


async def _compare(replaced: Mapping[str, Replaced]) -> None:
    for target, make in ((_MODEL, _model_logger), (_USAGE, _usage_logger)):
        for prefix in ("", "async_"):
            check, count = replaced[f"{target}.{prefix}pre_call_check"], replaced[f"{target}.{prefix}log_success_event"]
            gate: Any = check.accelerated.gate  # type: ignore[attr-defined]
            served = gate.served
            sides = [(make(), check.stock, count.stock), (make(), check.accelerated, count.accelerated)]
            for number, limits in enumerate(_DEPLOYMENTS):
                deployment: dict[str, Any] = {"model_name": "chat", **limits}
                deployment["litellm_params"] = {"model": "openai/gpt-4o-mini", **limits.get("litellm_params", {})}
                deployment["model_info"] = {"id": f"d{number}", **limits.get("model_info", {})}
                for call in range(_CALLS):
                    told = [await _called(side, prefix, copy.deepcopy(deployment), call) for side in sides]
                    if told[0] != told[1]:
                        raise ProbeMismatch(f"{target}.{prefix}pre_call_check of {limits}: {told[0]} and {told[1]}")
            if gate.faults or gate.served == served:
                raise Unproven(f"{target} cannot be compared with stock here: {gate.last_fault or gate.declined}")


async def _called(side: tuple[Any, Any, Any], prefix: str, deployment: dict[str, Any], call: int) -> str:
    """Return what a call's check says, and what is counted when the call has succeeded."""
    logger, check, count = side
    try:
        outcome = check(logger, deployment, None) if prefix else check(logger, deployment)
        said = repr(await outcome if inspect.isawaitable(outcome) else outcome)
    except Exception as error:
        response = getattr(error, "response", None)
        more = (response.text, response.headers, vars(error).get("num_retries")) if response is not None else ()
        said = repr((type(error), str(error), more))
    payload = {
        "model_group": "chat",
        "model_id": deployment["model_info"]["id"],
        "total_tokens": 7 * call,
        "hidden_params": {"litellm_model_name": "openai/gpt-4o-mini"},
        "metadata": {},
    }
    kwargs = {"standard_logging_object": payload, "metadata": None, "call_type": "acompletion"}
    counted = count(logger, kwargs, None, None, None)
    counted = repr(await counted if inspect.isawaitable(counted) else counted)
    memory = logger.dual_cache.in_memory_cache
    ages = {key: round(expiry - time.time(), -1) for key, expiry in memory.ttl_dict.items()}
    queue = getattr(logger, "redis_increment_operation_queue", None), getattr(logger, "in_memory_keys_to_update", ())
    return repr((said, counted, memory.cache_dict, ages, len(memory.expiration_heap), queue[0], sorted(queue[1])))


def _model_logger() -> Any:
    return located(_MODEL)(located("litellm.caching.dual_cache:DualCache")())


def _usage_logger() -> Any:
    """Return a logger whose task that synchronises it with Redis was not started."""
    kind = located(_USAGE)
    logger = kind.__new__(kind)
    cache = located("litellm.caching.dual_cache:DualCache")()
    vars(logger).update(
        router_cache=cache,
        routing_args=located(_USAGE_CHECK).RoutingArgs(),
        dual_cache=cache,
        redis_increment_operation_queue=[],
        _sync_task=None,
        in_memory_keys_to_update=set(),
    )
    return logger


# Words of the checks that LiteLLM 1.106.2 speaks besides those of its choice of deployments.
_WORDS = frozenset(
    [
        "ITPM",
        "OTPM",
        "_get_parent_otel_span_from_kwargs",
        "_litellm_itpm_reserved",
        "get_parent_otel_span_from_kwargs",
        "itpm_cache_key",
        "itpm_reserved",
        "limit_label",
        "model_rate_limit_check",
        "otpm_cache_key",
        "otpm_reserved",
    ]
)

COMPONENT = RateLimit()
