"""Every kind of callback, in every list, on success and on failure."""

from __future__ import annotations

from typing import Any

from litellm_accel.verify.scenario import ALL, DIRECT, ROUTED, Scenario, themed

FAIL = {"max_retries": 0}


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

    await asyncio.gather(*(one(name) for name in ("a", "b", "c")))
    await stage.settled()
    stage.observe("contexts", sorted(seen))


async def _callback_order(stage: Any) -> None:
    """Two loggers, in the order in which they were registered."""
    first, second = stage.recorder_of("payload"), stage.recorder_of("async")
    stage.litellm.callbacks = [second, first]
    await stage.acall(stage.entry(), stage.arguments())
    await stage.settled()


async def _added_between(stage: Any) -> None:
    """A callback that appears after calls without one, and disappears again."""
    function = stage.entry()
    await stage.acall(function, stage.arguments())
    await stage.settled()
    logger = stage.recorder_of("both")
    stage.litellm.callbacks.append(logger)
    await stage.acall(function, stage.arguments())
    await stage.settled()
    stage.litellm.logging_callback_manager.remove_callback_from_list_by_object(stage.litellm.callbacks, logger)
    await stage.acall(function, stage.arguments())
    await stage.settled()


def _added_between_sync(stage: Any) -> None:
    function = stage.entry()
    for callbacks in ([], [stage.recorder_of("both")], []):
        stage.litellm.success_callback = callbacks
        stage.call(function, stage.arguments())
        stage.loop.run_until_complete(stage.settled())


SCENARIOS = themed(
    "callbacks",
    *(
        Scenario(f"{kind.replace(' ', '-')}", callbacks={"callbacks": (kind,)}, via=ALL, lane="either")
        for kind in ("sync", "async", "both", "payload", "deployment hooks", "logging hooks", "pre-request hook")
    ),
    *(
        Scenario(
            f"{kind.replace(' ', '-')}-on-failure",
            FAIL if via is DIRECT else {},
            callbacks={"callbacks": (kind,)},
            answer='error-400{"plain_first": 2}',
            via=via,
            lane="either",
        )
        for kind, via in (("both", DIRECT), ("payload", DIRECT))
    ),
    Scenario(
        "both-on-router-failure",
        callbacks={"callbacks": ("both",)},
        answer='error-400{"plain_first": 2}',
        via=ROUTED,
        lane="either",
    ),
    Scenario("failing", callbacks={"callbacks": ("failing",)}, via=ALL, lane="either"),
    Scenario("slow", callbacks={"callbacks": ("slow",)}, via=("acompletion", "arouter"), lane="either"),
    Scenario("two", callbacks={"callbacks": ("async", "payload")}, via=ALL, lane="either"),
    *(
        Scenario(
            f"{name.replace('_', '-')}-{kind.replace(' ', '-')}", callbacks={name: (kind,)}, lane="either", via=DIRECT
        )
        for name, kind in (
            ("success_callback", "function"),
            ("success_callback", "async function"),
            ("success_callback", "both"),
            ("failure_callback", "function"),
            ("input_callback", "input function"),
            ("_async_success_callback", "async function"),
            ("_async_success_callback", "async"),
            ("service_callback", "async"),
        )
    ),
    *(
        Scenario(
            f"{name.replace('_', '-')}-{kind.replace(' ', '-')}-on-failure",
            FAIL,
            callbacks={name: (kind,)},
            answer='error-429{"plain_first": 2}',
            lane="either",
        )
        for name, kind in (
            ("failure_callback", "function"),
            ("failure_callback", "async function"),
            ("_async_failure_callback", "async"),
            ("input_callback", "input function"),
        )
    ),
    Scenario("string-unknown", callbacks={"success_callback": ("no-such-integration",)}, lane="declined"),
    Scenario(
        "string-failure",
        FAIL,
        callbacks={"failure_callback": ("sentry-less",)},
        answer='error-400{"plain_first": 2}',
        lane="either",
    ),
    Scenario("payload-tools", callbacks={"callbacks": ("payload",)}, answer="tools", lane="either"),
    Scenario("payload-details", callbacks={"callbacks": ("payload",)}, answer="details", via=ALL, lane="either"),
    Scenario(
        "payload-metadata",
        {"metadata": {"tags": ["t"], "user_api_key": "hash", "spend_logs_metadata": {"a": 1}}, "user": "u"},
        callbacks={"callbacks": ("payload",)},
        via=ALL,
        lane="either",
    ),
    Scenario(
        "payload-redacted",
        callbacks={"callbacks": ("both",)},
        settings={"turn_off_message_logging": True},
        via=ALL,
        lane="either",
    ),
    Scenario("no-log", {"no-log": True}, callbacks={"callbacks": ("both",)}, lane="either"),
    Scenario(
        "retry",
        {"max_retries": 1},
        callbacks={"callbacks": ("both",)},
        answer='error-500{"plain_first": 2, "times": 1, "headers": {"retry-after-ms": "20"}}',
        lane="either",
    ),
    Scenario(
        "router-fallback",
        callbacks={"callbacks": ("fallbacks",)},
        via=("arouter",),
        lane="either",
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
    Scenario("context", via=("acompletion", "arouter"), lane="either", script=_callback_context),
    Scenario("order", via=("acompletion", "arouter"), lane="either", script=_callback_order),
    Scenario("added-between", via=("acompletion", "arouter"), lane="either", script=_added_between),
    Scenario("added-between-sync", via=("completion", "router"), lane="either", script=_added_between_sync),
    Scenario("routing-hooks", callbacks={"callbacks": ("routing hooks",)}, via=("arouter",), lane="either"),
)
