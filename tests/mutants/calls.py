"""The calls that are made on every mutant: several of each kind with other messages, so that what is learned serves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatch
from typing import Any

from litellm_accel.verify.scenario import ALL, DIRECT, GROUP, Run, Scenario, deployment, themed
from litellm_accel.verify.scenarios.parameters import WEATHER

SYSTEM = {"role": "system", "content": "You are terse."}
#: Conversations of different length, shape and language.
TALK: tuple[tuple[dict[str, Any], ...], ...] = (
    ({"role": "user", "content": "Hello"},),
    ({"role": "user", "content": "What is the capital of Norway? Answer in one word, please."},),
    ({"role": "user", "content": 'Žluťoučký kůň 🐎 日本語 "quoted" \\ \n new line'},),
    (SYSTEM, {"role": "user", "content": "Count to three"}),
    (SYSTEM, {"role": "user", "content": "Tell me a long story. " * 40}),
    (SYSTEM, {"role": "user", "content": "1"}),
    (
        SYSTEM,
        {"role": "user", "content": "Who are you?"},
        {"role": "assistant", "content": "A model."},
        {"role": "user", "content": "Which one?"},
    ),
    (
        SYSTEM,
        {"role": "user", "content": "And now?"},
        {"role": "assistant", "content": "Now what?"},
        {"role": "user", "content": ""},
    ),
    ({"role": "user", "name": "alice", "content": "Hi, I am Alice"},),
    ({"role": "user", "name": "bob", "content": "Hi, I am Bob, and this is longer"},),
    ({"role": "user", "content": [{"type": "text", "text": "A part"}]},),
    ({"role": "user", "content": [{"type": "text", "text": "Another part of a text"}]},),
)


def _tool_round(city: str, number: int) -> tuple[dict[str, Any], ...]:
    """A conversation in which a tool was called."""
    function = {"name": "get_weather", "arguments": f'{{"city": "{city}"}}'}
    return (
        {"role": "user", "content": f"How is the weather in {city}?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": f"call_{number}", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": f"call_{number}", "content": f"{number} degrees in {city}"},
    )


TOOL_TALK = tuple(_tool_round(city, number) for number, city in enumerate(("Oslo", "Rome", "Reykjavík", "Lima")))


def _conversations(stage: Any) -> Iterator[dict[str, Any]]:
    for messages in TOOL_TALK if "tools" in stage.scenario.arguments else TALK:
        yield stage.arguments(messages=messages)


#: Messages of one length.
WORDS = ("one", "two", "six", "ten", "red", "war", "sun", "sea")


async def _awords(stage: Any) -> None:
    function = stage.entry()
    for word in WORDS:
        await stage.acall(function, stage.arguments(messages=[{"role": "user", "content": f"Say {word} twice"}]))
        await stage.settled()


async def _atalk(stage: Any) -> None:
    function = stage.entry()
    for arguments in _conversations(stage):
        await stage.acall(function, arguments)
        await stage.settled()


def _talk(stage: Any) -> None:
    function = stage.entry()
    for arguments in _conversations(stage):
        stage.call(function, arguments)
        stage.loop.run_until_complete(stage.settled())


def _functions(stage: Any) -> None:
    """Counting tokens and prices without a call."""
    litellm = stage.litellm
    for model in ("gpt-4o", "gpt-3.5-turbo", "claude-3-5-sonnet-20241022"):
        for messages in (*TALK, *TOOL_TALK[:2]):
            given = stage.resolve(messages)
            stage.observe(f"tokens {len(stage.observed)}", _result(litellm.token_counter, model=model, messages=given))
        for words in ("", "Hello", "Tell me a long story. " * 40, "Žluťoučký kůň 🐎"):
            stage.observe(f"tokens {len(stage.observed)}", _result(litellm.token_counter, model=model, text=words))
        tools = stage.resolve([WEATHER])
        counted = _result(litellm.token_counter, model=model, messages=stage.resolve(TALK[3]), tools=tools)
        stage.observe(f"tokens {len(stage.observed)}", counted)
        for prompt, completion, cached in ((0, 0, 0), (7, 2, 0), (1200, 340, 1024), (250_000, 5_000, 0)):
            usage = litellm.Usage(
                prompt_tokens=prompt,
                completion_tokens=completion,
                total_tokens=prompt + completion,
                prompt_tokens_details={"cached_tokens": cached} if cached else None,
            )
            response = litellm.ModelResponse(model=model, usage=usage)
            price = _result(litellm.completion_cost, completion_response=response, model=model)
            stage.observe(f"price {len(stage.observed)}", price)
            price = _result(litellm.cost_per_token, model=model, prompt_tokens=prompt, completion_tokens=completion)
            stage.observe(f"price {len(stage.observed)}", price)


def _result(function: Any, **arguments: Any) -> Any:
    try:
        return function(**arguments)
    except Exception as error:
        return error


SOON = '"headers": {"retry-after-ms": "20"}'
STREAM = {"stream": True}
PARAMETERS = {
    "temperature": 0.2,
    "top_p": 0.9,
    "max_tokens": 50,
    "stop": ["END"],
    "seed": 7,
    "user": "someone",
    "frequency_penalty": 0.1,
    "timeout": 20,
    "extra_headers": {"X-Extra": "1"},
    "extra_body": {"vendor": {"option": True}},
    "metadata": {"team": "blue", "tags": ["a", "b"]},
}
TWO = (deployment("plain", rpm=30, tpm=10_000), deployment("echo", rpm=40, tpm=10_000))
FAILING = 'error-500{"plain_first": 4, "times": 1, ' + SOON + "}"
OTHER = deployment("echo", group="other")


def _error(status: int) -> str:
    return f'error-{status}{{"plain_first": 2, "times": 1, {SOON}}}'


def _talks(*scenarios: Scenario) -> tuple[Scenario, ...]:
    """The scenarios with conversations, each through entry points of one kind."""
    return tuple(
        replace(scenario, script=_atalk if via in ("acompletion", "arouter") else _talk, via=(via,))
        for scenario in scenarios
        for via in scenario.via
    )


SCENARIOS = themed(
    "calls",
    Scenario("plain", via=ALL, calls=7),
    Scenario("often", via=DIRECT, calls=16),
    *_talks(
        Scenario("talk", answer="echo", via=("acompletion", "completion", "arouter")),
        Scenario("tool-talk", {"tools": [WEATHER]}, via=("acompletion", "completion")),
        Scenario("stream-talk", STREAM, via=("acompletion",)),
        Scenario("logged-talk", callbacks={"callbacks": ("success",)}, answer="echo", via=("acompletion",)),
    ),
    Scenario("words", answer="echo", via=("acompletion",), script=_awords),
    Scenario("openai", profile="openai", via=(*DIRECT, "arouter"), calls=7),
    Scenario("details", profile="openai", answer="details", via=("acompletion",), calls=7),
    Scenario("parameters", PARAMETERS, via=("acompletion", "router"), calls=7),
    Scenario("tools", {"tools": [WEATHER], "tool_choice": "auto"}, answer="tools", via=("completion",), calls=7),
    *(
        Scenario(f"answer-{answer}", answer=answer, via=("acompletion",), calls=7)
        for answer in ("reasoning", "vendor-fields", "no-usage")
    ),
    *(
        Scenario(f"provider-{provider}", model=f"{provider}/{model}", profile=provider, via=("acompletion",), calls=7)
        for provider, model in (
            ("groq", "llama-3.1-8b-instant"),
            ("deepseek", "deepseek-chat"),
            ("azure", "gpt-4o"),
        )
    ),
    Scenario("payload", callbacks={"callbacks": ("payload",)}, via=("acompletion", "arouter"), calls=7),
    Scenario("both", callbacks={"callbacks": ("both",)}, via=("acompletion", "router"), calls=7),
    Scenario(
        "functions",
        callbacks={"success_callback": ("function", "async function"), "failure_callback": ("function",)},
        via=DIRECT,
        calls=7,
    ),
    Scenario("stream", STREAM, via=("completion", "acompletion", "arouter"), calls=7),
    Scenario("stream-usage", {**STREAM, "stream_options": {"include_usage": True}}, via=("acompletion",), calls=7),
    Scenario("stream-openai", STREAM, profile="openai", via=("completion",), calls=7),
    Scenario("stream-tools", {**STREAM, "tools": [WEATHER]}, answer="tools", via=("acompletion",), calls=7),
    Scenario("stream-logged", STREAM, callbacks={"callbacks": ("success",)}, via=("acompletion",), calls=7),
    *(
        Scenario(f"error-{status}", {"max_retries": 0}, answer=_error(status), via=(via,), calls=7)
        for status, via in ((400, "completion"), (429, "acompletion"), (500, "completion"))
    ),
    Scenario(
        "error-logged",
        {"max_retries": 0},
        answer=_error(429),
        callbacks={"callbacks": ("success",)},
        via=("acompletion",),
        calls=7,
    ),
    Scenario("error-retried", {"num_retries": 2}, answer=_error(500), via=("acompletion",), calls=7),
    Scenario(
        "retry",
        via=("arouter",),
        router={"num_retries": 1},
        deployments=(deployment(FAILING, max_retries=0),),
        calls=7,
    ),
    Scenario(
        "fallback",
        via=("arouter",),
        router={"fallbacks": [{GROUP: ["other"]}]},
        deployments=(deployment('error-429{"plain_first": 4}', max_retries=0), OTHER),
        calls=7,
    ),
    *(
        Scenario(
            f"strategy-{strategy}",
            via=via,
            router={"routing_strategy": strategy},
            deployments=TWO if strategy != "latency-based-routing" else TWO[:1],
            calls=7,
        )
        for strategy, via in (
            ("simple-shuffle", ("arouter",)),
            ("least-busy", ("arouter",)),
            ("usage-based-routing-v2", ("arouter", "router")),
            ("latency-based-routing", ("arouter",)),
            ("cost-based-routing", ("arouter",)),
        )
    ),
    Scenario("token_counter-completion_cost", via=("completion",), script=_functions),
)
RUNS = [Run(scenario, via) for scenario in SCENARIOS for via in scenario.via]
#: Which calls a mutant is played, by its area; besides those of ``EVERY``. Others have little to do with it.
EVERY = (
    "often@acompletion",
    "plain@completion",
    "plain@arouter",
    "talk@acompletion",
    "logged-talk@acompletion",
    "payload@acompletion",
    "stream-talk@acompletion",
    "token_counter-completion_cost@completion",
)
OF_AREA: dict[str, tuple[str, ...]] = {
    "request building": ("parameters@*", "tool-talk@*", "tools@*", "talk@*", "words@*"),
    "headers": ("words@*", "openai@*", "provider-*", "parameters@*"),
    "response conversion": ("words@*", "answer-*", "tools@*", "details@*", "openai@acompletion", "stream@completion"),
    "hidden parameters": ("openai@*", "details@*", "plain@router"),
    "usage": ("answer-*", "details@*", "openai@acompletion", "stream-usage@*"),
    "price": ("details@*", "openai@*", "answer-no-usage@*", "strategy-cost*", "stream@completion"),
    "Logging state": ("both@*", "functions@*", "payload@*", "stream-logged@*"),
    "payload keys": ("both@*", "functions@*", "payload@*", "stream-logged@*", "error-logged@*"),
    "callback order": ("both@*", "functions@*", "payload@*", "stream-logged@*", "error-logged@*"),
    "retries": ("error-*", "retry@*", "fallback@*"),
    "stream chunks": ("stream*",),
    "end of stream": ("stream*",),
    "deployment choice": ("strategy-*", "plain@*router", "talk@arouter", "retry@*", "fallback@*", "stream@arouter"),
    "defaults of settings": ("openai@*", "error-429@*", "stream-openai@*", "plain@router"),
    "wrappers put around functions": ("plain@*", "stream@*", "both@*"),
    "functions turned async": ("plain@*", "stream@*", "strategy-least-busy@*"),
}


def runs_of(area: str) -> list[Run]:
    """Return the runs that a mutant of an ``area`` is played."""
    wanted = [*EVERY, *OF_AREA.get(area, ())]
    return [run for run in RUNS if any(fnmatch(run.id.removeprefix("calls/"), pattern) for pattern in wanted)]
