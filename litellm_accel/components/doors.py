"""Doors: what takes the calls of LiteLLM's endpoints to the fast path."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from litellm_accel import hot, patching
from litellm_accel.components.base import Replacement, prepared
from litellm_accel.components.late import Late
from litellm_accel.fastpath.completion import CompletionHandler
from litellm_accel.fastpath.router import RouterHandler
from litellm_accel.fastpath.router_core import CoreHandler
from litellm_accel.stock import seams


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
