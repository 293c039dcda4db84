"""Events come from LiteLLM's queue to those who are told as they do without us: in the same turns of the loop."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import sys
from typing import Any

import pytest
from litellm.litellm_core_utils import logging_worker

from litellm_accel.fastpath.notify.deliveries import Deliveries

utils = importlib.import_module("litellm.utils")
WHO = contextvars.ContextVar("who", default="nobody")
KINDS = ("at once", "later", "raises", "late")

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="tasks do not tell that they are being cancelled")


class Told:
    """A call's object, as much of it as is asked; ``turns`` counts those of the loop."""

    defer_async_logging = False

    def __init__(self, kind: str, turns: list[int], heard: list[Any]) -> None:
        self.kind, self.turns, self.heard = kind, turns, heard
        self.is_claimed = self.is_queued = False

    def claim_async_success_log(self) -> bool:
        is_first, self.is_claimed = not self.is_claimed, True
        return is_first

    def mark_async_success_log_enqueued(self) -> None:
        self.is_queued = True

    async def async_success_handler(self, result: Any, start_time: Any, end_time: Any) -> None:
        self.heard.append((result, WHO.get(), min(self.turns[0], 9), start_time, end_time))
        if self.kind == "raises":
            raise KeyError("not told")
        if self.kind in ("later", "late"):
            await asyncio.sleep(0.001 if self.kind == "later" else 60)
            self.heard.append(f"{result} at last")


def play(worker: Any, kind: str, ends: int | None, *, is_ours: bool, caplog: Any) -> Any:
    """Return what is heard and left of seven events, of which the last are queued together; after so many turns the
    loop ``ends``."""
    turns, heard, kept = [0], [], []
    faults: list[BaseException] = []
    deliveries = Deliveries(utils, faults.append)
    assert deliveries._is_known

    async def count() -> None:
        while True:
            turns[0] += 1
            await asyncio.sleep(0)

    def tell(number: int) -> None:
        WHO.set(f"caller {number}")
        told = Told(kind, turns, heard)
        if is_ours and deliveries.queue(told, number, 1, 2):
            kept.append(number)
            assert not deliveries.queue(told, number, 1, 2)
        else:
            given = {"logging_obj": told, "result": number, "start_time": 1, "end_time": 2}
            utils._schedule_async_success_logging(**given, is_completion_with_fallbacks=False)
        assert told.is_claimed and told.is_queued

    async def main() -> None:
        counting = asyncio.create_task(count())
        tell(0)
        await asyncio.sleep(0.1)
        for number in (1, 2):
            turns[0] = 0
            tell(number)
            for _ in range(6 if ends is None or number == 1 else ends):
                await asyncio.sleep(0)
        if ends is not None:
            return
        turns[0] = 0
        for number in range(3, 7):  # more than may be told at a time
            tell(number)
        await asyncio.sleep(0.01)
        await worker.flush()
        await asyncio.sleep(0)
        counting.cancel()
        heard.append((worker.pending_count, worker._queue._unfinished_tasks, worker._sem._value))

    caplog.clear()
    asyncio.run(main())
    assert not faults and kept == ([] if not is_ours else [1, 2] if ends is not None else [1, 2, 3, 4, 5, 6])
    left = worker.pending_count, len(worker._unstarted_dequeued_tasks())
    logged = [record.getMessage() for record in caplog.records]
    worker._flush_on_exit()
    return heard, left, logged, worker._timeout_total


@pytest.mark.parametrize("ends", [None, 0, 1, 2, 3, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_events_are_told_as_by_stock(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str, ends: int | None
) -> None:
    seen = []
    for is_ours in (False, True):
        made = logging_worker.LoggingWorker(timeout=0.05, concurrency=3)
        monkeypatch.setattr(logging_worker, "GLOBAL_LOGGING_WORKER", made)
        seen.append(play(made, kind, ends, is_ours=is_ours, caplog=caplog))
        made._queue = None
    assert seen[1] == seen[0]
