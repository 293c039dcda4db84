"""Pydantic objects that come out the same each time, made without being validated anew.

Two objects that LiteLLM has made show which of their values are the same ones in both (numbers, texts, times, members
of enumerations), and which are equal but made for each object: empty or plain lists and dictionaries, and other
objects, of which the same is true. Anything else cannot be repeated.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel

_SIMPLE = (str, int, float, bool, bytes, datetime, type(None))
_PARTS = ("__pydantic_extra__", "__pydantic_private__")


class Differing(Exception):
    """Two objects differ, or hold what cannot be made anew; the text says where."""


class ObjectTemplate:
    """Makes objects like ``one`` and ``other``, two that agree; values of the fields in ``given`` are handed in."""

    def __init__(self, one: BaseModel, other: BaseModel, given: frozenset[str] = frozenset()) -> None:
        self._kind = type(one)
        if type(other) is not self._kind or one.__pydantic_fields_set__ != other.__pydantic_fields_set__:
            raise Differing(self._kind.__name__)
        if list(vars(one)) != list(vars(other)):
            raise Differing(f"fields of {self._kind.__name__}")
        self._fields = {name: None if name in given else value for name, value in vars(one).items()}
        self._makers = _makers({name: value for name, value in self._fields.items() if name not in given}, vars(other))
        self._set = frozenset(one.__pydantic_fields_set__)
        self._parts = [(name, _maker(getattr(one, name), getattr(other, name), name)) for name in _PARTS]

    def make(self, given: Mapping[str, Any]) -> Any:
        """Return a new object."""
        made = self._kind.__new__(self._kind)
        fields = self._fields.copy()
        for name, make in self._makers:
            fields[name] = make()
        fields.update(given)
        put = object.__setattr__
        put(made, "__dict__", fields)
        put(made, "__pydantic_fields_set__", set(self._set))
        for name, maker in self._parts:
            put(made, name, None if maker is None else maker())
        return made


def demand_own(one: BaseModel, other: BaseModel) -> None:
    """Raise ``Differing`` if both objects hold the very same thing, which may change."""
    for name, value in vars(one).items():
        if isinstance(value, dict | list | set | BaseModel) and value is vars(other).get(name):
            raise Differing(f"{name} is shared")


def _makers(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[tuple[str, Callable[[], Any]]]:
    """Return what makes those values that are made for each object."""
    found = [(name, _maker(value, other[name], name)) for name, value in one.items()]
    return [(name, maker) for name, maker in found if maker is not None]


def _maker(one: Any, other: Any, name: str) -> Callable[[], Any] | None:
    """Return what makes a value anew, None if it is the same one each time. Raises ``Differing``."""
    kind = type(one)
    if type(other) is not kind:
        raise Differing(name)
    if kind in _SIMPLE:
        if one != other:
            raise Differing(name)
        return None
    if isinstance(one, enum.Enum):
        if one is not other:
            raise Differing(name)
        return None
    if isinstance(one, BaseModel):
        template = ObjectTemplate(one, other)
        return lambda: template.make({})
    if kind is list and len(one) == len(other):
        if not one:
            return list
        items = [(item, _maker(item, pair, name)) for item, pair in zip(one, other, strict=True)]
        return lambda: [item if maker is None else maker() for item, maker in items]
    if kind is dict and list(one) == list(other):
        if not one:
            return dict
        if not all(type(key) is str for key in one):
            raise Differing(name)
        makers, values = _makers(one, other), dict(one)
        return lambda: {**values, **{key: maker() for key, maker in makers}}
    raise Differing(name)
