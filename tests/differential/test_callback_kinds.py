"""Callbacks as programs write them: whatever they are, wherever they are put, they are told what stock tells them."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from typing import Any

import litellm
import pytest
from litellm.constants import MAX_CALLBACKS
from litellm.integrations.custom_logger import CustomLogger
from litellm.router_strategy.least_busy import LeastBusyLoggingHandler
from pydantic import BaseModel, Field

from fastpath_switch import LISTS, Switch, assert_served_as_by_stock, without_callbacks
from litellm_accel.fastpath.admission.callback_placing import placing
from litellm_accel.fastpath.admission.callbacks import CallbackPolicy
from litellm_accel.fastpath.transport import outbound
from litellm_accel.provider import Provider
from litellm_accel.verify import masks
from litellm_accel.verify.observe import Recorder, SuccessLogger, describe
from settling import settled

HELLO = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
MODES = ("completion", "acompletion", "router")
CALLS = 9
LEARNED = 4  # of the calls, at most


pytestmark = pytest.mark.usefixtures("quiet")


class TokenCalcHandler(BaseModel):
    """CrewAI's: no ``CustomLogger``, equal to others of the same fields, and put into ``callbacks`` for each call."""

    model_config = {"arbitrary_types_allowed": True}
    __hash__ = object.__hash__
    token_cost_process: Any = Field(default=None)

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        raise AssertionError("LiteLLM does not call this")


def judged() -> tuple[str | None, bool]:
    reason, listening = CallbackPolicy().judge()
    return None if reason is None else str(reason), listening


def set_callbacks(callbacks: list[Any]) -> None:
    """Assign ``litellm.callbacks`` as CrewAI does."""
    kinds = [type(callback) for callback in callbacks]
    for callback in litellm.success_callback[:]:
        if type(callback) in kinds:
            litellm.success_callback.remove(callback)
    for callback in litellm._async_success_callback[:]:
        if type(callback) in kinds:
            litellm._async_success_callback.remove(callback)
    litellm.callbacks = callbacks


class Hearing:
    """Things that can be called, and record what with."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def __call__(self, kwargs: Any, response: Any, start: Any, end: Any) -> None:
        self._recorder.record("called", kwargs=kwargs, response=response, start=start, end=end)

    def method(self, kwargs: Any, response: Any, start: Any, end: Any) -> None:
        self._recorder.record("method", kwargs=kwargs, response=response, start=start, end=end)

    async def amethod(self, kwargs: Any, response: Any, start: Any, end: Any) -> None:
        self._recorder.record("amethod", kwargs=kwargs, response=response, start=start, end=end)


class CalledLogger(SuccessLogger):
    """A logger that can be called, too."""

    def __call__(self, kwargs: Any, response: Any, start: Any, end: Any) -> None:
        self.recorder.record("called", kwargs=kwargs, response=response, start=start, end=end)


class Thorough(SuccessLogger):
    """A logger that writes down every hook and leaves those it has no use for empty."""

    def log_pre_api_call(self, model: Any, messages: Any, kwargs: Any) -> None:
        pass

    def log_post_api_call(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Nothing to do here."""
        return None

    async def async_pre_call_deployment_hook(self, kwargs: Any, call_type: Any) -> None: ...

    async def async_post_call_success_deployment_hook(self, request_data: Any, response: Any, call_type: Any) -> None:
        """Nor here."""


