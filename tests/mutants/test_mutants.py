"""The list of mutants, the copies that are made of LiteLLM, and a sample of what ``make mutants`` compares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from litellm_accel.verify import sides
from mutants import copies, harness
from mutants.calls import RUNS
from mutants.mutant import Mutant, listed

MUTANTS = listed()
AREAS = list(dict.fromkeys(mutant.area for mutant in MUTANTS))
#: Those that the accelerator was once wrong on.
FOUND = (
    "details-copy-the-input",
    "details-count-messages",
    "price-breakdown-changed",
    "price-of-cached-tokens-free",
    "request-drops-names",
    "request-repeats-the-system-message",
    "retry-header-added",
    "tokens-of-long-texts",
)
RENAMED = Mutant("renamed", "copies", (("deep/inner/changed.py", "old", "new"),))


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with a file that can be changed, beside others, some of them compiled."""
    where = tmp_path / "installed" / copies.PACKAGE
    for folder in ("deep/inner/__pycache__", "other"):
        (where / folder).mkdir(parents=True)
    for file in ("__init__.py", "deep/__init__.py", "deep/inner/kept.py", "other/data.json"):
        (where / file).write_text("kept")
    (where / "deep/inner/changed.py").write_text("old = 1\nold = 2\n")
    for name in ("changed", "kept"):
        (where / f"deep/inner/__pycache__/{name}.cpython-311.pyc").write_text("")
    return where


def test_a_copy_holds_the_changed_file_and_links_to_everything_else(package: Path, tmp_path: Path) -> None:
    files = copies.changed_files(RENAMED, package)
    assert files == {"deep/inner/changed.py": "new = 1\nnew = 2\n"}
    copies.write_copy(package, files, tmp_path)
    copied = tmp_path / copies.PACKAGE
    held = {str(path.relative_to(copied)): path.is_symlink() for path in copied.rglob("*") if not path.is_dir()}
    assert held == {
        "__init__.py": True,
        "deep/__init__.py": True,
        "deep/inner/changed.py": False,
        "deep/inner/kept.py": True,
        "deep/inner/__pycache__/kept.cpython-311.pyc": True,
    }
    assert (copied / "other").is_symlink()
    assert (package / "deep/inner/changed.py").read_text() == "old = 1\nold = 2\n"


@pytest.mark.parametrize("edit", [("deep/inner/changed.py", "absent", "new"), ("absent.py", "old", "new")])
def test_a_mutant_whose_old_text_is_not_there_is_not_applicable(package: Path, edit: tuple[str, str, str]) -> None:
    assert copies.changed_files(replace(RENAMED, edits=(*RENAMED.edits, edit)), package) is None


def test_every_mutant_has_a_name_of_its_own_and_changes_something() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert all(old != new for mutant in MUTANTS for _, old, new in mutant.edits)


def test_enough_mutants_of_each_area_are_applicable_and_can_be_imported() -> None:
    found = harness.applicable(MUTANTS)
    assert len(found) >= harness.ENOUGH
    assert {mutant.area for mutant in found} == set(AREAS)
    for mutant in found:
        for name, text in (copies.changed_files(mutant, harness.installed()) or {}).items():
            if name.endswith(".py"):
                compile(text, name, "exec", dont_inherit=True)


@pytest.fixture(scope="module")
def base() -> Iterator[sides.ForkServer]:
    with harness.base() as server:
        yield server


@pytest.fixture(scope="module")
def unchanged(base: sides.ForkServer) -> harness.Result:
    return harness.run(harness.UNCHANGED, base, RUNS)


@pytest.mark.slow
@pytest.mark.skipif(not sides.CAN_FORK, reason="the sides are forked from a process with a changed LiteLLM")
@pytest.mark.parametrize("name", [*AREAS, *FOUND])
def test_a_changed_litellm_is_served_equally_or_left_alone(
    base: sides.ForkServer, unchanged: harness.Result, name: str
) -> None:
    """The first mutant of each area, and others by name."""
    mutant = next((mutant for mutant in harness.applicable(MUTANTS) if name in (mutant.name, mutant.area)), None)
    if mutant is None:
        pytest.skip("not applicable to the installed LiteLLM")
    assert unchanged.ok and unchanged.served > len(RUNS), str(unchanged)
    assert harness.fault(harness.run(mutant, base, RUNS), unchanged) == ""


@pytest.mark.slow
@pytest.mark.skipif(not sides.CAN_FORK, reason="the sides are forked from a process with a changed LiteLLM")
def test_a_difference_is_found(base: sides.ForkServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An accelerator that is another one on a changed LiteLLM."""
    mutant = next(mutant for mutant in harness.applicable(MUTANTS) if mutant.area == "response conversion")
    monkeypatch.setattr(harness, "ACCELERATED", "mutants.test_mutants:deaf")
    result = harness.run(mutant, base, [run for run in RUNS if run.id == "calls/plain@acompletion"])
    assert "outcomes" in harness.fault(result, replace(result, verdicts=()))


def deaf(component: str) -> object:
    """An accelerator whose answers are stock's but for one attribute."""
    from contextlib import contextmanager

    import litellm

    @contextmanager
    def block() -> Iterator[object]:
        stock = litellm.acompletion

        async def call(**kwargs: object) -> object:
            response = await stock(**kwargs)
            response.unheard = True
            return response

        litellm.acompletion = call
        yield lambda: (1, {})
        litellm.acompletion = stock

    return block()
