"""Component ``routing``: a router's choice of a deployment, for every strategy LiteLLM ships.

Reaches through it: completions, embeddings and every other call of a ``Router``. A choice is served when the router's
settings, the request and the process are on the lists of what is fully understood; all else runs on stock and is
counted with its reason. ``docs/routing.md`` names both sides.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import math
import random
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from itertools import accumulate
from types import FunctionType, ModuleType
from typing import Any

from litellm_accel import hot
from litellm_accel.components.base import Component, Native, Replaced, Replacement, Unavailable, Unproven
from litellm_accel.components.beside import Chosen
from litellm_accel.fastpath import decline
from litellm_accel.fastpath.decline import Why
from litellm_accel.hot import routing as _hot
from litellm_accel.routing.accounting import Accounting
from litellm_accel.routing.filters import Filters, Health, Tools
from litellm_accel.routing.listings import Listings, copied, dicts_of, is_plain
from litellm_accel.routing.probe import probe, require_known
from litellm_accel.routing.setting_words import unknown_settings
from litellm_accel.stock import guard, releases, seams

# What a choice or a record goes around. While one of these names holds another function or class than when the
# component started, calls are declined; None stands for all functions and classes there.
_AROUND: dict[str, tuple[str, ...] | None] = {
    "litellm": ("get_llm_provider", "get_model_info", "get_supported_openai_params", "token_counter"),
    "litellm._service_logger:ServiceLogging": ("async_service_success_hook",),
    "litellm.caching.dual_cache:DualCache": None,
    "litellm.caching.in_memory_cache:InMemoryCache": None,
    "litellm.integrations.custom_logger:CustomLogger": ("_select_metadata_field", "async_filter_deployments"),
    "litellm.router:Router": (
        "_async_filter_health_check_unhealthy_deployments",
        "_async_get_available_deployment",
        "_async_override_selector_pre_call_check",
        "_common_checks_available_deployment",
        "_drop_strategy_markers",
        "_filter_blocked_deployments",
        "_filter_by_routing_plugin_candidates",
        "_filter_cooldown_deployments",
        "_filter_deployments_by_model_access_groups",
        "_filter_health_check_unhealthy_deployments",
        "_filter_reserved_deployments",
        "_get_all_deployments",
        "_get_metadata_variable_name_from_kwargs",
        "_get_request_routing_strategy_override",
        "_get_routing_context",
        "_get_routing_group_deployments",
        "_increment_deployment_usage",
        "_count_pre_call_check_tokens",
        "_deployment_max_input_tokens",
        "_get_deployment_by_litellm_model",
        "_is_strategy_marker_deployment",
        "_normalize_strategy",
        "_override_selector_pre_call_check",
        "_pin_tier_params_onto_request",
        "_acount_pre_call_check_tokens",
        "_pre_call_checks",
        "_pre_call_checks_need_token_count",
        "_record_routing_decision",
        "_resolve_claude_code_session_router",
        "_restore_client_ceiling_no_tier_pins",
        "_select_deployment_async",
        "_select_deployment_sync",
        "_select_pre_routing_strategy",
        "_stamp_or_clear_metadata_key",
        "_team_deployments_across_teams",
        "_try_early_resolve_deployments_for_model_not_in_names",
        "async_callback_filter_deployments",
        "async_deployment_callback_on_failure",
        "async_get_available_deployment",
        "async_get_healthy_deployments",
        "async_pre_routing_hook",
        "deployment_callback_on_success",
        "get_all_deployments",
        "get_available_deployment",
        "get_deployment",
        "get_discovered_model_info",
        "get_model_from_alias",
        "get_model_ids",
        "get_router_model_info",
        "get_routing_group",
        "has_model_id",
        "print_deployment",
        "should_include_deployment",
    ),
    "litellm.router": (
        "RoutingPrefetch",
        "RoutingReadBatch",
        "LiteLLM_Params",
        "_as_retry_skipped_deployment_ids",
        "_deployment_pick_attributes",
        "_is_fallback_hop",
        "arm_compaction",
        "async_get_cooldown_deployments",
        "classify_strategy_router_model",
        "compaction_pending",
        "deployment_has_io_token_limits",
        "filter_reserved_deployments",
        "filter_team_based_models",
        "filter_web_search_deployments",
        "get_cooldown_deployments",
        "get_deployments_for_tag",
        "get_metadata_variable_name_from_kwargs",
        "get_parent_otel_span_from_kwargs",
        "get_request_team_id",
        "get_utc_datetime",
        "increment_deployment_successes_for_current_minute",
        "is_native_compaction_call",
        "is_proxy_admin_request",
        "is_region_allowed",
        "offload_token_count",
        "phase_event",
        "phase_span",
        "resolve_model_group_alias",
        "simple_shuffle",
    ),
    "litellm.router_strategy.least_busy:LeastBusyLoggingHandler": None,
    "litellm.router_strategy.lowest_cost:LowestCostLoggingHandler": None,
    "litellm.router_strategy.lowest_latency:LowestLatencyLoggingHandler": None,
    "litellm.router_strategy.lowest_tpm_rpm:LowestTPMLoggingHandler": None,
    "litellm.router_strategy.lowest_tpm_rpm_v2:LowestTPMLoggingHandler_v2": None,
    "litellm.router_strategy.least_busy": None,
    "litellm.router_strategy.lowest_cost": None,
    "litellm.router_strategy.lowest_latency": None,
    "litellm.router_strategy.lowest_tpm_rpm": None,
    "litellm.router_strategy.lowest_tpm_rpm_v2": None,
    "litellm.router_strategy.simple_shuffle": None,
    "litellm.router_strategy.tag_based_routing": None,
    "litellm.router_utils.access_windows": ("filter_reserved_deployments",),
    "litellm.router_utils.common_utils": ("filter_team_based_models", "filter_web_search_deployments"),
    "litellm.router_utils.cooldown_cache:CooldownCache": None,
    "litellm.router_utils.cooldown_handlers": ("async_get_cooldown_deployments", "get_cooldown_deployments"),
    "litellm.router_utils.health_state_cache:DeploymentHealthCache": None,
    "litellm.router_utils.pattern_match_deployments": None,
    "litellm.router_utils.pattern_match_deployments:PatternMatchRouter": None,
    "litellm.router_utils.deployment_pricing": ("deployment_pricing_models", "pricing_models", "str_keyed"),
    "litellm.utils": (
        "get_deployment_order",
        "get_excluded_filtered_deployments",
        "get_non_default_params",
        "get_order_filtered_deployments",
        "get_utc_datetime",
    ),
    "random": ("_inst", "choice", "choices", "getrandbits", "random", "sample"),
    "random:Random": ("_randbelow", "choice", "choices", "sample"),
}

_SELECTORS = {
    "least-busy": ("leastbusy_logger", "least_busy", "LeastBusyLoggingHandler"),
    "usage-based-routing": ("lowesttpm_logger", "lowest_tpm_rpm", "LowestTPMLoggingHandler"),
    "usage-based-routing-v2": ("lowesttpm_logger_v2", "lowest_tpm_rpm_v2", "LowestTPMLoggingHandler_v2"),
    "latency-based-routing": ("lowestlatency_logger", "lowest_latency", "LowestLatencyLoggingHandler"),
    "cost-based-routing": ("lowestcost_logger", "lowest_cost", "LowestCostLoggingHandler"),
}


def functions(namespace: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names bound to functions and classes. ``datetime`` is left out: tests may freeze the clock."""
    kinds = (FunctionType, type, staticmethod, classmethod, property)
    return tuple(
        name
        for name, value in namespace.items()
        if (isinstance(value, kinds) or inspect.isbuiltin(value)) and name != "datetime"
    )


