"""One call of a router's core, driven as LiteLLM's loop does up to the attempt by the deployment chosen, and on."""

from __future__ import annotations

import contextlib
import contextvars
import time
from typing import Any, NoReturn

from litellm_accel.fastpath.completion import raise_as_made
from litellm_accel.fastpath.core_states import ABSENT, CorePlan, CoreState
from litellm_accel.fastpath.notify.call_diff import REPORT
from litellm_accel.fastpath.pipeline import Call
from litellm_accel.fastpath.router import BUCKETS
from litellm_accel.fastpath.router_state import tokens_of

# The members of an attempt's step that say that it is the first of its call, and what they hold then.
_FIRST = {"retry": 0, "fallback_depth": 0, "fallback_level": 0, "params": None}
_PICK_TIME = "pick_seconds"


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
        self._later: Any = ABSENT
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
                outcome = await self._answered(step) if found is ABSENT else found
            elif step["kind"] == "pre_route" and not known.routes_before(core, self._request):
                outcome = None
            elif step["kind"] == "pre_route":
                given = plan.pick_input(self._prepared)
                outcome = await core._pre_route(step, self._prepared, *given, call_type=plan.endpoint)
            elif step["kind"] == "select" and step["stage"] == "callback_filters":
                outcome = await self._filtered(step)
                if outcome is ABSENT:
                    return False
            elif step["kind"] == "select" and step["stage"] == "embedding_batch":
                outcome = step["candidates"]  # none has a limit, see ``limits_of``
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
        if self._stock.chats and self.is_async:
            self.core.track_deployment_pick(self._step["deployment_id"], self._prepared)
        if self._plan.total_key is not None:
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
        if self._plan.success_key is not None:
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
            subject = self._plan.named[0]
            self._later, self._prepared[subject] = self._prepared[subject], messages

    async def go_on(self) -> Any:
        """Let LiteLLM's loop go on from the attempt, to the end of the call."""
        result = await self._stock.driven(self.core, self._prepared, self)
        if self._stock.chats:
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
        if self._later is not ABSENT:
            self._prepared[self._plan.named[0]], self._later = self._later, ABSENT
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
            step = self._call.next(await self._answered(step) if found is ABSENT else found)

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
        """Return which candidates LiteLLM's checks leave, ``ABSENT`` if one refuses the call."""
        if not self._stock.may_filter(self.core):
            return list(dict.fromkeys(step["candidates"])), None
        left, error = await self.core._answer_callback_filters(step, self._prepared, self._prepared.get("messages"))
        return left if error is None else ABSENT

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
    """One in a thread: LiteLLM has no slots there, and asks no checks which candidates are left."""

    is_async = False

    def _recount(self) -> None:
        """Leave the call counted as it is: LiteLLM does not tell attempts apart, and one that failed may have ended."""

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


def _reported(request: dict[str, Any]) -> tuple[str, Any] | None:
    """Return among which metadata the choice has said something of itself, and what."""
    for name in reversed(BUCKETS):
        held = request.get(name)
        if type(held) is dict and REPORT in held:
            return name, held[REPORT]
    return None
