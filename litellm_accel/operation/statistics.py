"""The figures of a running process: what was served, how long it took, what it saved, and what to change.

Reading takes no lock that a call takes. Times exist only if something needs them: ``statistics``, a canary, a shadow,
alerts, or a reader of the figures.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from litellm_accel import activation, components
from litellm_accel.fastpath import decline
from litellm_accel.fastpath.decline import Reason
from litellm_accel.hot import gate as hot_gate
from litellm_accel.operation.latency import quantile, usual

SIDES = ("served", "declined", "bypassed")
# Reasons that go away by themselves.
_PASSING = frozenset(
    {
        decline.LEARNED_FROM,
        decline.BEING_LEARNED,
        decline.BEING_PROVEN,
        decline.FIRST_OF_ITS_KIND,
        decline.FIRST_PRICED,
    }
)
_FEW = 100  # fewer calls than this support no conclusion
_WORTH = 0.01  # share of a component's calls from which on a reason deserves a recommendation
_SURE = 1000  # calls after which the next mode is recommended


def get_performance_stats(component: str | None = None) -> dict[str, Any]:
    """Return the figures of ``component``, or of each by name: calls by side and reason, faults, times, CPU time saved.

    Raises ``ValueError`` for an unknown name.
    """
    if component is not None:
        activation.names_of(component)
        return _figures(component)
    return {name: _figures(name) for name in components.NAMES}


def compare_implementations() -> dict[str, Any]:
    """Return, by component, the times of accelerated and of stock calls, and the ratio of stock's to ours.

    ``stock`` are calls of the same traffic that a share left to stock if there are enough, else declined calls.
    """
    found = {}
    for name in components.NAMES:
        one = _figures(name)
        if one["sides"] is None:
            continue
        stock = _reference(one["sides"])
        served = one["sides"]["served"]
        if not served["calls"] or stock is None or not one["sides"][stock]["calls"]:
            continue
        theirs = one["sides"][stock]
        found[name] = {
            "accelerated": served,
            "stock": theirs,
            "stock_is": "same traffic" if stock == "bypassed" else "declined calls",
            "median_ratio": _ratio(theirs["p50_us"], served["p50_us"]),
            "cpu_ratio": _ratio(theirs["cpu_us"], served["cpu_us"]),
        }
    return found


def get_feature_status() -> dict[str, Any]:
    """Return, by component, its state, its mode, and the reason for its state."""
    return {
        row.name: {
            "state": row.state,
            "mode": row.mode or ("on" if row.state == "active" else ""),
            "reason": row.reason,
        }
        for row in activation.status().components
    }


def get_patch_status() -> dict[str, Any]:
    """Return, by function of LiteLLM, its ``component`` and whether ours is installed in its place."""
    return {
        f"{patch.function.__module__}:{patch.function.__qualname__}": {
            "component": name,
            "patched": patch.function.__code__ is patch.replacement,
        }
        for name, one in activation.activations().items()
        for patch in one.patches
    }


def health_check() -> dict[str, Any]:
    """Return whether everything that was requested is serving, and a line for each problem."""
    problems = []
    for name, one in activation.activations().items():
        row = one.status()
        if one.is_wanted and row.state in ("failed", "unproven"):
            problems.append(f"{name} is {row.state}: {row.reason}")
        elif one.is_wanted and row.state == "off" and not one.is_switched_off:
            problems.append(f"{name} is off: {row.reason}")
        elif row.mode.startswith("canary: back"):
            problems.append(f"{name} is in {row.mode}")
        shadow = one.gate.shadow
        if shadow is not None and shadow.different:
            problems.append(f"{name} differs from stock in {shadow.different} calls in shadow")
    problems += activation.setting_problems()
    return {"healthy": not problems, "problems": problems}


def reset_stats(components: str | Iterable[str] | None = None) -> None:
    """Set the counters of ``components`` (None: all) to zero, faults too. Raises ``ValueError`` for an unknown name."""
    with activation.locked():
        for name in activation.names_of(components):
            if name in activation.activations():
                activation.activations()[name].begin_counting()


def get_recommendations() -> list[dict[str, Any]]:
    """Return what to change in the program or the settings, with the figures behind it; what costs most comes first."""
    found: list[dict[str, Any]] = []
    for name, one in activation.activations().items():
        if not one.is_wanted:
            continue
        row, figures = one.status(), _figures(name)
        found += _of_declines(name, one.gate, figures)
        found += _of_mode(row, one.gate, figures)
        if row.state == "active" and row.backend in ("pure", "mixed"):
            found.append(_advice(name, "install a wheel with compiled modules", "it runs in pure Python", {}))
        if row.proof == "own calls":
            text = "run `litellm-accel verify` where your image is built"
            found.append(_advice(name, text, "each kind of call is proven on your own calls first", {}))
    return sorted(found, key=lambda advice: -advice["cpu_seconds"])


def export_performance_data(path: Any, format: Literal["json", "csv", "prometheus"] = "json") -> None:
    """Write all figures to a file. Raises ``ValueError`` for another format, ``OSError`` if that fails."""
    from litellm_accel.operation.exports import written

    text = written(get_performance_stats(), format)
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(text)


def _figures(name: str) -> dict[str, Any]:
    one = activation.activations().get(name)
    if one is None:
        return {
            "state": "off",
            "mode": "",
            "calls": 0,
            "served": 0,
            "bypassed": 0,
            "declined": {},
            "faults": 0,
            "sides": None,
        }
    row, sides = one.status(), one.gate.sides
    seconds = max(time.monotonic() - one.counting_since, 1e-9)
    calls = row.served + row.bypassed + sum(row.declined.values())
    figures: dict[str, Any] = {
        "state": row.state,
        "mode": row.mode,
        "calls": calls,
        "served": row.served,
        "bypassed": row.bypassed,
        "declined": row.declined,
        "faults": row.faults,
        "breaker_open": one.gate.is_open,
        "seconds": seconds,
        "calls_per_second": calls / seconds,
        "sides": None,
    }
    if sides is not None:
        figures["sides"] = {side: _times(found) for side, found in zip(SIDES, sides, strict=True)}
        figures["cpu_saved_seconds"] = _saved(figures["sides"], row.served)
    if one.gate.shadow is not None:
        figures["shadow"] = one.gate.shadow.to_dict()
    return figures


def _times(side: hot_gate.Side) -> dict[str, Any]:
    buckets = side.buckets
    found: dict[str, Any] = {"calls": side.calls, "errors": side.errors}
    for percent in (50, 95, 99):
        taken = quantile(buckets, percent / 100)
        found[f"p{percent}_us"] = None if taken is None else taken / 1000
    found["max_us"] = side.slowest / 1000
    found["mean_us"] = side.nanoseconds / side.calls / 1000 if side.calls else None
    cpu = usual(side.cpu_buckets)
    found["cpu_us"] = None if cpu is None else cpu / 1000
    found["buckets"] = {bucket: count for bucket, count in enumerate(buckets) if count}
    return found


def _reference(sides: Mapping[str, Any]) -> str | None:
    """Return the side that shows how long stock takes: the same traffic if there is enough of it."""
    return next((side for side, least in (("bypassed", 30), ("declined", 1)) if sides[side]["calls"] >= least), None)


def _saved(sides: Mapping[str, Any], served: int) -> float | None:
    stock = _reference(sides)
    if stock is None or sides[stock]["cpu_us"] is None or sides["served"]["cpu_us"] is None:
        return None
    saved: float = served * (sides[stock]["cpu_us"] - sides["served"]["cpu_us"]) / 1e6
    return saved


def _ratio(one: float | None, other: float | None) -> float | None:
    return one / other if one and other else None


def _advice(name: str, do: str, because: str, figures: dict[str, Any], cpu_seconds: float = 0.0) -> dict[str, Any]:
    return {"component": name, "do": do, "because": because, "figures": figures, "cpu_seconds": cpu_seconds}


def _of_declines(name: str, gate: hot_gate.Gate, figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return recommendations for the reasons for which calls are left to stock."""
    sides = figures["sides"]
    each = 0.0
    if sides is not None and sides["declined"]["cpu_us"] and sides["served"]["cpu_us"]:
        each = max(sides["declined"]["cpu_us"] - sides["served"]["cpu_us"], 0.0) / 1e6
    found = []
    for reason, count in gate.reasons().items():
        bare = reason[0] if isinstance(reason, tuple) else reason
        if not isinstance(bare, Reason) or bare in _PASSING or count < _FEW or count < _WORTH * figures["calls"]:
            continue
        shown = {"calls": count, "share": count / figures["calls"]}
        found.append(_advice(name, bare.meaning, f"{count} calls are left to stock: {reason}", shown, each * count))
    return found


def _of_mode(row: Any, gate: hot_gate.Gate, figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return recommendations for a component's mode."""
    name, shown = row.name, {"served": row.served, "faults": row.faults}
    if gate.is_open:
        text = f"its breaker is open: {gate.last_fault}"
        return [_advice(name, "set its mode to off, and report the fault", text, shown, 1e9)]
    if row.mode.startswith("canary: back"):
        return [_advice(name, "set its mode to off until the reason is understood", row.mode, shown)]
    if row.mode == "canary: done at 100 %":
        return [_advice(name, "set its mode to on", "the canary has ended well", shown)]
    if row.mode.startswith("rollout") and row.served >= _SURE and not row.faults:
        return [_advice(name, "widen the rollout", "no fault in what was served", shown)]
    shadow = gate.shadow
    if shadow is not None:
        shown = {"equal": shadow.equal, "different": shadow.different}
        if shadow.different:
            text = "set its mode to off, and report the differences"
            return [_advice(name, text, "it differs from stock in shadow", shown)]
        if shadow.equal >= _SURE:
            return [_advice(name, "set its mode to rollout", "no difference in shadow", shown)]
    return []
