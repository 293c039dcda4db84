"""Exchanges on the connections of LiteLLM's aiohttp sessions, without aiohttp's bookkeeping around each request.

aiohttp's connector opens and keeps the connections. While one carries a request of ours, ``_Exchange`` reads from it in
the place of aiohttp's protocol. Whatever is not a plain response is given to that protocol after all: the bytes
received so far, the loss of the connection, the timeout. Errors and the judgement of odd responses are therefore those
of LiteLLM's client.
"""

from __future__ import annotations

import asyncio
import copy
import time
import weakref
from collections import Counter
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.tracing import Trace
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from litellm_accel.fastpath import passage
from litellm_accel.fastpath.plans.recorder import Reply
from litellm_accel.fastpath.transport.host_stats import MAX_AGE, StatsByHost
from litellm_accel.fastpath.transport.request_head import COOKIE, RequestHeadTemplate
from litellm_accel.fastpath.transport.sockets import input_probe
from litellm_accel.hot import http1
from litellm_accel.stock import seams

# What traces may listen to: a request begins, waits for a connection, fails. A redirection is stock's to follow, and an
# exchange of ours tells of nothing else.
_TRACED = frozenset(
    (
        "on_request_start",
        "on_connection_queued_start",
        "on_connection_queued_end",
        "on_request_exception",
        "on_request_redirect",
    )
)


class Unsuited(Exception):
    """The session does more with a request than send it."""


class _Opened:
    """A connection that was opened to ``host`` ``at`` that time (monotonic seconds)."""

    __slots__ = ("at", "has_input", "host")

    def __init__(self, host: str, at: float, transport: Any) -> None:
        self.host = host
        self.at = at
        socket = transport.get_extra_info("socket")
        self.has_input = input_probe(-1 if socket is None else socket.fileno())


