"""Families of kinds: calls that differ in nothing but their model, their key and where they go.

What one kind has shown holds for the others, where the same functions of LiteLLM's run: that the fast path does with
such calls what stock does, and where in a request the values of free arguments are. So the kinds of a family are proven
together, and each needs one watched call, which shows what is its own.

Such a call may itself be one of those that must agree: what another kind has shown foretells it. Its request must be
the other's but for what is its own, and its result what the templates, learned from earlier answers, make of its
answer. What foretelling does not show, like the connection, at least one comparison must have shown.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Mapping
from typing import Any

from litellm_accel.fastpath.known_names import VARIABLE_HEADERS, VARIABLE_TIMES
from litellm_accel.fastpath.plans.generalization import adopt
from litellm_accel.fastpath.plans.slot import Evidence, PlanSlot
from litellm_accel.fastpath.transport import time_limits
from litellm_accel.fastpath.transport.request_head import values_of
from litellm_accel.hot import chat
from litellm_accel.stock.trace import Function

# Whose calls they are and where they go: the arguments in which kinds of one family differ.
_OWN = frozenset(("api_base", "api_key", "base_url", "messages", "model", "organization"))
_CALLERS = _OWN - {"messages", "model"}
# Where models and keys show in a request, and in what is known of a result before the answer comes.
_OWN_MEMBERS = frozenset(("model",))
_OWN_HEADERS = frozenset((b"api-key", b"authorization", b"openai-organization"))
_OWN_HIDDEN = frozenset(("litellm_model_name",))
_HELD = frozenset(
    ("head", "headers", "prepared", time_limits.TIMED)
)  # what a plan holds of a request besides how it is sent
_MAX_FAMILIES = 512
_MAX_FUNCTIONS = 16384
_MAX_MARKS = 64
_MAX_SIGHTED = 4096
_SEVERAL = 0  # kinds have shown it


class Relatives:
    """What families have in common whose answers are converted alike, of one provider, in event loops or in threads.

    ``general`` are functions that have run in calls of more than one family, ``is_compared`` whether any call was
    compared in all, and agreed.
    """

    def __init__(self) -> None:
        self.general: set[Function] = set()
        self.is_compared = False
        self._first: dict[Function, Family] = {}

    def note(self, family: Family, functions: frozenset[Function]) -> None:
        """Note the ``functions`` that have run in a call of a ``family``."""
        if len(self._first) > _MAX_FUNCTIONS:
            self._first.clear()
            self.general.clear()
        first = self._first
        self.general.update([one for one in functions if first.setdefault(one, family) is not family])


class FamilyEvidence(Evidence):
    """How many calls of a family must still agree; one call of its ``relatives``, at least, was compared in all."""

    __slots__ = ("_relatives",)

    def __init__(self, missing: int, relatives: Relatives) -> None:
        super().__init__(missing)
        self._relatives = relatives

    @property
    def missing(self) -> int:
        """How many calls must still agree."""
        return max(self._missing, 0 if self._relatives.is_compared else 1)

    def agree(self, mark: int) -> None:
        """Note that a call with messages of this ``mark`` was compared and has agreed."""
        super().agree(mark)
        self._relatives.is_compared = True

    def complete(self) -> None:
        """Note that a kind was proven by itself."""
        super().complete()
        self._relatives.is_compared = True

    def foretold(self, mark: int) -> None:
        """Note that a recorded call was as others had foretold."""
        if self._missing > 0:
            super().agree(mark)


class Family:
    """What the kinds of a family have shown: which functions have run, and where free arguments are sent.

    ``evidence`` is shared by the kinds in which no other functions run than in its first kind or in those proven by
    themselves, but for those that are general.
    """

    def __init__(self, calls: int, relatives: Relatives | None = None) -> None:
        self._relatives = relatives or Relatives()
        self.evidence = FamilyEvidence(calls, self._relatives)
        self._calls = calls
        self._functions: frozenset[Function] = frozenset()
        self._places: dict[str, str | None] = {}
        self._is_empty = True
        self._foretold: Any = None  # the requests that the first kind foretells
        self._marks: set[int] = set()  # of the messages of recorded calls
        self._slots: weakref.WeakSet[PlanSlot] = weakref.WeakSet()
        self._is_spoiled = False

    @property
    def is_proven(self) -> bool:
        """Whether the family has shown all that is needed of calls of a known LiteLLM."""
        return self.evidence.missing <= 0

    def admits(self, functions: frozenset[Function]) -> bool:
        """Return whether a kind in whose call these ``functions`` have run shares the family's evidence."""
        return not self._is_spoiled and (self._is_empty or functions - self._functions <= self._relatives.general)

    def note(self, plan: chat.Plan, functions: frozenset[Function], mark: int, *, is_foretold: bool) -> None:
        """Note a recorded call of a kind that is admitted, with messages of this ``mark``, and the ``plan`` made of it.

        The call counts as one that has agreed if all that matters of it ``is_foretold`` but the request, and that is,
        too.
        """
        if self._is_empty:
            self._is_empty = False
            self._functions |= functions
            self._foretold = _requests(plan)
        elif is_foretold and mark not in self._marks and _requests(plan) == self._foretold is not None:
            self.evidence.foretold(mark)
        if len(self._marks) < _MAX_MARKS:
            self._marks.add(mark)

    def observe(self, functions: frozenset[Function]) -> None:
        """Note which ``functions`` have run in a recorded call of any kind of the family."""
        self._relatives.note(self, functions)

    def join(self, slot: PlanSlot) -> None:
        """Let the kind of a ``slot``, which is admitted, share the evidence from now on."""
        self._slots.add(slot)
        if self._is_spoiled:  # meanwhile
            slot.doubt(self._calls)

    def learn(self, plan: chat.Plan, functions: frozenset[Function]) -> None:
        """Note what a proven ``plan`` was learned from."""
        self._functions |= functions
        self._places.update(plan.places)
        self.evidence.complete()

    def teach(self, plan: chat.Plan) -> None:
        """Let ``plan`` hold for any values of free arguments that the family is known to send as they are."""
        adopt(plan, self._places)

    def spoil(self) -> None:
        """A call of one kind differs from stock's: from now on each kind of the family must be proven by itself."""
        self._is_spoiled = True
        for slot in list(self._slots):
            slot.doubt(self._calls)
        self._slots.clear()


