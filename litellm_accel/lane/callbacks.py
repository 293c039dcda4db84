"""Who listens to successful calls, and whether the lane can feed them exactly.

A callback is admitted if all it takes part in is a call's end: a plain function, or a ``CustomLogger`` that overrides
nothing but the events of success and failure. What happens on failure is stock's in any case. Whoever takes part in a
request, in routing or before a call is sent is stock's to serve.
"""

from __future__ import annotations

import importlib
from types import FunctionType, MethodType
from typing import Any

# Lists whose members hear of a success.
SUCCESS = ("success_callback", "_async_success_callback")
# Lists through which a callback may take part in a call before it has succeeded.
EARLY = ("callbacks", "input_callback", "_async_input_callback")
# Where LiteLLM puts a logger that it finds among ``callbacks``.
_PLACES = (
    "input_callback",
    "success_callback",
    "failure_callback",
    "_async_success_callback",
    "_async_failure_callback",
)
# What LiteLLM's success handlers call, as the lane has them do.
_HEARD = frozenset(
    [
        "async_log_success_event",
        "async_logging_hook",
        "log_success_event",
        "logging_hook",
        "redact_standard_logging_payload_from_model_call_details",
    ]
)
# What LiteLLM calls when a call has failed, for streams, or not at all.
_ELSEWHERE = frozenset(
    [
        "async_log_failure_event",
        "async_log_pre_api_call",
        "async_log_stream_event",
        "async_post_call_failure_deployment_hook",
        "log_failure_event",
        "log_failure_fallback_event",
        "log_stream_event",
        "log_success_fallback_event",
    ]
)
# LiteLLM's own loggers that measure calls: a router's strategies.
_STRATEGIES = (
    ("litellm.router_strategy.base_routing_strategy", "BaseRoutingStrategy"),
    ("litellm.router_strategy.least_busy", "LeastBusyLoggingHandler"),
    ("litellm.router_strategy.lowest_cost", "LowestCostLoggingHandler"),
    ("litellm.router_strategy.lowest_latency", "LowestLatencyLoggingHandler"),
    ("litellm.router_strategy.lowest_tpm_rpm", "LowestTPMLoggingHandler"),
    ("litellm.router_strategy.lowest_tpm_rpm_v2", "LowestTPMLoggingHandler_v2"),
)
# What they do before a call is sent, and the lane has them do: count it as sent, and as one of the minute.
_COUNTING, _CHECKING = "log_pre_api_call", "async_pre_call_check"
_BEFORE = frozenset((_COUNTING, _CHECKING, "pre_call_check"))
# What LiteLLM's proxy calls, before it calls its router and after.
_PROXY = frozenset(
    [
        "async_filter_listed_models",
        "async_log_audit_log_event",
        "async_moderation_hook",
        "async_post_call_failure_hook",
        "async_post_call_response_headers_hook",
        "async_post_call_streaming_hook",
        "async_post_call_streaming_iterator_hook",
        "async_post_call_success_hook",
        "async_pre_call_hook",
    ]
)
# LiteLLM's own loggers that its proxy registers. The names are hooks that take part in a call, and leave every call
# that the lane serves as it is.
_OWN: dict[str, frozenset[str]] = {
    "litellm._service_logger.ServiceLogging": frozenset(),
    "litellm.proxy.hooks.cache_control_check._PROXY_CacheControlCheck": frozenset(),
    # Runs code if the metadata say so, which a key does not admit.
    "litellm.proxy.hooks.litellm_skills.main.SkillsInjectionHook": frozenset(
        ["async_post_call_success_deployment_hook"]
    ),
    "litellm.proxy.hooks.max_budget_per_session_limiter._PROXY_MaxBudgetPerSessionHandler": frozenset(),
    "litellm.proxy.hooks.max_iterations_limiter._PROXY_MaxIterationsHandler": frozenset(),
    # Returns all deployments it is given.
    "litellm.proxy.hooks.model_max_budget_limiter._PROXY_VirtualKeyModelMaxBudgetLimiter": frozenset(
        ["async_filter_deployments"]
    ),
    "litellm.proxy.hooks.parallel_request_limiter_v3._PROXY_MaxParallelRequestsHandler_v3": frozenset(),
    "litellm.proxy.hooks.prompt_cache_prediction.PromptCacheObserver": frozenset(),
    "litellm.proxy.hooks.responses_id_security.ResponsesIDSecurity": frozenset(),
    "litellm.proxy.hooks.sensitive_data_routing._PROXY_SensitiveDataRoutingHandler": frozenset(),
}
_HOOKED = frozenset(["__call__", "__getattr__", "__getattribute__"])


