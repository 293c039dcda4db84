"""Faults inside the streaming fast path, and what the world does to a stream: leaving, cancelling, dropping,
breaking."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Iterator
from typing import Any

import litellm
import pytest

import litellm_accel
from litellm_accel import components
from litellm_accel.components.streaming import Learned, Streams
from litellm_accel.fastpath.streams.source import SSEEventSource
from litellm_accel.provider import Provider
from litellm_accel.verify import records

HELLO = [{"role": "user", "content": "Hello"}]
LONG = 'plain{"chunks": 40, "size": 400}'


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, restored: None) -> Iterator[Streams]:
    """The component's streams, switched on."""
    monkeypatch.setattr(litellm, "suppress_debug_info", True)
    made: list[Streams] = []
    initialise = Streams.__init__

    def remember(self: Streams, *given: Any) -> None:
        initialise(self, *given)
        made.append(self)

    monkeypatch.setattr(Streams, "__init__", remember)
    with records.proving("streaming"), litellm_accel.accelerated("streaming", strict=True):
        yield made[0]


def arguments(provider: Provider, answer: str, **more: Any) -> dict[str, Any]:
    return {
        "model": "openai/gpt-4o",
        "messages": HELLO,
        "api_base": provider.at(answer),
        "api_key": "sk-1",
        "max_retries": 0,
        "stream": True,
        **more,
    }


async def text_of(provider: Provider, answer: str = LONG, **more: Any) -> str:
    stream: Any = await litellm.acompletion(**arguments(provider, answer, **more))
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


async def until_closed(provider: Provider, few: int) -> int:
    """Return how many connections the provider has open, as soon as there are few of them."""
    for _ in range(100):
        if provider.stats()["open"] <= few:
            break
        await asyncio.sleep(0.02)
    return provider.stats()["open"]


class Fault(Exception):
    """An internal error of the fast path."""


