"""The texts of a stream's chunks, which the proxy joins at its end to log what the client has received.

LiteLLM reads index and content of each choice by their names, for which pydantic looks in several places first. In a
chunk that LiteLLM has made they are among the values beside the declared fields. Anything else is LiteLLM's to look at.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

from litellm_accel import hot
from litellm_accel.gateway.untouched import Untouched
from litellm_accel.stock import releases

_MODULE = "litellm.litellm_core_utils.served_output_texts"
_TYPES = "litellm.types.utils"
#: LiteLLM's function.
TARGET = f"{_MODULE}:_chat_chunk_texts"
_PARAMETERS = ["chunk"]
# What it reads of chunks, choices and deltas, and what decides where that is found.
_READ = ("choices", "index", "delta", "content")
_BY = ("__getattribute__", "__getattr__", "__private_attributes__")


class ServedTexts:
    """Reads chunks in the place of ``stock``, LiteLLM's function."""

    def __init__(self, gate: hot.gate.Gate, stock: Callable[[Any], Any]) -> None:
        self._gate = gate
        self._stock = stock
        types: Any = importlib.import_module(_TYPES)
        self._chunk, self._choice, self._delta = types.ModelResponseStream, types.StreamingChoices, types.Delta
        kinds = self._chunk, self._choice, self._delta
        # Which values would be found before those that are read here.
        names = {name for kind in kinds for base in kind.__mro__ for name in vars(base)}
        private = {name for kind in kinds for name in kind.__private_attributes__}
        self._untouched = Untouched(kinds, (*_READ, *_BY), given=(names | private).isdisjoint(_READ))

    def texts(self, chunk: Any) -> Any:
        """Return index and text of each choice of ``chunk``, as LiteLLM does."""
        if type(chunk) is self._chunk and self._gate.on:
            try:
                found = self.read(chunk)
                if found is not None and self._untouched.holds():
                    return found
            except Exception as error:
                self._gate.fault(error)
        return self._stock(chunk)

    def read(self, chunk: Any) -> tuple[tuple[int, str | None], ...] | None:
        """Return index and text of each choice, None if these are for LiteLLM to read."""
        choices = chunk.__dict__.get("choices")
        if type(choices) is not list:
            return None
        found: list[tuple[int, str | None]] = []
        for choice in choices:
            held = choice.__pydantic_extra__ if type(choice) is self._choice and not choice.__dict__ else None
            index: Any = held.get("index") if type(held) is dict else None
            delta: Any = held.get("delta") if type(held) is dict else None
            if type(index) is not int or type(delta) is not self._delta or "content" in delta.__dict__:
                return None
            told: Any = delta.__pydantic_extra__
            if type(told) is not dict or "content" not in told:
                return None
            content = told["content"]
            if content is not None and type(content) is not str:
                return None
            found.append((index, content))
        return tuple(found)


def is_known(stock: FunctionType) -> bool:
    """Return whether LiteLLM's function is that of a known release, and takes what is known here."""
    return releases.knows(stock, _PARAMETERS, [_MODULE, _TYPES])


def agrees(served: ServedTexts, stock: Callable[[Any], Any]) -> bool:
    """Return whether ``stock`` reads chunks with all that matters as ``served`` does, which must read some."""
    seen = [(read, stock(chunk)) for chunk in _probes() if (read := served.read(chunk)) is not None]
    return len(seen) > 1 and all(read == stocks for read, stocks in seen)


def _probes() -> Iterator[Any]:
    types: Any = importlib.import_module(_TYPES)
    deltas: tuple[dict[str, Any], ...] = ({}, {"content": "a"}, {"content": ""}, {"role": "assistant"})
    choices = [types.StreamingChoices(index=index, delta=types.Delta(**delta)) for index in (0, 1) for delta in deltas]
    for choice in choices:
        yield types.ModelResponseStream(choices=[choice])
    yield types.ModelResponseStream(choices=choices)
    yield types.ModelResponseStream(choices=[])
