"""Widening a plan to other values of its free arguments: only what differs by these values alone."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from litellm_accel.fastpath.plans.generalization import generalize
from litellm_accel.fastpath.plans.templates import Unrepeatable
from litellm_accel.fastpath.transport.request_head import RequestHeaders


def plan(
    hot: Any, body: dict[str, Any], free: dict[str, Any], headers: dict[str, str] | None = None, spaced: bool = False
) -> Any:
    """A plan as learned from a call with these free arguments, whose request had ``body`` after its messages."""
    suffix = "," + json.dumps(body, ensure_ascii=False, separators=(",", ":"))[1:]
    if spaced:
        suffix = ", " + json.dumps(body)[1:]
    given = httpx.Headers({**(headers or {}), "content-length": str(len(suffix))})
    request = {"url": "http://host", "headers": RequestHeaders(given, False), "prepared": {}}
    written = {name: json.dumps(value).encode() for name, value in free.items()}
    return hot("chat").Plan(b"{", suffix.encode(), spaced, (), "", {}, {}, None, {}, request, 1, 0.0, written)


def sent(widened: Any, **free: Any) -> Any:
    """The body a plan makes for these values; None if it does not hold for them."""
    written = {name: json.dumps(value).encode() for name, value in free.items()}
    return json.loads(widened.body(b'"messages":[]', written)) if widened.covers(written) else None


def test_a_plan_holds_for_the_values_it_was_learned_with(hot: Any) -> None:
    learned = plan(hot, {"model": "m", "user": "a"}, {"user": "a"})
    assert sent(learned, user="a") == {"messages": [], "model": "m", "user": "a"}
    assert sent(learned, user="b") is None


def test_and_for_any_once_another_value_has_changed_nothing_else(hot: Any) -> None:
    first = plan(hot, {"model": "m", "user": "a", "seed": 1, "n": 1}, {"user": "a", "seed": 1})
    second = plan(hot, {"model": "m", "user": "b", "seed": 1, "n": 1}, {"user": "b", "seed": 1})
    generalize(second, first)
    assert sent(second, user='x"', seed=1) == {"messages": [], "model": "m", "user": 'x"', "seed": 1, "n": 1}
    assert sent(second, user="b", seed=2) is None
    third = plan(hot, {"model": "m", "user": "b", "seed": 7, "n": 1}, {"user": "b", "seed": 7})
    generalize(third, second)
    assert sent(third, user="d", seed=9) == {"messages": [], "model": "m", "user": "d", "seed": 9, "n": 1}


def test_a_request_that_the_json_module_writes(hot: Any) -> None:
    first = plan(hot, {"n": [1, "é"], "user": "é"}, {"user": "é"}, spaced=True)
    second = plan(hot, {"n": [1, "é"], "user": "b"}, {"user": "b"}, spaced=True)
    generalize(second, first)
    body = second.body('[{"content":"ü"}]'.encode(), {"user": '"ž"'.encode()})
    assert body == b'{[{"content": "\\u00fc"}], "n": [1, "\\u00e9"], "user": "\\u017e"}'


def test_an_argument_may_be_sent_by_another_name_or_not_at_all(hot: Any) -> None:
    second = plan(hot, {"limit": 2, "n": 2}, {"max_tokens": 2, "user": "b"})
    generalize(second, plan(hot, {"limit": 1, "n": 2}, {"max_tokens": 1, "user": "a"}))
    assert sent(second, max_tokens=5, user="c") == {"messages": [], "limit": 5, "n": 2}


def test_equal_values_go_where_their_names_say(hot: Any) -> None:
    second = plan(hot, {"user": "b", "key": "b"}, {"user": "b", "key": "b"})
    generalize(second, plan(hot, {"user": "a", "key": "a"}, {"user": "a", "key": "a"}))
    assert sent(second, user="x", key="y") == {"messages": [], "user": "x", "key": "y"}


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"user": "b", "hash": "hb"}, {}),  # something else depends on it
        ({"user": "b", "and": "b", "hash": "ha"}, {}),  # another member
        ({"hash": "ha", "user": "b"}, {}),  # another order
        ({"user": "B", "hash": "ha"}, {}),  # 'user' is sent with another value
        ({"user": "b", "hash": "ha"}, {"x-user": "b"}),  # a header
    ],
)
def test_a_request_that_differs_otherwise_is_refused(hot: Any, body: dict[str, Any], headers: dict[str, str]) -> None:
    first = plan(hot, {"user": "a", "hash": "ha"}, {"user": "a"})
    second = plan(hot, body, {"user": "b"}, headers)
    with pytest.raises(Unrepeatable):
        generalize(second, first)
    assert sent(second, user="c") is None


def test_an_argument_sent_twice_under_other_names_is_refused(hot: Any) -> None:
    first = plan(hot, {"one": 1, "two": 1}, {"max_tokens": 1})
    with pytest.raises(Unrepeatable, match="sent twice"):
        generalize(plan(hot, {"one": 2, "two": 2}, {"max_tokens": 2}), first)


def test_a_value_that_was_changed_on_its_way_after_all_is_refused(hot: Any) -> None:
    second = plan(hot, {"user": "b"}, {"user": "b"})
    generalize(second, plan(hot, {"user": "a"}, {"user": "a"}))
    with pytest.raises(Unrepeatable, match="'user' is sent with another value"):
        generalize(plan(hot, {"user": "c!"}, {"user": "c"}), second)
