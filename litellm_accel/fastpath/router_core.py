"""``Router.completion`` and ``Router.acompletion`` by way of the fast path, where routers are a facade over a core.

The core's own steps choose the deployment and count what has come of a call; they are driven here as LiteLLM's loop
drives them. What LiteLLM does in between is learned from calls that it was watched serving, for each deployment. A call
that is stock's to finish goes on in LiteLLM's loop, with the step that has come.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import time
import weakref
from collections.abc import Callable
from types import FunctionType
from typing import Any, NoReturn

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.completion import at_once, raise_as_made
from litellm_accel.fastpath.decline import Why
from litellm_accel.fastpath.known_names import MESSAGE_KINDS, MUTATED_NAMES
from litellm_accel.fastpath.notify.success import REPORT
from litellm_accel.fastpath.owner_cache import OwnerCache
from litellm_accel.fastpath.passage import Passage
from litellm_accel.fastpath.pipeline import LEARN, Call, Pipeline
from litellm_accel.fastpath.plans.maker import FIRST_ATTEMPT
from litellm_accel.fastpath.plans.proof import CALLS
from litellm_accel.fastpath.plans.slot import PlanSlot, State
from litellm_accel.fastpath.plans.templates import Unrepeatable
from litellm_accel.fastpath.router import BUCKETS, Bookkeeping, RunningCalls
from litellm_accel.fastpath.router_state import CREDENTIALS, PARAMETERS, STRATEGIES, tokens_of
from litellm_accel.fastpath.transport import outbound
from litellm_accel.hot import chat, watch
from litellm_accel.stock import guard, seams

_ABSENT: Any = object()
_BUCKETS = frozenset(BUCKETS)
# The members of an attempt's step that say that it is the first of its call, and what they hold then.
_FIRST = {"retry": 0, "fallback_depth": 0, "fallback_level": 0, "params": None}
# Where somebody may put a choice of its own into a core.
_PICK = "_core_async_get_available_deployment"
# What messages hold of which the core is told.
_TOLD_KINDS = sum(MESSAGE_KINDS[name] for name in ("parts", "other parts", "images", "other"))
_MAX_KEPT = 512


class CoreHandler:
    """Serves a call of a router's core or leaves it to ``stock`` or ``astock``, the core's own methods."""

    stock: FunctionType
    astock: FunctionType

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.cores = CoreStates()
        self._running = RunningCalls()

    async def acompletion(self, core: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Serve ``acompletion`` of a router's core."""
        passage = Passage(self._arun, self.pipeline.gate.fault)
        self._running.add(passage)
        try:
            return await self._serve(passage, core, args, kwargs, is_async=True)
        except BaseException as error:
            if passage.passes(error):
                raise
        finally:
            self._running.discard(passage)
        return await passage.aresume(core, args, kwargs)

    def completion(self, core: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Serve ``completion`` of a router's core."""
        passage = Passage(self._run, self.pipeline.gate.fault)
        self._running.add(passage)
        try:
            return at_once(self._serve(passage, core, args, kwargs, is_async=False))
        except BaseException as error:
            if passage.passes(error):
                raise
        finally:
            self._running.discard(passage)
        return passage.resume(core, args, kwargs)

    async def _arun(
        self, core: Any, args: tuple[Any, ...], kwargs: dict[str, Any], choice: Choice | None = None
    ) -> Any:
        """Have LiteLLM serve a call, from its beginning or after a ``choice``."""
        return await (self.astock(core, *args, **kwargs) if choice is None else choice.go_on())

    def _run(self, core: Any, args: tuple[Any, ...], kwargs: dict[str, Any], choice: Choice | None = None) -> Any:
        """As ``_arun``, in a thread."""
        return self.stock(core, *args, **kwargs) if choice is None else choice.go_on_in_thread()

    async def _serve(
        self, passage: Passage, core: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, is_async: bool
    ) -> Any:
        """Return the result of a call; only one that ``is_async`` is suspended here."""
        pipeline = self.pipeline

        async def stock(choice: Choice | None = None) -> Any:
            return (
                await passage.arun(core, args, kwargs, choice) if is_async else passage.run(core, args, kwargs, choice)
            )

        started = time.time()
        admitted = self._admit(core, args, kwargs, started, is_async) if pipeline.open() else None
        if admitted is None:
            return await stock()
        known, call, request = admitted
        choice = (Choice if is_async else ChoiceInThread)(known, core, request, started)
        with choice.scope:
            is_chosen = False
            with contextlib.suppress(Exception):  # stock meets the same error, words it and falls back
                is_chosen = await choice.pick(call)
            if not is_chosen:
                pipeline.gate.decline(decline.NO_DEPLOYMENT)
                return await stock(choice if choice.has_begun else None)
            served = self._plan(known, call, choice)
            if served is LEARN:
                with self._watching(known, call, choice) as recording:
                    if is_async:
                        result = await recording.trace.arun(passage.arun(core, args, kwargs, choice))
                    else:
                        result = recording.trace.run(passage.run, core, args, kwargs, choice)
                    recording.result = result
                return result
            post = None
            if served is not None and await self._is_free(choice):
                post = pipeline.ready(outbound.aprepare if is_async else outbound.prepare, served.plan, call)
            if post is None:
                is_new = served is not None and is_async
                with pipeline.connecting(served.plan) if is_new else contextlib.nullcontext():
                    return await stock(choice)
            again = functools.partial(self._again, core, args, kwargs, choice, served.plan, post, call)
            return await self._send(passage, known, call, choice, served, post, again, stock)

    async def _send(
        self,
        passage: Passage,
        known: CoreState,
        call: Call,
        choice: Choice,
        served: CorePlan,
        post: outbound.OutboundRequest,
        again: Callable[[Any], tuple[Any, Any, Any]],
        stock: Callable[[Choice], Any],
    ) -> Any:
        """Return the result of a call whose request, ``post``, is sent now."""
        pipeline, is_async = self.pipeline, choice.is_async
        choice.begin(served.model)
        with choice.attempting(pipeline.environment.listeners.counting) as choice.attempt:
            try:
                choice.count(served.model, call, post)
                passage.sends(again)
                reply = await post.asend() if is_async else post.send()
                if post.opening is None:
                    result, told = pipeline.result(served.plan, post, reply, call)
                elif (opened := pipeline.opened(served.plan, post, reply, call)) is not None:
                    result, told = await choice.opened(*opened), None
                    if result is None:
                        choice.take_back(pipeline.messages_as_sent(call))
                        return await stock(choice)
                else:
                    result = told = None
                if result is None and (error := pipeline.error(served.plan, post, reply, call)) is not None:
                    choice.take_back(pipeline.messages_as_sent(call))
                    choice.fail(error)
                    pipeline.gate.serve()
                    return await stock(choice)
                if result is None or (post.opening is None and _is_blocked(result)):
                    choice.take_back(pipeline.messages_as_sent(call))
                    with pipeline.handing_over(served.plan, post, reply, call, choice.uncount) as replay:
                        result = replay.result = await stock(choice)
                    return result
            except asyncio.CancelledError:
                await choice.cancel()
                raise
            finally:
                choice.release()
            tell = None if told is None else told.adispatch if is_async else told.dispatch
            passage.made(result, told, tell)
            if post.log is not None:
                post.log.after(post.body, reply)
            if tell is not None:
                tell()
            elif is_async and post.opening is None:
                pipeline.unheard.note()
        choice.succeed(served.model)
        await choice.report(served, result)
        if post.log is not None:
            post.log.last(post.body, reply)
        known.finish(choice.core, choice.group, result)
        pipeline.gate.serve()
        return result

    async def _is_free(self, choice: Choice) -> bool:
        """Return whether the chosen deployment may be called; whoever counts calls by that has counted this one."""
        if choice.limit is not None and choice.limit.in_flight >= choice.limit.max_parallel_requests:
            self.pipeline.gate.decline(decline.DEPLOYMENT_FULL)
            return False
        if self.pipeline.environment.listeners.checking and not await choice.check():
            self.pipeline.gate.decline(decline.DEPLOYMENT_FULL)
            return False
        return True

    def _admit(
        self, core: Any, args: tuple[Any, ...], kwargs: dict[str, Any], started: float, is_async: bool
    ) -> tuple[CoreState, Call, dict[str, Any]] | None:
        """Return what is known of the core and of the call, and what is asked of the core; None to decline."""
        pipeline = self.pipeline
        if not pipeline.proof.is_known or len(args) > 2:
            return None  # the core's attempts come by LiteLLM's functions
        try:
            request = {**kwargs, **dict(zip(("model", "messages"), args, strict=False))}
            model, messages = request.get("model"), request.get("messages")
            if len(request) != len(kwargs) + len(args) or type(model) is not str:
                return None
            passed = {name: value for name, value in kwargs.items() if name not in ("model", "messages")}
            if not CREDENTIALS.isdisjoint(passed) or any(passed.get(name, _ABSENT) is None for name in BUCKETS):
                return None
            if self.pipeline.environment.litellm.cache is not None:
                return None
            known = self.cores.state_of(core)
            if known.reason is not None:
                return None
            call = pipeline.parse_call("arouter" if is_async else "router", (model, messages), passed, started)
            if call is None:
                return None
            known.forgotten = pipeline.forget(known.plans, known.forgotten)
            if not known.plans and not pipeline.should_record(call):
                return None
            return known, call, {**request, "stream": request.get("stream", False)} if is_async else request
        except Exception as error:
            pipeline.gate.fault(error)
            return None

    def _plan(self, known: CoreState, call: Call, choice: Choice) -> Any:
        """Return what serves calls like this one by the chosen deployment, ``LEARN``, or None to leave it to stock."""
        if not choice.is_first:
            self.pipeline.gate.decline(decline.CHOICE_WRITES)
            return None
        params = choice.deployment["litellm_params"]
        limits = call.kwargs, params, known.defaults
        limit = next((found for held in limits if (found := held.get("max_tokens")) is not None), None)
        reason = self.pipeline.token_limits.reason(params["model"], call.messages, limit)
        if reason is not None:
            self.pipeline.gate.decline(reason)
            return None
        served = self.pipeline.lookup_plan(known.plans, _place(call, choice), call)
        if type(served) is CorePlan and not served.is_of(choice.deployment):
            self.pipeline.gate.decline(decline.DEPLOYMENT_CHANGED)
            return None
        return served

    def _watching(self, known: CoreState, call: Call, choice: Choice) -> Any:
        place = _place(call, choice)
        deployment, core = choice.deployment, choice.core
        params = deployment["litellm_params"]
        check = None
        slot = known.plans.get(place)
        if slot is not None and slot.state is State.PROVING:
            check = Bookkeeping(self._running, known, core, choice.group, call, slot.made, deployment, choice.is_async)
        served = functools.partial(CorePlan, self.cores, core, deployment, choice.group)
        return self.pipeline.watching(
            known.plans, place, call, params.get("extra_headers") or (), served, params, check
        )

    def _again(
        self,
        core: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        choice: Choice,
        plan: chat.Plan,
        post: Any,
        call: Call,
        reply: Any,
    ) -> tuple[Any, Any, Any]:
        """Return what stock is called with to meet the ``reply`` to ``call`` after a fault, and in which context."""
        choice.take_back(self.pipeline.messages_as_sent(call))
        return (core, args, kwargs, choice), {}, self.pipeline.meeting(plan, post, reply, choice.uncount)


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

    def __init__(self) -> None:
        self.stock = seams.CoreSteps()
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
            for key, value in values.items()
            if key not in _DERIVED.get(name, ()) and key not in _MADE_OF_THESE
        }
        self._caches = [cache, *(vars(core._cache).get(name) for name in ("in_memory_cache", "redis_cache"))]
        self._deployments = core._handle.deployments()
        self.defaults = core._endpoints.default_litellm_params(core._resolved)
        self.stock = stock
        self._documents: dict[Any, tuple[int, Any]] = {}
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
            or (key in _WRITTEN_ANEW.get(name, ()) and _is_equal(before, vars(owners[name]).get(key, _ABSENT)))
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

        What the core is told of a call depends on what that passes besides texts. Some calls of a kind have shown it.
        """
        place = call.key, *call.free.values()
        is_plain = call.conversation is None and not chat.kinds_of(call.messages) & _TOLD_KINDS
        # Keys do not tell the values of arguments that LiteLLM writes to.
        if not is_plain or not MUTATED_NAMES.isdisjoint(request):
            return core._start(plan, request)  # type: ignore[no-any-return]
        shown, document = self._documents.get(place, (0, None))
        if shown >= CALLS:
            core._sync_routing_state()
            prepared = core._endpoints.prepare(plan, request, request["model"])
            return core._handle.start(plan.endpoint, document), prepared
        started = core._start(plan, request)
        made = core._routing_inputs(plan, request, started[1], request["model"], None)
        if len(self._documents) >= _MAX_KEPT:
            self._documents.clear()
        self._documents[place] = (shown + 1 if shown and made == document else 1), made
        return started  # type: ignore[no-any-return]

    def answer(self, core: Any, step: dict[str, Any]) -> Any:
        """Return the core's answer to a ``step``, where that is in memory alone; ``_ABSENT`` where it must say."""
        op, stock = step["op"], self.stock
        if op == "batch_get" and stock.read_before() is None and stock.usage_read() is None:
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
        return _ABSENT

    def _kept(self, kept: dict[tuple[str, ...], Any], keys: tuple[str, ...], make: Callable[[Any], Any]) -> Any:
        found = kept.get(keys, _ABSENT)
        if found is _ABSENT:
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
            if stock.has_io_limits(deployment):
                return decline.DEPLOYMENT_SETTING.of("input or output limits")
        return None


