"""``Router.completion`` and ``Router.acompletion`` by way of the fast path, where routers are a facade over a core.

The core's own steps choose the deployment and count what has come of a call; they are driven here as LiteLLM's loop
drives them. What LiteLLM does in between is learned from calls that it was watched serving, for each deployment. A call
that is stock's to finish goes on in LiteLLM's loop, with the step that has come.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Callable
from types import FunctionType
from typing import Any, ClassVar

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.completion import CompletionHandler, at_once
from litellm_accel.fastpath.core_choice import Choice, ChoiceInThread
from litellm_accel.fastpath.core_states import ABSENT, CorePlan, CoreState, CoreStates
from litellm_accel.fastpath.passage import Passage
from litellm_accel.fastpath.pipeline import LEARN, Call, Pipeline
from litellm_accel.fastpath.plans.slot import State
from litellm_accel.fastpath.router import BUCKETS, Bookkeeping, RunningCalls
from litellm_accel.fastpath.router_state import CREDENTIALS
from litellm_accel.fastpath.transport import outbound
from litellm_accel.hot import chat


class CoreHandler:
    """Serves a call of a router's core or leaves it to ``stock`` or ``astock``, the core's own methods."""

    stock: FunctionType
    astock: FunctionType
    #: The endpoint of calls in threads, and the argument that comes with each of its calls.
    endpoint: ClassVar[str] = "completion"
    subject: ClassVar[str] = "messages"

    def __init__(self, direct: CompletionHandler) -> None:
        """``direct`` serves the same calls without a router, by plans of its own in the same pipeline."""
        self._direct = direct
        self._running = RunningCalls()

    @property
    def pipeline(self) -> Pipeline:
        """The plans, and how any call is admitted."""
        return self._direct.pipeline

    @functools.cached_property
    def cores(self) -> CoreStates:
        """What is known of routers' cores."""
        return CoreStates(self.endpoint)

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
        passage.begins(post.undo)
        choice.begin(served.model)
        with choice.attempting(pipeline.environment.listeners.counting) as choice.attempt:
            try:
                choice.count(served.model, call, post)
                passage.sends(again)
                reply = await post.asend() if is_async else post.send()
                if post.opening is None:
                    result, told = pipeline.result(served.plan, post, reply, call)
                elif (opened := pipeline.opened(served.plan, post, reply, call)) is not None:
                    if (result := await choice.opened(*opened)) is None:
                        choice.take_back(pipeline.messages_as_sent(call))
                        return await stock(choice)
                    passage.made(result, None)  # its first chunk has been read
                    told = None
                else:
                    result = told = None
                if result is None and (error := pipeline.error(served.plan, post, reply, call)) is not None:
                    choice.take_back(pipeline.messages_as_sent(call))
                    choice.fail(error)
                    pipeline.gate.serve()
                    return await stock(choice)
                if result is None or (post.opening is None and self._is_blocked(result)):
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
            request = {**kwargs, **dict(zip(("model", self.subject), args, strict=False))}
            model, messages = request.get("model"), request.get(self.subject)
            if len(request) != len(kwargs) + len(args) or type(model) is not str:
                return None
            passed = {name: value for name, value in kwargs.items() if name not in ("model", self.subject)}
            if not CREDENTIALS.isdisjoint(passed) or any(passed.get(name, ABSENT) is None for name in BUCKETS):
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
            if is_async and self.cores.stock.chats:
                request = {**request, "stream": request.get("stream", False)}
            return known, call, request
        except Exception as error:
            pipeline.gate.fault(error)
            return None

    def _is_blocked(self, result: Any) -> bool:
        """Return whether a router takes ``result`` for one that a provider's content filter has stopped."""
        return not result.choices or result.choices[0].finish_reason == "content_filter"

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


def _place(call: Call, choice: Choice) -> tuple[Any, ...]:
    """Return where the plan of the chosen deployment for calls like this one is kept."""
    return call.key, choice.deployment["model_info"]["id"], call.reported and call.reported[0]
