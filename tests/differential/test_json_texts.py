"""JSON texts of what LiteLLM logs: the same to the last character, whatever the data is."""

from __future__ import annotations

import importlib
import inspect
import json
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litellm_accel import hot, patching
from litellm_accel.gateway import json_texts
from litellm_accel.gateway.json_texts import JsonTexts

STOCK = patching.stock_copy(patching.resolve(json_texts.TARGET))
FINITE = [{}, {"non_finite_as_null": True}] if "non_finite_as_null" in inspect.signature(STOCK).parameters else [{}]
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=3)
DATA = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.integers(), inner)
        | st.lists(inner).map(tuple)
        | st.sets(st.text())
    ),
)


def texts(switched: bool = True) -> tuple[JsonTexts, list[Any]]:
    """Return what is tested, and what LiteLLM was asked to write meanwhile."""
    gate = hot.gate.Gate("proxy")
    gate.switch(switched)
    asked: list[Any] = []

    def stock(*args: Any, **kwargs: Any) -> Any:
        asked.append(args)
        return STOCK(*args, **kwargs)

    made: Any = stock
    return JsonTexts(gate, made), asked


@given(DATA, st.sampled_from([0, 1, 2, 100]), st.sampled_from(FINITE))
def test_the_same(data: Any, depth: int, more: dict[str, Any]) -> None:
    try:
        expected = STOCK(data, depth, None, **more)
    except Exception as error:  # of sets whose members have no order
        with pytest.raises(type(error)):
            texts()[0].dumps(data, depth, None, **more)
    else:
        assert texts()[0].dumps(data, depth, None, **more) == expected


def test_plain_data_is_written_without_asking() -> None:
    made, asked = texts()
    data = {"a": [1, 1.5, "ä", None, True, ("b",)]}
    for more in FINITE:
        assert made.dumps(data, 100, None, **more) == STOCK(data, 100, None, **more)
    assert not asked
    cut = {"a": ["MaxDepthExceeded"] * 6}
    assert made.dumps(data, 1, None) == STOCK(data, 1, None) == json.dumps(cut)
    assert len(asked) == 1


def test_a_transform_is_litellms() -> None:
    made, asked = texts()
    transform = lambda key, value: value.upper()  # noqa: E731
    assert made.dumps({"a": "b"}, 100, transform) == '{"a": "B"}'
    assert len(asked) == 1


def test_switched_off() -> None:
    made, asked = texts(switched=False)
    assert made.dumps(["a"], 100) == '["a"]'
    assert len(asked) == 1


@pytest.mark.parametrize("place", ["litellm.litellm_core_utils.safe_json_dumps:safe_json_structure", "json:dumps"])
def test_what_somebody_replaces_is_called(place: str) -> None:
    made, asked = texts()
    module, name = place.split(":")
    held = getattr(importlib.import_module(module), name)
    with mock.patch(f"{module}.{name}", lambda *args, **kwargs: held(*args, **kwargs)):
        assert made.dumps(["a"], 100) == '["a"]'
    assert len(asked) == 1
    assert made.dumps(["a"], 100) == '["a"]'
    assert len(asked) == 1


def test_it_is_known_and_agrees() -> None:
    assert json_texts.is_known(STOCK)
    assert json_texts.agrees(texts()[0], STOCK)
    assert not json_texts.agrees(texts()[0], lambda data, depth, transform, **more: STOCK(data, depth, **more) + " ")


def test_another_function_is_left_alone() -> None:
    def safe_dumps(data: Any, max_depth: int = 1, value_transform: Any = None, sort: bool = False) -> str:
        return ""

    assert not json_texts.is_known(safe_dumps)
    with mock.patch("litellm_accel.stock.releases.strange", lambda modules: modules[0]):
        assert not json_texts.is_known(STOCK)
