"""The fast path's pools: what comes of an exchange is what LiteLLM's own clients make of it, on every kind of
answer."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
import select
import socket
import struct
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import httpx
import pytest
from httpcore._backends.sync import SyncStream
from multidict import CIMultiDict
from yarl import URL

from litellm_accel._backend import load
from litellm_accel.fastpath import passage
from litellm_accel.fastpath.plans.recorder import Reply
from litellm_accel.fastpath.transport.loop_pool import ReadDeadlines
from litellm_accel.fastpath.transport.pools import Pools
from litellm_accel.fastpath.transport.request_head import RequestHeaders
from litellm_accel.fastpath.transport.sockets import has_input, input_probe
from litellm_accel.fastpath.transport.thread_pool import Head, _Connection

gate = load("gate")

BODY = b'{"hello": "world"}'
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-length: 2\r\n\r\n{}"
RESET = object()
STALL = object()
ANSWERS: dict[str, list[Any]] = {
    "plain": [OK],
    "in-pieces": [OK[:20], OK[20:70], OK[70:]],
    "chunked": [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"],
    "chunked-odd": [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;x=y\r\n{}\r\n0\r\nt: u\r\n\r\n"],
    "closing": [OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"), None],
    "until-close": [b"HTTP/1.1 200 OK\r\n\r\n{}", None],
    "old": [b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}", None],
    "continue": [b"HTTP/1.1 100 Continue\r\n\r\n", OK],
    "empty": [b"HTTP/1.1 204 No Content\r\n\r\n"],
    "error": [b"HTTP/1.1 429 Slow Down\r\nRetry-After: 1\r\ncontent-length: 4\r\n\r\nwait"],
    "latin": [OK.replace(b"\r\n\r\n", b"\r\nx-name: caf\xe9\r\n\r\n")],
    "cookies": [OK.replace(b"\r\n\r\n", b"\r\nset-cookie: a=b\r\nSet-Cookie: c=d\r\n\r\n")],
    "too-short": [b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{}", None],
    "chunk-cut": [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{}", None],
    "head-cut": [b"HTTP/1.1 200 OK\r\ncontent-", None],
    "silence": [None],
    "reset": [RESET],
    "reset-in-body": [b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{}", RESET],
    "stall": [STALL],
    "stall-in-body": [b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{}", STALL],
    "nonsense": [b"what is this?\r\n\r\n"],
    "bad-length": [b"HTTP/1.1 200 OK\r\ncontent-length: two\r\n\r\n{}"],
    "two-lengths": [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}x"],
    "bad-header": [b"HTTP/1.1 200 OK\r\nno colon\r\ncontent-length: 2\r\n\r\n{}"],
    "huge-head": [b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 400_000 + b"\r\ncontent-length: 2\r\n\r\n{}"],
}
REUSED = ("plain", "in-pieces", "chunked", "latin", "error", "cookies")


class Host:
    """A server that answers ``POST /name`` with ``ANSWERS[name]`` and takes down what it received."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.requests: list[bytes] = []
        self.connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                received = b""
                while b"\r\n\r\n" not in received:
                    data = connection.recv(65536)
                    if not data:
                        return connection.close()
                    received += data
                head, _, body = received.partition(b"\r\n\r\n")
                length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]
                while len(body) < length:
                    body += connection.recv(65536)
                self.requests.append(head + b"\r\n\r\n" + body)
                for piece in ANSWERS[head.split(b" ")[1].decode().strip("/")]:
                    if piece is STALL:
                        time.sleep(1.0)
                    elif piece is RESET:
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        return connection.close()
                    elif piece is None:
                        return connection.close()
                    else:
                        connection.sendall(piece)
                        time.sleep(0.01)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # ends accept() in its thread
        for each in (self.listener, *self.connections):
            each.close()


@pytest.fixture
def host() -> Iterator[Host]:
    serving = Host()
    yield serving
    serving.close()


@pytest.fixture
def pools() -> Iterator[Pools]:
    counting = gate.Gate("connection_pool", 10)
    counting.switch(True)
    made = Pools(counting)
    yield made
    made.close("restored")


