"""Calls in event loops that come and go: LiteLLM keeps and says the same of them as without the fast path."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import importlib.util
import logging
import re
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import litellm
import pytest
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

import litellm_accel
from fastpath_switch import Switch
from litellm_accel.fastpath.pipeline import Pipeline
from litellm_accel.provider import Provider
from litellm_accel.verify import records
from settling import becomes

HELLO = [{"role": "user", "content": "Hello"}]
MODELS: dict[str, dict[str, Any]] = {
    "openai": {"model": "openai/gpt-4o-mini"},
    "hosted_vllm": {"model": "hosted_vllm/qwen"},
    "azure": {"model": "azure/gpt-4o", "api_version": "2024-10-21"},
}
Run = Callable[[Any], Any]


pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def clients() -> Iterator[dict[str, Any]]:
    """LiteLLM's clients by key, none at first."""
    litellm.in_memory_llm_clients_cache.flush_cache()
    yield litellm.in_memory_llm_clients_cache.cache_dict
    litellm.in_memory_llm_clients_cache.flush_cache()


async def ask(provider: Provider, stream: bool = False, **arguments: Any) -> str:
    given = {"model": "openai/gpt-4o-mini", **arguments, "api_key": "sk-1", "api_base": provider.url}
    answer = await litellm.acompletion(messages=HELLO, **given, **({"stream": True} if stream else {}))
    if stream:
        return "".join([chunk.choices[0].delta.content or "" async for chunk in answer])
    text: str = answer.choices[0].message.content
    return text


def in_a_closed_loop(coroutine: Any) -> Any:
    """Run without cancelling what is left, as older programs do."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.close()


def in_uvloop(coroutine: Any) -> Any:
    uvloop = pytest.importorskip("uvloop")
    loop = uvloop.new_event_loop()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.close()


def in_a_thread(coroutine: Any) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(coroutine)))
    thread.start()
    thread.join()
    return found[0]


@contextmanager
def streams_too() -> Iterator[None]:
    """Streams are opened, too, in the block."""
    with records.proving("streaming"), litellm_accel.accelerated("streaming", strict=True):
        yield


RUNS: tuple[Run, ...] = (asyncio.run, in_a_closed_loop, in_a_thread, in_uvloop)


def kinds(clients: dict[str, Any]) -> list[tuple[Any, ...]]:
    """What LiteLLM keeps, in its order: keys without the loops' numbers, and what the clients are."""
    http = [getattr(client, "_client", None) for client in clients.values()]
    return [
        (
            re.sub(r"-\d+$|0x[0-9a-f]+", "", key),
            type(client),
            sorted(vars(client)),
            sorted(vars(held or client)),
            held and held._state,
        )
        for (key, client), held in zip(clients.items(), http, strict=True)
    ]


def sent(provider: Provider) -> list[tuple[Any, ...]]:
    """What the provider was sent, with the connections numbered from one."""
    numbers: dict[int, int] = {}
    return [(numbers.setdefault(r.connection, len(numbers)), r.path, r.headers, r.body) for r in provider.requests()]


def play(provider: Provider, run: Run, calls: Callable[[], Any], caplog: Any, times: int = 4) -> tuple[Any, ...]:
    """Return what is to be seen of ``calls`` in new loops, one after the other.

    LiteLLM knows loops by where they are in memory: none is freed before the last has ended.
    """
    loops: list[asyncio.AbstractEventLoop] = []

    async def keeping() -> Any:
        loops.append(asyncio.get_running_loop())
        return await calls()

    clients = litellm.in_memory_llm_clients_cache.cache_dict
    litellm.in_memory_llm_clients_cache.flush_cache()
    asyncio.run(_flushed())
    gc.collect()  # what earlier calls have left complains now, not within a call that is learned from
    provider.clear()
    caplog.clear()
    said = [run(keeping()) for _ in range(times)]
    # asyncio's own are of what the garbage collector finds, whenever it comes.
    logs = [(r.levelname, r.getMessage()) for r in caplog.records if r.name == "LiteLLM"]
    return said, kinds(clients), sent(provider), logs


def assert_served(switch: Switch, calls: int, learned: int = 1) -> None:
    """All ``calls`` but those that were ``learned`` from."""
    assert switch.gate.faults == 0, switch.gate.last_fault
    assert switch.gate.declined == {"learned from": learned}
    assert switch.gate.served == calls - learned


