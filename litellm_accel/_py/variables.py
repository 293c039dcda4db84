"""Values of arguments that differ from call to call: how they are sent, and of which kind they are.

LiteLLM treats some values otherwise than others: a temperature of 1, a fifth stop sequence, a schema with a regular
expression that Python does not know. Values of one kind are treated alike by all that is known of LiteLLM, schemas
whose kind is marked as tried where a trial shows it; a value of no kind is told from all others.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_left
from typing import Any

import orjson

from litellm_accel.fastpath.known_names import (
    DEFINITIONS,
    FUNCTION_WORDS,
    HEADER_NAME,
    HEADER_VALUE,
    MAX_STOPS,
    NUMBER_LIMITS,
    ODD_PATTERN,
    REMOVED_MEMBERS,
    SCHEMA_LISTS,
    SCHEMA_MAPS,
    SCHEMA_PARTS,
    SCHEMA_WORDS,
    TRIED,
    TRIED_FUNCTION_WORDS,
    TRIED_WORDS,
    VARIABLE_HEADERS,
    VARIABLE_NUMBERS,
    VARIABLE_PLAIN,
    VARIABLE_STRUCTURES,
    VARIABLE_TIMES,
)

__all__ = ["sent_value"]

_MAX_DEPTH = 32
_LEAST, _GREATEST = -(2**63), 2**64 - 1  # of the whole numbers that all readers of JSON agree on
_EXACT = 2**53  # whole numbers below are floats, too


def sent_value(name: str, value: Any) -> tuple[bytes, Any] | None:
    """Return the ``value`` of variable argument ``name`` as it is sent, in JSON, and its kind; None if it has none.

    Of an argument that is not known here nothing is known: it is the provider's own.
    """
    kind: Any
    if name in VARIABLE_PLAIN:
        if not value or (type(value) is not str and type(value) is not int):
            return None
        kind = type(value) is int
    elif name in VARIABLE_NUMBERS:
        if type(value) is float:
            return (repr(value).encode(), (1, _cell(value))) if math.isfinite(value) else None
        if type(value) is not int:
            return None
        kind = 0, _cell(value)
    elif name in VARIABLE_TIMES:
        is_whole = type(value) is int
        if not is_whole and type(value) is not float:
            return None
        if not 0 < value < (_EXACT if is_whole else math.inf):
            return None
        return repr(float(value)).encode(), is_whole
    elif name in VARIABLE_HEADERS:
        if type(value) is not dict or not value or not _are_headers(value):
            return None
        kind = tuple(value)
    else:
        marks: set[str] = set()
        if name in VARIABLE_STRUCTURES:
            kind = _kind(name, value, marks)
        elif _is_plain(value, marks, 0):
            kind = type(value).__name__, not value, "floats" in marks
        else:
            kind = None
        if kind is None:
            return None
        if "floats" in marks:  # which are spelled in more ways than one
            try:
                return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(), kind
            except ValueError:
                return None
    try:
        return orjson.dumps(value), kind
    except orjson.JSONEncodeError:
        return None


def _are_headers(headers: dict[Any, Any]) -> bool:
    """Return whether ``headers`` are texts that go over the wire as they are."""
    for name, value in headers.items():
        if type(name) is not str or HEADER_NAME.fullmatch(name) is None:
            return False
        if type(value) is not str or HEADER_VALUE.fullmatch(value) is None:
            return False
    return True


def _cell(value: float) -> int:
    """Return between which limits a number lies, or upon which."""
    place = bisect_left(NUMBER_LIMITS, value)
    return 2 * place + (place < len(NUMBER_LIMITS) and NUMBER_LIMITS[place] == value)


def _kind(name: str, value: Any, marks: set[str]) -> Any:
    """Return the kind of a value that may have parts, None if it has none; ``marks`` are to be what tells it."""
    if name == "tools":
        is_known = type(value) is list and bool(value)
        for tool in value if is_known else ():
            is_known = is_known and _is_tool(tool, marks)
    elif name == "response_format":
        is_known = _is_format(value, marks)
    elif name == "tool_choice":
        is_known = _is_of(value, "function") and _is_named(value.get("function"))
        marks.add("type first" if is_known and next(iter(value)) == "type" else "")
    elif name == "logit_bias":
        is_known = type(value) is dict and bool(value)
        for token, bias in value.items() if is_known else ():
            is_known = is_known and type(token) is str and type(bias) in (int, float) and _is_leaf(bias, marks)
    elif type(value) is str:
        is_known = bool(value)
    else:
        is_known = type(value) is list and 0 < len(value) <= MAX_STOPS
        for text in value if is_known else ():
            is_known = is_known and type(text) is str and bool(text)
        marks.add(str(len(value)) if is_known else "")
    return tuple(sorted(marks)) if is_known else None


def _is_of(value: Any, kind: str) -> bool:
    """Return whether ``value`` is a dictionary of its type, which is ``kind``, and something of that name."""
    if type(value) is not dict or len(value) != 2:
        return False
    for name in value:
        if type(name) is not str:
            return False
    told = value.get("type")
    return type(told) is str and bool(told == kind) and kind in value


def _is_named(function: Any) -> bool:
    return type(function) is dict and len(function) == 1 and type(function.get("name")) is str


def _is_tool(tool: Any, marks: set[str]) -> bool:
    """Return whether ``tool`` is a function with a schema that is known."""
    if not _is_of(tool, "function"):
        return False
    marks.add("type first" if next(iter(tool)) == "type" else "function first")
    return _is_described(tool.get("function"), "parameters", marks)


def _is_format(value: Any, marks: set[str]) -> bool:
    """Return whether ``value`` asks for JSON after a schema that is known."""
    if not _is_of(value, "json_schema"):
        return False
    marks.add("type first" if next(iter(value)) == "type" else "schema first")
    described = value.get("json_schema")
    return type(described) is dict and "schema" in described and _is_described(described, "schema", marks)


def _is_described(described: Any, schema: str, marks: set[str]) -> bool:
    """Return whether something has a name and perhaps a description, a ``schema`` and strictness, and nothing else."""
    if type(described) is not dict or type(described.get("name")) is not str:
        return False
    for name, value in described.items():
        if type(name) is not str:
            return False
        if name == "description":
            if type(value) is not str:
                return False
        elif name == schema:
            if type(value) is not dict or value.get("type") != "object" or not _is_schema(value, True, marks, 0):
                return False
        elif name == "strict":
            if type(value) is not bool:
                return False
            marks.add("strict" if value else "not strict")
        elif name != "name":
            return False
    marks.add(",".join(described))
    return True


def _is_schema(schema: Any, is_functions: bool, marks: set[str], depth: int) -> bool:
    """Return whether ``schema`` says nothing that any provider's rules look at, but for what is in ``marks``."""
    if type(schema) is not dict or depth > _MAX_DEPTH:
        return False
    for word, value in schema.items():
        if type(word) is not str:
            return False
        if word not in (FUNCTION_WORDS if is_functions else SCHEMA_WORDS):
            if word not in (TRIED_FUNCTION_WORDS if is_functions else TRIED_WORDS):
                return False
            marks.add(DEFINITIONS if word == "definitions" else TRIED)
        if word in SCHEMA_MAPS:
            if type(value) is not dict:
                return False
            for name, held in value.items():
                if type(name) is not str or name in REMOVED_MEMBERS:
                    return False
                if not _is_schema(held, False, marks, depth + 1):
                    return False
        elif word in SCHEMA_PARTS:
            if not _is_schema(value, False, marks, depth + 1):
                return False
        elif word in SCHEMA_LISTS:
            if type(value) is not list:
                return False
            if word == "anyOf":
                marks.add("any of")
            for held in value:
                if not _is_schema(held, False, marks, depth + 1):
                    return False
        elif word == "additionalProperties":
            if type(value) is bool:
                marks.add("open" if value else "closed")
            elif _is_schema(value, False, marks, depth + 1):
                marks.add(TRIED)
            else:
                return False
        elif word == "pattern":
            if type(value) is not str or not _is_pattern(value):
                return False
        elif not _is_said(value, marks, depth):
            return False
    return True


