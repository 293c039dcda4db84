"""Component ``streaming`` against stock: the same streams, chunk by chunk, and the same chunks put together."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import datetime
import gc
import importlib
import itertools
import json
import pydoc
import socket
import sys
import threading
import warnings
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import anyio.to_thread
import h11
import httpx
import litellm
import pytest
import wrapt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litellm.integrations.custom_logger import CustomLogger
from litellm.litellm_core_utils import streaming_handler
from litellm.types import utils
from openai import _streaming

import litellm_accel
import replayed
from fastpath_switch import without_callbacks
from litellm_accel import hot
from litellm_accel.components import get, streaming
from litellm_accel.fastpath.notify import payload
from litellm_accel.fastpath.plans.proof import Proof
from litellm_accel.fastpath.plans.templates import state
from litellm_accel.fastpath.streams import builder, opener, pricer, source
from litellm_accel.fastpath.streams.builder import Assembler
from litellm_accel.provider import Provider
from litellm_accel.stock import seams
from litellm_accel.verify import comparison, masks, observe, records, scenarios
from settling import settled, threads_settled

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def accelerated(restored: None) -> Iterator[Any]:
    """Return a function that accelerates streams within its ``with`` block."""
    with records.proving("streaming"):
        yield lambda: litellm_accel.accelerated("streaming", strict=True)


def arguments(provider: Provider, answer: str, **more: Any) -> dict[str, Any]:
    return {
        "model": "openai/gpt-4o",
        "messages": HELLO,
        "api_base": provider.at(answer),
        "api_key": "sk-1",
        "max_retries": 0,
        "stream": True,
        **more,
    }


def raw(events: list[Any]) -> str:
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    return "plain" + json.dumps({"body": body})


def event(delta: Any, finish: str | None = None, **members: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "gpt-4o",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        **members,
    }


def seen(chunk: Any) -> Any:
    """Everything of a chunk but what a clock has put there."""
    chunk._hidden_params["created_at"] = 0.0
    chunk.created = 0
    described = (state(chunk), chunk.model_dump(), chunk.model_dump_json(), repr(chunk))
    assert chunk.model_fields_set == chunk.model_copy().model_fields_set
    return described


async def collect(provider: Provider, answer: str, **more: Any) -> list[Any]:
    """Return what an asynchronous stream gives, the error that ends it included."""
    chunks: list[Any] = []
    stream: Any = await litellm.acompletion(**arguments(provider, answer, **more))
    try:
        async for chunk in stream:
            chunks.append(chunk)
    except Exception as error:
        chunks.append(error)
    await asyncio.sleep(0)
    return [(type(c), str(c)) if isinstance(c, Exception) else seen(c) for c in chunks]


def collect_sync(provider: Provider, answer: str, **more: Any) -> list[Any]:
    """Return what a synchronous stream gives."""
    return [seen(chunk) for chunk in list(litellm.completion(**arguments(provider, answer, **more)))]


def served() -> int:
    return litellm_accel.status()["streaming"].served


def test_learning_leaves_the_application_s_warnings_alone(provider: Provider, accelerated: Any) -> None:
    """What Python shows once is not shown again, and nothing is forgotten of what was shown."""

    def warn() -> None:
        warnings.warn("shown once", DeprecationWarning, stacklevel=1)

    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        collect_sync(provider, 'plain{"chunks": 9, "size": 90}')  # what LiteLLM does once
        warn()
        with accelerated():
            collect_sync(provider, 'plain{"chunks": 9, "size": 90}')
            assert served()
        warn()
    assert len([warning for warning in shown if str(warning.message) == "shown once"]) == 1


@pytest.mark.parametrize(
    "answer", ['plain{"chunks": 9, "size": 90}', "tools", "reasoning", "split-3", "crlf", "comments"]
)
def test_streams_are_served_and_equal(provider: Provider, accelerated: Any, answer: str) -> None:
    async def both() -> tuple[list[Any], list[Any]]:
        stock = await collect(provider, answer)
        with accelerated():
            mine = await collect(provider, answer)
            assert served() > 0
        return stock, mine

    stock, mine = asyncio.run(both())
    assert mine == stock
    stock = collect_sync(provider, answer)
    with accelerated():
        mine = collect_sync(provider, answer)
        assert served() > 0
    assert mine == stock


TEXTS = st.text(max_size=8) | st.sampled_from(["<", " ", "", "same", "multi_tool_use.parallel"])
FUNCTIONS = st.fixed_dictionaries({}, optional={"name": TEXTS, "arguments": TEXTS | st.none()})
CALLS = st.lists(
    st.fixed_dictionaries(
        {"index": st.integers(0, 3), "function": FUNCTIONS},
        optional={"id": TEXTS, "type": st.sampled_from(["function", None])},
    ),
    max_size=2,
)
DELTAS = st.fixed_dictionaries(
    {},
    optional={
        "content": TEXTS | st.none(),
        "role": st.sampled_from(["assistant", None]),
        "refusal": st.none() | TEXTS,
        "tool_calls": CALLS | st.none(),
        "reasoning_content": TEXTS | st.none(),
        "vendor": st.dictionaries(
            st.sampled_from("abc"),
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
            max_size=2,
        ),
    },
)
EVENTS = st.builds(
    lambda delta, members: event(delta, **members),
    DELTAS,
    st.fixed_dictionaries(
        {},
        optional={
            "system_fingerprint": st.none() | st.sampled_from(["fp_1", "fp_2"]),
            "service_tier": st.sampled_from(["default", "flex"]),
            "usage": st.none(),
            "model": st.sampled_from(["gpt-4o", "gpt-4o-mini", None]),
            "id": st.sampled_from(["a", "b", "", " "]),
        },
    ),
)


def one_stream(events: list[Any], packets: list[bytes]) -> list[Any]:
    """Play these packets to a stream of LiteLLM's, without a network, and return its chunks or its error."""
    import httpx
    import openai

    async def bytes_of() -> Any:
        for packet in packets:
            yield packet

    async def play() -> list[Any]:
        def answer(request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, content=bytes_of(), headers={"content-type": "text/event-stream"})

        client = openai.AsyncOpenAI(
            api_key="sk",
            base_url="http://loopback.invalid",
            http_client=httpx.AsyncClient(transport=httpx.MockTransport(answer)),
            max_retries=0,
        )
        chunks: list[Any] = []
        stream: Any = await litellm.acompletion(model="openai/gpt-4o", messages=HELLO, stream=True, client=client)
        try:
            async for chunk in stream:
                chunks.append(chunk)
        except Exception as error:
            chunks.append(error)
        return [(type(c), str(c)) if isinstance(c, Exception) else seen(c) for c in chunks]

    return asyncio.run(play())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=st.lists(EVENTS, min_size=2, max_size=6), cuts=st.lists(st.integers(0, 3000), max_size=6))
