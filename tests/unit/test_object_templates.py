"""Objects that come out the same each time, made without being validated anew."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, PrivateAttr

from litellm_accel.gateway.object_templates import Differing, ObjectTemplate, demand_own


class Role(enum.Enum):
    ADMIN = "admin"


class Part(BaseModel):
    name: str | None = None


class Whole(BaseModel):
    model_config = ConfigDict(extra="allow")
    number: float = 1.0
    role: Role = Role.ADMIN
    held: list[Any] = []
    more: dict[str, Any] = {}
    part: Part | None = None
    _own: dict[str, int] = PrivateAttr(default_factory=dict)


def made() -> Whole:
    whole = Whole(held=[1, {"a": []}], more={"b": [Part(name="c")]}, part=Part(), extra=[])  # type: ignore[call-arg]
    whole._own["d"] = 1
    return whole


def test_objects_are_equal_and_share_nothing() -> None:
    template = ObjectTemplate(made(), made(), frozenset(("number",)))
    one, two = template.make({"number": 2.0}), template.make({"number": 3.0})
    assert (one.number, two.number) == (2.0, 3.0)
    one.number = two.number = 1.0
    for whole in (one, two):
        assert whole == made()
        assert list(vars(whole)) == list(vars(made()))
        assert whole.model_fields_set == made().model_fields_set | {"number"}
        assert whole._own == {"d": 1}
    demand_own(one, two)
    one.held[1]["a"].append(1)
    one.more["b"].clear()
    one._own.clear()
    one.part.name = "e"
    assert two == made()


@pytest.mark.parametrize(
    "change",
    [
        lambda whole: setattr(whole, "number", 2.0),
        lambda whole: setattr(whole, "held", [1, {"a": [2]}]),
        lambda whole: setattr(whole, "held", (1,)),
        lambda whole: setattr(whole, "part", Part(name="other")),
        lambda whole: setattr(whole, "part", None),
        lambda whole: setattr(whole, "another", 1),
        lambda whole: whole.more.update(z=1),
        lambda whole: whole._own.update(z=1),
        lambda whole: whole.model_fields_set.clear(),
    ],
)
def test_objects_that_differ_are_none_to_repeat(change: Callable[[Whole], Any]) -> None:
    other = made()
    change(other)
    with pytest.raises(Differing):
        ObjectTemplate(made(), other)


def test_what_is_shared_may_change() -> None:
    one, other = made(), made()
    other.held = one.held
    with pytest.raises(Differing):
        demand_own(one, other)