class Listeners:
    """Judges the callbacks in LiteLLM's lists.

    Of those that are admitted, ``counting`` are told of each call before it is sent, ``checking`` are asked before.
    """

    def __init__(self) -> None:
        self.litellm = importlib.import_module("litellm")
        self.counting: list[Any] = []
        self.checking: list[Any] = []
        self._router = importlib.import_module("litellm.router").Router
        self._logger = importlib.import_module("litellm.integrations.custom_logger").CustomLogger
        self._strategies = {getattr(importlib.import_module(module), name) for module, name in _STRATEGIES}
        self._is_async = importlib.import_module(
            "litellm.litellm_core_utils.coroutine_checker"
        ).coroutine_checker.is_async_callable

    def judge(self) -> tuple[str | None, bool]:
        """Return why calls are stock's to serve, or None; and whether anybody listens to those that are not."""
        listening = False
        self.counting = self._acting(self.litellm.input_callback, _COUNTING)
        self.checking = self._acting(self.litellm.callbacks, _CHECKING)
        for name in (*SUCCESS, *EARLY, "service_callback"):
            for callback in getattr(self.litellm, name):
                if type(getattr(callback, "__self__", None)) is self._router:
                    continue
                reason = self._refusal(name, callback)
                if reason is not None:
                    return reason, False
                if name in SUCCESS and not self._is_deaf(callback):
                    listening = True
        return None, listening

    def _acting(self, callbacks: list[Any], hook: str) -> list[Any]:
        """Return the loggers among ``callbacks`` that override ``hook``."""
        held = (logger for logger in callbacks if isinstance(logger, self._logger))
        return [logger for logger in held if getattr(type(logger), hook) is not getattr(self._logger, hook)]

    def _refusal(self, name: str, callback: Any) -> str | None:
        if name == "service_callback":
            return "callback of a service"
        if isinstance(callback, str):
            return f"callback {callback}"
        if type(callback) in (FunctionType, MethodType):
            if name in EARLY:
                return "callback before the call"
            # An async function in the list of others is moved by the next call on stock.
            return "callback out of place" if name == "success_callback" and self._is_async(callback) else None
        if not isinstance(callback, self._logger):
            return f"callback of type {type(callback).__name__}"
        part = self._part(callback)
        if part is not None:
            return f"callback {part}"
        if name == "callbacks":
            for place in _PLACES:
                if not any(callback is held for held in getattr(self.litellm, place)):
                    return "callback out of place"
        return None

    def _part(self, logger: Any) -> str | None:
        """Return the name of something by which ``logger`` may take part in more than a call's end."""
        kind = type(logger)
        hooks = {name for name in vars(self._logger) if not name.startswith("__")} - _HEARD - _ELSEWHERE - _PROXY
        own = _OWN.get(f"{kind.__module__}.{kind.__qualname__}")
        if own is not None:
            held = (name for name in hooks if getattr(kind, name) is not getattr(self._logger, name))
            return next((name for name in held if name not in own or name in vars(logger)), None)
        for owner in kind.__mro__:
            if owner is self._logger:
                break
            if owner.__module__.partition(".")[0] == "litellm" and owner not in self._strategies:
                return owner.__name__
            acting = hooks - _BEFORE if owner in self._strategies else hooks
            for member in vars(owner):
                if member in _HOOKED or member in acting:
                    return member
        return next((member for member in vars(logger) if member in hooks), None)

    def _is_deaf(self, callback: Any) -> bool:
        """Return whether ``callback`` is a logger to which successes mean nothing."""
        if not isinstance(callback, self._logger):
            return False
        return all(
            getattr(type(callback), name) is getattr(self._logger, name) and name not in vars(callback)
            for name in _HEARD
        )
