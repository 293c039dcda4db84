"""Builds an object tree from the leaves of a JSON value, after an example of how that is done."""

from __future__ import annotations

import math
import time
from typing import Any

from litellm_accel.fastpath.known_names import FINISH_REASONS, REASONING_TAGS, TELLING_MEMBERS, TREATED_VALUES

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

CONSTANT, LEAF, PREFIXED, LIST, DICT, MODEL, SLOT, SPREAD, CLOCK = range(9)
_FALSE, _TRUE, _NULL, _EMPTY, _TEXT, _ZERO, _POSITIVE, _NEGATIVE, _FLOAT, _LIST, _DICT = range(11)

_MAX_LEAVES = 400
_WHOLE = 2.0**63  # beyond it parsers of JSON disagree on what is an integer
_set = object.__setattr__


def leaves_of(value: Any) -> tuple[tuple[Any, ...], list[Any]] | None:
    """Return the shape of a parsed JSON value (a hashable) and its leaves: the strings and numbers in it, in order.

    Two values of one shape differ in nothing but their leaves, and those agree in being empty, zero, positive or
    negative. Returns None for what may be treated by content: reasoning inside tags, values LiteLLM acts on, unknown
    finish reasons, details of them, enormous numbers, minus zero, more leaves than a template is worth.
    """
    shape: list[Any] = []
    leaves: list[Any] = []
    if _walk(value, "", shape, leaves):
        return tuple(shape), leaves
    return None


def _walk(value: Any, key: str, shape: list[Any], leaves: list[Any]) -> bool:
    kind = type(value)
    if kind is str:
        if key in TELLING_MEMBERS:
            if len(value) > 40 or (key == "finish_reason" and value not in FINISH_REASONS):
                return False
            shape.append(value)
            return True
        if key == "content" and value.startswith(REASONING_TAGS):
            return False
        if key == "finish_details" or value in TREATED_VALUES:
            return False
        shape.append(_TEXT if value else _EMPTY)
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
        shape.append(tuple(value))
        for name, item in value.items():
            if not _walk(item, name, shape, leaves):
                return False
    elif kind is list:
        shape.append(_LIST)
        shape.append(len(value))
        for item in value:
            if not _walk(item, key, shape, leaves):
                return False
    else:
        if not -_WHOLE < value < _WHOLE or (not value and math.copysign(1.0, value) < 0):
            return False
        shape.append(_FLOAT)
        shape.append(_POSITIVE if value > 0 else _NEGATIVE if value < 0 else _ZERO)
        leaves.append(value)
    return len(leaves) <= _MAX_LEAVES


class Template:
    """A tree of nodes; ``build`` makes the object tree it describes.

    A node is ``(CONSTANT, value)``, ``(LEAF, index)``, ``(PREFIXED, prefix, index)``, ``(LIST, nodes)``,
    ``(DICT, keys, nodes)``, ``(SLOT, name)``, ``(CLOCK,)`` for the time now, or ``(MODEL, class, fields, fields_set,
    extra, private)`` for a pydantic object, where fields, extra and private are DICT nodes or ``(CONSTANT, None)`` and
    are put in place as they are, without validation. Among the nodes of a DICT, ``(SPREAD, name)`` stands for all
    members of the dictionary in that slot.
    """

    __slots__ = ("root",)

    def __init__(self, root: tuple[Any, ...]) -> None:
        self.root = root

    def build(self, leaves: list[Any], slots: dict[str, Any]) -> Any:
        """Return the tree with ``leaves`` and ``slots`` in their places. Containers and objects are always new."""
        return _make(self.root, leaves, slots)


def _make(node: tuple[Any, ...], leaves: list[Any], slots: dict[str, Any]) -> Any:
    kind = node[0]
    if kind == CONSTANT:
        return node[1]
    if kind == LEAF:
        return leaves[node[1]]
    if kind == MODEL:
        _, model, fields, fields_set, extra, private = node
        made = model.__new__(model)
        _set(made, "__dict__", _make(fields, leaves, slots))
        _set(made, "__pydantic_fields_set__", set(fields_set))
        _set(made, "__pydantic_extra__", _make(extra, leaves, slots))
        _set(made, "__pydantic_private__", _make(private, leaves, slots))
        return made
    if kind == DICT:
        held: dict[Any, Any] = {}
        for key, item in zip(node[1], node[2], strict=True):
            if item[0] == SPREAD:
                held.update(slots[item[1]])
            else:
                held[key] = _make(item, leaves, slots)
        return held
    if kind == LIST:
        return [_make(item, leaves, slots) for item in node[1]]
    if kind == PREFIXED:
        return node[1] + leaves[node[2]]
    if kind == CLOCK:
        return time.time()
    return slots[node[1]]
