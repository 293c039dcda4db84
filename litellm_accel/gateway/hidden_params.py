"""What LiteLLM has noted of a chunk beside its fields: its hidden parameters.

The proxy asks for them twice for each event that it sends, and pydantic looks for them in the instance, in its classes
and in a list of private attributes before it finds them. In a chunk that LiteLLM has made they are where pydantic keeps
private attributes. Anything else is LiteLLM's to look at.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

from litellm_accel import hot
from litellm_accel.gateway.untouched import Untouched
from litellm_accel.stock import releases

_TYPES = "litellm.types.utils"
#: LiteLLM's function, by releases: it has moved.
TARGETS = (
    "litellm.litellm_core_utils.add_retry_fallback_headers:get_hidden_params_dict",
    "litellm.router_utils.add_retry_fallback_headers:get_hidden_params_dict",
)
_PARAMETERS = ["response", "create"]
_NAME, _NORMALIZE = "_hidden_params", "_normalize_hidden_params"
# What decides where an attribute of a chunk is found.
_BY = ("__getattribute__", "__getattr__", "__private_attributes__")


class HiddenParams:
    """Finds hidden parameters in the place of ``stock``, LiteLLM's function in ``module``."""

    def __init__(self, gate: hot.gate.Gate, module: str, stock: Callable[..., Any]) -> None:
        self._gate = gate
        self._stock = stock
        chunk: Any = importlib.import_module(_TYPES).ModelResponseStream
        self._chunk = chunk
        held = vars(importlib.import_module(module))
        self._untouched = Untouched(
            (chunk,),
            (_NAME, *_BY),
            [(held, name) for name in (_NORMALIZE,) if name in held],
            given=_NORMALIZE in held and not any(_NAME in vars(base) for base in chunk.__mro__),
        )

    def find(self, response: Any, *, create: Any = False) -> Any:
        """Return the hidden parameters of ``response``, as LiteLLM does."""
        if type(response) is self._chunk and self._gate.on:
            try:
                found = self.noted(response)
                if found is not None and self._untouched.holds():
                    return found
            except Exception as error:
                self._gate.fault(error)
        return self._stock(response, create=create)

    def noted(self, chunk: Any) -> dict[str, Any] | None:
        """Return the dictionary that pydantic keeps for ``chunk``, None if that is for LiteLLM to find."""
        private = chunk.__pydantic_private__
        found = None if private is None or _NAME in chunk.__dict__ else private.get(_NAME)
        return found if type(found) is dict else None


def is_known(stock: FunctionType, module: str) -> bool:
    """Return whether LiteLLM's function is that of a known release, and takes what is known here."""
    return releases.knows(stock, _PARAMETERS, [module, _TYPES])


def agrees(hidden: HiddenParams, stock: Callable[..., Any]) -> bool:
    """Return whether ``stock`` finds the very same dictionaries as ``hidden``, which must find some."""
    seen = [(hidden.noted(chunk), stock(chunk)) for chunk in _probes()]
    found = [(noted, stocks) for noted, stocks in seen if noted is not None]
    return bool(found) and all(noted is stocks for noted, stocks in found)


def _probes() -> Iterator[Any]:
    types: Any = importlib.import_module(_TYPES)
    for value in ({}, {"model_id": "a"}, None):
        chunk = types.ModelResponseStream()
        chunk._hidden_params = value
        yield chunk
    yield types.ModelResponseStream()
