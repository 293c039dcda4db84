"""Spans of calls that the fast path serves: the ones that LiteLLM's OpenTelemetry logger makes of stock's calls."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import litellm
import pytest

from differential.test_chat_callbacks import MODES, caller
from fastpath_switch import Switch, assert_served_as_by_stock, without_callbacks
from litellm_accel.provider import Provider
from litellm_accel.verify import masks
from settling import settled

pytest.importorskip("opentelemetry.sdk.trace", reason="needs opentelemetry-sdk")

from litellm.integrations.opentelemetry import OpenTelemetry, OpenTelemetryConfig
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

CALLS = 9
LEARNED = 4  # of the calls, at most
SEMANTIC = {"OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental"}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
# The environment, and what calls pass besides.
KINDS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "plain": ({}, {}),
    "as the conventions have it": (SEMANTIC, {"temperature": 0.5}),
    "metadata": ({}, {"metadata": {"generation_name": "answering", "team": "a"}}),
    "tools": ({}, {"tools": [WEATHER], "tool_choice": "auto"}),
    "nothing of what is said": ({"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "no_content"}, {}),
}

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    with without_callbacks():
        yield


def spans_of(provider: Provider, mode: str, arguments: dict[str, Any]) -> Any:
    """Return the spans of some calls, every other one within a span of the application's; ids and clocks masked."""
    exporter, tracers = InMemorySpanExporter(), TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    logger = OpenTelemetry(config=OpenTelemetryConfig(exporter=exporter), tracer_provider=tracers)
    tracer = tracers.get_tracer("application")
    moments = []

    async def run() -> None:
        call = caller(provider, mode, **_copied(arguments))
        for number in range(CALLS):
            with tracer.start_as_current_span("asking") if number % 2 else nullcontext():
                await call([{"role": "user", "content": f"Question {number}"}])
                await settled()
            moments.append([_named(span) for span in exporter.get_finished_spans()])

    litellm.callbacks.append(logger)
    try:
        asyncio.run(run())
    finally:
        for name in ("callbacks", "success_callback", "_async_success_callback"):
            held = getattr(litellm, name)
            held[:] = [callback for callback in held if callback is not logger]
    spans = exporter.get_finished_spans()
    return masks.mask([list(map(_described, spans)), moments, _tree(spans), _order(spans)])


def _copied(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return arguments whose dictionaries LiteLLM has not noted anything in."""
    return {name: dict(value) if isinstance(value, dict) else value for name, value in arguments.items()}


def _named(span: Any) -> str:
    return str(span.name)


def _described(span: Any) -> dict[str, Any]:
    attributes = {name: _read(value) for name, value in span.attributes.items()}
    return {
        "name": span.name,
        "kind": str(span.kind),
        "status": [str(span.status.status_code), span.status.description],
        "attributes": _without_clocks(attributes),
        "order": list(attributes),
        "events": [[event.name, _without_clocks(dict(event.attributes))] for event in span.events],
        "links": len(span.links),
        "scope": span.instrumentation_scope.name,
    }


def _tree(spans: Any) -> list[Any]:
    """Return the number of each span's parent, None for one without, and of the first span in its trace."""
    ids = [None, *(span.context.span_id for span in spans)]
    traces = [span.context.trace_id for span in spans]
    parents = [span.parent and span.parent.span_id for span in spans]
    return [
        [ids.index(parent) if parent in ids else "another's", traces.index(span.context.trace_id)]
        for span, parent in zip(spans, parents, strict=True)
    ]


def _order(spans: Any) -> list[Any]:
    """Return the spans' beginnings and ends in the order in which they were, by numbers."""
    moments = [(moment, number) for number, span in enumerate(spans) for moment in (span.start_time, span.end_time)]
    return [number for _, number in sorted(moments, key=lambda found: found[0])]


def _read(value: Any) -> Any:
    """Return what the JSON in an attribute says."""
    try:
        return json.loads(value) if type(value) is str and value[:1] in "[{" else value
    except ValueError:
        return value


def _without_clocks(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: type(held).__name__ if name in masks.CLOCKS or "duration" in name else _without_clocks(held)
            for name, held in value.items()
        }
    if isinstance(value, list | tuple):
        return list(map(_without_clocks, value))
    return value


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_spans_are_those_of_stocks_calls(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, mode: str, kind: str
) -> None:
    environment, arguments = KINDS[kind]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert_served_as_by_stock(lambda: spans_of(provider, mode, arguments), CALLS - LEARNED)


def test_spans_within_one_that_a_call_names_are_those_of_stocks_calls(provider: Provider) -> None:
    span = TracerProvider().get_tracer("application").start_span("asking")
    arguments = {"metadata": {"litellm_parent_otel_span": span}}
    switch = Switch(pooled=False)
    expected = spans_of(provider, "acompletion", arguments)
    with switch.on():
        assert spans_of(provider, "acompletion", arguments) == expected
    assert not switch.gate.faults
