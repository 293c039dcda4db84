"""With ``turn_off_message_logging`` callbacks are told of served calls what stock tells them: that there was a text."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import litellm
import pytest
from litellm.integrations.custom_logger import CustomLogger

from fastpath_switch import Switch, without_callbacks
from litellm_accel.provider import Provider

_CALLS = 12
_USER = "one of these tests"  # LiteLLM may tell in one event loop of calls in another
# What differs from call to call.
_OWN = ("id", "startTime", "endTime", "completionStartTime", "response_time", "trace_id", "litellm_call_id")


class Listener(CustomLogger):  # type: ignore[misc]
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.log_success_event(kwargs, response_obj, start_time, end_time)

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        if kwargs["optional_params"].get("user") != _USER:
            return
        payload = {name: value for name, value in kwargs["standard_logging_object"].items() if name not in _OWN}
        payload.pop("hidden_params")
        answer = payload.pop("response")
        said = [answer["choices"], answer["usage"], response_obj.choices[0].message.model_dump()]
        self.told.append((kwargs["messages"], kwargs["input"], kwargs.get("prompt"), payload, said))


@pytest.fixture(autouse=True)
def withheld(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with without_callbacks():
        monkeypatch.setattr(litellm, "turn_off_message_logging", True)
        yield


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("threads", [False, True])
async def test_texts_are_withheld(provider: Provider, threads: bool, recorded: bool) -> None:
    base = provider.at('plain{"profile": "openai"}')

    async def play(switch: Switch | None) -> list[Any]:
        listener = Listener()
        with without_callbacks():
            litellm.callbacks.append(listener)
            if switch is not None:
                switch.start()
            for number in range(_CALLS):
                call = {"model": "openai/gpt-4o", "api_base": base, "api_key": "sk-test", "user": _USER}
                call["messages"] = [{"role": "user", "content": f"hello {number}"}] * (1 + number % 2)
                _ = litellm.completion(**call) if threads else await litellm.acompletion(**call)
                while len(listener.told) <= number:  # threads of LiteLLM's may overtake each other
                    await asyncio.sleep(0.001)
        return listener.told

    stock, switch = await play(None), Switch(recorded=recorded)
    try:
        assert await play(switch) == stock
    finally:
        switch.stop()
    assert "hello" not in repr(stock)
    assert switch.gate.served >= _CALLS - 6, switch.gate.declined
    assert switch.gate.faults == 0


async def test_the_same_messages_do_not_show_it(provider: Provider) -> None:
    """They might be what callbacks are always told in their place."""
    listener, switch = Listener(), Switch()
    litellm.callbacks.append(listener)
    base = provider.at('plain{"profile": "openai"}')
    messages = [{"role": "user", "content": "hello"}]
    switch.start()
    try:
        for _ in range(4):
            await litellm.acompletion(
                model="openai/gpt-4o", api_base=base, api_key="sk-test", messages=messages, user=_USER
            )
        while len(listener.told) < 4:
            await asyncio.sleep(0.001)
    finally:
        switch.stop()
    assert switch.gate.served == switch.gate.faults == 0
