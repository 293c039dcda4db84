"""What LiteLLM's answer to a request with the master key, or a virtual key, depends on besides the request and the key.

Where there is no budget and no authentication of the user's own, that is a known set of modules, classes and settings.
They are watched; anything else that may be set makes requests LiteLLM's own. With a database LiteLLM reads its settings
anew every half minute, and makes new objects of them: those that hold what the ones before held are no change.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

from litellm_accel import hot
from litellm_accel.gateway.same_data import is_same_data
from litellm_accel.gateway.virtual_keys import VirtualKeys
from litellm_accel.stock import guard, releases

#: LiteLLM's module for authentication.
MODULE = "litellm.proxy.auth.user_api_key_auth"
_PROXY = "litellm.proxy.proxy_server"
# Names in a body whose values LiteLLM's authentication does not read where there are no budgets.
FREE = frozenset(
    (
        *("messages", "stream", "temperature", "top_p", "n", "max_tokens", "max_completion_tokens", "stop", "seed"),
        *("presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs", "response_format"),
        *("stream_options", "parallel_tool_calls", "reasoning_effort", "input", "encoding_format", "dimensions"),
        *("prompt", "tools", "tool_choice", "functions", "function_call", "tags"),
    )
)
#: What LiteLLM reads little of: the names in it and some values, most of them of names that it may refuse.
METADATA = "metadata"
_READ_OF_METADATA = frozenset(("api_key", "litellm_credential_name"))
# Settings that say nothing about who may do what.
_SETTINGS = frozenset(
    (
        *("master_key", "completion_model", "disable_spend_logs", "store_prompts_in_spend_logs"),
        *("background_health_checks", "health_check_interval", "proxy_batch_write_at", "disable_reset_budget"),
        *("alerting_threshold", "maximum_spend_logs_retention_period", "database_url", "store_model_in_db"),
        *("database_connection_pool_limit", "database_connection_timeout"),
    )
)
# Modules whose functions are gone around, classes among them, and what is read of each request there.
_MODULES = (
    *("litellm", "litellm._internal_context", "litellm._logging", "litellm.caching.dual_cache"),
    *("litellm.caching.in_memory_cache", "litellm.integrations.otel.runtime"),
    *("litellm.litellm_core_utils.api_route_to_call_types", "litellm.litellm_core_utils.core_helpers"),
    *("litellm.litellm_core_utils.dd_tracing", "litellm.litellm_core_utils.routing_common_utils"),
    *("litellm.models.user", "litellm.proxy._types", "litellm.proxy.agent_endpoints.auth.agent_caller"),
    *("litellm.proxy.agent_endpoints.auth.managed_authorization", "litellm.proxy.auth.auth_checks"),
    *("litellm.proxy.auth.auth_checks_organization", "litellm.proxy.auth.auth_utils", "litellm.proxy.auth.network"),
    *("litellm.proxy.auth.resolvers.exceptions", "litellm.proxy.auth.resolvers.models"),
    *("litellm.proxy.auth.resolvers.store", "litellm.proxy.auth.roles", "litellm.proxy.auth.route_checks"),
    *("litellm.proxy.auth.trusted_proxy_utils", "litellm.proxy.auth.user_api_key_auth"),
    *("litellm.proxy.common_utils.http_parsing_utils", "litellm.proxy.common_utils.user_api_key_cache"),
    *("litellm.proxy.config_resolvers.settings_rules", "litellm.proxy.config_resolvers.settings_store"),
    *("litellm.proxy.db.log_db_metrics", "litellm.proxy.litellm_pre_call_utils", "litellm.proxy.proxy_server"),
    *("litellm.proxy.spend_tracking.budget_reservation", "litellm.proxy.spend_tracking.carried_budget_state"),
    *("litellm.proxy.spend_tracking.spend_counter_batch", "litellm.proxy.utils"),
    *("litellm.redis.stores.spend_counters", "litellm.redis.stores.spend_counters.types", "litellm.router"),
    *("litellm.router_api", "litellm.router_rust.core", "litellm.router_rust.surface.indexes"),
    *("litellm.router_rust.surface.registry", "litellm.router_strategy.complexity_router.context_compaction"),
    *("litellm.secret_managers.main", "litellm.types.llms.base_model"),
    *("litellm.types.proxy.auth.user_api_key_auth", "litellm.types.router"),
    *("litellm_enterprise.proxy.auth.route_checks", "litellm_enterprise.proxy.auth.user_api_key_auth"),
)
_CLASSES = (
    *("litellm.caching.dual_cache:DualCache", "litellm.caching.in_memory_cache:InMemoryCache"),
    *("litellm.models.user:LiteLLM_UserTable", "litellm.proxy.auth.network:NetworkContext"),
    *("litellm.proxy.auth.resolvers.models:Principal", "litellm.proxy.auth.resolvers.models:UserIdentity"),
    *("litellm.proxy.auth.resolvers.store:IdentityStore", "litellm.proxy.auth.route_checks:RouteChecks"),
    "litellm.proxy.common_utils.user_api_key_cache:UserApiKeyCache",
    "litellm.proxy.config_resolvers.settings_store:SettingsStore",
    *("litellm.proxy.litellm_pre_call_utils:LiteLLMProxyRequestSetup", "litellm.proxy.proxy_server:ProxyConfig"),
    "litellm.proxy.spend_tracking.spend_counter_batch:spend_counter_batch_scope",
    *("litellm.redis.stores.spend_counters:SpendCounterStore", "litellm.router:Router"),
    *("litellm.router_api:RouterRegistry", "litellm.router_rust.core:RustCore"),
    *("litellm.router_rust.surface.indexes:HostedIndexes", "litellm.router_rust.surface.registry:HostRegistry"),
    "litellm.types.proxy.auth.user_api_key_auth:LiteLLM_VerificationTokenView",
    "litellm.types.proxy.auth.user_api_key_auth:UserAPIKeyAuth",
    "litellm_enterprise.proxy.auth.route_checks:EnterpriseRouteChecks",
)
# What is gone around besides where there is a database.
_OF_DATABASES = (
    *("litellm.litellm_core_utils.model_latest_aliases", "litellm.proxy.agent_endpoints.identity_store"),
    *("litellm.proxy.auth.auth_object_prefetch", "litellm.proxy.common_utils.cache_pydantic_utils"),
    "litellm.proxy.hooks.parallel_request_limiter_v3",
    "litellm.proxy.pass_through_endpoints.pass_through_endpoints",
    *("litellm.repositories.table_repositories", "litellm.responses.additional_tools"),
    "litellm.vector_stores.vector_store_registry",
)
_LIMITER = "parallel_request_limiter"
_LIMITERS_CLASS = "litellm.proxy.hooks.parallel_request_limiter_v3:_PROXY_MaxParallelRequestsHandler_v3"
_CLASSES_OF_DATABASES = (
    "litellm.proxy.agent_endpoints.identity_store:AgentIdentityStore",
    "litellm.proxy.common_utils.cache_pydantic_utils:CacheCodec",
    *(_LIMITERS_CLASS, "litellm.proxy.utils:ProxyLogging"),
    "litellm.proxy.pass_through_endpoints.pass_through_endpoints:InitPassThroughEndpointHelpers",
)
_COLLECTIONS = (
    *("litellm:model_alias_map", "litellm.proxy.auth.auth_utils:STANDARD_CUSTOMER_ID_HEADERS"),
    "litellm.proxy.pass_through_endpoints.pass_through_endpoints:_registered_pass_through_routes",
    "litellm.proxy.auth.roles:_ROLE_MAP",
    "litellm.litellm_core_utils.api_route_to_call_types:API_ROUTE_TO_CALL_TYPES",
)
# LiteLLM's functions that run with each request that is admitted.
_CALLED = (
    *("_ensure_parent_otel_span_on_request_state", "_seed_request_destinations", "cache_key_object"),
    *(
        "get_end_user_id_from_request_body",
        "get_request_route",
        "hash_token",
        "safe_get_request_headers",
        "service_target",
    ),
    *("user_api_key_service_logger_obj", "AUTH_OBJECTS_TARGET", "ServiceTypes"),
)
# The enterprise package has releases of its own: digests of its modules' sources.
_ENTERPRISE = {
    "litellm_enterprise.proxy.auth.route_checks": "86f4fd3b6e66",
    "litellm_enterprise.proxy.auth.user_api_key_auth": "d8eb24472f39",
}
# Packages of which the proxy is made, besides those that all of LiteLLM is.
_ROOTS = frozenset(("fastapi", "starlette", "apscheduler", "websockets", "_native"))
_DEBUG = 10
_ALIASES, _PASSING = "aliases", "pass_through_endpoints"
# Where LiteLLM puts what it reads anew from its database; and what a router makes of its settings when it is asked.
_REREAD = frozenset((_PROXY, "general settings", "proxy_config", "core"))
_MADE_OF_SETTINGS = "core", "_settings"


class Strange(Exception):
    """Something is set that is not known here; the text says what."""


class Settings:
    """All this as it is now. Raises ``Strange``."""

    def __init__(self) -> None:
        proxy: Any = sys.modules[_PROXY]
        module = sys.modules[MODULE]
        self.watch = hot.watch.Watch()
        for name, held in _watched(proxy):
            self.watch.add(name, held)
        self.watch.mark()
        _demand_usual(proxy, module)
        #: LiteLLM's functions by their names.
        self.stock = SimpleNamespace(**{name: getattr(module, name) for name in _CALLED})
        self.master_key: str = proxy.master_key
        #: The header of a request that has it.
        self.bearer = f"Bearer {self.master_key}".encode()
        self.key_cache = proxy.user_api_key_cache
        self.logging = proxy.proxy_logging_obj
        #: Where virtual keys are found, None if there is no database; if there is one, only these keys are looked at.
        self.keys = None if proxy.prisma_client is None else VirtualKeys(proxy.user_api_key_cache)
        #: Names of whose values in a body's metadata LiteLLM's answer may depend.
        self.read_of_metadata: frozenset[str] = _READ_OF_METADATA.union(
            sys.modules["litellm.proxy.auth.auth_utils"]._BANNED_METADATA_PARAMS,
            sys.modules["litellm.proxy.auth.auth_checks"]._GUARDRAIL_MODIFICATION_KEYS,
        )
        self._admin = proxy.litellm_proxy_admin_name
        self._loggers: Any = (vars(module)["verbose_logger"], vars(module)["verbose_proxy_logger"])
        self._runtime: Any = sys.modules["litellm.integrations.otel.runtime"]
        #: Whether OpenTelemetry is installed. Nothing listens, but LiteLLM notes of each request where its spans go.
        self.has_telemetry = self._runtime._otel_runtime() is not None
        self._hosted = proxy.llm_router._core._hosted
        self._aliases = self._hosted._core_model_group_alias
        self._handle = proxy.llm_router._core._handle
        self._reread = {name: held for name, held in _watched(proxy) if name in _REREAD}
        self._general = proxy.general_settings if _PASSING in proxy.general_settings else {}
        self._absent = [name for name in _modules(proxy) if name not in sys.modules]
        self._has_changed = False

    @property
    def version(self) -> Any:
        """The version of the router's deployments, another one after each change."""
        return self._handle.registry_version()

    def hold(self) -> bool:
        """Return whether nothing has changed but deployments."""
        if self.watch.changed():
            self._has_changed |= not all(self._is_reread(*difference) for difference in self.watch.take())
        if self._hosted._core_model_group_alias is not self._aliases:
            self._follow_aliases()
        if any(name in sys.modules for name in self._absent):
            self._has_changed = True  # LiteLLM has imported one that is to be watched, too
        return (
            not self._has_changed
            and not self._hosted._core_routing_groups
            and (self._runtime._otel_runtime() is not None) is self.has_telemetry
        )

    def _follow_aliases(self) -> None:
        """Watch the router's new aliases, if they are as the ones before."""
        aliases = self._hosted._core_model_group_alias
        self._has_changed |= not is_same_data(self._aliases, aliases)
        self._aliases = aliases
        self.watch.drop(_ALIASES)
        self.watch.add(_ALIASES, aliases)

    def _is_reread(self, name: str, key: Any, before: Any) -> bool:
        """Return whether LiteLLM has put something anew that is the same as ``before``, or made of what is watched."""
        if (name, key) == _MADE_OF_SETTINGS:
            return True
        owner = self._reread.get(name)
        return owner is not None and key in vars(owner) and is_same_data(before, vars(owner)[key])

    def are_quiet(self) -> bool:
        """Return whether what may come without another setting is not there.

        That is a row of the administrator's, an endpoint to pass through to, and somebody who reads every step.
        """
        users = self.key_cache.in_memory_cache.cache_dict
        return (
            (self.keys is not None or self._admin not in users)
            and not self._general.get(_PASSING)
            and not any(held.isEnabledFor(_DEBUG) for held in self._loggers)
        )

    def has(self, place: tuple[Any, ...], held: dict[str, Any]) -> bool:
        """Return whether this is still what LiteLLM has in its cache of the virtual key that ``place`` begins with."""
        return self.keys is not None and self.keys.find(place[0]) is held

    def has_model(self, model: str) -> bool:
        """Return whether the router has a deployment or an alias of that name."""
        return model in self._aliases or model in self._hosted._core_model_names


