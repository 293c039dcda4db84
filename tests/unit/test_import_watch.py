"""Waiting for a made-up package to be imported, beside whatever else takes part in imports."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import threading
import traceback
import warnings
import zipfile
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from litellm_accel import import_watch

NAME = "awaited"


class Told:
    """Whether the module was whole each time its import was told of."""

    def __init__(self) -> None:
        self.seen: list[bool] = []
        self.watch = import_watch.ImportWatch(NAME, self)

    def __call__(self) -> None:
        self.seen.append(vars(sys.modules[NAME]).get("whole", False))
        self.watch.stop()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    package = tmp_path / NAME
    package.mkdir()
    (package / "__init__.py").write_text("import sys\nloader = __spec__.loader, __loader__\nwhole = True\n")
    (package / "part.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield package
    for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
        del sys.modules[name]


@pytest.fixture
def told(place: Path) -> Iterator[Told]:
    before = list(sys.meta_path)
    told = Told()
    told.watch.start()
    yield told
    told.watch.stop()
    assert sys.meta_path == before


@pytest.mark.parametrize("name", [NAME, f"{NAME}.part"])
def test_the_import_is_told_once_and_shows_nothing(told: Told, name: str) -> None:
    importlib.import_module(name)
    module = sys.modules[NAME]
    assert told.seen == [True]
    assert told.watch not in sys.meta_path
    loaders = {*module.loader, module.__loader__, module.__spec__.loader}
    assert [type(loader) for loader in loaders] == [SourceFileLoader], "while it runs and afterwards"
    importlib.reload(module)
    assert told.seen == [True]


def test_starting_twice_and_stopping_twice(told: Told) -> None:
    told.watch.start()
    assert sys.meta_path.count(told.watch) == 1
    told.watch.stop()
    told.watch.stop()
    importlib.import_module(NAME)
    assert told.seen == []


def test_looking_is_not_importing(told: Told) -> None:
    for _ in range(3):
        spec = importlib.util.find_spec(NAME)
        assert spec is not None and isinstance(spec.loader, SourceFileLoader)
        assert spec.loader.get_filename() == spec.origin
    assert told.seen == [] and NAME not in sys.modules
    importlib.import_module(NAME)
    assert told.seen == [True]


def test_a_spec_that_was_found_before_tells(told: Told) -> None:
    spec = importlib.util.find_spec(NAME)
    assert spec is not None and spec.loader is not None
    module = sys.modules[NAME] = importlib.util.module_from_spec(spec)
    assert told.seen == []
    spec.loader.exec_module(module)
    assert told.seen == [True]


def test_a_lazy_module_is_waited_for_until_it_is_used(told: Told) -> None:
    spec = importlib.util.find_spec(NAME)
    assert spec is not None and spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = sys.modules[NAME] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert told.seen == []
    assert not import_watch.is_imported(NAME) and not import_watch.is_imported(NAME)
    assert module.whole
    assert told.seen == [True]
    assert import_watch.is_imported(NAME)


def test_a_failing_import_fails_as_ever_and_is_tried_again(told: Told, place: Path) -> None:
    sound = (place / "__init__.py").read_text()
    (place / "__init__.py").write_text("raise RuntimeError('not today')\n")
    traces = []
    for watched in (True, False):
        if not watched:
            told.watch.stop()
        with pytest.raises(RuntimeError, match="not today") as caught:
            __import__(NAME)  # as the statement does: tracebacks leave out the import system
        traces.append([(frame.filename, frame.name) for frame in traceback.extract_tb(caught.value.__traceback__)])
        assert NAME not in sys.modules
    assert traces[0] == traces[1] and len(traces[0]) == 2
    assert told.seen == []
    told.watch.start()
    (place / "__init__.py").write_text(sound + "# longer than before\n")
    importlib.invalidate_caches()
    importlib.import_module(NAME)
    assert told.seen == [True]


def test_a_warning_names_the_line_that_imports(told: Told, place: Path) -> None:
    (place / "__init__.py").write_text("import warnings\nwarnings.warn('old', stacklevel=2)\nwhole = True\n")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        import awaited  # type: ignore[import-not-found]  # noqa: F401
    assert [os.path.realpath(warning.filename) for warning in caught] == [os.path.realpath(__file__)]
    assert told.seen == [True]


def test_threads_that_import_at_once(told: Told, place: Path) -> None:
    with (place / "__init__.py").open("a") as source:
        source.write("import time\ntime.sleep(0.1)\n")
    barrier = threading.Barrier(8)
    seen: list[bool] = []

    def importing() -> None:
        barrier.wait()
        importlib.import_module(NAME)
        seen.append(told.seen == [True])

    threads = [threading.Thread(target=importing) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert seen == [True] * 8


def test_an_archive_and_its_shared_loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "frozen.zip", "w") as archive:
        archive.writestr(f"{NAME}/__init__.py", "from . import part\nwhole = True\n")
        archive.writestr(f"{NAME}/part.py", "")
    monkeypatch.syspath_prepend(str(tmp_path / "frozen.zip"))
    told = Told()
    told.watch.start()
    module = importlib.import_module(NAME)
    assert told.seen == [True]
    assert module.__loader__ is module.__spec__.loader
    for name in (NAME, f"{NAME}.part"):
        del sys.modules[name]


class Chained:
    """A finder of another tool, which asks all finders and wraps what it gets."""

    def __init__(self) -> None:
        self.executed = 0
        self._asking = False

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if name != NAME or self._asking:
            return None
        self._asking = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._asking = False
        assert spec is not None and spec.loader is not None
        spec.loader = Wrapped(spec.loader, self)  # type: ignore[assignment]
        return spec


class Wrapped:
    def __init__(self, loader: Any, chained: Chained) -> None:
        self._loader = loader
        self._chained = chained

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._chained.executed += 1


@pytest.mark.parametrize("first", [True, False])
def test_other_tools_hooks_work_too(told: Told, monkeypatch: pytest.MonkeyPatch, first: bool) -> None:
    chained = Chained()
    sys.meta_path.insert(0 if first else 1, chained)  # type: ignore[arg-type]
    try:
        importlib.import_module(NAME)
    finally:
        sys.meta_path.remove(chained)  # type: ignore[arg-type]
    assert chained.executed == 1
    assert told.seen == [True]


def test_loaders_of_old_are_left_alone(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        def load_module(self, name: str) -> None:
            """Does it all."""

    monkeypatch.setattr(PathFinder, "find_spec", lambda name, path=None, target=None: ModuleSpec(name, Old()))  # type: ignore[arg-type]
    spec = importlib.util.find_spec(NAME)
    assert spec is not None and type(spec.loader) is Old


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_waits_as_its_parent_does(told: Told) -> None:
    child = os.fork()
    if not child:
        importlib.import_module(NAME)
        os._exit(7 if told.seen == [True] and told.watch not in sys.meta_path else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    importlib.import_module(NAME)
    assert told.seen == [True]
