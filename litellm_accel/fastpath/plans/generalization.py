"""Free arguments: those whose values come with each call, like ``user`` or ``tools``, without a plan for each value.

A plan is first learned for one value. When the next comes, that call is watched as well: what differs in the two
requests must be the values and nothing else, and then the plan holds for any value. A value that shows elsewhere, or is
changed on its way, is part of the key from then on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from typing import Any

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.known_names import VARIABLE_HEADERS, VARIABLE_TIMES
from litellm_accel.fastpath.plans.templates import Unrepeatable
from litellm_accel.fastpath.transport import time_limits
from litellm_accel.fastpath.transport.request_head import values_of
from litellm_accel.hot import chat

# Which each plan has by itself.
_OWN_OPTIONS = frozenset(("head", "prepared", time_limits.TIMED))

# Of which LiteLLM takes no notice where a call is no stream.
_STREAM_LIMIT = "stream_timeout"


class Rewritten(Unrepeatable):
    """Arguments, whose ``names`` these are, are sent with other values than they came with."""

    def __init__(self, names: Set[str]) -> None:
        super().__init__(decline.ARGUMENT_REWRITTEN.of(min(names)))
        self.names = frozenset(names)


def generalize(plan: chat.Plan, other: chat.Plan) -> None:
    """Let ``plan`` hold for any values of the free arguments that are other than those of ``other``.

    Both were learned from calls with one key. What ``other`` holds for stays. Raises ``Unrepeatable``.
    """
    first, second = ({name: plan.spelled(value) for name, value in one.free.items()} for one in (other, plan))
    headed = {name for name in VARIABLE_HEADERS & plan.free.keys() if plan.free[name] != other.free[name]}
    timed = _timed(plan, other)
    if _around(plan, headed, timed) != _around(other, headed, timed):
        raise Unrepeatable(decline.ARGUMENT_SHAPES_REQUEST)
    one, two = _members(other), _members(plan)
    if list(one) != list(two):
        raise Unrepeatable(decline.ARGUMENT_SHAPES_REQUEST)
    places = {
        name: other.places[name] if name in other.places else _place(name, first[name], second[name], one, two)
        for name in plan.free
        if name in other.places or plan.free[name] != other.free[name]
    }
    sent = frozenset(places.values())
    odd = {member for member, value in two.items() if value != one[member] and member not in sent}
    if odd:
        raise Rewritten(odd) if odd <= places.keys() else Unrepeatable(decline.ARGUMENT_SHAPES_REQUEST)
    _open(plan, places, two)
    if timed:
        plan.request[time_limits.TIMED] = timed


def adopt(plan: chat.Plan, places: Mapping[str, str | None]) -> None:
    """Let ``plan`` hold for any values of those free arguments that are where ``places`` of another plan say."""
    members = _members(plan)
    there = {
        name: member
        for name, member in places.items()
        if name in plan.free and member is not None and members.get(member) == plan.spelled(plan.free[name])
    }
    if there:
        _open(plan, there, members)


def _open(plan: chat.Plan, places: Mapping[str, str | None], members: dict[str, bytes]) -> None:
    """Let ``plan``, whose bodies have these ``members``, hold for any values of the arguments in ``places``."""
    comma, colon = _separators(plan)
    arguments = {member: name for name, member in places.items() if member is not None}
    pieces: list[bytes] = [b""]
    holes: list[str] = []
    for member, value in members.items():
        pieces[-1] += (comma + json.dumps(member) + colon).encode()
        if member in arguments:
            if value != plan.spelled(plan.free[arguments[member]]):
                raise Rewritten({arguments[member]})
            holes.append(arguments[member])
            pieces.append(b"")
        else:
            pieces[-1] += value
    pieces[-1] += b"}"
    plan.open(dict(places), pieces[0], tuple(zip(holes, pieces[1:], strict=True)))
    if not plan.body(b"[]", plan.free).endswith(b"[]" + plan.suffix):
        raise Unrepeatable(decline.BODY_WRITTEN_OTHERWISE)


def _place(name: str, first: bytes, second: bytes, one: dict[str, bytes], two: dict[str, bytes]) -> str | None:
    """Return the member that holds ``first`` in body ``one`` and ``second`` in ``two``: of that name, or alone."""
    if name in VARIABLE_TIMES:
        return None
    held = [member for member, value in two.items() if value == second != one[member] == first]
    if name in held:
        return name
    if len(held) > 1:
        raise Unrepeatable(decline.ARGUMENT_SENT_TWICE.of(name))
    return held[0] if held else None


def _timed(plan: chat.Plan, other: chat.Plan) -> tuple[str, ...]:
    """Return the arguments that the requests of both plans have their time limit from, none if that does not differ.

    Of several, which LiteLLM chooses from, each must be that limit. Raises ``Rewritten`` if the limits, or the clients,
    are others than theirs.
    """
    names = tuple(sorted(VARIABLE_TIMES & plan.free.keys() - _unused(plan, other)))
    odd = {name for name in names if plan.free[name] != other.free[name]}
    if not odd and time_limits.TIMED not in other.request:
        return ()
    limits = [(one.request, time_limits.seconds_of(one.free[name])) for one in (plan, other) for name in names]
    is_sent = all(time_limits.are_of(*limit) for limit in limits)
    if not is_sent or not plan.transports.serve_limits(other.transports, limits[-1][1]):
        raise Rewritten(odd or set(names))
    return names


def _unused(plan: chat.Plan, other: chat.Plan) -> frozenset[str]:
    """Return the limit of streams if the requests of both plans are for none, and not each has it as its own."""
    if _STREAM_LIMIT not in plan.free or any("stream" in _members(one) for one in (plan, other)):
        return frozenset()
    limits = [(one.request, time_limits.seconds_of(one.free[_STREAM_LIMIT])) for one in (plan, other)]
    return frozenset() if all(time_limits.are_of(*limit) for limit in limits) else frozenset((_STREAM_LIMIT,))


def _given(plan: chat.Plan, headed: Set[str], timed: tuple[str, ...]) -> dict[bytes, bytes]:
    """Return nothing for the name of each header in the arguments ``headed``, and of what tells of the time limit.

    Raises ``Rewritten`` if one is not sent as it came.
    """
    sent = [(name.lower(), value) for name, value in plan.request["headers"].fixed]
    given: dict[bytes, bytes] = {}
    for argument in headed:
        for name, value in values_of(plan.free[argument]).items():
            if [held for key, held in sent if key == name] != [value]:
                raise Rewritten({argument})
            given[name] = b""
    for argument in timed[:1]:
        for name, value in time_limits.told_in(plan.request, plan.free[argument]).items():
            if [held for key, held in sent if key == name] != [value]:
                raise Rewritten(set(timed))
            given[name] = b""
    return given


def _members(plan: chat.Plan) -> dict[str, bytes]:
    """Return the members after the messages of the body that the plan was learned from, in JSON."""
    members: dict[str, Any] = json.loads(b"{" + plan.suffix.removeprefix(b","))
    return {
        name: json.dumps(value, ensure_ascii=plan.spaced, separators=_separators(plan)).encode()
        for name, value in members.items()
    }


def _separators(plan: chat.Plan) -> tuple[str, str]:
    return (", ", ": ") if plan.spaced else (",", ":")


def _around(plan: chat.Plan, headed: Set[str], timed: tuple[str, ...]) -> tuple[Any, ...]:
    """Return everything that a plan repeats around its bodies, but for the headers in the arguments ``headed`` and the
    time limit in those that are ``timed``."""
    request = {name: value for name, value in plan.request.items() if name not in _OWN_OPTIONS}
    if timed:
        del request["timeout"]
    request["headers"] = plan.request["headers"].with_values(_given(plan, headed, timed)).fixed
    return plan.prefix, plan.spaced, plan.hidden, plan.kinds, request