class Counting(SuccessLogger):
    """A logger that is another one for LiteLLM when it has counted."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder)
        self.count = 0

    def log_success_event(self, *args: Any, **kwargs: Any) -> None:
        self.count += 1
        super().log_success_event(*args, **kwargs)

    async def async_log_success_event(self, *args: Any, **kwargs: Any) -> None:
        self.count += 1
        await super().async_log_success_event(*args, **kwargs)


class Unheard:
    """Neither a logger nor anything that can be called."""

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        raise AssertionError("LiteLLM does not call this")


def _set(name: str, *callbacks: Any) -> None:
    setattr(litellm, name, list(callbacks))


def _set_all(**lists: list[Any]) -> None:
    for name, callbacks in lists.items():
        _set(name, *callbacks)


def _append_first(number: int, name: str, *callbacks: Any) -> None:
    if number == 0:
        getattr(litellm, name).extend(callbacks)


# What a program does before each call, with what records; `once` is the same for all calls.
KINDS: dict[str, Callable[[int, Recorder, Any], None]] = {
    "crewai": lambda number, recorder, once: set_callbacks([TokenCalcHandler(token_cost_process=number // 3)]),
    "a new logger each time": lambda number, recorder, once: _set("callbacks", SuccessLogger(recorder)),
    "the same logger again": lambda number, recorder, once: _set("callbacks", once["logger"]),
    "loggers that count": lambda number, recorder, once: _set("callbacks", once["counting"], Counting(recorder)),
    "empty hooks": lambda number, recorder, once: _append_first(number, "callbacks", Thorough(recorder)),
    "empty hooks of a new logger each time": lambda number, recorder, once: _set("callbacks", Thorough(recorder)),
    "a logger that can be called": lambda number, recorder, once: _set("callbacks", CalledLogger(recorder)),
    "a new function each time": lambda number, recorder, once: _set(
        "success_callback", lambda kwargs, *rest: Hearing(recorder)(kwargs, *rest)
    ),
    "an async method": lambda number, recorder, once: _set("success_callback", Hearing(recorder).amethod),
    "an async method for all": lambda number, recorder, once: _set("callbacks", once["hearing"].amethod),
    "several": lambda number, recorder, once: _append_first(
        number, "success_callback", once["hearing"], once["hearing"].method, once["hearing"].amethod, Unheard(), print
    ),
    "async ones, and one that is not heard": lambda number, recorder, once: _append_first(
        number, "_async_success_callback", once["hearing"].amethod, once["logger"]
    ),
    "on failures, and one before calls that is not heard": lambda number, recorder, once: _set_all(
        failure_callback=[once["hearing"].amethod, once["hearing"].method],
        success_callback=[once["hearing"].method],
        input_callback=[Unheard(), TokenCalcHandler()],
    ),
}


def caller(provider: Provider, mode: str) -> Callable[[Any], Awaitable[Any]]:
    """Return what makes one call with given messages."""
    deployment = {"model": "openai/gpt-4o-mini", "api_key": "sk-1", "api_base": provider.url}
    if mode.startswith("router"):
        entry = {"model_name": "g", "litellm_params": deployment, "model_info": {"id": "one"}}
        router = litellm.Router(model_list=[entry], num_retries=0)
        if mode == "router":
            return lambda said: router.acompletion(model="g", messages=said)
        return lambda said: asyncio.to_thread(router.completion, model="g", messages=said)
    if mode == "acompletion":
        return lambda said: litellm.acompletion(messages=said, **deployment)

    async def sync(said: Any) -> Any:
        return litellm.completion(messages=said, **deployment)

    return sync


def shape(callback: Any) -> str:
    return f"{type(callback).__name__} {getattr(callback, '__name__', '')}"


def told(provider: Provider, mode: str, kind: str) -> Any:
    """Return what is recorded of some calls, ids and clocks masked, and what LiteLLM's lists hold after each."""
    recorder, lists = Recorder(), []
    once = {"logger": SuccessLogger(recorder), "hearing": Hearing(recorder), "counting": Counting(recorder)}

    async def run() -> None:
        call = caller(provider, mode)
        for number in range(CALLS):
            KINDS[kind](number, recorder, once)
            said = [*copy.deepcopy(HELLO), {"role": "user", "content": f"Question {number}"}]
            await call(said)
            await settled()
            lists.append({name: list(map(shape, getattr(litellm, name))) for name in LISTS})

    with without_callbacks():
        before = {name: getattr(litellm, name) for name in LISTS}
        try:
            asyncio.run(run())
        finally:
            for name, held in before.items():
                setattr(litellm, name, held)
    # Functions among the callbacks of an async call are LiteLLM's threads' to call, which race with its worker.
    racing = masks.RACING if mode == "completion" else masks.RACING_IN_THREADS
    return masks.mask(masks.without_races([recorder.here, recorder.elsewhere], racing)), lists


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_callback_is_told_as_by_stock(provider: Provider, mode: str, kind: str) -> None:
    # Garbage that is closed meanwhile may hide what one more call shows.
    assert_served_as_by_stock(lambda: told(provider, mode, kind), CALLS - LEARNED - 1)


