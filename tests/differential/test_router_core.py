"""Routers that are a facade over a core: requests, results, exceptions, counts and what callbacks are told."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import importlib
import json
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import litellm
import pytest
from litellm import Router
from litellm.integrations.custom_logger import CustomLogger

import compared
import litellm_accel
from compared import HELLO, asked, outcome, sent
from fastpath_switch import LISTS, Switch
from litellm_accel.components.embeddings import Embeddings
from litellm_accel.fastpath import core_states, decline
from litellm_accel.fastpath.completion import at_once
from litellm_accel.fastpath.core_choice import Choice
from litellm_accel.fastpath.pipeline import Call
from litellm_accel.fastpath.plans.proof import CALLS
from litellm_accel.fastpath.plans.slot import PlanSlot, State
from litellm_accel.fastpath.plans.templates import InconclusiveRecording
from litellm_accel.fastpath.router import Bookkeeping
from litellm_accel.provider import Provider, scenarios
from litellm_accel.stock import seams
from litellm_accel.verify import masks, records
from litellm_accel.verify.observe import Recorder, SuccessLogger
from settling import settled, threads_settled

pytestmark = [
    pytest.mark.usefixtures("quiet"),
    pytest.mark.skipif(not seams.has_core_steps(), reason="the installed LiteLLM's routers have no core of their own"),
]

LEARNING = 3  # calls, of which the last is served
PROVING = 9
# From where a router is called, and how: ``acompletion``, ``completion``, and that in a loop that waits meanwhile.
WAYS = LOOP, THREAD, BLOCKED = "loop", "thread", "blocked loop"
# ``aembedding`` and ``embedding`` of what is said last.
EMBEDDINGS = EMBEDDING_LOOP, EMBEDDING_THREAD = "embedding in a loop", "embedding in a thread"
LOOPS, THREADS = (LOOP, EMBEDDING_LOOP), (THREAD, EMBEDDING_THREAD)


def some(values: Iterable[Any], *quick: Any) -> list[Any]:
    """Return ``values`` as parameters; all but those in ``quick`` are slow, together."""
    return [pytest.param(v, id=str(v), marks=() if v in quick else pytest.mark.slow) for v in values]


def router_of(
    provider: Provider, count: int = 1, settings: dict[str, Any] | None = None, answers: str = "", **params: Any
) -> Router:
    """A router of so many deployments, all but the first of which answer in the way of ``answers``."""
    deployment = {"model": "openai/gpt-4o-mini", "rpm": 10**6, "tpm": 10**9, **params}
    others = provider.at(answers) if answers else provider.url
    entries = [
        {
            "model_name": "g",
            "litellm_params": {"api_base": others if n else provider.url, "api_key": f"sk-{n}", **deployment},
            "model_info": {"id": f"d{n}"},
        }
        for n in range(count)
    ]
    return Router(model_list=entries, **{"num_retries": 0, "retry_after": 0, **(settings or {})})


def books(router: Any) -> Any:
    """What a router has counted."""
    core = router._core
    memory = core._cache.in_memory_cache.cache_dict
    return (
        *(dict(getattr(core._endpoints.counters, name)) for name in ("total_calls", "success_calls", "fail_calls")),
        {key: value for key, value in memory.items() if type(value) is int},
        {key: held.in_flight for key, held in memory.items() if hasattr(held, "in_flight")},
        core._hosted._core_get_remaining_model_group_usage_sync("g", core.io_token_usage_sync),
    )


def played(
    provider: Provider, messages: list[Any], make: Callable[[], Router], way: str = LOOP, **arguments: Any
) -> Any:
    """Call a new router ``LEARNING`` times with plain messages, then with each of ``messages``."""
    provider.clear()
    litellm.in_memory_llm_clients_cache.flush_cache()

    async def calls() -> Any:
        router = make()
        found, passed = [], []
        for said in [*[HELLO] * LEARNING, *messages]:
            passed.append(given := copy.deepcopy(arguments))
            found.append(await outcome(lambda: called(router, way, copy.deepcopy(said), given)))  # noqa: B023
        if way in LOOPS:
            await settled()
        else:
            threads_settled()
        noted = re.sub(r"\d+\.\d+|[0-9a-f-]{36}|0x[0-9a-f]+", "", repr(passed))  # by LiteLLM, some of it by threads
        return found, noted, books(router)

    return (at_once(calls()) if way in THREADS else asyncio.run(calls())), sent(provider)


async def called(router: Router, way: str, messages: Any, arguments: dict[str, Any]) -> Any:
    """Call ``router`` from an event loop or from a thread without one, to wait for it or not."""
    if way == EMBEDDING_LOOP:
        return await router.aembedding("g", messages[-1]["content"], **arguments)
    if way == EMBEDDING_THREAD:
        return router.embedding("g", messages[-1]["content"], **arguments)
    if way == LOOP:
        return await router.acompletion("g", messages, **arguments)
    return router.completion("g", messages, **arguments)


def same(
    provider: Provider,
    switch: Switch,
    messages: list[Any],
    make: Callable[[], Router] | None = None,
    way: str = LOOP,
    **arguments: Any,
) -> int:
    """Assert that stock and the fast path are equal; return how many calls the router's door has served."""

    def play() -> Any:
        return played(provider, messages, make or (lambda: router_of(provider)), way, **arguments)

    return in_turn(switch, play)