def test_any_deltas_in_any_packets_give_stock_s_chunks(accelerated: Any, events: list[Any], cuts: list[int]) -> None:
    events = [event({"role": "assistant", "content": "One"}), *events, event({"content": "!"}), event({}, "stop")]
    whole = b"".join(
        b"data: " + json.dumps(item, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n\n" for item in events
    )
    whole += b"data: [DONE]\n\n"
    places = sorted({0, len(whole), *(cut % len(whole) for cut in cuts)})
    packets = [whole[start:stop] for start, stop in itertools.pairwise(places)]
    stock = one_stream(events, packets)
    with accelerated():
        first, second = one_stream(events, packets), one_stream(events, packets)
    assert first == stock
    assert second == stock


def test_chunks_share_what_stock_s_chunks_share_and_nothing_else(provider: Provider, accelerated: Any) -> None:
    async def chunks() -> tuple[Any, list[Any]]:
        stream: Any = await litellm.acompletion(**arguments(provider, 'plain{"chunks": 6, "size": 60}'))
        return stream, [chunk async for chunk in stream]

    def shared(stream: Any, found: list[Any]) -> list[Any]:
        one, other = found[2], found[3]
        assert stream.chunks[2] is one
        return [
            one._hidden_params["additional_headers"] is other._hidden_params["additional_headers"],
            one._hidden_params is other._hidden_params,
            one.choices is other.choices,
            one.choices[0].delta is other.choices[0].delta,
            one.choices[0].delta.__pydantic_extra__ is other.choices[0].delta.__pydantic_extra__,
            one.__pydantic_fields_set__ is other.__pydantic_fields_set__,
        ]

    stock = shared(*asyncio.run(chunks()))
    with accelerated():
        mine = shared(*asyncio.run(chunks()))
        assert served() > 0
    assert mine == stock
    assert stock == [True, False, False, False, False, False]


KINDS = (streaming_handler.ModelResponseStream, streaming_handler.StreamingChoices, streaming_handler.Delta)


# --- putting chunks together ------------------------------------------------------------------------------------------


def chunks_of(provider: Provider, answer: str, **more: Any) -> list[Any]:
    async def play() -> list[Any]:
        stream: Any = await litellm.acompletion(**arguments(provider, answer, **more))
        async for _ in stream:
            pass
        for chunk in stream.chunks:
            usage = chunk._hidden_params.get("usage")
            if getattr(usage, "cost", None) is not None:
                del usage.cost  # which later releases note once all has been put together
        return list(stream.chunks)

    return asyncio.run(play())


def built(chunks: list[Any]) -> Any:
    response = litellm.stream_chunk_builder(chunks, messages=HELLO)
    return response if response is None else (response.model_dump(), response._hidden_params, repr(response))


def usage_of(chunks: list[Any]) -> Any:
    return streaming_handler.calculate_total_usage(chunks).model_dump()


@pytest.mark.parametrize(
    "answer",
    [
        'plain{"chunks": 60, "size": 600}',
        'plain{"chunks": 60, "size": 600, "profile": "openai"}',
        "content-and-tools",
        "reasoning",
        'plain{"n": 2, "size": 60}',
        "logprobs",
        "vendor-fields",
    ],
)
@pytest.mark.parametrize("more", [{}, {"stream_options": {"include_usage": True}}])
def test_chunks_are_put_together_as_stock_does(provider: Provider, accelerated: Any, answer: str, more: Any) -> None:
    chunks = chunks_of(provider, answer, **more)
    unsorted = [*chunks[3:], *chunks[:3]]
    mixed = [chunk.model_dump() if number % 5 == 2 else chunk for number, chunk in enumerate(chunks)]
    changed = copy.deepcopy(chunks)
    changed[4].choices[0].delta.content = None
    changed[5].model = "another"
    changed[6]._hidden_params["provider_specific_fields"] = {"a": 1}
    for number in (7, 8):
        changed[number]._hidden_params["usage"] = litellm.Usage(prompt_tokens=number, completion_tokens=2)
    cases = [chunks, chunks[:1], chunks[:3], unsorted, mixed, changed, []]
    stock = [(built(case), usage_of(case)) for case in cases]
    before = [state(chunk) for chunk in chunks]
    with accelerated():
        assert [(built(case), usage_of(case)) for case in cases] == stock
        assert litellm_accel.status()["streaming"].faults == 0
    assert [state(chunk) for chunk in chunks] == before


@pytest.mark.parametrize("profile", ["plain", "openai"])
def test_few_chunks_are_left_of_a_plain_stream(provider: Provider, hot: Any, profile: str) -> None:
    chunks = chunks_of(provider, f'plain{{"chunks": 60, "size": 600, "profile": "{profile}"}}')
    few = hot("streaming").condensed(chunks, KINDS)
    assert len(few) <= 4 < 60 < len(chunks)
    assert few[0] is chunks[0]
    assert few[-1] is chunks[-1]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in few) == text
    assert hot("streaming").bearing_usage(chunks, KINDS[0]) == [c for c in chunks if getattr(c, "usage", None)]


