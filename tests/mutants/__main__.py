"""``python -m mutants [NAME…]``: compares accelerated LiteLLM with stock on mutants, all of them or those named."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch

import click

from mutants import harness
from mutants.calls import RUNS
from mutants.harness import Result
from mutants.mutant import listed

#: Lines that are shown of what is wrong with a mutant.
SHOWN = 40


@click.command()
@click.argument("patterns", nargs=-1, metavar="[NAME]…")
@click.option("--call", "calls", multiple=True, metavar="PATTERN", help="Only calls like this; may be repeated.")
@click.option("--jobs", default=2, help="How many mutants are compared at a time.")
@click.option("--reasons", is_flag=True, help="Show of each call how many were served and why others were not.")
def main(patterns: tuple[str, ...], calls: tuple[str, ...], jobs: int, reasons: bool) -> None:
    """Compare accelerated LiteLLM with stock on changed copies of the installed one."""
    wanted = [mutant for mutant in listed() if not patterns or _fits(mutant.name, patterns)]
    runs = [run for run in RUNS if not calls or _fits(run.id.removeprefix("calls/"), calls)]
    found = harness.applicable(wanted)
    for mutant in wanted:
        if mutant not in found:
            click.echo(f"{mutant.name}: not applicable")
    with harness.base() as server:
        unchanged = harness.run(harness.UNCHANGED, server, runs)
        faults = [_show(unchanged, unchanged, reasons)]
        with ThreadPoolExecutor(jobs) as pool:
            faults += pool.map(lambda m: _show(harness.run(m, server, runs), unchanged, reasons), found)
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
