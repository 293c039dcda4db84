"""Learning cheaply that names in other modules are still bound to what they were.

Compiled, CPython itself tells whether a dict was written to at all, and only then are names compared; the pure twin
compares at every look.
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
    ``None``. Where ``names`` is ``None`` the whole content counts, compared by equality. At most 24 points.
    """

    __slots__ = ("_missing", "_objects", "_values", "_whole")

    def __init__(self, points: Iterable[tuple[Any, tuple[Any, ...] | None]]) -> None:
        points = [(_namespace(owner), names) for owner, names in points]
        if len(points) > 24:
            raise ValueError(f"at most 24 points can be watched, got {len(points)}")
        self._missing: list[tuple[Mapping[Any, Any], Any]] = []
        self._objects: list[tuple[Any, Mapping[Any, Any], Any]] = []
        self._values: list[tuple[Any, Mapping[Any, Any], Any, Any]] = []
        self._whole: list[tuple[Mapping[Any, Any], dict[Any, Any]]] = []
        for namespace, names in points:
            if names is None:
                self._whole.append((namespace, dict(namespace)))
                continue
            self._missing += [(namespace, name) for name in names if namespace.get(name) is None]
            present = [name for name in names if namespace.get(name) is not None]
            # Where equality is identity, comparing tuples is the fastest; elsewhere the addresses are compared.
            objects = [name for name in present if _is_compared_by_identity(namespace[name])]
            values = [name for name in present if name not in objects]
            if objects:
                read = itemgetter(objects[0], *objects)
                self._objects.append((read, namespace, read(namespace)))
            if values:
                read = itemgetter(values[0], *values)
                held = read(namespace)
                self._values.append((read, namespace, list(map(id, held)), held))

    def changed(self) -> bool:
        """Return whether any of the names is now bound to another object, or a whole content differs."""
        try:
            for read, namespace, objects in self._objects:
                if read(namespace) != objects:
                    return True
            for read, namespace, addresses, _ in self._values:
                if list(map(id, read(namespace))) != addresses:
                    return True
        except KeyError:  # a name is gone
            return True
        for namespace, name in self._missing:
            if namespace.get(name) is not None:
                return True
        return any(namespace != content for namespace, content in self._whole)


def _is_compared_by_identity(value: object) -> bool:
    return getattr(type(value), "__eq__", None) is object.__eq__