class ReadDeadlines:
    """Ends exchanges of one kind of request in ``loop`` whose host has been silent for too long, by one timer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._exchanges: set[_Exchange] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0.0  # when the timer looks, on the loop's clock

    def add(self, exchange: _Exchange) -> None:
        """Watch ``exchange`` until it is discarded."""
        self._exchanges.add(exchange)
        if self._timer is None or exchange.deadline < self._next:
            self._set(exchange.deadline)

    def discard(self, exchange: _Exchange) -> None:
        """Stop watching ``exchange``. The timer stays, since another exchange is likely to follow."""
        self._exchanges.discard(exchange)

    def _set(self, moment: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = moment
        self._timer = self._loop.call_at(moment, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        for exchange in [exchange for exchange in self._exchanges if exchange.deadline <= now]:
            self._exchanges.discard(exchange)
            exchange.time_out()
        if self._exchanges:
            self._set(min(exchange.deadline for exchange in self._exchanges))


class LoopPool:
    """The connections of one aiohttp connector, which keeps and closes them; here they are checked and counted."""

    def __init__(self, connector: aiohttp.BaseConnector) -> None:
        self._connector = weakref.ref(connector)
        self._tallies = StatsByHost()
        self._opened: weakref.WeakKeyDictionary[Any, _Opened] = weakref.WeakKeyDictionary()

    async def take(self, host: str, request: Any, timeout: aiohttp.ClientTimeout, traces: list[Trace]) -> Any:
        """Return a connection that ``request`` can be sent on; raises what aiohttp raises."""
        connector: Any = self._connector()  # alive while its session is open
        while True:
            try:
                connection = await connector.connect(request, traces=traces, timeout=timeout)
            except asyncio.TimeoutError as error:
                raise aiohttp.ConnectionTimeoutError(f"Connection timeout to host {request.url}") from error
            tally = self._tallies[host]
            tally.in_use += 1
            now = time.monotonic()
            known = self._opened.get(connection.protocol)
            if known is None:
                self._opened[connection.protocol] = _Opened(host, now, connection.transport)
                tally.created += 1
                return connection
            # Between two exchanges there is nothing to read but the connection's end.
            unfit = "age" if now > known.at + MAX_AGE else "closed by host" if known.has_input() else ""
            if not unfit:
                tally.reused += 1
                return connection
            self.give_back(host, connection, unfit)

    def give_back(self, host: str, connection: Any, unfit: str) -> None:
        """Take a connection back, or close it if there is a reason to."""
        tally = self._tallies[host]
        tally.in_use -= 1
        if unfit:
            tally.closed[unfit] += 1
            connection.close()
        else:
            connection.release()

    def counted(self) -> StatsByHost:
        """Return the tallies as they are now."""
        alive = Counter(opened.host for protocol, opened in self._opened.copy().items() if protocol.is_connected())
        for host, tally in self._tallies.items():
            tally.idle = max(alive[host] - tally.in_use, 0)
            tally.closed["idle"] = 0  # by the connector, or by the host while nobody looked
            tally.closed["idle"] = tally.created - alive[host] - tally.closed.total()
        return self._tallies


class PreparedRequest:
    """One kind of request in one session, ready to be sent with any body."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        pool: LoopPool,
        request: Any,
        options: Mapping[str, Any],
        head: RequestHeadTemplate,
    ) -> None:
        self._head = head
        self._headers = options["headers"]
        self._given: Mapping[bytes, bytes] = {}
        self._told: dict[bool, CIMultiDict[str]] = {}  # by whether there are cookies
        # Not the pool's, which is found by its connector and would keep it alive by way of the loop.
        self._deadlines = ReadDeadlines(asyncio.get_running_loop())
        self._pool = pool
        self._tells_of_waiting = next(filter(seams.tells_of_waiting_alone, session.trace_configs), None)
        self._request = request
        self._host = str(request.url.origin())
        self._timeout: aiohttp.ClientTimeout = options["timeout"]
        timeout = self._timeout
        connector: Any = session.connector  # there is one while the session is open
        self._params = {
            "read_until_eof": True,
            "auto_decompress": False,
            "read_timeout": timeout.sock_read,
            "read_bufsize": session._read_bufsize,
            "timeout_ceil_threshold": connector._timeout_ceil_threshold,
            "max_line_size": session._max_line_size,
            "max_field_size": session._max_field_size,
            "max_headers": session._max_headers,
        }

    @classmethod
    async def of(cls, session: aiohttp.ClientSession, pool: LoopPool, options: Mapping[str, Any]) -> PreparedRequest:
        """Return what ``session.request("POST", **options)`` would send, but for its body and its cookies.

        aiohttp writes the head to a stand-in for a connection, which keeps it. Raises ``Unsuited``.
        """
        more = session.trust_env or session._middlewares or session._default_proxy
        if (
            more
            or not all(map(_is_suited, session.trace_configs))
            or options["proxy"]
            or type(session.cookie_jar) is not aiohttp.DummyCookieJar
        ):
            raise Unsuited("proxies, cookies, traces or middlewares")
        request: Any = session._request_class(
            "POST",
            options["url"],
            headers=session._prepare_headers(CIMultiDict(options["headers"].texts(b"", COOKIE))),
            skip_auto_headers=session._skip_auto_headers or None,
            version=session._version,
            loop=asyncio.get_running_loop(),
            response_class=session._response_class,
            session=session,
            ssl=options.get("ssl", True),
            server_hostname=options["server_hostname"],
            trust_env=False,
        )
        taken: Any = _Taken(session.connector)
        response = await request.send(taken)
        response.close()
        request._session = None  # of no more use; it would keep the session alive
        try:
            head = RequestHeadTemplate(taken.written)
        except ValueError as error:
            raise Unsuited(str(error)) from None
        return cls(session, pool, request, options, head)

    def with_options(self, options: Mapping[str, Any]) -> PreparedRequest:
        """Return a request like this, of whose ``options`` the headers differ in the values that are ``given``, and
        perhaps the time limit."""
        made, given = copy.copy(self), options["given"]
        made._headers, made._given, made._told, made._timeout = options["headers"], given, {}, options["timeout"]
        if given:
            made._head = self._head.with_values(given)
        if made._timeout is not self._timeout:
            made._params = {**self._params, "read_timeout": made._timeout.sock_read}
        return made

    def send(self, session: aiohttp.ClientSession, body: bytes, cookie: bytes) -> Coroutine[Any, Any, Reply]:
        """Send one request and return what came of it. Cancellation passes, and closes the connection."""
        return self._send_traced(session, body, cookie) if self._is_traced(session) else self._send(body, cookie, [])

    def _is_traced(self, session: aiohttp.ClientSession) -> bool:
        """Return whether a trace would report anything about a request that is sent now."""
        configs = session.trace_configs
        if len(configs) == 1 and configs[0] is self._tells_of_waiting:
            connector: Any = session.connector
            return bool(connector._available_connections(self._request.connection_key) <= 0)
        return bool(configs)

    async def _send_traced(self, session: aiohttp.ClientSession, body: bytes, cookie: bytes) -> Reply:
        headers = self._told_headers(session, body, cookie)
        begun: tuple[str, URL, CIMultiDict[str]] = "POST", self._request.url, headers
        traces = []
        try:
            for config in session.trace_configs:
                trace = Trace(session, config, config.trace_config_ctx(trace_request_ctx=None))
                await trace.send_request_start(*begun)
                traces.append(trace)
            reply = await self._send(body, cookie, traces)
        except BaseException as error:
            for trace in traces:
                await trace.send_request_exception(*begun, error)
            raise
        if reply.error is not None:
            for trace in traces:
                await trace.send_request_exception(*begun, reply.error)
        return reply

    def _told_headers(self, session: aiohttp.ClientSession, body: bytes, cookie: bytes) -> CIMultiDict[str]:
        """Return the headers for traces; only the length and the cookies change from request to request."""
        made = self._told.get(bool(cookie))
        if made is None:
            made = session._prepare_headers(CIMultiDict(self._headers.texts(body, cookie)))
            self._told[bool(cookie)] = made
        headers: CIMultiDict[str] = made.copy()
        headers["content-length"] = str(len(body))
        if cookie and not self._headers.own_cookie:
            headers["cookie"] = cookie.decode()
        return headers

    async def _send(self, body: bytes, cookie: bytes, traces: list[Trace]) -> Reply:
        sent = time.time()
        try:
            connection = await self._pool.take(self._host, self._request, self._timeout, traces)
        except Exception as error:
            if passage.is_ours(error):
                raise
            return Reply(sent, error=error)
        exchange = _Exchange(connection, self._deadlines)
        unfit = "broken off"
        try:
            try:
                exchange.start(self._head.around(body, cookie), self._timeout.sock_read)
                reply = exchange.reply() if await exchange.answered else None
            except Exception:
                if not exchange.progress.left:
                    raise
                reply = None
            if reply is None:
                unfit = "unusual response"
                reply = exchange.progress.reply = await self._read_again(exchange, body, cookie)
            else:
                unfit = "" if exchange.response.keep_alive else "as the host asked"
            reply.sent = sent
            return reply
        finally:
            if not exchange.stop():
                unfit = unfit or "closed by host"
            self._pool.give_back(self._host, connection, unfit)

    def _info(self, body: bytes, cookie: bytes) -> aiohttp.RequestInfo:
        """Return what errors of aiohttp's tell of a request."""
        made = self._request.request_info
        headers = CIMultiDict(made.headers)
        headers["content-length"] = str(len(body))
        headers.update({name.decode(): value.decode() for name, value in self._given.items()})
        if cookie and not self._headers.own_cookie:
            headers["cookie"] = cookie.decode()
        elif not self._headers.own_cookie:
            headers.popall("cookie", None)
        return aiohttp.RequestInfo(made.url, made.method, CIMultiDictProxy(headers), made.real_url)

    async def _read_again(self, exchange: _Exchange, body: bytes, cookie: bytes) -> Reply:
        """Return what aiohttp reads from the bytes that have arrived and those still to come."""
        protocol = exchange.protocol(**self._params)
        # aiohttp names the cause of an error to those only who are waiting when it comes.
        reading = asyncio.ensure_future(protocol.read())
        try:
            await asyncio.sleep(0)
            exchange.hand_back()
            message, payload = await reading
            while 100 <= message.code <= 199 and message.code != 101:
                message, payload = await protocol.read()
        except HttpProcessingError as error:
            said: dict[str, Any] = {"status": error.code, "message": error.message, "headers": error.headers}
            info = self._info(body, cookie)
            return Reply(0.0, error=_caused(aiohttp.ClientResponseError(info, (), **said), error))
        except aiohttp.ClientError as error:
            return Reply(0.0, error=error)
        except OSError as error:
            return Reply(
                0.0, error=error if error.errno is None else _caused(aiohttp.ClientOSError(*error.args), error)
            )
        except Exception as error:
            return Reply(0.0, error=error)
        finally:
            reading.cancel()
        reply = Reply(0.0, message.code, message.headers)
        parts = []
        try:
            async for part in payload.iter_any():
                parts.append(part)
        except Exception as error:
            reply.body_error = error
        reply.body = b"".join(parts)
        return reply


