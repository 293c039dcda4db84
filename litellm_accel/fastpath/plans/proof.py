"""Plans are proven on the user's own calls: beside stock, the fast path computes what it would have done.

Where no record of ``verify`` fits, a plan that was learned serves nobody yet. Its slot is ``PROVING``, and stock serves
the next calls of its kind, watched. What the plan would have sent, returned and told must be what stock has. After some
such calls, with different messages, the slot is ``READY``. One difference refuses the kind, several refused kinds the
component. Nothing is sent for it, and nothing of the caller's is touched.

What is made after a call has returned, like payloads and the prices of streams, is made by stock as well for as many
served calls (``Trial``), and stock's is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.decline import Why
from litellm_accel.fastpath.plans.slot import PlanSlot

# So many calls of a kind must agree; and so many refused kinds refuse the component.
CALLS = 3
_MAX_REFUSED = 3
_MAX_PROVEN = 4096
RECORDED, OWN_CALLS = "recorded", "own calls"


class Differs(Exception):
    """The fast path would have done something else than stock; the text says what."""


class Proof:
    """How a component's calls are proven: by a record of ``verify``, or each kind of them on the user's own calls."""

    def __init__(self, gate: Any) -> None:
        self.gate = gate
        self.found: Callable[[], bool] | None = None  # whether there is a record by now, if somebody makes one
        self._is_recorded = False
        self.refused: dict[Any, Why] = {}
        self._proven: set[int] = set()

    @property
    def is_recorded(self) -> bool:
        """Whether a record proves the component."""
        if not self._is_recorded and self.found is not None:
            self._is_recorded = self.found()
        return self._is_recorded

    @is_recorded.setter
    def is_recorded(self, is_recorded: bool) -> None:
        self._is_recorded = is_recorded

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
        if len(self.refused) < _MAX_REFUSED:
            return None
        return f"not equal on your own calls: {'; '.join(sorted({str(reason) for reason in self.refused.values()}))}"

    def placed(self, place: Any, made: Any, earlier: PlanSlot | None) -> PlanSlot:
        """Return the slot that is put at ``place`` for what was ``made`` of recorded calls, after an ``earlier`` one.

        What was proven there need not be shown again, but one more call is compared.
        """
        if self.is_recorded:
            return PlanSlot.holding(made)
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
        """Whether stock's is to be made, too."""
        return self._missing > 0 and not self._proof.is_recorded

    def agreed(self) -> None:
        """Note that both were equal."""
        self._missing -= 1
