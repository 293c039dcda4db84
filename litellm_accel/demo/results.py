"""What the demo has measured."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from litellm_accel.demo.work import Row


@dataclass
class Times:
    """Seconds per unit, one entry a round: CPU of the whole process and wall clock."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    def to_dict(self) -> dict[str, float]:
        """Return minimum and median of both in seconds per unit."""
        return {
            f"{clock}_{name}": function(values)
            for clock, values in (("cpu", self.cpu), ("wall", self.wall))
            for name, function in (("min", min), ("median", statistics.median))
            if values
        }


@dataclass
class Outcome:
    """What came of one row. ``served`` of ``calls`` calls (or chunks) took the accelerated path, the others stock's.

    ``declined`` counts the reasons of those that a component left to stock, ``unavailable`` says why no component could
    serve any. ``difference`` says where results differ first, ``error`` is the traceback of work that failed,
    ``left_out`` says why LiteLLM cannot do the work.
    """

    row: Row
    stock: Times = field(default_factory=Times)
    accelerated: Times = field(default_factory=Times)
    calls: int = 0
    served: int = 0
    declined: Counter[str] = field(default_factory=Counter)
    unavailable: str = ""
    difference: str | None = None
    error: str | None = None
    left_out: str = ""

    @property
    def ok(self) -> bool:
        """Whether all of the work was done with equal results."""
        return self.error is None and self.difference is None

    @property
    def is_measured(self) -> bool:
        """Whether there are times to show."""
        return self.error is None and not self.left_out

    @property
    def cpu_ratio(self) -> float:
        """How many times less CPU a unit takes accelerated. The minima are compared: noise only ever adds."""
        return min(self.stock.cpu) / min(self.accelerated.cpu)

    @property
    def wall_ratio(self) -> float:
        """How many times faster a unit is by the clock, by the minima."""
        return min(self.stock.wall) / min(self.accelerated.wall)

    @property
    def served_share(self) -> str:
        """How many of the calls the accelerated path served: ``yes``, ``80%`` or ``no``."""
        if not self.served:
            return "no"
        return "yes" if self.served >= self.calls else f"{self.served / self.calls:.0%}"

    @property
    def left_to_stock(self) -> str:
        """Why stock served calls; empty if it served none."""
        if self.served >= self.calls:
            return ""
        return ", ".join(reason for reason, _ in self.declined.most_common()) or self.unavailable

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts, strings and numbers; times in seconds per unit."""
        measured = self.is_measured
        return {
            "name": self.row.name,
            "title": self.row.title,
            "unit": self.row.unit,
            "components": list(self.row.components),
            "rounds": len(self.stock.cpu),
            "stock": self.stock.to_dict(),
            "accelerated": self.accelerated.to_dict(),
            "cpu_ratio": self.cpu_ratio if measured else None,
            "wall_ratio": self.wall_ratio if measured else None,
            "calls": self.calls,
            "served": self.served,
            "declined": dict(self.declined),
            "unavailable": self.unavailable,
            "equal": self.difference is None if measured else None,
            "difference": self.difference,
            "error": self.error,
            "left_out": self.left_out,
        }


@dataclass
class Result:
    """All outcomes, the machine, versions and answers they hold for, and the accelerated worker's report."""

    machine: str
    versions: dict[str, str]
    answers: str  # whose the provider gives, and how
    report: dict[str, Any]
    outcomes: list[Outcome]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether every row was done with equal results."""
        return all(outcome.ok for outcome in self.outcomes)

    @property
    def setting(self) -> str:
        """The machine, the versions and whose answers they are, in one line."""
        versions = [f"{name} {version}" for name, version in self.versions.items()]
        return ", ".join([self.machine, *versions, f"answers: {self.answers}"])

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts, lists, strings and numbers."""
        return {
            "ok": self.ok,
            "machine": self.machine,
            "versions": self.versions,
            "answers": self.answers,
            "report": self.report,
            "rows": [outcome.to_dict() for outcome in self.outcomes],
            "seconds": self.seconds,
        }
