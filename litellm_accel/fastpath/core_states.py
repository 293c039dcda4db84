"""What is known of the cores of LiteLLM's routers: their settings, deployments and counters as they were last seen."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from typing import Any

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.core_documents import LEARN, Documents
from litellm_accel.fastpath.decline import Why
from litellm_accel.fastpath.known_names import MESSAGE_KINDS
from litellm_accel.fastpath.owner_cache import OwnerCache
from litellm_accel.fastpath.pipeline import Call
from litellm_accel.fastpath.plans.maker import FIRST_ATTEMPT
from litellm_accel.fastpath.plans.slot import PlanSlot, State
from litellm_accel.fastpath.plans.templates import Unrepeatable
from litellm_accel.fastpath.router import BUCKETS
from litellm_accel.fastpath.router_state import PARAMETERS, STRATEGIES
from litellm_accel.hot import chat, watch
from litellm_accel.stock import guard, seams

# Where there is nothing, or no answer.
ABSENT: Any = object()
_BUCKETS = frozenset(BUCKETS)
# Where somebody may put a choice of its own into a core.
_PICK = "_core_async_get_available_deployment"
# What messages hold of which the core is told.
_TOLD_KINDS = sum(MESSAGE_KINDS[name] for name in ("parts", "other parts", "images", "other"))
_MAX_KEPT = 512


# Settings that are held by nothing that was learned: equal ones are the same.
_WRITTEN_ANEW = {"core": ("_deleted", "_settings"), "endpoints": ("_search_tools",)}
# What is made anew of what is watched as well: when it is asked for again, or of what a cache holds.
_DERIVED = {"core": ("_tag_filtering_models",), "memory": ("expiration_heap",)}
# What a core makes when it is first needed, as when an attempt has failed.
_MADE_LATE = frozenset((("core", "_health_view"), ("core", "_registry_view")))
# What a core makes of its settings and deployments, which are compared themselves.
_MADE_OF_THESE = ("_handle", "_version")
# So many states of a core are remembered: a proxy may write settings again and again, and others in between.
_MAX_STATES = 4


def _is_equal(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


class CoreStates:
    """What is known of LiteLLM's cores, and of each that was seen."""

    def __init__(self, endpoint: str = "completion") -> None:
        self.stock = seams.CoreSteps(endpoint)
        self._known = OwnerCache()

    def state_of(self, core: Any) -> CoreState:
        """Return what is known of ``core``, looked up again if it has changed."""
        holder = core._prerouter  # which refers to the core
        known: list[CoreState] = self._known.get(holder, [])
        if known and known[0].holds(core):
            return known[0]
        made = CoreState(self.stock, core)
        like = next((state for state in known if made.is_like(state)), None)
        if like is not None:
            made.take_over(like)
        self._known[holder] = [made, *(state for state in known if state is not like)][:_MAX_STATES]
        return made