def described(reply: Reply, names: Callable[[Any], list[tuple[str, str]]]) -> Any:
    """What an application could tell of a reply."""
    if reply.error is not None:
        return _error(reply.error)
    body_error = reply.body_error and _error(reply.body_error)
    extensions = {k: v for k, v in (reply.extensions or {}).items() if k != "network_stream"}
    return reply.status, names(reply.headers), None if body_error else reply.body, body_error, extensions


def _error(error: BaseException | None) -> Any:
    """An error and what a traceback shows behind it."""
    if error is None:
        return None
    behind = error.__cause__ if error.__suppress_context__ else error.__context__
    return type(error), str(error), _error(behind)


# --- threads ----------------------------------------------------------------------------------------------------------


def head_for(host: Host, name: str) -> Head:
    url = httpx.URL(f"{host.address}/{name}")
    request = httpx.Request("POST", url, content=BODY, headers={"X-Custom": "Yes"})
    return Head(url, RequestHeaders(request.headers, False))


TIMEOUT = {"connect": 5.0, "read": 5.0, "write": 5.0, "pool": 5.0}
SHORT = {**TIMEOUT, "read": 0.5}  # less than a host stalls


def timeout_for(name: str) -> dict[str, float]:
    return SHORT if name.startswith("stall") else TIMEOUT


def stock_threads(transport: httpx.HTTPTransport, host: Host, name: str) -> Reply:
    request = httpx.Request(
        "POST",
        f"{host.address}/{name}",
        content=BODY,
        headers={"X-Custom": "Yes"},
        extensions={"timeout": timeout_for(name)},
    )
    try:
        response = transport.handle_request(request)
    except Exception as error:
        return Reply(0.0, error=error)
    reply = Reply(0.0, response.status_code, response.headers.raw, extensions=response.extensions)
    try:
        reply.body = b"".join(response.iter_raw())
    except Exception as error:
        reply.body_error = error
    response.close()
    return reply


def raw_names(headers: Any) -> list[tuple[str, str]]:
    return [(name.decode(), value.decode("latin-1")) for name, value in headers]


@pytest.mark.parametrize("name", ANSWERS)
def test_threads_get_what_httpcore_would_give_them(host: Host, pools: Pools, name: str) -> None:
    with httpx.HTTPTransport() as theirs, httpx.HTTPTransport() as ours:
        expected = stock_threads(theirs, host, name)
        for _ in range(2):
            reply = pools.send(ours, head_for(host, name), BODY, b"", timeout_for(name))
            assert reply is not None
            assert described(reply, raw_names) == described(expected, raw_names)
        assert len(host.requests) == 3, "each request is sent once"
        assert set(host.requests) == {host.requests[0]}, "the same bytes"
        (counts,) = pools.statistics()["threads"].values()
        assert counts["in_use"] == 0
        assert counts["created"] + counts["reused"] == 2
        assert counts["created"] == counts["idle"] + sum(counts["closed"].values())
        assert counts["reused"] == (1 if name in REUSED else 0)


def test_threads_meet_a_refused_connection_as_in_httpcore(host: Host, pools: Pools) -> None:
    host.close()
    with httpx.HTTPTransport() as theirs, httpx.HTTPTransport() as ours:
        expected = stock_threads(theirs, host, "plain")
        reply = pools.send(ours, head_for(host, "plain"), BODY, b"", TIMEOUT)
    assert reply is not None
    assert described(reply, raw_names) == described(expected, raw_names)


def test_a_thread_sends_nothing_on_a_connection_that_the_host_has_closed(host: Host, pools: Pools) -> None:
    with httpx.HTTPTransport() as transport:
        head = head_for(host, "plain")
        assert pools.send(transport, head, BODY, b"", TIMEOUT).status == 200  # type: ignore[union-attr]
        host.connections[0].shutdown(socket.SHUT_RDWR)
        assert pools.send(transport, head, BODY, b"", TIMEOUT).status == 200  # type: ignore[union-attr]
    (counts,) = pools.statistics()["threads"].values()
    assert counts["closed"] == {"closed by host": 1}
    assert counts["created"] == 2


