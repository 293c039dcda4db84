"""Imports that fail anew each time, of a made-up LiteLLM in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import litellm_accel

PROGRAM = """
import sys
from litellm_accel.failing_imports import FailingImports

finder = FailingImports()
finder.start()

def attempt():
    try:
        import litellm.part
    except Exception as error:
        return type(error).__name__, str(error), error.args, getattr(error, "name", None), getattr(error, "path", None)
    return None

{rest}
assert finder in sys.meta_path
finder.stop()
assert finder not in sys.meta_path
print(finder.raised)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    package = tmp_path / "litellm"
    package.mkdir()
    (package / "__init__.py").write_text("runs = []\n")
    return tmp_path


def run(place: Path, part: str, rest: str) -> str:
    (place / "litellm" / "part.py").write_text(textwrap.dedent(part))
    root = Path(litellm_accel.__file__).parents[1]
    program = f"import sys; sys.path[:0] = [{str(place)!r}, {str(root)!r}]\n" + PROGRAM.format(
        rest=textwrap.dedent(rest)
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


FAILING = '"""Wants more."""\nimport sys\nfrom wanted.deep import thing\n'


def test_a_failure_is_raised_again_as_python_raises_it(place: Path) -> None:
    (place / "wanted").mkdir()
    out = run(
        place,
        FAILING,
        """
        found = [attempt() for _ in range(6)]
        assert set(found) == {found[0]}, found
        print(found[0])
        assert "litellm.part" not in sys.modules
        """,
    )
    first, counts = out.splitlines()
    text = "No module named 'wanted.deep'"
    assert first == str(("ModuleNotFoundError", text, (text,), "wanted.deep", None))
    assert counts == "4"


def test_what_is_installed_meanwhile_is_found(place: Path) -> None:
    (place / "wanted").mkdir()
    out = run(
        place,
        FAILING,
        f"""
        import importlib, pathlib
        [attempt() for _ in range(4)]
        pathlib.Path({str(place)!r}, "wanted", "deep.py").write_text("thing = 1")
        importlib.invalidate_caches()
        print(attempt(), sys.modules["litellm.part"].thing)
        """,
    )
    assert out == "None 1\n2\n"


def test_what_somebody_puts_in_place_is_found(place: Path) -> None:
    out = run(
        place,
        "import wanted\n",
        """
        import types
        [attempt() for _ in range(4)]
        sys.modules["wanted"] = types.ModuleType("wanted")
        print(attempt())
        """,
    )
    assert out == "None\n2\n"


@pytest.mark.parametrize(
    "part",
    [
        "import litellm\nlitellm.runs.append(1)\nimport wanted\n",
        "import litellm\nif True:\n    import wanted\n",
        "import litellm\nraise ModuleNotFoundError(\"No module named 'wanted'\", name='wanted')\n",
        "import litellm.nothing\n",
        "import litellm\nfrom sys import nothing\n",
    ],
)
def test_what_might_do_something_else_next_time_is_run_each_time(place: Path, part: str) -> None:
    out = run(place, part, "print(len({attempt() for _ in range(4)}), len(sys.modules['litellm'].runs))")
    assert out.splitlines()[0] in ("1 4", "1 0")
    assert ("runs.append" in part) is out.startswith("1 4")
    assert out.splitlines()[1] == ("2" if part.endswith("import wanted\n") else "0"), "the package's own absence"


def test_a_module_that_fails_for_another_s_sake(place: Path) -> None:
    (place / "litellm" / "other.py").write_text("import wanted\n")
    out = run(place, "from litellm.other import thing\n", "print(len({attempt() for _ in range(6)}))")
    assert out == "1\n4\n"


LOOKED_FOR = """
import importlib, importlib.util, pathlib, sys, types

def attempt():
    try:
        import wanted.deep
    except Exception as error:
        return type(error).__name__, error.args, error.name, error.path
    return wanted.deep.thing

found = [attempt() for _ in range(6)]
assert set(found) == {{("ModuleNotFoundError", ("No module named 'wanted'",), "wanted", None)}}, found
assert finder.raised == 4, finder.raised
assert importlib.util.find_spec("wanted") is None
{then}
"""


@pytest.mark.parametrize(
    "then",
    [
        "sys.modules['wanted'] = types.ModuleType('wanted'); sys.modules['wanted.deep'] = types.ModuleType('d')\n"
        "sys.modules['wanted'].deep = sys.modules['wanted.deep']; sys.modules['wanted'].deep.thing = 1",
        "sys.path.append(str(other)); importlib.invalidate_caches()",
        "sys.path.append(str(other))",
        "(other / 'wanted').rename(here / 'wanted'); importlib.invalidate_caches()",
        "sys.meta_path.append(types.SimpleNamespace(find_spec=lambda name, path, target=None: None if path else "
        "importlib.machinery.PathFinder.find_spec(name, [str(other)])))",
    ],
)
def test_a_package_that_is_not_there_is_not_looked_for_in_all_places_again(place: Path, then: str) -> None:
    (place / "elsewhere" / "wanted").mkdir(parents=True)
    (place / "elsewhere" / "wanted" / "__init__.py").write_text("")
    (place / "elsewhere" / "wanted" / "deep.py").write_text("thing = 1")
    where = f"here = pathlib.Path({str(place)!r}); other = here / 'elsewhere'"
    run(place, "", LOOKED_FOR.format(then=f"{where}\n{then}\nassert attempt() == 1, attempt()"))


def test_another_folder_to_work_in_is_looked_at(place: Path) -> None:
    (place / "elsewhere" / "wanted").mkdir(parents=True)
    (place / "elsewhere" / "wanted" / "deep.py").write_text("thing = 1")
    move = f"import os\nos.chdir({str(place / 'elsewhere')!r})\nassert attempt() == 1, attempt()"
    run(place, "", "sys.path.append('')\n" + LOOKED_FOR.format(then=move))
