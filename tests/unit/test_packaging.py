"""What is shipped, how it is built, and what importing it does: nothing runs by itself."""

from __future__ import annotations

import configparser
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from litellm_accel import __version__, settings

TREE = Path(__file__).parents[2]
GENERATED = shutil.ignore_patterns("build", "__pycache__", ".*", "*.c", "*.so", "*.pyd")
NEEDED_TO_BUILD = ("setup.py", "pyproject.toml", "MANIFEST.in", "LICENSE", "README.md")

BROKEN = {
    "for Cython": "cdef int no_such_type(no_such_type x): return x",
    "for the C compiler": 'cdef extern from "no_such_header.h":\n    int number\n\nprint(number)',
}
SOME_BROKEN = [
    pytest.param(BROKEN["for Cython"], id="for Cython", marks=pytest.mark.slow),
    pytest.param(BROKEN["for the C compiler"], id="for the C compiler"),
]


def _run(*command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command with our build option as the caller says, not as this test run has it."""
    inherited = {name: value for name, value in os.environ.items() if name != settings.PURE}
    return subprocess.run(
        command,
        cwd=cwd,
        env=inherited | environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )


def _copy_tree(target: Path) -> Path:
    """Copy what a build needs and nothing an earlier build left behind."""
    for name in NEEDED_TO_BUILD:
        shutil.copy(TREE / name, target / name)
    for name in ("litellm_accel", "tests", "benchmarks"):
        shutil.copytree(TREE / name, target / name, ignore=GENERATED)
    return target


def _build(source: Path, kind: str, **environment: str) -> tuple[Path, str]:
    """Build a wheel or an sdist from `source`; return it and what the build printed."""
    output = source / "dist"
    done = _run(
        *(sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", str(output)),
        cwd=source,
        **environment,
    )
    assert done.returncode == 0, done.stdout
    (built,) = output.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return built, done.stdout


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A fresh copy of the tree, to build from."""
    if settings.pure():
        pytest.skip("a build does not depend on the backend under test")
    return _copy_tree(tmp_path)


@pytest.fixture
def small_source(source: Path) -> Path:
    """The same with `gate` as its only compiled module, which builds in seconds."""
    for module in (source / "litellm_accel/_cy").glob("*.pyx"):
        if module.stem != "gate":
            module.unlink()
    return source


def _names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def _modules(wheel: Path) -> set[str]:
    """Return the names of the compiled modules in a wheel."""
    return {PurePosixPath(name).name.split(".")[0] for name in _names(wheel) if name.endswith((".so", ".pyd"))}


def _assert_nothing_runs_by_itself(wheel: Path) -> None:
    names = _names(wheel)
    metadata = f"litellm_accel-{__version__}.dist-info"
    assert {PurePosixPath(name).parts[0] for name in names} == {"litellm_accel", metadata}
    assert not [name for name in names if name.endswith(".pth")]
    assert not [name for name in names if PurePosixPath(name).stem in {"sitecustomize", "usercustomize"}]
    entry_points = configparser.ConfigParser()
    with zipfile.ZipFile(wheel) as archive:
        entry_points.read_string(archive.read(f"{metadata}/entry_points.txt").decode())
    assert {section: dict(entry_points[section]) for section in entry_points.sections()} == {
        "console_scripts": {"litellm-accel": "litellm_accel.cli:main"}
    }


def _assert_holds_the_package(wheel: Path) -> None:
    package = TREE / "litellm_accel"
    wanted = {
        path.relative_to(TREE).as_posix()
        for pattern in ("*.py", "*.pxd", "*.json", "*.lua", "*.bin", "py.typed")
        for path in package.rglob(pattern)
        if not any(part == "build" or part.startswith(".") for part in path.relative_to(TREE).parts)
    }
    held = {name for name in _names(wheel) if name.startswith("litellm_accel/")}
    assert {name for name in held if not name.endswith((".so", ".pyd"))} == wanted


def _what_we_said(printed: str) -> set[str]:
    return {line.strip() for line in printed.splitlines() if line.strip().startswith("litellm-accel: ")}


@pytest.mark.slow
def test_a_compiled_wheel_holds_every_module(small_source: Path) -> None:
    """Of one module here; CI builds the wheel of all, and ``tests/smoke.py`` asks each of them to be compiled."""
    wheel, printed = _build(small_source, "wheel", LITELLM_ACCEL_PURE="0")
    assert _modules(wheel) == {path.stem for path in (small_source / "litellm_accel/_cy").glob("*.pyx")}
    assert _what_we_said(printed) == set()
    _assert_holds_the_package(wheel)
    _assert_nothing_runs_by_itself(wheel)


def test_a_pure_wheel_holds_the_twins_alone_and_fits_every_machine(source: Path) -> None:
    wheel, printed = _build(source, "wheel", LITELLM_ACCEL_PURE="1")
    assert wheel.name == f"litellm_accel-{__version__}-py3-none-any.whl"
    assert _modules(wheel) == set()
    (said,) = _what_we_said(printed)
    assert said == "litellm-accel: LITELLM_ACCEL_PURE is set: installing the pure-Python twins alone"
    _assert_holds_the_package(wheel)
    _assert_nothing_runs_by_itself(wheel)


def test_without_a_compiler_the_twins_are_installed_and_one_line_says_so(source: Path) -> None:
    wheel, printed = _build(source, "wheel", CC="no-such-compiler")
    assert wheel.name == f"litellm_accel-{__version__}-py3-none-any.whl"
    (said,) = _what_we_said(printed)
    assert said.startswith("litellm-accel: no working C compiler (") and said.endswith("the pure-Python twins alone")


def test_without_a_compiler_a_build_that_demands_one_fails(source: Path) -> None:
    done = _run(
        *(sys.executable, "-m", "build", "--no-isolation", "--wheel"),
        cwd=source,
        CC="no-such-compiler",
        LITELLM_ACCEL_PURE="0",
    )
    assert done.returncode != 0
    assert "LITELLM_ACCEL_PURE=0 demands the compiled modules" in done.stdout


@pytest.mark.parametrize("text", SOME_BROKEN)
def test_a_module_that_does_not_build_is_left_out(small_source: Path, text: str) -> None:
    (small_source / "litellm_accel/_cy/broken.pyx").write_text(text)
    wheel, printed = _build(small_source, "wheel")
    assert _modules(wheel) == {"gate"}
    assert _what_we_said(printed) == {
        "litellm-accel: litellm_accel._cy.broken was not built: its pure-Python twin serves"
    }


@pytest.mark.parametrize("text", SOME_BROKEN)
def test_a_module_that_does_not_build_fails_a_build_that_demands_it(small_source: Path, text: str) -> None:
    (small_source / "litellm_accel/_cy/broken.pyx").write_text(text)
    done = _run(*(sys.executable, "-m", "build", "--no-isolation", "--wheel"), cwd=small_source, LITELLM_ACCEL_PURE="0")
    assert done.returncode != 0
    assert not list(small_source.glob("dist/*.whl"))


def test_an_sdist_holds_the_sources_and_nothing_generated(small_source: Path) -> None:
    _build(small_source, "wheel", LITELLM_ACCEL_PURE="0")  # leaves generated files, which the sdist must not take along
    sdist, _ = _build(small_source, "sdist", LITELLM_ACCEL_PURE="0")
    with tarfile.open(sdist) as archive:
        names = {PurePosixPath(name).relative_to(f"litellm_accel-{__version__}") for name in archive.getnames()}
    wanted = {
        path.relative_to(small_source)
        for folder in ("litellm_accel", "tests", "benchmarks")
        for path in (small_source / folder).rglob("*")
        if path.suffix in {".py", ".pyx", ".pxd", ".json", ".lua", ".bin"} or path.name == "py.typed"
    }
    assert wanted <= {Path(name) for name in names}
    assert not [name for name in names if name.suffix in {".c", ".so", ".pyd", ".pyc", ".pth"} or "build" in name.parts]


def _import_seconds() -> float:
    """Return the processor time of one `import litellm_accel` in a new interpreter, all that it imports included."""
    code = "import time; begin = time.process_time(); import litellm_accel; print(time.process_time() - begin)"
    done = _run(sys.executable, "-c", code, cwd=TREE)
    assert done.returncode == 0, done.stdout
    return float(done.stdout.split()[-1])


def test_import_takes_less_than_20_ms() -> None:
    assert any(_import_seconds() < 0.020 for _ in range(20))  # on a busy machine few imports are undisturbed


OBSERVED_IMPORT = """
import json, sys

def watch(event, arguments):
    if event == "object.__setattr__" and arguments[1] == "__code__":
        events.append("patch")
    elif event.startswith(("socket.", "subprocess.", "ctypes.", "urllib.", "os.fork", "os.exec", "os.posix_spawn")):
        events.append(event)

events = []
before = set(sys.modules)
sys.addaudithook(watch)
import litellm_accel
threads = len(sys._current_frames())
found, modules = events.copy(), sorted(set(sys.modules) - before)

# The hook must see what it is there for: a patched function and a socket.
import socket
def victim(): pass
victim.__code__ = (lambda: None).__code__
socket.socket().close()
print(json.dumps({"found": found, "modules": modules, "threads": threads, "control": events[len(found):]}))
"""


def test_import_starts_no_thread_opens_no_socket_patches_nothing_and_stays_light() -> None:
    done = _run(sys.executable, "-B", "-c", OBSERVED_IMPORT, cwd=TREE)
    assert done.returncode == 0, done.stdout
    seen = json.loads(done.stdout)
    assert {"patch", "socket.__new__"} <= set(seen["control"])
    assert seen["found"] == []
    assert seen["threads"] == 1
    assert {name.split(".")[0] for name in seen["modules"]} - sys.stdlib_module_names == {"litellm_accel"}
