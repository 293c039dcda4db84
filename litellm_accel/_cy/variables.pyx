# cython: language_level=3, binding=True, boundscheck=False, wraparound=False
"""Values of arguments that differ from call to call: how they are sent, and of which kind they are.

LiteLLM treats some values otherwise than others: a temperature of 1, a fifth stop sequence, a schema with a regular
expression that Python does not know. Values of one kind are treated alike by all that is known of LiteLLM, schemas
whose kind is marked as tried where a trial shows it; a value of no kind is told from all others.
"""

from __future__ import annotations

import json
import math
import re

import orjson
from orjson import dumps as _dumps

# C globals: no dictionary look-up on the path of every call.
cdef frozenset FUNCTION_WORDS, REMOVED_MEMBERS, SCHEMA_LISTS, SCHEMA_MAPS, SCHEMA_PARTS, SCHEMA_WORDS
cdef frozenset TRIED_FUNCTION_WORDS, TRIED_WORDS
cdef frozenset VARIABLE_HEADERS, VARIABLE_NUMBERS, VARIABLE_PLAIN, VARIABLE_STRUCTURES, VARIABLE_TIMES
cdef Py_ssize_t MAX_STOPS
cdef object HEADER_NAME, HEADER_VALUE, ODD_PATTERN
cdef str DEFINITIONS, TRIED
cdef tuple NUMBER_LIMITS

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

cdef int _MAX_DEPTH = 32
cdef object _LEAST = -(2**63)  # of the whole numbers that all readers of JSON agree on
cdef object _GREATEST = 2**64 - 1
cdef object _EXACT = 2**53  # whole numbers below are floats, too


cpdef tuple sent_value(str name, object value):
    """Return the ``value`` of variable argument ``name`` as it is sent, in JSON, and its kind; None if it has none.

    Of an argument that is not known here nothing is known: it is the provider's own.
    """
    cdef set marks
    cdef bint is_whole
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
        if type(value) is not dict or len(<dict>value) == 0 or not _are_headers(<dict>value):
            return None
        kind = tuple(<dict>value)
    else:
        marks = set()
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
        return _dumps(value), kind
    except orjson.JSONEncodeError:
        return None


cdef bint _are_headers(dict headers) except -1:
    """Return whether ``headers`` are texts that go over the wire as they are."""
    for name, value in headers.items():
        if type(name) is not str or HEADER_NAME.fullmatch(name) is None:
            return False
        if type(value) is not str or HEADER_VALUE.fullmatch(value) is None:
            return False
    return True


cdef object _cell(object value):
    """Return between which limits a number lies, or upon which."""
    cdef Py_ssize_t place = 0
    for limit in NUMBER_LIMITS:
        if limit >= value:
            return 2 * place + (1 if limit == value else 0)
        place += 1
    return 2 * place


cdef object _kind(str name, object value, set marks):
    """Return the kind of a value that may have parts, None if it has none; ``marks`` are to be what tells it."""
    cdef bint is_known
    if name == "tools":
        is_known = type(value) is list and len(<list>value) > 0
        if is_known:
            for tool in <list>value:
                is_known = is_known and _is_tool(tool, marks)
    elif name == "response_format":
        is_known = _is_format(value, marks)
    elif name == "tool_choice":
        is_known = _is_of(value, "function") and _is_named((<dict>value).get("function"))
        marks.add("type first" if is_known and next(iter(value)) == "type" else "")
    elif name == "logit_bias":
        is_known = type(value) is dict and len(<dict>value) > 0
        if is_known:
            for token, bias in (<dict>value).items():
                is_known = (
                    is_known
                    and type(token) is str
                    and (type(bias) is int or type(bias) is float)
                    and _is_leaf(bias, marks)
                )
    elif type(value) is str:
        is_known = len(<str>value) > 0
    else:
        is_known = type(value) is list and 0 < len(<list>value) <= MAX_STOPS
        if is_known:
            for text in <list>value:
                is_known = is_known and type(text) is str and len(<str>text) > 0
        marks.add(str(len(<list>value)) if is_known else "")
    return tuple(sorted(marks)) if is_known else None


cdef bint _is_of(object value, str kind) except -1:
    """Return whether ``value`` is a dictionary of its type, which is ``kind``, and something of that name."""
    if type(value) is not dict or len(<dict>value) != 2:
        return False
    for name in <dict>value:
        if type(name) is not str:
            return False
    told = (<dict>value).get("type")
    return type(told) is str and told == kind and kind in <dict>value


cdef bint _is_named(object function) except -1:
    return type(function) is dict and len(<dict>function) == 1 and type((<dict>function).get("name")) is str


