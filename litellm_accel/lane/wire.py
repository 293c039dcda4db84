"""Sends one request of a plan and takes what comes back as a ``Reply``: by the component ``connection_pool`` if that is
active and can, else on stock's own transport and connections.

A connection that lies idle and has something to read has been closed by the provider, or soon will be. Stock takes long
enough to prepare a call that its event loop notices; the lane looks before it sends, and leaves such a call to stock.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpcore
import httpx
from httpcore._utils import is_socket_readable

from litellm_accel.lane import pools
from litellm_accel.lane.exchange import Reply

_map_errors = httpx._transports.default.map_httpcore_exceptions

NEW_LOOP = "new event loop"


class Post:
    """One request, ready to be sent.

    ``begun`` is what is known of its call for callbacks, None if nobody listens; ``opening`` opens the stream that is
    asked for, None for a plain answer; ``log`` writes the log records of its call, None if there are none.
    """

    __slots__ = ("begun", "body", "log", "opening", "options", "transport")

    def __init__(self, transport: Any, options: dict[str, Any], body: bytes, opening: Any, log: Any) -> None:
        self.transport = transport
        self.options = options
        self.body = body
        self.opening = opening
        self.log = log
        self.begun: Any = None

    async def asend(self) -> Reply:
        """Send in an event loop and return what comes of it. Cancellation of the caller's own task passes.

        A stream is left unread, in the reply's ``live``.
        """
        if self.begun is None and self.log is None:
            return await self._asend()
        sent = time.time()
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
        pool = pools.current() if self.opening is None else None
        try:
            if pool is not None:
                reply = await pool.asend(self.transport, options, self.body)
                if reply is not None:
                    return reply
            headers = options["headers"].copy()
            headers["content-length"] = str(len(self.body))
            given = {name: value for name, value in options.items() if name != "prepared"}
            response = await self.transport.request(
                "POST", data=self.body, allow_redirects=False, auto_decompress=False, **{**given, "headers": headers}
            )
        except asyncio.CancelledError as error:
            if _cancelled():
                raise
            return Reply(sent, error=error)
        except Exception as error:
            return Reply(sent, error=error)
        reply = Reply(sent, response.status, response.headers)
        if self.opening is not None and response.status == 200:
            reply.live, reply.request = response, self.opening.request(self.body)
            return reply
        try:
            reply.body = await response.read()
        except Exception as error:
            reply.body_error = error
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
            reply = pool.send(self.transport, options["head"], self.body, options["timeout"])
            if reply is not None:
                return reply
        head = options["head"]
        try:
            with _map_errors():
                response = self.transport._pool.handle_request(
                    httpcore.Request(
                        "POST",
                        head.url,
                        headers=head.headers_for(self.body),
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
        request = self.opening.request(self.body)
        try:
            response = self.transport.handle_request(request)
        except Exception as error:
            return Reply(sent, error=error)
        reply = Reply(sent, response.status_code, response.headers.raw, extensions=response.extensions)
        if response.status_code == 200:
            reply.live, reply.request = response, request
        else:
            reply.read(response)
        return reply


def apost(plan: Any, body: bytes) -> Post | str:
    """Return the request of ``plan`` with ``body`` for the running event loop, or why stock must send it."""
    loop = asyncio.get_running_loop()
    held = plan.transports.get(loop) or plan.transports.obtain(loop)
    if held is None:
        return NEW_LOOP
    transport, client = held
    if client.cookies._cookies:
        return "cookies"
    if client.changed():
        plan.expires = 0.0
        return "changed client"
    options = plan.request
    session = transport._get_valid_client_session()  # the name that every release has
    pooled = plan.opening is None and pools.current() is not None and options["prepared"].get(session) is not None
    if not pooled and _closing(session.connector, options["url"]):
        return "closed connection"
    return Post(session, options, body, plan.opening, plan.log)


def post(plan: Any, body: bytes) -> Post | str:
    """Return the request of ``plan`` with ``body`` for threads, or why stock must send it."""
    transport, client = plan.transports[None]
    if client.cookies._cookies:
        return "cookies"
    if client.changed():
        plan.expires = 0.0
        return "changed client"
    return Post(transport, plan.request, body, plan.opening, plan.log)


def _closing(connector: Any, url: Any) -> bool:
    """Return whether the idle connection that aiohttp takes next has something to read; others look themselves."""
    host, port = url.host, url.port
    for key, idle in connector._conns.items():
        if key.host == host and key.port == port:
            for protocol, _ in idle:
                if protocol.is_connected():
                    return is_socket_readable(protocol.transport.get_extra_info("socket"))
    return False


def _cancelled() -> bool:
    """Return whether the running task is being cancelled; not so if only something it waited for was."""
    task = asyncio.current_task()
    return task is None or not hasattr(task, "cancelling") or task.cancelling() > 0
