"""What an application lets go of is freed as in stock: event loops with their connections, routers."""

from __future__ import annotations

import asyncio
import copy
import gc
import os
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import litellm
import pytest
from litellm.integrations.custom_logger import CustomLogger

import litellm_accel
from fastpath_switch import without_callbacks
from litellm_accel.fastpath.router_state import RouterStates
from litellm_accel.provider import Provider
from litellm_accel.verify.worker import accelerated
from releases import routers_in_python

KEPT_BY_LITELLM = 3  # its logging worker's queue, a pending callback: whatever the last of them are still used by
ROUNDS = 12


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """Everything is on; returns how many calls the fast path has served."""
    monkeypatch.setattr(litellm, "suppress_debug_info", True)
    with without_callbacks(), accelerated("chat") as counters:
        yield lambda: counters()[0]
    gc.collect()  # here and not in the middle of something else: LiteLLM's tasks complain that their loop is gone


def arguments(provider: Provider, text: str, scenario: str = "plain") -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": f"{text}, answer as: {scenario}"}],
        "stream": scenario.startswith("stream"),
    }


async def finished(response: Any) -> None:
    if isinstance(response, litellm.CustomStreamWrapper):
        async for _ in response:
            pass


@pytest.mark.parametrize("scenario", ["plain", "stream"])
def test_event_loops(provider: Provider, served: Callable[[], int], scenario: str) -> None:
    loops: list[weakref.ref[Any]] = []

    async def calls() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        for number in range(2):
            call = arguments(provider, f"loop {number}", scenario)
            await finished(
                await litellm.acompletion(model="openai/gpt-4o", api_key="sk-1", api_base=provider.url, **call)
            )

    for _ in range(ROUNDS):
        asyncio.run(calls())
        litellm.in_memory_llm_clients_cache.flush_cache()  # LiteLLM itself keeps the clients of 200 loops
    gc.collect()
    assert served() >= ROUNDS // 2
    assert sum(loop() is not None for loop in loops) <= KEPT_BY_LITELLM


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files as Linux shows them")
def test_connections_of_loops_that_are_gone(provider: Provider, served: Callable[[], int]) -> None:
    async def calls() -> None:
        for _ in range(2):
            await litellm.acompletion(
                model="openai/gpt-4o", api_key="sk-1", api_base=provider.url, **arguments(provider, "files")
            )

    def opened(rounds: int) -> int:
        for _ in range(rounds):
            asyncio.run(calls())
            litellm.in_memory_llm_clients_cache.flush_cache()
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    before = opened(ROUNDS)
    assert opened(2 * ROUNDS) <= before + KEPT_BY_LITELLM
    assert served() > ROUNDS


class Logger(CustomLogger):  # type: ignore[misc]
    async def async_log_success_event(self, *event: Any, **named: Any) -> None:
        pass

    def log_success_event(self, *event: Any, **named: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("kind", "strategy"),
    [
        ("sync", "simple-shuffle"),
        ("sync", "latency-based-routing"),
        ("async", "simple-shuffle"),
        ("async", "latency-based-routing"),
        ("stream", "simple-shuffle"),
    ],
)
@pytest.mark.parametrize("logged", [False, True], ids=["unheard", "logged"])
def test_routers(
    provider: Provider,
    served: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    logged: bool,
    strategy: str,
) -> None:
    if logged:
        monkeypatch.setattr(litellm, "callbacks", [Logger()])
    params = {"model": "openai/gpt-4o", "api_key": "sk-1", "api_base": provider.url, "rpm": 10**6}
    routers: list[weakref.ref[Any]] = []

    async def acalls(router: Any) -> None:
        for number in range(5):
            call = arguments(provider, f"router {number}", "stream" if kind == "stream" else "plain")
            await finished(await router.acompletion(model="group", **call))
        await asyncio.sleep(0.01)

    loop = asyncio.new_event_loop()
    for _ in range(ROUNDS):
        router = litellm.Router(
            model_list=[{"model_name": "group", "litellm_params": params}], num_retries=0, routing_strategy=strategy
        )
        routers.append(weakref.ref(router))
        if kind == "sync":
            for number in range(5):
                router.completion("group", [{"role": "user", "content": f"router {number}"}])
        else:
            loop.run_until_complete(acalls(router))
        router.discard()
    loop.run_until_complete(asyncio.sleep(0.05))
    gc.collect()
    assert served() > ROUNDS
    assert sum(router() is not None for router in routers) <= KEPT_BY_LITELLM
    loop.close()


@routers_in_python
def test_calls_of_a_router_without_a_chat_come_by_the_other_door(provider: Provider, served: Callable[[], int]) -> None:
    params = {"model": "openai/gpt-4o", "api_key": "sk-1", "api_base": provider.url}
    router = litellm.Router(model_list=[{"model_name": "group", "litellm_params": params}], num_retries=0)
    router.chat = None
    for _ in range(4):
        assert router.completion("group", [{"role": "user", "content": "Hello"}]).choices
    status = litellm_accel.status()["chat"]
    assert status.faults == 0
    assert status.served > 0
    assert status.declined["router class"] == 4


@routers_in_python
def test_a_copy_of_a_router_is_another_router() -> None:
    params = {"model": "openai/gpt-4o", "api_key": "sk-1"}
    router = litellm.Router(model_list=[{"model_name": "group", "litellm_params": params}])
    routers = RouterStates()
    known = routers.state_of(router)
    copied = copy.copy(router)  # it has the same ``chat``
    assert routers.state_of(router) is known
    for one in (copied, router):
        found = routers.state_of(one)
        assert found is not None and found.attributes is vars(one)
