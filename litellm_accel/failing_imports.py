"""Imports that fail anew each time, for want of the same module: their failure is remembered.

LiteLLM imports parts of itself when it first needs them. Where such a part wants a package that is not installed,
Python reads it, runs it as far as it gets, and forgets it, for each request again. Where LiteLLM wants such a package
itself, Python looks for it in all places again. What is remembered holds as long as the package cannot be found: the
folders are asked each time, as Python does, whether they have changed. What is installed meanwhile is found.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import BuiltinImporter, FileFinder, FrozenImporter, ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from litellm_accel import import_watch
from litellm_accel.stock import syntax

_HOST = "litellm."
_MAX_ASKED = 4096


class FailingImports:
    """A finder at the head of ``sys.meta_path``; an import that comes a second time has failed before.

    ``raised`` counts the failures that were remembered. A fault of its own ends it.
    """

    def __init__(self) -> None:
        self.raised = 0
        self._asked: set[str] = set()
        self._missing: dict[str, str] = {}
        self._absences: dict[str, Absence | None] = {}

    def start(self) -> None:
        """Begin to look at imports."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def stop(self) -> None:
        """End that, and forget."""
        while self in (sys.meta_path or ()):
            sys.meta_path.remove(self)
        self._asked.clear()
        self._missing.clear()
        self._absences.clear()

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Raise what the import of module ``name`` raised before, if it would again; else leave it to other finders."""
        if not name.startswith(_HOST):
            if path is None and sys._getframe(2).f_code.co_name == _IMPORTING and self._is_absent(name):
                self.raised += 1
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            return None
        missing = self._missing.get(name)
        if missing is not None:
            if self._is_absent(missing) or _is_missing(missing):
                self.raised += 1
                raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)
            self._missing.pop(name, None)
        if name not in self._asked:
            if len(self._asked) >= _MAX_ASKED:
                self._asked.clear()
            self._asked.add(name)
            return None
        try:
            spec = import_watch.found_behind(self, name, path, target)
            if spec is not None and hasattr(spec.loader, "exec_module"):
                spec.loader = import_watch.Telling(spec.loader, failed=lambda error: self._learn(name, error))  # type: ignore[assignment]
        except Exception:
            self.stop()
            return None
        return spec

    def _is_absent(self, name: str) -> bool:
        """Return whether Python is known not to find module ``name`` now; from the second time on, it may be."""
        try:
            if name not in self._absences:
                if len(self._absences) >= _MAX_ASKED:
                    self._absences.clear()
                self._absences[name] = None
                return False
            absence = self._absences[name]
            if absence is not None and absence.holds():
                return True
            self._absences[name] = Absence(name, self) if _is_missing(name) else None
        except Exception:
            self._absences[name] = None
        return False

    def _learn(self, name: str, error: BaseException) -> None:
        """Remember that the import of ``name`` has failed, if it is sure to fail again for want of the same module."""
        try:
            if type(error) is ModuleNotFoundError and error.name is not None and not error.name.startswith(_HOST):
                is_pythons = error.args == (f"No module named {error.name!r}",)
                if is_pythons and all(map(_is_among_first_imports, _places(error.__traceback__))):
                    self._missing[name] = error.name
        except Exception:
            self.stop()


import_watch.as_importlib(FailingImports.find_spec)
# The function that calls finders, by another, when a module is imported; importlib.util.find_spec() only asks.
_IMPORTING = "_find_and_load_unlocked"
_STATIC = (BuiltinImporter, FrozenImporter, PathFinder)  # of which the last is followed from folder to folder


class Absence:
    """A module that Python has just not found, and what it has looked at. Raises where that is not all known."""

    def __init__(self, name: str, ours: object) -> None:
        self._name = name
        self._finders = list(sys.meta_path)
        self._asked: list[Any] = [finder for finder in self._finders if finder not in _STATIC and finder is not ours]
        self._entries = self._path()
        self._folders: list[tuple[str, Any, float]] = []
        for entry in self._entries:
            finder: Any = sys.path_importer_cache[entry]
            kind = type(finder)
            if kind is FileFinder:
                self._folders.append((entry, finder, finder._path_mtime))
            elif finder is not None:  # there is no such folder, nor does Python ever look again
                self._asked.append(finder)

    def holds(self) -> bool:
        """Return whether Python would not find the module now."""
        if self._name in sys.modules or sys.meta_path != self._finders or self._path() != self._entries:
            return False
        for entry, finder, modified in self._folders:
            known: Any = sys.path_importer_cache.get(entry)
            if known is not finder or known._path_mtime != modified or os.stat(entry).st_mtime != modified:
                return False
        return all(self._asks(finder) is None for finder in self._asked)

    def _asks(self, finder: Any) -> Any:
        if finder in self._finders:
            return finder.find_spec(self._name, None if self._is_at_top else self._entries)
        return finder.find_spec(self._name)

    @property
    def _is_at_top(self) -> bool:
        return "." not in self._name

    def _path(self) -> list[str]:
        """Return where Python looks for the module."""
        places = sys.path if self._is_at_top else sys.modules[self._name.rpartition(".")[0]].__path__
        return [place or os.getcwd() for place in places]


def _is_missing(name: str) -> bool:
    """Return whether Python would not find module ``name`` now."""
    if name in sys.modules:
        return False
    try:
        return importlib.util.find_spec(name) is None
    except (ImportError, AttributeError, ValueError):
        return False


def _places(trace: TracebackType | None) -> Iterator[tuple[str, str, int]]:
    """Yield file, function and line of each frame that is not the import system's."""
    while trace is not None:
        code: Any = trace.tb_frame.f_code
        if not code.co_filename.startswith("<frozen importlib") and code.co_filename != _IMPORTLIB:
            yield code.co_filename, code.co_name, trace.tb_lineno
        trace = trace.tb_next


_IMPORTLIB = importlib.util.module_from_spec.__code__.co_filename


def _is_among_first_imports(place: tuple[str, str, int]) -> bool:
    """Return whether a line of a module is one of its imports, and nothing but imports and texts stands before it."""
    file, function, line = place
    if function != "<module>":
        return False
    for statement in syntax.module(Path(file).read_bytes()).body:
        is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if not is_text and not isinstance(statement, ast.Import | ast.ImportFrom):
            return False
        if statement.lineno <= line <= (statement.end_lineno or statement.lineno):
            return True
    return False
