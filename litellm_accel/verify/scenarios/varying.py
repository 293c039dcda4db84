"""Arguments with another value in each call: those that go as they are, and among them those that LiteLLM treats."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from litellm_accel.verify.scenario import ALL, DIRECT, Made, Scenario, Way, crossed, deployment, themed
from litellm_accel.verify.scenarios.parameters import PERSON_ANSWER, one_after_the_other, person
from litellm_accel.verify.scenarios.providers import MODELS, more


def tool(number: int, **more: Any) -> dict[str, Any]:
    """A function of its own, with as many parameters as ``number`` says, and ``more`` in its schema."""
    properties = {f"field_{place}": {"type": "string", "description": f"{number}: é"} for place in range(number % 4)}
    schema = {"type": "object", "properties": properties, "required": list(properties), **more}
    return {
        "type": "function",
        "function": {"name": f"tool_{number}", "description": f"Does {number}", "parameters": schema},
    }


def tools(number: int) -> list[dict[str, Any]]:
    """A list of one to three functions."""
    return [tool(number + place) for place in range(1 + number % 3)]


def _format(number: int, **more: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": {f"field_{number}": {"type": "integer"}}, **more}
    return {"type": "json_schema", "json_schema": {"name": f"answer_{number}", "schema": schema, "strict": True}}


def _choice(number: int) -> dict[str, Any]:
    return {"type": "function", "function": {"name": f"tool_{number}"}}


def _each(name: str, values: Iterable[Any], **more: Any) -> Callable[[Any], Any]:
    """A script: one call with each of these values of an argument; ``more`` are arguments of all."""
    calls = ({**copy.deepcopy(more), name: copy.deepcopy(value)} for value in values)
    script: Callable[[Any], Any] = one_after_the_other(*calls)
    return script


def _strict(function: dict[str, Any]) -> dict[str, Any]:
    return {**function, "function": {**function["function"], "strict": True}}


# What LiteLLM or a provider's rules may look at, between functions of the plainest.
_ODD_TOOLS: tuple[Any, ...] = (
    [tool(1)],
    [tool(2), tool(3)],
    [tool(4)],
    [tool(5, additionalProperties=False)],
    [tool(6, additionalProperties=False), tool(7)],
    [tool(8, additionalProperties=False)],
    [_strict(tool(9, additionalProperties=False))],
    [_strict(tool(10, additionalProperties=False))],
    [tool(11, properties={"a": {"type": "string", "pattern": "^a+$"}})],
    [tool(12, properties={"a": {"type": "string", "pattern": r"\p{Lu}"}})],
    [tool(13, properties={"a": {"type": "number", "minimum": 1e-07, "maximum": 1e16, "default": 0.1}})],
    [tool(14, properties={"a": {"type": "number", "minimum": 2e-07, "maximum": 2e16, "default": 0.2}})],
    [tool(15, anyOf=[{"required": ["a"]}])],
    [tool(16, **{"$schema": "http://json-schema.org/draft-07/schema#"})],
    [{**tool(17), "cache_control": {"type": "ephemeral"}}],
    [{"type": "function", "function": {"name": "bare"}}],
    [{"type": "function", "function": {"name": "naked"}}],
    [dict(reversed(tool(18).items()))],
    [],
    [tool(19)],
)
_TEMPERATURES = (
    0.2,
    0.7,
    0.5,
    1e-07,
    0.1,
    0.25,
    1,
    1.0,
    0,
    0.0,
    0.4,
    0.9,
    1.5,
    1.7,
    1.995,
    2,
    2.5,
    None,
    0.6,
    -0.0,
    -1,
)
_STOPS: tuple[Any, ...] = (
    "\n",
    "END",
    ["a"],
    ["é", "b"],
    ["c", "d"],
    ["1", "2", "3", "4", "5"],
    ["1", "2", "3", "4"],
    [],
    "",
    ["e", "f"],
)


def _given(calls: int) -> Callable[[Any], Any]:
    """A script: other headers and other arguments of the provider's own in each call."""
    values = (
        {
            "extra_headers": {"X-Request-Id": f"call {number}", "traceparent": f"00-{number}"},
            "min_p": 0.1 + number,
            "extra_body": {"guided": {"number": number, "said": ["é", None]}, "fraction": 1e-7 * (1 + number)},
        }
        for number in range(calls)
    )
    script: Callable[[Any], Any] = one_after_the_other(*values)
    return script


