"""Several processes as one: their figures added together, and shown as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from litellm_accel.operation.latency import quantile

if TYPE_CHECKING:
    from rich.table import Table

_ADDED = ("calls", "served", "bypassed", "faults", "calls_per_second", "cpu_saved_seconds")
_PERCENTS = (50, 95)


def added_up(answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return, by component, the figures of all processes together."""
    found: dict[str, Any] = {}
    for answer in answers:
        for name, one in answer["stats"].items():
            total = found.setdefault(name, {**dict.fromkeys(_ADDED, 0), "declined": Counter(), "modes": Counter()})
            for key in _ADDED:
                total[key] += one.get(key) or 0
            total["declined"].update(one["declined"])
            total["modes"][one["mode"] or one["state"]] += 1
            for side, times in (one["sides"] or {}).items():
                counts = total.setdefault("buckets", {}).setdefault(side, Counter())
                counts.update({int(bucket): count for bucket, count in times["buckets"].items()})
    return found


def table(answers: Sequence[dict[str, Any]]) -> Table:
    """Return the figures of all processes together as a table."""
    from rich.table import Table

    count = len(answers)
    made = Table(title=f"litellm-accel, {count} {'process' if count == 1 else 'processes'}", title_justify="left")
    made.add_column("component")
    made.add_column("mode")
    for heading in ("calls", "a second", "served", "faults", "p50", "p95", "stock p50", "stock p95", "CPU saved"):
        made.add_column(heading, justify="right")
    for name, one in added_up(answers).items():
        buckets = one.get("buckets", {})
        stock = "bypassed" if buckets.get("bypassed") else "declined"
        made.add_row(
            name,
            ", ".join(mode if number == count else f"{mode} ({number})" for mode, number in one["modes"].items()),
            f"{one['calls']:,}",
            f"{one['calls_per_second']:,.1f}",
            f"{one['served'] / one['calls']:.1%}" if one["calls"] else "",
            f"{one['faults']:,}",
            *(_percentile(buckets.get(side), percent) for side in ("served", stock) for percent in _PERCENTS),
            f"{one['cpu_saved_seconds']:,.1f} s" if one["cpu_saved_seconds"] else "",
        )
    return made


def _percentile(counts: Counter[int] | None, percent: int) -> str:
    if not counts:
        return ""
    taken = quantile([counts[bucket] for bucket in range(max(counts) + 1)], percent / 100)
    if taken is None:
        return ""
    scale, unit = next((scale, unit) for scale, unit in _UNITS if taken >= scale or scale == 1)
    return f"{taken / scale:.3g} {unit}"


_UNITS = ((10**9, "s"), (10**6, "ms"), (10**3, "µs"), (1, "ns"))
