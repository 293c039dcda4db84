"""Has the Python processes that a program spawns accelerated as well: those of uvicorn, granian, ``multiprocessing``.

Python imports ``sitecustomize`` when it starts, wherever it finds it first. ``litellm-accel run`` writes one, in a
folder of the user's own for temporary files, and puts that folder on the ``PYTHONPATH`` that processes inherit. It
waits for LiteLLM, and has the environment's own ``sitecustomize`` imported as if it were not there. Nothing is
installed.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

from litellm_accel import garbage
from litellm_accel.failing_imports import FailingImports

_NAME = "sitecustomize.py"
# Runs in any interpreter of any environment; a process without LiteLLM pays for nothing but these lines.
_SOURCE = '''\
"""Written by `litellm-accel run`: accelerates LiteLLM in the processes that its program spawns."""

import sys
from importlib import import_module
from os.path import abspath, dirname


class Waiting:
    def find_spec(self, name, path=None, target=None):
        if name != "litellm":
            return None
        sys.meta_path.remove(self)
        try:
            from litellm_accel import spawned

            spawned.begin()
        except ImportError:  # it belongs to another environment
            return None
        return import_module("importlib.util").find_spec(name)


sys.meta_path.insert(0, Waiting())
here, this = dirname(abspath(__file__)), sys.modules.pop(__name__)
sys.path[:] = [place for place in sys.path if abspath(place) != here]
try:
    import_module(__name__)  # the environment's own
except ImportError as error:
    if error.name != __name__:
        raise
    sys.modules[__name__] = this
'''


def begin() -> None:
    """Have this process accelerated, as each is of a program that ``litellm-accel run`` has started."""
    import litellm_accel

    litellm_accel.accelerate()
    garbage.begin()
    FailingImports().start()


def accelerate_spawned(environ: MutableMapping[str, str]) -> None:
    """Have processes that inherit ``environ`` accelerated. Where no file can be written, they are not."""
    try:
        folder = _folder()
        hook = folder / _NAME
        if not hook.exists() or hook.read_text() != _SOURCE:
            with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:
                file.write(_SOURCE)
            os.replace(file.name, hook)
    except OSError:
        return
    before = environ.get("PYTHONPATH")
    environ["PYTHONPATH"] = str(folder) if not before else f"{folder}{os.pathsep}{before}"


def _folder() -> Path:
    """Return a folder that nobody else may write into: the user's own of the last time, or a new one."""
    if not hasattr(os, "getuid"):  # Windows has folders of each user's for temporary files
        folder = Path(tempfile.gettempdir(), "litellm-accel")
        folder.mkdir(exist_ok=True)
        return folder
    folder = Path(tempfile.gettempdir(), f"litellm-accel-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
        return folder
    return Path(tempfile.mkdtemp(prefix="litellm-accel-"))
