"""Faults inside the fast path, and what the world does to it: cancellation, threads, loops, forks."""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import re
import resource
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import litellm
import pytest

from fastpath_switch import Switch
from litellm_accel.fastpath.completion import CompletionHandler
from litellm_accel.fastpath.pipeline import Pipeline
from litellm_accel.fastpath.plans import recorder
from litellm_accel.fastpath.plans.slot import State
from litellm_accel.provider import Provider

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture(params=["pooled", pytest.param("own transports", marks=pytest.mark.slow)])
def switch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Switch]:
    monkeypatch.setattr(litellm, "suppress_debug_info", True)
    switch = Switch(request.param == "pooled")
    switch.start()
    yield switch
    switch.stop()


@pytest.fixture
def pipeline(switch: Switch) -> Pipeline:
    return switch.pipeline


def arguments(provider: Provider, messages: Any = HELLO) -> dict[str, Any]:
    return {
        "model": "openai/gpt-4o-mini",
        "messages": messages,
        "api_base": provider.url,
        "api_key": "sk-1",
        "max_retries": 0,
    }


def asked(scenario: str) -> list[dict[str, Any]]:
    return [*HELLO, {"role": "user", "content": f"answer as: {scenario}"}]


async def learned(provider: Provider) -> None:
    """Make calls until the fast path serves them: the first ones may still load parts of LiteLLM."""
    for _ in range(3):
        await litellm.acompletion(**arguments(provider))


class Fault(Exception):
    """An internal error of the fast path."""


class Broken:
    """A plan of which one part fails."""

    def __init__(self, plan: Any, part: str) -> None:
        self._plan = plan
        self._part = part

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._plan, name)
        if name == self._part:
            raise Fault(name)
        if name == "answer" and self._part == "result":
            return self._answer
        return found

    def _answer(self, *reply: Any) -> Any:
        answer = self._plan.answer(*reply)
        return None if answer is None else Broken(answer, "result")


def break_plans(pipeline: Pipeline, part: str) -> None:
    """Let one ``part`` of each plan fail."""
    for slot in pipeline.plans.values():
        slot.plan = slot.made = Broken(slot.plan, part)  # type: ignore[assignment]


# ``body`` fails before anything is sent; the others after.
@pytest.mark.parametrize("part", ["body", "request", "answer", "result"])
@pytest.mark.parametrize("scenario", ["plain", "error-429", "broken-json"])
def test_a_fault_never_shows_and_never_sends_twice(
    provider: Provider, pipeline: Pipeline, part: str, scenario: str
) -> None:
    async def outcome() -> Any:
        try:
            return (await litellm.acompletion(**arguments(provider, asked(scenario)))).model_dump()
        except Exception as error:
            return type(error), str(error)

    async def calls() -> tuple[Any, Any]:
        await learned(provider)
        expected = await outcome()
        await learned(provider)  # the first error of a process loads more of LiteLLM
        break_plans(pipeline, part)
        provider.clear()
        return expected, await outcome()

    expected, found = asyncio.run(calls())
    assert found == expected
    assert len(provider.requests()) == 1
    # A reply that the plan does not cover never gets as far as a result.
    assert (pipeline.gate.faults > 0) == (part != "result" or scenario == "plain")


def test_ten_faults_open_the_breaker(provider: Provider, pipeline: Pipeline) -> None:
    async def calls() -> None:
        await learned(provider)
        break_plans(pipeline, "answer")
        for _ in range(12):
            await litellm.acompletion(**arguments(provider))

    asyncio.run(calls())
    assert pipeline.gate.faults == 10
    assert not pipeline.gate.on


