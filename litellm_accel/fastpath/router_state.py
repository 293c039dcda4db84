"""What the fast path knows of a router: whether it may serve its calls, the plans of its deployments, its bookkeeping.

The router's own methods choose the deployment. The bookkeeping after a success is stock's, step by step. When stock
must judge a reply, it runs the router's call from the beginning, as a ``pinned`` router: the same router in all its
state, which chooses the given deployment first.
"""

from __future__ import annotations

import importlib
import weakref
from collections.abc import Callable
from typing import Any

from litellm_accel.fastpath import decline, passage
from litellm_accel.fastpath.decline import Why
from litellm_accel.fastpath.notify.call_diff import REPORT
from litellm_accel.fastpath.owner_cache import OwnerCache
from litellm_accel.fastpath.plans import recorder
from litellm_accel.fastpath.plans.maker import FIRST_ATTEMPT
from litellm_accel.fastpath.plans.slot import PlanSlot
from litellm_accel.fastpath.plans.templates import Unrepeatable
from litellm_accel.fastpath.response_cache import CachedKind
from litellm_accel.hot import chat, watch
from litellm_accel.stock import guard

# Arguments that make LiteLLM build a deployment for one call.
CREDENTIALS = frozenset(("api_base", "api_key", "api_version", "base_url", "custom_llm_provider", "headers"))
# Deployment parameters whose effect the learned call shows, or which selection alone reads.
PARAMETERS = frozenset(
    [
        "model",
        "api_base",
        "api_key",
        "api_version",
        "organization",
        "timeout",
        "max_retries",
        "num_retries",
        "rpm",
        "tpm",
        "weight",
        "order",
        "temperature",
        "max_tokens",
        "top_p",
        "custom_llm_provider",
        "extra_headers",
        "max_parallel_requests",
        "input_cost_per_token",
        "output_cost_per_token",
        "drop_params",
    ]
)
#: Those that choose by nothing but what is known of a router and of its calls.
STRATEGIES = frozenset(
    [
        "cost-based-routing",
        "latency-based-routing",
        "least-busy",
        "simple-shuffle",
        "usage-based-routing",
        "usage-based-routing-v2",
    ]
)
_SUCCESSES = ("deployment_callback_on_success", "sync_deployment_callback_on_success")
# Those of them that bound how many requests a deployment answers at a time.
_LIMITING = frozenset(("max_parallel_requests", "rpm", "tpm"))


class RouterStates:
    """What is known of each router that was seen; it hangs on the router's ``chat``, which refers to the router."""

    def __init__(self) -> None:
        self.module = importlib.import_module("litellm.router")
        self.metrics = importlib.import_module("litellm.router_utils.router_callbacks.track_deployment_metrics")
        self.cache = importlib.import_module("litellm.caching.dual_cache").DualCache
        self.memory_cache = importlib.import_module("litellm.caching.in_memory_cache").InMemoryCache
        self.redis_caches = (
            importlib.import_module("litellm.caching.redis_cache").RedisCache,
            importlib.import_module("litellm.caching.redis_cluster_cache").RedisClusterCache,
        )
        # By which later releases count in Redis as well.
        self.counts_usage = hasattr(self.module.Router, "_increment_deployment_usage")
        # LiteLLM before 1.103 has semaphores instead, which nobody can look into.
        limits = importlib.import_module("litellm.router_utils.client_initalization_utils")
        self.limit = getattr(limits, "MaxParallelRequestsLimit", None)
        enum = self.module.RouterCacheEnum
        self.mark: Any = getattr(self.metrics, "ROUTER_USAGE_COUNTED_TOKENS_METADATA_KEY", None)
        self.formats = (enum.TPM.value, enum.RPM.value)
        self.io_limits = self.module.deployment_has_io_token_limits
        self._known = OwnerCache()
        self._own = OwnerCache()
        self._pinned = _pinned_class(self.module.Router, self.limit or object)

    def state_of(self, router: Any) -> RouterState | None:
        """Return what is known of ``router``, looked up again if it has changed; None if that can be kept nowhere."""
        holder = vars(router).get("chat")
        if not hasattr(holder, "__dict__"):
            return None
        found: RouterState | None = self._known.get(holder)
        # A copy of a router has the same chat.
        if found is not None and found.attributes is vars(router) and not guard.differs(found.watch):
            return found
        found = self._known[holder] = RouterState(self, router)
        return found

    def pinned(
        self,
        router: Any,
        deployment: Any,
        reported: tuple[str, Any] | None = None,
        *,
        limit: Any = None,
        tracked: bool = False,
        checked: bool = False,
        messages: Any = None,
    ) -> Any:
        """Return ``router`` as one that chooses ``deployment`` first.

        ``reported`` is among which metadata the choice has said something, and what. ``limit`` is a slot that is held
        already and will be released by it; ``tracked`` says that the choice is counted already, ``checked`` that its
        limits have been checked and the call counted towards them. ``messages`` are those that have been sent, if
        they are not the caller's any more.
        """
        made = object.__new__(self._pinned)
        made.pins = {
            "router": router,
            "deployment": (deployment, reported),
            "limit": limit,
            "tracked": tracked,
            "checked": checked,
            "messages": messages,
            "own": self._own,
        }
        made.__dict__ = router.__dict__
        return made


