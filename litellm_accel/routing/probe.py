"""Shows, each time component ``routing`` is switched on, that it equals the installed LiteLLM.

A few small routers are made twice. One is asked through stock, its twin through the accelerated functions, and what
comes back, the request, the caches and the random generator must agree. The routers are made without
``Router.__init__``, which would register callbacks and prices. What a release has that is not known here, a setting of
the router or a parameter of a replaced function, is a reason not to start.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import logging
import random
import re
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from types import SimpleNamespace
from typing import Any

from litellm_accel.components.base import ProbeMismatch, Replaced, Unproven
from litellm_accel.quiet import quiet

# The settings of a Router that a choice reads, or that have no part in it.
_SETTINGS = frozenset(
    re.findall(
        r"\w+",
        """
        model_list assistants_config search_tools guardrail_list redis_url redis_host redis_port redis_password redis_db
        cache_responses cache_kwargs caching_groups client_ttl polling_interval default_priority num_retries
        max_fallbacks timeout stream_timeout default_litellm_params default_max_parallel_requests set_verbose
        debug_level default_fallbacks fallbacks context_window_fallbacks content_policy_fallbacks model_group_alias
        enable_pre_call_checks enable_tag_filtering tag_filtering_match_any tag_routing_prefix plugins retry_after
        retry_policy model_group_retry_policy allowed_fails allowed_fails_policy cooldown_time disable_cooldowns
        routing_strategy optional_pre_call_checks routing_strategy_args routing_groups provider_budget_config
        alerting_config router_general_settings deployment_affinity_ttl_seconds model_group_affinity_config
        ignore_invalid_deployments enable_health_check_routing health_check_staleness_threshold
        health_check_ignore_transient_errors background_health_check_model_groups enable_weighted_failover
        fallback_access_check fallback_budget_check auto_router_capability_limit fallback_on_unsupported_params
        """,
    )
)
_ROUTER = "litellm.router:Router"


def require_known(router_type: type, replaced: Mapping[str, Replaced]) -> None:
    """Raise ``Unproven`` where the installed LiteLLM has settings or parameters that are not known here."""
    settings = set(list(inspect.signature(router_type.__init__).parameters)[1:]) - _SETTINGS  # type: ignore[misc]
    if settings:
        raise Unproven(f"a router of the installed LiteLLM has other settings: {', '.join(sorted(settings))}")
    for target, both in replaced.items():
        wanted = list(inspect.signature(both.accelerated.fast).parameters)[1:]  # type: ignore[attr-defined]
        found = list(inspect.signature(both.stock).parameters)[1:]
        if wanted != found:
            raise Unproven(f"{target} takes other parameters in the installed LiteLLM: {', '.join(found)}")


def probe(reader: Any, replaced: Mapping[str, Replaced]) -> None:
    """Compare choices and records with stock. Raises ``ProbeMismatch``, or ``Unproven`` where nothing can be compared.

    The random generator is left as it was found.
    """
    state = random.getstate()
    try:
        compare_apart(reader, lambda: _compare(reader, replaced), "routes")
    finally:
        random.setstate(state)


def compare_apart(reader: Any, compare: Callable[[], Coroutine[Any, Any, None]], does: str) -> None:
    """Run ``compare()``, which raises ``ProbeMismatch``, in a thread with an event loop of its own.

    ``accelerate()`` may be called inside a running loop. What else is raised means that nothing can be compared, and
    becomes ``Unproven``; ``does`` says what LiteLLM does otherwise then.
    """
    failures: list[Exception] = []
    logs = reader.log, reader.router_log

    def run() -> None:
        try:
            for _ in range(2):
                minute = time.time() // 60
                try:
                    with quiet():
                        asyncio.run(compare())
                    return
                except ProbeMismatch:
                    if time.time() // 60 == minute:  # else the two sides may have counted in different minutes
                        raise
        except Exception as error:
            failures.append(error)

    reader.log = reader.router_log = mute()
    try:
        thread = threading.Thread(target=run, name="litellm-accel-probe")
        thread.start()
        thread.join()
    finally:
        reader.log, reader.router_log = logs
    for error in failures:
        if isinstance(error, (ProbeMismatch, Unproven)):
            raise error
        raise Unproven(f"the installed LiteLLM {does} otherwise: {type(error).__name__}: {error}") from error


def mute() -> logging.Logger:
    """Return a logger that is enabled for nothing: what is tried out does not depend on the application's levels."""
    logger = logging.Logger("litellm_accel.probe")
    logger.disabled = True
    return logger


