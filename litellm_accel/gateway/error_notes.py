"""What LiteLLM notes in a payload of the error that a call did not have: fourteen fields, all of them empty.

It asks a missing exception for each of them, and searches two empty texts for credentials. The answer is the same each
time; each payload gets a dictionary of its own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import FunctionType
from typing import Any

from litellm_accel import hot
from litellm_accel.gateway.untouched import Untouched, looked_up
from litellm_accel.stock import releases

_MODULE = "litellm.litellm_core_utils.litellm_logging"
_CREDENTIALS, _SEARCH = "litellm.litellm_core_utils.secret_redaction", "litellm.rust_bridge.diagnostics"
_ASKED = ("litellm._logging", _CREDENTIALS, "litellm.exceptions", "litellm.litellm_core_utils.error_normalization")
#: LiteLLM's static method.
TARGET = f"{_MODULE}:StandardLoggingPayloadSetup.get_error_information"
_SOURCES = ("f17b2d43fce4",)
_ATOMS = frozenset((str, type(None)))


class ErrorNotes:
    """Answers in the place of ``stock``, LiteLLM's static method."""

    def __init__(self, gate: hot.gate.Gate, stock: FunctionType) -> None:
        self._gate = gate
        self._stock: Callable[[Any, Any], Any] = stock
        #: What is noted where there was no error.
        self.nothing: dict[str, Any] = stock(None)
        credentials, search = (vars(importlib.import_module(name)) for name in (_CREDENTIALS, _SEARCH))
        places = [(credentials, "_SECRET_RE"), (credentials, "python_redact_string"), (search, "run")]
        self._untouched = Untouched(places=[*looked_up(stock, _ASKED), *places])

    def note(self, original_exception: Any, traceback_str: Any = None) -> Any:
        """Return what is noted of an exception, as LiteLLM does."""
        if original_exception is None and traceback_str is None and self._gate.on and self._untouched.holds():
            return self.nothing.copy()
        return self._stock(original_exception, traceback_str)


def is_known(stock: FunctionType) -> bool:
    """Return whether LiteLLM's method is that of a known release, and asks what it is known to."""
    return releases.strange([_MODULE, *_ASKED, _SEARCH]) is None and releases.is_source(stock, _SOURCES)


def agrees(notes: ErrorNotes, stock: Callable[[Any], Any]) -> bool:
    """Return whether LiteLLM notes the same once more, and nothing that may change."""
    again = stock(None)
    is_plain = type(notes.nothing) is dict and _ATOMS.issuperset(map(type, notes.nothing.values()))
    return is_plain and list(again.items()) == list(notes.nothing.items())
