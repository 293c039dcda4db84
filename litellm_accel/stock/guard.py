"""Whose a function, a class or an object is, and whether it has changed.

What is gone around must be the packages' own, and stay as it is: somebody's mock, wrapper or replacement would not be
called.
"""

from __future__ import annotations

import builtins
import contextlib
import enum
import functools
import importlib
import importlib.metadata
import importlib.util
import os
import re
import sys
import types
from pathlib import Path
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from litellm_accel.hot import watch

#: The packages that are relied on.
PACKAGES = ("litellm", "openai", "httpx", "httpcore", "aiohttp", "pydantic")
# What is put around functions to change or to observe them, whoever requires it.
_INSTRUMENTS = frozenset(("opentelemetry", "unittest", "wrapt"))
# Where else what their modules import comes from; other packages that they require are looked up when they are met.
_BORROWED = (sys.stdlib_module_names - _INSTRUMENTS) | {
    "aiohappyeyeballs",
    "aiosignal",
    "annotated_types",
    "anyio",
    "attr",
    "click",
    "dotenv",
    "fastuuid",
    "h11",
    "h2",
    "httpx2",
    "importlib_metadata",
    "jiter",
    "jsonschema",
    "litellm_enterprise",
    "multidict",
    "propcache",
    "pydantic_core",
    "redis",
    "sniffio",
    "tiktoken",
    "tokenizers",
    "typing_extensions",
    "typing_inspection",
    "yarl",
}
_ROOTS = _BORROWED.union(PACKAGES)
# Most of what modules hold besides functions and classes, and cannot be called.
_DATA = frozenset((bool, bytes, dict, float, frozenset, int, list, set, str, tuple, types.ModuleType, type(None)))
_OURS = str(Path(__file__).parents[1])
# The interpreter's own. A type of an extension may claim to be one of these, like that of wrapt's wrappers.
_BUILT_IN = frozenset(kind for owner in (builtins, types) for kind in vars(owner).values() if isinstance(kind, type))


def is_stock(value: Any) -> bool:
    """Return whether ``value``, if it can be called, comes from a package relied on, or was borrowed by one.

    A mock, a wrapper that pretends to be what it wraps, a function or a class of the application's do not.
    """
    kind = type(value)
    if kind in _DATA:
        return True
    if kind is FunctionType:
        source: str = value.__code__.co_filename
        if _is_source(source) or _is_borrowed(value):
            return True
        if source == _MAKER:  # a decorator of its making has somebody's context manager in it
            return value.__code__.co_name == "helper" and is_stock(vars(value).get("__wrapped__"))
        return source.startswith("<") and value.__name__.startswith("__")
    if kind in (staticmethod, classmethod, MethodType):
        return is_stock(value.__func__)
    if kind is functools.partial:
        return is_stock(value.func)
    if kind is functools._lru_cache_wrapper:
        return _is_borrowed(value) or is_stock(value.__wrapped__)
    if issubclass(kind, type):
        return _root(value) in _ROOTS or _is_required(value)
    if not callable(value):
        return True
    return kind in _BUILT_IN if kind.__module__ == "builtins" else _root(kind) in _ROOTS


def is_defined_at(function: FunctionType, module: str, path: str) -> bool:
    """Return whether ``function`` is what its package defines as ``path`` in ``module``, not what was put there."""
    if function.__module__ != module or function.__qualname__ != path:
        return False
    package = sys.modules[module.partition(".")[0]]
    return function.__code__.co_filename.startswith(tuple(package.__path__))


def is_disguised(value: Any) -> bool:
    """Return whether ``value`` is a wrapper that says it is a function."""
    return isinstance(value, FunctionType) and type(value) is not FunctionType


def put_onto(held: Any) -> str | None:
    """Return the name of a method of its class that somebody has put onto the object ``held``, or None."""
    kind, own = type(held), vars(held)
    shared = [name for base in kind.__mro__ for name in own.keys() & vars(base).keys()]  # few or none
    return next((name for name in own if name in shared and callable(getattr(kind, name, None))), None)


def fields_of(kind: type) -> frozenset[str]:
    """Return the names of what a new object of ``kind`` holds; any other has been put onto it."""
    return frozenset(vars(kind()))


