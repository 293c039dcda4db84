"""Runs real programs of the ecosystem on stock and on accelerated LiteLLM, and compares all that can be seen.

    python tests/programs/run.py [PROGRAM …]

Each program has an environment of its own in the cache. The exit status is 1 if a program differs from stock, cannot
run, or is served less than its file says. ``docs/programs.md`` is written from what the cache holds of the last run of
each program.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import page
from answers import literal
from environment import ROOT, Environment, Wheels
from sides import Outcome, compare, reasons

SUITE = Path(__file__).parent / "suite"
SHOWN = 12
#: Per cent of calls that are served where a program's file says nothing else.
AIM = 95


def pinned() -> str:
    """Return the requirement by which this project pins LiteLLM."""
    (release,) = re.findall(r"^-c constraints/(.+)\.txt$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    return f"litellm=={release}"


def verdict(outcome: Outcome, program: Path) -> list[str]:
    """Return what is wrong with an outcome."""
    if outcome.error:
        return [f"cannot run: {outcome.error}"]
    wrong = outcome.differences[:SHOWN]
    if len(outcome.differences) > SHOWN:
        wrong.append(f"… and {len(outcome.differences) - SHOWN} more differences")
    if outcome.states.get("chat") == "active" and outcome.share < (least := literal(program, "SERVED", AIM)):
        wrong.append(f"served {outcome.share:.1f} %, at least {least} % are demanded")
    return wrong


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="*", help="names of files in suite/; all if none is given")
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "programs")
    parser.add_argument("--litellm", default=pinned(), help="the requirement for LiteLLM (%(default)s)")
    parser.add_argument("--require-records", action="store_true", help="accelerate only what a record of verify proves")
    parser.add_argument("--wheel", type=Path, help="a wheel of this tree, instead of making one")
    parser.add_argument("--explain", action="store_true", help="say what each declined call looked like")
    parser.add_argument("--rounds", type=int, help="how often each task is played, instead of what the program says")
    parser.add_argument("--page", type=Path, help="write the page of results here")
    options = parser.parse_args(arguments)
    programs = {path.stem: path for path in sorted(SUITE.glob("*.py"))}
    if unknown := set(options.programs) - programs.keys():
        parser.error(f"unknown programs {', '.join(sorted(unknown))}; known: {', '.join(programs)}")
    cache = options.cache.resolve()
    wheels = Wheels(cache, options.wheel and options.wheel.resolve())
    failed = 0
    for name in options.programs or programs:
        program = programs[name]
        begin = time.monotonic()
        environment = Environment(
            name, cache / "environments", literal(program, "REQUIREMENTS"), options.litellm, literal(program, "PYTHON")
        )
        try:
            python = environment.prepare(wheels)
            outcome = compare(
                program,
                python,
                cache,
                proven=options.require_records,
                explain=options.explain,
                rounds=options.rounds,
            )
        except SystemExit as error:  # an installation that failed; the others may succeed
            outcome = Outcome(name, error=str(error))
        wrong = verdict(outcome, program)
        failed += bool(wrong)
        print(f"{name}: {'FAILED' if wrong else 'equal'}, {page.summary(outcome)}; {time.monotonic() - begin:.0f} s")
        for line in (*reasons(outcome.declined), *wrong):
            print(f"    {line}")
        if options.explain:
            for count, text in outcome.explained:
                print(f"    {count} × {text}")
        results = cache / "results" / f"{name}.json"
        results.parent.mkdir(parents=True, exist_ok=True)
        held = {"day": time.strftime("%Y-%m-%d"), "tree": environment.tree(), "proven": options.require_records}
        held |= asdict(outcome)
        results.write_text(json.dumps(held, indent=1))
        sys.stdout.flush()
    if options.page is not None:
        demanded = {name: literal(path, "SERVED", AIM) for name, path in programs.items()}
        options.page.write_text(page.written(cache / "results", demanded))
    print(f"{len(options.programs or programs) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
