"""The page of results, ``docs/programs.md``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sides import BESIDES, Outcome, reasons

SHOWN = 3
HEAD = """# Programs of the ecosystem

Written by `make programs`; do not edit. Each program does what its documentation shows (tools, streams, structured
answers, failures, histories with results of tools, synchronous and asynchronous calls, several in flight), twice, each
time in a process of its own: on stock LiteLLM and after `litellm_accel.accelerate()`. Compared are results, exceptions,
warnings, log records, changes of the environment, and every request as the provider received it: order, path, headers
and bytes. Identifiers and clocks are masked.

- *requests*: what the provider received from one side.
- *served*: of the calls after the first two rounds, without those handed over, and those that LiteLLM refuses before it
  sends anything; in brackets what the program's file demands.
- *learned*: calls by which the fast path learned, in all rounds. *handed over*: calls whose reply was stock's to judge
  (errors; answers of a new shape).
- *CPU a request*: CPU time of the program's process for a request, the framework's own work included; both sides in
  turn, after the first two rounds.

Each row is the last run of a program; *our tree* under the versions is a digest of the tree whose wheel it ran with.
"""


def summary(outcome: Outcome) -> str:
    """Return an outcome in a line."""
    if outcome.error:
        return "cannot run"
    stock, accelerated = cpu(outcome)
    ratio = f"{stock / accelerated:.1f}×" if accelerated else ""
    return (
        f"{outcome.requests} requests, {outcome.served} served = {outcome.share:.1f} %, {outcome.learning} learned, "
        f"{outcome.handed_over} handed over, CPU {stock:.2f} → {accelerated:.2f} ms a request {ratio}"
    )


def cpu(outcome: Outcome) -> tuple[float, float]:
    """Return the milliseconds of CPU for a request, stock and accelerated."""
    if not outcome.measured:
        return 0.0, 0.0
    stock, accelerated = (outcome.seconds[side] * 1000 / outcome.measured for side in ("stock", "accelerated"))
    return stock, accelerated


def written(results: Path, demanded: Mapping[str, int]) -> str:
    """Return the page, from the last result of each program, with the share that each demands."""
    held = [json.loads(path.read_text()) for name in demanded if (path := results / f"{name}.json").exists()]
    lines = [HEAD, *_notes(held)]
    lines += [
        "| program | on | equal | requests | served | learned | handed over | CPU a request: stock, accelerated | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [_row(one, demanded[one["name"]]) for one in held]
    lines += ["", "## Differences", ""]
    for one in held:
        outcome = _outcome(one)
        if outcome.error or outcome.differences:
            lines += ["", f"{outcome.name}:", "", "```", *_differences(outcome), "```"]
    lines += ["", "## What was left to stock after the first two rounds", ""]
    for one in held:
        outcome = _outcome(one)
        besides = {reason: n for reason, n in outcome.declined.items() if reason.startswith(BESIDES)}
        if outcome.left or besides:
            lines.append(f"- {outcome.name}: " + ", ".join(f"{text}" for text in reasons(outcome.left | besides)))
    lines += ["", "## Versions", ""]
    for one in held:
        versions = ", ".join(f"{name} {version}" for name, version in one["versions"].items())
        lines.append(f"- {one['name']}: {versions}; our tree {one['tree']}")
    return "\n".join(lines) + "\n"


def _notes(held: list[Any]) -> list[str]:
    unproven = [one["name"] for one in held if not one["proven"]]
    if not unproven:
        return []
    return [
        "Records of `verify` hold for exact versions, which are not those that these programs bring along. They ran",
        "without asking for records, as `verify` itself does; with `--require-records` the runner asks for them.",
        "",
    ]


def _outcome(one: dict[str, Any]) -> Outcome:
    return Outcome(**{name: value for name, value in one.items() if name not in ("day", "tree", "proven")})


def _differences(outcome: Outcome) -> list[str]:
    if outcome.error:
        return [outcome.error.splitlines()[-1]]
    shown = outcome.differences[:SHOWN]
    more = len(outcome.differences) - len(shown)
    return [*shown, f"and {more} more"] if more else shown


def _row(one: dict[str, Any], demanded: int) -> str:
    outcome = _outcome(one)
    if outcome.error:
        return f"| {outcome.name} | {one['day']} | cannot run | | | | | | |"
    stock, accelerated = cpu(outcome)
    ratio = f"{stock / accelerated:.1f}×" if accelerated else ""
    spent = f"{stock:.2f}, {accelerated:.2f} ms" if outcome.measured else ""
    equal = "yes" if not outcome.differences else f"**no**: {len(outcome.differences)}"
    share = f"{outcome.share:.1f} % ({demanded} %)" if outcome.measured else "not measured"
    return (
        f"| {outcome.name} | {one['day']} | {equal} | {outcome.requests} | {share} | {outcome.learning} | "
        f"{outcome.handed_over} | {spent} | {ratio} |"
    )
