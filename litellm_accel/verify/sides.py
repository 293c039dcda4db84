"""The processes that play runs. A stock or an accelerated one is a side; all are forked from one that has imported
LiteLLM and what LiteLLM imports in use, so that this is paid for once. Where forking is not safe each is on its own.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from typing import IO, Any

from litellm_accel import settings
from litellm_accel.provider import Address
from litellm_accel.verify.scenario import Run

START_SECONDS = 300.0
STOP_SECONDS = 10.0
WORKER = (sys.executable, "-m", "litellm_accel.verify.worker")
PID_BYTES = 8
#: Elsewhere a system's libraries may not survive it.
CAN_FORK = sys.platform == "linux"


class Side:
    """A worker process, stock or accelerated; started anew after a run in which it did not answer."""

    def __init__(self, component: str, accelerator: str, server: ForkServer | None, provider: Address) -> None:
        self.component = component
        self.accelerator = accelerator
        self.server = server
        self.provider = provider
        self.process: Forked | subprocess.Popen[bytes] | None = None
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the side

    def start(self) -> None:
        """Start the process. Raises RuntimeError if that is not possible."""
        if self.server is not None:
            self.process = self.server.fork(self.component, self.accelerator, self.errors)
        else:
            self.process = subprocess.Popen(
                [*WORKER, "play", self.component, self.accelerator],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                env=clean_environment(),
            )
        self._send((self.provider.host, self.provider.port, self.provider.tls_port, self.provider.authority))

    def ready(self) -> None:
        """Wait until the process can play. Raises RuntimeError if it cannot."""
        if error := self._receive(START_SECONDS):
            raise RuntimeError(error)

    def turn_to(self, component: str) -> None:
        """Have the process play runs of another component. Raises RuntimeError if it cannot."""
        self.component = component
        if self.process is not None:
            self._send(component)
            self.ready()

    def play(self, run: Run, seconds: float) -> tuple[str, tuple[int, dict[str, int]], str]:
        """The description of a run as JSON, what the fast path counted, and an error text instead of both.

        The process is ended if it does not answer within `seconds`.
        """
        if self.process is None:
            self.start()
            self.ready()
        self._send((run.id, run.brief))
        try:
            return self._receive(seconds)  # type: ignore[no-any-return]
        except RuntimeError as error:
            self.stop()
            return "", (0, {}), str(error)

    def _send(self, value: Any) -> None:
        assert self.process is not None and self.process.stdin is not None
        pickle.dump(value, self.process.stdin)
        self.process.stdin.flush()

    def _receive(self, seconds: float) -> Any:
        assert self.process is not None and self.process.stdout is not None
        timer = threading.Timer(seconds, self.process.kill)
        timer.start()
        try:
            return pickle.load(self.process.stdout)
        except EOFError:
            text = _end(self.errors)
            raise RuntimeError(f"the process ended, or did not answer within {seconds:.0f} s\n{text}") from None
        finally:
            timer.cancel()

    def stop(self) -> None:
        """End the process."""
        process, self.process = self.process, None
        if process is None:
            return
        assert process.stdin is not None and process.stdout is not None
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@contextlib.contextmanager
def fork_server() -> Iterator[ForkServer | None]:
    """A process to fork sides from, or None where that is not safe."""
    if not CAN_FORK:
        yield None
        return
    server = ForkServer()
    try:
        yield server
    finally:
        server.stop()


class ForkServer:
    """A process that has everything imported and forks a side when asked to."""

    def __init__(self, command: Sequence[str] = (*WORKER, "fork")) -> None:
        self._lock = threading.Lock()
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(START_SECONDS)
        with theirs:
            self._process = self._start(command, theirs)

    def _start(self, command: Sequence[str], theirs: socket.socket) -> subprocess.Popen[bytes] | Forked:
        errors = self.errors
        return subprocess.Popen(command, stdin=theirs.fileno(), stdout=errors, stderr=errors, env=clean_environment())

    def fork(self, component: str, accelerator: str, errors: IO[bytes]) -> Forked:
        """Start a side, whose standard error is `errors`. Raises RuntimeError if this process has ended instead."""
        orders, stdin = os.pipe()
        stdout, answers = os.pipe()
        try:
            pid = self.start(f"{component} {accelerator}", orders, answers, errors.fileno())
        except RuntimeError:
            os.close(stdin)
            os.close(stdout)
            raise
        finally:
            os.close(orders)
            os.close(answers)
        return Forked(pid, stdin, stdout)

    def start(self, words: str, stdin: int, stdout: int, stderr: int) -> int:
        """Fork a process that starts with `words`, and return its number. Raises RuntimeError as ``fork`` does."""
        try:
            with self._lock:
                socket.send_fds(self._socket, [words.encode()], [stdin, stdout, stderr])
                pid = int.from_bytes(self._socket.recv(PID_BYTES), "big")
        except OSError:
            pid = 0
        if not pid:
            raise RuntimeError(f"the process that is forked has ended\n{_end(self.errors)}")
        return pid

    def stop(self) -> None:
        """End the process, which waits for its sides; they are ended by whoever started them."""
        self._socket.close()
        if isinstance(self._process, subprocess.Popen):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        self._process.kill()
        self._process.wait()
        self.errors.close()


class Forked:
    """A forked side: as much of `subprocess.Popen` as is needed, of a process that is another one's child."""

    def __init__(self, pid: int, stdin: int, stdout: int) -> None:
        self.pid = pid
        self.stdin = os.fdopen(stdin, "wb")
        self.stdout = os.fdopen(stdout, "rb")

    def kill(self) -> None:
        """End the process if it has not ended: its number is its own until the fork server ends."""
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> None:
        """Wait until the process, which has nothing more to say, has ended."""
        self.stdout.read()


def clean_environment() -> dict[str, str]:
    """The environment of both sides: nothing of the user's that steers LiteLLM, no network, logs in full length."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OPENAI_", "AZURE_", "LITELLM_", "AIOHTTP_"))
        and not name.endswith(("_API_KEY", "_API_BASE"))
        and name.lower() not in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_verify")
    }
    pure = {name: value for name, value in os.environ.items() if name == settings.PURE}
    path = os.pathsep.join(item for item in sys.path if item)
    fixed = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "MAX_STRING_LENGTH_STDOUT_LOG": "1000000",
        "PYTHONHASHSEED": "0",  # sets have one order
        "PYTHONPATH": path,
    }
    return {**kept, **pure, **fixed}


def _end(errors: IO[bytes]) -> str:
    """The end of what a process has written to its standard error."""
    errors.seek(0)
    return errors.read()[-2000:].decode(errors="replace")
