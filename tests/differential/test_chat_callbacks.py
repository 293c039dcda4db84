"""Callbacks of calls that the fast path serves: each is told what stock LiteLLM tells it, of every call once."""

from __future__ import annotations

import asyncio
import copy
import datetime
import json
import logging
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from types import FunctionType, SimpleNamespace
from typing import Any
from unittest import mock

import litellm
import pytest
from litellm import Router
from litellm._logging import verbose_logger
from litellm._service_logger import ServiceLogging
from litellm.integrations.custom_logger import CustomLogger
from litellm.litellm_core_utils.litellm_logging import Logging, StandardLoggingPayloadSetup
from litellm.litellm_core_utils.logging_utils import truncate_base64_in_messages_async

from fastpath_switch import LISTS, Switch
from litellm_accel.fastpath.admission.callbacks import CallbackPolicy
from litellm_accel.fastpath.notify import call_diff, handler_bodies, message_copies, payload, success, success_notes
from litellm_accel.fastpath.notify.logging_object import fed_class
from litellm_accel.fastpath.notify.rates import UnknownPrice
from litellm_accel.fastpath.notify.told_callbacks import WAYS, ToldCallbacks
from litellm_accel.fastpath.plans import argument_writes, maker, snapshots
from litellm_accel.fastpath.plans.header_maps import NumberedHeaders
from litellm_accel.fastpath.plans.templates import Unrepeatable
from litellm_accel.hot import template
from litellm_accel.provider import Provider
from litellm_accel.stock import seams
from litellm_accel.verify import masks
from litellm_accel.verify.observe import Recorder, SuccessLogger, describe
from releases import routers_in_python
from settling import threads_settled

HELLO = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
PREPARING = 4  # calls before the first is served, at most
MODES = ("completion", "acompletion", "router")


pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def switch() -> Switch:
    return Switch(pooled=False)


class Seen(CustomLogger):  # type: ignore[misc]
    """Keeps what it is told, not a description of it."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.told.append(SimpleNamespace(kwargs=kwargs, response=response_obj, start=start_time, end=end_time))

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.log_success_event(kwargs, response_obj, start_time, end_time)


def judged() -> tuple[str | None, bool]:
    reason, listening = CallbackPolicy().judge()
    return None if reason is None else str(reason), listening


def caller(provider: Provider, mode: str, **arguments: Any) -> Callable[[Any], Awaitable[Any]]:
    """Return what makes one call with given messages."""
    model = arguments.pop("model", "openai/gpt-4o-mini")
    deployment = {"model": model, "api_key": "sk-1", "api_base": provider.url}
    if mode == "router":
        entry = {"model_name": "g", "litellm_params": {**deployment, "rpm": 10**6, "tpm": 10**9}}
        router = Router(model_list=[{**entry, "model_info": {"id": "one"}}])
        return lambda said: router.acompletion(model="g", messages=said, **arguments)
    if mode == "acompletion":
        return lambda said: litellm.acompletion(messages=said, **deployment, **arguments)

    async def sync(said: Any) -> Any:
        return litellm.completion(messages=said, **deployment, **arguments)

    return sync


async def told(condition: Callable[[], bool]) -> None:
    """Wait until callbacks have been told."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "callbacks are not told"
        await asyncio.sleep(0.002)


def calls(provider: Provider, mode: str, logger: Any, heard: Any, count: int, **arguments: Any) -> list[Any]:
    """Make ``count`` calls one after the other, each when ``heard()`` events of the one before have come."""
    litellm.callbacks.append(logger)

    async def run() -> list[Any]:
        call = caller(provider, mode, **arguments)
        results = []
        for number in range(count):
            said = [*copy.deepcopy(HELLO), {"role": "user", "content": f"Question {number}"}]
            results.append(await call(said))
            await told(lambda: heard() == len(results))
        return results

    try:
        return asyncio.run(run())
    finally:
        for name in LISTS:
            held = getattr(litellm, name)
            held[:] = [callback for callback in held if callback is not logger]


