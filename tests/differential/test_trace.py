"""What a watched call ran through, and that nobody who stands in it goes unnoticed, in releases never seen as well."""

from __future__ import annotations

import asyncio
import ctypes
import dis
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import litellm
import pytest

from litellm_accel.provider import Provider
from litellm_accel.stock import trace
from litellm_accel.stock.guard import is_stock
from litellm_accel.stock.trace import Trace

TESTS = Path(__file__).parents[1]
# A module that no list knows, and how LiteLLM's way leads through it.
RENEWED = """
class Base:
    def note(self):
        return type(self).__name__

    @staticmethod
    def fixed():
        return 0


class Renewer(Base):
    def begin(self):
        return self.note(), self.fixed()


KEPT = Renewer()


def helper():
    return KEPT.begin()
"""
CHANGED = """

from litellm import _renewed

_function_setup = function_setup


def function_setup(*args, **kwargs):
    _renewed.helper()
    return _function_setup(*args, **kwargs)
"""
PLACES = ("helper", "KEPT", "KEPT.begin", "Renewer", "Renewer.begin", "Renewer.note", "Base.note", "Renewer.fixed")
WRAPPERS = ("mock", "wrapt", "contextmanager")
SCRIPT = """
import asyncio, contextlib, functools, json, operator, sys
from unittest import mock

import litellm
import wrapt
from litellm import _renewed

from fastpath_switch import Switch, without_callbacks
from litellm_accel.stock import releases

releases.strange = lambda modules: None  # what is not known is not served as soon
litellm.suppress_debug_info = True
url, mode, places, wrappers, profiled = json.loads(sys.argv[1])
if profiled:
    sys.setprofile(lambda *args: None)
count = 0


def counted(stock, kind):
    def spy(*args, **kwargs):
        global count
        count += 1
        return stock(*args, **kwargs)

    def wrapper(stock, instance, args, kwargs):
        return spy(*args, **kwargs)

    @contextlib.contextmanager
    def around():
        global count
        count += 1
        yield

    if kind == "mock":
        return mock.Mock(wraps=stock, side_effect=lambda *args, **kwargs: (spy(), mock.DEFAULT)[1])
    if kind == "wrapt":
        return wrapt.FunctionWrapper(stock, wrapper)
    return around()(stock) if kind == "contextmanager" else functools.wraps(stock)(spy)


def spied(place, kind):
    owner, _, name = place.rpartition(".")
    held = operator.attrgetter(owner)(_renewed) if owner else _renewed
    stock = getattr(held, name)
    if place == "KEPT":
        return mock.patch.object(held, name, mock.Mock(wraps=stock, begin=counted(stock.begin, "function")))
    if place == "Renewer":
        return mock.patch.object(stock, "begin", counted(stock.begin, kind))
    made = counted(stock, kind)
    return mock.patch.object(held, name, staticmethod(made) if place == "Renewer.fixed" else made)


def calls(number):
    if mode == "sync":
        for _ in range(number):
            litellm.completion(**given)
        return

    async def all_of_them():
        for _ in range(number):
            await litellm.acompletion(**given)

    asyncio.run(all_of_them())


given = {"model": "openai/gpt-4o-mini", "api_key": "k", "api_base": url}
given["messages"] = [{"role": "user", "content": "Hi"}]
cases = [*(("helper", kind) for kind in wrappers), *((place, "function") for place in places if place != "helper")]
found = {}
with without_callbacks():
    for place, kind in cases:
        switch = Switch(pooled=False)
        gate, steps = switch.gate, []
        with switch.on():
            for patched in (nullcontext := contextlib.nullcontext(), spied(place, kind), nullcontext):
                with patched:
                    before, count = gate.served, 0
                    calls(4)
                    steps.append([gate.served - before, count])
        with Switch(pooled=False).on() as pipeline, spied(place, kind):
            count = 0
            calls(4)
            steps.append([pipeline.gate.served, count])
            steps.append([reason for reason in pipeline.gate.declined if "stands among" in reason])
        found[f"{place} {kind}"] = steps
        assert not gate.faults and not pipeline.gate.faults, (gate.last_fault, pipeline.gate.last_fault)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def unknown_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the installed LiteLLM in it, in which one module is new and one changed."""
    folder = tmp_path_factory.mktemp("unknown")
    stock, made = Path(str(litellm.__file__)).parent, folder / "litellm"
    made.mkdir()
    for path in stock.iterdir():
        if path.name == "__pycache__":
            shutil.copytree(path, made / path.name)
        elif path.name != "utils.py":
            (made / path.name).symlink_to(path)
    (made / "utils.py").write_text((stock / "utils.py").read_text(encoding="utf-8") + CHANGED, encoding="utf-8")
    (made / "_renewed.py").write_text(RENEWED, encoding="utf-8")
    return folder


