"""What guardrails have noted of a request: nothing, for most.

LiteLLM asks twice after each answer, and validates all of the request's metadata to look for one name in it. That no
metadata have the name is seen without. Anything else is LiteLLM's to look at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import FunctionType, SimpleNamespace
from typing import Any

from litellm_accel import hot
from litellm_accel.gateway.untouched import Untouched, looked_up
from litellm_accel.stock import releases

_MODULE = "litellm.proxy.common_request_processing"
_COSTS = "litellm.litellm_core_utils.llm_cost_calc.guardrail_cost"
#: LiteLLM's function.
TARGET = f"{_MODULE}:_guardrail_entries_for_headers"
_SOURCES = ("f1f821b8a317",)
_NOTED = "standard_logging_guardrail_information"


class GuardrailEntries:
    """Answers in the place of ``stock``, LiteLLM's function."""

    def __init__(self, gate: hot.gate.Gate, stock: FunctionType) -> None:
        self._gate = gate
        self._stock: Callable[[Any, Any], Any] = stock
        self._untouched = Untouched(places=looked_up(stock, (_MODULE, _COSTS)))

    def find(self, request_metadata_bucket: Any, logging_obj: Any) -> Any:
        """Return the entries of a request and of its ``Logging`` object, as LiteLLM does."""
        try:
            if self._gate.on and self.has_none(request_metadata_bucket, logging_obj) and self._untouched.holds():
                return ()
        except Exception as error:
            self._gate.fault(error)
        return self._stock(request_metadata_bucket, logging_obj)

    def has_none(self, bucket: Any, logging: Any) -> bool:
        """Return whether none of the metadata are more than a dictionary without entries."""
        details = getattr(logging, "model_call_details", None)
        params = details.get("litellm_params") if type(details) is dict else None
        if type(params) is not dict:
            return False
        metadata = bucket, params.get("metadata"), params.get("litellm_metadata")
        return all(held is None or (type(held) is dict and held.get(_NOTED) is None) for held in metadata)


def is_known(stock: FunctionType) -> bool:
    """Return whether LiteLLM's function is that of a known release, and looks where it is known to."""
    return releases.strange([_MODULE, _COSTS]) is None and releases.is_source(stock, _SOURCES)


def agrees(entries: GuardrailEntries, stock: Callable[[Any, Any], Any]) -> bool:
    """Return whether ``stock`` finds nothing where nothing is seen, and something elsewhere."""
    seen = [(entries.has_none(*given), stock(*given)) for given in _probes()]
    return len({has_none for has_none, _ in seen}) == 2 and all(has_none == (found == ()) for has_none, found in seen)


def _probes() -> Iterator[tuple[Any, Any]]:
    buckets: tuple[Any, ...] = (None, {}, {"a": 1}, {1: 2}, {_NOTED: None}, {_NOTED: {"a": 1}}, {_NOTED: [{"b": 1}]})
    for bucket in buckets:
        for name in ("metadata", "litellm_metadata"):
            for logged in buckets:
                yield bucket, SimpleNamespace(model_call_details={"litellm_params": {name: logged}})
