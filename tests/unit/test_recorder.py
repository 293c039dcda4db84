"""What is seen around a watched call: context variables, and what LiteLLM imports."""

import contextvars
import importlib
import sys
from collections.abc import Callable

import pytest

from litellm_accel.fastpath.plans import recorder
from litellm_accel.fastpath.plans.recorder import Recording
from litellm_accel.stock import providers

PLAIN = contextvars.ContextVar("PLAIN", default="")
BARE: contextvars.ContextVar[object] = contextvars.ContextVar("BARE")


def restored() -> None:
    BARE.reset(BARE.set([]))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda: None, None),
        (lambda: PLAIN.set(""), None),  # as it was, for all who read it
        (lambda: PLAIN.set("other"), "PLAIN"),
        (lambda: BARE.set(1), "BARE"),
        (restored, None),
    ],
    ids=["nothing", "default", "other", "first", "restored"],
)
def test_what_is_left_changed_is_found(change: Callable[[], object], name: str | None) -> None:
    def play() -> str | None:
        recording = Recording()
        with recorder.scripted(recording):
            change()
        return recording.changed

    assert contextvars.Context().run(play) == name


def test_a_variable_that_is_taken_back_is_found() -> None:
    def play() -> str | None:
        token, recording = BARE.set(1), Recording()
        with recorder.scripted(recording):
            BARE.reset(token)
        return recording.changed

    assert contextvars.Context().run(play) == "BARE"


def test_nothing_is_imported_to_be_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    target = providers.CONVERSIONS["compactifai"]
    module = target.partition(":")[0]
    importlib.import_module(module)
    monkeypatch.delitem(sys.modules, module)
    recording = Recording()
    with recorder.scripted(recording):
        assert module not in sys.modules
        recorder.load(target)  # as LiteLLM might, within a call
    assert "imported" in str(recording.fault)
    recording = Recording()
    with recorder.scripted(recording):
        pass
    assert recording.fault is None
