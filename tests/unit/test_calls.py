"""Functions that begin, as CPython tells of them."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from types import CodeType, FrameType, ModuleType
from typing import Any


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


def test_each_function_is_told_of_once_and_in_this_thread(hot: Callable[[str], ModuleType]) -> None:
    told: list[str] = []

    def began(frame: FrameType, code: CodeType) -> None:
        assert frame.f_code is code
        told.append(code.co_name)

    made = hot("calls").Calls(began, four.__code__)
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
    made = hot("calls").Calls(lambda frame, code: told.append(code.co_name), four.__code__)
    made.on()
    with contextlib.suppress(ValueError):
        four()
    one()
    made.off()
    assert "two" in told and not {"four", "five"} & set(told)


def test_the_place_of_a_profiler_is_left_to_it(hot: Callable[[str], ModuleType]) -> None:
    told: list[str] = []
    made = hot("calls").Calls(lambda frame, code: told.append(code.co_name), four.__code__)

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
