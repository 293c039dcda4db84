"""A router's calls beside LiteLLM's cache of responses: what it holds, and who answers, are the same as in stock."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import Iterator
from typing import Any

import litellm
import pytest

from fastpath_switch import Switch, without_callbacks
from litellm_accel.fastpath import decline
from litellm_accel.provider import Provider
from releases import routers_in_python

# Routers with a core of their own ask LiteLLM's cache themselves.
pytestmark = routers_in_python
_CALLS = 12
# What is kept in the cache is written by tasks.
_WRITTEN_SECONDS = 0.2
# LiteLLM 1.106 imports it when it answers from its cache, and does not require it.
_CAN_HIT = importlib.util.find_spec("soundfile") is not None


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with without_callbacks():
        monkeypatch.setattr(litellm, "cache", None)
        yield


def router(provider: Provider, cache_responses: bool = True) -> litellm.Router:
    params = {"model": "openai/gpt-4o", "api_base": provider.at('plain{"profile": "openai"}'), "api_key": "sk-test"}
    models = [{"model_name": "gpt", "litellm_params": params, "model_info": {"id": "one"}}]
    return litellm.Router(models, cache_responses=cache_responses)


async def ask(asked: Any, text: str, **more: Any) -> str:
    metadata = {"tags": [text]}
    messages = [{"role": "user", "content": text}]
    answer = await asked.acompletion(model="gpt", messages=messages, temperature=0.5, metadata=metadata, **more)
    found: str = answer.choices[0].message.content
    return found


async def played(provider: Provider, switch: Switch | None) -> tuple[Any, Any, Any]:
    """Return the answers, what the cache holds, and what the provider was asked."""
    provider.clear()
    litellm.cache = litellm.Cache(type="local", ttl=60, namespace="space")
    asked = router(provider)
    if switch is not None:
        switch.start()
    answers = [await ask(asked, f"hello {number}") for number in range(_CALLS)]
    if _CAN_HIT:
        answers.append(await ask(asked, "hello 1"))
    await asyncio.sleep(_WRITTEN_SECONDS)
    held = {key: json.loads(kept["response"]) for key, kept in litellm.cache.cache.cache_dict.items()}
    for kept in held.values():
        kept.pop("created")
    return answers, held, [request.json for request in provider.requests()]


@pytest.mark.parametrize("recorded", [True, False])
async def test_misses_are_served_and_kept(provider: Provider, recorded: bool) -> None:
    stock = await played(provider, None)
    switch = Switch(recorded=recorded)
    try:
        accelerated = await played(provider, switch)
    finally:
        switch.stop()
    assert accelerated == stock
    assert len(stock[1]) == len(stock[2]) == _CALLS
    assert switch.gate.served >= _CALLS - 7
    assert (str(decline.CACHED) in switch.gate.declined) is _CAN_HIT
    assert switch.gate.faults == 0


async def test_what_a_call_says_of_the_cache_is_heeded(provider: Provider) -> None:
    """The router is stock's, its attempts are direct calls."""
    litellm.cache = litellm.Cache(type="local")
    asked, switch = router(provider), Switch()
    switch.start()
    try:
        for number in range(4):
            await ask(asked, f"hello {number}", cache={"no-store": True})
    finally:
        switch.stop()
    assert switch.gate.faults == 0
    assert str(decline.CACHEABLE) in switch.gate.declined
    assert not litellm.cache.cache.cache_dict


async def test_a_router_that_asks_no_cache_is_stocks(provider: Provider) -> None:
    litellm.cache = litellm.Cache(type="local")
    asked, switch = router(provider, cache_responses=False), Switch()
    switch.start()
    try:
        for number in range(5):
            await ask(asked, f"hello {number}")
    finally:
        switch.stop()
    assert switch.gate.served == 0
    assert str(decline.CACHEABLE) in switch.gate.declined
    await asyncio.sleep(_WRITTEN_SECONDS)
    assert len(litellm.cache.cache.cache_dict) == 5  # LiteLLM keeps their answers all the same


async def test_a_cache_that_is_not_known_is_stocks(provider: Provider) -> None:
    class Own(litellm.Cache):  # type: ignore[misc]
        """Somebody's own."""

    litellm.cache = Own(type="local")
    asked, switch = router(provider), Switch()
    switch.start()
    try:
        await ask(asked, "hello")
    finally:
        switch.stop()
    assert any(str(reason).startswith("setting cache") for reason in switch.gate.declined)
