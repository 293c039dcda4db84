"""Whether what one of LiteLLM's functions goes by is LiteLLM's own, and has stayed as it was.

What answers in the place of such a function does not call all that it would call. Once somebody has replaced any of
that, a mock or a wrapper of the application's for instance, every call is LiteLLM's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from operator import itemgetter
from types import FunctionType, ModuleType
from typing import Any

from litellm_accel import hot
from litellm_accel.stock import guard


class Untouched:
    """What must stay as it is now: attributes of classes, names in namespaces, and modules as wholes.

    ``names`` are those of the attributes that are read of ``kinds``, wherever among their bases they come from.
    ``places`` are namespaces, each with a name in it. What else has to be true from the start is ``given``.
    """

    def __init__(
        self,
        kinds: Iterable[type] = (),
        names: Collection[str] = (),
        places: Iterable[tuple[dict[str, Any], str]] = (),
        modules: Iterable[ModuleType] = (),
        *,
        given: bool = True,
    ) -> None:
        kinds, places, modules = tuple(kinds), list(places), tuple(modules)
        self._classes = hot.watch.Classes(kinds, tuple(names))
        self._modules = hot.watch.Watch()
        for module in modules:
            self._modules.add(module.__name__, module)
        self._modules.mark()
        self._held = [(held, find, find(held)) for held, find in _finders(places)]
        self._holds = given and all(
            guard.is_stock(called)
            for called in (
                *(getattr(kind, name, None) for kind in kinds for name in names),
                *(held[name] for held, name in places),
                *(value for module in modules for value in vars(module).values()),
            )
            if type(called) is FunctionType
        )

    def holds(self) -> bool:
        """Return whether nobody has replaced anything of it; once somebody has, that is so for good."""
        if self._holds and self._differs():
            self._holds = False
        return self._holds

    def _differs(self) -> bool:
        if self._classes.changed() or guard.differs(self._modules):
            return True
        try:
            return any(find(held) != before for held, find, before in self._held)
        except KeyError:
            return True


def looked_up(stock: FunctionType, modules: Collection[str]) -> list[tuple[dict[str, Any], str]]:
    """Return what LiteLLM's function and those of ``modules`` that it calls look up: namespaces, each with a name."""
    found: list[tuple[dict[str, Any], str]] = []
    functions, seen = [stock], {stock.__code__}
    for function in functions:
        held = function.__globals__
        for name in function.__code__.co_names:
            value = held.get(name)
            if name in held:
                found.append((held, name))
            if type(value) is FunctionType and value.__module__ in modules and value.__code__ not in seen:
                functions.append(value)
                seen.add(value.__code__)
    return found


def _finders(places: list[tuple[dict[str, Any], str]]) -> list[tuple[dict[str, Any], itemgetter[Any]]]:
    """Return each namespace with what finds all its names at once."""
    names: dict[int, tuple[dict[str, Any], dict[str, None]]] = {}
    for held, name in places:
        names.setdefault(id(held), (held, {}))[1][name] = None
    return [(held, itemgetter(*wanted)) for held, wanted in names.values()]
