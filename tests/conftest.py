"""Fixtures that run a test over both implementations of the hot modules."""

from __future__ import annotations

import gc
import importlib
import os
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # LiteLLM must not look for prices on the network

from litellm_accel import _backend, settings


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Close what hypothesis leaves: generators that would be closed in the midst of another test's call.

    What a file leaves behind is frozen. Each collection walked all of that, and LiteLLM, for most of the tests' time.
    """
    if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
        gc.collect()
    yield
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def cache_directory(tmp_path_factory: pytest.TempPathFactory) -> None:
    """An empty directory for caches: records of the user's own would change what is served."""
    found = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    os.environ.setdefault("PIP_CACHE_DIR", os.path.join(found, "pip"))  # what is downloaded may stay where it is
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


def _compiled_is_missing(name: str) -> str | None:
    try:
        importlib.import_module(f"litellm_accel._cy.{name}")
    except ImportError as error:
        return str(error)
    return None


@pytest.fixture(params=["compiled", "pure"])
def backend(request: pytest.FixtureRequest) -> str:
    """The implementation under test; compiled is skipped only where the whole run is pure."""
    if request.param == "compiled" and settings.pure():
        pytest.skip("this run is pure")
    kind: str = request.param
    return kind


@pytest.fixture
def hot(backend: str) -> Callable[[str], ModuleType]:
    """Return a function that imports a hot module in the implementation under test."""

    def load(name: str) -> ModuleType:
        if backend == "compiled" and (problem := _compiled_is_missing(name)):
            pytest.fail(f"compiled module {name} does not import: {problem}")
        _backend.load(name)  # which a test may put this one in the place of
        return importlib.import_module(f"litellm_accel.{'_cy' if backend == 'compiled' else '_py'}.{name}")

    return load


@pytest.fixture
def thawed() -> None:
    """Have the garbage collector know all objects again, for a test that looks at them."""
    gc.unfreeze()


@pytest.fixture(scope="module")
def provider() -> Iterator[Any]:
    """The embedded provider, running."""
    from litellm_accel.provider import Provider

    with Provider() as running:
        yield running


@pytest.fixture(scope="session")
def imported() -> Iterator[Any]:
    """A process that has imported LiteLLM, to run programs in forks of it."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    from forked import Imported

    with Imported() as process:
        yield process


@pytest.fixture
def restored() -> Iterator[None]:
    """Give LiteLLM back after the test, whatever happened in it."""
    import litellm_accel

    yield
    litellm_accel.restore()
    litellm_accel.reset_errors()


def pytest_report_header() -> list[str]:
    kinds = {name: chosen.kind for name, chosen in _backend.backend().items()}
    return [f"litellm-accel backends: {kinds}"]
