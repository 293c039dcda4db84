"""The figures of ``get_performance_stats()`` as JSON, CSV, and in Prometheus' text format."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from litellm_accel.operation.latency import lowest_of

# Bounds of the exported buckets, in seconds: one in 32 of ours.
BOUNDS = tuple(1e-6 * 2**step for step in range(28))
PREFIX = "litellm_accel_"


class Metric(NamedTuple):
    """A figure for others to collect: a counter or a gauge, and its value for each set of labels."""

    name: str
    kind: str
    meaning: str
    labels: tuple[str, ...]
    values: dict[tuple[str, ...], float]


def metrics(stats: Mapping[str, Any]) -> list[Metric]:
    """Return all figures as counters and gauges."""
    calls: dict[tuple[str, ...], float] = {}
    declined: dict[tuple[str, ...], float] = {}
    faults: dict[tuple[str, ...], float] = {}
    errors: dict[tuple[str, ...], float] = {}
    below: dict[tuple[str, ...], float] = {}
    seconds: dict[tuple[str, ...], float] = {}
    active: dict[tuple[str, ...], float] = {}
    is_open: dict[tuple[str, ...], float] = {}
    for name, one in stats.items():
        active[(name,)] = float(one["state"] == "active")
        is_open[(name,)] = float(one.get("breaker_open", False))
        faults[(name,)] = one["faults"]
        calls[(name, "served")], calls[(name, "bypassed")] = one["served"], one["bypassed"]
        calls[(name, "declined")] = sum(one["declined"].values())
        for reason, count in one["declined"].items():
            declined[(name, reason)] = count
        for side, times in (one["sides"] or {}).items():
            errors[(name, side)] = times["errors"]
            seconds[(name, side)] = (times["mean_us"] or 0.0) * times["calls"] / 1e6
            for bound in BOUNDS:
                below[(name, side, f"{bound:.6g}")] = _below(times["buckets"], bound)
            below[(name, side, "+Inf")] = times["calls"]
    one_label, two = ("component",), ("component", "side")
    return [
        Metric("calls", "counter", "Calls by what became of them.", two, calls),
        Metric("declined", "counter", "Calls left to LiteLLM, by reason.", ("component", "reason"), declined),
        Metric("faults", "counter", "Internal faults; LiteLLM served the calls.", one_label, faults),
        Metric("errors", "counter", "Calls that raised an exception.", two, errors),
        Metric("call_seconds_below", "counter", "Calls that took at most le seconds.", (*two, "le"), below),
        Metric("call_seconds", "counter", "Seconds that calls took.", two, seconds),
        Metric("active", "gauge", "Whether the component is active.", one_label, active),
        Metric("breaker_open", "gauge", "Whether the component's breaker is open.", one_label, is_open),
    ]


def written(stats: Mapping[str, Any], form: str) -> str:
    """Return the figures as text. Raises ``ValueError`` for an unknown format."""
    if form == "json":
        return json.dumps(stats, indent=2) + "\n"
    if form == "csv":
        file = io.StringIO()
        rows = csv.writer(file)
        rows.writerow(["component", "figure", "value"])
        rows.writerows((name, key, value) for name, one in stats.items() for key, value in _flat(one))
        return file.getvalue()
    if form == "prometheus":
        return "".join(_exposed(metrics(stats)))
    raise ValueError(f"format: {form!r} is not json, csv or prometheus")


def _exposed(found: list[Metric]) -> Iterator[str]:
    for metric in found:
        name = f"{PREFIX}{metric.name}{'_total' if metric.kind == 'counter' else ''}"
        yield f"# HELP {name} {metric.meaning}\n# TYPE {name} {metric.kind}\n"
        for labels, value in metric.values.items():
            shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in zip(metric.labels, labels, strict=True))
            yield f"{name}{{{shown}}} {value:.17g}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _below(buckets: Mapping[int, int], seconds: float) -> int:
    """Return how many calls are in buckets that end within this many seconds."""
    return sum(count for bucket, count in buckets.items() if lowest_of(bucket + 1) - 1 <= seconds * 1e9)


def _flat(one: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in one.items():
        if key in ("buckets", "differences"):
            continue
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        elif value is not None:
            yield f"{before}{key}", value
