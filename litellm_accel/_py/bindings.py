"""Learning cheaply that names in other modules are still bound to what they were.

CPython itself tells whether a dict was written to at all, and only then are names compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import is_not, itemgetter
from types import ModuleType
from typing import Any

from litellm_accel._py.watch import HAS_TAGS, dict_of, tag_of

__all__ = ["Bindings"]


def _namespace(owner: ModuleType | type | dict[Any, Any]) -> dict[Any, Any]:
    held: dict[Any, Any] = owner if isinstance(owner, dict) else dict_of(owner.__dict__)
    return held


class Bindings:
    """Names in other modules and what each was bound to when this object was made.

    Each point is ``(owner, names)``: a module, class or dict, and names in it, of which a missing one counts as
    ``None``. Where ``names`` is ``None`` the whole content counts, compared by equality. At most 32 points.
    """

    __slots__ = ("_bound", "_missing", "_tags", "_versions", "_whole")

    def __init__(self, points: Iterable[tuple[Any, tuple[Any, ...] | None]]) -> None:
        points = [(_namespace(owner), names) for owner, names in points]
        if len(points) > 32:
            raise ValueError(f"at most 32 points can be watched, got {len(points)}")
        self._tags = [tag_of(namespace) for namespace, _ in points] if HAS_TAGS else []
        self._versions = b"".join(self._tags)
        self._missing: list[tuple[dict[Any, Any], Any]] = []
        self._bound: list[tuple[Any, dict[Any, Any], tuple[Any, ...]]] = []
        self._whole: list[tuple[dict[Any, Any], dict[Any, Any]]] = []
        for namespace, names in points:
            if names is None:
                self._whole.append((namespace, dict(namespace)))
                continue
            self._missing += [(namespace, name) for name in names if namespace.get(name) is None]
            present = [name for name in names if namespace.get(name) is not None]
            if present:
                read = itemgetter(present[0], *present)
                self._bound.append((read, namespace, read(namespace)))

    def changed(self) -> bool:
        """Return whether any of the names is now bound to another object, or a whole content differs."""
        versions = b"".join(self._tags)  # before the names are looked at: what is written meanwhile shows later
        if HAS_TAGS and versions == self._versions:
            return False
        if self._differs():
            return True
        self._versions = versions
        return False

    def _differs(self) -> bool:
        try:
            for read, namespace, held in self._bound:
                if any(map(is_not, read(namespace), held)):  # a wrapper may say that it equals what it wraps
                    return True
        except KeyError:  # a name is gone
            return True
        for namespace, name in self._missing:
            if namespace.get(name) is not None:
                return True
        return any(namespace != content for namespace, content in self._whole)
