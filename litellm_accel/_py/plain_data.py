"""Whether data is of the plainest kind, so that making a copy of it changes nothing."""

from __future__ import annotations

from math import isfinite
from typing import Any

__all__ = ["is_plain"]

_NUL = "\x00"


def is_plain(data: Any, levels: int, finite: bool) -> bool:
    """Return whether ``data`` is a tree of texts, numbers, truth values, None, lists, tuples and dictionaries.

    It is at most ``levels`` deep; its keys are texts, no text holds a NUL, and no type is derived from another. If it
    must be ``finite``, no number is infinite or none at all.
    """
    if levels < 0:
        return False
    kind = type(data)
    if kind is str:
        return _NUL not in data
    if data is None or kind is int or kind is bool:
        return True
    if kind is float:
        return not finite or isfinite(data)
    if kind is dict:
        return all(
            type(key) is str and _NUL not in key and is_plain(value, levels - 1, finite) for key, value in data.items()
        )
    return kind in (list, tuple) and all(is_plain(value, levels - 1, finite) for value in data)
