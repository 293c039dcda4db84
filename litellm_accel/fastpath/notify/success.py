"""What LiteLLM tells callbacks of a successful call, for calls that the fast path serves.

LiteLLM keeps all it knows of a call in a ``Logging`` object, and its success handlers make of that what callbacks
receive. The fast path makes such an object, in the state in which stock would have it when the call succeeds, and
leaves the rest to those handlers. What that state is, is learned from two calls that stock was watched serving: what is
the same object in both is shared, what is equal is made afresh for each call, and what differs must be one of the few
things that the fast path knows of a call.
"""

from __future__ import annotations

import contextvars
import datetime
import importlib
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.notify.call_diff import (
    CACHE_KEY,
    CALL_ID,
    FRESH_ID,
    HEADERS,
    LOGGING,
    RECEIVED,
    REPORT,
    TAGS,
    TEXT,
    TRACE_ID,
    CallDiff,
    ObservedCall,
)
from litellm_accel.fastpath.notify.logging_object import fed_class
from litellm_accel.fastpath.notify.message_copies import copied
from litellm_accel.fastpath.notify.payload import Payloads, Sources
from litellm_accel.fastpath.notify.rates import UnknownPrice, extra, note_found, note_time, rates_of
from litellm_accel.fastpath.notify.success_notes import SuccessNotes
from litellm_accel.fastpath.notify.told_callbacks import ToldCallbacks
from litellm_accel.fastpath.plans.argument_writes import ArgumentWrites, Path, at, undo
from litellm_accel.fastpath.plans.proof import Proof, Trial
from litellm_accel.fastpath.plans.snapshots import (
    SnapshotNode,
    equivalent,
    take_snapshot,
)
from litellm_accel.fastpath.plans.templates import HIDDEN, Unrepeatable
from litellm_accel.hot import chat, template
from litellm_accel.stock import seams

_MAX_TRIES = 32


class NotifierFactory:
    """Makes feeds: with the installed LiteLLM's own ``Logging`` class and the way it hands events to its workers.

    What two calls show is read by ``diff_class``.

    ``texts`` maps each template of a response to what makes the text of an answer that LiteLLM keeps, or to None if it
    keeps the response instead; ``fault`` is told of what goes wrong when nobody else is there to hear. ``state``
    returns what stays equal while functions, settings and callbacks do, or None.
    """

    diff_class: ClassVar[type[CallDiff]] = CallDiff

    def __init__(
        self,
        texts: Mapping[Any, Any],
        fault: Callable[[BaseException], None],
        proof: Proof,
        state: Callable[[], Any],
    ) -> None:
        self.utils = importlib.import_module("litellm.utils")
        self.dispatch: Any = getattr(self.utils, "_dispatch_success_logging", None) or getattr(
            self.utils, "dispatch_success_logging", None
        )
        self._logging = importlib.import_module("litellm.litellm_core_utils.litellm_logging").Logging
        #: The method of a ``Logging`` object that prices a result and notes how the price is made up.
        self.calculator = seams.name_of(self._logging, "response_cost_calculator")
        self.fed = fed_class(self._logging, self.calculator, fault, ToldCallbacks(state))
        metadata = importlib.import_module("litellm.litellm_core_utils.llm_response_utils.response_metadata")
        self.timing: Any = getattr(metadata, "response_timing_metrics", None)
        helpers = importlib.import_module("litellm.litellm_core_utils.core_helpers")
        tags = importlib.import_module("litellm.router_strategy.tag_based_routing")
        self.tags: Any = getattr(tags, "get_tags_from_request_kwargs", None) or getattr(
            tags, "_get_tags_from_request_kwargs", lambda *arguments: ()
        )
        # Marks the budget that a proxy has reserved as one that the success callbacks settle.
        self.bind = getattr(helpers, "bind_budget_reservation_to_callbacks", lambda arguments: None)
        self.sources = Sources()
        self.texts = texts
        self.fault = fault
        self.proof = proof

    def notifier(
        self,
        first: ObservedCall,
        second: ObservedCall,
        answer: Any,
        total: Callable[[Any], Any],
        earlier: SuccessNotifier | None,
        refuse: Callable[[str], None],
    ) -> SuccessNotifier:
        """Return what feeds callbacks for calls like these two, proven on the second, which got ``answer``.

        ``total`` prices a result; ``earlier`` is what feeds those from which the second differs in too much;
        ``refuse`` is told of what is found to differ from stock later. Raises ``Unrepeatable``.
        """
        if self.dispatch is None or self.timing is None or not hasattr(self._logging, self.calculator):
            raise Unrepeatable(decline.TOLD_OTHER_RELEASE)
        given = second.given.get(LOGGING)
        if given is not None and type(given) is not self._logging:
            raise Unrepeatable(decline.TOLD_LOGGING_CLASS.of(type(given).__name__))
        pair = self.diff_class(first, second, earlier)
        feed = SuccessNotifier(self, pair, second.result, total, refuse)
        logging, made = feed.again(second, answer)
        answer.result(0.0, 0.0, feed.pricer(logging, None))
        if not equivalent(made(), second.told_state(), {}):
            raise Unrepeatable(decline.TOLD_SOMETHING_ELSE)
        return feed


