"""What LiteLLM makes of the headers of answers: names that come and go need no other plan.

LiteLLM goes by the names of headers and by whether their values are empty. Its own functions are asked what becomes of
any set of names when that is first met; a plan has shown that it is these functions that stock asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from litellm_accel.fastpath.plans.templates import Unrepeatable, learn_headers
from litellm_accel.hot import payload_parts

_MAX_MAPS = 1024
_UNSEEN: Any = object()


class HeaderMaps:
    """Maps names of headers to what ``convert`` makes of them."""

    def __init__(self, convert: Callable[[dict[str, str]], dict[str, str]]) -> None:
        self._convert = convert
        self._known: dict[tuple[Any, ...], tuple[tuple[str, int], ...] | None] = {}

    def find(self, names: tuple[Any, ...]) -> tuple[tuple[str, int], ...] | None:
        """Return ``((name in the result, index of the header), ...)``, None if a result holds anything else.

        The name of an empty value is given in a tuple.
        """
        if names in self._known:
            return self._known[names]
        try:
            found = learn_headers(names, self._convert)
        except Unrepeatable:
            found = None
        if len(self._known) >= _MAX_MAPS:
            self._known.clear()
        self._known[names] = found
        return found


class NumberedHeaders:
    """What ``convert`` makes of additional headers: which it keeps, under which names, and which of them as numbers."""

    def __init__(self, convert: Callable[[dict[str, Any]], Any]) -> None:
        self._convert = convert
        self._known: dict[tuple[Any, ...], tuple[tuple[Any, Any, bool], ...] | None] = {}

    def made(self, headers: Any) -> Any:
        """Return what ``convert`` returns for ``headers``."""
        if type(headers) is not dict:
            return self._convert(headers)
        names = tuple(headers)
        known = self._known.get(names, _UNSEEN)
        if known is _UNSEEN:
            if len(self._known) >= _MAX_MAPS:
                self._known.clear()
            known = self._known[names] = self._learned(names)
        if known is None:
            return self._convert(headers)
        return payload_parts.numbered(headers, known)

    def _learned(self, names: tuple[Any, ...]) -> tuple[tuple[Any, Any, bool], ...] | None:
        """Return ``((name in the result, name of the header, whether it is a number), ...)``; None if there is more."""
        texts = {name: f"text {place}" for place, name in enumerate(names)}
        numbers = {name: str(place) for place, name in enumerate(names)}
        try:
            told, counted = self._convert(texts.copy()), self._convert(numbers.copy())
            found = tuple((kept, names[int(value)], type(value) is int) for kept, value in counted.items())
        except Exception:
            return None
        again = {kept: texts[name] for kept, name, _ in found}
        return found if type(counted) is dict and again == told and list(again) == list(told) else None
