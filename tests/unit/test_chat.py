"""The hot path of the fast path: keys, bodies, answers, counts."""

from __future__ import annotations

import datetime
import gzip
import json
import uuid
from http.cookiejar import Cookie
from typing import Any

import httpx
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from litellm_accel._cy import chat as compiled_chat
from litellm_accel._py import chat as pure_chat
from litellm_accel.fastpath.known_names import MESSAGE_KINDS

HELLO = [{"role": "user", "content": "Hello"}]
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def written(messages: Any) -> bytes:
    """As the OpenAI SDK writes JSON."""
    return json.dumps(messages, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def test_equal_arguments_have_equal_keys_whatever_the_messages(hot: Any) -> None:
    key = hot("chat").call_key
    first = key("async", (), {"model": "m", "messages": HELLO, "temperature": 0.5, "tools": [{"a": 1}]})
    assert first == key("async", (), {"model": "m", "messages": [], "temperature": 0.5, "tools": [{"a": 1}]})
    assert first is not None


@pytest.mark.parametrize(
    "changed",
    [
        {"temperature": 1},
        {"temperature": 1.0},
        {"temperature": True},
        {"tools": [{"a": 2}]},
        {"user": "x"},
        {"stream": True},
        {"stream": True, "stream_options": {"include_usage": True}},
    ],
)
def test_other_values_or_types_have_other_keys(hot: Any, changed: dict[str, Any]) -> None:
    key = hot("chat").call_key
    base = {"model": "m", "temperature": 0, "tools": [{"a": 1}]}
    assert key("async", (), {**base, **changed}) != key("async", (), base)
    assert key("sync", (), base) != key("async", (), base)


def test_free_arguments_are_told_apart_by_name_and_type_alone(hot: Any) -> None:
    def key(**kwargs: Any) -> Any:
        return hot("chat").call_key("async", (), kwargs)

    assert key(user="ann\n", seed=1) == (key(user="bob", seed=2)[0], {"user": b'"ann\\n"', "seed": b"1"})
    others = [{"user": 1}, {"user": ""}, {"user": True}, {"user": None}, {"user": ["a"]}, {"seed": "a"}, {}]
    assert len({key(**other)[0] for other in [{"user": "a"}, *others]}) == len(others) + 1
    for odd in ("\ud800", 2**70, 0, 1.5):
        assert key(user=odd)[1] == {}
    assert key(user="\ud800")[0] != key(user="\ud801")[0]
    assert key(max_tokens=2**70)[0] != key(max_tokens=2**70 + 1)[0]


@pytest.mark.parametrize(
    "kwargs",
    [
        {"unknown": 1},
        {"stream": 1},
        {"stream_options": {"include_usage": True}},
        {"timeout": object()},
        {"metadata": "text"},
        {"metadata": {object(): 1}},
        {"response_format": int},
        {"extra_body": {"x": "y" * 70_000}},
    ],
)
def test_unknown_arguments_and_values_have_none(hot: Any, kwargs: dict[str, Any]) -> None:
    assert hot("chat").call_key("async", ("m", HELLO), kwargs) is None


@pytest.mark.parametrize(
    ("one", "two", "are_equal"),
    [
        ({"a": "x", "b": 1}, {"a": "y", "b": 2}, True),
        ({"a": {"x": 1}}, {"a": {"y": [2]}}, True),
        ({"a": object()}, {"a": object()}, True),
        ({"a": "x"}, {"b": "x"}, False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, False),
        ({"a": "x"}, {"a": ""}, False),
        ({"a": "x"}, {"a": None}, False),
        ({"a": True}, {"a": False}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": 1.0}, False),
        ({"a": []}, {"a": {}}, False),
        ({}, None, False),
    ],
)
def test_a_key_holds_the_kinds_of_metadata(hot: Any, one: Any, two: Any, are_equal: bool) -> None:
    keys = [hot("chat").call_key("async", ("m", HELLO), {"metadata": value}) for value in (one, two)]
    assert None not in keys
    assert (keys[0] == keys[1]) is are_equal
    assert hot("chat").call_key("async", ("m", HELLO, None), {}) is None


@pytest.mark.parametrize(
    "messages",
    [
        HELLO,
        [{"role": "system", "content": ""}, {"content": "a", "role": "user", "name": "bob"}],
        [{"role": "tool", "tool_call_id": "call_1", "content": "r"}],
        [{"role": "assistant", "tool_calls": [CALL]}],
        [{"role": "assistant", "content": "x", "tool_calls": [CALL, CALL]}],
        [{"role": "assistant", "content": [{"type": "text", "text": "a"}], "refusal": "b", "annotations": []}],
        [{"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "a"}]}],
        [{"role": "system", "content": [{"type": "text", "text": "a"}], "name": "b"}],
        [
            {
                "role": "user",
                "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "u"}}],
            }
        ],
    ],
)
def test_plain_messages_are_written_as_the_sdk_writes_them(hot: Any, messages: Any) -> None:
    assert hot("chat").body_of(messages) == written(messages)


def test_members_that_are_none_are_not_written(hot: Any) -> None:
    messages = [*HELLO, {"role": "assistant", "content": None, "tool_calls": [CALL], "refusal": None, "name": None}]
    assert hot("chat").body_of(messages) == written([*HELLO, {"role": "assistant", "tool_calls": [CALL]}])
    assert messages[1]["content"] is None


def test_kinds_of_messages(hot: Any) -> None:
    chat = hot("chat")

    def kinds(*messages: Any) -> set[str]:
        found = chat.kinds_of([*HELLO, *messages])
        return {kind for kind, bit in MESSAGE_KINDS.items() if found & bit}

    image = {"type": "image_url", "image_url": {"url": "https://a/b"}}
    part = {"type": "text", "text": "x"}
    assert kinds() == set()
    assert kinds({"role": "user", "content": ""}) == {"empty"}
    assert kinds({"role": "user", "content": "x", "name": "bob"}) == {"names"}
    assert kinds({"role": "user", "content": [part]}) == {"parts"}
    assert kinds({"role": "user", "content": [part, image]}) == {"parts", "images"}
    assert kinds({"role": "assistant", "content": [part]}) == {"other parts"}
    assert kinds({"role": "assistant", "tool_calls": [CALL]}) == {"calls"}
    assert kinds({"role": "assistant", "content": None, "tool_calls": [CALL]}) == {"calls"}
    assert kinds({"role": "tool", "tool_call_id": "c", "content": "x"}) == {"results"}
    assert kinds({"role": "assistant", "content": "x", "refusal": "y"}) == {"other"}
    assert kinds({"content": "x", "role": "user"}) == {"other"}
    assert kinds(object()) == {"other"}
    assert sum(MESSAGE_KINDS.values()) == 255


def test_timeouts_and_classes_have_keys(hot: Any) -> None:
    def key(**kwargs: Any) -> Any:
        return hot("chat").call_key("sync", (), kwargs)[0]

    def made(**fields: Any) -> Any:
        return pydantic.create_model("Made", **fields)

    assert key(timeout=httpx.Timeout(3.0)) == key(timeout=httpx.Timeout(3.0))
    different = [3.0, httpx.Timeout(3.0), httpx.Timeout(3.0, connect=4.0), {"connect": 3.0}]
    assert len({key(timeout=timeout) for timeout in different}) == 4
    one, other = made(a=int), made(a=int)
    assert key(response_format=one) == key(response_format=one)
    assert key(response_format=one) != key(response_format=other)
    before = key(response_format=one)
    one.model_rebuild(force=True)
    assert key(response_format=one) != before


@pytest.mark.parametrize(
    "messages",
    [
        [],
        tuple(HELLO),
        "Hello",
        [{"role": "developer", "content": "x"}],
        [{"role": "user"}],
        [{"role": "user", "content": None}],
        [{"role": "user", "content": "x", "cache_control": {}}],
        [{"role": "user", "content": "\ud800"}],
        [{"role": "system", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}],
        [{"role": "assistant", "content": "x", "annotations": [{}]}],
        [{"role": "user", "content": "x", "refusal": "x"}],
        [{"role": "assistant", "content": None, "refusal": "x"}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": "u"}]}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u", "format": "png"}}]}],
        [{"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {}}]}],
        [{"role": "tool", "tool_call_id": "a__thought__b", "content": "r"}],
        [{"role": "assistant", "content": "", "tool_calls": [{**CALL, "id": "a__thought__b"}]}],
        [{"role": "assistant", "content": "", "tool_calls": [{**CALL, "index": 0}]}],
        [{"role": "assistant", "content": "", "tool_calls": []}],
        [{"role": "user", "content": "", "tool_calls": [CALL]}],
        [type("Sub", (dict,), {})(role="user", content="x")],
    ],
)
def test_other_messages_are_left_to_stock(hot: Any, messages: Any) -> None:
    assert hot("chat").body_of(messages) is None


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_any_text_is_written_as_the_sdk_writes_it(text: str) -> None:
    messages = [{"role": "user", "content": text}]
    assert compiled_chat.body_of(messages) == pure_chat.body_of(messages) == written(messages)


def test_bodies_are_read_plain_and_zipped(hot: Any) -> None:
    value_of = hot("chat").value_of
    assert value_of(b'{"a": 1}', None) == {"a": 1}
    assert value_of(gzip.compress(b'{"a": 1}'), "gzip") == {"a": 1}
    for body, encoding in ((b"{", None), (b"x", "gzip"), (b"{}", "br"), (b'"\xff"', None)):
        assert value_of(body, encoding) is None


def test_fresh_identifiers_are_random_uuids(hot: Any) -> None:
    made = [hot("chat").fresh_id() for _ in range(200)]
    assert len(set(made)) == 200
    for text in made:
        found = uuid.UUID(text)
        assert (str(found), found.version, found.variant) == (text, 4, uuid.RFC_4122)
    assert {text[19] for text in made} == set("89ab")
    assert {text[0] for text in made} == set("0123456789abcdef")


def test_cookies_are_known_by_all_but_their_value_and_their_end(hot: Any) -> None:
    def cookie(name: str, value: str | None = "v", expires: int | None = 100) -> Any:
        given = {"version": 0, "port": None, "port_specified": False, "path": "/", "path_specified": True}
        domain = {"domain": "host", "domain_specified": False, "domain_initial_dot": False}
        rest: Any = {"secure": True, "discard": False, "comment": None, "comment_url": None, "rest": {}}
        return Cookie(**given, **domain, **rest, name=name, value=value, expires=expires)  # type: ignore[arg-type]

    one, two = cookie("one"), cookie("two")
    cookies_of = hot("chat").cookies_of
    cookies, facts = cookies_of({"host": {"/": {"one": one}, "/x": {"two": two}}}, 50)
    assert cookies == [one, two]
    alike = {"host": {"/": {"one": cookie("one", "other", 200)}, "/x": {"two": cookie("two", "w", None)}}}
    assert cookies_of(alike, 50)[1] == facts
    for other in (cookie("three"), cookie("one", None), cookie("one", "v", 50)):
        assert cookies_of({"host": {"/": {"one": other}, "/x": {"two": two}}}, 50)[1] != facts
    one.secure = False
    assert cookies_of({"host": {"/": {"one": one}, "/x": {"two": two}}}, 50)[1] != facts


def test_minute_is_utc_as_litellm_writes_it(hot: Any) -> None:
    before = datetime.datetime.now(datetime.timezone.utc).strftime("%H-%M")
    assert hot("chat").minute() in (before, datetime.datetime.now(datetime.timezone.utc).strftime("%H-%M"))


class Memory:
    """As much of LiteLLM's in-memory cache as a tally reads."""

    def __init__(self, held: dict[str, Any], expiries: dict[str, float]) -> None:
        self.cache_dict = held
        self.ttl_dict = expiries
        self._clock = lambda: 100.0

    def get_cache(self, key: str) -> Any:
        if self.ttl_dict.get(key, 200.0) < 100.0:
            return None
        return json.loads(self.cache_dict[key])


def test_tally_sums_what_is_alive(hot: Any) -> None:
    chat = hot("chat")
    now = chat.minute()
    held = {f"{name}:{now}": value for name, value in {"a": 5, "b": 7, "c": "9", "d": "text"}.items()}
    held[f"d:{now}"] = '"text"'
    memory = Memory(held, {f"b:{now}": 99.0})
    keys = [f"{name}:{{current_minute}}" for name in "abcde"]
    assert chat.Tally(memory, keys, keys[:1], 100, None).remaining() == {
        "x-ratelimit-remaining-tokens": 86,
        "x-ratelimit-limit-tokens": 100,
    }
    assert chat.Tally(memory, keys, keys[:1], None, 3).remaining() == {
        "x-ratelimit-remaining-requests": -2,
        "x-ratelimit-limit-requests": 3,
    }


@pytest.mark.parametrize(
    ("usage", "apart"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}, ()),
        ({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 20}, None),
        ({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 20, "completion_tokens_details": None}, None),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 4,
                "total_tokens": 20,
                "completion_tokens_details": {"reasoning_tokens": 7},
            },
            (11,),
        ),
        ({"prompt_tokens": 9, "completion_tokens": None, "total_tokens": 9}, None),
        (None, ()),
    ],
)
def test_tokens_of_reasoning_are_one_more_leaf(hot: Any, usage: Any, apart: Any) -> None:
    value = {"id": "a", "usage": usage}
    shape, leaves = hot("template").leaves_of(value)
    assert hot("chat").shape_of(value, sums=False) == (shape, leaves)
    found = hot("chat").shape_of(value, sums=True)
    assert (found is None) == (apart is None)
    if found is not None:
        assert (found[0] == shape) == (apart == ())
        assert found[1] == [*leaves, *apart]
