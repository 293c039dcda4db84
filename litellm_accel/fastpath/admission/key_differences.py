"""In what calls differ that never come again, for the user who wants them served."""

from __future__ import annotations

import marshal
from typing import Any

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.admission.arguments import SHARED
from litellm_accel.fastpath.decline import Why
from litellm_accel.fastpath.known_names import MUTATED_NAMES

_MAX_KEY = 4096  # bytes; a longer key takes long to compare
_MAX_KINDS = 64
_ALL, _EVERY = 2, 16


class KeyDifferences:
    """Remembers the last call of each set of argument names, and tells what is another in the next.

    That takes longer than all else in such a call, so every 16th is looked at, and those between are taken to be alike.
    """

    def __init__(self) -> None:
        self._last: dict[Any, tuple[list[Any], dict[str, bytes], bytes]] = {}
        self._reasons: dict[frozenset[str], tuple[int, Why]] = {}  # of each set, with how many have asked

    def reason(self, call: Any) -> Why:
        """Return why ``call``, whose key is new, is not learned: it differs from the last one like it."""
        names = frozenset(call.kwargs)
        if names not in self._reasons and len(self._reasons) >= _MAX_KINDS:
            self._reasons.clear()
        asked, reason = self._reasons.get(names, (0, decline.FIRST_OF_ITS_KIND))
        if asked < _ALL or not asked % _EVERY:
            reason = self._compared(call)
        self._reasons[names] = asked + 1, reason
        return reason

    def _compared(self, call: Any) -> Why:
        key = call.key
        begin = key.index(b" ") + 1  # after the epoch
        if key.startswith(SHARED, begin):
            begin += len(SHARED)
        if len(key) > _MAX_KEY:
            return decline.FIRST_OF_ITS_KIND
        passed = marshal.loads(memoryview(key)[begin:])
        kind = passed[0], *passed[2::2]
        last = self._last.get(kind)
        if last is None and len(self._last) >= _MAX_KINDS:
            self._last.clear()
        self._last[kind] = passed, call.free, key
        if last is None or last[2] == key:
            return decline.FIRST_OF_ITS_KIND
        if passed != last[0]:
            return decline.FIRST_BY_VALUE.of(decline.place(_place(passed, last[0])))
        name = next((name for name in call.bound if last[1][name] != call.free[name]), None)
        if name is not None:
            return decline.FIRST_BY_VALUE.of(decline.place((name,)))
        return decline.FIRST_BY_MESSAGES


def _place(passed: list[Any], last: list[Any]) -> tuple[Any, ...]:
    """Return the place of the first value that differs: an argument, or a member of one that LiteLLM writes into."""
    index = next(index for index, value in enumerate(passed) if value != last[index])
    if index == 1:
        return ("model",)
    name, value, before = passed[index - 1], passed[index], last[index]
    if name not in MUTATED_NAMES or not _are_members(value) or not _are_members(before):
        return (name,)
    members, others = dict(zip(*value, strict=True)), dict(zip(*before, strict=True))
    odd = [member for member in {**members, **others} if members.get(member, ...) != others.get(member, ...)]
    return (name, odd[0]) if odd else (name,)


def _are_members(kind: Any) -> bool:
    """Return whether the key has of an argument its members' names and kinds: it is a dictionary."""
    return type(kind) is tuple and type(kind[0]) is tuple and type(kind[1]) is list
