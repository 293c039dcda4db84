"""What LiteLLM makes of the headers of answers: names that come and go need no other plan.

LiteLLM goes by the names of headers and by whether their values are empty. Its own functions are asked what becomes of
any set of names when that is first met; a plan has shown that it is these functions that stock asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from litellm_accel.fastpath.plans.templates import Unrepeatable, learn_headers

_MAX_MAPS = 1024


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
