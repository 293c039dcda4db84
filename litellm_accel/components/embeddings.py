"""Component ``embeddings``: embeddings on the straight path of ``chat``, by plans of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from litellm_accel import hot
from litellm_accel.components.base import Component, Replaced, Replacement
from litellm_accel.components.chat import COMPONENT as chat
from litellm_accel.components.doors import CoreDoors, serving
from litellm_accel.fastpath.embedding import EmbeddingCoreHandler, EmbeddingHandler
from litellm_accel.fastpath.pipeline import Pipeline
from litellm_accel.fastpath.plans import recorder
from litellm_accel.fastpath.plans.proof import Proof
from litellm_accel.stock import seams
from litellm_accel.verify.records import is_proven


class Embeddings(Component):
    """Serves embeddings."""

    name: ClassVar[str] = "embeddings"
    summary: ClassVar[str] = "embedding and aembedding on a straight path"
    relies_on: ClassVar[tuple[str, ...]] = chat.relies_on
    hot_modules: ClassVar[tuple[str, ...]] = ("calls", "chat", "embeddings", "template", "watch")

    def __init__(self) -> None:
        self._handler: EmbeddingHandler | None = None
        self._proof: Proof | None = None
        self.cores: CoreDoors | None = None

    @property
    def pipeline(self) -> Pipeline | None:
        """The plans of embeddings, while the component is active."""
        return None if self._handler is None else self._handler.pipeline

    @property
    def proof(self) -> Proof | None:
        """How calls are proven, while the component is active."""
        return self._proof

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

    def prove(self, replaced: Mapping[str, Replaced]) -> None:
        """Ask for a record of ``verify``; without one, each kind of call is proven on the user's own."""
        assert self._proof is not None
        self._proof.is_recorded = is_proven(self.name)

    def started(self) -> None:
        """Take the calls of routers' cores, once LiteLLM has imported them."""
        if self.cores is not None:
            self.cores.join()

    def stopped(self) -> None:
        """Leave the cores, and forget all plans."""
        if self.cores is not None:
            self.cores.leave()
        self._handler = self._proof = self.cores = None


COMPONENT = Embeddings()
