"""Waiting for what LiteLLM does after a call has returned: its worker in the event loop, and its threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER
from litellm.litellm_core_utils.thread_pool_executor import executor

PAUSE = 0.002
PAUSES = 3  # between one task's end and the next one's beginning nothing is at work
SECONDS = 10.0


async def settled() -> None:
    """Wait until neither the running loop's worker nor a thread has been at work for a while."""
    loop, worker = asyncio.get_running_loop(), GLOBAL_LOGGING_WORKER
    end, quiet = time.monotonic() + SECONDS, 0
    while quiet < PAUSES:
        await asyncio.sleep(PAUSE)
        queued = worker._bound_loop is loop and worker._queue is not None and worker._queue._unfinished_tasks
        quiet = 0 if queued or threads_at_work() else quiet + 1
        assert time.monotonic() < end, "LiteLLM does not come to rest"


def threads_settled() -> None:
    """Wait until no thread has been at work for a while; outside of event loops."""
    end, quiet = time.monotonic() + SECONDS, 0
    while quiet < PAUSES:
        time.sleep(PAUSE)
        quiet = 0 if threads_at_work() else quiet + 1
        assert time.monotonic() < end, "LiteLLM does not come to rest"


def threads_at_work() -> bool:
    """Whether one of LiteLLM's threads has something to do."""
    return not executor._work_queue.empty() or executor._idle_semaphore._value < len(executor._threads)


def becomes(condition: Callable[[], object]) -> bool:
    """Whether ``condition`` is true before long; what other threads are to do has time to happen."""
    end = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
