"""Every provider that speaks the OpenAI protocol, plainly, with parameters, with tools and failing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from litellm_accel.verify.scenario import (
    DIRECT,
    ROUTED,
    Scenario,
    Way,
    after_plain,
    crossed,
    deployment,
    themed,
    with_fields,
)
from litellm_accel.verify.scenarios import errors, parameters, responses
from litellm_accel.verify.scenarios.parameters import PERSON_SCHEMA, WEATHER

#: Provider, model, and what the fast path must do with it.
PROVIDERS: tuple[tuple[str, str, Way], ...] = (
    ("hosted_vllm", "qwen", "served"),
    ("openai_like", "model", "either"),
    ("custom_openai", "model", "served"),
    ("deepseek", "deepseek-chat", "served"),
    ("openrouter", "openai/gpt-4o", "served"),
    ("groq", "llama-3.1-8b-instant", "served"),
    ("together_ai", "meta-llama/Llama-3-8b-chat-hf", "served"),
    ("fireworks_ai", "llama-v3p1-8b-instruct", "served"),
    ("mistral", "mistral-small-latest", "served"),
    ("xai", "grok-2", "served"),
    ("perplexity", "sonar", "served"),
    ("cerebras", "llama3.1-8b", "served"),
    ("nvidia_nim", "meta/llama3-8b", "served"),
    ("sambanova", "Meta-Llama-3.1-8B-Instruct", "served"),
    ("deepinfra", "meta-llama/Meta-Llama-3-8B", "served"),
    ("moonshot", "moonshot-v1-8k", "served"),
    ("dashscope", "qwen-turbo", "served"),
    ("nebius", "meta-llama/Llama-3", "served"),
    ("novita", "deepseek/deepseek-r1", "served"),
    ("lm_studio", "local", "served"),
    ("llamafile", "local", "served"),
    ("litellm_proxy", "gpt-4o", "served"),
    ("text-completion-openai", "gpt-3.5-turbo-instruct", "declined"),
    ("anyscale", "mistral-7b", "either"),
    ("github", "gpt-4o", "served"),
    ("featherless_ai", "model", "served"),
    ("hyperbolic", "model", "served"),
    ("lambda_ai", "model", "served"),
    ("baseten", "model", "served"),
    ("volcengine", "model", "served"),
    ("ai21_chat", "jamba", "served"),
    ("xinference", "model", "served"),
    ("vercel_ai_gateway", "openai/gpt-4o", "served"),
    ("aiml", "gpt-4o", "served"),
    ("cloudflare", "@cf/meta/llama-3", "served"),
    ("cometapi", "gpt-4o", "served"),
    ("compactifai", "llama-3", "served"),
    ("heroku", "claude-4-sonnet", "served"),
    ("minimax", "MiniMax-M2", "served"),
    ("ovhcloud", "Meta-Llama-3_3-70B-Instruct", "served"),
    ("codestral", "codestral-latest", "served"),
    ("docker_model_runner", "llama3", "served"),
    ("modelscope", "Qwen/Qwen3-32B", "served"),
    ("nano-gpt", "gpt-4o", "served"),
    ("poe", "gpt-4o", "served"),
    ("azure", "gpt-4o", "served"),
    ("azure_ai", "gpt-4o", "served"),
    ("ollama_chat", "llama3", "declined"),
)
MODELS = {provider: model for provider, model, _ in PROVIDERS}
#: Those that LiteLLM calls without the OpenAI SDK, and azure: played through more entry points and with more answers.
COMMON = {
    "hosted_vllm",
    "openai_like",
    "deepseek",
    "openrouter",
    "groq",
    "together_ai",
    "mistral",
    "xai",
    "fireworks_ai",
    "azure_ai",
    "cloudflare",
    "cometapi",
    "compactifai",
    "heroku",
    "minimax",
    "ovhcloud",
    "azure",
}
#: Those of them that differ from hosted_vllm in little but their addresses.
LIKE_VLLM = {"cloudflare", "cometapi", "compactifai", "heroku", "minimax", "ovhcloud"}
AZURE: dict[str, Any] = {"api_version": "2024-10-21"}


def more(provider: str) -> dict[str, Any]:
    """The arguments a provider needs besides the others'."""
    return AZURE if provider == "azure" else {}


def _details(reasoning: Any) -> dict[str, Any]:
    return {"completion_tokens_details": {"reasoning_tokens": reasoning}}