@contextmanager
def warm(provider: Provider, switch: Switch | None = None) -> Iterator[Pipeline]:
    """A fast path that is on in the block, and has met a call: the first of all loads modules, which is a change."""
    switch = switch or Switch()
    with switch.on() as pipeline:
        for _ in range(3):
            asyncio.run(ask(provider, temperature=0.9))
        litellm.in_memory_llm_clients_cache.flush_cache()
        pipeline.gate.clear()
        yield pipeline
    switch.stop()


async def _flushed() -> None:
    await GLOBAL_LOGGING_WORKER.flush()
    await GLOBAL_LOGGING_WORKER.stop()


@pytest.mark.parametrize(
    ("model", "stream"), [("openai", False), ("openai", True), ("hosted_vllm", False), ("azure", False)]
)
@pytest.mark.parametrize("run", RUNS)
def test_a_loop_for_each_call(
    provider: Provider, clients: Any, caplog: Any, run: Run, model: str, stream: bool
) -> None:
    def calls() -> Any:
        return ask(provider, stream, **MODELS[model])

    expected = play(provider, run, calls, caplog)
    switch = Switch()
    with streams_too(), warm(provider, switch):
        found = play(provider, run, calls, caplog)
    switch.stop()
    assert found == expected
    assert len(found[1]) == 4
    assert_served(switch, 4, 2 if stream else 1)


def test_several_calls_in_each_loop(provider: Provider, clients: Any, caplog: Any) -> None:
    async def calls() -> list[str]:
        one = await ask(provider)
        return [one, *await asyncio.gather(*[ask(provider) for _ in range(5)])]

    caplog.set_level(logging.WARNING)
    expected = play(provider, asyncio.run, calls, caplog)
    switch = Switch()
    with warm(provider, switch):
        found = play(provider, asyncio.run, calls, caplog)
    switch.stop()
    assert found[:2] == expected[:2]
    # Of calls that race, one may take the connection that another has just given back, or open one.
    assert sorted(request[1:] for request in found[2]) == sorted(request[1:] for request in expected[2])
    assert_served(switch, 4 * 6)


def test_a_client_that_is_there_already_is_used(provider: Provider, clients: Any) -> None:
    """Of another call's: stock's next call would use that one, too."""
    with warm(provider) as pipeline:
        for _ in range(2):
            asyncio.run(ask(provider))

        async def calls() -> int:
            await ask(provider, temperature=0.5)
            before = list(clients)
            await ask(provider)
            assert list(clients) == before
            return int(pipeline.gate.served)

        served = pipeline.gate.served
        assert asyncio.run(calls()) == served + 1


def test_stock_calls_do_not_take_the_client_for_changed(provider: Provider, clients: Any) -> None:
    """What a client's first call of stock fills in is there after the fast path's first call."""
    with warm(provider) as pipeline:
        asyncio.run(ask(provider))

        async def calls() -> None:
            await ask(provider)
            for temperature in (0.1, 0.2, 0.3):
                await ask(provider, temperature=temperature)
                await ask(provider)

        asyncio.run(calls())
    assert "changed client" not in pipeline.gate.declined
    assert pipeline.gate.served == 4


def test_loops_that_have_ended_are_freed(provider: Provider, clients: Any) -> None:
    loops: list[weakref.ref[Any]] = []

    async def calls() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await ask(provider)
        await asyncio.sleep(0.01)

    with warm(provider) as pipeline:
        for _ in range(6):
            asyncio.run(calls())
        litellm.in_memory_llm_clients_cache.flush_cache()
        asyncio.run(calls())
        # LiteLLM's worker is watched, and what it was bound to before; a thread of its own may still be at a call.
        assert becomes(lambda: gc.collect() >= 0 and [loop() for loop in loops[:-2]] == [None] * 5)
    assert pipeline.gate.served == 7 - 1


@pytest.mark.parametrize("new_loop", ["asyncio", "uvloop"])
def test_many_loops_in_threads(provider: Provider, clients: Any, new_loop: str) -> None:
    run = in_uvloop if new_loop == "uvloop" else asyncio.run
    if new_loop == "uvloop" and importlib.util.find_spec("uvloop") is None:
        pytest.skip("no uvloop here")
    said: list[str] = []

    async def calls() -> list[str]:
        return [await ask(provider) for _ in range(3)]

    def work() -> None:
        for _ in range(5):
            said.extend(run(calls()))

    with warm(provider) as pipeline:
        run(calls())
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(said) == 8 * 5 * 3
    assert len(set(said)) == 1
    assert pipeline.gate.served == 8 * 5 * 3 + 2
    assert pipeline.gate.faults == 0, pipeline.gate.last_fault


