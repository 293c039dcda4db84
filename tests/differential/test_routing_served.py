"""What is served and what is left to stock, through real calls of a router, threads, patches and large groups."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import gc
import math
import operator
import os
import random
import sys
import threading
import time
import traceback
import tracemalloc
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import litellm
import pytest
from litellm import Router
from litellm.caching.dual_cache import DualCache
from litellm.caching.in_memory_cache import InMemoryCache
from litellm.integrations.custom_logger import CustomLogger
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER
from litellm.router_strategy.complexity_router.context_compaction import CompactionState
from litellm.types.router import Deployment, RouterRateLimitError

import litellm_accel
from litellm_accel import _backend, activation
from litellm_accel.components import routing
from litellm_accel.fastpath import decline
from litellm_accel.routing import accounting, filters, listings
from litellm_accel.stock import seams
from settling import settled

if seams.has_core_of_its_own():
    pytest.skip("the installed LiteLLM's routers have a core of their own", allow_module_level=True)

MESSAGES = [{"role": "user", "content": "hello"}]
STRATEGIES = (
    "simple-shuffle",
    "least-busy",
    "cost-based-routing",
    "latency-based-routing",
    "usage-based-routing-v2",
    "usage-based-routing",
)
CALLBACK_LISTS = (
    "callbacks",
    "input_callback",
    "success_callback",
    "failure_callback",
    "_async_success_callback",
    "_async_failure_callback",
)


@pytest.fixture
def gate(restored: None, hot: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The gate of the active component: off runs stock, on runs the accelerated choice."""
    saved = {name: list(getattr(litellm, name)) for name in CALLBACK_LISTS}
    for module in (routing, filters, accounting, listings):
        monkeypatch.setattr(module, "_hot", hot("routing"))
    monkeypatch.setitem(_backend._modules, "gate", hot("gate"))
    monkeypatch.setattr(activation, "_activations", {})
    litellm_accel.accelerate("routing", strict=True)
    yield activation._activations["routing"].gate
    litellm_accel.restore()
    for name, value in saved.items():
        setattr(litellm, name, value)


def model(name: str, group: str = "chat", **params: Any) -> dict[str, Any]:
    info = {"id": name, **params.pop("info", {})}
    base = {"model": "openai/gpt-4o-mini", "api_key": "sk-test", "api_base": f"http://{name}.test/v1"}
    return {"model_name": group, "litellm_params": {**base, **params}, "model_info": info}


def router_of(count: int, strategy: str = "simple-shuffle", **settings: Any) -> Router:
    return Router(model_list=[model(f"d{index}") for index in range(count)], routing_strategy=strategy, **settings)


def choose(router: Router, name: str = "chat", **request: Any) -> str:
    found = asyncio.run(router.async_get_available_deployment(name, request, MESSAGES))
    chosen: str = found["model_info"]["id"]
    return chosen


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_real_completions_choose_alike_and_are_all_served(strategy: str, gate: Any) -> None:
    async def work() -> tuple[list[str], Any]:
        for name in CALLBACK_LISTS:  # LiteLLM registers one handler of a class, that of the router before
            getattr(litellm, name).clear()
        router = router_of(12, strategy)
        chosen = []
        for _ in range(25):
            response = await router.acompletion("chat", MESSAGES, mock_response="hello")
            chosen.append(response._hidden_params["model_id"])
            await settled()
        memory = router.cache.in_memory_cache.cache_dict
        router.discard()
        return chosen, {key: value for key, value in memory.items() if not key.startswith(("chat_map", "cost_map"))}

    async def both() -> list[tuple[list[str], Any]]:
        results = []
        for accelerated in (False, True):
            gate.switch(accelerated)
            random.seed(7)
            results.append(await work())
        return results

    results = asyncio.run(both())
    if strategy in ("simple-shuffle", "cost-based-routing"):  # others go by what background tasks have measured so far
        assert results[1][0] == results[0][0]
        assert sorted(results[1][1]) == sorted(results[0][1])
    assert gate.declined == {}
    assert gate.faults == 0, gate.last_fault
    assert gate.served >= 50


# The value that 99.9 % of chi-squared sums with 9 degrees of freedom stay below.
CHI_SQUARED_9 = 27.877


