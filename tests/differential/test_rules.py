"""Which messages a provider's own rules leave as they are, asked of the installed LiteLLM."""

from __future__ import annotations

import copy
from typing import Any

import litellm
import pytest

from litellm_accel.fastpath.admission.message_rules import ANYTHING, MessageRules
from litellm_accel.fastpath.known_names import MESSAGE_KINDS
from litellm_accel.fastpath.plans.recorder import Conversion
from litellm_accel.fastpath.plans.templates import Unrepeatable

HELLO = {"role": "user", "content": "a"}


def kinds(found: int) -> set[str]:
    return {kind for kind, bit in MESSAGE_KINDS.items() if found & bit}


def conversion(provider: str, model: str, **params: Any) -> Conversion:
    """A watched call of ``provider`` with these parameters."""
    config = litellm.utils.ProviderConfigManager.get_provider_chat_config(
        model=model, provider=litellm.LlmProviders(provider)
    )
    given = {"model": model, "optional_params": params, "litellm_params": {}, "headers": {}}
    asked = config.transform_request(messages=[{"role": "user", "content": "a"}], **copy.deepcopy(given))
    return Conversion(config, {**given, "request_data": asked, "model_response": litellm.ModelResponse()})


def test_providers_that_share_openai_rules_take_anything() -> None:
    assert MessageRules().sdk("openai", "gpt-4o")[0] == ANYTHING
    assert MessageRules().sdk("perplexity", "perplexity/sonar")[0] == ANYTHING


def test_other_messages_are_rewritten_by_the_providers_configuration() -> None:
    developer, cached = {"role": "developer", "content": "a"}, {**HELLO, "cache_control": {"type": "ephemeral"}}

    def rewritten(model: str, address: str, message: dict[str, Any]) -> Any:
        return MessageRules().sdk("openai", model, address)[1]([dict(message)])

    assert rewritten("gpt-4o", "https://other", developer) == [{"role": "system", "content": "a"}]
    assert rewritten("gpt-4o", "https://other", cached) == [cached]
    assert rewritten("gpt-4o", "https://api.openai.com/v1", cached) == [HELLO]


def test_kinds_that_rules_alter_are_left_out() -> None:
    assert kinds(MessageRules().http("hosted_vllm", conversion("hosted_vllm", "m"), None)[0]) == set(MESSAGE_KINDS) - {
        "other parts"
    }
    mistral = kinds(MessageRules().http("mistral", conversion("mistral", "mistral-small-latest"), 1.0)[0])
    assert not mistral & {"names", "parts", "empty"}
    assert not kinds(MessageRules().http("xai", conversion("xai", "grok-3"), 1.0)[0]) & {"names"}


def test_a_prompt_that_is_added_is_noticed() -> None:
    asked = conversion("mistral", "magistral-medium-2506", _add_reasoning_prompt=True)
    with pytest.raises(Unrepeatable, match="changes messages"):
        MessageRules().http("mistral", asked, 1.0)


def test_providers_that_nobody_has_read_are_not_tried() -> None:
    with pytest.raises(Unrepeatable, match="changes messages"):
        MessageRules().http("snowflake", conversion("hosted_vllm", "m"), None)


def test_a_rest_that_depends_on_the_messages_is_noticed() -> None:
    watched = conversion("deepseek", "deepseek-chat", temperature=0.5)
    watched.given["request_data"]["temperature"] = 0.7
    with pytest.raises(Unrepeatable, match="changes messages"):
        MessageRules().http("deepseek", watched, 1.0)


def test_fireworks_looks_into_texts_where_there_are_tools() -> None:
    with pytest.raises(Unrepeatable, match="the answer's content"):
        MessageRules().http(
            "fireworks_ai",
            conversion("fireworks_ai", "m", tools=[{"type": "function", "function": {"name": "f"}}]),
            1.0,
        )
