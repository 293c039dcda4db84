"""Attached: entries end with their object or with the mapping, whatever they refer to."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from litellm_accel.fastpath.owner_cache import OwnerCache


class Owner:
    pass


class Value:
    def __init__(self, owner: Any) -> None:
        self.owner = owner


def test_a_value_is_found_by_its_owner_and_mapping() -> None:
    first, second, owner = OwnerCache(), OwnerCache(), Owner()
    assert owner not in first
    assert first.get(owner) is None
    assert first.get(owner, "absent") == "absent"
    first[owner] = 1
    second[owner] = 2
    assert (first.get(owner), second.get(owner)) == (1, 2)
    assert owner in first
    assert Owner() not in first


def test_an_entry_whose_value_refers_to_its_owner_ends_with_it() -> None:
    attached, owner = OwnerCache(), Owner()
    attached[owner] = Value(owner)
    gone = weakref.ref(owner)
    del owner
    gc.collect()
    assert gone() is None


def test_an_entry_ends_with_the_mapping() -> None:
    attached, owner = OwnerCache(), Owner()
    attached[owner] = value = Value(None)
    gone = weakref.ref(value)
    del attached, value
    assert gone() is None


def test_what_has_no_attributes_of_its_own_is_refused() -> None:
    with pytest.raises(TypeError):
        OwnerCache()[3] = "value"
