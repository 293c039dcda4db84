"""What calls that nobody listens to leave in LiteLLM's logging worker.

LiteLLM queues an event for each call in an event loop, whether or not anybody is told of it, and starts its worker in
each loop. Once the worker runs, such an event comes and goes unseen. A loop that ends sooner leaves it behind: the
worker carries it to the next loop, and says so in a warning.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import weakref
from collections.abc import Callable
from typing import Any


class UnheardCalls:
    """Queues an event for each call until LiteLLM's worker runs in the call's loop."""

    def __init__(self, fault: Callable[[BaseException], None]) -> None:
        module = importlib.import_module("litellm.litellm_core_utils.logging_worker")
        self._worker: Any = module.GLOBAL_LOGGING_WORKER
        self._fault = fault
        self._is_known = hasattr(self._worker, "_bound_loop") and hasattr(self._worker, "_worker_task")
        self._running: Callable[[], Any] = lambda: None  # the worker's task in a loop that it has begun to run in

    def note(self, count: Callable[[], None] | None = None) -> None:
        """Take note of a call in the running loop that has succeeded just now; ``count()`` is what its event does."""
        loop = asyncio.get_running_loop()
        if not self._is_running_in(loop):
            loop.call_soon(self._queue, count)
        elif count is not None:
            count()

    def note_at_once(self) -> None:
        """Take note of a call that LiteLLM's cache has answered, whose event LiteLLM queues before it returns."""
        if not self._is_running_in(asyncio.get_running_loop()):
            self._queue(None)

    def _is_running_in(self, loop: asyncio.AbstractEventLoop) -> bool:
        worker = self._worker
        return worker._bound_loop is loop and self._running() is worker._worker_task if self._is_known else True

    def _queue(self, count: Callable[[], None] | None) -> None:
        worker = self._worker
        try:
            worker.ensure_initialized_and_enqueue(_event(count, self._fault))
        except Exception as error:  # the loop of another thread, to which the worker was bound, has just been closed
            asyncio.create_task(_refused(error))  # noqa: RUF006 - it must be lost to be reported
            return
        try:
            task = worker._worker_task
            if inspect.getcoroutinestate(task.get_coro()) != inspect.CORO_CREATED:
                self._running = weakref.ref(task)
        except Exception as error:
            self._fault(error)


async def _refused(error: Exception) -> None:
    """Fail as LiteLLM's own task does where its worker raises: the loop's handler of errors hears of it."""
    raise error


async def _event(count: Callable[[], None] | None, fault: Callable[[BaseException], None]) -> None:
    """Nobody is told, but a router may count."""
    try:
        if count is not None:
            count()
    except Exception as error:
        fault(error)


_event.__qualname__ = "Logging.async_success_handler"  # by which Python would warn of one that is lost
