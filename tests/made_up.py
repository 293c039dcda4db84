"""Made-up components over a made-up package, for tests of what switches components on and off."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from litellm_accel.components.base import Component, ProbeMismatch, Replaced, Replacement

SOURCE = """
def double(value):
    return value * 2

def triple(value):
    return value * 3
"""


class Part(Component):
    """Serves functions of the made-up package, wrongly where asked to."""

    def __init__(self, name: str, *functions: str, error: Exception | None = None) -> None:
        self.name = name  # type: ignore[misc]
        self.summary = f"serves {name}"  # type: ignore[misc]
        self.targets = [f"victim:{function}" for function in functions]
        self.error = error
        self.stops = 0

    def replacements(self, gate: Any) -> Sequence[Replacement]:
        def build(stock: Callable[[int], int]) -> Callable[..., Any]:
            def fast(value: int) -> Any:
                if value == 13:
                    raise RuntimeError("unlucky")
                return gate.decline("zero") if value == 0 else stock(value)

            return gate.pure(fast, stock)  # type: ignore[no-any-return]

        return [Replacement(target, build) for target in self.targets]

    def prove(self, replaced: Mapping[str, Replaced]) -> None:
        if self.error:
            raise self.error
        for target, pair in replaced.items():
            if pair.accelerated(2) != pair.stock(2):
                raise ProbeMismatch(f"{target}(2)")

    def stopped(self) -> None:
        self.stops += 1


Register = Callable[..., None]
