"""Settings that programs make: calls under them are served where they change nothing that was not learned."""

from __future__ import annotations

import asyncio
import copy
import statistics
import time
from collections.abc import Callable
from typing import Any

import litellm
import pytest

from fastpath_switch import LISTS, Switch
from litellm_accel.fastpath import passage
from litellm_accel.provider import Provider
from litellm_accel.stock import seams
from litellm_accel.verify import masks
from litellm_accel.verify.observe import Recorder, SuccessLogger, outcome
from releases import routers_in_python

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
MODES = ("completion", "acompletion", "router")


pytestmark = pytest.mark.usefixtures("quiet")


def calls(provider: Provider, mode: str, count: int, before: Callable[[int], None], **arguments: Any) -> list[Any]:
    """Return the outcomes of some calls and what the provider received; ``before`` is called before each."""
    deployment = {"model": "openai/gpt-4o-mini", "api_key": "sk-1", "api_base": provider.url}
    router = litellm.Router(model_list=[{"model_name": "g", "litellm_params": deployment, "model_info": {"id": "1"}}])

    async def run() -> list[Any]:
        results = []
        for number in range(count):
            before(number)
            said = [*copy.deepcopy(MESSAGES), {"role": "user", "content": f"Question {number}"}]
            if mode == "router":
                result = await router.acompletion(model="g", messages=said, **arguments)
            elif mode == "acompletion":
                result = await litellm.acompletion(messages=said, **deployment, **arguments)
            else:
                result = litellm.completion(messages=said, **deployment, **arguments)
            results.append(masks.mask(outcome(result)))
        return results

    provider.clear()
    found = asyncio.run(run())
    return [found, [(request.path, request.headers, request.body) for request in provider.requests()]]


def teams(provider: Provider) -> list[Any]:
    """Return what the provider has received as header ``x-team`` of each call."""
    return [dict(request.headers).get("x-team") for request in provider.requests()]


def nothing(number: int) -> None:
    """Leaves settings as they are."""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        ({"modify_params": True}, {}),
        ({"modify_params": True}, {"max_tokens": 100}),
        ({"add_function_to_prompt": True, "drop_params": True}, {"tools": [TOOL]}),
        ({"request_timeout": 77.0, "telemetry": False}, {}),
        ({"custom_provider_map": [{"provider": "own", "custom_handler": object()}], "max_user_budget": 3.0}, {}),
        ({"turn_off_message_logging": True}, {}),
    ],
    ids=lambda given: ",".join(given),
)
def test_settings_that_change_nothing_unseen_are_served(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, mode: str, settings: dict[str, Any], arguments: Any
) -> None:
    if mode == "router" and "turn_off_message_logging" in settings and seams.has_core_of_its_own():
        pytest.skip("such a router passes metadata, of which LiteLLM notes what it redacts")
    switch = Switch(pooled=False)
    for name in ("_custom_providers", "provider_list"):  # to which LiteLLM adds
        monkeypatch.setattr(litellm, name, list(getattr(litellm, name)))
    for name, value in settings.items():
        monkeypatch.setattr(litellm, name, value, raising=False)
    calls(provider, mode, 1, nothing, **arguments)
    expected = calls(provider, mode, 7, nothing, **arguments)
    with switch.on():
        assert calls(provider, mode, 7, nothing, **arguments) == expected
    assert switch.gate.served >= 3, switch.gate.declined
    assert not switch.gate.faults


