"""Bindings notice every rebinding of a watched name, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def bindings(hot: Callable[[str], ModuleType]) -> Any:
    return hot("bindings").Bindings


class Owner:
    kept = "class attribute"


@pytest.fixture
def module() -> ModuleType:
    made = ModuleType("made")
    made.number, made.items, made.other = 1, [1], "unwatched"  # type: ignore[attr-defined]
    return made


def test_a_rebound_name_is_noticed_until_it_is_bound_back(bindings: Any, module: Any) -> None:
    made = bindings([(module, ("number", "items"))])
    assert not made.changed()
    before = module.items
    module.items = [1]
    assert made.changed()
    assert made.changed(), "a change is told again, until new bindings are made"
    assert not bindings([(module, ("number", "items"))]).changed()
    module.items = before
    assert not made.changed()


def test_other_names_and_mutation_are_not_noticed(bindings: Any, module: Any) -> None:
    made = bindings([(module, ("number", "items"))])
    module.other = "rebound"
    module.new = "added"
    module.items.append(2)
    assert not made.changed()
    module.number = 2
    assert made.changed()


def test_a_name_that_comes_or_goes_is_noticed(bindings: Any, module: Any) -> None:
    made = bindings([(module, ("number", "missing"))])
    assert not made.changed()
    module.missing = "here now"
    assert made.changed()
    del module.missing
    assert not made.changed()
    del module.number
    assert made.changed()


def test_class_attributes(bindings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = bindings([(Owner, ("kept",))])
    assert not made.changed()
    monkeypatch.setattr(Owner, "kept", "replaced")
    assert made.changed()
    monkeypatch.undo()
    assert not made.changed()


def test_whole_content(bindings: Any) -> None:
    table = {"a": "1"}
    made = bindings([(table, None)])
    assert not made.changed()
    table["b"] = "2"
    assert made.changed()
    del table["b"]
    assert not made.changed()
    table["a"] = "3"
    assert made.changed()
    table.clear()
    assert made.changed()


def test_points_are_limited(bindings: Any, module: ModuleType) -> None:
    assert not bindings([]).changed()
    assert not bindings([(module, ("number",))] * 32).changed()
    with pytest.raises(ValueError, match="at most 32 points can be watched, got 33"):
        bindings([(module, ("number",))] * 33)


def test_many_bindings_of_one_dict_are_independent(bindings: Any, module: Any) -> None:
    made = []
    for number in range(100):
        module.number = number
        made.append(bindings([(module, ("number",))]))
    assert [one.changed() for one in made] == [True] * 99 + [False]


def test_a_wrapper_that_claims_to_equal_what_it_wraps_is_noticed(bindings: Any, module: ModuleType) -> None:
    class Equal:
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    made = bindings([(module, ("number", "items"))])
    module.number = Equal()  # type: ignore[attr-defined]
    assert made.changed()
