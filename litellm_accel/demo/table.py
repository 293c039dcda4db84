"""The demo's result as a table on the terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from litellm_accel.demo.results import Outcome, Result

EXPLANATION = (
    "CPU time per call, least of all rounds: all threads, with the logging that follows a call. "
    "Clock is the ratio by wall time. Results are compared with ids and dates masked."
)


def print_table(result: Result, console: Console | None = None) -> None:
    """Print ``result``: the table, why stock served calls, what differs or failed, the machine and the versions."""
    console = console or Console()
    table = Table(
        title="LiteLLM, stock and accelerated",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    table.add_column("CPU time of")
    for heading in ("Stock", "Accelerated", "CPU", "Clock", "Served", "Equal"):
        table.add_column(heading, justify="right", no_wrap=True)
    for outcome in result.outcomes:
        if not outcome.left_out:
            table.add_row(*_cells(outcome), style="" if outcome.served else "dim")
    console.print(table)
    for reason, titles in reasons(result).items():
        console.print(Text.assemble(("Left to stock: ", "bold"), f"{'; '.join(titles)}: {reason}"))
    for reason, titles in left_out(result).items():
        console.print(Text.assemble(("Left out: ", "bold"), f"{'; '.join(titles)}: {reason}"))
    for outcome in result.outcomes:
        if not outcome.ok:
            console.print(Text(f"\n{outcome.row.title}", style="bold red"))
            console.print(Text(outcome.error or f"Results differ. {outcome.difference}"))
    console.print(Text(f"\n{EXPLANATION}\n{result.setting}; {result.seconds:.0f} s", style="dim"))


def reasons(result: Result) -> dict[str, list[str]]:
    """Return for each reason why stock served calls the titles of the rows concerned."""
    return _by_reason((outcome.left_to_stock, outcome) for outcome in result.outcomes)


def left_out(result: Result) -> dict[str, list[str]]:
    """Return for each reason why rows were not measured their titles."""
    return _by_reason((outcome.left_out, outcome) for outcome in result.outcomes)


def _by_reason(found: Iterable[tuple[str, Outcome]]) -> dict[str, list[str]]:
    titles: defaultdict[str, list[str]] = defaultdict(list)
    for reason, outcome in found:
        if reason:
            titles[reason].append(outcome.row.title)
    return dict(titles)


def duration(seconds: float) -> str:
    """Return a duration in three significant digits: ``2.71 ms``, ``312 µs``."""
    size, name = next(((s, n) for s, n in ((1.0, "s"), (1e-3, "ms")) if seconds >= s), (1e-6, "µs"))
    return f"{seconds / size:#.3g}".rstrip(".") + f" {name}"


def ratio(value: float) -> str:
    """Return a ratio as ``1.0×``, ``14×``."""
    return f"{value:.1f}×" if value < 9.95 else f"{value:.0f}×"


def _cells(outcome: Outcome) -> list[Text]:
    title = Text(outcome.row.title)
    if outcome.error is not None:
        return [title, *(Text("–") for _ in range(5)), Text("failed", style="bold red")]

    return [
        title,
        Text(duration(min(outcome.stock.cpu))),
        Text(duration(min(outcome.accelerated.cpu))),
        Text(ratio(outcome.cpu_ratio), style="bold green" if outcome.served and outcome.cpu_ratio > 1 else ""),
        Text(ratio(outcome.wall_ratio)),
        Text(outcome.served_share, style="green" if outcome.served >= outcome.calls else ""),
        Text("yes", style="green") if outcome.difference is None else Text("no", style="bold red"),
    ]