@pytest.mark.parametrize("mode", MODES)
def test_a_limit_that_stock_would_cut_is_stocks(provider: Provider, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setattr(litellm, "modify_params", True)
    switch = Switch(pooled=False)
    expected = calls(provider, mode, 3, nothing, max_tokens=10**6)
    with switch.on():
        assert calls(provider, mode, 3, nothing, max_tokens=10**6) == expected
    assert switch.gate.declined["setting modify_params=True"] >= 3
    assert not switch.gate.served
    assert expected[1][0] != calls(provider, mode, 1, nothing, max_tokens=10**5)[1]


@pytest.mark.parametrize("mode", MODES)
def test_a_deployments_limit_is_cut_too(provider: Provider, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setattr(litellm, "modify_params", True)
    switch = Switch(pooled=False)
    deployment = {"model": "openai/gpt-4o-mini", "api_key": "sk-1", "api_base": provider.url, "max_tokens": 10**6}
    router = litellm.Router(model_list=[{"model_name": "g", "litellm_params": deployment}])
    with switch.on():
        for _ in range(3):
            asyncio.run(router.acompletion(model="g", messages=MESSAGES))
    assert switch.gate.declined["setting modify_params=True"] >= 3
    assert not switch.gate.served


@pytest.mark.parametrize("mode", MODES)
def test_turned_off_messages_are_told_as_by_stock(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(litellm, "turn_off_message_logging", True)
    switch = Switch(pooled=False)

    def told() -> Any:
        recorder = Recorder()
        logger = SuccessLogger(recorder)
        litellm.callbacks.append(logger)

        def wait(number: int) -> None:
            deadline = time.monotonic() + 10
            while mode == "completion" and len(recorder) < number and time.monotonic() < deadline:
                time.sleep(0.002)

        calls(provider, mode, 8, wait)
        wait(8)
        for name in LISTS:
            held = getattr(litellm, name)
            held[:] = [callback for callback in held if callback is not logger]
        racing = masks.RACING_IN_THREADS if mode == "router" else masks.RACING
        return masks.mask(masks.without_races([recorder.here, recorder.elsewhere], racing))

    told()
    expected = told()
    with switch.on():
        assert told() == expected
    assert not switch.gate.faults


@pytest.mark.parametrize("mode", MODES)
def test_settings_that_come_and_go_are_served_in_each_state(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(litellm, "headers", None)
    monkeypatch.setattr(litellm, "drop_params", False)
    switch = Switch(pooled=False)

    def toggle(number: int) -> None:
        litellm.headers = {"x-team": "red"} if number % 2 else {"x-team": "blue"}
        litellm.drop_params = bool(number % 2)

    expected = calls(provider, mode, 12, toggle)
    with switch.on():
        assert calls(provider, mode, 12, toggle) == expected
    assert switch.gate.served >= 8, switch.gate.declined
    assert teams(provider) == ["blue", "red"] * 6


def test_what_is_learned_while_a_setting_is_other_is_not_kept(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stock call under way that is watched may see what a concurrent call has set."""
    monkeypatch.setattr(litellm, "headers", None)
    switch = Switch(pooled=False)
    deployment = {"model": "openai/gpt-4o-mini", "api_key": "sk-1", "api_base": provider.url}

    async def run() -> None:
        first = asyncio.ensure_future(litellm.acompletion(messages=MESSAGES, **deployment))
        await asyncio.sleep(0)
        litellm.headers = {"x-team": "red"}
        await litellm.acompletion(messages=MESSAGES, **deployment, temperature=0.5)
        litellm.headers = None
        await first
        provider.clear()
        for _ in range(4):
            await litellm.acompletion(messages=MESSAGES, **deployment)

    with switch.on():
        asyncio.run(run())
    assert teams(provider) == [None] * 4


class Unheard:
    """Neither a logger nor anything that can be called."""


@pytest.mark.parametrize(
    "what",
    ["nothing", "callbacks", "appended", "setting", "environment", pytest.param("router", marks=routers_in_python)],
)
def test_a_declined_call_costs_what_stock_does(provider: Provider, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """CPU of a declined call against that of stock within it; what is changed is changed before each call."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
    monkeypatch.setenv("SOME_VARIABLE", "0")
    monkeypatch.setattr(litellm, "drop_params", False)
    switch = Switch()
    deployment = {"model": "openai/gpt-4o-mini", "api_key": "sk-1", "api_base": provider.url}
    router = litellm.Router(model_list=[{"model_name": "g", "litellm_params": deployment}])
    counted = iter(range(10**6))

    def change() -> None:
        number = next(counted)
        if what == "callbacks":
            litellm.callbacks = [Unheard()]
        elif what == "appended":
            litellm.failure_callback.append(Unheard())
        elif what == "setting":
            litellm.drop_params = bool(number % 2)
        elif what == "environment":
            monkeypatch.setenv("SOME_VARIABLE", str(number))

    inside = [0.0]
    run = passage.Passage.run

    def timed(self: passage.Passage, *args: Any, **kwargs: Any) -> Any:
        begun = time.thread_time()
        try:
            return run(self, *args, **kwargs)
        finally:
            inside[0] = time.thread_time() - begun  # of the outermost in the end

    def share() -> float:
        """Return how much longer a call takes than stock does for it."""
        for held in (litellm.input_callback, litellm.failure_callback):
            held.clear()
        change()
        begun = time.thread_time()
        if what == "router":
            router.completion(model="g", messages=MESSAGES, cooldown_time=1.0)
        else:
            litellm.completion(messages=MESSAGES, cooldown_time=1.0, **deployment)
        return (time.thread_time() - begun) / inside[0]

    monkeypatch.setattr(passage.Passage, "run", timed)
    held = litellm.callbacks
    try:
        with switch.on():
            shares = [share() for _ in range(60)][10:]
    finally:
        litellm.callbacks = held
    assert not switch.gate.served
    assert statistics.median(shares) < 1.03
