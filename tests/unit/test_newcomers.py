"""Which new kinds of calls are watched."""

from __future__ import annotations

from litellm_accel.fastpath.admission import newcomers
from litellm_accel.fastpath.admission.newcomers import Newcomers


def ask(held: Newcomers, *keys: object, expected: bool = False) -> int:
    """Return how many calls of these kinds are watched."""
    return sum(held.admits(str(key).encode(), lambda: expected) for key in keys)


def test_kinds_that_never_come_again_cost_little() -> None:
    held = Newcomers()
    assert ask(held, *range(40)) == newcomers._FIRST
    assert ask(held, *range(40, 1000)) <= 1000 // newcomers._PATIENCE + 1


def test_kinds_that_come_in_pairs_cost_twice_that() -> None:
    held = Newcomers()
    ask(held, *(number // 2 for number in range(80)))
    assert len(held._waiting) <= 2 * (newcomers._FIRST + 80 // newcomers._PATIENCE)


def test_a_kind_that_comes_again_is_watched_whatever_else_comes() -> None:
    held = Newcomers()
    ask(held, *(number // each for each in (1, 2, 3) for number in range(60)))
    for _ in range(16):
        if ask(held, "often"):
            break
    else:
        raise AssertionError("it is never watched")
    assert ask(held, "often")  # as what it has shown may be gone


def test_each_that_has_come_again_makes_room() -> None:
    held = Newcomers()
    for number in range(newcomers._MOST):
        assert ask(held, number)
        held.came_again(str(number).encode())
    assert ask(held, *range(100, 300)) == newcomers._MOST


def test_kinds_that_are_expected_need_not_wait() -> None:
    held = Newcomers()
    assert ask(held, *range(100), expected=True) == newcomers._MOST


def test_a_kind_that_shows_nothing_makes_room() -> None:
    held = Newcomers()
    assert ask(held, 1, 2, 3, 4) == newcomers._FIRST
    held.drop(b"1")
    assert ask(held, 5) == 1


def test_what_is_held_does_not_grow() -> None:
    held = Newcomers()
    ask(held, *range(3 * newcomers._MAX_COUNTED))
    assert len(held._counts) <= newcomers._MAX_COUNTED
    assert len(held._waiting) <= 2 * newcomers._MOST