@pytest.mark.parametrize("weighted", [True, False])
def test_100_000_draws_have_the_weights_distribution(weighted: bool, gate: Any, backend: str) -> None:
    draws = 100_000 if backend == "compiled" else 10_000
    weights = [index % 4 + 1 for index in range(10)] if weighted else [1] * 10
    router = Router(model_list=[model(f"d{index}", weight=weight) for index, weight in enumerate(weights)])
    if not weighted:
        router = router_of(10)
    random.seed(20)
    counts = Counter(router.get_available_deployment("chat")["model_info"]["id"] for _ in range(draws))
    expected = [draws * weight / sum(weights) for weight in weights]
    observed = [counts[f"d{index}"] for index in range(10)]
    assert sum((seen - due) ** 2 / due for seen, due in zip(observed, expected, strict=True)) < CHI_SQUARED_9
    assert gate.served == draws


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_threads_choose_while_another_changes_the_list(
    strategy: str, gate: Any, request: pytest.FixtureRequest
) -> None:
    router = router_of(30, strategy)
    stop = threading.Event()
    errors: list[BaseException] = []
    removed: set[str] = set()
    asynchronous = strategy == "cost-based-routing"

    def work() -> None:
        loop = asyncio.new_event_loop()
        try:
            while not stop.is_set():
                gone = frozenset(removed)
                try:
                    if asynchronous:
                        found = loop.run_until_complete(router.async_get_available_deployment("chat", {}, MESSAGES))
                    else:
                        found = router.get_available_deployment("chat", MESSAGES)
                # LiteLLM's own, of a list that is being shortened and a map that is being filled; ours would be faults.
                except (IndexError, RuntimeError) as error:
                    assert isinstance(error, IndexError) or "changed size during iteration" in str(error)
                    continue
                assert found["model_info"]["id"] not in gone
        except BaseException as error:
            errors.append(error)
        finally:
            loop.close()

    threads = [threading.Thread(target=work) for _ in range(16)]
    interval = sys.getswitchinterval()
    request.addfinalizer(lambda: sys.setswitchinterval(interval))
    sys.setswitchinterval(1e-4)
    for thread in threads:
        thread.start()
    error = litellm.RateLimitError("slow down", "openai", "m")
    for turn in range(8):
        router.add_deployment(Deployment(**model(f"new{turn}")))
        router.cooldown_cache.add_deployment_to_cooldown(f"d{turn % 10}", error, 429, 0.01)
        stop.wait(0.002)
        router.delete_deployment(f"new{turn}")
        removed.add(f"new{turn}")
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert gate.faults == 0, gate.last_fault
    assert gate.served > 50


LIMITS = (
    {"tpm": 10**400},
    {"rpm": 2**60},
    {"tpm": math.nan, "rpm": 1.5},
    {"tpm": -(10**400)},
    {"rpm": 1},
    {"tpm": 0.5},
)


@pytest.mark.parametrize("strategy", STRATEGIES[2:])
def test_limits_of_any_size_are_kept(strategy: str, gate: Any) -> None:
    chosen = []
    for accelerated in (False, True):
        gate.switch(accelerated)
        router = router_of(len(LIMITS), strategy)
        for deployment, limits in zip(router.model_list, LIMITS, strict=True):
            deployment["litellm_params"].update(limits)
        random.seed(3)
        chosen.append([choose(router) for _ in range(30)])
    assert chosen[1] == chosen[0]
    assert gate.served >= 30
    assert (gate.declined, gate.faults) == ({}, 0)


def _popped(router: Router) -> None:
    router.model_list.pop(0)


def _popped_and_counted(router: Router) -> None:
    router.model_list.pop(0)
    del router.model_id_to_deployment_index_map["d0"]


@pytest.mark.parametrize("removed", [_popped, _popped_and_counted])
def test_a_removal_that_is_half_done_is_met_as_in_stock(removed: Callable[[Router], None], gate: Any) -> None:
    """While ``Router.delete_deployment`` is at work its lists disagree: the race that threads run into is stock's."""
    router = router_of(3)
    assert choose(router) in ("d0", "d1", "d2")
    removed(router)
    for accelerated in (False, True):
        gate.switch(accelerated)
        with pytest.raises(IndexError) as raised:
            router.get_available_deployment("chat", MESSAGES)
        assert os.path.dirname(litellm.__file__) in traceback.extract_tb(raised.value.__traceback__)[-1].filename
    assert gate.faults == 0, gate.last_fault


@pytest.mark.parametrize("removed", [_popped, _popped_and_counted])
def test_a_removal_under_way_is_waited_for(removed: Callable[[Router], None], gate: Any) -> None:
    router = router_of(3)
    assert choose(router) in ("d0", "d1", "d2")
    removed(router)
    rest = {"model_id": "d0", "removal_idx": 0}
    other = threading.Timer(0.005, router._update_deployment_indices_after_removal, kwargs=rest)
    other.start()
    assert router.get_available_deployment("chat", MESSAGES)["model_info"]["id"] in ("d1", "d2")
    other.join()
    assert (gate.served, gate.declined) == (2, {})


