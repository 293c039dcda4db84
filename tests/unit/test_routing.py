"""The parts of the routing module that need no LiteLLM."""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import pytest


@pytest.fixture
def routing(hot: Callable[[str], ModuleType]) -> ModuleType:
    return hot("routing")


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 17, 21, 22, 64, 65, 1000, 1024, 5000])
def test_shuffled_is_what_sample_gives(routing: ModuleType, count: int) -> None:
    ours, theirs = random.Random(count), random.Random(count)
    for _ in range(5):
        assert routing.shuffled(ours, count) == theirs.sample(range(count), count)
        assert ours.getstate() == theirs.getstate()


def test_shuffled_by_a_generator_of_another_kind(routing: ModuleType) -> None:
    class Own(random.Random):
        def getrandbits(self, count: int) -> int:
            return super().getrandbits(count) ^ 1

    ours, theirs = Own(7), Own(7)
    for _ in range(5):
        assert routing.shuffled(ours, 100) == theirs.sample(range(100), 100)
    assert ours.getstate() == theirs.getstate()


def test_nothing_shuffled_draws_nothing(routing: ModuleType) -> None:
    source = random.Random(1)
    before = source.getstate()
    assert routing.shuffled(source, 0) == []
    assert source.getstate() == before


@pytest.mark.parametrize(
    "write",
    [
        lambda held: held.update(a=2),
        lambda held: held.pop("a"),
        lambda held: held.clear(),
        lambda held: held.setdefault("b", 1),
        lambda held: held.__setitem__("a", 1.0),
        lambda held: held.__ior__({"c": 1}),
    ],
)
def test_snapshot_sees_every_write(routing: ModuleType, write: Callable[[dict[str, object]], object]) -> None:
    first, second = {"a": 1}, {"a": 1}
    snapshot = routing.Snapshot([first, second])
    assert not snapshot.changed()
    write(second)
    assert snapshot.changed()
    assert snapshot.changed()


def test_snapshot_of_something_else(routing: ModuleType) -> None:
    with pytest.raises(TypeError, match="a snapshot is of dicts, got list"):
        routing.Snapshot([[]])


def test_a_snapshot_notices_writes_to_a_dict_of_somebodys_own(routing: ModuleType) -> None:
    """LiteLLM keeps the prices of models that have several names in one."""

    class Entry(dict[str, int]):
        pass

    held = Entry(price=1)
    snapshot = routing.Snapshot([held])
    assert not snapshot.changed()
    held["price"] = 2
    assert snapshot.changed()


def test_snapshot_keeps_its_dicts_alive_and_lets_go(routing: ModuleType) -> None:
    held: dict[str, int] = {}
    before = sys.getrefcount(held)
    snapshot = routing.Snapshot([held])
    assert sys.getrefcount(held) == before + 1
    del snapshot
    gc.collect()
    assert sys.getrefcount(held) == before


def test_a_router_of_another_class_is_declined(routing: ModuleType, hot: Callable[[str], ModuleType]) -> None:
    gate_module = hot("gate")
    gate = gate_module.Gate("routing")
    levels = SimpleNamespace(_cache={20: False, 10: False}, isEnabledFor=lambda level: False)
    reader = SimpleNamespace(
        router_type=dict,
        cache_type=dict,
        memory_type=dict,
        cache_fields=frozenset(),
        memory_fields=frozenset(),
        callback_type=dict,
        no_filter=None,
        code=[],
        litellm={},
        logging={},
        router_log=levels,
        log=levels,
        random=random.Random(1),
    )
    chooser = routing.Chooser(gate, reader)
    assert chooser.choose(object(), "chat") is gate_module.DECLINED
    assert chooser.listed(object(), "chat") is gate_module.DECLINED
    assert gate.declined == {"a subclass of Router": 2}
