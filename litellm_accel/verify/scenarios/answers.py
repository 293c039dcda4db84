"""Answers of real providers, over TLS: their headers and cookies, encodings, members, streams and errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from litellm_accel.verify.scenario import ALL, DIRECT, ROUTED, Scenario, Via, crossed, deployment, themed, with_fields
from litellm_accel.verify.scenarios.parameters import WEATHER
from litellm_accel.verify.scenarios.responses import asking

ONCE = {"max_retries": 0}
STREAM = {"stream": True}
USAGE = {"stream_options": {"include_usage": True}}
#: By profile, a model that LiteLLM calls that provider with, and what else it needs for that. LiteLLM counts the tokens
#: of streams without a usage: for models called Llama with a tokenizer that it would download.
MODELS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "openai": ("openai/gpt-4o", {}),
    "azure": ("azure/gpt-4o", {"api_version": "2024-10-21"}),
    "groq": ("groq/openai/gpt-oss-120b", {}),
    "openrouter": ("openrouter/openai/gpt-4o", {}),
    "mistral": ("mistral/mistral-small-latest", {}),
    "deepseek": ("deepseek/deepseek-chat", {}),
    "together": ("together_ai/openai/gpt-oss-20b", {}),
    "vllm": ("hosted_vllm/qwen", {}),
    "gateway": ("openai/gpt-4o-mini", {}),
    "plain": ("openai/gpt-4o", {}),
}
#: Those whose streams come through the OpenAI SDK, which the fast path opens.
SDK = ("openai", "azure", "gateway", "plain")


def of(profile: str, name: str, arguments: Mapping[str, Any] | None = None, **fields: Any) -> Scenario:
    """A scenario with a provider's answers."""
    model, more = MODELS[profile]
    fields = {"calls": 4, **fields}
    return Scenario(f"{profile}-{name}", {**more, **(arguments or {})}, model=model, profile=profile, **fields)


def routed(profile: str, name: str, answer: str = "plain") -> Scenario:
    """The same through a router whose deployment has what the provider needs."""
    model, more = MODELS[profile]
    entry = deployment(answer, model=model, **more)
    return Scenario(name=f"{profile}-{name}-routed", profile=profile, deployments=(entry,), via=ROUTED, calls=4)


def error(status: int, **fields: Any) -> str:
    """An error that comes to a caller that has had two answers; retries are soon, but for what asks for more."""
    headers = {"retry-after-ms": "20", **fields.pop("headers", {})}
    return with_fields(f"error-{status}", plain_first=2, times=1, headers=headers, **fields)


def page(status: int) -> str:
    """A page of whoever is in front of the provider, after two answers."""
    return with_fields(f"edge-{status}", plain_first=2, times=1)


PLAIN = (
    *(of(profile, "plain", via=DIRECT) for profile in MODELS),
    *(routed(profile, "plain") for profile in MODELS),
)

SHAPES = tuple(
    # Of tools that a model may not know LiteLLM warns each time.
    of(
        profile,
        answer,
        arguments,
        answer=answer,
        via=via,
        way="either" if profile == "together" and arguments else "served",
    )
    for profile in MODELS
    for answer, arguments, via in (
        ("tools", {"tools": (WEATHER,)}, ALL if profile in ("openai", "groq") else DIRECT),
        ("parallel-tools", {"tools": (WEATHER,)}, DIRECT),
        ("details", {}, DIRECT),
        ("reasoning", {}, DIRECT),
        ("refusal", {}, ("acompletion",)),
        ("length", {}, ("completion",)),
        ("busy", {}, ("acompletion",)),
    )
)

STREAMS = tuple(
    of(
        profile,
        f"stream{name}",
        {**STREAM, **arguments},
        answer=answer,
        via=ALL if profile == "openai" else DIRECT,
        way="served" if profile in SDK else "either",
    )
    for profile in MODELS
    for name, arguments, answer in (
        ("", {}, "plain"),
        ("-usage", USAGE, "plain"),
        ("-tools", {"tools": (WEATHER,)}, "tools"),
        ("-busy", {}, "busy"),
    )
)


def faults(profile: str, via: tuple[Via, ...]) -> tuple[Scenario, ...]:
    """What goes wrong with a provider, for a caller that has had two answers and gets one more."""
    return (
        of(profile, "429", ONCE, answer=error(429, headers={"retry-after": "20"}), calls=4, via=via),
        of(profile, "429-retried", {"max_retries": 1}, answer=error(429), calls=4, via=via),
        of(profile, "401", ONCE, answer=error(401), calls=4, via=DIRECT),
        of(profile, "500", ONCE, answer=page(500), calls=4, via=via),
        of(profile, "502-retried", {"max_retries": 1}, answer=page(502), calls=4, via=via, seconds=0.9),
    )