def test_a_request_that_a_socket_takes_in_parts_leaves_whole() -> None:
    ours, theirs = socket.socketpair()
    body = bytes(range(256)) * 20_000
    received = bytearray()

    def read() -> None:
        while len(received) < len(body):
            received.extend(theirs.recv(65536))

    thread = threading.Thread(target=read)
    thread.start()
    progress = passage.sending()
    _Connection(SyncStream(ours)).write(body, 5.0, progress)
    thread.join(10)
    assert received == body and progress.left
    assert ours.gettimeout() == 5.0
    ours.close()
    theirs.close()


def test_a_closed_connection_has_input() -> None:
    ours, theirs = socket.socketpair()
    probe = input_probe(ours.fileno())
    assert not probe()
    theirs.send(b"1")
    assert probe()
    ours.recv(1)
    assert not probe()
    ours.close()
    theirs.close()
    assert probe()
    assert has_input(ours)
    assert has_input(None)


def test_many_threads_share_few_connections_and_all_are_closed_in_the_end(host: Host, pools: Pools) -> None:
    replies: list[Reply | None] = []
    with httpx.HTTPTransport(limits=httpx.Limits(max_connections=4)) as transport:
        head = head_for(host, "plain")

        def work() -> None:
            for _ in range(20):
                replies.append(pools.send(transport, head, BODY, b"", TIMEOUT))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        served = [reply for reply in replies if reply is not None]
        assert all(reply.status == 200 for reply in served)
        assert len(host.connections) <= 4, "a full pool leaves the request to LiteLLM's own client"
        assert len(host.requests) == len(served)
        pools.close("restored")
    for connection in host.connections:
        assert connection.fileno() < 0 or select.select([connection], [], [], 2)[0]


def test_connections_are_closed_when_their_client_is_gone(host: Host, pools: Pools) -> None:
    transport = httpx.HTTPTransport()
    assert pools.send(transport, head_for(host, "plain"), BODY, b"", TIMEOUT).status == 200  # type: ignore[union-attr]
    pool = pools._thread_pools[transport]
    assert pool is not None
    del transport
    gc.collect()
    (tally,) = pool.tallies.values()
    assert (tally.idle, dict(tally.closed)) == (0, {"client gone": 1})
    for connection in host.connections:
        assert connection.fileno() < 0 or select.select([connection], [], [], 2)[0]