def test_texts_of_several_choices_are_kept_apart(provider: Provider, hot: Any) -> None:
    def said(chunks: list[Any], index: int) -> str:
        choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
        return "".join(choice.delta.content or "" for choice in choices if choice.index == index)

    chunks = chunks_of(provider, 'plain{"n": 3, "chunks": 9, "size": 90}')
    few = hot("streaming").condensed(chunks, KINDS)
    texts = [said(chunks, index) for index in range(3)]
    assert all(texts)
    assert [said(few, index) for index in range(3)] == texts


def spoken(chunks: list[Any]) -> list[Any]:
    """Return ``chunks`` of a text and texts like it that somebody has changed, or that come with another usage."""

    def changed(change: Any) -> list[Any]:
        copied = copy.deepcopy(chunks)
        change(copied)
        return copied

    def another_usage(**members: Any) -> Any:
        def change(copied: list[Any]) -> None:
            copied[-1]._hidden_params["usage"] = litellm.Usage(**members)

        return change

    def another_choice(copied: list[Any]) -> None:
        copied[3].choices *= 2

    return [
        chunks,
        [*chunks[4:], *chunks[:4]],
        chunks[:-1],
        chunks[-1:],
        changed(lambda copied: setattr(copied[3].choices[0].delta, "content", "<|im_end|>")),
        changed(lambda copied: setattr(copied[3].choices[0].delta, "reasoning_content", "Hmm.")),
        changed(lambda copied: setattr(copied[3].choices[0], "finish_reason", "length")),
        changed(lambda copied: setattr(copied[0].choices[0].delta, "role", "user")),
        changed(lambda copied: setattr(copied[0], "id", "")),
        changed(lambda copied: setattr(copied[3], "model", "another")),
        changed(lambda copied: setattr(copied[-1], "service_tier", "priority")),
        changed(lambda copied: setattr(copied[-1], "choices", [])),
        changed(lambda copied: copied[-1]._hidden_params.update(provider_specific_fields={"a": 1})),
        changed(lambda copied: copied[-1]._hidden_params.update(extra={"b": [2]})),
        changed(lambda copied: copied[2]._hidden_params.update(provider_response_model="another")),
        changed(another_choice),
        changed(another_usage(prompt_tokens=3, completion_tokens=0, total_tokens=3)),
        changed(another_usage(prompt_tokens=3, completion_tokens=4, total_tokens=8)),
        changed(another_usage(prompt_tokens=3, completion_tokens=4, total_tokens=7, cost=0.25)),
        changed(another_usage(prompt_tokens=3, completion_tokens=4, total_tokens=7, cache_read_input_tokens=0)),
        changed(another_usage(prompt_tokens=3, completion_tokens=4, total_tokens=7, reasoning_tokens=1)),
        changed(
            another_usage(
                prompt_tokens=3, completion_tokens=4, total_tokens=7, completion_tokens_details={"text_tokens": 4}
            )
        ),
    ]


class Unpriced:
    """As much of a call's ``Logging`` object as the end of a stream needs."""

    def __init__(self) -> None:
        self.model_call_details = {"custom_llm_provider": "openai"}
        self.asked: list[Any] = []

    def response_cost_calculator(self, result: Any) -> float:
        self.asked.append(state(result))
        return 0.5

    def record_native_bedrock_guardrail(self, result: Any) -> None:
        """Later releases tell of every response."""


@pytest.mark.parametrize("profile", ["plain", "openai"])
def test_texts_are_put_together_as_stock_does(
    provider: Provider, accelerated: Any, monkeypatch: pytest.MonkeyPatch, profile: str
) -> None:
    made: list[Any] = []
    assembled = Assembler.assembled

    def remember(self: Assembler, *args: Any) -> Any:
        made.append(assembled(self, *args))
        return made[-1]

    def whole(chunks: list[Any]) -> Any:
        logging = Unpriced()
        response = litellm.stream_chunk_builder(chunks, messages=HELLO, logging_obj=logging)
        last = max(chunks, key=lambda chunk: chunk._hidden_params["created_at"])._hidden_params
        shares = [n for n, value in response._hidden_params.items() if type(value) is not str and value is last.get(n)]
        return state(response), logging.asked, shares, response._hidden_params is last

    monkeypatch.setattr(Assembler, "assembled", remember)
    cases = spoken(chunks_of(provider, f'plain{{"chunks": 6, "size": 60, "profile": "{profile}"}}'))
    stock = [whole(case) for case in cases]
    with accelerated():
        assert [whole(case) for case in cases] == stock
        assert [whole(case) for case in cases] == stock
        assert litellm_accel.status()["streaming"].faults == 0
    served = sum(each is not None for each in made)
    assert len(cases) / 3 < served / 2 < len(cases) - 4