class RouterState:
    """One router as it was when last looked at; a change makes a new one."""

    def __init__(self, routers: RouterStates, router: Any) -> None:
        self.plans: dict[tuple[Any, ...], PlanSlot] = {}
        self.forgotten = 0
        self.attributes = vars(router)
        self._formats = routers.formats
        self._tallies: dict[str, tuple[Any, Any]] = {}
        self.watch = watch.Watch()
        cache = router.cache
        for name, held in (
            ("router", router),
            ("cache", cache),
            ("memory cache", getattr(cache, "in_memory_cache", None)),
            ("service logger", router.service_logger_obj),
        ):
            if hasattr(held, "__dict__"):
                self.watch.add(name, held)
        self.watch.add("model_list", router.model_list)
        self._watch_within("defaults", router.default_litellm_params)
        for index, deployment in enumerate(router.model_list):
            self._watch_within(f"deployment {index}", deployment)
        self.watch.mark()
        #: Whether other processes count in the same Redis.
        self.shares = getattr(cache, "redis_cache", None) is not None
        self.reason = self._judge(routers, router)

    def _watch_within(self, name: str, held: Any) -> None:
        """Watch ``held`` and all dictionaries and lists in it: requests are made of them."""
        if type(held) is dict or type(held) is list:
            self.watch.add(name, held)
            for item in held.values() if type(held) is dict else held:
                self._watch_within(name, item)

    def finish(self, router: Any, group: str, result: Any) -> None:
        """Add to ``result`` what a router adds to the headers of a first, successful attempt."""
        headers = result._hidden_params["additional_headers"]
        headers["x-litellm-model-group"] = group
        info = router._cached_get_model_group_info(group)
        if info is not None and (info.tpm is not None or info.rpm is not None):
            found = self._tallies.get(group)
            if found is None or found[0] is not info:
                found = self._tallies[group] = (info, self._tally(router, group, info))
            for name, value in found[1].remaining().items():
                headers.setdefault(name, value)
        headers.update(FIRST_ATTEMPT)

    async def afinish(self, router: Any, group: str, result: Any) -> None:
        """As ``finish``, where what is left of a limit is known to Redis."""
        headers = result._hidden_params["additional_headers"]
        headers["x-litellm-model-group"] = group
        for name, value in (await router.get_remaining_model_group_usage(group)).items():
            if value is not None:
                headers.setdefault(name, value)
        headers.update(FIRST_ATTEMPT)

    def _tally(self, router: Any, group: str, info: Any) -> Any:
        deployments = [
            (model["model_info"]["id"], model["litellm_params"]["model"])
            for model in router.get_model_list(model_name=group) or ()
        ]
        tokens, requests = (
            [key.format(id=model_id, model=model, current_minute="{current_minute}") for model_id, model in deployments]
            for key in self._formats
        )
        return chat.Tally(router.cache.in_memory_cache, tokens, requests, info.tpm, info.rpm)

    def _judge(self, routers: RouterStates, router: Any) -> Why | None:
        if type(router) is not routers.module.Router:
            return decline.ROUTER_CLASS
        if router.routing_strategy not in STRATEGIES:
            strategy = router.routing_strategy
            return decline.ROUTING_STRATEGY.of(strategy if type(strategy) is str else type(strategy).__name__)
        if router.default_priority is not None:
            return decline.ROUTER_SETTING.of("default_priority")
        if routers.limit is None and router.default_max_parallel_requests is not None:
            return decline.ROUTER_SETTING.of("default_max_parallel_requests")
        cache = router.cache
        if type(cache) is not routers.cache:
            return decline.ROUTER_CACHE
        if self.shares and (type(cache.redis_cache) not in routers.redis_caches or not routers.counts_usage):
            return decline.ROUTER_CACHE
        if type(cache.in_memory_cache) is not routers.memory_cache:
            return decline.ROUTER_CACHE
        for held in (router, cache, cache.in_memory_cache, router.service_logger_obj):
            if (name := guard.put_onto(held)) is not None:
                return decline.PATCHED.of(name)
        for deployment in router.model_list:
            if odd := {"model_name", "litellm_params", "model_info"} ^ set(deployment):
                return decline.DEPLOYMENT_SETTING.of(str(next(iter(odd))))
            for name, value in deployment["litellm_params"].items():
                known = name in PARAMETERS and (routers.limit is not None or name not in _LIMITING)
                if not known and value not in (None, False):
                    return decline.DEPLOYMENT_SETTING.of(name)
            if routers.io_limits(deployment):
                return decline.DEPLOYMENT_SETTING.of("input or output limits")
        return None


