"""What LiteLLM notes in payloads of errors: nothing, and always the same, where there was none."""

from __future__ import annotations

import re
from typing import Any

import pytest

from litellm_accel import hot, patching
from litellm_accel.gateway import error_notes


def noting(is_on: bool = True) -> tuple[Any, Any, list[Any]]:
    """Return what is tested, LiteLLM's method, and a list of what that is asked meanwhile."""
    stock = patching.stock_copy(patching.resolve(error_notes.TARGET))
    if not error_notes.is_known(stock):
        pytest.skip("a release in which it is another")
    gate = hot.gate.Gate("proxy")
    gate.switch(is_on)
    asked: list[Any] = []
    notes = error_notes.ErrorNotes(gate, stock)
    assert error_notes.agrees(notes, stock)
    notes._stock = lambda *given: (asked.append(given), stock(*given))[1]
    return notes, stock, asked


def test_no_error_is_noted_as_litellm_does_and_each_time_anew() -> None:
    notes, stock, asked = noting()
    one, two = notes.note(None), notes.note(None, None)
    assert list(one.items()) == list(two.items()) == list(stock(None).items())
    assert not asked
    one["error_code"] = "a callback's"
    assert notes.note(None) == two


@pytest.mark.parametrize(
    "given", [(ValueError("a"), None), (None, "Traceback"), (None, ""), (0, None), (KeyError(), "sk-secret-secret")]
)
def test_errors_are_litellm_s(given: tuple[Any, Any]) -> None:
    notes, stock, asked = noting()
    assert notes.note(*given) == stock(*given)
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
    notes, _, asked = noting()
    monkeypatch.setattr(f"{module}.{name}", lambda *given: "own")
    assert "own" in notes.note(None).values()
    assert len(asked) == 1


def test_another_pattern_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    notes, _, asked = noting()
    monkeypatch.setattr("litellm.litellm_core_utils.secret_redaction._SECRET_RE", re.compile("^$"))
    assert notes.note(None)["traceback"]
    assert len(asked) == 1


def test_switched_off_litellm_is_asked() -> None:
    notes, stock, asked = noting(is_on=False)
    assert notes.note(None) == stock(None)
    assert len(asked) == 1
