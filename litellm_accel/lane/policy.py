"""When the lane may serve: LiteLLM's settings, its callbacks, and whether anybody has patched what would be bypassed.

Settings are admitted by allow-list. Every setting that LiteLLM's package defines with a literal must still have that
value, unless it is known to shape the request alone, in which case the call that the lane learned from has shown its
effect. Any change of a watched value starts a new *epoch*: all plans are dropped and learned again.
"""

from __future__ import annotations

import ast
import functools
import importlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from litellm_accel._backend import load
from litellm_accel.genuine import PACKAGES, is_genuine
from litellm_accel.lane.callbacks import EARLY, SUCCESS, Listeners
from litellm_accel.lane.log_records import LoggerLevels

watch = load("watch")

# Modules through which stock's path runs. What can be called there must be the packages' own.
MODULES = (
    "litellm",
    "litellm.main",
    "litellm.utils",
    "litellm.router",
    "litellm.cost_calculator",
    "litellm.caching.caching_handler",
    "litellm.litellm_core_utils.core_helpers",
    "litellm.litellm_core_utils.get_llm_provider_logic",
    "litellm.litellm_core_utils.litellm_logging",
    "litellm.litellm_core_utils.llm_response_utils.convert_dict_to_response",
    "litellm.litellm_core_utils.llm_response_utils.get_headers",
    "litellm.litellm_core_utils.llm_response_utils.response_metadata",
    "litellm.litellm_core_utils.rules",
    "litellm.llms.base_llm.chat.transformation",
    "litellm.llms.custom_httpx.aiohttp_transport",
    "litellm.llms.custom_httpx.http_handler",
    "litellm.llms.custom_httpx.llm_http_handler",
    "litellm.llms.openai.common_utils",
    "litellm.llms.openai.openai",
    "litellm.llms.openai.chat.gpt_transformation",
    "litellm.llms.openai_like.chat.transformation",
    "litellm.llms.azure.azure",
    "litellm.llms.azure.chat.gpt_transformation",
    "litellm.llms.azure.common_utils",
    "litellm.llms.azure_ai.chat.transformation",
    "litellm.llms.cloudflare.chat.transformation",
    "litellm.llms.cometapi.chat.transformation",
    "litellm.llms.compactifai.chat.transformation",
    "litellm.llms.deepseek.chat.transformation",
    "litellm.llms.fireworks_ai.chat.transformation",
    "litellm.llms.groq.chat.transformation",
    "litellm.llms.heroku.chat.transformation",
    "litellm.llms.hosted_vllm.chat.transformation",
    "litellm.llms.minimax.chat.transformation",
    "litellm.llms.mistral.chat.transformation",
    "litellm.llms.openrouter.chat.transformation",
    "litellm.llms.ovhcloud.chat.transformation",
    "litellm.llms.together_ai.chat.transformation",
    "litellm.llms.xai.chat.transformation",
    "litellm.types.utils",
    "openai._base_client",
    "openai._client",
    "openai._legacy_response",
    "openai.lib.azure",
    "openai._models",
    "openai.resources.chat.completions.completions",
    "httpx",
    "httpx._client",
    "httpx._transports.default",
    "httpcore._sync.connection_pool",
    "aiohttp.client",
    "aiohttp.connector",
)
# More of them, which do little on the way of a call; but a mock or an instrument in them wants to be called.
BYPASSED = (
    "litellm._internal_context",
    "litellm._logging",
    "litellm.caching.caching_handler",
    "litellm.caching.dual_cache",
    "litellm.caching.in_memory_cache",
    "litellm.chat_completions.dispatch",
    "litellm.integrations.anthropic_cache_control_hook",
    "litellm.integrations.custom_logger",
    "litellm.litellm_core_utils.chat_completion_agentic_loop",
    "litellm.litellm_core_utils.completion_timeout",
    "litellm.litellm_core_utils.fallback_generalizations",
    "litellm.litellm_core_utils.get_litellm_params",
    "litellm.litellm_core_utils.get_supported_openai_params",
    "litellm.litellm_core_utils.initialize_dynamic_callback_params",
    "litellm.litellm_core_utils.llm_cost_calc.tool_call_cost_tracking",
    "litellm.litellm_core_utils.llm_cost_calc.utils",
    "litellm.litellm_core_utils.llm_request_utils",
    "litellm.litellm_core_utils.logging_utils",
    "litellm.litellm_core_utils.logging_worker",
    "litellm.litellm_core_utils.prompt_templates.common_utils",
    "litellm.litellm_core_utils.ptu_pricing",
    "litellm.litellm_core_utils.redact_messages",
    "litellm.litellm_core_utils.request_timeout_resolver",
    "litellm.litellm_core_utils.secret_redaction",
    "litellm.litellm_core_utils.served_output_texts",
    "litellm.litellm_core_utils.thread_pool_executor",
    "litellm.llms.anthropic.common_utils",
    "litellm.llms.anthropic.cost_calculation",
    "litellm.llms.gemini.cost_calculator",
    "litellm.llms.litellm_proxy.chat.transformation",
    "litellm.llms.openai.chat.gpt_5_transformation",
    "litellm.llms.openai.chat.o_series_transformation",
    "litellm.llms.openai.cost_calculation",
    "litellm.llms.openai.data_residency",
    "litellm.llms.openai.workload_identity",
    "litellm.router_strategy.complexity_router.context_compaction",
    "litellm.router_strategy.simple_shuffle",
    "litellm.router_utils.access_windows",
    "litellm.router_utils.add_retry_fallback_headers",
    "litellm.router_utils.client_initalization_utils",
    "litellm.router_utils.common_utils",
    "litellm.router_utils.cooldown_cache",
    "litellm.router_utils.cooldown_handlers",
    "litellm.router_utils.fallback_event_handlers",
    "litellm.router_utils.get_retry_from_policy",
    "litellm.router_utils.handle_error",
    "litellm.router_utils.pre_call_checks.io_token_rate_limit_check",
    "litellm.router_utils.router_callbacks.track_deployment_metrics",
    "litellm.router_utils.routing_read_batch",
    "litellm.rust_bridge.catalog",
    "litellm.rust_bridge.configuration",
    "litellm.rust_bridge.diagnostics",
    "litellm.rust_bridge.dispatch",
    "litellm.secret_managers.main",
    "openai._utils._transform",
    "httpx._models",
    "httpcore._sync.connection",
    "httpcore._sync.http11",
    "aiohttp.client_reqrep",
    "copy",
    "json",
    "os",
    "time",
    "uuid",
)
CLASSES = (
    "litellm._service_logger:ServiceLogging",
    "litellm.caching.caching_handler:LLMCachingHandler",
    "litellm.caching.dual_cache:DualCache",
    "litellm.caching.evicted_client_closer:EvictedClientCloser",
    "litellm.caching.in_memory_cache:InMemoryCache",
    "litellm.caching.llm_caching_handler:LLMClientCache",
    "litellm.integrations.anthropic_cache_control_hook:AnthropicCacheControlHook",
    "litellm.integrations.custom_logger:CustomLogger",
    "litellm.litellm_core_utils.completion_timeout:CompletionTimeout",
    "litellm.litellm_core_utils.coroutine_checker:CoroutineChecker",
    "litellm.litellm_core_utils.litellm_logging:Logging",
    "litellm.litellm_core_utils.litellm_logging:StandardLoggingPayloadSetup",
    "litellm.litellm_core_utils.llm_cost_calc.tool_call_cost_tracking:StandardBuiltInToolCostTracking",
    "litellm.litellm_core_utils.llm_cost_calc.usage_object_transformation:InteractionsUsageObjectTransformation",
    "litellm.litellm_core_utils.llm_cost_calc.utils:CostCalculatorUtils",
    "litellm.litellm_core_utils.llm_response_utils.response_metadata:ResponseMetadata",
    "litellm.litellm_core_utils.logging_worker:LoggingWorker",
    "litellm.litellm_core_utils.model_param_helper:ModelParamHelper",
    "litellm.litellm_core_utils.rules:Rules",
    "litellm.litellm_core_utils.thread_pool_executor:BoundedLoggingThreadPoolExecutor",
    "litellm.llms.anthropic.chat.transformation:AnthropicConfig",
    "litellm.llms.azure.azure:AzureChatCompletion",
    "litellm.llms.azure.chat.gpt_transformation:AzureOpenAIConfig",
    "litellm.llms.azure.common_utils:BaseAzureLLM",
    "litellm.llms.azure_ai.chat.transformation:AzureAIStudioConfig",
    "litellm.llms.azure_ai.common_utils:AzureFoundryModelInfo",
    "litellm.llms.base:BaseLLM",
    "litellm.llms.base_llm.base_utils:BaseLLMModelInfo",
    "litellm.llms.base_llm.chat.transformation:BaseConfig",
    "litellm.llms.cloudflare.chat.transformation:CloudflareChatConfig",
    "litellm.llms.cometapi.chat.transformation:CometAPIConfig",
    "litellm.llms.compactifai.chat.transformation:CompactifAIChatConfig",
    "litellm.llms.custom_httpx.aiohttp_transport:AiohttpResponseStream",
    "litellm.llms.custom_httpx.aiohttp_transport:AiohttpTransport",
    "litellm.llms.custom_httpx.aiohttp_transport:LiteLLMAiohttpTransport",
    "litellm.llms.custom_httpx.http_handler:AsyncHTTPHandler",
    "litellm.llms.custom_httpx.http_handler:HTTPHandler",
    "litellm.llms.custom_httpx.llm_http_handler:BaseLLMHTTPHandler",
    "litellm.llms.deepseek.chat.transformation:DeepSeekChatConfig",
    "litellm.llms.fireworks_ai.chat.transformation:FireworksAIConfig",
    "litellm.llms.groq.chat.transformation:GroqChatConfig",
    "litellm.llms.heroku.chat.transformation:HerokuChatConfig",
    "litellm.llms.hosted_vllm.chat.transformation:HostedVLLMChatConfig",
    "litellm.llms.litellm_proxy.chat.transformation:LiteLLMProxyChatConfig",
    "litellm.llms.minimax.chat.transformation:MinimaxChatConfig",
    "litellm.llms.mistral.chat.transformation:MistralConfig",
    "litellm.llms.openai.chat.gpt_5_transformation:OpenAIGPT5Config",
    "litellm.llms.openai.chat.gpt_audio_transformation:OpenAIGPTAudioConfig",
    "litellm.llms.openai.chat.gpt_transformation:OpenAIGPTConfig",
    "litellm.llms.openai.chat.o_series_transformation:OpenAIOSeriesConfig",
    "litellm.llms.openai.common_utils:BaseOpenAILLM",
    "litellm.llms.openai.openai:OpenAIChatCompletion",
    "litellm.llms.openai.openai:OpenAIConfig",
    "litellm.llms.openai_like.chat.transformation:OpenAILikeChatConfig",
    "litellm.llms.openai_like.json_loader:JSONProviderRegistry",
    "litellm.llms.openrouter.chat.transformation:OpenrouterConfig",
    "litellm.llms.ovhcloud.chat.transformation:OVHCloudChatConfig",
    "litellm.llms.together_ai.chat.transformation:TogetherAIChatConfig",
    "litellm.llms.xai.chat.transformation:XAIChatConfig",
    "litellm.responses.utils:ResponseAPILoggingUtils",
    "litellm.router:Router",
    "litellm.router_utils.client_initalization_utils:MaxParallelRequestsLimit",
    "litellm.types.router:Deployment",
    "litellm.types.router:LiteLLM_Params",
    "litellm.types.router:ModelInfo",
    "litellm.types.utils:Choices",
    "litellm.types.utils:Message",
    "litellm.types.utils:ModelResponse",
    "litellm.types.utils:ModelResponseBase",
    "litellm.types.utils:Usage",
    "litellm.utils:PreProcessNonDefaultParams",
    "litellm.utils:ProviderConfigManager",
    "openai._base_client:AsyncAPIClient",
    "openai._base_client:BaseClient",
    "openai._base_client:SyncAPIClient",
    "openai._client:AsyncOpenAI",
    "openai._client:OpenAI",
    "openai._legacy_response:LegacyAPIResponse",
    "openai._models:BaseModel",
    "openai._models:FinalRequestOptions",
    "openai.lib.azure:AsyncAzureOpenAI",
    "openai.lib.azure:AzureOpenAI",
    "openai.lib.azure:BaseAzureClient",
    "openai.resources.chat.completions.completions:AsyncCompletions",
    "openai.resources.chat.completions.completions:Completions",
    "httpx._auth:Auth",
    "httpx._client:AsyncClient",
    "httpx._client:BaseClient",
    "httpx._client:Client",
    "httpx._models:Headers",
    "httpx._models:Request",
    "httpx._models:Response",
    "httpx._transports.default:AsyncHTTPTransport",
    "httpx._transports.default:HTTPTransport",
    "httpcore._sync.connection:HTTPConnection",
    "httpcore._sync.connection_pool:ConnectionPool",
    "httpcore._sync.http11:HTTP11Connection",
    "aiohttp.client:ClientSession",
    "aiohttp.client_reqrep:ClientRequest",
    "aiohttp.client_reqrep:ClientResponse",
    "aiohttp.connector:TCPConnector",
)
# Settings whose effect on a call is the same every time and shown by the call that was learned from, or that matter
# only once a call has failed, which stock then handles.
SHOWN_BY_LEARNING = frozenset(
    [
        "aiohttp_trust_env",
        "allowed_fails",
        "api_base",
        "api_key",
        "api_version",
        "azure_key",
        "cloudflare_api_key",
        "cometapi_key",
        "content_policy_fallbacks",
        "context_window_fallbacks",
        "cost_discount_config",
        "cost_margin_config",
        "default_fallbacks",
        "disable_aiohttp_trust_env",
        "disable_hf_tokenizer_download",
        "disable_stop_sequence_limit",
        "disable_streaming_logging",
        "disable_token_counter",
        "email",
        "error_logs",
        "expose_router_debug_in_errors",
        "failure_callback",
        "force_ipv4",
        "groq_key",
        "headers",
        "heroku_key",
        "initialized_langfuse_clients",
        "log_client_error_tracebacks",
        "max_fallbacks",
        "nebius_key",
        "novita_api_key",
        "num_retries",
        "openai_key",
        "openai_like_key",
        "openrouter_key",
        "organization",
        "ovhcloud_key",
        "project",
        "redact_messages_in_exceptions",
        "retry",
        "return_response_headers",
        "ssl_certificate",
        "ssl_ecdh_curve",
        "ssl_security_level",
        "ssl_verify",
        "suppress_debug_info",
        "togetherai_api_key",
        "token",
        "vercel_ai_gateway_key",
        "xai_key",
        "_async_failure_callback",
        "_async_client_cleanup_registered",
        "config_path",
    ]
)
# Settings that nothing reads in a call: a router does when it is made, a proxy when it manages users, keys and models,
# integrations do for themselves.
READ_ELSEWHERE = frozenset(
    [
        "argilla_batch_size",
        "argilla_transformation_object",
        "aws_sqs_callback_params",
        "custom_prometheus_metadata_labels",
        "custom_prometheus_tags",
        "datadog_params",
        "datadog_use_v1",
        "default_internal_user_params",
        "default_max_internal_user_budget",
        "default_team_params",
        "default_team_settings",
        "fallbacks",
        "gcs_pub_sub_use_v1",
        "generic_api_use_v1",
        "internal_user_budget_duration",
        "key_generation_settings",
        "langfuse_default_tags",
        "langsmith_batch_size",
        "max_end_user_budget",
        "max_internal_user_budget",
        "prometheus_initialize_budget_metrics",
        "prometheus_metrics_config",
        "public_model_groups",
        "s3_audit_callback_params",
        "s3_callback_params",
        "store_audit_logs",
        "upperbound_key_generate_params",
    ]
)
# Callback lists; what may be in them is for ``callbacks`` to say.
CALLBACK_LISTS = (*SUCCESS, *EARLY, "service_callback")
# Of logging: what is the state of a logger, or of all, and may change without a word.
_LOGGING = ("logging", "logger ")