def test_a_fault_in_admission_leaves_the_call_to_stock(
    provider: Provider, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise Fault

    monkeypatch.setattr(pipeline, "parse_call", fail)
    assert asyncio.run(litellm.acompletion(**arguments(provider))).choices
    assert litellm.completion(**arguments(provider)).choices
    assert pipeline.gate.faults == 2


def test_what_would_end_a_coroutine_is_the_callers(pipeline: Pipeline) -> None:
    def stock(**_: Any) -> None:
        raise StopIteration("stock's own")

    handler = CompletionHandler(pipeline)
    handler.stock = stock  # type: ignore[assignment]
    with pytest.raises(StopIteration, match="stock's own"):
        handler.completion(model="a", messages=HELLO, mock_response="left to stock")


# What makes stock judge a reply that comes late.
LATE = (
    'error-500{"delay": 0.1, "headers": {"retry-after-ms": "5"}}',
    'error-400{"delay": 0.1}',
    'tools{"delay": 0.1}',
    'broken-json{"delay": 0.1}',
    'drop-request{"delay": 0.1, "times": 1}',
)


def accelerate_again(switch: Switch) -> Switch:
    switch.stop()
    other = Switch(switch.pools is not None)
    other.start()
    return other


ENDINGS: dict[str, Callable[[Switch], Any]] = {
    "restored": Switch.stop,
    "switched off": lambda switch: switch.pipeline.gate.switch(False),
    "breaker open": lambda switch: [switch.pipeline.gate.fault(Fault()) for _ in range(10)],
    "restored and accelerated again": accelerate_again,
}


@pytest.mark.slow
@pytest.mark.parametrize("entry", ["acompletion", "completion", "router", "arouter"])
@pytest.mark.parametrize("end", ENDINGS)
def test_what_was_sent_is_not_sent_again_whatever_ends_meanwhile(
    provider: Provider, switch: Switch, entry: str, end: str
) -> None:
    sent_once(provider, switch, entry, end, LATE)


def test_what_was_sent_is_not_sent_again_after_restore(provider: Provider, switch: Switch) -> None:
    sent_once(provider, switch, "acompletion", "restored", LATE[:3])
    sent_once(provider, switch, "completion", "restored", LATE[:3])


def sent_once(provider: Provider, switch: Switch, entry: str, end: str, scenarios: Sequence[str]) -> None:
    """Let each reply come after the fast path's end and be judged by stock; nobody can tell but by the time it took."""
    given = {**arguments(provider), "max_retries": 1}
    stock_code = [shared._function.__code__ for shared in recorder.functions()]
    parameters = {name: given[name] for name in ("model", "api_base", "api_key", "max_retries")}
    router = litellm.Router(model_list=[{"model_name": "g", "litellm_params": parameters}], num_retries=0)

    async def call(scenario: str) -> Any:
        said = asked(scenario)
        try:
            if entry == "acompletion":
                return (await litellm.acompletion(**{**given, "messages": said})).model_dump()
            if entry == "arouter":
                return (await router.acompletion(model="g", messages=said)).model_dump()
            if entry == "router":
                return (await asyncio.to_thread(router.completion, model="g", messages=said)).model_dump()
            return (await asyncio.to_thread(litellm.completion, **{**given, "messages": said})).model_dump()
        except Exception as error:
            return type(error), re.sub(r"0x[0-9a-f]+", "", str(error))

    async def calls() -> None:
        for scenario in scenarios:
            switch.stop()
            provider.clear()
            expected = await call(scenario)
            requests = len(provider.requests())
            switch.pipeline.gate.reset_errors()
            switch.pipeline.plans.clear()
            switch.start()
            for _ in range(3):
                await call("plain")
            provider.clear()
            before = switch.pipeline.gate.declined.get("reply left to stock", 0)
            late = asyncio.create_task(call(scenario))
            await asyncio.sleep(0.05)
            other = ENDINGS[end](switch)
            assert await late == expected
            if isinstance(other, Switch):
                other.stop()
            assert len(provider.requests()) == requests
            assert switch.pipeline.gate.declined["reply left to stock"] == before + 1
            assert [shared._function.__code__ for shared in recorder.functions()] == stock_code

    asyncio.run(calls())


def test_a_connection_closed_while_idle_is_not_used(provider: Provider, switch: Switch, pipeline: Pipeline) -> None:
    async def calls() -> None:
        await learned(provider)
        await litellm.acompletion(**arguments(provider, asked("hangup")))  # comes with other headers
        for _ in range(3):
            served = pipeline.gate.served
            await asyncio.sleep(0.05)
            await litellm.acompletion(**arguments(provider, asked("hangup")))
            assert pipeline.gate.served == served + 1
            time.sleep(0.05)  # the event loop cannot notice
            assert (await litellm.acompletion(**arguments(provider))).choices

    asyncio.run(calls())
    if switch.pools is None:
        assert pipeline.gate.declined["closed connection"] == 3
    for scenario in ("plain", "plain", "hangup", "plain", "hangup", "plain"):
        assert litellm.completion(**arguments(provider, asked(scenario))).choices
        time.sleep(0.05)
    assert pipeline.gate.faults == 0


def test_the_time_in_a_timeouts_text_counts_from_the_beginning(provider: Provider, pipeline: Pipeline) -> None:
    async def call(scenario: str) -> Any:
        return await litellm.acompletion(**{**arguments(provider, asked(scenario)), "timeout": 0.4})

    async def calls() -> str:
        for _ in range(3):
            await call("plain")
        with pytest.raises(litellm.Timeout) as caught:
            await call("delay-2")
        return str(caught.value)

    taken = re.search(r"timeout value=0.4, time taken=([\d.]+) seconds", asyncio.run(calls()))
    assert pipeline.gate.declined["reply left to stock"] == 1
    assert taken is not None
    assert 0.4 <= float(taken[1]) < 1.0


@pytest.mark.parametrize("after", [0.0, 0.02, 0.1])
def test_cancellation_releases_the_connection(provider: Provider, pipeline: Pipeline, after: float) -> None:
    async def calls() -> None:
        await learned(provider)
        before = asyncio.all_tasks()
        task = asyncio.create_task(litellm.acompletion(**arguments(provider, asked("delay-0.5"))))
        await asyncio.sleep(after)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not asyncio.all_tasks() - before
        client = next(iter(pipeline.plans.values())).plan.transports.get(asyncio.get_running_loop())
        assert not client.transport.get_valid_client_session().connector._acquired
        assert (await litellm.acompletion(**arguments(provider))).choices

    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        asyncio.run(calls(), debug=True)
        gc.collect()
    assert pipeline.gate.faults == 0


class Awaiting:
    """Runs a coroutine by hand and cancels it where it waits for the ``number``-th time."""

    def __init__(self, coroutine: Any, number: int) -> None:
        self._coroutine = coroutine
        self._number = number
        self.waited = 0

    def __await__(self) -> Any:
        iterator = self._coroutine.__await__()
        try:
            waited_for = next(iterator)
            while True:
                self.waited += 1
                if self.waited == self._number:
                    asyncio.current_task().cancel()  # type: ignore[union-attr]
                try:
                    value = yield waited_for
                except BaseException as error:
                    waited_for = iterator.throw(error)
                else:
                    waited_for = iterator.send(value)
        except StopIteration as stop:
            return stop.value


@pytest.mark.parametrize("entry", ["acompletion", "arouter"])
@pytest.mark.parametrize("scenario", ["plain", "error-500", "tools"])
def test_cancellation_at_every_await(
    provider: Provider, switch: Switch, pipeline: Pipeline, entry: str, scenario: str, recwarn: pytest.WarningsRecorder
) -> None:
    given = arguments(provider)
    router = litellm.Router(
        model_list=[{"model_name": "g", "litellm_params": {k: v for k, v in given.items() if k != "messages"}}],
        num_retries=0,
        disable_cooldowns=True,
    )

    async def call(said: str) -> Any:
        if entry == "arouter":
            return await router.acompletion(model="g", messages=asked(said))
        return await litellm.acompletion(**{**given, "messages": asked(said)})

    async def calls() -> int:
        for _ in range(4):
            await call("plain")
        ended = False
        number = 0
        while not ended:
            number += 1
            before = asyncio.all_tasks()
            run = Awaiting(call(scenario), number)

            async def awaited(run: Awaiting = run) -> Any:
                return await run

            task = asyncio.create_task(awaited())
            await asyncio.wait([task])
            ended = run.waited < number
            assert ended or task.cancelled()
            if ended and scenario == "plain":
                assert task.result().choices
            elif ended and scenario == "error-500":
                assert isinstance(task.exception(), litellm.InternalServerError)
            await asyncio.sleep(0.05)  # stock's own tasks end
            left = {task.get_coro().__qualname__ for task in asyncio.all_tasks() - before}  # type: ignore[union-attr]
            assert left <= {"LoggingWorker._worker_loop"}
            transports = [slot.plan.transports for slot in pipeline.plans.values() if slot.state is State.READY]
            for held in transports:
                client = held.get(asyncio.get_running_loop())
                assert not client.transport.get_valid_client_session().connector._acquired
            assert (await call("plain")).choices
        return number

    assert asyncio.run(calls()) > 1
    assert pipeline.gate.faults == 0
    gc.collect()
    warned = [str(warning.message) for warning in recwarn if warning.category is RuntimeWarning]
    # Stock, cancelled while its thread makes a coroutine for it, does not await that.
    assert scenario != "plain" or warned == []


def test_a_thousand_calls_at_once(provider: Provider, pipeline: Pipeline) -> None:
    async def calls() -> list[Any]:
        await learned(provider)
        return await asyncio.gather(*[litellm.acompletion(**arguments(provider)) for _ in range(1000)])

    answers = asyncio.run(calls())
    assert {answer.choices[0].message.content for answer in answers} == {answers[0].choices[0].message.content}
    assert len({answer._hidden_params["litellm_call_id"] for answer in answers}) == 1000
    assert pipeline.gate.served >= 1000


def resident() -> int:
    """Bytes of memory this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def sizes() -> dict[int, int]:
    """The lengths of all containers there are now, by identity."""
    return {id(held): len(held) for held in gc.get_objects() if type(held) in (dict, list, set)}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="measures memory by /proc")
def test_memory_stays_flat(provider: Provider, pipeline: Pipeline, thawed: None) -> None:
    deployment = {name: value for name, value in arguments(provider).items() if name != "messages"}
    router = litellm.Router(
        model_list=[
            {"model_name": "g", "litellm_params": {**deployment, "api_key": f"sk-{n}", "rpm": 10**6}} for n in range(4)
        ]
    )
    loop = asyncio.new_event_loop()

    async def worker() -> None:
        for _ in range(50):
            await litellm.acompletion(**arguments(provider))
            await router.acompletion(model="g", messages=HELLO)

    async def workers() -> None:
        await asyncio.gather(*[worker() for _ in range(10)])

    def calls() -> None:
        loop.run_until_complete(workers())
        for _ in range(500):
            litellm.completion(**arguments(provider))
            router.completion(model="g", messages=HELLO)
        gc.collect()

    calls()
    before = sizes()
    calls()
    growth = max((length - before[key] for key, length in sizes().items() if key in before), default=0)
    del before
    calls()
    objects = len(gc.get_objects())
    memory = resident()  # after the lists of objects, which take some themselves
    calls()
    assert resident() - memory < 2 * 2**20
    assert len(gc.get_objects()) - objects < 400
    assert growth < 400
    loop.close()
    assert pipeline.gate.served > 7_500


def test_threads_and_their_loops(provider: Provider, pipeline: Pipeline) -> None:
    failures: list[BaseException] = []

    async def calls() -> None:
        for _ in range(10):
            assert (await litellm.acompletion(**arguments(provider))).choices

    def work(number: int) -> None:
        try:
            if number % 2:
                asyncio.run(calls())
            else:
                for _ in range(10):
                    assert litellm.completion(**arguments(provider)).choices
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert pipeline.gate.faults == 0
    assert pipeline.gate.served > 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork_after_use(provider: Provider, pipeline: Pipeline) -> None:
    asyncio.run(learned(provider))
    child = os.fork()
    if child == 0:  # pragma: no cover - coverage ends with the process
        status = 1
        try:
            asyncio.run(learned(provider))
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork_before_use(provider: Provider, pipeline: Pipeline) -> None:
    child = os.fork()
    if child == 0:  # pragma: no cover - coverage ends with the process
        status = 1
        try:
            asyncio.run(learned(provider))
            for _ in range(3):
                litellm.completion(**arguments(provider))
            status = 0 if pipeline.gate.served >= 2 and not pipeline.gate.faults else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    asyncio.run(learned(provider))


def test_many_event_loops_one_after_another(provider: Provider, pipeline: Pipeline) -> None:
    for _ in range(20):
        asyncio.run(learned(provider), debug=True)
    assert pipeline.gate.faults == 0
    assert pipeline.gate.served >= 38


def test_uvloop(provider: Provider, pipeline: Pipeline) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def calls() -> None:
        await learned(provider)
        await asyncio.gather(*[litellm.acompletion(**arguments(provider)) for _ in range(50)])
        with pytest.raises(litellm.InternalServerError):
            await litellm.acompletion(**arguments(provider, asked("error-500")))

    uvloop.run(calls())
    assert pipeline.gate.served >= 50
    assert pipeline.gate.faults == 0


def test_the_provider_dies_in_the_middle_of_an_answer(pipeline: Pipeline) -> None:
    def outcome(error: BaseException) -> Any:
        return type(error), re.sub(r"0x[0-9a-f]+|:\d+", "", str(error))

    async def died(served: bool) -> list[Any]:
        with Provider() as running:
            for _ in range(3 if served else 0):
                await learned(running)
                litellm.completion(**arguments(running))
            pipeline.gate.switch(served)
            late = arguments(running, asked("delay-30"))
            calls = asyncio.gather(
                litellm.acompletion(**late), asyncio.to_thread(litellm.completion, **late), return_exceptions=True
            )
            while len([request for request in running.requests() if b"delay-30" in request.body]) < 2:
                await asyncio.sleep(0.01)
        return [outcome(error) for error in await calls]  # type: ignore[arg-type]

    assert asyncio.run(died(True)) == asyncio.run(died(False))
    assert pipeline.gate.declined["reply left to stock"] == 2
    assert pipeline.gate.faults == 0


def test_a_plan_does_not_outlive_its_client(
    provider: Provider, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = importlib.import_module("litellm_accel.fastpath.pipeline")

    async def calls() -> None:
        await learned(provider)
        before = pipeline.gate.declined["learned from"]
        later = chat.time.time() + 3100

        class Later:
            time = staticmethod(lambda: later)

        monkeypatch.setattr(chat, "time", Later)
        await litellm.acompletion(**arguments(provider))
        assert pipeline.gate.declined["learned from"] == before + 1

    asyncio.run(calls())
