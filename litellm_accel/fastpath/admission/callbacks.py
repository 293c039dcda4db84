"""Who listens to calls, and whether the fast path can have them told exactly what stock tells them.

LiteLLM tells a ``CustomLogger`` by its methods and calls whatever can be called; other objects in its lists it passes
by. A callback is admitted if all it takes part in is a call's end: its own success handlers tell it. What happens on
failure is stock's in any case, and hooks that do nothing are nobody's. Whoever takes part in a request, in routing or
before a call is sent is stock's to serve. LiteLLM's own loggers, which it might treat otherwise, are admitted by name.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable
from types import CodeType, FunctionType, MethodType
from typing import Any

from litellm_accel.fastpath import decline, response_cache
from litellm_accel.fastpath.admission.callback_placing import placing
from litellm_accel.fastpath.decline import Why
from litellm_accel.hot import watch
from litellm_accel.stock.empty_hooks import empty_code

# Lists whose members hear of a success.
SUCCESS = ("success_callback", "_async_success_callback")
# Lists through which a callback may take part in a call before it has succeeded.
EARLY = ("callbacks", "input_callback", "_async_input_callback")
# The one of all lists to which LiteLLM adds a callback whether it is there or not.
_REPEATING = (*SUCCESS, *EARLY).index("_async_input_callback")
# Lists whose members hear of a failure, from stock.
FAILURE = ("failure_callback", "_async_failure_callback")
# Where LiteLLM puts a callback that it finds among ``callbacks``.
_PLACES = ("input_callback", *SUCCESS, *FAILURE)
# What LiteLLM's success handlers call, as the fast path has them do.
_HEARD = frozenset(
    [
        "async_log_success_event",
        "async_logging_hook",
        "log_success_event",
        "logging_hook",
        "redact_standard_logging_payload_from_model_call_details",
        "redacts_messages_itself",
    ]
)
# What LiteLLM calls when a call has failed, for streams, or not at all.
_ELSEWHERE = frozenset(
    [
        "async_log_failure_event",
        "async_log_batch_line_items",
        "async_log_pre_api_call",
        "async_log_stream_event",
        "async_post_call_failure_deployment_hook",
        "get_proxy_server_request_from_cold_storage_with_object_key",
        "log_failure_event",
        "log_failure_fallback_event",
        "log_stream_event",
        "log_success_fallback_event",
    ]
)
# What LiteLLM calls when a call has failed; other releases lack some.
_OF_FAILURES = (
    "async_log_failure_event",
    "async_post_call_failure_deployment_hook",
    "log_failure_event",
    "log_model_group_rate_limit_error",
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
# Ours that may refuse a deployment before it is called.
_CHECKERS = frozenset(["litellm_accel.ratelimit.hook.RateLimitHook"])
# What they do before a call is sent, and the fast path has them do: count it as sent, and as one of the minute.
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
# Several are this one with other settings.
_OTEL = "litellm.integrations.opentelemetry.OpenTelemetry"
# LiteLLM's integrations that hear of a call's end and take no other part in it, by what they are called in its lists.
_INTEGRATIONS = {
    "agentops": "litellm.integrations.agentops.agentops.AgentOps",
    "argilla": "litellm.integrations.argilla.ArgillaLogger",
    "arize": "litellm.integrations.arize.arize.ArizeLogger",
    "arize_phoenix": "litellm.integrations.arize.arize_phoenix.ArizePhoenixLogger",
    "aws_sqs": "litellm.integrations.sqs.SQSLogger",
    "azure_sentinel": "litellm.integrations.azure_sentinel.azure_sentinel.AzureSentinelLogger",
    "azure_storage": "litellm.integrations.azure_storage.azure_storage.AzureBlobStorageLogger",
    "braintrust": "litellm.integrations.braintrust_logging.BraintrustLogger",
    "datadog": "litellm.integrations.datadog.datadog.DataDogLogger",
    "datadog_metrics": "litellm.integrations.datadog.datadog_metrics.DatadogMetricsLogger",
    "deepeval": "litellm.integrations.deepeval.deepeval.DeepEvalLogger",
    "galileo": "litellm.integrations.galileo.GalileoObserve",
    "gcs_bucket": "litellm.integrations.gcs_bucket.gcs_bucket.GCSBucketLogger",
    "gcs_pubsub": "litellm.integrations.gcs_pubsub.pub_sub.GcsPubSubLogger",
    "generic_api": "litellm.integrations.generic_api.generic_api_callback.GenericAPILogger",
    "lago": "litellm.integrations.lago.LagoLogger",
    "langfuse": "litellm.integrations.langfuse.langfuse_prompt_management.LangfusePromptManagement",
    "langfuse_otel": "litellm.integrations.langfuse.langfuse_otel.LangfuseOtelLogger",
    "langsmith": "litellm.integrations.langsmith.LangsmithLogger",
    "langtrace": _OTEL,
    "levo": "litellm.integrations.levo.levo.LevoLogger",
    "literalai": "litellm.integrations.literal_ai.LiteralAILogger",
    "logfire": _OTEL,
    "mlflow": "litellm.integrations.mlflow.MlflowLogger",
    "openmeter": "litellm.integrations.openmeter.OpenMeterLogger",
    "opik": "litellm.integrations.opik.opik.OpikLogger",
    "otel": _OTEL,
    "posthog": "litellm.integrations.posthog.PostHogLogger",
    "prometheus": "litellm.integrations.prometheus.PrometheusLogger",
    "s3_v2": "litellm.integrations.s3_v2.S3Logger",
    "signoz": _OTEL,
    "weave_otel": "litellm.integrations.weave.weave_otel.WeaveOtelLogger",
}
# What others build their loggers on.
_BASES = frozenset(
    (
        "litellm.integrations.additional_logging_utils.AdditionalLoggingUtils",
        "litellm.integrations.custom_batch_logger.CustomBatchLogger",
    )
)
# LiteLLM's own loggers: those integrations, and what its proxy registers. The names are hooks that take part in a call,
# and leave every call that the fast path serves as it is.
_OWN: dict[str, frozenset[str]] = {
    **dict.fromkeys(_INTEGRATIONS.values(), frozenset()),
    # Looks prompts up for calls that name one, which a key does not admit.
    _INTEGRATIONS["langfuse"]: frozenset(["async_get_chat_completion_prompt", "get_chat_completion_prompt"]),
    # Made anew whenever it is called by its name.
    "litellm.integrations.datadog.datadog_llm_obs.DataDogLLMObsLogger": frozenset(),
    "litellm.integrations.SlackAlerting.slack_alerting.SlackAlerting": frozenset(),
    "litellm._service_logger.ServiceLogging": frozenset(),
    "litellm.integrations.shadow_eval_logger.ShadowEvalLogger": frozenset(),
    # Looks at calls of Anthropic's kind alone.
    "litellm.proxy.hooks.autorouter_baseline_cache.AutoRouterBaselineCache": frozenset(
        ["async_pre_call_deployment_hook"]
    ),
    "litellm.proxy.hooks.proxy_track_cost_callback._ProxyDBLogger": frozenset(),
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
# Where attributes are made when they are asked for, nobody can say which there are.
_DYNAMIC = frozenset(["__getattr__", "__getattribute__"])
_HOOKED = _DYNAMIC | {"__call__"}
# A name that none of LiteLLM's integrations has.
_NOBODY = "litellm-accel"


class CallbackPolicy:
    """Judges the callbacks in LiteLLM's lists.

    Of those that are admitted, ``counting`` are told of each call before it is sent, ``checking`` are asked before.
    """

    def __init__(self) -> None:
        self.litellm = importlib.import_module("litellm")
        self.counting: list[Any] = []
        self.checking: list[Any] = []
        # The classes of the callbacks that were judged, and which part in a call makes them stock's to serve.
        self._kinds: set[type] = set()
        self._classes = watch.Classes((), ())
        self._parts: dict[type, str | None] = {}
        self._unheard: set[type] = set()
        # Hooks of these classes that do nothing, with the code that shows it: editors of running programs change that.
        self._empty: dict[tuple[str, FunctionType], CodeType] = {}
        # What its loggers hold for themselves, how much that is, and which hooks.
        self._held: list[dict[str, Any]] = []
        self._sizes: list[int] = []
        self._hidden: list[frozenset[str]] = []
        self._router = importlib.import_module("litellm.router").Router
        self._logger = importlib.import_module("litellm.integrations.custom_logger").CustomLogger
        members = (name for name in vars(self._logger) if not name.startswith("__"))
        # What makes a logger another one, in its class or in itself.
        self._hooks = _HOOKED.union(members) - _ELSEWHERE - _PROXY
        #: The integrations that LiteLLM has made.
        self.made: list[Any] = importlib.import_module("litellm.litellm_core_utils.litellm_logging")._in_memory_loggers
        self._is_async = importlib.import_module(
            "litellm.litellm_core_utils.coroutine_checker"
        ).coroutine_checker.is_async_callable
        self._utils = importlib.import_module("litellm.utils")
        self._most = importlib.import_module("litellm.constants").MAX_CALLBACKS
        self._placing: Callable[[], Any] | None = None
        self._is_placing_known = False
        self._is_due = False
        manager = self.litellm.logging_callback_manager
        self._lock: Any = getattr(manager, "callback_lists_lock", None) or threading.RLock()
        #: How often callbacks have been judged.
        self.judgements = 0

    def judge(self) -> tuple[Why | None, bool]:
        """Return why calls are stock's to serve, or None; and whether anybody listens to those that are not."""
        self.judgements += 1
        lists = {name: getattr(self.litellm, name) for name in (*SUCCESS, *EARLY, *FAILURE, "service_callback")}
        for name, callbacks in lists.items():
            if type(callbacks) is not list:
                return decline.SETTING.of(name, ""), False
        self._is_due = True
        heard = [callback for name in (*SUCCESS, *EARLY) for callback in lists[name]]
        kinds = set(map(type, heard))
        of_loggers = {kind for kind in kinds if issubclass(kind, self._logger)}
        loggers = list({id(callback): callback for callback in heard if type(callback) in of_loggers}.values())
        if kinds != self._kinds or self._classes.changed() or self._are_filled():
            self._kinds, self._parts, self._empty = kinds, {}, {}
            self._unheard = {kind for kind in kinds if self._is_unheard(kind)}
            self._classes = watch.Classes(kinds, self._hooks)
        self._held = list(map(vars, loggers))
        self._sizes = list(map(len, self._held))
        self._hidden = self._hiding()
        self.counting = self._acting(lists["input_callback"], _COUNTING)
        self.checking = self._acting(lists["callbacks"], _CHECKING)
        if lists["service_callback"]:
            return decline.CALLBACK_OF_SERVICE.of(_name(lists["service_callback"][0])), False
        if lists["callbacks"] and any(len(lists[name]) >= self._most for name in (*SUCCESS, *FAILURE)):
            return decline.CALLBACKS_BEYOND_LIMIT, False
        listening = False
        for name in (*SUCCESS, *EARLY):
            for callback in lists[name]:
                if type(callback) in self._unheard:
                    continue
                if type(callback) is MethodType and type(callback.__self__) is self._router:
                    continue
                reason = self._refusal(name, callback)
                if reason is not None:
                    return reason, False
                if name in (*SUCCESS, "callbacks") and not self._is_deaf(callback):
                    listening = True
        return None, listening

    def hear_failures(self) -> bool:
        """Return whether anybody in LiteLLM's lists may be told of a call that has failed."""
        lists = (getattr(self.litellm, name) for name in (*FAILURE, "callbacks"))
        return any(self._hears_failures(callback) for callbacks in lists for callback in callbacks)

    def _hears_failures(self, callback: Any) -> bool:
        if type(callback) is str or not self._is_logger(callback):
            return callback != response_cache.NAME and (type(callback) is str or type(callback) not in self._unheard)
        own, kind = vars(callback), type(callback)
        if any("__call__" in vars(base) for base in kind.__mro__):  # else a class has its metaclass's
            return True
        return any(
            name in own or getattr(kind, name, None) is not getattr(self._logger, name, None) for name in _OF_FAILURES
        )

    def place(self) -> list[Any]:
        """Have LiteLLM put callbacks where it wants them, as it does when a call begins; again while any is not there.

        Returns those that it would put there once more for the same call, see ``take_back``. Raises what LiteLLM
        raises.
        """
        if not self._is_due:
            return []
        with self._lock:
            before = self._all()
            if self._placing is not None:
                self._placing()
            after = self._all()
        self._is_due = (
            any(
                len(one) != len(two) or any(a is not b for a, b in zip(one, two, strict=True))
                for one, two in zip(before, after, strict=True)
            )
            or not self._are_in_place()
        )
        repeated: list[Any] = []
        for callback in after[_REPEATING][len(before[_REPEATING]) :]:
            if callback in self.litellm.callbacks and callback not in repeated:
                repeated.append(callback)
        return repeated

    def take_back(self, placed: list[Any]) -> None:
        """Take what ``place`` has returned out of LiteLLM's list: stock, which runs the call, puts it there itself."""
        held = self.litellm._async_input_callback
        with self._lock:
            while placed:
                callback = placed.pop()
                for number in reversed(range(len(held))):
                    if held[number] is callback:
                        del held[number]
                        break

    def _all(self) -> list[list[Any]]:
        return [list(getattr(self.litellm, name)) for name in (*SUCCESS, *EARLY, *FAILURE)]

    def _are_in_place(self) -> bool:
        lists = [getattr(self.litellm, name) for name in _PLACES]
        found = (callback for callback in self.litellm.callbacks if type(callback) is not str)
        return all(
            any(callback is held for held in reversed(callbacks)) or callback in callbacks
            for callback in found
            for callbacks in lists
        )

    def _is_unheard(self, kind: Any) -> bool:
        """Return whether objects of this class are passed by wherever they are: there may be many, and none is placed.

        One that compares itself is looked at each time.
        """
        can_be_told = issubclass(kind, (self._logger, str)) or any("__call__" in vars(owner) for owner in kind.__mro__)
        return not can_be_told and kind.__eq__ is object.__eq__ and kind.__hash__ is not None and self._can_be_placed()

    def moved(self) -> bool:
        """Return whether a logger has got a hook since it was judged, or lost one: from a test, say.

        Of what a logger holds for itself the number is looked at: a hook comes without another attribute's going.
        """
        if self._classes.changed() or (self._empty and self._are_filled()):
            return True
        sizes = list(map(len, self._held))
        if sizes != self._sizes:
            if self._hiding() != self._hidden:
                return True
            self._sizes = sizes
        return False

    def _are_filled(self) -> bool:
        """Return whether a hook that did nothing has other code now."""
        return any(hook.__code__ is not code for (_, hook), code in self._empty.items())

    def _is_empty(self, name: str, member: Any) -> bool:
        """Return whether ``member`` of a logger's class, its hook of this ``name``, does nothing."""
        if type(member) is not FunctionType:
            return False
        code = self._empty.get((name, member)) or empty_code(name, member, getattr(self._logger, name, None))
        if code is not None:
            self._empty[name, member] = code
        return code is not None

    def _hiding(self) -> list[frozenset[str]]:
        """Return which hooks loggers hold for themselves, in the place of their class's."""
        return [self._hooks & held.keys() for held in self._held]

    def _is_logger(self, callback: Any) -> bool:
        return issubclass(type(callback), self._logger)

    def _acting(self, callbacks: list[Any], hook: str) -> list[Any]:
        """Return the loggers among ``callbacks`` that override ``hook`` with one that does something."""
        held = ((logger, getattr(type(logger), hook, None)) for logger in callbacks if self._is_logger(logger))
        own = getattr(self._logger, hook)
        return [logger for logger, member in held if member is not own and not self._is_empty(hook, member)]

    def _refusal(self, name: str, callback: Any) -> Why | None:
        if isinstance(callback, str):
            is_known = callback == response_cache.NAME or (name == "callbacks" and self._is_settled(callback))
            return None if is_known else decline.CALLBACK.of(callback)
        if not self._can_be_placed():
            return decline.CALLBACK_PLACES
        kind = type(callback)
        reason = self._oddity(callback)
        if reason is not None:
            return decline.CALLBACK_COMPARES.of(_name(callback), reason)
        if self._is_logger(callback):
            if kind not in self._parts:
                self._parts[kind] = self._part(kind)
            part = self._parts[kind] or self._held_part(callback)
            if part is None:
                return None
            return decline.CALLBACK.of(part if part == kind.__name__ else f"{kind.__name__}.{part}")
        if isinstance(callback, self._logger):
            return decline.CALLBACK_POSES.of(kind.__name__)
        if name in ("callbacks", "input_callback") and callable(callback) and not self._is_async(callback):
            return decline.CALLBACK_EARLY.of(_name(callback))
        return None

    def _oddity(self, callback: Any) -> str | None:
        """Return the method by which a callback would not be told from LiteLLM's own names or break its lists."""
        kind = type(callback)
        if getattr(kind, "__eq__", None) is not object.__eq__:
            try:
                if callback == _NOBODY:
                    return "__eq__"
            except Exception:
                return "__eq__"
        if kind.__hash__ is None and not self._utils.callback_list:
            return "__hash__"
        return None

    def _can_be_placed(self) -> bool:
        """Return whether what LiteLLM does with its lists could be taken from its source; looked at when needed."""
        if not self._is_placing_known:
            self._placing, self._is_placing_known = placing(self._utils.function_setup), True
        return self._placing is not None

    def _is_settled(self, name: str) -> bool:
        """Return whether LiteLLM has already made the logger that it calls ``name``, and told its lists of it."""
        path = _INTEGRATIONS.get(name)
        lists = self.made, self.litellm._async_success_callback
        return path is not None and all(any(_path(type(held)) == path for held in loggers) for loggers in lists)

    def _part(self, kind: type) -> str | None:
        """Return the name of something by which loggers of this class may take part in more than a call's end."""
        hooks = self._hooks - _HEARD - _HOOKED
        own = _OWN.get(_path(kind))
        if own is not None:
            held = (name for name in hooks if getattr(kind, name) is not getattr(self._logger, name))
            return next((name for name in held if name not in own), None)
        counts = any(map(_counts, kind.__mro__))
        for owner in kind.__mro__:
            if owner is self._logger:
                break
            is_known = _is_strategy(owner) or _path(owner) in _BASES
            if not is_known and owner.__module__.partition(".")[0] == "litellm":
                return owner.__name__
            acting = hooks - _BEFORE if _counts(owner) else hooks
            for member in vars(owner):
                if member in _DYNAMIC:
                    return member
                if member in acting and (counts or not self._is_empty(member, vars(owner)[member])):
                    return member
        return None

    def _held_part(self, logger: Any) -> str | None:
        """Return the name of a hook that ``logger`` holds for itself."""
        hooks = self._hooks - _HEARD - _HOOKED
        return next((member for member in vars(logger) if member in hooks), None)

    def _is_deaf(self, callback: Any) -> bool:
        """Return whether successes mean nothing to ``callback``: LiteLLM passes it by, or has nothing to call in it."""
        if callable(callback) or isinstance(callback, str):
            return type(callback) is str and callback == response_cache.NAME
        return not self._is_logger(callback) or all(
            getattr(type(callback), name, None) is getattr(self._logger, name, None) and name not in vars(callback)
            for name in _HEARD  # of which other releases lack some
        )


def _name(callback: Any) -> str:
    """Return what a callback is called: its own name if it is a function or a class, else its class's."""
    name = getattr(callback, "__qualname__", None) if callable(callback) else None
    return callback if isinstance(callback, str) else name if type(name) is str else type(callback).__name__


def _counts(kind: type) -> bool:
    """Return whether a class counts calls before they are sent: a router's strategy, or a check of ours."""
    return _is_strategy(kind) or _path(kind) in _CHECKERS


def _is_strategy(kind: type) -> bool:
    place = kind.__module__, kind.__qualname__
    return place in _STRATEGIES and getattr(sys.modules.get(place[0]), place[1], None) is kind


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