FAULTS = (
    *faults("openai", ALL),
    of("openai", "401-routed", answer=error(401), via=ROUTED, way="either"),  # the only deployment cools down at once
    *(fault for profile in MODELS if profile != "openai" for fault in faults(profile, DIRECT)),
    *(
        of(profile, "429-after-a-second", {"max_retries": 1}, answer=answer, gap=(0.99, 1.6), seconds=1.1)
        for profile in ("openai", "azure")
        for answer in ('error-429-retry-after-1{"plain_first": 2, "times": 1}',)
    ),
)

ENCODINGS = tuple(
    of(
        "openai",
        f"encoding-{encoding}{suffix}",
        STREAM if suffix else {},
        answer=with_fields("plain", encoding=encoding),
        via=ALL if not suffix else DIRECT,
        way="either" if encoding in ("br", "zstd") else "served",  # these as the client has libraries for them
    )
    for suffix in ("", "-stream")
    for encoding in ("identity", "gzip", "deflate", "br", "zstd")
)


# --- cookies ----------------------------------------------------------------------------------------------------------


def _setting(cookie: str) -> str:
    return with_fields("plain", headers={"set-cookie": cookie})


async def _in_turn(stage: Any, answers: tuple[str, ...]) -> None:
    """Calls that are answered so, one after the other, through whichever entry point."""
    function = stage.entry()
    for answer in answers:
        await _call(stage, function, answer)
        await stage.settled()


async def _call(stage: Any, function: Any, answer: str) -> None:
    arguments = stage.arguments(messages=asking(answer))
    if stage.run.via in ("acompletion", "arouter"):
        await stage.acall(function, arguments)
    else:
        await asyncio.to_thread(stage.call, function, arguments)


def cookies(name: str, *answers: str, **fields: Any) -> Scenario:
    """A client that is given cookies on its way; the last calls show what it sends back."""

    async def script(stage: Any) -> None:
        await _in_turn(stage, ("plain", "plain", "plain", *answers, "plain", "plain"))

    return of("openai", f"cookies-{name}", script=script, **fields)


async def _expiring(stage: Any) -> None:
    """A cookie that lives for two seconds is sent, and then is not."""
    function = stage.entry()
    for answer in ("plain", "plain", _setting("short=1; Max-Age=2"), "plain"):
        await _call(stage, function, answer)
    time.sleep(2.1)
    await _call(stage, function, "plain")


async def _clients_apart(stage: Any) -> None:
    """Another key means another client, which has a jar of its own."""
    function = stage.entry()
    for key in ("sk-one", "sk-two", "sk-one", "sk-two", "sk-one"):
        await stage.acall(function, stage.arguments(api_key=key))
        await stage.settled()


async def _at_once(stage: Any) -> None:
    """Twenty calls in flight, the first of a client among them: their cookies come as they come."""
    function = await stage.warm()
    messages = [[{"role": "user", "content": f"number {number}"}] for number in range(20)]
    await asyncio.gather(*(stage.acall(function, stage.arguments(messages=each)) for each in messages))


COOKIES = (
    cookies("kept", via=ALL),
    cookies("more", _setting("mine=1; path=/"), via=ALL),
    cookies("changed", _setting("mine=1"), _setting("mine=2"), via=DIRECT),
    cookies("deleted", _setting("mine=1"), _setting("mine=; Max-Age=0"), via=DIRECT),
    cookies("dated", _setting("mine=1; expires=Wed, 21 Oct 2015 07:28:00 GMT"), via=("acompletion",)),
    cookies("of-a-path", _setting("mine=1; path=/elsewhere"), via=("completion",)),
    cookies("of-another-domain", _setting("mine=1; domain=.api.openai.com"), via=DIRECT),
    cookies("of-a-port", _setting('mine=1; Version=1; Port="1,2"'), via=("acompletion",)),
    cookies("quoted", _setting('mine="a b; c"; path=/'), via=("completion",)),
    cookies("nameless", _setting("just-text"), via=("acompletion",)),
    of("openai", "cookies-expiring", script=_expiring, via=("acompletion", "completion"), seconds=2.5),
    of("openai", "cookies-clients-apart", script=_clients_apart, via=("acompletion",)),
    of("openai", "cookies-at-once", script=_at_once, via=("acompletion",), ordered=False),
    of("openai", "cookies-sent", {"extra_headers": {"cookie": "mine=1"}}, via=DIRECT, way="either"),
    *(
        of(profile, "cookies-kept", calls=6, via=("acompletion",))
        for profile in ("groq", "mistral", "together", "deepseek")
    ),
)

CALLBACKS = tuple(
    of("openai", f"told-{name}", callbacks=callbacks, calls=6, via=via)
    for name, callbacks, via in (
        ("logger", {"callbacks": ("payload",)}, ALL),
        ("function", {"success_callback": ("function",)}, DIRECT),
    )
)

# What the environment at hand cannot change is played before a release.
SCENARIOS = themed(
    "answers",
    *PLAIN,
    *SHAPES[:14],
    *crossed(*SHAPES[14:]),
    *STREAMS[:8],
    *crossed(*STREAMS[8:]),
    *FAULTS[:6],
    *crossed(*FAULTS[6:]),
    *ENCODINGS,
    *COOKIES,
    *CALLBACKS,
)