@pytest.mark.parametrize("mode", MODES)
def test_agents_in_turn_have_their_callbacks_served(provider: Provider, mode: str) -> None:
    """Crews of several agents: each has a handler of its own, one calls after the other."""
    switch = Switch(pooled=False)

    async def run() -> list[Any]:
        call = caller(provider, mode)
        for number in range(30):
            set_callbacks([TokenCalcHandler(token_cost_process=object())] if number % 3 else [])
            await call(copy.deepcopy(HELLO))
        return list(map(shape, litellm.input_callback))

    def lists() -> list[Any]:
        with without_callbacks():
            held = litellm.callbacks
            try:
                return asyncio.run(run())
            finally:
                litellm.callbacks = held

    expected = lists()
    with switch.on():
        assert lists() == expected
    assert switch.gate.served >= 26, switch.gate.declined


@pytest.mark.parametrize("mode", [*MODES, "router in threads"])
@pytest.mark.parametrize("is_fault", [False, True], ids=["reply", "fault"])
def test_a_call_that_is_handed_over_has_its_callbacks_placed_once(
    provider: Provider, mode: str, is_fault: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    hearing = Hearing(Recorder())

    async def run(switch: Switch | None) -> Any:
        litellm.callbacks = [hearing.amethod]
        call, outcomes = caller(provider, mode), []
        for _ in range(4):
            await call(copy.deepcopy(HELLO))
            await settled()
        handed = sum(switch.gate.declined.values()) if switch else 0
        with monkeypatch.context() as patched:
            if switch is not None and is_fault:
                patched.setattr(outbound.OutboundRequest, "asend", _fail)
                patched.setattr(outbound.OutboundRequest, "send", _fail)
            for number in range(5):
                said = [*HELLO, {"role": "user", "content": "Hello" if is_fault else f"answer as: error-400{{{number}"}]
                try:
                    outcomes.append(describe(await call(said)))
                except litellm.BadRequestError as error:
                    outcomes.append(type(error))
                await settled()
        if switch is not None:
            declined = sum(switch.gate.declined.values()) - handed
            # A router's attempt fails once more, in the direct call that its stock makes.
            assert (switch.gate.faults if is_fault else declined) >= 5, switch.gate.declined
        return len(outcomes), {name: list(map(shape, getattr(litellm, name))) for name in LISTS}

    def lists(switch: Switch | None) -> Any:
        with without_callbacks():
            held = litellm.callbacks
            try:
                return asyncio.run(run(switch))
            finally:
                litellm.callbacks = held

    expected = lists(None)
    assert len(expected[1]["_async_input_callback"]) == 9
    switch = Switch(pooled=False)
    with switch.on():
        assert lists(switch) == expected


def _fail(*args: Any) -> Any:
    raise RuntimeError("a fault of ours")


# --- what is left to stock --------------------------------------------------------------------------------------------


class Early(CustomLogger):  # type: ignore[misc]
    """Acts before a call."""

    def log_pre_api_call(self, model: Any, messages: Any, kwargs: Any) -> None:
        kwargs["seen"] = True


def function(*args: Any) -> None:
    """A function of an application."""


@pytest.mark.parametrize(
    ("name", "callback", "reason"),
    [
        ("callbacks", Early(), "callback Early.log_pre_api_call"),
        ("callbacks", function, "callback function before the call"),
        ("input_callback", Hearing(Recorder()), "callback Hearing before the call"),
        ("service_callback", "prometheus_system", "callback prometheus_system of a service"),
        ("success_callback", "lunary", "callback lunary"),
    ],
)
def test_who_acts_before_a_call_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, callback: Any, reason: str
) -> None:
    monkeypatch.setattr(litellm, name, [callback])
    assert judged() == (reason, False)


def returns_nothing(self: Any, model: Any, messages: Any, kwargs: Any) -> None:
    """Nothing to do."""
    return None


