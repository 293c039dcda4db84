"""Component ``embeddings``: embeddings on the straight path of ``chat``, by plans of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from litellm_accel import hot
from litellm_accel.components.base import Replacement
from litellm_accel.components.chat import COMPONENT as chat
from litellm_accel.components.doors import CoreDoors, Endpoint, serving
from litellm_accel.fastpath.embedding import EmbeddingCoreHandler, EmbeddingHandler
from litellm_accel.fastpath.pipeline import Pipeline
from litellm_accel.fastpath.plans import recorder
from litellm_accel.fastpath.plans.proof import Proof
from litellm_accel.stock import seams


class Embeddings(Endpoint):
    """Serves embeddings."""

    name: ClassVar[str] = "embeddings"
    summary: ClassVar[str] = "embedding and aembedding on a straight path"
    relies_on: ClassVar[tuple[str, ...]] = chat.relies_on
    hot_modules: ClassVar[tuple[str, ...]] = ("calls", "chat", "embeddings", "template", "watch")

    def __init__(self) -> None:
        super().__init__()
        self._handler: EmbeddingHandler | None = None

    @property
    def pipeline(self) -> Pipeline | None:
        """The plans of embeddings, while the component is active."""
        return None if self._handler is None else self._handler.pipeline

    def replacements(self, gate: hot.gate.Gate) -> Sequence[Replacement]:
        """Return the calls the fast path serves."""
        list(recorder.required())  # what lets it watch stock must be there
        proof = self._proof = Proof(gate, self.relies_on)
        handler = self._handler = EmbeddingHandler(gate, proof)
        doors = [
            serving("litellm.main:aembedding", handler, "astock", handler.acompletion, gate),
            serving("litellm.main:embedding", handler, "stock", handler.completion, gate),
        ]
        if seams.has_core():
            self.cores = CoreDoors(EmbeddingCoreHandler(handler), gate)
        return doors

    def stopped(self) -> None:
        """Leave the cores, and forget all plans."""
        super().stopped()
        self._handler = None


COMPONENT = Embeddings()
