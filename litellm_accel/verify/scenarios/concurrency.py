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
    Scenario("loops", via=("acompletion", "arouter"), lane="either", script=_loops),
    Scenario(
        "loops-in-threads", via=("acompletion",), lane="either", script=_loops_in_threads, ordered=False, logs=False
    ),
    Scenario(
        "cancelled", via=("acompletion", "arouter"), script=_cancelled, answer='stall{"plain_first": 2}', lane="either"
    ),
    Scenario(
        "cancelled-callbacks",
        via=("acompletion", "arouter"),
        script=_cancelled,
        answer='stall{"plain_first": 2}',
        lane="either",
        callbacks={"callbacks": ("both",)},
    ),
    Scenario("cancelled-at-once", via=("acompletion", "arouter"), script=_cancelled_at_once, lane="either"),
    Scenario(
        "cancelled-among-others",
        via=("acompletion", "arouter"),
        script=_cancelled_among_others,
        ordered=False,
        answer='delay-0.4{"plain_first": 2}',
        lane="either",
    ),
    Scenario(
        "waited-for",
        via=("acompletion", "arouter"),
        script=_waited_for,
        answer='stall{"plain_first": 2}',
        lane="either",
    ),
    Scenario("sync-inside-loop", via=("completion", "router"), script=_sync_inside_loop, lane="either"),
    Scenario("closed-connection", via=("acompletion", "arouter"), script=_reused_connection, answer="hangup"),
    Scenario(
        "arguments-untouched", via=("acompletion", "arouter"), script=_arguments_untouched, ordered=False, lane="either"
    ),
)
