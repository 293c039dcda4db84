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

    __slots__ = ("_made", "root")

    def __init__(self, root: tuple[Any, ...]) -> None:
        self.root = root
        self._made = _Node(root)

    def build(self, leaves: list[Any], slots: dict[str, Any]) -> Any:
        """Return the tree with ``leaves`` and ``slots`` in their places. Containers and objects are always new."""
        return _make(self._made, leaves, slots)


class _Node:
    """A node, laid out for ``_make``.

    ``example`` is a dictionary to copy: it has those members that come before any that another dictionary gives, in
    their order, with constants in their places. ``keys`` and ``nodes`` are of the members that are then put in.
    """

    __slots__ = ("example", "fields_set", "index", "keys", "kind", "nodes", "value")

    def __init__(self, node: tuple[Any, ...]) -> None:
        self.kind: int = node[0]
        self.index: int = 0
        self.value: Any = None  # a constant, a prefix, a class, or the name of a slot
        self.nodes: tuple[_Node, ...] = ()
        if self.kind == LEAF:
            self.index = node[1]
        elif self.kind == PREFIXED:
            self.value, self.index = node[1:]
        elif self.kind == LIST:
            self.nodes = tuple(_Node(part) for part in node[1])
        elif self.kind == MODEL:
            self.value = node[1]
            self.fields_set: set[str] = set(node[3])
            self.nodes = _Node(node[2]), _Node(node[4]), _Node(node[5])
        elif self.kind == DICT:
            varying: list[tuple[Any, _Node]] = []
            is_spread = False
            self.example: dict[Any, Any] = {}
            for key, item in zip(node[1], node[2], strict=True):
                is_spread = is_spread or item[0] == SPREAD
                if not is_spread:
                    self.example[key] = item[1] if item[0] == CONSTANT else None
                if is_spread or item[0] != CONSTANT:
                    varying.append((key, _Node(item)))
            self.keys = tuple(key for key, _ in varying)
            self.nodes = tuple(item for _, item in varying)
        elif self.kind != CLOCK:
            self.value = node[1]


def _make(node: _Node, leaves: list[Any], slots: dict[str, Any]) -> Any:
    kind = node.kind
    if kind == CONSTANT:
        return node.value
    if kind == LEAF:
        return leaves[node.index]
    if kind == MODEL:
        fields, extra, private = node.nodes
        made = node.value.__new__(node.value)
        _set(made, "__dict__", _make(fields, leaves, slots))
        _set(made, "__pydantic_fields_set__", node.fields_set.copy())
        _set(made, "__pydantic_extra__", _make(extra, leaves, slots))
        _set(made, "__pydantic_private__", _make(private, leaves, slots))
        return made
    if kind == DICT:
        held = node.example.copy()
        for key, item in zip(node.keys, node.nodes, strict=True):
            if item.kind == SPREAD:
                held.update(slots[item.value])
            else:
                held[key] = _make(item, leaves, slots)
        return held
    if kind == LIST:
        return [_make(part, leaves, slots) for part in node.nodes]
    if kind == PREFIXED:
        return node.value + leaves[node.index]
    if kind == CLOCK:
        return time.time()
    return slots[node.value]
