"""What is known of each provider of LiteLLM's: one ``ProviderSpec`` a provider, and the lists that are made of them.

A provider without an entry may be served as well, where it speaks OpenAI's protocol by LiteLLM's plain rules.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple


class ProviderSpec(NamedTuple):
    """One provider, by LiteLLM's ``name`` of it.

    ``config`` is LiteLLM's class for it (``module:Class``), ``bypassed`` what else of it the fast path goes around:
    modules, and classes in them.
    """

    name: str
    #: How LiteLLM reaches it, where its rules look at one message at a time and its answers are converted by their
    #: shape. Each was read.
    way: Literal["sdk", "http"] | None = None
    config: str | None = None
    bypassed: tuple[str, ...] = ()
    #: Whether ``config`` makes responses of its answers by a method of its own.
    converts: bool = False
    #: Whether its prices come from the price list alone. What LiteLLM asks others for, it asks over the network.
    is_priced_by_list: bool = False
    #: The function that ends LiteLLM's decision how to price it, if it has one of its own.
    last_step: str | None = None
    #: Whether its models' information and parameters come from tables alone; others may ask a server, or log.
    is_mapped: bool = False
    #: Whether LiteLLM looks if the tokens of its answers add up.
    sums_tokens: bool = False
    #: Whether texts of its answers may turn out to be calls of the request's tools.
    calls_in_texts: bool = False
    #: Whether LiteLLM looks elsewhere for models of it without a price, and says so on standard output.
    looks_for_prices: bool = False
    #: Members of its answers that the conversion looks into.
    judged: tuple[str, ...] = ()


PROVIDERS: Final = (
    ProviderSpec("ai21", is_priced_by_list=True),
    ProviderSpec("aiml", "sdk"),
    ProviderSpec("anthropic", is_priced_by_list=True, last_step="anthropic_cost_per_token", is_mapped=True),
    ProviderSpec(
        "azure",
        "sdk",
        config="litellm.llms.azure.chat.gpt_transformation:AzureOpenAIConfig",
        bypassed=(
            "litellm.llms.azure.azure",
            "litellm.llms.azure.azure:AzureChatCompletion",
            "litellm.llms.azure.common_utils",
            "litellm.llms.azure.common_utils:BaseAzureLLM",
            "openai.lib.azure",
            "openai.lib.azure:AsyncAzureOpenAI",
            "openai.lib.azure:AzureOpenAI",
            "openai.lib.azure:BaseAzureClient",
        ),
        is_priced_by_list=True,
        last_step="azure_openai_cost_per_token",
    ),
    ProviderSpec(
        "azure_ai",
        "http",
        config="litellm.llms.azure_ai.chat.transformation:AzureAIStudioConfig",
        bypassed=("litellm.llms.azure_ai.common_utils:AzureFoundryModelInfo",),
        converts=True,
    ),
    ProviderSpec("bedrock", is_priced_by_list=True, last_step="bedrock_cost_per_token", is_mapped=True),
    ProviderSpec("bedrock_converse", is_priced_by_list=True),
    ProviderSpec("cerebras", is_priced_by_list=True),
    ProviderSpec("cloudflare", "http", config="litellm.llms.cloudflare.chat.transformation:CloudflareChatConfig"),
    ProviderSpec("codestral", "sdk"),
    ProviderSpec("cohere", is_priced_by_list=True, is_mapped=True),
    ProviderSpec("cohere_chat", is_priced_by_list=True),
    ProviderSpec("cometapi", "http", config="litellm.llms.cometapi.chat.transformation:CometAPIConfig"),
    ProviderSpec(
        "compactifai",
        "http",
        config="litellm.llms.compactifai.chat.transformation:CompactifAIChatConfig",
        converts=True,
    ),
    ProviderSpec("custom_openai", is_priced_by_list=True),
    ProviderSpec("dashscope", "sdk"),
    ProviderSpec("deepinfra", "sdk", is_priced_by_list=True),
    ProviderSpec(
        "deepseek",
        "http",
        config="litellm.llms.deepseek.chat.transformation:DeepSeekChatConfig",
        is_priced_by_list=True,
        last_step="deepseek_cost_per_token",
        is_mapped=True,
    ),
    ProviderSpec("docker_model_runner", "sdk"),
    ProviderSpec(
        "fireworks_ai",
        "http",
        config="litellm.llms.fireworks_ai.chat.transformation:FireworksAIConfig",
        converts=True,
        is_mapped=True,
        calls_in_texts=True,
        looks_for_prices=True,
    ),
    ProviderSpec("gemini", is_priced_by_list=True, last_step="gemini_cost_per_token", is_mapped=True),
    ProviderSpec(
        "groq",
        "http",
        config="litellm.llms.groq.chat.transformation:GroqChatConfig",
        converts=True,
        is_priced_by_list=True,
        is_mapped=True,
        judged=("executed_tools",),
    ),
    ProviderSpec("heroku", "http", config="litellm.llms.heroku.chat.transformation:HerokuChatConfig"),
    ProviderSpec(
        "hosted_vllm",
        "http",
        config="litellm.llms.hosted_vllm.chat.transformation:HostedVLLMChatConfig",
        is_priced_by_list=True,
    ),
    ProviderSpec("hyperbolic", is_priced_by_list=True),
    ProviderSpec(
        "litellm_proxy",
        "sdk",
        config="litellm.llms.litellm_proxy.chat.transformation:LiteLLMProxyChatConfig",
        is_priced_by_list=True,
    ),
    ProviderSpec("minimax", "http", config="litellm.llms.minimax.chat.transformation:MinimaxChatConfig"),
    ProviderSpec(
        "mistral",
        "http",
        config="litellm.llms.mistral.chat.transformation:MistralConfig",
        converts=True,
        is_priced_by_list=True,
        is_mapped=True,
    ),
    ProviderSpec("modelscope", "sdk"),
    ProviderSpec("moonshot", "sdk", is_priced_by_list=True),
    ProviderSpec("nebius", is_priced_by_list=True),
    ProviderSpec("novita", is_priced_by_list=True),
    ProviderSpec("nscale", is_priced_by_list=True),
    ProviderSpec("nvidia_nim", is_priced_by_list=True),
    ProviderSpec("openai", is_priced_by_list=True, last_step="openai_cost_per_token", is_mapped=True),
    ProviderSpec("openai_like", is_priced_by_list=True),
    ProviderSpec(
        "openrouter",
        "http",
        config="litellm.llms.openrouter.chat.transformation:OpenrouterConfig",
        converts=True,
        is_priced_by_list=True,
        is_mapped=True,
    ),
    ProviderSpec("ovhcloud", "http", config="litellm.llms.ovhcloud.chat.transformation:OVHCloudChatConfig"),
    ProviderSpec("perplexity", is_mapped=True),
    ProviderSpec("sambanova", "sdk", is_priced_by_list=True),
    ProviderSpec("text-completion-openai", is_priced_by_list=True),
    ProviderSpec(
        "together_ai",
        "http",
        config="litellm.llms.together_ai.chat.transformation:TogetherAIChatConfig",
        is_priced_by_list=True,
        is_mapped=True,
    ),
    ProviderSpec("vercel_ai_gateway", "sdk"),
    ProviderSpec("vertex_ai", is_priced_by_list=True, is_mapped=True),
    ProviderSpec("watsonx", is_priced_by_list=True),
    ProviderSpec(
        "xai",
        "http",
        config="litellm.llms.xai.chat.transformation:XAIChatConfig",
        converts=True,
        is_mapped=True,
        sums_tokens=True,
        judged=("server_side_tool_usage_details", "cost_in_usd_ticks"),
    ),
    ProviderSpec("xinference", "sdk"),
)

#: By name; one without an entry has a spec of nothing but its name.
_BY_NAME: Final = {spec.name: spec for spec in PROVIDERS}
MAPPED: Final = frozenset(spec.name for spec in PROVIDERS if spec.is_mapped)
PRICED_BY_LIST: Final = frozenset(spec.name for spec in PROVIDERS if spec.is_priced_by_list)
LAST_STEPS: Final = {spec.last_step: spec.name for spec in PROVIDERS if spec.last_step is not None}
JUDGED: Final = frozenset(member for spec in PROVIDERS for member in spec.judged)
#: Methods that turn answers into responses, where LiteLLM uses no SDK, by provider.
CONVERSIONS: Final = {spec.name: f"{spec.config}.transform_response" for spec in PROVIDERS if spec.converts}

#: The same for embeddings. What else such calls run through is seen when they are watched.
EMBEDDING_CONVERSIONS: Final = {
    "hosted_vllm": "litellm.llms.hosted_vllm.embedding.transformation:"
    "HostedVLLMEmbeddingConfig.transform_embedding_response",
}

_BYPASSED: Final = tuple(target for spec in PROVIDERS for target in (spec.config, *spec.bypassed) if target is not None)
CLASSES: Final = tuple(target for target in _BYPASSED if ":" in target)
MODULES: Final = tuple(
    dict.fromkeys(
        [
            *(spec.config.partition(":")[0] for spec in PROVIDERS if spec.config is not None),
            *(target for target in _BYPASSED if ":" not in target),
        ]
    )
)


def spec_of(name: str) -> ProviderSpec:
    """Return what is known of the provider of this ``name``."""
    return _BY_NAME.get(name) or ProviderSpec(name)
