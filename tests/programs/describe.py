"""Turns what a program shows into plain data that can be compared. Runs in the program's environment."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

DEPTH = 8


def describe(value: Any, depth: int = DEPTH) -> Any:
    """Return a comparable description of any object: its data where it has a form, else the name of its class."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value if type(value) in (type(None), bool, int, float, str) else [type(value).__name__, str(value)]
    if isinstance(value, bytes):
        return {"bytes": value.decode("latin-1")}
    if depth == 0:
        return f"<{type(value).__qualname__}>"
    depth -= 1
    if isinstance(value, BaseException):
        return error(value, depth)
    if isinstance(value, Mapping):
        return {str(name): describe(item, depth) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)) or inspect.isgenerator(value):
        items = [describe(item, depth) for item in value]
        return sorted(items, key=repr) if isinstance(value, (set, frozenset)) else items
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
        return {type(value).__qualname__: describe(fields, depth)}
    if hasattr(value, "model_fields_set") and not isinstance(value, type):
        extra = getattr(value, "__pydantic_extra__", None)
        return {type(value).__qualname__: describe({**vars(value), **(extra or {})}, depth)}
    return f"<{type(value).__qualname__}>"


def error(value: BaseException, depth: int = DEPTH) -> Any:
    """Return an exception's class, text and causes."""
    shown: dict[str, Any] = {"raised": type(value).__qualname__, "text": str(value)}
    for name in ("status_code", "llm_provider", "model", "num_retries", "max_retries"):
        if (held := getattr(value, name, None)) is not None:
            shown[name] = describe(held, 1)
    if depth and value.__cause__ is not None:
        shown["cause"] = error(value.__cause__, depth - 1)
    elif depth and value.__context__ is not None and not value.__suppress_context__:
        shown["context"] = error(value.__context__, depth - 1)
    return shown
