"""Reasons: each is used and in the docs, none is written where calls are declined."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.decline import Decline, Reason

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "litellm_accel"
REASONS = {name: held for name, held in vars(decline).items() if isinstance(held, Reason)}
SOURCES = [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyx")]
# Where a text must not stand: what counts a call, and what is raised to leave one to LiteLLM.
COUNTED = re.compile(r"\b(?:decline|Unrepeatable|InconclusiveRecording|_?Unserved|_?Changing)\(\s*f?[\"']")


def test_the_tables_in_the_docs_are_those_of_the_file() -> None:
    ran = subprocess.run(
        [sys.executable, ROOT / "tools" / "generate_reasons.py", "--check"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr


def test_every_table_is_in_the_docs() -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))
    tables = {table for reason in REASONS.values() for table in reason.tables}
    assert tables == set(re.findall(r"<!-- reasons: (\w+) -->", pages))


@pytest.mark.parametrize("half", ["_cy", "_py"])
def test_every_reason_is_used(half: str) -> None:
    other = "_py" if half == "_cy" else "_cy"
    texts = [path.read_text(encoding="utf-8") for path in SOURCES if path.parent.name != other]
    used = set(re.findall(r"\bdecline\.([A-Z_]+)\b", "".join(texts)))
    assert used == REASONS.keys()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_call_is_left_to_stock_for_a_text(path: Path) -> None:
    assert not COUNTED.findall(path.read_text(encoding="utf-8"))


def _returned(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield the functions annotated to return reasons, and what they return."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and function.returns and "Why" in ast.unparse(function.returns):
            for node in ast.walk(function):
                if isinstance(node, ast.Return) and node.value is not None:
                    yield function.name, node.value


@pytest.mark.parametrize("path", [*PACKAGE.rglob("*.py")], ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_text_is_returned_as_a_reason(path: Path) -> None:
    for name, value in _returned(ast.parse(path.read_text(encoding="utf-8"))):
        first = value.elts[0] if isinstance(value, ast.Tuple) else value
        assert not isinstance(first, ast.JoinedStr), name
        assert not (isinstance(first, ast.Constant) and isinstance(first.value, str)), name


def test_reasons_are_told_apart_and_say_what_they_mean() -> None:
    texts = [reason.text for reason in REASONS.values()]
    assert len(set(texts)) == len(texts)
    for name, reason in REASONS.items():
        assert reason.meaning.endswith("."), name
        assert reason.meaning[0] == "`" or reason.meaning[0].isupper(), name


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (decline.ARGUMENT.of("temperature"), "argument 'temperature'"),
        (decline.ARGUMENT, "argument …"),
        (decline.SETTING.of("modify_params", "=True"), "setting modify_params=True"),
        (decline.SETTING, "setting …"),
        (decline.REFUSED.of(decline.REQUEST_HEADER.of("x-trace")), "not learned: request header 'x-trace'"),
        (decline.UNLEARNABLE.of(decline.CLIENT_HOOKS), "unlearnable: the HTTP client has event hooks"),
        (decline.VALUE_DIFFERS.of(decline.place(("user",))), "not learned: argument 'user' differs each time"),
        (
            decline.VALUE_DIFFERS.of(decline.place(("metadata", "a", 0))),
            "not learned: metadata['a'][0] differs each time",
        ),
        (decline.CALLBACK.of("x" * 1000), f"callback {'x' * 80}"),
    ],
)
def test_what_a_reason_is_about_is_said(key: Reason | Decline, text: str) -> None:
    assert str(key) == text


def test_declines_are_equal_if_they_are_about_the_same() -> None:
    class Name(str):
        def __hash__(self) -> int:
            raise RuntimeError("the application's own")

    one, two = decline.ARGUMENT.of("seed"), decline.ARGUMENT.of(Name("seed"))
    assert one == two and hash(one) == hash(two) and type(two[1]) is str
    assert decline.ARGUMENT.of("seed") != decline.ARGUMENT.of("n") != decline.SHARED_ARGUMENT.of("n")
