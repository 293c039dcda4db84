"""JSON texts of what LiteLLM logs: spend logs and their rows.

LiteLLM builds a copy of the data first, in which everything is of JSON's own kinds, and writes that. Data that consists
of nothing else is equal to its copy, and is written as it is.
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable
from types import FunctionType
from typing import Any

from litellm_accel import hot
from litellm_accel.stock import releases

_MODULE = "litellm.litellm_core_utils.safe_json_dumps"
#: LiteLLM's function.
TARGET = f"{_MODULE}:safe_dumps"
_COPY, _FINITE = "safe_json_structure", "non_finite_as_null"
_PARAMETERS = ["data", "max_depth", "value_transform"]
_DEEPEST = 200  # as deep as the encoder goes in any program
_CYCLE: list[Any] = []
_CYCLE.append(_CYCLE)
_PROBES: tuple[Any, ...] = (
    {"text": 'ä"\\\n\ud800', "numbers": [0, -1, 1.5, 1e-07, 2**70, True, None], "pair": (1, {"a": []}), "": {}},
    {"infinite": float("inf"), "none": float("nan")},
    [[[["deep"]]]],
    {"nul": "a\x00b", "set": {"b", "a"}, 1: "number", "object": Ellipsis, "bytes": b"b"},
    _CYCLE,
    "text",
    None,
)


class JsonTexts:
    """Writes data in the place of ``stock``, ``safe_dumps`` of LiteLLM."""

    def __init__(self, gate: hot.gate.Gate, stock: FunctionType) -> None:
        self._gate = gate
        self._stock = stock
        self._module: Any = importlib.import_module(_MODULE)
        self._copy = vars(self._module).get(_COPY)
        self._dumps = json.dumps
        self._encode = json.JSONEncoder(default=str).encode  # as ``json.dumps`` makes one for each call
        self._is_plain = hot.plain_data.is_plain

    def dumps(self, data: Any, max_depth: Any, value_transform: Any = None, **more: Any) -> Any:
        """Return the text of ``data``, as LiteLLM does."""
        text = None
        if value_transform is None and type(max_depth) is int and max_depth <= _DEEPEST and self._is_stock():
            text = self.text(data, max_depth, bool(more.get(_FINITE)))
        return self._stock(data, max_depth, value_transform, **more) if text is None else text

    def text(self, data: Any, levels: int, finite: bool) -> str | None:
        """Return the text of ``data``, None if that is not plain."""
        return self._encode(data) if self._is_plain(data, levels, finite) else None

    def _is_stock(self) -> bool:
        """Return whether the component is on and nobody has replaced what LiteLLM's function calls."""
        held = self._module
        return bool(self._gate.on) and (
            held.json is json and json.dumps is self._dumps and vars(held).get(_COPY) is self._copy is not None
        )


def is_known(stock: FunctionType) -> bool:
    """Return whether ``safe_dumps`` is that of a known release, and takes what is known here."""
    parameters = [name for name in inspect.signature(stock).parameters if name != _FINITE]
    return releases.strange([_MODULE]) is None and parameters == _PARAMETERS


def agrees(texts: JsonTexts, stock: Callable[..., Any]) -> bool:
    """Return whether ``stock`` writes all plain data as ``texts`` does, of some with all that matters."""
    more: list[dict[str, bool]] = [{}]
    if _FINITE in inspect.signature(stock).parameters:
        more += [{_FINITE: True}, {_FINITE: False}]
    made = [
        (text, stock(data, depth, None, **given))
        for data in _PROBES
        for depth in (0, 1, 3, 4, 100)
        for given in more
        if (text := texts.text(data, depth, given.get(_FINITE, False))) is not None
    ]
    return len(made) >= len(_PROBES) and all(text == stocks for text, stocks in made)
