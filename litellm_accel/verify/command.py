"""``litellm-accel verify``: plays the scenarios, shows what differs, and keeps the record when nothing does."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from litellm_accel.verify import comparison, records, scenarios
from litellm_accel.verify.proxy import proof
from litellm_accel.verify.proxy.services import missing
from litellm_accel.verify.sides import fork_server


@click.command(name="verify")
@click.option(
    "--component",
    "chosen",
    multiple=True,
    type=click.Choice(sorted((*scenarios.THEMES, proof.COMPONENT))),
    help="What to verify; may be repeated. Default: everything that is proven by scenarios, and the proxy where "
    "litellm[proxy] is installed.",
)
@click.option(
    "--scenario",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="Only scenarios like this, such as 'errors/*' or '*@arouter'; may be repeated. No record is written then.",
)
@click.option(
    "--thorough",
    is_flag=True,
    help="Every scenario through every entry point, and crossed with others, as for a release: minutes.",
)
@click.option(
    "--records",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the record goes. Default: the user's cache directory.",
)
@click.option(
    "--database",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where tools/proxydb/setup.sh has made a database for the proxies. Default: none of them has one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def verify_command(
    chosen: tuple[str, ...],
    patterns: tuple[str, ...],
    thorough: bool,
    directory: Path | None,
    database: Path | None,
    as_json: bool,
) -> None:
    """Compare accelerated LiteLLM with stock in this environment and record what is proven.

    \b
    litellm-accel verify
    litellm-accel verify --component chat --scenario 'errors/*'

    Scenarios are played in both, against a provider on the loopback interface: each through one of its entry points,
    about a minute in all on two free processors. Proxies are asked over HTTP; there are no records of them. Exit code 1
    if anything differs.
    """
    # LiteLLM fetches its price list on import unless told otherwise.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    gateways = (proof.COMPONENT,) if missing() is None else ()
    components = chosen or (*scenarios.THEMES, *gateways)
    played = [name for name in components if not patterns or _matching(name, patterns)]
    if not played:
        raise click.ClickException(f"no scenario of {' or '.join(components)} matches {' or '.join(patterns)}")
    console = Console(stderr=as_json)
    equal = True
    results: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        pairs = None
        if played != [proof.COMPONENT]:
            pairs = stack.enter_context(comparison.Pairs(stack.enter_context(fork_server())))
        for component in played:
            result = _run(component, patterns, thorough, pairs, database, console)
            _show(result, console)
            results[component] = counts(result)
            equal = equal and result.ok
            if component == proof.COMPONENT:
                continue
            if result.ok and not patterns and not result.proves:
                console.print(f"No record: {component} has served no call.", style="red")
                equal = False
            elif result.ok and not patterns:
                try:
                    console.print(f"Record: {records.write(result, directory)}", soft_wrap=True)
                except OSError as error:
                    raise click.ClickException(f"proven, but the record cannot be written: {error}") from None
    if as_json:
        click.echo(json.dumps(results, indent=2))
    if not equal:
        sys.exit(1)


def _show(result: comparison.Result, console: Console) -> None:
    console.print(table(result))
    for verdict in result.failed:
        console.print(escape(str(verdict)), style="red", highlight=False, soft_wrap=True)
    for verdict in result.unplayed:
        console.print(escape(f"not compared: {verdict}"), style="yellow", soft_wrap=True)
    for verdict in result.verdicts:
        if verdict.ok and verdict.unserved:
            reasons = ", ".join(verdict.reasons)
            console.print(escape(f"{verdict.run.id} left to stock: {reasons}"), style="yellow", soft_wrap=True)


def _matching(component: str, patterns: tuple[str, ...]) -> bool:
    if component == proof.COMPONENT:
        return bool(proof.matching(patterns))
    return bool(comparison.matching(component, patterns))


def _run(
    component: str,
    patterns: tuple[str, ...],
    thorough: bool,
    pairs: comparison.Pairs | None,
    database: Path | None,
    console: Console,
) -> comparison.Result:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(f"verify {component}", total=None)

        def advance(verdict: comparison.Verdict, total: int) -> None:
            progress.update(task, advance=1, total=total)

        def absent(line: str) -> None:
            console.print(f"not played: {line}", style="yellow")

        try:
            if component == proof.COMPONENT:
                return proof.run(
                    patterns=patterns, thorough=thorough, database=database, progress=advance, absent=absent
                )
            return comparison.run(component, patterns=patterns, thorough=thorough, kept=pairs, progress=advance)
        except (ValueError, RuntimeError) as error:
            raise click.ClickException(str(error)) from None


def counts(result: comparison.Result) -> dict[str, Any]:
    """Return how many runs there were, in how many calls were served, and which differ, with the time in seconds."""
    return {
        "runs": len(result.verdicts),
        "served": sum(verdict.way in ("served", "mixed") for verdict in result.verdicts),
        "unserved": sum(verdict.unserved for verdict in result.verdicts),
        "different": [verdict.run.id for verdict in result.failed],
        "seconds": round(result.seconds, 1),
    }


def table(result: comparison.Result) -> Table:
    """One line for each theme: how many runs, what the fast path did, how many differ."""
    state = "equal" if result.ok else "different"
    title = f"{result.component}: {state} on LiteLLM {importlib.metadata.version('litellm')}"
    shown = Table(title=f"{title} ({result.seconds:.0f} s)", title_justify="left")
    shown.add_column("theme")
    for heading in ("runs", "served", "left to stock", "unexpectedly", "different"):
        shown.add_column(heading, justify="right")
    failed = {verdict.run.id for verdict in result.failed}
    themes: dict[str, list[comparison.Verdict]] = {}
    for verdict in result.verdicts:
        themes.setdefault(verdict.run.scenario.name.partition("/")[0], []).append(verdict)
    for theme, verdicts in [*themes.items(), ("all", list(result.verdicts))]:
        served = sum(verdict.way in ("served", "mixed") for verdict in verdicts)
        declined = sum(verdict.way == "declined" for verdict in verdicts)
        unserved = sum(verdict.unserved for verdict in verdicts)
        different = sum(verdict.run.id in failed for verdict in verdicts)
        counts = (len(verdicts), served, declined, unserved, different)
        shown.add_row(theme, *(str(count) if count else "-" for count in counts))
    return shown
