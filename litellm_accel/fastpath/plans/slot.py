"""What stands at a plan's place: the way of a kind of call from never seen to served.

    nothing ──▶ RECORDING ──▶ PROVING ──▶ READY
                 ▲     │
                 ▼     ▼
           SEEN_ONCE  REFUSED

The first call of a kind is recorded while stock serves it. What callbacks are told takes two recorded calls; between
them the place is ``SEEN_ONCE``. With a record of ``verify`` a plan is ``READY`` at once; else it must first agree with
stock on calls of its kind. A difference refuses the kind, and so does a call that cannot be repeated.

A call that a plan does not cover yet may be recorded so that it does: the slot is ``RECORDING`` again, and the one it
stands for goes on ``serving``.

A slot holds for one epoch of the settings. What it holds does not change: a step of the way puts another slot in the
place or changes the ``state`` of this one, so that threads see one step or the next.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable
from typing import Any

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.decline import Why
from litellm_accel.fastpath.plans.outlines import Outline, Outlines
from litellm_accel.hot import chat

FOREVER = float("inf")
# Of a LiteLLM that nobody knows: from so many served calls on, one is compared whenever their number has doubled.
_FIRST_SAMPLE = 8
# So many calls with the same messages must agree before such calls are served, if no others come.
_ALIKE = 3
# Programs that repeat themselves have few messages.
_MOST_REPEATED = 16


class State(enum.Enum):
    """How far the calls of a kind have come."""

    RECORDING = "a call is being recorded"
    SEEN_ONCE = "one call has shown what callbacks are told"
    PROVING = "calls are compared with what the plan would have done"
    READY = "calls are served"
    REFUSED = "calls are left to stock"


class Evidence:
    """How many calls must still agree with stock, and which have: of one kind, or of all kinds of a family.

    ``agreed`` are hashes of messages that have, ``compared`` of those that are being compared; one call of each.
    """

    __slots__ = ("_missing", "agreed", "compared")

    def __init__(self, missing: int, agreed: frozenset[int] = frozenset()) -> None:
        self._missing = missing
        self.agreed = agreed
        self.compared: frozenset[int] = frozenset()

    @property
    def missing(self) -> int:
        """How many calls must still agree."""
        return self._missing

    def wants(self, mark: int) -> bool:
        """Return whether a call with messages of this ``mark`` would show what is not being shown already."""
        if self.missing <= 0:
            return not self.compared
        return mark not in self.agreed and mark not in self.compared and len(self.compared) < self.missing

    def agree(self, mark: int) -> None:
        """Note that a call with messages of this ``mark`` has agreed."""
        if self._missing > 0:
            if mark in self.agreed:
                return
            self.agreed |= {mark}
            self._missing -= 1

    def complete(self) -> None:
        """Note that no more calls must agree."""
        self._missing = 0


class PlanSlot:
    """What stands at a plan's place; it begins with the recording of one call.

    ``observed`` is what an earlier recorded call has shown, ``serving`` the slot whose plan shall cover more. ``plan``
    is the plan that is proven or ready, and ``made`` what holds it: itself, or a router's plan. ``proven`` is called
    once it is ready. A slot must be made anew after ``expires`` (``time.time()``), or when its plan expires. The
    ``evidence`` for a plan may be shared with others of its family.
    """

    _lock = threading.Lock()

    def __init__(self, epoch: int, observed: Any = None, serving: PlanSlot | None = None) -> None:
        self.state = State.RECORDING
        self.epoch = epoch
        self.expires = FOREVER
        self.observed = observed
        self.serving = serving
        self.plan: chat.Plan
        self.made: Any = None
        self.proven: Callable[[], None] | None = None
        self.reason: Why = decline.REFUSED.of(decline.LEARNING_FAILED)
        self.is_paired = False  # two calls were recorded at the same time
        self.difference: str | None = None  # that a shadow has found, which goes on comparing
        self._recording = 1
        self.evidence = Evidence(0)
        self.family: Any = None  # which knows of a difference, if the plan is one's
        self._outlines = Outlines()
        self._served = 0
        self._is_asked = False  # to have the next call compared
        self._shown: dict[int, int] = {}  # how many calls have agreed, by the hash of their messages

    @classmethod
    def seen_once(cls, epoch: int, observed: Any) -> PlanSlot:
        """Return a slot for what one recorded call has shown; the next is recorded as well."""
        slot = cls(epoch, observed)
        slot.state = State.SEEN_ONCE
        return slot

    @classmethod
    def holding(
        cls, made: Any, missing: int = 0, earlier: PlanSlot | None = None, shared: Evidence | None = None
    ) -> PlanSlot:
        """Return a slot for the plan that was ``made``, which serves once ``missing`` calls have agreed with it.

        Calls whose messages have agreed with the plan of an ``earlier`` slot show nothing new. Evidence that is
        ``shared`` with other kinds takes the place of its own.
        """
        plan: chat.Plan = getattr(made, "plan", made)
        slot = cls(plan.epoch)
        slot.plan, slot.made = plan, made
        slot.evidence = shared or Evidence(missing, frozenset() if earlier is None else earlier.evidence.agreed)
        slot.state = State.PROVING if slot.evidence.missing > 0 else State.READY
        if earlier is not None:
            slot.difference = earlier.difference
        return slot

    @classmethod
    def refused(cls, epoch: int, reason: Why, expires: float = FOREVER) -> PlanSlot:
        """Return a slot that leaves calls to stock for a ``reason``."""
        slot = cls(epoch)
        slot.expires = expires
        slot.refuse(reason)
        return slot

    @property
    def missing(self) -> int:
        """How many calls must still agree with the plan."""
        return max(self.evidence.missing, 0)

    # --- recording

    def record_too(self, is_told: bool) -> bool:
        """Return whether another call shall be recorded while one is, and count it.

        Where callbacks are told of the kind (``is_told``), it is: a wave of calls shows all there is to learn.
        """
        if not is_told or self.observed is not None or self.serving is not None:
            return False
        with self._lock:
            if self._recording != 1:
                return False
            self._recording, self.is_paired = 2, True
            return True

    def recorded(self) -> int:
        """Note that a recorded call has ended; return how many others are still running."""
        with self._lock:
            self._recording -= 1
            return self._recording

    def refuse(self, reason: Why | None = None) -> None:
        """Leave calls to stock in this epoch, for a ``reason`` if it is known."""
        if reason is not None:
            self.reason = reason
        self.state = State.REFUSED

    # --- proving

    def wants(self, messages: bytes) -> bool:
        """Return whether a call with these ``messages`` would show something that is not being shown already."""
        mark = hash(messages)
        if self.evidence.wants(mark):
            return True
        is_repeated = mark in self.evidence.agreed and mark not in self.evidence.compared
        return is_repeated and self._counts(mark) and self._shown.get(mark, 0) < _ALIKE

    def has_shown(self, messages: bytes) -> bool:
        """Return whether calls with these very ``messages`` have agreed often enough, whatever others would show."""
        return self._shown.get(hash(messages), 0) >= _ALIKE

    def _counts(self, mark: int) -> bool:
        return mark in self._shown or len(self._shown) < _MOST_REPEATED

    def begin_comparison(self, messages: bytes, is_wanted: bool = False) -> bool:
        """Return whether a call with these ``messages`` shall be compared, and note that it is.

        In a shadow it ``is_wanted`` whatever it shows.
        """
        with self._lock:
            wanted = is_wanted or self.wants(messages)
            if wanted:
                self.evidence.compared |= {hash(messages)}
            return wanted

    def end_comparison(self, messages: bytes, agreed: bool, is_known: bool = True) -> bool:
        """Note that a comparison is over, and whether it ``agreed``; return whether that makes the plan ready.

        No plan is where LiteLLM is not of a known release: it ``serves`` what was compared.
        """
        with self._lock:
            mark = hash(messages)
            self.evidence.compared -= {mark}
            if agreed:
                self.evidence.agree(mark)
                self._is_asked = False
                if self._counts(mark):
                    self._shown[mark] = self._shown.get(mark, 0) + 1
            return self._settle(is_known)

    def settle(self, is_known: bool) -> bool:
        """Return whether a plan that is being proven is ready by now: other kinds may share its evidence."""
        with self._lock:
            return self._settle(is_known)

    def _settle(self, is_known: bool) -> bool:
        if self.evidence.missing <= 0 and is_known and self.state is State.PROVING:
            self.state = State.READY
        return self.state is State.READY

    def doubt(self, missing: int) -> None:
        """Serve no more until ``missing`` calls of this very kind have agreed."""
        with self._lock:
            self.evidence = Evidence(missing)
            if self.state is State.READY:
                self.state = State.PROVING

    # --- a LiteLLM that nobody knows

    def serves(self, outline: Outline) -> bool:
        """Return whether a call with this ``outline`` is served: calls have agreed, and some with such an outline.

        Now and then one is not, so that it is compared.
        """
        if self.evidence.missing > 0 or self._is_asked or not self._outlines.cover(outline):
            return False
        self._served += 1
        return self._served < _FIRST_SAMPLE or self._served & (self._served - 1) != 0

    def fits(self, reply: Outline) -> bool:
        """Return whether replies with such an outline were compared."""
        return self._outlines.cover(reply)

    def ask(self) -> None:
        """Have the next call compared."""
        self._is_asked = True

    def note(self, outline: Outline) -> None:
        """Note the outline of something that agreed."""
        self._outlines.add(outline)
