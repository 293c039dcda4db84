"""Notices that one of many dictionaries or classes has changed since it was last looked at."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable, Iterable
from itertools import compress
from operator import is_, is_not, ne
from types import MappingProxyType
from typing import Any

__all__ = ["MISSING", "Classes", "Watch", "namespace"]

#: What was there before something was added.
MISSING = object()
# Where a dictionary has its version, after its reference count, its type and its size; and how many bytes that takes.
_TAG_OFFSET, _TAG_SIZE = 24, 8


def namespace(owner: Any) -> dict[str, Any] | MappingProxyType[str, Any]:
    """Return the dictionary that holds the attributes of a module, class or instance."""
    held: dict[str, Any] | MappingProxyType[str, Any] = vars(owner)
    return held


def tag_of(held: dict[Any, Any]) -> Any:
    """Return what shows the version that CPython gives ``held`` with each write to it, in its ``value``."""
    return ctypes.c_uint64.from_address(id(held) + _TAG_OFFSET)


def _has_tags() -> bool:
    """Return whether this Python's dictionaries have such versions (PEP 509): each write must change one."""
    if sys.implementation.name != "cpython" or not (3, 10) <= sys.version_info[:2] <= (3, 13):
        return False
    if hasattr(sys, "abiflags") and "t" in sys.abiflags:
        return False
    held: dict[Any, Any] = {"a": 1}
    tag, shown = tag_of(held), set()
    steps: tuple[Callable[[], Any], ...] = (
        lambda: held.update(a=2),
        lambda: held.update(b=1),
        lambda: held.pop("b"),
        lambda: held.update(dict.fromkeys(range(100))),
        held.clear,
        lambda: None,
    )
    for step in steps:
        step()
        shown.add(tag.value)
    return len(shown) == len(steps) - 1


HAS_TAGS = _has_tags()


class Watch:
    """A set of dictionaries and lists that are expected to stay as they are.

    ``changed()`` is true if any of them may have changed since ``mark()``; ``differences()`` then tells what really
    did, and so does ``take()``, which marks what it tells. CPython itself says which dictionaries were written to, and
    only these are compared, value by value, by identity.
    """

    def __init__(self) -> None:
        self._names: list[Any] = []
        self._dicts: list[Any] = []
        self._seen: list[Any] = []
        self._free: list[int] = []  # numbers without a dictionary
        self._list_names: list[str] = []
        self._lists: list[list[Any]] = []
        self._items: list[tuple[Any, ...]] = []
        self._tags: list[Any] = []
        self._versions = bytearray()  # of all, joined: to compare them so takes a third of the time
        self._untagged: list[int] = []  # the numbers of those that may change without a new version

    def __len__(self) -> int:
        return len(self._dicts) - len(self._free) + len(self._lists)

    def add(self, name: str, owner: Any) -> None:
        """Watch ``owner``: a dictionary, a list, or a module, class or instance for its attributes."""
        if isinstance(owner, list):
            self._list_names.append(name)
            self._lists.append(owner)
            self._items.append(tuple(owner))
            return
        held = owner if isinstance(owner, dict) else dict_of(namespace(owner))
        if type(held) is not dict:
            raise TypeError(f"cannot watch a {type(held).__name__}")
        if not self._free:
            self._free.append(len(self._dicts))
            for values in (self._names, self._dicts, self._seen, self._tags):
                values.append(None)
            self._versions += bytes(_TAG_SIZE)
        is_instance = held is not owner and not isinstance(owner, type | type(sys))
        if not HAS_TAGS or (is_instance and sys.version_info >= (3, 13)):
            self._untagged.append(self._free[-1])
        self._put(self._free.pop(), name, held)

    def drop(self, name: str) -> None:
        """Watch what was added as ``name`` no longer."""
        while name in self._list_names:
            i = self._list_names.index(name)
            del self._list_names[i], self._lists[i], self._items[i]
        while name in self._names:
            i = self._names.index(name)
            self._untagged = [number for number in self._untagged if number != i]
            self._put(i, None, {})  # in its place, so that others keep theirs
            self._free.append(i)

    def _put(self, i: int, name: str | None, held: dict[Any, Any]) -> None:
        self._names[i], self._dicts[i] = name, held
        self._tags[i] = tag_of(held) if HAS_TAGS else ctypes.c_uint64()
        self._versions[i * _TAG_SIZE : (i + 1) * _TAG_SIZE] = bytes(self._tags[i])
        self._seen[i] = held.copy()

    def changed(self) -> bool:
        """Return whether something may have been written since ``mark()``."""
        for now, before in zip(self._lists, self._items, strict=True):
            if len(now) != len(before) or not all(map(is_, now, before)):
                return True
        if b"".join(self._tags) != self._versions:
            return True
        return any(not _same(self._dicts[i], self._seen[i]) for i in self._untagged)

    def differences(self) -> list[tuple[str, Any]]:
        """Return ``(name, key)`` of each value that is another object than at ``mark()``, was added or taken away.

        For a list the key is None.
        """
        return [(name, key) for name, key, _ in self._find(False)]

    def take(self) -> list[tuple[str, Any, Any]]:
        """Return ``(name, key, before)`` of each difference and mark it; ``before`` is ``MISSING`` for what was added.

        What is written from now on differs again.
        """
        return self._find(True)

    def mark(self) -> None:
        """Take what is there now as unchanged."""
        self._find(True)

    def _find(self, marking: bool) -> list[tuple[str, Any, Any]]:
        found: list[tuple[str, Any, Any]] = []
        # Versions first: what another thread writes while the copies are made counts as a change.
        versions = bytearray().join(self._tags)
        for i, (now, before) in enumerate(zip(self._lists, self._items, strict=True)):
            if (now or before) and (len(now) != len(before) or not all(map(is_, now, before))):
                if marking:
                    self._items[i] = tuple(now)
                found.append((self._list_names[i], None, before))
        written = self._untagged
        if versions != self._versions:
            these, those = (memoryview(held).cast("Q") for held in (versions, self._versions))
            written = [*written, *compress(range(len(these)), map(ne, these, those))]
        for i in written:
            held = self._dicts[i].copy()
            self._compare(i, held, found)
            if marking:
                self._seen[i] = held
        if marking:
            self._versions = versions
        return found

    def _compare(self, i: int, held: dict[Any, Any], found: list[tuple[str, Any, Any]]) -> None:
        seen, name = self._seen[i], self._names[i]
        # Values change more often than keys: as long as both have the same ones, they come in the same order.
        if list(held) == list(seen):
            differing = compress(seen.items(), map(is_not, held.values(), seen.values()))
            found += [(name, key, before) for key, before in differing]
            return
        for key, value in held.items():
            before = seen.get(key, MISSING)
            if before is not value:
                found.append((name, key, before))
        found += [(name, key, before) for key, before in seen.items() if key not in held]


def dict_of(held: Any) -> Any:
    """Return the dictionary behind what shows it, as a class shows its own."""
    return gc.get_referents(held)[0] if type(held) is MappingProxyType else held


def _same(held: dict[Any, Any], seen: dict[Any, Any]) -> bool:
    """Return whether both hold the same objects in the same order."""
    if len(held) != len(seen):
        return False
    try:
        return all(map(is_, held.values(), seen.values())) and all(map(is_, held, seen))
    except RuntimeError:  # another thread adds something right now
        return False


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
