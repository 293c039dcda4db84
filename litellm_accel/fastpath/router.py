"""``Router.completion`` and ``Router.acompletion`` by way of the fast path.

The router's own methods choose the deployment, and each deployment has its own plan. A call that stock must finish
after the choice is stock's call on a ``pinned`` router, which chooses the same deployment first.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from types import FunctionType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.notify.call_diff import REPORT
from litellm_accel.fastpath.passage import Passage
from litellm_accel.fastpath.pipeline import LEARN, Call, Pipeline
from litellm_accel.fastpath.plans.maker import without_routers
from litellm_accel.fastpath.plans.proof import Differs
from litellm_accel.fastpath.plans.templates import InconclusiveRecording
from litellm_accel.fastpath.router_state import CREDENTIALS, RoutedPlan, RouterState, RouterStates
from litellm_accel.fastpath.transport import outbound
from litellm_accel.hot import chat
from litellm_accel.stock import seams

if TYPE_CHECKING:
    from litellm_accel.fastpath.core_states import CorePlan, CoreState

# Where LiteLLM keeps its notes of a call.
BUCKETS = ("metadata", "litellm_metadata")
_ABSENT: Any = object()
# Headers that say what other calls have left.
_REMAINING = "x-ratelimit-remaining-"
# What a call in a thread was given: the router, the model, the messages, and what it passes by name.
Given = tuple[Any, str, Any, dict[str, Any]]


class RouterHandler:
    """Serves a router's call or leaves it to ``stock`` or ``astock``, the router's own methods.

    ``_acompletion`` and ``_completion`` stand side by side, although a generator of steps driven by a loop for each
    would cost 0.5 us a call. They share few steps as they are: only event loops have slots of deployments, a cache of
    answers and routers that share their counts, and they count attempts where threads do not, as stock does. Each step
    would ask which half runs it, and faults, cancellation and tracebacks would pass through the driver.
    """

    stock: FunctionType
    astock: FunctionType

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.routers = RouterStates()
        self._running = RunningCalls()

    async def acompletion(self, router: Any, model: str, messages: Any, stream: bool = False, /, **kwargs: Any) -> Any:
        """Serve ``Router.acompletion``."""
        passage = Passage(self.astock, self.pipeline.gate.fault)
        self._running.add(passage)
        try:
            return await self._acompletion(passage, router, model, messages, stream, kwargs)
        except BaseException as error:
            if passage.passes(error):
                raise
        finally:
            self._running.discard(passage)
        return await passage.aresume(router, model, messages, stream, **kwargs)

    async def _acompletion(
        self, passage: Passage, router: Any, model: str, messages: Any, stream: bool, kwargs: dict[str, Any]
    ) -> Any:
        pipeline, stock = self.pipeline, passage.arun
        args = (model, messages, stream)
        started = time.time()
        passed = {**kwargs, "stream": stream} if stream else kwargs
        admitted = self._admit("arouter", router, model, messages, passed, started) if pipeline.open() else None
        if admitted is None:
            return await stock(router, *args, **kwargs)
        known, call = admitted
        request = _request(model, messages, kwargs, stream=stream)
        size = _size(request)
        deployment = None
        with contextlib.suppress(Exception):  # stock meets the same error, words it and falls back
            deployment = await router.async_get_available_deployment(
                model=model, messages=messages, specific_deployment=None, request_kwargs=request
            )
        if deployment is None:
            pipeline.gate.decline(decline.NO_DEPLOYMENT)
            return await stock(router, *args, **kwargs)
        call.reported = _reported(request)
        routed = self._plan(known, call, deployment, request, size)
        if routed is LEARN:
            pinned = self.routers.pinned(router, deployment, call.reported)
            with self._watching(router, known, call, deployment, model, is_async=True) as recording:
                result = recording.result = await recording.trace.arun(stock(pinned, *args, **kwargs))
            return result
        if routed is None:
            return await stock(self.routers.pinned(router, deployment, call.reported), *args, **kwargs)
        plan = routed.plan
        limit = router._get_client(deployment, request, "max_parallel_requests")
        post, checked = None, False
        if limit is not None and limit.in_flight >= limit.max_parallel_requests:
            pipeline.gate.decline(decline.DEPLOYMENT_FULL)
        elif await self._achecked(deployment):
            checked = True
            if await self._is_due(routed, call):
                post = pipeline.ready(outbound.aprepare, plan, call)
        if post is None:
            with pipeline.connecting(plan):
                pinned = self.routers.pinned(router, deployment, call.reported, checked=checked)
                return await stock(pinned, *args, **kwargs)
        passage.begins(post.undo)
        router._track_deployment_metrics(deployment=deployment, parent_otel_span=None)
        router.total_calls[routed.model] += 1
        if limit is not None:
            limit.acquire()
        try:
            if pipeline.environment.listeners.counting:
                await asyncio.sleep(0)  # others choose before this call is counted, as in stock
                self._count(routed, call)
            again = functools.partial(self._again, router, known, routed, call, args, kwargs, post)
            passage.sends(functools.partial(again, tracked=True, checked=True))
            reply = await post.asend()
            if stream:
                opened, told = pipeline.opened(plan, post, reply, call), None
                result = opened and await self._aopened(router, messages, opened, limit)
                limit = limit if result is None else None
            else:
                result, told = self._result(router, model, plan, post, reply, call, request)
            if result is None:
                router.total_calls[routed.model] -= 1  # stock counts it again
                pinned = self._as_sent(router, known, routed, call, limit=limit, tracked=True, checked=True)
                limit = None
                with pipeline.handing_over(plan, post, reply, call) as replay:
                    result = replay.result = await stock(pinned, *args, **kwargs)
                return result
        finally:
            if limit is not None:
                limit.release()
        passage.made(result, told, None if told is None else functools.partial(routed.dispatch, told, told.adispatch))
        if call.lookup is not None:
            await call.lookup.keep(result)
        router.success_calls[routed.model] += 1
        if post.log is not None:
            post.log.after(post.body, reply)
        if not known.shares:
            routed.count(router, result)
        if stream:
            routed.mark(result)
        elif told is None:
            pipeline.unheard.note(
                functools.partial(routed.succeed, pipeline.environment.litellm._async_success_callback)
            )
        else:
            routed.dispatch(told, told.adispatch)
        if known.shares:
            await routed.acount(router, model, result)
        if post.log is not None:
            post.log.last(post.body, reply)
        if known.shares:
            await known.afinish(router, model, result)
        else:
            known.finish(router, model, result)
        pipeline.gate.serve()
        return result

    def completion(self, router: Any, model: str, messages: Any, /, **kwargs: Any) -> Any:
        """Serve ``Router.completion``."""
        passage = Passage(self.stock, self.pipeline.gate.fault)
        given = router, model, messages, kwargs
        self._running.add(passage)
        try:
            return self._begun(passage, given)
        finally:
            self._running.discard(passage)

    def _begun(self, passage: Passage, given: Given) -> Any:
        """Return the result of a call of ``completion``."""
        router, model, messages, kwargs = given
        try:
            started = time.time()
            admitted = self._admit("router", router, model, messages, kwargs, started) if self.pipeline.open() else None
            if admitted is None:
                return passage.run(router, model, messages, **kwargs)
        except BaseException as error:
            if passage.passes(error):
                raise
            return passage.resume(router, model, messages, **kwargs)
        if asyncio._get_running_loop() is None:
            return self._guarded(passage, given, admitted)
        with ThreadPoolExecutor(max_workers=1) as thread:  # as stock does in an event loop
            carried = self.pipeline.gate.carried(self._guarded)
            return thread.submit(carried, passage, given, admitted).result()

    def _guarded(self, passage: Passage, given: Given, admitted: tuple[RouterState, Call]) -> Any:
        """Return the result of a call that has been admitted, in a thread without a running event loop."""
        try:
            return self._completion(passage, given, admitted)
        except BaseException as error:
            if passage.passes(error):
                raise
        router, model, messages, kwargs = given
        return passage.resume(router, model, messages, **kwargs)

    def _completion(self, passage: Passage, given: Given, admitted: tuple[RouterState, Call]) -> Any:
        router, model, messages, kwargs = given
        known, call = admitted
        pipeline, stock = self.pipeline, passage.run
        args = (model, messages)
        request = _request(model, messages, kwargs)
        size = _size(request)
        deployment = None
        with contextlib.suppress(Exception):  # stock meets the same error, words it and falls back
            deployment = router.get_available_deployment(
                model=model, messages=messages, specific_deployment=None, request_kwargs=request
            )
        if deployment is None:
            pipeline.gate.decline(decline.NO_DEPLOYMENT)
            return stock(router, *args, **kwargs)
        call.reported = _reported(request)
        routed = self._plan(known, call, deployment, request, size)
        if routed is LEARN:
            pinned = self.routers.pinned(router, deployment, call.reported)
            with self._watching(router, known, call, deployment, model, is_async=False) as recording:
                result = recording.result = recording.trace.run(stock, pinned, *args, **kwargs)
            return result
        post, checked = None, False
        is_checked = model in router.model_names or not router.has_model_id(model)  # not called by an id
        if routed is not None and (not is_checked or self._checked(deployment)):
            checked = is_checked
            post = pipeline.ready(outbound.prepare, routed.plan, call)
        if post is None:
            return stock(self.routers.pinned(router, deployment, call.reported, checked=checked), *args, **kwargs)
        passage.begins(post.undo)
        plan = routed.plan
        stream = plan.opening is not None
        self._count(routed, call)
        again = functools.partial(self._again, router, known, routed, call, args, kwargs, post)
        passage.sends(functools.partial(again, checked=checked))
        reply = post.send()
        if stream:
            opened, told = pipeline.opened(plan, post, reply, call), None
            result = opened and self._opened(router, messages, opened)
        else:
            result, told = self._result(router, model, plan, post, reply, call, request)
        if result is None:
            pinned = self._as_sent(router, known, routed, call, checked=checked)
            with pipeline.handing_over(plan, post, reply, call) as replay:
                result = replay.result = stock(pinned, *args, **kwargs)
            return result
        passage.made(result, told, None if told is None else functools.partial(routed.dispatch, told, told.dispatch))
        if post.log is not None:
            post.log.after(post.body, reply)
        routed.count(router, result)
        if stream:
            routed.mark(result)
        elif told is None:
            routed.succeed(pipeline.environment.litellm.success_callback)
        else:
            routed.dispatch(told, told.dispatch)
        if post.log is not None:
            post.log.last(post.body, reply)
        known.finish(router, model, result)
        asyncio.set_event_loop(None)  # as stock leaves the thread, which has run the call in a loop of its own
        pipeline.gate.serve()
        return result

    def _admit(
        self, kind: str, router: Any, model: str, messages: Any, kwargs: dict[str, Any], started: float
    ) -> tuple[RouterState, Call] | None:
        """Return what is known of the router and of the call, or None to decline."""
        pipeline = self.pipeline
        if not pipeline.proof.is_known:  # the router's attempts come by LiteLLM's functions
            return None
        try:
            if kwargs.get("stream") and seams.routers_read_first_chunks():
                return None  # as above: the router goes on with another deployment if that fails
            if not CREDENTIALS.isdisjoint(kwargs):
                # With those of None as well LiteLLM builds a deployment for one call; who hears of it is not learned.
                given = [name for name in CREDENTIALS.intersection(kwargs) if kwargs[name] is not None]
                if given or pipeline.is_told(kwargs):
                    name = min(given or CREDENTIALS.intersection(kwargs))
                    pipeline.gate.decline(decline.ROUTER_CREDENTIAL.of(name))
                    return None
            if any(kwargs.get(name, _ABSENT) is None for name in BUCKETS):
                pipeline.gate.decline(decline.METADATA_OF_NONE)
                return None
            call = pipeline.parse_call(kind, (model, messages), kwargs, started)
            if call is None:
                return None
            known = self.routers.state_of(router)
            if known is None:
                pipeline.gate.decline(decline.ROUTER_CLASS)
                return None
            reason = known.reason
            if known.shares and kind == "router":
                reason = decline.ROUTER_CACHE
            elif router.cache_responses is not True and pipeline.environment.litellm.cache is not None:
                reason = decline.CACHEABLE  # LiteLLM asks no cache, and keeps the answer in it
            if reason is not None:
                pipeline.gate.decline(reason)
                return None
            known.forgotten = pipeline.forget(known.plans, known.forgotten)
            if not known.plans and not pipeline.should_record(call):
                return None
            return known, call
        except Exception as error:
            pipeline.gate.fault(error)
            return None

    def _plan(
        self, known: RouterState, call: Call, deployment: Any, request: dict[str, Any], size: tuple[int, ...]
    ) -> Any:
        """Return the deployment's plan, ``LEARN``, or None to leave the call to stock."""
        if _size(request) != size:
            self.pipeline.gate.decline(decline.CHOICE_WRITES)  # the choice has told the rest of the call something
            return None
        limits = call.kwargs, deployment["litellm_params"], known.attributes["default_litellm_params"]
        limit = next((found for held in limits if (found := held.get("max_tokens")) is not None), None)
        reason = self.pipeline.token_limits.reason(deployment["litellm_params"]["model"], call.messages, limit)
        if reason is not None:
            self.pipeline.gate.decline(reason)
            return None
        routed = self.pipeline.lookup_plan(known.plans, _place(call, deployment), call)
        if type(routed) is RoutedPlan and not routed.is_of(deployment):
            self.pipeline.gate.decline(decline.DEPLOYMENT_CHANGED)
            return None
        return routed

    async def _is_due(self, routed: RoutedPlan, call: Call) -> bool:
        """Return whether ``call`` is to be sent: the answer is not in LiteLLM's cache."""
        if routed.cached is None:
            return True
        call.lookup = await routed.cached.look_up(call)
        if call.lookup is None:
            self.pipeline.gate.decline(decline.CACHED)
        return call.lookup is not None

    async def _achecked(self, deployment: Any) -> bool:
        """Return whether strategies let ``deployment`` be called, having counted the call; stock is refused again."""
        try:
            for logger in self.pipeline.environment.listeners.checking:
                await logger.async_pre_call_check(deployment, None)
        except self.pipeline.environment.litellm.RateLimitError:
            self.pipeline.gate.decline(decline.DEPLOYMENT_FULL)
            return False
        return True

    def _checked(self, deployment: Any) -> bool:
        """As ``_achecked``, for threads."""
        try:
            for logger in self.pipeline.environment.listeners.checking:
                logger.pre_call_check(deployment)
        except self.pipeline.environment.litellm.RateLimitError:
            self.pipeline.gate.decline(decline.DEPLOYMENT_FULL)
            return False
        return True

    def _count(self, routed: RoutedPlan, call: Call) -> None:
        """Let strategies count a call that is sent now."""
        for logger in self.pipeline.environment.listeners.counting:
            logger.log_pre_api_call(routed.model, call.messages, routed.details)

    def _as_sent(self, router: Any, known: RouterState, routed: RoutedPlan, call: Call, **how: Any) -> Any:
        """Return ``router`` pinned to what ``call`` was sent with, whatever was done to it or the messages since."""
        deployment = routed.as_learned
        with contextlib.suppress(Exception):  # the router is being changed right now
            if self.routers.state_of(router) is known:
                deployment = routed.deployment
        messages = self.pipeline.messages_as_sent(call)
        return self.routers.pinned(router, deployment, call.reported, messages=messages, **how)

    def _again(
        self,
        router: Any,
        known: RouterState,
        routed: RoutedPlan,
        call: Call,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        post: Any,
        reply: Any,
        **how: bool,
    ) -> tuple[Any, Any, Any]:
        """Return what stock is called with to meet the ``reply`` to ``call`` after a fault, and in which context."""
        pinned = self._as_sent(router, known, routed, call, **how)
        return (pinned, *args), kwargs, self.pipeline.meeting(routed.plan, post, reply)

    def _watching(
        self, router: Any, known: RouterState, call: Call, deployment: Any, group: str, *, is_async: bool
    ) -> Any:
        place = _place(call, deployment)
        is_told = self.pipeline.is_told(call.kwargs)
        routed = lambda plan: RoutedPlan(self.routers, router, deployment, group, plan, is_told)  # noqa: E731
        params = deployment["litellm_params"]
        check = None
        slot = known.plans.get(place)
        if slot is not None and self.pipeline.compares(slot):
            check = Bookkeeping(self._running, known, router, group, call, slot.made, deployment, is_async)
        return self.pipeline.watching(
            known.plans, place, call, params.get("extra_headers") or (), routed, params, check
        )

    def _result(
        self, router: Any, group: str, plan: chat.Plan, post: Any, reply: Any, call: Call, request: dict[str, Any]
    ) -> tuple[Any, Any]:
        """Return what the call returns, before the router has added to it, or None if stock must judge the reply.

        And what callbacks are to be told, or None if nobody listens.
        """
        result, told = self.pipeline.result(plan, post, reply, call)
        if result is None:
            return None, None
        try:
            blocked = router._should_raise_content_policy_error(model=group, response=result, kwargs=request)
        except Exception as error:
            self.pipeline.gate.fault(error)
            return None, None
        return (None, None) if blocked else (result, told)

    async def _aopened(self, router: Any, messages: Any, opened: tuple[Any, Any], limit: Any) -> Any:
        """Return the stream that ``router`` makes of an ``opened`` one, None if stock must make it.

        It gives the slot in ``limit`` back when it ends.
        """
        slot = contextlib.AsyncExitStack()
        if limit is not None:
            slot.callback(limit.release)
        stream, again = opened
        try:
            return await router._acompletion_streaming_iterator(
                model_response=stream, messages=messages, initial_kwargs=again, deployment_slot=slot
            )
        except Exception as error:
            self.pipeline.gate.fault(error)
            return None

    def _opened(self, router: Any, messages: Any, opened: tuple[Any, Any]) -> Any:
        """Return the stream that ``router`` makes of an ``opened`` one, None if stock must make it."""
        stream, again = opened
        try:
            return router._completion_streaming_iterator(model_response=stream, messages=messages, initial_kwargs=again)
        except Exception as error:
            self.pipeline.gate.fault(error)
            return None


