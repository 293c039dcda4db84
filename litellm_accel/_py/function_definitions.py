"""Tools as the TypeScript text that LiteLLM counts: what OpenAI appears to put into a prompt.

The format is LiteLLM's ``_format_function_definitions``, which follows Xing Fuqiang's ``TikTokenUtils`` (openai-java).
"""

from __future__ import annotations

from typing import Any

__all__ = ["UnusualToolError", "format_function_definitions"]

_MAX_DEPTH = 64  # a deeper schema is LiteLLM's, to run into Python's recursion limit


class UnusualToolError(Exception):
    """A tool is not of the plainest make; LiteLLM's own function formats it, by the rules of its release."""


def format_function_definitions(tools: list[Any]) -> str:
    """Return the text of ``tools``. Raises ``UnusualToolError``, or what LiteLLM raises for a broken schema."""
    lines = ["namespace functions {", ""]
    for tool in tools:
        _add_function(lines, _plain(_plain(tool).get("function")))
    lines.append("} // namespace functions")
    return "\n".join(lines)


def _plain(thing: Any) -> dict[Any, Any]:
    if type(thing) is not dict:
        raise UnusualToolError
    return thing


def _add_function(lines: list[str], function: dict[Any, Any]) -> None:
    name = function.get("name")
    if not name:
        return
    description = function.get("description")
    if description:
        lines.append(f"// {description}")
    parameters = _plain(function.get("parameters") or {})
    properties = parameters.get("properties")
    if properties:
        _plain(properties)
        lines.append(f"type {name} = (_: {{")
        lines.append(_format_object(parameters, 0, 0))
        lines.append("}) => any;")
    else:
        lines.append(f"type {name} = () => any;")
    lines.append("")


def _format_object(parameters: dict[Any, Any], indent: int, depth: int) -> str:
    properties = parameters.get("properties")
    if not properties:
        return ""
    required = parameters.get("required")
    if required is not None and type(required) is not list:
        raise UnusualToolError
    lines = []
    margin = " " * indent
    for key, schema in _plain(properties).items():
        _plain(schema)
        description = schema.get("description")
        if description:
            lines.append(f"{margin}// {description}")
        question = "" if required and key in required else "?"
        lines.append(f"{margin}{key}{question}: {_format_type(schema, indent, depth)},")
    return "\n".join(lines)


def _format_type(schema: dict[Any, Any], indent: int, depth: int) -> str:
    if depth > _MAX_DEPTH:
        raise UnusualToolError
    kind = schema.get("type")
    if kind == "string":
        return _format_enum(schema) if "enum" in schema else "string"
    if kind == "array":
        return f"{_format_type(_plain(schema.get('items')), indent, depth + 1)}[]"
    if kind == "object":
        return f"{{\n{_format_object(schema, indent + 2, depth + 1)}\n}}"
    if kind == "integer" or kind == "number":
        return _format_enum(schema) if "enum" in schema else "number"
    if kind == "boolean":
        return "boolean"
    if kind == "null":
        return "null"
    return "any"


def _format_enum(schema: dict[Any, Any]) -> str:
    enum = schema["enum"]
    if type(enum) is not list:
        raise UnusualToolError
    return " | ".join([f'"{item}"' for item in enum])
