"""The fast path against stock LiteLLM: requests, results, exceptions and the router's state are equal."""

from __future__ import annotations

import asyncio
import copy
import importlib
import importlib.util
import operator
import pkgutil
import random
import re
from collections.abc import Iterable
from typing import Any
from unittest import mock

import httpx
import litellm
import pydantic
import pytest
from litellm import Router
from litellm.types.router import RoutingStrategy

from compared import HELLO, asked, outcome, seen, sent
from fastpath_switch import LISTS, Switch
from litellm_accel import _backend
from litellm_accel.fastpath.router_state import RouterStates
from litellm_accel.provider import SCENARIOS, Provider
from releases import routers_in_python
from settling import settled, threads_settled

CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}


def some(values: Iterable[Any], *quick: Any, ids: Any = str) -> list[Any]:
    """Return ``values`` as parameters; all but those in ``quick`` are slow, together."""
    return [pytest.param(v, id=ids(v), marks=() if v in quick else pytest.mark.slow) for v in values]


pytestmark = pytest.mark.usefixtures("quiet")


def play(provider: Provider, mode: str, arguments: dict[str, Any], messages: Any) -> tuple[list[Any], list[Any]]:
    """Make the call twice with plain messages, for the fast path to learn from, then three times with ``messages``."""
    provider.clear()

    async def one(said: Any) -> Any:
        given = copy.deepcopy({"model": "openai/gpt-4o-mini", "api_key": "sk-1", "api_base": provider.url, **arguments})
        said = copy.deepcopy(said)
        if mode == "async":
            return await outcome(lambda: litellm.acompletion(messages=said, **given))

        async def sync() -> Any:
            return litellm.completion(messages=said, **given)

        return await outcome(sync)

    # A loop may have the address of one that is gone, by which LiteLLM finds the client of that, with its cookies.
    litellm.in_memory_llm_clients_cache.flush_cache()

    async def calls() -> list[Any]:
        for _ in range(2):
            await one(HELLO)
        return [await one(messages) for _ in range(3)]

    return asyncio.run(calls()), sent(provider)


def same(provider: Provider, switch: Switch, mode: str, arguments: dict[str, Any], messages: Any) -> int:
    """Assert that stock and the fast path are equal; return how many calls the fast path has served."""
    expected = play(provider, mode, arguments, messages)
    with switch.on():
        found = play(provider, mode, arguments, messages)
    assert found[0] == expected[0]
    assert found[1] == expected[1]
    assert switch.gate.faults == 0, switch.gate.last_fault
    return int(switch.gate.served)


MODES = ("async", "sync")
SLOW = ("stall", "stream", "chunk", "delay")
# Closing a kept connection unannounced is a race that the faster client runs differently.
ANSWERS = [name for name in SCENARIOS if not any(word in name for word in SLOW) and name != "hangup"]
ANSWERS.append('plain{"headers": {"set-cookie": "a=b; Path=/"}}')


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scenario", some(ANSWERS, "plain", "tools", "details", "broken-json", "gzip", ANSWERS[-1]))
def test_answers(provider: Provider, switch: Switch, mode: str, scenario: str) -> None:
    assert same(provider, switch, mode, {"max_retries": 0}, asked(scenario)) >= 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "text, served", [("<code>\\nf()\\n</code>", 4), ("<think>a</think>b", 1), ("<thinking>a</thinking>b", 1)]
)
def test_answers_in_tags(provider: Provider, switch: Switch, mode: str, text: str, served: int) -> None:
    """LiteLLM takes reasoning out of some tags; what is in others is text."""
    assert same(provider, switch, mode, {"max_retries": 0}, asked(f'plain{{"content": "{text}"}}')) == served


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("then_ok", ["", "-then-ok"])
@pytest.mark.parametrize("status", some([400, 401, 403, 404, 408, 409, 422, 429, 500, 503, 529], 400, 429))
def test_errors_and_retries(provider: Provider, switch: Switch, mode: str, status: int, then_ok: str) -> None:
    scenario = f'error-{status}{then_ok}{{"headers": {{"retry-after-ms": "5"}}}}'
    assert same(provider, switch, mode, {"max_retries": 2 if then_ok else 0}, asked(scenario)) >= 1


