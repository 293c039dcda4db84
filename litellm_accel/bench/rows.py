"""What ``litellm-accel bench`` measures: the work of the asv suites that stock LiteLLM does as well, a row each."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from types import ModuleType
from typing import Any, Literal

from litellm_accel.bench import workloads
from litellm_accel.bench.workloads import Work
from litellm_accel.components import proxy_limiter
from litellm_accel.demo import work
from litellm_accel.demo.work import IN_FLIGHT, MODEL, OVER, Batch, Row
from litellm_accel.stock import seams

SIZES = (10, 1000)
_CHOICES = 10
_PRICES = 200
_CHECKS = 200
_THREADS = 8
_LEARNED = 20  # calls that succeed at once, with each of a router's deployments
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
    _require_python_routers()
    return workloads.router_of(strategy, size, groups)


def _choosing(strategy: str, size: int, groups: int, url: str) -> Batch:
    return _awaited(workloads.choosing(_router(strategy, size, groups), f"g{groups // 2}"))


def _writing(size: int, url: str) -> Batch:
    return _awaited(workloads.writing(_router("least-busy", size)))


def _narrowing(demand: str, size: int, url: str) -> Batch:
    _require_python_routers()
    return _awaited(workloads.narrowing(demand, size))


def _recording(strategy: str, failure: bool, url: str) -> Batch:
    return _awaited(workloads.recording(_router(strategy, max(SIZES)), strategy, failure))


def _limiting(url: str) -> Batch:
    _require_python_routers()
    return _repeated(workloads.limiting(), _CHECKS)


def _require_python_routers() -> None:
    if seams.has_core_of_its_own():
        raise NotImplementedError("the installed LiteLLM's routers choose and count in a core of their own")


def _limiting_in_proxy(url: str) -> Batch:
    if not proxy_limiter.can_be_there():
        raise NotImplementedError("the extra litellm[proxy] is not installed")
    return work.limits(url)


def _calling(kind: str, is_told: bool, url: str) -> Batch:
    """Whole calls; where they are told of, one logger reads the payload of each call in this process."""
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


def _tracing(kind: str, url: str) -> Batch:
    """Whole calls of which LiteLLM's OpenTelemetry logger makes spans, with the SDK's exporter in memory."""
    import litellm

    if not any(type(callback).__name__ == "OpenTelemetry" for callback in litellm.callbacks):
        litellm.callbacks.append(workloads.tracer())
    return _calling(kind, False, url)


def _varying(through: str, what: str, url: str) -> Batch:
    """Whole calls with other tools and another temperature each, other headers, or other metadata, direct or routed."""
    import litellm

    vary = workloads.VARYING[what]
    router = work.gateway(url) if through == "router" else None
    given = _deployment(through, url)

    def one(number: int) -> Any:
        if router is not None:
            return router.acompletion("chat", work.question(number), **vary(number))
        return litellm.acompletion(**given, messages=work.question(number), **vary(number))

    return functools.partial(work.in_flight, call=one)


def _beginning(calls: int, url: str) -> Batch:
    """The first calls of a program, of many kinds; what LiteLLM imports for the first of them is included."""
    import litellm

    def batch(first: int) -> list[Any]:
        return [
            litellm.completion(**workloads.of_many_kinds(number), api_base=url, api_key=_KEY) for number in range(calls)
        ]

    return batch


def _choosing_and_calling(strategy: str, url: str) -> Batch:
    """Whole calls through a router with a strategy of its own."""
    return work.router(url, routing_strategy=strategy)


def _cached(kind: str, url: str) -> Batch:
    """Calls whose answers are in LiteLLM's cache in memory, once they have been asked for."""
    import litellm

    # LiteLLM imports it when it answers from its cache, and does not require it.
    sys.modules.setdefault("soundfile", ModuleType("soundfile"))
    litellm.cache = litellm.Cache(type="local")
    batch: Callable[[int], Any] = _calling(kind, False, url)
    return lambda first: batch(0)  # the same questions each time, while warming up as well


def _retrying(kind: str, url: str) -> Batch:
    """Calls that get 429 first; they are learned from when they succeed at once."""
    import litellm

    litellm.suppress_debug_info = True  # which is printed for each failed attempt
    one = workloads.retried(kind, url)
    is_learned = False

    def one_by_one(first: int) -> list[Any]:
        nonlocal is_learned
        before = [] if is_learned else range(-_LEARNED, 0)
        is_learned = True
        return [one(number) for number in (*before, *range(first, first + IN_FLIGHT))][-IN_FLIGHT:]

    async def in_flight(first: int) -> list[Any]:
        nonlocal is_learned
        if not is_learned:
            for number in range(-_LEARNED, 0):
                await one(number)
            is_learned = True
        return await work.in_flight(first, one)

    return one_by_one if kind == "completion" else in_flight


def _streaming(kind: str, streams: int, is_told: bool, url: str) -> Batch:
    """Whole streams; a stream's result is the list of its chunks. ``is_told`` as in ``_calling``."""
    import litellm

    if is_told:
        _listen()
    given = {**_deployment(kind, url), "stream": True}
    model_list = [{"model_name": "chat", "litellm_params": _deployment(kind, url)}]
    router = litellm.Router(model_list=model_list) if kind.startswith("router") else None

    def one(number: int) -> list[Any]:
        messages = work.question(number)
        if router is not None:
            return list(router.completion("chat", messages, stream=True))
        return list(litellm.completion(**given, messages=messages))

    def in_turn(first: int) -> list[Any]:
        return list(map(one, range(first, first + streams)))

    async def read(number: int) -> list[Any]:
        messages = work.question(number)
        stream: Any
        if router is not None:
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
    component = name.partition(".")[0]
    return Row(name, name, (component,), prepare, process=how.pop("process", component), **how)


def _whole_calls(prefix: str, is_told: bool) -> list[Row]:
    return [
        _row(
            f"{prefix}.{kind}",
            functools.partial(_calling, kind, is_told),
            scenario=f'plain{{"profile": "{profile}"}}',
            over=over,
            process=f"{prefix}.router" if kind == "router" else prefix,
        )
        for kind, profile, over in _KINDS
    ]


_IN_THREADS = ("completion", "router_completion")
_STREAMED = ("acompletion", "router", *_IN_THREADS)


def _stream(kind: str) -> Row:
    streams, packet = (_STREAMS_APART, 1) if kind == "apart" else (_STREAMS, 40)
    scenario = f'plain{{"chunks": 100, "size": 800, "packet": {packet}}}'
    prepare = functools.partial(_streaming, kind, streams, False)
    return _row(f"streaming.{kind}", prepare, unit="chunk", scenario=scenario, process=_of_streams(kind))


def _streams(name: str, chunks: int, streams: int, *, is_told: bool = False) -> list[Row]:
    """Return rows for the cost of a whole stream, whose events come one a packet."""
    return [
        _row(
            f"streaming.{name}.{kind}",
            functools.partial(_streaming, kind, streams, is_told),
            scenario=f'plain{{"chunks": {chunks}, "size": {8 * chunks}}}',
            process=f"{_of_streams(kind)}.told" if is_told else _of_streams(kind),
        )
        for kind in _STREAMED
    ]


def _of_streams(kind: str) -> str:
    return "streaming.router" if kind.startswith("router") else "streaming"


def _varied() -> list[Row]:
    return [
        _row(
            f"chat.{what}.{through}",
            functools.partial(_varying, through, what),
            scenario='plain{"profile": "openai"}',
            process="chat.router" if through == "router" else "chat",
        )
        for what in workloads.VARYING
        for through in ("acompletion", "router")
    ]


def _by_strategy() -> list[Row]:
    scenario = 'plain{"profile": "openai"}'
    return [
        _row(
            f"chat.router.{strategy}",
            functools.partial(_choosing_and_calling, strategy),
            scenario=scenario,
            process=f"chat.router.{strategy}",
        )
        for strategy in ("least-busy", "latency-based-routing", "usage-based-routing-v2")
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
    _row("rate_limit.proxy", _limiting_in_proxy),
    *_whole_calls("chat", False),
    *_varied(),
    *_by_strategy(),
    *(
        _row(f"chat.cached.{kind}", functools.partial(_cached, kind), process="chat.cached")
        for kind in ("completion", "acompletion")
    ),
    *(
        _row(
            f"chat.beginning.{calls}",
            functools.partial(_beginning, calls),
            scenario='plain{"profile": "openai"}',
            over=_HTTP,
            process="chat.beginning",
            starts_cold=True,
        )
        for calls in workloads.BEGINNINGS
    ),
    *(
        _row(f"chat.retry.{kind}", functools.partial(_retrying, kind), process="chat.retry")
        for kind in workloads.RETRIED
    ),
    *map(_stream, ("completion", "acompletion", "router", "apart")),
    *_streams("short", 4, _STREAMS_SHORT),
    *_streams("long", 200, _STREAMS),
    _row("embeddings.aembedding", work.aembedding, over="tls"),
    _row("embeddings.100-texts", work.embedding_batch, over="tls"),
    _row("embeddings.router", work.embedding_router, over="tls", process="embeddings.router"),
    *_streams("told", 200, _STREAMS, is_told=True),
    *_whole_calls("chat.told", True),
    *(
        _row(
            f"chat.traced.{kind}",
            functools.partial(_tracing, kind),
            scenario='plain{"profile": "openai"}',
            over=OVER,
            process=f"chat.traced.{kind}",
        )
        for kind in ("completion", "acompletion", "router")
    ),
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
