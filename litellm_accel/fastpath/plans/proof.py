"""Plans are proven on the user's own calls: beside stock, the fast path computes what it would have done.

Where no record of ``verify`` fits, a plan that was learned serves nobody yet. It is a ``Candidate`` in the plan's
place, and stock serves the next calls of its kind, watched. What the candidate would have sent, returned and told must
be what stock has. After some such calls, with different messages, it takes the plan's place. One difference refuses the
kind, several refused kinds the component. Nothing is sent for it, and nothing of the caller's is touched.

What is made after a call has returned, like payloads and the prices of streams, is made by stock as well for as many
served calls (``Trial``), and stock's is used.

Where LiteLLM's source is that of no known release, more is asked: a candidate serves calls only whose outlines were
compared (``outlines``), one call is compared now and then, and trials do not end.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable
from types import CodeType, ModuleType
from typing import Any

from litellm_accel import settings
from litellm_accel.fastpath import decline
from litellm_accel.fastpath.decline import Why
from litellm_accel.fastpath.plans.outlines import Clues, Outline, Outlines
from litellm_accel.stock import releases

# So many calls of a kind must agree; and so many refused kinds refuse the component.
CALLS = 3
_MAX_REFUSED = 3
_MAX_PROVEN = 4096
_MAX_RAN = 16384
_NOTHING = ModuleType("nothing")
# From so many served calls on, one is compared whenever their number has doubled.
_FIRST_SAMPLE = 8
RECORDED, OWN_CALLS = "recorded", "own calls"


class Differs(Exception):
    """The fast path would have done something else than stock; the text says what."""


class Proof:
    """How a component's calls are proven: by a record of ``verify``, or each kind of them on the user's own calls.

    A record tells of the modules that the component ``relies_on``. ``is_known`` says whether LiteLLM's source is that
    of a known release, there and wherever calls have run; ``clues`` are what its other functions name: those that have
    run, and those of the modules that the component ``runs`` untraced.
    """

    def __init__(self, gate: Any, relies_on: Iterable[str] = (), runs: Iterable[str] = ()) -> None:
        self.gate = gate
        self._relied = frozenset(relies_on)
        self._ran: set[CodeType] = set()
        self.is_strange = releases.strange(self._relied) is not None
        self._is_strange_elsewhere = False
        self._unproven: str | None = None  # where records are demanded
        self.clues = Clues()
        for module in runs:
            if releases.strange((module,)) is not None:
                self.clues.read_all(sys.modules[module])
        self.found: Callable[[], bool] | None = None  # whether there is a record by now, if somebody makes one
        self._is_recorded = False
        self.refused: dict[Any, Why] = {}
        self._proven: set[int] = set()

    @property
    def is_recorded(self) -> bool:
        """Whether a record proves the component."""
        if not self._is_recorded and self.found is not None:
            self._is_recorded = self.found()
        return self._is_recorded and not self._is_strange_elsewhere

    @is_recorded.setter
    def is_recorded(self, is_recorded: bool) -> None:
        self._is_recorded = is_recorded

    @property
    def is_known(self) -> bool:
        """Whether LiteLLM is a known release, or a record proves what it is."""
        return self.is_recorded or not (self.is_strange or self._is_strange_elsewhere)

    def ran(self, functions: Iterable[tuple[CodeType, str]]) -> None:
        """Look at the source of ``functions`` that a call has run through, each with the name of its module."""
        if len(self._ran) >= _MAX_RAN:
            self._ran.clear()
        for code, module in functions:
            if code in self._ran:
                continue
            self._ran.add(code)
            if releases.strange((module,)) is not None:
                self.clues.read(code, vars(sys.modules.get(module, _NOTHING)))
                if module not in self._relied and not self._is_strange_elsewhere:
                    self._is_strange_elsewhere = True
                    if settings.demands_records():
                        self._unproven = f"{module} is of no LiteLLM release that is known"
                        self.gate.switch(False)

    @property
    def level(self) -> str:
        """How it is, in a word."""
        return RECORDED if self.is_recorded else OWN_CALLS

    @property
    def calls(self) -> int:
        """How many calls of a kind must agree."""
        return 0 if self.is_recorded else CALLS

    @property
    def refusal(self) -> str | None:
        """Why the component serves nobody any more, or None."""
        if self._unproven is not None or len(self.refused) < _MAX_REFUSED:
            return self._unproven
        return f"not equal on your own calls: {'; '.join(sorted({str(reason) for reason in self.refused.values()}))}"

    def placed(self, place: Any, made: Any, earlier: Any) -> Any:
        """Return what is put at ``place`` for what was ``made`` there of watched calls, after ``earlier``.

        What was proven there need not be shown again, but one more call is compared.
        """
        if self.is_recorded:
            return made
        if hash(place) in self._proven and earlier is None:  # it has expired
            earlier = made
        return Candidate(made, earlier)

    def note(self, place: Any) -> None:
        """Note that what is at ``place`` is proven."""
        if len(self._proven) >= _MAX_PROVEN:
            self._proven.clear()
        self._proven.add(hash(place))

    def refuse(self, kind: Any, difference: str) -> Why:
        """Note that calls of a ``kind`` differ; return the reason for which they are stock's from now on."""
        reason = decline.DIFFERS.of(difference)
        if len(self.refused) < _MAX_REFUSED:
            self.refused[kind] = reason
        self.gate.decline(reason)
        if self.refusal is not None:
            self.gate.switch(False)
        return reason


