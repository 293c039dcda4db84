"""What LiteLLM writes into a call's arguments, and which of their values may vary."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from litellm_accel._backend import load
from litellm_accel.fastpath import decline
from litellm_accel.fastpath.plans.argument_writes import ArgumentWrites, CallSnapshots, undo
from litellm_accel.fastpath.plans.templates import Unrepeatable

template = load("template")


def watched(metadata: Any, early: Any = None, late: Any = None, **arguments: Any) -> CallSnapshots:
    """A call with ``metadata``, into which ``early`` is written before it is sent, and ``late`` after."""
    shown = CallSnapshots([], {"metadata": metadata, **arguments})
    metadata.update(early or {})
    shown.send()
    metadata.update(late or {})
    shown.succeed(SimpleNamespace())
    return shown


def learned(first: CallSnapshots, second: CallSnapshots, freed: Any = ()) -> ArgumentWrites:
    made = ArgumentWrites(first, second, set(freed))

    def node(one: Any, two: Any, name: Any) -> Any:
        assert one == two
        return (template.CONSTANT, one)

    made.learn_early(node)
    made.learn_late(node)
    made.keep(set())
    return made


def test_what_was_equal_must_be_equal_and_what_differed_is_free() -> None:
    found = learned(
        watched({"id": 1, "same": "s", "in": {"a": [1]}}), watched({"id": 2, "same": "s", "in": {"a": [2]}})
    )
    assert found.read({"metadata": {"id": 3, "same": "s", "in": {"a": [3]}}})[0]["metadata"]["id"] == 3
    assert found.free == {("metadata", "id"), ("metadata", "in", "a", 0)}
    for other, place in (
        ({"id": 3, "same": "t", "in": {"a": [3]}}, "metadata['same']"),
        ({"id": 3, "same": "s", "in": {"a": [3, 4]}}, "metadata['in']['a']"),
        ({"id": 3, "same": "s", "in": {"b": [3]}}, "metadata['in']['b']"),
        ({"id": 3, "same": "s", "in": None}, "metadata['in']"),
        ({"same": "s", "id": 3, "in": {"a": [3]}}, "argument 'metadata'"),
        ({"id": 3, "same": "s", "in": {"a": [3]}, "more": 1}, "metadata['more']"),
        ({"id": 3, "in": {"a": [3]}}, "metadata['same']"),
    ):
        assert decline.place(found.read({"metadata": other})) == place


def test_what_earlier_calls_have_freed_stays_free() -> None:
    calls = [{"id": number, "user": user} for number, user in ((1, "a"), (2, "a"), (3, "b"))]
    first, second, third = (watched(call) for call in calls)
    assert learned(first, second).read({"metadata": calls[2]}) == ("metadata", "user")
    again = learned(first, third, {("metadata", "id"), ("metadata", "user")})
    assert type(again.read({"metadata": {"id": 1, "user": "a"}})) is list


def test_one_thing_at_two_places_must_be_one_thing() -> None:
    one, two = {"n": 1}, {"n": 2}
    found = learned(watched({"a": one, "b": one}), watched({"a": two, "b": two}))
    both = {"n": 3}
    assert type(found.read({"metadata": {"a": both, "b": both}})) is list
    assert found.read({"metadata": {"a": both, "b": {"n": 3}}}) == ("metadata", "b")
    apart = learned(watched({"a": {"n": 1}, "b": {"n": 1}}), watched({"a": {"n": 2}, "b": {"n": 2}}))
    assert apart.read({"metadata": {"a": both, "b": both}}) == ("metadata", "b")


def test_values_that_were_not_told_apart_must_be_equal() -> None:
    found = learned(watched({"a": "x", "b": "x"}), watched({"a": "y", "b": "y"}))
    assert found.path("x", "y") == ("metadata", "a")
    assert found.path("x", "x") is None
    assert type(found.read({"metadata": {"a": "z", "b": "z"}})) is list
    assert found.read({"metadata": {"a": "z", "b": "w"}}) == ("metadata", "a")


def test_what_is_written_is_written_in_order_and_can_be_taken_back() -> None:
    early, late = {"group": "g", "kept": 1}, {"windows": (), "group": "h"}
    found = learned(watched({"id": 1, "kept": 0}, early, late), watched({"id": 2, "kept": 0}, early, late))
    metadata = {"id": 3, "kept": 0}
    objects = found.read({"metadata": metadata})
    assert type(objects) is list
    done = found.write_early(objects, {})
    assert list(metadata.items()) == [("id", 3), ("kept", 1), ("group", "g")]
    done += found.write_late(objects, {})
    assert list(metadata.items()) == [("id", 3), ("kept", 1), ("group", "h"), ("windows", ())]
    undo(done)
    assert metadata == {"id": 3, "kept": 0}


def test_what_somebody_else_has_written_since_is_not_taken_back() -> None:
    found = learned(watched({"id": 1}, {"group": "g"}), watched({"id": 2}, {"group": "g"}))
    metadata = {"id": 3}
    done = found.write_early(found.read({"metadata": metadata}) or [], {})
    metadata["group"] = "other"
    undo(done)
    assert metadata == {"id": 3, "group": "other"}


@pytest.mark.parametrize("name", ["model_info", "deployment", "model_group", "routing_decision"])
def test_metadata_that_steer_a_call_may_not_vary(name: str) -> None:
    with pytest.raises(Unrepeatable):
        learned(watched({name: "a"}), watched({name: "b"}))
    written = {name: "c"}
    assert learned(watched({name: "a"}, written), watched({name: "b"}, written))


def test_changes_that_are_no_writing_are_not_learned() -> None:
    def taken(number: int) -> CallSnapshots:
        metadata = {"id": number, "function": 1}
        shown = CallSnapshots([], {"metadata": metadata})
        del metadata["function"]
        shown.send()
        shown.succeed(SimpleNamespace())
        return shown

    def grown(number: int) -> CallSnapshots:
        metadata: dict[str, Any] = {"id": number, "list": []}
        shown = CallSnapshots([], {"metadata": metadata})
        metadata["list"].append(1)
        shown.send()
        shown.succeed(SimpleNamespace())
        return shown

    for make in (taken, grown):
        with pytest.raises(Unrepeatable):
            learned(make(1), make(2))
