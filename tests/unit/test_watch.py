"""Watch: every write is noticed, nothing else is."""

from __future__ import annotations

import importlib
import time
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def watched(hot: Any) -> tuple[Any, ModuleType, type, dict[str, int], list[int]]:
    module = ModuleType("settings")
    module.timeout = 1  # type: ignore[attr-defined]

    class Handler:
        def send(self) -> None: ...

    held, items = {"a": 1}, [1]
    watch = hot("watch").Watch()
    for name, owner in (("module", module), ("class", Handler), ("dict", held), ("list", items)):
        watch.add(name, owner)
    watch.mark()
    return watch, module, Handler, held, items


def test_untouched_is_unchanged(watched: Any) -> None:
    watch = watched[0]
    assert len(watch) == 4
    assert not watch.changed()
    assert watch.differences() == []


@pytest.mark.parametrize("what", ["replaced", "added", "removed", "class", "dict", "append", "item"])
def test_each_kind_of_write_is_noticed_and_named(watched: Any, what: str) -> None:
    watch, module, handler, held, items = watched
    if what == "replaced":
        module.timeout = 2
    elif what == "added":
        module.cache = object()
    elif what == "removed":
        del module.timeout
    elif what == "class":
        handler.send = lambda self: None
    elif what == "dict":
        held["a"] = 2
    elif what == "append":
        items.append(2)
    else:
        items[0] = 2
    expected = {
        "replaced": ("module", "timeout"),
        "added": ("module", "cache"),
        "removed": ("module", "timeout"),
        "class": ("class", "send"),
        "dict": ("dict", "a"),
        "append": ("list", None),
        "item": ("list", None),
    }[what]
    assert watch.changed()
    assert watch.differences() == [expected]
    watch.mark()
    assert not watch.changed()
    assert watch.differences() == []


def test_a_write_of_the_same_object_is_no_difference(watched: Any) -> None:
    watch, module, *_ = watched
    same = module.timeout
    module.timeout = 2
    module.timeout = same
    assert watch.differences() == []


def test_equal_but_other_objects_differ(hot: Any) -> None:
    held = {"callbacks": [1]}
    watch = hot("watch").Watch()
    watch.add("settings", held)
    watch.mark()
    held["callbacks"] = [1]
    assert watch.changed()
    assert watch.differences() == [("settings", "callbacks")]


def test_what_has_no_namespace_is_refused(hot: Any) -> None:
    with pytest.raises(TypeError):
        hot("watch").Watch().add("number", 3)


def test_classes_are_watched_for_some_names_through_their_bases(hot: Any) -> None:
    class Base:
        def hook(self) -> None: ...

    class Derived(Base):
        count = 0

    watched = hot("watch").Classes([Derived], ["hook", "other"])
    for _ in range(3):
        Derived.count += 1
        Base.other_count = Derived.count  # type: ignore[attr-defined]
        assert not watched.changed()
    original = Base.hook
    for owner in (Base, Derived):
        owner.hook = lambda self: None  # type: ignore[method-assign]
        assert watched.changed()
        assert watched.changed(), "until it is undone"
        if owner is Base:
            Base.hook = original  # type: ignore[method-assign]
        else:
            del Derived.hook
        assert not watched.changed()
    Derived.other = None  # type: ignore[attr-defined]  # as good as missing
    assert not watched.changed()
    Derived.other = 1  # type: ignore[attr-defined]
    assert watched.changed()


def test_what_is_taken_is_told_with_what_was_there_and_marked(watched: Any, hot: Any) -> None:
    watch, module, _, held, items = watched
    missing = hot("watch").MISSING
    module.timeout, module.added = 2, 3
    del held["a"]
    items.append(2)
    assert watch.take() == [
        ("list", None, (1,)),
        ("module", "timeout", 1),
        ("module", "added", missing),
        ("dict", "a", 1),
    ]
    assert not watch.changed()
    assert watch.take() == []
    module.timeout = 3
    assert watch.changed()
    assert watch.take() == [("module", "timeout", 2)]


def test_order_and_number_of_keys_do_not_hide_a_value(watched: Any) -> None:
    watch, module, *_ = watched
    module.one, module.two, module.three = object(), object(), object()
    watch.mark()
    first = module.one
    del module.one
    module.one, module.two = first, 5
    assert [key for _, key, _ in watch.take()] == ["two"]
    del module.three
    module.four = 4
    assert sorted(key for _, key, _ in watch.take()) == ["four", "three"]
    assert watch.take() == []


def test_others_are_watched_in_the_place_of_what_is_dropped(watched: Any) -> None:
    watch, module, _, held, items = watched
    for number in range(20):
        watch.drop("dict")
        watch.drop("list")
        watch.drop("unknown")
        held["a"], items[0] = number + 10, number + 10
        assert watch.take() == []
        held, items = {"a": number}, [number]
        watch.add("dict", held)
        watch.add("list", items)
        assert len(watch) == 4
    held["a"], items[0] = 100, 100
    module.timeout = 7
    assert {name for name, *_ in watch.take()} == {"dict", "list", "module"}


def test_many_writes_are_told_too(watched: Any) -> None:
    watch, _, _, held, _ = watched
    for number in range(1000):
        held["a"] = number
    held[1] = 1
    assert watch.take() == [("dict", "a", 1), ("dict", 1, hot_missing(watch))]
    assert not watch.changed()


def hot_missing(watch: Any) -> Any:
    """Return what stands for a missing value in the half that ``watch`` is of."""
    return importlib.import_module(type(watch).__module__).MISSING


@pytest.mark.parametrize("held", [(), ("before", "count", "after")])
def test_attributes_of_an_object_are_watched(hot: Any, held: tuple[str, ...]) -> None:
    class Owner:
        def __init__(self) -> None:
            for name in held:
                setattr(self, name, 0)

        def note(self, number: int) -> None:
            self.count = number

    for _ in range(100):  # CPython keeps an object's attributes in the object where others of its class have shown them
        Owner().note(0)
    owner, watch = Owner(), hot("watch").Watch()
    watch.add("owner", owner)
    assert tuple(vars(owner)) == held
    before = vars(owner).get("count", hot_missing(watch))
    for number in range(1, 5):
        owner.note(number)
        assert watch.changed()
        assert watch.take() == [("owner", "count", before)]
        assert not watch.changed()
        before = number
    assert vars(owner) == {**dict.fromkeys(held, 0), "count": 4}


def test_a_look_costs_little_where_much_is_watched(hot: Any) -> None:
    watch = hot("watch").Watch()
    modules = [ModuleType(str(number)) for number in range(265)]
    for module in modules:
        vars(module).update({f"name{number}": number for number in range(60)})
        watch.add(module.__name__, module)

    def spent() -> float:
        started = time.perf_counter()
        for _ in range(20):
            watch.changed()
        return (time.perf_counter() - started) / 20

    assert min(spent() for _ in range(20)) < 150e-6  # each value compared: more than 400
