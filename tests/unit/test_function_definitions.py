"""Tools become the text that is counted; what is not plain is LiteLLM's to format."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType, ModuleType
from typing import Any

import pytest

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Its name"},
                "unit": {"type": "string", "enum": ["c", "f"]},
                "days": {"type": "array", "items": {"type": "integer"}},
                "place": {"type": "object", "properties": {"x": {"type": "number", "enum": [1, 2]}, "y": {}}},
                "exact": {"type": "boolean"},
                "nothing": {"type": "null"},
            },
            "required": ["city"],
        },
    },
}
TEXT = """namespace functions {

// The weather of a city
type weather = (_: {
// Its name
city: string,
unit?: "c" | "f",
days?: number[],
place?: {
  x?: "1" | "2",
  y?: any,
},
exact?: boolean,
nothing?: null,
}) => any;

} // namespace functions"""


def test_a_tool(hot: Callable[[str], ModuleType]) -> None:
    assert hot("function_definitions").format_function_definitions([WEATHER]) == TEXT


def test_other_spellings(hot: Callable[[str], ModuleType]) -> None:
    text = hot("function_definitions").format_function_definitions
    function = WEATHER["function"]
    assert isinstance(function, dict)
    assert text([function]) == TEXT
    assert text([{"function_declarations": [function]}]) == text([{"functionDeclarations": [function]}]) == TEXT
    assert (
        text([])
        == text([{}])
        == text([{"functionDeclarations": []}])
        == "\n".join(["namespace functions {", "", "} // namespace functions"])
    )
    assert "type bare = () => any;" in text([{"name": "bare"}])


@pytest.mark.parametrize(
    "tool",
    [
        None,
        "text",
        MappingProxyType({"name": "m"}),
        {"function": MappingProxyType({"name": "m"})},
        {"function_declarations": ({"name": "m"},)},
        {"name": "m", "parameters": MappingProxyType({})} | {"parameters": MappingProxyType({"a": 1})},
        {"name": "m", "parameters": {"properties": [1]}},
        {"name": "m", "input_schema": {}},
        {"name": "m", "parameters": {"properties": {"a": {}}, "required": ("a",)}},
        {"name": "m", "parameters": {"properties": {"a": {"type": "array"}}}},
        {"name": "m", "parameters": {"properties": {"a": {"type": "string", "enum": ("a", "b")}}}},
        {"name": "m", "parameters": {"properties": {"a": "text"}}},
    ],
)
def test_what_is_not_plain_is_unusual(hot: Callable[[str], ModuleType], tool: Any) -> None:
    definitions = hot("function_definitions")
    with pytest.raises(definitions.UnusualToolError):
        definitions.format_function_definitions([tool])


def test_no_schema_recurses_deeply(hot: Callable[[str], ModuleType]) -> None:
    definitions = hot("function_definitions")
    cycle: dict[str, Any] = {"type": "array"}
    cycle["items"] = cycle
    with pytest.raises(definitions.UnusualToolError):
        definitions.format_function_definitions([{"name": "m", "parameters": {"properties": {"a": cycle}}}])
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(64):
        deep = {"type": "array", "items": deep}
    text = definitions.format_function_definitions([{"name": "m", "parameters": {"properties": {"a": deep}}}])
    assert "a?: string" + "[]" * 64 in text
