"""Compares accelerated LiteLLM with stock on changed copies of the installed one."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from litellm_accel.verify import comparison, sides
from litellm_accel.verify.scenario import Run
from mutants import copies
from mutants.mutant import Mutant

ACCELERATED = "mutants.worker:accelerated"
#: With fewer applicable mutants than that the list says too little about the installed release.
ENOUGH = 60
#: What a mutant that does not matter must leave of the calls that are served on a LiteLLM that does all as installed.
SHARE = 0.7
#: Such a LiteLLM: nobody knows its source, so that no record fits.
UNCHANGED = Mutant(
    "unchanged",
    "nothing",
    (("main.py", "# Inject proxy auth headers if configured", "# Add what the proxy wants, if anything"),),
    matters=False,
)
#: What is called often enough for half of the calls to be served once they have been learned from and compared.
OFTEN = "calls/often"


@dataclass(frozen=True)
class Result:
    """What came of one mutant: the verdicts on its runs, or `error` when a side could not start."""

    mutant: Mutant
    verdicts: tuple[comparison.Verdict, ...]
    seconds: float
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing differs."""
        return not self.error and all(verdict.ok for verdict in self.verdicts)

    @property
    def served(self) -> int:
        return sum(verdict.served for verdict in self.verdicts)

    def __str__(self) -> str:
        return "\n".join([self.mutant.name, *([self.error] if self.error else []), *(str(v) for v in self.failed)])

    @property
    def failed(self) -> list[comparison.Verdict]:
        return [verdict for verdict in self.verdicts if not verdict.ok]


def fault(result: Result, unchanged: Result) -> str:
    """What is wrong with a result, or "": something differs, or too little is served where nothing of ours changed."""
    if not result.ok:
        return str(result)
    if result.mutant.matters:
        return ""
    played = {verdict.run.id for verdict in result.verdicts}
    usual = sum(verdict.served for verdict in unchanged.verdicts if verdict.run.id in played)
    if result.served < SHARE * usual:
        return f"{result.mutant.name}\nserves {result.served} calls of {usual}"
    seldom = [v for v in result.verdicts if v.run.scenario.name == OFTEN and 2 * v.served < v.run.calls]
    return "\n".join(f"{result.mutant.name}\n{v.run.id}: serves {v.served} calls of {v.run.calls}" for v in seldom)


def installed() -> Path:
    """Where LiteLLM is installed, found without importing it."""
    spec = importlib.util.find_spec(copies.PACKAGE)
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


def applicable(mutants: Sequence[Mutant]) -> list[Mutant]:
    """Those whose old texts are in the installed LiteLLM."""
    where = installed()
    return [mutant for mutant in mutants if copies.changed_files(mutant, where) is not None]


@contextmanager
def base() -> Iterator[sides.ForkServer]:
    """The process that all others are forked from."""
    server = sides.ForkServer((sys.executable, "-m", "mutants.worker"))
    try:
        yield server
    finally:
        server.stop()


class _Changed(sides.ForkServer):
    """The process that has imported a changed LiteLLM, forked from the base."""

    def __init__(self, server: sides.ForkServer, directory: str) -> None:
        self._server, self._directory = server, directory
        super().__init__()

    def _start(self, command: Sequence[str], theirs: socket.socket) -> subprocess.Popen[bytes] | sides.Forked:
        reading, writing = os.pipe()
        with open(os.devnull, "wb") as nowhere:
            pid = self._server.start(self._directory, theirs.fileno(), writing, self.errors.fileno())
            os.close(writing)
            return sides.Forked(pid, os.dup(nowhere.fileno()), reading)


def run(
    mutant: Mutant,
    server: sides.ForkServer,
    runs: Sequence[Run],
    progress: Callable[[comparison.Verdict], None] = lambda verdict: None,
) -> Result:
    """Play runs on a mutant, stock and accelerated, and compare. The mutant must be applicable."""
    begin = time.monotonic()
    where = installed()
    files = copies.changed_files(mutant, where)
    assert files is not None, f"{mutant.name} is not applicable"
    verdicts: list[comparison.Verdict] = []
    with tempfile.TemporaryDirectory(prefix="mutant-") as directory:
        copies.write_copy(where, files, Path(directory))
        changed = _Changed(server, directory)
        try:
            with comparison._Pair("mutants", ACCELERATED, changed) as pair:
                for item in runs:
                    verdicts.append(pair.compare(item))
                    progress(verdicts[-1])
        except RuntimeError as error:
            return Result(mutant, tuple(verdicts), time.monotonic() - begin, str(error))
        finally:
            changed.stop()
    return Result(mutant, tuple(verdicts), time.monotonic() - begin)