@pytest.mark.parametrize("removed", [_popped, _popped_and_counted])
def test_nobody_waits_for_a_removal_in_an_event_loop(
    removed: Callable[[Router], None], gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = router_of(3)
    assert choose(router) in ("d0", "d1", "d2")
    removed(router)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("somebody waits"))
    with pytest.raises(IndexError):  # stock's own
        choose(router)
    assert gate.served == 1 and gate.declined
    router._update_deployment_indices_after_removal(model_id="d0", removal_idx=0)
    assert choose(router) in ("d1", "d2")
    assert gate.served == 2


def test_lists_that_go_on_to_disagree_are_waited_for_once(gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    router = Router(model_list=[model("d0"), model("d0")])
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    for _ in range(3):
        router.get_available_deployment("chat", MESSAGES)
    assert len(pauses) == 20
    assert set(gate.declined) == {"deployments that share an id"}


def test_a_method_put_onto_a_cache_is_called(gate: Any) -> None:
    """As LiteLLM's own tests do: a record that went past it would count into a cache that nobody reads."""
    router = router_of(1)
    failed = {
        "call_type": "acompletion",
        "litellm_params": {"metadata": {"model_group": "chat", "deployment": "d"}, "model_info": {"id": "d0"}},
    }
    with mock.patch.object(router.cache, "async_increment_cache") as counted:
        asyncio.run(router.async_deployment_callback_on_failure(failed, None, 0.0, 1.0))
    counted.assert_called_once()
    assert gate.declined == {"a router's part with methods of its own": 1}
    asyncio.run(router.async_deployment_callback_on_failure(failed, None, 0.0, 1.0))
    assert sum(gate.declined.values()) == 1 and gate.served == 1


def test_what_others_change_is_seen_at_the_next_choice(gate: Any) -> None:
    router = router_of(2)
    assert {choose(router) for _ in range(50)} == {"d0", "d1"}
    router.model_list[0]["litellm_params"]["weight"] = 1
    assert {choose(router) for _ in range(20)} == {"d0"}
    router.model_list[0]["model_info"]["blocked"] = True
    assert {choose(router) for _ in range(20)} == {"d1"}
    router.add_deployment(Deployment(**model("d2", weight=3)))
    assert {choose(router) for _ in range(20)} == {"d2"}
    router.delete_deployment("d2")
    assert {choose(router) for _ in range(20)} == {"d1"}
    router.model_list[0]["model_info"]["blocked"] = False
    error = litellm.RateLimitError("slow down", "openai", "m")
    router.cooldown_cache.add_deployment_to_cooldown("d0", error, 429, 60)
    assert {choose(router) for _ in range(20)} == {"d1"}
    router.cooldown_cache.in_memory_cache.delete_cache("deployment:d0:cooldown")
    assert {choose(router) for _ in range(20)} == {"d0"}
    router.set_model_list([model("e0"), model("e1")])
    assert {choose(router) for _ in range(50)} == {"e0", "e1"}
    assert gate.declined == {}


TEXT = [{"role": "user", "content": "hello " * 30}]
PARTS = [{"role": "user", "content": [{"type": "text", "text": "hello " * 30}]}]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]


def _small(index: int) -> dict[str, Any]:
    return {"info": {"max_input_tokens": 20 if index else 1000}}


