"""What the access log tells of a request, with credentials taken out: what holds none is remembered.

LiteLLM searches each text of a line for some thirty patterns, twice, although path, method, version and, for as long as
a connection lasts, address are the same line after line. The answer depends on the text alone. Only texts in which
LiteLLM has found nothing to hide are kept.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

from litellm_accel import hot
from litellm_accel.gateway.untouched import Untouched, looked_up
from litellm_accel.stock import releases

_MODULE = "litellm._logging"
_PATTERNS = "litellm.litellm_core_utils.secret_redaction"
#: LiteLLM's function.
TARGET = f"{_MODULE}:_scrub_access_arg"
_MODULES = (_MODULE, _PATTERNS)
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
        self._untouched = Untouched(places=looked_up(stock, _MODULES))

    def scrub(self, value: Any) -> Any:
        """Return ``value`` without what LiteLLM takes for a credential."""
        if type(value) is not str or len(value) > _LONGEST or not self._gate.on:
            return self._stock(value)
        if not self._untouched.holds():
            self._known.clear()
            return self._stock(value)
        if value in self._known:
            return value
        answer = self._stock(value)
        if type(answer) is str and answer == value:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known.add(value)
        return answer


def is_known(stock: FunctionType) -> bool:
    """Return whether LiteLLM's function is that of a known release, and takes and looks up what is known here."""
    return releases.knows(stock, _PARAMETERS, _MODULES) and any(
        name == _SEARCHED_BY for _, name in looked_up(stock, _MODULES)
    )
