"""Waves of equal calls at once: what the first wave shows is enough for all of the second."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import litellm
import pytest
from litellm.integrations.custom_logger import CustomLogger
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

import litellm_accel
from fastpath_switch import Switch
from litellm_accel.fastpath.pipeline import Pipeline
from litellm_accel.provider import Provider
from litellm_accel.verify import records
from settling import settled

ROOT = str(Path(__file__).parents[2])
HELLO = [{"role": "user", "content": "Hello"}]
Call = Callable[..., Awaitable[Any]]


class Heard(CustomLogger):
    """Keeps what it is told, in the order of the calls' numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.payloads: list[Any] = []

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        payload = kwargs["standard_logging_object"]
        self.payloads.append((payload["response_cost"], payload["model"], payload["messages"]))


pytestmark = pytest.mark.usefixtures("quiet")


@contextmanager
def warm(provider: Provider) -> Iterator[Pipeline]:
    """A fast path that is on in the block, streams included, and has met calls: the first of all load modules."""
    switch = Switch()
    with records.proving("streaming"), litellm_accel.accelerated("streaming", strict=True), switch.on() as pipeline:
        for _ in range(3):
            asyncio.run(direct(provider)(temperature=0.9))
        pipeline.gate.clear()
        yield pipeline
    switch.stop()


def direct(provider: Provider) -> Call:
    def call(**more: Any) -> Awaitable[Any]:
        return litellm.acompletion(
            model="openai/gpt-4o-mini", messages=copy.deepcopy(HELLO), api_key="sk-1", api_base=provider.url, **more
        )

    return call


async def wave(call: Call, size: int, stream: bool = False, metadata: bool = False) -> list[str]:
    async def one(number: int) -> str:
        more: dict[str, Any] = {"metadata": {"request": f"r{number}"}} if metadata else {}
        if not stream:
            return str((await call(**more)).choices[0].message.content)
        chunks: Any = await call(stream=True, **more)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])

    return await asyncio.gather(*[one(number) for number in range(size)])


@pytest.mark.parametrize(
    ("stream", "metadata", "listens"),
    [
        (False, False, False),
        (True, False, False),
        (False, True, False),
        (False, False, True),
        (True, False, True),
        (False, True, True),
    ],
)
def test_the_second_wave_is_served(provider: Provider, stream: bool, metadata: bool, listens: bool) -> None:
    heard = Heard()

    async def waves() -> list[list[str]]:
        await GLOBAL_LOGGING_WORKER.flush()  # of earlier calls
        heard.payloads.clear()
        said = [await wave(direct(provider), 20, stream, metadata) for _ in range(3)]
        await settled()
        return said

    def play() -> Any:
        return asyncio.run(waves()), sorted(heard.payloads, key=str)

    if listens:
        litellm.callbacks = [heard]
    expected = play()
    with warm(provider) as pipeline:
        found = play()
        assert pipeline.gate.served == 40
        assert pipeline.gate.declined == {
            "learned from": 2 if stream or metadata or listens else 1,
            "being learned": 18 if stream or metadata or listens else 19,
        }
        assert pipeline.gate.faults == 0, pipeline.gate.last_fault
    assert found == expected
    assert len(found[1]) == (60 if listens else 0)


def test_a_wave_of_threads(provider: Provider) -> None:
    """Each of a wave is stock's or served, none waits, and the second wave is served."""
    litellm.success_callback = [lambda *told: None]
    said: list[str] = []

    def call() -> None:
        answer = litellm.completion(
            model="openai/gpt-4o-mini", messages=copy.deepcopy(HELLO), api_key="sk-1", api_base=provider.url
        )
        said.append(str(answer.choices[0].message.content))

    def threads() -> None:
        running = [threading.Thread(target=call) for _ in range(8)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()

    with warm(provider) as pipeline:
        for _ in range(2):  # of the first sync calls of a process, each makes a client, of which LiteLLM keeps the last
            threads()
        served = pipeline.gate.served
        threads()
        assert pipeline.gate.served == served + 8, pipeline.gate.declined
        assert pipeline.gate.faults == 0, pipeline.gate.last_fault
    assert len(said) == 24
    assert len(set(said)) == 1


FIRST = """
import json, os, threading
from litellm_accel.provider import Provider
from litellm_accel.verify import records
with Provider(record=0, profile="openai", tls=True) as provider, records.proving("chat"):
    os.environ.update(provider.trust)
    import litellm, litellm_accel
    litellm_accel.accelerate("chat", strict=True)
    messages = [{"role": "user", "content": "Hello"}]
    call = {"model": "openai/gpt-4o-mini", "messages": messages, "api_key": "sk-1", "api_base": provider.url}
    shown = []
    for _ in range(3):
        threads = [threading.Thread(target=litellm.completion, kwargs=dict(call)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        row = litellm_accel.status()["chat"]
        shown.append((row.served, dict(row.declined), row.faults))
    print(json.dumps(shown))
"""


def test_waves_of_threads_from_the_first_call_of_a_process() -> None:
    """Modules, loggers and clients come to be while calls are watched; what these show is kept."""
    ran = subprocess.run(
        [sys.executable, "-c", FIRST],
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    _, (served, _, _), (served_in_all, declined, faults) = json.loads(ran.stdout)
    assert served_in_all == served + 8, declined
    assert declined["learned from"] <= 4, declined
    assert faults == 0


@pytest.mark.parametrize("failing", ["first", "second", "both"])
def test_calls_watched_at_once_of_which_some_fail(provider: Provider, failing: str) -> None:
    """What one of them has shown is kept; where neither has, the next call begins anew."""
    litellm.callbacks = [Heard()]

    async def waves() -> int:
        tasks = [asyncio.ensure_future(direct(provider)(temperature=0.3)) for _ in range(2)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for task, name in zip(tasks, ("first", "second"), strict=True):
            if failing in (name, "both"):
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        before = pipeline.gate.served
        for _ in range(4):
            await direct(provider)(temperature=0.3)
        return int(pipeline.gate.served - before)

    with warm(provider) as pipeline:
        assert asyncio.run(waves()) == (2 if failing == "both" else 3)
        assert pipeline.gate.declined == {"learned from": 4 if failing == "both" else 3}
        assert pipeline.gate.faults == 0, pipeline.gate.last_fault
