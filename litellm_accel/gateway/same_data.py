"""Whether two values hold the same data, of the same types all through."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from types import MappingProxyType
from typing import Any

_SIMPLE = (str, int, float, bool, bytes, type(None))


def is_same_data(one: Any, other: Any) -> bool:
    """Return whether both are one object, or plain data, or data classes of it, that are equal."""
    kind = type(one)
    if one is other or type(other) is not kind:
        return one is other
    if kind in _SIMPLE:
        return bool(one == other)
    if kind in (dict, MappingProxyType):
        return list(one) == list(other) and _are_texts(one) and _are_same(one.values(), other.values())
    if kind in (list, tuple):
        return len(one) == len(other) and _are_same(one, other)
    if kind in (set, frozenset):
        return bool(one == other) and _are_texts(one)
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
        return _are_same((getattr(one, name) for name in names), (getattr(other, name) for name in names))
    return False


def _are_same(ones: Iterable[Any], others: Iterable[Any]) -> bool:
    return all(map(is_same_data, ones, others))


def _are_texts(names: Iterable[Any]) -> bool:
    return all(type(name) is str for name in names)