cdef bint _is_tool(object tool, set marks) except -1:
    """Return whether ``tool`` is a function with a schema that is known."""
    if not _is_of(tool, "function"):
        return False
    marks.add("type first" if next(iter(tool)) == "type" else "function first")
    return _is_described((<dict>tool).get("function"), "parameters", marks)


cdef bint _is_format(object value, set marks) except -1:
    """Return whether ``value`` asks for JSON after a schema that is known."""
    if not _is_of(value, "json_schema"):
        return False
    marks.add("type first" if next(iter(value)) == "type" else "schema first")
    described = (<dict>value).get("json_schema")
    return type(described) is dict and "schema" in <dict>described and _is_described(described, "schema", marks)


cdef bint _is_described(object described, str schema, set marks) except -1:
    """Return whether something has a name and perhaps a description, a ``schema`` and strictness, and nothing else."""
    if type(described) is not dict or type((<dict>described).get("name")) is not str:
        return False
    for name, value in (<dict>described).items():
        if type(name) is not str:
            return False
        if name == "description":
            if type(value) is not str:
                return False
        elif name == schema:
            if type(value) is not dict or (<dict>value).get("type") != "object":
                return False
            if not _is_schema(value, True, marks, 0):
                return False
        elif name == "strict":
            if type(value) is not bool:
                return False
            marks.add("strict" if value else "not strict")
        elif name != "name":
            return False
    marks.add(",".join(described))
    return True


cdef bint _is_schema(object schema, bint is_functions, set marks, int depth) except -1:
    """Return whether ``schema`` says nothing that any provider's rules look at, but for what is in ``marks``."""
    if type(schema) is not dict or depth > _MAX_DEPTH:
        return False
    for word, value in (<dict>schema).items():
        if type(word) is not str:
            return False
        if word not in (FUNCTION_WORDS if is_functions else SCHEMA_WORDS):
            if word not in (TRIED_FUNCTION_WORDS if is_functions else TRIED_WORDS):
                return False
            marks.add(DEFINITIONS if <str>word == "definitions" else TRIED)
        if word in SCHEMA_MAPS:
            if type(value) is not dict:
                return False
            for name, held in (<dict>value).items():
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
            if <str>word == "anyOf":
                marks.add("any of")
            for held in <list>value:
                if not _is_schema(held, False, marks, depth + 1):
                    return False
        elif <str>word == "additionalProperties":
            if type(value) is bool:
                marks.add("open" if value else "closed")
            elif _is_schema(value, False, marks, depth + 1):
                marks.add(TRIED)
            else:
                return False
        elif <str>word == "pattern":
            if type(value) is not str or not _is_pattern(value):
                return False
        elif not _is_said(value, marks, depth):
            return False
    return True


cdef bint _is_pattern(str pattern) except -1:
    """Return whether Python can compile ``pattern``: LiteLLM takes others out of some providers' schemas."""
    if ODD_PATTERN.search(pattern) is not None:
        return False
    try:
        re.compile(pattern)
    except Exception:  # there are several
        return False
    return True


cdef bint _is_said(object value, set marks, int depth) except -1:
    """Return whether ``value`` is what a schema says in one word, and holds nothing that rules take out."""
    if type(value) is dict:
        marks.add(TRIED)
        for name, held in (<dict>value).items():
            if type(name) is not str or name in REMOVED_MEMBERS or depth > _MAX_DEPTH:
                return False
            if not _is_said(held, marks, depth + 1):
                return False
        return True
    if type(value) is list:
        for held in <list>value:
            if type(held) is list:
                marks.add(TRIED)
            if depth > _MAX_DEPTH or not _is_said(held, marks, depth + 1):
                return False
        return True
    return _is_leaf(value, marks)


cdef bint _is_plain(object value, set marks, int depth) except -1:
    """Return whether ``value`` is of dictionaries, lists, texts and numbers that JSON has, None and truths."""
    if depth > _MAX_DEPTH:
        return False
    if type(value) is dict:
        for name, held in (<dict>value).items():
            if type(name) is not str or not _is_plain(held, marks, depth + 1):
                return False
        return True
    if type(value) is list:
        for held in <list>value:
            if not _is_plain(held, marks, depth + 1):
                return False
        return True
    return _is_leaf(value, marks)


cdef bint _is_leaf(object value, set marks) except -1:
    """Return whether ``value`` is a text or a number that JSON has, or None or a truth."""
    kind = type(value)
    if kind is float:
        marks.add("floats")
        return True
    if kind is int:
        return _LEAST <= value <= _GREATEST
    return kind is str or kind is bool or value is None
