"""Arguments as programs pass them: None, the provider's own, LiteLLM's own, values that are more than plain JSON."""

from __future__ import annotations

import asyncio
import copy
import enum
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

import litellm
import pydantic
import pytest
from litellm import Router

from fastpath_switch import Switch
from litellm_accel.provider import Provider
from releases import routers_in_python

HELLO = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
CALLS = 6
MASKED = ("_response_ms", "litellm_overhead_time_ms", "litellm_call_id")


pytestmark = pytest.mark.usefixtures("quiet")


class Effort(str, enum.Enum):
    LOW = "low"
    HIGH = "high"


class Model(str):
    """As camel-ai has it: a model that is a text and more."""

    @property
    def is_openai(self) -> bool:
        return True


class Shouting(str):
    def __str__(self) -> str:
        return self.upper()


class Person(pydantic.BaseModel):
    name: str


def sent(provider: Provider) -> list[Any]:
    return [(r.method, r.path, r.headers, r.body) for r in provider.requests()]


async def outcome(call: Callable[[], Awaitable[Any]]) -> Any:
    """What an application sees of a call, but its id and its times."""
    try:
        result = await call()
    except Exception as error:
        return type(error), str(error)
    hidden = {name: type(held) if name in MASKED else held for name, held in result._hidden_params.items()}
    return re.sub(r"chatcmpl-[0-9a-f-]{36}|'created': \d+", "", repr((result.model_dump(), sorted(hidden.items()))))


def play(provider: Provider, via: str, made: Callable[[], dict[str, Any]]) -> tuple[list[Any], list[Any]]:
    provider.clear()

    async def calls() -> list[Any]:
        deployment = {"model": "openai/gpt-4o", "api_key": "sk-1", "api_base": provider.url}
        outcomes = []
        router = Router(model_list=[{"model_name": "g", "litellm_params": deployment, "model_info": {"id": "d"}}])
        for _ in range(CALLS):
            given = copy.deepcopy({"model": "openai/gpt-4o-mini", "messages": HELLO})
            if "router" in via:
                given["model"] = "g"
            else:
                given.update(api_key="sk-1", api_base=provider.url)
            given.update(made())
            server: Any = router if "router" in via else litellm
            if via in ("acompletion", "arouter"):
                outcomes.append(await outcome(lambda given=given, server=server: server.acompletion(**given)))
            else:
                outcomes.append(
                    await outcome(lambda given=given, server=server: asyncio.to_thread(server.completion, **given))
                )
        return outcomes

    return asyncio.run(calls()), sent(provider)


def served(provider: Provider, switch: Switch, via: str, made: Callable[[], dict[str, Any]]) -> int:
    """Assert that stock and the fast path are equal; return how many calls the fast path has served."""
    expected = play(provider, via, made)
    with switch.on():
        assert play(provider, via, made) == expected
    assert switch.gate.faults == 0, switch.gate.last_fault
    return int(switch.gate.served)


