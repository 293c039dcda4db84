"""Kinds of values: what is told apart, what is not, and how values are spelled."""

from __future__ import annotations

import copy
import enum
import json
from typing import Any

import pytest

PARAMETERS = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "description": "Where", "enum": ["Paris", "Rome"]},
        "pattern": {"type": ["integer", "null"], "minimum": 1, "default": None},
        "days": {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
    },
    "required": ["city"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "weather", "description": "The weather", "parameters": PARAMETERS}}
OTHER = {
    "type": "function",
    "function": {
        "name": "search",
        "description": "",
        "parameters": {
            "type": "object",
            "properties": {"q": {"anyOf": [{"type": "string"}]}},
            "additionalProperties": False,
        },
    },
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": PARAMETERS}}


class Color(str, enum.Enum):
    RED = "red"


class Text(str):
    pass


def changed(value: Any, *path: Any, to: Any) -> Any:
    """A copy of ``value`` with another value at the end of ``path``."""
    made = copy.deepcopy(value)
    at = made
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = to
    return made


SCHEMA = (0, "function", "parameters")
CITY = (*SCHEMA, "properties", "city")


def tried(*schemas: Any) -> list[Any]:
    """Tools with schemas that a trial must have shown to go as they are."""
    properties = {f"field_{number}": schema for number, schema in enumerate(schemas)}
    return changed([TOOL], *SCHEMA, to={"type": "object", "properties": properties})


@pytest.mark.parametrize(
    ("name", "one", "two"),
    [
        ("temperature", 0.5, 0.9999),
        ("temperature", 0.1, 1e-07),
        ("temperature", 1, 1),
        ("top_p", 1.0, 1.0),
        ("presence_penalty", -1.5, -0.1),
        ("seed", 1, 2**63),
        ("user", "a", 'é"\n'),
        ("stop", "a", "\n"),
        ("stop", ["a", "b"], ["\u2028", "c"]),
        ("tools", [TOOL], [OTHER, TOOL, OTHER]),
        ("tools", [TOOL], changed([TOOL], *SCHEMA, "properties", "city", "description", to="additionalProperties")),
        (
            "tool_choice",
            {"type": "function", "function": {"name": "a"}},
            {"type": "function", "function": {"name": ""}},
        ),
        ("tools", tried({"const": 1}, {"pattern": "^a$"}), tried({"$ref": "#/$defs/A"}, {"not": {"oneOf": []}})),
        *(
            ("tools", changed([TOOL], *CITY, "pattern", to="a"), changed([TOOL], *CITY, word, to=value))
            for word, value in (("$ref", "a"), ("additionalProperties", {}), ("default", {}), ("default", [{}]))
        ),
        ("tools", tried({"default": {"a": [[1]]}}), tried({"additionalProperties": {"type": "string"}})),
        ("response_format", FORMAT, changed(FORMAT, "json_schema", "name", to="other")),
        ("logit_bias", {"1": 2}, {"99": -100, "3": 4}),
        ("logit_bias", {"1": 0.5}, {"1": 1, "2": 1e-07}),
        ("extra_headers", {"X-Request-Id": "1", "b": "2"}, {"X-Request-Id": "a b", "b": "~"}),
        ("min_p", 0.5, 1e-07),
        ("guided_json", {"a": [None, {"é": 1}]}, {"b": "c"}),
        ("priority", 1, -7),
    ],
)
def test_values_of_one_kind(hot: Any, name: str, one: Any, two: Any) -> None:
    sent = hot("variables").sent_value
    first, second = sent(name, one), sent(name, two)
    assert first[1] == second[1]
    for value, (written, _) in ((one, first), (two, second)):
        assert written.decode() == json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def test_time_limits_are_sent_as_fractions(hot: Any) -> None:
    sent = hot("variables").sent_value
    assert [sent(name, 30)[0] for name in ("timeout", "request_timeout", "stream_timeout")] == [b"30.0"] * 3
    assert sent("timeout", 1e-7) == (b"1e-07", False)


NUMBERS = [-3, -2, -1.0, 0, 0.0, 0.2, 0.3, 0.5, 1, 1.0, 1.5, 1.99, 1.995, 2, 2.0, 3.0, 3]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("temperature", NUMBERS),
        ("timeout", [30, 30.0]),
        ("user", ["a", 1]),
        ("stop", ["a", ["a"], ["a", "b"], ["a", "b", "c"], ["a", "b", "c", "d"]]),
        (
            "tools",
            [
                [TOOL],
                [dict(reversed(TOOL.items()))],
                changed([TOOL], *SCHEMA, "additionalProperties", to=True),
                changed([TOOL], *SCHEMA, to={"type": "object", "properties": {}}),
                changed([TOOL], 0, "function", "strict", to=True),
                changed([TOOL], 0, "function", "strict", to=False),
                changed([TOOL], 0, "function", to={"name": "n"}),
                changed([TOOL], 0, "function", to={"name": "n", "parameters": PARAMETERS}),
                changed([TOOL], *SCHEMA, "properties", "pattern", "minimum", to=0.5),
                tried({"const": "a"}),
                tried({"const": "a"}, {"additionalProperties": True}),
                changed(tried({"const": "a"}), *SCHEMA, "definitions", to={}),
            ],
        ),
        (
            "response_format",
            [FORMAT, changed(FORMAT, "json_schema", "strict", to=False), dict(reversed(FORMAT.items()))],
        ),
        (
            "tool_choice",
            [{"type": "function", "function": {"name": "a"}}, {"function": {"name": "a"}, "type": "function"}],
        ),
        ("headers", [{"a": "1", "b": "1"}, {"b": "1", "a": "1"}, {"a": "1"}, {"A": "1"}]),
        ("min_p", [0.5, 0.0, 1, 0, "a", "", True, False, [1], [0.5], [], {"a": 1}, {}]),
    ],
)
def test_values_of_different_kinds(hot: Any, name: str, values: list[Any]) -> None:
    kinds = [hot("variables").sent_value(name, value)[1] for value in values]
    assert [kinds.index(kind) for kind in kinds] == list(range(len(values)))


