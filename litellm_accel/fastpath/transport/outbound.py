"""Sends one request of a plan and takes what comes back as a ``Reply``: by the component ``connection_pool`` if that is
active and can, else on stock's own transport and connections.

A connection that lies idle and has something to read has been closed by the provider, or soon will be. Stock takes long
enough to prepare a call that its event loop notices; the fast path looks before it sends, and leaves such a call to
stock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import httpx
from multidict import CIMultiDict

from litellm_accel.fastpath import decline, passage
from litellm_accel.fastpath.decline import Why
from litellm_accel.fastpath.known_names import VARIABLE_HEADERS
from litellm_accel.fastpath.owner_cache import OwnerCache
from litellm_accel.fastpath.plans.recorder import Reply
from litellm_accel.fastpath.transport import pools, time_limits
from litellm_accel.fastpath.transport.client_guard import ClientGuard
from litellm_accel.fastpath.transport.cookies import ClientCookies, NoCookies
from litellm_accel.fastpath.transport.request_head import values_of
from litellm_accel.fastpath.transport.sockets import has_input
from litellm_accel.hot import chat

# The header by which the SDK counts how often it has sent a request before.
_COUNT = b"x-stainless-retry-count"
_KEPT_RETRIES = 4
_OWN_OPTIONS = frozenset(("given", "prepared", time_limits.TIMED))  # which aiohttp does not know
_map_errors = httpx._transports.default.map_httpcore_exceptions


class OutboundRequest:
    """One request, ready to be sent.

    ``begun`` is what is known of its call for callbacks, None if nobody listens; ``opening`` opens the stream that is
    asked for, None for a plain answer. ``cookies`` are those of the client that it is sent for, ``cookie`` is its
    header of them. ``log`` writes the log records of its call, None if there are none. ``earlier`` are the replies to
    the same request after which it was sent once more, ``waited`` is how often that was waited for. ``client`` is the
    SDK's client of calls with this time limit, None if it is that of all calls. ``take_back`` undoes what else was done
    for its call.
    """

    __slots__ = (
        "_first",
        "begun",
        "body",
        "client",
        "cookie",
        "cookies",
        "earlier",
        "log",
        "opening",
        "options",
        "take_back",
        "transport",
        "waited",
    )

    def __init__(
        self,
        transport: Any,
        options: dict[str, Any],
        body: bytes,
        opening: Any,
        cookies: ClientCookies | NoCookies,
        cookie: bytes,
        log: Any,
        client: Any = None,
    ) -> None:
        self.transport = transport
        self.options = options
        self.body = body
        self.cookies = cookies
        self.cookie = cookie
        self.opening = opening
        self.log = log
        self.client = client
        self.begun: Any = None
        self.take_back: Callable[[], None] | None = None
        self.earlier: tuple[Reply, ...] = ()
        self.waited = 0
        self._first = options

    def undo(self) -> None:
        """Take back what was done for its call before it was sent: stock, which runs the call, will do it."""
        if self.begun is not None:
            self.begun.undo()
        if self.take_back is not None:
            self.take_back()

    async def awaited(self, waiting: Awaitable[None], sent: float) -> None:
        """Wait for what comes before the same request, which was ``sent`` first then, is sent once more."""
        try:
            await waiting
        except asyncio.CancelledError:
            if self.begun is not None:
                self.begun.cancel(sent)
            raise

    def retried(self, count: int) -> dict[str, Any] | None:
        """Return the options of the same request as the SDK sends it after ``count`` others; None if not known."""
        return retried(self._first, count)

    def send_again(self, other: OutboundRequest, reply: Reply) -> None:
        """Become the request that is sent after this one was answered with ``reply``, by the connections of an
        ``other`` one."""
        options = self.retried(len(self.earlier) + 1)
        assert options is not None
        self.transport, self.cookie, self.options = other.transport, other.cookie, options
        passage.sending().again()
        self.earlier = (*self.earlier, reply)

    async def asend(self) -> Reply:
        """Send in an event loop and return what comes of it. Cancellation of the caller's own task passes.

        A stream is left unread, in the reply's ``live``.
        """
        if self.begun is None and self.log is None:
            return await self._asend()
        sent = self.earlier[0].sent if self.earlier else time.time()
        try:
            if self.log is not None:
                await self.log.abefore(self.body)
            return await self._asend()
        except asyncio.CancelledError:
            if self.begun is not None:
                self.begun.cancel(sent)
            raise

    async def _asend(self) -> Reply:
        sent = time.time()
        options = self.options
        progress = passage.sending()
        pool = pools.current() if self.opening is None else None
        try:
            if pool is not None:
                reply = await pool.asend(self.transport, options, self.body, self.cookie)
                if reply is not None:
                    return reply
            headers = CIMultiDict(options["headers"].texts(self.body, self.cookie))
            given = {name: value for name, value in options.items() if name not in _OWN_OPTIONS}
            given["headers"] = headers
            given.update(data=self.body, allow_redirects=False, auto_decompress=False)
            reply = progress.reply = Reply(sent)
            reply.live, progress.left = await self.transport.request("POST", **given), True
        except asyncio.CancelledError as error:
            if _cancelled():
                raise
            return Reply(sent, error=error)
        except Exception as error:
            if passage.is_ours(error):
                raise
            return Reply(sent, error=error)
        response = reply.live  # which stock may read as well, until it has been read
        reply.status, reply.headers = response.status, response.headers
        if self.opening is not None and response.status == 200:
            reply.request = self.opening.request(self.options, self.body, self.cookie)
            return reply
        try:
            reply.body, reply.live = await response.read(), None
        except Exception as error:
            if passage.is_ours(error):
                raise
            reply.body_error, reply.live = error, None
        return reply

    def send(self) -> Reply:
        """Send in a thread and return what comes of it. A stream is left unread, in the reply's ``live``."""
        if self.log is not None:
            self.log.before(self.body)
        if self.opening is not None:
            return self._open()
        sent = time.time()
        options = self.options
        pool = pools.current()
        if pool is not None:
            reply = pool.send(self.transport, options["head"], self.body, self.cookie, options["timeout"])
            if reply is not None:
                return reply
        head = options["head"]
        import httpcore  # which whoever has made the transport has imported

        try:
            with _map_errors():
                response = self.transport._pool.handle_request(
                    httpcore.Request(
                        "POST",
                        head.url,
                        headers=head.headers.raw(self.body, self.cookie),
                        content=self.body,
                        extensions={"timeout": options["timeout"]},
                    )
                )
        except Exception as error:
            return Reply(sent, error=error)
        reply = Reply(sent, response.status, response.headers, extensions=response.extensions)
        try:
            with _map_errors():
                reply.body = b"".join(response.stream)
        except Exception as error:
            reply.body_error = error
        finally:
            response.close()
        return reply

    def _open(self) -> Reply:
        sent = time.time()
        request = self.opening.request(self.options, self.body, self.cookie)
        progress = passage.sending()
        reply = progress.reply = Reply(sent)
        try:
            reply.live, progress.left = self.transport.handle_request(request), True
        except Exception as error:
            if passage.is_ours(error):
                raise
            return Reply(sent, error=error)
        response = reply.live  # which stock may read as well, until it has been read
        reply.status, reply.headers, reply.extensions = response.status_code, response.headers.raw, response.extensions
        if response.status_code == 200:
            reply.request = request
        else:
            reply.live = reply.read(response)  # type: ignore[func-returns-value]  # both in one statement
        return reply