# What is configured, a request, and which of three deployments it may reach.
NARROWED: dict[
    str, tuple[dict[str, Any], Callable[[int], dict[str, Any]], dict[str, Any], list[dict[str, Any]], set[str]]
] = {
    "tags": (
        {"enable_tag_filtering": True},
        lambda index: {"tags": [("free", "paid", "default")[index]]},
        {"metadata": {"tags": ["paid"]}},
        MESSAGES,
        {"d1"},
    ),
    "untagged": (
        {"enable_tag_filtering": True},
        lambda index: {"tags": [("free", "paid", "default")[index]]},
        {"metadata": {}},
        MESSAGES,
        {"d2"},
    ),
    "tags of the request": (
        {},
        lambda index: {"tags": [("free", "paid", "free")[index]]},
        {"metadata": {"tags": ["free"]}, "enable_tag_filtering": True},
        MESSAGES,
        {"d0", "d2"},
    ),
    "tags of the group": (
        {},
        lambda index: {"tags": ["eu", "free"][: index + 1], "info": {"enable_tag_filtering": True}},
        {"litellm_metadata": {"tags": ["&eu", "&free"]}},
        MESSAGES,
        {"d1", "d2"},
    ),
    "user agent": (
        {"enable_tag_filtering": True},
        lambda index: {"tag_regex": ["^User-Agent: claude"]} if index == 1 else {},
        {"metadata": {"user_agent": "claude-cli/2"}},
        MESSAGES,
        {"d1"},
    ),
    "context window": ({"enable_pre_call_checks": True}, _small, {}, TEXT, {"d0"}),
    "context window, parts": ({"enable_pre_call_checks": True}, _small, {}, PARTS, {"d0"}),
    "context window, tools": ({"enable_pre_call_checks": True}, _small, {"tools": TOOLS}, TEXT, {"d0"}),
    "within the context window": ({"enable_pre_call_checks": True}, _small, {}, MESSAGES, {"d0", "d1", "d2"}),
    "region": (
        {"enable_pre_call_checks": True},
        lambda index: {"region_name": ("eu", "us", "eu")[index]},
        {"allowed_model_region": "eu"},
        MESSAGES,
        {"d0", "d2"},
    ),
    "response format": (
        {"enable_pre_call_checks": True},
        lambda index: {"model": "gpt-3.5-turbo-16k" if index else "gpt-4o"},
        {"response_format": {"type": "json_object"}},
        MESSAGES,
        {"d0"},
    ),
    "requests a minute": (
        {"enable_pre_call_checks": True},
        lambda index: {"rpm": index},
        {},
        MESSAGES,
        {"d1", "d2"},
    ),
    "access groups": (
        {},
        lambda index: {"info": {"access_groups": [["beta"], ["gamma", "beta"], ["gamma"]][index]}},
        {"metadata": {"user_api_key_auth": SimpleNamespace(models=["beta"], team_models=None)}},
        MESSAGES,
        {"d0", "d1"},
    ),
    "access groups of others": (
        {},
        lambda index: {"info": {"access_groups": ["beta"]}},
        {"metadata": {"user_api_key_auth": SimpleNamespace(models=["gamma"], team_models=["delta"])}},
        MESSAGES,
        {"d0", "d1", "d2"},
    ),
    "web search": (
        {},
        lambda index: {"info": {"supports_web_search": index == 1}},
        {"tools": [{"type": "web_search"}]},
        MESSAGES,
        {"d1"},
    ),
    "an order asked for": ({}, lambda index: {"order": index}, {"_target_order": 2}, MESSAGES, {"d2"}),
    "excluded": ({}, lambda index: {}, {"_excluded_deployment_ids": ["d0", "d2"]}, MESSAGES, {"d1"}),
    "refused before": ({}, lambda index: {}, {"_retry_skipped_deployment_ids": ("d0",)}, MESSAGES, {"d1", "d2"}),
    "all refused before": (
        {},
        lambda index: {},
        {"_retry_skipped_deployment_ids": ("d0", "d1", "d2")},
        MESSAGES,
        {"d0", "d1", "d2"},
    ),
}


@pytest.mark.parametrize("strategy", ["simple-shuffle", "latency-based-routing"])
@pytest.mark.parametrize("case", NARROWED)
def test_narrowed_choices_are_served(case: str, strategy: str, gate: Any) -> None:
    settings, params, written, messages, expected = NARROWED[case]
    models = [model(f"d{index}", **params(index)) for index in range(3)]
    router = Router(model_list=copy.deepcopy(models), routing_strategy=strategy, **settings)
    reached: list[Counter[str]] = []
    for accelerated in (False, True):
        gate.switch(accelerated)
        random.seed(3)
        counts: Counter[str] = Counter()
        for _ in range(40):
            request = copy.deepcopy(written)
            found = asyncio.run(router.async_get_available_deployment("chat", request, messages))
            counts[found["model_info"]["id"]] += 1
            assert not any(key.startswith(("_target", "_excluded", "_retry")) for key in request)
        reached.append(counts)
    assert set(reached[0]) == set(reached[1]) == expected
    if strategy == "simple-shuffle":
        assert reached[1] == reached[0]
    assert gate.served >= 40
    assert (gate.declined, gate.faults) == ({}, 0)


