"""What a watched call does to the context variables of who makes it."""

import contextvars
from collections.abc import Callable

import pytest

from litellm_accel.fastpath.plans import recorder
from litellm_accel.fastpath.plans.recorder import Recording

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
