"""Watch: every write is noticed, nothing else is."""

from __future__ import annotations

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