class Trial:
    """What the fast path makes in the place of one of stock's functions: on trial until it has agreed with it often
    enough.

    ``refuse`` is told of a difference; after that stock's function alone is used.
    """

    def __init__(self, proof: Proof, refuse: Callable[[str], None]) -> None:
        self._missing = proof.calls
        self._proof = proof
        self.refuse = refuse

    @property
    def is_on(self) -> bool:
        """Whether stock's is to be made, too: always, where nobody knows what that may be."""
        return not self._proof.is_recorded and (self._missing > 0 or not self._proof.is_known)

    def agreed(self) -> None:
        """Note that both were equal."""
        self._missing -= 1


class Candidate:
    """In a plan's place: what was ``made`` of watched calls serves nobody before others have agreed with it.

    ``earlier`` is what was there before, see ``Proof.placed``.
    """

    _lock = threading.Lock()

    def __init__(self, made: Any, earlier: Any) -> None:
        self.made = made
        self.plan = getattr(made, "plan", made)
        self.epoch = made.epoch
        self.kinds = made.kinds
        self.rewriting = made.rewriting
        self.covers = made.covers
        self.notifier = made.notifier
        self._agreed: set[int] = set()  # their messages
        self._running: set[int] = set()
        self._missing = CALLS
        self._served = 0
        self._is_asked = False
        self._outlines = Outlines()
        if type(earlier) is Candidate:
            self._agreed = set(earlier._agreed)
            self._missing = max(earlier._missing, 1)
        elif earlier is not None:
            self._missing = 1

    @property
    def expires(self) -> float:
        """When the plan must be learned again (``time.time()``)."""
        moment: float = self.made.expires
        return moment

    def serves(self, outline: Outline) -> bool:
        """Return whether a call with this ``outline`` is served: calls have agreed, and some with such an outline.

        Now and then one is not, so that it is compared.
        """
        if self._missing > 0 or self._is_asked or not self._outlines.cover(outline):
            return False
        self._served += 1
        return self._served < _FIRST_SAMPLE or self._served & (self._served - 1) != 0

    def fits(self, reply: Outline) -> bool:
        """Return whether replies with such an outline were compared."""
        return self._outlines.cover(reply)

    def wants(self, messages: bytes) -> bool:
        """Return whether a call with these ``messages`` would show something that is not being shown already."""
        mark = hash(messages)
        if self._missing <= 0:
            return not self._running
        return mark not in self._agreed and mark not in self._running and len(self._running) < self._missing

    def begin(self, messages: bytes) -> bool:
        """Return whether a call with these ``messages`` shall be compared, and note that it is."""
        with self._lock:
            wanted = self.wants(messages)
            if wanted:
                self._running.add(hash(messages))
            return wanted

    def end(self, messages: bytes, agreed: bool) -> bool:
        """Note that a call is over, and whether it ``agreed``; return whether that is enough."""
        with self._lock:
            self._running.discard(hash(messages))
            if agreed:
                if self._missing > 0:
                    self._agreed.add(hash(messages))
                self._missing -= 1
                self._is_asked = False
            return self._missing <= 0

    def ask(self) -> None:
        """Have the next call compared."""
        self._is_asked = True

    def note(self, outline: Outline) -> None:
        """Note the outline of something that agreed."""
        self._outlines.add(outline)