def retried(options: dict[str, Any], count: int) -> dict[str, Any] | None:
    """Return the ``options`` of a request as the SDK sends it after ``count`` others, None if they do not count."""
    made: dict[str, Any] | None = options["headers"].retried.get(count)
    if made is not None:
        return made
    headers = options["headers"].with_value(_COUNT, b"0", b"%d" % count)
    if headers is None:
        return None
    made = {**options, "headers": headers}
    if "head" in options:
        from litellm_accel.fastpath.transport.thread_pool import Head

        made["head"] = Head(options["url"], headers)
    else:
        made["prepared"] = OwnerCache()
    if count <= _KEPT_RETRIES:
        options["headers"].retried[count] = made
    return made


def lost(plan: chat.Plan) -> Reply:
    """Return what takes the place of a reply that a fault of ours has lost, after the request was sent."""
    if "head" in plan.request:  # of a thread
        return Reply(time.time(), error=httpx.RemoteProtocolError("Server disconnected without sending a response."))
    return Reply(time.time(), error=aiohttp.ServerDisconnectedError())


def _options(plan: chat.Plan, free: Mapping[str, bytes]) -> dict[str, Any]:
    """Return how a request of ``plan`` is sent, with the headers and the time limit that its call gives in ``free``
    arguments."""
    timed = plan.request.get(time_limits.TIMED, ())
    if not timed and VARIABLE_HEADERS.isdisjoint(plan.places):
        return plan.request
    values: dict[bytes, bytes] = {}
    for name in VARIABLE_HEADERS & plan.places.keys():
        values.update(values_of(free[name]))
    options: dict[str, Any] = plan.request.copy()
    if timed:
        values.update(time_limits.told_in(options, free[timed[0]]))
        options["timeout"] = time_limits.of_transport(options, time_limits.seconds_of(free[timed[0]]))
    headers = options["headers"] = options["headers"].with_values(values)
    if "head" in options:
        options["head"] = options["head"].with_headers(headers, values)
    else:
        options["given"] = values
    return options


