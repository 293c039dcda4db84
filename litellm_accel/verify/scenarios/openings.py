"""Streams as they are opened: what a call with `stream=True` sends, returns and raises, once the fast path opens
them."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import replace
from typing import Any

from litellm_accel.provider import RATE_LIMIT_HEADERS
from litellm_accel.stock.seams import CACHING_HANDLER, either
from litellm_accel.verify.scenario import ALL, DIRECT, ROUTED, Made, Scenario, crossed, deployment, themed, with_fields
from litellm_accel.verify.scenarios.errors import FAULTS
from litellm_accel.verify.scenarios.parameters import WEATHER
from litellm_accel.verify.scenarios.responses import asking, in_turn
from litellm_accel.verify.scenarios.streaming import ASYNC, FIRST, LAST, SYNC, chunk, plain, raw, told

PLAIN = [{"role": "user", "content": "answer as: plain"}]
USAGE = {"stream_options": {"include_usage": True}}
AZURE = {"api_version": "2024-10-21"}
FEW = dict.fromkeys(RATE_LIMIT_HEADERS)  # the usual ones are left out


def _timeout() -> Any:
    import httpx

    return httpx.Timeout(30.0, connect=5.0)


ARGUMENTS = (
    Scenario("plain", via=ALL),
    Scenario("usage", USAGE, via=ALL),
    Scenario(
        "usage-for-a-proxy",
        {**USAGE, "_litellm_strip_stream_usage": True, "_litellm_stream_usage_injected": True},
        via=ALL,
    ),
    Scenario("no-usage", {"stream_options": {"include_usage": False}}),
    Scenario("sampling", {"temperature": 0.2, "top_p": 0.9, "seed": 7, "max_tokens": 50, "stop": ("a", "b")}),
    Scenario("tools", {"tools": (WEATHER,), "tool_choice": "auto"}, via=ALL),
    Scenario("headers", {"extra_headers": {"x-mine": "1"}, "extra_body": {"mine": {"a": 1}}}),
    Scenario("user", {"user": "somebody", "n": 2}),
    Scenario("timeout", {"timeout": 30}, via=ALL),
    Scenario("timeout-object", {"timeout": Made(_timeout)}, way="either"),
    Scenario("retries", {"max_retries": 3, "num_retries": 1}),
    Scenario("provider", model="perplexity/sonar", calls=5),
    Scenario("metadata", {"metadata": {"a": 1}}, calls=6),
    Scenario("options-without-stream", {"stream": False, **USAGE}, way="declined"),
    Scenario(
        "parts",
        {
            "messages": (
                {"role": "user", "content": ({"type": "text", "text": "What is this?"},)},
                {"role": "assistant", "content": None, "tool_calls": None, "refusal": "no"},
                {
                    "role": "user",
                    "content": ({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},),
                },
            )
        },
        way="either",
    ),
)

# The fourth and fifth call get these; the sixth a plain stream.
ANSWERS = (
    Scenario("json", answer=plain(body='{"id": "x", "choices": []}', headers={"content-type": "application/json"})),
    Scenario("page", answer=plain(body="<html></html>", headers={"content-type": "text/html"})),
    Scenario("nothing", answer=plain(body="", headers={"content-type": "text/event-stream"})),
    Scenario("other-type", answer=plain(headers={"content-type": "text/event-stream"})),
    Scenario("other-headers", answer=plain(headers={"x-other": "1"}), via=ALL),
    Scenario("priced-header", answer=plain(headers={"x-litellm-response-cost": "0.5"})),
    Scenario("cookie", answer=plain(headers={"set-cookie": "a=b"})),
    Scenario("created", answer=plain(status=201)),
    Scenario("cut", answer=plain(cut=2), via=ALL),
    Scenario("late", {"timeout": 0.3, "max_retries": 0}, answer=plain(delay=0.8), via=ALL, logs=False),
)

CALLBACKS = tuple(
    replace(scenario, name=f"callback-{scenario.name}", calls=4)
    for scenario in (
        *told("function", callbacks={"success_callback": ("function",)}),
        *told("async-list", callbacks={"_async_success_callback": ("async",)}),
        *told("hooks", callbacks={"callbacks": ("logging hooks",)}),
    )
)

FALLBACKS = {"fallbacks": ({"group": ("other",)},)}
ROUTERS = (
    *(
        Scenario(
            f"fallback-{what}",
            router=FALLBACKS,
            deployments=(deployment(plain(plain_first=3, **fields), max_retries=0), deployment(group="other")),
            via=ROUTED,
            calls=5,
            logs=False,
            way="either",
        )
        for what, fields in (
            ("set-up", {"status": 500}),
            ("first-chunk", {"cut": 0}),
            ("mid-stream", {"cut": 3}),
            ("type", {"headers": {"content-type": "application/json"}, "body": "{}"}),
        )
    ),
    Scenario("limits", deployments=(deployment(rpm=100, tpm=100_000),), via=ROUTED, calls=4),
    Scenario("two", deployments=(deployment(), deployment("reasoning")), via=ROUTED, calls=8),
    *(
        Scenario(
            f"{strategy}{what}",
            router={"routing_strategy": strategy, **router},
            deployments=deployments,
            via=ROUTED,
            calls=6,
            logs=False,
            crossing=strategy == "usage-based-routing-v2",
        )
        for strategy in ("least-busy", "usage-based-routing-v2", "latency-based-routing")
        for what, router, deployments in (
            ("", {}, (deployment(rpm=100),)),
            (
                "-fallback",
                FALLBACKS,
                (deployment(plain(plain_first=4, status=500), max_retries=0), deployment(group="other")),
            ),
        )
    ),
)


def _after(*scenarios: Scenario) -> tuple[Scenario, ...]:
    """The scenarios, their answer coming to callers whose streams the fast path opens by then.

    A router may leave the sixth call to another deployment, of which there is none.
    """
    return tuple(
        replace(
            scenario,
            answer=with_fields(scenario.answer, plain_first=3, times=2),
            calls=6,
            way="either" if scenario.via is not DIRECT else scenario.way,
        )
        for scenario in scenarios
        if len(scenario.answer) < 1000  # which is part of the address, and so of what a call is known by
    )


async def _warm(stage: Any) -> Any:
    """The function the run calls, after three streams that were read to their ends."""
    function = stage.entry()
    for _ in range(3):
        async for _ in await function(**stage.arguments()):
            pass
        await stage.settled()
    return function


def _parts(stream: Any) -> dict[str, Any]:
    """What a stream is made of, as far as an application can get at it."""
    logging = stream.logging_obj
    handler = either(logging, *CACHING_HANDLER)
    found = {
        "types": [repr(type(part)) for part in (stream, logging, handler)],
        "logging": {name: value for name, value in vars(logging).items() if name not in _TIMED},
        "handler": vars(handler) if handler else None,
    }
    sdk = stream.completion_stream
    response = getattr(sdk, "response", None)
    if response is None:
        return found
    request = response.request
    return {
        **found,
        "sdk": [(name, type(value).__name__) for name, value in vars(sdk).items() if name != "_decoder"],
        "options": vars(sdk._options),
        "response": [(name, type(value).__name__) for name, value in vars(response).items()],
        "answer": [response.status_code, sorted(response.headers.items()), response.is_closed, response.history],
        "request": [request.method, request.content.decode(), sorted(request.headers.items()), request.extensions],
    }


_TIMED = frozenset(["message_copy_duration_ms"])


async def _made_of(stage: Any) -> None:
    """All parts, before anything is read, after the first chunk and at the end."""
    function = await _warm(stage)
    stream = await function(**stage.arguments())
    stage.observe("opened", _parts(stream))
    await anext(stream)
    stage.observe("begun", _parts(stream))
    async for _ in stream:
        pass
    await stage.settled()
    stage.observe("ended", _parts(stream))


def _used(prompt: int, completion: int, **members: Any) -> str:
    """A short stream whose usage counts these tokens."""
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion, **members}
    return raw(FIRST, chunk({"content": "One"}), LAST, {**chunk(), "choices": [], "usage": usage}, "[DONE]")


# What the streams of one kind may end with, once the fast path knows how they end.
_ENDS = (
    plain(),
    plain(content="Another text."),
    plain(content=""),
    _used(7, 2),
    _used(7, 2),
    _used(0, 0),
    _used(300_000, 2),
    _used(7, 2, prompt_tokens_details={"cached_tokens": 5, "audio_tokens": 0}),
    _used(7, 2, prompt_tokens_details={"cached_tokens": 0, "text_tokens": 7}),
    _used(7, 9, completion_tokens_details={"reasoning_tokens": 4, "text_tokens": 5}),
    _used(7, 2, cost=0.5),
    _used(7, 2, service_tier="priority"),
    raw(FIRST, chunk({"content": "One"}), chunk({}, "length"), "[DONE]"),
    raw(FIRST, chunk({"content": "One"}, model="gpt-4o"), LAST, "[DONE]"),
    raw(FIRST, chunk({"content": "One"}, service_tier="priority"), LAST, "[DONE]"),
    raw(*({**event, "model": "unheard-of"} for event in (FIRST, chunk({"content": "One"}), LAST)), "[DONE]"),
    raw(FIRST, chunk({"content": "One"}, id="other"), LAST, "[DONE]"),
    raw(FIRST, chunk({"content": "One"}, system_fingerprint="fp_other"), LAST, "[DONE]"),
    raw(FIRST, chunk({"content": "One"}), "[DONE]"),
    raw(LAST, "[DONE]"),
    _used(8, 3),
    plain(),
)


async def _ends(stage: Any) -> None:
    """What is told and left when streams have ended, by one who has changed what he received, too."""
    function = await _warm(stage)
    for number, answer in enumerate((plain(), *_ENDS)):
        stream = await function(**stage.arguments(messages=asking(answer)))
        received, ending = [], ""
        try:
            async for each in stream:
                received.append(each)
        except Exception as error:  # of later releases, where a stream ends before its finish reason
            ending = type(error).__name__
        await stage.settled()
        stage.observe(f"ended {number}", [_parts(stream), received[-1]._hidden_params, stream.chunks, ending])
    for change in (_another_text, _another_usage, _more_to_say):
        stream = await function(**stage.arguments())
        async for each in stream:
            change(each)
        await stage.settled()
        stage.observe(change.__name__, [_parts(stream), stream.chunks])


def _another_text(received: Any) -> None:
    for choice in received.choices:
        choice.delta.content = "x"


def _another_usage(received: Any) -> None:
    received.usage = {"prompt_tokens": 4, "completion_tokens": 5, "total_tokens": 9}


def _more_to_say(received: Any) -> None:
    for choice in received.choices:
        choice.delta.reasoning_content = "Hmm."


def _made_of_sync(stage: Any) -> None:
    function = stage.entry()
    for _ in range(3):
        list(function(**stage.arguments()))
    stream = function(**stage.arguments())
    stage.loop.run_until_complete(stage.settled())  # a router has read the first chunk, which a thread takes note of
    stage.observe("opened", _parts(stream))
    list(stream)


async def _cancelled(stage: Any) -> None:
    """Cancelled before the answer's head is here; the next call is as if nothing had been."""
    function = await _warm(stage)
    task = asyncio.ensure_future(function(**stage.arguments(messages=asking(plain(delay=5)))))
    await stage.requested(4)
    await stage.cancel(task)
    await stage.acall(function, stage.arguments(messages=PLAIN))