def test_unhealthy_deployments_are_left_out(gate: Any) -> None:
    router = router_of(3, enable_health_check_routing=True)
    now = time.time()
    states = {name: {"is_healthy": False, "timestamp": now, "reason": "x"} for name in ("d0", "d1")}
    router.health_state_cache.set_deployment_health_states(states)
    assert {choose(router) for _ in range(20)} == {"d2"}
    router.health_state_cache.set_deployment_health_states({"d0": {"is_healthy": True, "timestamp": now, "reason": ""}})
    assert {choose(router) for _ in range(40)} == {"d0", "d2"}
    router.health_state_cache.staleness_threshold = 0.0
    assert {choose(router) for _ in range(40)} == {"d0", "d1", "d2"}
    assert gate.declined == {}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_wildcard_groups_are_served_with_copies(strategy: str, gate: Any) -> None:
    wild = model("w0", "openai/*", model="openai/*")
    narrow = model("w1", "openai/gpt-4*", model="mistral/static")
    router = Router(model_list=[wild, narrow, model("d0")], routing_strategy=strategy)

    def ask(name: str) -> tuple[str, str]:
        found = asyncio.run(router.async_get_available_deployment(name, {}, MESSAGES))
        assert not any(found is listed for listed in router.model_list)
        found["litellm_params"]["model"] = "the caller's own copy"
        again = asyncio.run(router.async_get_available_deployment(name, {}, MESSAGES))
        return again["model_info"]["id"], again["litellm_params"]["model"]

    asked = ("openai/o3", "openai/gpt-4o", "gpt-4o-mini")
    gate.switch(False)
    expected = [ask(name) for name in asked]
    gate.switch(True)
    assert [ask(name) for name in asked] == expected
    router.add_deployment(Deployment(**model("w2", "openai/gpt-4o*", model="groq/*")))
    assert ask("openai/gpt-4o") == ("w2", "groq/")
    router.delete_deployment("w2")
    assert ask("openai/gpt-4o") == expected[1]
    assert gate.served >= 10
    assert gate.faults == 0, gate.last_fault


def test_a_deployment_is_reached_by_its_id(gate: Any) -> None:
    router = Router(model_list=[model(f"d{index}", extra_headers={"a": ["b"]}) for index in range(3)])
    found = []
    for accelerated in (False, True):
        gate.switch(accelerated)
        found.append(router.get_available_deployment("d1", MESSAGES))
        found.append(asyncio.run(router.async_get_available_deployment("d1", {"_target_order": 2}, MESSAGES)))
    assert repr(found[:2]) == repr(found[2:])
    found[2]["litellm_params"]["extra_headers"]["a"].append("the caller's own copy")
    assert repr(router.get_available_deployment("d1")) == repr(found[0])
    router.model_list[1]["litellm_params"]["extra_headers"]["a"].append("c")
    assert router.get_available_deployment("d1")["litellm_params"]["extra_headers"] == {"a": ["b", "c"]}
    assert (gate.served, gate.declined) == (4, {})
    router.model_list[1]["model_info"]["blocked"] = True
    with pytest.raises(litellm.ServiceUnavailableError, match="currently paused"):
        router.get_available_deployment("d1")
    router.delete_deployment("d1")
    with pytest.raises(litellm.BadRequestError, match="no healthy deployments"):
        router.get_available_deployment("d1")


def test_the_deployments_of_a_model_are_reached_by_it(gate: Any) -> None:
    router = Router(model_list=[model(f"d{index}", model=f"openai/gpt-4{'o1'[index % 2]}") for index in range(6)])

    def reached() -> set[str]:
        return {
            router.get_available_deployment("openai/gpt-4o", MESSAGES, specific_deployment=True)["model_info"]["id"]
            for _ in range(60)
        }

    assert reached() == {"d0", "d2", "d4"}
    router.model_list[3]["litellm_params"]["model"] = "openai/gpt-4o"
    router.delete_deployment("d0")
    router.cooldown_cache.add_deployment_to_cooldown("d4", litellm.RateLimitError("slow", "openai", "m"), 429, 60)
    assert reached() == {"d2", "d3"}
    assert (gate.served, gate.declined) == (120, {})


def test_counters_are_raised_as_the_cache_raises_them(gate: Any) -> None:
    """Among expiries, other writers and a cache that is full."""
    rng, now = random.Random(5), [1000.0]
    ours, theirs = (InMemoryCache(max_size_in_memory=12, clock=lambda: now[0]) for _ in range(2))
    for _ in range(5000):
        key, amount, ttl = f"k{rng.randrange(18)}", rng.choice((1, -1, 0.5, 0)), rng.choice((None, 5, 60))
        if rng.random() < 0.2:
            value = rng.choice((3, 0, 1.5, {"x": 1}, "7"))
            for cache in (ours, theirs):
                cache.set_cache(key, value, ttl=ttl)
        try:
            total = accounting._hot.increment(ours, key, amount, ttl)
        except decline.Unserved:
            assert type(ours.cache_dict[key]) not in (int, float)
        else:
            assert repr(theirs.increment_cache(key, amount, ttl=ttl)) == repr(total)
        assert repr([ours.cache_dict, ours.ttl_dict, ours.expiration_heap]) == repr(
            [theirs.cache_dict, theirs.ttl_dict, theirs.expiration_heap]
        )
        now[0] += rng.choice((0, 0, 1, 20))


