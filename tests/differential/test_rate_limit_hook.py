"""A limiter in front of a router and of the proxy, before calls that the fast path serves."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import litellm
import pytest
from litellm import Router
from litellm.caching.dual_cache import DualCache

import litellm_accel
from fastpath_switch import Switch
from litellm_accel.fastpath.admission.callbacks import CallbackPolicy
from litellm_accel.provider import Provider
from litellm_accel.ratelimit import Limiter, RateLimitHook
from litellm_accel.stock import seams
from litellm_accel.verify import records
from settling import settled

HELLO = [{"role": "user", "content": "Say hello to everybody, please."}]
PREPARING = 4  # calls before the first is served, at most


pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def switch() -> Switch:
    return Switch(pooled=False)


def router_of(provider: Provider, *ids: str, **more: Any) -> Router:
    params = {"model": "openai/gpt-4o-mini", "api_key": "sk-1", "api_base": provider.url, **more}
    models = [{"model_name": "g", "litellm_params": dict(params), "model_info": {"id": one}} for one in ids or ("one",)]
    return Router(model_list=models, num_retries=0)


def client(key: str) -> Any:
    """What the proxy knows of a caller."""
    return SimpleNamespace(api_key=key, user_id="somebody", team_id=None, org_id=None, end_user_id=None)


def left(limiter: Limiter, key: Any = "somebody") -> int:
    """What is left of the tightest limit."""
    return int(limiter.check(key, 0).remaining)


async def test_a_router_behind_it_is_served_and_limited(provider: Provider, switch: Switch):
    limiter = Limiter({"user": "10/hour"})
    router = RateLimitHook(limiter).limit(router_of(provider))
    with switch.on():
        for _ in range(9):
            await router.acompletion(model="g", messages=HELLO, user="somebody")
        assert switch.gate.served >= 9 - PREPARING, switch.gate.declined
        assert (await router.acompletion("g", HELLO, user="somebody")).choices[0].message.content
        served = switch.gate.served
        with pytest.raises(litellm.RateLimitError, match="user 10/hour") as raised:
            await router.acompletion(model="g", messages=HELLO, user="somebody")
        assert switch.gate.served == served
    assert 3590 <= int(raised.value.headers["retry-after"]) <= 3600
    assert (raised.value.status_code, raised.value.category) == (429, "litellm_rate_limit")
    assert router.get_model_ids() == ["one"]  # all else is the router's own


def test_a_router_in_threads(provider: Provider, switch: Switch):
    limiter = Limiter({"model": "7/hour"})
    router = RateLimitHook(limiter).limit(router_of(provider))
    with switch.on():
        for _ in range(7):
            router.completion(model="g", messages=HELLO)
        assert switch.gate.served >= 7 - PREPARING, switch.gate.declined
        with pytest.raises(litellm.RateLimitError):
            router.completion(model="g", messages=HELLO)


async def test_tokens_are_reserved_then_settled(provider: Provider):
    limiter = Limiter({"user": "100000 tokens/hour"})
    front = RateLimitHook(limiter, output_tokens=500).limit(router_of(provider))
    begin = left(limiter)
    waiting = asyncio.ensure_future(front.acompletion(model="g", messages=HELLO, user="somebody"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert begin - left(limiter) == 500 + 4 + 7
    used = (await waiting).usage.total_tokens
    assert begin - left(limiter) == used
    before = left(limiter)
    used = front.completion(model="g", messages=HELLO, user="somebody", max_tokens=1).usage.total_tokens
    assert used > 12  # more than was reserved
    assert before - left(limiter) == used
    with pytest.raises(litellm.RateLimitError) as raised:
        await front.acompletion(model="g", messages=HELLO, user="somebody", max_tokens=200_000)
    assert "retry-after" not in raised.value.headers  # it will never be allowed


@pytest.mark.parametrize("usage", [False, True])
async def test_streams_are_settled_at_their_end(provider: Provider, restored: None, usage: bool):
    limiter = Limiter({"user": "100000 tokens/hour"})
    front = RateLimitHook(limiter).limit(router_of(provider))
    arguments: dict[str, Any] = {"model": "g", "messages": HELLO, "user": "somebody", "stream": True, "max_tokens": 999}
    if usage:
        arguments["stream_options"] = {"include_usage": True}
    with records.proving("chat"), records.proving("streaming"):
        litellm_accel.accelerate(["chat", "streaming"], strict=True)
        for _ in range(PREPARING + 2):
            before = left(limiter)
            stream = await front.acompletion(**arguments)
            assert before - left(limiter) == 11 + 999
            chunks = [chunk async for chunk in stream]
            told = [chunk.usage.total_tokens for chunk in chunks if getattr(chunk, "usage", None)]
            assert len(told) == usage
            assert before - left(limiter) == told[0] if usage else 11 < before - left(limiter) < 111
        if not seams.has_core_of_its_own():  # whose streams are stock's
            assert litellm_accel.status()["chat"].served >= 2, litellm_accel.status()["chat"]
    before = left(limiter)
    assert list(front.completion(**arguments))
    assert 11 < before - left(limiter) < 111


async def test_a_call_that_fails_gives_everything_back(provider: Provider):
    limiter = Limiter({"user": "3/hour; 100000 tokens/hour"})
    front = RateLimitHook(limiter).limit(router_of(provider, api_base="http://127.0.0.1:1", max_retries=0))
    for _ in range(5):
        with pytest.raises(litellm.InternalServerError, match="Connection"):
            await front.acompletion(model="g", messages=HELLO, user="somebody", max_tokens=5)
        with pytest.raises(litellm.InternalServerError, match="Connection"):
            front.completion(model="g", messages=HELLO, user="somebody", max_tokens=5)
    waiting = asyncio.ensure_future(
        RateLimitHook(limiter)
        .limit(SimpleNamespace(acompletion=lambda **_: asyncio.sleep(9)))
        .acompletion(model="g", messages=HELLO, user="somebody")
    )
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert left(limiter) == 3
    limiter.check("somebody", 3)
    assert limiter.check("somebody", 0, 100_000).limit != "user 100000 tokens/hour"


async def test_the_proxy_asks_it_and_its_router_is_still_served(provider: Provider, switch: Switch):
    limiter = Limiter({"key": "20/hour; 100000 tokens/hour", "model": {"g": "20/hour"}})
    hook = RateLimitHook(limiter, output_tokens=400)
    litellm.callbacks.append(hook)
    assert CallbackPolicy().judge() == (None, True)
    router = router_of(provider)
    caller = client("hashed")
    assert "async_pre_call_hook" in vars(type(hook))  # where the proxy looks
    used = 0
    with switch.on():
        for number in range(12):
            data = {"model": "g", "messages": HELLO, "litellm_call_id": f"call {number}"}
            assert await hook.async_pre_call_hook(caller, DualCache(), data, "completion") is None
            if number % 4 == 3:
                await hook.async_post_call_failure_hook(data, ValueError("of the provider"), caller)
                continue
            used += (await router.acompletion(**data)).usage.total_tokens
        await settled()
        for _ in range(100):
            if not hook._reservations:
                break
            await asyncio.sleep(0.02)
        assert switch.gate.served >= 9 - PREPARING, switch.gate.declined
    assert hook._reservations == {}
    keys = {"key": "hashed"}
    assert limiter.check(keys, 0).remaining == 20 - 9
    assert limiter.check(keys, 0, 100_000 - used)
    assert not limiter.check(keys, 0, 1)
    with pytest.raises(litellm.RateLimitError):
        await hook.async_pre_call_hook(caller, DualCache(), {"model": "g", "messages": HELLO}, "completion")


async def test_calls_with_one_id_are_settled_each(provider: Provider):
    limiter = Limiter({"key": "100000 tokens/hour"})
    hook = RateLimitHook(limiter, output_tokens=400)
    caller = client("one")
    data = {"model": "g", "messages": HELLO, "litellm_call_id": "chosen by a client"}
    for _ in range(2):
        await hook.async_pre_call_hook(caller, None, data, "completion")
    for used in (1000, 2000):
        response = litellm.ModelResponse(usage=litellm.Usage(total_tokens=used))
        await hook.async_log_success_event({"litellm_call_id": data["litellm_call_id"]}, response, None, None)
    assert left(limiter, "one") == 100_000 - 3000


async def test_calls_that_tell_nothing_are_forgotten(monkeypatch: pytest.MonkeyPatch):
    hook = RateLimitHook(Limiter({"key": "100000/hour"}))
    caller = client("one")
    monkeypatch.setattr("litellm_accel.ratelimit.hook._FORGOTTEN", -1)
    for number in range(100):
        await hook.async_pre_call_hook(caller, None, {"model": "g", "litellm_call_id": f"{number}"}, "completion")
    assert len(hook._reservations) <= 2


async def test_deployments_are_counted_each_time_they_are_called(provider: Provider, switch: Switch):
    """One over its limit is refused as LiteLLM's own checks refuse one, and the calls of others are served."""
    deployments = Limiter({"deployment": {"one": "5/hour", "*": "1000/hour"}})
    hook = RateLimitHook(Limiter({"model": "1000/hour"}), deployments=deployments)
    litellm.callbacks.append(hook)
    router = router_of(provider, "one")
    with switch.on():
        for _ in range(5):
            await router.acompletion(model="g", messages=HELLO)
        assert switch.gate.served >= 5 - PREPARING, switch.gate.declined
        with pytest.raises(litellm.RateLimitError):
            await router.acompletion(model="g", messages=HELLO)
        if not seams.has_core_of_its_own():  # which asks before it calls
            assert switch.gate.declined["deployment is full"] == 1
    with pytest.raises(litellm.RateLimitError):
        hook.pre_call_check({"litellm_params": {"model": "m"}, "model_info": {"id": "one"}})
    hook.pre_call_check({"litellm_params": {"model": "m"}, "model_info": {"id": "two"}})


def test_own_keys_and_arguments_that_make_no_sense(provider: Provider):
    limiter = Limiter({"tenant": "1/hour"})
    front = RateLimitHook(limiter, keys=lambda model, arguments: {"tenant": arguments["metadata"]["tenant"]}).limit(
        router_of(provider)
    )
    front.completion(model="g", messages=HELLO, metadata={"tenant": "a"})
    front.completion(model="g", messages=HELLO, metadata={"tenant": "b"})
    with pytest.raises(litellm.RateLimitError):
        front.completion(model="g", messages=HELLO, metadata={"tenant": "a"})
    for wrong in ({"output_tokens": -1}, {"output_tokens": 1.5}, {"deployments": "5/minute"}, {"limiter": None}):
        with pytest.raises(ValueError):
            RateLimitHook(**{"limiter": limiter, **wrong})  # type: ignore[arg-type]
