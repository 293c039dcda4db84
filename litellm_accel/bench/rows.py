"""What ``litellm-accel bench`` measures: the work of the asv suites that stock LiteLLM does as well, a row each."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from typing import Any, Literal

from litellm_accel.bench import workloads
from litellm_accel.bench.workloads import Work
from litellm_accel.demo import work
from litellm_accel.demo.work import IN_FLIGHT, MODEL, OVER, Batch, Row

SIZES = (10, 1000)
_CHOICES = 10
_PRICES = 200
_CHECKS = 200
_THREADS = 8
_STREAMS = 2
_STREAMS_APART = 10
_STREAMS_SHORT = 20
_KEY = "sk-bench"


def _counting(name: str, url: str) -> Batch:
    return _repeated(workloads.counting()[name], workloads.COUNTED[name])


def _pricing(name: str, url: str) -> Batch:
    return _repeated(workloads.pricing()[name], _PRICES)


@functools.cache  # LiteLLM takes seconds to make one of a thousand deployments
def _router(strategy: str, size: int, groups: int = 1) -> Any:
    return workloads.router_of(strategy, size, groups)


def _choosing(strategy: str, size: int, groups: int, url: str) -> Batch:
    return _awaited(workloads.choosing(_router(strategy, size, groups), f"g{groups // 2}"))


def _writing(size: int, url: str) -> Batch:
    return _awaited(workloads.writing(_router("least-busy", size)))


def _narrowing(demand: str, size: int, url: str) -> Batch:
    return _awaited(workloads.narrowing(demand, size))


def _recording(strategy: str, failure: bool, url: str) -> Batch:
    return _awaited(workloads.recording(_router(strategy, max(SIZES)), strategy, failure))


def _limiting(url: str) -> Batch:
    return _repeated(workloads.limiting(), _CHECKS)


def _calling(kind: str, is_told: bool, url: str) -> Batch:
    """Whole calls; where they are told of, one logger reads the payload of each call in this process from now on."""
    import litellm

    if is_told:
        _listen()
    if kind == "router":
        return work.router(url)
    given = _deployment(kind, url)

    def one(number: int) -> Any:
        return litellm.completion(**given, messages=work.question(number))

    def one_by_one(first: int) -> list[Any]:
        return [one(number) for number in range(first, first + IN_FLIGHT)]

    def in_threads(first: int) -> list[Any]:
        with ThreadPoolExecutor(_THREADS) as threads:
            return list(threads.map(one, range(first, first + IN_FLIGHT)))

    async def in_flight(first: int) -> list[Any]:
        return await work.in_flight(first, lambda n: litellm.acompletion(**given, messages=work.question(n)))

    batches: dict[str, Batch] = {"completion": one_by_one, "threads": in_threads}
    return batches.get(kind, in_flight)


def _streaming(kind: str, streams: int, is_told: bool, url: str) -> Batch:
    """Whole streams; a stream's result is the list of its chunks. ``is_told`` as in ``_calling``."""
    import litellm

    if is_told:
        _listen()
    given = {**_deployment(kind, url), "stream": True}
    router = litellm.Router(model_list=[{"model_name": "chat", "litellm_params": _deployment(kind, url)}])

    def one(number: int) -> list[Any]:
        messages = work.question(number)
        if kind == "router_completion":
            return list(router.completion("chat", messages, stream=True))
        return list(litellm.completion(**given, messages=messages))

    def in_turn(first: int) -> list[Any]:
        return list(map(one, range(first, first + streams)))

    async def read(number: int) -> list[Any]:
        messages = work.question(number)
        stream: Any
        if kind == "router":
            stream = await router.acompletion("chat", messages, stream=True)
        else:
            stream = await litellm.acompletion(**given, messages=messages)
        return [chunk async for chunk in stream]

    async def at_once(first: int) -> list[Any]:
        return list(await asyncio.gather(*map(read, range(first, first + streams))))

    return in_turn if kind in _IN_THREADS else at_once


def _repeated(call: Work, times: int) -> Batch:
    return lambda first: [call() for _ in range(times)]


def _awaited(call: Work) -> Batch:
    async def batch(first: int) -> list[Any]:
        return [await call() for _ in range(_CHOICES)]

    return batch


def _deployment(kind: str, url: str) -> dict[str, Any]:
    given = {"model": f"openai/{MODEL}", "api_base": url, "api_key": _KEY}
    if kind == "azure":
        return {**given, "model": f"azure/{MODEL}", "api_version": "2024-10-21"}
    return {**given, "model": "hosted_vllm/qwen"} if kind == "hosted_vllm" else given