def test_names_that_callers_make_up_are_forgotten(gate: Any, thawed: None) -> None:
    router = Router(model_list=[model("w0", "openai/*", model="openai/*")])
    for index in range(3000):
        found = router.get_available_deployment(f"openai/made-up-{index}", MESSAGES)
        assert found["litellm_params"]["model"] == f"openai/made-up-{index}"
    sizes = [len(held) for held in gc.get_objects() if type(held) is dict and "openai/made-up-2999" in held]
    assert sizes and max(sizes) < 2000
    assert gate.served == 3000


def test_a_team_reaches_its_own_deployments(gate: Any) -> None:
    own = model("t0", "model_name_red_1", info={"team_id": "red", "team_public_model_name": "theirs"})
    router = Router(model_list=[own, model("d0"), model("w0", "open*")])
    red, blue = ({"metadata": {"user_api_key_team_id": team}} for team in ("red", "blue"))
    assert choose(router, "theirs", **red) == "t0"
    assert choose(router, "chat", **red) == "d0"
    assert choose(router, "opened", **red) == "w0"
    assert choose(router, "opened", **blue) == "w0"
    assert (gate.served, gate.declined) == (4, {})
    with pytest.raises(litellm.BadRequestError, match="no healthy deployments"):
        choose(router, "theirs", **blue)
    # Somebody renames the team's deployment under the router's feet; its index of teams does not know.
    router.model_list[0]["model_info"]["team_public_model_name"] = "opened"
    assert choose(router, "opened", **red) == "t0"
    assert choose(router, "opened", **blue) == "w0"


def test_no_deployment_is_stocks_error(gate: Any) -> None:
    router = router_of(2)
    error = litellm.RateLimitError("slow down", "openai", "m")
    for name in ("d0", "d1"):
        router.cooldown_cache.add_deployment_to_cooldown(name, error, 429, 60)
    with pytest.raises(RouterRateLimitError) as raised:
        choose(router)
    assert sorted(raised.value.cooldown_list) == ["d0", "d1"]
    with pytest.raises(litellm.BadRequestError, match="no healthy deployments"):
        choose(router, "nobody")
    assert gate.declined["no deployment is available"] == 1
    assert gate.faults == 0


def test_a_request_that_was_routed_before_is_disarmed(gate: Any) -> None:
    router = router_of(1)
    state = CompactionState(candidates=("a",), parent_model="b")
    choose(router, _context_compaction_state=state)
    assert (state.config, state.candidates, state.parent_model) == (None, (), None)
    assert gate.served == 1


class Filtering(CustomLogger):
    async def async_filter_deployments(self, model: str, healthy_deployments: Any, **rest: Any) -> Any:
        return healthy_deployments[:1]


class Reordering(CustomLogger):
    async def async_filter_deployments(
        self,
        model: Any,
        healthy_deployments: Any,
        messages: Any,
        request_kwargs: Any = None,
        parent_otel_span: Any = None,
    ) -> Any:
        return healthy_deployments[::-1]


class Keeping(CustomLogger):
    async def async_filter_deployments(
        self,
        model: Any,
        healthy_deployments: Any,
        messages: Any,
        request_kwargs: Any = None,
        parent_otel_span: Any = None,
    ) -> Any:
        """Keep all."""
        return healthy_deployments


def limiter() -> Any:
    """The logger with a filter that a LiteLLM proxy registers, whatever its settings."""
    from litellm.proxy.hooks.model_max_budget_limiter import _PROXY_VirtualKeyModelMaxBudgetLimiter

    return _PROXY_VirtualKeyModelMaxBudgetLimiter(dual_cache=DualCache())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_filter_that_keeps_all_is_gone_around(strategy: str, gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm, "callbacks", [limiter(), Keeping(), CustomLogger()])
    outcomes = []
    for accelerated in (False, True):
        gate.switch(accelerated)
        router, requests = router_of(8, strategy), [{"metadata": {"a": "b"}, "stream": True} for _ in range(20)]
        random.seed(11)
        chosen = [asyncio.run(router.async_get_available_deployment("chat", each, MESSAGES)) for each in requests]
        outcomes.append((chosen, requests, random.getstate(), sorted(router.cache.in_memory_cache.cache_dict)))
    assert outcomes[1] == outcomes[0]
    assert (gate.served, gate.declined, gate.faults) == (20, {}, 0)


def _reversing(logger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(logger), "async_filter_deployments", Reordering.async_filter_deployments)