class CoreState:
    """One core as it was when last looked at; a change makes a new one.

    That takes over what was learned when all settings and deployments were as they are now.
    """

    #: Whether other processes count what it counts.
    shares = False
    #: Whether something of LiteLLM's own, besides the core, measures calls and chooses deployments; and whether that
    #: reads what deployments have used together with their cooldowns.
    is_measured = reads_usage = False

    def __init__(self, stock: seams.CoreSteps, core: Any) -> None:
        self.plans: dict[tuple[Any, ...], PlanSlot] = {}
        self.forgotten = 0
        with contextlib.suppress(Exception):
            core.settings()  # or they would be made later, and be another
        self._attributes = vars(core)
        self._handle, self._version = core._handle, core._handle.registry_version()
        self._watch = watch.Watch()
        cache = core._cache
        parts = {"core": core, "endpoints": core._endpoints, "checks": core._checks, "selectors": core._selectors}
        for name, held in {**parts, "cache": cache, "memory": cache.in_memory_cache}.items():
            self._watch.add(name, held)
        self._watch.add("settings", core._plain)
        self._watch.mark()
        held = {**{name: vars(part) for name, part in parts.items()}, "settings": core._plain}
        self._values = {
            (name, key): value
            for name, values in held.items()
            for key, value in values.copy().items()
            if key not in _DERIVED.get(name, ()) and key not in _MADE_OF_THESE
        }
        self._caches = [cache, *(vars(core._cache).get(name) for name in ("in_memory_cache", "redis_cache"))]
        self._deployments = core._handle.deployments()
        self.defaults = core._endpoints.default_litellm_params(core._resolved)
        self.stock = stock
        self._documents = Documents()
        self._ids: dict[tuple[str, ...], Any] = {}
        self._increments: dict[tuple[str, ...], Any] = {}
        self._counters: dict[str, tuple[str, Any]] = {}
        self.reason = self._judge(stock, core)

    def is_like(self, other: CoreState) -> bool:
        """Return whether all settings and deployments of a core are now what they were in its ``other`` state."""
        values = other._values
        return (
            self.reason is other.reason is None
            and all(one is two for one, two in zip(self._caches, other._caches, strict=True))
            and self._values.keys() == values.keys()
            and all(
                value is values[place]
                or _is_equal(value, values[place])
                or (place in _MADE_LATE and None in (value, values[place]))
                for place, value in self._values.items()
            )
            and bool(self._deployments == other._deployments)
        )

    def take_over(self, other: CoreState) -> None:
        """Go on with what is known of an ``other`` state; calls that are being learned from met both."""
        slots = list(other.plans.items())
        self.plans = {place: slot for place, slot in slots if slot.state is not State.RECORDING}
        self.forgotten = other.forgotten

    def holds(self, core: Any) -> bool:
        """Return whether ``core`` is as it was."""
        return (
            self._attributes is vars(core)
            and core._handle is self._handle
            and self._handle.registry_version() == self._version
            and not self._differs(core)
        )

    def _differs(self, core: Any) -> bool:
        """Return whether anything watched is another than it was.

        Equal settings may have been written anew: a proxy with a database does that twice a minute.
        """
        if not self._watch.changed():
            return False
        if core._settings is None:  # a core forgets them when they are written, and makes them when they are read
            with contextlib.suppress(Exception):
                core.settings()
        taken = self._watch.take()
        if not taken:
            self._watch.mark()
        owners = {"core": core, "endpoints": core._endpoints}
        return not all(
            key in _DERIVED.get(name, ())
            or ((name, key) in _MADE_LATE and before is None)
            or (key in _WRITTEN_ANEW.get(name, ()) and _is_equal(before, vars(owners[name]).get(key, ABSENT)))
            for name, key, before in taken
        )

    def finish(self, core: Any, group: str, result: Any) -> None:
        """Add to ``result`` what a router adds to the headers of a first, successful attempt."""
        headers = result._hidden_params["additional_headers"]
        headers["x-litellm-model-group"] = group
        minute = chat.minute()
        found = self._counters.get(group)
        if found is None or found[0] != minute:
            found = self._counters[group] = minute, self.stock.counters(core, group)
        for name, value in self.stock.remaining(core, group, found[1]).items():
            if value is not None:
                headers.setdefault(name, value)
        headers.update(FIRST_ATTEMPT)

    def begun(self, core: Any, plan: Any, request: dict[str, Any], call: Call) -> tuple[Any, Any]:
        """Return the core's call for a ``request`` that is to go by ``plan``, and what LiteLLM has made of that.

        What the core is told of it is what it was told of calls like it, see ``core_documents``.
        """
        is_plain = not self.stock.chats or (
            call.conversation is None and not chat.kinds_of(call.messages) & _TOLD_KINDS
        )
        told = self._documents.find(call.key, request) if is_plain else None
        if told is not None and told is not LEARN:
            core._sync_routing_state()
            prepared = core._endpoints.prepare(plan, request, request["model"])
            self.stock.clear_selection(prepared)
            return core._handle.start(plan.endpoint, told), prepared
        started = core._start(plan, request)
        if told is LEARN:

            def make(request: Any, prepared: Any) -> Any:
                return core._routing_inputs(plan, request, prepared, request["model"], None)

            self._documents.learn(call.key, request, started[1], make)
        return started  # type: ignore[no-any-return]

    def answer(self, core: Any, step: dict[str, Any]) -> Any:
        """Return the core's answer to a ``step``, where that is in memory alone; ``ABSENT`` where it must say."""
        op, stock = step["op"], self.stock
        if op == "batch_get" and not stock.has_read_before() and stock.usage_read() is None:
            keys = tuple(step["keys"])
            ids = self._kept(self._ids, keys, stock.cooldown_ids)
            if ids is not None and not core._cooldowns.cooldown_store._handle.active_sync(ids):
                return [None] * len(ids)
        elif op == "increment_usage":
            keys, amounts = tuple(step["keys"]), step["value"]
            found = self._kept(self._increments, keys, lambda keys: stock.increment(keys, amounts))
            if found is not None:
                counter, (tokens, requests) = found[0], amounts
                with contextlib.suppress(Exception):  # which never fails a call
                    core._usage._handle.increment_deployment_sync(
                        counter.deployment_id, counter.model, counter.minute, tokens, int(requests)
                    )
                return None
        elif op == "increment" and step["local"] is True:
            kept = {} if step["ttl"] is None else {"ttl": step["ttl"]}
            return core._cache.in_memory_cache.increment_cache(key=step["key"], value=step["value"], **kept)
        return ABSENT

    def _kept(self, kept: dict[tuple[str, ...], Any], keys: tuple[str, ...], make: Callable[[Any], Any]) -> Any:
        found = kept.get(keys, ABSENT)
        if found is ABSENT:
            if len(kept) >= _MAX_KEPT:
                kept.clear()
            found = kept[keys] = make(keys)
        return found

    def routes_before(self, core: Any, request: dict[str, Any]) -> bool:
        """Return whether LiteLLM may choose another model group, or change the request, before the core chooses."""
        return (
            core._prerouter._strategies.any_registered()
            or bool(core._hosted._core_routing_plugins)
            or not _BUCKETS.isdisjoint(request)
        )

    def _judge(self, stock: seams.CoreSteps, core: Any) -> Why | None:
        if type(core) is not stock.core:
            return decline.ROUTER_CLASS
        resolved = core._resolved
        strategy = resolved.routing_strategy
        if strategy not in STRATEGIES or {core._selectors._strategy, core._selectors._configured} != {strategy}:
            return decline.ROUTING_STRATEGY.of(str(strategy))
        self.is_measured = core._selectors.default is not None
        self.reads_usage = strategy == "usage-based-routing-v2"
        settings = {
            "request-scoped callbacks": self.is_measured and core._checks._request_scoped_selectors,
            "routing_groups": resolved.routing_groups,
            "routing_plugins": resolved.routing_plugins,
            "default_deployment": resolved.default_deployment,
            "custom routing strategy": core._custom_strategy or vars(core).get(_PICK),
            "deleted settings": core._deleted,
            "default_priority": core._endpoints._default_priority,
            "session_affinity_repin_on_failover": core._checks.session_affinity_repin_on_failover,
        }
        for setting, value in settings.items():
            if value:
                return decline.ROUTER_SETTING.of(setting)
        if core._cache.redis_cache is not None:
            return decline.ROUTER_CACHE
        parts = (core, core._endpoints, core._checks, core._cache, core._cache.in_memory_cache, core._selectors)
        for held in (*parts, *((core._selectors.default,) if self.is_measured else ())):
            if (name := guard.put_onto(held)) is not None:
                return decline.PATCHED.of(name)
        for deployment in core._handle.deployments():
            for name, value in deployment["litellm_params"].items():
                if name not in PARAMETERS and value not in (None, False):
                    return decline.DEPLOYMENT_SETTING.of(name)
            if (limits := stock.limits_of(deployment)) is not None:
                return decline.DEPLOYMENT_SETTING.of(limits)
        return None


