# cython: language_level=3, binding=True, boundscheck=False, wraparound=False
"""Embeddings: the input of a call as it is sent, and the vectors of its answer as LiteLLM returns them."""

from __future__ import annotations

import re
from typing import Any

import orjson
from orjson import dumps as _dumps

from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject
from libc.math cimport signbit

__all__ = ["entries_of", "input_of"]

cdef double _WHOLE = 2.0**63  # beyond it parsers of JSON disagree on what is an integer
cdef object _EXACT = 2**53  # beyond it not every integer is a float
_MINUS_ZERO = re.compile(rb"-0[\s,\]]")  # an integer, whose sign Python's own parser drops


def input_of(value: Any) -> tuple[str, bytes] | None:
    """Return what sort of input ``value`` is, and it in JSON as the provider SDK writes it.

    That is ``text``, ``texts``, ``tokens`` or ``lists of tokens``. None for anything else, and for what is empty.
    """
    cdef str sort
    if type(value) is str:
        sort = "text"
    elif type(value) is not list or not value:
        return None
    elif _are_all(<list>value, str):
        sort = "texts"
    elif _are_all(<list>value, int):
        sort = "tokens"
    else:
        for tokens in <list>value:
            if type(tokens) is not list or not _are_all(<list>tokens, int):
                return None
        sort = "lists of tokens"
    try:
        return (sort, _dumps(value)) if value else None
    except orjson.JSONEncodeError:
        return None


def entries_of(data: Any, text: bytes | None, by_sdk: bool) -> list[Any] | None:
    """Return the entries of an answer as LiteLLM returns them, of its parsed ``data``; None if stock must judge them.

    Where they came ``by_sdk``, its objects have put their members in order and made floats of integers. ``text`` is
    what was parsed; it is asked where a vector holds a minus zero, which parsers of JSON read in different ways.
    """
    if type(data) is not list or not data:
        return None
    cdef list entries = []
    cdef bint is_sure = False
    cdef bint ordered = by_sdk
    cdef int state
    for entry in <list>data:
        if type(entry) is not dict or len(<dict>entry) != 3:
            return None
        vector, index, kind = (<dict>entry).get("embedding"), (<dict>entry).get("index"), (<dict>entry).get("object")
        if type(index) is not int or type(kind) is not str or kind != "embedding":
            return None
        if type(vector) is list:
            state = _read(<list>vector, ordered)
            if state < 0:
                return None
            if state and not is_sure:
                if text is None or _MINUS_ZERO.search(text) is not None:
                    return None
                is_sure = True
        elif type(vector) is not str:
            return None
        entries.append({"embedding": vector, "index": index, "object": kind} if ordered else entry)
    return entries


cdef bint _are_all(list values, object kind):
    """Return whether ``values``, if there are any, are of a ``kind`` and of no other."""
    if not values:
        return False
    for value in values:
        if type(value) is not kind:
            return False
    return True


cdef int _read(list vector, bint by_sdk) except -2:
    """Return -1 if a ``vector`` holds anything but plain numbers, 1 if a minus zero, else 0; put floats in place."""
    cdef int found = 0
    cdef Py_ssize_t place
    cdef double number
    cdef PyObject *value
    for place in range(PyList_GET_SIZE(vector)):
        value = PyList_GET_ITEM(vector, place)
        if PyFloat_CheckExact(<object>value):
            number = PyFloat_AS_DOUBLE(<object>value)
            if not -_WHOLE < number < _WHOLE:
                return -1
            if number == 0.0 and signbit(number):
                found = 1
        elif type(<object>value) is int and -_EXACT <= <object>value <= _EXACT:
            if by_sdk:
                vector[place] = float(<object>value)
        else:
            return -1
    return found