class CorePlan:
    """The plan of one deployment of a core."""

    cached = None

    def __init__(self, cores: CoreStates, core: Any, deployment: Any, group: str, plan: chat.Plan) -> None:
        if cores.stock.filled_in(deployment, group) is not deployment:
            raise Unrepeatable(decline.DEPLOYMENT_SETTING.of("wildcard"))
        self.plan = plan
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
        return dict.fromkeys(("picks", "calls", "successes"), int(is_async))  # LiteLLM does not count those of threads


class Choice:
    """One call up to the attempt by the deployment that its core has chosen, and on from there."""

    is_async = True

    def __init__(self, known: CoreState, core: Any, request: dict[str, Any], started: float) -> None:
        self.core = core
        self.group: str = request["model"]
        self.limit: Any = None
        self.deployment: Any = None
        self._known = known
        self._stock = known.stock
        self._request = request
        self._started = started
        self._events: list[Any] = []
        self._call: Any = None
        self._prepared: Any = None
        self._step: Any = None
        self._later: Any = _ABSENT
        self._holds = False
        self._is_counted = False
        self._counting: list[Any] = []
        self._counted: tuple[Any, Any, dict[str, Any]] = (None, None, {})
        self._context: contextvars.Context | None = None
        #: The attempt, where strategies know that it has not ended.
        self.attempt: Any = None
        #: A context in which what a strategy picks for the call is held.
        self.scope: Any = self._stock.choosing(core, request) if known.is_measured else contextlib.nullcontext()

    @property
    def has_begun(self) -> bool:
        """Whether the core has begun with the call, which it can go on with."""
        return self._step is not None

    async def pick(self, call: Call) -> bool:
        """Drive the core up to the attempt for ``call``; return whether it has come to one."""
        core, known, plan = self.core, self._known, self._plan
        self._call, self._prepared = known.begun(core, plan, self._request, call)
        self._stock.arm(core._port, plan, self._prepared)
        with self._reading():
            is_chosen = await self._picked()
        if is_chosen and known.is_measured:
            call.reported = _reported(self._prepared)
        return is_chosen

    async def _picked(self) -> bool:
        core, known, plan = self.core, self._known, self._plan
        outcome = None
        while True:
            step = self._step = self._call.next(outcome)
            self._events.extend(step["events"])
            step["events"] = self._events  # of all steps, for LiteLLM's loop if it goes on from this one
            if step["kind"] == "cache":
                found = known.answer(core, step)
                outcome = await self._answered(step) if found is _ABSENT else found
            elif step["kind"] == "pre_route" and not known.routes_before(core, self._request):
                outcome = None
            elif step["kind"] == "pre_route":
                outcome = await core._pre_route(
                    step, self._prepared, self._prepared.get("messages"), None, call_type=plan.endpoint
                )
            elif step["kind"] == "select" and step["stage"] == "callback_filters":
                outcome = await self._filtered(step)
                if outcome is _ABSENT:
                    return False
            elif step["kind"] == "select" and step["stage"] == "strategy":
                outcome = await self._selected(step)
            else:
                break
        if step["kind"] != "attempt":
            return False
        self.deployment = step["deployment"]
        self.limit = self._limit()
        return True

    @property
    def is_first(self) -> bool:
        """Whether the attempt is the first of its call, by the model group that was asked for."""
        step = self._step
        return step["model"] == self.group and all(step[name] == value for name, value in _FIRST.items())

    def begin(self, model: str) -> None:
        """Note what LiteLLM does when the request is about to be sent."""
        self.core.track_deployment_pick(self._step["deployment_id"], self._prepared)
        self.core._endpoints.counters.total_calls[model] += 1
        self._is_counted = True
        self._model = model
        if self.limit is not None:
            self.limit.acquire()
            self._holds = True

    async def check(self) -> bool:
        """Return whether callbacks let the deployment be called, having counted the call; stock meets what they did."""
        refusal = None
        try:
            await self._check()
        except Exception as error:
            refusal = error
        self.core = self._stock.checked(self.core, refusal)
        return refusal is None

    def attempting(self, counting: list[Any]) -> Any:
        """Return a context of the attempt, of which strategies, ``counting``, know that it has not ended."""
        self._counting = counting
        return self._stock.named_attempt() if counting and self.is_async else contextlib.nullcontext()

    def count(self, model: str, call: Call, post: Any) -> None:
        """Let strategies count the ``call`` of ``model``, which is sent now in ``post``."""
        if not self._counting:
            return
        buckets = {name: self._prepared[name] for name in BUCKETS if name in self._prepared}
        told = {
            "litellm_call_id": post.begun.slots["litellm_call_id"],
            "litellm_params": {**buckets, "model_info": self.deployment["model_info"]},
        }
        self._counted = model, call.messages, told
        for strategy in self._counting:
            strategy.log_pre_api_call(*self._counted)
        self._context = contextvars.copy_context()

    def uncount(self, strategy: Any) -> None:
        """Have a ``strategy`` take back that it has counted the call."""
        if self._context is not None and any(strategy is counting for counting in self._counting):
            self._context.run(strategy._settle, self._counted[2])

    def _recount(self) -> None:
        """Have strategies count the call anew, as one of the attempt that is made now."""
        for strategy in self._counting:
            self.uncount(strategy)
            strategy.log_pre_api_call(*self._counted)

    async def cancel(self) -> None:
        """Let the core's strategy know that the attempt is cancelled."""
        if self.attempt is not None:
            await self._stock.release(self.core, self.attempt)

    async def opened(self, stream: Any, arguments: Any) -> Any:
        """Return what the router makes of a ``stream`` that LiteLLM has opened with ``arguments``.

        It gives the deployment's slot back when it ends. Returns None where the first chunk cannot be read, which stock
        is to meet.
        """
        with contextlib.ExitStack() as slot:
            if self._holds:
                slot.callback(self.limit.release)
                self._holds = False
            attempt = self._stock.attempt(self.core, self._plan, self._prepared, self._step, arguments, slot)
            try:
                return await self._wrapped(stream, attempt)
            except Exception as error:
                self.core = self._stock.answering(self.core, self._plan, stream, error, self._recount)
        return None

    def fail(self, error: Exception) -> None:
        """Have LiteLLM's loop, which makes the attempt, meet ``error`` in it."""

        def raises(**arguments: Any) -> NoReturn:
            raise_as_made(error)

        self.core = self._stock.answered(self.core, self._plan, raises)

    def release(self) -> None:
        """Give the deployment's slot back, if it is held."""
        if self._holds:
            self._holds = False
            self.limit.release()

    def succeed(self, model: str) -> None:
        """Count a success."""
        self.core._endpoints.counters.success_calls[model] += 1

    def take_back(self, messages: Any) -> None:
        """Let stock make the attempt, and count it; with these ``messages``, unless None, this once."""
        if self._is_counted:
            self.core._endpoints.counters.total_calls[self._model] -= 1
            # The pick stays counted: LiteLLM counts one whose time it is told.
            self._events = [
                {name: held for name, held in event.items() if name != _PICK_TIME} for event in self._events
            ]
            self._step["events"] = self._events
            self._is_counted = False
        self.release()
        if messages is not None:
            self._later, self._prepared["messages"] = self._prepared["messages"], messages

    async def go_on(self) -> Any:
        """Let LiteLLM's loop go on from the attempt, to the end of the call."""
        result = await self._stock.driven(self.core, self._prepared, self)
        self.core.service_logged(self._plan.endpoint, self._started, time.time(), self._request)
        return result

    def go_on_in_thread(self) -> Any:
        """As ``go_on``, of a call in a thread."""
        return self._stock.driven_in_thread(self.core, self._prepared, self)

    def next(self, outcome: Any) -> Any:
        """Return the core's next step, as its own call does: at first the one that has come, with all events."""
        step, self._step = self._step, None
        if step is not None:
            return step
        if self._later is not _ABSENT:
            self._prepared["messages"], self._later = self._later, _ABSENT
        return self._call.next(outcome)

    async def report(self, served: CorePlan, result: Any) -> None:
        """Tell the core that the attempt has succeeded."""
        outcome = {
            "ok": True,
            "total_tokens": tokens_of(result),
            "blocked": None,
            "deferred": bool(self._request.get("stream")),  # a stream counts its tokens when it ends
            "tracks_usage": self.core.deployment_tracks_usage(served.model_id, served.model),
        }
        step = self._call.next(outcome)
        while step["kind"] == "cache":
            found = self._known.answer(self.core, step)
            step = self._call.next(await self._answered(step) if found is _ABSENT else found)

    @property
    def _plan(self) -> Any:
        return self._stock.plan

    async def _answered(self, step: dict[str, Any]) -> Any:
        """Return LiteLLM's answer to a ``step`` that is about the core's cache."""
        return await self.core._answer_cache(step)

    async def _wrapped(self, stream: Any, attempt: Any) -> Any:
        """Return what LiteLLM makes of a ``stream``, whose first chunk is read now."""
        return await self._stock.wrapped(stream, attempt)

    async def _filtered(self, step: dict[str, Any]) -> Any:
        """Return which candidates LiteLLM's checks leave, ``_ABSENT`` if one refuses the call."""
        if not self._stock.may_filter(self.core):
            return list(dict.fromkeys(step["candidates"])), None
        left, error = await self.core._answer_callback_filters(step, self._prepared, self._prepared.get("messages"))
        return left if error is None else _ABSENT

    async def _selected(self, step: dict[str, Any]) -> Any:
        """Return which of the candidates a strategy picks."""
        return await self.core._answer_select(step, self._prepared, *self._plan.pick_input(self._prepared))

    async def _check(self) -> None:
        """Let callbacks check the deployment. Raises what they raise."""
        await self._stock.check(self.core, self.deployment)

    def _reading(self) -> Any:
        """Return a context in which the core reads what its pick needs."""
        if not self._known.reads_usage:
            return contextlib.nullcontext()
        return self._stock.reading_usage(self.core, self._prepared)

    def _limit(self) -> Any:
        """Return what bounds how many requests the deployment answers at a time, None if nothing does."""
        return self._stock.limit_of(self.core, self.deployment, self._prepared)


