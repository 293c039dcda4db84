"""What becomes of a call that nobody hears of where LiteLLM's worker refuses it."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

from litellm_accel.fastpath.notify.unheard import UnheardCalls


class ClosedWorker:
    """LiteLLM's worker, bound to a loop of another thread that has just been closed."""

    _bound_loop = None
    _worker_task = None

    def ensure_initialized_and_enqueue(self, async_coroutine: Any) -> None:
        async_coroutine.close()
        raise RuntimeError("Event loop is closed")


def test_a_worker_that_refuses_is_reported_by_the_loop_as_in_stock() -> None:
    faults: list[BaseException] = []
    heard: list[dict[str, Any]] = []

    async def call() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
        calls = UnheardCalls(faults.append)
        calls._worker = ClosedWorker()
        calls.note()
        await asyncio.sleep(0.01)
        gc.collect()

    asyncio.run(call())
    assert faults == []
    assert [context["message"] for context in heard] == ["Task exception was never retrieved"]
    assert str(heard[0]["exception"]) == "Event loop is closed"
