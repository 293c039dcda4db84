"""What the demo runs: one ``Row`` each, all of it LiteLLM's public calls."""

from __future__ import annotations

import asyncio
import logging
import pydoc_data.topics
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

# One batch of calls that ask questions from this number on; returns one result a call, in the order of the calls,
# whatever order they end in.
Batch = Callable[[int], list[Any]] | Callable[[int], Awaitable[list[Any]]]

#: Whose answers the provider gives, and whether over TLS.
PROFILE = "openai"
OVER: Literal["tls", "http"] = "tls"

MODEL = "gpt-4o"
IN_FLIGHT = 20
DIMENSIONS = 1536
_REQUESTS = 500


@dataclass(frozen=True)
class Row:
    """One kind of work.

    ``prepare(url)`` makes everything ready, unmeasured, and returns the batch that is measured. Any of ``components``
    may serve its calls. ``url`` is the provider's, ``over`` TLS or plain HTTP, told to answer by ``scenario``. The cost
    shown is per ``unit``: a batch's result is one call, or for ``"chunk"`` the list of a stream's chunks. Rows of one
    ``process`` share their two child processes: routers and loggers that a row leaves behind are told of later calls.
    A row that ``starts_cold`` has new ones for each round, and nothing is warmed up: it measures how they begin.

    ``prepare`` raises ``NotImplementedError``, with the reason, if the installed LiteLLM cannot do the work.
    """

    name: str
    title: str
    components: tuple[str, ...]
    prepare: Callable[[str], Batch]
    unit: Literal["call", "chunk"] = "call"
    scenario: str = "plain"
    over: Literal["tls", "http"] = OVER
    process: str = ""
    starts_cold: bool = False

    def units(self, results: list[Any]) -> int:
        """Return how many units ``results``, those of one batch, are."""
        return sum(map(len, results)) if self.unit == "chunk" else len(results)


def _prose() -> str:
    """Return 450,000 characters of English that every Python has: the language reference behind ``help()``."""
    return "\n".join(pydoc_data.topics.topics.values())


def question(number: int) -> list[dict[str, str]]:
    """Return the conversation with the question of this ``number``."""
    return [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": f"Question {number}: what does a language model cost to run?"},
    ]


def count_short(url: str) -> Batch:
    import litellm

    prose = _prose()
    texts = [prose[start : start + 60] for start in range(0, 30_000, 60)]
    return lambda first: [litellm.token_counter(model=MODEL, text=text) for text in texts]


def count_messages(url: str) -> Batch:
    import litellm

    prose = _prose()
    conversations = [
        [{"role": ("user", "assistant")[turn % 2], "content": prose[start + 80 * turn :][:80]} for turn in range(10)]
        for start in range(0, 200_000, 1_000)
    ]
    return lambda first: [litellm.token_counter(model=MODEL, messages=messages) for messages in conversations]


def count_long(url: str) -> Batch:
    import litellm

    prose = _prose()
    texts = [prose[start : start + 100_000] for start in range(0, 350_000, 25_000)]
    return lambda first: [litellm.token_counter(model=MODEL, text=text) for text in texts]


def completion(url: str) -> Batch:
    import litellm

    def batch(first: int) -> list[Any]:
        return [
            litellm.completion(f"openai/{MODEL}", question(number), api_base=url, api_key="sk-demo")
            for number in range(first, first + IN_FLIGHT)
        ]

    return batch


def acompletion(url: str) -> Batch:
    import litellm

    async def batch(first: int) -> list[Any]:
        return await in_flight(
            first,
            lambda number: litellm.acompletion(f"openai/{MODEL}", question(number), api_base=url, api_key="sk-demo"),
        )

    return batch


def acompletion_logged(url: str) -> Batch:
    """``acompletion`` in a program that logs at INFO to a file; its worker does so from then on."""
    logging.disable(logging.NOTSET)
    file = tempfile.TemporaryFile("w", encoding="utf-8")  # noqa: SIM115  # lives as long as the worker
    logging.basicConfig(level=logging.INFO, stream=file, force=True)
    return acompletion(url)


def aembedding(url: str) -> Batch:
    import litellm

    async def batch(first: int) -> list[Any]:
        return await in_flight(
            first,
            lambda number: litellm.aembedding(
                "openai/text-embedding-3-small",
                f"Text {number}",
                dimensions=DIMENSIONS,
                api_base=url,
                api_key="sk-demo",
            ),
        )

    return batch


def embedding_batch(url: str) -> Batch:
    import litellm

    def batch(first: int) -> list[Any]:
        texts = [f"Text {number}" for number in range(first, first + 100)]
        call = {"dimensions": DIMENSIONS, "api_base": url, "api_key": "sk-demo"}
        return [litellm.embedding("openai/text-embedding-3-small", texts, **call)]

    return batch


def stream(url: str) -> Batch:
    import litellm

    async def one(number: int) -> list[Any]:
        chunks = await litellm.acompletion(
            f"openai/{MODEL}", question(number), api_base=url, api_key="sk-demo", stream=True
        )
        return [chunk async for chunk in chunks]

    async def batch(first: int) -> list[Any]:
        return list(await asyncio.gather(*map(one, range(first, first + 2))))

    return batch


def router(url: str, **settings: Any) -> Batch:
    asked = gateway(url, **settings)

    async def batch(first: int) -> list[Any]:
        return await in_flight(first, lambda number: asked.acompletion("chat", question(number)))

    return batch


def embedding_router(url: str) -> Batch:
    asked = gateway(url, model="text-embedding-3-small")

    async def batch(first: int) -> list[Any]:
        given = {"dimensions": DIMENSIONS}
        return await in_flight(first, lambda number: asked.aembedding("chat", f"Text {number}", **given))

    return batch


def choose(url: str) -> Batch:
    asked = gateway(url, deployments=1000)
    return lambda first: [asked.get_available_deployment("chat", question(number)) for number in range(10)]


def limits(url: str) -> Batch:
    """Decide on limits as LiteLLM's proxy does in memory, where what it needs is installed, else as a router does."""
    from litellm_accel.components import proxy_limiter

    if not proxy_limiter.can_be_there():
        return _router_limits
    from litellm.caching.dual_cache import DualCache
    from litellm.proxy.hooks import parallel_request_limiter_v3
    from litellm.proxy.utils import InternalUsageCache

    moment = datetime(2030, 1, 1)
    limit = {"requests_per_unit": 10**6, "tokens_per_unit": 10**9, "window_size": 60}
    scopes = ("api_key", "user", "team", "end_user", "model_per_key")
    descriptors = [{"key": scope, "value": "one", "rate_limit": limit} for scope in scopes]

    async def batch(first: int) -> list[Any]:
        kind = parallel_request_limiter_v3._PROXY_MaxParallelRequestsHandler_v3
        limiter = kind(InternalUsageCache(DualCache()), time_provider=lambda: moment)
        told = []
        for _ in range(_REQUESTS):
            told.append(await limiter.should_rate_limit(descriptors, skip_tpm_check=True))
            told.append(await limiter.reserve_tpm_tokens(descriptors, 100))
        return [each["statuses"] for each in told]

    return batch


def _router_limits(first: int) -> list[Any]:
    from litellm.caching.dual_cache import DualCache
    from litellm.router_utils.pre_call_checks.model_rate_limit_check import ModelRateLimitingCheck

    checks = ModelRateLimitingCheck(DualCache())
    deployment = {
        "litellm_params": {"model": MODEL, "rpm": 10**6, "tpm": 10**9},
        "model_info": {"id": "one"},
    }
    return [checks.pre_call_check(deployment) for _ in range(_REQUESTS)]


def cost(url: str) -> Batch:
    import litellm

    responses = [
        litellm.ModelResponse(
            model=MODEL,
            usage=litellm.Usage(prompt_tokens=number, completion_tokens=2 * number, total_tokens=3 * number),
        )
        for number in range(1, 1001)
    ]
    return lambda first: [litellm.completion_cost(completion_response=response, model=MODEL) for response in responses]


ROWS = (
    Row("count_short", "Count tokens, 60 characters", ("tokens",), count_short),
    Row("count_messages", "Count tokens, 10 messages", ("tokens",), count_messages),
    Row("count_long", "Count tokens, 100 kB", ("tokens",), count_long),
    Row("completion", "completion", ("chat",), completion),
    Row("acompletion", "acompletion, 20 in flight", ("chat",), acompletion),
    Row("router", "Router.acompletion, 20", ("chat",), router, process="routers"),
    Row("aembedding", "aembedding, one text, 20", ("embeddings",), aembedding),
    Row("vectors", "embedding, 100 texts", ("embeddings",), embedding_batch),
    Row("stream", "A streamed chunk", ("streaming",), stream, unit="chunk", scenario='plain{"chunks": 100}'),
    Row("choose", "Choose, 1000 deployments", ("routing",), choose, process="routers"),
    Row("cost", "completion_cost", ("cost", "chat"), cost),
    Row("limits", "Decide on five rate limits", ("rate_limit",), limits),
    Row("http", "acompletion, plain HTTP", ("chat",), acompletion, scenario='plain{"profile": "plain"}', over="http"),
    Row("logged", "acompletion, INFO to a file", ("chat",), acompletion_logged),  # last, for it goes on logging
)


async def in_flight(first: int, call: Callable[[int], Awaitable[Any]]) -> list[Any]:
    """Await ``IN_FLIGHT`` calls at once, numbered from ``first`` on; return their results."""
    return list(await asyncio.gather(*map(call, range(first, first + IN_FLIGHT))))


def gateway(url: str, deployments: int = 10, model: str = MODEL, **settings: Any) -> Any:
    """Return a router whose ``deployments`` of ``"chat"`` all reach the provider; ``settings`` are LiteLLM's."""
    import litellm

    return litellm.Router(
        **settings,
        model_list=[
            {
                "model_name": "chat",
                "litellm_params": {
                    "model": f"openai/{model}",
                    "api_base": url,
                    "api_key": f"sk-{number}",
                    "rpm": 1_000_000,
                    "tpm": 1_000_000_000,
                },
                "model_info": {"id": f"deployment-{number}"},
            }
            for number in range(deployments)
        ],
    )