async def awaited(self: Any, model: Any, messages: Any, kwargs: Any) -> None: ...


def yields(self: Any, model: Any, messages: Any, kwargs: Any) -> Any:
    yield


def others(self: Any, model: Any, messages: Any, details: Any) -> None: ...


def by_name(self: Any, model: Any, messages: Any, *, kwargs: Any) -> None: ...


def says(self: Any, model: Any, messages: Any, kwargs: Any) -> Any:
    return "something"


@pytest.mark.parametrize(
    ("hook", "is_admitted"),
    [(returns_nothing, True)] + [(hook, False) for hook in (awaited, yields, others, by_name, says, print)],
)
def test_a_hook_that_does_nothing_is_told_from_others(
    monkeypatch: pytest.MonkeyPatch, hook: Any, is_admitted: bool
) -> None:
    monkeypatch.setattr(litellm, "callbacks", [type("Made", (CustomLogger,), {"log_pre_api_call": hook})()])
    assert judged()[0] == (None if is_admitted else "callback Made.log_pre_api_call")


def test_an_empty_hook_that_somebody_fills_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Made(CustomLogger):  # type: ignore[misc]
        def log_pre_api_call(self, model: Any, messages: Any, kwargs: Any) -> None: ...

    monkeypatch.setattr(litellm, "callbacks", [Made()])
    monkeypatch.setattr(litellm, "input_callback", [*litellm.callbacks])
    policy = CallbackPolicy()
    assert policy.judge()[0] is None
    assert not policy.counting
    assert not policy.moved()
    Made.log_pre_api_call.__code__ = says.__code__  # as editors do, which change a program that runs
    assert policy.moved()
    assert str(policy.judge()[0]) == "callback Made.log_pre_api_call"
    Made.log_pre_api_call = returns_nothing
    assert policy.moved()
    assert policy.judge()[0] is None


def test_a_strategy_without_its_hook_is_stocks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Quiet(LeastBusyLoggingHandler):  # type: ignore[misc]
        def log_pre_api_call(self, model: Any, messages: Any, kwargs: Any) -> None: ...

    monkeypatch.setattr(litellm, "callbacks", [Quiet(router_cache=None)])
    assert judged()[0] == "callback Quiet.log_pre_api_call"


def test_a_callback_that_says_to_be_anything_is_stocks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Anything:
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = object.__hash__

    class Broken(Anything):
        def __eq__(self, other: object) -> bool:
            raise RuntimeError("compared")

        __hash__ = object.__hash__

    for kind in (Anything, Broken):
        monkeypatch.setattr(litellm, "success_callback", [kind()])
        reason, _ = CallbackPolicy().judge()
        assert str(reason).endswith(f"{kind.__name__}.__eq__")


def test_what_stock_cannot_keep_is_stocks_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unhashable(Unheard):
        __hash__ = None  # type: ignore[assignment]

    monkeypatch.setattr(litellm, "callbacks", [Unhashable()])
    monkeypatch.setattr(litellm.utils, "callback_list", [])
    assert str(CallbackPolicy().judge()[0]).endswith("Unhashable.__hash__")
    monkeypatch.setattr(litellm.utils, "callback_list", ["langfuse"])
    assert judged() == (None, False)


def test_more_callbacks_than_litellm_keeps_are_stocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm, "callbacks", [SuccessLogger(Recorder())])
    monkeypatch.setattr(litellm, "success_callback", [lambda *args: None for _ in range(MAX_CALLBACKS)])
    assert judged() == ("callbacks beyond LiteLLM's limit", False)


def test_lists_that_are_none_are_stocks(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(litellm, "callbacks", None)
        assert judged() == ("setting callbacks", False)


def test_placing_needs_a_source_of_the_known_shape() -> None:
    assert placing(litellm.utils.function_setup) is not None
    for other in (print, describe, test_placing_needs_a_source_of_the_known_shape):
        assert placing(other) is None


def test_a_callback_that_cannot_be_placed_is_stocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("litellm_accel.fastpath.admission.callbacks.placing", lambda setup: None)
    litellm.success_callback.append(function)
    assert judged() == ("callback out of place", False)
