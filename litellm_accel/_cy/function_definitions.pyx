# cython: language_level=3, binding=True, boundscheck=False, wraparound=False
"""Tools as the TypeScript text that LiteLLM counts: what OpenAI appears to put into a prompt.

The format is LiteLLM's ``_format_function_definitions``, which follows Xing Fuqiang's ``TikTokenUtils`` (openai-java).
"""

from __future__ import annotations

__all__ = ["UnusualToolError", "format_function_definitions"]

cdef enum:
    MAX_DEPTH = 64  # a deeper schema is LiteLLM's, to run into Python's recursion limit


class UnusualToolError(Exception):
    """A tool is not of the plainest make; LiteLLM's own function formats it, by the rules of its release."""


cpdef str format_function_definitions(list tools):
    """Return the text of ``tools``. Raises ``UnusualToolError``, or what LiteLLM raises for a broken schema."""
    cdef list lines = ["namespace functions {", ""]
    for tool in tools:
        _add_function(lines, _plain(_plain(tool).get("function")))
    lines.append("} // namespace functions")
    return "\n".join(lines)


cdef dict _plain(object thing):
    if type(thing) is not dict:
        raise UnusualToolError
    return thing


cdef int _add_function(list lines, dict function) except -1:
    name = function.get("name")
    if not name:
        return 0
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
    return 0


cdef str _format_object(dict parameters, Py_ssize_t indent, Py_ssize_t depth):
    properties = parameters.get("properties")
    if not properties:
        return ""
    required = parameters.get("required")
    if required is not None and type(required) is not list:
        raise UnusualToolError
    cdef list lines = []
    cdef str margin = " " * indent
    for key, schema in _plain(properties).items():
        _plain(schema)
        description = (<dict>schema).get("description")
        if description:
            lines.append(f"{margin}// {description}")
        question = "" if required and key in required else "?"
        lines.append(f"{margin}{key}{question}: {_format_type(schema, indent, depth)},")
    return "\n".join(lines)


cdef str _format_type(dict schema, Py_ssize_t indent, Py_ssize_t depth):
    if depth > MAX_DEPTH:
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


cdef str _format_enum(dict schema):
    enum = schema["enum"]
    if type(enum) is not list:
        raise UnusualToolError
    return " | ".join([f'"{item}"' for item in enum])
