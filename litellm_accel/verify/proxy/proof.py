"""The runs of a proof, by configuration: each has a pair of proxies of its own."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from itertools import groupby
from pathlib import Path

from litellm_accel.verify.comparison import Difference, Result, Verdict
from litellm_accel.verify.proxy import play, scripts
from litellm_accel.verify.proxy.script import Config, GatewayRun, Script
from litellm_accel.verify.proxy.services import Database, missing

COMPONENT = "proxy"


def matching(patterns: Sequence[str]) -> list[GatewayRun]:
    """Return the runs whose id or script's name matches one of ``patterns``."""
    return [
        run
        for run in scripts.runs()
        if any(fnmatch(name, pattern) for pattern in patterns for name in (run.id, run.scenario.name))
    ]


def run(
    *,
    patterns: Sequence[str] = (),
    thorough: bool = False,
    database: Path | None = None,
    pairs: int | None = None,
    progress: Callable[[Verdict, int], None] = lambda verdict, total: None,
    absent: Callable[[str], None] = lambda line: None,
) -> Result:
    """Play and compare the runs of a short proof, with ``thorough`` all, with ``patterns`` those that match.

    ``database`` is where ``tools/proxydb/setup.sh`` has made one. ``progress`` is called with each verdict and how many
    come in all, ``absent`` with a line for each configuration that needs what is not here. Raises ``ValueError`` if
    nothing can be played.
    """
    if problem := missing():
        raise ValueError(problem)
    begun = time.monotonic()
    wanted = matching(patterns) if patterns else scripts.runs() if thorough else scripts.short()
    groups: deque[tuple[Config, list[GatewayRun]]] = deque()
    for config, found in groupby(wanted, key=lambda run: run.config):
        if problem := play.unavailable(config, database):
            absent(f"{config.name} needs {problem}")
        else:
            groups.append((config, list(found)))
    total = sum(len(found) for _, found in groups)
    if not total:
        raise ValueError(f"nothing of {COMPONENT} can be played")
    verdicts: dict[str, Verdict] = {}
    failures: list[BaseException] = []
    lock = threading.Lock()
    server = Database(database) if database is not None else None

    def tell(verdict: Verdict) -> None:
        with lock:
            verdicts[verdict.run.id] = verdict
            progress(verdict, total)

    def work() -> None:
        try:
            while not failures:
                try:
                    config, found = groups.popleft()
                except IndexError:
                    return
                _play(config, found, server, tell)
        except BaseException as error:
            failures.append(error)

    count = pairs or max(1, (os.cpu_count() or 1) // 2)  # each pair keeps two processors busy
    threads = [threading.Thread(target=work, name=f"verify-{number}") for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    ordered = [verdicts[run.id] for run in wanted if run.id in verdicts]
    begins = [verdict for name, verdict in verdicts.items() if name.startswith("begin/")]
    return Result(COMPONENT, (*begins, *ordered), time.monotonic() - begun)


def _play(config: Config, runs: Sequence[GatewayRun], server: Database | None, tell: Callable[[Verdict], None]) -> None:
    """Play the runs of one configuration."""
    begun = time.monotonic()
    try:
        with play.pair(config, server) as pair:
            if config.begins:
                beginning = GatewayRun(Script("begin/of all", config.begins), config)
                differences: Sequence[Difference] = pair.begin()
                tell(Verdict(beginning, "unknown", {}, tuple(differences), time.monotonic() - begun))
            for run in runs:
                tell(pair.compare(run))
    except (RuntimeError, OSError) as error:  # a proxy does not start, or is gone
        tell(Verdict(runs[0], "unknown", {}, (), time.monotonic() - begun, error=f"{type(error).__name__}: {error}"))
