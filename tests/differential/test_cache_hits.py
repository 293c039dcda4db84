"""Direct calls beside LiteLLM's cache: what they return, and what the cache holds, are the same as in stock."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import litellm
import pytest
from litellm.integrations.custom_logger import CustomLogger

from fastpath_switch import Switch, without_callbacks
from litellm_accel.fastpath import decline
from litellm_accel.fastpath.plans.templates import state
from litellm_accel.provider import Provider

_TEXTS = ("hello", "hello there", "good morning", "how are you?")
_CLOCKS = {"_response_ms": 0.0, "litellm_overhead_time_ms": 0.0, "litellm_call_id": ""}
_WATCHED = 2


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if importlib.util.find_spec("soundfile") is None:  # LiteLLM imports it when it answers from its cache
        monkeypatch.setitem(sys.modules, "soundfile", ModuleType("soundfile"))
    with without_callbacks():
        monkeypatch.setattr(litellm, "cache", None)
        yield


class Asker:
    """Asks ``provider`` by ``litellm.acompletion``, or in ``threads`` by ``litellm.completion``."""

    def __init__(self, provider: Provider, threads: bool = False, profile: str = "openai") -> None:
        self.threads = threads
        self.base = provider.at(f'plain{{"profile": "{profile}"}}')

    async def ask(self, text: str, **more: Any) -> Any:
        passed = {"model": "openai/gpt-4o", "api_base": self.base, "api_key": "sk-test", "temperature": 0.5, **more}
        passed.setdefault("messages", [{"role": "user", "content": text}])
        return litellm.completion(**passed) if self.threads else await litellm.acompletion(**passed)

    async def fill(self, *texts: str, **more: Any) -> None:
        """Have the answers to ``texts`` kept."""
        for text in texts:
            await self.ask(text, **more)
        for _ in range(20):  # what is kept is written by tasks
            await asyncio.sleep(0)


class Listener(CustomLogger):  # type: ignore[misc]
    """Counts the successes that it is told of."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.log_success_event(kwargs, response_obj, start_time, end_time)

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        payload, params = kwargs["standard_logging_object"], kwargs["litellm_params"]
        said = payload["cache_hit"], payload["cache_key"], params["preset_cache_key"], kwargs["cache_hit"]
        self.told.append((payload["messages"][0]["content"], *said))


async def told(listener: Listener, calls: int) -> None:
    """Wait until ``listener`` has been told of so many calls."""
    while len(listener.told) < calls:
        await asyncio.sleep(0.001)


def shown(result: Any) -> Any:
    """Return all that can be told of a result, but for its times."""
    made = result.model_copy()
    hidden = {name: _CLOCKS.get(name, value) for name, value in result._hidden_params.items()}
    made._hidden_params = hidden
    if "_response_ms" in made.__dict__:
        made.__dict__["_response_ms"] = 0.0
    elif "_response_ms" in (made.__pydantic_private__ or {}):
        made.__pydantic_private__["_response_ms"] = 0.0
    return state(made)


async def both(asker: Asker, texts: tuple[str, ...] = _TEXTS, served: int | None = None, **more: Any) -> Switch:
    """Assert that hits are stock's in all, and that all but those that are watched were ``served`` here."""
    stock = [shown(await asker.ask(text, **more)) for text in texts * 2]
    switch = Switch()
    switch.start()
    try:
        accelerated = [shown(await asker.ask(text, **more)) for text in texts * 2]
    finally:
        switch.stop()
    assert accelerated == stock
    assert switch.gate.faults == 0
    assert switch.gate.served == (len(stock) - _WATCHED if served is None else served), switch.gate.declined
    return switch


@pytest.mark.parametrize("threads", [False, True])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"cache": {"namespace": "own"}},
        {"cache": {"s-maxage": 600, "ttl": 60}},
        {"cache": {"no-store": False}, "caching": True},
        {"model": "openai/gpt-4o-mini", "max_tokens": 40, "user": "me", "tools": None},
    ],
)
async def test_hits(provider: Provider, threads: bool, more: dict[str, Any]) -> None:
    litellm.cache = litellm.Cache(type="local")
    asker = Asker(provider, threads)
    await asker.fill(*_TEXTS, **more)
    held = {key: dict(kept) for key, kept in litellm.cache.cache.cache_dict.items()}
    provider.clear()
    await both(asker, **more)
    assert not provider.requests()
    assert litellm.cache.cache.cache_dict == held