def _is_pattern(pattern: str) -> bool:
    """Return whether Python can compile ``pattern``: LiteLLM takes others out of some providers' schemas."""
    if ODD_PATTERN.search(pattern) is not None:
        return False
    try:
        re.compile(pattern)
    except Exception:  # there are several
        return False
    return True


def _is_said(value: Any, marks: set[str], depth: int) -> bool:
    """Return whether ``value`` is what a schema says in one word, and holds nothing that rules take out."""
    if type(value) is dict:
        marks.add(TRIED)
        for name, held in value.items():
            if type(name) is not str or name in REMOVED_MEMBERS or depth > _MAX_DEPTH:
                return False
            if not _is_said(held, marks, depth + 1):
                return False
        return True
    if type(value) is list:
        for held in value:
            if type(held) is list:
                marks.add(TRIED)
            if depth > _MAX_DEPTH or not _is_said(held, marks, depth + 1):
                return False
        return True
    return _is_leaf(value, marks)


def _is_plain(value: Any, marks: set[str], depth: int) -> bool:
    """Return whether ``value`` is of dictionaries, lists, texts and numbers that JSON has, None and truths."""
    if depth > _MAX_DEPTH:
        return False
    if type(value) is dict:
        return all(type(name) is str and _is_plain(held, marks, depth + 1) for name, held in value.items())
    if type(value) is list:
        return all(_is_plain(held, marks, depth + 1) for held in value)
    return _is_leaf(value, marks)


def _is_leaf(value: Any, marks: set[str]) -> bool:
    """Return whether ``value`` is a text or a number that JSON has, or None or a truth."""
    kind = type(value)
    if kind is float:
        marks.add("floats")
        return True
    if kind is int:
        return bool(_LEAST <= value <= _GREATEST)
    return kind in (str, bool) or value is None
