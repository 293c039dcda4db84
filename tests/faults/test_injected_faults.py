"""A fault at every line of ours that a call runs through: the application sees what stock gives, sent once, told once.

A tracer raises an exception at one line, once, while a call is watched, compared, served, or handed over, and where
LiteLLM is of no known release. The guard itself, which is there to meet these exceptions, is left out.
"""

from __future__ import annotations

import asyncio
import dis
import importlib.util
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

import litellm
import pytest
from litellm.integrations.custom_logger import CustomLogger

import litellm_accel
from fastpath_switch import LISTS, without_callbacks
from litellm_accel.components.streaming import Streams
from litellm_accel.fastpath import passage
from litellm_accel.fastpath.admission.newcomers import Newcomers
from litellm_accel.fastpath.completion import CompletionHandler
from litellm_accel.fastpath.plans.slot import State
from litellm_accel.fastpath.router import RouterHandler
from litellm_accel.provider import Provider
from litellm_accel.verify.worker import accelerated

ROOT = Path(litellm_accel.__file__).parent
FILES = {
    str(path)
    for path in (*(ROOT / "fastpath").rglob("*.py"), ROOT / "components" / "streaming.py", ROOT / "stock" / "trace.py")
    if str(path) != passage.__file__
}
# What applications call: a guard and nothing else.
DOORS = {
    *((name, door) for name in ("completion", "router", "router_core") for door in ("acompletion", "completion")),
    *(("router", door) for door in ("_begun", "_guarded", "add", "discard")),
    *(("core_choice", "next"), ("router_core", "_arun"), ("router_core", "_run")),  # by which LiteLLM's loop drives
    *(("core_choice", "go_on"), ("core_choice", "go_on_in_thread"), ("router_core", "pipeline")),
    *(("router_state", door) for door in ("__eq__", "__hash__")),  # of a router, which stock may look up
    *(("trace", door) for door in ("run", "arun", "_follow", "follow", "__await__", "on", "off", "_quietly")),
    *(("logging_object", door) for door in ("async_success_handler", "success_handler", "_routers", "_is_current")),
    *(("logging_object", door) for door in ("_build_standard_logging_payload", "_note_success")),
    *(("logging_object", door) for door in ("_async_success_handler_body", "_success_handler_body")),
    ("logging_object", "get_combined_callback_list"),
    *(("streaming", door) for door in ("anext", "snext", "_after_last", "finish", "build", "total", "asyncified")),
}
# Lines that cannot fail, and are outside the block that they begin or end.
EXEMPT = (
    *("try:", "finally:", "else:", "events.reading = False"),
    *("self._looking = None", "self._lock.release()", "script.live = False", "_script.reset(token)"),
    *("return await self._wrapped(", "return await self._stock.wrapped("),  # what they raise is the stream's
    "passage.made(result, None)",
)

# What looks into LiteLLM's cache, and has it keep answers.
CACHES = ("cache_hits.py", "response_cache.py")

Place = tuple[CodeType, int]
POP_EXCEPT = dis.opmap["POP_EXCEPT"]


class Injected(RuntimeError):
    """An internal error."""


class Injector:
    """Notes the places that are reached while it is on, or raises at the first visit to one of them."""

    def __init__(self) -> None:
        self.reached: dict[Place, None] = {}
        self.target: Place | None = None
        self.fired = False
        self._on = False

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._line if self._on and frame.f_code.co_filename in FILES else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line" and self._on:
            place = frame.f_code, frame.f_lineno
            if self.target is None:
                self.reached[place] = None
            elif place == self.target:
                self._on = False
                self.fired = True
                raise Injected(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}")
        return self._line

    def __enter__(self) -> None:
        self._on, self.fired = True, False
        self._before = sys.gettrace()
        sys.settrace(self.trace)

    def __exit__(self, *error: object) -> None:
        self._on = False
        sys.settrace(self._before)


# What is raised shall come from a line of ours, not from the tracer's.
Injector._line.__code__ = Injector._line.__code__.replace(co_filename=str(ROOT / "traced.py"))  # type: ignore[attr-defined]