async def _let_go(stage: Any) -> None:
    """Streams that are dropped or closed, unread and half read."""
    function = await _warm(stage)
    for read in (0, 1, 3):
        for closing in (True, False):
            stream = await function(**stage.arguments())
            for _ in range(read):
                await anext(stream)
            if closing:
                await stream.aclose()
            del stream
            gc.collect()
            await asyncio.sleep(0.02)
    await stage.acall(function, stage.arguments())


def _let_go_sync(stage: Any) -> None:
    function = stage.entry()
    for _ in range(3):
        list(function(**stage.arguments()))
    for read in (0, 1, 3):
        stream = function(**stage.arguments())
        for _ in range(read):
            next(stream)
        del stream
        gc.collect()
    stage.call(function, stage.arguments())


async def _at_once(stage: Any) -> None:
    """Twenty streams that are opened at a time, each with its own text."""
    function = await _warm(stage)

    async def one(number: int) -> str:
        stream = await function(**stage.arguments(messages=[{"role": "user", "content": f"number {number}"}]))
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    stage.observe("texts", await asyncio.gather(*(one(number) for number in range(20))))


async def _full(stage: Any) -> None:
    """A deployment that may answer one request at a time, while its stream is read, and after."""
    function = await _warm(stage)
    stream = await function(**stage.arguments())
    await anext(stream)
    await stage.acall(function, stage.arguments())
    async for _ in stream:
        pass
    await stage.acall(function, stage.arguments())


