"""Values of one kind are treated alike by LiteLLM's own functions for every provider that is served."""

from __future__ import annotations

import copy
import itertools
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import litellm
import pytest
from litellm.types.utils import LlmProviders
from litellm.utils import ProviderConfigManager, get_optional_params

from litellm_accel.fastpath.admission.schema_rules import SchemaRules, tried_in
from litellm_accel.fastpath.known_names import NUMBER_LIMITS, REMOVED_MEMBERS, SCHEMA_WORDS, VARIABLE_NUMBERS
from litellm_accel.hot import variables
from litellm_accel.stock import providers

_OWN_MODELS = {
    "openai": ("gpt-4o", "o3-mini", "gpt-5-mini", "gpt-5.4", "someones-own"),
    "azure": ("gpt-4o", "o3-mini", "gpt-5-mini", "gpt-3.5-turbo"),
    "deepinfra": ("mistralai/Mistral-7B-Instruct-v0.1", "meta-llama/Llama-2-70b-chat-hf"),
    "fireworks_ai": ("accounts/fireworks/models/llama-v3p1-8b-instruct",),
    "groq": ("llama-3.3-70b-versatile", "openai/gpt-oss-120b"),
    "moonshot": ("moonshot-v1-8k", "kimi-thinking-preview"),
    "together_ai": ("meta-llama/Llama-3.3-70B-Instruct-Turbo",),
    "xai": ("grok-3-mini", "grok-4"),
}
NAMES = ["openai", *(spec.name for spec in providers.PROVIDERS if spec.way is not None)]
QUICK = ("deepinfra", "moonshot", "xai")
MESSAGES = [{"role": "user", "content": "Hello"}]


def _numbers(dice: random.Random) -> Iterator[Any]:
    between = [(one + two) / 2 for one, two in itertools.pairwise(NUMBER_LIMITS)]
    near = [limit + step for limit in NUMBER_LIMITS for step in (-1e-6, 1e-6)]
    yield from (-5, -5.5, *NUMBER_LIMITS, *between, *near, -2, -1, 0, 1, 2, 7, 7.5, 1e300)
    yield from (dice.uniform(-2, 2) for _ in range(8))


def _schema(dice: random.Random, depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {"type": dice.choice(["string", "integer", "array", ["string", "null"]])}
    words = sorted(SCHEMA_WORDS - {"type", "properties", "items", "anyOf", "additionalProperties"})
    for word in dice.sample(words, 4):
        made[word] = dice.choice(
            ["", "a", "^a$", "date", *sorted(SCHEMA_WORDS), *sorted(REMOVED_MEMBERS), ["a", "strict"]]
        )
    if depth < 3:
        made["properties"] = {name: _schema(dice, depth + 1) for name in dice.sample(_PROPERTIES, 2)}
        if dice.random() < 0.5:
            made["items"] = _schema(dice, depth + 1)
        if dice.random() < 0.3:
            made["anyOf"] = [_schema(dice, depth + 1), {}]
    return made


_PROPERTIES = [
    "a",
    "pattern",
    "type",
    "properties",
    "items",
    "$ref",
    "$defs",
    "anyOf",
    "oneOf",
    "enum",
    "const",
    "name",
]


def _described(dice: random.Random, schema: str) -> dict[str, Any]:
    parameters = {**_schema(dice, 0), "type": "object"}
    parameters = {word: value for word, value in parameters.items() if word in ("type", "properties", "title")}
    if dice.random() < 0.5:
        parameters["additionalProperties"] = False
    return {"name": dice.choice(["a", "strict", "b" * 80]), "description": "d", schema: parameters}


def _tools(dice: random.Random) -> Iterator[Any]:
    for _ in range(10):
        yield [{"type": "function", "function": _described(dice, "parameters")} for _ in range(dice.randint(1, 3))]


def _formats(dice: random.Random) -> Iterator[Any]:
    for _ in range(6):
        yield {"type": "json_schema", "json_schema": _described(dice, "schema")}


def _stops(dice: random.Random) -> Iterator[Any]:
    yield from ("a", "\n", "stop", ["a"], ["stop"], ["a", "b"], ["\n", " "], ["a", "b", "c", "d"], ["b", "b", "b", "b"])


def _choices(dice: random.Random) -> Iterator[Any]:
    for name in ("a", "b", "auto", "required"):
        yield {"type": "function", "function": {"name": name}}


def _biases(dice: random.Random) -> Iterator[Any]:
    yield from ({"1": 2}, {"1": -100, "50256": 100}, {"7": 0})


VALUES: dict[str, Callable[[random.Random], Iterator[Any]]] = {
    **dict.fromkeys(VARIABLE_NUMBERS, _numbers),
    "tools": _tools,
    "response_format": _formats,
    "stop": _stops,
    "tool_choice": _choices,
    "logit_bias": _biases,
}


def _treatment(provider: str, model: str, name: str, value: Any, others: dict[str, Any]) -> Any:
    """What LiteLLM makes of a value: it goes as it is, not at all, as another one, or LiteLLM refuses it."""
    given = copy.deepcopy(value)
    try:
        passed = get_optional_params(model=model, custom_llm_provider=provider, **{name: given}, **others)
        config = ProviderConfigManager.get_provider_chat_config(model, LlmProviders(provider))
        assert config is not None
        params = {"custom_llm_provider": provider, "api_base": None}
        body = config.transform_request(model, copy.deepcopy(MESSAGES), copy.deepcopy(passed), params, {})
    except Exception as error:
        return type(error)
    treated: list[Any] = [given == value]
    for held in (passed, body):
        rest = {key: held[key] for key in held if key != name}
        treated.append(json.dumps(rest, sort_keys=True, default=str).replace(json.dumps(value), "the value"))
        treated.append("as it is" if held.get(name) == value else json.dumps(held.get(name), default=str))
    return tuple(treated)


@pytest.mark.parametrize(
    "provider", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in NAMES]
)
def test_one_kind_is_treated_alike(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm, "suppress_debug_info", True)
    dice = random.Random(17)
    for model in _OWN_MODELS.get(provider, ("a-model",)):
        for name, values in VALUES.items():
            others = (
                {"n": 2} if name == "temperature" else {"tools": next(_tools(dice))} if name == "tool_choice" else {}
            )
            found: dict[Any, set[Any]] = {}
            for value in values(dice):
                sent = variables.sent_value(name, value)
                assert sent is not None, (name, value)
                found.setdefault(sent[1], set()).add(_treatment(provider, model, name, value, others))
            for kind, treatments in found.items():
                rewritten = [treatment for treatment in treatments if type(treatment) is tuple]
                assert len(treatments) == 1 or _always_rewritten(rewritten, treatments), (model, name, kind, treatments)


