"""Connections to Redis, of threads and of event loops.

What redis-py's client does around a command takes as long as the command. Here redis-py opens connections, by the
options of the URL, and reads replies; the rest is ours.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import redis
import redis.asyncio

__all__ = ["AsyncConnections", "Connections"]


class Connections:
    """Connections of threads, each used by one call at a time. How long a call waits is an option of ``pool``."""

    def __init__(self, pool: redis.ConnectionPool) -> None:
        self._pool = pool
        self._process = os.getpid()
        self._idle: list[Any] = []  # whoever pops a connection owns it, whatever other threads do

    def ask(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send the commands at once and return their replies; errors of single commands are among these."""
        if self._process != os.getpid():  # after a fork, these are the parent's
            self._process, self._idle = os.getpid(), []
            self._pool.reset()
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._pool.make_connection()
        replies: list[Any] = []
        try:
            _make_ready(connection)
            connection.send_packed_command([b"".join([_packed(command) for command in commands])])
            for _ in commands:
                try:
                    replies.append(connection.read_response())
                except redis.ResponseError as error:
                    replies.append(error)
        except BaseException:
            connection.disconnect()  # a reply may still come
            raise
        finally:
            self._idle.append(connection)
        return replies

    def close(self) -> None:
        """Close the connections that no call has at the moment; later calls open them again."""
        closed: list[Any] = []
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # the last one went to another thread
                break
            connection.disconnect()
            closed.append(connection)
        self._idle += closed


class AsyncConnections:
    """Connections of an event loop, as ``Connections`` has them."""

    def __init__(self, pool: redis.asyncio.ConnectionPool) -> None:
        self._make: Callable[[], Any] = pool.make_connection
        self._idle: list[Any] = []

    async def ask(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send the commands at once and return their replies; errors of single commands are among these."""
        connection = self._idle.pop() if self._idle else self._make()
        replies: list[Any] = []
        try:
            await _make_ready_async(connection)
            await connection.send_packed_command([b"".join([_packed(command) for command in commands])])
            for _ in commands:
                try:
                    replies.append(await connection.read_response())
                except redis.ResponseError as error:
                    replies.append(error)
        except BaseException:
            await connection.disconnect(nowait=True)  # a reply may still come
            raise
        finally:
            self._idle.append(connection)
        return replies

    async def aclose(self) -> None:
        """Close the connections that no call has at the moment."""
        while self._idle:
            await self._idle.pop().disconnect()


def _make_ready(connection: Any) -> None:
    """Open a connection that is not open, or that the server has closed, or on which something is to be read."""
    connection.connect()
    try:
        if not connection.can_read():
            return
    except (redis.RedisError, OSError):
        pass
    connection.disconnect()
    connection.connect()


async def _make_ready_async(connection: Any) -> None:
    """Do what ``_make_ready`` does, in an event loop."""
    await connection.connect()
    can_read = getattr(connection, "can_read", None) or connection.can_read_destructive  # before redis-py 8
    try:
        if not await can_read():
            return
    except (redis.RedisError, OSError):
        pass
    await connection.disconnect(nowait=True)
    await connection.connect()


def _packed(command: Sequence[Any]) -> bytes:
    """Return a command as Redis reads it."""
    parts = [part if isinstance(part, bytes) else str(part).encode() for part in command]
    return b"".join([b"*%d\r\n" % len(parts), *[b"$%d\r\n%b\r\n" % (len(part), part) for part in parts]])