class Begun:
    """A call that is being sent: the dictionaries and lists in its arguments, and what the fast path knows of it."""

    __slots__ = ("_noted", "done", "objects", "slots")

    def __init__(self, noted: ArgumentWrites, objects: list[Any], slots: dict[str, Any]) -> None:
        self._noted = noted
        self.objects = objects
        self.slots = slots
        self.done = noted.write_early(objects, slots)

    def end(self, sent: float, ended: float) -> None:
        """Note when the request was sent and when its exchange ended (``time.time()``)."""
        earlier = self._noted.earlier(self.objects, "llm_api_timing_windows") or ()
        self.slots["sent"] = datetime.datetime.fromtimestamp(sent)
        self.slots["provider_ms"] = (ended - sent) * 1000
        self.slots["windows"] = (*((float(begin), float(end)) for begin, end in earlier), (sent, ended))

    def cancel(self, sent: float) -> None:
        """Write what LiteLLM notes of a call that is cancelled while it waits for its answer."""
        self.end(sent, time.time())
        self._noted.write_times(self.objects, self.slots)

    def write(self) -> None:
        """Write what LiteLLM notes until the call has succeeded."""
        self.done += self._noted.write_late(self.objects, self.slots)

    def undo(self) -> None:
        """Take back what was written into the arguments: stock will write it."""
        undo(self.done)