@pytest.mark.parametrize("mode", MODES)
def test_timeouts(provider: Provider, switch: Switch, mode: str) -> None:
    assert same(provider, switch, mode, {"max_retries": 0, "timeout": 0.2}, asked("delay-2")) == 1


class Person(pydantic.BaseModel):
    name: str


SERVED_ARGUMENTS: list[dict[str, Any]] = [
    {},
    {"temperature": 0},
    {"temperature": 0.7, "top_p": 0.1, "n": 2, "stop": ["a", "b"], "seed": 5, "user": "u", "logit_bias": {"5": -100}},
    {"presence_penalty": 0.1, "frequency_penalty": 0.2, "logprobs": True, "top_logprobs": 2, "max_tokens": 7},
    {"tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": False},
    {"response_format": {"type": "json_object"}},
    {"max_completion_tokens": 5, "service_tier": "flex", "store": True},
    {"extra_headers": {"X-Mine": "b"}, "extra_body": {"foo": 1}},
    {"organization": "org-1", "timeout": 7.5},
    {"drop_params": True, "stream": False, "metadata": None},
    {"timeout": httpx.Timeout(7.5, connect=2.0)},
    {"response_format": Person},
    {"model": "openai/gpt-5", "temperature": 1},
    {"model": "gpt-4o"},
    {"model": "openai/unknown-model"},
]
DECLINED_ARGUMENTS: list[dict[str, Any]] = [
    {"mock_response": "hi"},
    {"caching": True},
    {"fallbacks": ["openai/gpt-4o"]},
    {"model": "mistral/mistral-small"},
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("arguments", some(SERVED_ARGUMENTS, *SERVED_ARGUMENTS[2:5], {"response_format": Person}))
def test_arguments_served(provider: Provider, switch: Switch, mode: str, arguments: dict[str, Any]) -> None:
    # Without the package mcp LiteLLM refuses every call with tools.
    refused = "tools" in arguments and importlib.util.find_spec("mcp") is None
    assert same(provider, switch, mode, arguments, HELLO) == (0 if refused else 4)


@pytest.mark.parametrize("name", ["self", "router", "stock", "started"])
@pytest.mark.parametrize("routed", [False, True])
def test_an_argument_may_have_any_name(provider: Provider, switch: Switch, routed: bool, name: str) -> None:
    deployment = {"model": "openai/gpt-4o", "api_key": "sk-1", "api_base": provider.url}

    async def calls() -> Any:
        provider.clear()
        server: Any = litellm
        given: dict[str, Any] = {**deployment, "messages": HELLO, name: "mine"}
        if routed:
            server = Router(model_list=[{"model_name": "group", "litellm_params": deployment}])
            given = {"model": "group", "messages": HELLO, name: "mine"}
        if routed and name == "self":
            del given[name]  # Router's methods have a parameter of this name
        first = await outcome(lambda: server.acompletion(**given))
        return first, await outcome(lambda: asyncio.to_thread(server.completion, **given)), sent(provider)

    expected = asyncio.run(calls())
    with switch.on():
        assert asyncio.run(calls()) == expected


def test_litellms_own_client(provider: Provider, switch: Switch) -> None:
    def call() -> Any:
        client = litellm.LiteLLM(api_key="sk-1", base_url=provider.url)
        return client.chat.completions.create(messages=HELLO, model="openai/gpt-4o").choices[0].message.content

    expected = call()
    with switch.on():
        assert [call() for _ in range(3)] == [expected] * 3


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("arguments", some(DECLINED_ARGUMENTS, *DECLINED_ARGUMENTS[:2]))
def test_arguments_declined(provider: Provider, switch: Switch, mode: str, arguments: dict[str, Any]) -> None:
    assert same(provider, switch, mode, arguments, HELLO) == 0
    assert switch.gate.declined


MESSAGES: dict[str, Any] = {
    "name": [{"role": "user", "content": "x", "name": "bob"}],
    "empty": [{"role": "user", "content": ""}],
    "unicode": [{"role": "user", "content": '\u2028\x7f\x00 \U0001f600 </script>\t\n"\\'}],
    "tools": [*HELLO, {"role": "assistant", "content": None, "tool_calls": [CALL]}],
    "result": [
        *HELLO,
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c", "content": ""},
    ],
    "image": [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/y", "detail": "low"}}]}
    ],
    "surrogate": [{"role": "user", "content": "\ud800"}],
    "developer": [{"role": "developer", "content": "x"}],
    "none": [{"role": "assistant", "content": None}, *HELLO],
    "image text": [{"role": "user", "content": [{"type": "image_url", "image_url": "http://x/y"}]}],
    "thought": [*HELLO, {"role": "assistant", "content": "", "tool_calls": [{**CALL, "id": "a__thought__b"}]}],
    "cache control": [{"role": "user", "content": "x", "cache_control": {"type": "ephemeral"}}],
    "message object": [*HELLO, litellm.Message(content=None, tool_calls=[CALL])],
    "other object": [*HELLO, litellm.Choices()],
    "parts": [{"role": "system", "content": [{"type": "text", "text": "x"}]}, HELLO[1]],
    "no list": "Hello",
    "no messages": [],
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["unicode", pytest.param("image", marks=pytest.mark.slow)])
def test_a_provider_with_rules_for_messages(provider: Provider, switch: Switch, mode: str, name: str) -> None:
    """Texts are served; what its rules may be for is left to stock."""
    served = same(provider, switch, mode, {"model": "deepinfra/some-model"}, MESSAGES[name])
    assert served >= 3 if name == "unicode" else served <= 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", some(MESSAGES, "tools", "result", "image", "surrogate", "message object"))
def test_messages(provider: Provider, switch: Switch, mode: str, name: str) -> None:
    same(provider, switch, mode, {}, MESSAGES[name])


# --- routers ----------------------------------------------------------------------------------------------------------

LIMITS = {"rpm": 10_000, "tpm": 1_000_000}
ROUTED: dict[str, tuple[dict[str, Any], dict[str, Any], Any, int]] = {
    "limits": ({}, LIMITS, HELLO, 10),
    "no limits": ({}, {}, HELLO, 10),
    "tools": ({}, LIMITS, asked("tools"), 8),
    "usage details": ({}, LIMITS, asked("details"), 8),
    "error": ({"num_retries": 0}, LIMITS, asked("error-500"), 4),
    "retried": ({"num_retries": 2, "retry_after": 0}, LIMITS, asked("error-500-then-ok"), 4),
    "cooldown": ({"num_retries": 0, "allowed_fails": 0}, LIMITS, asked("error-429"), 4),
    "wrong key": ({"num_retries": 1}, LIMITS, asked("error-401"), 4),
    "context window": ({"num_retries": 1}, LIMITS, asked("context-window"), 4),
    "content policy": (
        {"num_retries": 0, "content_policy_fallbacks": [{"g": ["g"]}]},
        LIMITS,
        asked("content-filter"),
        4,
    ),
    "fallback": ({"num_retries": 0, "fallbacks": [{"g": ["g"]}]}, LIMITS, asked("error-500"), 4),
    "full": ({}, {"max_parallel_requests": 1}, HELLO, 8),
    "timeout": ({"timeout": 0.2, "num_retries": 0}, LIMITS, asked("delay-2"), 4),
    "broken answer": ({"num_retries": 0}, LIMITS, asked("broken-json"), 4),
    "least busy": ({"routing_strategy": RoutingStrategy.LEAST_BUSY.value}, LIMITS, HELLO, 4),
    "mocked": ({}, {"mock_response": "hi"}, HELLO, 0),
}


def routed(provider: Provider, mode: str, settings: dict[str, Any], parameters: dict[str, Any], messages: Any) -> Any:
    provider.clear()
    for name in LISTS:
        getattr(litellm, name).clear()
    deployment = {"model": "openai/gpt-4o-mini", "api_base": provider.url, **parameters}
    router = Router(
        model_list=[
            {"model_name": "g", "litellm_params": {**deployment, "api_key": f"sk-{n}"}, "model_info": {"id": f"d{n}"}}
            for n in range(3)
        ],
        **copy.deepcopy(settings),
    )

    async def one(said: Any) -> Any:
        return await outcome(lambda: router.acompletion(model="g", messages=copy.deepcopy(said), temperature=0.1))

    async def calls() -> list[Any]:
        random.seed(11)
        for _ in range(12):
            await one(HELLO)
            if "routing_strategy" in settings:
                await settled()
        alone = []
        for _ in range(3):
            await settled()  # stock counts successes and failures in the background
            alone.append(await one(messages))
        await settled()
        # Where calls fail and are tried again at once, time decides which deployments they meet.
        together = sorted(await asyncio.gather(*[one(messages) for _ in range(4 if messages is HELLO else 1)]))
        await settled()
        return alone + together

    def sync_calls() -> list[Any]:
        random.seed(11)
        outcomes = []
        for said in [HELLO] * 12 + [messages] * 4:
            try:
                result = router.completion(model="g", messages=copy.deepcopy(said), temperature=0.1)
                outcomes.append(seen(result, None))
            except Exception as error:
                outcomes.append(seen(None, error))
            threads_settled()  # stock counts successes and failures in other threads
        return outcomes[12:]

    outcomes = asyncio.run(calls()) if mode == "async" else sync_calls()
    held: dict[str, Any] = {}
    for key, value in router.cache.in_memory_cache.cache_dict.items():
        key = re.sub(r":\d\d-\d\d$", "", key)  # a run may last from one minute into the next
        held[key] = held.get(key, 0) + value if isinstance(value, int) else type(value).__name__
    return outcomes, sorted(sent(provider)), router.total_calls, router.success_calls, router.fail_calls, held


ROUTED_CALLS = [f"{case}@{mode}" for mode in MODES for case in ROUTED]
ROUTED_CALLS.remove("least busy@sync")  # stock counts who is busy in other threads, as they happen to run
QUICK = ("limits@async", "retried@async", "cooldown@async", "limits@sync", "error@sync")


@pytest.mark.parametrize("call", some(ROUTED_CALLS, *QUICK))
def test_router(provider: Provider, switch: Switch, call: str) -> None:
    case, _, mode = call.partition("@")
    settings, parameters, messages, least = ROUTED[case]
    expected = routed(provider, mode, settings, parameters, messages)
    with switch.on():
        found = routed(provider, mode, settings, parameters, messages)
    assert found == expected
    assert switch.gate.faults == 0, switch.gate.last_fault
    assert switch.gate.served >= least
    assert (switch.gate.served == 0) == (least == 0)


@routers_in_python
@pytest.mark.parametrize("mode", MODES)
def test_equal_deployments_have_one_plan(provider: Provider, switch: Switch, mode: str) -> None:
    """A group that lists the same deployment twice gives both the same identifier."""

    def calls() -> Any:
        provider.clear()
        params = {"model": "openai/gpt-4o-mini", "api_base": provider.url, "api_key": "sk-1"}
        router = Router([{"model_name": "g", "litellm_params": dict(params)} for _ in range(2)])
        one, other = router.model_list
        assert one is not other and one == other

        async def call() -> Any:
            if mode == "async":
                return await router.acompletion("g", copy.deepcopy(HELLO))
            return router.completion("g", copy.deepcopy(HELLO))

        async def several() -> list[Any]:
            random.seed(11)
            return [await outcome(call) for _ in range(10)]

        return asyncio.run(several()), sent(provider), router.total_calls, router.success_calls

    expected = calls()
    with switch.on():
        found = calls()
    assert found == expected
    assert switch.gate.faults == 0, switch.gate.last_fault
    assert switch.gate.served == 9, switch.gate.declined


@routers_in_python
def test_rate_limit_headers_of_a_group(provider: Provider, switch: Switch) -> None:
    router = Router(
        model_list=[
            {
                "model_name": "g",
                "litellm_params": {"model": "openai/gpt-4o-mini", "api_key": str(n), "rpm": 5, "tpm": 90},
            }
            for n in range(3)
        ]
    )
    known = RouterStates().state_of(router)
    chat = _backend.load("chat")
    for deployment, tokens in zip(router.model_list, (7, 11, 0), strict=True):
        for kind, value in (("tpm", tokens), ("rpm", 1)):
            identifier, model = deployment["model_info"]["id"], deployment["litellm_params"]["model"]
            router.cache.in_memory_cache.increment_cache(
                f"global_router:{identifier}:{model}:{kind}:{chat.minute()}", value
            )
    tally = known._tally(router, "g", router._cached_get_model_group_info("g"))
    expected = asyncio.run(router.get_remaining_model_group_usage("g"))
    assert expected["x-ratelimit-remaining-tokens"] == 270 - 18
    assert tally.remaining() == expected


# --- what makes the fast path step aside
# -----------------------------------------------------------------------------------


def served_with(provider: Provider, switch: Switch) -> int:
    before = switch.gate.served
    with switch.on():
        play(provider, "sync", {}, HELLO)
    return int(switch.gate.served - before)


@pytest.mark.parametrize(
    "name, value",
    [
        ("set_verbose", True),
        ("modify_params", True),
        ("cache", object()),
        ("max_budget", 10.0),
        ("callbacks", [object()]),
        ("success_callback", [print]),
        ("input_callback", [print]),
        ("post_call_rules", [lambda text: True]),
        ("client_session", object()),
        ("turn_off_message_logging", True),
    ],
)
@pytest.mark.slow
def test_settings_and_callbacks_that_stock_must_honour(
    provider: Provider, switch: Switch, monkeypatch: pytest.MonkeyPatch, name: str, value: Any
) -> None:
    served_with(provider, switch)
    assert served_with(provider, switch) == 5
    monkeypatch.setattr(litellm, name, value)
    with switch.on():
        environment = switch.pipeline.environment
        assert environment.watch.changed()
        assert environment.refresh() is not None
    monkeypatch.undo()
    assert served_with(provider, switch) == 4


def test_a_changed_setting_is_learned_again(
    provider: Provider, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    served_with(provider, switch)
    before = switch.gate.served
    monkeypatch.setattr(litellm, "headers", {"x-team": "new"})
    assert same(provider, switch, "sync", {}, HELLO) == before + 4
    assert ("x-team", "new") in provider.requests()[-1].headers


def test_instrumented_functions_are_not_bypassed(
    provider: Provider, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = importlib.import_module("openai._base_client").SyncAPIClient
    calls = []
    stock = client.request

    def request(*args: Any, **kwargs: Any) -> Any:
        calls.append(kwargs)
        return stock(*args, **kwargs)

    monkeypatch.setattr(client, "request", request)
    assert served_with(provider, switch) == 0
    assert len(calls) == 5


@pytest.mark.parametrize(
    "place",
    [
        "litellm.main.get_optional_params",
        "litellm.main.openai_chat_completions.completion",
        "litellm.utils.function_setup",
        "litellm.llms.openai.openai.OpenAIChatCompletion.completion",
        "litellm.litellm_core_utils.completion_timeout.CompletionTimeout.resolve",
    ],
)
def test_spies_see_every_call(provider: Provider, switch: Switch, place: str) -> None:
    served_with(provider, switch)
    owner, _, name = place.rpartition(".")
    with mock.patch.object(pkgutil.resolve_name(owner), name, wraps=pkgutil.resolve_name(place)) as spy:
        assert served_with(provider, switch) == 0
    assert spy.call_count >= 5
    assert served_with(provider, switch) == 4


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("make_call", marks=routers_in_python),
        "cache.get_cache",
        "cache.in_memory_cache.increment_cache",
    ],
)
def test_spies_in_a_router_see_every_call(provider: Provider, switch: Switch, place: str) -> None:
    params = {"model": "openai/gpt-4o-mini", "api_key": "k", "api_base": provider.url, "tpm": 1_000_000}
    router = Router([{"model_name": "group", "litellm_params": params}], num_retries=0)
    owner, _, name = place.rpartition(".")
    held: Any = operator.attrgetter(owner)(router) if owner else router

    with switch.on():
        for _ in range(4):
            router.completion("group", copy.deepcopy(HELLO))
        before = switch.gate.served
        with mock.patch.object(held, name, wraps=getattr(held, name)) as spy:
            for _ in range(3):
                router.completion("group", copy.deepcopy(HELLO))
    assert before
    assert spy.call_count >= 3  # whichever door serves what the router's own method then calls
    router.discard()


@pytest.mark.parametrize(
    "arguments",
    [{}, {"model": "hosted_vllm/qwen"}, {"model": "azure/gpt-4o", "api_version": "2024-10-21"}],
    ids=["openai", "hosted_vllm", "azure"],
)
def test_each_event_loop_has_its_own_connection(provider: Provider, switch: Switch, arguments: dict[str, Any]) -> None:
    with switch.on():
        play(provider, "async", arguments, HELLO)
        before = switch.gate.served
        for _ in range(3):
            play(provider, "async", arguments, HELLO)
    assert switch.gate.served == before + 3 * 5
    assert switch.gate.faults == 0, switch.gate.last_fault