def _watched(proxy: Any) -> Iterator[tuple[str, Any]]:
    """Yield what is watched, each with a name."""
    for name in _modules(proxy):
        if name in sys.modules:
            yield name, sys.modules[name]
    for place in (*_classes(proxy), *_COLLECTIONS):
        if (held := _found(place)) is not None:
            yield place, held
    for routes in proxy.LiteLLMRoutes:
        if isinstance(routes.value, list):
            yield routes.name, routes.value
    yield "environment", vars(os.environ)["_data"]
    yield "general settings", proxy.general_settings
    for name in ("user_api_key_cache", "spend_counter_store", "proxy_config"):
        yield name, getattr(proxy, name)
    yield "memory", proxy.user_api_key_cache.in_memory_cache
    if proxy.prisma_client is not None:
        yield "key cache", proxy.user_api_key_cache.key_object_cache
        yield "key memory", proxy.user_api_key_cache.key_object_cache.in_memory_cache
        yield "logging", proxy.proxy_logging_obj
        yield "hooks", proxy.proxy_logging_obj.proxy_hook_mapping
        if (limiter := proxy.proxy_logging_obj.proxy_hook_mapping.get(_LIMITER)) is not None:
            yield "limiter", limiter
    core = None if proxy.llm_router is None else vars(proxy.llm_router).get("_core")
    if core is None or getattr(core, "_handle", None) is None:
        raise Strange("llm_router")
    yield "router", proxy.llm_router
    yield "core", core
    yield _ALIASES, core._hosted._core_model_group_alias


