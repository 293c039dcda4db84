"""The price of an answer, settled before it is sent: by LiteLLM's own steps, with fewer copies.

LiteLLM makes a dictionary of all of the answer to see whether that has a usage, twice, and copies what is known of the
model by way of ``deepcopy``. Its own code runs here, with two of the names that it looks up meaning something else: of
the answer the usage alone is looked at, and plain data are copied as such. Each of the two leaves to LiteLLM's own
what it does not know.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from types import FunctionType, SimpleNamespace
from typing import Any

from litellm_accel import hot
from litellm_accel.gateway.untouched import Untouched, looked_up
from litellm_accel.stock import releases

_MODULE = "litellm.litellm_core_utils.litellm_logging"
_TYPES = "litellm.types.utils"
#: LiteLLM's method.
TARGET = f"{_MODULE}:Logging.prepare_response_cost"
_SOURCES = ("673d7e2e34c1",)
_EXTRACTS, _COPIES = "_extract_response_obj_and_hidden_params", "copy"
_USAGE = "usage"
_OF_USAGE = ("model_dump", "__getattribute__", "__getattr__")
_OF_SETUP = ("get_usage_as_dict", "get_usage_from_response_obj")
_ATOMS = frozenset((str, int, float, bool, type(None)))
_DEEPEST = 8


class PreparedCosts:
    """Settles prices in the place of ``stock``, LiteLLM's method."""

    def __init__(self, gate: hot.gate.Gate, stock: FunctionType) -> None:
        self._gate = gate
        self._stock: Callable[..., Any] = stock
        types: Any = importlib.import_module(_TYPES)
        held = stock.__globals__
        self._answer, self._usage = types.ModelResponse, types.Usage
        self._extract: Callable[[Any, Any], Any] = held[_EXTRACTS]
        kinds = self._answer, self._usage, held["StandardLoggingPayloadSetup"]
        places = [*looked_up(stock, ()), (vars(copy), "deepcopy")]
        self._untouched = Untouched(kinds, (*_OF_USAGE, *_OF_SETUP), places)
        known = {name: held[name] for name in ("__builtins__", "__name__", *stock.__code__.co_names) if name in held}
        known |= {_EXTRACTS: self._extracted, _COPIES: SimpleNamespace(deepcopy=self._copied)}
        self._brief: Callable[..., Any] = FunctionType(stock.__code__, known, stock.__name__, stock.__defaults__)

    def prepare(self, logging: Any, response: Any, now: Any) -> Any:
        """Return the price of ``response``, as LiteLLM does."""
        is_served = False
        try:
            is_served = self._gate.on and self._untouched.holds()
        except Exception as error:
            self._gate.fault(error)
        return (self._brief if is_served else self._stock)(logging, response, now)

    def _extracted(self, answer: Any, error: Any) -> Any:
        """Return what LiteLLM's step looks at: of a completion nothing but its usage."""
        try:
            if type(answer) is self._answer and error is None:
                usage: Any = (answer.__pydantic_extra__ or {}).get(_USAGE)
                if type(usage) is self._usage:
                    return {_USAGE: usage.model_dump(exclude_unset=True)}, None
        except Exception as fault:
            self._gate.fault(fault)
        return self._extract(answer, error)

    def _copied(self, value: Any) -> Any:
        """Return what ``deepcopy`` makes of ``value``."""
        made = NOT_PLAIN
        try:
            made = copied(value, set(), 0)
        except Exception as fault:
            self._gate.fault(fault)
        return copy.deepcopy(value) if made is NOT_PLAIN else made


#: Stands for a copy that only ``deepcopy`` can make.
NOT_PLAIN = object()


def copied(value: Any, seen: set[int], depth: int) -> Any:
    """Return a deep copy of plain data, else ``NOT_PLAIN``: what is there twice is once in a deep copy, too.

    ``seen`` are the identities of the dictionaries and lists that hold it, ``depth`` deep.
    """
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind not in (dict, list) or id(value) in seen or depth > _DEEPEST:
        return NOT_PLAIN
    seen.add(id(value))
    made = value.copy()
    if kind is dict and not _ATOMS.issuperset(map(type, made)):
        return NOT_PLAIN
    for name, held in made.items() if kind is dict else enumerate(made):
        if type(held) not in _ATOMS:
            copy_of = copied(held, seen, depth + 1)
            if copy_of is NOT_PLAIN:
                return NOT_PLAIN
            made[name] = copy_of
    return made


def is_known(stock: FunctionType) -> bool:
    """Return whether LiteLLM's method is that of a known release, whose steps need no more than they get here."""
    return releases.strange([_MODULE, _TYPES]) is None and releases.is_source(stock, _SOURCES)
