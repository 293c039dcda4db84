"""Which kinds of calls are watched though nobody knows whether they will come again."""

from __future__ import annotations

from collections.abc import Callable

_FIRST, _MOST, _PATIENCE = 3, 64, 64
_MAX_COUNTED = 4096


class Newcomers:
    """Kinds of calls that have no plan, by their keys.

    A kind that never comes again has cost as much as a call. So few kinds wait for their next call at the same time: at
    first ``_FIRST``, one more for each that has come again, and one for every ``_PATIENCE`` calls that had to wait.
    Learning then costs no more than it saves, and a few calls in a hundred.

    Kinds that have come once, two or three times, four to seven times, and so on, wait apart from each other: however
    many never come again, they cannot keep away one that does.
    """

    def __init__(self) -> None:
        self._counts: dict[bytes, int] = {}  # how often kinds have come that were not watched
        self._waiting: dict[bytes, int] = {}  # the kinds that have been watched, by how often they had come
        self._returned = 0
        self._delayed = 0

    def admits(self, key: bytes, is_expected: Callable[[], bool]) -> bool:
        """Return whether a call of the kind ``key`` is to be watched; as many may wait as can if it ``is_expected``."""
        if key in self._waiting:
            return True
        count = self._counts.get(key, 0) + 1
        if count == 1 and len(self._counts) >= _MAX_COUNTED:
            self._counts.clear()
        self._counts[key] = count
        often = count.bit_length()
        most = _MOST if is_expected() else min(_MOST, _FIRST + self._returned + self._delayed // _PATIENCE)
        if list(self._waiting.copy().values()).count(often) < most:
            self._waiting[key] = often
            return True
        self._delayed += 1
        return False

    def came_again(self, key: bytes) -> None:
        """Note a call of a kind that has a plan."""
        if self._waiting.pop(key, None) is not None:
            self._returned += 1

    def drop(self, key: bytes) -> None:
        """Wait no longer for a kind that watching it has shown nothing of."""
        self._waiting.pop(key, None)
