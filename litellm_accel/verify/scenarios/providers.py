"""Every provider that speaks the OpenAI protocol, plainly, with parameters, with tools and failing."""

from __future__ import annotations

from litellm_accel.verify.scenario import DIRECT, ROUTED, Lane, Scenario, deployment, themed
from litellm_accel.verify.scenarios.parameters import WEATHER

#: Provider, model, and what the lane must do with it.
PROVIDERS: tuple[tuple[str, str, Lane], ...] = (
    ("hosted_vllm", "qwen", "either"),
    ("openai_like", "model", "either"),
    ("custom_openai", "model", "either"),
    ("deepseek", "deepseek-chat", "either"),
    ("openrouter", "openai/gpt-4o", "either"),
    ("groq", "llama-3.1-8b-instant", "either"),
    ("together_ai", "meta-llama/Llama-3-8b-chat-hf", "either"),
    ("fireworks_ai", "llama-v3-8b-instruct", "either"),
    ("mistral", "mistral-small-latest", "either"),
    ("xai", "grok-2", "either"),
    ("perplexity", "sonar", "either"),
    ("cerebras", "llama3.1-8b", "either"),
    ("nvidia_nim", "meta/llama3-8b", "either"),
    ("sambanova", "Meta-Llama-3.1-8B-Instruct", "either"),
    ("deepinfra", "meta-llama/Meta-Llama-3-8B", "either"),
    ("moonshot", "moonshot-v1-8k", "either"),
    ("dashscope", "qwen-turbo", "either"),
    ("nebius", "meta-llama/Llama-3", "either"),
    ("novita", "deepseek/deepseek-r1", "either"),
    ("lm_studio", "local", "either"),
    ("llamafile", "local", "either"),
    ("litellm_proxy", "gpt-4o", "either"),
    ("text-completion-openai", "gpt-3.5-turbo-instruct", "declined"),
    ("anyscale", "mistral-7b", "either"),
    ("github", "gpt-4o", "either"),
    ("featherless_ai", "model", "either"),
    ("hyperbolic", "model", "either"),
    ("lambda_ai", "model", "either"),
    ("baseten", "model", "either"),
    ("volcengine", "model", "either"),
    ("ai21_chat", "jamba", "either"),
    ("xinference", "model", "either"),
    ("vercel_ai_gateway", "openai/gpt-4o", "either"),
    ("aiml", "gpt-4o", "either"),
    ("azure", "gpt-4o", "either"),
    ("azure_ai", "gpt-4o", "either"),
    ("ollama_chat", "llama3", "declined"),
)
#: Played through more entry points and with more answers.
COMMON = {"hosted_vllm", "openai_like", "deepseek", "openrouter", "groq", "together_ai", "mistral", "azure"}
AZURE = {"api_version": "2024-10-21"}

SCENARIOS = themed(
    "providers",
    *(
        Scenario(
            f"{provider}",
            {"temperature": 0.5, "max_tokens": 20, **(AZURE if provider == "azure" else {})},
            model=f"{provider}/{model}",
            via=DIRECT if provider in COMMON else ("acompletion",),
            lane=lane,
        )
        for provider, model, lane in PROVIDERS
    ),
    *(
        Scenario(
            f"{provider}-{answer}",
            {
                "max_retries": 0,
                **({"tools": [WEATHER]} if answer == "tools" else {}),
                **(AZURE if provider == "azure" else {}),
            },
            model=f"{provider}/{model}",
            answer=answer,
            via=("acompletion",),
            lane="either",
        )
        for provider, model, _ in PROVIDERS
        if provider in COMMON
        for answer in ("error-429", "tools", "reasoning", "vendor-fields")
    ),
    *(
        Scenario(
            f"{provider}-routed",
            via=ROUTED,
            lane="either",
            deployments=(deployment("plain", model=f"{provider}/{model}"),),
        )
        for provider, model, _ in PROVIDERS
        if provider in COMMON - {"azure"}
    ),
    Scenario(
        "azure-routed", via=ROUTED, lane="either", deployments=(deployment("plain", model="azure/gpt-4o", **AZURE),)
    ),
    Scenario("azure-token", {**AZURE, "api_key": None, "azure_ad_token": "token"}, model="azure/gpt-4o", lane="either"),
    Scenario("azure-no-version", model="azure/gpt-4o", lane="either"),
    Scenario(
        "azure-content-policy",
        {**AZURE, "max_retries": 0},
        model="azure/gpt-4o",
        answer="content-policy",
        lane="either",
    ),
    Scenario("openai-responses-bridge", model="openai/responses/gpt-4o", lane="declined"),
    Scenario("openai-nested-name", model="openai/org/model-7b", via=DIRECT),
    Scenario("openai-fine-tuned", model="openai/ft:gpt-4o-2024-08-06:org::id", via=DIRECT),
    Scenario("json-provider", model="nano-gpt/gpt-4o", lane="either"),
    Scenario("unknown-provider", model="no-such-provider/model", lane="either"),
)
