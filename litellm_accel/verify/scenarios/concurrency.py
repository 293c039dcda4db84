"""Many calls at once, threads, loops, cancellation, and what remains afterwards."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from litellm_accel.verify.scenario import Scenario, deployment, themed


async def _at_once(stage: Any) -> None:
    """Fifty different conversations at a time get their own answers."""
    function = await stage.warm()

    async def one(number: int) -> Any:
        arguments = stage.arguments(messages=[{"role": "user", "content": f"number {number}"}])
        response = await function(**arguments)
        return response.choices[0].message.content

    stage.observe("answers", await asyncio.gather(*(one(number) for number in range(50))))


def _threads(stage: Any) -> None:
    """Eight threads with five calls each."""
    function = stage.entry()
    answers: dict[int, list[str]] = {}

    def work(number: int) -> None:
        arguments = stage.arguments(messages=[{"role": "user", "content": f"thread {number}"}])
        answers[number] = [function(**arguments).choices[0].message.content for _ in range(5)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stage.observe("answers", dict(sorted(answers.items())))


def _loops(stage: Any) -> None:
    """asyncio.run again and again, each time a new loop."""
    function = stage.entry()

    async def once() -> None:
        await stage.acall(function, stage.arguments())

    def work() -> None:
        for _ in range(3):
            asyncio.run(once())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def _loops_in_threads(stage: Any) -> None:
    """Four threads, each with a loop of its own."""
    function = stage.entry()
    answers: list[str] = []

    async def several() -> None:
        responses = await asyncio.gather(*(function(**stage.arguments()) for _ in range(3)))
        answers.extend(r.choices[0].message.content for r in responses)

    threads = [threading.Thread(target=lambda: asyncio.run(several())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stage.observe("answers", sorted(answers))


async def _cancelled(stage: Any) -> None:
    """Cancelled while the provider thinks; the next call is as if nothing had been."""
    function = await stage.warm()
    task = asyncio.ensure_future(function(**stage.arguments()))
    await stage.requested(3)
    task.cancel()
    await stage.acall(lambda: task, {})
    await stage.settled()


async def _cancelled_at_once(stage: Any) -> None:
    """Cancelled before it began."""
    function = await stage.warm()
    task = asyncio.ensure_future(function(**stage.arguments()))
    task.cancel()
    await stage.acall(lambda: task, {})
    await stage.settled()


async def _cancelled_among_others(stage: Any) -> None:
    """One of three is cancelled; the others are not disturbed."""
    function = await stage.warm()
    tasks = [asyncio.ensure_future(function(**stage.arguments())) for _ in range(3)]
    await stage.requested(2 + len(tasks))
    tasks[1].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        stage.finished(result)
    await stage.settled()


def _say_more(stage: Any, router: Any, messages: list[Any]) -> None:
    messages.append({"role": "user", "content": "later"})


def _other_temperature(stage: Any, router: Any, messages: list[Any]) -> None:
    router.model_list[0]["litellm_params"]["temperature"] = len(stage.provider.requests()) / 100


def _other_address(stage: Any, router: Any, messages: list[Any]) -> None:
    router.model_list[0]["litellm_params"]["api_base"] = stage.at("echo")


def _changed_in_flight(change: Any) -> Any:
    """Return a script in which ``change(stage, router, messages)`` changes something while the provider thinks."""

    async def script(stage: Any) -> None:
        router = stage.router() if stage.run.via == "arouter" else None
        function = stage.litellm.acompletion if router is None else router.acompletion
        for number in range(4):
            said = [{"role": "user", "content": f"number {number}"}]
            await stage.acall(function, stage.arguments(messages=said))
            await stage.settled()
        for answer in ('plain{"delay": 0.2}', 'error-400{"delay": 0.2}', 'content-filter{"delay": 0.2}'):
            messages = [{"role": "user", "content": f"answer as: {answer}"}]
            sent = len(stage.provider.requests())
            task = asyncio.ensure_future(function(**{**stage.arguments(), "messages": messages}))
            await stage.requested(sent + 1)
            change(stage, router, messages)
            await stage.acall(lambda task=task: task, {})
            await stage.settled()

    return script


async def _waited_for(stage: Any) -> None:
    """asyncio.wait_for gives up before the provider answers."""
    function = await stage.warm()

    async def call() -> Any:
        return await asyncio.wait_for(function(**stage.arguments()), 0.1)

    await stage.acall(call, {})
    await stage.settled()


async def _sync_inside_loop(stage: Any) -> None:
    """litellm.completion called in a running loop."""
    stage.call(stage.entry(), stage.arguments())
    await stage.settled()


async def _reused_connection(stage: Any) -> None:
    """A connection that the provider closed between two calls."""
    function = stage.entry()
    for _ in range(3):
        await stage.acall(function, stage.arguments())
        await asyncio.sleep(0.05)
    await stage.settled()


async def _arguments_untouched(stage: Any) -> None:
    """Two calls share one messages list and one metadata dict."""
    function = await stage.warm()
    arguments = stage.arguments(metadata={"shared": "yes"})
    for _ in range(2):
        await stage.acall(function, arguments)
        await stage.settled()
    arguments["metadata"].pop("llm_api_timing_windows", None)
    stage.observe("arguments", arguments)


SCENARIOS = themed(
    "concurrency",
    Scenario("fifty-at-once", via=("acompletion", "arouter"), script=_at_once, ordered=False),
    Scenario(
        "fifty-at-once-ten-deployments",
        via=("arouter",),
        script=_at_once,
        ordered=False,
        deployments=tuple(deployment("plain", rpm=1000, api_key=f"sk-{i}") for i in range(10)),
    ),
    Scenario("threads", via=("completion", "router"), script=_threads, ordered=False),
    Scenario("loops", via=("acompletion", "arouter"), way="either", script=_loops),
    Scenario(
        "loops-in-threads", via=("acompletion",), way="either", script=_loops_in_threads, ordered=False, logs=False
    ),
    Scenario(
        "cancelled", via=("acompletion", "arouter"), script=_cancelled, answer='stall{"plain_first": 2}', way="either"
    ),
    Scenario(
        "cancelled-callbacks",
        via=("acompletion", "arouter"),
        script=_cancelled,
        answer='stall{"plain_first": 2}',
        way="either",
        callbacks={"callbacks": ("both",)},
    ),
    Scenario("cancelled-at-once", via=("acompletion", "arouter"), script=_cancelled_at_once, way="either"),
    Scenario(
        "cancelled-among-others",
        via=("acompletion", "arouter"),
        script=_cancelled_among_others,
        ordered=False,
        answer='delay-0.4{"plain_first": 2}',
        way="either",
    ),
    Scenario(
        "waited-for",
        via=("acompletion", "arouter"),
        script=_waited_for,
        answer='stall{"plain_first": 2}',
        way="either",
    ),
    Scenario(
        "messages-in-flight",
        {"max_retries": 0},
        via=("acompletion", "arouter"),
        script=_changed_in_flight(_say_more),
    ),
    *(
        Scenario(
            f"{name}-in-flight",
            via=("arouter",),
            script=_changed_in_flight(change),
            deployments=(deployment("plain", max_retries=0),),
        )
        for name, change in (("temperature", _other_temperature), ("address", _other_address))
    ),
    Scenario("sync-inside-loop", via=("completion", "router"), script=_sync_inside_loop, way="either"),
    Scenario("closed-connection", via=("acompletion", "arouter"), script=_reused_connection, answer="hangup"),
    Scenario(
        "arguments-untouched", via=("acompletion", "arouter"), script=_arguments_untouched, ordered=False, way="either"
    ),
)
