"""Which lists of routes cover a path: what LiteLLM's authorization asks at each request, remembered.

LiteLLM makes a regular expression of each pattern in a list of a hundred, for each request anew. The answer depends on
the path and on what is in the list, and on nothing else, as long as LiteLLM's own helpers give it. LiteLLM answers
twice; if both answers agree, the next ones are remembered. A list that has changed is another one.
"""

from __future__ import annotations

import builtins
import dis
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

from litellm_accel import hot
from litellm_accel.stock import guard

_ASKED = 2  # times LiteLLM answers before its answer is remembered
_MAX_KNOWN = 1024
_KINDS = (list, tuple)  # of what LiteLLM's lists of routes are
_Routes = list[Any] | tuple[Any, ...]
_HELPERS = ("route_matches_wildcard_pattern", "is_wildcard_pattern", "_route_matches_pattern")


def is_closed(asked: FunctionType, owner: type) -> bool:
    """Return whether the static method ``asked`` looks at its arguments alone, and at what ``re`` says of them.

    It may ask the helpers, of which the same is true.
    """
    held = [vars(owner).get(name) for name in _HELPERS]
    functions: list[Any] = [asked, *(method.__func__ for method in held if type(method) is staticmethod)]
    known = {"re", owner.__name__, *vars(builtins)}
    codes = [code for function in functions for code in _codes(function.__code__)]
    return len(functions) == 1 + len(_HELPERS) and all(
        _globals(code) <= known and vars(owner).keys() & set(code.co_names) <= set(_HELPERS) for code in codes
    )


class RouteLists:
    """Answers in the place of ``stock``, a static method of ``owner``, whose helpers must stay LiteLLM's own."""

    def __init__(self, gate: hot.gate.Gate, owner: type, stock: Callable[[str, Any], Any]) -> None:
        self._gate = gate
        self._stock = stock
        self._known: dict[tuple[str, int], _Known] = {}
        self._helpers = hot.watch.Watch()
        self._helpers.add("helpers", owner)
        self._helpers.mark()
        self._is_open = all(_is_static_of_stock(owner, name) for name in _HELPERS)

    def cover(self, route: str, allowed_routes: Any) -> Any:
        """Return whether one of ``allowed_routes`` covers ``route``, as LiteLLM does."""
        if type(allowed_routes) not in _KINDS or type(route) is not str or not self._gate.on or not self._is_open:
            return self._stock(route, allowed_routes)
        if guard.differs(self._helpers):
            self._is_open = False
            self._known.clear()
            return self._stock(route, allowed_routes)
        known = self._known.get((route, id(allowed_routes)))
        if known is not None and known.answers == _ASKED and known.holds(allowed_routes):
            return known.answer
        return self._ask(route, allowed_routes, known)

    def _ask(self, route: str, routes: _Routes, known: _Known | None) -> Any:
        """Return LiteLLM's answer, and note it."""
        answer = self._stock(route, routes)
        if known is not None and known.holds(routes) and known.answer is answer:
            known.answers += 1
        elif type(answer) is bool and all(type(pattern) is str for pattern in routes):
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[route, id(routes)] = _Known(routes, answer)
        return answer


class _Known:
    """What LiteLLM has answered for a list, which is kept here so that no other has its ``id``."""

    __slots__ = ("_held", "_routes", "answer", "answers")

    def __init__(self, routes: _Routes, answer: bool) -> None:
        self._routes = routes
        self._held = routes[:]
        self.answer = answer
        self.answers = 1

    def holds(self, routes: _Routes) -> bool:
        """Return whether it was this list, and has not changed."""
        return routes is self._routes and routes == self._held


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Yield ``code`` and what is defined in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _globals(code: CodeType) -> set[str]:
    """Return what ``code`` looks up in its module, or imports."""
    return {
        str(step.argval)
        for step in dis.get_instructions(code)
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME", "IMPORT_NAME")
    }


def _is_static_of_stock(owner: type, name: str) -> bool:
    held = vars(owner).get(name)
    return (
        type(held) is staticmethod
        and type(held.__func__) is FunctionType
        and guard.is_defined_at(held.__func__, owner.__module__, f"{owner.__qualname__}.{name}")
    )
