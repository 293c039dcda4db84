"""Whole streams against the loopback provider, with the components they go with, and the lane's own work."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from typing import Any

import litellm

from benchmarks import BACKENDS, SHIPPED, STOCK, accelerate, hot, prefer

MESSAGES = [{"role": "user", "content": "Say hello to the world."}]
CHUNKS = 200
STREAMS = 5
AT_ONCE = 100


COMPONENTS = ("chat", "connection_pool", "cost", "routing", "streaming")


class Chunks:
    """Streams of `CHUNKS` chunks: CPU time for one chunk, with its part of set-up and end and without; and time to the
    first chunk. And CPU time for a stream of 4 chunks, which is mostly set-up and end.

    `apart` receives each event in a packet of its own, `AT_ONCE` streams at a time; the others one stream at a time.
    """

    kinds = ("completion", "acompletion", "router", "apart")
    params = (list(kinds), list(SHIPPED))
    param_names = ("kind", "backend")
    timeout = 600

    def setup(self, kind: str, backend: str) -> None:
        prefer(backend)
        from litellm_accel.provider import Provider
        from litellm_accel.verify import records

        with records.proving("streaming"), records.proving("chat"):  # measured here, whether or not proven here
            for component in COMPONENTS:
                accelerate(component, backend)

        self.provider = Provider()
        self.provider.__enter__()
        self.loop = asyncio.new_event_loop()
        self.streams = AT_ONCE if kind == "apart" else STREAMS
        self.firsts: list[float] = []  # seconds to the first chunk of each stream
        self.long, self.short = (self._work(kind, chunks) for chunks in (CHUNKS, 4))
        self.turns = 1 if kind == "apart" else 5
        self.short()
        for _ in range(0 if backend == STOCK else 4):  # plans and templates are learned here
            self.long()
            self.short()

    def _work(self, kind: str, chunks: int) -> Callable[[], Any]:
        fields = f'"chunks": {chunks}, "size": {8 * chunks}, "packet": {1 if kind == "apart" else 40}'
        deployment = {
            "model": "openai/gpt-4o-mini",
            "api_base": self.provider.at(f"plain{{{fields}}}"),
            "api_key": "sk",
        }
        call = {**deployment, "messages": MESSAGES, "stream": True}
        if kind == "completion":
            return lambda: [self._consume(lambda: litellm.completion(**call)) for _ in range(self.streams)]
        if kind == "router":
            router = litellm.Router(model_list=[{"model_name": "g", "litellm_params": deployment}])
            return lambda: self._one_by_one(lambda: router.acompletion("g", MESSAGES, stream=True))
        if kind == "acompletion":
            return lambda: self._one_by_one(lambda: litellm.acompletion(**call))
        return lambda: self._at_once(lambda: litellm.acompletion(**call))

    def _one_by_one(self, call: Callable[[], Any]) -> None:
        async def play() -> None:
            for _ in range(self.streams):
                await self._aconsume(call)
            await asyncio.sleep(0.02)

        self.loop.run_until_complete(play())

    def _at_once(self, call: Callable[[], Any]) -> None:
        async def play() -> None:
            await asyncio.gather(*(self._aconsume(call) for _ in range(self.streams)))
            await asyncio.sleep(0.02)

        self.loop.run_until_complete(play())

    async def _aconsume(self, call: Callable[[], Any]) -> None:
        begin = time.perf_counter()
        stream = await call()
        await anext(stream)
        self.firsts.append(time.perf_counter() - begin)
        async for _ in stream:
            pass

    def _consume(self, call: Callable[[], Any]) -> None:
        begin = time.perf_counter()
        stream = call()
        next(stream)
        self.firsts.append(time.perf_counter() - begin)
        for _ in stream:
            pass

    def track_cpu_per_chunk(self, kind: str, backend: str) -> float:
        turns = [(_cpu(self.long), _cpu(self.short)) for _ in range(self.turns)]
        return 1e6 * (min(long for long, _ in turns) - min(short for _, short in turns)) / self.streams / (CHUNKS - 4)

    track_cpu_per_chunk.unit = "µs"  # type: ignore[attr-defined]

    def track_cpu_per_chunk_of_whole_streams(self, kind: str, backend: str) -> float:
        return 1e6 * min(_cpu(self.long) for _ in range(self.turns)) / self.streams / CHUNKS

    track_cpu_per_chunk_of_whole_streams.unit = "µs"  # type: ignore[attr-defined]

    def track_cpu_per_short_stream(self, kind: str, backend: str) -> float:
        return 1e6 * min(_cpu(self.short) for _ in range(self.turns)) / self.streams

    track_cpu_per_short_stream.unit = "µs"  # type: ignore[attr-defined]

    def track_time_to_first_chunk(self, kind: str, backend: str) -> float:
        self.firsts.clear()
        for _ in range(self.turns):
            self.long()
        return 1e3 * statistics.median(self.firsts)

    track_time_to_first_chunk.unit = "ms"  # type: ignore[attr-defined]

    def teardown(self, kind: str, backend: str) -> None:
        if backend != STOCK:
            chunks, streams = _served(backend, "streaming"), _served(backend, "chat")
            self.long()
            self.short()
            expected = chunks + self.streams * (CHUNKS + 4)
            assert _served(backend, "streaming") >= expected, "the chunks have not been served"
            opened = _served(backend, "chat") - streams
            assert opened == 2 * self.streams, "the streams have not been opened by the lane"
        self.loop.close()
        self.provider.__exit__(None, None, None)


class End:
    """Putting 500 chunks together."""

    params = (list(BACKENDS),)
    param_names = ("backend",)

    def setup(self, backend: str) -> None:
        prefer(backend)
        from litellm_accel.provider import Provider
        from litellm_accel.verify import records

        with records.proving("streaming"):
            accelerate("streaming", backend)

        async def play(url: str) -> list[Any]:
            stream: Any = await litellm.acompletion(
                "openai/gpt-4o-mini",
                MESSAGES,
                api_base=url,
                api_key="sk",
                stream=True,
                stream_options={"include_usage": True},
            )
            async for _ in stream:
                pass
            return list(stream.chunks)

        with Provider() as provider:
            self.chunks = asyncio.run(play(provider.at('plain{"chunks": 500, "size": 4000, "packet": 40}')))

    def time_stream_chunk_builder(self, backend: str) -> None:
        litellm.stream_chunk_builder(self.chunks, messages=MESSAGES)


class Parts:
    """The lane's own work on 200 events."""

    params = (["compiled", "pure"],)
    param_names = ("backend",)

    def setup(self, backend: str) -> None:
        self.splitter = hot("sse", backend).Splitter
        event = b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}]}\n\n'
        self.together = event * CHUNKS
        self.apart = [event] * CHUNKS

    def time_events_of_one_packet(self, backend: str) -> None:
        splitter = self.splitter()
        splitter.feed(self.together)
        while splitter.next() is not None:
            pass

    def time_events_apart(self, backend: str) -> None:
        splitter = self.splitter()
        for packet in self.apart:
            splitter.feed(packet)
            splitter.next()


def _served(backend: str, component: str) -> int:
    import litellm_accel

    return 0 if backend == STOCK else litellm_accel.status()[component].served


def _cpu(work: Callable[[], Any]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin
