"""Token counting, stock against accelerated: conversations, tools, odd values, every kind of model, both backends."""

from __future__ import annotations

import copy
import enum
import inspect
import itertools
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import litellm
import pytest
import tiktoken
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litellm.litellm_core_utils import token_counter as counter
from litellm.types.utils import ChatCompletionMessageToolCall, Function, Message

import litellm_accel
from litellm_accel import _backend, patching
from litellm_accel.components import tokens
from litellm_accel.stock import seams

DEFAULTS: dict[str, Any] = {
    "model": "",
    "custom_tokenizer": None,
    "text": None,
    "messages": None,
    "count_response_tokens": False,
    "tools": None,
    "tool_choice": None,
    "use_default_image_token_count": False,
    "default_token_count": None,
}
# One of each way a model finds its tokenizer and its message arithmetic.
MODELS = (
    "",
    "gpt-4o",
    "gpt-4",
    "gpt-3.5-turbo-0301",
    "gpt-35-turbo",
    "azure/gpt-41",
    "o3-mini",
    "text-davinci-003",
    "command-r",
    "mistral/mistral-large-latest",
    "nobody/knows-this",
    "\u017ft\ud800range",
    None,
)


def outcome(function: Callable[..., Any], *arguments: Any) -> tuple[Any, ...]:
    """What a caller can tell: the result and its type, or the exception and its words."""
    try:
        result = function(*copy.deepcopy(arguments))
    except Exception as error:
        return type(error), str(error)
    return type(result), result


class Pair:
    """LiteLLM's functions and their accelerated counterparts, side by side and not installed."""

    def __init__(self) -> None:
        self.gate = _backend.load("gate").Gate("tokens")
        self.gate.switch(True)
        self.pairs = {}
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(tokens, "is_decoding", lambda: True)  # compared even where it stays off
            replacements = tokens.Tokens().replacements(self.gate)
        for replacement in replacements:
            stock = patching.stock_copy(patching.resolve(replacement.target))
            self.pairs[stock.__name__] = (stock, replacement.build(stock))

    def check(self, name: str, *arguments: Any, served: bool | None = None) -> Any:
        """Require one outcome of both; with ``served``, also that the accelerated path served it, or did not."""
        before = self.gate.served
        stock, accelerated = self.pairs[name]
        arguments = self.completed(stock, arguments)
        expected = outcome(stock, *arguments)
        assert outcome(accelerated, *arguments) == expected, arguments
        assert self.gate.faults == 0, self.gate.last_fault
        if served is not None:
            assert (self.gate.served > before) == served, (arguments, self.gate.declined)
        return expected[1]

    @staticmethod
    def completed(stock: Callable[..., Any], arguments: Iterable[Any]) -> tuple[Any, ...]:
        """Return ``arguments`` with the defaults of what else stock's function takes in the installed release."""
        given = tuple(arguments)
        others = tuple(inspect.signature(stock).parameters.values())[len(given) :]
        return (*given, *(parameter.default for parameter in others))

    def count(self, served: bool | None = None, **call: Any) -> Any:
        return self.check("token_counter", *{**DEFAULTS, **call}.values(), served=served)


reaching = pytest.mark.skipif(
    not hasattr(counter, "messages_reach_token_count"), reason="the installed LiteLLM does not ask this"
)


@pytest.fixture
def pair(hot: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> Pair:
    # Some releases remember which tokenizer a model has, also what an earlier test had put there.
    getattr(litellm.utils._select_tokenizer_helper, "cache_clear", lambda: None)()
    for name in ("bindings", "gate", "token_counter"):
        monkeypatch.setitem(_backend._modules, name, hot(name))
    return Pair()


# ---- generated conversations ----

texts = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [
            "",
            "Hello, world!",
            "The quick brown fox jumps over the lazy dog. " * 40,
            "東京は夜の七時 — it's 7 o'clock 😀",
            "<|endoftext|> is not special here",
            "\ud83d\ude00 in halves, \udfff alone",
            "x" * 2500,
        ]
    ),
    st.text(st.characters(codec=None), max_size=20),
)


class Role(str, enum.Enum):
    USER = "user"


class Text(str):
    """A string of a type of its own."""


odd = st.sampled_from(
    [None, 0, -1, 3.5, True, [], {}, (), "", b"bytes", [None], {"a": 1}, Role.USER, Text("own type"), object]
)
numbers = st.integers(-3, 99)
call_arguments = st.one_of(
    texts, st.sampled_from(['{"a": 1}', "{}"]), st.dictionaries(st.text(max_size=3), numbers), odd
)
call_dicts = st.one_of(
    st.builds(
        lambda arguments, name: {"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}},
        call_arguments,
        texts,
    ),
    st.sampled_from(
        [
            {"id": "c", "function": {"name": "no arguments"}},
            {"id": "c"},
            {"function": None},
            ChatCompletionMessageToolCall(id="c", function=Function(name="f", arguments='{"city": "Oslo"}')),
        ]
    ),
)
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
images = st.one_of(
    st.sampled_from([PIXEL, "https://example.invalid/a.png", "", " ", "no image", None, 3]),
    st.builds(lambda detail: {"url": PIXEL, "detail": detail}, st.sampled_from(["low", "high", "auto", "odd", None])),
    st.sampled_from([{"url": ""}, {"url": PIXEL}, {"detail": "low"}, {}, {"url": "no image", "detail": "high"}]),
)
sources = st.one_of(
    st.sampled_from(
        [
            {"type": "base64", "media_type": "image/png", "data": "AAAA"},
            {"type": "base64", "data": ""},
            {"type": "url", "url": "https://example.invalid/b.png"},
            {"type": "file", "file_id": "f"},
            {"type": "text", "media_type": "text/plain", "data": "a plain document"},
            {"type": "content", "content": "string content"},
            {},
        ]
    ),
    odd,
)


def blocks(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Content parts that hold others."""
    inner = st.lists(parts, max_size=3)
    return st.one_of(
        st.builds(
            lambda content: {"type": "tool_result", "tool_use_id": "t", "content": content},
            st.one_of(inner, texts, odd),
        ),
        st.builds(
            lambda title, source: {"type": "document", "title": title, "context": "c", "source": source},
            st.one_of(texts, odd),
            st.one_of(sources, st.builds(lambda content: {"type": "content", "content": content}, inner)),
        ),
    )


parts = st.recursive(
    st.one_of(
        texts,
        st.builds(lambda text: {"type": "text", "text": text}, st.one_of(texts, odd)),
        st.builds(lambda image: {"type": "image_url", "image_url": image}, images),
        st.builds(lambda source: {"type": "image", "source": source}, sources),
        st.builds(
            lambda data: {"type": "file", "file": {"filename": "f.txt", "file_data": data}}, st.one_of(texts, odd)
        ),
        st.builds(
            lambda given: {"type": "tool_use", "id": "t", "name": "n", "input": given},
            st.one_of(st.dictionaries(texts, numbers, max_size=2), odd),
        ),
        st.builds(lambda text: {"type": "thinking", "thinking": text, "signature": "s"}, st.one_of(texts, odd)),
        st.builds(lambda name: {"type": "tool_reference", "tool_name": name}, st.one_of(texts, odd)),
        st.sampled_from([{"type": "redacted_thinking", "data": "x"}, {"type": "input_audio"}, {"text": "no type"}]),
        st.sampled_from([{"type": None}, {"type": "text"}]),
        odd,
    ),
    blocks,
    max_leaves=4,
)
search_results = st.lists(
    st.builds(
        lambda title, text: {
            "title": title,
            "source": "s",
            "content": [{"text": text}],
            "citations": {"enabled": True},
        },
        st.one_of(texts, odd),
        st.one_of(texts, odd),
    ),
    max_size=2,
)
plain_messages = st.builds(
    lambda role, content: {"role": role, "content": content},
    st.sampled_from(["system", "user", "assistant", "tool", Role.USER]),
    texts,
)
messages = st.one_of(
    plain_messages,
    st.fixed_dictionaries(
        {"role": st.one_of(st.sampled_from(["system", "user", "assistant", "developer"]), odd)},
        optional={
            "content": st.one_of(texts, st.lists(parts, max_size=4), odd),
            "name": st.one_of(texts, odd),
            "tool_calls": st.one_of(st.lists(call_dicts, max_size=3), odd),
            "function_call": st.one_of(
                call_arguments.map(lambda arguments: {"name": "f", "arguments": arguments}), odd
            ),
            "search_results": st.one_of(search_results, odd),
            "cache_control": st.just({"type": "ephemeral"}),
            "reasoning_content": texts,
            "unknown": odd,
        },
    ),
    st.builds(lambda content: Message(role="assistant", content=content), texts),
    st.builds(
        lambda content: Message(
            role="assistant",
            content=content,
            tool_calls=[{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        ),
        st.one_of(texts, st.none()),
    ),
    st.sampled_from([None, "a string", 3, [], litellm.Usage(prompt_tokens=1)]),
)
schemas = st.recursive(
    st.sampled_from(
        [
            {"type": "string"},
            {"type": "string", "enum": ["a", "b"]},
            {"type": "integer", "enum": [1, 2]},
            {"type": "number"},
            {"type": "boolean"},
            {"type": "null"},
            {"type": ["string", "null"]},
            {"anyOf": [{"type": "string"}]},
            {},
        ]
    ),
    lambda inner: st.one_of(
        inner.map(lambda items: {"type": "array", "items": items}),
        st.just({"type": "array"}),
        st.dictionaries(st.sampled_from(["a", "b c", "ü"]), inner, max_size=3).map(
            lambda properties: {"type": "object", "properties": properties, "required": ["a"]}
        ),
    ),
    max_leaves=5,
)
parameters = st.dictionaries(st.sampled_from(["city", "unit", "when"]), schemas, max_size=3).map(
    lambda properties: {"type": "object", "properties": properties, "required": ["city"]}
)
tool_definitions = st.one_of(
    st.builds(
        lambda name, description, given: {
            "type": "function",
            "function": {"name": name, "description": description, "parameters": given},
        },
        st.one_of(texts, odd),
        st.one_of(texts, odd),
        st.one_of(parameters, odd),
    ),
    parameters.map(lambda given: {"name": "anthropic", "description": "d", "input_schema": given}),
    parameters.map(lambda given: {"function_declarations": [{"name": "gemini", "parameters": given}]}),
    odd,
)
tool_choices = st.one_of(
    st.sampled_from(
        [None, "auto", "none", "required", {"type": "function", "function": {"name": "f"}}, {}, {"function": {}}]
    ),
    odd,
)

generated = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@generated
@given(
    model=st.sampled_from(MODELS),
    conversation=st.one_of(st.lists(plain_messages, max_size=8), st.lists(messages, max_size=5)),
    as_tuple=st.booleans(),
    tools=st.one_of(st.none(), st.lists(tool_definitions, max_size=3), odd),
    tool_choice=tool_choices,
    response=st.sampled_from([False, True, None]),
    default_images=st.sampled_from([False, True, None]),
    default_token_count=st.sampled_from([None, None, 0, 7]),
)
def test_conversations(
    pair: Pair,
    model: Any,
    conversation: list[Any],
    as_tuple: bool,
    tools: Any,
    tool_choice: Any,
    response: Any,
    default_images: Any,
    default_token_count: Any,
) -> None:
    pair.count(
        model=model,
        messages=tuple(conversation) if as_tuple else conversation,
        tools=tools,
        tool_choice=tool_choice,
        count_response_tokens=response,
        use_default_image_token_count=default_images,
        default_token_count=default_token_count,
    )


@reaching
@generated
@given(
    conversation=st.lists(plain_messages, max_size=6),
    tools=st.one_of(st.none(), st.lists(tool_definitions, max_size=2)),
    threshold=st.integers(-1, 300),
)
def test_reaching_a_token_count(pair: Pair, conversation: list[Any], tools: Any, threshold: int) -> None:
    pair.check("messages_reach_token_count", "gpt-4o", conversation, threshold, tools, False)


@reaching
@generated
@given(
    conversation=st.lists(messages, max_size=4),
    threshold=st.one_of(st.integers(0, 60), odd),
    default_images=st.booleans(),
)
def test_reaching_a_token_count_with_odd_messages(
    pair: Pair, conversation: list[Any], threshold: Any, default_images: bool
) -> None:
    pair.check("messages_reach_token_count", "gpt-4", conversation, threshold, None, default_images)


@generated
@given(
    model=st.sampled_from(MODELS),
    text=st.one_of(texts, st.lists(st.one_of(texts, odd), max_size=4), odd),
    tools=st.sampled_from([None, [], [{}]]),
)
def test_text(pair: Pair, model: Any, text: Any, tools: Any) -> None:
    pair.count(model=model, text=text, tools=tools)


@generated
@given(model=st.sampled_from(MODELS), text=st.one_of(texts, odd))
def test_encode_and_decode(pair: Pair, model: Any, text: Any) -> None:
    ids = pair.check("encode", model, text, None)
    pair.check("decode", model, ids, None, True)
    if isinstance(ids, list):
        for cut in (ids[1:], ids[:-1], tuple(ids), [*ids, 10**6], [*ids, None], [*ids, -1]):
            pair.check("decode", model, cut, None, False)


@generated
@given(tools=st.lists(tool_definitions, max_size=3))
def test_tools_are_formatted_alike(hot: Callable[[str], ModuleType], tools: list[Any]) -> None:
    definitions = hot("function_definitions")

    def formatted() -> str:
        try:
            text: str = definitions.format_function_definitions(tools)
        except definitions.UnusualToolError:
            return counter._format_function_definitions(tools)
        return text

    assert outcome(formatted) == outcome(lambda: counter._format_function_definitions(tools))


def nested(depth: int, inner: dict[str, Any], **outer: Any) -> dict[str, Any]:
    for _ in range(depth):
        inner = {**outer, next(key for key, value in outer.items() if value is None): inner}
    return inner


@pytest.mark.parametrize("depth", [3, 60, 70, 100, 100_000])
def test_deep_schemas_and_content(pair: Pair, depth: int) -> None:
    array = nested(depth, {"type": "string"}, type="array", items=None)
    tool = {"name": "deep", "parameters": {"properties": {"a": array}}}
    stock, accelerated = pair.pairs["token_counter"]
    content: Any = [{"type": "text", "text": "deep"}]
    for _ in range(depth):
        content = [{"type": "tool_result", "tool_use_id": "t", "content": content}]
    for call in ({"messages": MESSAGES, "tools": [tool]}, {"messages": [{"role": "user", "content": content}]}):
        results = []
        for function in (stock, accelerated):  # without copies: copying would recurse
            try:
                results.append(function(*{**DEFAULTS, **call}.values()))
            except Exception as error:
                results.append(type(error))
        assert results[0] == results[1]
        del call


# ---- what is served, and what is not ----


def test_ordinary_calls_are_served(pair: Pair) -> None:
    conversation = [
        {"role": "system", "content": "You are terse."},
        {
            "role": "user",
            "name": "ann",
            "content": [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": PIXEL}],
        },
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]},
        Message(role="assistant", content="Seen."),
    ]
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"type": "string"}}}}}
    for model in ("", "gpt-4o", "gpt-3.5-turbo-0301", None):
        pair.count(model=model, text="Hello, world!", served=True)
        pair.count(model=model, text=["Hello", " world"], served=True)
        pair.count(model=model, messages=conversation, tools=[tool], tool_choice="none", served=True)
        pair.count(model=model, messages=conversation, count_response_tokens=True, served=True)
        pair.count(model=model, messages=[], served=True)
    pair.check("encode", "gpt-4o", "Hello", None, served=True)
    pair.check("decode", "gpt-4o", [9906], None, True, served=True)
    if "messages_reach_token_count" in pair.pairs:
        pair.check("messages_reach_token_count", "gpt-4o", conversation, 20, [tool], True, served=True)
    assert not pair.gate.declined


HIGH = [
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/a", "detail": "high"}}]}
]
NESTED = [{"role": "user", "content": [{"type": "tool_result", "content": HIGH[0]["content"]}]}]
DECLINED: list[tuple[str, dict[str, Any]]] = [
    ("custom tokenizer", {"text": "a", "custom_tokenizer": {"type": "openai_tokenizer", "tokenizer": None}}),
    ("custom tokenizer", {"text": "a", "custom_tokenizer": {}}),
    ("model of unusual type", {"text": "a", "model": Text("gpt-4o")}),
    ("model of unusual type", {"text": "a", "model": 4}),
    ("conflicting arguments", {"text": "a", "messages": []}),
    ("conflicting arguments", {"text": "a", "tools": [{}]}),
    ("text of unusual type", {"text": 3}),
    ("text of unusual type", {"text": ("a", "b")}),
    ("messages of unusual type", {}),
    ("messages of unusual type", {"messages": "hello"}),
    ("tools of unusual type", {"messages": [], "tools": ({},)}),
    ("image to download", {"messages": HIGH, "default_token_count": 3}),
    ("image to download", {"messages": NESTED}),
    ("huggingface tokenizer", {"text": "a", "model": "claude-2.1"}),
]


@pytest.mark.parametrize(("reason", "call"), DECLINED)
def test_unusual_calls_are_declined(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, reason: str, call: dict[str, Any]
) -> None:
    monkeypatch.setattr(counter, "get_image_dimensions", lambda data: (2000, 500))
    monkeypatch.setattr(litellm, "anthropic_models", {"claude-2.1"})
    pair.count(served=False, **call)
    assert pair.gate.declined == {reason: 1}


def test_an_image_is_downloaded_once(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    downloads: list[str] = []
    monkeypatch.setattr(counter, "get_image_dimensions", lambda data: downloads.append(data) or 1 / 0)
    _, accelerated = pair.pairs["token_counter"]
    assert outcome(accelerated, *{**DEFAULTS, "messages": HIGH}.values())[0] is ValueError
    assert downloads == ["http://127.0.0.1:9/a"]


def test_messages_that_can_be_read_once_reach_stock_whole(pair: Pair) -> None:
    stock, accelerated = pair.pairs["token_counter"]
    arguments = {**DEFAULTS, "messages": None}
    counts = [
        function(*{**arguments, "messages": ({"role": "user", "content": text} for text in "abc")}.values())
        for function in (stock, accelerated)
    ]
    assert counts[0] == counts[1]


# ---- models ----


def models_of_every_provider() -> Iterator[str]:
    by_provider = itertools.groupby(
        sorted(litellm.model_cost, key=lambda name: litellm.model_cost[name].get("litellm_provider", "")),
        key=lambda name: litellm.model_cost[name].get("litellm_provider", ""),
    )
    for _, names in by_provider:
        listed = list(names)
        yield from dict.fromkeys([*listed[:2], *listed[len(listed) // 2 :][:2], *listed[-2:]])
    yield from tiktoken.model.MODEL_TO_ENCODING
    yield from (f"{prefix}x" for prefix in tiktoken.model.MODEL_PREFIX_TO_ENCODING)
    yield from litellm.azure_llms


def test_models_of_every_provider(pair: Pair) -> None:
    message = [{"role": "user", "content": "Grüße, it's 12345 o'clock!", "name": "ann"}]
    served = declined = 0
    counting = seams.Counting(counter, litellm.utils)
    for model in models_of_every_provider():
        if model in litellm.anthropic_models or not counting.is_huggingface(model):
            before = pair.gate.served
            pair.count(model=model, messages=message)
            pair.check("encode", model, "Hello", None)
            served += pair.gate.served - before
        else:  # stock would download a tokenizer
            declined += 1
            stock, accelerated = pair.pairs["token_counter"]
            arguments = pair.completed(stock, {**DEFAULTS, "model": model, "messages": message}.values())
            assert accelerated.fast(*arguments) is _backend.load("gate").DECLINED
    assert served > 800, "most models are tiktoken's"
    assert declined > 5
    assert set(pair.gate.declined) <= {"huggingface tokenizer", "model known by its resemblance to others"}


def test_many_models_are_remembered_in_bounded_memory(pair: Pair) -> None:
    for number in range(1500):
        pair.count(model=f"model {number}", text="Hello", served=True)
        pair.check("encode", f"model {number}", "Hello", None, served=True)


# ---- what changes at run time ----

MESSAGES = [{"role": "user", "content": "Hello, wörld!", "name": "ann"}]


def test_registries_changed_in_place(pair: Pair) -> None:
    for name in ("mine/gpt-4o-35", "gpt-4o-of-mine", "davinci-002"):
        before = pair.count(model=name, messages=MESSAGES, served=True)
        litellm.open_ai_chat_completion_models.add(name)
        try:
            pair.count(model=name, messages=MESSAGES, served=True)
            litellm.azure_llms[name] = name
            pair.count(model=name, messages=MESSAGES, served=True)
        finally:
            litellm.open_ai_chat_completion_models.discard(name)
            litellm.azure_llms.pop(name, None)
        assert pair.count(model=name, messages=MESSAGES, served=True) == before
    litellm.anthropic_models.add("gpt-4o")
    try:
        pair.count(model="gpt-4o", messages=MESSAGES, served=False)
        pair.check("encode", "gpt-4o", "Hello", None, served=False)
    finally:
        litellm.anthropic_models.discard("gpt-4o")
    pair.count(model="gpt-4o", messages=MESSAGES, served=True)


def test_registries_and_tables_replaced(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "naïve café 東京都 " * 5
    assert pair.count(model="text-davinci-003", text=text, served=True)
    monkeypatch.setattr(litellm, "open_ai_chat_completion_models", {"text-davinci-003"})
    as_davinci = pair.count(model="text-davinci-003", text=text, served=True)
    monkeypatch.setitem(tiktoken.model.MODEL_TO_ENCODING, "text-davinci-003", "o200k_base")
    assert pair.count(model="text-davinci-003", text=text, served=True) != as_davinci
    monkeypatch.delitem(tiktoken.model.MODEL_TO_ENCODING, "text-davinci-003")
    monkeypatch.setitem(tiktoken.model.MODEL_PREFIX_TO_ENCODING, "text-dav", "p50k_base")
    assert pair.count(model="text-davinci-003", text=text, served=True) == as_davinci
    monkeypatch.setattr(tiktoken.model, "MODEL_PREFIX_TO_ENCODING", {})
    pair.count(model="text-davinci-003", text=text, served=True)


def test_settings(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm, "disable_token_counter", True)
    assert pair.count(model="gpt-4o", text="Hello", served=False) == 0
    monkeypatch.setattr(litellm, "disable_token_counter", 1)
    assert pair.count(model="gpt-4o", text="Hello", served=True) == 1
    monkeypatch.setattr(litellm, "disable_token_counter", False)
    monkeypatch.setattr(litellm, "anthropic_models", {"claude-2.1"})
    pair.count(model="claude-2.1", text="Hello", served=False)
    monkeypatch.setattr(litellm, "disable_hf_tokenizer_download", True)
    pair.count(model="claude-2.1", text="Hello", served=True)


def test_printing_and_logging_go_on(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(litellm, "open_ai_chat_completion_models", {"mine"})
    with monkeypatch.context() as patched:
        patched.setattr(litellm, "set_verbose", True)
        pair.count(model="mine", messages=MESSAGES, served=False)
        printed = capsys.readouterr().out.splitlines()  # later releases print nothing
        assert printed in ([], ["Warning: model not found. Using cl100k_base encoding."] * 2)
    pair.count(model="mine", messages=MESSAGES, served=True)
    with caplog.at_level(logging.DEBUG, logger="LiteLLM"):
        pair.count(model="gpt-4o", text="Hello", served=False)
        assert [record.message for record in caplog.records].count(
            "messages in token_counter: None, text in token_counter: Hello"
        ) == 2
    pair.count(model="gpt-4o", text="Hello", served=True)
    logger = logging.getLogger("LiteLLM of somebody else")
    logger.setLevel(logging.DEBUG)
    monkeypatch.setattr(counter, "verbose_logger", logger)
    pair.count(model="gpt-4o", text="Hello", served=False)


FOUR_TOKENS = SimpleNamespace(encode_batch_fast=lambda batch: [[1, 2, 3, 4]])
ONE_TOKEN = SimpleNamespace(encode=lambda text, disallowed_special: [1], name="one")
REPLACED = [
    (litellm.utils, "select_tokenizer", lambda model: {"type": "huggingface_tokenizer", "tokenizer": FOUR_TOKENS}),
    (litellm.utils, "convert_list_message_to_dict", lambda messages: []),
    (litellm.utils, "huggingface_tokenizer_kind", lambda model: None),
    (counter, "_get_count_function", lambda model, custom_tokenizer=None: lambda text: 17),
    (counter, "_get_exact_count_function", lambda model, custom_tokenizer=None: lambda text: 17),
    (counter, "_encoding_count", lambda encoding, text: 17),
    (counter, "_fix_model_name", lambda model: "gpt-4o"),
    (counter, "openai_tokenizer_encoding_name", lambda model: "o200k_base"),
    (counter, "_count_messages", lambda *arguments: 17),
    (counter, "_count_extra", lambda *arguments: 17),
    (counter, "_format_function_definitions", lambda tools: "none"),
    (tiktoken, "get_encoding", lambda name: ONE_TOKEN),
    (tiktoken.Encoding, "encode", lambda self, text, **keywords: [1, 2, 3]),
    (tiktoken.Encoding, "encode", mock.create_autospec(tiktoken.Encoding.encode, side_effect=tiktoken.Encoding.encode)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("owner", "name", "replacement"), REPLACED, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_whoever_replaces_what_we_bypass_wins(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, replacement: Any
) -> None:
    if not hasattr(owner, name):
        pytest.skip(f"the installed LiteLLM has no {name}")
    calls = [{"text": "Hello there, you"}, {"messages": MESSAGES, "tools": [{"name": "f"}]}]
    before = [pair.count(model="nobody/knows", served=True, **call) for call in calls]
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, replacement)
        for call in calls:
            pair.count(model="nobody/knows", served=False, **call)
            pair.count(model="gpt-4o", served=False, **call)
    assert [pair.count(model="nobody/knows", served=True, **call) for call in calls] == before


# ---- LiteLLM's limits ----

SECTIONED = ("deepseek-v4", "deepseek/deepseek-chat", "qwen3.5", "xai/grok-4-1-fast", "grok-4.3")


@pytest.mark.parametrize("model", SECTIONED)
def test_models_with_their_own_words_for_tools(pair: Pair, model: str) -> None:
    for tools in (None, [{"type": "function", "function": {"name": "f", "strict": False}}]):
        for choice in (None, "none", {"function": {"name": "f"}}):
            pair.count(model=model, messages=MESSAGES, tools=tools, tool_choice=choice)


UNUSUAL_CHOICES = [{"type": "none"}, {"name": "f"}, {"function": {}}, {"function": {"name": 3}}, {}, 7, ["none"], ""]


@pytest.mark.parametrize("choice", UNUSUAL_CHOICES)
def test_unusual_choices_of_tools(pair: Pair, choice: Any) -> None:
    pair.count(model="gpt-4o", messages=MESSAGES, tool_choice=choice)


COMPACTED = {"compaction_blocks": [{"type": "compaction", "content": "what has been said"}, {"type": "other"}, 3]}


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": "a", "provider_specific_fields": COMPACTED},
        {"role": "assistant", "content": "a", "provider_specific_fields": {"compaction_blocks": "none"}},
        {"role": "assistant", "content": [{"type": "compaction", "content": "summary"}]},
        {"role": "assistant", "content": [{"type": "text", "text": None}, {"type": "text"}]},
        {"role": "assistant", "content": [{"type": "web_search_result", "url": "u", "title": "t"}]},
        {"role": "user", "content": [{"type": "search_result", "source": "s", "title": "t", "content": []}]},
    ],
)
def test_parts_that_later_releases_count(pair: Pair, message: dict[str, Any]) -> None:
    for default in (None, 5):
        pair.count(model="gpt-4o", messages=[message], default_token_count=default)


NAMED = ("azure/gpt-5-mine", "eu/gpt-4o", "openai/gpt-41", "azure/eu/mine", "ft:gpt-4o:me", "mine")


def test_what_decides_a_tokenizer_may_change(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    prices = dict(litellm.model_cost)
    monkeypatch.setattr(litellm, "model_cost", prices)
    monkeypatch.setattr(litellm, "open_ai_chat_completion_models", {*litellm.open_ai_chat_completion_models})

    def counted() -> None:
        for name in NAMED:
            pair.count(model=name, messages=MESSAGES)

    counted()
    prices["azure/mine"] = {"litellm_provider": "azure", "mode": "chat"}
    counted()
    prices["azure/mine"]["mode"] = "embedding"
    counted()
    prices["mine"] = prices["azure/eu/mine"] = {"litellm_provider": "azure", "mode": "chat"}
    counted()
    litellm.open_ai_chat_completion_models.update(("mine", "eu/gpt-4o"))
    counted()


LONG = [
    "word " * 900,
    "x" * 5000,
    "añ東😀 " * 700,
    "\ud83d\ude00" * 700,
    "a" * 1024 + "b" * 1024,
    " " * 1025,
    "a\r\n" * 1000,
]


@pytest.mark.parametrize(
    ("chunk_chars", "max_exact_chars"),
    [((1024,), (4_000_000,)), ((7,), (100,)), ((1,), (1,)), ((4096,), (1023,)), ((3,), (5,))],
)
def test_pieces_and_extrapolation(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, chunk_chars: tuple[int], max_exact_chars: tuple[int]
) -> None:
    samples_long_texts = hasattr(counter, "_get_extrapolating_count_function")  # early releases do not
    monkeypatch.setattr(counter._get_tiktoken_count_function, "__defaults__", chunk_chars)
    if samples_long_texts:
        monkeypatch.setattr(counter._get_extrapolating_count_function, "__defaults__", max_exact_chars)
    for text in (*LONG, "", "a", "ab", "Hello, world!"):
        for model in ("gpt-4", "gpt-4o"):
            pair.count(model=model, text=text, served=True)
    for samples in (1, 3, 64) if samples_long_texts else ():
        monkeypatch.setattr(counter, "EXTRAPOLATION_SAMPLES", samples)
        pair.count(model="gpt-4o", text=LONG[0], served=True)


@pytest.mark.parametrize("limit", [0, -5, None, 2.5, "7"])
def test_unusual_limits_are_left_to_stock(pair: Pair, monkeypatch: pytest.MonkeyPatch, limit: Any) -> None:
    monkeypatch.setattr(counter._get_tiktoken_count_function, "__defaults__", (limit,))
    pair.count(model="gpt-4", text="Hello, world!", served=False)
    assert pair.gate.declined == {"unusual limits": 1}


SCRIPT = """
import json, sys
import litellm, litellm_accel
texts = json.load(sys.stdin)
def counts():
    return [litellm.token_counter(model=model, text=text) for text in texts for model in ("gpt-4", "gpt-4o")]
stock = counts()
litellm_accel.accelerate("tokens", strict=True)
accelerated = counts()
status = litellm_accel.status()["tokens"]
print(json.dumps([stock == accelerated, status.served == len(stock), sum(stock)]))
"""


def test_limits_set_in_the_environment() -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            env={
                **os.environ,
                "TIKTOKEN_ENCODE_CHUNK_SIZE_CHARS": chunk_chars,
                "TOKEN_COUNTER_MAX_EXACT_CHARS": max_exact_chars,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for chunk_chars, max_exact_chars in (("5", "4000000"), ("4096", "300"))
    ]
    texts = json.dumps([*LONG, "Hello, world!", ""])
    results = [json.loads(process.communicate(texts)[0].splitlines()[-1]) for process in processes]
    assert [result[:2] for result in results] == [[True, True], [True, True]]
    assert results[0][2] != results[1][2], "the settings reach LiteLLM"


# ---- installed ----


@pytest.fixture
def whole(restored: None) -> Callable[[Callable[[], Any]], Any]:
    """Return a function that requires one result of a call on stock and on accelerated LiteLLM, served."""

    def check(call: Callable[[], Any]) -> Any:
        litellm_accel.restore()
        stock = call()
        litellm_accel.accelerate("tokens", strict=True)
        before = litellm_accel.status()["tokens"].served
        accelerated = call()
        status = litellm_accel.status()["tokens"]
        assert (type(accelerated), accelerated) == (type(stock), stock)
        assert status.served > before
        assert not status.faults
        return stock

    return check


def test_what_reaches_counting_in_litellm(whole: Callable[[Callable[[], Any]], Any]) -> None:
    from litellm import encode, token_counter
    from litellm.litellm_core_utils.token_counter import get_modified_max_tokens

    history = [
        {"role": "user" if turn % 2 else "assistant", "content": f"{turn}: " + "words and more " * turn}
        for turn in range(40)
    ]
    history.insert(0, {"role": "system", "content": "You are terse. " * 20})
    assert whole(lambda: litellm.token_counter(model="gpt-4o", text="Hello, world!")) == 4
    assert whole(lambda: token_counter("gpt-4o", None, None, history)) > 2000
    assert whole(lambda: litellm.utils.token_counter(messages=history)) > 2000
    assert whole(lambda: encode(model="gpt-4o", text="Hello")) == [9906]
    if tokens.is_decoding():
        assert whole(lambda: litellm.decode(model="gpt-4o", tokens=[9906])) == "Hello"
    trimmed, _ = whole(
        lambda: litellm.utils.trim_messages(history, model="gpt-4", max_tokens=900, return_response_tokens=True)
    )
    assert 0 < len(trimmed) < len(history)
    assert whole(lambda: get_modified_max_tokens("gpt-4", "gpt-4", history, 8000, None, None)) < 8000
    assert whole(lambda: litellm.utils.is_prompt_caching_valid_prompt("gpt-4o", history)) is True
    assert whole(lambda: litellm.completion_cost(model="gpt-4o", prompt="a question", completion="an answer")) > 0


def test_errors_are_worded_by_litellm(whole: Callable[[Callable[[], Any]], Any]) -> None:
    def call(**arguments: Any) -> tuple[Any, ...]:
        litellm.token_counter(model="gpt-4o", text="so that one call is served")
        return outcome(lambda: litellm.token_counter(**arguments))

    assert whole(lambda: call(text="a", messages=[]))[0] is ValueError
    assert whole(lambda: call())[0] is ValueError
    assert whole(lambda: call(messages=[3]))[0] is TypeError
    assert issubclass(whole(lambda: call(messages=[{"role": "user", "content": [{"type": "odd"}]}]))[0], ValueError)
    assert whole(lambda: call(messages=[{"role": "assistant", "tool_calls": [{}]}]))[0] is ValueError
    assert whole(lambda: call(nonsense=1))[0] is TypeError
