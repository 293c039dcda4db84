"""Learning cheaply that names in other modules are still bound to what they were.

Compiled, CPython itself tells whether a dict changed at all: up to 3.11 each dict carries a version (PEP 509), from
3.12 on a watcher is called (``PyDict_Watch``). Only then are names compared; the pure twin compares at every look.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import itemgetter
from types import ModuleType
from typing import Any

__all__ = ["Bindings"]


def _namespace(owner: ModuleType | type | dict[Any, Any]) -> Mapping[Any, Any]:
    return owner if isinstance(owner, dict) else owner.__dict__


class Bindings:
    """Names in other modules and what each was bound to when this object was made.

    Each point is ``(owner, names)``: a module, class or dict, and names in it, of which a missing one counts as
    ``None``. Where ``names`` is ``None`` the whole content counts, compared by equality. At most 16 points.
    """

    __slots__ = ("_objects", "_values", "_whole")

    def __init__(self, points: Iterable[tuple[Any, tuple[Any, ...] | None]]) -> None:
        points = [(_namespace(owner), names) for owner, names in points]
        if len(points) > 16:
            raise ValueError(f"at most 16 points can be watched, got {len(points)}")
        self._objects: list[tuple[Any, Mapping[Any, Any], Any]] = []
        self._values: list[tuple[Any, Any, Any]] = []
        self._whole: list[tuple[Mapping[Any, Any], dict[Any, Any]]] = []
        for namespace, names in points:
            if names is None:
                self._whole.append((namespace, dict(namespace)))
                continue
            # Where equality is identity, a tuple is compared four times as fast as name by name.
            objects = [
                name for name in names if type(namespace.get(name)).__eq__ is object.__eq__ and name in namespace
            ]
            if objects:
                read = itemgetter(*objects)
                self._objects.append((read, namespace, read(namespace)))
            values = [name for name in names if name not in objects]
            self._values += [(namespace.get, name, namespace.get(name)) for name in values]

    def changed(self) -> bool:
        """Return whether any of the names is now bound to another object, or a whole content differs."""
        try:
            for read, namespace, objects in self._objects:
                if read(namespace) != objects:
                    return True
        except KeyError:
            return True
        for get, name, value in self._values:
            if get(name) is not value:
                return True
        return any(namespace != content for namespace, content in self._whole)
