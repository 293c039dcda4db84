"""What is known of objects that others own, freed with them.

In a mapping with weak keys a value keeps alive the key that it refers to. What the fast path knows of a router or an
event loop does refer to it, so it hangs on the object itself, in its ``__dict__``: the garbage collector sees the
cycle.
"""

from __future__ import annotations

import weakref
from typing import Any

_NAME = "_litellm_accel"


class OwnerCache:
    """Maps objects that have a ``__dict__`` to values. An entry ends with the object or with the mapping."""

    __slots__ = ("__weakref__",)

    def __contains__(self, owner: Any) -> bool:
        return self in vars(owner).get(_NAME, ())

    def __setitem__(self, owner: Any, value: Any) -> None:
        vars(owner).setdefault(_NAME, weakref.WeakKeyDictionary())[self] = value

    def get(self, owner: Any, default: Any = None) -> Any:
        """Return the value of ``owner``, or ``default``."""
        held = vars(owner).get(_NAME)
        return default if held is None else held.get(self, default)