class CorePlan:
    """The plan of one deployment of a core."""

    cached = None

    def __init__(self, cores: CoreStates, core: Any, deployment: Any, group: str, plan: chat.Plan) -> None:
        if cores.stock.filled_in(deployment, group) is not deployment:
            raise Unrepeatable(decline.DEPLOYMENT_SETTING.of("wildcard"))
        self.plan = plan
        self._stock = cores.stock
        self.router = weakref.ref(core._prerouter)
        self.deployment = deployment
        self.model = str(deployment["litellm_params"]["model"])
        self.model_id = deployment["model_info"]["id"]

    def is_of(self, deployment: Any) -> bool:
        """Return whether this is the plan of ``deployment``, of which the core gives out a copy each time."""
        return bool(deployment == self.deployment)

    def period(self, core: Any) -> Any:
        """Return until when ``core`` goes on counting its picks of this deployment; None if it begins anew."""
        memory = core._cache.in_memory_cache
        return None if memory._is_key_expired(self.model_id) else memory.ttl_dict.get(self.model_id)

    def counts(self, core: Any) -> dict[str, int]:
        """Return what ``core`` has counted of this deployment, by name."""
        counters = core._endpoints.counters
        goes_on = self.period(core) is not None
        picks = core._cache.in_memory_cache.cache_dict.get(self.model_id) if goes_on else None
        calls, successes = counters.total_calls.get(self.model), counters.success_calls.get(self.model)
        return {"picks": picks or 0, "calls": calls or 0, "successes": successes or 0}

    def counted_for(self, result: Any, is_async: bool) -> dict[str, int]:
        """Return by how much ``counts`` changes with a call that gets ``result``."""
        plan = self._stock.plan if is_async else self._stock.plan_in_threads
        picks = is_async and self._stock.chats
        counted = {"picks": picks, "calls": plan.total_key is not None, "successes": plan.success_key is not None}
        return {name: int(is_counted) for name, is_counted in counted.items()}