class LearnedCall:
    """What LiteLLM holds and notes of one kind of call, as two calls have shown it; open for what belongs to one
    call."""

    #: Slots of what is known of a call when it is sent.
    early: ClassVar[tuple[str, ...]] = ("start", "sent", CALL_ID, TRACE_ID, FRESH_ID, REPORT, LOGGING, CACHE_KEY)

    def __init__(self, feeds: NotifierFactory, pair: CallDiff) -> None:
        self._feeds = feeds
        self._noted = pair.noted
        self._early = pair.learn_early()
        self._noted.learn_late(pair.node)
        self._root = template.Template(pair.node(pair.first.state, pair.second.state, None))
        self._noted.keep(pair.constants)
        self.free: set[Path] = self._noted.free
        self.tries: int = pair.tries
        # With arguments that may vary more than these two do, another call is compared with the first.
        self.shown = pair.first if pair.first.pictures.given.keys or pair.first.plan.free else None
        self._parts = tuple(pair.parts)
        self._lists = tuple(pair.lists)
        self._paths = tuple(pair.paths)
        self._copies = tuple(pair.copies)
        self._needs_id = pair.fresh is not None
        self._blanks = tuple(pair.blanks)
        self._numbered = tuple(f"noted {number}" for number in range(self._noted.count))
        self._values = tuple(pair.values)

    def read(self, arguments: Mapping[str, Any]) -> list[Any] | Path:
        """Return the dictionaries and lists in a call's arguments by number, for ``send``.

        If it differs from those learned from in more than may vary, the place is returned.
        """
        return self._noted.read(arguments)

    def may_widen(self) -> bool:
        """Return whether it is worth another call's learning to let more vary."""
        self.tries += 1
        return self.tries <= _MAX_TRIES

    def send(self, call: Any) -> Begun:
        """Return a ``Call`` that has been read and will be sent now."""
        arguments = call.kwargs
        slots = {
            REPORT: None if call.reported is None else call.reported[1],
            "start": datetime.datetime.fromtimestamp(call.started),
            "sent": datetime.datetime.now(),
            CALL_ID: arguments.get(CALL_ID) or chat.fresh_id(),
            TRACE_ID: arguments.get(TRACE_ID) or chat.fresh_id(),
            CACHE_KEY: None if call.lookup is None else call.lookup.key,
            **self._objects(),
        }
        return self._begin(call.told_messages, arguments, call.objects, slots)

    def _objects(self) -> dict[str, Any]:
        """Return the objects that LiteLLM makes before it sends a request, by slot."""
        return {}

    def _begin(self, messages: Any, arguments: Mapping[str, Any], objects: list[Any], slots: dict[str, Any]) -> Begun:
        """Return a call that will be sent now, with LiteLLM's notes in its arguments; ``slots`` are as far as known."""
        slots.update(zip(self._numbered, objects, strict=True))
        if LOGGING in arguments:
            slots.setdefault(LOGGING, arguments[LOGGING])
        if self._needs_id:
            slots.setdefault(FRESH_ID, chat.fresh_id())
        for slot, kind in self._blanks:
            slots[slot] = kind()
        slots[TAGS] = tuple(self._feeds.tags(objects[0], "metadata"))
        for slot, path in self._values:
            slots[slot] = at(path, objects[0])
        for slot, path in self._paths:
            slots[slot] = at(path, arguments)
        for slot, source, levels in self._copies:
            slots[slot] = copied(slots[source], levels)
        copies: dict[int, list[Any]] = {}
        for slot, told in self._lists:
            slots[slot] = told.made(messages, copies)
        for slot, part in self._parts[: self._early]:
            slots[slot] = part.build([], slots)
        return Begun(self._noted, objects, slots)

    def _end(self, begun: Begun) -> Any:
        """Note in the arguments that a call has succeeded; return what LiteLLM holds of it.

        Nothing mutable is shared but what stock shares.
        """
        slots = begun.slots
        for slot, part in self._parts[self._early :]:
            slots[slot] = part.build([], slots)
        begun.write()
        return self._root.build([], slots)

    def _begun_as(self, shown: ObservedCall) -> Begun:
        """Return a call like the one ``shown``, as if it had come to its end. Nothing of that call's is touched.

        Raises ``Unrepeatable``.
        """
        arguments, messages = shown.pictures.again(shown.given)
        slots = shown.slots()
        if self._needs_id:
            slots[FRESH_ID] = shown.fresh_id
        objects = self.read(arguments)
        if type(objects) is not list:
            raise Unrepeatable(decline.ARGUMENT_PARTS_SHARED)
        try:
            begun = self._begin(
                shown.told(messages), arguments, objects, {name: slots[name] for name in self.early if name in slots}
            )
        except KeyError as error:
            raise Unrepeatable(decline.TOLD_TOO_EARLY.of(str(error))) from None
        begun.slots.update(slots)
        return begun