class ChoiceInThread(Choice):
    """One in a thread: LiteLLM counts no calls there, has no slots, and asks no checks which candidates are left."""

    is_async = False

    def begin(self, model: str) -> None:
        """Note nothing: LiteLLM does not."""

    def succeed(self, model: str) -> None:
        """Count nothing: LiteLLM does not."""

    @property
    def _plan(self) -> Any:
        return self._stock.plan_in_threads

    async def _answered(self, step: dict[str, Any]) -> Any:
        return self.core._answer_cache_sync(step)

    async def _wrapped(self, stream: Any, attempt: Any) -> Any:
        return self._stock.wrapped_in_thread(stream, attempt)

    async def _filtered(self, step: dict[str, Any]) -> Any:
        return step["candidates"]

    async def _selected(self, step: dict[str, Any]) -> Any:
        return self.core._answer_select_sync(step, self._prepared, *self._plan.pick_input(self._prepared))

    async def _check(self) -> None:
        self._stock.check_in_thread(self.core, self.deployment, self._prepared)

    def _reading(self) -> Any:
        return contextlib.nullcontext()

    def _limit(self) -> Any:
        return None


_PICK_TIME = "pick_seconds"


def _place(call: Call, choice: Choice) -> tuple[Any, ...]:
    """Return where the plan of the chosen deployment for calls like this one is kept."""
    return call.key, choice.deployment["model_info"]["id"], call.reported and call.reported[0]


def _reported(request: dict[str, Any]) -> tuple[str, Any] | None:
    """Return among which metadata the choice has said something of itself, and what."""
    for name in reversed(BUCKETS):
        held = request.get(name)
        if type(held) is dict and REPORT in held:
            return name, held[REPORT]
    return None


def _is_blocked(result: Any) -> bool:
    """Return whether a router takes ``result`` for one that a provider's content filter has stopped."""
    return not result.choices or result.choices[0].finish_reason == "content_filter"
