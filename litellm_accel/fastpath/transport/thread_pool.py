"""Connections for threads: httpcore opens them and names their errors, but its bookkeeping is bypassed.

Whatever is not a plain response is read by httpcore: it is given the bytes received so far. Its errors
and its judgement of odd responses are therefore those of LiteLLM's client.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import h11
import httpcore
import httpx
from httpcore._backends.sync import SyncStream
from httpcore._exceptions import map_exceptions

from litellm_accel.fastpath import passage
from litellm_accel.fastpath.plans.recorder import Reply
from litellm_accel.fastpath.transport.host_stats import MAX_AGE, StatsByHost
from litellm_accel.fastpath.transport.request_head import COOKIE, RequestHeaders, RequestHeadTemplate
from litellm_accel.fastpath.transport.sockets import input_probe
from litellm_accel.hot import http1

_READ_BYTES = 65536
_Errors = dict[type[Exception], type[Exception]]
_READ_ERRORS: _Errors = {TimeoutError: httpcore.ReadTimeout, OSError: httpcore.ReadError}
_WRITE_ERRORS: _Errors = {TimeoutError: httpcore.WriteTimeout, OSError: httpcore.WriteError}


class Head(RequestHeadTemplate):
    """A request before its body, as httpcore writes it. Raises ``ValueError`` if it has no content length."""

    def __init__(self, url: httpx.URL, headers: RequestHeaders) -> None:
        self.url = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        self.host = str(self.url.origin)
        self.headers = headers
        request = h11.Request(method=b"POST", target=url.raw_path, headers=headers.raw(b"", COOKIE))
        super().__init__(h11.Connection(h11.CLIENT).send(request) or b"")

    def with_headers(self, headers: RequestHeaders, values: Mapping[bytes, bytes]) -> Head:
        """Return a head like this of ``headers``, which differ from its own in these ``values``."""
        made = self.with_values(values)
        made.headers = headers
        return made


class _Connection:
    """One connection, and when it was opened and last used (monotonic seconds)."""

    __slots__ = ("_has_input", "_socket", "opened", "released", "stream")

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self.stream = stream
        self.opened = self.released = time.monotonic()
        # httpcore's own stream does nothing but this, and name errors.
        self._socket: Any = stream.get_extra_info("socket") if type(stream) is SyncStream else None
        self._has_input = input_probe(-1 if self._socket is None else self._socket.fileno())

    def write(self, data: bytes, timeout: float | None, progress: passage.Progress) -> None:
        """Send ``data`` and set ``progress.left`` in the same statement; raises what httpcore raises."""
        if self._socket is None:
            progress.left = self.stream.write(data, timeout) is None  # type: ignore[func-returns-value]
            return
        try:
            self._wait_for(timeout)
            progress.left = (sent := self._socket.send(data)) >= 0
        except Exception:
            with map_exceptions(_WRITE_ERRORS):  # not ours, as the traceback then says
                raise
        if sent < len(data):
            self.stream.write(data[sent:], timeout)

    def read(self, timeout: float | None) -> bytes:
        """Return what comes next; raises what httpcore raises."""
        if self._socket is None:
            return self.stream.read(_READ_BYTES, timeout)
        try:
            self._wait_for(timeout)
            return self._socket.recv(_READ_BYTES)  # type: ignore[no-any-return]  # what has come must not be lost
        except Exception:
            with map_exceptions(_READ_ERRORS):
                raise

    def _wait_for(self, timeout: float | None) -> None:
        if self._socket.gettimeout() != timeout:
            self._socket.settimeout(timeout)

    def unfit(self, now: float, idle_seconds: float | None) -> str:
        """Return why the connection must not be used again, or an empty text."""
        if idle_seconds is not None and now > self.released + idle_seconds:
            return "idle"
        if now > self.opened + MAX_AGE:
            return "age"
        # Between two exchanges there is nothing to read but the connection's end.
        if self._socket is None:
            return "closed by host" if self.stream.get_extra_info("is_readable") else ""
        return "closed by host" if self._has_input() else ""


class ThreadPool:
    """Connections made with the settings of one httpcore pool, for any number of threads.

    The connection that has been idle longest goes first. Nothing is sent on one that is too old or was closed. They are
    closed when their ``owner`` is gone, as httpx closes its own.
    """

    def __init__(self, pool: httpcore.ConnectionPool, owner: httpx.HTTPTransport) -> None:
        self.tallies = StatsByHost()
        self._pool = pool
        self._idle_seconds: float | None = pool._keepalive_expiry
        self._limit: int = pool._max_connections
        self._idle: dict[str, deque[_Connection]] = {}
        self._open = 0
        self._closed = False
        self._lock = threading.Lock()
        self.finalizer = weakref.finalize(owner, self.close, "client gone")

    def send(self, head: Head, body: bytes, cookie: bytes, timeout: Mapping[str, float | None]) -> Reply | None:
        """Send one request and return what came of it; None, with nothing sent, if all connections are in use.

        ``timeout`` is httpx's: seconds by ``connect``, ``read`` and ``write``.
        """
        sent = time.time()
        host = head.host
        with self._lock:
            connection = self._take(host)
            if connection is None:
                if self._open >= self._limit:
                    return None
                self._open += 1
        if connection is None:
            try:
                with _errors():
                    connection = _Connection(_connect(self._pool, head, timeout))
            except BaseException as error:
                with self._lock:
                    self._open -= 1
                if isinstance(error, Exception) and not passage.is_ours(error):
                    return Reply(sent, error=error)
                raise
            with self._lock:
                self.tallies[host].created += 1
                self.tallies[host].in_use += 1
        reason = "broken off"
        try:
            reply, reason = _exchange(connection, head, body, cookie, timeout)
            reply.sent = sent
            return reply
        finally:
            with self._lock:
                self._release(host, connection, reason)

    def close(self, reason: str) -> None:
        """Close the idle connections now, the others when they come back."""
        with self._lock:
            self._closed = True
            for host, connections in self._idle.items():
                for connection in connections:
                    self.tallies[host].idle -= 1
                    self._drop(host, connection, reason)
            self._idle.clear()

    def _take(self, host: str) -> _Connection | None:
        idle = self._idle.get(host)
        tally = self.tallies[host]
        now = time.monotonic()
        while idle:
            connection = idle.popleft()
            tally.idle -= 1
            reason = connection.unfit(now, self._idle_seconds)
            if not reason:
                tally.in_use += 1
                tally.reused += 1
                return connection
            self._drop(host, connection, reason)
        return None

    def _release(self, host: str, connection: _Connection, reason: str) -> None:
        self.tallies[host].in_use -= 1
        if reason or self._closed:
            self._drop(host, connection, reason or "given up")
            return
        connection.released = time.monotonic()
        self.tallies[host].idle += 1
        self._idle.setdefault(host, deque()).append(connection)

    def _drop(self, host: str, connection: _Connection, reason: str) -> None:
        self._open -= 1
        self.tallies[host].closed[reason] += 1
        connection.stream.close()


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """Turn httpcore's errors into httpx's, as LiteLLM's client does; like its pool, drop their context."""
    with httpx._transports.default.map_httpcore_exceptions():
        try:
            yield
        except Exception as error:
            raise error from None


