"""Modes on real calls: who falls on which side, and that both sides give what LiteLLM gives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import litellm
import pytest

import litellm_accel
from fastpath_switch import without_callbacks
from litellm_accel import activation, hot
from litellm_accel.provider import Provider
from litellm_accel.stock import seams
from litellm_accel.verify import masks, records
from litellm_accel.verify.observe import outcome
from releases import routers_in_python

MODES = ("acompletion", "completion", "arouter", "router")
USERS = [f"user-{number}" for number in range(24)]
INSIDE = [user for user in USERS if hot.gate.place_of(user) < 0.5 * 2**32]


@pytest.fixture(autouse=True)
def proven(restored: None) -> Iterator[None]:
    with without_callbacks(), records.proving("chat"), records.proving("streaming"):
        yield


def calls(provider: Provider, mode: str, users: list[str]) -> list[Any]:
    """Return the results of calls, one for each user."""
    deployment = {"model": "openai/gpt-4o-mini", "api_key": "sk-1", "api_base": provider.url}
    router = litellm.Router(model_list=[{"model_name": "g", "litellm_params": deployment, "model_info": {"id": "1"}}])

    passed = [
        {"messages": [{"role": "user", "content": f"Question {number}"}], "metadata": {"user_id": user}}
        for number, user in enumerate(users)
    ]
    if mode == "completion":
        return [litellm.completion(**deployment, **each) for each in passed]
    if mode == "router":
        return [router.completion(model="g", **each) for each in passed]

    async def run() -> list[Any]:
        if mode == "acompletion":
            return [await litellm.acompletion(**deployment, **each) for each in passed]
        return [await router.acompletion(model="g", **each) for each in passed]

    return asyncio.run(run())


@pytest.mark.parametrize("mode", MODES)
def test_a_rollout_serves_the_same_users_each_time(provider: Provider, mode: str) -> None:
    stock = [masks.mask(outcome(result)) for result in calls(provider, mode, USERS)]
    config = {"components": {"chat": {"mode": "rollout", "percent": 50, "key": "metadata.user_id"}}, "statistics": True}
    litellm_accel.accelerate(["chat", "connection_pool"], strict=True, config=config)
    found = [masks.mask(outcome(result)) for result in calls(provider, mode, USERS)]
    assert found == stock
    row = litellm_accel.status()["chat"]
    assert row.bypassed == len(USERS) - len(INSIDE)
    assert len(INSIDE) / 2 < row.served < len(INSIDE), "some are learned from"
    for user in USERS[:8]:
        before = litellm_accel.status()["chat"].bypassed
        calls(provider, mode, [user])
        assert litellm_accel.status()["chat"].bypassed - before == (user not in INSIDE), user
    sides = activation._activations["chat"].gate.sides
    assert sides is not None
    row = litellm_accel.status()["chat"]
    assert (sides[0].calls, sides[2].calls) == (row.served, row.bypassed)
    assert sum(side.calls for side in sides) == len(USERS) + 8
    assert all(side.cpu_nanoseconds < side.nanoseconds for side in sides if side.cpu_calls > 10)


@pytest.mark.parametrize("mode", ["acompletion", "completion"])
def test_a_share_of_streams_is_served_and_all_are_equal(provider: Provider, mode: str) -> None:
    def streams(users: list[str]) -> list[Any]:
        deployment = {"model": "openai/gpt-4o-mini", "api_key": "sk-1", "api_base": provider.url, "stream": True}

        async def run() -> list[Any]:
            found = []
            for user in users:
                passed = {"messages": [{"role": "user", "content": "Hi"}], "metadata": {"user_id": user}}
                if mode == "acompletion":
                    stream: Any = await litellm.acompletion(**deployment, **passed)
                    chunks = [chunk async for chunk in stream]
                else:
                    chunks = list(litellm.completion(**deployment, **passed))
                found.append([masks.mask(outcome(chunk)) for chunk in chunks])
            return found

        return asyncio.run(run())

    stock = streams(USERS)
    config = {"components": {"streaming": {"mode": "rollout", "percent": 50, "key": "metadata.user_id"}}}
    litellm_accel.accelerate(["chat", "connection_pool", "streaming"], strict=True, config=config)
    streams(INSIDE[:1] * 2)
    for user in INSIDE[:3]:
        before = litellm_accel.status()["streaming"]
        assert streams([user]) == [stock[0]]
        now = litellm_accel.status()["streaming"]
        assert now.served > before.served and now.bypassed == before.bypassed
    for user in [user for user in USERS if user not in INSIDE][:3]:
        before = litellm_accel.status()["streaming"]
        assert streams([user]) == [stock[0]]
        now = litellm_accel.status()["streaming"]
        assert now.served == before.served and now.bypassed > before.bypassed
    litellm_accel.configure(components={"streaming": {"mode": "on"}})
    before = litellm_accel.status()["streaming"]
    assert streams(USERS[:4]) == stock[:4]
    assert litellm_accel.status()["streaming"].bypassed == before.bypassed


def test_a_stream_that_has_begun_stays_on_its_side_when_the_share_grows(provider: Provider) -> None:
    deployment = {"model": "openai/gpt-4o-mini", "api_key": "sk-1", "api_base": provider.url, "stream": True}
    said: Any = [{"role": "user", "content": "Hi"}]
    stock = "".join(chunk.choices[0].delta.content or "" for chunk in litellm.completion(messages=said, **deployment))
    litellm_accel.accelerate(config={"components": {"streaming": {"mode": "rollout", "percent": 0.001}}})
    stream = litellm.completion(messages=said, **deployment)
    text = next(stream).choices[0].delta.content or ""
    litellm_accel.configure(components={"streaming": {"percent": 100}})
    text += "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert text == stock
    stream = litellm.completion(messages=said, **deployment)
    text = next(stream).choices[0].delta.content or ""
    litellm_accel.configure(enabled=False)
    assert text + "".join(chunk.choices[0].delta.content or "" for chunk in stream) == stock


def test_a_shadow_of_tokens_prices_and_choices_finds_no_difference(provider: Provider) -> None:
    names = ("tokens", "cost") if seams.has_core_of_its_own() else ("tokens", "cost", "routing")
    config = {"components": {name: {"mode": "shadow"} for name in names}}
    litellm_accel.accelerate(names, strict=True, config=config)
    deployments = [
        {"model_name": "g", "litellm_params": {"model": f"openai/m{number}", "api_key": "k", "weight": number + 1}}
        for number in range(5)
    ]
    router = litellm.Router(model_list=deployments)
    for number in range(20):
        litellm.token_counter(model="gpt-4o", messages=[{"role": "user", "content": f"Hello {number}"}])
        usage = litellm.Usage(prompt_tokens=number, completion_tokens=1, total_tokens=number + 1)
        litellm.completion_cost(completion_response=litellm.ModelResponse(model="gpt-4o", usage=usage))
        router.get_available_deployment("g")
        asyncio.run(router.async_get_available_deployment("g", request_kwargs={"metadata": {}}))
    gates = {name: activation._activations[name].gate for name in names}
    until = time.monotonic() + 10
    while gates["cost"].shadow.worker.waiting and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.1)
    for name, gate in gates.items():
        assert gate.served == 0 and gate.bypassed >= 20
        assert gate.shadow.different == 0 and gate.shadow.faults == 0, gate.shadow.to_dict()
        assert gate.shadow.equal >= 18, name


@routers_in_python
def test_a_shadow_sees_a_choice_that_differs(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    litellm_accel.accelerate("routing", strict=True, config={"components": {"routing": {"mode": "shadow"}}})
    deployments = [
        {"model_name": "g", "litellm_params": {"model": f"openai/m{number}", "api_key": "k"}} for number in range(3)
    ]
    router = litellm.Router(model_list=deployments)
    shadow = activation._activations["routing"].gate.shadow
    router.get_available_deployment("g")
    assert (shadow.equal, shadow.different) == (1, 0)
    replaced = router.get_available_deployment.__func__.__code__.co_consts
    call = next(constant for constant in replaced if hasattr(constant, "beside"))
    choose = call.beside._choose
    monkeypatch.setattr(call.beside, "_choose", lambda *args: {**choose(*args), "another": "deployment"})
    chosen = router.get_available_deployment("g")
    assert (shadow.equal, shadow.different) == (1, 1) and "another" not in chosen
    assert shadow.differences[0].function == "get_available_deployment"
