"""Chunks of streams that hold nothing but a usage: LiteLLM's own answers, mostly without asking it."""

from __future__ import annotations

from typing import Any

import pytest
from litellm.types.utils import Delta, ModelResponse, ModelResponseStream, StreamingChoices

from litellm_accel import hot, patching
from litellm_accel.gateway import stream_events
from litellm_accel.gateway.stream_events import UsageArtifacts

pytest.importorskip("litellm.litellm_core_utils.stream_usage_chunks")
STOCK = patching.stock_copy(patching.resolve(stream_events.TARGET))
CALL = {"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}, "type": "function"}


def artifacts(switched: bool = True) -> tuple[UsageArtifacts, list[Any]]:
    """Return what is tested, and the chunks that LiteLLM was asked about meanwhile."""
    gate = hot.gate.Gate("proxy")
    gate.switch(switched)
    asked: list[Any] = []

    def stock(chunk: Any) -> Any:
        asked.append(chunk)
        return STOCK(chunk)

    return UsageArtifacts(gate, stock), asked


def chunk(delta: Any = None, reason: Any = None, **more: Any) -> Any:
    return ModelResponseStream(choices=[StreamingChoices(finish_reason=reason, delta=Delta(**(delta or {})), **more)])


def text() -> Any:
    return chunk({"content": "a"})


def odd_choice() -> Any:
    made = text()
    del made.choices[0].__pydantic_extra__["finish_reason"]
    return made


class Choice(StreamingChoices):
    """A choice of somebody's own."""


CHUNKS: list[tuple[Any, bool]] = [
    (text(), False),
    (chunk({"content": "", "role": "assistant"}), False),
    (chunk(reason="stop"), False),
    (chunk({"content": "a"}, "stop", logprobs={"content": []}), False),
    (ModelResponseStream(choices=[text().choices[0]], provider_specific_fields={"a": 1}), False),
    (ModelResponseStream(choices=[text().choices[0], chunk().choices[0]]), False),
    (ModelResponseStream(choices=[chunk().choices[0], text().choices[0]]), True),
    (chunk(), True),
    (chunk({"role": "assistant"}), True),
    (chunk({"content": "a", "reasoning_content": "b"}), True),
    (chunk({"content": "a", "tool_calls": [CALL]}), True),
    (chunk(stop_reason=1), True),
    (ModelResponseStream(choices=[]), True),
    (ModelResponseStream(choices=[Choice(delta=Delta(content="a"))]), True),
    (ModelResponse(), True),
    (odd_choice(), True),
    ({"choices": []}, True),
    (None, True),
]


@pytest.mark.parametrize(("given", "is_asked"), CHUNKS, ids=map(str, range(len(CHUNKS))))
def test_the_same(given: Any, is_asked: bool) -> None:
    made, asked = artifacts()
    try:
        expected = STOCK(given)
    except AttributeError as error:
        with pytest.raises(AttributeError, match=str(error)):
            made.is_artifact(given)
    else:
        assert made.is_artifact(given) is expected
    assert bool(asked) == is_asked


def test_litellm_is_asked_while_the_component_is_off() -> None:
    made, asked = artifacts(switched=False)
    assert made.is_artifact(text()) is False
    assert asked


@pytest.mark.parametrize(
    "target",
    [
        "litellm.litellm_core_utils.stream_usage_chunks.is_empty_streaming_choice",
        "litellm.types.utils.Delta.model_dump",
    ],
)
@pytest.mark.parametrize("is_early", [True, False])
def test_what_somebody_puts_in_the_place_of_litellms_is_called(
    monkeypatch: pytest.MonkeyPatch, target: str, is_early: bool
) -> None:
    answers: dict[str, Any] = {"is_empty_streaming_choice": True, "model_dump": {}}
    made, asked = artifacts()
    assert made.is_artifact(text()) is False
    monkeypatch.setattr(target, lambda *held: answers[target.rpartition(".")[2]])
    if is_early:
        made, asked = artifacts()
    assert made.is_artifact(text()) is True
    assert len(asked) == 1


def test_what_litellm_looks_at_is_known() -> None:
    assert stream_events.is_known(STOCK)
    made, _ = artifacts()
    assert stream_events.agrees(made, STOCK)
    assert not stream_events.agrees(made, lambda chunk: True)