class Families:
    """The families of a component's kinds; in each, so many ``calls`` must agree."""

    def __init__(self, others: Any, calls: int) -> None:
        self._others = others
        self._calls = calls
        self._families: dict[Any, Family] = {}
        self._relatives: dict[tuple[int, int], Relatives] = {}
        self._sighted: dict[int, int] = {}  # by what was sighted, marks of the kinds that showed it first

    def expects(self, call: Any) -> bool:
        """Return whether there were calls like this one, whose kind is new, but for their model, and calls by its key.

        Programs send what they send to few models, so that such a kind is likely to come again.
        """
        like, by = self._key(call.kwargs), self._key(call.kwargs, _CALLERS)
        if like is None or by is None:
            return False
        if len(self._sighted) >= _MAX_SIGHTED:
            self._sighted.clear()
        mark, shape, caller = hash(call.key), hash(("like", like)), hash(("by", by))
        is_expected = self._sighted.setdefault(shape, mark) != mark
        if is_expected:
            self._sighted[shape] = _SEVERAL
        is_expected = is_expected and caller in self._sighted
        self._sighted.setdefault(caller, mark)
        return is_expected

    def of(self, call: Any, made: Any, is_told: bool) -> Family:
        """Return the family of a ``call`` that a plan was ``made`` of, for itself or a router; it may be told of."""
        plan: chat.Plan = getattr(made, "plan", made)
        passed, whose = self._key(call.kwargs), None
        if made is not plan:
            deployment = made.deployment
            others = {name: value for name, value in deployment["model_info"].items() if name != "id"}
            whose = made.router, self._key(deployment["litellm_params"]), repr(others)
        if passed is None or (whose is not None and whose[1] is None):
            return Family(self._calls)
        # Plans share their templates where LiteLLM converts answers alike: for one provider, in loops or in threads.
        templates = id(plan.templates)
        key = templates, passed, whose, is_told, call.conversation is None, call.bound, plan.epoch
        found = self._families.get(key)
        if found is None:
            if len(self._families) >= _MAX_FAMILIES:
                self._families.clear()
                self._relatives.clear()
            relatives = self._relatives.setdefault((templates, plan.epoch), Relatives())
            found = self._families.setdefault(key, Family(self._calls, relatives))
        return found

    def _key(self, arguments: Mapping[str, Any], names: frozenset[str] | None = None) -> bytes | None:
        """Return what tells ``arguments`` of these ``names`` apart, None if there is no such.

        Without names, of all but those that are each kind's own.
        """
        if names is None:
            rest = {name: value for name, value in arguments.items() if name not in _OWN}
        else:
            rest = {name: value for name, value in arguments.items() if name in names}
        found = chat.call_key("", (), rest, self._others)
        return None if found is None else found[0]


def _requests(plan: chat.Plan) -> tuple[Any, ...] | None:
    """Return what equals that of another plan if the requests of both differ in nothing but what is each one's own.

    The values of free arguments that are sent as they came may differ. None if there is no telling.
    """
    if plan.log is not None:
        return None
    hidden = [(key, source, None if key in _OWN_HIDDEN else value) for key, source, value in plan.hidden]
    way = {name: None if name in _HELD else value for name, value in plan.request.items()}
    given: dict[bytes, bytes] = {}
    for argument in VARIABLE_HEADERS & plan.free.keys():
        given.update(values_of(plan.free[argument]))
    for argument in VARIABLE_TIMES & plan.free.keys():
        if time_limits.are_of(plan.request, time_limits.seconds_of(plan.free[argument])):
            given.update(time_limits.told_in(plan.request, plan.free[argument]))
            way["timeout"] = None
    headers = [
        (name, None if name.lower() in _OWN_HEADERS or given.get(name.lower()) == value else value)
        for name, value in plan.request["headers"].fixed
    ]
    members = [
        (name, _text(plan, name, value)) for name, value in json.loads(plan.prefix + b"null" + plan.suffix).items()
    ]
    facts = plan.spaced, plan.kinds, plan.sums, plan.tells_headers, plan.content_type, type(plan.conversion)
    return facts, hidden, way, headers, members


def _text(plan: chat.Plan, name: str, value: Any) -> str | None:
    """Return a member's ``value`` in JSON, None if it is each plan's own, or that of the argument of its name."""
    text = json.dumps(value)
    is_sent = name in plan.free and json.dumps(json.loads(plan.spelled(plan.free[name]))) == text
    return None if is_sent or name in _OWN_MEMBERS else text