SCRIPTS = (
    Scenario("made-of", script=_made_of, via=ASYNC),
    Scenario("made-of-usage", USAGE, script=_made_of, via=ASYNC),
    Scenario("made-of-metadata", {"metadata": {"a": {"b": 1}}}, script=_made_of, via=ASYNC),
    Scenario("ends", script=_ends, via=ASYNC),
    *crossed(
        Scenario("ends-usage", USAGE, script=_ends, via=ASYNC),
        Scenario("ends-metadata", {"metadata": {"a": {"b": 1}}}, script=_ends, via=ASYNC),
        Scenario("ends-logger", USAGE, callbacks={"_async_success_callback": ("async",)}, script=_ends, via=ASYNC),
    ),
    Scenario("made-of-sync", script=_made_of_sync, via=SYNC),
    *(
        Scenario(f"azure-{name}", {**AZURE, **arguments}, model="azure/gpt-4o", via=via, script=script)
        for name, arguments, via, script in (
            ("made-of", {"metadata": {"a": 1}}, ASYNC[:1], _made_of),
            ("made-of-sync", {}, SYNC[:1], _made_of_sync),
            ("ends", {}, ASYNC[:1], _ends),
        )
    ),
    Scenario("azure", AZURE, model="azure/gpt-4o", profile="azure", via=DIRECT, calls=6),
    Scenario("azure-payload", AZURE, model="azure/gpt-4o", callbacks={"callbacks": ("payload",)}, calls=6),
    Scenario("header-empty", answer=plain(headers={"x-empty": ""}), way="either", calls=5),
    Scenario(
        "models-that-change",
        callbacks={"callbacks": ("payload",)},
        via=("acompletion",),
        script=in_turn(
            *[plain(merge={"model": m}) for m in (*["gpt-3.5-turbo"] * 6, "gpt-4", "nobody-knows-me", "gpt-4")]
        ),
    ),
    Scenario(
        "fingerprints-that-vanish",
        callbacks={"callbacks": ("payload",)},
        via=("acompletion",),
        script=in_turn(*[plain(merge={"system_fingerprint": f}) for f in ("", "", "", "", "", None, "fp", None)]),
    ),
    Scenario("made-of-few-headers", answer=plain(headers=FEW), script=_made_of, via=ASYNC),
    Scenario("cancelled", {"max_retries": 0}, script=_cancelled, via=ASYNC),
    Scenario("let-go", script=_let_go, via=ASYNC, logs=False),
    Scenario("let-go-sync", script=_let_go_sync, via=SYNC, logs=False),
    Scenario("at-once", script=_at_once, via=ASYNC, ordered=False),
    Scenario(
        "full",
        script=_full,
        deployments=(deployment(max_parallel_requests=1),),
        router={"num_retries": 0},
        via=("arouter",),
    ),
)

SCENARIOS = themed(
    "openings",
    *(
        replace(scenario, arguments={"stream": True, **scenario.arguments})
        for scenario in (
            *ARGUMENTS,
            *_after(*ANSWERS),
            *crossed(*_after(*FAULTS)),
            *CALLBACKS,
            *ROUTERS,
            *SCRIPTS,
        )
    ),
)
