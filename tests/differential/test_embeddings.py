"""Embeddings by the fast path against stock LiteLLM: requests, results, exceptions and what callbacks are told."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import re
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import litellm
import pytest
from litellm import Router
from litellm.integrations.custom_logger import CustomLogger

from fastpath_switch import Switch, without_callbacks
from litellm_accel.components.embeddings import Embeddings
from litellm_accel.fastpath.plans import templates
from litellm_accel.provider import Provider
from settling import settled

MODEL = "openai/text-embedding-3-small"
BASE64 = {"encoding_format": "base64", "dimensions": 16, "user": "ada"}
AZURE = {"model": "azure/embed", "api_version": "2024-10-21"}
TEXTS = [f"Text {number}" for number in range(6)]
INPUTS = {
    "text": TEXTS,
    "one text": [["a"], ["b"], ["c"], ["d"], ["e"], ["f"]],
    "texts": [TEXTS[:2], TEXTS[:3], TEXTS[1:5], ['Žluťoučký \n\t"kůň" 🐎', " ", "x"], TEXTS, TEXTS[::-1]],
    "tokens": [[1, 2, 3], [4], [5, 6], [7, 8, 9, 10], [2**31], [0]],
    "lists of tokens": [[[1, 2], [3]], [[4]], [[5], [6], [7]], [[8, 9]], [[10], [11]], [[12]]],
}


def some(values: Iterable[Any], *quick: Any) -> list[Any]:
    """Return ``values`` as parameters; all but those in ``quick`` are slow, together."""
    return [pytest.param(value, id=str(value), marks=() if value in quick else pytest.mark.slow) for value in values]


MODES = some(("async", "sync"), "async")


def spelled(vector: str) -> str:
    """The scenario of an answer with a ``vector`` that is spelled just so."""
    entry = f'{{"object": "embedding", "index": 0, "embedding": {vector}}}'
    usage = '{"prompt_tokens": 1, "total_tokens": 1}'
    body = f'{{"object": "list", "model": "e", "data": [{entry}], "usage": {usage}}}'
    return f"plain{json.dumps({'body': body})}"


class Told(CustomLogger):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Any] = []

    def note(self, event: str, kwargs: Any, response: Any) -> None:
        payload = kwargs.get("standard_logging_object")
        shown = {name: kwargs.get(name) for name in ("input", "messages", "original_response", "additional_args")}
        more = kwargs["response_cost"], kwargs["optional_params"], kwargs["call_type"], kwargs["cache_hit"]
        self.events.append(plain((event, repr(shown), payload, *more, sorted(kwargs), templates.state(response))))

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.note("success", kwargs, response_obj)

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.note("async success", kwargs, response_obj)


def plain(value: Any) -> str:
    """``value`` in words, without its clocks and identifiers."""
    text = re.sub(r"\b(17|18)\d{8}\.\d+\b", "now", repr(value))
    text = re.sub(r"(time_ms|_response_ms|response_time|duration_ms)'(: |, \(<class 'float'>, )'?[^,}')]*", r"\1", text)
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "id", text)


def seen(result: Any) -> Any:
    """Everything an application sees of a result, but its identifier and its times."""
    if isinstance(result, Exception):
        shown = {name: value for name, value in vars(result).items() if name not in ("request", "response")}
        return plain((type(result), str(result), sorted(shown.items(), key=str), type(result.__context__)))
    result = copy.deepcopy(result)
    result._response_ms = 0.0
    for name in ("_response_ms", "litellm_overhead_time_ms", "litellm_call_id"):
        result._hidden_params[name] = type(result._hidden_params[name])()
    return repr((templates.state(result), result.model_dump(), list(result.data[0])))


def play(provider: Provider, mode: str, inputs: list[Any], arguments: dict[str, Any]) -> Any:
    """Make a call with each of ``inputs``; return what came of them, the requests and the warnings."""
    provider.clear()
    litellm.in_memory_llm_clients_cache.flush_cache()
    given = {"model": MODEL, "api_key": "sk-1", "api_base": provider.url, "max_retries": 0, **arguments}

    async def one(value: Any) -> Any:
        call = litellm.aembedding if mode == "async" else litellm.embedding
        try:
            result = call(input=copy.deepcopy(value), **copy.deepcopy(given))
            return seen(await result if mode == "async" else result)
        except Exception as error:
            return seen(error)

    async def calls() -> list[Any]:
        made = [await one(value) for value in inputs]
        await settled()
        return made

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        results = asyncio.run(calls())
    requests = [(r.method, r.path, r.headers, r.body) for r in provider.requests()]
    return results, requests, [str(one.message) for one in warned if "serializer" in str(one.message)]


def told_of(provider: Provider, mode: str, inputs: list[Any], arguments: dict[str, Any], on: Any) -> list[str]:
    """What a logger is told of such calls, made where it is ``on``."""
    told = Told()
    with without_callbacks(), on():
        litellm.callbacks = [told]
        play(provider, mode, inputs, arguments)
    return sorted(told.events)  # threads tell of them


pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def switch(quiet: None) -> Switch:
    return Switch(component=Embeddings())


def same(provider: Provider, switch: Switch, mode: str, inputs: list[Any], arguments: dict[str, Any]) -> int:
    """Assert that stock and the fast path are equal; return how many calls the fast path has served."""
    expected = play(provider, mode, inputs, arguments)
    with switch.on():
        found = play(provider, mode, inputs, arguments)
    assert found[0] == expected[0]
    assert found[1] == expected[1]
    assert found[2] == expected[2]
    assert switch.gate.faults == 0, switch.gate.last_fault
    return int(switch.gate.served)


@pytest.mark.parametrize("mode", ["async", "sync"])
@pytest.mark.parametrize("sort", some(INPUTS, "text"))
def test_inputs(provider: Provider, switch: Switch, mode: str, sort: str) -> None:
    """One watched call, and the others are served, however long their lists are."""
    assert same(provider, switch, mode, INPUTS[sort], {}) == 5


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "arguments",
    some(
        (
            {"dimensions": 32},
            {"encoding_format": "float"},
            {"encoding_format": "base64"},
            BASE64,
            {"user": "ada", "timeout": 7, "extra_headers": {"x-own": "1"}},
            AZURE,
            {"model": "hosted_vllm/embed"},
            {"model": "hosted_vllm/embed", "encoding_format": "base64", "user": "ada"},
            {"model": "litellm_proxy/embed"},
            {"model": "mistral/embed"},
        ),
        BASE64,
        AZURE,
    ),
)
@pytest.mark.parametrize("sort", some(("text", "texts"), "texts"))
def test_arguments(provider: Provider, switch: Switch, mode: str, arguments: dict[str, Any], sort: str) -> None:
    assert same(provider, switch, mode, INPUTS[sort], arguments) == 5


@pytest.mark.parametrize("mode", MODES)
def test_by_position(provider: Provider, switch: Switch, mode: str) -> None:
    def by_position(function: Callable[..., Any]) -> list[Any]:
        given = {"api_key": "sk-1", "api_base": provider.url}
        return [function(MODEL, text, **given) for text in TEXTS]

    if mode == "sync":
        expected = by_position(litellm.embedding)
        with switch.on():
            found = by_position(litellm.embedding)
    else:
        expected = by_position(lambda *args, **kwargs: asyncio.run(litellm.aembedding(*args, **kwargs)))
        with switch.on():
            found = by_position(lambda *args, **kwargs: asyncio.run(litellm.aembedding(*args, **kwargs)))
    assert [result.data for result in found] == [result.data for result in expected]
    assert switch.gate.served >= 1


@pytest.mark.parametrize("mode", MODES)
def test_values_of_free_arguments(provider: Provider, switch: Switch, mode: str) -> None:
    """Another user with each call: two watched calls show where the name goes."""
    provider.clear()

    async def calls() -> list[Any]:
        made = []
        for number in range(5):
            given = {"model": MODEL, "api_key": "sk-1", "api_base": provider.url, "user": f"user {number}"}
            if mode == "async":
                made.append(await litellm.aembedding(input="Hello", **given))
            else:
                made.append(litellm.embedding(input="Hello", **given))
        return made

    with switch.on():
        asyncio.run(calls())
    assert [json.loads(request.body)["user"] for request in provider.requests()] == [f"user {n}" for n in range(5)]
    assert switch.gate.served == 3


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "answer",
    some(
        (
            "error-400",
            "error-429",
            "error-500",
            "broken-json",
            "not-an-object",
            "no-body",
            "gzip",
            "drop-request",
            'plain{"merge": {"data": []}}',
            'plain{"merge": {"data": null}}',
            'plain{"merge": {"usage": null}}',
            'plain{"merge": {"data": [{"object": "embedding", "index": 0, "embedding": [1, -2, 9007199254740993]}]}}',
            'plain{"merge": {"data": [{"object": "embedding", "index": 0, "embedding": [true, null]}]}}',
            'plain{"merge": {"data": [{"object": "vector", "index": 0, "embedding": [0.5]}]}}',
            'plain{"merge": {"data": [{"index": 0, "embedding": [0.5], "more": {"a": [1]}}]}}',
            spelled("[-0, -0.0, 1e-400]"),
        ),
        "error-429",
        spelled("[-0, -0.0, 1e-400]"),
    ),
)
@pytest.mark.parametrize("model", some((MODEL, "hosted_vllm/embed"), MODEL))
def test_answers(provider: Provider, switch: Switch, mode: str, answer: str, model: str) -> None:
    """An answer that was not watched, between plain ones: stock judges it, or it is equal."""
    inputs = ["a", "b", "c", f"answer as: {answer}", "d"]
    assert same(provider, switch, mode, inputs, {"model": model}) >= 3


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "answer",
    some(
        (
            'plain{"merge": {"data": [{"object": "embedding", "index": 0, "embedding": [1, -2, 0.5, 3e15]}]}}',
            'plain{"merge": {"usage": {"prompt_tokens": 3, "total_tokens": 3, "prompt_tokens_details": {"a": 1}}}}',
            'plain{"merge": {"id": "e-1", "created": 17, "more": [1, {"a": 2}]}}',
            spelled("[-0.0, 5e-324]"),
        ),
        spelled("[-0.0, 5e-324]"),
    ),
)
@pytest.mark.parametrize("model", some((MODEL, "hosted_vllm/embed"), MODEL))
def test_served_answers(provider: Provider, switch: Switch, mode: str, answer: str, model: str) -> None:
    assert same(provider, switch, mode, [f"answer as: {answer}"] * 3, {"model": model}) == 2


def test_a_first_answer_without_a_model(provider: Provider, switch: Switch) -> None:
    """What is learned from an answer that names no model holds for those that name one."""
    inputs = ['answer as: plain{"merge": {"model": null}}', "a", "b"]
    assert same(provider, switch, MODES[0], inputs, {}) >= 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "value", some(("", [], [""], [[]], ["a", 1], [True], {"a": 1}, None, ("a",), [[1], "a"], 7), "")
)
def test_odd_inputs_are_left_to_stock(provider: Provider, switch: Switch, mode: str, value: Any) -> None:
    assert same(provider, switch, mode, ["a", "b", value, "c"], {}) == 2


@pytest.mark.parametrize("name", some(("stream", "messages", "stream_options"), "stream"))
def test_arguments_of_chats_are_left_to_stock(provider: Provider, switch: Switch, name: str) -> None:
    assert same(provider, switch, "async", TEXTS[:3], {name: []}) == 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("model", some((MODEL, "azure/embed", "hosted_vllm/embed"), MODEL))
@pytest.mark.parametrize("sort", some(INPUTS, "text", "texts"))
def test_callbacks(provider: Provider, switch: Switch, mode: str, model: str, sort: str) -> None:
    """Two watched calls, and those who listen are told the same of all others."""
    arguments = {"model": model, "metadata": {"trace": "t"}, "api_version": "2024-10-21"}
    heard = [told_of(provider, mode, INPUTS[sort], arguments, on) for on in (contextlib.nullcontext, switch.on)]
    assert len(heard[0]) >= len(INPUTS[sort])
    assert heard[1] == heard[0]
    assert switch.gate.faults == 0, switch.gate.last_fault
    assert switch.gate.served == 4


def test_the_same_text_again_and_again(provider: Provider, switch: Switch) -> None:
    """Two watched calls with one text: the next text is told as it is."""
    inputs = ["a", "a", "a", "b", "openai"]
    heard = [told_of(provider, "async", inputs, {}, on) for on in (contextlib.nullcontext, switch.on)]
    assert heard[1] == heard[0]
    assert switch.gate.served == 3


@pytest.mark.parametrize("mode", MODES)
def test_routers(provider: Provider, switch: Switch, mode: str) -> None:
    """A router's attempts come by LiteLLM's functions, unless its core has a door of its own."""
    provider.clear()
    params = {"model": MODEL, "api_base": provider.url, "api_key": "sk-1"}
    router = Router(model_list=[{"model_name": "e", "litellm_params": params, "model_info": {"id": "one"}}])

    def calls() -> list[Any]:
        if mode == "sync":
            return [seen(router.embedding("e", text)) for text in TEXTS]

        async def made() -> list[Any]:
            return [seen(await router.aembedding("e", text)) for text in TEXTS]

        return asyncio.run(made())

    expected = calls()
    before = dict(router.total_calls), dict(router.success_calls)
    with switch.on():
        assert calls() == expected
    assert switch.gate.faults == 0, switch.gate.last_fault
    assert switch.gate.served >= 3
    after = dict(router.total_calls), dict(router.success_calls)
    assert after == tuple({name: 2 * count for name, count in counts.items()} for counts in before)


@pytest.mark.parametrize("mode", MODES)
def test_proven_on_own_calls(provider: Provider, quiet: None, mode: str) -> None:
    """Without a record, three calls are compared; then the kind is served."""
    switch = Switch(recorded=False, component=Embeddings())
    assert same(provider, switch, mode, INPUTS["texts"] * 2, {"dimensions": 64}) >= 6


@pytest.mark.parametrize("mode", some(("async", "sync")))
def test_a_litellm_that_nobody_knows(provider: Provider, quiet: None, mode: str) -> None:
    """Inputs and answers of outlines that were compared are served."""
    switch = Switch(recorded=False, component=Embeddings())
    switch.pipeline.proof.is_strange = True
    inputs = [f"Text number {number:03}" for number in range(12)]
    assert same(provider, switch, mode, inputs, {}) >= 4


@pytest.mark.parametrize("mode", MODES)
def test_faults_of_our_own(provider: Provider, switch: Switch, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """Once a request has left, stock meets its reply: nothing is sent again."""
    expected = play(provider, mode, TEXTS, {})

    def broken(*arguments: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(switch.pipeline, "result", broken)
    with switch.on():
        found = play(provider, mode, TEXTS, {})
    assert found[:2] == expected[:2]
    assert switch.gate.faults == len(TEXTS) - 1
