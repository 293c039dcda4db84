"""Tells of the Python functions that begin in a thread, by the place that CPython has for profilers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

__all__ = ["Calls"]


class Calls:
    """Calls ``began(frame, code)`` when a function begins for the first time in a thread where this is switched on.

    ``began`` must not raise.
    """

    def __init__(self, began: Callable[[FrameType, CodeType], None]) -> None:
        self._began = began
        self._seen: dict[int, CodeType] = {}  # kept, so that no other gets the address of one that is gone

    def on(self) -> bool:
        """Begin in this thread; return False, with nothing done, where a profiler has the place."""
        if sys.getprofile() is not None:
            return False
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
        if event == "call":
            code = frame.f_code
            if id(code) not in self._seen:
                self._seen[id(code)] = code
                self._began(frame, code)
