"""Component ``connection_pool``: the fast path's own way to send, in place of LiteLLM's HTTP clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from litellm_accel import hot
from litellm_accel.components.base import Component, Replaced, Replacement
from litellm_accel.components.chat import COMPONENT as chat
from litellm_accel.fastpath.plans.proof import Proof
from litellm_accel.fastpath.transport import pools
from litellm_accel.verify.records import is_proven


class ConnectionPool(Component):
    """Replaces nothing in LiteLLM: the fast path sends with it where it can."""

    name: ClassVar[str] = "connection_pool"
    summary: ClassVar[str] = "the fast path's requests on connections of its own"
    relies_on: ClassVar[tuple[str, ...]] = chat.relies_on
    hot_modules: ClassVar[tuple[str, ...]] = ("http1",)

    def __init__(self) -> None:
        self._pools: pools.Pools | None = None

    @property
    def proof(self) -> Proof | None:
        """The fast path's."""
        return chat.proof

    def replacements(self, gate: hot.gate.Gate) -> Sequence[Replacement]:
        """Return nothing; get ready."""
        self._pools = pools.Pools(gate)
        return []

    def prove(self, replaced: Mapping[str, Replaced]) -> None:
        """Ask for the fast path's record: its scenarios are played over these connections.

        Without one, heads of requests are written by the HTTP client itself, and what is no plain answer is read by it.
        """
        is_proven(chat.name)

    def started(self) -> None:
        """Let the fast path send."""
        pools.use(self._pools)

    def stopped(self) -> None:
        """Close the connections of threads; those of event loops are LiteLLM's."""
        pools.use(None)
        if self._pools is not None:
            self._pools.close("restored")
            self._pools = None


COMPONENT = ConnectionPool()
