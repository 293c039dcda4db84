"""Running another program in this process as ``python target …`` and ``python -m target …`` would, accelerated.

Processes that the program forks are accelerated too, and so are Python processes that it spawns anew and lets inherit
its environment (``multiprocessing``'s ``spawn``, ``subprocess``), see ``spawned``.
"""

from __future__ import annotations

import builtins
import json
import os
import runpy
import shutil
import sys
import sysconfig
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import BYTECODE_SUFFIXES, SourceFileLoader
from pathlib import Path
from types import ModuleType, TracebackType

from litellm_accel import spawned

# Whose frames stand between ours and a program's first.
_STARTERS = {__name__, "runpy", "importlib._bootstrap", "importlib._bootstrap_external"}


class NotAProgram(Exception):
    """The target is neither a path, nor a Python console script of this environment or on ``PATH``."""


@dataclass(frozen=True)
class Program:
    """A program to run: a ``target`` (a path, or a module's name if ``is_module``) and its ``arguments``."""

    target: str
    arguments: Sequence[str]
    is_module: bool

    def run(self) -> None:
        """Run the program as ``__main__`` with LiteLLM accelerated, which the program imports itself, if at all.

        Whatever it raises passes through. ``sys.argv`` and ``sys.path`` are its own before LiteLLM is looked for. An
        uncaught exception is reported without the frames of this package.
        """
        sys.argv[:] = ["-m" if self.is_module else self.target, *self.arguments]
        if not getattr(sys.flags, "safe_path", False):
            # The interpreter has put there the place of our own command, the program shall find its own.
            sys.path[0] = os.getcwd() if self.is_module else str(Path(self.target).resolve().parent)
        spawned.begin()
        spawned.accelerate_spawned(os.environ)
        try:
            if self.is_module:
                runpy.run_module(self.target, run_name="__main__", alter_sys=True)
            elif zipfile.is_zipfile(self.target) or not _is_source(self.target):
                runpy.run_path(self.target, run_name="__main__")
            else:
                _run_script(self.target)
        except BaseException as error:
            if self.is_module and isinstance(error, ImportError) and _program_frames(error.__traceback__) is None:
                sys.exit(f"{sys.executable}: {error}")
            _report_only_program_frames()
            raise


@dataclass(frozen=True)
class Profiled(Program):
    """A program whose calls are counted by line; the table is printed when it ends, and written to files if wanted."""

    html: Path | None = None
    json: Path | None = None

    def run(self) -> None:
        """Run the program, then tell."""
        from litellm_accel.operation.profiler import Profile

        places = [None if path is None else path.absolute() for path in (self.html, self.json)]
        with Profile() as profile:
            try:
                super().run()
            finally:
                print(profile, file=sys.stderr)
                for path, text in zip(places, (profile.html(), json.dumps(profile.to_dict(), indent=2)), strict=True):
                    if path is not None:
                        path.write_text(text, encoding="utf-8")


def find(target: str, arguments: Sequence[str], *, is_module: bool = False) -> Program:
    """Return the program ``target`` names: a module, a path, or else a console script (``litellm``).

    Console scripts are looked for beside this interpreter, then on ``PATH``. Raises ``NotAProgram``.
    """
    if not is_module and not os.path.exists(target):
        places = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
        script = None if os.path.dirname(target) else shutil.which(target, path=places)
        if script is None:
            raise NotAProgram(f"{target!r} is neither a file nor a command on PATH")
        if not _is_python(script):
            raise NotAProgram(f"{script} is not a Python program")
        target = script
    return Program(target, arguments, is_module)


def with_workers(arguments: Sequence[str], environ: Mapping[str, str]) -> Sequence[str]:
    """Return the ``arguments`` of LiteLLM's proxy with a worker for each core, unless they or ``environ`` say how many.

    A proxy that reloads its code has one.
    """
    given = {argument.partition("=")[0] for argument in arguments}
    if "NUM_WORKERS" in environ or not given.isdisjoint(("--num_workers", "--reload")):
        return arguments
    return [*arguments, "--num_workers", str(_cores())]


def _cores() -> int:
    """Return how many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _is_python(script: str) -> bool:
    with open(script, "rb") as file:
        head = file.read(1024)
    # Installers write a shebang, by way of /bin/sh if the path is long; on Windows a launcher with an archive behind.
    return (head.startswith(b"#!") and b"python" in head) or zipfile.is_zipfile(script)


def _is_source(path: str) -> bool:
    return os.path.isfile(path) and not path.endswith(tuple(BYTECODE_SUFFIXES))


def _run_script(path: str) -> None:
    """Run a source file as ``python path`` does.

    runpy.run_path() would leave ``__file__`` relative and take ``__main__`` away while the program's threads still run.
    """
    path = os.path.abspath(path)
    loader = SourceFileLoader("__main__", path)
    main = ModuleType("__main__")
    vars(main).update(__file__=path, __cached__=None, __loader__=loader, __builtins__=builtins)
    sys.modules["__main__"] = main
    exec(loader.source_to_code(loader.get_data(path), path), vars(main))


def _program_frames(trace: TracebackType | None) -> TracebackType | None:
    """Return the part of ``trace`` that starts in the program: what follows this module's and the import system's."""

    def module(part: TracebackType) -> object:
        return part.tb_frame.f_globals.get("__name__")

    while trace is not None and module(trace) != __name__:
        trace = trace.tb_next
    while trace is not None and module(trace) in _STARTERS:
        trace = trace.tb_next
    return trace


def _report_only_program_frames() -> None:
    report = sys.excepthook  # the program's own, if it has set one

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        trace = _program_frames(trace)
        report(kind, error.with_traceback(trace), trace)

    sys.excepthook = hook