def _demand_usual(proxy: Any, module: Any) -> None:
    """Raise ``Strange`` unless what is going to be gone around is LiteLLM's own, and has no effect."""
    general = dict(proxy.general_settings)
    if general.get(_PASSING) == []:  # as LiteLLM writes it whenever its database holds settings
        del general[_PASSING]
    if not general.keys() <= _SETTINGS:
        raise Strange(f"setting {min(map(str, general.keys() - _SETTINGS))}")
    if any(type(value) not in (str, int, float, bool, type(None)) for value in general.values()):
        raise Strange("settings that may change in place")
    for name in ("user_custom_auth", "open_telemetry_logger"):
        if getattr(proxy, name) is not None:
            raise Strange(name)
    if proxy.prisma_client is not None:
        _demand_usual_database(proxy)
    if type(proxy.master_key) is not str or not proxy.master_key or proxy.master_key.startswith("Bearer"):
        raise Strange("master_key")
    if proxy.spend_counter_store.has_redis or proxy.user_api_key_cache.has_redis:
        raise Strange("redis")
    if proxy.user_api_key_cache.redis_cache is not None:
        raise Strange("redis")
    hosted = proxy.llm_router._core._hosted
    if hosted._core_routing_groups or not all(type(held) is str for held in hosted._core_model_group_alias.values()):
        raise Strange("routing groups or aliases with options")
    if proxy.litellm.max_budget > 0 or proxy.litellm.set_verbose or _found("litellm._logging:set_verbose"):
        raise Strange("max_budget or set_verbose")
    if module.is_otel_v2_enabled() or type(module.tracer).__name__ != "NullTracer":
        raise Strange("tracing")
    if not {*FREE, METADATA}.isdisjoint(sys.modules["litellm.proxy.auth.auth_utils"]._SECRET_RESOLVING_PARAMS):
        raise Strange("arguments that hold secrets")
    if (strange := releases.strange(name for name in _modules(proxy) if name not in _ENTERPRISE)) is not None:
        raise Strange(strange)
    for name, digest in _ENTERPRISE.items():
        found = releases.digest(name) if name in sys.modules else None
        if found is not None and found.hex()[:12] != digest:
            raise Strange(name)
    for place in (*_modules(proxy), *_classes(proxy)):
        held = _found(place)
        for name, value in () if held is None else list(vars(held).items()):
            if not _is_packages(value):
                raise Strange(f"{place}.{name}")


