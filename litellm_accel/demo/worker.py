"""The child process of demo and bench: runs one batch of a row each time it is asked, in stock or accelerated LiteLLM.

``python -m litellm_accel.demo.worker stock|accelerated`` reads a JSON object a line, ``{"row": name, "url": url}``, and
answers each with one: ``{"cpu", "wall": seconds, "units": number, "served": number, "declined":
{reason: number}, "results": [...]}``, or ``{"error": traceback}``, or ``{"left_out": reason}`` if LiteLLM cannot do the
work. The first line it writes tells the ``versions`` and the components' ``report``. It ends with its input.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import inspect
import json
import logging
import os
import platform
import random
import sys
import time
import traceback
from collections import Counter
from typing import IO, Any

from litellm_accel.bench.rows import ROWS as BENCH_ROWS
from litellm_accel.demo.comparison import comparable
from litellm_accel.demo.work import IN_FLIGHT, ROWS, Batch

# The process is idle when it used less than a twentieth of a CPU for so long that even a busy machine would have given
# each of its threads a turn.
IDLE_INTERVAL = 0.005
IDLE_SHARE = 0.05
IDLE_TIMES = 12
PATIENCE = 5.0
# Where calls are proven before they are served, a router's deployments have been asked often enough after so many.
WARM_UPS = 15

_rows = {row.name: row for row in (*ROWS, *BENCH_ROWS)}


def main() -> None:
    is_accelerated = sys.argv[1:] == ["accelerated"]
    answers = _keep_stdout_for_answers()
    # No network but loopback, and nothing printed but errors.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    litellm.suppress_debug_info = True
    logging.disable(logging.WARNING)
    report: dict[str, Any] = {"components": []}
    if is_accelerated:
        import litellm_accel

        report = litellm_accel.accelerate(config=False).to_dict()
    _send(answers, {"versions": _versions(), "report": report})
    bench = Bench(is_accelerated)
    for line in sys.stdin:
        try:
            answer = bench.measure(**json.loads(line))
        except NotImplementedError as reason:
            answer = {"left_out": str(reason)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        _send(answers, answer)


class Bench:
    """Prepares rows once and measures a batch of one at a time."""

    def __init__(self, is_accelerated: bool) -> None:
        self.is_accelerated = is_accelerated
        self.loop = asyncio.new_event_loop()
        self.prepared: dict[str, Batch] = {}

    def measure(self, row: str, url: str) -> dict[str, Any]:
        """Run one batch. CPU time is all threads' and includes what the calls leave behind; wall time does not."""
        if row not in self.prepared:
            self.prepared[row] = _rows[row].prepare(url)
            if not _rows[row].starts_cold:
                self._warm_up(row)
            gc.collect()
        self.loop.run_until_complete(_idle_since())
        before = self._counters(row)
        wall, cpu = time.perf_counter(), time.process_time()
        results = self._play(row)
        wall = time.perf_counter() - wall
        cpu = self.loop.run_until_complete(_idle_since()) - cpu
        counted = self._counters(row) - before
        return {
            "cpu": cpu,
            "wall": wall,
            "units": _rows[row].units(results),
            "served": counted.pop("", 0),
            "declined": counted,
            "results": comparable(results),
        }

    def _warm_up(self, row: str) -> None:
        """Have caches fill, and the fast path learn: until a batch declines no more calls than the one before."""
        declined = None
        for number in range(WARM_UPS):
            before = self._counters(row)
            self._play(row, 1 + number)
            self.loop.run_until_complete(_idle_since())
            counted = self._counters(row) - before
            if not self.is_accelerated or (counted[""] and counted.total() - counted[""] == declined):
                return
            declined = counted.total() - counted[""]

    def _play(self, row: str, number: int = 0) -> list[Any]:
        """Run the batch of this ``number``; each asks other questions, and the same ones each time."""
        random.seed(f"{row} {number}")  # stock and accelerated routers draw the same deployments
        results = self.prepared[row](number * IN_FLIGHT)
        return self.loop.run_until_complete(results) if inspect.isawaitable(results) else results

    def _counters(self, row: str) -> Counter[str]:
        """Return how many calls the row's components have declined, by reason, and under ``""`` how many served."""
        counters: Counter[str] = Counter()
        if self.is_accelerated:
            import litellm_accel

            for component in litellm_accel.status().to_dict()["components"]:
                if component["name"] in _rows[row].components:
                    counters[""] += component["served"]
                    counters.update(component["declined"])
        return counters


async def _idle_since() -> float:
    """Wait until no thread or task works; return the process's CPU clock now and the CPU time of that work.

    LiteLLM logs and counts after a call has returned, in tasks and threads; that work belongs to the call. A process
    that never rests is waited for no longer than ``PATIENCE`` seconds.
    """
    started = last = time.process_time()
    worked = 0.0
    quiet, end = 0, time.monotonic() + PATIENCE
    while quiet < IDLE_TIMES and time.monotonic() < end:
        await asyncio.sleep(IDLE_INTERVAL)
        now = time.process_time()
        spent, last = now - last, now
        if spent < IDLE_SHARE * IDLE_INTERVAL:
            quiet += 1
        else:
            quiet, worked = 0, worked + spent
    return started + worked


def _keep_stdout_for_answers() -> IO[str]:
    """Return standard output for our answers alone; whatever else is printed goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _send(answers: IO[str], message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def _versions() -> dict[str, str]:
    packages = ("litellm", "openai", "tiktoken", "aiohttp", "pydantic")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}}


if __name__ == "__main__":
    main()