def test_a_loop_inside_a_loop(provider: Provider, clients: Any, caplog: Any) -> None:
    """Sync code in an async program that runs its own loop in a thread and waits for it."""

    async def calls() -> list[str]:
        said = [await ask(provider)]
        said.append(in_a_thread(ask(provider)))
        return [*said, await ask(provider)]

    expected = play(provider, asyncio.run, calls, caplog, 4)
    switch = Switch()
    with warm(provider, switch):
        found = play(provider, asyncio.run, calls, caplog, 4)
    switch.stop()
    assert found[:3] == expected[:3]
    assert_served(switch, 4 * 3)


PROGRAM = """
import asyncio, gc, sys, threading, warnings
warnings.simplefilter("ignore")
import litellm
sys.path.insert(0, "tests")
from fastpath_switch import Switch
url, accelerated = sys.argv[1], sys.argv[2] == "accelerated"
litellm.suppress_debug_info = True
switch = Switch()
if accelerated:
    switch.start()

async def one():
    found = await litellm.acompletion(
        model="openai/gpt-4o", messages=[{"role": "user", "content": "Hello"}], api_key="sk", api_base=url
    )
    await asyncio.sleep(0.02)
    return found

for _ in range(3):
    asyncio.run(one())
gc.collect()
warnings.simplefilter("always")
before = switch.gate.served
for _ in range(6):
    asyncio.run(one())
litellm.in_memory_llm_clients_cache.flush_cache()
gc.collect()
print("threads", threading.active_count(), file=sys.stderr)
print(switch.gate.served - before)
"""


def test_warnings_of_a_program_in_development_mode_are_stocks(provider: Provider) -> None:
    def warned(mode: str) -> tuple[set[str], int]:
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-c", PROGRAM, provider.url, mode], capture_output=True, text=True, check=True
        )
        lines = [re.sub(r"0x[0-9a-f]+|\d+", "", line) for line in done.stderr.splitlines()]
        kept = [line for line in lines if re.search("Warning|Unclosed|Error|never|threads|carried", line)]
        # How many is up to the garbage collector, and whether an unclosed transport's socket is told of as well.
        return {line for line in kept if "unclosed <socket" not in line}, int(done.stdout)

    expected, served = warned("stock")
    assert served == 0
    found, served = warned("accelerated")
    assert served == 6
    assert found == expected


@pytest.mark.parametrize("listens", [False, True])
def test_a_sync_router_inside_a_running_loop(provider: Provider, clients: Any, listens: bool) -> None:
    """As in a notebook: LiteLLM runs the call in a thread, without the caller's context, and so does the fast path."""
    mine: contextvars.ContextVar[str] = contextvars.ContextVar("mine", default="nobody's")
    told: list[tuple[Any, ...]] = []
    heard = threading.Event()

    def listener(kwargs: Any, result: Any, start: Any, end: Any) -> None:
        told.append((mine.get(), kwargs["model"], kwargs["response_cost"], result.choices[0].message.content))
        heard.set()

    def play() -> tuple[Any, ...]:
        asyncio.run(_flushed())  # a worker that is left runs in the context of whoever began it
        litellm.success_callback = [listener] if listens else []
        told.clear()
        provider.clear()
        deployment = {"model": "openai/gpt-4o-mini", "api_key": "sk-1", "api_base": provider.url, "rpm": 1000}
        router = litellm.Router([{"model_name": "group", "litellm_params": deployment}], num_retries=0)
        said: list[Any] = []

        async def calls() -> None:
            mine.set("the caller's")
            for number in range(6):
                heard.clear()
                asked = "answer as: error-400" if number == 4 else "Hello"
                try:
                    found = router.completion("group", [{"role": "user", "content": asked}])
                    said.append(found.choices[0].message.content)
                    if listens:
                        assert heard.wait(5)
                except litellm.BadRequestError as error:
                    said.append(str(error))
                said.append(asyncio.get_running_loop() is asyncio.get_event_loop())

        asyncio.run(calls())
        counted = sorted(len(key) for key in router.cache.in_memory_cache.cache_dict)
        router.discard()
        # Whose context the first one is told in depends on who began LiteLLM's worker: this test, or one before it.
        return said, told[1:], counted, [(r.headers, r.body) for r in provider.requests()]

    expected = play()
    with warm(provider) as pipeline:
        assert play() == expected
    assert pipeline.gate.faults == 0, pipeline.gate.last_fault
    assert pipeline.gate.served >= (2 if listens else 3)
    assert "running event loop" not in pipeline.gate.declined
