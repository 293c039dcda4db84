"""Which chunks of a stream hold nothing but a usage that the client did not ask for.

LiteLLM asks that of each chunk, and makes a dictionary of all that is in it to see whether any of that is set. The
first choice of nearly every chunk has a text or a reason to finish, which is seen without. Anything else is LiteLLM's
to look at.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

from litellm_accel import hot
from litellm_accel.gateway.untouched import Untouched
from litellm_accel.stock import releases

_MODULE = "litellm.litellm_core_utils.stream_usage_chunks"
_TYPES = "litellm.types.utils"
#: LiteLLM's function.
TARGET = f"{_MODULE}:is_injected_stream_usage_artifact"
_PARAMETERS = ["chunk"]
# What LiteLLM's function reads of chunks, choices and deltas, and what it reads that by.
_READ = ("provider_specific_fields", "choices", "finish_reason", "logprobs", "delta", "model_extra")
_BY = ("__getattribute__", "__getattr__", "model_dump")
_PLAIN = frozenset((str, type(None)))


class UsageArtifacts:
    """Answers in the place of ``stock``, ``is_injected_stream_usage_artifact`` of LiteLLM."""

    def __init__(self, gate: hot.gate.Gate, stock: Callable[[Any], Any]) -> None:
        self._gate = gate
        self._stock = stock
        types: Any = importlib.import_module(_TYPES)
        self._chunk, self._choice, self._delta = types.ModelResponseStream, types.StreamingChoices, types.Delta
        kinds = self._chunk, self._choice, self._delta
        self._untouched = Untouched(kinds, (*_READ, *_BY), modules=[importlib.import_module(_MODULE)])

    def is_artifact(self, chunk: Any) -> Any:
        """Return whether ``chunk`` holds nothing but an usage, as LiteLLM does."""
        try:
            if type(chunk) is self._chunk and self._gate.on and self._has_text(chunk) and self._untouched.holds():
                return False
        except Exception as error:
            self._gate.fault(error)
        return self._stock(chunk)

    def _has_text(self, chunk: Any) -> bool:
        """Return whether the first choice has a text or a reason to finish, and nothing but what LiteLLM made."""
        choices = chunk.__dict__.get("choices")
        if type(choices) is not list or not choices or type(choices[0]) is not self._choice:
            return False
        extra = choices[0].__pydantic_extra__
        if type(extra) is not dict or choices[0].__dict__:
            return False
        if extra.get("finish_reason") is not None:
            return True
        delta: Any = extra.get("delta")
        if "finish_reason" not in extra or type(delta) is not self._delta:
            return False
        told = delta.__pydantic_extra__
        if type(told) is not dict or type(told.get("content")) is not str:
            return False
        return _PLAIN.issuperset(map(type, told.values())) and not any(map(_is_set, delta.__dict__.values()))


def is_known(stock: FunctionType) -> bool:
    """Return whether LiteLLM's function is that of a known release, and takes what is known here."""
    return releases.knows(stock, _PARAMETERS, [_MODULE, _TYPES])


def agrees(artifacts: UsageArtifacts, stock: Callable[[Any], Any]) -> bool:
    """Return whether ``stock`` finds no artifact where ``artifacts`` sees a text, for chunks with all that matters."""
    seen = [(artifacts._has_text(chunk), stock(chunk)) for chunk in _probes()]
    return any(has_text for has_text, _ in seen) and not any(has_text and answer for has_text, answer in seen)


def _probes() -> Iterator[Any]:
    types: Any = importlib.import_module(_TYPES)
    deltas: tuple[dict[str, Any], ...] = (
        {},
        {"content": "a"},
        {"content": ""},
        {"role": "assistant"},
        {"content": "a", "reasoning_content": "b"},
        {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}, "type": "function"}]},
    )
    for delta in deltas:
        for reason in (None, "stop"):
            choice = types.StreamingChoices(finish_reason=reason, delta=types.Delta(**delta))
            yield types.ModelResponseStream(choices=[choice])
            yield types.ModelResponseStream(choices=[choice], provider_specific_fields={"a": 1})


def _is_set(value: Any) -> bool:
    return value is not None
