"""Plans are proven on the user's own calls: beside stock, the fast path computes what it would have done.

Where no record of ``verify`` fits, a plan that was learned serves nobody yet. Its slot is ``PROVING``, and stock serves
the next calls of its kind, watched. What the plan would have sent, returned and told must be what stock has. After some
such calls, with different messages, the slot is ``READY``; a program that sends the same again, as a load test does, is
served those. One difference refuses the kind, several refused kinds the component. Nothing is sent for it, and nothing
of the caller's is touched.

What is made after a call has returned, like payloads and the prices of streams, is made by stock as well for as many
served calls (``Trial``), and stock's is used.

Where LiteLLM's source is that of no known release, more is asked: a plan serves calls only whose outlines were
compared (``outlines``), one call is compared now and then, and trials do not end.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from litellm_accel import settings
from litellm_accel.fastpath import decline
from litellm_accel.fastpath.decline import Why
from litellm_accel.fastpath.plans.outlines import Clues
from litellm_accel.fastpath.plans.slot import Evidence, PlanSlot
from litellm_accel.stock import releases
from litellm_accel.stock.trace import Function

# So many calls of a kind must agree; and so many refused kinds refuse the component.
CALLS = 3
_MAX_REFUSED = 3
_MAX_PROVEN = 4096
_MAX_RAN = 16384
_NOTHING = ModuleType("nothing")
RECORDED, OWN_CALLS = "recorded", "own calls"


class Differs(Exception):
    """The fast path would have done something else than stock; the text says what.

    ``stock`` and ``accelerated`` are what each has, where that is plain data.
    """

    def __init__(self, what: str, stock: Any = None, accelerated: Any = None) -> None:
        super().__init__(what)
        self.stock = stock
        self.accelerated = accelerated


class Proof:
    """How a component's calls are proven: by a record of ``verify``, or each kind of them on the user's own calls.

    A record tells of the modules that the component ``relies_on``. ``is_known`` says whether LiteLLM's source is that
    of a known release, there and wherever calls have run; ``clues`` are what its other functions name: those that have
    run, and those of the modules that the component ``runs`` untraced.
    """

    def __init__(self, gate: Any, relies_on: Iterable[str] = (), runs: Iterable[str] = ()) -> None:
        self.gate = gate
        self._relied = frozenset(relies_on)
        self._ran: set[Function] = set()
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

    def ran(self, functions: Iterable[Function]) -> None:
        """Look at the source of ``functions`` that a call has run through."""
        if len(self._ran) >= _MAX_RAN:
            self._ran.clear()
        new = set(functions) - self._ran
        self._ran |= new
        for function in new:
            module = str(function.module)
            if releases.strange((module,)) is not None:
                self.clues.read(function.code, vars(sys.modules.get(module, _NOTHING)))
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

    def placed(self, place: Any, made: Any, earlier: PlanSlot | None, shared: Evidence | None = None) -> PlanSlot:
        """Return the slot that is put at ``place`` for what was ``made`` of recorded calls, after an ``earlier`` one.

        What was proven there need not be shown again, but one more call is compared. Where evidence is ``shared``, a
        family's kinds are proven together.
        """
        if self.is_recorded:
            return PlanSlot.holding(made)
        if shared is not None:
            return PlanSlot.holding(made, shared=shared)
        if earlier is None:
            has_expired = hash(place) in self._proven
            return PlanSlot.holding(made, 1 if has_expired else CALLS)
        return PlanSlot.holding(made, max(earlier.missing, 1), earlier)

    def note(self, place: Any) -> None:
        """Note that what is at ``place`` is proven."""
        if len(self._proven) >= _MAX_PROVEN:
            self._proven.clear()
        self._proven.add(hash(place))

    def refuse(self, kind: Any, difference: str) -> Why:
        """Note that calls of a ``kind`` differ; return the reason for which they are stock's from now on."""
        reason = decline.DIFFERS.of(difference)
        if self.gate.shadow is not None:
            self.gate.shadow.differs(self.gate.name, difference, {})
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
        """Whether stock's is to be made, too: always, where nobody knows what that may be, and in a shadow."""
        if self._proof.gate.shadow is not None:
            return True
        return not self._proof.is_recorded and (self._missing > 0 or not self._proof.is_known)

    def agreed(self) -> None:
        """Note that both were equal."""
        self._missing -= 1
