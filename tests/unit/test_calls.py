"""Functions that begin, as CPython tells of them."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from types import CodeType, FrameType, ModuleType
from typing import Any, NamedTuple

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
    callers: list[CodeType] = []

    def began(code: CodeType, names: dict[str, Any], below: FrameType | None, first: Any) -> None:
        told.append(code.co_name)
        if code in (one.__code__, two.__code__):
            assert names is globals() and below is not None and first is None
            callers.append(below.f_code)

    made = heard_by(hot).Calls({}, began, four.__code__)
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
    here = sys._getframe().f_code
    assert callers == [here, one.__code__, here]
    assert sys.getprofile() is None


class Known(NamedTuple):
    """What is known of a function."""

    module: str | None
    first: str | None = None


class Held:
    def method(self) -> None:
        """What has a method of its own."""

    def kept(self) -> Callable[[], Held]:
        return lambda: self  # for which its own variable is another's, too

    def deleted(self) -> Iterator[None]:
        del self
        yield


def test_what_is_known_is_noted_with_its_own_object(hot: Callable[[str], ModuleType]) -> None:
    told: list[tuple[str, Any]] = []
    methods = Held.method.__code__, Held.kept.__code__
    known = {id(code): Known("here", "self") for code in methods}
    known |= {id(one.__code__): Known(None), id(two.__code__): Known("here")}
    made = heard_by(hot).Calls(
        known, lambda code, names, below, first: told.append((code.co_name, first)), four.__code__
    )
    held = Held()
    made.on()
    held.method()
    held.kept()
    one()
    list(held.deleted())
    made.off()
    assert [(noted, first) for noted, first in made.met if noted.module] == [
        (known[id(methods[0])], held),
        (known[id(methods[1])], held),
        (known[id(two.__code__)], None),
    ]
    assert len(made.met) == 3
    assert [first for name, first in told if name == "deleted"] == [held]
    made.looks_below = True
    made.clear()
    made.on()
    held.method()
    one()
    made.off()
    assert [pair for pair in told if pair[0] in ("method", "one")] == [("method", held), ("one", None)]
    assert not made.met


def test_what_runs_below_one_function_is_passed_over(hot: Callable[[str], ModuleType]) -> None:
    told: list[str] = []
    made = heard_by(hot).Calls({}, lambda code, *_: told.append(code.co_name), four.__code__)
    made.on()
    with contextlib.suppress(ValueError):
        four()
    one()
    made.off()
    assert "two" in told and not {"four", "five"} & set(told)


def test_the_place_of_a_profiler_is_left_to_it(hot: Callable[[str], ModuleType]) -> None:
    told: list[str] = []
    made = heard_by(hot).Calls({}, lambda code, *_: told.append(code.co_name), four.__code__)

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

    made = hot("calls").Calls({}, lambda *_: None, four.__code__)
    alone = kept()
    if made.on():
        told = kept()
        made.off()
        assert told == alone