def in_turn(switch: Switch, play: Callable[[], Any]) -> int:
    """The same of any ``play``; both turns again if a minute ended meanwhile, for routers count by minutes."""
    minute = -1
    while minute != (minute := int(time.time() // 60)):
        expected = play()
        with switch.on(), counted() as served:
            found = play()
    assert found == expected
    assert switch.gate.faults == 0, switch.gate.last_fault
    return len(served)


@contextmanager
def counted() -> Iterator[list[str]]:
    """Collects the model groups of the calls that the router's door serves."""
    served: list[str] = []
    report = Choice.report

    async def counting(self: Choice, *args: Any) -> None:
        served.append(self.group)
        await report(self, *args)

    with mock.patch.object(Choice, "report", counting):
        yield served


def embedding_switch(recorded: bool = True) -> Switch:
    """The fast path of embeddings, of which routers' calls are a part."""
    return Switch(recorded=recorded, component=Embeddings())


def heard(provider: Provider, **arguments: Any) -> tuple[Any, Any]:
    """Return what callbacks are told of some calls, ids and clocks masked, and what else the calls come to."""
    recorder = Recorder()
    litellm.callbacks.append(SuccessLogger(recorder))
    try:
        found = played(provider, [HELLO] * 3, lambda: router_of(provider), **arguments)
    finally:
        for name in LISTS:
            getattr(litellm, name).clear()
    events = [recorder.here, recorder.elsewhere]
    return masks.mask(masks.without_races(events, masks.RACING_IN_THREADS)), found


# --- what is served ---------------------------------------------------------------------------------------------------

ARGUMENTS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.5, "max_tokens": 7, "user": "u"},
    {"metadata": {"user_api_key": "k", "tags": ["a"]}},
    {"timeout": 7.5, "num_retries": 1},
]


@pytest.mark.parametrize("way", WAYS[:2])
@pytest.mark.parametrize("arguments", some(ARGUMENTS, *ARGUMENTS[1:3]))
def test_arguments(provider: Provider, switch: Switch, arguments: dict[str, Any], way: str) -> None:
    assert same(provider, switch, [HELLO, HELLO], way=way, **arguments) >= 2


def test_other_free_arguments_in_each_call(provider: Provider, switch: Switch) -> None:
    def play() -> Any:
        provider.clear()
        litellm.in_memory_llm_clients_cache.flush_cache()

        async def calls() -> Any:
            router, found = router_of(provider, 2), []
            for number in range(12):
                function = {"name": f"f{number}", "parameters": {"type": "object", "properties": {}}}
                given = {"temperature": 0.31 + number / 99, "tools": [{"type": "function", "function": function}]}
                found.append(await outcome(lambda: router.acompletion("g", HELLO, **given)))  # noqa: B023
            await settled()
            return found, books(router)

        random.seed(7)
        return asyncio.run(calls()), sent(provider)

    assert in_turn(switch, play) >= 6


def test_a_loop_that_waits(provider: Provider, switch: Switch) -> None:
    assert same(provider, switch, [HELLO, HELLO], way=BLOCKED) >= 2


@pytest.mark.parametrize("way", WAYS[:2])
@pytest.mark.parametrize("arguments", some([{}, {"metadata": {"mine": {"a": [1]}}}], {}))
def test_callbacks(provider: Provider, switch: Switch, arguments: dict[str, Any], way: str) -> None:
    assert in_turn(switch, lambda: heard(provider, way=way, **arguments)) >= 3