CYCLE: dict[str, Any] = {"type": "object"}
CYCLE["properties"] = {"again": CYCLE}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("temperature", value) for value in (True, None, "0.5", float("nan"), float("inf"), 2**70, [0.5])),
        *(("timeout", value) for value in (0, 0.0, -1, True, None, "30", 2**53, float("nan"), float("inf"))),
        *(("user", value) for value in ("", 0, True, None, 2**70, "\ud800", ["a"], Text("a"), Color.RED, 1.5)),
        *(("stop", value) for value in ("", [], ["a"] * 5, [""], [Text("a")], ["a", 1], ("a",), Text("a"), ["\ud800"])),
        *(("tools", value) for value in ([], None, (TOOL,), [None], [TOOL, {}], [CYCLE])),
        *(("tools", changed([TOOL], 0, to=tool)) for tool in ({"type": "mcp", "mcp": {}}, {"type": "function"})),
        ("tools", changed([TOOL], 0, "cache_control", to={})),
        ("tools", changed([TOOL], 0, "type", to=Text("function"))),
        *(("tools", changed([TOOL], 0, "function", name, to={})) for name in ("input_examples", "name", "strict")),
        ("tools", changed([TOOL], *SCHEMA, to=CYCLE)),
        *(("tools", tried({"type": "string", "pattern": odd})) for odd in (1, "(", r"\p{L}", "[[a]", "a{9999999999}")),
        *(("tools", tried(odd)) for odd in ({"default": {"strict": 1}}, {"$defs": []}, {"not": True}, {"oneOf": {}})),
        *(("tools", tried(odd)) for odd in ({"patternProperties": {}}, {"x-own": 1}, {"$defs": {"strict": {}}})),
        *(("tools", tried({word: CYCLE})) for word in ("const", "not", "additionalProperties")),
        *(("tools", changed([TOOL], *SCHEMA, word, to=1)) for word in ("const", "not", "$ref", "pattern")),
        ("tools", changed([TOOL], *SCHEMA, to={})),
        ("tools", changed([TOOL], *SCHEMA, "type", to=["object"])),
        *(("tools", changed([TOOL], *SCHEMA, word, to=[])) for word in ("anyOf", "enum", "$defs", "oneOf")),
        ("tools", changed([TOOL], *SCHEMA, "properties", "city", "default", to=float("nan"))),
        ("tools", changed([TOOL], *SCHEMA, "properties", "city", "default", to=2**70)),
        ("tools", changed([TOOL], *SCHEMA, "properties", "city", "default", to=Text("a"))),
        *(("tools", changed([TOOL], *SCHEMA, "properties", name, to={})) for name in ("strict", "$id", 1, Text("a"))),
        *(("response_format", value) for value in ({"type": "json_object"}, {"type": "json_schema"}, Color)),
        ("response_format", changed(FORMAT, "json_schema", to={"name": "a"})),
        ("response_format", changed(FORMAT, "more", to=1)),
        *(("tool_choice", value) for value in ("auto", {"type": "auto"}, {"type": "function", "function": {}})),
        *(
            ("headers", value)
            for value in ({}, {"a": ""}, {"a": " b"}, {"a": "b\r\n"}, {"a": "é"}, {"a": 1}, {"a:": "b"})
        ),
        *(("headers", value) for value in ({}, [("a", "b")], {1: "b"}, {Text("a"): "b"}, {"a:": "b"})),
        *(("min_p", value) for value in (float("nan"), 2**70, (1,), {1: 2}, [Text("a")], Color.RED, "\ud800")),
        ("min_p", CYCLE),
        *(("logit_bias", value) for value in ({}, {1: 2}, {"1": True}, {"1": "2"}, {"1": float("nan")})),
    ],
)
def test_values_of_no_kind(hot: Any, name: str, value: Any) -> None:
    assert hot("variables").sent_value(name, value) is None
