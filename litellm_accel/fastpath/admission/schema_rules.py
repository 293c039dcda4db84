"""Which words of schemas a call's provider gets as they are: tried on LiteLLM's own way to its request.

What no rule looks at goes as it is whatever it says. Of the other words two calls would not show that: a rule may look
for a word that neither has. So schemas with all of these words go the way of a recorded call once more.
"""

from __future__ import annotations

import copy
import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from litellm_accel.fastpath.known_names import DEFINITIONS, TRIED
from litellm_accel.hot import variables
from litellm_accel.quiet import quiet

# The arguments that hold schemas.
_HELD: tuple[str, ...] = ("response_format", "tools")
_MARKS = frozenset((DEFINITIONS, TRIED))
# What some rules for these look at, too.
_BESIDE = frozenset((*_HELD, "tool_choice"))
_DEFINED = ("$defs", "definitions")
_MESSAGES = [{"role": "user", "content": "a"}]
_PART: dict[str, Any] = {"type": "object", "properties": {"$ref": {"type": "string"}}, "required": ["$ref"]}
_WORDS: tuple[dict[str, Any], ...] = (
    {"$comment": "a"},
    {"$ref": "#/$defs/A"},
    {"allOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}]},
    {"anyOf": [{"$ref": "#/$defs/A"}, {"type": "null"}], "default": None},
    {"oneOf": [_PART, {"$ref": "#/$defs/B"}], "discriminator": {"propertyName": "a", "mapping": {"a": "#/$defs/A"}}},
    {"const": "a", "type": "string"},
    {"const": {"a": [1, None]}},
    {"contains": {"type": "integer"}, "type": "array"},
    {"contentEncoding": "base64", "contentMediaType": "image/png", "type": "string"},
    {"deprecated": True, "readOnly": True, "writeOnly": False, "type": "integer"},
    {"maxProperties": 3, "minProperties": 1, "propertyNames": {"pattern": "^a"}, "type": "object"},
    {"additionalProperties": {"$ref": "#/$defs/A"}, "type": "object"},
    {"not": {"const": 1}},
    {"pattern": r"^(?=a)(?!b)\d{2,3}[^\s]*$", "type": "string", "format": "uuid"},
    {"prefixItems": [{"type": "string"}, {"$ref": "#/$defs/B"}], "maxItems": 2, "type": "array"},
    {"default": {"pattern": "a", "$ref": "b"}, "examples": [{"const": 1}, [1]], "enum": [["a"], "b"]},
)


def _schemas(word: str) -> Iterator[dict[str, Any]]:
    """Give schemas with all words that are tried and definitions under ``word``: each alone, and all together."""
    defined = {"A": _PART, "B": {"type": "string", "enum": ["a"]}}
    properties = {f"field_{number}": held for number, held in enumerate(_WORDS)}
    for name, held in properties.items():
        yield {"type": "object", "properties": {name: held}}
        yield {"type": "object", "properties": {name: {"items": held, "type": "array"}}, word: {"A": held}}
    yield {"$comment": "a", word: {**defined, **properties}, "type": "object", "properties": properties}
    yield {"type": "object", "properties": properties, "required": ["field_1"], "examples": [{}], word: defined}


def tried_in(arguments: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    """Return of a call's ``arguments`` those with schemas that are to be tried, and under which words definitions."""
    found: dict[str, Sequence[str]] = {}
    for name in _HELD:
        sent = variables.sent_value(name, arguments[name]) if arguments.get(name) is not None else None
        if sent is not None and not _MARKS.isdisjoint(sent[1]):
            found[name] = _DEFINED if DEFINITIONS in sent[1] else _DEFINED[:1]
    return found


class SchemaRules:
    """Tries the rules of the installed LiteLLM's providers."""

    def __init__(self) -> None:
        self._litellm = importlib.import_module("litellm")
        self._asked = importlib.import_module("litellm.utils").get_optional_params

    def rewritten(
        self, arguments: Mapping[str, Any], provider: str, model: str, known: Mapping[str, Any], config: Any = None
    ) -> frozenset[str]:
        """Return the names of those ``arguments`` of a call whose schemas are ``tried_in`` it and may be rewritten.

        LiteLLM has found ``known`` of the call, and its ``config`` of the provider if it uses no SDK.
        """
        used = config or self._config(provider, model)
        given = copy.deepcopy({name: held for name, held in arguments.items() if name in _BESIDE and held is not None})

        def sent(name: str, value: Any) -> Any:
            asked = copy.deepcopy({**given, name: value})
            passed = self._asked(model=model, custom_llm_provider=provider, **asked)
            body = used.transform_request(
                model=model, messages=[*_MESSAGES], optional_params=passed, litellm_params=dict(known), headers={}
            )
            return body[name]

        with quiet():
            tried = tried_in(arguments).items()
            return frozenset(name for name, words in tried if not _is_left(sent, name, words))

    def _config(self, provider: str, model: str) -> Any:
        """Return LiteLLM's configuration of a provider of the OpenAI handler, as that finds it."""
        litellm = self._litellm
        try:
            config = litellm.utils.ProviderConfigManager.get_provider_chat_config(
                model=model, provider=litellm.LlmProviders(provider)
            )
        except ValueError:
            config = None
        return config or litellm.OpenAIConfig()


def _is_left(sent: Callable[[str, Any], Any], name: str, words: Sequence[str]) -> bool:
    """Return whether all schemas that are tried are ``sent`` as they are, in an argument of this ``name``."""
    schemas = [schema for word in words for schema in _schemas(word)]
    try:
        return all(json.dumps(sent(name, trial)) == json.dumps(trial) for trial in _trials(name, schemas))
    except Exception:  # LiteLLM refuses them
        return False


def _trials(name: str, schemas: Sequence[dict[str, Any]]) -> list[Any]:
    """Return values of an argument of this ``name`` that hold ``schemas``."""
    if name == "response_format":
        return [{"type": "json_schema", "json_schema": {"name": "a", "schema": schema}} for schema in schemas]
    tools = [{"type": "function", "function": {"name": "a", "parameters": schema}} for schema in schemas]
    return [tools, tools[-1:]]