# Objects through which calls go; somebody may put a function into one of them.
_HANDLERS = (
    "litellm.main:azure_chat_completions",
    "litellm.main:base_llm_http_handler",
    "litellm.main:openai_chat_completions",
)
# Objects that calls use or pass by; their own state may change, but somebody may put a function into them as well.
_OBJECTS = (
    "litellm:in_memory_llm_clients_cache",
    "litellm:logging_callback_manager",
    "litellm.litellm_core_utils.logging_worker:GLOBAL_LOGGING_WORKER",
    "litellm.litellm_core_utils.thread_pool_executor:executor",
)
# Where settings change faster than plans pay, no plan is learned for a while.
_WASTED_BEFORE_REST = 50
_REST_SECONDS = 5.0


@functools.cache
def defaults(package: ModuleType) -> dict[str, Any]:
    """Return the settings that ``package``'s source defines with plain literals, and their values."""
    source = Path(str(package.__file__)).read_text(encoding="utf-8")
    found: dict[str, Any] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign):
            targets: list[Any] = [node.target]
        elif isinstance(node, ast.Assign):
            targets = node.targets
        else:
            continue
        if node.value is None or not isinstance(targets[0], ast.Name):
            continue
        name = targets[0].id
        try:
            value = ast.literal_eval(node.value)
        except ValueError:
            continue
        if (value is None or isinstance(value, bool | int | float | str) or not value) and not name.endswith("_models"):
            found[name] = value
    return found