def located(path: str) -> Any:
    """Return the module or class at ``"module"`` or ``"module:Class"``."""
    module, _, name = path.partition(":")
    found = importlib.import_module(module)
    return getattr(found, name) if name else found


def around() -> list[tuple[Any, tuple[str, ...]]]:
    """Return the modules and classes of ``_AROUND`` with the names of what is gone around in each."""
    owners = [(located(path), names) for path, names in _AROUND.items()]
    for name in _AROUND["litellm"] or ():
        getattr(owners[0][0], name)  # looked up when first asked for
    return [
        (owner, functions(vars(owner)) if names is None else tuple(seams.name_of(owner, name) for name in names))
        for owner, names in owners
    ]


def _essence(function: FunctionType) -> tuple[Any, ...]:
    """Return what a function without constants and names of its own does: its parameters and its instructions."""
    code = function.__code__
    kind = code.co_flags & (inspect.CO_COROUTINE | inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
    return code.co_code, code.co_varnames, code.co_argcount, code.co_posonlyargcount, kind


def _is_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(type(item) is str for item in value)


def _called(strategy: Any) -> str:
    return strategy if type(strategy) is str else type(strategy).__name__


def _limit(deployment: dict[str, Any], metric: str, strict: bool) -> Any:
    values = (part.get(metric) for part in (deployment, deployment["litellm_params"], deployment["model_info"]))
    return next((value for value in values if (value is not None if strict else value)), None)


class Reader:
    """Reads routers, deployments and clocks as LiteLLM does; raises ``Unserved`` where it does not understand them."""

    dicts = staticmethod(dicts_of)
    copied = staticmethod(copied)
    strange: frozenset[str] = frozenset()  # settings of deployments that are not known here

    def __init__(self) -> None:
        import litellm
        from litellm import _internal_context, _logging
        from litellm._service_logger import ServiceLogging
        from litellm.caching.dual_cache import DualCache
        from litellm.caching.in_memory_cache import InMemoryCache
        from litellm.integrations.custom_logger import CustomLogger
        from litellm.router_strategy.complexity_router.context_compaction import CompactionState
        from litellm.router_utils import pattern_match_deployments
        from litellm.router_utils.cooldown_cache import CooldownCache
        from litellm.router_utils.health_state_cache import DeploymentHealthCache

        self.selectors = _SELECTORS
        self.strategies: dict[str, ModuleType] = {
            module: importlib.import_module(f"litellm.router_strategy.{module}") for _, module, _ in _SELECTORS.values()
        }
        self.router_type = litellm.Router
        self.cache_type = DualCache
        self.memory_type = InMemoryCache
        self.cache_fields = guard.fields_of(DualCache)
        self.memory_fields = guard.fields_of(InMemoryCache)
        self.cooldown_type = CooldownCache
        self.pattern_type = pattern_match_deployments.PatternMatchRouter
        self._inferred_provider = pattern_match_deployments.inferred_provider
        self._health_type = DeploymentHealthCache
        self.service_type = ServiceLogging
        self.litellm = vars(litellm)
        self.logging = vars(_logging)
        self.router_log: logging.Logger = _logging.verbose_router_logger
        self.log: logging.Logger = _logging.verbose_logger
        self.random: random.Random = random._inst  # what the module's functions draw from
        self.code = around()
        for owner, names in self.code:
            for name in names:
                if guard.is_disguised(vars(owner).get(name)):
                    raise Unavailable(f"{name} of LiteLLM's routing has been wrapped")
        self.callback_type = CustomLogger
        self._compaction_type = CompactionState
        self.no_filter = vars(CustomLogger)["async_filter_deployments"]
        scope = getattr(_internal_context, "with_service_target", None)  # earlier releases have none
        self._scoped = None if scope is None else scope("")(self.no_filter).__code__
        self._minute: tuple[Any, str] = (None, "")
        self._tools = Tools(self.litellm)

    def router(self, router: Any) -> tuple[Why | None, str, Any, tuple[Any, ...]]:
        """Return why ``router`` is not served (or None), its strategy, its selector, and its caches and selector."""
        state = vars(router)
        strategy = state["routing_strategy"]
        refused: tuple[None, str, None, tuple[Any, ...]] = (None, strategy, None, ())
        if guard.put_onto(router) is not None:
            return decline.ROUTER_METHODS, *refused[1:]
        if "model_names" not in state:
            return decline.ROUTER_WITHOUT_MODELS, *refused[1:]
        cooldowns = state["cooldown_cache"]
        parts = [cooldowns, cooldowns._cooldown_store, cooldowns.in_memory_cache]
        kinds = [self.cooldown_type, self.cache_type, self.memory_type]
        parts += [state["cache"], state["cache"].in_memory_cache, self.log, self.router_log]
        kinds += [self.cache_type, self.memory_type, logging.Logger, logging.Logger]
        selector = None
        if strategy in _SELECTORS:
            attribute, module, name = _SELECTORS[strategy]
            selector = state[attribute]
            parts += [selector, state["service_logger_obj"]]
            kinds += [getattr(self.strategies[module], name), self.service_type]
        elif strategy != "simple-shuffle":
            return decline.ROUTING_STRATEGY.of(_called(strategy)), *refused[1:]
        if any(type(part) is not kind for part, kind in zip(parts, kinds, strict=True)):
            return decline.ROUTER_PART_CLASS, *refused[1:]
        if any(guard.put_onto(part) is not None for part in parts):
            return decline.ROUTER_PART_METHODS, strategy, None, tuple(parts)  # looked at again when they go
        if selector is not None and state["service_logger_obj"].mock_testing:
            return decline.ROUTER_PART_CLASS, *refused[1:]
        return None, strategy, selector, tuple(parts)

    def keeps_all(self, function: Any) -> bool:
        """Return whether an ``async_filter_deployments`` only returns what it is given, as ``CustomLogger``'s does.

        LiteLLM's decorator that names a datastore's purpose may be around it.
        """
        if self._scoped is not None and getattr(function, "__code__", None) is self._scoped:
            function = function.__wrapped__
        return type(function) is FunctionType and _essence(function) == _essence(self.no_filter)

    def searches_web(self, tools: Any) -> bool:
        """Return whether one of a request's tools searches the web. Raises ``Unserved``."""
        if type(tools) is not list or any(type(tool) is not dict for tool in tools):
            raise decline.Unserved(decline.TOOLS_TYPE)
        return any(tool.get("type") in ("web_search", "web_search_preview") for tool in tools)

    def disarm(self, compaction: Any) -> None:
        """Take back what an earlier routing of the request set up, as stock's pre-routing hook does."""
        if isinstance(compaction, self._compaction_type):
            compaction.config = None
            compaction.candidates = ()
            compaction.parent_model = None

    def lists(self, deployments: Sequence[dict[str, Any]]) -> list[list[Any]]:
        """Return the lists in them that tag routing and access groups depend on."""
        fields = (("litellm_params", "tags"), ("litellm_params", "tag_regex"), ("model_info", "access_groups"))
        held = [deployment[part].get(field) for deployment in deployments for part, field in fields]
        return [value for value in held if isinstance(value, list)]

    def group(
        self, name: str | None, team: str | None, deployments: Sequence[dict[str, Any]], known: Mapping[str, int]
    ) -> tuple[Why | None, list[str], set[int], list[int | None] | None, bool]:
        """Read a model group's deployments: those called ``name``, those a ``team`` calls so, or (None) any.

        Returns why the group is not served (or None), the deployments' ids, the places of blocked ones, their orders
        (None if none has one), and whether all of them are plain data.
        """
        ids = [deployment["model_info"].get("id") for deployment in deployments]
        refusal = self._refusal(name, team, deployments, ids, known)
        if refusal is not None:
            return refusal, [], set(), None, False
        blocked = {
            place for place, deployment in enumerate(deployments) if deployment["model_info"].get("blocked") is True
        }
        orders = [
            order if order is not None else deployment["model_info"].get("order")
            for deployment in deployments
            for order in [deployment["litellm_params"].get("order")]
        ]
        if any(order is not None and type(order) is not int for order in orders):
            return decline.ORDER_TYPE, [], set(), None, False
        plain = all(
            is_plain(deployment) and isinstance(deployment["litellm_params"].get("api_key", ""), str)
            for deployment in deployments
        )
        return None, ids, blocked, orders if any(order is not None for order in orders) else None, plain

    def _refusal(
        self,
        name: str | None,
        team: str | None,
        deployments: Sequence[dict[str, Any]],
        ids: list[Any],
        known: Mapping[str, int],
    ) -> Why | None:
        for deployment, model_id in zip(deployments, ids, strict=True):
            params, info = deployment["litellm_params"], deployment["model_info"]
            if type(model_id) is not str or type(deployment.get("model_name")) is not str:
                return decline.DEPLOYMENT_TYPE
            if model_id not in known:
                return decline.MISPLACED
            model = params.get("model")
            if type(model) is not str or model.startswith("auto_router/"):
                return decline.ROUTING_PRE_STRATEGIES
            if info.get("team_id") != team:
                return decline.TEAM_DEPLOYMENTS
            called = deployment["model_name"] if team is None else info.get("team_public_model_name")
            if name is not None and called != name:
                return decline.MISPLACED
            if info.get("access_windows") is not None:
                return decline.ACCESS_WINDOWS
            tags = (params.get("tags"), params.get("tag_regex"))
            if any(held is not None and not _is_texts(held) for held in tags):
                return decline.TAGS_TYPE
            if self.strange and not all(map(self.strange.isdisjoint, (deployment, params, info))):
                return decline.ROUTING_UNKNOWN_SETTING.of(min(self.strange & {*deployment, *params, *info}))
        return None if len(set(ids)) == len(ids) else decline.SHARED_ID

    def rendered(self, source: Any, name: str) -> list[dict[str, Any]]:
        """Return the deployments that ``name`` matches as stock chooses among them: copies with their own model."""
        found = source.route(name)
        if type(found) is not list:
            raise decline.Unserved(decline.PATTERN_UNRENDERABLE)
        return found

    def filters(
        self,
        name: str,
        deployments: Sequence[dict[str, Any]],
        ids: list[str],
        blocked: set[int],
        orders: list[int | None] | None,
        overridden: bool,
    ) -> Filters:
        """Return what narrows the choice in a group; ``overridden``: its deployments may switch tag routing."""
        return Filters(self._tools, name, deployments, ids, blocked, orders, overridden)

    def listings(self) -> Listings:
        """Return what is remembered of a router beside its model groups."""
        return Listings(self.pattern_type, self._inferred_provider)

    def health(self) -> Health:
        """Return what is remembered of a router's health checks."""
        return Health(self.cache_type, self.memory_type, self._health_type)

    def cumulative(self, deployments: Sequence[dict[str, Any]]) -> list[float] | None:
        """Return the running sums ``random.choices`` draws from, or None where stock draws evenly.

        ``simple_shuffle`` takes the first of weight, rpm and tpm that any deployment has, scaled by the largest.
        """
        for metric in ("weight", "rpm", "tpm"):
            values = [deployment["litellm_params"].get(metric) for deployment in deployments]
            if any(value is not None and type(value) not in (int, float) for value in values):
                raise decline.Unserved(decline.WEIGHTS_TYPE)
            weights = [0.0 if value is None else float(value) for value in values]
            if not all(0.0 <= weight < math.inf for weight in weights):
                raise decline.Unserved(decline.WEIGHTS_VALUE)
            largest = max(weights, default=0.0)
            if largest > 0:
                return list(accumulate(weight / largest for weight in weights))
        return None

    def limits(self, deployments: Sequence[dict[str, Any]], strict: bool) -> list[tuple[Any, Any] | None]:
        """Return each deployment's tokens and requests a minute (infinity where unlimited), or None without limits.

        With ``strict`` a limit of 0 counts, as it does for usage-based routing.
        """
        found: list[tuple[Any, Any] | None] = []
        for deployment in deployments:
            limit = tuple(_limit(deployment, metric, strict) for metric in ("tpm", "rpm"))
            if any(value is not None and type(value) not in (int, float) for value in limit):
                raise decline.Unserved(decline.LIMITS_TYPE)
            tpm, rpm = (math.inf if value is None else value for value in limit)
            found.append(None if limit == (None, None) else (tpm, rpm))
        return found

    def api_bases(self, deployments: Sequence[dict[str, Any]]) -> list[Any]:
        """Return the keys under which latency-based routing reports what it saw; None is left out of the report."""
        return [deployment["litellm_params"].get("api_base", "") for deployment in deployments]

    def priced_names(self, deployments: Sequence[dict[str, Any]]) -> tuple[str, ...]:
        """Return the names under which the cost map may price one of the deployments."""
        names = self.strategies["lowest_cost"].deployment_pricing_models
        return tuple(dict.fromkeys(name for deployment in deployments for name in names(deployment)))

    def costs(self, deployments: Sequence[dict[str, Any]]) -> list[Any]:
        """Return what a token in and a token out cost together, by the deployment or the cost map, else 5 each."""
        rates = self.strategies["lowest_cost"]._deployment_cost_map_rates
        costs: list[Any] = []
        for deployment in deployments:
            params = deployment["litellm_params"]
            own = (params.get("input_cost_per_token"), params.get("output_cost_per_token"))
            if any(value and type(value) not in (int, float) for value in own):
                raise decline.Unserved(decline.COSTS_TYPE)
            price_in, price_out = (
                price if price else 5.0 if mapped is None else mapped
                for price, mapped in zip(own, rates(deployment), strict=True)
            )
            if math.isnan(price_in + price_out):
                raise decline.Unserved(decline.COSTS_TYPE)
            costs.append(price_in + price_out)
        return costs

    def minute(self, strategy: str) -> str:
        """Return the minute under which ``strategy`` counts, by the clock its module has."""
        now = vars(self.strategies[strategy])["datetime"].now()
        moment = (now.year, now.month, now.day, now.hour, now.minute)
        if self._minute[0] != moment:
            self._minute = (moment, now.strftime("%Y-%m-%d-%H-%M"))
        return self._minute[1]

    def hour_minute(self) -> str:
        """Return the hour and minute under which usage-based routing counts."""
        minute: str = vars(self.strategies["lowest_tpm_rpm"])["datetime"].now().strftime("%H-%M")
        return minute

    def minute_utc(self) -> str:
        """Return the hour and minute in UTC under which usage-based routing v2 counts."""
        minute: str = self.strategies["lowest_tpm_rpm_v2"].get_utc_datetime().strftime("%H-%M")
        return minute

    def tokens(self, strategy: str, messages: Any, input: Any) -> int:
        """Return how many tokens ``strategy`` counts in a request; 0 where counting fails, as in stock."""
        try:
            count: int = vars(self.strategies[strategy])["token_counter"](messages=messages, text=input)
        except Exception:  # stock's own rule
            return 0
        return count


class Routing(Component):
    """The choice of a deployment in microseconds, at any number of deployments."""

    name = "routing"
    summary = "a router's choice of a deployment, and its records of finished calls"
    hot_modules = ("routing",)
    relies_on = tuple(sorted({path.partition(":")[0] for path in _AROUND if path.startswith("litellm.")}))

    def __init__(self) -> None:
        self._chooser: Any = None
        self._reader: Any = None

    def replacements(self, gate: hot.gate.Gate) -> Sequence[Replacement]:
        """Return the methods that choose, the listing of a model group, and the records of finished calls."""
        if seams.has_core_of_its_own():
            raise Native("the installed LiteLLM's routers choose in a core of their own")
        try:
            reader = self._reader = Reader()
            reader.strange = unknown_settings(reader.code, reader.router_type)
        except (ImportError, AttributeError) as error:
            raise Unavailable(f"the installed LiteLLM routes otherwise: {error}") from error
        chooser = self._chooser = _hot.Chooser(gate, reader)
        records = Accounting(gate, chooser, reader.litellm, reader.strategies)

        aside = copy(reader)
        aside.random = random.Random()  # of its own: it repeats what stock has drawn
        beside = _hot.Chooser(gate, aside)

        def sync(fast: Callable[..., Any], beside: Any = None) -> Callable[[FunctionType], Callable[..., Any]]:
            return lambda stock: gate.pure(fast, stock, beside)

        def coroutine(fast: Callable[..., Any], beside: Any = None) -> Callable[[FunctionType], Callable[..., Any]]:
            return lambda stock: gate.coroutine(fast, stock, beside)

        router = "litellm.router:Router"
        listing = seams.name_of(reader.router_type, "get_all_deployments")
        latency = "litellm.router_strategy.lowest_latency:LowestLatencyLoggingHandler"
        cost = "litellm.router_strategy.lowest_cost:LowestCostLoggingHandler"
        usage = "litellm.router_strategy.lowest_tpm_rpm:LowestTPMLoggingHandler"
        busy = "litellm.router_strategy.least_busy:LeastBusyLoggingHandler"
        metrics = "litellm.router_utils.router_callbacks.track_deployment_metrics"
        return [
            Replacement(
                f"{router}.get_available_deployment", sync(chooser.choose, Chosen(beside.choose, aside.random))
            ),
            Replacement(
                f"{router}.async_get_available_deployment",
                coroutine(chooser.choose_async, Chosen(beside.choose_async, aside.random)),
            ),
            Replacement(f"{router}.{listing}", sync(chooser.listed)),
            Replacement(f"{router}.deployment_callback_on_success", coroutine(records.success)),
            Replacement(f"{router}._increment_deployment_usage", coroutine(records.usage)),
            Replacement(f"{router}.async_deployment_callback_on_failure", coroutine(records.failure)),
            Replacement(f"{metrics}:increment_deployment_failures_for_current_minute", sync(records.failed)),
            Replacement(f"{busy}._increment", sync(records.busy)),
            Replacement(f"{busy}._async_increment", coroutine(records.busy)),
            Replacement(f"{latency}.log_success_event", sync(records.latency)),
            Replacement(f"{latency}.async_log_success_event", coroutine(records.latency)),
            Replacement(f"{cost}.log_success_event", sync(records.cost)),
            Replacement(f"{cost}.async_log_success_event", coroutine(records.cost)),
            Replacement(f"{usage}.log_success_event", sync(records.tokens)),
            Replacement(f"{usage}.async_log_success_event", coroutine(records.tokens)),
        ]

    def prove(self, replaced: Mapping[str, Replaced]) -> None:
        """Compare choices and records of small routers with stock. Raises ``ProbeMismatch`` or ``Unproven``."""
        strange = releases.strange(self.relies_on)
        if strange is not None:
            raise Unproven(f"{strange} is of no LiteLLM release that is known")
        require_known(self._reader.router_type, replaced)
        probe(self._reader, replaced)
        self._chooser.forget()

    def stopped(self) -> None:
        """Forget what is remembered of routers."""
        self._chooser.forget()


COMPONENT = Routing()
