"""Arguments that differ in each call, by every way into LiteLLM.

What applications, providers and callbacks see of them is LiteLLM's, but for its ids and clocks.
"""

from __future__ import annotations

import asyncio
import copy
import datetime
import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import litellm
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from litellm.integrations.custom_logger import CustomLogger
from pydantic import BaseModel

import litellm_accel
from fastpath_switch import Switch
from litellm_accel.provider import Provider
from litellm_accel.verify import records
from settling import settled, threads_settled

pytestmark = pytest.mark.usefixtures("quiet")

ROUTED = ("router", "arouter")
WAYS = ("completion", "acompletion", *ROUTED)
Arguments = dict[str, Any]
_IDS = re.compile(r"chatcmpl-[0-9a-f-]{36}|[0-9a-f]{8}-[0-9a-f-]{27}|0x[0-9a-f]{6,}|time taken=[\d.]+")
_CLOCKS = re.compile(r"time|created|_ms$|duration|_windows$|perf_counter", re.IGNORECASE)
# What a router in a thread writes while another thread tells.
_LATE = re.compile(r"x-litellm-|_response_ms|litellm_overhead_time_ms")
_LIMITS = ("timeout", "request_timeout", "stream_timeout", "applied_timeout")


class Told(CustomLogger):
    """Keeps all that it is told of calls that end well."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.events.append(f"async {early(plain(kwargs))} {early(plain(response_obj))}")

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.events.append(f"sync {early(plain(kwargs))} {early(plain(response_obj))}")


def early(shown: Any) -> Any:
    """What ``plain`` has shown, but for what comes late."""
    if isinstance(shown, dict):
        return {key: early(held) for key, held in shown.items() if not _LATE.match(str(key))}
    return [early(held) for held in shown] if isinstance(shown, (list, tuple)) else shown


def plain(value: Any, name: Any = "") -> Any:
    """All that a value holds, but for ids and clocks."""
    if type(name) is str and name not in _LIMITS and _CLOCKS.search(name):
        return f"<{type(value).__name__}>"
    if isinstance(value, dict):
        return {key: plain(held, key) for key, held in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(held) for held in value]
    if isinstance(value, BaseModel):
        return type(value).__name__, plain(dict(value))
    if isinstance(value, str):
        return _IDS.sub("<id>", value)
    if isinstance(value, datetime.datetime) or callable(value):
        return f"<{type(value).__name__}>"
    return _IDS.sub("<id>", repr(value)).replace("Fed", "Logging")


@contextmanager
def accelerated() -> Iterator[Any]:
    """The gate of a fast path that is on in the block, streams included."""
    switch = Switch()
    with records.proving("streaming"), litellm_accel.accelerated("streaming", strict=True), switch.on():
        yield switch.gate
    switch.stop()


def play(provider: Provider, way: str, calls: list[Arguments], told: Told | None = None) -> list[Any]:
    """What applications, the provider and callbacks see of calls, one after the other."""
    provider.clear()
    litellm.in_memory_llm_clients_cache.flush_cache()
    if told is not None:
        told.events.clear()
    base = {"model": "openai/gpt-4o-mini", "api_base": provider.url, "api_key": "sk-test"}
    function: Callable[..., Any]
    if way in ROUTED:
        function, base = ask_router(base, way), {"model": "group"}
    else:
        function = getattr(litellm, way)
    outcomes: list[Any] = []

    async def ask() -> None:
        for number, arguments in enumerate(calls):
            messages = [{"role": "user", "content": f"Number {number}"}]
            given = copy.deepcopy({**base, "messages": messages, **arguments})
            try:
                result = function(**given)
                result = await result if inspect.isawaitable(result) else result
                if hasattr(result, "__aiter__") and way in ("acompletion", "arouter"):
                    seen = [plain(chunk) async for chunk in result]
                elif isinstance(result, BaseModel):
                    seen = [plain(result)]
                else:
                    seen = [plain(chunk) for chunk in result]
                outcomes.append((seen, plain(result._hidden_params), plain(result._response_headers)))
            except Exception as error:
                outcomes.append((type(error).__name__, plain(str(error)), plain(getattr(error, "timeout", None))))
            if told is not None or "metadata" in given:  # which LiteLLM's threads write to when they tell
                await settled() if in_loop else threads_settled()
            outcomes.append(plain(given))

    in_loop = way in ("acompletion", "arouter")
    asyncio.run(ask()) if in_loop else at_once(ask())
    requests = [(request.path, request.headers, request.body) for request in provider.requests()]
    return [outcomes, requests, list(told.events) if told is not None else []]


def ask_router(params: Arguments, way: str) -> Any:
    router = litellm.Router(
        model_list=[{"model_name": "group", "litellm_params": params, "model_info": {"id": "first"}}], num_retries=0
    )
    return router.acompletion if way == "arouter" else router.completion


def at_once(coroutine: Any) -> None:
    """Run what never waits, in a thread without an event loop."""
    with pytest.raises(StopIteration):
        coroutine.send(None)


def served(
    provider: Provider, way: str, calls: list[Arguments], stream: bool, told: bool
) -> tuple[int, dict[str, int]]:
    """Assert that the fast path does with ``calls``, which may ``stream``, what stock does.

    Returned are how many it has served, and why not the others.
    """
    if stream:
        calls = [{**call, "stream": True} for call in calls]
    listener = Told() if told else None
    if listener is not None:
        litellm.callbacks.append(listener)
    play(provider, way, calls[:2], listener)  # what LiteLLM does once
    expected = play(provider, way, calls, listener)
    with accelerated() as gate:
        found = play(provider, way, calls, listener)
        counts = int(gate.served), {str(reason): count for reason, count in gate.declined.items()}
        assert not gate.faults, gate.last_fault
    for one, other in zip(found, expected, strict=True):
        assert [difference(*pair) for pair in zip(one, other, strict=True) if pair[0] != pair[1]] == []
        assert one == other
    return counts


def difference(one: Any, other: Any) -> Any:
    """Where two texts, or what two values say, begin to differ."""
    one, other = str(one), str(other)
    place = next((place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
    return one[max(place - 200, 0) : place + 60], other[place : place + 60]


def each(name: str, values: list[Any], **more: Any) -> list[Arguments]:
    return [{name: value, **more} for value in values]


@pytest.mark.parametrize("told", [False, True], ids=["plain", "told"])
@pytest.mark.parametrize("stream", [False, True], ids=["answers", "streams"])
@pytest.mark.parametrize("way", WAYS)
def test_calls_that_are_left_out_of_logs(provider: Provider, way: str, stream: bool, told: bool) -> None:
    """Every other call is, and nobody is told of it."""
    count, reasons = served(provider, way, [{}, {"no-log": True}] * 5, stream, told)
    assert count >= 4, reasons


class OfProxy_PROXY_(Told):
    """Is told of every call by this part of its name, as what the proxy counts spend by."""


@pytest.mark.parametrize("way", WAYS)
def test_what_counts_spend_is_told_of_calls_left_out_of_logs(provider: Provider, way: str) -> None:
    counting, other = OfProxy_PROXY_(), Told()
    litellm.callbacks.append(counting)
    litellm.callbacks.append(other)
    calls: list[Arguments] = [{"no-log": True}] * 8
    play(provider, way, calls[:2], counting)
    expected = play(provider, way, calls, counting)
    with accelerated() as gate:
        found = play(provider, way, calls, counting)
        assert gate.served >= 4, gate.declined
    assert found == expected
    assert len(found[2]) >= len(calls)
    assert not other.events


# By which arguments calls differ, and how many of them have to be watched.
LIMITS = {
    "whole": each("timeout", list(range(30, 22, -1))),
    "requests": each("request_timeout", [30.5 - number for number in range(8)]),
    "whole requests": each("request_timeout", list(range(30, 22, -1))),
}


@pytest.mark.parametrize("told", [False, True], ids=["plain", "told"])
@pytest.mark.parametrize("stream", [False, True], ids=["answers", "streams"])
@pytest.mark.parametrize("kind", LIMITS)
@pytest.mark.parametrize("way", WAYS)
def test_time_limits(provider: Provider, way: str, kind: str, stream: bool, told: bool) -> None:
    count, reasons = served(provider, way, LIMITS[kind], stream, told)
    assert count == 6, reasons


@pytest.mark.parametrize("told", [False, True], ids=["plain", "told"])
@pytest.mark.parametrize("way", WAYS)
def test_time_limits_of_streams(provider: Provider, way: str, told: bool) -> None:
    calls = each("stream_timeout", list(range(30, 22, -1)))
    count, reasons = served(provider, way, calls, True, told)
    assert count == 6, reasons
    count, reasons = served(provider, way, calls, False, told)
    assert count == 6, reasons


TOLD_OR_SENT = {
    "litellm_session_id": each("litellm_session_id", [f"session {number}" for number in range(8)]),
    "id": each("id", [f"call {number}" for number in range(8)]),
    "tags": each("tags", [[f"tag {place}" for place in range(number)] for number in range(1, 9)]),
    "several": [
        {"litellm_session_id": f"s{number // 2}", "id": f"i{number}", "tags": [f"t{number}"], "user": f"u{number}"}
        for number in range(8)
    ],
    "no-log": each("seed", list(range(1, 9)), **{"no-log": False}),
    "session_id": each("session_id", [f"session {number}" for number in range(8)]),
    "trace_id": each("trace_id", [f"trace {number}" for number in range(8)]),
    "top_k": each("top_k", list(range(1, 9))),
    "n": each("n", [3, 4] * 4),
    "seed": each("seed", list(range(1, 9))),
    "max_tokens": each("max_tokens", list(range(100, 108))),
    "logit_bias": [{"logit_bias": {str(number): number}, "user": f"u{number}"} for number in range(1, 9)],
}


@pytest.mark.parametrize("told", [False, True], ids=["plain", "told"])
@pytest.mark.parametrize("stream", [False, True], ids=["answers", "streams"])
@pytest.mark.parametrize("kind", TOLD_OR_SENT)
@pytest.mark.parametrize("way", WAYS)
def test_what_is_told_or_sent(provider: Provider, way: str, kind: str, stream: bool, told: bool) -> None:
    count, reasons = served(provider, way, TOLD_OR_SENT[kind], stream, told)
    # Where the first two calls have one session, a third shows that it may differ.
    assert count >= (5 if kind == "several" else 6), reasons


def _schema(number: int) -> dict[str, Any]:
    """A schema as pydantic makes them, another for each ``number``, with some of the words each time."""
    fields: dict[str, Any] = {
        "kind": {"const": f"k{number}", "title": "Kind", "type": "string"},
        "code": {"pattern": rf"^[a-z]{{{number + 1}}}\d(?!x)$", "title": "Code", "type": "string"},
        "item": {"$ref": f"#/$defs/Item{number}"},
        "when": {"anyOf": [{"format": "date-time", "type": "string"}, {"type": "null"}], "default": None},
        "sizes": {"additionalProperties": {"type": "integer"}, "title": "Sizes", "type": "object"},
        "pair": {"maxItems": 2, "prefixItems": [{"type": "string"}, {"type": "number"}], "type": "array"},
        "pet": {
            "discriminator": {"mapping": {"cat": f"#/$defs/Item{number}"}, "propertyName": "kind"},
            "oneOf": [{"$ref": f"#/$defs/Item{number}"}],
        },
    }
    kept = {f"{name}_{number}": held for place, (name, held) in enumerate(fields.items()) if place != number % 7}
    kept["limit"] = {"anyOf": [{"type": "integer"}, {"type": "null"}], "enum": [number, None]}
    described = {"properties": {"n": {"default": {"a": [number]}, "type": "object"}}, "title": "Item", "type": "object"}
    return {"$defs": {f"Item{number}": described}, "properties": kept, "required": [*kept][:2], "type": "object"}


def _function(number: int, schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": f"tool_{number}", "description": "é", "parameters": schema}}


def _format(number: int, schema: dict[str, Any]) -> dict[str, Any]:
    described = {"name": f"answer_{number}", "strict": True, "schema": {**schema, "additionalProperties": False}}
    return {"type": "json_schema", "json_schema": described}


SCHEMAS = {
    "tools": [{"tools": [_function(n + more, _schema(n + more)) for more in range(1 + n % 2)]} for n in range(8)],
    "formats": [{"response_format": _format(n, _schema(n))} for n in range(8)],
    "both": [
        {
            "tools": [_function(n, _schema(n))],
            "response_format": _format(n, _schema(n + 3)),
            "temperature": 0.4 + n / 99,
        }
        for n in range(8)
    ],
}


@pytest.mark.parametrize("told", [False, True], ids=["plain", "told"])
@pytest.mark.parametrize("stream", [False, True], ids=["answers", "streams"])
@pytest.mark.parametrize("kind", SCHEMAS)
@pytest.mark.parametrize("way", WAYS)
def test_schemas_that_pydantic_makes(provider: Provider, way: str, kind: str, stream: bool, told: bool) -> None:
    count, reasons = served(provider, way, SCHEMAS[kind], stream, told)
    assert count == 6, reasons


PATTERNS = [
    {"tools": [_function(0, {"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}})]}
    for pattern in (r"^a$", r"^\d{3}$", r"\p{L}+", "(", "a{9}", "[[a]", "b", "a||b", "(?i)a", "c?")
]


@pytest.mark.parametrize("way", WAYS)
def test_patterns_that_litellm_may_take_out(provider: Provider, way: str) -> None:
    """Of those that Python cannot compile; those that it might warn of are told apart as well."""
    count, reasons = served(provider, way, PATTERNS, False, False)
    assert count == 3, reasons


REWRITTEN = {
    "definitions of old": [
        {
            "model": "fireworks_ai/accounts/fireworks/models/llama-v3p1-8b-instruct",
            "tools": [
                _function(
                    n,
                    {
                        "type": "object",
                        "properties": {"a": {"$ref": f"#/definitions/A{n}"}},
                        "definitions": {f"A{n}": {"type": "string"}},
                    },
                )
            ],
        }
        for n in range(6)
    ],
    "top-level words": [
        {"tools": [_function(n, {**_schema(n), "anyOf": [{"required": [f"kind_{n}"]}]})]} for n in range(6)
    ],
    "members that are taken out": [
        {"tools": [_function(n, {**_schema(n), "examples": [{"strict": n}]})]} for n in range(6)
    ],
}


@pytest.mark.parametrize("kind", REWRITTEN)
@pytest.mark.parametrize("way", ["completion", "acompletion"])
def test_schemas_that_rules_look_at_are_told_apart(provider: Provider, way: str, kind: str) -> None:
    count, reasons = served(provider, way, REWRITTEN[kind], False, False)
    assert count == 0, reasons


def metadata(*members: str, **more: Any) -> Arguments:
    return {"metadata": {**{member: f"{member} of a call" for member in members}, **more}}


# Names that LiteLLM has not heard of come and go. Two calls are watched, and one more where a name is first missed.
METADATA = {
    "come and go": [
        metadata("customer"),
        metadata("customer", "experiment"),
        metadata("experiment", feature=1),
        metadata("feature", "customer"),
        metadata("agent"),
        metadata("org", "agent", "workflow", experiment=0.5),
        metadata("customer"),
        metadata("team", "feature"),
    ],
    "beside what LiteLLM reads": [
        metadata(*("customer", "org", "team")[: number % 3], user=f"u{number}", trace_id=f"t{number}")
        for number in range(8)
    ],
    "beside what stays": [
        metadata(*("customer", "org", "team")[: number % 3], always="the same", tags=["a"]) for number in range(8)
    ],
}


@pytest.mark.parametrize("told", [False, True], ids=["plain", "told"])
@pytest.mark.parametrize("stream", [False, True], ids=["answers", "streams"])
@pytest.mark.parametrize("kind", METADATA)
@pytest.mark.parametrize("way", WAYS)
def test_metadata_whose_names_come_and_go(provider: Provider, way: str, kind: str, stream: bool, told: bool) -> None:
    count, reasons = served(provider, way, METADATA[kind], stream, told)
    assert count >= (3 if kind == "come and go" else 5), reasons


_LEAF = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.text("a(é$", max_size=3), st.just({"pattern": "("}))
_WORD = st.one_of(
    st.fixed_dictionaries({"const": _LEAF}),
    st.fixed_dictionaries({"default": _LEAF, "type": st.just("string")}),
    st.fixed_dictionaries({"$ref": st.sampled_from(["#/$defs/A", "#/definitions/A", "A"])}),
    st.fixed_dictionaries({"pattern": st.sampled_from(["^a$", "(", "(?=a)", r"\p{L}", "[[a]", ""])}),
    st.fixed_dictionaries({"type": st.sampled_from(["integer", "strict"]), "format": st.text("ab-", max_size=3)}),
)
_SCHEMA = st.recursive(
    _WORD,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"anyOf": st.lists(inner, max_size=2)}),
        st.fixed_dictionaries({"oneOf": st.lists(inner, max_size=2), "discriminator": st.just({"propertyName": "a"})}),
        st.fixed_dictionaries({"additionalProperties": inner, "type": st.just("object")}),
        st.fixed_dictionaries({"not": inner}),
        st.fixed_dictionaries({"properties": st.dictionaries(st.sampled_from(["a", "pattern", "strict"]), inner)}),
    ),
    max_leaves=4,
)
_TOP = st.fixed_dictionaries(
    {"type": st.just("object"), "properties": st.dictionaries(st.sampled_from(["a", "b", "const"]), _SCHEMA)},
    optional={"$defs": st.dictionaries(st.just("A"), _SCHEMA), "anyOf": st.lists(_SCHEMA, max_size=1)},
)
_NAMES = st.sampled_from(["customer", "org", "team", "user", "trace_id", "tags"])
_METADATA = st.dictionaries(_NAMES, st.one_of(st.text("ab", max_size=2), st.integers(0, 2)), max_size=3)
_CALL = st.one_of(
    st.builds(lambda schema: {"tools": [_function(0, schema)]}, _TOP),
    st.builds(lambda schema: {"response_format": _format(0, schema)}, _TOP),
    st.builds(lambda held: {"metadata": held}, _METADATA),
)


@pytest.mark.parametrize("told", [False, True], ids=["plain", "told"])
def test_any_schemas_and_metadata(provider: Provider, told: bool) -> None:
    counts: list[int] = []

    @given(st.lists(_CALL, min_size=8, max_size=12))
    @settings(
        max_examples=8,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    def compare(calls: list[Arguments]) -> None:
        litellm.callbacks.clear()
        counts.append(served(provider, "completion", calls, False, told)[0])

    compare()
    assert sum(counts) >= 4