class RunningCalls:
    """The calls of routers that have begun and have not ended."""

    def __init__(self) -> None:
        self._calls: set[Passage] = set()
        self._numbers = itertools.count(1)
        self._last = 0  # the number of the call that has begun last

    def add(self, call: Passage) -> None:
        """Note that ``call`` begins."""
        self._last = next(self._numbers)
        self._calls.add(call)

    def discard(self, call: Passage) -> None:
        """Note that ``call`` has ended."""
        self._calls.discard(call)

    def alone(self) -> Callable[[], bool]:
        """Return what tells whether one call alone has been running since, and no other has come and gone."""
        was_alone, since = len(self._calls) == 1, self._last
        return lambda: was_alone and self._last == since


class Bookkeeping:
    """What a router counts of a call that is compared, and adds to its result, see ``comparison``.

    Where others of the ``running`` calls are routers', too, or other processes count in the same Redis, it may count
    more meanwhile.
    """

    def __init__(
        self,
        running: RunningCalls,
        known: RouterState | CoreState,
        router: Any,
        group: str,
        call: Call,
        routed: RoutedPlan | CorePlan,
        deployment: Any,
        is_async: bool,
    ) -> None:
        self._known = known
        self._router = router
        self._group = group
        self._call = call
        self._deployment = deployment
        self._is_async = is_async
        self._is_alone = running.alone()
        self._period = routed.period(router)
        self._before = routed.counts(router)

    def __call__(self, routed: RoutedPlan | CorePlan, result: Any, lookup: Any) -> None:
        """Raise ``Differs`` if the fast path would count, add or look up something else, ``InconclusiveRecording`` if
        that cannot be told."""
        if (lookup is None) is not (routed.cached is None):
            raise Differs("whether the cache is asked")
        if routed.cached is not None:
            routed.cached.require(lookup, self._call)
        is_over = self._period is not None and routed.period(self._router) != self._period
        if is_over or not routed.is_of(self._deployment):
            raise InconclusiveRecording(decline.DEPLOYMENT_OR_MINUTE)
        is_alone = self._is_alone() and not self._known.shares
        now = routed.counts(self._router)
        for name, count in routed.counted_for(result, self._is_async).items():
            counted = now[name] - self._before[name]
            if counted < count or (counted > count and is_alone):
                raise Differs(f"{name} that the router counts")
        found = result._hidden_params["additional_headers"].copy()
        own = SimpleNamespace(_hidden_params={"additional_headers": without_routers(found)})
        self._known.finish(self._router, self._group, own)
        made = own._hidden_params["additional_headers"]
        for one, two in zip_longest(made.items(), found.items(), fillvalue=("", None)):
            if one != two and (is_alone or one[0] != two[0] or not one[0].startswith(_REMAINING)):
                raise Differs(f"response header {(one[0] or two[0])!r}")


def _request(model: str, messages: Any, kwargs: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return what stock tells its choice of a deployment about a call. The caller's own dictionaries are copied."""
    request = {**kwargs, "model": model, "messages": messages, **more}
    for name in BUCKETS:
        if name in request:
            request[name] = request[name].copy()
            request[name].pop(REPORT, None)  # an earlier choice's
    request["metadata"] = {**request.get("metadata", {}), "model_group": model, "model_group_alias": None}
    return request


def _place(call: Call, deployment: Any) -> tuple[Any, ...]:
    """Return where the plan of ``deployment`` for calls like this one is kept."""
    return call.key, deployment["model_info"]["id"], call.reported and call.reported[0]


def _reported(request: dict[str, Any]) -> tuple[str, Any] | None:
    """Return among which metadata the choice has said something of itself, and what; take it from there."""
    for name in reversed(BUCKETS):
        if name in request and REPORT in request[name]:
            return name, request[name].pop(REPORT)
    return None


def _size(request: dict[str, Any]) -> tuple[int, ...]:
    return len(request), len(request["metadata"]), len(request.get("litellm_metadata", ()))
