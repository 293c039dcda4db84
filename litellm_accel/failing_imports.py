"""Imports of LiteLLM's that fail anew each time, for want of the same module: their failure is remembered.

LiteLLM imports parts of itself when it first needs them. Where such a part wants a package that is not installed,
Python reads it, runs it as far as it gets, and forgets it, for each request again. What is remembered holds as long as
the package cannot be found, which is asked each time, as Python does: one that is installed meanwhile is found.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from litellm_accel import import_watch

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

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Raise what the import of module ``name`` raised before, if it would again; else leave it to other finders."""
        if not name.startswith(_HOST):
            return None
        missing = self._missing.get(name)
        if missing is not None:
            if _is_missing(missing):
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
    for statement in ast.parse(Path(file).read_bytes()).body:
        is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if not is_text and not isinstance(statement, ast.Import | ast.ImportFrom):
            return False
        if statement.lineno <= line <= (statement.end_lineno or statement.lineno):
            return True
    return False