# What Python notes in a module when it warns of something there, and in a class when it copies one of its objects.
_PYTHONS_OWN = frozenset(("__slotnames__", "__warningregistry__"))


class Environment:
    """Everything outside a call's own arguments that decides whether and how the lane serves it.

    ``served`` tells how many calls have been served, ``learned`` is how many were watched since the last change.
    """

    def __init__(self, served: Callable[[], int]) -> None:
        self.litellm = importlib.import_module("litellm")
        self._defaults = defaults(self.litellm)
        for name in PACKAGES:
            importlib.import_module(name)
        self._rested_until = 0.0
        self._served = served
        self._served_before = 0
        self._wasted = 0  # epochs in a row in which more calls were watched than served
        self.epoch = 0
        self.learned = 0
        self.listening = False
        self.listeners = Listeners()
        self.levels = LoggerLevels()
        self._owners: dict[str, Any] = {}
        self._patched: dict[tuple[str, Any], str] = {}
        self._settled: str | None = None  # why the lane may not serve, whatever is logged
        self._build()
        self.reason = self._judge()

    def _build(self) -> None:
        watched = watch.Watch()
        loggers = [f"logger {logger.name}" for logger in self.levels.loggers()]
        for target in (*MODULES, *BYPASSED, *CLASSES, *_HANDLERS, *_OBJECTS, *loggers):
            owner = self._owner(target)
            if owner is None:
                continue  # other releases lack it
            watched.add(target, owner)
            if owner is not self._owners.get(target):
                self._owners[target] = owner
                self._patched = {place: reason for place, reason in self._patched.items() if place[0] != target}
                for key in vars(owner):
                    self._look(target, key)
        watched.add("environ", os.environ._data)  # type: ignore[attr-defined]
        watched.add("logging", logging.root.manager)
        watched.add("logging levels", self.levels.memory)
        watched.add("methods of loggers", logging.Logger)
        watched.add("model_cost", self.litellm.model_cost)
        watched.add("integrations", self.listeners.made)
        for name in self._defaults:
            held = getattr(self.litellm, name, None)
            if type(held) in (list, dict):  # some are None until somebody sets them, like `headers`
                watched.add(name, held)
        watched.mark()
        self.watch = watched

    def judged(self) -> str | None:
        """Return why the lane may not serve now, or None."""
        return self.refresh() if self.watch.changed() or self.listeners.moved() else self.reason

    def refresh(self) -> str | None:
        """Look again after ``watch.changed()``; return why the lane may not serve now, or None."""
        now = time.monotonic()
        if now < self._rested_until:
            return "settings keep changing"
        differences, moved = self.watch.differences(), self.listeners.moved()
        if not differences and not moved:
            self.watch.mark()
            return self.reason
        is_state = not moved and all(map(self._is_state, differences))
        if self._settled is None and is_state:
            self._loggers()
            self.watch.mark()
            self.reason = self._loggers()  # what somebody sets meanwhile is noticed
            return self.reason
        if self._is_too_often():
            self._rested_until = now + _REST_SECONDS
            return "settings keep changing"
        self.epoch += 1
        self.reason = "settings not understood"  # if what follows fails
        before = self.watch
        self._build()
        for name, key in before.differences():
            self._look(name, key)
        self.reason = self._judge()
        return self.reason

    def _is_state(self, difference: tuple[str, Any]) -> bool:
        """Return whether all that has changed is what an object holds for itself, like a logger's effective level."""
        name, key = difference
        if key in _PYTHONS_OWN:
            return True
        if name.startswith(_LOGGING) or name in _OBJECTS:
            return name not in self._owners or not callable(vars(self._owners[name]).get(key))
        return False

    def _is_too_often(self) -> bool:
        """Return whether too many epochs have come to nothing; counts the one that ends."""
        served = self._served()
        if self.learned:
            self._wasted = self._wasted + 1 if self.learned > served - self._served_before else 0
        self.learned, self._served_before = 0, served
        if self._wasted <= _WASTED_BEFORE_REST:
            return False
        self._wasted = 0
        return True

    def _judge(self) -> str | None:
        self._settled = self._settings() or next(iter(self._patched.values()), None)
        return self._settled or self._loggers()

    def _settings(self) -> str | None:
        for name, default in self._defaults.items():
            if name in SHOWN_BY_LEARNING or name in READ_ELSEWHERE or name in CALLBACK_LISTS:
                continue
            value = getattr(self.litellm, name, default)
            if isinstance(value, ModuleType):
                continue  # a submodule has taken the name
            if value != default or type(value) is not type(default):
                return f"setting {name}"
        reason, self.listening = self.listeners.judge()
        if reason is not None:
            return reason
        if self.litellm.set_verbose or self.litellm.modify_params:
            return "setting set_verbose" if self.litellm.set_verbose else "setting modify_params"
        return None

    def _loggers(self) -> str | None:
        return self.levels.read()

    def _look(self, target: str, key: Any) -> None:
        """Note whether what the module or class ``target`` holds under ``key`` is its package's own."""
        self._patched.pop((target, key), None)
        owner = self._owners.get(target)
        if owner is None:
            return
        if not is_genuine(vars(owner).get(key)):
            self._patched[target, key] = f"patched {target.rpartition(':')[2]}.{key}"

    def _owner(self, target: str) -> Any:
        if target.startswith("logger "):
            return logging.getLogger(target.removeprefix("logger "))
        module, _, name = target.partition(":")
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError:
            return None
        return getattr(found, name, None) if name else found
