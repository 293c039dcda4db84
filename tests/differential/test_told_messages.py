"""What is told of message objects: to callbacks, with metadata, in streams, over the turns of an agent's loop."""

from __future__ import annotations

import asyncio
import copy
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import litellm
import pytest
from litellm import Router
from litellm.integrations.custom_logger import CustomLogger
from openai.types.chat import ChatCompletionMessage
from pydantic import BaseModel

import litellm_accel
from fastpath_switch import Switch
from litellm_accel.provider import Provider
from litellm_accel.verify import records

CALLS, LOOPS, TURNS = 6, 3, 6
ASKED = {"role": "user", "content": "Hello"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "1"}
PART = {"type": "text", "text": "x"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
ASKS_TOOL = {"role": "user", "content": "answer as: content-and-tools"}
VIAS = ["acompletion", "completion", "arouter", "router"]


def answered(**more: Any) -> Any:
    return litellm.Message(role="assistant", **{"content": "Hi", "provider_specific_fields": {"refusal": None}, **more})


def called() -> Any:
    return answered(content=None, tool_calls=[CALL])


MESSAGES: dict[str, Callable[[], list[Any]]] = {
    "an answer": lambda: [ASKED, answered(), ASKED],
    "calls and results": lambda: [ASKED, called(), RESULT],
    "two calls": lambda: [ASKED, answered(tool_calls=[CALL, {**CALL, "id": "call_2"}]), RESULT, RESULT],
    "dumped ones and objects": lambda: [ASKED, called().model_dump(), RESULT, called(), RESULT, answered(), ASKED],
    "thoughts": lambda: [
        ASKED,
        answered(reasoning_content="r", thinking_blocks=[{"type": "thinking", "thinking": "t", "signature": "s"}]),
        ASKED,
    ],
    "objects of calls": lambda: [
        ASKED,
        {"role": "assistant", "content": "", "tool_calls": called().tool_calls},
        RESULT,
    ],
    "objects of the SDK": lambda: [
        ASKED,
        ChatCompletionMessage(role="assistant", content=None, tool_calls=[CALL]),
        RESULT,
        ChatCompletionMessage(role="assistant", content="Hi"),
        ASKED,
    ],
    "parts and an object": lambda: [{"role": "user", "content": [PART, PART]}, called(), {**RESULT, "content": [PART]}],
    "a developer": lambda: [{"role": "developer", "content": "Be brief."}, answered(), ASKED],
    "texts and images": lambda: [
        {"role": "system", "content": "Look."},
        {"role": "user", "content": [copy.deepcopy(PART), copy.deepcopy(IMAGE), copy.deepcopy(IMAGE)]},
        {"role": "user", "content": [copy.deepcopy(PART)]},
        {"role": "user", "content": [copy.deepcopy(IMAGE)]},
    ],
    "texts and parts": lambda: [
        {"role": "system", "content": "Look."},
        {"role": "user", "content": [copy.deepcopy(PART), copy.deepcopy(PART)]},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": [copy.deepcopy(PART)]},
    ],
    "an image that is rewritten": lambda: [
        {"role": "user", "content": [{"type": "image_url", "image_url": "https://a/b.png"}]},
        answered(),
        ASKED,
    ],
}


pytestmark = pytest.mark.usefixtures("quiet")


def plain(value: Any) -> Any:
    """What a value is made of, its classes included."""
    if isinstance(value, BaseModel):
        return type(value).__qualname__, plain(vars(value)), plain(value.__pydantic_extra__)
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def shared(*lists: Any) -> list[Any]:
    """Which objects in these lists are one and the same."""
    numbers: dict[int, int] = {}

    def numbered(value: Any) -> Any:
        items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        if items is None:
            return numbers.setdefault(id(value), len(numbers)) if isinstance(value, BaseModel) else None
        return numbers.setdefault(id(value), len(numbers)), list(map(numbered, items))

    return list(map(numbered, lists))


class Told(CustomLogger):  # type: ignore[misc]
    """Keeps what it is told of messages, and which of it are the caller's own objects."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []
        self.given: list[Any] = []

    def _tell(self, kwargs: Any, response: Any) -> None:
        given, details = self.given, kwargs["litellm_params"]
        sent = (kwargs.get("additional_args") or {}).get("complete_input_dict") or {}
        payload = kwargs["standard_logging_object"]["messages"]
        lists = [given, kwargs["messages"], kwargs.get("input"), payload]
        if isinstance(sent, dict):
            lists.append(sent.get("messages"))
        answer = response.choices[0].message.model_dump()
        usage = {name: kwargs["standard_logging_object"][name] for name in ("prompt_tokens", "response_cost", "model")}
        metadata = (details.get("metadata") or {}).get("user")
        self.told.append((plain(lists), shared(*lists), answer, usage, metadata))

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            self._tell(kwargs, response_obj)

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self._tell(kwargs, response_obj)


class Player:
    """Plays calls one after another, each until the logger has been told of it."""

    def __init__(self, provider: Provider, via: str, is_stream: bool, more: dict[str, Any] | None = None) -> None:
        deployment = {"model": "openai/gpt-4o-mini", "api_key": "sk-1", "api_base": provider.url}
        self.arguments: dict[str, Any] = deployment
        self.server: Any = litellm
        if "router" in via:
            model = {"model_name": "g", "litellm_params": deployment, "model_info": {"id": "d"}}
            self.server, self.arguments = Router(model_list=[model]), {"model": "g"}
        self.provider = provider
        self.in_loop = via.startswith("a")
        self.is_stream = is_stream
        self.more = more or {}
        self.logger = Told()

    def __enter__(self) -> Player:
        self.provider.clear()
        litellm.callbacks.append(self.logger)
        return self

    def __exit__(self, *_: Any) -> None:
        litellm.callbacks.remove(self.logger)
        for held in (litellm.success_callback, litellm._async_success_callback, litellm.failure_callback):
            held[:] = [callback for callback in held if callback is not self.logger]

    async def call(self, messages: list[Any]) -> Any:
        """Return the answer's message."""
        logger, before = self.logger, len(self.logger.told)
        logger.given = messages
        arguments = {**self.arguments, **copy.deepcopy(self.more), "messages": messages}
        if self.is_stream:
            arguments["stream"] = True
        if self.in_loop:
            result = await self.server.acompletion(**arguments)
            chunks = [chunk async for chunk in result] if self.is_stream else None
        else:
            result = await asyncio.to_thread(self.server.completion, **arguments)
            chunks = await asyncio.to_thread(list, result) if self.is_stream else None
        if chunks is not None:
            result = litellm.stream_chunk_builder(chunks, messages=messages)
        deadline = time.monotonic() + 10
        while len(logger.told) == before and time.monotonic() < deadline:
            await asyncio.sleep(0.005)
        assert len(logger.told) > before
        return result.choices[0].message

    def seen(self) -> Any:
        """Return what the logger was told and the provider got, without generated identifiers."""
        sent = [(request.method, request.path, request.body) for request in self.provider.requests()]
        return re.sub(r"0x[0-9a-f]+", "", repr(self.logger.told)), sent


def same_as_stock(play: Callable[[], Any]) -> Switch:
    """Assert that ``play`` shows the same on stock and on the fast path, and return what the fast path did."""
    expected = play()
    switch = Switch()
    with records.proving("streaming"), litellm_accel.accelerated("streaming", strict=True), switch.on():
        found = play()
    switch.stop()
    for one, other in zip(found, expected, strict=True):
        assert one == other
    assert switch.gate.faults == 0, switch.gate.last_fault
    return switch


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("via", VIAS)
@pytest.mark.parametrize("name", MESSAGES)
def test_callbacks_are_told_of_objects(provider: Provider, name: str, via: str, is_stream: bool) -> None:
    def play() -> Any:
        async def calls() -> Any:
            left = []
            for number in range(CALLS + 2):
                messages = [ASKED.copy()] if number < 2 else copy.deepcopy(MESSAGES[name]())
                await player.call(messages)
                left.append(plain(messages))
            return left

        with Player(provider, via, is_stream) as player:
            return asyncio.run(calls()), *player.seen()

    switch = same_as_stock(play)
    assert switch.gate.served >= CALLS - 3, switch.gate.declined


@pytest.mark.parametrize("via", ["acompletion", "completion"])
def test_conversations_in_parts_and_others_are_told_apart(provider: Provider, via: str) -> None:
    def play() -> Any:
        async def calls() -> None:
            for number in range(16):
                parts = {"role": "user", "content": [copy.deepcopy(PART)]}
                other = {"role": "user", "content": [copy.deepcopy(PART)]} if number % 2 else {**ASKED}
                await player.call([ASKED.copy()] if number < 2 else [other, parts])

        with Player(provider, via, False) as player:
            asyncio.run(calls())
            return player.seen()

    assert same_as_stock(play).gate.served >= 6


@pytest.mark.parametrize("via", VIAS)
def test_metadata_goes_with_objects(provider: Provider, via: str) -> None:
    def play() -> Any:
        async def calls() -> Any:
            left = []
            for number in range(CALLS + 2):
                messages = [ASKED.copy()] if number < 2 else copy.deepcopy(MESSAGES["dumped ones and objects"]())
                await player.call(messages)
                left.append(plain(messages))
            return left

        with Player(provider, via, False, {"metadata": {"user": "u"}}) as player:
            return asyncio.run(calls()), *player.seen()

    switch = same_as_stock(play)
    assert switch.gate.served >= CALLS - 3, switch.gate.declined


@pytest.mark.parametrize("kept", ["objects", "dumped in turn"])
@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("via", VIAS)
def test_a_loop_of_tools(provider: Provider, via: str, is_stream: bool, kept: str) -> None:
    """The same objects go into each later turn of a growing conversation."""

    def play() -> Any:
        async def loops() -> Any:
            left = []
            for _ in range(LOOPS):
                messages: list[Any] = [ASKS_TOOL.copy()]
                for turn in range(TURNS):
                    message = await player.call(messages)
                    assert message.tool_calls
                    messages.append(message.model_dump() if kept != "objects" and turn % 2 else message)
                    identifier = message.tool_calls[0].id
                    result = {"role": "tool", "tool_call_id": identifier, "content": ASKS_TOOL["content"]}
                    messages += [{**result, "tool_call_id": call.id} for call in message.tool_calls]
                left.append(plain(messages))
            return left

        with Player(provider, via, is_stream, {"tools": [TOOL]}) as player:
            return asyncio.run(loops()), *player.seen()

    switch = same_as_stock(play)
    assert switch.gate.served >= LOOPS * TURNS // 2, switch.gate.declined


def test_what_the_caller_appends_meanwhile_is_not_told(provider: Provider) -> None:
    """LiteLLM copies the list of messages when a call begins; here the caller appends to it before the stream opens."""

    def play() -> Any:
        async def calls() -> Any:
            left = []
            for number in range(CALLS):
                messages = copy.deepcopy(MESSAGES["an answer"]())
                call = asyncio.ensure_future(player.call(messages))
                await asyncio.sleep(0)
                if number >= 3:  # two show what is told, and the first loads modules
                    messages.append(ASKED)
                await call
                left.append(plain(messages))
            return left

        with Player(provider, "acompletion", True) as player:
            answers = asyncio.run(calls())
            return answers, *player.seen()

    switch = same_as_stock(play)
    assert switch.gate.served >= CALLS - 3, switch.gate.declined