def test_nothing_is_left_open_at_the_end_of_a_program(host: Host) -> None:
    program = f"""
import httpx
from litellm_accel._backend import load
from litellm_accel.fastpath.transport.request_head import RequestHeaders
from litellm_accel.fastpath.transport.pools import Pools
from litellm_accel.fastpath.transport.thread_pool import Head

gate = load("gate").Gate("connection_pool", 10)
gate.switch(True)
pools, transport = Pools(gate), httpx.HTTPTransport()
url = httpx.URL("{host.address}/plain")
head = Head(url, RequestHeaders(httpx.Request("POST", url, content=b"1").headers, False))
print(pools.send(transport, head, b"1", b"", {TIMEOUT!r}).status)
"""
    done = subprocess.run([sys.executable, "-X", "dev", "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("200\n", "")


def test_a_proxy_is_left_to_litellms_own_client(pools: Pools, host: Host) -> None:
    with httpx.HTTPTransport(proxy="http://127.0.0.1:9") as transport:
        assert pools.send(transport, head_for(host, "plain"), BODY, b"", TIMEOUT) is None
    assert not host.requests


# --- event loops ------------------------------------------------------------------------------------------------------


def options_for(host: Host, name: str) -> dict[str, Any]:
    given = {"X-Custom": "Yes", "User-Agent": "test", "Content-Length": "0", "Content-Type": "application/json"}
    headers = RequestHeaders(httpx.Headers(given), False)
    timeout = aiohttp.ClientTimeout(sock_connect=5.0, sock_read=timeout_for(name)["read"], connect=5.0)
    url = URL(f"{host.address}/{name}")
    return {"url": url, "headers": headers, "timeout": timeout, "proxy": None, "server_hostname": None, "prepared": {}}


def session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())


async def stock_loops(session: aiohttp.ClientSession, options: dict[str, Any]) -> Reply:
    headers = CIMultiDict(options["headers"].texts(BODY, b""))
    given = {name: value for name, value in options.items() if name != "prepared"}
    try:
        response = await session.request(
            "POST", data=BODY, allow_redirects=False, auto_decompress=False, **{**given, "headers": headers}
        )
    except Exception as error:
        return Reply(0.0, error=error)
    reply = Reply(0.0, response.status, response.headers)
    try:
        reply.body = await response.read()
    except Exception as error:
        reply.body_error = error
    return reply


def names(headers: Any) -> list[tuple[str, str]]:
    if type(headers) is list:
        return [(name.decode().lower(), value.decode("utf-8", "surrogateescape")) for name, value in headers]
    return [(name.lower(), value) for name, value in headers.items()]


@pytest.mark.parametrize("name", ANSWERS)
async def test_loops_get_what_aiohttp_would_give_them(host: Host, pools: Pools, name: str) -> None:
    options = options_for(host, name)
    async with session() as theirs, session() as ours:
        expected = await stock_loops(theirs, options)
        for _ in range(2):
            reply = await pools.asend(ours, options, BODY, b"")
            assert reply is not None
            assert described(reply, names) == described(expected, names)
        assert len(host.requests) == 3, "each request is sent once"
        assert set(host.requests) == {host.requests[0]}, "the same bytes"
        (counts,) = pools.statistics()["loops"].values()
        assert counts["in_use"] == 0
        assert counts["created"] + counts["reused"] == 2
        assert counts["created"] == counts["idle"] + sum(counts["closed"].values())
        assert counts["reused"] == (1 if name in REUSED else 0)


async def test_loops_meet_a_refused_connection_as_in_aiohttp(host: Host, pools: Pools) -> None:
    host.close()
    options = options_for(host, "plain")
    async with session() as theirs, session() as ours:
        expected = await stock_loops(theirs, options)
        reply = await pools.asend(ours, options, BODY, b"")
    assert reply is not None
    assert described(reply, names) == described(expected, names)


async def test_a_loop_sends_nothing_on_a_connection_that_the_host_has_closed(host: Host, pools: Pools) -> None:
    options = options_for(host, "plain")
    async with session() as ours:
        assert (await pools.asend(ours, options, BODY, b"")).status == 200  # type: ignore[union-attr]
        host.connections[0].shutdown(socket.SHUT_RDWR)
        time.sleep(0.05)  # the loop must not have had time to notice
        assert (await pools.asend(ours, options, BODY, b"")).status == 200  # type: ignore[union-attr]
        (counts,) = pools.statistics()["loops"].values()
        assert counts["closed"]["closed by host"] == 1
        assert counts["created"] == 2


@pytest.mark.parametrize("name", ["stall", "stall-in-body"])
async def test_a_cancelled_request_closes_its_connection(host: Host, pools: Pools, name: str) -> None:
    options = options_for(host, name)
    async with session() as ours:
        task = asyncio.create_task(pools.asend(ours, options, BODY, b""))
        while not host.requests:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (counts,) = pools.statistics()["loops"].values()
        assert counts["open"] == 0
        assert counts["closed"]["broken off"] == 1
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_hundreds_of_requests_at_once_share_a_connectors_connections(host: Host, pools: Pools) -> None:
    options = options_for(host, "plain")
    options["timeout"] = aiohttp.ClientTimeout(sock_read=30)
    connector = aiohttp.TCPConnector(limit=20)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as ours:
        replies = await asyncio.gather(*(pools.asend(ours, options, BODY, b"") for _ in range(300)))
        assert all(reply is not None and reply.status == 200 for reply in replies)
        assert len(host.connections) <= 20


def traced(signals: tuple[str, ...], events: list[Any]) -> aiohttp.TraceConfig:
    """A trace that takes down what it is told by ``signals``, clocks and objects aside."""
    config = aiohttp.TraceConfig()

    def listener(signal: str) -> Any:
        async def listen(session: Any, context: Any, told: Any) -> None:
            error = getattr(told, "exception", None)
            events.append(
                (signal, str(getattr(told, "url", "")), dict(getattr(told, "headers", {})), described_error(error))
            )

        return listen

    for signal in signals:
        getattr(config, signal).append(listener(signal))
    return config


def described_error(error: BaseException | None) -> Any:
    return error if error is None else (type(error), str(error))


QUEUED = ("on_connection_queued_start", "on_connection_queued_end")


@pytest.mark.parametrize("name", ["plain", "error", "reset", "head-cut", "too-short", "nonsense"])
async def test_traces_hear_of_a_request_what_aiohttp_tells_them(host: Host, pools: Pools, name: str) -> None:
    options = options_for(host, name)
    heard: list[list[Any]] = [[], []]
    signals = ("on_request_start", "on_request_exception", "on_request_redirect", *QUEUED)
    for events, is_ours in zip(heard, (False, True), strict=True):
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trace_configs=[traced(signals, events)]
        ) as made:

            def ask(made: aiohttp.ClientSession = made, is_ours: bool = is_ours) -> Any:
                return pools.asend(made, options, BODY, b"") if is_ours else stock_loops(made, options)

            replies = await asyncio.gather(*[ask() for _ in range(3)])  # two of them wait for the first
            assert None not in replies
    assert sorted(map(repr, heard[1])) == sorted(map(repr, heard[0]))
    assert {event[0] for event in heard[0]} >= {"on_request_start", *QUEUED}


