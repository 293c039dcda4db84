"""The fast path's own way to send: a pool of connections for threads, and one for each event loop.

Both return None, with nothing sent, where LiteLLM's own transport has to send.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx

from litellm_accel import hot
from litellm_accel.fastpath import decline
from litellm_accel.fastpath.plans.recorder import Reply
from litellm_accel.fastpath.transport.host_stats import summed
from litellm_accel.fastpath.transport.loop_pool import LoopPool, PreparedRequest, Unsuited

if TYPE_CHECKING:
    from litellm_accel.fastpath.transport.thread_pool import Head, ThreadPool


_UNKNOWN: Any = object()


class Pools:
    """The pools of a process, made as they are needed and counted by ``gate``."""

    def __init__(self, gate: hot.gate.Gate) -> None:
        self._gate = gate
        self._thread_pools: weakref.WeakKeyDictionary[httpx.HTTPTransport, ThreadPool | None]
        self._thread_pools = weakref.WeakKeyDictionary()
        self._loop_pools: weakref.WeakKeyDictionary[aiohttp.BaseConnector, LoopPool]
        self.forget()

    def send(
        self,
        transport: httpx.HTTPTransport,
        head: Head,
        body: bytes,
        cookie: bytes,
        timeout: Mapping[str, float | None],
    ) -> Reply | None:
        """Send one request as ``transport`` would; ``timeout`` is httpx's: seconds by what is waited for."""
        if not self._gate.on:
            return None
        pool: ThreadPool | None = self._thread_pools.get(transport, _UNKNOWN)
        if pool is _UNKNOWN:
            pool = self._thread_pools[transport] = _thread_pool(transport)
        if pool is None:
            self._gate.decline(decline.POOL_THREADS_UNSUITED)
            return None
        reply = pool.send(head, body, cookie, timeout)
        if reply is None:
            self._gate.decline(decline.POOL_EXHAUSTED)
        else:
            self._gate.serve()
        return reply

    async def asend(
        self, session: aiohttp.ClientSession, options: Mapping[str, Any], body: bytes, cookie: bytes
    ) -> Reply | None:
        """Send one request as ``session.request("POST", **options)`` would.

        In ``options["prepared"]`` (``OwnerCache``) sessions are mapped to what has been prepared for the other options;
        the values of headers that are ``given``, and the time limit then, are those of this request alone.
        """
        if not self._gate.on:
            return None
        prepared = options["prepared"]
        request: PreparedRequest | None = prepared.get(session, _UNKNOWN)
        if request is _UNKNOWN:
            request = prepared[session] = await self._prepare(session, options)
        if request is None:
            self._gate.decline(decline.POOL_LOOP_UNSUITED)
            return None
        if "given" in options:
            request = request.with_options(options)
        reply = await request.send(session, body, cookie)
        self._gate.serve()
        return reply

    async def _prepare(self, session: aiohttp.ClientSession, options: Mapping[str, Any]) -> PreparedRequest | None:
        connector = session.connector
        if connector is None:  # the session is closed, and aiohttp says so
            return None
        pool = self._loop_pools.get(connector)
        if pool is None:
            pool = self._loop_pools[connector] = LoopPool(connector)
        try:
            return await PreparedRequest.of(session, pool, options)
        except Unsuited:
            return None

    def statistics(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return what ``connection_pool_stats`` returns."""
        return {
            "threads": summed(pool.tallies for pool in list(self._thread_pools.values()) if pool is not None),
            "loops": summed(pool.counted() for pool in list(self._loop_pools.values())),
        }

    def close(self, reason: str) -> None:
        """Close what belongs to threads. An event loop's connections are those of LiteLLM's own session."""
        pools = list(self._thread_pools.values())
        self.forget()
        for pool in pools:
            if pool is not None:
                pool.close(reason)

    def forget(self) -> None:
        """Begin anew and close nothing: a forked child must not touch its parent's connections."""
        for pool in list(self._thread_pools.values()):
            if pool is not None:
                pool.finalizer.detach()
        self._thread_pools = weakref.WeakKeyDictionary()
        self._loop_pools = weakref.WeakKeyDictionary()


_current: Pools | None = None


def current() -> Pools | None:
    """Return the pools that the fast path sends with, if the component is active."""
    return _current


def use(pools: Pools | None) -> None:
    """Send with ``pools`` from now on, or with LiteLLM's own transports."""
    global _current
    _current = pools


def connection_pool_stats() -> dict[str, dict[str, dict[str, Any]]]:
    """Return what the component ``connection_pool`` knows of its connections.

    Under ``threads`` and under ``loop_clients``, for each host: how many are ``open``, ``idle`` and ``in_use``, how
    many were
    ``created`` and ``reused``, and how many were ``closed`` for which reason. Both are empty while it is off.
    """
    return {"threads": {}, "loops": {}} if _current is None else _current.statistics()


def _forget_after_fork() -> None:
    if _current is not None:
        _current.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)


def _thread_pool(transport: httpx.HTTPTransport) -> ThreadPool | None:
    import httpcore  # which whoever has made the transport has imported

    from litellm_accel.fastpath.transport.thread_pool import ThreadPool

    pool = transport._pool
    more = type(pool) is not httpcore.ConnectionPool or pool._proxy or pool._uds or pool._http2 or pool._retries
    return None if more else ThreadPool(pool, transport)
