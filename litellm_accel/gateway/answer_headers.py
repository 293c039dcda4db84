"""The headers of an answer, put where LiteLLM puts them: onto a response of the framework's, all at once.

The framework searches all headers for each one that it puts. Where no name is there twice, each one has its place.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import FunctionType
from typing import Any

from litellm_accel import hot
from litellm_accel.stock import guard, releases

_MODULE = "starlette.datastructures"
#: The framework's method.
TARGET = f"{_MODULE}:MutableHeaders.update"
_SOURCES = ("635317d3686e",)
_PUTS, _SOURCES_OF_PUTS = "__setitem__", ("194629c475b2",)


class AnswerHeaders:
    """Puts headers in the place of ``stock``, Starlette's method."""

    def __init__(self, gate: hot.gate.Gate, stock: FunctionType) -> None:
        self._gate = gate
        self._stock: Callable[[Any, Any], None] = stock
        self._headers = importlib.import_module(_MODULE).MutableHeaders
        self._classes = hot.watch.Classes((self._headers,), (_PUTS, "__getattribute__"))

    def put(self, headers: Any, other: Any) -> None:
        """Put the headers in ``other`` onto ``headers``, as Starlette does."""
        pairs = None
        try:
            if type(headers) is self._headers and type(other) is dict and self._gate.on and not self._classes.changed():
                pairs = _encoded(other)
            places = {name: place for place, (name, _) in enumerate(headers._list)} if pairs is not None else {}
            if pairs is None or len(places) != len(headers._list):
                return self._stock(headers, other)
        except Exception as error:
            self._gate.fault(error)
            return self._stock(headers, other)
        for pair in pairs:
            place = places.setdefault(pair[0], len(places))
            headers._list[place : place + 1] = (pair,)
        return None


def _encoded(headers: dict[Any, Any]) -> list[tuple[bytes, bytes]] | None:
    """Return headers as they are sent, None if some cannot be."""
    if not all(type(text) is str for pair in headers.items() for text in pair):
        return None
    try:
        return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    except UnicodeEncodeError:
        return None


def is_known(stock: FunctionType) -> bool:
    """Return whether Starlette's method, and the one that it calls, are what is known here."""
    puts: Any = vars(importlib.import_module(_MODULE).MutableHeaders)[_PUTS]
    is_frameworks = guard.is_defined_at(puts, _MODULE, f"MutableHeaders.{_PUTS}")
    return is_frameworks and releases.is_source(stock, _SOURCES) and releases.is_source(puts, _SOURCES_OF_PUTS)
