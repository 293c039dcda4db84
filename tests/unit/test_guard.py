"""Whose a function is, and what somebody has put onto an object or into what is watched."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any
from unittest.mock import Mock

import httpx
import wrapt

from litellm_accel.stock.guard import differs, fields_of, is_defined_at, is_disguised, put_onto


def test_a_wrapper_that_says_it_is_a_function_is_disguised() -> None:
    def function() -> None: ...

    assert is_disguised(wrapt.FunctionWrapper(function, lambda wrapped, *_: wrapped()))
    assert not is_disguised(function)
    assert not is_disguised(Mock())


def test_a_function_is_defined_where_its_package_defines_it() -> None:
    function = vars(httpx.Client)["send"]
    assert isinstance(function, FunctionType)
    assert is_defined_at(function, "httpx._client", "Client.send") is (function.__module__ == "httpx._client")
    assert not is_defined_at(function, "httpx._client", "AsyncClient.send")

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any: ...

    assert not is_defined_at(wrapper, function.__module__, "Client.send")


class Held:
    limit = 3

    def method(self) -> None: ...

    @staticmethod
    def helper() -> None: ...


def test_a_method_that_was_put_onto_an_object_is_named() -> None:
    held = Held()
    held.limit = 4
    assert put_onto(held) is None
    held.helper = lambda: None  # type: ignore[method-assign]
    assert put_onto(held) == "helper"


def test_what_was_written_with_the_same_value_does_not_differ(hot: Callable[[str], ModuleType]) -> None:
    held = {"a": 1}
    watched = hot("watch").Watch()
    watched.add("held", held)
    watched.mark()
    assert not differs(watched)
    held["a"] = 1
    assert not differs(watched)
    held["a"] = 2
    assert differs(watched)
    assert differs(watched)  # until it is marked
    watched.mark()
    assert not differs(watched)


def test_the_fields_of_a_class_are_those_of_a_new_object() -> None:
    class Kind:
        def __init__(self) -> None:
            self.first = self.second = 0

    assert fields_of(Kind) == {"first", "second"}
