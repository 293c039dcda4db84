"""The parts of a payload that are made of each answer: a dictionary of the answer, and of its headers."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["dumped", "numbered"]

_NO_NUMBER = re.compile(r"[!-*,./:-^`-\x7f]|[!-~][+-]")
_LEAVES = frozenset((str, int, float, bool, type(None)))


def dumped(model: Any, known: dict[type, dict[str, tuple[frozenset[type], frozenset[type]]]]) -> dict[str, Any] | None:
    """Return what pydantic makes of a ``model`` without what is unset; None if not all that is in it is ``known``.

    ``known`` has, by classes of models and names of members, the types of their values and of the items of those that
    are lists. Values are texts, numbers, truth values, None, models, lists of these and empty dictionaries.
    """
    fields = known.get(type(model))
    if fields is None:
        return None
    made: dict[str, Any] = {}
    names = model.__pydantic_fields_set__
    for name, value in model.__dict__.items():
        if name in names and not _put(made, name, value, fields, known):
            return None
    for name, value in (model.__pydantic_extra__ or {}).items():
        if not _put(made, name, value, fields, known):
            return None
    return made


def _put(made: dict[str, Any], name: str, value: Any, fields: Any, known: Any) -> bool:
    kinds, kind = fields.get(name), type(value)
    if kinds is None or kind not in kinds[0]:
        return False
    if kind in _LEAVES:
        made[name] = value
    elif kind is list:
        items = []
        for item in value:
            kind = type(item)
            if kind not in kinds[1]:
                return False
            if kind not in _LEAVES:
                item = dumped(item, known)
                if item is None:
                    return False
            items.append(item)
        made[name] = items
    elif kind is dict:
        if value:
            return False
        made[name] = {}
    else:
        made[name] = held = dumped(value, known)
        return held is not None
    return True


def numbered(headers: dict[Any, Any], known: tuple[tuple[Any, Any, bool], ...]) -> dict[Any, Any]:
    """Return a dictionary of ``headers``: ``known`` has ``(name in it, name of the header, whether it is a number)``.

    What should be a number and is none stays as it is.
    """
    return {kept: _number(headers[name]) if counts else headers[name] for kept, name, counts in known}


def _number(value: Any) -> Any:
    if type(value) is str and _NO_NUMBER.search(value):  # no exception is made for what is clearly no number
        return value
    try:
        return int(value)
    except (ValueError, TypeError):
        return value
