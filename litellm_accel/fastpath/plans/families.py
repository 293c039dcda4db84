"""Families of kinds: calls that differ in nothing but their model, their key and where they go.

What one kind has shown holds for the others, where the same functions of LiteLLM's run: that the fast path does with
such calls what stock does, and where in a request the values of free arguments are. So a second model, key or
deployment is served after one watched call, which shows what is its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import CodeType
from typing import Any

from litellm_accel.fastpath.plans.generalization import adopt
from litellm_accel.hot import chat

# Whose calls they are and where they go: the arguments in which kinds of one family differ.
_OWN = frozenset(("api_base", "api_key", "base_url", "messages", "model", "organization"))
_MAX_FAMILIES = 512


class Family:
    """What the proven kinds of a family have shown: which functions have run, and where free arguments are sent."""

    def __init__(self) -> None:
        self._functions: frozenset[CodeType] = frozenset()
        self._places: dict[str, str | None] = {}

    def knows(self, functions: frozenset[CodeType]) -> bool:
        """Return whether all of these ``functions`` have run in calls of kinds that are proven."""
        return bool(self._functions) and functions <= self._functions

    def learn(self, plan: chat.Plan, functions: frozenset[CodeType]) -> None:
        """Note what a proven ``plan`` was learned from."""
        self._functions |= functions
        self._places.update(plan.places)

    def teach(self, plan: chat.Plan) -> None:
        """Let ``plan`` hold for any values of free arguments that the family is known to send as they are."""
        adopt(plan, self._places)


class Families:
    """The families of a component's kinds."""

    def __init__(self, others: Any) -> None:
        self._others = others
        self._families: dict[Any, Family] = {}

    def of(self, call: Any, made: Any, is_told: bool) -> Family:
        """Return the family of a ``call`` that a plan was ``made`` of, for itself or a router; it may be told of."""
        plan: chat.Plan = getattr(made, "plan", made)
        passed, whose = self._key(call.kwargs), None
        if made is not plan:
            deployment = made.deployment
            others = {name: value for name, value in deployment["model_info"].items() if name != "id"}
            whose = made.router, self._key(deployment["litellm_params"]), repr(others)
        if passed is None or (whose is not None and whose[1] is None):
            return Family()
        # Plans share their templates where LiteLLM converts answers alike: for one provider, in loops or in threads.
        key = id(plan.templates), passed, whose, is_told, call.conversation is None, call.bound, plan.epoch
        if key not in self._families and len(self._families) >= _MAX_FAMILIES:
            self._families.clear()
        return self._families.setdefault(key, Family())

    def _key(self, arguments: Mapping[str, Any]) -> bytes | None:
        """Return what tells ``arguments`` apart but for those that are each kind's own, None if there is no such."""
        rest = {name: value for name, value in arguments.items() if name not in _OWN}
        found = chat.call_key("", (), rest, self._others)
        return None if found is None else found[0]
