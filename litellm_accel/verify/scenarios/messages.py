"""Every shape of conversation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from litellm_accel.verify.scenario import ALL, Made, Scenario, themed

USER = {"role": "user", "content": "Hello"}
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
    "AAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": '{"celsius": -3}'}


def said(*messages: Any) -> dict[str, Any]:
    return {"messages": list(messages)}


def _message_objects() -> Any:
    import litellm

    return [
        {"role": "user", "content": "What is the weather?"},
        litellm.Message(content=None, role="assistant", tool_calls=[CALL]),
        RESULT,
    ]


def _dumped_message() -> Any:
    import litellm

    return [USER, litellm.ModelResponse(choices=[{"message": {"content": "Hi"}}]).choices[0].message.model_dump(), USER]


def _pydantic_messages() -> Any:
    from openai.types.chat import ChatCompletionMessage

    return [USER, ChatCompletionMessage(role="assistant", content="Hi"), USER]


def _answer_with_null_refusal(**more: Any) -> Any:
    import litellm

    fields = {"content": "Hi", "provider_specific_fields": {"refusal": None}, **more}
    return litellm.ModelResponse(choices=[{"message": fields}]).choices[0].message


def _answers_appended() -> Any:
    return [USER, _answer_with_null_refusal(), USER]


def _answers_dumped() -> Any:
    called = _answer_with_null_refusal(content=None, tool_calls=[CALL], annotations=[])
    return [USER, _answer_with_null_refusal().model_dump(), USER, called.model_dump(), RESULT]


def _call_objects() -> Any:
    called = _answer_with_null_refusal(content=None, tool_calls=[CALL])
    return [USER, {"role": "assistant", "content": None, "tool_calls": called.tool_calls}, RESULT]


def _tool_loop() -> Any:
    called = _answer_with_null_refusal(content=None, tool_calls=[CALL])
    return [USER, called, RESULT, called.model_dump(), RESULT, called, RESULT, _answer_with_null_refusal(), USER]


def _enumerated() -> Any:
    from enum import Enum

    Role = Enum("Role", {"SYSTEM": "system", "USER": "user", "ASSISTANT": "assistant"}, type=str)
    text = [{"type": "text", "text": "Hello"}]
    return [{"role": Role.SYSTEM, "content": text}, {"role": Role.USER, "content": text}]


def _subclassed() -> Any:
    from collections import defaultdict

    return [defaultdict(str, USER), USER]


SHAPES = (
    Scenario("one", said(USER), via=ALL),
    Scenario("empty-list", said(), way="either"),
    Scenario("empty-text", said({"role": "user", "content": ""})),
    Scenario("null-content", said({"role": "user", "content": None}), way="either"),
    Scenario("no-content", said({"role": "user"}), way="either"),
    Scenario("no-role", said({"content": "Hello"}), way="either"),
    Scenario("unknown-role", said({"role": "critic", "content": "Hello"}), way="either"),
    Scenario("developer", said({"role": "developer", "content": "Be brief"}, USER)),
    Scenario("two-systems", said({"role": "system", "content": "a"}, {"role": "system", "content": "b"}, USER)),
    Scenario("system-alone", said({"role": "system", "content": "a"}), way="either"),
    Scenario("assistant-last", said(USER, {"role": "assistant", "content": "He"})),
    Scenario("assistant-prefix", said(USER, {"role": "assistant", "content": "He", "prefix": True}), way="either"),
    Scenario("names", said({"role": "user", "name": "Ada", "content": "Hello"})),
    Scenario("extra-keys", said({"role": "user", "content": "Hello", "x": {"y": 1}}), way="either"),
    Scenario("long-conversation", said(*[USER, {"role": "assistant", "content": "Hi"}] * 100, USER), via=ALL),
    Scenario("huge-text", said({"role": "user", "content": "The quick brown fox. " * 50_000}), calls=1),
    Scenario(
        "unicode", said({"role": "user", "content": "Žluťoučký kůň 日本語 한국어 🐎👩‍👩‍👧 \u0000\u2028\u2029\ufeff"})
    ),
    Scenario("control-characters", said({"role": "user", "content": '\x00\x01\x1f\x7f\t\n\r"\\/'})),
    Scenario("lone-surrogate", said({"role": "user", "content": "bad \ud83d end"}), way="either"),
    Scenario("text-parts", said({"role": "user", "content": [{"type": "text", "text": "Hello"}]}), via=ALL),
    Scenario(
        "cached-parts",
        said({"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]}),
        way="either",
    ),
    Scenario(
        "image-url",
        said(
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": "https://example.invalid/a.png", "detail": "low"}},
                ],
            }
        ),
    ),
    Scenario(
        "image-string",
        said({"role": "user", "content": [{"type": "image_url", "image_url": "https://example.invalid/a.png"}]}),
        way="either",
    ),
    Scenario("image-data", said({"role": "user", "content": [{"type": "image_url", "image_url": {"url": PIXEL}}]})),
    Scenario(
        "audio",
        said({"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]}),
        way="either",
    ),
    Scenario(
        "file",
        said({"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}),
        way="either",
    ),
    Scenario("empty-parts", said({"role": "user", "content": []}), way="either"),
    Scenario("unknown-part", said({"role": "user", "content": [{"type": "hologram", "hologram": 1}]}), way="either"),
    Scenario("tool-result", said(USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}, RESULT), via=ALL),
    Scenario(
        "tool-result-parts",
        said(
            USER,
            {"role": "assistant", "tool_calls": [CALL]},
            {**RESULT, "content": [{"type": "text", "text": "-3"}]},
        ),
    ),
    Scenario("tool-result-unknown", said(USER, {**RESULT, "tool_call_id": "call_9"}), way="either"),
    Scenario(
        "function-result",
        said(
            USER,
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "1"},
        ),
        way="either",
    ),
    Scenario("refusal", said(USER, {"role": "assistant", "content": None, "refusal": "No."}, USER), way="either"),
    Scenario("refusal-and-text", said(USER, {"role": "assistant", "content": "", "refusal": "No."}, USER)),
    Scenario("annotations", said(USER, {"role": "assistant", "content": "Hi", "annotations": []}, USER)),
    Scenario(
        "parts-everywhere",
        said(
            {"role": "system", "content": [{"type": "text", "text": "Be brief"}, {"type": "text", "text": ""}]},
            USER,
            {"role": "assistant", "content": [{"type": "text", "text": "Hi"}]},
            USER,
        ),
        via=ALL,
    ),
    Scenario(
        "reasoning", said(USER, {"role": "assistant", "content": "a", "reasoning_content": "b"}, USER), way="either"
    ),
    Scenario(
        "thinking-blocks",
        said(USER, {"role": "assistant", "content": "a", "thinking_blocks": [{"type": "thinking"}]}, USER),
        way="either",
    ),
    Scenario("message-objects", {"messages": Made(_message_objects)}, via=ALL),
    Scenario("message-with-nones", {"messages": Made(_dumped_message)}, via=ALL),
    Scenario("pydantic-messages", {"messages": Made(_pydantic_messages)}, way="either"),
    Scenario("answers-appended", {"messages": Made(_answers_appended)}, via=ALL, calls=4),
    Scenario("answers-dumped", {"messages": Made(_answers_dumped)}, via=ALL, calls=4),
    Scenario(
        "answers-dumped-heard", {"messages": Made(_answers_dumped)}, callbacks={"callbacks": ("payload",)}, calls=5
    ),
    *(
        Scenario(
            f"objects-{name}",
            {"messages": Made(_tool_loop), **more},
            via=ALL,
            callbacks={"callbacks": ("payload",)} if name.endswith("heard") else {},
            calls=6,
        )
        for name, more in (
            ("heard", {}),
            ("streamed", {"stream": True}),
            ("streamed-heard", {"stream": True}),
            ("with-metadata-heard", {"metadata": {"trace_user_id": "u"}}),
        )
    ),
    Scenario(
        "sdk-objects-heard", {"messages": Made(_pydantic_messages)}, callbacks={"callbacks": ("payload",)}, calls=6
    ),
    Scenario("call-objects", {"messages": Made(_call_objects)}, calls=4),
    Scenario("enumerated-roles", {"messages": Made(_enumerated)}, via=ALL, calls=4),
    Scenario("subclassed", {"messages": Made(_subclassed)}, calls=4),
    Scenario(
        "call-index",
        said(USER, {"role": "assistant", "content": "", "tool_calls": [{**CALL, "index": 0}]}, RESULT),
        via=ALL,
        calls=4,
    ),
    Scenario("cache-breakpoint", said({"role": "system", "content": "a", "cache_breakpoint": True}, USER), calls=4),
    Scenario("not-a-dict", said("Hello"), way="either"),
    Scenario("content-number", said({"role": "user", "content": 42}), way="either"),
    Scenario("tuple", {"messages": Made(lambda: (USER,))}, way="either"),
)

# Each comes to a caller that has had two ordinary conversations; what few send is played through one entry point.
SCENARIOS = themed(
    "messages",
    *(
        replace(
            shape,
            warm_up=2,
            calls=min(shape.calls, 2) if shape.calls <= 3 else shape.calls,
            via=("acompletion",) if shape.way == "either" else shape.via,
        )
        for shape in SHAPES
    ),
    profile="openai",
)