@pytest.mark.parametrize("threads", [False, True])
async def test_arguments_by_place(provider: Provider, threads: bool) -> None:
    litellm.cache = litellm.Cache(type="local", namespace="space")
    asker, asked = Asker(provider, threads), litellm.completion if threads else litellm.acompletion
    messages = [{"role": "user", "content": "hello"}]

    async def ask() -> Any:
        result = asked("openai/gpt-4o", messages, api_base=asker.base, api_key="sk-test")
        return result if threads else await result

    await ask()
    for _ in range(20):
        await asyncio.sleep(0)
    stock, switch = shown(await ask()), Switch()
    switch.start()
    try:
        assert [shown(await ask()) for _ in range(4)] == [stock] * 4
    finally:
        switch.stop()
    assert switch.gate.served == 2


async def test_other_values_are_other_answers(provider: Provider) -> None:
    litellm.cache = litellm.Cache(type="local")
    asker = Asker(provider)
    warmths = (0.3, 0.45, 0.6, 0.75)
    for warmth in warmths:
        await asker.fill("hello", temperature=warmth)
    stock = [shown(await asker.ask("hello", temperature=warmth)) for warmth in warmths]
    assert len({repr(one) for one in stock}) == 4
    switch = Switch()
    switch.start()
    try:
        for _ in range(2):  # answers of another shape are watched, too
            assert [shown(await asker.ask("hello", temperature=warmth)) for warmth in warmths] == stock
    finally:
        switch.stop()
    assert switch.gate.served >= len(warmths), switch.gate.declined


async def test_each_caller_has_an_answer_of_its_own(provider: Provider) -> None:
    litellm.cache = litellm.Cache(type="local")
    asker = Asker(provider)
    await asker.fill("hello")
    switch = Switch()
    switch.start()
    try:
        for _ in range(_WATCHED):
            await asker.ask("hello")
        first = await asker.ask("hello")
        expected = shown(first)
        first.choices[0].message.content = "changed"
        first._hidden_params["additional_headers"]["x"] = "y"
        first.usage.prompt_tokens = 7
        assert shown(await asker.ask("hello")) == expected
    finally:
        switch.stop()
    assert switch.gate.served == 2


@pytest.mark.parametrize("threads", [False, True])
@pytest.mark.parametrize("way", ["ttl", "age"])
async def test_old_answers_are_asked_for_again(provider: Provider, threads: bool, way: str) -> None:
    asker = Asker(provider, threads)
    more: dict[str, Any] = {"cache": {"s-maxage": 500}} if way == "age" else {}

    async def play(switch: Switch | None) -> tuple[Any, ...]:
        litellm.cache = litellm.Cache(type="local")
        await asker.fill("hello", **more)
        if switch is not None:
            switch.start()
        for _ in range(_WATCHED + 1):
            await asker.ask("hello", **more)
        store = litellm.cache.cache
        (key,) = store.cache_dict
        if way == "ttl":
            store.ttl_dict[key] = 0.0
        else:
            store.cache_dict[key]["timestamp"] -= 1000
        provider.clear()
        await asker.fill("hello", **more)
        again = await asker.ask("hello", **more)
        return list(store.cache_dict), len(provider.requests()), again._hidden_params["cache_hit"]

    stock, switch = await play(None), Switch()
    try:
        assert await play(switch) == stock
    finally:
        switch.stop()
    assert stock[1] == 1
    assert switch.gate.served == 2
    assert switch.gate.faults == 0


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("threads", [False, True])
@pytest.mark.parametrize("more", [{}, {"cache": {"no-store": True}}, {"cache": {"namespace": "own", "ttl": 7}}])
async def test_misses(provider: Provider, threads: bool, more: dict[str, Any], recorded: bool) -> None:
    texts = [f"hello {number}" for number in range(12)]
    asker = Asker(provider, threads)

    async def play(switch: Switch | None) -> tuple[Any, ...]:
        provider.clear()
        litellm.cache = litellm.Cache(type="local", ttl=60)
        if switch is not None:
            switch.start()
        answers = [(await asker.ask(text, **more)).choices[0].message.content for text in texts]
        await asker.fill()
        store = litellm.cache.cache
        held = {key: json.loads(kept["response"]) for key, kept in store.cache_dict.items()}
        lives = {key: round(until - store.cache_dict[key]["timestamp"], -1) for key, until in store.ttl_dict.items()}
        for kept in held.values():
            kept.pop("created")
        return answers, [list(kept.items()) for kept in held.values()], lives, [one.json for one in provider.requests()]

    stock, switch = await play(None), Switch(recorded=recorded)
    try:
        assert await play(switch) == stock
    finally:
        switch.stop()
    assert len(stock[1]) == (0 if "no-store" in more.get("cache", ()) else 12)
    assert switch.gate.served >= 12 - 5, switch.gate.declined
    assert switch.gate.faults == 0