SERVED: dict[str, Callable[[], dict[str, Any]]] = {
    "none": lambda: {"num_ctx": None, "base_model": None, "mock_response": None, "temperature": None, "caching": None},
    "the provider's": lambda: {"min_p": 0.1, "repetition_penalty": 1, "guided_json": {"a": [1, None]}, "think": True},
    "the provider's of common names": lambda: {"top_k": 4, "provider": {"order": ["a"]}, "extra_query": {"a": "b"}},
    "before the request": lambda: {"_skip_mcp_handler": True},
    "a proxy's": lambda: {"_litellm_strip_stream_usage": False, "_litellm_stream_usage_injected": False},
    "no cache": lambda: {"cache": {"no-cache": True, "no-store": True}},
    "after a failure": lambda: {"retry_strategy": "exponential_backoff_retry", "num_retries": 0},
    "a member of an enumeration": lambda: {"user": Effort.LOW},
    "a text that is more": lambda: {"user": Shouting("ann")},
    "a dictionary that is more": lambda: {"response_format": OrderedDict(type="json_object")},
    "a tuple": lambda: {"stop": ("a", "b")},
    "a pydantic class": lambda: {"response_format": Person},
}
LEFT: dict[str, Callable[[], dict[str, Any]]] = {
    "mock_response": lambda: {"mock_response": "hi"},
    "mock_testing_fallbacks": lambda: {"mock_testing_fallbacks": True},
    "caching": lambda: {"caching": True},
    "input_cost_per_token": lambda: {"input_cost_per_token": 0.1, "output_cost_per_token": 0.1},
    "prompt_id": lambda: {"prompt_id": "p"},
    "roles": lambda: {"roles": {"user": {"pre_message": "a"}}},
    "ensure_alternating_roles": lambda: {"ensure_alternating_roles": True},
    "cooldown_time": lambda: {"cooldown_time": 1.0},
    "guardrails": lambda: {"guardrails": ["a"]},
    "cache_control_injection_points": lambda: {"cache_control_injection_points": []},
    "extra_body": lambda: {"extra_body": {"when": object()}},
}


# What a router with a core of its own passes comes with metadata, in which LiteLLM notes all arguments.
NOTED = "a dictionary that is more"


@pytest.mark.parametrize(
    "via, name",
    [
        pytest.param(via, name, marks=[routers_in_python] if name == NOTED and "router" in via else [])
        for via in ("acompletion", "completion", "arouter", "router")
        for name in SERVED
    ],
)
def test_arguments_are_served(provider: Provider, switch: Switch, via: str, name: str) -> None:
    assert served(provider, switch, via, SERVED[name]) >= CALLS - 2


@pytest.mark.parametrize("via", ["acompletion", "completion"])
def test_a_model_that_is_more_than_a_text_is_served(provider: Provider, switch: Switch, via: str) -> None:
    assert served(provider, switch, via, lambda: {"model": Model("openai/gpt-4o-mini")}) >= CALLS - 2


@pytest.mark.parametrize("name", LEFT)
def test_what_does_something_beside_the_exchange_is_left_and_named(
    provider: Provider, switch: Switch, name: str
) -> None:
    assert served(provider, switch, "acompletion", LEFT[name]) == 0
    assert switch.gate.declined == {f"argument {name!r}": CALLS}


@pytest.mark.parametrize("given", [{"api_base": None, "api_key": None}, {"base_url": None, "api_version": None}])
@pytest.mark.parametrize("via", ["arouter", "router"])
def test_a_router_is_called_with_credentials_that_are_none(
    provider: Provider, switch: Switch, monkeypatch: pytest.MonkeyPatch, via: str, given: dict[str, Any]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
    assert served(provider, switch, via, lambda: given) >= CALLS - 2


@pytest.mark.parametrize("via", ["sync", "async"])
def test_calls_that_litellm_refuses_are_not_all_watched(provider: Provider, switch: Switch, via: str) -> None:
    """Nothing is sent of them, so that there is nothing to learn; they are looked at again after a while."""
    call = {"model": "of-no-provider", "messages": HELLO, "api_base": provider.url, "api_key": "sk-1"}

    def ask() -> Any:
        provider.clear()
        try:
            return litellm.completion(**call) if via == "sync" else asyncio.run(litellm.acompletion(**call))
        except litellm.BadRequestError as error:
            assert not provider.requests()
            return str(error)

    expected = ask()
    with switch.on() as pipeline:
        pipeline.gate.clear()
        assert [ask() for _ in range(4)] == [expected] * 4
        watched = {"learned from": 1, "unlearnable: it fails before it is sent": 1}
        assert pipeline.gate.declined == {**watched, "it fails before it is sent": 3}
        for slot in pipeline.plans.values():
            assert slot.expires > time.time()
            slot.expires = 0.0
        assert ask() == expected
        assert pipeline.gate.declined["learned from"] == 2
        assert pipeline.gate.faults == 0, pipeline.gate.last_fault
    switch.stop()