class RoutedPlan:
    """The plan of one deployment, and what its router counts."""

    def __init__(
        self, routers: RouterStates, router: Any, deployment: Any, group: str, plan: chat.Plan, listening: bool
    ) -> None:
        self.plan = plan
        self.router = weakref.ref(router)
        self.deployment = deployment
        self.as_learned = _copy(deployment)
        self.model = deployment["litellm_params"]["model"]
        # A call with credentials of its own has a deployment of its own, of which the router knows nothing.
        told = (value for key, source, value in plan.hidden if key == "model_id" and source == "constant")
        self.model_id = next(told, deployment["model_info"]["id"])
        if router._is_prompt_management_model(group):
            raise Unrepeatable(decline.PROMPT_MANAGEMENT)
        if listening and routers.mark is None:
            raise Unrepeatable(decline.ROUTER_CALLBACKS)
        info = router.get_deployment(model_id=self.model_id)
        try:
            known = {} if info is None else router.get_router_model_info(deployment=info, received_model_name=group)
        except Exception:  # stock fails likewise after each call, and takes back that it has counted it
            raise Unrepeatable(decline.MODEL_WITHOUT_PRICE.of(self.model)) from None
        self.counted = info is not None and any(
            limit is not None
            for limit in (
                info.get("tpm", None),
                info.get("rpm", None),
                info.litellm_params.tpm,
                info.litellm_params.rpm,
                known.get("tpm", None),
                known.get("rpm", None),
            )
        )
        self._keys = tuple(
            key.format(id=self.model_id, model=self.model, current_minute="{current_minute}") for key in routers.formats
        )
        # By which strategies know the call before it is sent.
        self.details = {"litellm_params": {"metadata": {"model_group": group}, "model_info": {"id": self.model_id}}}
        self._succeeded = routers.metrics.increment_deployment_successes_for_current_minute
        self._mark = routers.mark
        self._router = routers.module.Router
        self._group = group
        self.cached: CachedKind | None = None

    def learn_cache(self, handler: Any, call: Any) -> None:
        """Learn from LiteLLM's ``handler`` of a ``call`` how its cache is asked. Raises ``Unrepeatable``."""
        self.cached = CachedKind(handler, call, self._group)

    def is_of(self, deployment: Any) -> bool:
        """Return whether this is the plan of ``deployment``: equal ones have the same identifier, and the same plan."""
        return deployment is self.deployment or repr(deployment) == repr(self.deployment)

    def count(self, router: Any, result: Any) -> None:
        """Count a success in ``router`` as stock does: tokens and requests of the minute."""
        if self.counted:
            memory = router.cache.in_memory_cache
            minute = chat.minute()
            tokens, requests = self._keys
            memory.increment_cache(tokens.format(current_minute=minute), tokens_of(result))
            memory.increment_cache(requests.format(current_minute=minute), 1)

    async def acount(self, router: Any, group: str, result: Any) -> None:
        """As ``count``, in Redis as well."""
        if self.counted:
            await router._increment_deployment_usage(
                deployment_id=self.model_id,
                deployment_name=self.model,
                model_group=group,
                total_tokens=tokens_of(result),
                rpm_increment=1,
                parent_otel_span=None,
            )

    def period(self, router: Any) -> Any:
        """Return the minute for which ``router`` counts now."""
        return chat.minute()

    def counts(self, router: Any) -> dict[str, int]:
        """Return what ``router`` has counted of this deployment, by name."""
        memory = router.cache.in_memory_cache
        minute = chat.minute()
        tokens, requests = (memory.cache_dict.get(key.format(current_minute=minute)) for key in self._keys)
        calls, successes = router.total_calls.get(self.model), router.success_calls.get(self.model)
        counts = {"tokens": tokens, "requests": requests, "calls": calls, "successes": successes}
        return {name: count or 0 for name, count in counts.items()}

    def counted_for(self, result: Any, is_async: bool) -> dict[str, int]:
        """Return by how much ``counts`` changes with a call that gets ``result``."""
        calls = int(is_async)  # stock does not count those of threads
        tokens, requests = (tokens_of(result), 1) if self.counted else (0, 0)
        return {"tokens": tokens, "requests": requests, "calls": calls, "successes": calls}

    def succeed(self, callbacks: list[Any]) -> None:
        """Do what the routers among ``callbacks`` do when stock tells them of a success that is counted already."""
        for callback in callbacks:
            router = self._told(callback)
            if router is not None and (
                callback.__name__ == "sync_deployment_callback_on_success" or router.has_model_id(self.model_id)
            ):
                self._succeeded(litellm_router_instance=router, deployment_id=self.model_id)

    def mark(self, stream: Any) -> None:
        """Note that the start of ``stream`` is counted."""
        stream.logging_obj.litellm_params["metadata"][self._mark] = 0

    def has_counted(self, callbacks: list[Any], metadata: dict[str, Any], result: Any) -> bool:
        """Return whether ``callbacks`` are routers', and those have counted the call that got ``result``."""
        return metadata.get(self._mark) == tokens_of(result) and None not in map(self._told, callbacks)

    def dispatch(self, told: Any, tell: Callable[[], None]) -> None:
        """Tell callbacks of a success, and that it is counted."""
        told.logging.routed = self
        told.logging.litellm_params["metadata"][self._mark] = tokens_of(told.result)
        tell()

    def shortened(self, callback: Any) -> Any:
        """Return what does the same as ``callback`` at less cost, if it is a router's for event loops."""
        router = self._told(callback)
        if router is None or callback.__name__ != "deployment_callback_on_success":
            return callback

        async def deployment_callback_on_success(
            kwargs: Any, completion_response: Any, start_time: Any, end_time: Any
        ) -> None:
            metadata = kwargs["litellm_params"]["metadata"]
            if metadata[self._mark] != kwargs["standard_logging_object"]["total_tokens"]:
                await callback(kwargs, completion_response, start_time, end_time)
            else:
                self.succeed([callback])

        return deployment_callback_on_success

    def _told(self, callback: Any) -> Any:
        """Return the router that counts successes by this callback, None if it is somebody else's."""
        router = getattr(callback, "__self__", None)
        return router if type(router) is self._router and callback.__name__ in _SUCCESSES else None


