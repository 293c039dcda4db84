"""Waiting for permits in the order of arrival, in threads and event loops alike.

The first in each queue waits for its permits, the others for their turn. Newcomers never overtake those who wait.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from litellm_accel.hot import rate_limit

if TYPE_CHECKING:
    from litellm_accel._py.rate_limit import Decision

# How often a waiter checks that those before it still exist: an event loop may be closed while somebody waits in it.
_LOOK = 1.0
# Added to each wait, so that no clock can say afterwards that it is too early.
_GRAIN = 0.0001


class _Ticket:
    """A place in a queue."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._loop = loop
        self.event: Any = threading.Event() if loop is None else asyncio.Event()

    def is_gone(self) -> bool:
        return self._loop is not None and self._loop.is_closed()

    def wake(self) -> None:
        if self._loop is None:
            self.event.set()
            return
        try:
            self._loop.call_soon_threadsafe(self.event.set)
        except RuntimeError:  # the loop is closed
            return


class _Queue:
    def __init__(self) -> None:
        self.tickets: deque[_Ticket] = deque()
        self.last: Decision = rate_limit.Decision(False, 0, 0.0, "", 0)


class Queues:
    """The queues of a limiter, by the keys that are waited for. Empty while nobody waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: dict[tuple[Any, ...], _Queue] = {}

    def is_empty(self) -> bool:
        """Return whether nobody waits."""
        return not self._queues

    def acquire(self, name: tuple[Any, ...], check: Callable[[], Decision], deadline: float) -> Decision:
        """Return the first decision of ``check`` that allows, or else the last one before the deadline."""
        end = time.monotonic() + deadline
        if name not in self._queues and is_final(decision := check()):
            return decision
        queue, ticket = self._join(name, None)
        try:
            while True:
                wait = _LOOK
                ticket.event.clear()
                if self._is_first(queue, ticket):
                    queue.last = check()
                    if is_final(queue.last):
                        return queue.last
                    wait = queue.last.retry_after + _GRAIN
                left = end - time.monotonic()
                if left <= 0:
                    return queue.last
                ticket.event.wait(min(wait, left, threading.TIMEOUT_MAX))
        finally:
            self._leave(name, queue, ticket)

    async def acquire_async(
        self, name: tuple[Any, ...], check: Callable[[], Awaitable[Decision]], deadline: float
    ) -> Decision:
        """Return what ``acquire`` does, without blocking the event loop."""
        end = time.monotonic() + deadline
        if name not in self._queues and is_final(decision := await check()):
            return decision
        queue, ticket = self._join(name, asyncio.get_running_loop())
        try:
            while True:
                wait = _LOOK
                ticket.event.clear()
                if self._is_first(queue, ticket):
                    queue.last = await check()
                    if is_final(queue.last):
                        return queue.last
                    wait = queue.last.retry_after + _GRAIN
                left = end - time.monotonic()
                if left <= 0:
                    return queue.last
                try:
                    await asyncio.wait_for(ticket.event.wait(), min(wait, left))
                except (TimeoutError, asyncio.TimeoutError):
                    continue
        finally:
            self._leave(name, queue, ticket)

    def wake(self) -> None:
        """Let the first in each queue check again: permits have been given back."""
        if not self._queues:
            return
        with self._lock:
            first = [queue.tickets[0] for queue in self._queues.values()]
        for ticket in first:
            ticket.wake()

    def _join(self, name: tuple[Any, ...], loop: asyncio.AbstractEventLoop | None) -> tuple[_Queue, _Ticket]:
        ticket = _Ticket(loop)
        with self._lock:
            queue = self._queues.setdefault(name, _Queue())
            queue.tickets.append(ticket)
        return queue, ticket

    def _is_first(self, queue: _Queue, ticket: _Ticket) -> bool:
        with self._lock:
            while queue.tickets[0].is_gone():
                queue.tickets.popleft()
            return queue.tickets[0] is ticket

    def _leave(self, name: tuple[Any, ...], queue: _Queue, ticket: _Ticket) -> None:
        with self._lock:
            if ticket in queue.tickets:  # unless its loop was closed
                queue.tickets.remove(ticket)
            following = queue.tickets[0] if queue.tickets else None
            if following is None and self._queues.get(name) is queue:
                del self._queues[name]
        if following is not None:
            following.wake()


def is_final(decision: Decision) -> bool:
    """Return whether waiting cannot change a decision: it is allowed, or never will be."""
    return decision.allowed or decision.retry_after == math.inf
