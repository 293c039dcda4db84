"""Which kinds of calls are not watched for a while, because watching them has shown nothing.

To watch a call costs about half as much again as to serve it. A provider that fails, or a router that tries several
deployments for each call, would have every call of a kind watched in vain.
"""

from __future__ import annotations

from typing import Any

# After so many calls in vain in a row, so many calls of the kind are left alone: none after the first, then 3, 15, ...
_BASE, _MOST = 4, 63
_MAX_KINDS = 4096


class Pauses:
    """How often the calls at each place among plans were watched in vain in a row, and how many are left alone now."""

    def __init__(self) -> None:
        self._kinds: dict[Any, list[int]] = {}

    def note_vain(self, place: Any) -> None:
        """Note that a call was watched in vain."""
        known = self._kinds.get(place)
        if known is None:
            if len(self._kinds) >= _MAX_KINDS:
                self._kinds.clear()
            known = self._kinds[place] = [0, 0]
        known[1] = min(_BASE ** min(known[0], _BASE) - 1, _MOST)
        known[0] += 1

    def end(self, place: Any) -> None:
        """Note that a call has shown something."""
        if self._kinds:
            self._kinds.pop(place, None)

    def covers(self, place: Any) -> bool:
        """Return whether a call that would be watched is left alone, and count it."""
        known = self._kinds.get(place)
        if known is None or known[1] <= 0:
            return False
        known[1] -= 1
        return True