class _Exchange(asyncio.Protocol):
    """One request and its response on an aiohttp connection, in place of its protocol."""

    def __init__(self, connection: Any, deadlines: ReadDeadlines) -> None:
        self.response = http1.Response()
        self.deadline = 0.0  # where it has one
        self._protocol = connection.protocol
        self._transport = connection.transport
        self._loop = asyncio.get_running_loop()
        self.answered: asyncio.Future[bool] = self._loop.create_future()  # whether the reply is complete
        self._lost: tuple[BaseException | None] | None = None
        self._timed_out = False
        self._over = False
        self._read_timeout: float | None = None
        self._deadlines = deadlines
        self._parts: list[bytes] = []
        self.progress = passage.sending()

    def start(self, request: bytes, read_timeout: float | None) -> None:
        """Send ``request`` and read; ``read_timeout`` is how long the host may be silent, in seconds."""
        self._transport.set_protocol(self)
        self.progress.left = self._transport.write(request) is None
        if read_timeout:
            self._read_timeout = read_timeout
            self.deadline = self._loop.time() + read_timeout
            self._deadlines.add(self)

    def reply(self) -> Reply | None:
        """Return the reply, which is complete, or None if it is for aiohttp to read."""
        if 200 != self.response.status < 400:
            return None
        reply = self.progress.reply = Reply(0.0, self.response.status, self.response.headers, self.response.body)
        return reply

    def stop(self) -> bool:
        """Give the connection back to aiohttp's protocol. Returns whether it is still there."""
        self._deadlines.discard(self)
        if not self._over:
            self._over = True
            if self._lost is None:
                self._transport.set_protocol(self._protocol)
            else:
                self._protocol.connection_lost(*self._lost)
        return self._lost is None

    def protocol(self, **params: Any) -> Any:
        """Return aiohttp's protocol, which will read a response."""
        self._protocol.set_response_params(**params)
        return self._protocol

    def hand_back(self) -> None:
        """Pass all that has happened so far to aiohttp's protocol, and let it continue."""
        if self._parts:
            self._protocol.data_received(b"".join(self._parts))
        else:
            self._protocol.start_timeout()
        self.stop()
        if self._timed_out:
            self._protocol._on_read_timeout()

    def data_received(self, data: bytes) -> None:
        """Read the next bytes; if that fails, aiohttp reads all that have arrived."""
        try:
            self._parts.append(data)
            state = self.response.feed(data)
            if state != http1.MORE:
                self._end(state == http1.DONE)
            elif self._read_timeout is not None:
                self.deadline = self._loop.time() + self._read_timeout
        except Exception:
            if not any(part is data for part in self._parts):
                self._parts.append(data)
            if not self.answered.done():
                self.answered.set_result(False)

    def connection_lost(self, error: BaseException | None) -> None:
        """Note how the connection ended."""
        self._lost = (error,)
        self._end(False)

    def time_out(self) -> None:
        """The host has been silent for too long."""
        self._timed_out = True
        self._end(False)

    def _end(self, complete: bool) -> None:
        if not self.answered.done():
            self.answered.set_result(complete)


class _Taken:
    """Stands in for a connection, its protocol and its transport, and keeps what is written to them."""

    writing_paused = False

    def __init__(self, connector: Any) -> None:
        self._connector = connector
        self.protocol = self.transport = self
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def writelines(self, parts: Iterable[bytes]) -> None:
        self.written += b"".join(parts)

    def is_closing(self) -> bool:
        return False

    def start_timeout(self) -> None:
        """Nothing is waited for."""


def _is_suited(config: aiohttp.TraceConfig) -> bool:
    """Return whether a trace listens only to events that our exchanges report."""
    signals = (name for name in dir(type(config)) if name.startswith("on_"))
    return type(config) is aiohttp.TraceConfig and not any(
        getattr(config, name) for name in signals if name not in _TRACED
    )


def _caused(error: BaseException, cause: BaseException) -> Any:
    """Return an ``error`` as it is when it was raised from its ``cause``, which was being handled."""
    error.__cause__ = error.__context__ = cause
    return error