def _model(name: str, group: str, info: dict[str, Any], **params: Any) -> dict[str, Any]:
    base = {"model": "openai/gpt-4o-mini", "api_key": "sk-probe", "api_base": f"http://{name}.invalid"}
    return {"model_name": group, "litellm_params": {**base, **params}, "model_info": {"id": name, **info}}


def _models() -> list[dict[str, Any]]:
    return [
        _model(
            "d0",
            "chat",
            {"access_groups": ["beta"]},
            weight=3,
            tags=["free"],
            input_cost_per_token=1e-6,
            output_cost_per_token=1e-6,
        ),
        _model("d1", "chat", {"blocked": True}, tags=["free"]),
        _model("d2", "chat", {"order": 2}, weight=1, tags=["free", "paid"]),
        _model("d3", "chat", {"order": 2}, weight=5, rpm=1, tags=["paid"], region_name="eu"),
        _model("d4", "chat", {"order": 2, "access_groups": ["beta"]}, rpm=9, tags=["default"], region_name="eu"),
        _model("d5", "chat", {"order": 3}, tags=["default"]),
        _model("w0", "openai/*", {}, model="openai/*"),
        _model("w1", "openai/*", {}, model="openai/*", weight=2),
    ]


# Requests by name: what is asked for, and the arguments of the call.
_REQUESTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("chat", {"metadata": {}}),
    ("nick", {"stream": True, "metadata": {"tags": ["paid"]}}),
    ("chat", {"litellm_metadata": {"tags": ["free"]}, "enable_tag_filtering": True}),
    ("chat", {"_target_order": 3}),
    ("chat", {"_excluded_deployment_ids": ["d2"], "_retry_skipped_deployment_ids": ("d3",)}),
    ("chat", {"metadata": {"user_api_key_auth": SimpleNamespace(models=["beta"], team_models=[])}}),
    ("openai/gpt-4o", {"metadata": {"user_api_key_team_id": "team"}}),
    ("openai/gpt-4o-mini", {}),
    ("d5", {"metadata": {}}),
)
_SPECIFIC = "openai/gpt-4o-mini"  # asked for as the deployments' own model


def _router(reader: Any, strategy: str) -> Any:
    """Return a router in which nothing is registered anywhere."""
    router = reader.router_type.__new__(reader.router_type)
    models = _models()
    cache = reader.cache_type()
    patterns = reader.pattern_type()
    for model in models:
        if "*" in model["model_name"]:
            patterns.add_pattern(model["model_name"], copy.deepcopy(model))
    groups: dict[str, list[int]] = {}
    for place, model in enumerate(models):
        groups.setdefault(model["model_name"], []).append(place)
    vars(router).update(
        routing_strategy=strategy,
        cache=cache,
        cooldown_cache=reader.cooldown_type(cache=cache, default_cooldown_time=5),
        service_logger_obj=reader.service_type(),
        model_list=models,
        model_names=set(groups),
        model_name_to_deployment_indices=groups,
        model_id_to_deployment_index_map={model["model_info"]["id"]: place for place, model in enumerate(models)},
        team_model_to_deployment_indices={},
        model_group_alias={"nick": "chat"},
        pattern_router=patterns,
        team_pattern_routers={},
        default_deployment=None,
        fallbacks=[],
        enable_pre_call_checks=False,
        enable_tag_filtering=strategy == "least-busy",
        tag_filtering_match_any=True,
        tag_routing_prefix=None,
        enable_health_check_routing=False,
        allowed_fails_policy=None,
        background_health_check_model_groups=None,
        routing_plugins=[],
        routing_groups={},
        _routing_groups={},
        auto_routers={},
        complexity_routers={},
        adaptive_routers={},
        quality_routers={},
        _discovered_model_info_cache=reader.memory_type(),
        _model_to_group={},
        _group_selectors={},
        _override_selectors={},
    )
    for other, (attribute, module, name) in reader.selectors.items():
        selector = getattr(reader.strategies[module], name)(router_cache=cache) if other == strategy else None
        setattr(router, attribute, selector)
    return router


