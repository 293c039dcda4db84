"""Runs every row in a stock and in an accelerated child process, in turn: one works while the other waits."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

import litellm_accel
from litellm_accel.demo.comparison import difference
from litellm_accel.demo.results import Outcome, Result
from litellm_accel.demo.work import OVER, PROFILE, ROWS, Row
from litellm_accel.provider import Provider

# Measuring takes about SECONDS, besides starting and warming up; every row has an equal share, but at least MIN_ROUNDS.
SECONDS = 30.0
QUICK_SECONDS = 6.0
MIN_ROUNDS = 2
MAX_ROUNDS = 20
# An answer that takes longer than any machine should need ends the worker.
ANSWER_SECONDS = 300.0


class WorkerFailed(Exception):
    """A child process ended or did not answer; the text is what it wrote to standard error."""


class Worker:
    """A child process in ``mode`` ``"stock"`` or ``"accelerated"``; it ends with the ``with`` block.

    ``environment`` is added to its environment.
    """

    def __init__(self, mode: str, environment: Mapping[str, str] | None = None) -> None:
        self.mode = mode
        self._is_late = False
        self._row = ""
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115  # __exit__ closes
        root = str(Path(litellm_accel.__file__).resolve().parent.parent)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "litellm_accel.demo.worker", mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            encoding="utf-8",
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))),
                **(environment or {}),
            },
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.kill()  # it holds nothing that wants an orderly end
        self.process.wait()
        with suppress(BrokenPipeError):  # a request the worker has not lived to read
            self.process.stdin.close()
        self.process.stdout.close()
        self.errors.close()

    def send(self, row: Row, url: str) -> None:
        """Have one batch of ``row`` run; ``answer()`` tells what it came to. Raises ``WorkerFailed``."""
        assert self.process.stdin is not None
        self._row = row.name
        try:
            self.process.stdin.write(json.dumps({"row": row.name, "url": url}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self._failed() from None

    def answer(self) -> dict[str, Any]:
        """Return the next message of the worker. Raises ``WorkerFailed``."""
        assert self.process.stdout is not None
        watchdog = threading.Timer(ANSWER_SECONDS, self._give_up)
        watchdog.start()
        try:
            line = self.process.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            raise self._failed()
        message: dict[str, Any] = json.loads(line)
        return message

    def _give_up(self) -> None:
        self._is_late = True
        self.process.kill()

    def _failed(self) -> WorkerFailed:
        code = self.process.wait()
        what = f"has not answered for {ANSWER_SECONDS:g} s" if self._is_late else f"ended with code {code}"
        if self._row:
            what += f" in {self._row}"
        self.errors.seek(0)
        return WorkerFailed(f"the {self.mode} worker {what}\n{self.errors.read()[-4000:]}".rstrip())


def run(*, seconds: float = SECONDS, rows: Sequence[Row] = ROWS) -> Result:
    """Run ``rows`` against an embedded provider, measuring for about ``seconds``, with progress on standard error.

    Returns what was measured.

    Raises ``WorkerFailed`` if a child process ends; work that raises an exception is told in its ``Outcome``.
    """
    began = time.monotonic()
    outcomes: dict[str, Outcome] = {}
    with _progress() as progress, Provider(record=0, profile=PROFILE, tls=OVER == "tls") as provider:
        task = progress.add_task("", total=len(rows))
        for together in _by_process(rows):
            progress.update(task, description="Starting LiteLLM, stock and accelerated")
            with Worker("stock", provider.trust) as stock, Worker("accelerated", provider.trust) as accelerated:
                stock.answer()
                hello = accelerated.answer()
                for row in together:
                    progress.update(task, description=row.title)
                    outcome = Outcome(row, unavailable=_unavailable(row, hello["report"]["components"]))
                    url = (provider if row.over == "tls" else provider.plain).at(row.scenario)
                    until = time.monotonic() + seconds / len(rows)
                    if row.starts_cold:
                        _measure_cold(outcome, provider.trust, url, until)
                    else:
                        _warm_up(outcome, stock, accelerated, url)
                        _measure(outcome, stock, accelerated, url, until=time.monotonic() + seconds / len(rows))
                    outcomes[row.name] = outcome
                    progress.advance(task)
    versions = {"litellm-accel": litellm_accel.__version__, **hello["versions"]}
    answers = f"{PROFILE} over {'TLS' if provider.secure else 'plain HTTP'}"
    in_order = [outcomes[row.name] for row in rows]
    return Result(machine(), versions, answers, hello["report"], in_order, time.monotonic() - began)


def _by_process(rows: Sequence[Row]) -> list[list[Row]]:
    processes: dict[str, list[Row]] = {}
    for row in rows:
        processes.setdefault(row.process, []).append(row)
    return list(processes.values())


def _warm_up(outcome: Outcome, stock: Worker, accelerated: Worker, url: str) -> None:
    """Run a round (vocabularies, connections, caches) in both workers at once; it is compared, not counted."""
    for worker in (stock, accelerated):
        worker.send(outcome.row, url)
    _compare(outcome, stock.answer(), accelerated.answer())


def _measure(outcome: Outcome, stock: Worker, accelerated: Worker, url: str, until: float) -> None:
    """Fill ``outcome`` with rounds of both workers in turn, stock first, ``until`` that time on the monotonic clock."""
    for number in range(MAX_ROUNDS):
        if not outcome.is_measured or (number >= MIN_ROUNDS and time.monotonic() > until):
            return
        answers = []
        for worker in (stock, accelerated):
            worker.send(outcome.row, url)
            answers.append(worker.answer())
        _compare(outcome, *answers)
        if outcome.is_measured:
            _add(outcome, *answers)


def _measure_cold(outcome: Outcome, trust: Mapping[str, str], url: str, until: float) -> None:
    """Fill ``outcome`` with rounds of workers that begin with them, in turn, stock first, as in ``_measure``."""
    for number in range(MAX_ROUNDS):
        if not outcome.is_measured or (number >= MIN_ROUNDS and time.monotonic() > until):
            return
        answers = []
        for mode in ("stock", "accelerated"):
            with Worker(mode, trust) as worker:
                worker.answer()
                worker.send(outcome.row, url)
                answers.append(worker.answer())
        _compare(outcome, *answers)
        if outcome.is_measured:
            _add(outcome, *answers)


def _compare(outcome: Outcome, stock: dict[str, Any], accelerated: dict[str, Any]) -> None:
    """Note in ``outcome`` what failed in a round or else where its results differ first."""
    for mode, answer in (("stock", stock), ("accelerated", accelerated)):
        outcome.left_out = outcome.left_out or answer.get("left_out", "")
        if "error" in answer:
            outcome.error = outcome.error or f"In the {mode} worker:\n{answer['error']}".rstrip()
    if outcome.is_measured and outcome.difference is None:
        outcome.difference = difference(stock["results"], accelerated["results"])


def _add(outcome: Outcome, stock: dict[str, Any], accelerated: dict[str, Any]) -> None:
    """Count a round in ``outcome``."""
    for times, answer in ((outcome.stock, stock), (outcome.accelerated, accelerated)):
        times.cpu.append(answer["cpu"] / answer["units"])
        times.wall.append(answer["wall"] / answer["units"])
    outcome.calls += accelerated["units"]
    outcome.served += accelerated["served"]
    outcome.declined.update(accelerated["declined"])


def _unavailable(row: Row, components: Iterable[dict[str, Any]]) -> str:
    """Return why none of the row's components is active; empty if one is."""
    known = [component for component in components if component["name"] in row.components]
    if any(component["state"] == "active" for component in known):
        return ""
    told = [f"{component['name']} is {component['state']} ({component['reason']})" for component in known]
    return "; ".join(told) or "not accelerated yet"


def _progress() -> Progress:
    columns = (TextColumn("{task.description:<50}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def machine() -> str:
    """Return the processor, how many of its cores we may use, and the system."""
    name = platform.processor() or platform.machine()
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        cpuinfo = ""
    models = [line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{models[0] if models else name}, {cores} cores, {platform.system()}"
