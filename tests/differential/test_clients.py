"""A change of the client that LiteLLM keeps for a plan's calls shows in the next call, as in stock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest import mock

import litellm
import pytest

from fastpath_switch import Switch
from litellm_accel.provider import Provider

HELLO = [{"role": "user", "content": "Hello"}]
Change = Callable[[Any], AbstractContextManager[Any]]


pytestmark = pytest.mark.usefixtures("quiet")


@contextmanager
def a_header(client: Any) -> Iterator[None]:
    client._client.headers["x-team"] = "blue"
    yield
    del client._client.headers["x-team"]


@contextmanager
def a_hook(client: Any) -> Iterator[None]:
    def hook(request: Any) -> Any:
        request.headers["x-team"] = "blue"
        return asyncio.sleep(0) if type(client).__name__.startswith("Async") else None

    hooks = client._client.event_hooks["request"]
    hooks.append(hook)
    yield
    hooks.clear()


@contextmanager
def another(client: Any) -> Iterator[None]:
    kept = litellm.in_memory_llm_clients_cache.cache_dict
    key = next(key for key, held in kept.items() if held is client)
    kept[key] = client.copy(default_headers={"x-team": "blue"})
    yield
    kept[key] = client


def a_key(client: Any) -> AbstractContextManager[Any]:
    return mock.patch.object(client, "api_key", "sk-other")


def default_headers(client: Any) -> AbstractContextManager[Any]:
    return mock.patch.dict(client._custom_headers, {"x-team": "blue"})


def a_query(client: Any) -> AbstractContextManager[Any]:
    return mock.patch.dict(client._custom_query, {"team": "blue"})


@contextmanager
def a_mock(client: Any) -> Iterator[None]:
    """In the place of what LiteLLM calls: the resource's method, or the client's own."""
    with (
        mock.patch.object(client.chat.completions.with_raw_response, "create", side_effect=ZeroDivisionError),
        mock.patch.object(client, "post", side_effect=ZeroDivisionError),
    ):
        yield


CHANGES = (a_header, a_hook, a_key, a_mock, a_query, another, default_headers)


async def play(provider: Provider, change: Change, asynchronous: bool) -> list[Any]:
    """Return what is seen of calls until a fast path is warm, of two with the changed client, and of some after
    that."""
    arguments: dict[str, Any] = {"model": "openai/gpt-4o", "messages": HELLO, "api_base": provider.url}
    arguments |= {"api_key": f"sk-{change.__name__}", "max_retries": 0}
    kept = litellm.in_memory_llm_clients_cache.cache_dict
    before = list(kept.values())
    seen: list[Any] = []

    async def call(times: int) -> None:
        for _ in range(times):
            provider.clear()
            try:
                found = await litellm.acompletion(**arguments) if asynchronous else litellm.completion(**arguments)
                seen.append(found.choices[0].message.content)
            except litellm.InternalServerError as error:
                seen.append(str(error).splitlines()[0])
            seen.append(
                [(sent.path, sent.header("authorization"), sent.header("x-team")) for sent in provider.requests()]
            )

    await call(4)
    (client,) = (held for held in kept.values() if held not in before and str(held.base_url).startswith(provider.url))
    with change(client):
        await call(2)
    await call(4)
    litellm.in_memory_llm_clients_cache.flush_cache()
    return seen


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_what_a_changed_client_does_is_stocks(provider: Provider, change: Change, asynchronous: bool) -> None:
    switch = Switch()
    expected = asyncio.run(play(provider, change, asynchronous))
    with switch.on() as pipeline:
        assert asyncio.run(play(provider, change, asynchronous)) == expected
    switch.stop()
    assert expected[8:12] != expected[:4]
    assert pipeline.gate.served >= 3
    assert pipeline.gate.declined["changed client"] >= 1
    assert pipeline.gate.faults == 0
