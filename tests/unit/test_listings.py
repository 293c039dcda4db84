"""What is remembered of a router beside its model groups."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from litellm_accel.fastpath import decline
from litellm_accel.routing import listings
from litellm_accel.routing.listings import Listings


class Patterns:
    def __init__(self, **patterns: Any) -> None:
        self.patterns = patterns


def deployment(name: str, model: str, **info: Any) -> dict[str, Any]:
    return {"model_name": name, "litellm_params": {"model": model}, "model_info": {"id": name, **info}}


@pytest.fixture
def made() -> Listings:
    return Listings(Patterns, lambda name: "openai")


def test_a_roster_is_made_anew_when_the_list_or_a_deployment_changes(made: Listings) -> None:
    models = [
        deployment("a", "x"),
        deployment("b", "y", team_id="t", team_public_model_name="b2"),
        deployment("c", "x"),
    ]
    roster = made.roster(models)
    assert roster.owners == {"x": [0, 2], "y": [1]}
    assert {"a", "b", "c", ("t", "b2")} <= roster.names
    assert made.roster(models) is roster
    models[2]["litellm_params"]["model"] = "z"
    edited = made.roster(models)
    assert edited is not roster and edited.owners == {"x": [0], "y": [1], "z": [2]}
    models.pop()
    assert made.roster(models).names == {"a", "b", ("t", "b2"), (None, None)}


def test_a_name_is_matched_as_it_is_and_with_its_provider(made: Listings) -> None:
    models = [deployment("openai/*", "openai/*")]
    source = Patterns(**{"openai/.*": models})
    bare, whole = made.matching(source, None, "gpt"), made.matching(source, None, "openai/gpt")
    assert bare is whole and bare is not None and (bare.asked, bare.models) == ("openai/gpt", models)
    bare.groups["gpt"] = "made of the bare name"  # what a group is called counts: each name has its own
    assert "openai/gpt" not in bare.groups
    source.patterns["none.*"] = None
    assert made.matching(source, None, "gpt") is not bare, "the patterns have changed"
    source.patterns["odd.*"] = ()
    with pytest.raises(decline.Unserved) as refused:
        made.matching(source, None, "odd")
    assert refused.value.args == (decline.PATTERN_TYPE,)
    with pytest.raises(decline.Unserved):
        made.matching(SimpleNamespace(patterns={}), None, "gpt")


def test_made_up_names_are_forgotten(made: Listings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listings, "_MOST_NAMES", 10)
    source = Patterns()
    for number in range(100):
        assert made.matching(source, None, f"name {number}") is None
    assert len(made._patterns[None]._matches) <= 12


def test_a_deployment_by_its_id_is_a_copy_of_what_stock_makes_of_it(made: Listings) -> None:
    class Router:
        parsed = 0

        def get_deployment(self, model_id: str) -> Any:
            self.parsed += 1
            return SimpleNamespace(model_dump=lambda exclude_none: deployment(model_id, "x"))

    router, listed = Router(), deployment("a", "x")
    one, two = (made.deployment(router, "a", listed) for _ in range(2))
    assert one == two == deployment("a", "x") and one is not two and one["model_info"] is not two["model_info"]
    assert router.parsed == 1
    listed["model_info"]["tier"] = "free"
    made.deployment(router, "a", listed)
    assert router.parsed == 2