def _reversing_itself(logger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Reordering.async_filter_deployments.__get__(logger)
    monkeypatch.setattr(logger, "async_filter_deployments", own, raising=False)


def _wrapped(logger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    held = type(logger).async_filter_deployments

    @functools.wraps(held)
    async def reverse(*args: Any, **rest: Any) -> Any:
        return (await held(*args, **rest))[::-1]

    monkeypatch.setattr(type(logger), "async_filter_deployments", reverse)


@pytest.mark.parametrize("patch", [_reversing, _reversing_itself, _wrapped])
@pytest.mark.parametrize("make", [limiter, Keeping])
def test_a_filter_that_was_replaced_is_heard(
    make: Callable[[], Any], patch: Callable[..., None], gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = make()
    monkeypatch.setattr(litellm, "callbacks", [logger])
    router = Router(model_list=[model("d0"), model("d1")], routing_strategy="least-busy")
    assert choose(router) == "d0"
    assert (gate.served, gate.declined) == (1, {})
    patch(logger, monkeypatch)
    assert choose(router) == "d1"
    assert gate.declined == {f"callback {type(logger).__name__} filters deployments": 1}


class OwnRouter(Router):
    pass


def _set(owner: Any, name: str, value: Any) -> Callable[[Router, pytest.MonkeyPatch], None]:
    def apply(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(router if owner is None else owner, name, value)

    return apply


def _team(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    router.add_deployment(Deployment(**model("t", info={"team_id": "team", "team_public_model_name": "chat"})))


def _window(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    router.model_list[0]["model_info"]["access_windows"] = []


def _own_method(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router, "_filter_blocked_deployments", lambda deployments: deployments, raising=False)


def _own_cache_method(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    store = router.cooldown_cache.in_memory_cache
    monkeypatch.setattr(store, "batch_get_cache", lambda keys, **rest: [None] * len(keys), raising=False)


def _redis(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    redis = SimpleNamespace(async_batch_get_cache=_nothing, batch_get_cache=lambda key_list, **rest: {})
    monkeypatch.setattr(router.cache, "redis_cache", redis)


async def _nothing(*args: Any, **rest: Any) -> dict[str, Any]:
    return {}


DECLINES: dict[str, tuple[str, Callable[[Router, pytest.MonkeyPatch], None], dict[str, Any]]] = {
    "verbose": ("verbose mode", _set(litellm, "set_verbose", True), {}),
    "plugins": ("routing plugins", _set(None, "routing_plugins", []), {}),
    "window": ("access windows", _window, {}),
    "callback": ("callback Filtering filters deployments", _set(litellm, "callbacks", [Filtering()]), {}),
    "own method": ("a router with methods of its own", _own_method, {}),
    "own cache method": ("a router's part with methods of its own", _own_cache_method, {}),
    "patched": (
        "LiteLLM's routing is patched",
        _set(Router, "_filter_blocked_deployments", lambda self, deployments: deployments),
        {},
    ),
    "patched module": ("LiteLLM's routing is patched", _set(random, "choice", lambda items: items[0]), {}),
    "alias map": ("litellm.model_alias_map", _set(litellm, "model_alias_map", {"chat": "chat"}), {}),
    "order": (
        "request argument '_target_order' steers the choice",
        lambda router, monkeypatch: None,
        {"_target_order": "1"},
    ),
    "strategy": (
        "request argument 'routing_strategy' steers the choice",
        lambda router, monkeypatch: None,
        {"routing_strategy": "simple-shuffle"},
    ),
    "metadata": ("metadata that are no dictionary", lambda router, monkeypatch: None, {"metadata": {}.keys()}),
    "routed before": (
        "metadata of an earlier routing decision",
        lambda router, monkeypatch: None,
        {"metadata": {"routing_decision": None}},
    ),
    "access groups": (
        "model access groups of an alias",
        lambda router, monkeypatch: router.model_group_alias.update(chat="chat"),
        {"metadata": {"user_api_key_auth": SimpleNamespace(models=["beta"], team_models=[])}},
    ),
    "team": ("a team's own deployments", _team, {"metadata": {"user_api_key_team_id": "team"}}),
    "redis": ("Redis", _redis, {}),
}


@pytest.mark.parametrize("case", DECLINES)
def test_what_is_not_understood_is_declined(case: str, gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    reason, prepare, written = DECLINES[case]
    request = {key: dict(value) if type(value) is dict else value for key, value in written.items()}
    router = router_of(3)
    assert choose(router) in ("d0", "d1", "d2")
    assert gate.served == 1
    prepare(router, monkeypatch)
    if case == "plugins":
        router.routing_plugins.append(SimpleNamespace(run=_keep))
    try:
        choose(router, **request)
    except Exception:
        gate.switch(False)
        with pytest.raises(Exception):  # noqa: B017  # whatever stock says of this
            choose(router, **request)
    assert gate.declined.get(reason), gate.declined
    assert gate.faults == 0, gate.last_fault


async def _keep(context: Any) -> Any:
    return context


def test_an_internal_fault_is_served_by_stock(gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any) -> None:
        raise ZeroDivisionError("internal")

    router = router_of(2)
    monkeypatch.setattr(routing.Reader, "group", broken)
    assert choose(router) in ("d0", "d1")
    assert router.get_available_deployment("chat")["model_info"]["id"] in ("d0", "d1")
    assert gate.last_fault == "ZeroDivisionError: internal"
    faults = gate.faults
    with pytest.raises(litellm.BadRequestError, match="no healthy deployments"):
        choose(router, "nobody")
    assert gate.faults == faults


def test_a_subclass_is_stocks(gate: Any) -> None:
    router = OwnRouter(model_list=[model("d0")])
    assert choose(router) == "d0"
    assert gate.served == 0
    assert set(gate.declined) == {"a subclass of Router"}


def test_a_patch_that_is_taken_back_is_forgotten(gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    router = router_of(1)
    with monkeypatch.context() as patch:
        patch.setattr(Router, "print_deployment", lambda self, deployment: None)
        choose(router)
    choose(router)
    assert gate.served == 1
    assert set(gate.declined) == {"LiteLLM's routing is patched"}


@pytest.mark.parametrize("strategy", ["simple-shuffle", "latency-based-routing"])
@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("litellm.token_counter", "LiteLLM's routing is patched"),
        ("litellm.get_model_info", "LiteLLM's routing is patched"),
        ("routing.get_utc_datetime", "LiteLLM's routing is patched"),
        ("router.cache.get_cache", "a router's part with methods of its own"),
        ("router.cache.in_memory_cache.get_cache", "a router's part with methods of its own"),
        ("router.cooldown_cache.async_get_active_cooldowns", "a router's part with methods of its own"),
        ("litellm.verbose_logger.debug", "a router's part with methods of its own"),
        ("litellm._logging.verbose_router_logger.debug", "a router's part with methods of its own"),
    ],
)
def test_mocks_in_the_process_and_the_router_are_heeded(strategy: str, place: str, reason: str, gate: Any) -> None:
    router = router_of(2, strategy)
    choose(router)
    owner, _, name = place.rpartition(".")
    held = operator.attrgetter(owner)(SimpleNamespace(router=router, litellm=litellm, routing=litellm.router))
    with mock.patch.object(held, name, side_effect=ZeroDivisionError), contextlib.suppress(ZeroDivisionError):
        choose(router)
    assert set(gate.declined) == {reason}
    declined = dict(gate.declined)
    choose(router)
    assert gate.declined == declined


@pytest.mark.parametrize("name", ["_increment_deployment_usage", "get_deployment", "get_router_model_info"])
async def test_a_mock_in_a_router_is_asked_when_it_counts(name: str, gate: Any) -> None:
    router = router_of(1)
    calls = []
    for on in (False, True):
        gate.switch(on)
        with mock.patch.object(router, name, wraps=getattr(router, name)) as spy:
            await router.acompletion("chat", MESSAGES, mock_response="Hello")
            await asyncio.sleep(0.05)
            await GLOBAL_LOGGING_WORKER.flush()  # by which the router is told
        calls.append(spy.call_count)
    assert calls[0] == calls[1] > 0


def test_a_router_can_be_collected(gate: Any, thawed: None) -> None:
    router = router_of(5, "latency-based-routing")
    choose(router)
    gone = weakref.ref(router)
    router.discard()
    for name in CALLBACK_LISTS:
        getattr(litellm, name).clear()
    del router
    gc.collect()
    gate_alive = gone() is not None
    referrers = [type(holder).__name__ for holder in gc.get_referrers(gone())] if gate_alive else []
    assert not gate_alive, referrers


def test_a_thousand_groups_are_chosen_in_alike(gate: Any) -> None:
    router = Router(model_list=[model(f"d{group}-{index}", f"g{group}") for group in range(200) for index in range(3)])
    for group in range(200):
        assert choose(router, f"g{group}").startswith(f"d{group}-")
    assert (gate.served, gate.declined) == (200, {})


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_index_takes_at_most_300_bytes_a_deployment(strategy: str, gate: Any, backend: str) -> None:
    if backend == "pure":
        pytest.skip("the bound is the compiled module's")
    router = router_of(1000, strategy)
    latencies = {f"d{index}": {"latency": [0.1 * sample for sample in range(10)]} for index in range(1000)}
    router.cache.in_memory_cache.cache_dict["chat_map"] = latencies
    choose(router)
    routing.COMPONENT._chooser.forget()
    gc.collect()
    tracemalloc.start()
    choose(router)
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert gate.served == 2
    assert size < 300 * 1000