def _demand_usual_database(proxy: Any) -> None:
    """Raise ``Strange`` unless the database, and what looks at keys before it is asked, are LiteLLM's own."""
    if type(proxy.prisma_client) is not _found("litellm.proxy.utils:PrismaClient"):
        raise Strange("prisma_client")
    limiter = proxy.proxy_logging_obj.proxy_hook_mapping.get(_LIMITER)
    if type(limiter) is not _found(_LIMITERS_CLASS) or not vars(type(limiter)).keys().isdisjoint(vars(limiter)):
        raise Strange(_LIMITER)


def _modules(proxy: Any) -> tuple[str, ...]:
    return _MODULES if proxy.prisma_client is None else (*_MODULES, *_OF_DATABASES)


def _classes(proxy: Any) -> tuple[str, ...]:
    return _CLASSES if proxy.prisma_client is None else (*_CLASSES, *_CLASSES_OF_DATABASES)


def _found(place: str) -> Any:
    """Return the module, or what is in it, that is called so (``"module:name"``); None if there is none."""
    module, _, name = place.partition(":")
    held: ModuleType | None = sys.modules.get(module)
    return getattr(held, name, None) if name else held


def _is_packages(value: Any) -> bool:
    """Return whether something comes from LiteLLM or from what its proxy is made with."""
    return guard.is_stock(value) or str(getattr(value, "__module__", None)).partition(".")[0] in _ROOTS