def _copy(held: Any) -> Any:
    """Return ``held`` with new dictionaries and lists, and all else the same."""
    if type(held) is dict:
        return {name: _copy(item) for name, item in held.copy().items()}
    return [_copy(item) for item in held] if type(held) is list else held


def tokens_of(result: Any) -> int:
    """Return how many tokens a router counts of ``result``."""
    return int(getattr(getattr(result, "usage", None), "total_tokens", 0) or 0)


# What a pinned router does before the router's own methods, or in their place, see ``passage.around``.


def _chosen(router: Any, *args: Any, **kwargs: Any) -> tuple[Any, None] | None:
    chosen = router.pins.pop("deployment", None)
    if chosen is None:
        return None
    deployment, reported = chosen
    if reported is not None:
        bucket, report = reported
        kwargs["request_kwargs"][bucket][REPORT] = report
    return deployment, None


def _with_messages(router: Any, deployment: Any, kwargs: Any, function_name: Any = None) -> None:
    messages = router.pins.pop("messages", None)
    if messages is not None:
        kwargs["messages"] = messages  # of this attempt alone


def _done(name: str) -> Callable[..., tuple[None, None] | None]:
    return lambda router, *args, **kwargs: (None, None) if router.pins.pop(name, False) else None


def _own(router: Any, deployment: Any, kwargs: Any, function_name: Any = None) -> tuple[Any, None] | None:
    """Return the deployment of a call that passes credentials of None, if the router has made the very one before.

    LiteLLM writes the price of such a deployment into its price list each time, which would undo all that was learned.
    Where that price is there already, it is not written again.
    """
    made = router.pins["own"].get(router.chat)
    if made is None:
        made = router.pins["own"][router.chat] = {}
    credentials = [(name, kwargs[name]) for name in sorted(CREDENTIALS.intersection(kwargs))]
    if any(value is not None for _, value in credentials):
        return None
    group = kwargs.get("metadata", {}).get("model_group")
    given = _copy([credentials, deployment["litellm_params"], deployment["model_info"], group, function_name])
    held = made.get(deployment["model_info"]["id"])
    if held is not None and held[0] == given and _price(held[1]) is held[2]:
        return held[1], None
    router.pins["given"] = given
    return None


