"""What takes the calls of LiteLLM's endpoints to the fast path, and what the components with such doors share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

from litellm_accel import hot, patching
from litellm_accel.components.base import Component, Replaced, Replacement, prepared
from litellm_accel.components.late import Late
from litellm_accel.fastpath.completion import CompletionHandler
from litellm_accel.fastpath.plans.proof import Proof
from litellm_accel.fastpath.router import RouterHandler
from litellm_accel.fastpath.router_core import CoreHandler
from litellm_accel.stock import seams
from litellm_accel.verify.records import is_proven


def serving(
    target: str,
    server: CompletionHandler | RouterHandler | CoreHandler,
    place: str,
    method: Callable[..., Any],
    gate: hot.gate.Gate,
) -> Replacement:
    """Return what lets ``method`` take the calls of ``target``, whose stock ``server`` keeps at ``place``."""
    door = hot.gate.AsyncDoor if place == "astock" else hot.gate.Door

    def build(stock: FunctionType) -> Callable[..., Any]:
        setattr(server, place, stock)
        return door(gate, method, stock)

    return Replacement(target, build)


class CoreDoors(Late):
    """Lets ``server`` take the calls of its endpoint that come to routers' cores, which few programs import."""

    def __init__(self, server: CoreHandler, gate: hot.gate.Gate) -> None:
        super().__init__(seams.CORE, "the core of routers")
        door = f"{seams.CORE}:RustCore.{{}}{server.endpoint}"
        self._doors = (
            serving(door.format("a"), server, "astock", server.acompletion, gate),
            serving(door.format(""), server, "stock", server.completion, gate),
        )

    def _made(self) -> list[patching.Patch]:
        if not seams.has_core_steps():  # a router's attempts come by the doors of direct calls
            return []
        return [prepared(door)[0] for door in self._doors]


class Endpoint(Component):
    """A component that serves the calls of an endpoint, those that come to routers' ``cores`` as well."""

    def __init__(self) -> None:
        self._proof: Proof | None = None
        self.cores: CoreDoors | None = None

    @property
    def proof(self) -> Proof | None:
        """How calls are proven, while the component is active."""
        return self._proof

    def prove(self, replaced: Mapping[str, Replaced]) -> None:
        """Ask for a record of ``verify``; without one, each kind of call is proven on the user's own."""
        assert self._proof is not None
        self._proof.is_recorded = is_proven(self.name)

    def started(self) -> None:
        """Take the calls of routers' cores, once LiteLLM has imported them."""
        if self.cores is not None:
            self.cores.join()

    def stopped(self) -> None:
        """Leave the cores, and forget how calls are proven."""
        if self.cores is not None:
            self.cores.leave()
        self._proof = self.cores = None
