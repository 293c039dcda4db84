"""Notices that one of many dictionaries or classes has changed since it was last looked at."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType
from typing import Any

__all__ = ["Classes", "Watch", "namespace"]


def namespace(owner: Any) -> dict[str, Any] | MappingProxyType[str, Any]:
    """Return the dictionary that holds the attributes of a module, class or instance."""
    return vars(owner)


class Watch:
    """A set of dictionaries and lists that are expected to stay as they are.

    ``changed()`` is true if any of them may have changed since ``mark()``; ``differences()`` then tells what really
    did. Compiled, CPython itself tells whether a dictionary was written to, and only then is anything compared; the
    pure twin compares every value, by identity.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._dicts: list[Any] = []
        self._seen: list[dict[Any, Any]] = []
        self._list_names: list[str] = []
        self._lists: list[list[Any]] = []
        self._items: list[tuple[Any, ...]] = []

    def __len__(self) -> int:
        return len(self._dicts) + len(self._lists)

    def add(self, name: str, owner: Any) -> None:
        """Watch ``owner``: a dictionary, a list, or a module, class or instance for its attributes."""
        if isinstance(owner, list):
            self._list_names.append(name)
            self._lists.append(owner)
            self._items.append(tuple(owner))
            return
        held = owner if isinstance(owner, dict) else namespace(owner)
        self._names.append(name)
        self._dicts.append(held)
        self._seen.append(dict(held))

    def changed(self) -> bool:
        """Return whether something may have been written since ``mark()``."""
        for now, before in zip(self._lists, self._items, strict=True):
            if not _same(now, before):
                return True
        for held, seen in zip(self._dicts, self._seen, strict=True):
            if len(held) != len(seen):
                return True
            for key, value in held.items():
                if seen.get(key, _MISSING) is not value:
                    return True
        return False

    def differences(self) -> list[tuple[str, Any]]:
        """Return ``(name, key)`` of each value that is another object than at ``mark()``, was added or taken away.

        For a list the key is None.
        """
        found: list[tuple[str, Any]] = []
        for name, now, before in zip(self._list_names, self._lists, self._items, strict=True):
            if not _same(now, before):
                found.append((name, None))
        for name, held, seen in zip(self._names, self._dicts, self._seen, strict=True):
            now_held = dict(held)
            for key, value in now_held.items():
                if seen.get(key, _MISSING) is not value:
                    found.append((name, key))
            found += [(name, key) for key in seen if key not in now_held]
        return found

    def mark(self) -> None:
        """Take what is there now as unchanged."""
        self._items = [tuple(held) for held in self._lists]
        self._seen = [dict(held) for held in self._dicts]


_MISSING = object()


def _same(now: list[Any], before: tuple[Any, ...]) -> bool:
    return len(now) == len(before) and all(one is other for one, other in zip(now, before, strict=True))


class Classes:
    """The attributes by some names of classes, wherever among their bases they come from; others may change.

    ``changed()`` is true if any of them is another object than when this was made. Compiled, CPython's own version of a
    class, which each write to it or to a base renews, says whether there is anything to compare.
    """

    def __init__(self, classes: Iterable[type], names: Iterable[str]) -> None:
        self._classes = tuple(classes)
        self._names = tuple(names)
        self._held = [self._now(kind) for kind in self._classes]

    def _now(self, kind: type) -> tuple[Any, ...]:
        found: dict[str, Any] = {}
        for owner in reversed(kind.__mro__):
            found.update(vars(owner))
        return tuple(map(found.get, self._names))

    def changed(self) -> bool:
        """Return whether any of the attributes is another object now."""
        for kind, held in zip(self._classes, self._held, strict=True):
            for before, now in zip(held, self._now(kind), strict=True):
                if before is not now:
                    return True
        return False