def played(provider: Provider, folder: Path, mode: str, places: Any, wrappers: Any, profiled: bool = False) -> Any:
    paths = [str(folder), str(TESTS), str(TESTS.parent)]
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps([provider.url, mode, places, wrappers, profiled])],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("mode", "places", "wrappers"),
    [("async", PLACES, ["function"]), ("async", ["helper"], WRAPPERS), ("sync", PLACES[:3], ["function"])],
    ids=["places", "wrappers", "sync"],
)
def test_whoever_stands_in_a_module_of_an_unknown_release_is_called(
    provider: Provider, unknown_release: Path, mode: str, places: Sequence[str], wrappers: Sequence[str]
) -> None:
    found = played(provider, unknown_release, mode, places, wrappers)
    assert len(found) == len(places) + len(wrappers) - 1
    for case, (before, patched, after, first, reasons) in found.items():
        assert before[0] >= 2, case  # the first call of the process makes what later ones find
        assert patched == [0, 4], case
        assert after[0] >= 2, case
        assert first == [0, 4], case  # patched before anything was learned
        assert len({reason.partition(": ")[2] for reason in reasons}) == 1, case


def test_what_a_profiler_has_is_left_to_it(provider: Provider, unknown_release: Path) -> None:
    """Traced where monitoring tools are; else LiteLLM's listed modules are watched alone."""
    found = played(provider, unknown_release, "async", ["helper"], ["function"], profiled=True)
    (before, patched, *_), is_traced = found["helper function"], sys.version_info >= (3, 12)
    assert before[0] >= 2
    assert (patched == [0, 4]) is is_traced


def mocked(model: str = "openai/gpt-4o-mini") -> Any:
    """A call that LiteLLM answers by itself."""
    messages = [{"role": "user", "content": "Hi"}]
    return litellm.acompletion(model=model, messages=messages, mock_response="Hello", api_key="k")


async def test_what_others_run_meanwhile_is_none_of_the_calls() -> None:
    await mocked()
    alone = Trace()
    await alone.arun(mocked())
    assert "litellm.main" in alone.owners(set())
    assert "litellm.litellm_core_utils.litellm_logging:Logging" in alone.owners(set())
    assert not any(owner.startswith("httpx._urls") for owner in alone.owners(set()))
    is_over = False

    def in_thread() -> None:
        while not is_over:
            httpx.URL("http://thread")

    async def in_task() -> None:
        while True:
            httpx.URL("http://task")
            await asyncio.sleep(0)

    thread, task = threading.Thread(target=in_thread), asyncio.create_task(in_task())
    thread.start()
    try:
        among = Trace()
        await among.arun(mocked())
    finally:
        is_over = True
        task.cancel()
        thread.join()
    assert among.owners(set()) == alone.owners(set())
    assert among.stranger is None and among.fault is None


def standing_before() -> int:
    """The address of what evaluates Python's functions."""
    interpreter = ctypes.pythonapi.PyInterpreterState_Get
    evaluating = ctypes.pythonapi._PyInterpreterState_GetEvalFrameFunc
    interpreter.restype = evaluating.restype = ctypes.c_void_p
    evaluating.argtypes = [ctypes.c_void_p]
    return int(evaluating(interpreter()))


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Neither a profile function nor a monitoring tool is left behind, nor what stands before the evaluation."""

    def taken() -> Any:
        tools = [sys.monitoring.get_tool(tool) for tool in range(6)] if sys.version_info >= (3, 12) else []
        return sys.getprofile(), tools, standing_before()

    before = taken()
    yield
    assert taken() == before


async def test_errors_and_cancellation_pass(nothing_left: None) -> None:
    error = ValueError("own")
    steps = []

    async def fails() -> None:
        await asyncio.sleep(0)
        raise error

    with pytest.raises(ValueError) as raised:
        await Trace().arun(fails())
    assert raised.value is error and error.__context__ is None

    async def waits() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            steps.append("cancelled")
            await asyncio.sleep(0)
            steps.append("waited")
            raise
        return "never"

    task = asyncio.create_task(Trace().arun(waits()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["cancelled", "waited"]

    abandoned = Trace().arun(waits())
    abandoned.send(None)
    abandoned.close()
    assert steps == ["cancelled", "waited"]


# CPython collects garbage where it makes a generator, whose own frame is not to be seen yet.
COLLECTING = """
import gc
from types import FunctionType

from litellm_accel.stock.trace import Trace


def generator(number):
    yield number


def collected(*phase):  # by a new function each time
    gc.callbacks[:] = [FunctionType(collected.__code__.replace(), globals())]


def many():
    for number in range(300):
        for one in [generator(each) for each in range(5)]:
            next(one)


