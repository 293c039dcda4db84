"""The JSON texts of a stream's chunks.

LiteLLM looks in each choice of a chunk for fields that some providers set to null, since these are written although
other nulls are not. Chunks whose choices have none of these fields, which are nearly all, are handed to the function
that LiteLLM writes them by. Anything else is LiteLLM's to look at.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

from litellm_accel import hot
from litellm_accel.gateway.untouched import Untouched
from litellm_accel.stock import releases

_MODULE = "litellm.proxy.proxy_server"
_TYPES = "litellm.types.utils"
#: LiteLLM's function.
TARGET = f"{_MODULE}:_serialize_streaming_chunk"
_PARAMETERS = ["chunk"]
_WRITE, _FIELDS = "_serialize_chat_chunk", "VLLM_CHOICE_FIELDS"
# What LiteLLM's function looks for null fields by.
_CALLED = ("_streaming_chunk_choices", "_null_vllm_choice_fields", "_vllm_choice_fields")
_HELD = (*_CALLED, _FIELDS, "ModelResponseStream")
# What it reads of chunks and choices.
_READ = ("choices", "model_extra", "__getattribute__", "__getattr__")


class ChunkTexts:
    """Writes chunks in the place of ``stock``, LiteLLM's function, whose names are those of ``module``."""

    def __init__(self, gate: hot.gate.Gate, module: Any, stock: Callable[[Any], Any]) -> None:
        self._gate = gate
        self._stock = stock
        self._module = module
        types: Any = importlib.import_module(_TYPES)
        self._chunk, self._choice = types.ModelResponseStream, types.StreamingChoices
        kinds = self._chunk, self._choice
        held = vars(module)
        fields = held[_FIELDS]
        self._fields = frozenset(fields)
        self._untouched = Untouched(
            kinds,
            _READ,
            [(held, name) for name in _HELD],
            given=type(fields) is tuple and held["ModelResponseStream"] is self._chunk,
        )

    def write(self, chunk: Any) -> Any:
        """Return the text of ``chunk``, as LiteLLM does."""
        is_plain = False
        try:
            is_plain = type(chunk) is self._chunk and self._gate.on and self.is_plain(chunk) and self._untouched.holds()
        except Exception as error:
            self._gate.fault(error)
        return getattr(self._module, _WRITE)(chunk) if is_plain else self._stock(chunk)

    def is_plain(self, chunk: Any) -> bool:
        """Return whether no choice of ``chunk`` has a field that may be written as null."""
        choices = chunk.__dict__.get("choices")
        if type(choices) is not list:
            return False
        for choice in choices:
            extra = choice.__pydantic_extra__ if type(choice) is self._choice else None
            if type(extra) is not dict or not self._fields.isdisjoint(extra):
                return False
        return True


def is_known(stock: FunctionType, module: Any) -> bool:
    """Return whether LiteLLM's function is that of a known release, and takes and asks what is known here."""
    return (
        releases.knows(stock, _PARAMETERS, [_MODULE, _TYPES])
        and {_CALLED[0], _WRITE} <= set(stock.__code__.co_names)
        and {_WRITE, *_HELD} <= vars(module).keys()
    )


def agrees(texts: ChunkTexts, stock: Callable[[Any], Any]) -> bool:
    """Return whether plain chunks are written as ``stock`` writes them, of some with all that matters."""
    seen = [(texts.is_plain(chunk), chunk) for chunk in _probes(sorted(texts._fields))]
    return len({is_plain for is_plain, _ in seen}) == 2 and all(
        getattr(texts._module, _WRITE)(chunk) == stock(chunk) for is_plain, chunk in seen if is_plain
    )


def module() -> Any:
    """Return the proxy's module, which is imported."""
    return sys.modules[_MODULE]


def _probes(fields: list[str]) -> Iterator[Any]:
    types: Any = importlib.import_module(_TYPES)
    deltas: tuple[dict[str, Any], ...] = ({}, {"content": 'ä"\n'}, {"role": "assistant", "content": ""})
    others: list[dict[str, Any]] = [{}, {"more": None}, *({name: None} for name in fields), {fields[0]: 1}]
    for delta in deltas:
        for reason in (None, "stop"):
            for more in others:
                choice = types.StreamingChoices(finish_reason=reason, delta=types.Delta(**delta), **more)
                yield types.ModelResponseStream(id="a", created=1, model="m", choices=[choice])
    yield types.ModelResponseStream(id="a", created=1, choices=[])
    yield types.ModelResponseStream(id="a", created=1, choices=[], usage={"prompt_tokens": 1, "total_tokens": 1})
