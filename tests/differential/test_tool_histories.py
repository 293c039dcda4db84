"""Streams of conversations that hold calls of tools: LiteLLM's copies of messages share what they do in stock."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import litellm
import pytest

import litellm_accel
from fastpath_switch import Switch
from litellm_accel.provider import Provider
from litellm_accel.verify import records

CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "done"}
HISTORIES = {
    "a text and a call": [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Yes", "tool_calls": [CALL]},
        RESULT,
    ],
    "no text and two calls": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": None, "tool_calls": [CALL, {**CALL, "id": "call_2"}]},
        RESULT,
        {**RESULT, "tool_call_id": "call_2"},
    ],
}


pytestmark = pytest.mark.usefixtures("quiet")


def shared(logging: Any, messages: list[Any]) -> list[Any]:
    """Which of LiteLLM's lists of the messages, and of the caller's, hold the same messages and the same calls."""
    details = logging.model_call_details
    kept = [messages, details.get("input"), details.get("messages"), logging.messages]
    kept.append(logging.llm_caching_handler.request_kwargs.get("messages"))
    numbers: dict[int, int] = {}
    return [
        [
            (
                numbers.setdefault(id(message), len(numbers)),
                numbers.setdefault(id(message.get("tool_calls")), len(numbers)),
            )
            for message in held or ()
        ]
        for held in kept
    ]


def play(provider: Provider, asynchronous: bool, messages: list[Any], tools: bool) -> list[Any]:
    seen: list[Any] = []
    provider.clear()

    async def one() -> None:
        said = copy.deepcopy(messages)
        arguments: dict[str, Any] = {"model": "openai/gpt-4o-mini", "messages": said, "stream": True, "api_key": "sk-1"}
        arguments |= {"api_base": provider.url, **({"tools": [TOOL]} if tools else {})}
        stream: Any = await litellm.acompletion(**arguments) if asynchronous else litellm.completion(**arguments)
        seen.append(shared(stream.logging_obj, said))
        chunks = [chunk async for chunk in stream] if asynchronous else list(stream)
        seen.append([chunk.choices[0].delta.content for chunk in chunks])
        seen.append(said == messages)

    async def calls() -> None:
        for _ in range(5):
            await one()

    asyncio.run(calls())
    return [*seen, [(sent.headers, sent.body) for sent in provider.requests()]]


@pytest.mark.parametrize("tools", [False, True])
@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_streams_after_calls_of_tools(provider: Provider, asynchronous: bool, history: str, tools: bool) -> None:
    expected = play(provider, asynchronous, HISTORIES[history], tools)
    switch = Switch()
    with records.proving("streaming"), litellm_accel.accelerated("streaming", strict=True), switch.on() as pipeline:
        play(provider, asynchronous, [{"role": "user", "content": "Hello"}], False)  # the first call loads modules
        pipeline.gate.clear()
        assert play(provider, asynchronous, HISTORIES[history], tools) == expected
    switch.stop()
    assert pipeline.gate.served == 3
    assert pipeline.gate.declined == {"learned from": 2}
    assert pipeline.gate.faults == 0, pipeline.gate.last_fault
