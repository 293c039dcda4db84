"""Tells of the Python functions that begin in a thread, by the place that CPython has for profilers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

__all__ = ["Calls"]

# Before 3.11 Python writes the variables of a function that it tells a Python function of into what ``locals()`` has
# returned there. LiteLLM sends some of that.
_CHANGES_LOCALS = sys.version_info < (3, 11)


class Calls:
    """Calls ``began(frame, code)`` when a function begins for the first time in a thread where this is switched on.

    What runs below the function of the code ``aside`` is passed over. ``began`` must not raise.
    """

    def __init__(self, began: Callable[[FrameType, CodeType], None], aside: CodeType) -> None:
        self._began = began
        self._aside = aside
        self._within: FrameType | None = None  # the frame of what is passed over now
        self._seen: dict[int, CodeType] = {}  # kept, so that no other gets the address of one that is gone

    def on(self) -> bool:
        """Begin in this thread; return False, with nothing done, where a profiler has the place."""
        if sys.getprofile() is not None or _CHANGES_LOCALS:
            return False
        self._within = None
        sys.setprofile(self._heard)
        return True

    def off(self) -> None:
        """End in this thread, unless somebody else has taken the place."""
        if sys.getprofile() == self._heard:
            sys.setprofile(None)

    def clear(self) -> None:
        """Forget which functions have begun."""
        self._seen = {}

    def _heard(self, frame: FrameType, event: str, argument: Any) -> None:
        if self._within is not None:
            if event == "return" and frame is self._within:
                self._within = None
        elif event == "call":
            code = frame.f_code
            if code is self._aside:
                self._within = frame
                return
            if id(code) not in self._seen:
                self._seen[id(code)] = code
                self._began(frame, code)