def _always_rewritten(rewritten: list[Any], treatments: set[Any]) -> bool:
    """Whether no value of a kind goes as it is, so that two calls show that none does."""
    return len(rewritten) == len(treatments) and not any("as it is" in treatment for treatment in rewritten)


_PATTERNS = (r"^a$", r"(?=b)\d+", r"[a-z]{2,4}", "strict", "")


def _tried(dice: random.Random, depth: int) -> dict[str, Any]:
    """A schema with words that a trial must have shown to be sent as they are."""

    def parts(count: int) -> list[Any]:
        return [_tried(dice, depth + 1) for _ in range(count)] if depth < 3 else [{"$ref": "#/$defs/a"}]

    made: dict[str, Any] = {}
    for word in dice.sample(sorted(_TRIED), 3):
        made[word] = _TRIED[word](dice, parts)
    return made


_Parts = Callable[[int], list[Any]]
_TRIED: dict[str, Callable[[random.Random, _Parts], Any]] = {
    "$comment": lambda dice, parts: "additionalProperties",
    "$defs": lambda dice, parts: dict(zip(dice.sample(_PROPERTIES, 2), parts(2), strict=False)),
    "$ref": lambda dice, parts: dice.choice(["#/$defs/a", "#/definitions/a", "https://a/b", "pattern"]),
    "additionalProperties": lambda dice, parts: parts(1)[0],
    "allOf": lambda dice, parts: parts(2),
    "anyOf": lambda dice, parts: parts(2),
    "const": lambda dice, parts: dice.choice(["a", 1, None, ["strict"], {"pattern": "("}]),
    "contains": lambda dice, parts: parts(1)[0],
    "default": lambda dice, parts: dice.choice([{"type": "strict"}, [{}], [[1]], None]),
    "discriminator": lambda dice, parts: {"propertyName": "a", "mapping": {"a": "#/$defs/a"}},
    "format": lambda dice, parts: dice.choice(["uuid", "date-time", "regex", "made-up"]),
    "items": lambda dice, parts: parts(1)[0],
    "maxProperties": lambda dice, parts: 3,
    "not": lambda dice, parts: parts(1)[0],
    "oneOf": lambda dice, parts: parts(2),
    "pattern": lambda dice, parts: dice.choice(_PATTERNS),
    "prefixItems": lambda dice, parts: parts(2),
    "properties": lambda dice, parts: dict(zip(dice.sample(_PROPERTIES, 2), parts(2), strict=False)),
    "propertyNames": lambda dice, parts: {"pattern": dice.choice(_PATTERNS)},
    "readOnly": lambda dice, parts: True,
    "type": lambda dice, parts: dice.choice(["string", "integer", ["array", "null"]]),
}


def _in_argument(dice: random.Random, name: str) -> Any:
    schema: dict[str, Any] = {"type": "object", "properties": {"a": _tried(dice, 0), "b": {"const": "a"}}}
    if dice.random() < 0.7:
        schema["$defs"] = {"a": _tried(dice, 1), "b": _schema(dice, 2)}
    if dice.random() < 0.3:
        schema["definitions"] = {"a": _tried(dice, 1)}
    if name == "tools":
        return [{"type": "function", "function": {"name": "a", "parameters": schema}}]
    return {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}


@pytest.mark.parametrize(
    "provider",
    [pytest.param(name, marks=() if name in (*QUICK, "openai", "azure") else pytest.mark.slow) for name in NAMES],
)
def test_schemas_are_sent_as_a_trial_says(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the trial says that all go as they are, all do, and so no two are treated otherwise."""
    monkeypatch.setattr(litellm, "suppress_debug_info", True)
    dice = random.Random(23)
    rules = SchemaRules()
    left = 0
    for model in _OWN_MODELS.get(provider, ("a-model",)):
        for name in ("tools", "response_format"):
            for _ in range(40):
                value = _in_argument(dice, name)
                assert name in tried_in({name: value})
                config = ProviderConfigManager.get_provider_chat_config(model, LlmProviders(provider))
                if config is None:
                    pytest.skip("has no rules of its own")
                known = {"custom_llm_provider": provider, "api_base": None}
                if not rules.rewritten({name: value}, provider, model, known, config):
                    is_kept, _, passed, _, sent = _treatment(provider, model, name, value, {})
                    assert (is_kept, passed, sent) == (True, "as it is", "as it is"), value
                    left += 1
    assert left or provider not in QUICK
