"""Streams: every shape of chunk, every way in which they travel, how they end, and what applications do with them."""

from __future__ import annotations

import asyncio
import gc
import json
from dataclasses import replace
from typing import Any

from litellm_accel.verify.scenario import ALL, DIRECT, ROUTED, Made, Scenario, Via, deployment, themed, with_fields

STREAM = {"stream": True}
USAGE = {"stream_options": {"include_usage": True}}
NO_RETRY = {"max_retries": 0}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


ASYNC: tuple[Via, ...] = ("acompletion", "arouter")
SYNC: tuple[Via, ...] = ("completion", "router")


def plain(**fields: Any) -> str:
    return "plain" + json.dumps(fields)


def raw(*events: Any, end: str = "\n\n", before: str = "data: ") -> str:
    """An answer that is these events; those that are not texts are encoded."""
    return plain(
        body="".join(before + (event if isinstance(event, str) else json.dumps(event)) + end for event in events),
        headers={"content-type": "text/event-stream"},
    )


def chunk(delta: Any = None, finish: str | None = None, **members: Any) -> dict[str, Any]:
    """A chunk of one choice, as OpenAI sends it."""
    return {
        "id": "chatcmpl-raw",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish, "logprobs": None}],
        **members,
    }


FIRST = chunk({"role": "assistant", "content": ""})
LAST = chunk({}, "stop")


def around(*events: Any) -> str:
    """An answer with these events in the middle of a stream."""
    return raw(FIRST, chunk({"content": "One"}), *events, chunk({"content": " two"}), LAST, "[DONE]")


