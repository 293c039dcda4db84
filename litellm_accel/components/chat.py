"""Component ``chat``: chat completions on a straight path, for calls that stock was watched serving once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any, ClassVar

from litellm_accel import hot
from litellm_accel.components.base import Component, Replaced, Replacement
from litellm_accel.lane import exchange
from litellm_accel.lane.core import Lane
from litellm_accel.lane.direct import Direct
from litellm_accel.lane.routed import Routed
from litellm_accel.stock import seams
from litellm_accel.stock.surface import MODULES
from litellm_accel.verify.records import require


class Chat(Component):
    """Serves chat completions."""

    name: ClassVar[str] = "chat"
    summary: ClassVar[str] = "completion and acompletion on a straight path"
    relies_on: ClassVar[tuple[str, ...]] = tuple(name for name in MODULES if name.startswith("litellm."))
    hot_modules: ClassVar[tuple[str, ...]] = ("calls", "chat", "template", "watch")

    def __init__(self) -> None:
        self.lane: Lane | None = None

    def replacements(self, gate: hot.gate.Gate) -> Sequence[Replacement]:
        """Return the calls the lane serves."""
        list(exchange.required())  # what lets it watch stock must be there
        lane = self.lane = Lane(gate)
        direct = Direct(lane)
        doors = [
            _serving("litellm.main:acompletion", direct, "astock", direct.acompletion),
            _serving("litellm.main:completion", direct, "stock", direct.completion),
        ]
        if seams.understood_router() is None:  # its attempts come by the doors above
            return doors
        routed = Routed(lane)
        return [
            *doors,
            _serving("litellm.router:Router.acompletion", routed, "astock", routed.acompletion),
            _serving("litellm.router:Router.completion", routed, "stock", routed.completion),
        ]

    def prove(self, replaced: Mapping[str, Replaced]) -> None:
        """Ask for a record of ``verify``. Each call is proven once more, on the call it was learned from."""
        require(self.name)

    def stopped(self) -> None:
        """Forget all plans."""
        self.lane = None


def _serving(target: str, server: Direct | Routed, place: str, method: Callable[..., Any]) -> Replacement:
    def build(stock: FunctionType) -> Callable[..., Any]:
        setattr(server, place, stock)
        return method

    return Replacement(target, build)


COMPONENT = Chat()