def differs(watched: watch.Watch) -> bool:
    """Return whether anything that is ``watched`` is another object than at the last mark.

    What was written with the same value is marked.
    """
    if not watched.changed():
        return False
    if watched.differences():
        return True
    watched.mark()
    return False


class Origin(enum.Enum):
    """Whose a function is: a package's that is relied on, what such a one is made with, this package's, any other's."""

    STOCK, BORROWED, OURS, STRANGER = range(4)


@functools.lru_cache(4096)
def origin(file: str, module: str | None) -> Origin:
    """Return whose a function is whose code is from ``file`` and runs in the namespace of ``module``."""
    if file.startswith(_OURS):
        return Origin.OURS
    root = str(module).partition(".")[0]
    if file.startswith("<") and (module is None or root.startswith("namedtuple_")):  # made when a class was
        return Origin.BORROWED
    # Python's own modules may have other names than their files.
    home = os.__file__ if root in sys.stdlib_module_names else getattr(sys.modules.get(root), "__file__", None)
    if not file.startswith("<") and not (home is not None and file.startswith(os.path.dirname(home))):
        return Origin.STRANGER
    if root in PACKAGES:
        return Origin.STOCK
    return Origin.BORROWED if root in _BORROWED or root in _required() else Origin.STRANGER


def _root(named: Any) -> str:
    return _first_part(str(named.__module__))


@functools.lru_cache(4096)
def _first_part(module: str) -> str:
    return module.partition(".")[0]


@functools.lru_cache(4096)
def _is_source(file: str) -> bool:
    return file.startswith(_sources())


def _is_borrowed(function: Any) -> bool:
    """Return whether a function is what its module has by its name, and those relied on import from that module."""
    return (
        _root(function) in _BORROWED
        and getattr(sys.modules.get(function.__module__), function.__name__, None) is function
    )


def _is_required(kind: type) -> bool:
    """Return whether a class is where it says that it is: in a package that one of those relied on requires."""
    root = _root(kind)
    home = sys.modules.get(str(kind.__module__))
    return getattr(home, kind.__name__, None) is kind and root in _required()


@functools.cache
def _required() -> frozenset[str]:
    """Return the names of all distributions that the packages relied on require, as modules are called."""
    found: dict[str, set[str]] = {}  # with the extras that are asked of each
    left: list[tuple[str, set[str]]] = [(name, set()) for name in PACKAGES]
    while left:
        name, extras = left.pop()
        if name in found and extras <= found[name]:
            continue
        found.setdefault(name, set()).update(extras)
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            for line in _requirements(name):
                optional = _EXTRA.search(line)
                if optional is None or optional[1] in found[name]:
                    required, asked = _REQUIREMENT.match(line).groups()  # type: ignore[union-attr]
                    module = required.lower().replace("-", "_")
                    left.append((module, set(re.findall(r"[\w.-]+", asked or ""))))
    return frozenset(found) - _INSTRUMENTS


def _requirements(name: str) -> list[str]:
    """Return what a distribution requires. Its metadata hold a whole description, which takes long to parse."""
    distribution = importlib.metadata.distribution(name)
    head = (distribution.read_text("METADATA") or "").partition("\n\n")[0]
    if not head:  # installed in another form
        return distribution.requires or []
    return [line.removeprefix(_REQUIRES) for line in head.splitlines() if line.startswith(_REQUIRES)]


_REQUIRES = "Requires-Dist: "
_REQUIREMENT, _EXTRA = re.compile(r"([\w.-]+)\s*(?:\[([^]]*)])?"), re.compile(r"extra == [\"'](.*?)[\"']")
_MAKER = contextlib.contextmanager.__code__.co_filename


@functools.cache
def _sources() -> tuple[str, ...]:
    """Return how the paths of the packages' files begin, and those of the standard library that are gone around."""
    found = (importlib.util.find_spec(name) for name in PACKAGES)
    folders = (folder for spec in found if spec is not None for folder in spec.submodule_search_locations or ())
    keeper = str(importlib.import_module("http.cookiejar").__file__)  # which keeps cookies
    return (*folders, os._check_methods.__code__.co_filename, keeper)  # type: ignore[attr-defined]