def _listen() -> None:
    import litellm
    from litellm.integrations.custom_logger import CustomLogger

    class Reader(CustomLogger):  # type: ignore[misc]
        """Reads the standard payload of every call, as observability tools do."""

        tokens = 0

        async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            self.log_success_event(kwargs, response_obj, start_time, end_time)

        def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            self.tokens += kwargs["standard_logging_object"]["total_tokens"]

    if not any(type(callback).__qualname__ == Reader.__qualname__ for callback in litellm.callbacks):
        litellm.callbacks.append(Reader())


_HTTP: Literal["http"] = "http"
_KINDS: tuple[tuple[str, str, Literal["tls", "http"]], ...] = (
    ("completion", "openai", OVER),
    ("threads", "openai", OVER),
    ("acompletion", "openai", OVER),
    ("plain_http", "plain", _HTTP),
    ("hosted_vllm", "vllm", OVER),
    ("azure", "azure", OVER),
    ("router", "openai", OVER),
)


def _row(name: str, prepare: Callable[[str], Batch], **how: Any) -> Row:
    return Row(name, name, (name.partition(".")[0],), prepare, **how)


def _whole_calls(prefix: str, is_told: bool) -> list[Row]:
    return [
        _row(
            f"{prefix}.{kind}",
            functools.partial(_calling, kind, is_told),
            scenario=f'plain{{"profile": "{profile}"}}',
            over=over,
        )
        for kind, profile, over in _KINDS
    ]


_IN_THREADS = ("completion", "router_completion")
_STREAMED = ("acompletion", "router", *_IN_THREADS)


def _stream(kind: str) -> Row:
    streams, packet = (_STREAMS_APART, 1) if kind == "apart" else (_STREAMS, 40)
    scenario = f'plain{{"chunks": 100, "size": 800, "packet": {packet}}}'
    prepare = functools.partial(_streaming, kind, streams, False)
    return _row(f"streaming.{kind}", prepare, unit="chunk", scenario=scenario)


def _streams(prefix: str, chunks: int, streams: int, *, is_told: bool = False) -> list[Row]:
    """Return rows for the cost of a whole stream, whose events come one a packet."""
    return [
        _row(
            f"{prefix}.{kind}",
            functools.partial(_streaming, kind, streams, is_told),
            scenario=f'plain{{"chunks": {chunks}, "size": {8 * chunks}}}',
        )
        for kind in _STREAMED
    ]


ROWS = (
    *(_row(f"tokens.{name}", functools.partial(_counting, name)) for name in workloads.COUNTED),
    *(_row(f"cost.{name}", functools.partial(_pricing, name)) for name in workloads.PRICED),
    *(
        _row(f"routing.choose.{strategy}.{size}", functools.partial(_choosing, strategy, size, 1))
        for strategy in workloads.STRATEGIES
        for size in SIZES
    ),
    _row("routing.choose.one-of-100-groups.10", functools.partial(_choosing, "simple-shuffle", 10, 100)),
    *(_row(f"routing.choose.after-a-write.{size}", functools.partial(_writing, size)) for size in SIZES),
    *(
        _row(f"routing.choose.{demand.replace(' ', '-')}.{size}", functools.partial(_narrowing, demand, size))
        for demand in workloads.DEMANDS
        for size in SIZES
    ),
    # After all choices: what is recorded changes the routers.
    *(
        _row(f"routing.record.{outcome}.{strategy}", functools.partial(_recording, strategy, outcome == "failure"))
        for strategy in workloads.STRATEGIES
        for outcome in ("success", "failure")
    ),
    _row("rate_limit.check-and-count", _limiting),
    _row("rate_limit.proxy", work.limits),
    *_whole_calls("chat", False),
    *map(_stream, ("completion", "acompletion", "router", "apart")),
    *_streams("streaming.short", 4, _STREAMS_SHORT),
    *_streams("streaming.long", 200, _STREAMS),
    _row("embeddings.aembedding", work.aembedding, over="tls"),
    _row("embeddings.100-texts", work.embedding_batch, over="tls"),
    *_streams("streaming.told", 200, _STREAMS, is_told=True),  # last, for the logger stays
    *_whole_calls("chat.told", True),
)


def chosen(patterns: Sequence[str]) -> list[Row]:
    """Return the rows whose names match one of ``patterns``, as files' do, or begin with it; all if there are none.

    Raises ``ValueError`` that names a pattern which no row matches.
    """
    for pattern in patterns:
        if not any(_matches(row, pattern) for row in ROWS):
            raise ValueError(f"no row is called {pattern!r}")
    return [row for row in ROWS if not patterns or any(_matches(row, pattern) for pattern in patterns)]


def _matches(row: Row, pattern: str) -> bool:
    return fnmatchcase(row.name, pattern) or row.name == pattern or row.name.startswith(f"{pattern}.")
