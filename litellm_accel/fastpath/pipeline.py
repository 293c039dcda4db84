"""What all entry points of the fast path share: admission, plans, learning from stock, handing over to it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import orjson

from litellm_accel import hot
from litellm_accel.fastpath import decline, passage
from litellm_accel.fastpath.admission import token_limits
from litellm_accel.fastpath.admission.arguments import SHARED, Arguments
from litellm_accel.fastpath.admission.conversations import Conversation, ConversationReader, Rewriting
from litellm_accel.fastpath.admission.environment import Environment
from litellm_accel.fastpath.admission.key_differences import KeyDifferences
from litellm_accel.fastpath.admission.message_rules import ANYTHING, words
from litellm_accel.fastpath.admission.newcomers import Newcomers
from litellm_accel.fastpath.decline import Why
from litellm_accel.fastpath.known_names import EXTRA_BODY
from litellm_accel.fastpath.notify import call_diff, message_copies, success
from litellm_accel.fastpath.notify.log_records import LogTemplates, NotWritable
from litellm_accel.fastpath.notify.unheard import UnheardCalls
from litellm_accel.fastpath.plans import argument_writes, comparison, outlines, recorder
from litellm_accel.fastpath.plans.errors import ErrorMaker
from litellm_accel.fastpath.plans.families import Families
from litellm_accel.fastpath.plans.generalization import Rewritten, generalize
from litellm_accel.fastpath.plans.maker import PlanMaker
from litellm_accel.fastpath.plans.pauses import Pauses
from litellm_accel.fastpath.plans.proof import CALLS, Proof
from litellm_accel.fastpath.plans.recorder import Recording, Replay, Reply
from litellm_accel.fastpath.plans.retries import Retries
from litellm_accel.fastpath.plans.slot import PlanSlot, State
from litellm_accel.fastpath.plans.templates import InconclusiveRecording, Unrepeatable
from litellm_accel.fastpath.response_cache import CONTROLS, Lookup, Miss
from litellm_accel.fastpath.streams import opener, source
from litellm_accel.fastpath.transport import outbound
from litellm_accel.fastpath.transport.client_guard import ClientGuard
from litellm_accel.fastpath.transport.outbound import OutboundRequest
from litellm_accel.hot import chat, variables

_MAX_PLANS = 512
# Kinds of calls that come by no router; who asks for them has LiteLLM's cache asked before.
_DIRECT = ("sync", "async")
# A kind of call that LiteLLM has refused before sending anything is not watched again so soon.
_PAUSE_SECONDS = 10.0


class Pipeline:
    """The plans of direct calls, and how any call is admitted, learned from and handed over.

    A call is known by its *key*: everything it passes but the messages. The first
    call of a key runs on stock, watched: what it sends and returns becomes the key's plan. Later calls are served by
    the plan. Where a reply is not one the plan covers, stock runs the call from its beginning with that reply in place
    of its first exchange, and the fast path learns from it for the next one. While many plans wait for a second call, a
    key must come more often to be learned, see ``newcomers``.

    The values of free arguments are no part of a key, unless they are found to matter: of calls with a key, ``bound``
    has the names of those that are.

    Without a record of ``verify`` a plan serves once it is proven on calls of its key, see ``proof``.
    """

    maker_class: ClassVar[type[PlanMaker]] = PlanMaker
    notifiers_class: ClassVar[type[success.NotifierFactory]] = success.NotifierFactory

    def __init__(self, gate: hot.gate.Gate, proof: Proof) -> None:
        self.gate = gate
        self.proof = proof
        self.environment = Environment()
        self.arguments = Arguments()
        self.maker = self.maker_class()
        self.notifiers = self.notifiers_class(self.maker.texts, gate.fault, proof, self.environment.state)
        self.openings = opener.OpenerFactory(self.notifiers, self.maker.total)
        self.logs = LogTemplates(self.environment.levels, gate.fault)
        self.unheard = UnheardCalls(gate.fault)
        self.plans: dict[Any, PlanSlot] = {}
        self.forgotten = 0
        self.token_limits = token_limits.TokenLimits()
        self.newcomers = Newcomers()
        self.bound: dict[bytes, frozenset[str]] = {}
        self.doubted: dict[bytes, str] = {}
        self.pauses = Pauses()
        self.errors = ErrorMaker()
        self.retries = Retries()
        self._families = Families(self.arguments, CALLS)
        self._differences = KeyDifferences()
        self._reader = ConversationReader()
        self._internal = importlib.import_module("litellm._internal_context").is_internal_call

    # --- admission

    def open(self) -> bool:
        """Return whether this call may be looked at: the fast path is on, and stock is not being watched or
        answered."""
        return self.gate.on and not recorder.playing()

    def parse_call(self, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any], started: float) -> Call | None:
        """Return a call that began at ``started`` (``time.time()``) as the fast path knows it, or None to decline."""
        found = chat.call_key(kind, args, kwargs, self.arguments)
        if found is None:  # whatever the settings are, which take longer to look at
            self.gate.decline(self.arguments.refusal(kind, kwargs))
            return None
        reason: Why | None
        reason, epoch = self.environment.decline_reason(), self.environment.epoch
        self.forgotten = self.forget(self.plans, self.forgotten)
        if reason is None and self._internal.get():
            reason = decline.INTERNAL_CALL
        streaming = bool(kwargs.get("stream"))
        if reason is None and kind in _DIRECT and self._is_counted(kwargs):
            reason = decline.COUNTED_BEFOREHAND
        if reason is None and self.environment.litellm.cache is not None:
            asks = kind == "arouter" and CONTROLS.isdisjoint(kwargs)
            reason = None if (asks or kind in _DIRECT) and not streaming else decline.CACHEABLE
        if reason is None and streaming:
            reason = source.refusal(is_compared=self.gate.shadow is not None)
        if reason is None and kind in _DIRECT and "max_tokens" in kwargs:
            model = args[0] if args else kwargs.get("model")
            reason = self.token_limits.reason(model, chat.messages_of(args, kwargs), kwargs["max_tokens"])
        if reason is None and kind in ("sync", "router"):
            levels = self.environment.levels
            reason = levels.in_streams if streaming else levels.in_threads
        if reason is None:
            messages = chat.messages_of(args, kwargs)
            is_told = self.is_told(kwargs)
            conversation: Conversation | None = None
            encoded = chat.body_of(messages)
            if encoded is None:
                conversation = self._reader.read(messages, len(args) < 2 or kind.endswith("router"))
                if conversation is not None:
                    encoded = conversation.encoded
            if is_told and found[0].startswith(SHARED):
                reason = self.arguments.told(kwargs)
            elif encoded is None:
                reason = decline.MESSAGES
            else:
                key, free = found
                key = b"%d " % epoch + key + self.environment.levels.key
                if is_told:
                    key += message_copies.nested(messages) if conversation is None else conversation.told_key
                call = Call(key, messages, encoded, free, kwargs, started, conversation)
                if free and self.bound:
                    self._bind(call)
                return call
        self.gate.decline(reason)
        return None

    def _bind(self, call: Call) -> None:
        """Take the values that have been found to matter into the key of ``call``."""
        while (names := self.bound.get(call.key)) is not None:
            call.bound |= names
            call.key += b",".join(value for name, value in call.free.items() if name in names)

    def _is_counted(self, kwargs: dict[str, Any]) -> bool:
        """Return whether LiteLLM tells a router's strategy of this call before it is sent; our routers' door does."""
        metadata = kwargs.get("metadata") or kwargs.get("litellm_metadata")
        return bool(self.environment.listeners.counting) and type(metadata) is dict and "model_group" in metadata

    def is_told(self, kwargs: dict[str, Any]) -> bool:
        """Return whether what a call passes is told to somebody: callbacks, its own arguments, or a stream's end."""
        return bool(kwargs.get("stream")) or self.environment.listening or argument_writes.are_in(kwargs)

    def admit(
        self, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any], started: float
    ) -> tuple[Any, Call] | None:
        """Return a direct call, begun at ``started``, with its plan or ``LEARN``, or None to decline."""
        try:
            call = self.parse_call(kind, args, kwargs, started)
            return None if call is None else self.planned(call)
        except Exception as error:
            self.gate.fault(error)
            return None

    def planned(self, call: Call) -> tuple[Any, Call] | None:
        """Return a direct ``call`` with its plan or ``LEARN``, or None to decline."""
        try:
            plan = self.lookup_plan(self.plans, call.key, call)
            return None if plan is None else (plan, call)
        except Exception as error:
            self.gate.fault(error)
            return None

    def lookup_plan(self, plans: dict[Any, PlanSlot], place: Any, call: Call) -> Any:
        """Return what holds the plan at ``place``, ``LEARN`` if this call shall make it, or None to decline."""
        slot = plans.get(place)
        widening = False
        if slot is not None and slot.serving is not None:
            slot, widening = slot.serving, True
        if slot is None or slot.state is State.SEEN_ONCE or self.outdated(slot):
            if self._pauses_at(place) or not self.should_record(call):
                return None
            if len(plans) >= _MAX_PLANS:
                plans.clear()
            epoch = self.environment.epoch
            observed = None
            if slot is not None and slot.state is State.SEEN_ONCE and slot.epoch == epoch:
                observed = slot.observed
            plans[place] = PlanSlot(epoch, observed)
            return LEARN
        if slot.state is State.REFUSED:
            self.gate.decline(slot.reason)
            return None
        if slot.state is State.RECORDING:
            if not slot.record_too(self.is_told(call.kwargs)):
                self.gate.decline(decline.BEING_LEARNED)
                return None
            self.gate.decline(decline.LEARNED_FROM)
            return LEARN
        plan = slot.plan
        fits: bool | None = True
        if call.conversation is not None:
            fits = plan.rewriting.fits(call.conversation)
            if fits is False:
                self.gate.decline(decline.MESSAGE_SHAPE.of(plan.rewriting.odd_role(call.conversation)))
                return None
        elif plan.kinds != ANYTHING and (odd := chat.kinds_of(call.messages) & ~plan.kinds):
            self.gate.decline(decline.MESSAGE_KINDS.of(words(odd)))
            return None
        self.newcomers.came_again(call.key)
        learned = plan.learned
        read = [] if learned is None else learned.read(call.kwargs)
        call.objects = read if type(read) is list else None
        if fits and plan.covers(call.free) and call.objects is not None:
            if self.gate.shadow is not None:
                self.gate.decline(decline.BEING_PROVEN)
                return None if widening else LEARN
            if slot.difference is not None:
                self.refuse(plans, place, call.key, slot.difference)
                return None
            if slot.state is State.READY or self.proof.is_recorded or self._is_settled(slot, place):
                return slot.made
            if self.proof.is_known and slot.has_shown(call.encoded):
                return slot.made
            if not self.proof.is_known and slot.serves(call.outline(self.proof.clues)):
                call.slot, call.place = slot, (plans, place)
                return slot.made
            self.gate.decline(decline.BEING_PROVEN)
            is_wanted = not widening and slot.wants(call.encoded) and not self.pauses.covers(place)
            return LEARN if is_wanted else None
        if widening:
            self.gate.decline(decline.BEING_LEARNED)
            return None
        if learned is not None and not learned.may_widen():
            self.gate.decline(_difference(plan, call, read))
            return None
        if self._pauses_at(place):
            return None
        self.gate.decline(decline.LEARNED_FROM)
        plans[place] = PlanSlot(plan.epoch, None if learned is None else learned.shown, slot)
        return LEARN

    def _is_settled(self, slot: PlanSlot, place: Any) -> bool:
        """Return whether a plan that is being proven is ready, by what other kinds of its family have shown."""
        if not slot.settle(self.proof.is_known):
            return False
        self.proof.note(place)
        if slot.proven is not None:
            slot.proven()
        return True

    def _pauses_at(self, place: Any) -> bool:
        """Return whether a call that would be recorded is left alone, because others have shown nothing."""
        if not self.pauses.covers(place):
            return False
        self.gate.decline(decline.SHOWS_NOTHING)
        return True

    def should_record(self, call: Call) -> bool:
        """Return whether the key of ``call``, which has no plan, is worth one; calls that never come again are not."""
        if not self.newcomers.admits(call.key, functools.partial(self._families.expects, call)):
            self.gate.decline(self._differences.reason(call))
            return False
        self.gate.decline(decline.LEARNED_FROM)
        return True

    def outdated(self, slot: PlanSlot) -> bool:
        """Return whether a slot must be made anew."""
        if slot.epoch != self.environment.epoch:
            return True
        now = time.time()
        # A plan expires at once where it finds itself out of date, like one whose client was changed.
        return slot.expires < now or (slot.made is not None and slot.plan.expires < now)

    def forget(self, plans: dict[Any, Any], since: int) -> int:
        """Drop plans, or what else has an ``epoch``, of settings that will not come back, which only hold what is gone.

        Nothing is to be dropped if as many settings as ``since`` are gone; returns how many are.
        """
        gone = self.environment.gone
        if gone != since:
            for place, slot in plans.copy().items():
                if not self.environment.is_kept(slot.epoch):
                    plans.pop(place, None)
        return gone

    def _is_epoch(self, epoch: int) -> bool:
        """Return whether the fast path is on, and may serve under the settings of this epoch."""
        return bool(self.gate.on and self.environment.decline_reason() is None and self.environment.epoch == epoch)

    # --- learning

    def watching(
        self,
        plans: dict[Any, PlanSlot],
        place: Any,
        call: Call,
        headers: Iterable[str] = (),
        routed: Callable[[Any], Any] | None = None,
        passed: Any = None,
        check: comparison.Check | None = None,
    ) -> contextlib.AbstractContextManager[Recording]:
        """Learn from the stock call in the block, see ``learning``, or compare it, see ``comparison``."""
        if self.compares(plans.get(place)):
            return comparison.comparing(self, plans, place, call, check)
        return self.learning(plans, place, call, headers, routed, passed)

    def compares(self, slot: PlanSlot | None) -> bool:
        """Return whether a watched call whose ``slot`` this is shows whether its plan is equal: it is made already."""
        if slot is None:
            return False
        return slot.state is State.PROVING or (slot.state is State.READY and self.gate.shadow is not None)

    @contextmanager
    def learning(
        self,
        plans: dict[Any, PlanSlot],
        place: Any,
        call: Call,
        headers: Iterable[str] = (),
        routed: Callable[[chat.Plan], Any] | None = None,
        passed: Any = None,
    ) -> Iterator[Recording]:
        """Watch the stock call in the block; its ``result``, put into the recording, becomes the plan at ``place``.

        If there can be none, that is left there. What callbacks are told takes two calls to learn, and so do streams.
        ``headers`` are names of request headers that are the user's own, besides those in the call and in LiteLLM's
        settings, ``passed`` what a router's deployment adds to the call.
        """
        found, kwargs, since = plans.get(place), call.kwargs, self.environment.changes
        # Where somebody has dropped all plans since, one that is in no place.
        if found is not None and found.state in (State.RECORDING, State.REFUSED):
            begun = found
        else:
            begun = PlanSlot(self.environment.epoch)
        streaming = bool(kwargs.get("stream"))
        pictures = argument_writes.CallSnapshots(call.messages, kwargs) if self.is_told(kwargs) else None
        recording = Recording(pictures, streaming)
        recorder.load(self.maker.conversions.get(str(kwargs.get("model")).partition("/")[0]))
        try:
            with recorder.scripted(recording):
                yield recording
        except BaseException as error:
            others = begun.recorded()
            self._leave(plans, place, begun, others, failed=True)
            if not others:
                self.pauses.note_vain(place)
            if isinstance(error, Exception) and not recording.is_sending and found is begun:
                self._pause(plans, place, begun.epoch, call)
            recording.forget()
            raise
        others = begun.recorded()
        try:
            fault = recording.fault or recording.trace.fault
            if fault is not None:
                raise fault
            self.environment.ran(recording.trace)
            ran = recording.trace.functions()
            self.proof.ran(ran)
            is_judged = self.environment.met() is None
            if plans.get(place) is not begun or not (is_judged and self._is_epoch(begun.epoch)):
                raise InconclusiveRecording(decline.SETTINGS_CHANGED)
            if since != self.environment.changes:
                raise InconclusiveRecording(decline.SETTINGS_CHANGED)
            if begun.state is State.REFUSED:
                return
            self.look_for_strangers(recording.trace.stranger, call.key)
            if recording.changed is not None and not streaming:
                self.doubt(decline.CONTEXT, recording.changed, call.key)
            if (changed := call.changed()) is not None:
                raise Unrepeatable(decline.ARGUMENT_REWRITTEN.of(changed))
            given = (headers, kwargs.get("headers"), kwargs.get("extra_headers"), self.maker.litellm.headers)
            added = {name.lower() for names in given for name in names or ()}
            plan = self.maker.plan(
                recording,
                recording.result,
                call.encoded,
                call.free,
                frozenset(added),
                begun.epoch,
                call.conversation,
            )
            if names := self.maker.rewritten(kwargs, recording) - call.bound:
                raise self._told_apart(call.key, names, decline.ARGUMENT_REWRITTEN.of(min(names)))
            plan.log = self.logs.template(recording, plan, (_fixed(call), passed), self.environment.listening)
            serving = begun.serving
            before = serving.plan if serving is not None else begun.observed and begun.observed.plan
            if before is not None:
                self._widen(plan, before, call.key)
                plan.rewriting.take(before.rewriting)
            made: Any = plan if routed is None else routed(plan)
            family = self._families.of(call, made, recording.pictures is not None)
            functions = frozenset(ran)
            family.observe(functions)
            is_admitted = serving is None and self.proof.is_known and family.admits(functions)
            if before is None and is_admitted and family.is_proven:
                family.teach(plan)
            if isinstance(call.lookup, Miss):
                call.lookup.require(recording.lookup)
            elif recording.lookup is not None:
                made.learn_cache(recording.lookup, call)
            elif self.environment.litellm.cache is not None:
                raise Unrepeatable(decline.CACHE_KEY)
            if recording.pictures is not None:
                shown: Any
                read = None if call.conversation is None else self.told_by(plan.rewriting)
                if streaming:
                    shown = opener.ObservedStream(recording, kwargs, plan, read)
                else:
                    shown = call_diff.ObservedCall(recording.pictures, kwargs, recording.result, plan, read)
                if begun.observed is None:
                    begun.observed = shown
                    if not others:
                        plans[place] = PlanSlot.seen_once(begun.epoch, shown)
                    self.pauses.end(place)
                    return
            refuse = functools.partial(self.refuse, plans, place, call.key)
            if streaming:
                body = recording.sent[0].request.content
                are_current = functools.partial(self._is_epoch, plan.epoch)
                opener_before = None if serving is None else serving.plan.opening
                plan.opening = self.openings.opening(
                    begun.observed, shown, recording, body, are_current, opener_before, refuse
                )
            elif recording.pictures is not None:
                reply = recording.sent[0].reply
                answer = plan.answer(reply.status, reply.headers, reply.body)
                assert recording.pricing is not None  # or there is no plan
                total = self.maker.total(recording.pricing)
                earlier = None if serving is None else serving.plan.notifier
                plan.notifier = self.notifiers.notifier(begun.observed, shown, answer, total, earlier, refuse)
            if is_admitted:
                is_foretold = made is plan and self._is_foretold(call, recording)
                family.note(plan, functions, hash(call.encoded), is_foretold=is_foretold)
            slot = self.proof.placed(place, made, serving, family.evidence if is_admitted else None)
            slot.family = family
            if is_admitted:
                family.join(slot)
            plans[place] = slot
            self.pauses.end(place)
            slot.proven = functools.partial(family.learn, plan, functions)
            if slot.state is State.READY:
                slot.proven()
            return
        except InconclusiveRecording as error:
            self.gate.decline(decline.INCONCLUSIVE.of(error.reason))
            self._leave(plans, place, begun, others)
            if not others:
                self.pauses.note_vain(place)
        except NotWritable as error:
            self.gate.decline(error.reason)
            begun.refuse(error.reason)
        except Unrepeatable as error:
            self.gate.decline(decline.UNLEARNABLE.of(error.reason))
            begun.refuse(decline.REFUSED.of(error.reason))
            if begun.serving is not None:
                plans[place] = begun.serving
        except Exception as error:
            self.gate.fault(error)
            begun.refuse()
        finally:
            recording.forget()
        self.newcomers.drop(call.key)

    def _is_foretold(self, call: Call, recording: Recording) -> bool:
        """Return whether earlier calls have foretold all that can be seen of a recorded ``call`` but its request.

        Where others see more of it than its request and its result, that is left to comparisons.
        """
        is_plain = recording.pictures is None and call.conversation is None and self.environment.litellm.cache is None
        return recording.is_foretold and is_plain

    def look_for_strangers(self, stranger: str | None, key: bytes) -> None:
        """Refuse calls with this ``key`` where somebody else's function stands among LiteLLM's, see ``doubt``."""
        if stranger is not None:
            self.doubt(decline.STRANGER, stranger, key)

    def doubt(self, reason: decline.Reason, about: str, key: bytes) -> None:
        """Raise ``InconclusiveRecording`` at the first call with this ``key`` that shows this, then ``Unrepeatable``.

        In the first it may have had to do with what is made once, like a client.
        """
        if self.doubted.get(key) == about:
            raise Unrepeatable(reason.of(about))
        if len(self.doubted) >= _MAX_PLANS:
            self.doubted.clear()
        self.doubted[key] = about
        raise InconclusiveRecording(reason.of(about))

    def _told(self, rewriting: Rewriting, messages: Any) -> Conversation:
        """Return a conversation of which callbacks are told, as it is when it has been sent. Raises
        ``Unrepeatable``."""
        conversation = self._reader.read(messages, True)
        if conversation is None or not rewriting.fits(conversation):
            raise Unrepeatable(decline.TOLD_MESSAGES)
        rewriting.written(conversation)
        return conversation

    def told_by(self, rewriting: Rewriting) -> Callable[[Any], Conversation]:
        """Return what makes of messages that are not of the plainest what callbacks are told of them."""
        return functools.partial(self._told, rewriting)

    def read_again(self, call: Call, messages: Any) -> Conversation:
        """Return ``messages``, which are a call's once more, as its conversation. Raises ``InconclusiveRecording``."""
        conversation = self._reader.read(messages, True)
        if conversation is None or conversation.encoded != call.encoded:
            raise InconclusiveRecording(decline.MESSAGES_CHANGED)
        return conversation

    def refuse(self, plans: dict[Any, PlanSlot], place: Any, key: bytes, difference: str) -> None:
        """Leave calls with this ``key``, whose plan at ``place`` does something otherwise than stock, to stock."""
        epoch, _, kind = key.partition(b" ")
        slot = plans.get(place)
        for one in (slot, slot and slot.serving):
            if one is not None and one.family is not None:
                one.family.spoil()
        plans[place] = PlanSlot.refused(int(epoch), self.proof.refuse(kind, difference))

    def _widen(self, plan: chat.Plan, other: chat.Plan, key: bytes) -> None:
        """Let ``plan`` hold where ``other`` does.

        Raises ``InconclusiveRecording`` if the values of this key's arguments matter, which are told apart from now on,
        and ``Unrepeatable`` if it is not these values that make the difference.
        """
        try:
            generalize(plan, other)
        except Unrepeatable as error:
            names = frozenset(name for name, value in plan.free.items() if value != other.free[name])
            if not names:
                raise
            if isinstance(error, Rewritten):
                names = error.names
            raise self._told_apart(key, names, error.reason) from None

    def _told_apart(self, key: bytes, names: frozenset[str], reason: Why) -> InconclusiveRecording:
        """Tell values of the arguments of these ``names`` apart in calls with this ``key``; return what is to be
        raised."""
        if len(self.bound) >= _MAX_PLANS:
            self.bound.clear()
        self.bound[key] = names
        return InconclusiveRecording(reason)

    def _leave(
        self, plans: dict[Any, PlanSlot], place: Any, begun: PlanSlot, others: int, *, failed: bool = False
    ) -> None:
        """Leave at ``place`` what was there before a call that showed nothing, unless ``others`` are being watched.

        What an earlier call has shown is kept where this one does not contradict it: it ``failed``, or both have been
        watched at the same time.
        """
        if plans.get(place) is not begun:
            return
        if begun.serving is not None:
            plans[place] = begun.serving
        elif not others and begun.state is State.RECORDING:
            plans.pop(place)
            if begun.observed is not None and (failed or begun.is_paired):
                plans[place] = PlanSlot.seen_once(begun.epoch, begun.observed)

    def _pause(self, plans: dict[Any, PlanSlot], place: Any, epoch: int, call: Call) -> None:
        """Do not watch more calls like one that failed before a request left: each would, and cost the watching."""
        self.gate.decline(decline.UNLEARNABLE.of(decline.FAILS_UNSENT))
        self.newcomers.drop(call.key)
        if place not in plans:
            plans[place] = PlanSlot.refused(epoch, decline.FAILS_UNSENT, time.time() + _PAUSE_SECONDS)

    def messages_as_sent(self, call: Call) -> Any:
        """Return the messages that have been sent for ``call``, if its caller has changed them since; else None."""
        with contextlib.suppress(Exception):  # they may be anything now
            if call.conversation is None:
                encoded = chat.body_of(call.messages)
            else:
                conversation = self._reader.read(call.messages, True)
                encoded = None if conversation is None else conversation.encoded
            if encoded == call.encoded:
                return None
        return orjson.loads(call.encoded)

    @contextmanager
    def handing_over(
        self,
        plan: chat.Plan,
        post: OutboundRequest,
        reply: Reply,
        call: Call,
        uncount: Callable[[Any], None] | None = None,
    ) -> Iterator[Replay]:
        """Let the stock ``call`` in the block meet ``reply`` as its first exchange; learn from its ``result``.

        ``uncount`` is as in ``Replay``.
        """
        self.gate.decline(decline.REPLY_LEFT)
        post.undo()
        written = () if post.log is None else post.log.sites
        replay = Replay(str(plan.request["url"]), post.body, reply, written, uncount, post.earlier, post.waited)
        try:
            try:
                with recorder.scripted(replay):
                    yield replay
            except Exception:
                self._check(replay)
                self._learn_failure(plan, post, reply, call, replay)
                raise
            self._check(replay)
            self._learn_failure(plan, post, reply, call, replay)
            if reply.status != 200 or reply.body_error is not None or self.environment.met() is not None:
                return
            try:
                if plan.opening is None:
                    text = replay.text if plan.notifier is not None else None
                    self.maker.extend(plan, reply, replay.result, text)
                    self._agreed(plan, reply, call)
            except Unrepeatable as error:
                if call.place is not None and error.reason is decline.RESULT_DIFFERS:
                    self.refuse(*call.place, call.key, "result of another answer")
                return
            except Exception as error:
                self.gate.fault(error)
        finally:
            replay.forget()

    def _learn_failure(self, plan: chat.Plan, post: OutboundRequest, reply: Reply, call: Call, replay: Replay) -> None:
        """Learn from what stock has raised for a ``reply``, or sent next."""
        client, failure = self._client_of(plan), replay.failure
        if client is None or replay.differs or reply.status == 200:
            return
        try:
            if replay.following is not None and self._may_retry(plan, post, reply):
                if self.retries.is_due(client, post, reply):
                    self.retries.learn(plan, client, post, replay)
            elif failure is not None and self._may_raise(plan, post, call):
                self.errors.learn(plan, client, call, post, reply, failure)
        except Unrepeatable as error:
            self.gate.decline(decline.UNLEARNABLE.of(error.reason))
        except Exception as error:
            self.gate.fault(error)

    def waiting(self, plan: chat.Plan, post: OutboundRequest, reply: Reply, call: Call) -> Callable[[], Any] | None:
        """Return what waits as long as the SDK would before it sends once more what was answered with ``reply``.

        None if it would not, or stock is to.
        """
        if not self._may_retry(plan, post, reply):
            return None
        try:
            client = self._client_of(plan)
            if client is None or not self.retries.serves(plan, client, post, call, self.proof.calls):
                return None
            if not self.retries.is_due(client, post, reply) or chat.read_headers(reply.headers) is None:
                return None
        except Exception as fault:
            self.gate.fault(fault)
            return None
        return functools.partial(self.retries.wait, client, post, reply)

    def next_post(
        self,
        prepare: Callable[[chat.Plan, bytes, dict[str, bytes]], OutboundRequest | Why],
        plan: chat.Plan,
        post: OutboundRequest,
        reply: Reply,
        call: Call,
    ) -> bool:
        """Make ``post``, which was answered with ``reply``, the next request, which ``prepare`` makes ready.

        False leaves it to stock, which need not wait.
        """
        post.waited += 1
        try:
            read = chat.read_headers(reply.headers)
            if read is None:
                return False
            if read[1]:
                post.cookies.store(read[1], reply.headers)
            made = prepare(plan, post.body, call.free)
            if isinstance(made, Why):
                return False
            post.send_again(made, reply)
        except Exception as fault:
            self.gate.fault(fault)
            return False
        return True

    def _may_retry(self, plan: chat.Plan, post: OutboundRequest, reply: Reply) -> bool:
        """Return whether what was answered with ``reply`` may be sent once more here, if the SDK would."""
        is_plain = reply.error is None and reply.body_error is None and reply.live is None
        return is_plain and self.proof.is_known and plan.opening is None and post.log is None

    def error(self, plan: chat.Plan, post: OutboundRequest, reply: Reply, call: Call) -> Exception | None:
        """Return what ``call`` raises for a ``reply`` that is an error, or None if stock must judge it."""
        if reply.status == 200 or not self.errors.serves(plan, reply, self.proof.calls):
            return None
        try:
            client = self._client_of(plan)
            if client is None or not self.proof.is_known or not self._may_raise(plan, post, call):
                return None
            if self.retries.is_due(client, post, reply):  # which stock is to do
                return None
            read = chat.read_headers(reply.headers)
            if read is None:
                return None
            error = self.errors.error(plan, client, call, post, reply)
            if error is not None and read[1]:
                post.cookies.store(read[1], reply.headers)
        except Exception as fault:
            self.gate.fault(fault)
            return None
        return error

    def _may_raise(self, plan: chat.Plan, post: OutboundRequest, call: Call) -> bool:
        """Return whether nobody is told of a failure of ``call``, and LiteLLM does not try again by itself."""
        return (
            (plan.notifier is None or not argument_writes.are_in(call.kwargs))
            and plan.opening is None
            and plan.conversion is None
            and post.log is None
            and call.conversation is None
            and not call.kwargs.get("num_retries")
            and self.environment.litellm.num_retries is None
            and not self.environment.listeners.hear_failures()
            and not self.environment.listeners.counting  # strategies hear that an attempt has failed
        )

    def _client_of(self, plan: chat.Plan) -> ClientGuard | None:
        """Return LiteLLM's client by which calls of ``plan`` are sent here."""
        found: ClientGuard | None = plan.transports.get(asyncio._get_running_loop())
        return found

    def _agreed(self, plan: chat.Plan, reply: Reply, call: Call) -> None:
        """Note that stock has made of a ``reply`` to ``call`` what the fast path would have.

        Where callbacks are told, that says too little: the next call is compared in all.
        """
        slot = call.slot
        answer = None if slot is None else plan.answer(reply.status, reply.headers, reply.body)
        if slot is None or answer is None:
            return
        if plan.notifier is None:
            slot.note(self.outline_of(answer))
        else:
            slot.ask()

    def outline_of(self, answer: Any) -> outlines.Outline:
        """Return what is told of an answer where LiteLLM is not known."""
        return outlines.of_reply(answer.text().encode(), self.proof.clues)

    def meeting(
        self,
        plan: chat.Plan,
        post: OutboundRequest,
        reply: Reply | None,
        uncount: Callable[[Any], None] | None = None,
    ) -> Any:
        """Return a context in which stock meets ``reply`` as its first exchange; nothing is learned.

        What has been sent is not sent again: where the reply to it is lost, the connection is said to be.
        """
        earlier, waited = post.earlier, post.waited
        if reply is None and earlier and not passage.sending().left:
            earlier, reply = earlier[:-1], earlier[-1]
        reply = reply or outbound.lost(plan)
        post.undo()
        return recorder.scripted(
            Replay(str(plan.request["url"]), post.body, reply, uncount=uncount, earlier=earlier, waited_for=waited)
        )

    def _check(self, replay: Replay) -> None:
        """Count a fault unless stock, which was not cancelled, has sent the very request that the fast path had
        sent."""
        if replay.differs or not replay.used:
            if replay.reply.live is not None and not replay.used:
                replay.reply.live.close()
            self.gate.fault(RuntimeError("stock sends another request"))

    @contextmanager
    def connecting(self, plan: chat.Plan) -> Iterator[None]:
        """Learn from the stock call in the block which transport LiteLLM makes for this event loop, if that is new."""
        loop = asyncio.get_running_loop()
        if plan.transports.get(loop) is not None:
            yield
            return
        recording = Recording()
        with recorder.scripted(recording):
            yield
        if recording.sent and self.environment.met() is None:
            sent = recording.sent[0]
            with contextlib.suppress(Unrepeatable):
                plan.transports[loop] = self.maker.client(sent.transport, sent.request.url)

    # --- serving

    def ready(
        self, post: Callable[[chat.Plan, bytes, dict[str, bytes]], OutboundRequest | Why], plan: chat.Plan, call: Call
    ) -> OutboundRequest | None:
        """Return the request to send, or None to leave the call to stock; ``post`` makes it or says why not.

        What LiteLLM writes into the arguments before it sends is written.
        """
        listeners = self.environment.listeners
        placed: list[Any] = []
        try:
            made = post(plan, plan.body(self._written(plan, call), call.free), call.free)
            if not isinstance(made, Why):
                placed = listeners.place()
                if placed:
                    made.take_back = functools.partial(listeners.take_back, placed)
                if plan.learned is not None:
                    made.begun = plan.learned.send(call)
                    if post is outbound.aprepare:
                        self.notifiers.bind(call.kwargs)
        except Exception as error:
            self.gate.fault(error)
            listeners.take_back(placed)
            return None
        if isinstance(made, Why):
            self.gate.decline(made)
            return None
        return made

    def _written(self, plan: chat.Plan, call: Call) -> bytes:
        """Return the messages of ``call`` as they are sent, and leave the caller's as stock leaves them."""
        if call.conversation is None:
            return call.encoded
        sent: bytes = plan.rewriting.written(call.conversation)
        return sent

    def result(
        self, plan: chat.Plan, post: OutboundRequest, reply: Reply, call: Call
    ) -> tuple[Any, success.Notification | None]:
        """Return what ``call`` returns for ``reply``, or None if stock must judge it.

        And what callbacks are to be told, or None if nobody listens.
        """
        if plan.opening is not None:
            opened = self.opened(plan, post, reply, call)
            return opened and opened[0], None
        if reply.error is not None or reply.body_error is not None:
            return None, None
        try:
            if plan.log is not None and not plan.log.fits(reply):
                return None, None
            answer = plan.answer(reply.status, reply.headers, reply.body)
            if answer is None:
                return None, None
            if call.slot is not None and not call.slot.fits(self.outline_of(answer)):
                return None, None
            if answer.cookies:
                post.cookies.store(answer.cookies, reply.headers)
            if plan.notifier is None:
                return answer.result(call.started, (time.time() - reply.sent) * 1000), None
            told = plan.notifier.told(answer, post.begun, call.started, reply.sent)
            return told and told.result, told
        except Exception as error:
            self.gate.fault(error)
            return None, None

    def opened(self, plan: chat.Plan, post: OutboundRequest, reply: Reply, call: Call) -> tuple[Any, Any] | None:
        """Return the stream that ``call`` gets for ``reply``, and what a router would call again with.

        None if stock must judge the reply.
        """
        if reply.live is None or plan.opening is None:
            return None
        try:
            if plan.log is not None and not plan.log.fits(reply):
                return None
            opened: tuple[Any, Any] | None
            opened = plan.opening.open(reply, post.begun, call.started, post.cookies, post.client)
        except Exception as error:
            self.gate.fault(error)
            return None
        return opened


class Call:
    """A call as the fast path knows it: its key, its messages, what is sent of it in JSON, and what it passes by name.

    ``conversation`` says more of messages that are not of the plainest. ``started`` is when the call began
    (``time.time()``), ``reported`` among which metadata a router's strategy has said how it chose, and what; None if it
    has not. ``objects`` is what the notifier of its plan has read of what it passes, ``lookup`` what LiteLLM's cache is
    to be told of it. ``bound`` are the free arguments whose values are part of the key. Where LiteLLM is not known,
    ``slot`` serves it, which is at ``place`` among plans.
    """

    __slots__ = (
        "bound",
        "conversation",
        "encoded",
        "free",
        "key",
        "kwargs",
        "lookup",
        "messages",
        "objects",
        "place",
        "reported",
        "slot",
        "started",
    )

    def __init__(
        self,
        key: bytes,
        messages: Any,
        encoded: bytes,
        free: dict[str, bytes],
        kwargs: dict[str, Any],
        started: float,
        conversation: Conversation | None,
    ) -> None:
        self.key = key
        self.messages = messages
        self.encoded = encoded
        self.free = free
        self.bound: frozenset[str] = frozenset()
        self.kwargs = kwargs
        self.started = started
        self.conversation = conversation
        self.objects: list[Any] | None = None
        self.lookup: Lookup | Miss | None = None
        self.slot: PlanSlot | None = None
        self.place: tuple[dict[Any, Any], Any] | None = None
        self.reported: tuple[str, Any] | None = None

    def outline(self, clues: outlines.Clues) -> outlines.Outline:
        """Return what is told of its messages and free arguments where LiteLLM is not known."""
        return outlines.of_request(self.messages, self.encoded, self.free, clues)

    def changed(self) -> str | None:
        """Return the name of a free argument that is not any more as it was when the call began; None without."""
        for name, value in self.free.items():
            given = self.kwargs if name in self.kwargs else self.kwargs.get(EXTRA_BODY) or {}
            found = variables.sent_value(name, given.get(name))
            if found is None or found[0] != value:
                return name
        return None

    @property
    def told_messages(self) -> Any:
        """What callbacks are told of the messages is made of this."""
        return self.messages if self.conversation is None else self.conversation


def _difference(plan: chat.Plan, call: Call, read: Any) -> Why:
    """Return in what ``call`` differs from those that ``plan`` was learned from; ``read`` is its notifier's answer."""
    if type(read) is tuple:
        return decline.VALUE_DIFFERS.of(decline.place(read))
    for name, value in plan.free.items():
        if call.free[name] != value and name not in plan.places:
            return decline.VALUE_DIFFERS.of(decline.place((name,)))
    return decline.MESSAGES_DIFFER


def _fixed(call: Call) -> dict[str, Any]:
    """Return what a call passes by name that is the same in all calls of its key."""
    fixed = {name: value for name, value in call.kwargs.items() if value is not call.messages and name not in call.free}
    if not call.free.keys().isdisjoint(fixed.get(EXTRA_BODY) or ()):
        del fixed[EXTRA_BODY]
    return fixed


LEARN = object()
