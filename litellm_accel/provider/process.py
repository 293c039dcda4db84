"""The provider as its users see it: a child process, its addresses, and what it has received."""

from __future__ import annotations

import contextlib
import functools
import http.client
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, cast
from urllib.parse import quote

import orjson

from litellm_accel.provider.received import RecordedRequest

Json = Any


class Address:
    """A provider that runs somewhere: where it listens, and what it has received.

    `tls_port` is where it listens for TLS as well (0: nowhere); its certificate is signed by `authority`, a file. With
    `secure` the addresses given are those of TLS.
    """

    def __init__(self, host: str, port: int, tls_port: int = 0, authority: str = "", *, secure: bool = False) -> None:
        self.host = host
        self.port = port
        self.tls_port = tls_port
        self.authority = authority
        self.secure = secure

    @property
    def plain(self) -> Address:
        """The same provider over plain HTTP."""
        return Address(self.host, self.port, self.tls_port, self.authority)

    @property
    def secured(self) -> Address:
        """The same provider over TLS. Raises RuntimeError where it does not listen for it."""
        if not self.tls_port:
            raise RuntimeError("the provider does not listen for TLS")
        return Address(self.host, self.port, self.tls_port, self.authority, secure=True)

    @property
    def trust(self) -> dict[str, str]:
        """The environment variables by which a client of its own process trusts the provider's certificate."""
        return {"SSL_CERT_FILE": self.authority} if self.authority else {}

    @property
    def root(self) -> str:
        if self.secure:
            return f"https://{self.host}:{self.tls_port}"
        return f"http://{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The address to use as `api_base`."""
        return f"{self.root}/v1"

    def at(self, scenario: str) -> str:
        """An `api_base` under which every model is answered with this scenario."""
        return f"{self.root}/~{quote(scenario, safe='')}/v1"

    def requests(self) -> list[RecordedRequest]:
        """What was received since the start or the last `clear()`, oldest first."""
        rows = self._control("GET", "/-/requests")
        return [RecordedRequest(m, p, [(k, v) for k, v in h], b.encode("latin-1"), c, t) for m, p, h, b, c, t in rows]

    def clear(self) -> None:
        """Forget the recorded requests and how often each scenario and each request was asked for."""
        self._control("DELETE", "/-/requests")

    def stats(self) -> dict[str, int]:
        """Counts since the start: connections accepted and still open, requests, answers the client did not await."""
        return cast("dict[str, int]", self._control("GET", "/-/stats"))

    def _control(self, method: str, path: str) -> Json:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            connection.request(method, path)
            return orjson.loads(connection.getresponse().read())
        finally:
            connection.close()


class Provider(Address):
    """The provider in a child process; ends with the `with` block, or with this process, whichever is first.

    `record` is how many requests it remembers (0: none, for benchmarks), `profile` whose answers it gives,
    `requests_each` how many it answers on one connection (0: as many as the profile does). With `tls` it listens for
    TLS as well, and `url` is there; where no certificate can be made, a line on standard error says so and `url` is
    plain HTTP. `script` is a Python file and what its function `script` is called with.
    """

    def __init__(
        self,
        *,
        record: int = 10_000,
        host: str = "127.0.0.1",
        port: int = 0,
        profile: str = "plain",
        tls: bool = False,
        requests_each: int = 0,
        script: tuple[str | Path, str] | None = None,
    ) -> None:
        super().__init__(host, port)
        self.record = record
        self.profile = profile
        self.tls = tls
        self.requests_each = requests_each
        self.script = script
        self._child: subprocess.Popen[str] | None = None

    def __enter__(self) -> Provider:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Provider:
        """Start the child and wait until it listens. Raises RuntimeError if it ends instead."""
        if self._child is not None:
            raise RuntimeError("the provider already runs")
        root = str(Path(__file__).resolve().parent.parent.parent)
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        options = ["--host", self.host, "--port", str(self.port), "--record", str(self.record), "--until-eof"]
        options += ["--profile", self.profile, "--requests", str(self.requests_each), *(["--tls"] if self.tls else [])]
        if self.script is not None:
            options += ["--script", *map(str, self.script)]
        child = subprocess.Popen(
            [sys.executable, "-m", "litellm_accel.provider", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert child.stdout is not None
        self._child = child
        line = child.stdout.readline().strip()
        if not line:
            code = child.wait()
            self.stop()
            raise RuntimeError(f"the provider ended with code {code} before it listened")
        self.port = _port(line)
        if self.tls:
            line = child.stdout.readline().strip()
            if line.startswith("https:"):
                address, _, self.authority = line.partition(" ")
                self.tls_port, self.secure = _port(address), True
            else:
                _tell(line)
        return self

    def stop(self) -> None:
        """End the child. Safe to call twice."""
        child, self._child = self._child, None
        if child is None:
            return
        assert child.stdin is not None and child.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        try:
            child.wait(timeout=2)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdout.close()
        if self.authority:
            shutil.rmtree(Path(self.authority).parent, ignore_errors=True)  # a child that was killed has left it

    def kill(self) -> None:
        """End the child at once, in the middle of whatever it answers."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self.stop()


@functools.cache
def _tell(line: str) -> None:
    """Write a line to standard error, once."""
    print(f"litellm-accel: {line}", file=sys.stderr, flush=True)


def _port(address: str) -> int:
    return int(address.rsplit(":", 1)[1].split("/")[0])
