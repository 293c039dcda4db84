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


def test_no_function_and_one_without_a_name(hot: Callable[[str], ModuleType]) -> None:
    text = hot("function_definitions").format_function_definitions
    assert text([]) == text([{"function": {}}]) == "\n".join(["namespace functions {", "", "} // namespace functions"])
    assert "type bare = () => any;" in text([{"function": {"name": "bare"}}])


@pytest.mark.parametrize(
    "tool",
    [
        None,
        "text",
        {},
        {"name": "m"},  # releases differ in what of these they take for a function
        {"name": "m", "input_schema": {}},
        {"function_declarations": [{"name": "m"}]},
        {"functionDeclarations": []},
        {"function": MappingProxyType({"name": "m"})},
        {"function": {"name": "m", "parameters": MappingProxyType({"a": 1})}},
        {"function": {"name": "m", "parameters": {"properties": [1]}}},
        {"function": {"name": "m", "parameters": {"properties": {"a": {}}, "required": ("a",)}}},
        {"function": {"name": "m", "parameters": {"properties": {"a": {"type": "array"}}}}},
        {"function": {"name": "m", "parameters": {"properties": {"a": {"type": "string", "enum": ("a", "b")}}}}},
        {"function": {"name": "m", "parameters": {"properties": {"a": "text"}}}},
    ],
)
def test_what_is_not_plain_is_unusual(hot: Callable[[str], ModuleType], tool: Any) -> None:
    definitions = hot("function_definitions")
    with pytest.raises(definitions.UnusualToolError):
        definitions.format_function_definitions([tool])


def test_no_schema_recurses_deeply(hot: Callable[[str], ModuleType]) -> None:
    definitions = hot("function_definitions")

    def text(schema: dict[str, Any]) -> str:
        function = {"name": "m", "parameters": {"properties": {"a": schema}}}
        formatted: str = definitions.format_function_definitions([{"function": function}])
        return formatted

    cycle: dict[str, Any] = {"type": "array"}
    cycle["items"] = cycle
    with pytest.raises(definitions.UnusualToolError):
        text(cycle)
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(64):
        deep = {"type": "array", "items": deep}
    assert "a?: string" + "[]" * 64 in text(deep)