async def test_traces_are_told_of_each_requests_own_headers(host: Host, pools: Pools) -> None:
    options = options_for(host, "plain")
    events: list[Any] = []
    requests = [(b"1", b""), (BODY, b"a=1"), (b"12345" * 300, b"a=2; b=3"), (b"", b""), (b"1", b"a=1")]
    async with aiohttp.ClientSession(
        headers={"X-Session": "Yes"},
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[traced(("on_request_start",), events)],
    ) as made:
        for body, cookie in requests:
            assert await pools.asend(made, options, body, cookie) is not None
        expected = [made._prepare_headers(CIMultiDict(options["headers"].texts(*request))) for request in requests]
    assert [list(event[2].items()) for event in events] == [list(dict(headers).items()) for headers in expected]


class Silent:
    """An exchange whose host may be silent until ``deadline``."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.ended: float | None = None

    def time_out(self) -> None:
        self.ended = asyncio.get_running_loop().time()


async def test_silent_hosts_are_given_up_each_in_its_time_by_one_timer() -> None:
    loop = asyncio.get_running_loop()
    deadlines = ReadDeadlines(loop)
    now = loop.time()
    late, early, heard, answered = (Silent(now + seconds) for seconds in (0.2, 0.1, 0.05, 0.05))
    exchanges: list[Any] = [late, early, heard, answered]
    for exchange in exchanges:
        deadlines.add(exchange)
    timers = [handle for handle in loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
    assert len([handle for handle in timers if handle._callback == deadlines._look]) == 1
    heard.deadline = now + 0.15
    deadlines.discard(exchanges[3])
    await asyncio.sleep(0.3)
    assert answered.ended is None
    for exchange in (early, heard, late):
        assert exchange.ended is not None
        assert 0 <= exchange.ended - exchange.deadline < 0.1
    assert not [handle for handle in loop._scheduled if handle._callback == deadlines._look]  # type: ignore[attr-defined]


async def test_what_a_session_does_besides_sending_is_left_to_aiohttp(host: Host, pools: Pools) -> None:
    options = options_for(host, "plain")
    ended = traced(("on_request_end",), [])
    for more in ({"trust_env": True}, {"cookie_jar": aiohttp.CookieJar()}, {"trace_configs": [ended]}):
        async with aiohttp.ClientSession(**{"cookie_jar": aiohttp.DummyCookieJar(), **more}) as ours:  # type: ignore[arg-type]
            assert await pools.asend(ours, options, BODY, b"") is None
    async with session() as ours:
        assert await pools.asend(ours, {**options, "prepared": {}, "proxy": "http://127.0.0.1:9"}, BODY, b"") is None
    assert not host.requests


def test_an_event_loop_that_is_over_leaves_nothing_behind(host: Host, pools: Pools) -> None:
    options = options_for(host, "plain")
    prepared = options["prepared"] = weakref.WeakKeyDictionary()

    async def once() -> None:
        async with session() as ours:
            await pools.asend(ours, options, BODY, b"")

    for _ in range(3):
        asyncio.run(once())
    gc.collect()
    assert not prepared
    assert not pools.statistics()["loops"]
