"""What a function of LiteLLM's looks up, so that its result can be kept for as long as the same would be found."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any


class Untold(Exception):
    """More was looked at than single entries."""


class Looked:
    """A stand-in for a container, in which single entries may be looked up; ``found`` takes them down.

    Each is the container, the key and what is there: a dict's value, or whether another container holds the key.
    """

    def __init__(self, container: Any, found: list[tuple[Any, object, object]]) -> None:
        self._container = container
        self._found = found

    def __contains__(self, key: object) -> bool:
        is_there = key in self._container
        said = self._container.get(key) if isinstance(self._container, dict) else is_there
        self._found.append((self._container, key, said))
        return is_there

    def __iter__(self) -> Iterator[Any]:
        raise Untold

    def __len__(self) -> int:
        if not self._container:
            raise Untold
        return len(self._container)


class LookedMapping(Looked, Mapping[str, Any]):
    """As ``Looked``, for a dict; of dicts in it the same is true."""

    def __getitem__(self, key: str) -> Any:
        if key not in self:
            raise KeyError(key)
        value = self._container[key]
        return LookedMapping(value, self._found) if type(value) is dict else value


class Package:
    """A stand-in for LiteLLM's package, whose containers take down what is looked up in them."""

    def __init__(self, package: ModuleType) -> None:
        self._package = package
        self.found: list[tuple[Any, object, object]] = []

    def __getattr__(self, name: str) -> Any:
        held = getattr(self._package, name)
        if isinstance(held, dict):
            return LookedMapping(held, self.found)
        return Looked(held, self.found) if isinstance(held, (list, set, frozenset, tuple)) else held


def reached(
    module: ModuleType, functions: Iterable[str], classes: Iterable[str], without: Container[str]
) -> tuple[str, ...]:
    """Return the names of ``module`` that code of these functions and classes mentions, and of functions it mentions.

    What those mention that are in ``without`` does not count.
    """
    found: dict[str, None] = dict.fromkeys(classes)
    rest = [*functions]
    for kind in classes:
        rest += _mentioned(vars(module)[kind])
    while rest:
        name = rest.pop()
        if name in vars(module) and name not in found:
            found[name] = None
            if name not in without:
                rest += _mentioned(vars(module)[name])
    return tuple(found)


def _mentioned(thing: Any) -> Iterator[str]:
    if isinstance(thing, type):
        for held in vars(thing).values():
            yield from _mentioned(getattr(held, "func", held))
    code = thing if isinstance(thing, CodeType) else getattr(thing, "__code__", None)
    if code is not None:
        yield from code.co_names
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                yield from _mentioned(constant)


def copied(
    module: ModuleType, classes: Iterable[str], defaults: Mapping[str, tuple[Any, ...]] | None = None
) -> dict[str, Any]:
    """Return the names of ``module``, with its functions and these of its classes over the names instead of its own.

    ``defaults`` are other default arguments of some functions.
    """
    names = dict(vars(module))

    def copy(function: FunctionType) -> FunctionType:
        bound = (defaults or {}).get(function.__name__, function.__defaults__)
        made = FunctionType(function.__code__, names, function.__name__, bound, function.__closure__)
        made.__kwdefaults__ = function.__kwdefaults__
        made.__module__ = function.__module__
        return made

    for name, value in vars(module).items():
        if isinstance(value, FunctionType) and value.__globals__ is vars(module):
            names[name] = copy(value)
    for name in classes:
        names[name] = type(name, (), {key: _over(copy, held) for key, held in _own(vars(module)[name]).items()})
    return names


def _own(kind: type) -> dict[str, Any]:
    return {key: held for key, held in vars(kind).items() if key not in ("__dict__", "__weakref__")}


def _over(copy: Any, held: Any) -> Any:
    """Return a member of a class over other names."""
    if isinstance(held, FunctionType):
        return copy(held)
    function = getattr(held, "func", None) or getattr(held, "fget", None)
    return type(held)(copy(function)) if isinstance(function, FunctionType) else held
