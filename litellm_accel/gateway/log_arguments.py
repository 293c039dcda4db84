"""What the access log tells of a request, with credentials taken out: what holds none is remembered.

LiteLLM searches each text of a line for some thirty patterns, twice, although path, method, version and, for as long as
a connection lasts, address are the same line after line. The answer depends on the text alone. Only texts in which
LiteLLM has found nothing to hide are kept.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

from litellm_accel import hot
from litellm_accel.stock import guard, releases

_MODULE = "litellm._logging"
_PATTERNS = "litellm.litellm_core_utils.secret_redaction"
#: LiteLLM's function.
TARGET = f"{_MODULE}:_scrub_access_arg"
_PARAMETERS = ["value"]
_SEARCHED_BY = "_SECRET_RE"
_LONGEST = 128
_MAX_KNOWN = 1024


class LogArguments:
    """Answers in the place of ``stock``, ``_scrub_access_arg`` of LiteLLM."""

    def __init__(self, gate: hot.gate.Gate, stock: FunctionType) -> None:
        self._gate = gate
        self._stock = stock
        self._known: set[str] = set()
        self._places = [(held, name, held[name]) for held, name in looked_up(stock)]
        called = [value for _, _, value in self._places if type(value) is FunctionType]
        self._is_open = all(map(guard.is_stock, called))

    def scrub(self, value: Any) -> Any:
        """Return ``value`` without what LiteLLM takes for a credential."""
        if type(value) is not str or len(value) > _LONGEST or not self._gate.on or not self._is_stock():
            return self._stock(value)
        if value in self._known:
            return value
        answer = self._stock(value)
        if type(answer) is str and answer == value:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known.add(value)
        return answer

    def _is_stock(self) -> bool:
        """Return whether nobody has replaced what LiteLLM's function searches by."""
        if self._is_open and any(held.get(name) is not before for held, name, before in self._places):
            self._is_open = False
            self._known.clear()
        return self._is_open


def looked_up(stock: FunctionType) -> list[tuple[dict[str, Any], str]]:
    """Return what LiteLLM's function and those of its modules that it calls look up: names, each with where that is."""
    found: list[tuple[dict[str, Any], str]] = []
    functions, seen = [stock], {stock.__code__}
    for function in functions:
        held = function.__globals__
        for name in function.__code__.co_names:
            value = held.get(name)
            if name in held:
                found.append((held, name))
            if type(value) is FunctionType and value.__module__ in (_MODULE, _PATTERNS) and value.__code__ not in seen:
                functions.append(value)
                seen.add(value.__code__)
    return found


def is_known(stock: FunctionType) -> bool:
    """Return whether LiteLLM's function is that of a known release, and takes and looks up what is known here."""
    return releases.knows(stock, _PARAMETERS, [_MODULE, _PATTERNS]) and any(
        name == _SEARCHED_BY for _, name in looked_up(stock)
    )
