"""Whether what stands in a package is the package's own: not a mock, a wrapper or a replacement of somebody else's.

What is gone around must be, since nobody else would be asked.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import importlib
import importlib.util
import os
import sys
import types
from types import FunctionType, MethodType
from typing import Any

#: The packages that are relied on.
PACKAGES = ("litellm", "openai", "httpx", "httpcore", "aiohttp", "pydantic")
# Where else what their modules import comes from.
_BORROWED = sys.stdlib_module_names | {
    "click",
    "dotenv",
    "h2",
    "httpx2",
    "importlib_metadata",
    "jsonschema",
    "litellm_enterprise",
    "multidict",
    "propcache",
    "pydantic_core",
    "tiktoken",
    "tokenizers",
    "typing_extensions",
    "yarl",
}
_ROOTS = _BORROWED.union(PACKAGES)
# The interpreter's own. A type of an extension may claim to be one of these, like that of wrapt's wrappers.
_BUILT_IN = frozenset(kind for owner in (builtins, types) for kind in vars(owner).values() if isinstance(kind, type))


def is_genuine(value: Any) -> bool:
    """Return whether ``value``, if it can be called, comes from a package relied on, or was borrowed by one.

    A mock, a wrapper that pretends to be what it wraps, a function or a class of the application's do not.
    """
    kind = type(value)
    if kind in (staticmethod, classmethod, MethodType):
        return is_genuine(value.__func__)
    if kind is functools.partial:
        return is_genuine(value.func)
    if kind is FunctionType or kind is functools._lru_cache_wrapper:
        if _root(value) in _BORROWED and getattr(sys.modules.get(value.__module__), value.__name__, None) is value:
            return True
        if kind is not FunctionType:
            return is_genuine(value.__wrapped__)
        source = value.__code__.co_filename
        return source.startswith(_sources()) or (source[0] == "<" and value.__name__.startswith("__"))
    if issubclass(kind, type):
        return _root(value) in _ROOTS
    if not callable(value):
        return True
    if kind.__module__ == "builtins":
        return kind in _BUILT_IN
    return _root(kind) in _ROOTS and not kind.__module__.startswith("unittest")


def _root(named: Any) -> str:
    return str(named.__module__).partition(".")[0]


@functools.cache
def _sources() -> tuple[str, ...]:
    """Return how the paths of the packages' files begin, and those of the standard library that are gone around."""
    found = (importlib.util.find_spec(name) for name in PACKAGES)
    folders = (folder for spec in found if spec is not None for folder in spec.submodule_search_locations or ())
    # What makes functions, and what keeps cookies.
    makers = (contextlib.contextmanager, os._check_methods)  # type: ignore[attr-defined]
    keeper = str(importlib.import_module("http.cookiejar").__file__)
    return (*folders, *(function.__code__.co_filename for function in makers), keeper)
