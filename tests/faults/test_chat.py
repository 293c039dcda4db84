"""Faults inside the chat lane, and what the world does to it: cancellation, threads, loops, forks."""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import litellm
import pytest

from litellm_accel import _backend, patching
from litellm_accel.components.chat import Chat, Lane
from litellm_accel.provider import Provider

pytestmark = pytest.mark.slow

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider() as running:
        yield running


@pytest.fixture
def lane(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lane]:
    monkeypatch.setattr(litellm, "suppress_debug_info", True)
    gate = _backend.load("gate").Gate("chat", 10)
    component = Chat()
    patches = []
    for replacement in component.replacements(gate):
        function = patching.resolve(replacement.target)
        patches.append(patching.Patch(function, replacement.build(patching.stock_copy(function))))
    gate.switch(True)
    patching.install(patches)
    assert component.lane is not None
    yield component.lane
    patching.uninstall(patches)


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
    """Make calls until the lane serves them: the first ones may still load parts of LiteLLM."""
    for _ in range(3):
        await litellm.acompletion(**arguments(provider))


class Fault(Exception):
    """An internal error of the lane."""


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


# ``body`` fails before anything is sent; the others after.
@pytest.mark.parametrize("part", ["body", "request", "answer", "result"])
@pytest.mark.parametrize("scenario", ["plain", "error-429", "broken-json"])
def test_a_fault_never_shows_and_never_sends_twice(provider: Provider, lane: Lane, part: str, scenario: str) -> None:
    async def outcome() -> Any:
        try:
            return (await litellm.acompletion(**arguments(provider, asked(scenario)))).model_dump()
        except Exception as error:
            return type(error), str(error)

    async def calls() -> tuple[Any, Any]:
        await learned(provider)
        expected = await outcome()
        await learned(provider)  # the first error of a process loads more of LiteLLM
        lane.plans.update({key: Broken(plan, part) for key, plan in lane.plans.items()})
        provider.clear()
        return expected, await outcome()

    expected, found = asyncio.run(calls())
    assert found == expected
    assert len(provider.requests()) == 1
    # A reply that the plan does not cover never gets as far as a result.
    assert (lane.gate.faults > 0) == (part != "result" or scenario == "plain")


def test_ten_faults_open_the_breaker(provider: Provider, lane: Lane) -> None:
    async def calls() -> None:
        await learned(provider)
        lane.plans.update({key: Broken(plan, "answer") for key, plan in lane.plans.items()})
        for _ in range(12):
            await litellm.acompletion(**arguments(provider))

    asyncio.run(calls())
    assert lane.gate.faults == 10
    assert not lane.gate.on


def test_a_fault_in_admission_leaves_the_call_to_stock(
    provider: Provider, lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise Fault

    monkeypatch.setattr(lane, "known", fail)
    assert asyncio.run(litellm.acompletion(**arguments(provider))).choices
    assert litellm.completion(**arguments(provider)).choices
    assert lane.gate.faults == 2


@pytest.mark.parametrize("after", [0.0, 0.02, 0.1])
def test_cancellation_releases_the_connection(provider: Provider, lane: Lane, after: float) -> None:
    async def calls() -> None:
        await learned(provider)
        before = len(asyncio.all_tasks())
        task = asyncio.create_task(litellm.acompletion(**arguments(provider, asked("delay-0.5"))))
        await asyncio.sleep(after)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == before
        transport, _ = next(iter(lane.plans.values())).transports[asyncio.get_running_loop()]
        assert not transport.get_valid_client_session().connector._acquired
        assert (await litellm.acompletion(**arguments(provider))).choices

    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        asyncio.run(calls(), debug=True)
        gc.collect()
    assert lane.gate.faults == 0


def test_a_thousand_calls_at_once(provider: Provider, lane: Lane) -> None:
    async def calls() -> list[Any]:
        await learned(provider)
        return await asyncio.gather(*[litellm.acompletion(**arguments(provider)) for _ in range(1000)])

    answers = asyncio.run(calls())
    assert {answer.choices[0].message.content for answer in answers} == {answers[0].choices[0].message.content}
    assert len({answer._hidden_params["litellm_call_id"] for answer in answers}) == 1000
    assert lane.gate.served >= 1000


def test_threads_and_their_loops(provider: Provider, lane: Lane) -> None:
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
    assert lane.gate.faults == 0
    assert lane.gate.served > 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork_after_use(provider: Provider, lane: Lane) -> None:
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


def test_a_plan_does_not_outlive_its_client(provider: Provider, lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = importlib.import_module("litellm_accel.components.chat")

    async def calls() -> None:
        await learned(provider)
        before = lane.gate.declined["learned from"]
        later = chat.time.time() + 3100

        class Later:
            time = staticmethod(lambda: later)

        monkeypatch.setattr(chat, "time", Later)
        await litellm.acompletion(**arguments(provider))
        assert lane.gate.declined["learned from"] == before + 1

    asyncio.run(calls())
