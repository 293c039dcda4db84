"""``verify`` beside the application: one niced process, once per environment, for those who have asked for it.

A file in the cache directory says that somebody verifies what is installed here, or has done so. Whoever finds it does
not begin again; processes look for the record now and then while they serve calls that are not proven by one.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from litellm_accel import settings
from litellm_accel.verify import records

_logger = logging.getLogger("litellm_accel")
_NICENESS = 19
# A file that is older and does not say how it ended was left by a process that was killed.
_STALE_SECONDS = 3600.0
_BEGUN = "begun"
# How often a process looks whether there is a record now.
_LOOK_SECONDS = 5.0

_process: subprocess.Popen[bytes] | None = None
_is_refused = False


def begin(components: Sequence[str]) -> None:
    """Verify ``components`` beside this process, unless that was begun for what is installed here already."""
    global _process, _is_refused
    path = _path(components)
    try:
        if not _claim(path):
            return
        environment = {name: value for name, value in os.environ.items() if name != settings.VERIFY}
        _process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(path), *components],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError as error:
        if not _is_refused:
            _is_refused = True
            _logger.warning("litellm-accel: nothing is verified in the background: %s", error)
        return
    atexit.register(_end, _process, path)


def _path(components: Sequence[str]) -> Path:
    """Return the file that says whether ``components`` are verified here."""
    held = json.dumps([[name, records.key(name)] for name in components], sort_keys=True)
    return records.user_directory() / f"background-{hashlib.sha256(held.encode()).hexdigest()[:12]}.lock"


def _claim(path: Path) -> bool:
    """Return whether nobody else verifies, or has verified, what the file at ``path`` stands for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if time.time() - path.stat().st_mtime > _STALE_SECONDS and path.read_text(encoding="utf-8") == _BEGUN:
            path.unlink()
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(_BEGUN)
    except FileExistsError:
        return False
    return True


def _end(process: subprocess.Popen[bytes], path: Path) -> None:
    """Break off what is running when the application ends; the next process begins anew."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(OSError):
            path.unlink()


class Watch:
    """Looks whether a record proves ``component`` by now, now and then."""

    def __init__(self, component: str) -> None:
        self._component = component
        self._next = 0.0
        self._seen: int | None = None

    def __call__(self) -> bool:
        """Return whether it does."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + _LOOK_SECONDS
        try:
            seen = records.user_directory().stat().st_mtime_ns
            if seen == self._seen:
                return False
            self._seen = seen
            return records.fitting(self._component) is not None
        except OSError:
            return False


def main(path: str, *components: str) -> None:
    """Verify ``components`` one after the other, and write into the file at ``path`` how it ended."""
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    from litellm_accel.verify import comparison
    from litellm_accel.verify.sides import fork_server

    ends = []
    with fork_server() as server, comparison.Pairs(server) as kept:
        for component in components:
            result = comparison.run(component, pairs=1, kept=kept)
            if result.proves:
                records.write(result)
            ends.append(f"{component} is {'proven' if result.proves else 'not proven'}")
    Path(path).write_text("; ".join(ends), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
