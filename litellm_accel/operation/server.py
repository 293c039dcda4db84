"""The Unix socket at which a running process gives its figures as JSON, and the functions that ask there.

Up to eight threads answer at the same time, each for at most two seconds: no call waits, and a reader that dies or
hangs is dropped. A forked process listens at its own socket.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import socket
import stat
import threading
from pathlib import Path
from typing import Any

SUFFIX = ".sock"
_SOCKET = "unix:"  # without it, the place is a directory
_PATIENCE = 2.0
_MOST = 64 << 20
_AT_ONCE = 8
_logger = logging.getLogger("litellm_accel")


def socket_path(place: str, process: int | str | None = None) -> str:
    """Return the path of a process's socket (None: this one's) at ``place``, a setting ``stats``."""
    path = place.removeprefix(_SOCKET)
    if path == place:
        path = os.path.join(place, f"%p{SUFFIX}")
    return os.path.abspath(path.replace("%p", str(os.getpid() if process is None else process)))


class Server:
    """Listens as long as a place is set."""

    def __init__(self) -> None:
        self._place: str | None = None
        self._socket: socket.socket | None = None
        self._path = ""
        self._process = 0
        self._free = threading.Semaphore(_AT_ONCE)
        atexit.register(self.stop)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def listen(self, place: str | None) -> None:
        """Listen at ``place``, or nowhere. Errors are logged."""
        if place == self._place:
            return
        self.stop()
        self._place = place
        if place is not None:
            self._start(place)

    def stop(self) -> None:
        """Stop listening and remove the socket, unless another process owns it by now."""
        held, self._socket, self._place = self._socket, None, None
        if held is None:
            return
        with contextlib.suppress(OSError):
            held.shutdown(socket.SHUT_RDWR)
        held.close()
        if self._process == os.getpid():
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def _after_fork(self) -> None:
        place, self._place = self._place, None
        held, self._socket = self._socket, None
        self._free = threading.Semaphore(_AT_ONCE)
        if held is not None:
            held.close()
        if place is not None and "%p" in socket_path(place, "%p"):
            self.listen(place)

    def _start(self, place: str) -> None:
        path = socket_path(place)
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            _clear(path)
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                listener.bind(path)
                os.chmod(path, 0o600)
                listener.listen(16)
            except BaseException:
                listener.close()
                raise
        except (OSError, AttributeError) as error:  # Windows has no such sockets
            _logger.warning("litellm-accel: cannot listen at %s: %s", path, error)
            return
        self._socket, self._path, self._process = listener, path, os.getpid()
        threading.Thread(target=self._serve, args=(listener,), name="litellm-accel-stats", daemon=True).start()

    def _serve(self, listener: socket.socket) -> None:
        while listener is self._socket:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if not self._free.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(
                target=self._answer, args=(connection,), name="litellm-accel-stats-answer", daemon=True
            ).start()

    def _answer(self, connection: socket.socket) -> None:
        try:
            with connection:
                connection.settimeout(_PATIENCE)
                connection.sendall(json.dumps(told()).encode())
        except Exception as error:  # the reader is gone, or does not read
            _logger.debug("litellm-accel: a question was not answered: %r", error)
        finally:
            self._free.release()


def told() -> dict[str, Any]:
    """Return this process's own report and figures."""
    from litellm_accel import __version__, activation
    from litellm_accel.operation import statistics

    return {
        "process": os.getpid(),
        "version": __version__,
        "report": activation.status().to_dict(),
        "stats": statistics.get_performance_stats(),
        "health": statistics.health_check(),
        "recommendations": statistics.get_recommendations(),
    }


def ask(path: str) -> dict[str, Any]:
    """Return what the process behind a socket answers. Raises ``OSError``, or ``ValueError`` for an invalid answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(2 * _PATIENCE)
        connection.connect(path)
        parts: list[bytes] = []
        while part := connection.recv(1 << 16):
            parts.append(part)
            if sum(map(len, parts)) > _MOST:
                raise ValueError(f"{path} does not end")
    found = json.loads(b"".join(parts))
    if not isinstance(found, dict) or not {"process", "report", "stats"} <= found.keys():
        raise ValueError(f"{path} is not a socket of litellm-accel")
    return found


def ask_all(where: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the answers of the processes at ``where``, a socket or a directory of them, and a line for each failure.

    Sockets left behind by processes that have ended are skipped.
    """
    paths = sorted(map(str, Path(where).glob(f"*{SUFFIX}"))) if os.path.isdir(where) else [where]
    answers, problems = [], []
    for path in paths:
        try:
            answers.append(ask(path))
        except ConnectionRefusedError:
            if path == where:
                problems.append(f"{path}: its process has ended")
        except (OSError, ValueError) as error:
            problems.append(f"{path}: {error}")
    return answers, problems


def _clear(path: str) -> None:
    """Remove the socket of a process that has ended. Raises ``FileExistsError`` for anything else."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError(f"{path} is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PATIENCE)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise FileExistsError(f"{path} is another process's")


SERVER = Server()
