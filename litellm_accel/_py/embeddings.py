"""Embeddings: the input of a call as it is sent, and the vectors of its answer as LiteLLM returns them."""

from __future__ import annotations

import re
from typing import Any

import orjson

__all__ = ["entries_of", "input_of"]

_WHOLE = 2.0**63  # beyond it parsers of JSON disagree on what is an integer
_EXACT = 2**53  # beyond it not every integer is a float
_MINUS_ZERO = re.compile(rb"-0[\s,\]]")  # an integer, whose sign Python's own parser drops


def input_of(value: Any) -> tuple[str, bytes] | None:
    """Return what sort of input ``value`` is, and it in JSON as the provider SDK writes it.

    That is ``text``, ``texts``, ``tokens`` or ``lists of tokens``. None for anything else, and for what is empty.
    """
    if type(value) is str:
        sort = "text"
    elif type(value) is not list or not value:
        return None
    elif _are_all(value, str):
        sort = "texts"
    elif _are_all(value, int):
        sort = "tokens"
    elif all(type(tokens) is list and _are_all(tokens, int) for tokens in value):
        sort = "lists of tokens"
    else:
        return None
    try:
        return (sort, orjson.dumps(value)) if value else None
    except orjson.JSONEncodeError:
        return None


def entries_of(data: Any, text: bytes | None, by_sdk: bool) -> list[Any] | None:
    """Return the entries of an answer as LiteLLM returns them, of its parsed ``data``; None if stock must judge them.

    Where they came ``by_sdk``, its objects have put their members in order and made floats of integers. ``text`` is
    what was parsed; it is asked where a vector holds a minus zero, which parsers of JSON read in different ways.
    """
    if type(data) is not list or not data:
        return None
    entries = []
    is_sure = False
    for entry in data:
        if type(entry) is not dict or len(entry) != 3:
            return None
        vector, index, kind = entry.get("embedding"), entry.get("index"), entry.get("object")
        if type(index) is not int or type(kind) is not str or kind != "embedding":
            return None
        if type(vector) is list:
            state = _read(vector, by_sdk)
            if state < 0:
                return None
            if state and not is_sure:
                if text is None or _MINUS_ZERO.search(text) is not None:
                    return None
                is_sure = True
        elif type(vector) is not str:
            return None
        entries.append({"embedding": vector, "index": index, "object": kind} if by_sdk else entry)
    return entries


def _are_all(values: list[Any], kind: type) -> bool:
    """Return whether ``values``, if there are any, are of a ``kind`` and of no other."""
    return bool(values) and all(type(value) is kind for value in values)


def _read(vector: list[Any], by_sdk: bool) -> int:
    """Return -1 if a ``vector`` holds anything but plain numbers, 1 if a minus zero, else 0; put floats in place."""
    found = 0
    for place, value in enumerate(vector):
        if type(value) is float:
            if not -_WHOLE < value < _WHOLE:
                return -1
            if not value and str(value) == "-0.0":
                found = 1
        elif type(value) is int and -_EXACT <= value <= _EXACT:
            if by_sdk:
                vector[place] = float(value)
        else:
            return -1
    return found
