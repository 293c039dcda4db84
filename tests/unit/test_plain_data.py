"""Which data is of the plainest kind."""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest


class Text(str):
    """A text that is not plain."""


class Level(enum.IntEnum):
    ONE = 1


PLAIN: list[Any] = [None, True, 0, -(2**70), 1.5, "", "ä\ud800", [], (), {}, {"a": [1, (2, {"b": None})]}]
OTHER: list[Any] = [Text("a"), Level.ONE, b"a", {1: 2}, {Text("a"): 1}, {None: 1}, OrderedDict(a=1), {1}, ...]


@pytest.mark.parametrize("data", PLAIN, ids=repr)
def test_plain(hot: Callable[[str], ModuleType], data: Any) -> None:
    assert hot("plain_data").is_plain(data, 9, True) is True
    assert hot("plain_data").is_plain({"a": [data]}, 9, True) is True


@pytest.mark.parametrize("data", [*OTHER, "a\x00b", {"a\x00": 1}], ids=repr)
def test_not_plain(hot: Callable[[str], ModuleType], data: Any) -> None:
    for held in (data, [data], (data,), {"a": data}):
        assert hot("plain_data").is_plain(held, 9, False) is False


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_infinite(hot: Callable[[str], ModuleType], number: float) -> None:
    assert hot("plain_data").is_plain([number], 9, False) is True
    assert hot("plain_data").is_plain([number], 9, True) is False


def test_depth(hot: Callable[[str], ModuleType]) -> None:
    for data in ([[["deep"]]], {"a": {"a": {"a": 1}}}, ((("deep",),),)):
        assert hot("plain_data").is_plain(data, 3, False) is True
        assert hot("plain_data").is_plain(data, 2, False) is False
    assert hot("plain_data").is_plain(1, 0, False) is True
    assert hot("plain_data").is_plain(1, -1, False) is False


def test_a_cycle(hot: Callable[[str], ModuleType]) -> None:
    data: list[Any] = []
    data.append({"again": data})
    assert hot("plain_data").is_plain(data, 100, False) is False
