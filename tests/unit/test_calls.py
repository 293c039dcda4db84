"""Functions that begin, as CPython tells of them."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from types import CodeType, FrameType, ModuleType
from typing import Any

import pytest


def one() -> None:
    two()
    two()


def two() -> None:
    len("")


def three() -> None:
    """In a thread of its own."""


def four() -> None:
    five()
    raise ValueError("passed over")


def five() -> None:
    """Below what is passed over."""


def heard_by(hot: Callable[[str], ModuleType]) -> ModuleType:
    """Return the module, where it hears of functions: the twin does not before Python 3.11."""
    found = hot("calls")
    if found.__name__.endswith("_py.calls") and sys.version_info < (3, 11):
        pytest.skip("Python would change what locals() has returned")
    return found


def test_each_function_is_told_of_once_and_in_this_thread(hot: Callable[[str], ModuleType]) -> None:
    told: list[str] = []

    def began(frame: FrameType, code: CodeType) -> None:
        assert frame.f_code is code
        told.append(code.co_name)

    made = heard_by(hot).Calls(began, four.__code__)
    thread = threading.Thread(target=three)
    one()
    for _ in range(2):
        assert made.on()
        one()
        if thread.ident is None:
            thread.start()
        thread.join()
        made.off()
        one()
    assert [name for name in told if name in ("one", "two", "three")] == ["one", "two"]
    made.clear()
    made.on()
    two()
    made.off()
    assert told.count("two") == 2
    assert sys.getprofile() is None


def test_what_runs_below_one_function_is_passed_over(hot: Callable[[str], ModuleType]) -> None:
    told: list[str] = []
    made = heard_by(hot).Calls(lambda frame, code: told.append(code.co_name), four.__code__)
    made.on()
    with contextlib.suppress(ValueError):
        four()
    one()
    made.off()
    assert "two" in told and not {"four", "five"} & set(told)


def test_the_place_of_a_profiler_is_left_to_it(hot: Callable[[str], ModuleType]) -> None:
    told: list[str] = []
    made = heard_by(hot).Calls(lambda frame, code: told.append(code.co_name), four.__code__)

    def profile(*args: Any) -> None:
        """Somebody's."""

    sys.setprofile(profile)
    try:
        assert not made.on()
        one()
        assert sys.getprofile() is profile
        sys.setprofile(None)
        assert made.on()
        sys.setprofile(profile)
        made.off()
        assert sys.getprofile() is profile
    finally:
        sys.setprofile(None)
    assert "one" not in told


def test_what_a_function_keeps_of_its_variables_stays_as_it_is(hot: Callable[[str], ModuleType]) -> None:
    def kept() -> list[str]:
        given = 1
        variables = locals()
        later = given + 1
        three()
        return [*variables, f"{later}"]

    made = hot("calls").Calls(lambda frame, code: None, four.__code__)
    alone = kept()
    if made.on():
        told = kept()
        made.off()
        assert told == alone