#: What a provider answers if that must be more than OpenAI's members.
ANSWERS = {"groq": with_fields("plain", merge={"service_tier": "on_demand"})}

LATER = (
    *((name, name) for name in ("error-400", "error-500", "error-html", "drop-request", "not-json")),
    *(
        (name, name)
        for name in ("tools", "parallel-tools", "null-content", "empty", "reasoning", "details", "no-usage")
    ),
    *((name, name) for name in ("missing-id", "missing-model", "gzip", "logprobs")),
    ("usage-not-a-sum", with_fields("plain", usage={"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 9})),
    ("usage-too-small", with_fields("plain", usage={"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 3})),
    ("cost", with_fields("plain", usage={"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7, "cost": 0.5})),
)
EACH_ITS_OWN = ("users", "users-odd", "seeds-and-users", "max-tokens-each")
_TOKENS = {"prompt_tokens": 9, "completion_tokens": 4}
XAI_USAGES: tuple[tuple[str, Any, Way], ...] = (
    ("reasoning-apart", {**_TOKENS, "total_tokens": 20, **_details(7)}, "served"),
    ("reasoning-half", {**_TOKENS, "total_tokens": 15, **_details(7)}, "declined"),
    ("reasoning-text", {**_TOKENS, "total_tokens": 20, **_details("7")}, "declined"),
    ("reasoning-within", {**_TOKENS, "total_tokens": 13, **_details(2)}, "served"),
    ("reasoning-lost", {**_TOKENS, "total_tokens": 13, **_details(7)}, "served"),
    ("total-too-small", {**_TOKENS, "total_tokens": 5}, "declined"),
    ("total-zero", {**_TOKENS, "total_tokens": 0}, "declined"),
    ("ticks", {**_TOKENS, "total_tokens": 13, "cost_in_usd_ticks": 12345}, "declined"),
    (
        "searches",
        {**_TOKENS, "total_tokens": 13, "server_side_tool_usage_details": {"web_search_calls": 2}},
        "declined",
    ),
)
#: Prices that openrouter's answers state.
_STATED = {**_TOKENS, "total_tokens": 13}
_UPSTREAM = {"cost_details": {"upstream_inference_cost": None, "upstream_inference_prompt_cost": 0.0012}}
PRICES: tuple[tuple[str, Any, Way], ...] = (
    ("stated", {**_STATED, "cost": 0.00014, "is_byok": False, **_UPSTREAM}, "served"),
    ("own-key", {**_STATED, "cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.003}}, "served"),
    ("null", {**_STATED, "cost": None}, "served"),
    ("whole", {**_STATED, "cost": 3}, "either"),
    ("negative", {**_STATED, "cost": -0.5}, "either"),
    ("text", {**_STATED, "cost": "0.25"}, "declined"),
    ("words", {**_STATED, "cost": "free"}, "declined"),
    ("true", {**_STATED, "cost": True}, "declined"),
    ("object", {**_STATED, "cost": {"total": 1.5}}, "declined"),
)
#: A price in a header, as one LiteLLM proxy says it to another; and one that is no number.
PRICE_HEADER = "x-litellm-response-cost"
HEADER_PRICES: tuple[tuple[str, Way], ...] = (("0.00025", "served"), ("0.0", "served"), ("None", "either"))
USER = {"role": "user", "content": "Hello"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
CONVERSATIONS: tuple[tuple[str, list[Any], Way], ...] = (
    ("texts", [{"role": "system", "content": "<a>"}, USER, USER, {"role": "assistant", "content": " a\n"}], "served"),
    ("empty", [{"role": "system", "content": ""}, USER, {"role": "assistant", "content": ""}, USER], "either"),
    ("parts", [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}], "either"),
    ("image", [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/y"}}]}], "either"),
    (
        "tool-results",
        [
            USER,
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "-3"}]},
        ],
        "either",
    ),
    ("name", [{**USER, "name": "Ada"}], "either"),
)

SCENARIOS = themed(
    "providers",
    *(
        Scenario(
            f"{provider}",
            {"temperature": 0.5, "max_tokens": 20, **more(provider)},
            model=f"{provider}/{model}",
            answer=ANSWERS.get(provider, "plain"),
            via=DIRECT if provider in COMMON else ("acompletion",),
            way=way,
        )
        for provider, model, way in PROVIDERS
    ),
    *crossed(
        *(
            Scenario(
                f"{provider}-{answer}",
                {"max_retries": 0, **({"tools": [WEATHER]} if answer == "tools" else {}), **more(provider)},
                model=f"{provider}/{model}",
                answer=answer,
                via=DIRECT,
                way="either",
            )
            for provider, model, _ in PROVIDERS
            if provider in COMMON
            for answer in ("error-429", "tools", "vendor-fields")
        ),
        *(
            Scenario(
                f"{provider}-routed",
                via=ROUTED,
                way=way,
                deployments=(
                    deployment(
                        ANSWERS.get(provider, "plain"),
                        model=f"{provider}/{model}",
                        rpm=1000,
                        tpm=10**6,
                        **more(provider),
                    ),
                ),
            )
            for provider, model, way in PROVIDERS
            if provider in COMMON
        ),
        *(
            Scenario(
                f"{provider}-{kind}-logged",
                more(provider),
                model=f"{provider}/{model}",
                answer=ANSWERS.get(provider, "plain"),
                via=via,
                callbacks={"callbacks": (kind,)},
                calls=5,
                way=way,
            )
            for provider, model, way in PROVIDERS
            if provider in COMMON
            for kind, via in (("success", DIRECT[:1]), ("payload", DIRECT[1:]))
        ),
        *(
            Scenario(
                f"{provider}-headers",
                {
                    "extra_headers": {"X-Team": "blue"},
                    "timeout": 30,
                    "user": "u",
                    **more(provider),
                },
                model=f"{provider}/{model}",
                answer=ANSWERS.get(provider, "plain"),
                via=DIRECT,
                way="either",
            )
            for provider, model, way in PROVIDERS
            if provider in COMMON
        ),
        # What it answers when the fast path knows a plain answer; groq's is not plain, and stock fails over one that
        # is.
        *after_plain(
            *(
                Scenario(
                    f"{provider}-{name}",
                    {"max_retries": 0, **({"tools": [WEATHER]} if "tools" in name else {}), **more(provider)},
                    model=f"{provider}/{model}",
                    answer=answer,
                    way="either",
                )
                for provider, model, way in PROVIDERS
                if provider in COMMON - LIKE_VLLM - {"groq"} and way == "served"
                for name, answer in LATER
            ),
            via=("acompletion",),
        ),
        # Values that come with each call, where requests are written by the json module.
        *(
            replace(
                scenario, name=f"hosted_vllm-{scenario.name.replace('/', '-')}", model="hosted_vllm/qwen", via=DIRECT
            )
            for scenario in parameters.SCENARIOS
            if scenario.name.partition("/")[2] in EACH_ITS_OWN
        ),
        # Two themes for one of them, as its callers meet them that are served.
        *(
            replace(
                scenario,
                name=f"hosted_vllm-{scenario.name.replace('/', '-')}",
                model="hosted_vllm/qwen",
                via=("acompletion",),
                way="either",
            )
            for scenario in (*responses.SCENARIOS, *errors.SCENARIOS)
            if scenario.name.endswith("-after-plain") and scenario.seconds < 1 and scenario.gap is None
        ),
        # Providers with rules of their own for messages, which leave texts alone.
        *(
            Scenario(
                f"{provider}-{shape}",
                {"messages": conversation},
                model=f"{provider}/{MODELS[provider]}",
                via=("acompletion",),
                way=way,
                warm_up=2,
                calls=2,
            )
            for provider in (
                "dashscope",
                "deepinfra",
                "litellm_proxy",
                "moonshot",
                "sambanova",
                "vercel_ai_gateway",
                "aiml",
                "nano-gpt",
                *sorted(COMMON - {"azure", "groq", "openai_like"}),
            )
            for shape, conversation, way in CONVERSATIONS
        ),
    ),
    Scenario("azure-token", {**AZURE, "api_key": None, "azure_ad_token": "token"}, model="azure/gpt-4o", way="either"),
    Scenario("azure-no-version", model="azure/gpt-4o", way="either"),
    Scenario(
        "azure-content-policy",
        {**AZURE, "max_retries": 0},
        model="azure/gpt-4o",
        answer="content-policy",
        way="either",
    ),
    Scenario("openai-responses-bridge", model="openai/responses/gpt-4o", way="declined"),
    Scenario("openai-nested-name", model="openai/org/model-7b", via=DIRECT),
    Scenario("openai-fine-tuned", model="openai/ft:gpt-4o-2024-08-06:org::id", via=DIRECT),
    Scenario("json-provider", model="nano-gpt/gpt-4o", way="either"),
    Scenario("fireworks_ai-without-price", model="fireworks_ai/no-such-model", way="declined"),
    Scenario(
        "fireworks_ai-told-to-be-silent",
        model="fireworks_ai/no-such-model",
        settings={"suppress_debug_info": True},
    ),
    Scenario(
        "fireworks_ai-calls-in-texts",
        {"tools": [WEATHER]},
        model="fireworks_ai/llama-v3p1-8b-instruct",
        answer=with_fields("plain", content='{"name": "get_weather", "arguments": "{}"}'),
        way="declined",
    ),
    Scenario(
        "groq-executed-tools",
        model="groq/compound",
        answer=with_fields(
            "plain",
            merge={"service_tier": "auto"},
            message={"executed_tools": [{"name": "browser.search", "type": "x"}]},
        ),
        way="declined",
    ),
    Scenario(
        "groq-json",
        {"response_format": PERSON_SCHEMA},
        model="groq/llama-3.1-8b-instant",
        answer=with_fields("tools", merge={"service_tier": "auto"}),
        way="either",
    ),
    *(
        Scenario(f"xai-{name}", model="xai/grok-3", answer=with_fields("plain", usage=usage), way=way)
        for name, usage, way in XAI_USAGES
    ),
    *(
        Scenario(
            f"openrouter-price-{name}",
            model=f"openrouter/{MODELS['openrouter']}",
            answer=with_fields("plain", usage=usage),
            way=way,
        )
        for name, usage, way in PRICES
    ),
    *crossed(
        *after_plain(
            *(
                Scenario(
                    f"openrouter-price-{name}",
                    model=f"openrouter/{MODELS['openrouter']}",
                    answer=with_fields("plain", usage=usage),
                    way="served",
                )
                for name, usage, _ in PRICES
            ),
            via=("acompletion",),
        ),
    ),
    Scenario(
        "openrouter-upstream",
        model=f"openrouter/{MODELS['openrouter']}",
        via=("acompletion",),
        callbacks={"callbacks": ("payload",)},
        script=responses.in_turn(
            *(with_fields("plain", merge={"provider": name}) for name in ("OpenAI", "OpenAI", "Azure", "", "Azure")),
            "plain",
            *(with_fields("plain", merge={"provider": name}) for name in (None, 3, "Azure", "OpenAI")),
        ),
    ),
    Scenario(
        "openrouter-price-unknown-model",
        model="openrouter/nobody/no-such-model",
        answer=with_fields("plain", usage=PRICES[0][1]),
        calls=4,
    ),
    Scenario(
        "openrouter-price-routed",
        via=ROUTED,
        deployments=(
            deployment(
                with_fields("plain", usage=PRICES[0][1]),
                model=f"openrouter/{MODELS['openrouter']}",
                input_cost_per_token=0.001,
                rpm=1000,
            ),
        ),
    ),
    *(
        Scenario(
            f"openrouter-price-{name}-{kind}-logged",
            model=f"openrouter/{MODELS['openrouter']}",
            answer=with_fields("plain", usage=usage),
            via=via,
            callbacks={"callbacks": (kind,)},
            calls=5,
        )
        for name, usage, _ in PRICES[:2]
        for kind, via in (("success", DIRECT[:1]), ("payload", DIRECT[1:]))
    ),
    *(
        Scenario(
            f"{model.partition('/')[0]}-price-in-header-{price}{logged}",
            model=model,
            answer=with_fields("plain", headers={PRICE_HEADER: price, "x-litellm-key-spend": "1.5"}),
            callbacks={"callbacks": ("payload",)} if logged else {},
            calls=5 if logged else 3,
            # LiteLLM warns of a model with rates that costs nothing.
            way="either" if price == "0.0" and model.startswith("litellm_proxy") else way,
            crossing=bool(logged),
        )
        for model in ("litellm_proxy/gpt-4o", "hosted_vllm/qwen")
        for price, way in HEADER_PRICES
        for logged in ("", "-logged")
    ),
    Scenario("unknown-provider", model="no-such-provider/model", way="either"),
)