def _measure(router: Any) -> None:
    """Give a router measurements of every strategy."""
    memory = router.cache.in_memory_cache
    latencies = {"d0": 0.3, "d2": 0.1, "d3": 0.2, "d4": 0.1}
    memory.set_cache("chat_map", {name: {"latency": [seconds]} for name, seconds in latencies.items()})
    memory.set_cache("cost_map:chat", {"d3": {}, "d0": {}})
    for name, busy in (("d0", 2), ("d2", 1), ("d3", 1)):
        memory.set_cache(f"chat_request_count:{name}", busy)


async def _compare(reader: Any, replaced: Mapping[str, Replaced]) -> None:
    asked = replaced[f"{_ROUTER}.async_get_available_deployment"]
    asked_now = replaced[f"{_ROUTER}.get_available_deployment"]
    gate: Any = asked.accelerated.gate  # type: ignore[attr-defined]
    for strategy in ("simple-shuffle", *reader.selectors):
        routers = [_router(reader, strategy) for _ in range(2)]
        for router in routers:
            _measure(router)
        served, declined = gate.served, gate.declined
        # What narrows a choice comes before any strategy, so one strategy shows it for all.
        asked_for = _REQUESTS if strategy == "simple-shuffle" else _REQUESTS[:2]
        for number, (model, request) in enumerate(asked_for):
            outcomes = []
            for router, call, call_now in (
                (routers[0], asked.stock, asked_now.stock),
                (routers[1], asked.accelerated, asked_now.accelerated),
            ):
                random.seed(number)
                mine, specific = copy.deepcopy(request), model == _SPECIFIC
                found = [await call(router, model, mine, None, None, specific)]
                if strategy != "cost-based-routing":
                    found.append(call_now(router, model, None, None, specific, copy.deepcopy(request)))
                if number == 1:
                    router.cooldown_cache.in_memory_cache.set_cache(
                        "deployment:d2:cooldown", {"timestamp": time.time(), "cooldown_time": 60}, ttl=60
                    )
                outcomes.append((repr(found), repr(mine), random.getstate(), _state(router)))
            if outcomes[1] != outcomes[0]:
                raise ProbeMismatch(f"{strategy}: {model} with {request}")
        await _compare_records(reader, replaced, strategy, routers)
        if gate.faults or gate.declined != declined or gate.served == served:
            reasons = ", ".join(gate.declined) or gate.last_fault
            raise Unproven(f"choices cannot be compared with stock here: {reasons}")


async def _compare_records(reader: Any, replaced: Mapping[str, Replaced], strategy: str, routers: list[Any]) -> None:
    """Compare what a success and a failure leave behind."""
    call = _finished(reader)
    names = [f"{_ROUTER}.deployment_callback_on_success", f"{_ROUTER}.async_deployment_callback_on_failure"]
    subjects: list[list[Any]] = [routers, routers]
    if strategy in reader.selectors:
        attribute, module, name = reader.selectors[strategy]
        target = f"litellm.router_strategy.{module}:{name}.async_log_success_event"
        if target in replaced:
            names.append(target)
            subjects.append([getattr(router, attribute) for router in routers])
    for target, pair in zip(names, subjects, strict=True):
        functions: list[Callable[..., Any]] = [replaced[target].stock, replaced[target].accelerated]
        results = [
            repr(await function(subject, *copy.deepcopy(call[:1]), *call[1:]))
            for subject, function in zip(pair, functions, strict=True)
        ]
        if results[0] != results[1] or _state(routers[0]) != _state(routers[1]):
            raise ProbeMismatch(f"{strategy}: {target}")


def _finished(reader: Any) -> tuple[dict[str, Any], Any, float, float]:
    model = "openai/gpt-4o-mini"
    usage = reader.litellm["Usage"](completion_tokens=5, prompt_tokens=7, total_tokens=12)
    kwargs = {
        "call_type": "acompletion",
        "litellm_params": {"metadata": {"model_group": "chat", "deployment": model}, "model_info": {"id": "d3"}},
        "standard_logging_object": {
            "model_group": "chat",
            "model_id": "d3",
            "total_tokens": 12,
            "hidden_params": {"litellm_model_name": model},
        },
    }
    return kwargs, reader.litellm["ModelResponse"](usage=usage), 1_000.0, 1_002.0


def _state(router: Any) -> str:
    """Return everything a choice or a record may change, clocks aside."""
    stores = (router.cache.in_memory_cache, router.cooldown_cache.in_memory_cache)
    kept = [
        [(key, value) for key, value in store.cache_dict.items() if not key.endswith(":cooldown")] for store in stores
    ]
    return repr((kept, [sorted(store.ttl_dict) for store in stores], router.model_list))
