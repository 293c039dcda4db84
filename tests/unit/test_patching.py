"""Patching: every way to reach a function is caught, nothing about it changes, and all of it is undone exactly."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import pickle
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest

from litellm_accel import patching

SOURCE = '''
import functools

def plain(a, b=2, /, c=3, *rest, d, e=5, **more):
    """Doc."""
    return ("stock", a, b, c, rest, d, e, more)

async def coroutine(a, *, b: int = 2) -> int:
    return ("stock", a, b)

def generator():
    yield 1

def make(one, two):
    def inner(a=1):
        return (one, two, a)
    return inner

closure = make("one", "two")
closure.__qualname__ = closure.__name__ = "closure"

class Thing:
    def method(self, a=1):
        return ("stock", self, a)

def wrap(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper

@wrap
def wrapped(a, b=2):
    return ("stock", a, b)

constant = 3
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    folder = tmp_path / "victim"
    folder.mkdir()
    (folder / "__init__.py").write_text("from victim.core import plain\n")
    (folder / "core.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("victim.core")
    for name in [name for name in sys.modules if name.partition(".")[0] == "victim"]:
        del sys.modules[name]


def _record(*args: Any, **kwargs: Any) -> tuple[str, Any, Any]:
    return "accelerated", args, kwargs


def test_all_references_reach_the_implementation_and_undo_is_exact(package: ModuleType) -> None:
    early = package.plain
    code = early.__code__
    patch = patching.Patch(patching.resolve("victim.core:plain"), _record)
    patching.install([patch])
    expected = ("accelerated", (1, 2, 3), {"d": 4, "e": 5})
    assert early(1, d=4) == expected
    assert package.plain(1, d=4) == expected
    assert sys.modules["victim"].plain(1, d=4) == expected
    assert early(1, 7, 8, 9, d=4, z=6) == ("accelerated", (1, 7, 8, 9), {"d": 4, "e": 5, "z": 6})
    assert patching.uninstall([patch]) == []
    assert package.plain is early and early.__code__ is code
    assert early(1, d=4) == ("stock", 1, 2, 3, (), 4, 5, {})


def test_what_can_be_asked_of_a_function_stays_the_same(package: ModuleType) -> None:
    function = package.plain
    alive = weakref.ref(function)

    def asked() -> dict[str, Any]:
        return {
            "signature": inspect.signature(function),
            "source": inspect.getsource(function),
            "doc": function.__doc__,
            "names": (function.__name__, function.__qualname__, function.__module__),
            "coroutine": inspect.iscoroutinefunction(function),
            "pickle": pickle.dumps(function),
            "identity": id(function),
            "weakref": alive() is function,
            "code names": (function.__code__.co_name, function.__code__.co_filename, function.__code__.co_firstlineno),
        }

    before = asked()
    patch = patching.Patch(function, _record)
    patching.install([patch])
    assert asked() == before
    with pytest.raises(TypeError, match=r"plain\(\) missing 1 required positional argument: 'a'"):
        function(d=1)
    patching.uninstall([patch])
    assert asked() == before


def test_coroutine_functions_stay_coroutine_functions(package: ModuleType) -> None:
    async def accelerated(a: int, *, b: int) -> tuple[str, int, int]:
        return "accelerated", a, b

    patch = patching.Patch(package.coroutine, accelerated)
    patching.install([patch])
    assert inspect.iscoroutinefunction(package.coroutine)
    assert asyncio.run(package.coroutine(1)) == ("accelerated", 1, 2)
    patching.uninstall([patch])
    assert asyncio.run(package.coroutine(1)) == ("stock", 1, 2)


def test_methods_closures_and_decorated_functions(package: ModuleType) -> None:
    thing = package.Thing()
    bound_early = thing.method
    functions = [package.Thing.method, package.closure, patching.resolve("victim.core:wrapped")]
    stock = [patching.stock_copy(function) for function in functions]
    patches = [patching.Patch(function, _record) for function in functions]
    patching.install(patches)
    assert bound_early() == ("accelerated", (thing, 1), {})
    assert package.closure() == ("accelerated", (1,), {})
    assert package.wrapped(5) == ("accelerated", (5,), {})
    assert str(inspect.signature(package.wrapped)) == "(a, b=2)"
    assert stock[0](thing) == ("stock", thing, 1)
    assert stock[1](a=4) == ("one", "two", 4)
    assert stock[2](5) == ("stock", 5, 2)
    patching.uninstall(patches)
    assert package.closure() == ("one", "two", 1)
    assert bound_early() == ("stock", thing, 1)


def test_install_is_all_or_nothing(package: ModuleType) -> None:
    first, second = patching.Patch(package.plain, _record), patching.Patch(package.closure, _record)
    package.closure.__code__ = package.make(1, 2).__code__.replace(co_firstlineno=99)
    with pytest.raises(patching.PatchError, match="changed by somebody else"):
        patching.install([first, second])
    assert package.plain.__code__ is first.original


def test_undo_leaves_code_that_somebody_put_over_ours(package: ModuleType) -> None:
    patch = patching.Patch(package.plain, _record)
    patching.install([patch])
    theirs = patch.replacement.replace(co_firstlineno=7)
    package.plain.__code__ = theirs
    assert patching.uninstall([patch]) == ["plain"]
    assert package.plain.__code__ is theirs


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("victim.core:missing", "does not exist"),
        ("victim.nowhere:plain", "does not exist"),
        ("victim.core:Thing.missing", "does not exist"),
        ("victim.core:constant", "is a int"),
        ("victim.core:Thing", "is a type"),
        ("victim.core:plain", "has been replaced"),
    ],
)
def test_what_is_not_litellms_own_plain_function_is_refused(package: ModuleType, target: str, message: str) -> None:
    package.plain = lambda: None
    with pytest.raises(patching.PatchError, match=message):
        patching.resolve(target)


def test_a_wrapper_that_poses_as_the_function_is_refused(package: ModuleType) -> None:
    import functools

    @functools.wraps(package.plain)
    def instrumented(*args: Any, **kwargs: Any) -> Any:
        return None

    package.plain = instrumented
    with pytest.raises(patching.PatchError, match=r"has been replaced by code in .*test_patching"):
        patching.resolve("victim.core:plain")


def test_generators_are_refused(package: ModuleType) -> None:
    with pytest.raises(patching.PatchError, match="generator"):
        patching.Patch(package.generator, _record)


def test_trampolines_add_no_name_to_the_functions_module(package: ModuleType) -> None:
    names = set(vars(package))
    patch = patching.Patch(package.plain, _record)
    patching.install([patch])
    package.plain(1, d=2)
    assert set(vars(package)) == names
    patching.uninstall([patch])


def test_stock_copy_keeps_attributes(package: ModuleType) -> None:
    function: FunctionType = package.wrapped
    copy = patching.stock_copy(function)
    assert copy.__wrapped__ is function.__wrapped__  # type: ignore[attr-defined]
    assert (copy.__name__, copy.__qualname__, copy.__module__) == ("wrapped", "wrapped", "victim.core")


def test_a_shared_patch_is_in_force_while_anybody_holds_it(package: ModuleType) -> None:
    code = package.plain.__code__
    shared = patching.Shared(package.plain, lambda stock: lambda *args, **kwargs: ("over", stock(*args, **kwargs)[0]))
    with shared:
        with shared:
            assert package.plain(1, d=4) == ("over", "stock")
        assert package.plain(1, d=4) == ("over", "stock")
    assert package.plain.__code__ is code
    other = patching.Patch(package.plain, _record)
    other.apply()
    with shared:
        assert package.plain(1, d=4) == ("over", "accelerated")
    assert package.plain(1, d=4)[0] == "accelerated"
    other.undo()
    with pytest.raises(KeyError), shared:
        raise KeyError
    assert package.plain.__code__ is code


def test_threads_that_ask_at_once_share_one_patch(package: ModuleType) -> None:
    """Two patches over each other would be undone in the wrong order, and one of them would stay for good."""
    first = patching.shared(package.plain, lambda stock: stock)
    assert patching.shared(package.plain, lambda stock: stock) is first
    assert patching.shared(package.wrapped, lambda stock: stock) is not first