def _made_own(own: Any, router: Any, deployment: Any, kwargs: Any, function_name: Any = None) -> Any:
    given = router.pins.pop("given", None)
    if given is not None:
        router.pins["own"].get(router.chat)[deployment["model_info"]["id"]] = given, own, _price(own)
    return own


def _price(deployment: Any) -> Any:
    return importlib.import_module("litellm").model_cost.get(deployment.model_info.id)


def _noted(router: Any, model_response: Any, messages: Any, initial_kwargs: Any, deployment_slot: Any = None) -> None:
    recorder.note_stream(model_response, initial_kwargs)


def _pinned_class(router_class: Any, limit_class: Any) -> Any:
    class Held(limit_class):  # type: ignore[misc]
        """A slot that is held already: entering it takes nothing, leaving it gives the slot back."""

        def __init__(self, limit: Any) -> None:
            self.limit = limit

        def acquire(self) -> None:
            """The slot is ours."""

        def release(self) -> None:
            self.limit.release()

    def held(router: Any, deployment: Any, kwargs: Any, client_type: Any = None) -> tuple[Any, None] | None:
        limit = router.pins.pop("limit", None) if client_type == "max_parallel_requests" else None
        return None if limit is None else (Held(limit), None)

    def stock(name: str) -> Callable[..., Any]:
        return lambda *args, **kwargs: getattr(router_class, name)(*args, **kwargs)

    class Pinned(router_class):  # type: ignore[misc]
        __slots__ = ("pins",)  # all else is the router's own, held in its shared dictionary

        def __hash__(self) -> int:
            return hash(self.pins["router"])

        def __eq__(self, other: object) -> bool:
            return getattr(other, "__dict__", None) is self.__dict__

        async_get_available_deployment = passage.aaround(stock("async_get_available_deployment"), _chosen)
        get_available_deployment = passage.around(stock("get_available_deployment"), _chosen)
        _update_kwargs_with_deployment = passage.around(stock("_update_kwargs_with_deployment"), _with_messages)
        async_routing_strategy_pre_call_checks = passage.aaround(
            stock("async_routing_strategy_pre_call_checks"), _done("checked")
        )
        routing_strategy_pre_call_checks = passage.around(stock("routing_strategy_pre_call_checks"), _done("checked"))
        _track_deployment_metrics = passage.around(stock("_track_deployment_metrics"), _done("tracked"))
        _get_client = passage.around(stock("_get_client"), held)
        _acompletion_streaming_iterator = passage.aaround(stock("_acompletion_streaming_iterator"), _noted)
        _completion_streaming_iterator = passage.around(stock("_completion_streaming_iterator"), _noted)
        _handle_clientside_credential = passage.around(stock("_handle_clientside_credential"), _own, _made_own)

    return Pinned