class SuccessNotifier(LearnedCall):
    """Feeds the callbacks for one kind of call."""

    def __init__(
        self,
        feeds: NotifierFactory,
        pair: CallDiff,
        result: Any,
        total: Callable[[Any], Any],
        refuse: Callable[[str], None],
    ) -> None:
        super().__init__(feeds, pair)
        self._total = total
        self._receives = pair.receives
        self._model = result._hidden_params.get("litellm_model_name")
        self._model_id = result._hidden_params.get("model_id")
        self._kept_in_both = pair.second.kept_in_both
        self._rates = rates_of(pair)
        self._unknown = UnknownPrice()
        self._payloads = Payloads(
            feeds.sources, feeds.fault, bool(pair.first.pictures.given.keys), Trial(feeds.proof, refuse)
        )
        self._notes = SuccessNotes(Trial(feeds.proof, refuse), feeds.fault)

    def again(self, shown: ObservedCall, answer: Any) -> tuple[Any, Callable[[], SnapshotNode]]:
        """Return the ``Logging`` object of a call as ``shown``, not yet priced, and what makes a picture of all it did.

        That has the form of ``ObservedCall.told_state``. Nothing of the call's is touched. Raises ``Unrepeatable``.
        """
        begun = self._begun_as(shown)
        logging = self.open(answer, begun)
        if "zero_cost_warned" in shown.known:
            logging.zero_cost_warned = shown.known["zero_cost_warned"]  # stock has said so
        return logging, lambda: take_snapshot([vars(logging), begun.objects[0]])

    def repeated(self, shown: ObservedCall, answer: Any) -> tuple[Any, SnapshotNode]:
        """Return the result that a call as ``shown`` would get, and what it would leave behind, see ``again``."""
        logging, made = self.again(shown, answer)
        start = shown.slots()["start"]
        result = answer.result(start.timestamp(), 0.0, self.pricer(logging, self._total))
        self._timed(logging, result, start)
        return result, made()

    def open(self, answer: Any, begun: Begun) -> Any:
        """Return a ``Logging`` object in the state of a call that got ``answer``, not yet priced."""
        slots = begun.slots
        slots[HEADERS] = answer.headers
        if self._receives:
            slots[RECEIVED] = answer.received()
        say = self._feeds.texts[answer.template]
        slots[TEXT] = slots.get(TEXT) if say is None else say(answer)
        logging = object.__new__(self._feeds.fed)
        slots.setdefault(LOGGING, logging)
        logging.__dict__ = self._end(begun)
        logging.payloads, logging.routed, logging.ends = self._payloads, None, None
        logging.notes = self._notes
        logging.is_own = slots[LOGGING] is logging
        return logging

    def pricer(
        self, logging: Any, total: Callable[[Any], Any] | None, unknown: UnknownPrice | None = None
    ) -> Callable[[Any], Any]:
        """Return what prices a result and tells ``logging`` how the price is made up.

        ``total`` prices without telling: where tokens at the known rates come to the very same price, they make it up.
        ``unknown`` keeps what LiteLLM says where it has no price.
        """

        rates = self._rates

        def price(result: Any) -> Any:
            made_up = None
            if total is not None and rates is not None and rates.apply(result):
                made_up = rates.made_up(extra(result, "usage"), total(result))
            if made_up is None or rates is None:
                if unknown is not None and unknown.tell(logging, result):
                    return None
                calculate = getattr(logging, self._feeds.calculator)
                cost = calculate(result=result, litellm_model_name=self._model, router_model_id=self._model_id)
                if unknown is not None and cost is None:
                    unknown.learn(logging, result)
                return cost
            logging.cost_breakdown = made_up
            logging.billed_token_rates = rates.billed
            note_found(logging)
            return made_up["total_cost"]

        return price

    def told(self, answer: Any, begun: Begun, started: float, sent: float) -> Notification | None:
        """Return the result of a call with ``answer``, and what callbacks are to be told; None if stock must do that.

        ``started`` is when the call began, ``sent`` when its request was sent (``time.time()``); the answer
        is here now.
        """
        if answer.template not in self._feeds.texts:
            return None
        ended = time.time()
        slots, start = begun.slots, begun.slots["start"]
        begun.end(sent, ended)
        logging = self.open(answer, begun)
        pricer = self.pricer(logging, self._total, self._unknown)
        result = answer.result(started, slots["provider_ms"], pricer)
        end = self._timed(logging, result, start)
        if self._feeds.texts[answer.template] is None:
            logging.model_call_details[TEXT] = result
        return Notification(self._feeds, logging, result, start, end)

    def _timed(self, logging: Any, result: Any, start: datetime.datetime) -> datetime.datetime:
        """Write into ``result`` what LiteLLM does of its times and its identifier; return when the call ended."""
        hidden = result.__pydantic_private__[HIDDEN]
        end = start + datetime.timedelta(milliseconds=hidden["_response_ms"])
        hidden.update(self._feeds.timing(start, end, logging))
        note_time(result, hidden["_response_ms"])
        for name, attribute in self._kept_in_both:
            hidden[name] = getattr(logging, attribute)
        hidden[CALL_ID] = logging.litellm_call_id
        return end


class Notification:
    """One served call: its result, and what its callbacks are told."""

    __slots__ = ("_feeds", "end", "is_told", "logging", "result", "start")

    def __init__(self, feeds: NotifierFactory, logging: Any, result: Any, start: Any, end: Any) -> None:
        self._feeds = feeds
        self.logging = logging
        self.result = result
        self.start = start
        self.end = end
        self.is_told = False  # set by the statement that tells

    def adispatch(self) -> None:
        """Hand the success to LiteLLM's worker for events, and to its threads if there are callbacks for them."""
        arguments = {
            "logging_obj": self.logging,
            "result": self.result,
            "start_time": self.start,
            "end_time": self.end,
            "is_completion_with_fallbacks": False,
            "is_litellm_internal_call": False,
        }
        self.is_told = self._feeds.dispatch(**arguments) is None

    def dispatch(self) -> None:
        """Hand the success to LiteLLM's threads, with the caller's context."""
        context = contextvars.copy_context()
        success = self.logging.success_handler, self.result, self.start, self.end
        self.is_told = self._feeds.utils.executor.submit(context.run, *success) is not None
