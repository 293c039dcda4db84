"""``python -m mutants [NAME…]``: compares accelerated LiteLLM with stock on mutants, all of them or those named."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch

import click

from litellm_accel.verify.scenario import Run
from mutants import calls as played
from mutants import harness
from mutants.calls import RUNS
from mutants.harness import Result
from mutants.mutant import Mutant, listed

#: Lines that are shown of what is wrong with a mutant.
SHOWN = 40


@click.command()
@click.argument("patterns", nargs=-1, metavar="[NAME]…")
@click.option("--call", "calls", multiple=True, metavar="PATTERN", help="Only calls like this; may be repeated.")
@click.option("--jobs", default=2, help="How many mutants are compared at a time.")
@click.option("--thorough", is_flag=True, help="All calls for each mutant, not those that have to do with it alone.")
@click.option("--reasons", is_flag=True, help="Show of each call how many were served and why others were not.")
def main(patterns: tuple[str, ...], calls: tuple[str, ...], jobs: int, thorough: bool, reasons: bool) -> None:
    """Compare accelerated LiteLLM with stock on changed copies of the installed one."""
    wanted = [mutant for mutant in listed() if not patterns or _fits(mutant.name, patterns)]

    def runs_of(mutant: Mutant) -> list[Run]:
        runs = RUNS if thorough or calls or mutant is harness.UNCHANGED else played.runs_of(mutant.area)
        return [run for run in runs if not calls or _fits(run.id.removeprefix("calls/"), calls)]

    found = harness.applicable(wanted)
    for mutant in wanted:
        if mutant not in found:
            click.echo(f"{mutant.name}: not applicable")
    with harness.base() as server:
        unchanged = harness.run(harness.UNCHANGED, server, runs_of(harness.UNCHANGED))
        faults = [_show(unchanged, unchanged, reasons)]
        with ThreadPoolExecutor(jobs) as pool:
            faults += pool.map(lambda m: _show(harness.run(m, server, runs_of(m)), unchanged, reasons), found)
    wrong = sum(map(bool, faults))
    click.echo(f"{len(found)} mutants of {len(wanted)} are applicable, {wrong} differ or are served too little")
    sys.exit(bool(wrong) or (not patterns and len(found) < harness.ENOUGH))


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _show(result: Result, unchanged: Result, reasons: bool) -> str:
    """Show what came of a mutant, and return what is wrong with it."""
    fault = harness.fault(result, unchanged)
    lines = [f"{result.mutant.name}: {result.served} calls served, {result.seconds:.0f} s"]
    if reasons:
        lines += [f"    {v.run.id}: {v.served} served, {v.reasons}" for v in result.verdicts]
    lines += [f"  ! {line}" for line in fault.splitlines()[:SHOWN]]
    click.echo("\n".join(lines))
    return fault


main()
