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

cdef extern from "Python.h":
    void PyObject_GC_UnTrack(void *op)

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
        self._made = _Node(root)

    cpdef object build(self, list leaves, dict slots):
        """Return the tree with ``leaves`` and ``slots`` in their places. Containers and objects are always new."""
        return _make(<_Node>self._made, leaves, slots)


cdef class _Node:
    """A node, laid out for ``_make``.

    ``example`` is a dictionary to copy: it has those members that come before any that another dictionary gives, in
    their order, with constants in their places. ``keys`` and ``nodes`` are of the members that are then put in.
    """

    cdef int kind
    cdef Py_ssize_t index
    cdef object value  # a constant, a prefix, a class, or the name of a slot
    cdef dict example
    cdef tuple keys
    cdef tuple nodes
    cdef set fields_set
    cdef bint has_names_alone

    def __init__(self, tuple node):
        cdef list varying = []
        cdef bint is_spread = False
        self.kind = node[0]
        if self.kind == _LEAF:
            self.index = node[1]
        elif self.kind == _PREFIXED:
            self.value, self.index = node[1:]
        elif self.kind == _LIST_NODE:
            self.nodes = tuple([_Node(part) for part in node[1]])
        elif self.kind == _MODEL:
            self.value = node[1]
            self.fields_set = set(node[3])
            self.has_names_alone = all([type(name) is str for name in self.fields_set])
            self.nodes = _Node(node[2]), _Node(node[4]), _Node(node[5])
        elif self.kind == _DICT_NODE:
            self.example = {}
            for key, item in zip(node[1], node[2]):
                is_spread = is_spread or item[0] == _SPREAD
                if not is_spread:
                    self.example[key] = item[1] if item[0] == _CONSTANT else None
                if is_spread or item[0] != _CONSTANT:
                    varying.append((key, _Node(item)))
            self.keys = tuple([key for key, _ in varying])
            self.nodes = tuple([item for _, item in varying])
        elif self.kind != _CLOCK:
            self.value = node[1]


cdef object _make(_Node node, list leaves, dict slots):
    cdef int kind = node.kind
    cdef Py_ssize_t i
    cdef _Node item
    cdef dict held
    cdef set names
    if kind == _CONSTANT:
        return node.value
    if kind == _LEAF:
        return leaves[node.index]
    if kind == _MODEL:
        made = accel_new(node.value, ())
        names = set(node.fields_set)
        if node.has_names_alone:  # no part of a cycle: of all that a chunk holds the collector has the less to look at
            PyObject_GC_UnTrack(<void *>names)
        PyObject_GenericSetAttr(made, "__dict__", _make(<_Node>PyTuple_GET_ITEM(node.nodes, 0), leaves, slots))
        PyObject_GenericSetAttr(made, "__pydantic_fields_set__", names)
        PyObject_GenericSetAttr(
            made, "__pydantic_extra__", _make(<_Node>PyTuple_GET_ITEM(node.nodes, 1), leaves, slots)
        )
        PyObject_GenericSetAttr(
            made, "__pydantic_private__", _make(<_Node>PyTuple_GET_ITEM(node.nodes, 2), leaves, slots)
        )
        return made
    if kind == _DICT_NODE:
        held = node.example.copy()
        for i in range(PyTuple_GET_SIZE(node.keys)):
            item = <_Node>PyTuple_GET_ITEM(node.nodes, i)
            if item.kind == _SPREAD:
                held.update(slots[item.value])
            else:
                held[node.keys[i]] = _make(item, leaves, slots)
        return held
    if kind == _LIST_NODE:
        return [_make(<_Node>part, leaves, slots) for part in node.nodes]
    if kind == _PREFIXED:
        return <str>node.value + <str>leaves[node.index]
    if kind == _CLOCK:
        return time.time()
    return slots[node.value]
