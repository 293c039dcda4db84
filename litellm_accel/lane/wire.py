"""Sends one request of a plan on stock's own transport and connections, and takes what comes back as a ``Reply``.

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

from litellm_accel.lane.exchange import Reply

_NOTHING = (None, None)
_map_errors = httpx._transports.default.map_httpcore_exceptions

NEW_LOOP = "new event loop"


class Post:
    """One request, ready to be sent."""

    __slots__ = ("body", "headers", "options", "transport")

    def __init__(self, transport: Any, options: dict[str, Any], headers: Any, body: bytes) -> None:
        self.transport = transport
        self.options = options
        self.headers = headers
        self.body = body

    async def asend(self) -> Reply:
        """Send by aiohttp and return what comes of it. Cancellation of the caller's own task passes."""
        sent = time.time()
        try:
            response = await self.transport.request(
                "POST",
                data=self.body,
                allow_redirects=False,
                auto_decompress=False,
                **{**self.options, "headers": self.headers},
            )
        except asyncio.CancelledError as error:
            if _cancelled():
                raise
            return Reply(sent, error=error)
        except Exception as error:
            return Reply(sent, error=error)
        reply = Reply(sent, response.status, response.headers)
        try:
            reply.body = await response.read()
        except Exception as error:
            reply.body_error = error
        return reply

    def send(self) -> Reply:
        """Send by httpcore and return what comes of it."""
        sent = time.time()
        options = self.options
        try:
            with _map_errors():
                response = self.transport._pool.handle_request(
                    httpcore.Request(
                        "POST",
                        options["target"],
                        headers=self.headers,
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


def apost(plan: Any, messages: bytes) -> Post | str:
    """Return the request of ``plan`` around ``messages`` for the running event loop, or why stock must send it."""
    transport, cookies = plan.transports.get(asyncio.get_running_loop(), _NOTHING)
    if transport is None:
        return NEW_LOOP
    if cookies._cookies:
        return "cookies"
    options = plan.request
    session = transport.get_valid_client_session()
    if _closing(session.connector, options["url"]):
        return "closed connection"
    body = plan.body(messages)
    headers = options["headers"].copy()
    headers["content-length"] = str(len(body))
    return Post(session, options, headers, body)


def post(plan: Any, messages: bytes) -> Post | str:
    """Return the request of ``plan`` around ``messages`` for threads, or why stock must send it."""
    transport, cookies = plan.transports[None]
    if cookies._cookies:
        return "cookies"
    body = plan.body(messages)
    length = b"%d" % len(body)
    headers = [(k, length if k.lower() == b"content-length" else v) for k, v in plan.request["headers"]]
    return Post(transport, plan.request, headers, body)


def _closing(connector: Any, url: Any) -> bool:
    """Return whether the idle connection that aiohttp takes next has something to read; httpcore looks itself."""
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