def recorded(provider: Provider, mode: str, **arguments: Any) -> Any:
    """Return the events of some calls, ids and clocks masked."""
    recorder = Recorder()
    calls(provider, mode, SuccessLogger(recorder), lambda: len(recorder), PREPARING + 4, **arguments)
    racing = masks.RACING_IN_THREADS if mode == "router" else masks.RACING
    return masks.mask(masks.without_races([recorder.here, recorder.elsewhere], racing))


# --- what callbacks are told ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_callbacks_are_told_what_stock_tells_them(provider: Provider, switch: Switch, mode: str) -> None:
    expected = recorded(provider, mode)
    with switch.on():
        found = recorded(provider, mode)
    assert found == expected
    assert switch.gate.served >= 4
    assert not switch.gate.faults


class Raising(Seen):
    """Keeps that it was told, and raises."""

    def __init__(self, raises_in_hook: bool) -> None:
        super().__init__()
        self.raises_in_hook = raises_in_hook

    def _raise(self, is_hook: bool) -> None:
        if is_hook is self.raises_in_hook:
            self.told.append(is_hook)
            raise RuntimeError("the logger's own")

    def logging_hook(self, kwargs: Any, result: Any, call_type: str) -> Any:
        self._raise(True)
        return kwargs, result

    async def async_logging_hook(self, kwargs: Any, result: Any, call_type: str) -> Any:
        return self.logging_hook(kwargs, result, call_type)

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self._raise(False)


@pytest.fixture
def short_ways(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of which of LiteLLM's handlers a short one was used."""
    taken = []
    body = ToldCallbacks.body

    def noting(self: Any, name: str, *args: Any) -> Any:
        found = body(self, name, *args)
        if found is not None:
            taken.append(name)
        return found

    monkeypatch.setattr(ToldCallbacks, "body", noting)
    return taken


@pytest.mark.parametrize("mode", ["completion", "acompletion"])
@pytest.mark.parametrize("raises_in_hook", [False, True])
def test_what_is_logged_of_a_logger_that_raises_names_litellms_own_lines(
    provider: Provider, switch: Switch, short_ways: list[str], mode: str, raises_in_hook: bool
) -> None:
    records: list[Any] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            exception = record.exc_info and traceback.format_exception(*record.exc_info)
            records.append((record.getMessage(), exception, record.pathname, record.lineno, record.funcName))

    def logged() -> list[Any]:
        logger = Raising(raises_in_hook)
        calls(provider, mode, logger, lambda: len(logger.told), PREPARING + 6)
        threads_settled()  # they log what they have told of
        return [records.pop() for _ in records[:]]

    handler = Handler(logging.ERROR)
    verbose_logger.addHandler(handler)
    try:
        expected = logged()
        with switch.on():
            assert logged() == expected
    finally:
        verbose_logger.removeHandler(handler)
    assert bool(expected) is (raises_in_hook or mode == "acompletion")  # else it is printed where that is asked for
    assert not switch.gate.faults
    assert len(short_ways) >= 4 or sys.version_info < (3, 11)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="code does not tell its columns")
def test_a_handler_whose_source_is_not_what_runs_is_left_as_it_is() -> None:
    handler = vars(Logging)["_success_handler_body"]
    short = handler_bodies.shortened(handler, "way")
    assert short is not None and len(short.__code__.co_code) < len(handler.__code__.co_code) / 2
    assert set(short.__code__.co_names) <= {*handler.__code__.co_names, *handler_bodies.Way.__slots__, "way"}
    assert len(set(WAYS.values())) == len(WAYS)  # one call may be told in a loop and in a thread at a time
    code = handler.__code__
    for other in (code.replace(co_consts=(*code.co_consts[:-1], "other")), code.replace(co_filename="nowhere.py")):
        assert handler_bodies.shortened(FunctionType(other, handler.__globals__), "way") is None
    assert handler_bodies.shortened(None, "way") is None


def test_the_method_that_a_worker_names_is_litellms() -> None:
    fed = fed_class(Logging, seams.name_of(Logging, "response_cost_calculator"), print, ToldCallbacks(lambda: None))
    assert fed.async_success_handler.__qualname__ == Logging.async_success_handler.__qualname__


