"""Compares one call that stock serves with what the fast path would have done, see ``proof``."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import orjson

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.decline import Why
from litellm_accel.fastpath.known_names import MUTATED_NAMES
from litellm_accel.fastpath.notify import call_diff
from litellm_accel.fastpath.notify.log_records import told_by_call
from litellm_accel.fastpath.plans import argument_writes, outlines, recorder
from litellm_accel.fastpath.plans.maker import masked, way_of
from litellm_accel.fastpath.plans.proof import Differs
from litellm_accel.fastpath.plans.recorder import Recording, Sent
from litellm_accel.fastpath.plans.slot import PlanSlot
from litellm_accel.fastpath.plans.snapshots import (
    SnapshotNode,
    equivalent,
    take_snapshot,
    where,
    without_nodes,
)
from litellm_accel.fastpath.plans.templates import InconclusiveRecording, Unrepeatable, state
from litellm_accel.fastpath.streams import opener
from litellm_accel.fastpath.transport import outbound
from litellm_accel.fastpath.transport.cookies import ClientCookies

Check = Callable[[Any, Any, Any], None]

# Headers that aiohttp adds.
_AIOHTTPS = frozenset(("accept", "accept-encoding", "connection", "content-length", "cookie", "host", "user-agent"))


class Comparison(Recording):
    """Script: a recording of one call, beside which the fast path computes what it would have done."""

    def __init__(self, pipeline: Any, plan: Any, call: Any, is_routed: bool) -> None:
        kwargs = call.kwargs
        streams = bool(kwargs.get("stream"))
        is_told = pipeline.is_told(kwargs)
        super().__init__(argument_writes.CallSnapshots(call.messages, kwargs) if is_told else None, streams)
        self.trace.end()  # what such calls run through was seen when they were learned
        self._pipeline = pipeline
        self._plan = plan
        self._call = call
        self._is_routed = is_routed  # a router adds to what it gets
        self._since = pipeline.environment.changes
        self._loop = asyncio._get_running_loop()
        self._messages, self._arguments = self._given()
        self._body = b""
        self._post: Any = None
        self._returned: Any = None  # the state of the result before anybody could change it
        self._told: Any = None  # what is handed to those who are told of it
        self.made: Any = None
        self.outline: outlines.Outline = {}  # of the reply

    def _given(self) -> tuple[Any, Any]:
        """Return pictures of what the caller holds."""
        call = self._call
        others = {
            name: value for name, value in call.kwargs.items() if name != "messages" and name not in MUTATED_NAMES
        }
        return take_snapshot(call.messages), take_snapshot(others)

    def take(self, request: httpx.Request) -> None:
        """Let the request pass, and make the fast path's own at the same moment."""
        super().take(request)
        if self._post is not None:
            return
        plan, call = self._plan, self._call
        messages = call.encoded
        if call.conversation is not None:
            own = without_nodes(self._messages)
            messages = plan.rewriting.written(self._pipeline.read_again(call, own))
            self._messages = take_snapshot(own)  # as they are left
        self._body = plan.body(messages, call.free)
        if "head" in plan.request:
            self._post = outbound.post_in(self._loop, plan, self._body, call.free)
        else:
            self._post = outbound.aprepare(plan, self._body, call.free)

    def note(self, logging: Any, result: Any) -> None:
        """Keep what the call has come to, as it is before callbacks may change it."""
        super().note(logging, result)
        if self.live and not self.streams:
            self._returned = state(masked(result))

    def tell(self, logging: Any, result: Any) -> None:
        """Keep what is handed to those who are told of the call."""
        if self.pictures is not None and not self.streams and self._told is None:
            self._told = take_snapshot(vars(logging)), state(masked(result))

    def forget(self) -> None:
        """Let go of all."""
        super().forget()
        self._told = None
        self._post = self._returned = self._messages = self._arguments = self.made = self._call = None

    def judge(self) -> Callable[[], None]:
        """Compare what can be seen now, and return what compares the rest, at any time.

        Both raise ``Differs``, or ``InconclusiveRecording`` if the call does not show whether it does.
        """
        if self.fault is not None:
            raise self.fault
        environment, plan = self._pipeline.environment, self._plan
        if environment.met() is not None or self._since != environment.changes or environment.epoch != plan.epoch:
            raise InconclusiveRecording(decline.SETTINGS_CHANGED)
        if len(self.sent) != 1 or not self.listens:
            raise InconclusiveRecording(decline.SEVERAL_REQUESTS)
        sent = self.sent[0]
        if sent.reply.status != 200 or sent.reply.body_error is not None:
            raise InconclusiveRecording(decline.NO_SUCCESS)
        if self._post is decline.NEW_LOOP:
            with contextlib.suppress(Unrepeatable):
                plan.transports[self._loop] = self._pipeline.maker.client(sent.transport, sent.request.url)
        if isinstance(self._post, Why):
            raise InconclusiveRecording(self._post)
        self._judge_request(sent)
        self._require_given()
        rest: Callable[[], None] = self._require_given
        if self.streams:
            self._judge_stream()
        else:
            rest = self._judge_result(sent)
        heard = told_by_call(self, environment.listening)
        if not (plan.log.tells(heard, self._body, sent.reply) if plan.log is not None else not heard):
            raise Differs("log records")
        return rest

    def _require_given(self) -> None:
        """Raise ``InconclusiveRecording`` if the caller has changed what it holds."""
        given = self._given()
        if not all(equivalent(one, two, {}) for one, two in zip((self._messages, self._arguments), given, strict=True)):
            raise InconclusiveRecording(decline.ARGUMENTS_CHANGED)

    def _judge_request(self, sent: Sent) -> None:
        plan, post, request = self._plan, self._post, sent.request
        if request.method != "POST":
            raise Differs("request method")
        way = way_of(sent)
        for name, value in way.items():
            if name not in post.options or post.options[name] != value:
                raise Differs(f"request {name}")
        if "ssl" in plan.request and "ssl" not in way:
            raise Differs("request ssl")
        # A client without cookies is one that stock has made for this call alone.
        if sent.loop is self._loop or type(post.cookies) is ClientCookies:
            held = sent.transport._get_valid_client_session() if sent.options else sent.transport
            if post.transport is not held:
                raise Differs("connection")
        if request.content != self._body:
            what = f"request body {_member(request.content, self._body)!r}"
            raise Differs(what, _read_body(request.content), _read_body(self._body))
        headers = post.options["headers"].raw(self._body, post.cookie)
        header = next((name for name, *_ in _unequal(headers, request.headers.raw)), None)
        if header is not None:
            if header.lower() == b"cookie" and post.cookies.header() != post.cookie:
                raise InconclusiveRecording(decline.COOKIES_CHANGED)
            raise Differs(f"request header {header.decode('latin-1').lower()!r}")
        if sent.head is not None:
            self._judge_head(sent)

    def _judge_head(self, sent: Sent) -> None:
        """Raise ``Differs`` where LiteLLM's transport has sent other headers than it was given."""
        given = sent.request.headers
        for name, value in sent.head.items():
            if given.get(name, value if name.lower() in _AIOHTTPS else None) != value:
                raise Differs(f"request header {name.lower()!r}")
        for name in given:
            if name not in sent.head:
                raise Differs(f"request header {name!r}")

    def _judge_result(self, sent: Sent) -> Callable[[], None]:
        """Return what compares the result, and what callbacks were told, with those of the fast path."""
        plan, pipeline, reply = self._plan, self._pipeline, sent.reply
        answer = plan.answer(reply.status, reply.headers, reply.body)
        if plan.log is not None and not plan.log.fits(reply):
            raise InconclusiveRecording(decline.LOGGED_OTHERWISE)
        if answer is None or (plan.notifier is not None and answer.template not in pipeline.notifiers.texts):
            with contextlib.suppress(Unrepeatable):
                pipeline.maker.extend(plan, reply, self.result, self.text if plan.notifier is not None else None)
            raise InconclusiveRecording(decline.ANSWER_SHAPE)
        self.outline = pipeline.outline_of(answer)
        shown = None
        if plan.notifier is not None:
            shown = call_diff.ObservedCall(self.pictures, self._call.kwargs, self.result, plan, self._read())  # type: ignore[arg-type]
        kept = state(masked(self.result))

        def judge() -> None:
            if shown is None:
                self.made = answer.result(self._call.started, 0.0, lambda made: plan.cost(made, quiet=True))
            else:
                self.made, told = plan.notifier.repeated(shown, answer)
                self._require_told(told, shown)
            self._require_given()
            made = masked(self.made)
            if state(made) != self._returned:
                stock = masked(self.result)
                raise Differs(_result_difference(made, stock), stock.model_dump(), made.model_dump())
            if kept != self._returned:
                if self.pictures is None:
                    raise Differs("result that is changed in the end")
                raise InconclusiveRecording(decline.RESULT_CHANGED)

        return judge

    def _judge_stream(self) -> None:
        shown = opener.ObservedStream(self, self._call.kwargs, self._plan, self._read())
        self._plan.opening.prove(shown, self, self._post.options, self._body, self._post.client)
        if self._is_routed:
            return
        kept = shown.told_state()
        shown.pictures.open(self.stream, None)
        now = opener.ObservedStream(self, self._call.kwargs, self._plan, self._read()).told_state()
        if not equivalent(now, kept, {}):
            raise Differs(f"stream, {where(now, kept)!r}")

    def _require_told(self, made: SnapshotNode, shown: call_diff.ObservedCall) -> None:
        """Raise ``Differs`` unless ``made`` is what the call has ``shown``, and what was handed on in the end."""
        argument_writes = shown.told_state()
        pairs = [(made.items[0], argument_writes.items[0]), (made, argument_writes)]
        if self.sent[0].options or recorder.sees_submission():
            if self._told is None or self._told[1] != self._returned:
                raise Differs("result that callbacks are told")
            pairs.append((shown.state, self._told[0]))
        for one, two in pairs:
            if not equivalent(one, two, {}):
                raise Differs(f"what callbacks are told, {where(one, two)!r}")

    def _read(self) -> call_diff.ReadMessages:
        return None if self._call.conversation is None else self._pipeline.told_by(self._plan.rewriting)