@pytest.mark.parametrize("threads", [False, True])
async def test_misses_that_somebody_is_told_of(provider: Provider, threads: bool) -> None:
    asker, listener = Asker(provider, threads), Listener()

    async def play(switch: Switch | None) -> tuple[Any, ...]:
        litellm.cache = litellm.Cache(type="local")
        litellm.callbacks.append(listener)
        listener.told.clear()
        if switch is not None:
            switch.start()
        for number in range(10):
            await asker.ask(f"hello {number}", metadata={"tags": ["one"]})
            await told(listener, number + 1)  # threads of LiteLLM's may overtake each other
        return list(litellm.cache.cache.cache_dict), list(listener.told)

    stock, switch = await play(None), Switch()
    try:
        assert await play(switch) == stock
    finally:
        switch.stop()
    assert switch.gate.served >= 5, switch.gate.declined
    assert switch.gate.faults == 0


async def test_a_failed_call_is_not_kept(provider: Provider) -> None:
    litellm.cache = litellm.Cache(type="local")
    asker, switch = Asker(provider), Switch()
    asker.base = provider.at('plain{"profile": "openai", "plain_first": 6, "status": 429, "times": 1}')
    switch.start()
    try:
        for number in range(6):
            await asker.ask(f"hello {number}", max_retries=0)
        with pytest.raises(litellm.RateLimitError):
            await asker.ask("hello 6", max_retries=0)
        await asker.fill()
    finally:
        switch.stop()
    assert len(litellm.cache.cache.cache_dict) == 6
    assert switch.gate.declined[str(decline.REPLY_LEFT)] == 1
    assert switch.gate.faults == 0


@pytest.mark.parametrize(
    "more",
    [
        {"cache": {"no-cache": True}},
        {"caching": False},
        {"stream": True},
        {"cache_key": "own"},
    ],
)
async def test_calls_that_are_stocks(provider: Provider, more: dict[str, Any]) -> None:
    litellm.cache = litellm.Cache(type="local")
    asker, switch = Asker(provider), Switch()
    switch.start()
    try:
        for _ in range(4):
            await asker.ask("hello", **more)
    finally:
        switch.stop()
    assert switch.gate.served == 0
    assert switch.gate.declined[str(decline.CACHEABLE)] == 4


async def test_opting_in(provider: Provider) -> None:
    """A cache that is off unless a call asks for it."""
    litellm.cache = litellm.Cache(type="local", mode=litellm.caching.caching.CacheMode.default_off)
    asker = Asker(provider)
    await asker.fill(*_TEXTS, cache={"use-cache": True})
    await both(asker, cache={"use-cache": True})
    switch = Switch()
    switch.start()
    try:
        for _ in range(4):
            assert "cache_hit" not in (await asker.ask("hello"))._hidden_params
    finally:
        switch.stop()


async def test_who_listens_is_told_by_stock(provider: Provider) -> None:
    litellm.cache = litellm.Cache(type="local")
    asker = Asker(provider)
    await asker.fill("hello")
    listener = Listener()
    litellm.callbacks.append(listener)
    switch = Switch()
    switch.start()
    try:
        for _ in range(4):
            await asker.ask("hello")
    finally:
        switch.stop()
    assert switch.gate.served == 0
    assert switch.gate.declined[str(decline.CACHED_TOLD)] == 4


async def test_somebodys_own_cache(provider: Provider) -> None:
    """A method that is put onto the cache, or onto what keeps its answers, is not gone around."""
    litellm.cache = litellm.Cache(type="local")
    asker = Asker(provider)
    await asker.fill("hello")
    store, asked = litellm.cache.cache, []
    switch = Switch()
    switch.start()
    try:
        for _ in range(4):
            await asker.ask("hello")
        found = store.get_cache
        store.get_cache = lambda *args, **kwargs: asked.append(args) or found(*args, **kwargs)
        await asker.ask("hello")
    finally:
        switch.stop()
    assert switch.gate.served == 2
    assert len(asked) == 1


@pytest.mark.parametrize("profile", ["deepseek", "plain"])
async def test_other_answers(provider: Provider, profile: str) -> None:
    litellm.cache = litellm.Cache(type="local")
    asker = Asker(provider, profile=profile)
    await asker.fill(*_TEXTS)
    await both(asker)


async def test_a_failing_import_stays(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where LiteLLM fails on its own answers, its error is met each time, and watched once."""
    litellm.cache = litellm.Cache(type="local")
    asker = Asker(provider)
    await asker.fill("hello")
    handler = sys.modules["litellm.caching.caching_handler"].LLMCachingHandler

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise ModuleNotFoundError("No module named 'soundfile'")

    monkeypatch.setattr(handler, "_convert_cached_result_to_model_response", fail)
    switch = Switch()
    switch.start()
    try:
        for _ in range(4):
            with pytest.raises(Exception, match="soundfile"):
                await asker.ask("hello")
    finally:
        switch.stop()
    assert switch.gate.served == switch.gate.faults == 0
