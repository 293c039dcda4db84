"""How what is told of a call gets from LiteLLM's queue of events to the task that tells it.

LiteLLM has a task put each event into the queue, a worker take it out, a second task wait for a third with a time
limit, and the third tell. Where the worker has nothing else to do, the steps of all but the third are taken here, each
in the turn of the loop in which LiteLLM takes it: until somebody is told, what is left where is the same. A task
that has not told all in its first turn, or has failed, is waited for by LiteLLM as if it had begun the task itself.
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import inspect
import sys
import weakref
from collections.abc import Callable
from logging import DEBUG
from typing import Any

from litellm_accel.stock import releases

_WORKER = "litellm.litellm_core_utils.logging_worker"
# What is used of a queue besides its public methods.
_OF_QUEUES = ("_queue", "_getters", "_unfinished_tasks", "_finished", "_wakeup_next")


class Deliveries:
    """Has LiteLLM's worker tell what ``Logging`` objects have to tell; ``fault`` is told of an exception in here."""

    def __init__(self, utils: Any, fault: Callable[[BaseException], None]) -> None:
        module = importlib.import_module(_WORKER)
        self._litellm = importlib.import_module("litellm")
        self._logger = importlib.import_module("litellm._logging").verbose_logger
        self._worker: Any = module.GLOBAL_LOGGING_WORKER
        self._fault = fault
        process = getattr(module.LoggingWorker, "_process_log_task", None)
        self._is_known = (
            sys.version_info >= (3, 11)
            and process is not None
            and hasattr(utils, "_schedule_async_success_logging")
            and hasattr(self._worker, "_bound_loop")
            and hasattr(self._worker, "_dequeued_tasks")
            and releases.knows(process, ["self", "task", "sem", "queue"], [_WORKER, "litellm.utils"])
        )
        self._waiting: Callable[[], Any] = lambda: None  # the worker's task in a loop in which it has begun to run

    def queue(self, logging: Any, result: Any, start: Any, end: Any) -> bool:
        """Queue what ``logging`` has to tell of a success, as LiteLLM does; return whether that is done."""
        loop, worker = asyncio.get_running_loop(), self._worker
        if not self._is_known or worker._bound_loop is not loop or not self._is_waiting(worker._worker_task):
            return False
        queue = worker._queue
        if (
            queue.full()
            or getattr(worker, "_pending_enqueues", None)
            or logging.defer_async_logging
            or self._logger.isEnabledFor(DEBUG)
            or self._litellm.set_verbose
            or not logging.claim_async_success_log()
        ):
            return False
        logging.mark_async_success_log_enqueued()
        event = {
            "coroutine": logging.async_success_handler(result=result, start_time=start, end_time=end),
            "context": contextvars.copy_context(),
        }
        # As ``put_nowait``, which would wake the worker.
        queue._queue.append(event)
        queue._unfinished_tasks += 1
        queue._finished.clear()
        loop.call_soon(_Delivery(worker, loop, event, self._fault).wait)
        return True

    def _is_waiting(self, task: Any) -> bool:
        """Return whether ``task`` is the worker's, and has come to where it waits for events."""
        if task is None or task.done():
            return False
        if self._waiting() is not task:
            if inspect.getcoroutinestate(task.get_coro()) != inspect.CORO_SUSPENDED or not _is_queue(self._worker):
                return False
            self._waiting = weakref.ref(task)
        return True


def _is_queue(worker: Any) -> bool:
    return type(worker._queue) is asyncio.Queue and all(hasattr(worker._queue, name) for name in _OF_QUEUES)


class _Delivery:
    """The way of one ``event`` from the queue; each of its methods but the last has the loop call the next."""

    __slots__ = ("_event", "_fault", "_loop", "_queue", "_sem", "_task", "_worker", "_worker_task")

    def __init__(self, worker: Any, loop: Any, event: Any, fault: Callable[[BaseException], None]) -> None:
        self._worker = worker
        self._worker_task = worker._worker_task
        self._queue = worker._queue
        self._sem = worker._sem
        self._loop = loop
        self._event = event
        self._fault = fault
        self._task: Any = None

    def wait(self) -> None:
        """Let the turn go by in which the worker is woken; wake it if more is queued than can be told at a time."""
        queue = self._queue
        if self._sem._value < queue.qsize():
            queue._wakeup_next(queue._getters)
        self._loop.call_soon(self.take)

    def take(self) -> None:
        """Take the event from the queue as the worker does, unless others come first or the worker ends."""
        queue, sem = self._queue, self._sem
        if self._is_over() or not queue._queue or queue._queue[0] is not self._event:
            return
        if sem.locked():
            queue._wakeup_next(queue._getters)  # if others have begun meanwhile
            return
        queue.get_nowait()
        self._worker._track_dequeued(self._event)
        sem._value -= 1
        self._loop.call_soon(self.begin)

    def begin(self) -> None:
        """Begin the task that tells."""
        worker, event = self._worker, self._event
        if worker._dequeued_tasks.get(id(event)) is not event:  # another loop has taken it
            self._sem.release()
        elif not self._is_over():
            try:
                self._task = worker._create_callback_task(event)
            except Exception as error:
                self._sem.release()
                self._fault(error)
                return
            self._loop.call_soon(self.end)

    def end(self) -> None:
        """Note that all is told, or have LiteLLM wait for it."""
        task, worker = self._task, self._worker
        if task.done() and (task.cancelled() or task.exception() is None):
            worker._untrack_dequeued(self._event)
            self._queue.task_done()
            self._sem.release()
            return
        process = type(worker)._process_log_task(_Begun(worker, task), self._event, self._sem, self._queue)
        waiting = self._loop.create_task(process)
        worker._running_tasks.add(waiting)
        waiting.add_done_callback(worker._running_tasks.discard)
        waiting.add_done_callback(self._has_ended)

    def _has_ended(self, waiting: Any) -> None:
        """Do what LiteLLM has not done if what should wait is cancelled before it begins: it would wait by then."""
        if waiting.cancelled() and self._worker._dequeued_tasks.get(id(self._event)) is self._event:
            self._worker._untrack_dequeued(self._event)
            self._queue.task_done()
            self._sem.release()
            if not self._task.cancel() and not self._task.cancelled():
                error = self._task.exception()
                logger = importlib.import_module("litellm._logging").verbose_logger
                logger.error("LoggingWorker error: %s", error, exc_info=error)

    def _is_over(self) -> bool:
        """Return whether the worker ends: what it has not begun is done when it ends, in the next loop, or at exit."""
        task = self._worker_task
        return bool(task.done() or task.cancelling() or self._worker._worker_task is not task)


class _Begun:
    """The worker, of which a task has begun already."""

    def __init__(self, worker: Any, task: Any) -> None:
        self._worker = worker
        self._task = task

    def __getattr__(self, name: str) -> Any:
        return getattr(self._worker, name)

    def _create_callback_task(self, event: Any) -> Any:
        return self._task