@pytest.mark.skipif(not hasattr(utils, "UnreportedUsage"), reason="the installed LiteLLM counts tokens chunk by chunk")
def test_tokens_that_nobody_has_reported_are_counted_as_stock_does(
    provider: Provider, accelerated: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    assembled = Assembler.assembled

    def remember(self: Assembler, *args: Any) -> Any:
        made.append(assembled(self, *args))
        return made[-1]

    async def ended(question: str) -> Any:
        said = [*HELLO, {"role": "user", "content": question}]
        url = provider.at('plain{"chunks": 6, "size": 60}')
        stream = await litellm.acompletion("openai/gpt-4o", said, api_base=url, api_key="sk-1", stream=True)
        chunks = [chunk async for chunk in stream]
        await settled()
        return chunks[-1]._hidden_params["usage"]

    async def several() -> list[Any]:
        return [state(await ended("?" * length)) for length in (1, 2, 40, 300, 1)]

    stock = asyncio.run(several())
    monkeypatch.setattr(Assembler, "assembled", remember)
    with accelerated():
        assert asyncio.run(several()) == stock
        assert litellm_accel.status()["streaming"].faults == 0
    assert sum(each is not None for each in made) >= 3


@pytest.mark.skipif(not hasattr(utils, "UnreportedUsage"), reason="the installed LiteLLM counts tokens chunk by chunk")
def test_ends_of_streams_are_learned_in_several_threads_at_the_same_time(
    provider: Provider, accelerated: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread learns the end of such a stream while LiteLLM counts the tokens of this one."""
    made: list[Any] = []
    others: list[Any] = []
    last: list[Any] = []
    assembled, built, count = Assembler.assembled, Assembler._built, Assembler._count

    def remember(self: Assembler, *args: Any) -> Any:
        made.append(assembled(self, *args))
        return made[-1]

    def note(self: Assembler, *args: Any) -> Any:
        last[:] = self, *args
        return built(self, *args)

    def interrupted(self: Assembler, **asked: Any) -> int:
        if not others:
            others.append(None)
            thread = threading.Thread(target=lambda: others.append(built(*last)))
            thread.start()
            thread.join()
        return count(self, **asked)

    monkeypatch.setattr(Assembler, "assembled", remember)
    monkeypatch.setattr(Assembler, "_built", note)
    monkeypatch.setattr(Assembler, "_count", interrupted)

    async def ended() -> None:
        url = provider.at('plain{"chunks": 6, "size": 60}')
        stream = await litellm.acompletion("openai/gpt-4o", HELLO, api_base=url, api_key="sk-1", stream=True)
        assert [chunk async for chunk in stream]
        await settled()

    with accelerated():
        asyncio.run(ended())
    assert len(others) == 2 and made and None not in made


def test_a_builder_is_given_fewer_chunks_once_that_has_come_to_the_same(provider: Provider) -> None:
    chunks = chunks_of(provider, 'plain{"chunks": 60, "size": 600}')
    proof = Proof(hot.gate.Gate("streaming", 10))
    fewer = builder.Fewer(litellm.stream_chunk_builder, KINDS, proof)
    told = Unpriced()
    for number in range(proof.calls):
        found = fewer.of(chunks)
        assert found is not None and found[1].is_on
        response = litellm.stream_chunk_builder(chunks, HELLO, None, None, told)  # type: ignore[arg-type]
        fewer.compare(found[0], response, found[1], HELLO, told, None)
        assert told.model_call_details == {"custom_llm_provider": "openai"}, number
    found = fewer.of(chunks)
    assert found is not None and not found[1].is_on
    assert len(found[0]) <= 4
    made, stock = (litellm.stream_chunk_builder(held, HELLO) for held in (found[0], chunks))
    assert state(made) == state(stock)
    assert fewer.of(chunks_of(provider, "content-and-tools")) is None, "more than a text"


def test_a_builder_that_goes_by_the_number_of_chunks_is_given_all(provider: Provider) -> None:
    def counting(chunks: list[Any], *rest: Any) -> Any:
        response: Any = litellm.stream_chunk_builder(chunks, *rest)
        response.usage.completion_tokens = len(chunks)
        return response

    chunks = chunks_of(provider, 'plain{"chunks": 60, "size": 600}')
    fewer = builder.Fewer(counting, KINDS, Proof(hot.gate.Gate("streaming", 10)))
    found = fewer.of(chunks)
    assert found is not None
    fewer.compare(found[0], counting(chunks, HELLO), found[1], HELLO, None, None)
    assert fewer.of(chunks) is None


@pytest.mark.parametrize(("kind", "is_at_once"), [("few", True), ("none", False), ("many", False), ("plain", False)])
def test_texts_of_few_chunks_are_collected_at_once_and_not_in_a_thread(
    provider: Provider, accelerated: Any, kind: str, is_at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts: Any = pytest.importorskip("litellm.litellm_core_utils.served_output_texts")
    made = chunks_of(provider, "plain")
    chunks = {"few": made, "none": [], "many": made * 100, "plain": [chunk.model_dump() for chunk in made]}[kind]
    in_threads: list[Any] = []
    run_sync = anyio.to_thread.run_sync

    async def noted(function: Any, *args: Any, abandon_on_cancel: bool = False, limiter: Any = None) -> Any:
        in_threads.append(function)
        return await run_sync(function, *args, abandon_on_cancel=abandon_on_cancel, limiter=limiter)

    monkeypatch.setattr(anyio.to_thread, "run_sync", noted)

    async def collected() -> Any:
        asyncify = importlib.import_module("litellm.litellm_core_utils.asyncify").asyncify
        return await asyncify(texts.served_stream_output_texts)(chunks)

    stock = asyncio.run(collected())
    assert len(in_threads) == 1
    with accelerated():
        assert asyncio.run(collected()) == stock
        assert len(in_threads) == 1 + (not is_at_once)
        assert not litellm_accel.status()["streaming"].faults


def test_where_no_template_puts_a_text_together_stock_does_so_of_fewer_chunks(
    provider: Provider, accelerated: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Assembler, "assembled", lambda *given: None)
    given: list[Any] = []
    of = builder.Fewer.of

    def remember(self: builder.Fewer, chunks: list[Any]) -> Any:
        given.append(of(self, chunks))
        return given[-1]

    monkeypatch.setattr(builder.Fewer, "of", remember)
    answers = ('plain{"chunks": 60, "size": 600}', "content-and-tools", "reasoning", 'plain{"n": 2, "size": 60}')
    cases = [chunks_of(provider, answer) for answer in answers]
    cases += [cases[0][:1], [*cases[0][3:], *cases[0][:3]], []]
    stock = [built(case) for case in cases]
    with accelerated():
        assert [built(case) for case in cases] == stock
        assert litellm_accel.status()["streaming"].faults == 0
        assert given[0] is not None and len(given[0][0]) <= 4
        assert given[1] is None
        whole = chunks_of(provider, answers[0])
        assert given[-1] is not None and len(given[-1][0]) <= 4, "at the end of a stream"
        assert served() > 60
        assert "".join(chunk.choices[0].delta.content or "" for chunk in whole)


# --- opening ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def opening(restored: None) -> Iterator[Any]:
    """Return a function that accelerates streams and their opening within its ``with`` block."""
    with records.proving("streaming"), records.proving("chat"):
        yield lambda: litellm_accel.accelerated(["chat", "streaming"], strict=True)


def opened() -> int:
    return litellm_accel.status()["chat"].served


async def read_by_two(provider: Provider) -> list[Any]:
    """Return what two readers of one stream come to, of which the second comes while the first waits for a packet."""
    stream: Any = await litellm.acompletion(**arguments(provider, 'plain{"stall": 3}'))
    waiting, found = asyncio.Event(), []

    async def first() -> None:
        async for _ in stream:
            found.append("chunk")
            if len(found) == 3:
                waiting.set()  # and waits before anybody else has a turn

    reading = asyncio.create_task(first())
    await waiting.wait()
    for reader in (anext(stream), reading):
        try:
            found.append(await asyncio.wait_for(reader, 10))
        except (Exception, StopAsyncIteration) as error:
            found.append((type(error), str(error), type(error.__context__)))
    return found


def test_a_second_reader_ends_the_first_as_in_stock(provider: Provider, accelerated: Any) -> None:
    stock = asyncio.run(read_by_two(provider))
    with accelerated():
        assert [asyncio.run(read_by_two(provider)) for _ in range(2)] == [stock] * 2
        assert served()
        assert not litellm_accel.status()["streaming"].faults


def test_the_lane_opens_the_third_stream_of_a_key(provider: Provider, opening: Any) -> None:
    stock = collect_sync(provider, "plain"), asyncio.run(collect(provider, "plain"))
    with opening():
        for number in range(4):
            assert collect_sync(provider, "plain") == stock[0]
            assert opened() == max(0, number - 1)
        before = opened()

        async def play() -> None:
            for _ in range(4):
                assert await collect(provider, "plain") == stock[1]

        asyncio.run(play())
        assert opened() == before + 2
        assert not litellm_accel.status()["chat"].faults


def test_streams_with_other_headers_in_each_are_opened(provider: Provider, opening: Any) -> None:
    async def play() -> list[Any]:
        provider.clear()
        for number in range(5):
            headers = {"X-Request-Id": f"call {number}"}
            assert collect_sync(provider, "plain", extra_headers=headers)
            assert await collect(provider, "plain", headers=headers)
        return [(sent.headers, sent.body) for sent in provider.requests()]

    stock = asyncio.run(play())
    with opening():
        assert asyncio.run(play()) == stock
        assert opened() == 2 * (5 - 2)
        assert not litellm_accel.status()["chat"].faults


@pytest.mark.parametrize("kind", ["completion", "acompletion"])
def test_streams_of_azure_are_opened_and_equal(provider: Provider, opening: Any, kind: str) -> None:
    answer = 'plain{"chunks": 5, "size": 50}'
    more = {"model": "azure/gpt-4o", "api_version": "2024-10-21"}

    async def play() -> list[Any]:
        shown = []
        for _ in range(6):
            if kind == "completion":
                shown.append(collect_sync(provider, answer, **more))
            else:
                shown.append(await collect(provider, answer, **more))
        return shown

    stock = asyncio.run(play())
    with opening():
        assert asyncio.run(play()) == stock
        assert opened() >= 3 and served() >= 24
        assert not litellm_accel.status()["chat"].faults


@pytest.mark.parametrize("kind", ["completion", "acompletion", "Router.acompletion"])
def test_what_is_noted_in_a_stream_s_metadata_is_what_stock_notes(provider: Provider, opening: Any, kind: str) -> None:
    router = litellm.Router(model_list=[{"model_name": "m", "litellm_params": arguments(provider, "plain")}])

    async def play() -> list[Any]:
        shown = []
        for number in range(7):
            metadata = {"number": number, "trace_id": f"t-{number}", "nested": {"n": [number]}, "tags": ["a"]}
            user = {"user": f"user {number}", "metadata": metadata}
            if kind == "completion":
                stream: Any = litellm.completion(**arguments(provider, "plain", **user))
                told, held = dict(metadata), stream.logging_obj.litellm_params["metadata"] is metadata
                chunks = list(stream)
            else:
                given = (
                    {"model": "m", "messages": HELLO, "stream": True} if "R" in kind else arguments(provider, "plain")
                )
                call: Any = router.acompletion if "R" in kind else litellm.acompletion
                stream = await call(**given, **user)
                told, held = dict(metadata), stream.logging_obj.litellm_params["metadata"] is metadata
                chunks = [chunk async for chunk in stream]
            await asyncio.sleep(0.1)
            shown.append(masks.mask(observe.describe([told, held, metadata, list(map(seen, chunks))])))
        return shown

    stock = asyncio.run(play())
    with opening():
        assert asyncio.run(play()) == stock
        assert opened() == 4  # two are learned from, and one that differs from both
        assert not litellm_accel.status()["chat"].faults


# What a proxy adds that asks for usage where its client did not.
USAGE_OF_A_PROXY = {
    "stream_options": {"include_usage": True},
    "_litellm_strip_stream_usage": True,
    "_litellm_stream_usage_injected": True,
}


@pytest.mark.parametrize("more", [{}, USAGE_OF_A_PROXY])
def test_the_logging_object_of_a_proxy_s_stream_is_the_stream_s(
    provider: Provider, opening: Any, more: dict[str, Any]
) -> None:
    async def play() -> list[Any]:
        shown = []
        for number in range(9):
            given = {**arguments(provider, "plain", **more), "metadata": {"number": number}}
            given["litellm_call_id"] = f"id-{number}"
            began = datetime.datetime.now()
            logging, given = litellm.utils.function_setup("acompletion", litellm.utils.Rules(), began, **given)
            stream: Any = await litellm.acompletion(**given, litellm_logging_obj=logging)
            assert vars(stream.logging_obj) is vars(logging) and type(stream.logging_obj).__name__ == "Logging"
            chunks = [seen(chunk) async for chunk in stream]
            await asyncio.sleep(0.1)
            details = logging.model_call_details
            whole = details["async_complete_streaming_response"].choices[0].message.content
            asked = getattr(stream, "caller_requested_stream_usage", None), stream.send_stream_usage
            shown.append([chunks, logging.litellm_call_id, whole, details["response_cost"], sorted(details), asked])
        return shown

    stock = asyncio.run(play())
    with opening():
        assert asyncio.run(play()) == stock
        assert opened() >= 4


def test_a_call_that_fails_takes_nothing_away_from_what_was_shown(provider: Provider, opening: Any) -> None:
    def play() -> list[Any]:
        shown: list[Any] = []
        for said in ("plain", "error-400", "plain", "error-400", "plain"):
            given = {**arguments(provider, ""), "api_base": provider.url}
            given["messages"] = [{"role": "user", "content": f"answer as: {said}"}]
            try:
                shown.append([seen(chunk) for chunk in litellm.completion(**given)])
            except litellm.BadRequestError as error:
                shown.append(str(error))
        return shown

    stock = play()
    with opening():
        assert play() == stock
        assert opened() == 1
        assert not litellm_accel.status()["chat"].faults


def test_without_the_chat_lane_stock_opens_streams(provider: Provider, accelerated: Any) -> None:
    with accelerated():
        before = served(), opened()
        for _ in range(3):
            collect_sync(provider, "plain")
        assert served() > before[0]
        assert opened() == before[1]


def test_without_the_streaming_component_the_chat_lane_opens_none(provider: Provider, restored: None) -> None:
    with records.proving("chat"), litellm_accel.accelerated("chat", strict=True):
        for _ in range(3):
            collect_sync(provider, "plain")
        assert not opened()
        assert litellm_accel.status()["chat"].declined["stream"] == 3


def test_what_was_learned_keeps_no_stream_open(provider: Provider, opening: Any) -> None:
    async def play() -> None:
        for _ in range(4):
            stream: Any = await litellm.acompletion(**arguments(provider, "plain"))
            await anext(stream)
            response = weakref.ref(stream.completion_stream.response)
            del stream
            for _ in range(3):
                gc.collect()
                await asyncio.sleep(0.01)
            assert response() is None

    with opening():
        asyncio.run(play())
        assert opened() == 2


def test_a_stream_goes_on_after_the_lane_that_opened_it(provider: Provider, opening: Any) -> None:
    stock = collect_sync(provider, "plain")
    with opening():
        for _ in range(2):
            collect_sync(provider, "plain")
        stream: Any = litellm.completion(**arguments(provider, "plain"))
        first = next(stream)
        assert opened() == 1
    assert [seen(chunk) for chunk in (first, *stream)] == stock


def test_an_internal_fault_while_opening_leaves_the_answer_to_stock(
    provider: Provider, opening: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("broken")

    stock = collect_sync(provider, "plain")
    with opening():
        for _ in range(2):
            collect_sync(provider, "plain")
        monkeypatch.setattr(opener.StreamOpener, "open", fail)
        sent = len(provider.requests())
        assert collect_sync(provider, "plain") == stock
        assert len(provider.requests()) == sent + 1
        status = litellm_accel.status()["chat"]
        assert status.faults == 1
        assert status.declined["reply left to stock"] == 1


@pytest.mark.parametrize(
    "names", [("Date", "Set-Cookie", "set-cookie", "X-a"), (b"Date", b"Set-Cookie", b"X-a", b"X-a")]
)
def test_headers_of_remembered_names_are_the_clients_own(names: tuple[Any, ...]) -> None:
    normalized = opener._NormalizedNames()
    for values in ([b"1", b"a=1", b"b=2", b""], [b"2", b"a=2", b"c=3", b"x"]):
        expected = httpx.Headers([(name, value) for name, value in zip(names, values, strict=True)])
        assert vars(normalized.headers(names, values)) == vars(expected)


def test_what_an_answer_sets_twice_is_there_twice_in_a_stream_that_is_opened(opening: Any) -> None:
    with Provider(profile="openai") as provider, opening():
        for _ in range(4):
            stream: Any = litellm.completion(**arguments(provider, "plain"))
            list(stream)

        async def play() -> list[int]:
            counts = []
            for _ in range(12):
                stream: Any = await litellm.acompletion(**arguments(provider, "plain"))
                counts.append(len(stream.completion_stream.response.headers.get_list("set-cookie")))
                async for _ in stream:
                    pass
            return counts

        assert max(asyncio.run(play())) > 1
        assert opened() >= 4
        assert litellm_accel.status()["chat"].faults == 0


# --- ending -----------------------------------------------------------------------------------------------------------


async def ended(provider: Provider, change: Any = None) -> Any:
    """Return the ``Logging`` object of a stream that has ended; ``change`` is called when it has begun."""
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    answer = raw([event({"role": "assistant", "content": "Hi"}), event({}, "stop"), event({}, usage=usage)])
    more = {"stream_options": {"include_usage": True}}
    stream: Any = await litellm.acompletion(**arguments(provider, answer, **more))
    await anext(stream)
    if change is not None:
        change()
    async for _ in stream:
        pass
    for _ in range(10_000):
        if "standard_logging_object" in stream.logging_obj.model_call_details:
            break
        await asyncio.sleep(0.001)
    return stream.logging_obj


def test_what_a_stream_reads_from_is_read_to_its_end_and_not_left_to_the_loop(provider: Provider, opening: Any) -> None:
    async def play() -> list[str]:
        left: list[str] = []
        close = sys.get_asyncgen_hooks().finalizer
        assert close is not None

        def note(iterator: Any) -> None:
            left.append(iterator.__name__)
            close(iterator)

        sys.set_asyncgen_hooks(finalizer=note)
        for _ in range(4):
            await ended(provider)
        left.clear()
        await ended(provider)
        return left

    assert asyncio.run(play())  # by stock
    with opening():
        assert not asyncio.run(play())


@pytest.mark.parametrize("missing", ["an end", "plain text", "a transport that is known"])
def test_what_has_not_come_is_not_waited_for_at_the_end_of_a_stream(missing: str) -> None:
    content = SimpleNamespace(at_eof=lambda: missing != "an end", exception=lambda: None)
    body = SimpleNamespace(_stream=SimpleNamespace(_aiohttp_response=SimpleNamespace(content=content)))
    name = "GZipDecoder" if missing == "plain text" else "IdentityDecoder"
    response: Any = SimpleNamespace(_decoder=type(name, (), {})(), stream=body)
    if missing == "a transport that is known":
        response.stream = object()

    async def play() -> list[Any]:
        packets = iter([b"data: [DONE]\n\n"])

        async def come() -> AsyncIterator[bytes]:
            for packet in packets:
                yield packet
            raise AssertionError("it was waited for")

        reader = hot.streaming.Reader({}, {})
        events = source.SSEEventSource(_streaming.SSEDecoder(), reader, response).aiter_bytes(come())
        await anext(events)  # before the first
        return [(await anext(events)).data]

    assert asyncio.run(play()) == ["[DONE]"]


def told(logging: Any) -> Any:
    payload = logging.model_call_details["standard_logging_object"]
    return logging.cost_breakdown, payload["response_cost"], payload["total_tokens"], payload["model_map_information"]


class Deaf(CustomLogger):
    """Hears of ends alone."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Any] = []

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        payload = kwargs["standard_logging_object"]
        text = response_obj.choices[0].message.content
        self.heard.append((text, payload["total_tokens"], payload["response_cost"]))


class Hearing(Deaf):
    """Hears of chunks as well."""

    def log_stream_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.heard.append(type(response_obj))


class Hooked(Deaf):
    """Is asked about each chunk."""

    def logging_hook(self, kwargs: Any, result: Any, call_type: str) -> tuple[Any, Any]:
        self.heard.append(type(result))
        return kwargs, result


def left(stream: Any) -> dict[str, Any]:
    """Return what the ``Logging`` object of a stream holds at its end, with the kinds of what differs in each."""
    details = {name: type(held) for name, held in stream.logging_obj.model_call_details.items()}
    return {**{name: type(held) for name, held in vars(stream.logging_obj).items()}, "model_call_details": details}


@pytest.mark.parametrize("logger", [Deaf, Hearing, Hooked])
def test_a_job_for_each_chunk_is_done_where_a_logger_hears_of_chunks(
    provider: Provider, opening: Any, monkeypatch: pytest.MonkeyPatch, logger: type[Deaf]
) -> None:
    jobs: list[Any] = []
    run = asyncio.run

    def note(job: Any) -> Any:
        jobs.append(job)
        return run(job)

    told = logger()

    def play() -> list[Any]:
        shown = []
        for number in range(6):
            told.heard = []
            if number == 5:  # nothing is learned any more
                monkeypatch.setattr(asyncio, "run", note)  # each job of stock's does so
            stream: Any = litellm.completion(**arguments(provider, 'plain{"chunks": 9, "size": 90}'))
            chunks = list(stream)
            threads_settled()
            usage = type(chunks[-1]._hidden_params["usage"])
            # Jobs that are done after that of the end tell nothing, so how often something is heard differs.
            shown.append((len(jobs), set(map(str, told.heard)), left(stream), usage))
        monkeypatch.setattr(asyncio, "run", run)
        jobs.clear()
        return shown

    with without_callbacks():
        litellm.callbacks.append(told)
        stock = play()
        with opening():
            found = play()
            assert opened() and served(), litellm_accel.status()["chat"].declined
            assert litellm_accel.status()["streaming"].faults == 0
    assert [each[1:] for each in found] == [each[1:] for each in stock]
    assert stock[-1][0] > 10
    assert found[-1][0] > 10 if logger is not Deaf else not found[-1][0]


@pytest.mark.parametrize(
    "answer",
    [
        "plain",
        "no-done",
        raw([event({"content": "Hi"}), event({}, "stop"), event({}, usage={"total_tokens": 3, "prompt_tokens": 2})]),
        raw([event({"content": "Hi"}), event({}, "stop"), {"error": {"message": "late"}}]),
        'plain{"chunks": 3, "cut": 5}',
    ],
)
def test_a_synchronous_stream_ends_as_in_stock(provider: Provider, opening: Any, answer: str) -> None:
    def play() -> list[Any]:
        shown = []
        for _ in range(6):
            stream: Any = litellm.completion(**arguments(provider, answer))
            chunks: list[Any] = []
            with contextlib.suppress(litellm.exceptions.MidStreamFallbackError):
                chunks.extend(stream)
            try:
                next(stream)
            except (StopIteration, Exception) as error:
                chunks.append(type(error))
            threads_settled()
            said = [chunk.model_dump(exclude={"id", "created"}) for chunk in chunks[:-1]]
            shown.append((said, chunks[-1], left(stream), stream._closed, stream.completion_stream))
        return shown

    stock = play()
    with opening():
        assert play() == stock
        assert opened() >= 3
        assert litellm_accel.status()["streaming"].faults == 0


def test_the_connection_of_a_synchronous_stream_is_kept_once_all_has_come(provider: Provider, opening: Any) -> None:
    def play() -> int:
        before = provider.stats()["connections"]
        for _ in range(4):
            collect_sync(provider, 'plain{"packet": 1000}')
        return provider.stats()["connections"] - before

    stock = play()
    with opening():
        play()  # is learned from
        assert play() <= stock - 3


@pytest.mark.parametrize("missing", ["an end", "plain text", "a transport that is known"])
def test_what_has_not_come_is_not_waited_for_in_a_thread(missing: str) -> None:
    near, far = socket.socketpair()
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nHi\r\n")
    assert type(connection.next_event()) is h11.Response
    assert type(connection.next_event()) is h11.Data
    wire = SimpleNamespace(_sock=near if missing != "a transport that is known" else object())
    held = SimpleNamespace(_h11_state=connection, _network_stream=wire, READ_NUM_BYTES=65536)
    body = SimpleNamespace(_httpcore_stream=SimpleNamespace(_stream=SimpleNamespace(_connection=held)))
    name = "GZipDecoder" if missing == "plain text" else "IdentityDecoder"
    response: Any = SimpleNamespace(_decoder=type(name, (), {})(), stream=SimpleNamespace(_stream=body))
    with near, far:
        assert not source._has_come(response)
        far.sendall(b"0\r\n" if missing == "an end" else b"0\r\n\r\n")
        assert not source._has_come(response)
        if missing == "an end":
            far.sendall(b"\r\n")
            assert source._has_come(response)
            assert type(connection.next_event()) is h11.EndOfMessage


@pytest.fixture
def dear() -> Iterator[Callable[[], None]]:
    """Return a function that makes prompts dear until the test ends, as if LiteLLM had just read its prices."""
    prices = litellm.model_cost
    before = prices["gpt-4o"]

    def change(entry: Any) -> None:
        prices["gpt-4o"] = entry
        litellm.utils._invalidate_model_cost_lowercase_map()

    yield lambda: change({**before, "input_cost_per_token": 0.5})
    change(before)


def test_a_price_that_changes_in_mid_stream_holds_at_its_end(
    provider: Provider, opening: Any, dear: Callable[[], None]
) -> None:
    async def play() -> list[Any]:
        found = [told(await ended(provider)) for _ in range(6)]
        return [*found, told(await ended(provider, dear)), told(await ended(provider))]

    with opening():
        found = asyncio.run(play())
        assert litellm_accel.status()["chat"].faults == litellm_accel.status()["streaming"].faults == 0
    assert found[:6] == [found[0]] * 6
    assert found[6][0]["input_cost"] == 7 * 0.5
    assert found[6:] == [told(asyncio.run(ended(provider)))] * 2


@pytest.mark.parametrize(
    ("owner", "name", "component"),
    [
        (pricer._Price, "told", "chat"),
        (pricer._Stamped, "told", "chat"),
        (builder.Text, "__init__", "streaming"),
        (payload.Payloads, "_build", "chat"),
    ],
)
def test_an_internal_fault_at_the_end_leaves_it_to_stock(
    provider: Provider, opening: Any, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, component: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("broken")

    stock = told(asyncio.run(ended(provider)))

    async def play() -> None:
        for _ in range(5):
            await ended(provider)
        monkeypatch.setattr(owner, name, fail)
        assert told(await ended(provider)) == stock
        assert litellm_accel.status()[component].faults > 0

    with opening():
        asyncio.run(play())


# --- verify -----------------------------------------------------------------------------------------------------------


def test_there_are_enough_scenarios_for_every_way_to_stream() -> None:
    runs = scenarios.runs("streaming")
    assert len({run.scenario.name for run in runs}) >= 60
    assert {run.via for run in runs} == {"completion", "acompletion", "router", "arouter"}


def test_the_component_relies_on_the_modules_it_passes_by() -> None:
    assert "litellm.litellm_core_utils.streaming_handler" in get("streaming").relies_on
    assert "litellm.types.utils" in get("streaming").relies_on


@pytest.mark.parametrize("thorough", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["short", "thorough"])
def test_verify_finds_no_difference(thorough: bool) -> None:
    verdicts = comparison.run("streaming", thorough=True).verdicts if thorough else replayed.verdicts("streaming")
    assert "\n".join(str(verdict) for verdict in verdicts if not verdict.ok) == ""
    assert not [verdict.run.id for verdict in verdicts if verdict.unserved]


def test_what_a_release_lacks_is_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(streaming._NAMES, "litellm.types.utils", ("Delta", "no_such_name"))  # type: ignore[index]
    gate = hot.gate.Gate("streaming", 10)
    streams = streaming.Streams(gate, Proof(gate))
    assert streams.admitted() is None


def test_where_streams_end_otherwise_only_chunks_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seams.StreamEnd, "_STEPS", {**seams.StreamEnd._STEPS, "another_step": ()})
    replaced = streaming.Streaming().replacements(hot.gate.Gate("streaming", 10))
    assert [replacement.target.rpartition(".")[2] for replacement in replaced] == ["__anext__", "__next__"]


@pytest.mark.parametrize(
    "place",
    [
        "litellm.CustomStreamWrapper.model_response_creator",
        "litellm.litellm_core_utils.litellm_logging.Logging.success_handler",
        "openai._models.BaseModel.construct",
        "litellm.litellm_core_utils.streaming_handler.Delta.__init__",
    ],
)
def test_whoever_wraps_what_is_passed_by_is_asked(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = hot.gate.Gate("streaming", 10)
    streams = streaming.Streams(gate, Proof(gate))
    assert streams.admitted() is None
    owner, _, name = place.rpartition(".")
    held = pydoc.locate(owner)
    through = wrapt.FunctionWrapper(vars(held)[name], lambda wrapped, instance, args, kwargs: wrapped(*args, **kwargs))
    with monkeypatch.context() as patched:
        patched.setattr(held, name, through)
        assert str(streams.admitted()) == f"patched {name}"
    assert streams.admitted() is None