_ODD_HEADERS: tuple[Any, ...] = (
    {"x-a": "1"},
    {"x-a": "2"},
    {"x-a": "3"},
    {"X-A": "4"},
    {"x-a": "é"},
    {"x-a": ""},
    {"x-a": " 5"},
    {"x-a": "5", "X-A": "6"},
    {"x-a": 7},
    {"x-stainless-retry-count": "3"},
    {"user-agent": "mine"},
    {"Authorization": "Bearer other"},
    {"content-type": "text/plain"},
    {"cookie": "a=b"},
    {},
    {"x-a": "8"},
)


def _both(calls: int) -> Callable[[Any], Any]:
    """A script: another temperature and other tools in each call."""
    values = ({"temperature": 0.31 + number / 50, "tools": tools(number)} for number in range(calls))
    script: Callable[[Any], Any] = one_after_the_other(*values)
    return script


# Before 1.108, LiteLLM makes a client for each call of a router in a thread, and time limits are told apart there.
_WAYS: dict[str, Way] = dict.fromkeys(("limits", "whole-limits", "request-limits", "stream-limits"), "either")
_PLAIN = (
    Scenario("temperatures", via=ALL, script=_each("temperature", _TEMPERATURES)),
    Scenario(
        "temperatures-odd", script=_each("temperature", (0.5, 0.6, True, "0.5", 2**70, 0.7, [0.5], 0.8)), way="either"
    ),
    Scenario("top-ps", script=_each("top_p", (0.4, 0.5, 1, 1.0, 0.6, 0, 0.95))),
    Scenario(
        "penalties",
        script=one_after_the_other(
            *({"presence_penalty": n / 16 - 0.9, "frequency_penalty": 0.29 - n / 32} for n in range(9)),
        ),
    ),
    Scenario("stops", via=ALL, script=_each("stop", _STOPS)),
    Scenario("tools", via=ALL, answer="tools", script=_each("tools", map(tools, range(8)))),
    Scenario("tools-odd", via=ALL, script=_each("tools", _ODD_TOOLS), way="either"),
    Scenario(
        "tools-not-plain",
        script=_each("tools", (Made(lambda: (tool(1),)), [tool(2)], [tool(3)], [{**tool(4), 1: 2}], [tool(5)])),
        way="either",
    ),
    Scenario("temperatures-and-tools", via=ALL, script=_both(8)),
    Scenario(
        "choices",
        answer="tools",
        script=_each("tool_choice", (*map(_choice, range(4)), "auto", "required", _choice(5)), tools=tools(2)),
    ),
    Scenario("formats", via=ALL, answer=PERSON_ANSWER, script=_each("response_format", map(_format, range(6)))),
    Scenario(
        "formats-odd",
        answer=PERSON_ANSWER,
        way="either",
        script=_each(
            "response_format",
            (
                _format(0),
                _format(1),
                {"type": "json_object"},
                _format(2, additionalProperties=False),
                Made(person),
                _format(3, additionalProperties=False),
                _format(4, **{"$defs": {}}),
                {"type": "text"},
                _format(5),
            ),
        ),
    ),
    Scenario(
        "biases",
        script=_each(
            "logit_bias",
            ({"1": 2}, {"5": -100, "7": 1.5}, {"9": 3}, {"11": 4}, {"2": 0.5}, {"13": 5}, {"14": 6}, {"4": 1.5}),
        ),
    ),
    Scenario("given", via=ALL, script=_given(8)),
    Scenario(
        "limits", via=ALL, script=_each("timeout", (30.5, 29.25, 28.125, 27.5, 1e-3 + 26, 30, 28.125, None, 25.5))
    ),
    Scenario(
        "limits-of-two-kinds",
        via=ALL,
        script=one_after_the_other(
            *({"timeout": 30 - n, "request_timeout": 20.5 + n, "stream_timeout": 40 + n} for n in range(5)),
            *({"timeout": 30, "request_timeout": 20.5 + n} for n in range(4)),
            *({"request_timeout": limit} for limit in (20, 21, 22.5, 0, -1, 2**60, 23, True, "24", 25, 24.5, 26.5)),
        ),
        way="either",
    ),
    Scenario("headers-odd", via=ALL, script=_each("extra_headers", _ODD_HEADERS), way="either"),
    Scenario("headers-twice", script=_each("extra_headers", ({"x-a": str(n)} for n in range(6)), headers={"x-a": "b"})),
    Scenario("all-equal", script=one_after_the_other(*({"temperature": n / 9, "top_p": n / 9} for n in range(3, 8)))),
    Scenario("overridden", script=_each("temperature", (0.4, 0.5, 0.6, 0.7), extra_body={"temperature": 0.9})),
    Scenario("dropped", script=_each("temperature", (0.4, 0.5, 0.6, 0.7), additional_drop_params=["temperature"])),
    Scenario(
        "dropped-tools", {"drop_params": True}, script=_each("tools", map(tools, range(4)), parallel_tool_calls=True)
    ),
    Scenario("failing", via=ALL, answer="error-400", script=_both(5), way="either"),
    *(
        Scenario(
            f"{name}-{model.partition('/')[2]}",
            {"drop_params": drops},
            model=model,
            script=_each("temperature", (0.5, 0.6, 1, 0.7, 1.0, 0.8)),
            way="either",
            crossing=not drops,
        )
        for model in ("openai/o3-mini", "openai/gpt-5-mini", "openai/gpt-5.1")
        for name, drops in (("refused", False), ("left-out", True))
    ),
    Scenario("reasoning-tools", model="openai/gpt-5-mini", script=_each("tools", map(tools, range(4))), way="either"),
    *(
        Scenario(
            f"{name}-heard-{kind}",
            via=ALL,
            callbacks={"callbacks": (kind,)},
            script=script,
            way=_WAYS.get(name, "served"),
            crossing=kind == "success",
        )
        for kind in ("success", "payload")
        for name, script in (
            ("both", _both(9)),
            ("given", _given(9)),
            ("limits", _each("timeout", (30 - n / 7 for n in range(1, 10)))),
            ("whole-limits", _each("timeout", range(30, 21, -1))),
            ("request-limits", _each("request_timeout", range(30, 21, -1))),
            ("tools", _each("tools", map(tools, range(9)))),
            ("stops", _each("stop", (["a"], ["b"], ["c"], ["d"], ["e"], ["f"], ["g"]))),
            ("formats", _each("response_format", map(_format, range(7)))),
            ("choices", _each("tool_choice", map(_choice, range(7)), tools=tools(2))),
            (
                "metadata",
                one_after_the_other(
                    *({"temperature": 0.4 + n / 50, "tools": tools(n), "metadata": {"number": n}} for n in range(9))
                ),
            ),
        )
    ),
    *(
        Scenario(
            f"streamed-{name}{'-told' if kinds else ''}",
            {"stream": True},
            via=ALL,
            callbacks={"callbacks": kinds},
            script=script,
            way=_WAYS.get(name, "served"),
            crossing=bool(kinds),
        )
        for kinds in ((), ("payload",))
        for name, script in (
            ("both", _both(8)),
            ("given", _given(8)),
            ("limits", _each("timeout", (30 - n / 7 for n in range(1, 9)))),
            ("whole-limits", _each("timeout", range(30, 22, -1))),
            ("request-limits", _each("request_timeout", (30.5 - n for n in range(1, 9)))),
            ("stream-limits", _each("stream_timeout", range(30, 22, -1))),
            ("formats", _each("response_format", map(_format, range(6)))),
        )
    ),
    Scenario(
        "deployments-temperatures",
        via=("router", "arouter"),
        deployments=(deployment("plain", temperature=0.5),),
        script=_both(6),
        way="either",
    ),
)

_PROVIDERS = tuple(
    Scenario(
        f"{provider}-{name}",
        more(provider),
        via=DIRECT,
        model=f"{provider}/{model}",
        script=script,
        way="either",
    )
    for provider, model in MODELS.items()
    if provider not in ("text-completion-openai", "ollama_chat")
    for name, script in (
        ("odd-tools", _each("tools", _ODD_TOOLS)),
        ("numbers", _each("temperature", _TEMPERATURES, n=2)),
        ("choices", _each("tool_choice", map(_choice, (1, 2, 3, 4)), tools=[tool(1), tool(2)])),
        ("formats", _each("response_format", (*map(_format, range(4)), {"type": "json_object"}, _format(5)))),
    )
)

SCENARIOS = themed("varying", *_PLAIN, *(replace(scenario, via=("acompletion",)) for scenario in crossed(*_PROVIDERS)))
