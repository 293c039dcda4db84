"""Arguments that differ in each call, kinds of one family, and how many kinds are learned at the same time."""

from __future__ import annotations

import asyncio
import copy
import json
import re
from collections.abc import Callable
from typing import Any

import litellm
import pytest
from litellm.integrations.custom_logger import CustomLogger

from compared import outcome
from fastpath_switch import Switch
from litellm_accel.fastpath.admission import newcomers
from litellm_accel.fastpath.plans.slot import State
from litellm_accel.provider import Provider

pytestmark = pytest.mark.usefixtures("quiet")


def tool(number: int, **more: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": {f"field_{number}": {"type": "string"}}, **more}
    return {"type": "function", "function": {"name": f"tool_{number}", "description": "é", "parameters": schema}}


def both(number: int, **more: Any) -> dict[str, Any]:
    """Another temperature and other tools in each call."""
    tools = [tool(number + place) for place in range(1 + number % 3)]
    return {"temperature": 0.31 + number / 100, "tools": tools, **more}


def play(provider: Provider, calls: list[dict[str, Any]]) -> list[Any]:
    """What the application and the provider see of calls, one after the other."""
    provider.clear()
    outcomes: list[Any] = []
    for number, arguments in enumerate(calls):
        given = {
            "model": "openai/gpt-4o-mini",
            "messages": [{"role": "user", "content": f"Number {number}"}],
            "api_base": provider.url,
            "api_key": "sk-test",
            **copy.deepcopy(arguments),
        }
        try:
            result = litellm.completion(**given)
        except Exception as error:
            outcomes.append((type(error), str(error)))
        else:
            chunks = list(result) if arguments.get("stream") else [result]
            outcomes.extend(chunk.model_dump(exclude={"id", "created"}) for chunk in chunks)
        outcomes.append({name: value for name, value in given.items() if name != "messages"})
    return [*outcomes, *((sent.headers, sent.body) for sent in provider.requests())]


def served(provider: Provider, switch: Switch, calls: list[dict[str, Any]]) -> int:
    """Assert that the fast path does with ``calls`` what stock does; return how many it has served."""
    expected = play(provider, calls)
    before = int(switch.gate.served)
    with switch.on():
        assert play(provider, calls) == expected
    assert switch.gate.faults == 0, switch.gate.last_fault
    return int(switch.gate.served) - before


@pytest.mark.parametrize(("recorded", "watched"), [(True, 2), (False, 5)])
def test_other_values_in_each_call_are_served(provider: Provider, recorded: bool, watched: int) -> None:
    assert served(provider, Switch(recorded=recorded), [both(number) for number in range(9)]) == 9 - watched


def given(number: int) -> dict[str, Any]:
    """Other headers and other arguments of the provider's own in each call."""
    return {
        "extra_headers": {"X-Request-Id": f"call {number}", "traceparent": f"00-{number}"},
        "min_p": 0.1 + number,
        "extra_body": {"guided": {"number": number, "said": ["é", None]}, "fraction": 1e-7 * (1 + number)},
    }


@pytest.mark.parametrize("model", ["openai/gpt-4o-mini", "hosted_vllm/qwen"])
@pytest.mark.parametrize("is_told", [False, True], ids=["plain", "told"])
def test_other_headers_and_arguments_of_the_providers_in_each_call(
    provider: Provider, model: str, is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    if is_told:
        monkeypatch.setattr(litellm, "callbacks", [Told(told)])
    calls = [{"model": model, **given(number)} for number in range(7)]
    assert served(provider, Switch(), calls) == 5
    assert told[:7] == told[7:14]


def cookies_and_limits(provider: Provider, limit: Callable[[int], float]) -> list[dict[str, Any]]:
    """Another time limit in each call, at last one that is met again, with the cookies of its own client, and one that
    is too short."""
    base = provider.at('plain{"headers": {"set-cookie": "a=b; Path=/"}}')
    calls = [{"timeout": limit(number), "api_base": base} for number in range(6)]
    return [*calls, calls[3], {"timeout": 0.15, "max_retries": 0, "api_base": provider.at("delay-1")}]


@pytest.mark.parametrize("limit", [lambda n: 30 - n / 7, lambda n: 30 - n], ids=["floats", "whole numbers"])
@pytest.mark.parametrize("model", ["openai/gpt-4o-mini", "hosted_vllm/qwen"])
@pytest.mark.parametrize("is_told", [False, True], ids=["plain", "told"])
def test_other_time_limits_in_each_call(
    provider: Provider, model: str, is_told: bool, limit: Callable[[int], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    if is_told:
        monkeypatch.setattr(litellm, "callbacks", [Told(told)])
    calls = [{"model": model, **call} for call in cookies_and_limits(provider, limit)]
    litellm.in_memory_llm_clients_cache.flush_cache()
    expected = play(provider, calls)
    litellm.in_memory_llm_clients_cache.flush_cache()
    switch = Switch()
    with switch.on():
        assert masked(play(provider, calls)) == masked(expected)
    assert switch.gate.faults == 0, switch.gate.last_fault
    assert switch.gate.served == 5
    assert told[:7] == told[7:14]


def masked(seen: list[Any]) -> str:
    """What was seen, but for how long a call has waited."""
    return re.sub(r"time taken=[\d.]+", "", repr(seen))


@pytest.mark.parametrize("name", ["timeout", "request_timeout"])
@pytest.mark.parametrize("limits", [(30.5, 31.5, 32.5, 0.1), (30, 31, 32, 1)], ids=["floats", "whole numbers"])
@pytest.mark.parametrize("ends", ["answered", "timed out"])
def test_a_call_that_is_served_ends_at_its_own_time_limit(
    provider: Provider, name: str, limits: tuple[float, ...], ends: str
) -> None:
    """In an event loop; the limits before were long."""
    *long, short = limits
    base = provider.at(f'delay-{short * 1.4}{{"plain_first": 3}}')
    last = short if ends == "timed out" else type(short)(5)
    calls = [{name: limit, "max_retries": 0, "api_base": base} for limit in (*long, last)]

    async def ask() -> list[Any]:
        provider.clear()
        given = {"model": "openai/gpt-4o-mini", "api_key": "sk-test"}
        return [
            await outcome(
                lambda call=call, text=str(number): litellm.acompletion(  # type: ignore[misc]
                    messages=[{"role": "user", "content": text}], **given, **call
                )
            )
            for number, call in enumerate(calls)
        ]

    expected = masked(asyncio.run(ask()))
    switch = Switch()
    with switch.on():
        assert masked(asyncio.run(ask())) == expected
    assert (f"timeout value={float(short)}" in expected) == (ends == "timed out")
    assert switch.gate.served == (2 if ends == "answered" else 1)


class Told(CustomLogger):
    """Keeps what it is told of the arguments of calls."""

    def __init__(self, told: list[Any]) -> None:
        super().__init__()
        self._told = told

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        payload = kwargs["standard_logging_object"]
        self._told.append(copy.deepcopy((kwargs["optional_params"], kwargs["headers"], payload["model_parameters"])))


@pytest.mark.parametrize(
    "calls",
    [
        pytest.param([{"extra_headers": {"OpenAI-Beta": str(n)}} for n in range(5)], id="a header that LiteLLM knows"),
        pytest.param([{"extra_headers": {"Expect": str(n)}} for n in range(5)], id="a header that clients go by"),
        pytest.param([{"extra_headers": {"x-a": "é" * n}} for n in range(5)], id="no plain text"),
        pytest.param([{"extra_body": {"temperature": n / 9}} for n in range(5)], id="an argument of LiteLLM's"),
    ],
)
def test_what_somebody_may_go_by_is_told_apart(provider: Provider, calls: list[dict[str, Any]]) -> None:
    assert served(provider, Switch(), calls) == 0


def test_values_that_are_treated_otherwise_are_told_apart(provider: Provider) -> None:
    stops: list[Any] = [["a"], ["b"], ["1", "2", "3", "4", "5"], ["c"], ["1", "2", "3", "4", "6"], ["d"], [], "e"]
    assert served(provider, Switch(), [{"stop": stop} for stop in stops]) == 2
    temperatures: list[Any] = [0.5, 0.6, 1, True, 0.7, 2**70, 1.0, None, 0, 0.8, 1e-07, "0.5", 0.9]
    assert served(provider, Switch(), [{"temperature": value} for value in temperatures]) == 3


def test_what_goes_as_it_is_goes_on_beside_what_does_not(provider: Provider) -> None:
    """xAI's rules take ``strict`` out of tools: their values are told apart, and temperatures go on."""
    calls = [{**both(number), "model": "xai/grok-3", "tools": [strict(number)]} for number in (0, 1)]
    same = [{**calls[0], "temperature": 0.4 + number / 100} for number in range(5)]
    assert served(provider, Switch(), [*calls, *same]) == 3


def strict(number: int) -> dict[str, Any]:
    made = tool(number)
    return {**made, "function": {**made["function"], "strict": True}}


def test_arguments_that_litellm_changes_in_place_are_left_to_it(provider: Provider) -> None:
    switch = Switch()
    properties = {"a": {"type": "string", "additionalProperties": False}}
    calls = [{"model": "hosted_vllm/qwen", "tools": [tool(number, properties=properties)]} for number in range(5)]
    if not is_changed(provider, calls[0]):
        pytest.skip("this LiteLLM changes copies")
    assert served(provider, switch, calls) == 0
    assert switch.gate.declined["unlearnable: argument 'tools' is sent with another value"]


def is_changed(provider: Provider, call: dict[str, Any]) -> bool:
    return play(provider, [call])[1]["tools"] != call["tools"]


def test_a_second_model_and_a_second_key_are_served_after_one_call(provider: Provider) -> None:
    switch = Switch(recorded=False)
    assert served(provider, switch, [both(number) for number in range(8)]) == 3
    other = {"model": "openai/gpt-4.1", "api_key": "sk-other"}
    assert served(provider, switch, [both(number, **other) for number in range(4)]) == 3
    reasoning = {"model": "openai/gpt-5-mini", "api_key": "sk-other"}  # for which LiteLLM has other functions
    assert served(provider, switch, [both(number, **reasoning, temperature=1) for number in range(4)]) == 0


def test_a_family_is_known_when_one_of_its_kinds_is_proven(provider: Provider) -> None:
    switch = Switch(recorded=False)
    assert served(provider, switch, [{}, {}, {}]) == 0
    assert served(provider, switch, [{"model": "openai/gpt-4.1"}] * 2) == 0
    assert served(provider, switch, [{}, {"model": "openai/gpt-4.1-mini"}, {"model": "openai/gpt-4.1-mini"}]) == 1


MODELS = ("gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano")


def test_kinds_of_one_family_are_proven_together(provider: Provider) -> None:
    """The second model's recorded call shows what the first one's has foretold; one call is compared in all."""
    calls = [{"model": f"openai/{MODELS[number % 4]}", "temperature": 0.31 + number % 4 / 10} for number in range(12)]
    switch = Switch(recorded=False)
    # A kind is proven by itself if LiteLLM's executor has ended a job in the middle of its recorded call.
    assert served(provider, switch, calls) >= 12 - 4 - 1 - 2 * 2
    assert switch.gate.declined["learned from"] == 4
    other = {"model": "openai/gpt-5-mini", "temperature": 1}  # for which LiteLLM has other functions
    assert served(provider, switch, [other] * 3) == 0


def test_one_difference_ends_what_a_family_shares(provider: Provider) -> None:
    calls = [{"model": f"openai/{MODELS[number % 4]}"} for number in range(8)]
    switch = Switch(recorded=False)
    assert served(provider, switch, calls) >= 1
    slots = switch.pipeline.plans
    place = next(place for place, slot in slots.items() if slot.state is State.READY)
    switch.pipeline.refuse(slots, place, place, "something")
    assert {slot.state for slot in slots.values()} == {State.REFUSED, State.PROVING}
    assert served(provider, switch, calls) == 0


def test_a_kind_of_a_known_structure_does_not_wait(provider: Provider) -> None:
    switch = Switch()
    shapes = [{"top_logprobs": number} for number in range(1, 7)]
    more = [{"model": "openai/gpt-4.1", **shape} for shape in shapes]
    # Of many users, who may not come again.
    keys = [{"top_logprobs": 1, "api_key": f"sk-{number}"} for number in range(6)]
    assert served(provider, switch, [*shapes, *more, *keys, *more]) == 6
    assert switch.gate.declined["learned from"] == newcomers._FIRST + len(more)


def test_few_kinds_are_learned_while_none_has_come_again(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newcomers, "_PATIENCE", 10)
    switch = Switch()
    served(provider, switch, [{"top_logprobs": number + 1} for number in range(9)])
    assert switch.gate.declined["learned from"] == newcomers._FIRST
    served(provider, switch, [{"max_retries": 1}] * 6)  # those wait for others than this one, which comes again
    assert switch.gate.declined["learned from"] == newcomers._FIRST + 1
    assert switch.gate.served == 4
    served(provider, switch, [{"top_logprobs": 1}, {"top_logprobs": 2}])  # these have come again
    assert switch.gate.served == 6
    assert served(provider, switch, [{"max_retries": number // 2} for number in range(2, 8)]) == 4


def test_what_is_sent_is_spelled_as_litellm_spells_it(provider: Provider) -> None:
    switch = Switch()
    odd: list[Any] = [1e-07, 2.5e-08, 0.1 + 0.2, 0.25, 1e-05]
    calls = [{"temperature": value, "logit_bias": {"1": value}} for value in odd]
    assert served(provider, switch, calls) == 2
    assert json.loads(provider.requests()[-1].body)["logit_bias"] == {"1": 1e-05}
