"""Functions without side effects, where LiteLLM's source is of no known release: compared before they serve.

What a function was called with is told by its outline. Where an outline is new, LiteLLM's function answers as well; one
difference leaves all calls of the function to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from litellm_accel.components.beside import agree
from litellm_accel.fastpath import decline
from litellm_accel.fastpath.plans.outlines import Outlines, of_arguments
from litellm_accel.fastpath.plans.proof import Proof
from litellm_accel.hot import gate


def compared(proof: Proof, fast: Callable[..., Any], stock: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``fast`` as it may serve in the place of ``stock``, which takes all arguments by position, too."""
    return fast if proof.is_known else _Compared(proof, fast, stock)


class _Compared:
    """Serves by ``fast`` where it has agreed with ``stock``, else declines."""

    def __init__(self, proof: Proof, fast: Callable[..., Any], stock: Callable[..., Any]) -> None:
        self._proof = proof
        self._fast = fast
        self._stock = stock
        self._outlines = Outlines()
        self._refusal: decline.Why | None = None

    def __call__(self, *arguments: Any) -> Any:
        decline_call = self._proof.gate.decline
        if self._refusal is not None:
            return decline_call(self._refusal)
        made = self._fast(*arguments)
        if made is gate.DECLINED:
            return made
        outline = of_arguments(arguments, self._proof.clues)
        if self._outlines.cover(outline):
            return made
        found = self._stock(*arguments)
        if agree(made, found):
            self._outlines.add(outline)
            return decline_call(decline.BEING_PROVEN)
        name = self._stock.__name__
        self._refusal = self._proof.refuse(name, f"what {name} returns")
        return gate.DECLINED