SHAPES = (
    Scenario("plain", via=ALL),
    Scenario("include-usage", USAGE, via=ALL),
    Scenario("exclude-usage", {"stream_options": {"include_usage": False}}),
    Scenario("echo", answer="echo"),
    Scenario("long", answer=plain(chunks=40, size=2000, packet=7), calls=2),
    Scenario("usage-details", USAGE, answer="details", via=ALL),
    Scenario(
        "usage-unasked",
        answer=raw(
            FIRST,
            chunk({"content": "One"}),
            LAST,
            chunk(usage={"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}, choices=[]),
            "[DONE]",
        ),
    ),
    Scenario(
        "usage-in-last-chunk",
        answer=raw(
            FIRST,
            chunk({"content": "One"}),
            chunk({}, "stop", usage={"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}),
            "[DONE]",
        ),
    ),
    Scenario(
        "usage-in-each-chunk",
        USAGE,
        answer=plain(merge={"usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9, "cost": 0.5}}),
        way="either",
    ),
    Scenario("usage-null", answer=plain(merge={"usage": None})),
    Scenario("tools", {"tools": (TOOL,)}, answer="tools", via=ALL),
    Scenario("parallel-tools", answer="parallel-tools"),
    Scenario("content-and-tools", answer="content-and-tools"),
    Scenario(
        "tool-index-missing",
        answer=around(
            chunk({"tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]})
        ),
    ),
    Scenario(
        "tool-type-null",
        answer=around(
            chunk({"tool_calls": [{"index": 0, "id": "a", "type": None, "function": {"name": "f", "arguments": "{}"}}]})
        ),
    ),
    Scenario(
        "tool-arguments-null",
        answer=around(
            chunk(
                {
                    "tool_calls": [
                        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": None}}
                    ]
                }
            )
        ),
    ),
    Scenario(
        "tool-arguments-object",
        answer=around(
            chunk(
                {
                    "tool_calls": [
                        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
                    ]
                }
            )
        ),
    ),
    Scenario(
        "tool-custom",
        answer=around(
            chunk({"tool_calls": [{"index": 0, "id": "a", "type": "custom", "custom": {"name": "f", "input": "x"}}]})
        ),
    ),
    Scenario("tools-empty", answer=plain(message={"tool_calls": []}), way="either"),
    Scenario("function-call", answer="function-call", way="either"),
    Scenario("refusal", answer="refusal", way="either"),
    Scenario("reasoning", answer="reasoning", via=ALL),
    Scenario("reasoning-field", answer=plain(message={"reasoning": "think"})),
    Scenario("reasoning-merged", {"merge_reasoning_content_in_choices": True}, answer="reasoning", way="either"),
    Scenario("thinking-blocks", answer=plain(message={"thinking_blocks": [{"type": "thinking", "thinking": "t"}]})),
    Scenario("think-tags", answer="think-tags"),
    Scenario("markup", answer=plain(content="<html><body><p>Hello</p></body></html>", chunks=12)),
    Scenario(
        "annotations",
        answer=plain(
            message={
                "annotations": [
                    {"type": "url_citation", "url_citation": {"url": "https://example.invalid", "title": "t"}}
                ]
            }
        ),
    ),
    Scenario("audio", answer=plain(message={"audio": {"id": "a", "data": "AAAA", "expires_at": 1}}), way="either"),
    Scenario(
        "images",
        answer=plain(message={"images": [{"type": "image_url", "image_url": {"url": "data:,"}}]}),
        way="either",
    ),
    Scenario("citations", answer=plain(merge={"citations": ["https://example.invalid"]})),
    Scenario("provider-specific", answer=plain(merge={"provider_specific_fields": {"a": 1}}), way="either"),
    Scenario("provider-specific-delta", answer=plain(message={"provider_specific_fields": {"a": "b"}})),
    Scenario("vendor-fields", answer="vendor-fields", via=ALL),
    Scenario("service-tier", answer=plain(merge={"service_tier": "flex"})),
    Scenario(
        "logprobs",
        {"logprobs": True},
        answer=around(
            *[
                chunk(
                    choices=[
                        {
                            "index": 0,
                            "delta": {"content": " w"},
                            "finish_reason": None,
                            "logprobs": {
                                "content": [
                                    {"token": " w", "logprob": logprob, "bytes": [32, 119], "top_logprobs": []}
                                ],
                                "refusal": None,
                            },
                        }
                    ]
                )
                for logprob in (-0.25, -1, 0.0, -0.0, -3.5e-7)
            ]
        ),
    ),
    Scenario("n-3", {"n": 3}, answer=plain(size=60)),
    Scenario(
        "choices-two",
        answer=around(
            {
                **chunk(),
                "choices": [{"index": i, "delta": {"content": f"c{i}"}, "finish_reason": None} for i in range(2)],
            }
        ),
    ),
    Scenario("roles", answer=plain(message={"role": "assistant"})),
    Scenario("role-other", answer=plain(message={"role": "model"}), way="either"),
    Scenario("empty", answer="empty"),
    Scenario(
        "empty-deltas",
        answer=around(chunk({"content": ""}), chunk({}), chunk({"content": None}), chunk({"content": " "})),
    ),
    Scenario("delta-null", answer=around({**chunk(), "choices": [{"index": 0, "delta": None, "finish_reason": None}]})),
    Scenario("delta-missing", answer=around({**chunk(), "choices": [{"index": 0, "finish_reason": None}]})),
    Scenario("no-choices", answer=around(chunk(choices=[]))),
    Scenario("null-choices", answer=around(chunk(choices=None))),
    Scenario("content-number", answer=around(chunk({"content": 42}))),
    Scenario("content-parts", answer=around(chunk({"content": [{"type": "text", "text": "a"}]}))),
    Scenario("missing-id", answer="missing-id", way="either"),
    Scenario("blank-id", answer=plain(merge={"id": " "}), way="either"),
    Scenario("empty-id", answer=plain(merge={"id": ""}), way="either"),
    Scenario(
        "changing-id",
        answer=around({**chunk({"content": "x"}), "id": "another"}, {**chunk({"content": "y"}), "id": "third"}),
    ),
    Scenario("changing-model", answer=around({**chunk({"content": "x"}), "model": "gpt-4o-mini"}), via=ALL),
    Scenario(
        "changing-fingerprint",
        answer=around(
            chunk({"content": "x"}, system_fingerprint="fp_1"), chunk({"content": "y"}, system_fingerprint=None)
        ),
    ),
    Scenario("missing-model", answer="missing-model", way="either"),
    Scenario("null-fingerprint", answer=plain(merge={"system_fingerprint": None})),
    Scenario("other-object", answer=plain(merge={"object": "chat.completion"})),
    Scenario("created-float", answer=plain(merge={"created": 1700000000.5}), way="either"),
    Scenario("length", answer="length"),
    Scenario("content-filter", answer="content-filter"),
    Scenario("finish-unknown", answer=plain(finish="eos_token")),
    Scenario("finish-error", NO_RETRY, answer=plain(finish="error")),
    Scenario(
        "finish-with-content",
        answer=raw(FIRST, chunk({"content": "One"}), chunk({"content": " two"}, "stop"), "[DONE]"),
    ),
    Scenario(
        "finish-twice", answer=raw(FIRST, chunk({"content": "One"}), LAST, chunk({"content": "more"}), LAST, "[DONE]")
    ),
    Scenario(
        "finish-with-tools",
        answer=raw(
            FIRST,
            chunk(
                {
                    "tool_calls": [
                        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                    ]
                },
                "tool_calls",
            ),
            "[DONE]",
        ),
        way="either",
    ),
    Scenario("finish-empty", answer=around(chunk({"content": "x"}, ""))),
    Scenario("big-numbers", answer=around(chunk({"content": "x"}, big=123456789012345678901234567890, small=-0.0))),
    Scenario("escapes", answer=around(chunk({"content": "\u00e9\U0001f600\n\u0000\u2028\x85"}))),
    Scenario(
        "lone-surrogate",
        # With a usage, for stock asks the network about text that its tokenizer cannot read.
        answer=around(
            '{"id":"a","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"\\ud83d"},"finish_reason":null}]}',
            chunk(choices=[], usage={"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}),
        ),
    ),
    Scenario(
        "duplicate-keys",
        answer=around(
            '{"id":"a","id":"b","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}'
        ),
    ),
    Scenario("many-leaves", answer=around(chunk({"content": "x"}, vector=list(range(500))))),
)

TRAVELS = (
    Scenario("one-packet", answer="one-packet", via=ALL),
    Scenario("split-1", answer=plain(split=1), calls=1),
    Scenario("split-3", answer="split-3", via=ALL, calls=2),
    Scenario("split-50", answer=plain(split=50)),
    Scenario("split-1000", answer=plain(split=1000)),
    Scenario("crlf", answer="crlf"),
    Scenario("crlf-split-1", answer=plain(split=1, newline="\r\n"), calls=1),
    Scenario("cr", answer=plain(newline="\r"), way="either"),
    Scenario("comments", answer="comments"),
    Scenario("comments-split-2", answer=plain(comments=True, split=2, newline="\r\n"), calls=1),
    Scenario("no-done", answer="no-done", via=ALL),
    Scenario("no-finish", answer="no-finish", via=ALL),
    Scenario("done-early", answer=raw(FIRST, chunk({"content": "One"}), "[DONE]", chunk({"content": "late"}))),
    Scenario("done-marked", answer=around("[DONE] and more")),
    Scenario("no-space", answer=raw(FIRST, chunk({"content": "One"}), LAST, "[DONE]", before="data:")),
    Scenario("two-spaces", answer=raw(FIRST, chunk({"content": "One"}), LAST, "[DONE]", before="data:  ")),
    Scenario(
        "event-field",
        answer=raw(FIRST, chunk({"content": "One"}), LAST, "[DONE]", before="event: message\ndata: "),
        way="either",
    ),
    Scenario("event-field-later", answer=around("{}", chunk({"content": "x"}))),
    Scenario(
        "id-field", answer=raw(FIRST, chunk({"content": "One"}), LAST, "[DONE]", before="id: 1\ndata: "), way="either"
    ),
    Scenario(
        "retry-field", answer=raw(FIRST, chunk({"content": "One"}), LAST, "[DONE]", end="\nretry: 3\n\n"), way="either"
    ),
    Scenario(
        "two-data-lines",
        answer=raw(
            FIRST, json.dumps(chunk({"content": "One"})).replace(', "choices"', ',\ndata: "choices"'), LAST, "[DONE]"
        ),
        way="either",
    ),
    Scenario(
        "mixed-newlines",
        answer=raw(FIRST, chunk({"content": "One"}), chunk({"content": "x"}), end="\n\r\n"),
        way="either",
    ),
    Scenario("blank-lines", answer=raw(FIRST, chunk({"content": "One"}), LAST, "[DONE]", end="\n\n\n\n\n")),
    Scenario(
        "no-last-newline",
        answer=plain(body="data: " + json.dumps(FIRST) + "\n\ndata: " + json.dumps(chunk({"content": "x"})) + "\n"),
        way="either",
    ),
    Scenario("nothing", NO_RETRY, answer=plain(body=""), way="either"),
    Scenario("keep-alives-only", NO_RETRY, answer=plain(body=": ping\n\n: ping\n\n"), way="either"),
    Scenario(
        "gzip",
        answer=plain(
            body="data: " + json.dumps(FIRST) + "\n\ndata: " + json.dumps(chunk({"content": "x"})) + "\n\n",
            encoding="gzip",
        ),
        way="either",
    ),
    Scenario("hang-up", answer=plain(after="hangup"), via=ALL),
    Scenario("pauses", answer=plain(pause=0.01), calls=2),
    Scenario("cookie", answer=plain(headers={"set-cookie": "a=b"})),
)

ENDS = (
    Scenario("error-401", NO_RETRY, answer="error-401", way="either", via=ALL, calls=2),
    Scenario("error-429-then-ok", {"max_retries": 1}, answer="error-429-then-ok", calls=1),
    Scenario("error-500", NO_RETRY, answer="error-500", way="either", via=ALL, calls=2),
    Scenario("error-in-stream", NO_RETRY, answer="stream-error", via=ALL, calls=2),
    Scenario(
        "error-first",
        NO_RETRY,
        answer=plain(inject={"0": '{"error": {"message": "no", "code": 500}}'}),
        way="either",
        via=ALL,
        calls=2,
    ),
    Scenario(
        "error-429-in-stream",
        NO_RETRY,
        answer=around('{"error": {"message": "slow down", "type": "rate_limit_error", "code": 429}}'),
        via=ALL,
        calls=2,
    ),
    Scenario("error-text-in-stream", NO_RETRY, answer=around('{"error": "no"}'), calls=2),
    Scenario("error-null-in-stream", answer=around(chunk({"content": "x"}, error=None))),
    Scenario(
        "error-after-finish",
        NO_RETRY,
        answer=raw(FIRST, chunk({"content": "One"}), LAST, '{"error": {"message": "late"}}'),
        calls=2,
    ),
    Scenario("garbage", NO_RETRY, answer="stream-garbage", via=ALL, calls=2),
    Scenario("json-list", NO_RETRY, answer=around("[1, 2]"), calls=2),
    Scenario("json-null", answer=around("null"), calls=2),
    Scenario("json-number", NO_RETRY, answer=around("17"), calls=2),
    Scenario(
        "nan",
        answer=around(
            '{"id":"a","object":"chat.completion.chunk","created":1,"model":"m","x":NaN,"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}'
        ),
    ),
    Scenario("cut", NO_RETRY, answer="cut", via=ALL, calls=2),
    Scenario("cut-at-once", NO_RETRY, answer=plain(cut=0), way="either", via=ALL, calls=2),
    Scenario("cut-after-finish", NO_RETRY, answer=plain(cut=11), via=ALL, calls=2),
    Scenario("cut-by-reset", NO_RETRY, answer=plain(cut=4, reset=True), way="either", calls=2, logs=False),
    Scenario("stalled", {**NO_RETRY, "timeout": 0.4}, answer="stall-stream", calls=1, seconds=0.5),
    Scenario("stalled-router", {**NO_RETRY, "timeout": 0.4}, answer="stall-stream", via=ROUTED, calls=1, seconds=2.0),
    Scenario("repeating", NO_RETRY, answer=plain(content="", chunks=140), calls=1),
    Scenario("repeating-short-of-it", NO_RETRY, answer=plain(content="", chunks=90), calls=1),
)


def _refuse_messages(text: str) -> bool:
    return "messages" not in text


def _cache() -> Any:
    from litellm.caching.caching import Cache

    return Cache(type="local")


SETTINGS = (
    Scenario("disable-streaming-logging", settings={"disable_streaming_logging": True}, via=ALL),
    Scenario("include-cost", USAGE, settings={"include_cost_in_streaming_usage": True}, via=ALL),
    Scenario("return-response-headers", settings={"return_response_headers": True}),
    Scenario("set-verbose", settings={"set_verbose": True}, way="declined", logs=False, calls=2),
    Scenario(
        "post-call-rules",
        NO_RETRY,
        settings={"post_call_rules": Made(lambda: [_refuse_messages])},
        way="declined",
        calls=2,
    ),
    Scenario(
        "repetition-limit",
        NO_RETRY,
        settings={"REPEATED_STREAMING_CHUNK_LIMIT": 4},
        answer=plain(content="", chunks=20),
        calls=2,
    ),
    Scenario("drop-params", settings={"drop_params": True}),
    Scenario("stream-timeout", {"stream_timeout": 5}),
    Scenario("model-unknown", model="openai/a-model-without-a-price", via=DIRECT),
    Scenario("user-and-metadata", {"user": "u", "metadata": {"a": "b"}}),
)


def _one_by_one(stage: Any) -> None:
    """Each chunk when all is told about the one before: stock's threads would tell of them in any order."""
    from litellm_accel.verify.observe import Streamed

    function = stage.entry()
    for number in range(stage.scenario.calls):
        seen = Streamed(function(**stage.arguments(messages=[{"role": "user", "content": f"number {number}"}])))
        try:
            for chunk in seen.stream:
                seen.take(chunk)
                stage.loop.run_until_complete(stage.settled())
        except Exception as error:
            stage.outcomes.append(seen.end(error))
        else:
            stage.outcomes.append(seen.end())
        stage.loop.run_until_complete(stage.settled())


def told(name: str, arguments: Any = None, callbacks: Any = None, **fields: Any) -> tuple[Scenario, Scenario]:
    """Streams that callbacks are told of: asynchronous ones, and synchronous ones chunk by chunk.

    These end without a finish reason: to a chunk with one stock adds the usage while a thread may already tell of it.
    """
    scenario = Scenario(name, arguments or {}, callbacks=callbacks or {"callbacks": ("both",)}, calls=2, **fields)
    apart = replace(scenario, name=f"{name}-sync", answer=with_fields(scenario.answer, finish=None), via=SYNC)
    return replace(scenario, via=ASYNC), replace(apart, script=_one_by_one)


CALLBACKS = (
    *told("logger"),
    *told("logger-usage", USAGE),
    *told("stream-events", callbacks={"callbacks": ("streams",)}),
    *told("failing-logger", callbacks={"callbacks": ("failing",)}, logs=False),
    *told("logging-hooks", callbacks={"callbacks": ("logging hooks",)}),
    *told("function", callbacks={"success_callback": ("function",)}),
    *told("async-function", callbacks={"success_callback": ("async function",)}),
    *told("async-list", callbacks={"_async_success_callback": ("async",)}),
    *told("slow-logger", callbacks={"callbacks": ("slow",)}),
    *told("redacted", settings={"turn_off_message_logging": True}),
    *told("unlogged", settings={"disable_streaming_logging": True}),
    *told("cut-logger", NO_RETRY, answer="cut"),
    *told("error-logger", NO_RETRY, answer="stream-error"),
    *told("error-500-logger", NO_RETRY, answer="error-500", way="either")[:1],
    Scenario("cache", settings={"cache": Made(_cache)}, calls=3, way="either"),
    Scenario("cache-usage", {**USAGE, "caching": True}, settings={"cache": Made(_cache)}, calls=3, way="either"),
)

FALLBACKS = {"fallbacks": ({"group": ("other",)},)}
ROUTERS = (
    *(
        Scenario(
            f"fallback-{what}",
            router=FALLBACKS,
            deployments=(deployment(answer, max_retries=0), deployment(group="other")),
            via=ROUTED,
            calls=2,
            logs=False,
            way="either",
        )
        for what, answer in (
            ("before", "error-500"),
            ("first-chunk", plain(cut=0)),
            ("mid-stream", "cut"),
            ("mid-stream-error", "stream-error"),
            ("mid-stream-garbage", "stream-garbage"),
            ("empty-chunks", plain(content="", chunks=0, cut=1)),
        )
    ),
    Scenario("retries", router={"num_retries": 1}, answer="error-500-then-ok", via=ROUTED, calls=2, logs=False),
    Scenario("two-deployments", deployments=(deployment(), deployment("reasoning")), via=ROUTED),
    Scenario(
        "parallel-limit",
        deployments=(deployment(max_parallel_requests=1),),
        via=("arouter",),
    ),
)


async def _broken_off(stage: Any) -> None:
    """The application leaves the loop; the connection is released."""
    function = stage.entry()
    for closing in (True, False):
        stream = await function(**stage.arguments())
        seen = [await anext(stream) for _ in range(4)]
        if closing:
            await stream.aclose()
        stage.observe(f"seen, closing {closing}", [chunk.choices[0].delta.content for chunk in seen])
        stage.observe(f"closed {closing}", stream.completion_stream is None)
        del stream
        gc.collect()
        await asyncio.sleep(0.02)
    await stage.acall(function, stage.arguments())


async def _after_the_end(stage: Any) -> None:
    """Asking a stream that has ended, and one that was closed."""
    function = stage.entry()
    stream = await function(**stage.arguments())
    stage.observe("first", len([chunk async for chunk in stream]))
    stage.observe("again", len([chunk async for chunk in stream]))
    stream = await function(**stage.arguments())
    await anext(stream)
    await anext(stream)
    await stream.aclose()
    try:
        await anext(stream)
    except BaseException as error:
        stage.observe("after closing", [type(error).__name__, str(error)])


def _after_the_end_sync(stage: Any) -> None:
    function = stage.entry()
    stream = function(**stage.arguments())
    stage.observe("first", len(list(stream)))
    stage.observe("again", len(list(stream)))


def _broken_off_sync(stage: Any) -> None:
    function = stage.entry()
    stream = function(**stage.arguments())
    stage.observe("seen", [next(stream).choices[0].delta.content for _ in range(4)])
    del stream
    gc.collect()
    stage.call(function, stage.arguments())


async def _cancelled(stage: Any) -> None:
    """Cancelled while a chunk is awaited; later calls are as if nothing had been."""
    function = stage.entry()
    stream = await function(**stage.arguments())
    seen: list[Any] = []

    async def read() -> None:
        async for chunk in stream:
            seen.append(chunk.choices[0].delta.content)

    task = asyncio.ensure_future(read())
    await asyncio.sleep(0.2)
    await stage.cancel(task)
    stage.observe("seen", seen)
    try:
        await anext(stream)
    except BaseException as error:
        stage.observe("after it", [type(error).__name__, str(error)])
    await stage.acall(function, stage.arguments(messages=[{"role": "user", "content": "answer as: plain"}]))


async def _changed_by_the_application(stage: Any) -> None:
    """What an application does to a chunk or to the stream has the effect it has in stock."""
    function = stage.entry()
    stream = await function(**stage.arguments())
    seen: list[Any] = []
    async for chunk in stream:
        if len(seen) == 2:
            chunk.choices[0].delta.content = "changed"
            chunk._hidden_params["additional_headers"]["mine"] = "here"
        if len(seen) == 4:
            stream.model = "another"
            stream.chunks[-1].choices = []
        if len(seen) == 5:
            stream.created = 5
            stream.response_uptil_now = "?"
        seen.append(chunk)
    stage.observe("chunks", seen)
    stage.observe("kept", stream.chunks)
    stage.observe("text", stream.response_uptil_now)


async def _at_once(stage: Any) -> None:
    """Thirty streams at a time, each with its own text."""
    function = stage.entry()

    async def one(number: int) -> str:
        stream = await function(**stage.arguments(messages=[{"role": "user", "content": f"number {number}"}]))
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    stage.observe("texts", await asyncio.gather(*(one(number) for number in range(30))))


def _threads(stage: Any) -> None:
    """Six threads with four streams each."""
    import threading

    function = stage.entry()
    texts: dict[int, list[str]] = {}

    def work(number: int) -> None:
        arguments = stage.arguments(messages=[{"role": "user", "content": f"thread {number}"}])
        texts[number] = [
            "".join(chunk.choices[0].delta.content or "" for chunk in function(**arguments)) for _ in range(4)
        ]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stage.observe("texts", dict(sorted(texts.items())))


SCRIPTS = (
    Scenario("broken-off", script=_broken_off, via=ASYNC, logs=False),
    Scenario("broken-off-sync", script=_broken_off_sync, via=SYNC, logs=False),
    Scenario("after-the-end", script=_after_the_end, via=ASYNC),
    Scenario("after-the-end-sync", script=_after_the_end_sync, via=SYNC),
    Scenario("cancelled", NO_RETRY, script=_cancelled, answer="stall-stream", via=ASYNC, seconds=0.3),
    Scenario("changed-by-the-application", script=_changed_by_the_application, via=ASYNC),
    Scenario("at-once", script=_at_once, via=ASYNC, ordered=False),
    Scenario("threads", script=_threads, via=SYNC, ordered=False),
)

SCENARIOS = themed(
    "streaming",
    *(
        replace(scenario, arguments={**STREAM, **scenario.arguments}, calls=3)
        # A chunk's shape is learned and built by the same code for both kinds of streams.
        for scenario in (
            *(replace(shape, via=shape.via if shape.via == ALL else ("acompletion",)) for shape in SHAPES),
            *(*TRAVELS, *ENDS, *SETTINGS, *CALLBACKS, *ROUTERS, *SCRIPTS),
        )
    ),
)