@contextmanager
def comparing(
    pipeline: Any,
    plans: dict[Any, PlanSlot],
    place: Any,
    call: Any,
    check: Check | None = None,
) -> Iterator[Recording]:
    """Compare the stock call in the block, whose ``result`` is put into the recording, with the plan at ``place``.

    ``check``, given what holds the plan, stock's result and its handler of the cache, raises ``Differs`` or
    ``InconclusiveRecording``.
    """
    slot, shadow = plans[place], pipeline.gate.shadow
    verdict, is_ended = _Verdict(pipeline, plans, place, call, shadow), False
    if not slot.begin_comparison(call.encoded, shadow is not None):
        yield Recording()
        return
    try:
        comparison = verdict.comparison = Comparison(pipeline, slot.plan, call, check is not None)
        with recorder.scripted(comparison):
            yield comparison
        verdict.begin(check)
        if shadow is not None and verdict.is_open:
            is_ended = shadow.later(verdict.end)  # by a thread of its own, or nobody where too many wait
            verdict.is_open = is_ended
    finally:
        if not is_ended:
            verdict.end()


class _Verdict:
    """What comes of one comparison. It ``is_open`` while nothing has shown that the call differs, or shows nothing."""

    def __init__(self, pipeline: Any, plans: dict[Any, PlanSlot], place: Any, call: Any, shadow: Any) -> None:
        self._pipeline = pipeline
        self._plans = plans
        self._place = place
        self._call = call
        self._slot = plans[place]
        self._shadow = shadow
        self._rest: Callable[[], None] | None = None
        self._difference: Differs | None = None
        self.comparison: Comparison | None = None
        self.is_open = False

    def begin(self, check: Check | None) -> None:
        """Compare what must be compared before the call returns."""
        comparison = self.comparison
        assert comparison is not None
        self.is_open = True
        self._rest = self._tried(comparison.judge)
        if self.is_open and check is not None:
            self._tried(lambda: check(self._slot.made, comparison.result, comparison.lookup))

    def end(self) -> None:
        """Compare the rest, and draw the consequences."""
        pipeline, slot = self._pipeline, self._slot
        try:
            if self.is_open and self._rest is not None:
                self._tried(self._rest)
            if self._difference is not None:
                self._differ(self._difference)
            elif self.is_open and not pipeline.proof.is_known and self.comparison is not None:
                slot.note({**self._call.outline(pipeline.proof.clues), **self.comparison.outline})
            if self.is_open:
                pipeline.pauses.end(self._place)
            elif self._difference is None:
                pipeline.pauses.note_vain(self._place)
            if self._shadow is not None and self._difference is None:
                self._shadow.add("equal" if self.is_open else "skipped")
        finally:
            if slot.end_comparison(self._call.encoded, self.is_open, pipeline.proof.is_known):
                pipeline.proof.note(self._place)
                if slot.proven is not None:
                    slot.proven()
            if self.comparison is not None:
                self.comparison.forget()

    def _tried(self, step: Callable[[], Any]) -> Any:
        """Return what ``step`` returns; what it raises closes the verdict."""
        try:
            return step()
        except InconclusiveRecording:
            pass
        except Differs as error:
            self._difference = error
        except Unrepeatable as error:
            self._difference = Differs(str(error))
        except Exception as error:
            self._pipeline.gate.fault(error)
            self._difference = Differs(f"{type(error).__name__} of the fast path's own")
        self.is_open = False
        return None

    def _differ(self, difference: Differs) -> None:
        """Leave calls of this kind to stock; in a shadow once that is over, for until then more are compared."""
        if self._shadow is None:
            self._pipeline.refuse(self._plans, self._place, self._call.key, str(difference))
            return
        self._slot.difference = str(difference)
        others = sorted(self._call.kwargs.keys() - {"messages"})
        given = {"messages": orjson.loads(self._call.encoded), "others": others}
        self._shadow.differs("completion", str(difference), given, difference.stock, difference.accelerated)


def _unequal(ones: list[tuple[bytes, bytes]], twos: list[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the items that are in one of two lists and not in the other, then those at other places."""
    yield from (item for item in ones if item not in twos)
    yield from (item for item in twos if item not in ones)
    yield from (one for one, two in zip(ones, twos, strict=False) if one != two)
    yield from ones[len(twos) :] + twos[len(ones) :]


def _member(one: bytes, two: bytes) -> str:
    """Return the name of the first member in which two request bodies differ."""
    try:
        members = json.loads(one), json.loads(two)
        return where(*members) or "spelling"
    except ValueError:
        return "JSON"


def _read_body(body: bytes) -> Any:
    """Return what is in a request's body."""
    try:
        return json.loads(body)
    except ValueError:
        return None


def _result_difference(made: Any, stock: Any) -> str:
    """Return in words in what two results differ."""
    place = where(made, stock)
    head, _, rest = place.partition(".")
    if head != "_hidden_params":
        return f"result {place!r}"
    return "price" if rest == "response_cost" else f"hidden parameter {rest!r}"
