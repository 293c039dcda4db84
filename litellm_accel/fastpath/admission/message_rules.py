"""Which messages a provider's own rules leave as they are: tried on LiteLLM's configuration of that provider."""

from __future__ import annotations

import copy
import functools
import importlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.known_names import MESSAGE_KINDS
from litellm_accel.fastpath.plans.recorder import Conversion
from litellm_accel.fastpath.plans.templates import Unrepeatable
from litellm_accel.stock import seams
from litellm_accel.stock.providers import spec_of

Rewrite = Callable[[list[Any]], Any]

ANYTHING = -1  # instead of a sum of kinds
_WORDS = {
    "empty": "empty texts",
    "names": "names",
    "parts": "lists of parts",
    "other parts": "lists of parts that are not a user's",
    "images": "images",
    "calls": "calls of tools",
    "results": "results of tools",
    "other": "other members",
}

_TRANSFORMS = ("_transform_messages", "transform_request", "async_transform_request")
_ROLES = ("system", "user", "assistant")
_ASKED = {"role": "user", "content": "a"}
_TEXT = {"type": "text", "text": "b"}
_CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
_CALLING = {"role": "assistant", "tool_calls": [_CALL]}
_RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "b"}
# Conversations that show whether texts are left as they are, and each kind of what messages may hold besides.
_TEXTS = [
    [{"role": one, "content": said}, {"role": other, "content": "b"}]
    for one in _ROLES
    for other in _ROLES
    for said in ("a", " a\n", "<a>")
]
_TRIALS: dict[str, list[list[Any]]] = {
    "empty": [
        *([{"role": role, "content": ""}, _ASKED, {"role": role, "content": ""}] for role in _ROLES),
        [_ASKED, {**_CALLING, "content": ""}],
        [_ASKED, _CALLING, {**_RESULT, "content": ""}],
    ],
    "names": [
        *([{"role": role, "content": "a", "name": "Ada"}, _ASKED] for role in _ROLES),
        [_ASKED, _CALLING, {**_RESULT, "name": "f"}],
    ],
    "parts": [[{"role": "user", "content": [_TEXT]}], [{"role": "user", "content": [_TEXT, _TEXT]}, _ASKED]],
    "other parts": [
        *([{"role": role, "content": [_TEXT, _TEXT]}, _ASKED] for role in ("system", "assistant")),
        [_ASKED, _CALLING, {**_RESULT, "content": [_TEXT]}],
    ],
    "images": [
        [{"role": "user", "content": [_TEXT, {"type": "image_url", "image_url": {"url": url}}]}, _ASKED]
        for url in ("https://a/b.png", "data:image/png;base64,AAAA")
    ]
    + [[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a/b", "detail": "low"}}]}]],
    "calls": [
        [_ASKED, _CALLING],
        [_ASKED, {"role": "assistant", "content": "a", "tool_calls": [_CALL, {**_CALL, "id": "call_2"}]}, _ASKED],
    ],
    "results": [
        [_ASKED, _CALLING, _RESULT],
        [_ASKED, _CALLING, _RESULT, {**_RESULT, "tool_call_id": "call_2"}, _ASKED],
    ],
    "other": [
        [{"content": "a", "role": role} for role in _ROLES],
        [_ASKED, {"role": "assistant", "content": "a", "refusal": "b"}],
        [_ASKED, {"role": "assistant", "content": "a", "annotations": []}],
    ],
}


@functools.cache
def words(kinds: int) -> str:
    """Return in words which kinds of messages are in a sum of them."""
    return ", ".join(text for name, text in _WORDS.items() if kinds & MESSAGE_KINDS[name])


class MessageRules:
    """Tries the rules of the installed LiteLLM's providers."""

    def __init__(self) -> None:
        self._litellm = importlib.import_module("litellm")
        self._json_providers = importlib.import_module("litellm.llms.openai_like.json_loader").JSONProviderRegistry

    def sdk(
        self, provider: str, model: str, api_base: str | None = None, model_info: Any = None
    ) -> tuple[int, Rewrite]:
        """Return the kinds of messages that reach a provider of the OpenAI handler as they are.

        And what rewrites others.

        ``ANYTHING`` if these are those that reach OpenAI as they are. Raises ``Unrepeatable`` if not even texts do.
        """
        litellm = self._litellm
        model = model.removeprefix(f"{provider}/")
        try:
            config = litellm.utils.ProviderConfigManager.get_provider_chat_config(
                model=model, provider=litellm.LlmProviders(provider)
            )
        except ValueError:
            config = None
        base = litellm.OpenAIGPTConfig
        used = config or litellm.OpenAIConfig()  # as the handler does

        def transform(messages: list[Any]) -> Any:
            asked = used.transform_request(
                model=model, messages=messages, optional_params={}, litellm_params=dict(known), headers={}
            )
            return asked["messages"]

        known = {"custom_llm_provider": provider, "api_base": api_base}
        about = {"model": model, "custom_llm_provider": provider, "api_base": api_base, "model_info": model_info}
        rewrite = _after_roles(config, transform, about)
        if all(getattr(type(config), name, None) is getattr(base, name) for name in _TRANSFORMS):
            return ANYTHING, rewrite
        if spec_of(provider).way != "sdk" and not self._json_providers.exists(provider):
            raise Unrepeatable(decline.PROVIDER_MESSAGES.of(provider))
        return _tried(provider, transform), rewrite

    def _is_strange(self, model: str) -> bool:
        """Return whether LiteLLM knows neither a ``model`` of this name nor a provider that it begins with."""
        litellm = self._litellm
        return model not in litellm.model_cost and model.partition("/")[0] not in litellm.provider_list

    def http(self, provider: str, conversion: Conversion, price: float | None) -> tuple[int, Rewrite]:
        """Return the kinds of messages that reach a provider as they are which LiteLLM calls without an SDK.

        And what rewrites others.

        The rest of the request must not depend on them; ``price`` is what the call cost. Raises ``Unrepeatable`` if not
        even texts reach it.
        """
        spec = spec_of(provider)
        if spec.way != "http":
            raise Unrepeatable(decline.PROVIDER_MESSAGES.of(provider))
        given = conversion.given
        if spec.calls_in_texts and given["optional_params"].get("tools"):
            raise Unrepeatable(decline.ANSWER_BY_CONTENT)
        if not self._litellm.suppress_debug_info:
            if spec.looks_for_prices and not price:
                raise Unrepeatable(decline.PRINTS_EACH_CALL)
            if seams.looks_models_up(conversion.config) and self._is_strange(given["model"]):
                raise Unrepeatable(decline.PRINTS_EACH_CALL)
        rest = {name: value for name, value in given["request_data"].items() if name != "messages"}

        def transform(messages: list[Any]) -> Any:
            asked: dict[str, Any] = conversion.config.transform_request(
                model=given["model"],
                messages=messages,
                optional_params=copy.deepcopy(given["optional_params"]),
                litellm_params=dict(given["litellm_params"]),
                headers={},
            )
            said = asked.pop("messages")
            return said if asked.items() <= rest.items() else None

        known = given["litellm_params"]
        about = {
            "model": given["model"],
            "custom_llm_provider": provider,
            "api_base": known.get("api_base"),
            "model_info": known.get("model_info"),
        }
        return _tried(provider, transform), _after_roles(conversion.config, transform, about)


def _after_roles(config: Any, transform: Rewrite, about: Mapping[str, Any]) -> Rewrite:
    """Return ``transform``, of messages whose roles ``config`` has put into the provider's words.

    ``about`` is what some releases of LiteLLM go by then.
    """
    if config is None:
        return transform
    translate = config.translate_developer_role_to_system_role
    asked = seams.taken_by(translate, about)
    return lambda messages: transform(translate(messages=messages, **asked))


def _tried(provider: str, transform: Callable[[list[Any]], Any]) -> int:
    """Return the sum of the kinds that ``transform`` leaves as they are. Raises ``Unrepeatable`` if it alters texts."""

    def leaves(conversation: list[Any]) -> bool:
        try:
            return json.dumps(transform(copy.deepcopy(conversation))) == json.dumps(conversation)
        except Exception:  # such messages are refused
            return False

    if not all(map(leaves, _TEXTS)):
        raise Unrepeatable(decline.PROVIDER_MESSAGES.of(provider))
    left = [kind for kind, trials in _TRIALS.items() if all(map(leaves, trials))]
    if not leaves([message for kind in left for trial in _TRIALS[kind] for message in trial]):
        return 0
    return sum(MESSAGE_KINDS[kind] for kind in left)
