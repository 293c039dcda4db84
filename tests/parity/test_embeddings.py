"""Vectors of answers: exactly the numbers that Python's own parser and the provider SDK's objects make of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from openai._models import construct_type
from openai.types import CreateEmbeddingResponse

from litellm_accel.fastpath.plans.embedding_maker import spelled as spelled_again

DIGITS = st.text("0123456789", min_size=1, max_size=24)
WHOLE = st.one_of(st.just("0"), st.builds(lambda first, rest: first + rest, st.sampled_from("123456789"), DIGITS))
EXPONENT = st.builds(
    lambda e, sign, value: f"{e}{sign}{value}",
    st.sampled_from("eE"),
    st.sampled_from(["", "+", "-"]),
    st.integers(0, 400),
)
SPELLED = st.builds(
    lambda sign, whole, fraction, exponent: sign + whole + (fraction and f".{fraction}") + exponent,
    st.sampled_from(["", "-"]),
    WHOLE,
    st.one_of(st.just(""), DIGITS),
    st.one_of(st.just(""), EXPONENT),
)
NUMBERS = st.one_of(
    SPELLED,
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from(["-0", "-0.0", "-0e0", "5e-324", "2.2250738585072011e-308", "1e308", "1e309", "9007199254740993"]),
)
SPACE = st.text(" \n\t\r", max_size=2)


def stock(text: str) -> Any:
    """What LiteLLM makes of an entry of this ``text`` by way of the SDK."""
    value = {
        "object": "list",
        "model": "e",
        "data": [json.loads(text)],
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    }
    made: Any = construct_type(type_=CreateEmbeddingResponse, value=value)
    return made.model_dump()["data"]


def spelled(numbers: list[str], space: str = "") -> str:
    inner = f"{space},{space}".join(numbers)
    return f'{{"object":"embedding",{space}"index":{space}0,"embedding":{space}[{space}{inner}{space}]{space}}}'


def read(kernel: ModuleType, text: str, by_sdk: bool = True) -> Any:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return kernel.entries_of([value], text.encode(), by_sdk)


def bits(entries: list[Any]) -> Any:
    return [[(type(one), repr(one)) for one in entry["embedding"]] for entry in entries]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(numbers=st.lists(NUMBERS, min_size=1, max_size=6), space=SPACE)
@example(numbers=["-0"], space="")
@example(numbers=["-0.0", "1"], space=" ")
@example(numbers=["1e-400", "-1e-400"], space="")
def test_numbers(hot: Callable[[str], ModuleType], numbers: list[str], space: str) -> None:
    """A vector is exactly what stock makes of it, or is left to stock."""
    text = spelled(numbers, space)
    found = read(hot("embeddings"), text)
    if found is not None:
        expected = stock(text)
        assert bits(found) == bits(expected)
        assert [list(entry) for entry in found] == [list(entry) for entry in expected]
    without_sdk = read(hot("embeddings"), text, by_sdk=False)
    if without_sdk is not None:
        assert bits(without_sdk) == bits([json.loads(text)])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(numbers=st.lists(st.floats(-1e6, 1e6).map(repr), min_size=1, max_size=40))
def test_common_numbers_are_read(hot: Callable[[str], ModuleType], numbers: list[str]) -> None:
    assert read(hot("embeddings"), spelled(numbers)) is not None


@settings(deadline=None, max_examples=300)
@given(numbers=st.lists(st.floats() | st.floats(-1.0, 1.0) | st.floats(-1e-3, 1e-3) | st.floats(width=32), max_size=30))
@example(numbers=[0.0, -0.0, 1e-4, 1e-5, 9.9999e-5, 10.00001, 1e16, 1e15, 123456789012345680.0, 5e-324])
def test_numbers_are_written_as_python_writes_them(numbers: list[float]) -> None:
    """Callbacks are told of them in the words of the ``json`` module."""
    assert spelled_again(numbers) == json.dumps(numbers)


def test_minus_zeros(hot: Callable[[str], ModuleType]) -> None:
    """One that is written as a float keeps its sign, an integer has none: parsers differ, and stock judges."""
    kernel = hot("embeddings")
    found = read(kernel, spelled(["-0.0", "-0e5", "0"]))
    assert [math.copysign(1.0, one) for one in found[0]["embedding"]] == [-1.0, -1.0, 1.0]
    assert read(kernel, spelled(["-0", "-0.0"])) is None
    assert kernel.entries_of([{"object": "embedding", "index": 0, "embedding": [-0.0]}], None, True) is None


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        [],
        [1],
        [{}],
        [{"object": "embedding", "index": 0, "embedding": None}],
        [{"object": "embedding", "index": 0, "embedding": [True]}],
        [{"object": "embedding", "index": 0, "embedding": [None]}],
        [{"object": "embedding", "index": 0, "embedding": [[0.5]]}],
        [{"object": "embedding", "index": 0, "embedding": [2**53 + 1]}],
        [{"object": "embedding", "index": 0, "embedding": [2.0**63]}],
        [{"object": "embedding", "index": 0.0, "embedding": [0.5]}],
        [{"object": "embedding", "index": True, "embedding": [0.5]}],
        [{"object": "other", "index": 0, "embedding": [0.5]}],
        [{"object": "embedding", "index": 0, "embedding": [0.5], "more": 1}],
        [{"object": "embedding", "index": 0, "embedding": [0.5]}, {"object": "embedding", "index": 0}],
    ],
)
def test_odd_answers_are_left_to_stock(hot: Callable[[str], ModuleType], data: Any) -> None:
    assert hot("embeddings").entries_of(data, b"", True) is None


@pytest.mark.parametrize(
    "value, sort",
    [("a", "text"), (["a", ""], "texts"), ([1, 0, 2**63], "tokens"), ([[1], [2, 3]], "lists of tokens")],
)
def test_inputs(hot: Callable[[str], ModuleType], value: Any, sort: str) -> None:
    assert hot("embeddings").input_of(value) == (sort, json.dumps(value, separators=(",", ":")).encode())


@pytest.mark.parametrize(
    "value", ["", [], [[]], ["a", 1], [1.0], [True], [[True]], [2**70], ["\ud800"], ("a",), {"a": 1}, None, [[1], []]]
)
def test_odd_inputs(hot: Callable[[str], ModuleType], value: Any) -> None:
    assert hot("embeddings").input_of(value) is None
