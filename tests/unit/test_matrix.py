"""What `tools/matrix.py` keeps of releases that were tried, what counts as passed, and what the pages tell of it."""

from __future__ import annotations

import importlib.util
import json
import sys
import sysconfig
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from litellm_accel import settings

TOOLS = Path(__file__).parents[2] / "tools"
OLD, NEW = "1.106.2", "1.110.2"
NAMES = ("matrix", "matrix-results")

pytestmark = pytest.mark.skipif(settings.pure(), reason="no tool depends on the backend")


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def matrix() -> ModuleType:
    return tool("matrix")


def found(openai: str = "3.57.0", **more: Any) -> dict[str, Any]:
    """Return what a release may show."""
    components = {"chat": {"state": "active", "proof": "own calls", "reason": ""}, "routing": {"state": "native"}}
    return {"versions": {"openai": openai, "pydantic": "2.14.4"}, "components": components, **more}


def counted(failed: int = 0, *of: str) -> dict[str, Any]:
    return {"date": "2026-12-01", "of": list(of) or ["tests"], "passed": 1200, "failed": failed, "skipped": 3}


def verified(*different: str) -> dict[str, Any]:
    chat = {"runs": 924, "served": 751, "different": list(different)}
    return {"date": "2026-12-01", "components": {"chat": chat}}


def run(matrix: ModuleType, monkeypatch: pytest.MonkeyPatch, results: Path, shown: Any, *arguments: str) -> Any:
    """Run the program where each release shows ``shown``; return its exit code and what it has asked for."""
    asked: list[Any] = []

    def tried(*given: Any, **more: Any) -> Any:
        asked.append((*given, *more.values()))
        return dict(shown)

    monkeypatch.setattr(matrix, "tried", tried)
    monkeypatch.setattr(sys, "argv", ["matrix.py", "--results", str(results), *arguments])
    return matrix.main(), asked