def aprepare(plan: chat.Plan, body: bytes, free: Mapping[str, bytes]) -> OutboundRequest | Why:
    """Return the request of ``plan`` with ``body`` and ``free`` arguments for the running event loop, or why stock must
    send it."""
    found = _client(asyncio.get_running_loop(), plan, free)
    if isinstance(found, Why):
        return found
    client, cookie, sdk = found
    options = _options(plan, free)
    session = client.transport._get_valid_client_session()  # the name that every release has
    pooled = plan.opening is None and pools.current() is not None and options["prepared"].get(session) is not None
    if not pooled and _closing(session.connector, options["url"]):
        return decline.CLOSED_CONNECTION
    return OutboundRequest(session, options, body, plan.opening, client.cookies, cookie, plan.log, sdk)


def prepare(plan: chat.Plan, body: bytes, free: Mapping[str, bytes]) -> OutboundRequest | Why:
    """Return the request of ``plan`` with ``body`` and ``free`` arguments for this thread, or why stock must send
    it."""
    return post_in(asyncio._get_running_loop(), plan, body, free)


def post_in(
    loop: asyncio.AbstractEventLoop | None, plan: Any, body: bytes, free: Mapping[str, bytes]
) -> OutboundRequest | Why:
    """As ``prepare``, for a thread in which ``loop`` is running when the call begins."""
    found = _client(loop, plan, free)
    if isinstance(found, Why):
        return found
    client, cookie, sdk = found
    options = _options(plan, free)
    return OutboundRequest(client.transport, options, body, plan.opening, client.cookies, cookie, plan.log, sdk)


def _client(
    loop: asyncio.AbstractEventLoop | None, plan: chat.Plan, free: Mapping[str, bytes]
) -> tuple[ClientGuard, bytes, Any] | Why:
    """Return LiteLLM's client of ``plan`` for ``loop`` and its cookies, or why stock must send.

    And the SDK's client itself, if that is one for the time limit in the ``free`` arguments alone.
    """
    timed = plan.request.get(time_limits.TIMED, ())
    for name in timed:
        if free[name] != free[timed[0]]:
            return decline.VALUE_DIFFERS.of(decline.place((name,)))
    if timed and free[timed[0]] != plan.free[timed[0]] and plan.transports.are_timed():
        own = plan.transports.timed(time_limits.seconds_of(free[timed[0]]))
        if own is None:
            return decline.CHANGED_CLIENT
        cookie = own.cookies.header()
        return decline.COOKIES if cookie is None else (own, cookie, own.sdk)
    held = plan.transports.get(loop) or plan.transports.obtain(loop)
    if held is None:
        return decline.NEW_LOOP
    client = plan.transports.obtain(loop) or held if held.is_gone() else held
    if client.is_gone() or client.changed():
        plan.expires = 0.0
        return decline.CHANGED_CLIENT
    cookie = client.cookies.header()
    return decline.COOKIES if cookie is None else (client, cookie, None)


def _closing(connector: Any, url: Any) -> bool:
    """Return whether the idle connection that aiohttp would take next has something to read."""
    host, port = url.host, url.port
    for key, idle in connector._conns.items():
        if key.host == host and key.port == port:
            for protocol, _ in idle:
                if protocol.is_connected():
                    return has_input(protocol.transport.get_extra_info("socket"))
    return False


def _cancelled() -> bool:
    """Return whether the running task itself is being cancelled, not just something it waits for."""
    task = asyncio.current_task()
    return task is None or not hasattr(task, "cancelling") or task.cancelling() > 0