@pytest.mark.parametrize("part", ["admitted", "learn", "next"])
@pytest.mark.parametrize("after", [0, 1, 5])
def test_a_fault_never_shows(
    provider: Provider, pipeline: Streams, monkeypatch: pytest.MonkeyPatch, part: str, after: int
) -> None:
    async def play() -> tuple[str, str]:
        expected = await text_of(provider)
        pipeline.learned = {kind: Learned() for kind in pipeline.learned}
        calls = 0
        sound = getattr(pipeline, part)

        def broken(*given: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > after:
                raise Fault(part)
            return sound(*given)

        monkeypatch.setattr(pipeline, part, broken)
        return expected, await text_of(provider)

    expected, found = asyncio.run(play())
    assert found == expected
    assert pipeline.gate.faults > 0 or (part == "learn" and after > 0)


@pytest.mark.parametrize("name", ["chunk", "renew"])
def test_a_fault_of_the_reader_never_shows(
    provider: Provider, pipeline: Streams, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    class Broken:
        def __init__(self, reader: Any) -> None:
            self._reader = reader
            self._calls = 0

        def __getattr__(self, wanted: str) -> Any:
            self._calls += wanted == name
            if wanted == name and self._calls > 3:
                raise Fault(name)
            return getattr(self._reader, wanted)

    made = SSEEventSource.__init__

    def wrapped(self: SSEEventSource, decoder: Any, reader: Any) -> None:
        made(self, decoder, Broken(reader))

    async def play() -> tuple[str, str]:
        expected = await text_of(provider)
        monkeypatch.setattr(SSEEventSource, "__init__", wrapped)
        return expected, await text_of(provider)

    expected, found = asyncio.run(play())
    assert found == expected


def test_ten_faults_leave_everything_to_stock(
    provider: Provider, pipeline: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise Fault

    monkeypatch.setattr(pipeline, "admitted", broken)
    expected = asyncio.run(text_of(provider))
    assert not pipeline.gate.on
    assert asyncio.run(text_of(provider)) == expected
    assert pipeline.gate.served == 0


def test_restoring_in_mid_stream_goes_on_with_stock(provider: Provider, pipeline: Streams) -> None:
    async def play() -> tuple[str, str]:
        expected = await text_of(provider)
        stream: Any = await litellm.acompletion(**arguments(provider, LONG))
        texts = [(await anext(stream)).choices[0].delta.content or "" for _ in range(12)]
        litellm_accel.restore()
        texts += [chunk.choices[0].delta.content or "" async for chunk in stream]
        return expected, "".join(texts)

    expected, found = asyncio.run(play())
    assert found == expected


def test_a_setting_changed_in_mid_stream_holds_from_the_next_chunk(
    provider: Provider, pipeline: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []

    def rule(text: str) -> bool:
        heard.append(text)
        return True

    async def play() -> str:
        stream: Any = await litellm.acompletion(**arguments(provider, LONG))
        texts = [(await anext(stream)).choices[0].delta.content or "" for _ in range(12)]
        monkeypatch.setattr(litellm, "post_call_rules", [rule])
        texts.append((await anext(stream)).choices[0].delta.content)
        assert heard == ["".join(texts)]
        monkeypatch.setattr(litellm, "post_call_rules", [])
        before = pipeline.gate.served
        texts += [chunk.choices[0].delta.content or "" async for chunk in stream]
        assert pipeline.gate.served > before
        return "".join(texts)

    asyncio.run(text_of(provider))
    assert asyncio.run(play()) == asyncio.run(text_of(provider))


def test_patches_that_appear_are_not_passed_by(
    provider: Provider, pipeline: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openai._base_client import BaseClient

    asyncio.run(text_of(provider))
    seen: list[Any] = []
    sound = BaseClient._process_response_data

    def watched(self: Any, **given: Any) -> Any:
        seen.append(given["data"])
        return sound(self, **given)

    monkeypatch.setattr(BaseClient, "_process_response_data", watched)
    before = pipeline.gate.served
    asyncio.run(text_of(provider))
    assert len(seen) > 40
    assert pipeline.gate.served == before
    assert pipeline.gate.declined["patched _process_response_data"] > 0


@pytest.mark.parametrize("closing", ["aclose", "drop", "break"])
def test_a_stream_that_is_left_gives_its_connection_back(provider: Provider, pipeline: Streams, closing: str) -> None:
    async def play() -> None:
        await text_of(provider)
        await asyncio.sleep(0.05)
        idle = provider.stats()["open"]
        for _ in range(5):
            stream: Any = await litellm.acompletion(**arguments(provider, 'plain{"chunks": 4000, "size": 40000}'))
            async for _chunk in stream:
                if len(stream.chunks) == 6:
                    break
            if closing == "aclose":
                await stream.aclose()
            if closing != "break":
                del stream
                gc.collect()
            await asyncio.sleep(0.05)
        stream = None
        gc.collect()
        assert await until_closed(provider, idle + 1) <= idle + 1
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert all("LoggingWorker" in repr(task) for task in others), others

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(play())
    assert pipeline.gate.served > 20


@pytest.mark.parametrize("chunks", [1, 2, 3, 6])
def test_cancelling_at_any_await_frees_the_connection_and_raises_that_alone(
    provider: Provider, pipeline: Streams, chunks: int
) -> None:
    async def play() -> None:
        await text_of(provider)
        stream: Any = await litellm.acompletion(**arguments(provider, f'plain{{"stall": {chunks}}}'))
        for _ in range(chunks):
            await anext(stream)
        task = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        idle = provider.stats()["open"]
        del stream, task
        gc.collect()
        await asyncio.sleep(0.05)
        assert provider.stats()["open"] <= idle
        assert await text_of(provider)

    asyncio.run(play())


def test_two_readers_of_one_stream_meet_stock_s_error(provider: Provider, pipeline: Streams) -> None:
    async def play() -> list[Any]:
        stream: Any = await litellm.acompletion(**arguments(provider, 'plain{"stall": 4}', timeout=1))
        for _ in range(4):
            await anext(stream)
        both = [asyncio.ensure_future(anext(stream)) for _ in range(2)]
        done, _ = await asyncio.wait(both, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
        found = [str(task.exception()) for task in done]
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        return found

    def busy(found: list[str]) -> list[str]:
        # Later releases close the stream over it, and tell the first reader so.
        return [error for error in found if "already running" in error]

    mine = busy(asyncio.run(play()))
    litellm_accel.restore()
    assert mine == busy(asyncio.run(play())) != []


@pytest.mark.parametrize("entry", ["acompletion", "completion"])
def test_a_provider_that_dies_in_mid_stream_raises_what_stock_raises(pipeline: Streams, entry: str) -> None:
    def play() -> list[Any]:
        with Provider() as mortal:
            given = arguments(mortal, 'plain{"chunks": 400, "size": 4000, "pause": 0.01}')

            async def asynchronous() -> None:
                stream: Any = await litellm.acompletion(**given)
                async for _ in stream:
                    if len(stream.chunks) == 5:
                        mortal.stop()

            def synchronous() -> None:
                stream: Any = litellm.completion(**given)
                for _ in stream:
                    if len(stream.chunks) == 5:
                        mortal.stop()

            try:
                asyncio.run(asynchronous()) if entry == "acompletion" else synchronous()
            except Exception as error:
                return [type(error), type(error.__cause__), str(error)]
        return []

    mine = play()
    litellm_accel.restore()
    assert mine == play()
    assert mine


def test_a_slow_consumer_holds_the_provider_back(provider: Provider, pipeline: Streams) -> None:
    async def play() -> None:
        await text_of(provider)
        size = 60_000_000
        stream: Any = await litellm.acompletion(**arguments(provider, f'plain{{"chunks": 600, "size": {size}}}'))
        for _ in range(5):
            await anext(stream)
        await asyncio.sleep(0.3)
        events = stream.completion_stream._decoder
        waiting = sum(map(len, events.reader.splitter.rest()))
        assert waiting < 1_000_000
        await stream.aclose()

    asyncio.run(play())


@pytest.mark.slow
def test_memory_stays_flat_over_ten_thousand_streams(provider: Provider, pipeline: Streams) -> None:
    def resident() -> int:
        gc.collect()
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * 4096

    async def play(count: int) -> None:
        for _ in range(count // 50):
            await asyncio.gather(*(text_of(provider, 'plain{"chunks": 5, "packet": 9}') for _ in range(50)))

    async def grown() -> int:
        await play(2000)
        before = resident()
        await play(8000)
        return resident() - before

    assert asyncio.run(grown()) < 8_000_000


def test_the_component_is_off_without_a_record_that_is_demanded(
    monkeypatch: pytest.MonkeyPatch, restored: None
) -> None:
    assert "streaming" in components.NAMES
    monkeypatch.setenv("LITELLM_ACCEL_PROOF", "recorded")
    monkeypatch.setattr(records, "fitting", lambda component: None)
    status = litellm_accel.accelerate("streaming")["streaming"]
    assert status.state == "unproven"