gc.callbacks.append(collected)
gc.set_threshold(1)
Trace().run(many)
gc.callbacks.clear()
"""


def test_garbage_may_be_collected_anywhere() -> None:
    debugging = {**os.environ, "PYTHONMALLOC": "debug"}  # what is freed twice is found
    subprocess.run([sys.executable, "-c", COLLECTING], env=debugging, check=True, timeout=60)


def test_a_trace_in_another_is_not_heard(nothing_left: None) -> None:
    outer, inner = Trace(), Trace()
    outer.run(inner.run, litellm.get_llm_provider, "openai/gpt-4o-mini")
    assert "litellm.litellm_core_utils.get_llm_provider_logic" in outer.owners(set())
    assert not inner.owners(set())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_in_the_middle_of_a_trace_leaves_nothing(nothing_left: None) -> None:
    """Of a trace in the thread that has forked, and of one in another, which the child does not have."""
    before = standing_before()
    is_traced, is_over = threading.Event(), threading.Event()

    def forks() -> int:
        return os.fork()

    def waits() -> None:
        is_traced.set()
        is_over.wait()

    other = threading.Thread(target=Trace().run, args=(waits,))
    other.start()
    is_traced.wait()
    child = Trace().run(forks)
    if not child:
        os._exit(0 if standing_before() == before and Trace().run(lambda: 1) == 1 else 1)
    _, status = os.waitpid(child, 0)
    is_over.set()
    other.join()
    assert status == 0


async def test_places_of_others_are_left_to_them() -> None:
    def profile(*args: Any) -> None:
        """Somebody's."""

    made = Trace()
    if sys.version_info >= (3, 12):
        free = [tool for tool in (3, 4) if sys.monitoring.get_tool(tool) is None]
        for tool in free:
            sys.monitoring.use_tool_id(tool, "somebody's")
        try:
            await made.arun(mocked())
            assert {sys.monitoring.get_tool(tool) for tool in free} == {"somebody's"}
        finally:
            for tool in free:
                sys.monitoring.free_tool_id(tool)
    else:
        sys.setprofile(profile)
        try:
            await made.arun(mocked())
            assert sys.getprofile() is profile
        finally:
            sys.setprofile(None)
    assert not made.owners(set())


async def test_special_methods_of_what_a_call_passes_stand_in_nobodys_way() -> None:
    class Model(str):
        def __hash__(self) -> int:
            return str.__hash__(self)

        def __eq__(self, other: object) -> bool:
            return str.__eq__(self, other)

    made = Trace()
    await made.arun(mocked(Model("openai/gpt-4o-mini")))
    assert made.stranger is None
    assert "litellm.main" in made.owners(set())


@pytest.mark.skipif("BINARY_SUBSCR" not in dis.opmap, reason="subscriptions are another instruction")
def test_a_special_method_that_is_subscribed_may_have_any_name() -> None:
    def named(held: Any, key: str) -> str:
        return key

    class Held:
        __getitem__ = member = named

    names: dict[str, Any] = {"__name__": "litellm.main"}
    source = "def subscribed(held): return held['a']\ndef called(held): return held.member('a')\n"
    exec(compile(source, litellm.main.__file__, "exec"), names)
    for name, stranger in (("subscribed", None), ("called", f"{__name__}.named")):
        made = Trace()
        assert made.run(names[name], Held()) == "a"
        assert made.stranger == stranger


async def test_a_fault_of_the_trace_is_kept_from_the_call(monkeypatch: pytest.MonkeyPatch, nothing_left: None) -> None:
    def broken(*args: Any) -> Any:
        raise RuntimeError("injected")

    monkeypatch.setattr(trace, "_known", {})
    monkeypatch.setattr(trace, "origin", broken)
    made = Trace()
    result = await made.arun(mocked())
    assert result.choices[0].message.content == "Hello"
    assert str(made.fault) == "injected"


async def test_so_is_one_in_switching_it_on_or_off(monkeypatch: pytest.MonkeyPatch, nothing_left: None) -> None:
    def broken(*args: Any) -> Any:
        raise RuntimeError("injected")

    for name in ("open", "on"):
        with monkeypatch.context() as patched:
            patched.setattr(type(trace._hook), name, broken)
            made = Trace()
            result = await made.arun(mocked())
        assert result.choices[0].message.content == "Hello"
        assert str(made.fault) == "injected"


async def test_whoever_writes_log_records_is_not_on_the_calls_way(caplog: pytest.LogCaptureFixture) -> None:
    class Shipping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            shipped.append(httpx.URL("http://logs"))

    shipped: list[Any] = []
    handler = Shipping()
    litellm.verbose_logger.addHandler(handler)
    try:
        with caplog.at_level(logging.DEBUG, "LiteLLM"):
            made = Trace()
            await made.arun(mocked())
    finally:
        litellm.verbose_logger.removeHandler(handler)
    assert shipped
    assert made.stranger is None
    assert "httpx._urls" not in made.owners(set())


def test_what_a_package_requires_is_its_own() -> None:
    """LiteLLM requires tqdm by way of others; no list of ours knows it."""
    import tqdm

    assert is_stock(tqdm.tqdm)
    assert not is_stock(type("tqdm", (tqdm.tqdm,), {"__module__": "tqdm.std"}))
    assert not is_stock(pytest.Item)
