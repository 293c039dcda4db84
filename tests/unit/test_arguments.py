"""Arguments beyond those the fast path knows by name: whose they are, and the keys of values that are more than
JSON."""

from __future__ import annotations

import enum
import subprocess
import sys
from typing import Any

import pydantic
import pytest

from litellm_accel.fastpath.admission.arguments import SHARED, Arguments
from litellm_accel.stock import seams

ARGUMENTS = Arguments()


class Colour(str, enum.Enum):
    RED = "red"


class Loud(str):
    def __str__(self) -> str:
        return self.upper()


class Quiet(str):
    pass


class Made(pydantic.BaseModel):
    a: Any = None


def test_names_that_litellm_reads_are_not_the_providers() -> None:
    assert all(map(ARGUMENTS.are_providers, ("min_p", "guided_json", "num_ctx", "nobody_has_heard_of_me")))
    known = (
        "mock_response",
        "mock_testing_fallbacks",
        "prompt_id",
        "no-log",
        "specific_deployment",
        "_private",
        "client",
    )
    assert not any(map(ARGUMENTS.are_providers, known))


def test_values_that_stock_may_treat_differently_have_different_keys() -> None:
    attributed = Quiet("red")
    attributed.more = 1  # type: ignore[attr-defined]
    values = [
        "red",
        Colour.RED,
        Loud("red"),
        Quiet("red"),
        attributed,
        Made,
        Made(),
        Made(a=None),
        Made(a="red"),
        True,
        1,
    ]
    values += [type("Sub", (int,), {})(1), {"a": Quiet("b")}, [Quiet("b")], (Quiet("b"),)]
    assert len({ARGUMENTS.key([value]) for value in values}) == len(values)
    assert ARGUMENTS.key([Loud("a")]) == ARGUMENTS.key([Loud("a")]) != ARGUMENTS.key([Loud("b")])


@pytest.mark.parametrize("value", [object(), int, {1, object()}, type("Slotted", (str,), {"__slots__": ("a",)})("b")])
def test_what_cannot_be_told_apart_has_no_key(value: Any) -> None:
    assert ARGUMENTS.key([value]) is None


def test_objects_that_others_may_change_are_marked() -> None:
    assert all(key is not None and key.startswith(SHARED) for key in map(ARGUMENTS.key, ([Made()], [{"a": Made()}])))
    assert not ARGUMENTS.key([Colour.RED, Loud("a"), Made]).startswith(SHARED)  # type: ignore[union-attr]


def test_a_refusal_names_the_argument() -> None:
    arguments = Arguments()
    given = {"model": "m", "temperature": 1, "mock_response": "a", "prompt_id": "p"}
    assert str(arguments.refusal("async", given)) == "argument 'mock_response'"
    assert str(arguments.refusal("async", {"extra_body": object()})) == "argument 'extra_body'"
    assert str(arguments.refusal("async", {"_" * 1000: 1})) == f"argument {'_' * 80!r}"
    assert str(arguments.told({"x": 1, "tools": [Made()]})) == "argument 'tools' holds an object that may change"


@pytest.mark.skipif(not seams.has_core(), reason="the installed LiteLLM's routers have no core of their own")
def test_what_cores_read_of_metadata_counts_from_their_import_on() -> None:
    code = """
import importlib, litellm
from litellm_accel.fastpath.admission.arguments import Arguments
from litellm_accel.stock import seams
made = Arguments()
before = made.heard_of()
importlib.import_module(seams.CORE)
print(len(made.heard_of() - before) > 0, made.heard_of() == Arguments().heard_of())
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == "True True\n"