@pytest.mark.parametrize(
    ("content", "is_made"),
    [
        ("Hello", True),
        (None, True),
        ("data:image/png;base64,AAAA", False),
        ([{"type": "text"}], False),
        ("x" * 10**6, False),
    ],
)
def test_messages_are_logged_as_by_stock(content: Any, is_made: bool) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}]
    made = message_copies.LoggedMessages().made(messages)
    assert (made is not None) is is_made
    if made is not None:
        expected: Any = asyncio.run(truncate_base64_in_messages_async(messages))
        assert made == expected
        assert not any(one is two for one, two in zip(messages, made, strict=True))


def test_an_answer_is_written_as_json_writes_it() -> None:
    value = {"id": 'ünï\n"', "n": [1, -2.5, 10**30, {"a": [], "b": {}}], "none": None, "yes": True, "float": 1e100}
    leaf = {"text": "ö", "many": [7, 0.1]}
    constant, slot = template.CONSTANT, template.LEAF
    nodes = ((constant, value), (template.DICT, ("text", "many"), ((slot, 0), (template.LIST, ((slot, 1), (slot, 2))))))
    made = template.Template((template.LIST, nodes))
    answer = SimpleNamespace(leaves=["ö", 7, 0.1])
    assert maker._as_said(made)(answer) == json.dumps([value, leaf])
    prefixed = template.Template((template.DICT, ("a",), ((template.PREFIXED, "p", 0),)))
    assert maker._as_said(prefixed)(answer) == json.dumps({"a": "pö"})


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "arguments",
    [
        {"tools": [TOOL], "tool_choice": "auto"},
        {"extra_body": {"top_k": 4, "nested": {"a": [1]}}, "extra_headers": {"X-Team": "blue"}},
        {"stop": ["a", "b"], "temperature": 0.5, "n": 2, "user": "u"},
        {"response_format": {"type": "json_object"}, "timeout": 30},
    ],
    ids=["tools", "extra", "sampling", "format"],
)
def test_arguments_are_told_as_by_stock(provider: Provider, switch: Switch, mode: str, arguments: Any) -> None:
    expected = recorded(provider, mode, **arguments)
    with switch.on():
        found = recorded(provider, mode, **arguments)
    assert found == expected
    assert switch.gate.served >= 4


@pytest.mark.parametrize("mode", MODES)
def test_clocks_and_identifiers_agree_with_each_other(provider: Provider, switch: Switch, mode: str) -> None:
    logger = Seen()
    with switch.on():
        results = calls(provider, mode, logger, lambda: len(logger.told), PREPARING + 4)
    assert switch.gate.served >= 4
    for result, event in zip(results, logger.told, strict=True):
        details, payload = event.kwargs, event.kwargs["standard_logging_object"]
        hidden = result._hidden_params
        assert event.response is result
        assert details["litellm_call_id"] == hidden["litellm_call_id"] == payload["litellm_call_id"]
        assert details["litellm_trace_id"] == payload["trace_id"] != details["litellm_call_id"]
        assert payload["startTime"] == event.start.timestamp() == details["start_time"].timestamp()
        assert payload["endTime"] == event.end.timestamp() == details["end_time"].timestamp()
        assert payload["response_time"] * 1000 == pytest.approx(hidden["_response_ms"], abs=1e-6)
        assert event.start <= details["api_call_start_time"] <= event.end
        assert 0 < details["llm_api_duration_ms"] <= hidden["_response_ms"]
        assert payload["response_cost"] == hidden["response_cost"] == payload["cost_breakdown"]["total_cost"] > 0
    assert len({event.kwargs["litellm_call_id"] for event in logger.told}) == len(results)
    assert len({event.kwargs["litellm_trace_id"] for event in logger.told}) == len(results)


@pytest.mark.parametrize("mode", MODES)
def test_calls_share_only_what_stock_lets_them_share(provider: Provider, switch: Switch, mode: str) -> None:
    def shared() -> set[tuple[Any, ...]]:
        logger = Seen()
        calls(provider, mode, logger, lambda: len(logger.told), PREPARING + 4)
        one, two = ({id(value): path for path, value in _ways((), event.kwargs)} for event in logger.told[-2:])
        return {one[identity] for identity in one.keys() & two.keys()}

    expected = shared()
    with switch.on():
        assert shared() == expected
    assert switch.gate.served >= 4