def _connect(pool: httpcore.ConnectionPool, head: Head, timeout: Mapping[str, float | None]) -> httpcore.NetworkStream:
    request = httpcore.Request("POST", head.url, extensions={"timeout": timeout})
    connection: Any = pool.create_connection(head.url.origin)
    stream: httpcore.NetworkStream = connection._connect(request)
    return stream


def _exchange(
    connection: _Connection, head: Head, body: bytes, cookie: bytes, timeout: Mapping[str, float | None]
) -> tuple[Reply, str]:
    """Send one request; return the reply, and why the connection cannot be used again (an empty text if it can)."""
    response = http1.Response()
    state = http1.MORE
    parts: list[bytes] = []
    failure: Exception | None = None
    progress = passage.sending()
    request = head.around(body, cookie)
    try:
        try:
            connection.write(request, timeout["write"], progress)
        except httpcore.WriteError:  # the host may have answered before it had read all
            progress.left = True
        while state == http1.MORE:
            parts.append(connection.read(timeout["read"]))
            if not parts[-1]:
                break
            state = response.feed(parts[-1])
        if state == http1.DONE:
            said = {"http_version": b"HTTP/1.1", "reason_phrase": response.reason}
            progress.reply = Reply(0.0, response.status, response.headers, response.body, extensions=said)
            return progress.reply, "" if response.keep_alive else "as the host asked"
    except Exception as error:
        if not passage.is_ours(error):
            failure = error
        elif not progress.left:
            raise
    replayed = _Replayed(connection.stream, b"".join(parts), failure)
    progress.reply = _read_again(replayed, head, body, cookie, timeout)
    return progress.reply, "unusual response"


def _read_again(
    stream: _Replayed, head: Head, body: bytes, cookie: bytes, timeout: Mapping[str, float | None]
) -> Reply:
    """Return what httpcore reads from the bytes that have arrived and those still to come."""
    connection = httpcore.HTTP11Connection(head.url.origin, stream)
    headers = head.headers.raw(body, cookie)
    request = httpcore.Request("POST", head.url, headers=headers, content=body, extensions={"timeout": timeout})
    try:
        with _errors():
            response = connection.handle_request(request)
    except Exception as error:
        return Reply(0.0, error=error)
    reply = Reply(0.0, response.status, response.headers, extensions=response.extensions)
    parts: list[bytes] = []
    try:
        with _errors():
            parts.extend(response.stream)  # type: ignore[arg-type]  # not one of event loops
    except Exception as error:
        reply.body_error = error
    reply.body = b"".join(parts)
    return reply


class _Replayed(httpcore.NetworkStream):
    """A stream whose request has been written and whose first bytes have been read."""

    def __init__(self, stream: httpcore.NetworkStream, received: bytes, failure: Exception | None) -> None:
        self._stream = stream
        self._received = received
        self._failure = failure

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """The request has been written."""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._received:
            data, self._received = self._received[:max_bytes], self._received[max_bytes:]
            return data
        if self._failure is not None:
            raise self._failure
        return self._stream.read(max_bytes, timeout)

    def close(self) -> None:
        """The pool closes the stream."""

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
