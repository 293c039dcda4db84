"""Every kind of callback, in every list, on success and on failure."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from litellm_accel.verify.scenario import ALL, DIRECT, ROUTED, Scenario, crossed, deployment, themed, with_fields
from litellm_accel.verify.scenarios import messages, parameters, responses

# Conversations that stock changes as it goes.
_OBJECTS = ("developer", "message-objects", "message-with-nones")
FAIL = {"max_retries": 0}
# LiteLLM puts a logger into its lists on the first call; two calls are watched; two payloads are; then all is prepared.
PREPARED = 7
FIRST_SERVED = 3  # the number of calls before that


async def _callback_context(stage: Any) -> None:
    """Callbacks run in the context of the call that caused them."""
    import asyncio
    import contextvars

    from litellm.integrations.custom_logger import CustomLogger

    request = contextvars.ContextVar("request", default="none")
    seen: list[str] = []

    class Reader(CustomLogger):  # type: ignore[misc]
        async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            seen.append(request.get())

    stage.litellm.callbacks = [Reader()]
    function = stage.entry()

    async def one(name: str) -> None:
        request.set(name)
        await stage.acall(function, stage.arguments())

    for turn in range(FIRST_SERVED):
        await asyncio.create_task(one(f"first {turn}"))
        await stage.settled()
    await asyncio.gather(*(one(name) for name in ("a", "b", "c")))
    await stage.settled()
    stage.observe("contexts", sorted(seen))


def _callback_context_sync(stage: Any) -> None:
    """The same in LiteLLM's threads."""
    import contextvars

    from litellm.integrations.custom_logger import CustomLogger

    request = contextvars.ContextVar("request", default="none")
    seen: list[str] = []

    class Reader(CustomLogger):  # type: ignore[misc]
        def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            seen.append(request.get())

    stage.litellm.callbacks = [Reader()]
    function = stage.entry()
    for name in ("a", "b", "c", "d", "e"):
        request.set(name)
        stage.call(function, stage.arguments())
    stage.loop.run_until_complete(stage.settled())
    stage.observe("contexts", sorted(seen))


async def _callback_order(stage: Any) -> None:
    """Two loggers, in the order in which they were registered."""
    first, second = stage.recorder_of("payload"), stage.recorder_of("async")
    stage.litellm.callbacks = [second, first]
    function = stage.entry()
    for _ in range(PREPARED):
        await stage.acall(function, stage.arguments())
        await stage.settled()


async def _added_between(stage: Any) -> None:
    """A callback that appears after calls without one, and disappears again."""
    function = stage.entry()

    async def calls(count: int) -> None:
        for _ in range(count):
            await stage.acall(function, stage.arguments())
            await stage.settled()

    await calls(3)
    logger = stage.recorder_of("success")
    stage.litellm.callbacks.append(logger)
    await calls(PREPARED)
    stage.litellm.logging_callback_manager.remove_callback_from_list_by_object(stage.litellm.callbacks, logger)
    await calls(3)


def _added_between_sync(stage: Any) -> None:
    function = stage.entry()
    for callbacks in ([], [stage.recorder_of("success")], []):
        stage.litellm.success_callback = callbacks
        for _ in range(PREPARED):
            stage.call(function, stage.arguments())
            stage.loop.run_until_complete(stage.settled())


async def _slow_in_flight(stage: Any) -> None:
    """A callback that is still busy with the first calls when the last ones end."""
    import asyncio

    from litellm.integrations.custom_logger import CustomLogger

    seen: list[Any] = []

    class Slow(CustomLogger):  # type: ignore[misc]
        async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            messages = [message["content"] for message in kwargs["messages"]]
            await asyncio.sleep(0.03)
            payload = kwargs["standard_logging_object"]
            seen.append((messages, [message["content"] for message in payload["messages"]], payload["response"]))

    stage.litellm.callbacks = [Slow()]
    function = stage.entry()
    for _ in range(FIRST_SERVED):
        await stage.acall(function, stage.arguments())
        await stage.settled()
    said = [[{"role": "user", "content": f"Question {number}"}] for number in range(12)]
    await asyncio.gather(*(stage.acall(function, {**stage.arguments(), "messages": one}) for one in said))
    for _ in range(10):
        await asyncio.sleep(0.02)
        await stage.settled()
    stage.observe("told", sorted(seen, key=str))


def _headed(*values: str) -> list[str]:
    """Answers that differ in the value of a header."""
    return ["plain" + json.dumps({"headers": {"x-request-id": value}}) for value in values]


