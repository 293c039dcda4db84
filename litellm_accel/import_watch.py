"""Tells when the application has imported a package, without importing it, or anything else, any sooner.

A finder at the head of ``sys.meta_path`` asks the finders behind it and puts a loader of its own around the one they
name. The original loader is back before the module's own code begins to run, so that everything is then as it would be
without us. When the code has run, whoever waits is told; an import that fails is not told of, and the next one may be.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import FunctionType, ModuleType
from typing import Any, cast


class ImportWatch:
    """Waits for module ``name`` and calls ``imported`` in the thread that has imported it, which must not raise."""

    def __init__(self, name: str, imported: Callable[[], None]) -> None:
        self._name = name
        self._imported = imported
        self._here = threading.local()  # whether this thread is asking the other finders

    def start(self) -> None:
        """Begin to wait, if nobody does yet."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def stop(self) -> None:
        """Wait no longer."""
        while self in (sys.meta_path or ()):  # there is none when the interpreter ends
            sys.meta_path.remove(self)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return how the finders behind this one would import the module, with a loader that tells; else None."""
        if name != self._name or getattr(self._here, "asking", False):
            return None
        self._here.asking = True
        try:
            spec = found_behind(self, name, path, target)
        finally:
            self._here.asking = False
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = Telling(spec.loader, self._imported)  # type: ignore[assignment]
        return spec


def found_behind(
    finder: Any, name: str, path: Sequence[str] | None, target: ModuleType | None = None
) -> ModuleSpec | None:
    """Return how the finders behind ``finder`` in ``sys.meta_path`` would import a module, None if they cannot."""
    finders = list(sys.meta_path)
    behind = finders[finders.index(finder) + 1 :] if finder in finders else finders
    for other in behind:
        find = getattr(other, "find_spec", None)
        spec: ModuleSpec | None = None if find is None else find(name, path, target)
        if spec is not None:
            return spec
    return None


class Telling:
    """A ``loader`` that tells when it has run a module, or that it has failed; in all else, the loader itself."""

    def __init__(
        self,
        loader: Any,
        imported: Callable[[], None] | None = None,
        failed: Callable[[BaseException], None] | None = None,
    ) -> None:
        self._loader = loader
        self._told = imported
        self._failed = failed

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        loader, spec = self._loader, cast(Any, module.__spec__)
        if getattr(module, "__loader__", None) is self:
            module.__loader__ = loader
        if spec is not None and spec.loader is self:
            spec.loader = loader
        try:
            loader.exec_module(module)
        except BaseException as error:
            if self._failed is not None:
                self._failed(error)
            raise
        if self._told is not None:
            if spec is not None:
                spec._initializing = False  # what is told may need threads that use the module
            self._told()


def as_importlib(function: Any) -> None:
    """Let warnings and tracebacks leave out this function's frame, as they do those of the import system around it."""
    assert isinstance(function, FunctionType)
    importlib_s = importlib.util.module_from_spec.__code__.co_filename
    function.__code__ = function.__code__.replace(co_filename=importlib_s)


as_importlib(Telling.exec_module)


def is_imported(name: str) -> bool:
    """Return whether module ``name`` is there and its own code has run, without causing that."""
    module = sys.modules.get(name)
    if module is None or is_being_imported(name):
        return False
    # A module that is loaded when it is first used must not be used for this.
    return type(module).__getattribute__ in (ModuleType.__getattribute__, object.__getattribute__)


def is_being_imported(name: str) -> bool:
    """Return whether module ``name`` is running its own code for the first time, in this thread or another."""
    module = sys.modules.get(name)
    spec = None if module is None else object.__getattribute__(module, "__dict__").get("__spec__")
    return bool(getattr(spec, "_initializing", False))
