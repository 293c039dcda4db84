"""Calls that no record of verify proves: each kind is compared with stock on the user's own calls, and then served."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import litellm
import pytest
from litellm import Router
from litellm.integrations.custom_logger import CustomLogger

from lane_switch import Switch, without_callbacks
from litellm_accel.lane import proof
from litellm_accel.provider import Provider
from litellm_accel.verify import masks

MODES = ("completion", "acompletion", "router", "sync router")


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(litellm, "suppress_debug_info", True)
    with without_callbacks():
        yield


@pytest.fixture(scope="module", autouse=True)
def imported(provider: Provider) -> None:
    """What LiteLLM imports with its first calls has been imported."""
    for mode in MODES:
        calls(provider, mode, 1)


@pytest.fixture
def switch() -> Switch:
    return Switch(pooled=False, recorded=False)


def said(number: int) -> list[dict[str, Any]]:
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"Question {number}"}]


def caller(provider: Provider, mode: str, **arguments: Any) -> Callable[[Any], Awaitable[Any]]:
    """Return what makes one call with given messages."""
    deployment = {"model": "openai/gpt-4o-mini", "api_key": "sk-1", "api_base": provider.url}
    if "router" in mode:
        entry = {"model_name": "g", "litellm_params": {**deployment, "rpm": 10**6, "tpm": 10**9}}
        router = Router(model_list=[{**entry, "model_info": {"id": "one"}}])

    async def call(messages: Any) -> Any:
        if mode == "acompletion":
            return await litellm.acompletion(messages=messages, **deployment, **arguments)
        if mode == "completion":
            return litellm.completion(messages=messages, **deployment, **arguments)
        if mode == "router":
            return await router.acompletion(model="g", messages=messages, **arguments)
        return await asyncio.to_thread(router.completion, model="g", messages=messages, **arguments)

    return call


class Steps:
    """How many calls the lane had served after each."""

    def __init__(self, switch: Switch) -> None:
        self._switch = switch
        self.served: list[int] = []

    def __call__(self) -> None:
        self.served.append(self._switch.gate.served)


def calls(
    provider: Provider,
    mode: str,
    count: int,
    each: Callable[[], None] = lambda: None,
    messages: Callable[[int], Any] = said,
    **arguments: Any,
) -> list[Any]:
    """Make ``count`` calls, one after the other; ``each()`` after each."""

    async def run() -> list[Any]:
        call, results = caller(provider, mode, **arguments), []
        for number in range(count):
            results.append(await call(messages(number)))
            each()
            await asyncio.sleep(0.01)
        return results

    return asyncio.run(run())


def brief(results: list[Any]) -> Any:
    return masks.mask([masks.describe(result) if hasattr(masks, "describe") else repr(result) for result in results])


# --- served once it is proven -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("listens", [False, True], ids=["alone", "with a listener"])
def test_a_kind_is_served_after_three_calls_that_agree(provider: Provider, mode: str, listens: bool) -> None:
    if listens:
        litellm.callbacks.append(Reader())
    first = {}
    for recorded in (True, False):
        switch = Switch(pooled=False, recorded=recorded)
        steps = Steps(switch)
        with switch.on():
            calls(provider, mode, 9, steps)
        assert not switch.gate.faults
        first[recorded] = steps.served.index(1)
        assert steps.served[first[recorded] :] == list(range(1, 10 - first[recorded]))
        assert switch.gate.declined.get(proof.BEING_PROVEN, 0) == (0 if recorded else 3)
    assert first[False] == first[True] + 3


class Reader(CustomLogger):  # type: ignore[misc]
    """Keeps the payloads that it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.told.append(kwargs["standard_logging_object"])

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.log_success_event(kwargs, response_obj, start_time, end_time)
