"""What a component computes beside calls that stock answers, for mode ``shadow``.

A ``Beside`` is called with the arguments of a call before stock runs, and copies what stock or the caller may change.
It returns the comparison, which is given stock's result and returns ``EQUAL``, ``DECLINED`` if the component would have
left the call to stock, ``UNTOLD`` if it cannot tell, or else the component's own result.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable
from types import FunctionType
from typing import Any

from litellm_accel import hot


class Verdict:
    """What a comparison has found; a component's own result if it is none of the three below."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


EQUAL, DECLINED, UNTOLD = Verdict("equal"), Verdict("declined"), Verdict("untold")
Comparison = Callable[[Any], Any]
_SCALARS = (str, int, float, bool, type(None), bytes)


class Uncopied(Exception):
    """Arguments hold something that cannot be copied without running its code."""


def copied(value: Any) -> Any:
    """Return a copy of plain data, and of pydantic's models in it, that shares nothing changeable with ``value``."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is dict:
        return {copied(key): copied(item) for key, item in value.items()}
    if kind in (list, tuple):
        return kind([copied(item) for item in value])
    if hasattr(kind, "__pydantic_fields__"):
        return value.model_copy(deep=True)
    raise Uncopied(f"{kind.__module__}.{kind.__qualname__}")


def agree(made: Any, found: Any) -> bool:
    """Return whether what a component ``made`` is what stock ``found``: 1, 1.0 and True are told apart."""
    return type(made) is type(found) and bool(made == found)


class Computed:
    """Computes a function without side effects again, whenever there is time."""

    can_wait = True

    def __init__(self, stock: FunctionType, fast: Callable[..., Any], learn: Callable[[], None] = lambda: None) -> None:
        """``learn`` is called where ``fast`` declines a call that stock has served."""
        self.name = stock.__name__
        self.parameters = list(inspect.signature(stock).parameters)
        self._fast = fast
        self._learn = learn

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Comparison:
        """Copy the arguments. Raises ``Uncopied``."""
        args, kwargs = copied(args), copied(kwargs)

        def compare(result: Any) -> Any:
            made = self._fast(*args, **kwargs)
            if made is hot.gate.DECLINED:
                self._learn()
                return DECLINED
            return EQUAL if agree(made, result) else made

        return compare


class Chosen:
    """Chooses a deployment again, with the random numbers that stock has drawn, right after stock has chosen.

    Routers that draw, and measure nothing, are compared: what others measure changes from call to call.
    """

    can_wait = False

    name = "get_available_deployment"

    def __init__(self, choose: Callable[..., Any], source: random.Random) -> None:
        self.parameters = list(inspect.signature(choose).parameters)
        self._choose = choose
        self._source = source

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Comparison:
        """Copy the request and note where the random numbers are. Raises ``Uncopied``."""
        if args[0].routing_strategy != "simple-shuffle":
            raise Uncopied("routers that measure")
        place = self.parameters.index("request_kwargs")
        args = (*args[:place], copied(args[place]), *args[place + 1 :])
        drawn = random.getstate()

        def compare(result: Any) -> Any:
            self._source.setstate(drawn)
            made = self._choose(*args, **kwargs)
            if made is hot.gate.DECLINED:
                return DECLINED
            if agree(made, result):
                return EQUAL
            return UNTOLD if self._source.getstate() != random.getstate() else made  # others have drawn meanwhile

        return compare
