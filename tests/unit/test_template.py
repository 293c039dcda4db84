"""Templates: shapes tell apart what stock treats differently; built trees are new and complete."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, PrivateAttr

ANSWER = {
    "id": "x",
    "created": 1,
    "object": "chat.completion",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi"}}],
    "usage": {"total_tokens": 3, "score": 0.5, "cached": None, "exact": True},
}


def test_leaves_are_the_strings_and_numbers_in_order(hot: Any) -> None:
    shape, leaves = hot("template").leaves_of(ANSWER)
    assert leaves == ["x", 1, 0, "Hi", 3, 0.5]
    assert hash(shape) == hash(hot("template").leaves_of(ANSWER)[0])


@pytest.mark.parametrize(
    "one, other",
    [
        ({"n": 1}, {"n": 0}),
        ({"n": 1}, {"n": -1}),
        ({"n": 1}, {"n": 1.0}),
        ({"n": 1}, {"n": True}),
        ({"n": 0}, {"n": False}),
        ({"n": None}, {"n": False}),
        ({"s": "a"}, {"s": ""}),
        ({"s": "a"}, {"s": None}),
        ({"s": "a"}, {"s": ["a"]}),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"finish_reason": "stop"}, {"finish_reason": "length"}),
        ([1], [1, 2]),
        ({}, []),
    ],
)
def test_what_may_be_treated_differently_has_another_shape(hot: Any, one: Any, other: Any) -> None:
    leaves_of = hot("template").leaves_of
    assert leaves_of(one)[0] != leaves_of(other)[0]


@pytest.mark.parametrize(
    "value",
    [
        {"content": "<think>a</think>b"},
        {"content": "<thinking>a</thinking>b"},
        {"content": "<budget:thinking>a</budget:thinking>b"},
        {"name": "multi_tool_use.parallel"},
        {"system_fingerprint": "fp_ollama"},
        {"finish_reason": "eos"},
        {"n": 1e300},
        {"role": "x" * 41},
        list(range(401)),
    ],
)
def test_what_is_treated_by_content_has_no_shape(hot: Any, value: Any) -> None:
    assert hot("template").leaves_of(value) is None


@pytest.mark.parametrize("text", ["<", "<code>\nf()\n</code>", "<html>", "a <think>b</think>"])
def test_text_in_other_tags_is_text(hot: Any, text: str) -> None:
    leaves_of = hot("template").leaves_of
    assert leaves_of({"content": text}) == (leaves_of({"content": "a"})[0], [text])


class Part(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str
    _hidden: dict[str, int] = PrivateAttr(default_factory=dict)


def test_build_makes_new_objects_in_the_state_described(hot: Any) -> None:
    t = hot("template")
    fields = (t.DICT, ("name", "more"), ((t.LEAF, 0), (t.LIST, ((t.PREFIXED, "a/", 1), (t.CONSTANT, None)))))
    root = (
        t.MODEL,
        Part,
        fields,
        frozenset(("name",)),
        (t.DICT, ("extra",), ((t.LEAF, 2),)),
        (t.DICT, ("_hidden",), ((t.SLOT, "hidden"),)),
    )
    hidden = {"n": 1}
    template = t.Template(root)
    one, two = template.build(["x", "y", 3], {"hidden": hidden}), template.build(["x", "y", 3], {"hidden": hidden})
    assert one.__dict__ == {"name": "x", "more": ["a/y", None]}
    assert one.__pydantic_fields_set__ == {"name"}
    assert one.__pydantic_extra__ == {"extra": 3}
    assert one._hidden is hidden
    assert one.__dict__["more"] is not two.__dict__["more"]
    assert one.__pydantic_fields_set__ is not two.__pydantic_fields_set__
    # A set of names is part of no cycle, and the collector need not know it. Other sets it must know.
    is_compiled = "_cy" in t.__name__
    assert gc.is_tracked(one.__pydantic_fields_set__) is not is_compiled
    root = (*root[:3], frozenset(("name", 1)), *root[4:])
    assert gc.is_tracked(t.Template(root).build(["x", "y", 3], {"hidden": {}}).__pydantic_fields_set__)


def test_members_of_a_dictionary_come_in_the_order_of_its_nodes(hot: Any) -> None:
    t = hot("template")
    keys = ("first", "leaf", "more", "last", "slot")
    nodes = ((t.CONSTANT, 1), (t.LEAF, 0), (t.SPREAD, "more"), (t.CONSTANT, 2), (t.SLOT, "slot"))
    template = t.Template((t.DICT, keys, nodes))
    made = template.build(["x"], {"more": {"a": 3, "first": 4, "last": 5}, "slot": 6})
    assert list(made.items()) == [("first", 4), ("leaf", "x"), ("a", 3), ("last", 2), ("slot", 6)]
    assert template.build(["y"], {"more": {}, "slot": 7}) == {"first": 1, "leaf": "y", "last": 2, "slot": 7}
