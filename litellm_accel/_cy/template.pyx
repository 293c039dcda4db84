# cython: language_level=3, binding=True, boundscheck=False, wraparound=False
"""Builds an object tree from the leaves of a JSON value, after an example of how that is done."""

from __future__ import annotations

import math
import time
from typing import Any

from cpython.object cimport PyObject_GenericSetAttr
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE

# C globals: no dictionary look-up on the path of every call.
cdef frozenset FINISH_REASONS, TELLING_MEMBERS, TREATED_VALUES
cdef tuple REASONING_TAGS

from litellm_accel.fastpath.known_names import FINISH_REASONS, REASONING_TAGS, TELLING_MEMBERS, TREATED_VALUES

cdef extern from *:
    """
    static PyObject *accel_new(PyObject *kind, PyObject *arguments)
    {
        return ((PyTypeObject *)kind)->tp_new((PyTypeObject *)kind, arguments, NULL);
    }
    """
    object accel_new(object kind, tuple arguments)

__all__ = [
    "CLOCK",
    "CONSTANT",
    "DICT",
    "LEAF",
    "LIST",
    "MODEL",
    "PREFIXED",
    "SLOT",
    "SPREAD",
    "Template",
    "leaves_of",
]

cdef enum Kind:
    _CONSTANT, _LEAF, _PREFIXED, _LIST_NODE, _DICT_NODE, _MODEL, _SLOT, _SPREAD, _CLOCK

CONSTANT, LEAF, PREFIXED, LIST, DICT, MODEL, SLOT, SPREAD, CLOCK = range(9)

cdef object _FALSE = 0
cdef object _TRUE = 1
cdef object _NULL = 2
cdef object _EMPTY = 3
cdef object _TEXT = 4
cdef object _ZERO = 5
cdef object _POSITIVE = 6
cdef object _NEGATIVE = 7
cdef object _FLOAT = 8
cdef object _LIST = 9
cdef object _DICT = 10

cdef Py_ssize_t _MAX_LEAVES = 400
cdef double _WHOLE = 2.0**63  # beyond it parsers of JSON disagree on what is an integer


def leaves_of(value: Any) -> tuple[tuple[Any, ...], list[Any]] | None:
    """Return the shape of a parsed JSON value (a hashable) and its leaves: the strings and numbers in it, in order.

    Two values of one shape differ in nothing but their leaves, and those agree in being empty, zero, positive or
    negative. Returns None for what may be treated by content: reasoning inside tags, values LiteLLM acts on, unknown
    finish reasons, details of them, enormous numbers, minus zero, more leaves than a template is worth.
    """
    cdef list shape = []
    cdef list leaves = []
    if _walk(value, "", shape, leaves):
        return tuple(shape), leaves
    return None


cdef bint _walk(object value, object key, list shape, list leaves) except -1:
    kind = type(value)
    if kind is str:
        if key in TELLING_MEMBERS:
            if len(<str>value) > 40 or (key == "finish_reason" and value not in FINISH_REASONS):
                return False
            shape.append(value)
            return True
        if not <str>value:
            shape.append(_EMPTY)
        else:
            if (<str>value)[0] == u"<" and key == "content" and (<str>value).startswith(REASONING_TAGS):
                return False
            if key == "finish_details" or value in TREATED_VALUES:
                return False
            shape.append(_TEXT)
        leaves.append(value)
    elif kind is int:
        shape.append(_POSITIVE if value > 0 else _NEGATIVE if value else _ZERO)
        leaves.append(value)
    elif value is None:
        shape.append(_NULL)
    elif kind is bool:
        shape.append(_TRUE if value else _FALSE)
    elif kind is dict:
        shape.append(_DICT)
        shape.append(tuple(<dict>value))
        for name, item in (<dict>value).items():
            if not _walk(item, name, shape, leaves):
                return False
    elif kind is list:
        shape.append(_LIST)
        shape.append(len(<list>value))
        for item in <list>value:
            if not _walk(item, key, shape, leaves):
                return False
    else:
        if not -_WHOLE < value < _WHOLE or (not value and math.copysign(1.0, value) < 0):
            return False
        shape.append(_FLOAT)
        shape.append(_POSITIVE if value > 0 else _NEGATIVE if value < 0 else _ZERO)
        leaves.append(value)
    return len(leaves) <= _MAX_LEAVES


cdef class Template:
    """A tree of nodes; ``build`` makes the object tree it describes.

    A node is ``(CONSTANT, value)``, ``(LEAF, index)``, ``(PREFIXED, prefix, index)``, ``(LIST, nodes)``,
    ``(DICT, keys, nodes)``, ``(SLOT, name)``, ``(CLOCK,)`` for the time now, or ``(MODEL, class, fields, fields_set,
    extra, private)`` for a pydantic object, where fields, extra and private are DICT nodes or ``(CONSTANT, None)`` and
    are put in place as they are, without validation. Among the nodes of a DICT, ``(SPREAD, name)`` stands for all
    members of the dictionary in that slot.
    """

    def __init__(self, root: tuple[Any, ...]) -> None:
        self.root = root

    cpdef object build(self, list leaves, dict slots):
        """Return the tree with ``leaves`` and ``slots`` in their places. Containers and objects are always new."""
        return _make(self.root, leaves, slots)


cdef object _make(tuple node, list leaves, dict slots):
    cdef int kind = <object>PyTuple_GET_ITEM(node, 0)
    cdef Py_ssize_t i
    cdef tuple keys, nodes, item
    cdef dict held
    if kind == _CONSTANT:
        return <object>PyTuple_GET_ITEM(node, 1)
    if kind == _LEAF:
        return leaves[<Py_ssize_t>node[1]]
    if kind == _MODEL:
        model = node[1]
        made = accel_new(model, ())
        PyObject_GenericSetAttr(made, "__dict__", _make(node[2], leaves, slots))
        PyObject_GenericSetAttr(made, "__pydantic_fields_set__", set(node[3]))
        PyObject_GenericSetAttr(made, "__pydantic_extra__", _make(node[4], leaves, slots))
        PyObject_GenericSetAttr(made, "__pydantic_private__", _make(node[5], leaves, slots))
        return made
    if kind == _DICT_NODE:
        keys = node[1]
        nodes = node[2]
        held = {}
        for i in range(PyTuple_GET_SIZE(keys)):
            item = <tuple>PyTuple_GET_ITEM(nodes, i)
            if <int>(<object>PyTuple_GET_ITEM(item, 0)) == _SPREAD:
                held.update(slots[item[1]])
            else:
                held[keys[i]] = _make(item, leaves, slots)
        return held
    if kind == _LIST_NODE:
        return [_make(<tuple>part, leaves, slots) for part in <tuple>node[1]]
    if kind == _PREFIXED:
        return <str>node[1] + <str>leaves[<Py_ssize_t>node[2]]
    if kind == _CLOCK:
        return time.time()
    return slots[node[1]]
