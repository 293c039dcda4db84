"""Which lists of routes cover a path: remembered for as long as LiteLLM would say the same."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from litellm_accel import hot, patching
from litellm_accel.gateway.route_lists import RouteLists, is_closed

pytest.importorskip("fastapi")
TARGET = "litellm.proxy.auth.route_checks:RouteChecks.check_route_access"
PATTERNS = ["/key/{token_id}/regenerate", "/chat/completions", "/anthropic/*", "/threads/{id}", "/files/{id:path}"]


class Asked:
    """LiteLLM's own function, counted."""

    def __init__(self) -> None:
        self.stock = patching.stock_copy(patching.resolve(TARGET))
        self.times = 0

    def __call__(self, route: str, allowed_routes: Any) -> Any:
        self.times += 1
        return self.stock(route, allowed_routes)


@pytest.fixture
def gate() -> hot.gate.Gate:
    made = hot.gate.Gate("proxy")
    made.switch(True)
    return made


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def owner(asked: Asked) -> Iterator[Any]:
    found = sys.modules["litellm.proxy.auth.route_checks"].RouteChecks
    before = vars(found)["_route_matches_pattern"]
    yield found
    if vars(found)["_route_matches_pattern"] is not before:
        found._route_matches_pattern = before


ROUTES = ["/key/a/regenerate", "/anthropic/v1/messages", "/files/a/b", "/nothing", "/threads/"]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("patterns", [PATTERNS, tuple(PATTERNS)], ids=["list", "tuple"])
def test_the_same_answers_and_asked_twice(
    gate: hot.gate.Gate, asked: Asked, owner: Any, route: str, patterns: Any
) -> None:
    lists = RouteLists(gate, owner, asked)
    expected = asked.stock(route, patterns)
    assert [lists.cover(route, patterns) for _ in range(5)] == [expected] * 5
    assert asked.times == 2


def test_a_list_that_changes_is_another(gate: hot.gate.Gate, asked: Asked, owner: Any) -> None:
    lists, patterns = RouteLists(gate, owner, asked), ["/a/{b}"]
    assert [lists.cover("/c/d", patterns) for _ in range(4)] == [False] * 4
    patterns.append("/c/{d}")
    assert [lists.cover("/c/d", patterns) for _ in range(4)] == [True] * 4
    patterns[1] = "/e"
    assert lists.cover("/c/d", patterns) is False


def test_each_list_has_its_own_answer(gate: hot.gate.Gate, asked: Asked, owner: Any) -> None:
    lists = RouteLists(gate, owner, asked)
    for number in range(2000):
        assert lists.cover("/a", ["/a"] if number % 2 else ["/b"]) is bool(number % 2)
    assert asked.times == 2000


class Text(str):
    """A pattern of a class of its own."""


@pytest.mark.parametrize("patterns", [{"/c/{d}"}, [Text("/c/{d}")], (Text("/c/{d}"),)])
def test_other_containers_are_litellms(gate: hot.gate.Gate, asked: Asked, owner: Any, patterns: Any) -> None:
    lists = RouteLists(gate, owner, asked)
    assert [lists.cover("/c/d", patterns) for _ in range(4)] == [True] * 4
    assert asked.times == 4


def test_a_helper_that_is_replaced_is_called(gate: hot.gate.Gate, asked: Asked, owner: Any) -> None:
    lists = RouteLists(gate, owner, asked)
    assert [lists.cover("/key/a/regenerate", PATTERNS) for _ in range(3)] == [True] * 3
    owner._route_matches_pattern = staticmethod(lambda route, pattern: False)
    assert lists.cover("/key/a/regenerate", PATTERNS) is False
    assert RouteLists(gate, owner, asked).cover("/key/a/regenerate", PATTERNS) is False


def test_nothing_is_remembered_while_switched_off(gate: hot.gate.Gate, asked: Asked, owner: Any) -> None:
    lists = RouteLists(gate, owner, asked)
    gate.switch(False)
    assert [lists.cover("/a", PATTERNS) for _ in range(4)] == [False] * 4
    assert asked.times == 4


def test_only_what_looks_at_its_arguments_alone_is_remembered(owner: Any) -> None:
    assert is_closed(patching.resolve(TARGET), owner)

    def looks_elsewhere(route: str, allowed_routes: Any) -> bool:
        return any(sys.flags.verbose for pattern in allowed_routes)

    def asks_others(route: str, allowed_routes: Any) -> bool:
        return bool(owner.is_management_route(route))

    def imports(route: str, allowed_routes: Any) -> bool:
        import os

        return route in os.environ

    assert not is_closed(looks_elsewhere, owner)
    assert not is_closed(asks_others, owner)
    assert not is_closed(imports, owner)
