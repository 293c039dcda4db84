"""Shadows of whole calls and streams: LiteLLM answers all, and what the fast path would have done is compared."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import litellm
import pytest

import litellm_accel
from fastpath_switch import without_callbacks
from litellm_accel import activation
from litellm_accel.fastpath.plans import comparison
from litellm_accel.fastpath.streams import source
from litellm_accel.operation.shadow import Shadow
from litellm_accel.provider import Provider
from litellm_accel.verify import masks, records
from litellm_accel.verify.observe import outcome
from releases import routers_in_python

MODES = ("acompletion", "completion", pytest.param("arouter", marks=routers_in_python))


@pytest.fixture(autouse=True, params=["recorded", "own calls"])
def proven(
    request: pytest.FixtureRequest, restored: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[None]:
    """Both where a record proves calls, so that nothing would be compared, and where none does."""
    with without_callbacks():
        if request.param == "recorded":
            with records.proving("chat"), records.proving("streaming"):
                yield
        else:
            monkeypatch.setattr(records, "SHIPPED", tmp_path / "shipped")
            monkeypatch.setattr(records, "user_directory", lambda: tmp_path / "user")
            yield


class Caller:
    """Makes calls with numbers and returns their results; of streams all chunks. Its router is one."""

    def __init__(self, provider: Provider, mode: str) -> None:
        self.mode = mode
        self.deployment = {"model": "openai/gpt-4o-mini", "api_key": "sk-1", "api_base": provider.url}
        if mode == "arouter":
            entry = {"model_name": "g", "litellm_params": self.deployment, "model_info": {"id": "1"}}
            self.router = litellm.Router(model_list=[entry])

    def __call__(self, numbers: range, **more: Any) -> list[Any]:
        async def run() -> list[Any]:
            return [await self._one(number, **more) for number in numbers]

        return [masks.mask(outcome(result)) for result in asyncio.run(run())]

    async def _one(self, number: int, **more: Any) -> Any:
        messages = [{"role": "user", "content": f"Secret {number}"}]
        made: Any
        if self.mode == "completion":
            made = litellm.completion(messages=messages, **self.deployment, **more)
            return list(made) if more.get("stream") else made
        if self.mode == "arouter":
            made = await self.router.acompletion(model="g", messages=messages, **more)
        else:
            made = await litellm.acompletion(messages=messages, **self.deployment, **more)
        return [chunk async for chunk in made] if more.get("stream") else made


def shadow_of(name: str) -> Shadow:
    """Return the shadow of a component when all that waits to be compared has been."""
    shadow: Shadow = activation._activations[name].gate.shadow
    done = threading.Event()
    assert shadow.later(done.set) and done.wait(20)  # jobs are done in turn
    return shadow


@pytest.mark.parametrize("mode", MODES)
def test_a_shadow_of_calls_serves_none_and_finds_all_equal(provider: Provider, mode: str) -> None:
    calls = Caller(provider, mode)
    stock = calls(range(12))
    litellm_accel.accelerate("chat", strict=True, config={"components": {"chat": {"mode": "shadow"}}})
    assert calls(range(12)) == stock
    shadow, row = shadow_of("chat"), litellm_accel.status()["chat"]
    assert (row.mode, row.served, row.faults) == ("shadow 100 %", 0, 0)
    assert shadow.different == shadow.faults == 0, shadow.to_dict()
    assert shadow.equal >= 8 and shadow.equal + shadow.skipped == row.declined["being proven"]
    litellm_accel.configure(components={"chat": {"mode": "on"}})
    assert calls(range(12)) == stock
    assert litellm_accel.status()["chat"].served >= 11, "what the shadow has shown need not be shown again"


def test_what_a_shadow_finds_to_differ_is_kept_and_is_stock_s_afterwards(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Caller(provider, "acompletion")
    stock = calls(range(25))
    judged = comparison.Comparison._judge_request

    def differing(self: Any, sent: Any) -> None:
        judged(self, sent)
        raise comparison.Differs("request body 'odd'", {"messages": self._call.messages}, {"odd": "Secret 1"})

    litellm_accel.accelerate("chat", strict=True, config={"components": {"chat": {"mode": "shadow"}}})
    with monkeypatch.context() as planted:
        planted.setattr(comparison.Comparison, "_judge_request", differing)
        assert calls(range(25)) == stock
    shadow = shadow_of("chat")
    assert shadow.different >= 21 and len(shadow.differences) == 20 and shadow.equal == 0
    kept = shadow.differences[-1]
    assert kept.where == "request body 'odd'" and "'role': 'user'" in kept.arguments
    assert "Secret" not in str(shadow.to_dict()) and "sk-1" not in str(shadow.to_dict())
    assert "<9 characters>" in kept.stock or "<8 characters>" in kept.stock
    assert not litellm_accel.health_check()["healthy"]
    litellm_accel.configure(components={"chat": {"mode": "on"}})
    assert calls(range(4)) == stock[:4]
    row = litellm_accel.status()["chat"]
    assert row.served == 0 and row.declined["differs from stock: request body 'odd'"] >= 4


def test_results_are_compared_by_a_thread_and_texts_kept_where_that_is_asked_for(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Caller(provider, "acompletion")
    config = {"components": {"chat": {"mode": "shadow", "reveal": True}}}
    litellm_accel.accelerate("chat", strict=True, config=config)
    judged, threads = comparison.Comparison._judge_result, []

    def differing(self: Any, sent: Any) -> Any:
        rest = judged(self, sent)

        def compare() -> None:
            rest()
            threads.append(threading.current_thread().name)
            raise comparison.Differs("result 'odd'")

        return compare

    monkeypatch.setattr(comparison.Comparison, "_judge_result", differing)
    calls(range(5))
    shadow = shadow_of("chat")
    assert threads == ["litellm-accel-shadow"] * shadow.different and threads
    assert "Secret 4" in shadow.differences[-1].arguments and "sk-1" not in shadow.differences[-1].arguments


@pytest.mark.parametrize("mode", ["acompletion", "completion"])
def test_a_shadow_of_streams_serves_none_and_compares_each_chunk(provider: Provider, mode: str) -> None:
    calls = Caller(provider, mode)
    stock = calls(range(6), stream=True)
    modes = {name: {"mode": "shadow"} for name in ("chat", "streaming")}
    litellm_accel.accelerate(["chat", "streaming"], strict=True, config={"components": modes})
    assert calls(range(6), stream=True) == stock
    for name, least in (("chat", 2), ("streaming", 8)):
        shadow, row = shadow_of(name), litellm_accel.status()[name]
        assert (row.served, row.faults) == (0, 0), row
        assert shadow.different == shadow.faults == 0, shadow.to_dict()
        assert shadow.equal >= least, (name, shadow.to_dict(), row.declined)
    litellm_accel.configure(components={name: {"mode": "on"} for name in modes})
    assert calls(range(9), stream=True)[:6] == stock
    assert litellm_accel.status()["chat"].served and litellm_accel.status()["streaming"].served


def test_a_chunk_that_differs_is_stock_s_after_the_shadow(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Caller(provider, "acompletion")
    stock = calls(range(4), stream=True)
    litellm_accel.accelerate(
        ["chat", "streaming"], strict=True, config={"components": {"streaming": {"mode": "shadow"}}}
    )
    with monkeypatch.context() as planted:
        planted.setattr(source.Shadow, "difference", lambda *given: "chunk 'odd'")
        assert calls(range(4), stream=True) == stock
    shadow = shadow_of("streaming")
    assert shadow.different >= 4 and shadow.equal == 0 and shadow.differences[-1].where == "chunk 'odd'"
    assert litellm_accel.status()["chat"].served == 0, "LiteLLM opens streams while theirs is a shadow"
    litellm_accel.configure(components={"streaming": {"mode": "on"}})
    assert calls(range(4), stream=True) == stock
    assert "differs from stock: chunk 'odd'" in litellm_accel.status()["streaming"].declined


def test_a_share_of_calls_is_compared(provider: Provider) -> None:
    calls = Caller(provider, "acompletion")
    config = {"components": {"chat": {"mode": "shadow", "percent": 25}}}
    litellm_accel.accelerate("chat", strict=True, config=config)
    calls(range(16))
    row = litellm_accel.status()["chat"]
    assert (row.bypassed, sum(row.declined.values()), row.served) == (12, 4, 0)
