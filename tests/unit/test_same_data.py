"""Whether two values hold the same data."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pytest

from litellm_accel.gateway.same_data import is_same_data


@dataclass(frozen=True)
class Rules:
    """Two settings."""

    name: str
    limits: dict[str, float]


class Own:
    """Equal to everything."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


def made() -> Any:
    held = {"a": [1, 2.0, None, b"b"], "c": (frozenset(("d",)), {"e"}), "f": Rules("g", {"h": 1.0})}
    return MappingProxyType({"i": held, "j": True})


def test_what_is_made_anew_is_the_same() -> None:
    assert made() is not made()
    assert is_same_data(made(), made())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        ([1], [1.0]),
        ([1], [1, 2]),
        ([1], (1,)),
        ({"a": 1}, {"a": 2}),
        ({"a": 1, "b": 1}, {"b": 1, "a": 1}),
        ({1: "a"}, {True: "a"}),
        ({"a": 1}, MappingProxyType({"a": 1})),
        (frozenset(("a",)), frozenset(("b",))),
        (frozenset((1,)), frozenset((True,))),
        (Rules("a", {}), Rules("b", {})),
        (Rules("a", {"b": 1}), Rules("a", {"b": True})),
        ([Own()], [Own()]),
        (None, []),
    ],
)
def test_what_differs_in_anything_is_not(one: Any, other: Any) -> None:
    assert not is_same_data(one, other)


def test_one_object_is_the_same() -> None:
    own = Own()
    assert is_same_data([own, len], [own, len])
