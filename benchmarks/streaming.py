"""Whole streams against the loopback provider, with the components they go with, and the fast path's own work."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from typing import Any

import litellm

from benchmarks import BACKENDS, SHIPPED, STOCK, accelerate, accelerate_all, close, hot, openai, prefer

MESSAGES = [{"role": "user", "content": "Say hello to the world."}]
CHUNKS = 200
SHORT = 4
STREAMS = 5
AT_ONCE = 100


COMPONENTS = ("chat", "connection_pool", "cost", "routing", "streaming")


Figures = dict[tuple[str, str], dict[str, float]]


class Chunks:
    """Streams of `CHUNKS` chunks: CPU time for one chunk, with its part of set-up and end and without; and time to the
    first chunk. And CPU time for a stream of 4 chunks, which is mostly set-up and end.

    `apart` receives each event in a packet of its own, `AT_ONCE` streams at a time; the others one stream at a time.
    """

    kinds = ("completion", "acompletion", "router", "apart")
    params = (list(kinds), list(SHIPPED))
    param_names = ("kind", "backend")

    def setup_cache(self) -> Figures:
        """Measure everything, stock and accelerated in turn."""
        return {(kind, backend): figures for kind in self.kinds for backend, figures in _Streams(kind).measured()}

    setup_cache.timeout = 600  # type: ignore[attr-defined]

    def track_cpu_per_chunk(self, figures: Figures, kind: str, backend: str) -> float:
        found = figures[kind, backend]
        return 1e6 * (CHUNKS * found["whole"] - found["short"]) / (CHUNKS - SHORT)

    track_cpu_per_chunk.unit = "µs"  # type: ignore[attr-defined]

    def track_cpu_per_chunk_of_whole_streams(self, figures: Figures, kind: str, backend: str) -> float:
        return 1e6 * figures[kind, backend]["whole"]

    track_cpu_per_chunk_of_whole_streams.unit = "µs"  # type: ignore[attr-defined]

    def track_cpu_per_short_stream(self, figures: Figures, kind: str, backend: str) -> float:
        return 1e6 * figures[kind, backend]["short"]

    track_cpu_per_short_stream.unit = "µs"  # type: ignore[attr-defined]

    def track_time_to_first_chunk(self, figures: Figures, kind: str, backend: str) -> float:
        return 1e3 * figures[kind, backend]["first"]

    track_time_to_first_chunk.unit = "ms"  # type: ignore[attr-defined]


class _Streams:
    """Streams of one kind, some at a time."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.streams, self.turns = (AT_ONCE, 1) if kind == "apart" else (STREAMS, 5)
        self.firsts: list[float] = []  # seconds to the first chunk of each stream

    def measured(self) -> list[tuple[str, dict[str, float]]]:
        """For stock and compiled seconds of CPU time for a chunk of whole streams and for a short stream.

        And the seconds to the first chunk.
        """
        prefer("compiled")
        import litellm_accel

        self.loop = asyncio.new_event_loop()
        turns: dict[str, list[tuple[float, float, float]]] = {backend: [] for backend in SHIPPED}
        with openai() as self.provider:
            self.long, self.short = (self._work(chunks) for chunks in (CHUNKS, SHORT))
            self.short()
            for _ in range(self.turns):
                turns[STOCK].append(self._turn())
                accelerate_all(COMPONENTS, "compiled")
                for _ in range(4):  # plans and templates are learned here
                    self.long()
                    self.short()
                before = _served()
                turns["compiled"].append(self._turn())
                served = [after - counted for after, counted in zip(_served(), before, strict=True)]
                expected = [2 * self.streams, self.streams * (CHUNKS + SHORT)]
                assert served[0] == expected[0], f"the fast path has opened {served[0]} streams, not {expected[0]}"
                assert served[1] >= expected[1], f"{served[1]} chunks have been served, not {expected[1]}"
                litellm_accel.restore()
        close(self.loop)
        names = ("whole", "short", "first")
        return [
            (backend, dict(zip(names, map(min, zip(*found, strict=True)), strict=True)))
            for backend, found in turns.items()
        ]

    def _turn(self) -> tuple[float, float, float]:
        self.firsts.clear()
        whole = _cpu(self.long) / self.streams / CHUNKS
        first = statistics.median(self.firsts)
        return whole, _cpu(self.short) / self.streams, first

    def _work(self, chunks: int) -> Callable[[], Any]:
        fields = f'"chunks": {chunks}, "size": {8 * chunks}, "packet": {1 if self.kind == "apart" else 40}'
        deployment = {
            "model": "openai/gpt-4o-mini",
            "api_base": self.provider.at(f"plain{{{fields}}}"),
            "api_key": "sk",
        }
        call = {**deployment, "messages": MESSAGES, "stream": True}
        if self.kind == "completion":
            return lambda: self._in_turn(lambda: litellm.completion(**call))
        if self.kind == "router":
            router = litellm.Router(model_list=[{"model_name": "g", "litellm_params": deployment}])
            return lambda: self._one_by_one(lambda: router.acompletion("g", MESSAGES, stream=True))
        if self.kind == "acompletion":
            return lambda: self._one_by_one(lambda: litellm.acompletion(**call))
        return lambda: self._at_once(lambda: litellm.acompletion(**call))

    def _in_turn(self, call: Callable[[], Any]) -> None:
        for _ in range(self.streams):
            self._consume(call)

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


class End:
    """Putting 500 chunks together."""

    params = (list(BACKENDS),)
    param_names = ("backend",)

    def setup(self, backend: str) -> None:
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

        with openai() as provider:
            self.chunks = asyncio.run(play(provider.at('plain{"chunks": 500, "size": 4000, "packet": 40}')))

    def time_stream_chunk_builder(self, backend: str) -> None:
        litellm.stream_chunk_builder(self.chunks, messages=MESSAGES)


class Parts:
    """The fast path's own work on 200 events."""

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


def _served() -> tuple[int, int]:
    """Return how many streams have been opened and how many chunks served."""
    import litellm_accel

    status = litellm_accel.status()
    return status["chat"].served, status["streaming"].served


def _cpu(work: Callable[[], Any]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin
