"""Embeddings against the loopback provider: CPU of one client process, one short text and batches of long vectors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import litellm

from benchmarks import SHIPPED, STOCK, accelerate, close, openai, prefer
from benchmarks.chat import Reader

COMPONENTS = ("cost", "connection_pool", "embeddings")
DIMENSIONS = 1536
TEXTS = [f"Text {number}" for number in range(100)]


class Vectors:
    """CPU time of a call; stock and accelerated take turns in one process."""

    kinds = (
        "aembedding",
        "embedding",
        "aembedding, 8 numbers",
        "aembedding, base64",
        "aembedding, router",
        "aembedding, logger",
        "aembedding, 100 vectors",
        "embedding, 100 vectors",
    )
    params = (list(kinds),)
    param_names = ("kind",)
    timeout = 300
    turns = 4

    def track_ratio(self, kind: str) -> float:
        """Return how many times less CPU the accelerated call takes."""
        return measure(kind, self.turns)["ratio"]

    track_ratio.unit = "times"  # type: ignore[attr-defined]


def measure(kind: str, turns: int) -> dict[str, float]:
    """Return CPU seconds of a call, stock and accelerated in turn, the best of ``turns``, and their ratio."""
    prefer("compiled")
    import litellm_accel

    loop = asyncio.new_event_loop()
    calls = 10 if "100" in kind else 100
    found: dict[str, list[float]] = {backend: [] for backend in SHIPPED}
    with openai() as provider:
        work = _work(kind, provider.url, loop, calls)
        litellm.callbacks = [Reader()] if kind.endswith("logger") else []
        work()
        for _ in range(turns):
            found[STOCK].append(_cpu(work) / calls)
            for component in COMPONENTS:
                accelerate(component, "compiled")
            work()
            before = litellm_accel.status()["embeddings"].served
            found["compiled"].append(_cpu(work) / calls)
            served = litellm_accel.status()["embeddings"].served - before
            assert served == calls, f"{served} embeddings have been served, not {calls}"
            litellm_accel.restore()
        litellm.callbacks = []
    close(loop)
    stock, accelerated = (min(found[backend]) for backend in SHIPPED)
    return {"stock": stock, "accelerated": accelerated, "ratio": stock / accelerated}


def _work(kind: str, url: str, loop: asyncio.AbstractEventLoop, calls: int) -> Callable[[], None]:
    function, _, what = kind.partition(", ")
    given: dict[str, Any] = {
        "model": "openai/text-embedding-3-small",
        "input": TEXTS if what == "100 vectors" else TEXTS[0],
        "dimensions": 8 if what == "8 numbers" else DIMENSIONS,
        "api_base": url,
        "api_key": "sk-bench",
    }
    if what == "base64":
        given["encoding_format"] = "base64"
    one: Callable[..., Any] = litellm.aembedding
    if what == "router":
        deployment = {name: given.pop(name) for name in ("model", "api_base", "api_key")}
        router = litellm.Router(model_list=[{"model_name": "e", "litellm_params": deployment}])
        given, one = {**given, "model": "e"}, router.aembedding

    def work() -> None:
        for _ in range(calls):
            litellm.embedding(**given)

    async def at_once() -> None:
        for _ in range(calls):
            await one(**given)

    return work if function == "embedding" else lambda: loop.run_until_complete(at_once())


def _cpu(work: Callable[[], None]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before