def test_what_a_release_shows_is_kept_beside_that_of_others(
    matrix: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    results = tmp_path / "matrix.json"
    first = run(matrix, monkeypatch, results, found(tests=counted()), OLD, "--only", "tests", "--tests", "tests/unit")
    assert first == (0, [(OLD, ["tests/unit"], False)])
    assert run(matrix, monkeypatch, results, found(verify=verified()), OLD, NEW, "--only", "verify")[0] == 0
    kept = json.loads(results.read_text("utf-8"))
    assert list(kept) == [NEW, OLD]  # the newest first, 1.110 after 1.106
    assert kept[OLD] == found(tests=counted(), verify=verified())
    assert kept[NEW] == found(verify=verified())


def test_what_was_found_beside_other_packages_is_not_kept(
    matrix: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    results = tmp_path / "matrix.json"
    run(matrix, monkeypatch, results, found(tests=counted(), verify=verified()), NEW)
    run(matrix, monkeypatch, results, found(openai="3.58.0"), NEW, "--only", "components")
    assert json.loads(results.read_text("utf-8")) == {NEW: found(openai="3.58.0")}


@pytest.mark.parametrize(
    ("shown", "status"),
    [
        (found(), 0),
        (found(tests=counted(), verify=verified()), 0),
        (found(tests=counted(failed=1)), 1),
        (found(tests=counted(), verify=verified("responses/tools@completion")), 1),
    ],
)
def test_a_failure_or_a_difference_is_told(
    matrix: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shown: Any, status: int
) -> None:
    assert run(matrix, monkeypatch, tmp_path / "matrix.json", shown, OLD, NEW)[0] == status


def test_a_release_without_constraints_is_refused(
    matrix: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(matrix, monkeypatch, tmp_path / "matrix.json", found(), "0.1")
    assert "no constraints for 0.1; there are some for 1.1" in capsys.readouterr().err


def test_tests_are_counted_by_their_report(matrix: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def report(command: Any, **options: Any) -> None:
        commands.append([str(word) for word in command])
        path = next(word for word in commands[-1] if word.startswith("--junit-xml=")).partition("=")[2]
        Path(path).write_text('<testsuites><testsuite tests="9" failures="1" errors="2" skipped="3"/></testsuites>')

    monkeypatch.setattr(matrix.subprocess, "run", report)
    assert matrix.tested(Path("python"), ["tests/unit"]) == {"passed": 3, "failed": 3, "skipped": 3}
    assert commands[0][:3] == ["python", "-m", "pytest"] and commands[0][-1] == "tests/unit"


def test_only_what_was_asked_for_is_run(matrix: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    status = {"components": [{"name": "chat", "state": "active", "proof": "at start", "reason": "", "served": 0}]}
    told = {"status": status, "verify": {"chat": {"different": []}}, "-c": {"openai": "1"}}
    ran: list[str] = []

    def run(command: Any, **options: Any) -> Any:
        word = next(name for name in told if name in command)
        ran.append(word)
        return SimpleNamespace(stdout=json.dumps(told[word]))

    monkeypatch.setattr(matrix, "environment_of", lambda release: Path("python"))
    monkeypatch.setattr(matrix, "tested", lambda python, tests: {"failed": 0})
    monkeypatch.setattr(matrix.subprocess, "run", run)
    alone = matrix.tried(NEW, None, with_verify=False)
    assert ran == ["-c", "status"]
    chat = {"state": "active", "proof": "at start", "reason": ""}
    assert alone == {"versions": {"openai": "1"}, "components": {"chat": chat}}
    whole = matrix.tried(NEW, ["tests/unit"], with_verify=True)
    assert whole["verify"].items() >= {"components": {"chat": {"different": []}}}.items()
    assert whole["tests"].items() >= {"of": ["tests/unit"], "failed": 0}.items()
    assert whole["tests"]["date"] == whole["verify"]["date"]


def test_an_environment_begins_with_what_is_in_this_one(
    matrix: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    packages = Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    here = tmp_path / "here"
    (here / packages / "package").mkdir(parents=True)
    (here / packages / "package" / "module.py").write_text("x = 1\n")
    monkeypatch.setattr(matrix.sysconfig, "get_path", lambda name: str(here / packages))
    monkeypatch.setattr(matrix.sys, "prefix", str(here))
    matrix.begin(tmp_path / "there")
    linked = tmp_path / "there" / packages / "package" / "module.py"
    assert linked.samefile(here / packages / "package" / "module.py")
    assert (tmp_path / "there" / "bin" / "python").exists()


def test_pages_tell_nothing_that_was_not_run() -> None:
    figures = tool("figures")
    shown = {
        NEW: found(tests=counted(0, "tests/unit", "tests/faults"), verify=verified()),
        "1.109.3": found(tests=counted(2), verify=verified("a", "b")),
        OLD: found(openai="2.54.0"),
    }
    tables = figures._matrix(shown)
    states, results = ([line.split(" | ") for line in tables[name].splitlines()] for name in NAMES)
    assert ["| 1.106.2", "openai 2.54.0, pydantic 2.14.4", "on, own calls", "native |"] in states
    tests = "1,200 passed, 0 failed of `tests/unit`, `tests/faults` (2026-12-01)"
    assert [f"| {NEW}", tests, "equal, 751 of 924 served (2026-12-01)", "not run", "not run |"] in results
    failed = "1,200 passed, 2 failed (2026-12-01)"
    assert ["| 1.109.3", failed, "2 different, 751 of 924 served (2026-12-01)", "not run", "not run |"] in results
    assert ["| 1.106.2", "not run", "not run", "not run", "not run |"] in results
    short = [line.split(" | ") for line in tables["matrix-short"].splitlines()]
    assert ["| 1.110.2", "`chat`", "`routing`", "", "equal in 924 runs |"] in short
    assert ["| 1.109.3", "`chat`", "`routing`", "", "2 of 924 runs different |"] in short
    assert ["| 1.106.2", "`chat`", "`routing`", "", "not run |"] in short