def _ways(path: tuple[Any, ...], value: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    items = value.items() if type(value) is dict else enumerate(value) if type(value) is list else ()
    for key, item in items:
        if type(item) in (dict, list):
            yield (*path, key), item
            yield from _ways((*path, key), item)


@pytest.mark.parametrize("mode", MODES)
def test_every_payload_is_the_one_that_stock_builds(
    provider: Provider, switch: Switch, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    made = []
    build = payload.Payloads._build

    def both(self: Any, plan: Any, logging: Any, result: Any, start: Any, end: Any) -> Any:
        found = build(self, plan, logging, result, start, end)
        stock = type(logging).__mro__[1]._build_standard_logging_payload(logging, result, start, end)
        made.append((describe(found, depth=40), describe(stock, depth=40)))
        return found

    monkeypatch.setattr(payload.Payloads, "_build", both)
    logger = Seen()
    with switch.on():
        calls(provider, mode, logger, lambda: len(logger.told), PREPARING + 6)
    assert len(made) >= 4
    for found, stock in made:
        assert found == stock


@pytest.mark.parametrize("mode", MODES)
def test_every_success_is_noted_as_by_stock(
    provider: Provider, switch: Switch, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    noted = []
    write = success_notes._Shown.write

    def both(self: Any, logging: Any, given: Any, build: Any) -> Any:
        details = logging.model_call_details
        places = [vars(logging), details, details["litellm_params"], details["litellm_params"].get("metadata") or {}]
        before = [place.copy() for place in places]
        returned = write(self, logging, given, build)
        found = snapshots.take_snapshot(copy.copy(vars(logging)))
        for place, held in zip(places, before, strict=True):
            place.clear()
            place.update(held)
        stock = getattr(Logging, next(name for name in seams.NOTES_SUCCESS if hasattr(Logging, name)))
        again = stock(logging, **given)
        logging.callback_duration_ms = before[0]["callback_duration_ms"]
        same = snapshots.equivalent(found, snapshots.take_snapshot(copy.copy(vars(logging))), {})
        noted.append(same and len(again) == len(returned) and again[:3] == returned[:3])
        return again

    monkeypatch.setattr(success_notes._Shown, "write", both)
    logger = Seen()
    with switch.on():
        calls(provider, mode, logger, lambda: len(logger.told), PREPARING + 10)
    assert len(noted) >= 3
    assert all(noted)
    assert not switch.gate.faults


def test_additional_headers_are_told_as_by_stock() -> None:
    stock = mock.Mock(wraps=StandardLoggingPayloadSetup.get_additional_headers)
    maps = NumberedHeaders(stock)
    names = ("x-ratelimit-limit-requests", "X-RateLimit-Limit-Tokens", "llm_provider-date", "x-ratelimit-reset-tokens")
    for values in (("10", "9", "now", "6ms"), ("", "8", 7, "3"), (None, 2.5, True, 1.5)):
        headers: Any = dict(zip(names, values, strict=True))
        made = maps.made(headers)
        assert list(made.items()) == list(StandardLoggingPayloadSetup.get_additional_headers(headers).items())
        assert made is not headers
    assert stock.call_count == 2
    assert maps.made(None) is None


def test_a_changed_price_is_told(provider: Provider, switch: Switch, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = copy.deepcopy(litellm.model_cost["gpt-4o-mini"])
    logger = Seen()

    def costs(scale: float) -> list[tuple[Any, ...]]:
        prices = {name: entry[name] * scale for name in ("input_cost_per_token", "output_cost_per_token")}
        litellm.register_model({"gpt-4o-mini": {**entry, **prices}})
        logger.told.clear()
        calls(provider, "acompletion", logger, lambda: len(logger.told), PREPARING + 4)
        payloads = [event.kwargs["standard_logging_object"] for event in logger.told]
        return [
            (p["response_cost"], p["cost_breakdown"], p["model_map_information"]["model_map_value"]) for p in payloads
        ]

    try:
        expected = [costs(1.0), costs(3.0), costs(0.0)]
        with switch.on():
            assert [costs(1.0), costs(3.0), costs(0.0)] == expected
    finally:
        litellm.register_model({"gpt-4o-mini": entry})
    assert switch.gate.served >= 8


def test_a_missing_price_is_told(provider: Provider, switch: Switch, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that has been added since."""
    monkeypatch.setattr(litellm, "suppress_debug_info", True)
    monkeypatch.setattr(litellm, "model_cost", dict(litellm.model_cost))
    model, entry = "hosted_vllm/without-price", litellm.model_cost["gpt-4o-mini"]
    known, made = [], []
    tell, build = UnknownPrice.tell, payload.Payloads._build

    def telling(self: Any, *args: Any) -> bool:
        known.append(tell(self, *args))
        return known[-1]

    def building(self: Any, *args: Any) -> Any:
        made.append(build(self, *args))
        return made[-1]

    monkeypatch.setattr(UnknownPrice, "tell", telling)
    monkeypatch.setattr(payload.Payloads, "_build", building)

    def before_and_after() -> list[Any]:
        before = recorded(provider, "acompletion", model=model)
        assert "isn't mapped yet" in str(before)
        litellm.register_model({model: {**entry, "litellm_provider": "hosted_vllm"}})
        after = recorded(provider, "acompletion", model=model)
        assert "isn't mapped yet" not in str(after)
        litellm.model_cost.pop(model)
        litellm.utils._invalidate_model_cost_lowercase_map()
        return [before, after]

    expected = before_and_after()
    with switch.on():
        found = before_and_after()
    assert found == expected
    assert sum(known) >= 3 and any(made)
    assert not switch.gate.faults


# --- who is fed -------------------------------------------------------------------------------------------------------


def logger_with(**members: Any) -> Any:
    return type("Made", (CustomLogger,), members)()


async def _event(self: Any, *args: Any, **kwargs: Any) -> None:
    """Hears."""


class Unheard:
    """LiteLLM calls its loggers and what can be called, and nothing else."""

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        raise AssertionError("nobody calls this")


@pytest.mark.parametrize(
    "callback, reason, listening",
    [
        (logger_with(async_log_success_event=_event), None, True),
        (logger_with(log_success_event=lambda *a: None), None, True),
        (logger_with(async_log_failure_event=_event, own_method=1), None, False),
        (logger_with(async_logging_hook=_event), None, True),
        (logger_with(log_pre_api_call=lambda *a: None), "callback Made.log_pre_api_call", False),
        (logger_with(log_post_api_call=lambda *a: None), "callback Made.log_post_api_call", False),
        (logger_with(async_pre_call_deployment_hook=_event), "callback Made.async_pre_call_deployment_hook", False),
        (logger_with(async_filter_deployments=_event), "callback Made.async_filter_deployments", False),
        (logger_with(async_should_run_agentic_loop=_event), "callback Made.async_should_run_agentic_loop", False),
        (logger_with(__call__=lambda *a: None), None, True),
        (logger_with(__getattribute__=object.__getattribute__), "callback Made.__getattribute__", False),
        (lambda *args: None, None, True),
        (logger_with(async_pre_call_hook=_event), None, False),  # the proxy's own affair
        (logger_with(async_post_call_success_hook=_event, async_log_success_event=_event), None, True),
        (ServiceLogging(), None, True),
        ("langfuse", "callback langfuse", False),
        (Unheard(), None, False),
        (print, None, True),
    ],
)
def test_admission(callback: Any, reason: str | None, listening: bool) -> None:
    litellm.success_callback.append(callback)
    assert judged() == (reason, listening)


def test_a_hook_on_the_object_itself_is_seen() -> None:
    logger = logger_with(async_log_success_event=_event)
    logger.async_pre_call_deployment_hook = _event
    litellm._async_success_callback.append(logger)
    assert judged() == ("callback Made.async_pre_call_deployment_hook", False)


def test_a_logger_of_litellm_is_left_to_stock() -> None:
    from litellm.router_utils.pre_call_checks.prompt_caching_deployment_check import PromptCachingDeploymentCheck

    litellm._async_success_callback.append(PromptCachingDeploymentCheck(cache=None))
    assert judged() == ("callback PromptCachingDeploymentCheck", False)


def test_a_strategy_that_somebody_has_made_another_of_is_left_to_stock() -> None:
    from litellm.router_strategy.least_busy import LeastBusyLoggingHandler

    class Other(LeastBusyLoggingHandler):
        def log_pre_api_call(self, model: Any, messages: Any, kwargs: Any) -> None:
            raise AssertionError("nobody calls this")

    for strategy, reason in ((LeastBusyLoggingHandler, None), (Other, "callback Other.log_pre_api_call")):
        litellm._async_success_callback[:] = [strategy(router_cache=None)]
        assert judged() == (reason, reason is None)


def test_a_logger_is_put_where_stock_puts_it() -> None:
    logger = logger_with(async_log_success_event=_event)
    litellm.callbacks.append(logger)
    listeners = CallbackPolicy()
    assert listeners.judge() == (None, True)
    listeners.place()
    assert all(getattr(litellm, name) == [logger] for name in LISTS if name != "_async_input_callback")
    assert listeners.judge() == (None, True)


# A router with a core of its own calls with its metadata, in which LiteLLM writes.
@pytest.mark.parametrize("mode", ["completion", "acompletion", pytest.param("router", marks=routers_in_python)])
def test_nobody_pays_who_has_no_callbacks(
    provider: Provider, switch: Switch, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("nobody listens")

    monkeypatch.setattr(call_diff, "take_snapshot", refuse)
    monkeypatch.setattr(message_copies, "nested", refuse)
    monkeypatch.setattr(success.SuccessNotifier, "told", refuse)

    async def run() -> None:
        call = caller(provider, mode)
        for _ in range(6):
            await call(copy.deepcopy(HELLO))

    with switch.on():
        asyncio.run(run())
    assert switch.gate.served >= 3, switch.gate.declined
    assert not switch.gate.faults


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("step", ["open", "pricer"])
def test_a_fault_before_callbacks_are_told_leaves_all_to_stock(
    provider: Provider, switch: Switch, monkeypatch: pytest.MonkeyPatch, mode: str, step: str
) -> None:
    logger = Seen()
    real, count = getattr(success.SuccessNotifier, step), iter(range(100))

    def broken(self: Any, *args: Any) -> Any:
        if next(count) == 2:  # the first proves the feed
            raise RuntimeError("injected")
        return real(self, *args)

    provider.clear()
    with switch.on():
        monkeypatch.setattr(success.SuccessNotifier, step, broken)
        results = calls(provider, mode, logger, lambda: len(logger.told), PREPARING + 4)
    assert switch.gate.faults == 1
    assert [event.response for event in logger.told] == results
    assert len(provider.requests()) == PREPARING + 4


@pytest.mark.parametrize("mode", MODES)
def test_a_fault_while_a_payload_is_built_leaves_it_to_stock(
    provider: Provider, switch: Switch, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    def broken(self: Any, *args: Any) -> Any:
        raise RuntimeError("injected")

    monkeypatch.setattr(payload.Payloads, "_build", broken)
    logger = Seen()
    with switch.on():
        calls(provider, mode, logger, lambda: len(logger.told), PREPARING + 6)
    assert switch.gate.faults >= 1
    assert all(event.kwargs["standard_logging_object"]["total_tokens"] > 0 for event in logger.told)


# --- learning ---------------------------------------------------------------------------------------------------------


def shown(**differences: Any) -> call_diff.ObservedCall:
    said = [{"role": "user", "content": "Hello"}]
    headers = {"a": "b"}
    details = {
        "litellm_call_id": differences.pop("call", "c1"),
        "original_response": "{}",
        "response_headers": headers,
        "messages": [dict(message) for message in said],
        "own": differences.pop("own", []),
    }
    state = {
        "litellm_call_id": details["litellm_call_id"],
        "litellm_trace_id": differences.pop("trace", "t1"),
        "model_call_details": details,
        **differences,
    }
    watched = argument_writes.CallSnapshots(said, {})
    watched.succeed(SimpleNamespace(**state))
    answer = litellm.ModelResponse(model="m")
    answer._response_headers = headers
    return call_diff.ObservedCall(watched, {}, answer, None)


def learned(one: call_diff.ObservedCall, two: call_diff.ObservedCall) -> Any:
    return call_diff.CallDiff(one, two, None).node(one.state, two.state, None)


def test_calls_that_differ_in_what_is_known_of_them_are_learned() -> None:
    assert learned(shown(call="c1", trace="t1"), shown(call="c2", trace="t2"))


@pytest.mark.parametrize(
    "one, two",
    [
        ({"made": "a"}, {"made": "b"}),
        ({"made": 1}, {"made": 1.0}),
        ({"made": {"a": 1}}, {"made": {"b": 1}}),
        ({"made": [1]}, {"made": [1, 2]}),
        ({"made": object()}, {"made": object()}),
        ({"made": None}, {"made": []}),
    ],
)
def test_what_stock_decides_by_the_call_is_not_learned(one: Any, two: Any) -> None:
    with pytest.raises(Unrepeatable):
        learned(shown(call="c1", trace="t1", **one), shown(call="c2", trace="t2", **two))


def test_one_thing_at_two_places_stays_one_thing() -> None:
    held = [[1], [1]]
    pair = call_diff.CallDiff(
        shown(call="c1", trace="t1", own=held[0], again=held[0]),
        shown(call="c2", trace="t2", own=held[1], again=held[1]),
        None,
    )
    pair.node(pair.first.state, pair.second.state, None)
    assert len(pair.parts) == 1
    with pytest.raises(Unrepeatable):
        learned(
            shown(call="c1", trace="t1", own=held[0], again=held[0]),
            shown(call="c2", trace="t2", own=held[1], again=[1]),
        )


def test_pictures_tell_values_and_identities_apart() -> None:
    inner: list[int] = [1]
    one = snapshots.take_snapshot({"a": inner, "b": inner})
    assert snapshots.without_nodes(one) == {"a": [1], "b": [1]}
    assert snapshots.equivalent(one, snapshots.take_snapshot({"a": inner, "b": inner}), {})
    assert not snapshots.equivalent(one, snapshots.take_snapshot({"a": inner, "b": [1]}), {})
    assert not snapshots.equivalent(one, snapshots.take_snapshot({"b": inner, "a": inner}), {})
    assert not snapshots.equivalent(one, snapshots.take_snapshot({"a": [True], "b": [True]}), {})


def test_conversations_that_are_copied_differently_have_their_own_keys() -> None:
    flat = [{"role": "user", "content": "a"}]
    parts = [{"role": "user", "content": [{"type": "text", "text": "a"}]}]
    nothing = [*parts, {"role": "assistant", "content": None}]
    assert len({message_copies.nested(said) for said in (flat, parts, nothing)}) == 3


def test_releases_before_1_106_note_otherwise_that_a_success_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def helped(self: Any, *arguments: Any, build_logging_payload: bool = True) -> None:
        assert not build_logging_payload

    def noted(self: Any, event_type: str) -> None:
        self.model_call_details[f"has_logged_{event_type}"] = True

    later = ("mark_logging_complete", "_get_completed_success_callbacks", "__dict__", "__weakref__")
    members = {name: value for name, value in vars(Logging).items() if name not in later}
    members |= {"has_run_logging": noted, "_success_handler_helper_fn": helped}
    calculator = seams.name_of(Logging, "response_cost_calculator")
    faults: list[BaseException] = []
    fed = fed_class(type("Logging", Logging.__bases__, members), calculator, faults.append, ToldCallbacks(lambda: None))
    monkeypatch.setattr(litellm, "success_callback", [])
    call = fed("gpt-4o", [], False, "completion", datetime.datetime.now(), "id", "function")
    call.ends = call.routed = call.payloads = call.notes = None
    call.is_own = True
    call.success_handler("result")
    assert call.model_call_details["has_logged_sync_success"] and not faults
