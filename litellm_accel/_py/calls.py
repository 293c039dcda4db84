"""Tells of the Python functions that begin in a thread, by the place that CPython has for profilers.

Where CPython lets somebody stand before the evaluation of functions, a compiled module stands there instead: under a
profile function all instructions run in their general forms.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import CodeType, FrameType
from typing import Any, Protocol

__all__ = ["Calls", "self_name"]

# Before 3.11 Python writes the variables of a function that it tells a Python function of into what ``locals()`` has
# returned there. LiteLLM sends some of that.
_CHANGES_LOCALS = sys.version_info < (3, 11)
_SELVES = ("self", "cls")  # what methods call their first argument; to look at others costs more than all else here


def self_name(code: CodeType) -> str | None:
    """Return by which name the method of this ``code`` has what it is a method of, None if it is none."""
    first = code.co_varnames[0] if code.co_argcount else None
    return first if first in _SELVES else None


class Known(Protocol):
    """What is known of a function: its ``module``, None if it is not noted, and by which name a method has itself."""

    module: str | None
    first: str | None


class Calls:
    """The functions that begin for the first time in threads where this is switched on.

    Those that are ``known`` (by the addresses of their codes) are noted in ``met``, each with what it is a method of.
    Of others, and of all while ``looks_below``, ``began(code, globals, below, first)`` is told, which must not raise:
    ``below`` is the frame that has called it, ``first`` what it is a method of. What runs below the function of the
    code ``aside`` is passed over.
    """

    __slots__ = ("_aside", "_began", "_known", "_within", "looks_below", "met", "seen")

    def __init__(
        self,
        known: Mapping[int, Known],
        began: Callable[[CodeType, dict[str, Any], FrameType | None, Any], None],
        aside: CodeType,
    ) -> None:
        self.met: list[tuple[Any, Any]] = []
        self.looks_below = False
        self._known = known
        self._began = began
        self._aside = aside
        self._within: FrameType | None = None  # the frame of what is passed over now
        self.seen: dict[int, CodeType] = {}  # kept, so that no other gets the address of one that is gone

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
        self.seen = {}
        self.met = []

    def begun(self, frame: FrameType) -> None:
        """Note the function that begins in ``frame``."""
        code = frame.f_code
        if id(code) in self.seen:
            return
        self.seen[id(code)] = code
        known = self._known.get(id(code))
        if known is None or self.looks_below:
            name = self_name(code)
            self._began(code, frame.f_globals, frame.f_back, None if name is None else frame.f_locals.get(name))
        elif known.module is not None:
            self.met.append((known, None if known.first is None else frame.f_locals.get(known.first)))

    def _heard(self, frame: FrameType, event: str, argument: Any) -> None:
        if self._within is not None:
            if event == "return" and frame is self._within:
                self._within = None
        elif event == "call":
            if frame.f_code is self._aside:
                self._within = frame
            else:
                self.begun(frame)