SCENARIOS = themed(
    "callbacks",
    *(
        Scenario(f"{kind.replace(' ', '-')}", callbacks={"callbacks": (kind,)}, via=ALL, calls=PREPARED)
        for kind in (
            "async",
            "success",
            "payload",
            "logging hooks",
            "redacted",
            "failure alone",
            "failing success",
            "fallbacks",
        )
    ),
    *(
        Scenario(f"{kind.replace(' ', '-')}", callbacks={"callbacks": (kind,)}, via=ALL, way="declined")
        for kind in ("sync", "both", "deployment hooks", "pre-request hook")
    ),
    *(
        Scenario(
            f"{kind.replace(' ', '-')}-on-failure",
            FAIL if via is DIRECT else {},
            callbacks={"callbacks": (kind,)},
            answer='error-400{"plain_first": 2}',
            via=via,
            way="either",
        )
        for kind, via in (("both", DIRECT), ("payload", DIRECT), ("success", DIRECT), ("failure alone", DIRECT))
    ),
    Scenario(
        "both-on-router-failure",
        callbacks={"callbacks": ("both",)},
        answer='error-400{"plain_first": 2}',
        via=ROUTED,
        way="either",
    ),
    *(
        Scenario(
            f"success-on-failure-after-successes-{via}",
            FAIL if via in DIRECT else {},
            callbacks={"callbacks": ("success",)},
            answer='error-400{"plain_first": 5, "times": 2}',
            calls=9,
            via=(via,),
        )
        for via in ALL
    ),
    Scenario("failing", callbacks={"callbacks": ("failing",)}, via=ALL, way="declined"),
    # A thread that changes a result races with the caller that reads it.
    Scenario("changing", callbacks={"callbacks": ("changing",)}, via=("acompletion", "arouter"), calls=PREPARED),
    Scenario("slow", callbacks={"callbacks": ("slow",)}, via=("acompletion", "arouter"), calls=PREPARED),
    Scenario("two", callbacks={"callbacks": ("async", "payload")}, via=ALL, calls=PREPARED),
    Scenario("three", callbacks={"callbacks": ("success", "failure alone", "failing success")}, calls=PREPARED),
    *(
        Scenario(
            f"{name.replace('_', '-')}-{kind.replace(' ', '-')}",
            callbacks={name: (kind,)},
            via=ALL,
            calls=PREPARED,
        )
        for name, kind in (
            ("success_callback", "function"),
            ("success_callback", "async function"),
            ("success_callback", "success"),
            ("_async_success_callback", "async function"),
            ("_async_success_callback", "async"),
            ("failure_callback", "function"),
        )
    ),
    Scenario(
        "functions-and-loggers",
        callbacks={"callbacks": ("success",), "success_callback": ("function", "async function")},
        via=("completion", "router"),  # in an event loop, LiteLLM's threads change what it is telling
        calls=PREPARED,
    ),
    Scenario(
        "async-functions-and-loggers",
        callbacks={"callbacks": ("success",), "_async_success_callback": ("async function",)},
        via=("acompletion", "arouter"),
        calls=PREPARED,
    ),
    *(
        Scenario(
            f"{name.replace('_', '-')}-{kind.replace(' ', '-')}", callbacks={name: (kind,)}, way="either", via=DIRECT
        )
        for name, kind in (
            ("success_callback", "both"),
            ("input_callback", "input function"),
            ("service_callback", "async"),
        )
    ),
    *(
        Scenario(
            f"{name.replace('_', '-')}-{kind.replace(' ', '-')}-on-failure",
            FAIL,
            callbacks={name: (kind,)},
            answer='error-429{"plain_first": 2}',
            way="either",
        )
        for name, kind in (
            ("failure_callback", "function"),
            ("failure_callback", "async function"),
            ("_async_failure_callback", "async"),
            ("input_callback", "input function"),
        )
    ),
    Scenario("string-unknown", callbacks={"success_callback": ("no-such-integration",)}, way="declined"),
    Scenario(
        "string-failure",
        FAIL,
        callbacks={"failure_callback": ("sentry-less",)},
        answer='error-400{"plain_first": 2}',
        way="either",
    ),
    *crossed(
        *(
            replace(
                shape,
                name=f"answer-{shape.name}",
                callbacks={"callbacks": ("success",)},
                answer=with_fields(shape.answer, plain_first=4, times=3),
                calls=PREPARED,
                via=("acompletion",),
            )
            for shape in responses.SHAPES
        ),
        *(
            replace(
                shape,
                name=f"messages-{shape.name}",
                way="either" if shape.name in _OBJECTS else "served",
                callbacks={"callbacks": ("success",)},
                calls=6,
                via=("acompletion",),
            )
            for shape in messages.SHAPES
            if shape.way == "served" and shape.calls > 1
        ),
        *(
            replace(
                scenario,
                name=f"argument-{scenario.name.partition('/')[2]}",
                callbacks={"callbacks": ("success",)},
                calls=6,
                via=("acompletion",),
            )
            for scenario in parameters.SCENARIOS
            if scenario.way == "served" and any(type(value) in (dict, list) for value in scenario.arguments.values())
        ),
    ),
    *(
        Scenario(
            f"payload-{answer}-elsewhere",
            callbacks={"callbacks": ("payload",)},
            answer=answer,
            via=("completion", *ROUTED),
            calls=PREPARED,
        )
        for answer in ("tools", "details", "gzip")
    ),
    Scenario(
        "prices",
        callbacks={"callbacks": ("success",)},
        settings={"model_cost": {}},
        calls=PREPARED,
    ),
    Scenario(
        "deployments",
        callbacks={"callbacks": ("success",)},
        via=("arouter",),
        deployments=(
            deployment(rpm=10_000, tpm=10_000_000, weight=9),
            deployment("details", rpm=10_000, model="openai/gpt-4o-mini"),
        ),
        calls=16,
    ),
    Scenario(
        "router-retry",
        callbacks={"callbacks": ("success",)},
        router={"num_retries": 1},
        answer='error-500{"plain_first": 5, "times": 1, "headers": {"retry-after-ms": "20"}}',
        via=("arouter",),
        calls=8,
    ),
    Scenario(
        "payload-metadata",
        {"metadata": {"tags": ["t"], "user_api_key": "hash", "spend_logs_metadata": {"a": 1}}, "user": "u"},
        callbacks={"callbacks": ("payload",)},
        via=ALL,
        calls=PREPARED + 2,
    ),
    Scenario(
        "payload-redacted",
        callbacks={"callbacks": ("success",)},
        settings={"turn_off_message_logging": True},
        via=ALL,
        way="either",
    ),
    Scenario("no-log", {"no-log": True}, callbacks={"callbacks": ("success",)}, via=ALL, calls=PREPARED + 2),
    Scenario("no-log-payload", {"no-log": True}, callbacks={"callbacks": ("payload",)}, via=ALL, calls=PREPARED + 2),
    Scenario(
        "no-log-anyway",
        {"no-log": True},
        callbacks={"callbacks": ("payload",)},
        settings={"global_disable_no_log_param": True},
        way="either",
    ),
    Scenario(
        "retry",
        {"max_retries": 1},
        callbacks={"callbacks": ("both",)},
        answer='error-500{"plain_first": 2, "times": 1, "headers": {"retry-after-ms": "20"}}',
        way="either",
    ),
    Scenario(
        "retry-known",
        {"max_retries": 1},
        callbacks={"callbacks": ("payload",)},
        answer='error-500{"plain_first": 7, "times": 3, "headers": {"retry-after-ms": "20"}}',
        calls=PREPARED + 3,
    ),
    Scenario(
        "router-fallback",
        callbacks={"callbacks": ("fallbacks",)},
        via=("arouter",),
        way="either",
        router={"fallbacks": [{"group": ["other"]}]},
        deployments=(
            {
                "model_name": "group",
                "litellm_params": {
                    "model": "openai/gpt-4o",
                    "api_key": "a",
                    "mock_response": "litellm.InternalServerError",
                },
            },
            {
                "model_name": "other",
                "litellm_params": {"model": "openai/gpt-4o", "api_key": "a", "mock_response": "ok"},
            },
        ),
    ),
    *(
        Scenario(
            f"headers-that-change-{provider}",
            {"api_version": "2024-10-21"} if provider == "azure" else {},
            model=f"{provider}/gpt-4o",
            callbacks={"callbacks": ("payload",)},
            via=("completion",),
            script=responses.in_turn_sync(*_headed("a", "a", "a", "a", "a", "b", "c")),
        )
        for provider in ("openai", "azure")
    ),
    Scenario(
        "price-stated-at-first",
        callbacks={"callbacks": ("payload",)},
        via=("acompletion",),
        script=responses.in_turn(
            *["plain" + json.dumps({"headers": {"x-litellm-response-cost": "0.5"}})] * 6, "plain", "plain"
        ),
    ),
    Scenario("context", via=("acompletion", "arouter"), script=_callback_context),
    Scenario("context-sync", via=("completion",), script=_callback_context_sync),
    Scenario("order", via=("acompletion", "arouter"), script=_callback_order),
    Scenario("added-between", via=("acompletion", "arouter"), script=_added_between),
    Scenario("added-between-sync", via=("completion", "router"), way="either", script=_added_between_sync),
    Scenario("slow-in-flight", via=("acompletion",), script=_slow_in_flight, ordered=False),
    Scenario("routing-hooks", callbacks={"callbacks": ("routing hooks",)}, via=("arouter",), way="declined"),
)
