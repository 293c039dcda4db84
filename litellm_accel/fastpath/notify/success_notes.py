"""What LiteLLM's success handlers note of a call before they tell anybody, as two calls of a kind have shown it.

``Logging`` objects that the fast path has made for calls of one kind are equal but for what belongs to one call, and so
is what the handlers write into them: an object that is known of the call, or a constant. Two calls show what that is.
What the handlers decide by, and is not the same for all calls of a kind, is compared with those calls each time.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from operator import is_not
from typing import Any

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.notify.rates import DIAGNOSTIC, FAILED
from litellm_accel.fastpath.plans.proof import Trial
from litellm_accel.fastpath.plans.snapshots import SnapshotNode, take_snapshot
from litellm_accel.fastpath.plans.templates import HIDDEN, Unrepeatable

#: With this in the environment, LiteLLM prints payloads.
PRINTS = "LITELLM_PRINT_STANDARD_LOGGING_PAYLOAD"
_PRINTS_KEY = getattr(os.environ, "encodekey", str)(PRINTS)
_PAYLOAD, _COST, _BUILDS, _PUBLISHES = (
    "standard_logging_object",
    "response_cost",
    "build_logging_payload",
    "publish_logging_payload",
)
# How the handlers call what notes a success.
_GIVEN = frozenset(("start_time", "end_time", "result", "cache_hit", _PAYLOAD, _BUILDS, _PUBLISHES))
# Clocks that stand still while the fast path works in LiteLLM's place.
_CLOCKS = frozenset(("callback_duration_ms",))
# What the handlers decide by and nobody has set in a call of ours.
_STATE = ("completion_start_time", "finalized_cost", "prepared_cost", "_failed_attempts_owed_on_success", "stream")
# A kind that is watched in vain is not watched for ever.
_MAX_WATCHED = 8
# Where a value comes from that is written.
_CONSTANT, _RESULT, _START, _END, _HIDDEN, _PRICE, _BUILT, _NEW = range(8)

# A dictionary by its path in a ``Logging`` object's own, and what is written there: key, source, constant.
_Writes = list[tuple[tuple[Any, ...], list[tuple[Any, int, Any]]]]


def prints_payloads() -> bool:
    """Return whether LiteLLM prints what it tells of calls."""
    held = getattr(os.environ, "_data", None)  # without decoding what is there
    return bool(os.environ.get(PRINTS) if held is None else held.get(_PRINTS_KEY))


class SuccessNotes:
    """Writes what LiteLLM's success handlers note of calls of one kind.

    While it is on ``trial``, LiteLLM writes that. ``fault`` is told of an exception in here.
    """

    def __init__(self, trial: Trial, fault: Callable[[BaseException], None]) -> None:
        self._trial = trial
        self._fault = fault
        self._watched = 0
        self._shown: dict[tuple[Any, ...], _Shown] = {}

    def begin(self, logging: Any, given: Mapping[str, Any], build: Callable[..., Any]) -> tuple[Any, Any]:
        """Note what LiteLLM would of a call for what it is ``given``; ``build`` makes payloads.

        Returns what LiteLLM would. Where LiteLLM is to note it, None, and what ``end`` is to be told.
        """
        try:
            facts = _facts(logging, given)
            shown = None if facts is None else self._shown.get(facts)
            if shown is not None and shown.is_confirmed and not self._trial.is_on:
                return shown.write(logging, given, build), None
            is_watched = facts is not None and self._watched < _MAX_WATCHED
            return None, (facts, take_snapshot(vars(logging))) if is_watched else None
        except Exception as error:
            self._refuse(error)
            return None, None

    def end(self, watched: Any, logging: Any, given: Mapping[str, Any], returned: Any) -> None:
        """Learn from what LiteLLM has noted and ``returned``, of a call that is ``watched``."""
        try:
            if watched is not None:
                facts, before = watched
                self._watch(facts, before, logging, given, returned)
        except Exception as error:
            self._refuse(error)

    def _refuse(self, error: Exception) -> None:
        self._watched, self._shown = _MAX_WATCHED, {}
        if not isinstance(error, Unrepeatable):
            self._fault(error)

    def _watch(self, facts: Any, before: SnapshotNode, logging: Any, given: Mapping[str, Any], returned: Any) -> None:
        """Learn from a call whose state was ``before``, and of which LiteLLM has noted what it notes."""
        self._watched += 1
        payload = logging.model_call_details.get(_PAYLOAD)
        known = given["start_time"], given["end_time"], given["result"], payload
        if len(returned) > len(known) or any(map(is_not, returned, known)) or (payload is None) is facts[0]:
            raise Unrepeatable(decline.TOLD_SOMETHING_ELSE)
        writes = _Differences(given, payload).of(before, take_snapshot(vars(logging)))
        shown = self._shown.setdefault(facts, _Shown(writes, len(returned)))
        if shown.writes != writes:
            if shown.is_confirmed:
                self._trial.refuse("what LiteLLM notes of a success")
            raise Unrepeatable(decline.TOLD_SOMETHING_ELSE)
        if shown.calls:
            shown.is_confirmed = True
            self._trial.agreed()
        shown.calls += 1


def _facts(logging: Any, given: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """Return by what LiteLLM decides what to note of a call; None if it may decide by more."""
    if not given.keys() <= _GIVEN or given.get("cache_hit") is not None or given.get(_PAYLOAD) is not None:
        return None
    result, state = given["result"], logging.__dict__
    details = state["model_call_details"]
    if not (logging.is_own and given.get(_PUBLISHES, True)) or any(map(state.get, _STATE)) or prints_payloads():
        return None
    hidden = result.__pydantic_private__[HIDDEN]
    cost = hidden.get(_COST, "")
    is_priced = type(cost) is float and 0.0 < cost < math.inf
    if not (is_priced or cost is None) or given["start_time"] is None or given["end_time"] is None:
        return None
    return (
        given.get(_BUILDS, True),
        type(result),
        is_priced,
        hidden.get("cache_hit"),
        details.get("cache_hit"),
        details.get("response_headers") is None,
        details.get(FAILED) is None,
        details.get(DIAGNOSTIC) is None,
        _PAYLOAD in details,
        type(details["litellm_params"].get("metadata")),
    )


class _Shown:
    """What calls have shown that LiteLLM notes: ``writes``, and of ``size`` things it returns."""

    __slots__ = ("calls", "is_confirmed", "size", "writes")

    def __init__(self, writes: _Writes, size: int) -> None:
        self.writes = writes
        self.size = size
        self.calls = 0
        self.is_confirmed = False

    def write(self, logging: Any, given: Mapping[str, Any], build: Callable[..., Any]) -> tuple[Any, ...]:
        """Note the same of a call; return what LiteLLM returns. ``build`` makes payloads."""
        result, start, end = given["result"], given["start_time"], given["end_time"]
        hidden = result.__pydantic_private__[HIDDEN]
        payload = None
        for path, held in self.writes:
            place: Any = logging.__dict__
            for step in path:
                place = place[step]
            for key, source, value in held:
                if source == _CONSTANT:
                    place[key] = value
                elif source == _END:
                    place[key] = end
                elif source == _HIDDEN:
                    place[key] = hidden
                elif source == _PRICE:
                    place[key] = hidden[_COST]
                elif source == _BUILT:
                    place[key] = payload = build(result, start, end)
                elif source == _NEW:
                    place[key] = {}
                else:
                    place[key] = result if source == _RESULT else start
        return (start, end, result, payload)[: self.size]


class _Differences:
    """What a call's state has become since it was pictured, as what is written where."""

    def __init__(self, given: Mapping[str, Any], payload: Any) -> None:
        hidden = given["result"].__pydantic_private__[HIDDEN]
        self._cost = hidden.get(_COST)
        self._sources = {
            id(given["result"]): _RESULT,
            id(given["start_time"]): _START,
            id(given["end_time"]): _END,
            id(hidden): _HIDDEN,
            **({} if payload is None else {id(payload): _BUILT}),
        }
        self._writes: _Writes = []
        self._met: set[int] = set()

    def of(self, before: SnapshotNode, after: SnapshotNode) -> _Writes:
        """Return what was written. Raises ``Unrepeatable``."""
        self._compare((), before, after)
        writes = [(path, held) for path, held in self._writes if held]
        built = [(path, held) for path, held in writes if any(source == _BUILT for _, source, _ in held)]
        if built:  # when a payload is built, all else has been noted
            (path, held), *more = built
            if more or [source for _, source, _ in held].index(_BUILT) < len(held) - 1:
                raise Unrepeatable(decline.TOLD_SOMETHING_ELSE)
            writes = [*writes, (path, [held.pop()])]
        return [(path, held) for path, held in writes if held]

    def _compare(self, path: tuple[Any, ...], before: SnapshotNode, after: SnapshotNode) -> None:
        if id(after) in self._met:
            return
        self._met.add(id(after))
        known = dict(before.named()) if before.keys is not None else dict(enumerate(before.items))
        shown = dict(after.named()) if after.keys is not None else dict(enumerate(after.items))
        if list(shown)[: len(known)] != list(known) or (after.keys is None and len(shown) != len(known)):
            raise Unrepeatable(decline.TOLD_SOMETHING_ELSE)
        written: list[tuple[Any, int, Any]] = []
        self._writes.append((path, written))
        for key, value in shown.items():
            was = known.get(key, self)
            if type(value) is SnapshotNode and type(was) is SnapshotNode and value.original is was.original:
                self._compare((*path, key), was, value)
            elif was is not value and key not in _CLOCKS:
                if after.keys is None:
                    raise Unrepeatable(decline.TOLD_SOMETHING_ELSE)
                written.append((key, *self._source(key, value, path)))

    def _source(self, key: Any, value: Any, path: tuple[Any, ...]) -> tuple[int, Any]:
        held = value.original if type(value) is SnapshotNode else value
        source = self._sources.get(id(held))
        if source is not None:
            return source, None
        if key == _COST and held is self._cost:
            return _PRICE, None
        if held is None or type(held) in (bool, str):
            return _CONSTANT, held
        if type(value) is SnapshotNode and value.keys is not None:
            fresh = SnapshotNode(held)
            fresh.keys = ()
            self._compare((*path, key), fresh, value)
            return _NEW, None
        raise Unrepeatable(decline.TOLD_SOMETHING_ELSE)
