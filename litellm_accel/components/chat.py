"""Component ``chat``: chat completions on a straight path, for calls that stock was watched serving once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from litellm_accel import hot
from litellm_accel.components.base import Replacement
from litellm_accel.components.doors import CoreDoors, Endpoint, serving
from litellm_accel.fastpath.completion import CompletionHandler
from litellm_accel.fastpath.pipeline import Pipeline
from litellm_accel.fastpath.plans import recorder
from litellm_accel.fastpath.plans.proof import Proof
from litellm_accel.fastpath.router import RouterHandler
from litellm_accel.fastpath.router_core import CoreHandler
from litellm_accel.stock import seams
from litellm_accel.stock.surface import BYPASSED, MODULES

# Of pydantic, what makes, fills, checks and dumps its objects.
_OF_PYDANTIC = (
    "pydantic.fields",
    "pydantic.main",
    "pydantic.type_adapter",
    *(
        f"pydantic._internal.{name}"
        for name in (
            "_config",
            "_core_utils",
            "_decorators",
            "_discriminated_union",
            "_fields",
            "_generate_schema",
            "_mock_val_ser",
            "_model_construction",
            "_schema_gather",
            "_typing_extra",
            "_utils",
        )
    ),
)


class Chat(Endpoint):
    """Serves chat completions."""

    name: ClassVar[str] = "chat"
    summary: ClassVar[str] = "completion and acompletion on a straight path"
    relies_on: ClassVar[tuple[str, ...]] = (*MODULES, *BYPASSED, *_OF_PYDANTIC)
    hot_modules: ClassVar[tuple[str, ...]] = ("calls", "chat", "template", "watch")

    def __init__(self) -> None:
        super().__init__()
        self.pipeline: Pipeline | None = None

    def replacements(self, gate: hot.gate.Gate) -> Sequence[Replacement]:
        """Return the calls the fast path serves."""
        list(recorder.required())  # what lets it watch stock must be there
        proof = self._proof = Proof(gate, self.relies_on)
        pipeline = self.pipeline = Pipeline(gate, proof)
        direct = CompletionHandler(pipeline)
        doors = [
            serving("litellm.main:acompletion", direct, "astock", direct.acompletion, gate),
            serving("litellm.main:completion", direct, "stock", direct.completion, gate),
        ]
        if seams.has_core():
            self.cores = CoreDoors(CoreHandler(direct), gate)
            return doors
        if seams.understood_router() is None:  # its attempts come by the doors above
            return doors
        routed = RouterHandler(pipeline)
        return [
            *doors,
            serving("litellm.router:Router.acompletion", routed, "astock", routed.acompletion, gate),
            serving("litellm.router:Router.completion", routed, "stock", routed.completion, gate),
        ]

    def stopped(self) -> None:
        """Leave the cores, and forget all plans."""
        super().stopped()
        self.pipeline = None


COMPONENT = Chat()
