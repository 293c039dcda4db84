"""What LiteLLM notes in payloads of errors: nothing, and always the same, where there was none."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from answering import made
from litellm_accel.gateway import error_notes


def noting(is_on: bool = True) -> tuple[Callable[..., Any], Any, list[Any]]:
    note, stock, asked = made(error_notes, "ErrorNotes", "note", is_on)
    assert error_notes.agrees(note.__self__, stock)  # type: ignore[attr-defined]
    return note, stock, asked


def test_no_error_is_noted_as_litellm_does_and_each_time_anew() -> None:
    note, stock, asked = noting()
    one, two = note(None), note(None, None)
    assert list(one.items()) == list(two.items()) == list(stock(None).items())
    assert not asked
    one["error_code"] = "a callback's"
    assert note(None) == two


@pytest.mark.parametrize(
    "given", [(ValueError("a"), None), (None, "Traceback"), (None, ""), (0, None), (KeyError(), "sk-secret-secret")]
)
def test_errors_are_litellm_s(given: tuple[Any, Any]) -> None:
    note, stock, asked = noting()
    assert note(*given) == stock(*given)
    assert asked == [given]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("litellm.litellm_core_utils.litellm_logging", "redact_string"),
        ("litellm.litellm_core_utils.litellm_logging", "normalize_error"),
        ("litellm.litellm_core_utils.litellm_logging", "validate_rate_limit_type"),
        ("litellm._logging", "redact_secret_string"),
        ("litellm.litellm_core_utils.secret_redaction", "python_redact_string"),
        ("litellm.rust_bridge.diagnostics", "run"),
    ],
)
def test_somebody_s_functions_are_called(module: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    note, _, asked = noting()
    monkeypatch.setattr(f"{module}.{name}", lambda *given: "own")
    assert "own" in note(None).values()
    assert len(asked) == 1


def test_another_pattern_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    note, _, asked = noting()
    monkeypatch.setattr("litellm.litellm_core_utils.secret_redaction._SECRET_RE", re.compile("^$"))
    assert note(None)["traceback"]
    assert len(asked) == 1


def test_switched_off_litellm_is_asked() -> None:
    note, stock, asked = noting(is_on=False)
    assert note(None) == stock(None)
    assert len(asked) == 1