def test_who_is_told_follows_the_lists_and_the_loggers(provider: Provider, switch: Switch) -> None:
    """LiteLLM finds out for each call whom to tell; what is remembered of that ends with any change."""

    def play() -> Any:
        provider.clear()
        litellm.in_memory_llm_clients_cache.flush_cache()
        told: list[Any] = []

        class Silent(CustomLogger):
            pass

        class Speaking(CustomLogger):
            async def async_log_success_event(
                self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
            ) -> None:
                told.append(("async", kwargs["standard_logging_object"]["total_tokens"]))

        async def heard(self: Any, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            told.append("put on later")

        silent, speaking, last = Silent(), Speaking(), Speaking()
        changes: list[Callable[[], Any]] = [
            lambda: litellm.callbacks.append(speaking),
            lambda: litellm._async_success_callback.remove(speaking),
            lambda: litellm.callbacks.append(silent),
            lambda: setattr(Silent, "async_log_success_event", heard),
            lambda: litellm.callbacks.__setitem__(0, last),
            lambda: delattr(Silent, "async_log_success_event"),
        ]

        async def calls() -> Any:
            router = router_of(provider)
            for change in changes:
                change()
                for _ in range(LEARNING + 3):
                    await router.acompletion("g", copy.deepcopy(HELLO))
                    await settled()
                    told.append("settled")
            return books(router)

        try:
            return asyncio.run(calls()), told, sent(provider)
        finally:
            for name in LISTS:
                getattr(litellm, name).clear()

    assert in_turn(switch, play) >= 10


def test_each_deployment_has_a_plan(provider: Provider, switch: Switch) -> None:
    """Which one is chosen is up to the core, at random."""

    async def calls() -> Any:
        router = router_of(provider, 3)
        results = [await router.acompletion("g", copy.deepcopy(HELLO)) for _ in range(40)]
        await settled()
        return results, books(router)

    with switch.on(), counted() as served:
        results, (total, succeeded, failed, kept, _, _) = asyncio.run(calls())
    assert len(served) >= 40 - 3 * LEARNING
    assert switch.gate.faults == 0, switch.gate.last_fault
    assert total == succeeded == {"openai/gpt-4o-mini": 40}
    assert not failed
    chosen = [result._hidden_params["model_id"] for result in results]
    assert {name: chosen.count(name) for name in set(chosen)} == {name: kept[name] for name in ("d0", "d1", "d2")}


@pytest.mark.parametrize("way", WAYS[:2])
def test_own_calls_prove(provider: Provider, way: str) -> None:
    switch = Switch(recorded=False)
    questions = [[*HELLO, {"role": "user", "content": f"Question {number}"}] for number in range(PROVING)]
    assert same(provider, switch, questions, way=way) >= 3


def test_own_calls_prove_while_counts_of_picks_expire(provider: Provider) -> None:
    """A core counts its picks of a deployment for a minute, then anew."""
    switch = Switch(recorded=False)

    def play() -> Any:
        provider.clear()

        async def calls() -> Any:
            router = router_of(provider)
            memory = router._core._cache.in_memory_cache
            found = []
            for number in range(PROVING):
                if "d0" in memory.ttl_dict:
                    memory.ttl_dict["d0"] = time.time() - 1
                messages = [*HELLO, {"role": "user", "content": f"Question {number}"}]
                found.append(await outcome(lambda: router.acompletion("g", messages)))  # noqa: B023
            await settled()
            return found, books(router)

        return asyncio.run(calls()), sent(provider)

    assert in_turn(switch, play) >= 3


@pytest.mark.parametrize("ended, is_told", [(2.0, True), (None, True), (1.0, False)])
def test_counts_that_begin_anew_while_a_call_is_compared_tell_nothing(ended: Any, is_told: bool) -> None:
    now = [1.0, ended]
    result = mock.Mock(_hidden_params={"additional_headers": {}})
    routed = mock.Mock(cached=None)
    routed.period.side_effect = lambda router: now.pop(0)
    routed.counts.side_effect = [{"picks": 7}, {"picks": 1 if is_told else 8}]
    routed.counted_for.return_value = {"picks": 1}
    check = Bookkeeping(mock.Mock(), mock.Mock(shares=False), None, "g", mock.Mock(), routed, None, True)
    with pytest.raises(InconclusiveRecording) if is_told else contextlib.nullcontext():
        check(routed, result, None)


# --- what stock must judge --------------------------------------------------------------------------------------------


REPLIES = ("error-429", "error-500-then-ok", "error-400", "broken-json", "content-filter")


@pytest.mark.parametrize("way", WAYS[:2])
@pytest.mark.parametrize("scenario", some(REPLIES, *REPLIES[1:4:2]))
def test_other_replies_are_stocks(provider: Provider, switch: Switch, scenario: str, way: str) -> None:
    """Whatever is no plain answer is met by LiteLLM's loop, which retries, cools down and counts."""
    make = lambda: router_of(provider, settings={"num_retries": 1})  # noqa: E731
    assert same(provider, switch, [asked(scenario), HELLO], make, way) >= 2


@pytest.mark.parametrize("way", WAYS[:2])
def test_fallbacks(provider: Provider, switch: Switch, way: str) -> None:
    def make() -> Router:
        entries = [
            {
                "model_name": name,
                "litellm_params": {"model": f"openai/{name}", "api_base": provider.url, "api_key": "sk"},
                "model_info": {"id": name},
            }
            for name in ("g", "other")
        ]
        return Router(model_list=entries, num_retries=0, fallbacks=[{"g": ["other"]}])

    assert same(provider, switch, [asked("error-500-then-ok-1"), HELLO], make, way) >= 1


FREE = {"rpm": None, "tpm": None}


@pytest.mark.parametrize(
    ("params", "settings", "refused"),
    [
        ({"max_parallel_requests": 2}, {}, 3),
        (FREE, {"default_max_parallel_requests": 2}, 3),
        ({**FREE, "tpm": 400}, {}, 3),
        ({**FREE, "rpm": 2}, {}, 3),
        (FREE, {}, 0),
    ],
    ids=["its own", "the router's", "by tokens", "by requests", "none"],
)
def test_a_full_deployment(
    provider: Provider, switch: Switch, params: dict[str, Any], settings: dict[str, Any], refused: int
) -> None:
    """A deployment answers no more requests at a time than it may, whoever serves them."""

    def flood() -> Any:
        async def calls() -> Any:
            router = router_of(provider, settings=settings, **params)
            for _ in range(LEARNING):
                await router.acompletion("g", copy.deepcopy(HELLO))
            waiting = [router.acompletion("g", asked("delay-0.2")) for _ in range(5)]
            found = await asyncio.gather(*waiting, return_exceptions=True)
            await settled()
            return sorted(type(one).__name__ for one in found), books(router)[4]

        return asyncio.run(calls())

    expected = flood()
    with switch.on(), counted() as served:
        found = flood()
    assert found == expected
    assert found[0].count("RateLimitError") == refused
    assert served


def test_messages_that_are_changed_meanwhile(provider: Provider, switch: Switch) -> None:
    """What has been sent is what stock goes on with; what it sends after that is the caller's."""

    async def calls(is_changed: bool) -> None:
        router = router_of(provider, settings={"num_retries": 1})
        for _ in range(LEARNING):
            await router.acompletion("g", copy.deepcopy(HELLO))
        said = asked('error-500-then-ok{"delay": 0.1}')
        call = asyncio.create_task(router.acompletion("g", said))
        await asyncio.sleep(0.03)
        if is_changed:
            said[1]["content"] = "something else"
        await call

    with switch.on():
        provider.clear()
        asyncio.run(calls(True))
    bodies = [request.json["messages"][1]["content"] for request in provider.requests()]
    assert bodies[-2:] == ["Hello", "something else"]
    assert switch.gate.faults == 0, switch.gate.last_fault


# --- streams ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def streaming(restored: None) -> Iterator[Callable[[], Any]]:
    """Return a function that accelerates streams and their opening within its ``with`` block."""
    with records.proving("streaming"), records.proving("chat"):
        yield lambda: litellm_accel.accelerated(["chat", "streaming"], strict=True)


async def read(stream: Any) -> Any:
    """Return a stream's headers and chunks, and the error that ends it; ids and times are left out."""
    hidden = stream._hidden_params
    found = [type(stream).__name__, sorted(hidden), hidden["additional_headers"], hidden["model_id"]]
    try:
        if hasattr(stream, "__anext__") and type(stream).__name__.startswith("_Async"):
            found += [chunk async for chunk in stream]
        else:
            found += list(stream)
    except Exception as error:
        found.append((type(error), str(error)))
    return re.sub(r"chatcmpl-[0-9a-f-]{36}|created=\d+|0x[0-9a-f]+", "", repr(found))


def streamed(
    provider: Provider,
    messages: list[Any],
    way: str,
    make: Callable[[], Router] | None = None,
    is_heard: bool = True,
    **arguments: Any,
) -> Any:
    """As ``played``, of streams that are read to their end; and what a logger of successes is told."""
    recorder = Recorder()
    if is_heard:
        litellm.callbacks.append(SuccessLogger(recorder))
    provider.clear()
    litellm.in_memory_llm_clients_cache.flush_cache()

    async def calls() -> Any:
        router = (make or (lambda: router_of(provider)))()
        found = []
        for said in [*[HELLO] * LEARNING, *messages]:
            given = {"stream": True, **copy.deepcopy(arguments)}
            try:
                found.append(await read(await called(router, way, copy.deepcopy(said), given)))
            except Exception as error:
                found.append(compared.seen(None, error))
            if way == LOOP:
                await settled()  # what is counted when a stream has ended is counted before the next call
            else:
                threads_settled()
        return found, books(router)

    try:
        found = (asyncio.run(calls()) if way == LOOP else at_once(calls())), sent(provider)
    finally:
        for name in LISTS:
            getattr(litellm, name).clear()
    events = [recorder.here, recorder.elsewhere]
    return masks.mask(masks.without_races(events, masks.RACING_IN_THREADS)), found


def same_streams(
    provider: Provider, streaming: Callable[[], Any], messages: list[Any], way: str, **arguments: Any
) -> int:
    """Assert that streams are stock's; return how many of them the router's door has opened."""
    minute = -1
    while minute != (minute := int(time.time() // 60)):
        expected = streamed(provider, messages, way, **arguments)
        with streaming(), counted() as served:
            found = streamed(provider, messages, way, **arguments)
            assert litellm_accel.status()["chat"].faults == litellm_accel.status()["streaming"].faults == 0
    assert found == expected
    return len(served)


@pytest.mark.parametrize("way", WAYS[:2])
@pytest.mark.parametrize("arguments", some(ARGUMENTS, ARGUMENTS[0], ARGUMENTS[2]))
def test_streams(provider: Provider, streaming: Callable[[], Any], arguments: dict[str, Any], way: str) -> None:
    assert same_streams(provider, streaming, [HELLO, HELLO], way, **arguments) >= 2


FAILS_FIRST = f"plain{json.dumps({'inject': {'0': scenarios.STREAM_ERROR}})}"
STREAMS = ("error-500-then-ok", 'cut{"cut": 0}', FAILS_FIRST, "error-429", "cut", "stream-error", "stream-garbage")


@pytest.mark.parametrize("way", WAYS[:2])
@pytest.mark.parametrize("scenario", some(STREAMS, *STREAMS[:3]))
def test_other_streams_are_stocks(provider: Provider, streaming: Callable[[], Any], scenario: str, way: str) -> None:
    """A stream that is refused, or whose first chunk fails, is met by LiteLLM's loop; what fails later, by its end."""
    make = lambda: router_of(provider, settings={"num_retries": 1})  # noqa: E731
    is_heard = way == LOOP  # a thread may tell while the router goes on to note in what is told
    assert same_streams(provider, streaming, [asked(scenario), HELLO], way, make=make, is_heard=is_heard) >= 1


# --- strategies -------------------------------------------------------------------------------------------------------

STRATEGIES = (
    "least-busy",
    "usage-based-routing-v2",
    "usage-based-routing",
    "latency-based-routing",
    "cost-based-routing",
)


def measures(router: Any) -> Any:
    """What a router's strategy has counted, and what it still holds; of latencies, how many of which."""
    core = router._core
    memory = core._cache.in_memory_cache.cache_dict
    held = core._selectors.reservations.cache_dict
    found = {key: copy.deepcopy(value) for key, value in memory.items() if type(value) is dict}
    for deployments in (value for key, value in found.items() if key.endswith("_map")):
        for measured in deployments.values():
            measured.update({name: len(value) for name, value in measured.items() if type(value) is list})
    return found, list(held.values())


def measured(
    provider: Provider,
    strategy: str,
    said: list[Any],
    way: str = LOOP,
    beside: bool = False,
    settings: dict[str, Any] | None = None,
    **params: Any,
) -> Any:
    """Call a new router of two deployments with each of ``said`` in turn, once all is counted of the one before."""
    provider.clear()
    litellm.in_memory_llm_clients_cache.flush_cache()
    random.seed(7)

    async def calls() -> Any:
        router = router_of(
            provider, 2, {**(settings or {}), **({} if beside else {"routing_strategy": strategy})}, **params
        )
        other = router_of(provider, 2, {"routing_strategy": strategy}) if beside else router
        found = []
        for messages in said:
            found.append(await outcome(lambda: called(router, way, copy.deepcopy(messages), {})))  # noqa: B023
            if way in LOOPS:
                await settled()
            else:
                threads_settled()
            found.append((books(router), measures(router), measures(other)))
        router.discard()
        other.discard()
        return found

    try:
        found = at_once(calls()) if way in THREADS else asyncio.run(calls())
        return found, sent(provider)
    finally:
        for name in LISTS:
            getattr(litellm, name).clear()


@pytest.mark.parametrize("way", some(WAYS[:2], LOOP))
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_strategies_choose_and_count(provider: Provider, switch: Switch, strategy: str, way: str) -> None:
    can_choose = strategy != "cost-based-routing" or way == LOOP
    slow = 'plain{"delay": 0.3}' if "latency" in strategy else ""  # chance must not decide which is the faster one
    served = in_turn(switch, lambda: measured(provider, strategy, [HELLO] * 12, way, answers=slow))
    assert served >= (4 if can_choose else 0)


@pytest.mark.parametrize("way", WAYS[:2])
@pytest.mark.parametrize("strategy", STRATEGIES[:2])
def test_a_router_beside_one_with_a_strategy(provider: Provider, switch: Switch, strategy: str, way: str) -> None:
    """A strategy is told of the calls of all routers."""
    assert in_turn(switch, lambda: measured(provider, strategy, [HELLO] * 12, way, beside=True)) >= 4


@pytest.mark.parametrize("way", WAYS[:2])
@pytest.mark.parametrize("scenario", some(REPLIES, REPLIES[1]))
@pytest.mark.parametrize("strategy", STRATEGIES[:2])
def test_strategies_count_what_stock_serves_in_the_end(
    provider: Provider, switch: Switch, strategy: str, scenario: str, way: str
) -> None:
    """What has been sent is counted once, though it is stock that meets the answer and tries again."""
    said = [*[asked("plain")] * 8, asked(scenario), asked("plain")]
    assert in_turn(switch, lambda: measured(provider, strategy, said, way, settings={"num_retries": 1})) >= 2
    assert switch.gate.declined[str(decline.REPLY_LEFT)] >= 1


@pytest.mark.parametrize("way", WAYS[:2])
def test_a_deployment_over_its_limit(provider: Provider, switch: Switch, way: str) -> None:
    """A strategy refuses deployments that have been called too often; a router says so as stock does."""
    strategy, settings = "usage-based-routing-v2", {"disable_cooldowns": True}  # which may end meanwhile
    assert in_turn(switch, lambda: measured(provider, strategy, [HELLO] * 14, way, settings=settings, rpm=6)) >= 2


@pytest.mark.parametrize("strategy", STRATEGIES[:2])
def test_strategies_while_calls_are_in_flight(provider: Provider, switch: Switch, strategy: str) -> None:
    """Calls that wait for their answers are spread over the deployments; those that are cancelled count no more."""

    def flood() -> Any:
        provider.clear()

        async def calls() -> Any:
            random.seed(7)
            router = router_of(provider, 3, {"routing_strategy": strategy})
            for _ in range(12):
                await router.acompletion("g", asked("plain"))
                await settled()
            waiting = [asyncio.create_task(router.acompletion("g", asked("delay-1"))) for _ in range(7)]
            while len(provider.requests()) < 12 + len(waiting):
                await asyncio.sleep(0.05)
            while_waiting = books(router)[3]
            waiting[0].cancel()
            waiting[5].cancel()
            results = await asyncio.gather(*waiting, return_exceptions=True)
            await settled()
            chosen = [getattr(one, "_hidden_params", {}).get("model_id") for one in results]
            counted = chosen, while_waiting, books(router), measures(router)
            router.discard()
            return counted

        try:
            return asyncio.run(calls())
        finally:
            for name in LISTS:
                getattr(litellm, name).clear()

    assert in_turn(switch, flood) >= 5


@pytest.mark.parametrize("way", WAYS[:2])
@pytest.mark.parametrize("scenario", some((None, FAILS_FIRST, "error-500-then-ok"), FAILS_FIRST))
@pytest.mark.parametrize("strategy", some(STRATEGIES[:2], STRATEGIES[0]))
def test_streams_of_strategies(
    provider: Provider, streaming: Callable[[], Any], strategy: str, scenario: str | None, way: str
) -> None:
    """A stream is counted when it is opened and when it has ended, also where stock opens another in its place."""
    make = lambda: router_of(provider, settings={"num_retries": 1, "routing_strategy": strategy})  # noqa: E731
    said = [*[asked("plain")] * 6, asked(scenario or "plain"), asked("plain")]
    assert same_streams(provider, streaming, said, way, make=make, is_heard=False) >= 3


# --- what changes ------------------------------------------------------------------------------------------------


# --- embeddings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", EMBEDDINGS)
@pytest.mark.parametrize("arguments", some([{}, *ARGUMENTS[2:]], {}))
def test_embeddings(provider: Provider, arguments: dict[str, Any], way: str) -> None:
    assert same(provider, embedding_switch(), [HELLO, asked("plain")], way=way, **arguments) >= 2


@pytest.mark.parametrize("way", EMBEDDINGS)
def test_own_embeddings_prove(provider: Provider, way: str) -> None:
    questions = [[{"role": "user", "content": f"Text {number}"}] for number in range(PROVING)]
    assert same(provider, embedding_switch(recorded=False), questions, way=way) >= 3


@pytest.mark.parametrize("way", EMBEDDINGS)
def test_callbacks_of_embeddings(provider: Provider, way: str) -> None:
    metadata = {"metadata": {"mine": {"a": [1]}}}
    assert in_turn(embedding_switch(), lambda: heard(provider, way=way, **metadata)) >= 3


@pytest.mark.parametrize("way", EMBEDDINGS)
@pytest.mark.parametrize("scenario", some(REPLIES[:4], *REPLIES[:2]))
def test_other_replies_to_embeddings_are_stocks(provider: Provider, scenario: str, way: str) -> None:
    make = lambda: router_of(provider, settings={"num_retries": 1})  # noqa: E731
    assert same(provider, embedding_switch(), [asked(scenario), HELLO], make, way) >= 2


@pytest.mark.parametrize("way", some(EMBEDDINGS, EMBEDDING_LOOP))
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_strategies_choose_and_count_embeddings(provider: Provider, strategy: str, way: str) -> None:
    can_choose = strategy != "cost-based-routing" or way == EMBEDDING_LOOP
    slow = 'plain{"delay": 0.3}' if "latency" in strategy else ""  # chance must not decide which is the faster one
    played = lambda: measured(provider, strategy, [HELLO] * 12, way, answers=slow)  # noqa: E731
    assert in_turn(embedding_switch(), played) >= (4 if can_choose else 0)


@pytest.mark.parametrize("way", EMBEDDINGS)
def test_deployments_that_embed_so_many_texts_are_stocks(provider: Provider, way: str) -> None:
    """Which of them embeds a call's texts, and whether one does, LiteLLM says."""

    def make() -> Router:
        random.seed(7)
        router = router_of(provider, 2)
        router.upsert_deployment(limited_to(provider, 2))
        return router

    assert same(provider, embedding_switch(), [HELLO] * 3, make, way) == 0


def limited_to(provider: Provider, texts: int) -> litellm.types.router.Deployment:
    """A deployment that embeds so many texts in a call."""
    params = {"model": "openai/gpt-4o-mini", "api_base": provider.url, "api_key": "sk-9"}
    info = {"id": "d9", "max_embedding_batch_size": texts}
    return litellm.types.router.Deployment(model_name="g", litellm_params=params, model_info=info)


def test_settings_and_deployments_may_change(provider: Provider, switch: Switch) -> None:
    def calls() -> Any:
        provider.clear()

        async def run() -> Any:
            router = router_of(provider)
            found = []
            for change in (
                lambda: None,
                lambda: router.update_settings(timeout=33),
                lambda: router.upsert_deployment(
                    litellm.types.router.Deployment(
                        model_name="g",
                        litellm_params={"model": "openai/gpt-4o", "api_base": provider.url, "api_key": "sk-2"},
                        model_info={"id": "d0"},
                    )
                ),
            ):
                change()
                found += [await outcome(lambda: router.acompletion("g", copy.deepcopy(HELLO))) for _ in range(LEARNING)]
            await settled()
            return found, books(router)

        return asyncio.run(run()), sent(provider)

    expected = calls()
    with switch.on(), counted() as served:
        found = calls()
    assert found == expected
    assert switch.gate.faults == 0, switch.gate.last_fault
    assert len(served) >= 4


@pytest.mark.parametrize("owner, name", [("_core", "_settings"), ("_endpoints", "_search_tools")])
def test_equal_settings_that_are_written_anew_change_nothing(provider: Provider, owner: str, name: str) -> None:
    router = router_of(provider)
    core = router._core
    core._settings = {"timeout": 33}
    held = core if owner == "_core" else core._endpoints
    states = core_states.CoreStates()
    known = states.state_of(core)
    before = getattr(held, name)
    setattr(held, name, copy.deepcopy(before))
    assert getattr(held, name) is not before
    assert states.state_of(core) is known
    core._deleted = frozenset(("timeout",))
    assert states.state_of(core) is not known


def test_what_a_core_is_told_is_shown_by_a_few_calls_of_a_kind(provider: Provider) -> None:
    core = router_of(provider)._core
    known = core_states.CoreStates().state_of(core)
    made = core._routing_inputs

    def begin(number: int, **more: Any) -> Any:
        """Return what LiteLLM has prepared for a call of one kind, and how often it has looked at that for the core."""
        request = {"model": "g", "messages": HELLO, "temperature": 0.3 + number / 100, **more}
        key = b"kind" if "metadata" not in more else b"told"
        call = Call(key, HELLO, b"", {"temperature": b"%d" % number}, request, time.time(), None)
        with mock.patch.object(core, "_routing_inputs", mock.Mock(wraps=made)) as looked:
            prepared = known.begun(core, known.stock.plan, request, call)[1]
        return prepared["temperature"] == request["temperature"], looked.call_count

    assert [begin(number) for number in range(1, 17)] == [(True, 2 * (n in (1, 2, 3, 4, 8, 16))) for n in range(1, 17)]
    assert [begin(number) for number in range(17, 32)] == [(True, 0)] * 15
    assert begin(32, disable_fallbacks=True) == (True, 2)
    assert [begin(number) for number in range(33, 40)] == [(True, 1)] * 7

    def told(number: int, team: str | None = None) -> int:
        """Return the same of a call with metadata."""
        return int(begin(number, metadata={"user_api_key_team_id": team, "session": number})[1])

    assert [told(number) for number in range(8)] == [2, 2, 2, 0, 2, 0, 0, 0]
    with mock.patch.object(core, "_handle", mock.Mock(wraps=core._handle)) as handle:
        found = [told(number, f"team-{number % 2}") for number in range(12)]
        started = [call.args[1] for call in handle.start.call_args_list]
    assert found == [2, 2, 2, 2, 2, 2, 2, 2, 0, 0, 0, 0]
    assert [document.get("team_id") for document in started] == [f"team-{number % 2}" for number in range(12)]


def test_cooldowns_that_were_read_before_a_pick_are_those_of_the_request(
    provider: Provider, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy lets each request read before, and most have nothing to read: that takes no way round."""
    batches = importlib.import_module("litellm.caching.redis_batch")
    prefetch = importlib.import_module("litellm.router_utils.routing_prefetch")
    answer, asked = Choice._answered, []

    async def answered(self: Any, step: Any) -> Any:
        asked.append(step["op"])
        return await answer(self, step)

    monkeypatch.setattr(Choice, "_answered", answered)

    def play(is_read: bool) -> Any:
        async def calls() -> Any:
            litellm.in_memory_llm_clients_cache.flush_cache()
            router, found = router_of(provider, 2), []
            for _ in range(PROVING):  # both deployments have plans now
                await router.acompletion("g", HELLO)
            asked.clear()
            served = switch.gate.served
            for number in range(6):
                with batches.request_redis_batch_scope() as scope:
                    if is_read:
                        read: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
                        cooled = {
                            "exception_received": "e",
                            "status_code": "500",
                            "timestamp": time.time(),
                            "cooldown_time": 9.0,
                        }
                        read.set_result(((f"d{number % 2}", cooled),))
                        armed = prefetch.ArmedCooldowns(frozenset(("d0", "d1")), read)
                        scope.prefetched[prefetch._COOLDOWNS_SLOT] = armed
                    reply = await router.acompletion("g", HELLO)
                    found.append((scope.prefetched.copy(), is_read and reply._hidden_params["model_id"]))
            await settled()
            assert switch.gate.served - served in (0, 6)
            return found, books(router)[1:3] if is_read else ()

        return asyncio.run(calls())

    for is_read in (False, True):
        assert in_turn(switch, lambda: play(is_read)) >= 6  # noqa: B023
        assert asked.count("batch_get") == (6 if is_read else 0)
    assert [model for _, model in play(True)[0]] == ["d1", "d0"] * 3


def test_settings_that_a_core_makes_when_they_are_read_change_nothing(provider: Provider) -> None:
    """A proxy with a database writes them twice a minute; the core forgets them then."""
    core = router_of(provider)._core
    states = core_states.CoreStates()
    known = states.state_of(core)
    for name in ("_settings", "_tag_filtering_models"):
        setattr(core, name, None)
        assert states.state_of(core) is known
        core.settings()
        core._model_tag_filtering()
        assert getattr(core, name) is not None
        assert states.state_of(core) is known


def test_what_was_learned_comes_back_with_the_settings(provider: Provider) -> None:
    router = router_of(provider)
    core = router._core
    states = core_states.CoreStates()

    def learned(**settings: Any) -> Any:
        router.update_settings(**settings)
        known = states.state_of(core)
        assert states.state_of(core) is known
        return known.plans

    first = learned(timeout=33, fallbacks=[])
    first["kept"], first["lost"] = PlanSlot(0), PlanSlot(0)
    first["kept"].state = State.READY
    assert not learned(timeout=34)
    settings: dict[str, Any]
    for settings in ({"timeout": 33}, {"timeout": 33, "fallbacks": []}):
        assert list(learned(**settings)) == ["kept"]
    assert not learned(timeout=35)
    router.upsert_deployment(
        litellm.types.router.Deployment(
            model_name="g", litellm_params={"model": "openai/gpt-4o", "api_key": "sk-2"}, model_info={"id": "d0"}
        )
    )
    assert not learned(timeout=33)


def test_other_settings_that_are_written_change_what_is_known(provider: Provider) -> None:
    router = router_of(provider)
    core = router._core
    core._settings = {"timeout": 33}
    states = core_states.CoreStates()
    known = states.state_of(core)
    core._settings = {"timeout": 34}
    assert states.state_of(core) is not known


SPIES = (
    "litellm.router_rust.core:_Driver.attempt",
    "litellm.router_rust.core:_Driver.finish_async",
    "litellm.router_rust.core:RustCore._start",
    "litellm.router_rust.core:RustCore._answer_cache",
    "litellm.router_rust.invoke.endpoints:update_kwargs_with_deployment",
    "litellm.redis.stores.router_usage:RouterUsageStore.increment_deployment_sync",
    "litellm.redis.stores.router_cooldowns:RouterCooldownStore.active_sync",
    "litellm:acompletion",
)


def test_a_router_whose_callbacks_are_gone_counts_as_stock_s(provider: Provider, switch: Switch) -> None:
    """A core is told with each call, of a kind that is known as well, whether it has callbacks that count."""

    def play() -> Any:
        provider.clear()
        litellm.in_memory_llm_clients_cache.flush_cache()

        async def calls() -> Any:
            router = router_of(provider)
            found = []
            for said in [*[HELLO] * (LEARNING + CALLS), None, asked("error-429"), asked("error-500"), HELLO]:
                if said is None:
                    router.observe(request_scoped=True)
                    continue
                found.append(await outcome(lambda: router.acompletion("g", copy.deepcopy(said))))  # noqa: B023
                found.append(books(router))
            await settled()
            return found, books(router)

        return asyncio.run(calls()), sent(provider)

    assert in_turn(switch, play) >= CALLS


@pytest.mark.parametrize("place", some(SPIES, SPIES[0], *SPIES[-3:]))
def test_spies_see_every_call(provider: Provider, switch: Switch, place: str) -> None:
    module, _, path = place.partition(":")
    owner: Any = importlib.import_module(module)
    *owners, name = path.split(".")
    for part in owners:
        owner = getattr(owner, part)
    seen: list[None] = []
    stock = getattr(owner, name)

    def spy(*args: Any, **kwargs: Any) -> Any:
        seen.append(None)
        return stock(*args, **kwargs)

    async def calls(count: int) -> None:
        router = router_of(provider)
        for _ in range(count):
            await router.acompletion("g", copy.deepcopy(HELLO))

    with switch.on():
        asyncio.run(calls(LEARNING))
        with mock.patch.object(owner, name, spy):
            asyncio.run(calls(3))
    assert len(seen) >= 3


# --- faults -----------------------------------------------------------------------------------------------------------


OWNERS = {"CoreStates": core_states.CoreStates, "CoreState": core_states.CoreState, "Choice": Choice}
FAULTS = ("CoreStates.state_of", "Choice.pick", "Choice.begin", "Choice.report", "CoreState.finish")


@pytest.mark.parametrize("place", some(FAULTS, *FAULTS[2:4]))
def test_faults_reach_nobody(provider: Provider, switch: Switch, place: str) -> None:
    """Each call has one answer and sends one request, whatever goes wrong in the door."""
    owner, _, name = place.partition(".")
    broken = mock.patch.object(OWNERS[owner], name, side_effect=ValueError("a fault of ours"))

    async def calls() -> list[Any]:
        router = router_of(provider)
        for _ in range(LEARNING):
            await router.acompletion("g", copy.deepcopy(HELLO))
        with broken:
            return [await router.acompletion("g", copy.deepcopy(HELLO)) for _ in range(2)]

    provider.clear()
    with switch.on():
        results = asyncio.run(calls())
    assert [result.choices[0].message.content is not None for result in results] == [True, True]
    assert len(provider.requests()) == LEARNING + 2
