"""One thread for periodic jobs. It runs as long as there are any, and restarts in forked processes."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

_logger = logging.getLogger("litellm_accel")


class Ticker:
    """Calls functions periodically, one after the other, in a daemon thread."""

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def _renew(self) -> None:
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._jobs: dict[str, tuple[float, Callable[[], object]]] = getattr(self, "_jobs", {})
        self._due: dict[str, float] = {name: time.monotonic() + every for name, (every, _) in self._jobs.items()}

    def _after_fork(self) -> None:
        self._renew()
        if self._jobs:
            self._start()

    def every(self, seconds: float, name: str, job: Callable[[], object]) -> None:
        """Call ``job`` every ``seconds`` from now on, replacing the job of the same ``name``."""
        with self._changed:
            self._jobs[name] = (seconds, job)
            self._due[name] = time.monotonic() + seconds
            if self._thread is None:
                self._start()
            self._changed.notify()

    def stop(self, name: str) -> None:
        """Stop calling the job of this name."""
        with self._changed:
            self._jobs.pop(name, None)
            self._due.pop(name, None)
            self._changed.notify()

    @property
    def jobs(self) -> list[str]:
        """The names of the jobs."""
        return sorted(self._jobs)

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="litellm-accel-ticker", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._due:
                    self._thread = None
                    return
                name = min(self._due, key=self._due.__getitem__)
                wait = self._due[name] - time.monotonic()
                if wait > 0:
                    self._changed.wait(wait)
                    continue
                every, job = self._jobs[name]
                self._due[name] = time.monotonic() + every
            try:
                job()
            except Exception:  # the other jobs must go on
                _logger.debug("litellm-accel: %s fails", name, exc_info=True)


TICKER = Ticker()