class Listener(CustomLogger):  # type: ignore[misc]
    """Counts what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.told.append(f"async success {kwargs['standard_logging_object']['total_tokens']}")

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.told.append(f"success {kwargs['standard_logging_object']['total_tokens']}")

    async def async_log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.told.append("async failure")

    def log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.told.append("failure")


@dataclass
class World:
    """The accelerated LiteLLM and what the test looks at."""

    provider: Provider
    made: dict[type, Any]
    listener: Listener = field(default_factory=Listener)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    routers: dict[str, Any] = field(default_factory=dict)
    expected: int = 0  # how many events stock tells of
    retries: int = 0  # of the SDK
    last: Exception | None = None  # what the application has met

    def forget(self) -> None:
        """Learn anew."""
        pipeline = self.made[CompletionHandler].pipeline
        pipeline.plans.clear()
        pipeline.newcomers = Newcomers()
        pipeline.bound.clear()
        for learned in self.made[Streams].learned.values():
            learned.templates.clear()
            learned.trials.clear()
        for proof in self.proofs:
            proof.refused.clear()
            proof.gate.switch(True)
        for router in self.routers.values():
            known = RouterHandler in self.made and self.made[RouterHandler].routers.state_of(router)
            if known:
                known.plans.clear()
        litellm_accel.reset_errors()

    @property
    def proofs(self) -> list[Any]:
        """How the components are proven."""
        return [self.made[CompletionHandler].pipeline.proof, self.made[Streams].proof]

    def router(self, answer: str) -> Any:
        if answer not in self.routers:
            params = {"model": "openai/gpt-4o-mini", "api_key": "sk-1", "api_base": self.provider.at(answer)}
            self.routers[answer] = litellm.Router(
                model_list=[{"model_name": "group", "litellm_params": params}], num_retries=0
            )
        return self.routers[answer]

    def call(self, scenario: Scenario, answer: str | None = None, words: str = "Hello") -> Any:
        """Return what the application sees of one call, ids and clocks aside."""
        self.provider.clear()
        self.listener.told.clear()
        answer = answer or scenario.answer
        try:
            seen = self._outcome(scenario, answer, words)
        except Exception as error:
            self.last = error
            seen = type(error), str(error)
        deadline = time.monotonic() + (1 if scenario.listening else 0)
        while len(self.listener.told) < self.expected and time.monotonic() < deadline:
            self.loop.run_until_complete(asyncio.sleep(0.001))
        self.loop.run_until_complete(asyncio.sleep(0.002))
        return seen, len(self.provider.requests()), sorted(self.listener.told)

    def _outcome(self, scenario: Scenario, answer: str, words: str) -> Any:
        given: dict[str, Any] = {"messages": [{"role": "user", "content": words}]}
        if scenario.stream:
            given["stream"] = True
        if scenario.entry.endswith("router"):
            target, given["model"] = self.router(answer), "group"
        else:
            target = litellm
            given.update(model="openai/gpt-4o-mini", api_key="sk-1", api_base=self.provider.at(answer))
            given["max_retries"] = self.retries
        if scenario.entry.startswith("a"):
            return self.loop.run_until_complete(self._aplay(target.acompletion, given, scenario.stream))
        response = target.completion(**given)
        if scenario.stream:
            return [plain(chunk) for chunk in response]
        return plain(response)

    async def _aplay(self, function: Callable[..., Any], given: dict[str, Any], stream: bool) -> Any:
        response = await function(**given)
        if stream:
            return [plain(chunk) async for chunk in response]
        return plain(response)


def plain(response: Any) -> Any:
    found = response.model_dump()
    found.pop("id"), found.pop("created")
    return found


@dataclass(frozen=True)
class Scenario:
    entry: str
    answer: str = "plain"
    stream: bool = False
    listening: bool = False

    @property
    def name(self) -> str:
        return f"{self.entry}{' stream' * self.stream}{' listener' * self.listening}"


FAILS_ONCE = 'answer as: error-500{"times": 1, "headers": {"retry-after-ms": "1"}}'
STREAM = 'plain{"chunks": 4, "size": 40}'
SCENARIOS = [
    *(Scenario(entry) for entry in ("acompletion", "completion", "arouter", "router")),
    *(Scenario(entry, STREAM, stream=True) for entry in ("acompletion", "completion", "arouter")),
    *(Scenario(entry, listening=True) for entry in ("acompletion", "completion", "arouter")),
]


@pytest.fixture(scope="module")
def world(provider: Provider) -> Iterator[World]:
    made: dict[type, Any] = {}
    originals = {kind: kind.__init__ for kind in (CompletionHandler, RouterHandler, Streams)}

    def remember(kind: Any) -> Any:
        def initialise(self: Any, *given: Any) -> None:
            originals[kind](self, *given)
            made[kind] = self

        return initialise

    for kind in originals:
        kind.__init__ = remember(kind)
    litellm.suppress_debug_info = True
    try:
        with without_callbacks(), accelerated("chat"):
            yield World(provider, made)
    finally:
        litellm.suppress_debug_info = False
        for kind, original in originals.items():
            kind.__init__ = original


def places(world: World, play: Callable[[], Any]) -> list[Place]:
    """Return what of ours is reached by what is played."""
    injector = Injector()
    with injector:
        play()
    texts: dict[str, list[str]] = {}
    found = []
    for code, line in injector.reached:
        lines = texts.setdefault(code.co_filename, Path(code.co_filename).read_text().splitlines())
        if (Path(code.co_filename).stem, code.co_name) in DOORS:
            continue
        text = lines[line - 1].strip()
        if text != "return" and not text.startswith(EXEMPT) and not ends_handling(code, line):
            found.append((code, line))  # a bare return leaves its block first
    return found


def ends_handling(code: CodeType, line: int) -> bool:
    """Whether a line begins by leaving the handling of an error, which raising there would leave unfinished."""
    return any(at == line and code.co_code[start] == POP_EXCEPT for start, at in dis.findlinestarts(code))


def stock(world: World, scenario: Scenario, answer: str, words: str = "Hello") -> Any:
    pipeline = world.made[CompletionHandler].pipeline
    pipeline.gate.switch(False)
    world.made[Streams].gate.switch(False)
    try:
        world.expected = 9
        world.call(scenario, answer, words)
        seen = world.call(scenario, answer, words)
        world.expected = len(seen[2])
        return seen
    finally:
        pipeline.gate.switch(True)
        world.made[Streams].gate.switch(True)


def is_candidate(world: World) -> bool:
    """Return whether the next call will be compared."""
    routers = world.routers.values() if RouterHandler in world.made else ()
    known = (world.made[RouterHandler].routers.state_of(router) for router in routers)
    held = [world.made[CompletionHandler].pipeline.plans, *(found.plans for found in known if found is not None)]
    return any(slot.state is State.PROVING for plans in held for slot in plans.values())


def served(world: World) -> int:
    return int(world.made[CompletionHandler].pipeline.gate.served)


def run(world: World, scenario: Scenario, phase: str, step: int, first: int) -> tuple[int, list[str]]:
    """Inject at every ``step``-th place that ``phase`` reaches; return how many, and what the application saw of it."""
    litellm.callbacks = [world.listener] if scenario.listening else []
    answer = "error-429" if phase == "hand over" else scenario.answer
    words = FAILS_ONCE if phase == "send again" else "Hello"
    world.retries = int(phase == "send again")
    expected = stock(world, scenario, answer, words)
    calls = 3 if phase == "watch" else 1

    def prepare() -> None:
        if phase in ("watch", "compare"):
            world.forget()
            for _ in range(0 if phase == "watch" else 4):
                if is_candidate(world):
                    break
                world.call(scenario)
            return
        litellm_accel.reset_errors()
        if any(proof.refused for proof in world.proofs):  # a fault within a comparison refuses the kind
            world.forget()
        for said in dict.fromkeys(("Hello", words)):
            for number in range(16):
                world.call(scenario, words=("Hallo", "Hullo", "Hillo", "Hello")[number % 4])
                before = served(world)
                world.call(scenario, words=said)
                if served(world) > before:
                    break
            else:
                break
        else:
            return
        declined = {component.name: component.declined for component in litellm_accel.status().components}
        raise AssertionError(f"{scenario.name} is not served: {declined}")

    def play() -> list[Any]:
        return [world.call(scenario, answer, words) for _ in range(calls)]

    for proof in world.proofs:
        proof.is_recorded = phase not in ("compare", "serve unknown")
        proof.is_strange = not proof.is_recorded
    prepare()
    play()
    prepare()
    found = places(world, play)
    wrong = []
    injector = Injector()
    tried = 0
    for place in found[first::step]:
        prepare()
        injector.target, world.last = place, None
        with injector:
            results = play()
        tried += injector.fired
        if any(result != expected for result in results):
            code, line = place
            shown = next(result for result in results if result != expected)
            text = Path(code.co_filename).read_text().splitlines()[line - 1].strip()
            reached = "" if injector.fired else " (not reached)"
            wrong.append(f"{Path(code.co_filename).name}:{line} {text!r}{reached}: {str(shown)[:300]}")
            if world.last is not None:
                wrong += traceback.format_exception(world.last)[-12:]
    litellm.callbacks = []
    world.retries = 0
    for proof in world.proofs:
        proof.is_recorded, proof.is_strange = True, False
    return tried, wrong


PHASES = ("watch", "compare", "serve", "hand over", "serve unknown", "send again")
# Routers' doors are closed where LiteLLM is not known, and their attempts and streams are not sent again.
CASES = [
    pytest.param(scenario, phase, id=f"{scenario.name}-{phase}")
    for scenario in SCENARIOS
    for phase in PHASES
    if phase not in ("serve unknown", "send again") or "router" not in scenario.entry
    if phase != "send again" or not scenario.stream
]


@pytest.mark.parametrize(("scenario", "phase"), CASES)
def test_a_fault_at_any_line_never_shows(world: World, scenario: Scenario, phase: str) -> None:
    step = 131 if phase == "watch" else 41
    tried, wrong = run(world, scenario, phase, step, first=len(scenario.name))
    assert tried
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.parametrize(("scenario", "phase"), CASES)
def test_a_fault_at_every_line_never_shows(world: World, scenario: Scenario, phase: str) -> None:
    tried, wrong = run(world, scenario, phase, step=1, first=0)
    assert tried
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("phase", ["watch", "serve", "keep"])
@pytest.mark.parametrize("entry", ["acompletion", "completion"])
def test_a_fault_beside_the_cache_never_shows(
    world: World, entry: str, phase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("soundfile") is None:  # LiteLLM imports it when it answers from its cache
        monkeypatch.setitem(sys.modules, "soundfile", ModuleType("soundfile"))
    for name in LISTS:
        monkeypatch.setattr(litellm, name, [])
    monkeypatch.setattr(litellm, "cache", litellm.Cache(type="local"))
    scenario, handler = Scenario(entry), world.made[CompletionHandler]
    world.proofs[0].is_recorded, world.proofs[0].is_strange = True, False
    expected = stock(world, scenario, scenario.answer)
    assert expected[1] == 0  # the provider was not asked
    if phase == "keep":
        expected = (expected[0], 1, expected[2])

    def prepare() -> None:
        litellm_accel.reset_errors()
        if phase == "watch":
            handler.hits._kinds.clear()
            return
        for _ in range(8):
            if phase == "keep":
                litellm.cache.cache.flush_cache()
            before = served(world)
            world.call(scenario)
            if served(world) > before:
                break
        else:
            raise AssertionError(f"not served: {handler.pipeline.gate.declined}")
        if phase == "keep":
            litellm.cache.cache.flush_cache()

    def play() -> Any:
        return world.call(scenario)

    world.forget()
    prepare()
    found = [place for place in places(world, play) if Path(place[0].co_filename).name in CACHES]
    injector, wrong, tried = Injector(), [], 0
    for place in found:
        prepare()
        injector.target, world.last = place, None
        with injector:
            seen = play()
        tried += injector.fired
        if seen != expected:
            wrong.append(f"{Path(place[0].co_filename).name}:{place[1]}: {str(seen)[:300]}")
    assert tried >= 20
    assert not wrong, "\n".join(wrong)
