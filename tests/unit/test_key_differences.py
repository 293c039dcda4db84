"""What is said of calls that never come again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from litellm_accel.fastpath.admission.arguments import Arguments
from litellm_accel.fastpath.admission.key_differences import KeyDifferences
from litellm_accel.hot import chat

ARGUMENTS = Arguments()


def call(more: bytes = b"", bound: str = "", **arguments: Any) -> Any:
    found = chat.call_key("async", (), {"model": "m", **arguments}, ARGUMENTS)
    assert found is not None
    return SimpleNamespace(
        key=b"12 " + found[0] + more, free=found[1], bound=frozenset(bound.split()), kwargs={"model": "m", **arguments}
    )


@pytest.mark.parametrize(
    ("one", "two", "said"),
    [
        ({"top_logprobs": 1}, {"top_logprobs": 2}, ": argument 'top_logprobs' differs each time"),
        ({"temperature": 0.1}, {"temperature": 1.1}, ": argument 'temperature' differs each time"),
        ({"temperature": 0.1}, {"temperature": 0.2, "model": "n"}, ": argument 'model' differs each time"),
        ({"metadata": {"a": 1}}, {"metadata": {"a": "x"}}, ": metadata['a'] differs each time"),
        ({"metadata": {"a": 1}}, {"metadata": {"a": 1, "b": 1}}, ": metadata['b'] differs each time"),
        ({"metadata": {"a": 1}}, {"metadata": None}, ": argument 'metadata' differs each time"),
        ({"user": "a", "more": b"1"}, {"user": "a", "more": b"2"}, ": the shape of the messages differs each time"),
        (
            {"user": "a", "more": b'"a"', "bound": "user"},
            {"user": "b", "more": b'"b"', "bound": "user"},
            ": argument 'user' differs each time",
        ),
        ({"temperature": 0.1}, {"top_p": 0.1}, ""),
        ({"service_tier": "x" * 5000}, {"service_tier": "y" * 5000}, ""),
    ],
)
def test_what_differs_is_named(one: dict[str, Any], two: dict[str, Any], said: str) -> None:
    differences = KeyDifferences()
    assert str(differences.reason(call(**one))) == "first of its kind"
    assert str(differences.reason(call(**two))) == f"first of its kind{said}"


def test_calls_are_looked_at_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    differences = KeyDifferences()
    said = [str(differences.reason(call(top_logprobs=number))) for number in range(40)]
    assert said == ["first of its kind"] + ["first of its kind: argument 'top_logprobs' differs each time"] * 39
    monkeypatch.setattr(differences, "_compared", pytest.fail)
    for _ in range(7):
        differences.reason(call(top_logprobs=5))


def test_what_is_remembered_does_not_grow() -> None:
    differences = KeyDifferences()
    for number in range(5000):
        differences.reason(call(**{f"of_ours_{number}": 1}))
    assert len(differences._last) <= 64


def test_calls_with_other_arguments_are_told_apart() -> None:
    differences = KeyDifferences()
    for number in range(9):
        last = [str(differences.reason(call(**{name: number}))) for name in ("top_logprobs", "n")]
    assert last == [f"first of its kind: argument {name!r} differs each time" for name in ("top_logprobs", "n")]


def test_a_kind_that_comes_again_differs_in_nothing() -> None:
    differences = KeyDifferences()
    assert {str(differences.reason(call(user="a"))) for _ in range(40)} == {"first of its kind"}
