"""What ``accelerate()`` and ``status()`` return: which component does what, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.table import Table

State = Literal["active", "waiting", "native", "off", "unproven", "failed"]


@dataclass(frozen=True)
class ComponentStatus:
    """One component at one moment. Counters are calls since the process began.

    Where it is ``"native"``, LiteLLM has something of its own that does the same, and nothing is missing.
    ``proof`` says how an active component shows that it is equal: ``"at start"`` by what it has tried when it was
    switched on, ``"recorded"`` by a record of ``verify``, ``"own calls"`` by comparing each kind of call with stock on
    the application's own calls before any is served. ``mode`` is what settings say, empty where nothing is set;
    ``bypassed`` counts calls that a share, or an open breaker, leaves to stock; ``partly`` counts calls of which a part
    was left to stock, by reason, whatever became of the rest.
    """

    name: str
    state: State
    reason: str
    backend: str
    served: int = 0
    declined: dict[str, int] = field(default_factory=dict)
    faults: int = 0
    proof: str = ""
    mode: str = ""
    bypassed: int = 0
    partly: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """All components at one moment, for the installed LiteLLM. Prints as a table."""

    litellm: str
    components: tuple[ComponentStatus, ...]

    def __getitem__(self, name: str) -> ComponentStatus:
        """Return the status of component ``name``. Raises ``KeyError``."""
        for component in self.components:
            if component.name == name:
                return component
        raise KeyError(name)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Report:
        """Return the report that ``to_dict()`` has made ``data`` of."""
        return cls(data["litellm"], tuple(ComponentStatus(**component) for component in data["components"]))

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts, lists, strings and numbers."""
        return {"litellm": self.litellm, "components": [asdict(component) for component in self.components]}

    def __rich__(self) -> Table:
        from rich.table import Table

        table = Table(title=f"litellm-accel on LiteLLM {self.litellm}", title_justify="left")
        for heading in ("component", "state", "proof", "reason", "backend"):
            table.add_column(heading)
        table.add_column("served", justify="right")
        table.add_column("declined")
        table.add_column("faults", justify="right")
        for component in self.components:
            declined = sorted((component.declined | component.partly).items(), key=lambda item: -item[1])
            if component.bypassed:
                declined.insert(0, ("by the share of calls or an open breaker", component.bypassed))
            table.add_row(
                component.name,
                component.state if component.mode in ("", "on") else f"{component.state}\n{component.mode}",
                component.proof,
                component.reason,
                component.backend,
                f"{component.served:,}",
                "\n".join(f"{count:,} {reason}" for reason, count in declined),
                f"{component.faults:,}",
            )
        return table

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=120, color_system=None)
        with console.capture() as capture:
            console.print(self)
        return capture.get().rstrip()


class AccelerationError(RuntimeError):
    """``accelerate(strict=True)`` could not activate what it was asked to; nothing was changed.

    ``failures`` maps each component's name to the reason.
    """

    def __init__(self, failures: dict[str, str]) -> None:
        self.failures = failures
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in failures.items()))

    def __reduce__(self) -> tuple[type[AccelerationError], tuple[dict[str, str]]]:
        return AccelerationError, (self.failures,)
