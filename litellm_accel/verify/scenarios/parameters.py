"""Every OpenAI parameter and LiteLLM's own, one or a few at a time."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from litellm_accel.verify.scenario import ALL, DIRECT, KEY, At, Made, Scenario, themed

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
STRICT: dict[str, Any] = {**WEATHER, "function": {**WEATHER["function"], "strict": True}}
FUNCTION: dict[str, Any] = WEATHER["function"]
PERSON_SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "person",
        "strict": True,
        "schema": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
    },
}
PERSON_ANSWER = 'plain{"content": "{\\"name\\": \\"Ada\\", \\"age\\": 36}"}'


def person() -> Any:
    from pydantic import BaseModel

    class Person(BaseModel):
        name: str
        age: int

    return Person


def _own_text() -> Any:
    """A text whose class says something else of it."""
    return type("Own", (str,), {"__str__": lambda self: "another"})("own")


def _timeout() -> Any:
    import httpx

    return httpx.Timeout(30.0, connect=5.0)


def _openai_client() -> Any:
    import openai

    return openai.OpenAI(api_key="sk-own-client", base_url="http://127.0.0.1:9/v1")


def _allow(text: str) -> bool:
    return True


def _refuse(text: str) -> bool:
    return False


def _positional(stage: Any) -> None:
    for _ in range(stage.run.calls):
        arguments = stage.arguments()
        model, messages = arguments.pop("model"), arguments.pop("messages")
        function = stage.entry()
        if stage.run.via == "completion":
            stage.call(partial(function, model, messages), arguments)
        else:
            stage.loop.run_until_complete(stage.acall(partial(function, model, messages), arguments))
        stage.loop.run_until_complete(stage.settled())


def one_after_the_other(*calls: dict[str, Any]) -> Any:
    """Return a script that makes one call with each of these arguments."""

    def script(stage: Any) -> None:
        function = stage.entry()
        for number, changes in enumerate(calls):
            arguments = stage.arguments(messages=[{"role": "user", "content": f"Number {number}"}], **changes)
            if stage.run.via in ("completion", "router"):
                stage.call(function, arguments)
            else:
                stage.loop.run_until_complete(stage.acall(function, arguments))
            stage.loop.run_until_complete(stage.settled())

    return script


async def _header_in_place(stage: Any) -> None:
    """Headers of LiteLLM's settings that are changed where they are."""
    function, headers = stage.entry(), {"X-Module": "1"}
    stage.litellm.headers = headers
    for value in "1122":
        headers["X-Module"] = value
        for _ in range(2):
            await stage.acall(function, stage.arguments())
            await stage.settled()


def _users(*users: Any) -> Any:
    return one_after_the_other(*({"user": user} for user in users))


PARAMETERS = (
    Scenario("none", via=ALL),
    # sampling
    Scenario("temperature", {"temperature": 0.2}, via=ALL),
    Scenario("temperature-int", {"temperature": 1}),
    Scenario("temperature-zero", {"temperature": 0.0}),
    Scenario("top-p", {"top_p": 0.95}),
    Scenario("n", {"n": 3}, via=ALL),
    Scenario("stop-text", {"stop": "\n"}),
    Scenario("stop-list", {"stop": ["END", "STOP", "\u2028"]}),
    Scenario("max-tokens", {"max_tokens": 64}, via=ALL),
    Scenario("max-completion-tokens", {"max_completion_tokens": 64}),
    Scenario("both-max-tokens", {"max_tokens": 64, "max_completion_tokens": 32}),
    Scenario("penalties", {"presence_penalty": 0.5, "frequency_penalty": -0.5}),
    Scenario("logit-bias", {"logit_bias": {"1234": -100, "99": 5}}),
    Scenario("seed", {"seed": 42}),
    Scenario("seed-large", {"seed": 2**53 + 1}),
    Scenario("logprobs", {"logprobs": True, "top_logprobs": 2}, answer="logprobs"),
    Scenario("floats", {"temperature": 1e-07, "top_p": 0.1 + 0.2, "presence_penalty": -1.5e-05}),
    Scenario("null-values", {"temperature": None, "stop": None, "tools": None, "user": None}),
    # values that come with each call
    Scenario("users", via=ALL, script=_users("ann", "bob", "cy", 'd\u00e9"\n\U0001f600', "openai/gpt-4o", "ann")),
    Scenario("users-odd", script=_users("ann", "bob", "", 7, 8, 9, None, True, ["a"], 2**70, "\ud800", "eve")),
    Scenario(
        "users-heard", script=_users("ann", "ann", "ann", "bob", "bob", "bob"), callbacks={"callbacks": ("payload",)}
    ),
    Scenario(
        "seeds-and-users",
        via=ALL,
        script=one_after_the_other(
            *({"seed": seed, "user": user} for seed in (1, 2, 3) for user in ("a", "1")),
            {"user": "b", "seed": 4},
            {"user": "c", "seed": -5},
            {"user": "d", "seed": 6},
        ),
    ),
    Scenario(
        "same-values",
        script=one_after_the_other(
            *({"user": at, "safety_identifier": at, "prompt_cache_key": at} for at in "abc"),
            {"user": "x", "safety_identifier": "y", "prompt_cache_key": "z"},
            {"user": "a", "safety_identifier": "b", "prompt_cache_key": "c"},
        ),
    ),
    Scenario("max-tokens-each", script=one_after_the_other(*({"max_tokens": n, "n": 1} for n in (1, 2, 3, 1, 999)))),
    Scenario(
        "max-tokens-renamed",
        model="openai/o3-mini",
        script=one_after_the_other(*({"max_tokens": n, "seed": n} for n in (10, 20, 30, 40))),
        way="either",
    ),
    Scenario(
        "users-dropped",
        {"additional_drop_params": ["user"]},
        script=_users("a", "b", "c", "a", "a", "a"),
    ),
    Scenario(
        "users-overridden",
        script=one_after_the_other(*({"user": u, "extra_body": {"user": "z", "seed": 1}} for u in "abcd")),
    ),
    Scenario("users-failing", answer="error-400", via=ALL, script=_users("a", "b", "c", "d"), way="either"),
    # tools
    Scenario("tools", {"tools": [WEATHER]}, via=ALL, answer="tools"),
    Scenario("tools-strict", {"tools": [STRICT], "parallel_tool_calls": False}, answer="tools"),
    Scenario("tools-empty", {"tools": []}, way="either"),
    Scenario("tool-choice-auto", {"tools": [WEATHER], "tool_choice": "auto"}),
    Scenario("tool-choice-none", {"tools": [WEATHER], "tool_choice": "none"}),
    Scenario("tool-choice-required", {"tools": [WEATHER], "tool_choice": "required"}, answer="tools"),
    Scenario(
        "tool-choice-named",
        {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
        answer="tools",
    ),
    Scenario("functions", {"functions": [FUNCTION], "function_call": "auto"}, answer="function-call", way="either"),
    # response format
    Scenario("json-object", {"response_format": {"type": "json_object"}}, answer=PERSON_ANSWER),
    Scenario("json-text", {"response_format": {"type": "text"}}),
    Scenario("json-schema", {"response_format": PERSON_SCHEMA}, via=ALL, answer=PERSON_ANSWER),
    Scenario("json-pydantic", {"response_format": Made(person)}, via=ALL, answer=PERSON_ANSWER),
    Scenario(
        "json-schema-validated",
        {"response_format": PERSON_SCHEMA, "enable_json_schema_validation": True},
        answer='plain{"content": "not the schema"}',
        way="either",
    ),
    # the rest of OpenAI's
    Scenario("user", {"user": "user-1234"}),
    Scenario("metadata", {"metadata": {"tag": "a", "purpose": "test"}}, via=ALL, way="either"),
    Scenario("metadata-empty", {"metadata": {}}, via=ALL, way="either"),
    Scenario("metadata-none", {"metadata": None}),
    Scenario("store", {"store": True, "metadata": {"tag": "a"}}, way="either"),
    Scenario("service-tier", {"service_tier": "flex"}, answer="vendor-fields", way="either"),
    Scenario("safety-identifier", {"safety_identifier": "hash"}, way="either"),
    Scenario("prompt-cache-key", {"prompt_cache_key": "prefix"}, way="either"),
    Scenario("prompt-cache-retention", {"prompt_cache_retention": "24h"}, way="either"),
    Scenario("modalities", {"modalities": ["text"]}, way="either"),
    Scenario("audio", {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}, way="either"),
    Scenario("prediction", {"prediction": {"type": "content", "content": "Hello"}}, way="either"),
    Scenario("web-search", {"web_search_options": {"search_context_size": "low"}}, way="either"),
    Scenario("reasoning-effort", {"reasoning_effort": "low"}, model="openai/o3-mini", answer="details", way="either"),
    Scenario("reasoning-effort-unsupported", {"reasoning_effort": "low"}, way="either"),
    Scenario("o-series-max-tokens", {"max_tokens": 100}, model="openai/o3-mini", way="either"),
    Scenario("o-series-temperature", {"temperature": 0.5}, model="openai/o3-mini", way="either"),
    Scenario("gpt-5-verbosity", {"verbosity": "low", "max_tokens": 20}, model="openai/gpt-5-mini", way="either"),
    Scenario("thinking", {"thinking": {"type": "enabled", "budget_tokens": 100}}, way="either"),
    Scenario("stream-false", {"stream": False}),
    Scenario("stream-options-without-stream", {"stream_options": {"include_usage": True}}, way="either"),
    Scenario(
        "many",
        {
            "temperature": 0.7,
            "top_p": 0.9,
            "n": 2,
            "stop": ["x"],
            "max_tokens": 10,
            "seed": 1,
            "user": "u",
            "tools": [WEATHER],
            "tool_choice": "auto",
            "logprobs": True,
            "top_logprobs": 1,
            "presence_penalty": 0.1,
            "frequency_penalty": 0.1,
            "response_format": {"type": "json_object"},
        },
        via=ALL,
    ),
    # how the call travels
    Scenario("extra-headers", {"extra_headers": {"X-Team": "blue", "x-trace": "1"}}, via=ALL),
    Scenario("extra-headers-override", {"extra_headers": {"User-Agent": "mine/1", "Authorization": "Bearer other"}}),
    Scenario("headers", {"headers": {"X-Old": "1"}}, way="either"),
    Scenario("extra-body", {"extra_body": {"top_k": 40, "nested": {"a": [1, None]}}}, via=ALL),
    Scenario("extra-body-override", {"extra_body": {"temperature": 0.9}, "temperature": 0.1}),
    Scenario("unknown-parameter", {"top_k": 40}),
    Scenario("unknown-parameters", {"repetition_penalty": 1.1, "min_p": 0.05, "guided_json": {}}, via=ALL),
    Scenario("unknown-parameters-none", {"num_ctx": None, "base_model": None, "api_version": None}, via=DIRECT),
    Scenario(
        "unknown-parameters-heard", {"min_p": 0.05, "num_ctx": None}, callbacks={"callbacks": ("payload",)}, calls=6
    ),
    Scenario("skip-mcp-handler", {"_skip_mcp_handler": True, "tools": [WEATHER]}, via=ALL, answer="tools"),
    Scenario(
        "no-cache-and-retries",
        {
            "cache": {"no-cache": True, "no-store": True},
            "retry_strategy": "exponential_backoff_retry",
            "num_retries": 1,
        },
        via=ALL,
    ),
    Scenario("text-subclass", {"user": Made(_own_text), "stop": Made(_own_text)}, via=DIRECT),
    Scenario("extra-query", {"extra_query": {"debug": "1"}}, way="either"),
    Scenario("organization", {"organization": "org-1"}, way="either"),
    Scenario("timeout-float", {"timeout": 30.5}, via=ALL),
    Scenario("timeout-int", {"timeout": 30}),
    Scenario("timeout-text", {"timeout": "30"}, way="either"),
    Scenario("timeout-httpx", {"timeout": Made(_timeout)}),
    Scenario("request-timeout", {"request_timeout": 25}, way="either"),
    Scenario("max-retries", {"max_retries": 1}),
    Scenario("max-retries-zero", {"max_retries": 0}),
    Scenario("num-retries", {"num_retries": 1}, way="either"),
    Scenario("base-url", {"base_url": At(), "api_base": None}, way="either"),
    Scenario("api-version", {"api_version": "2024-10-01"}, way="either"),
    Scenario("key-from-environment", {"api_key": None}, environment={"OPENAI_API_KEY": "sk-environment"}),
    Scenario(
        "base-from-environment",
        {"api_base": None},
        environment={"OPENAI_BASE_URL": At()},  # type: ignore[dict-item]
        way="either",
    ),
    Scenario("key-from-module", {"api_key": None}, settings={"api_key": "sk-module"}, way="either"),
    Scenario("openai-key-from-module", {"api_key": None}, settings={"openai_key": "sk-openai-module"}, way="either"),
    Scenario("base-from-module", {"api_base": None}, settings={"api_base": At()}, way="either"),
    Scenario("organization-from-module", settings={"organization": "org-2"}, way="either"),
    Scenario("headers-in-place", via=("acompletion", "arouter"), script=_header_in_place),
    Scenario("headers-from-module", settings={"headers": {"X-Module": "1"}}, way="either"),
    Scenario("no-key", {"api_key": None}, way="either"),
    Scenario("own-client", {"client": Made(_openai_client), "max_retries": 0}, via=("completion",), way="declined"),
    # LiteLLM's own
    Scenario("provider-argument", {"model": "gpt-4o", "custom_llm_provider": "openai"}, way="either"),
    Scenario("model-without-provider", {"model": "gpt-4o"}, way="either"),
    Scenario("unknown-model", {"model": "openai/nobody-knows-me"}, answer="plain"),
    Scenario("drop-params", {"drop_params": True, "reasoning_effort": "low"}, way="either"),
    Scenario("drop-params-module", {"reasoning_effort": "low"}, settings={"drop_params": True}, way="either"),
    Scenario("additional-drop-params", {"additional_drop_params": ["user"], "user": "u"}, way="either"),
    Scenario("allowed-openai-params", {"allowed_openai_params": ["new_one"], "new_one": 1}, way="either"),
    Scenario("call-id", {"litellm_call_id": "my-call"}, way="either"),
    Scenario("trace-id", {"litellm_trace_id": "my-trace"}, way="either"),
    Scenario("session-id", {"litellm_session_id": "my-session"}, way="either"),
    Scenario("custom-price", {"input_cost_per_token": 0.001, "output_cost_per_token": 0.002}, way="either"),
    Scenario("price-per-second", {"input_cost_per_second": 0.0}, way="either"),
    Scenario("base-model", {"base_model": "gpt-4o-mini"}, model="openai/my-deployment", way="either"),
    Scenario("mock-response", {"mock_response": "mocked"}, via=ALL, way="declined"),
    Scenario("mock-error", {"mock_response": "litellm.RateLimitError"}, via=ALL, way="declined"),
    Scenario("no-log", {"no-log": True}, via=ALL),
    Scenario("verbose", {"verbose": False}, way="either"),
    Scenario("tags", {"metadata": {"tags": ["a", "b"]}}, way="either"),
    Scenario("alternating-roles", {"ensure_alternating_roles": True}, way="either"),
    Scenario(
        "fallbacks-argument",
        {"fallbacks": [{"model": "openai/gpt-4o-mini", "api_base": At(), "api_key": KEY}], "max_retries": 0},
        answer="error-400",
        way="either",
    ),
    Scenario("cache-control-argument", {"cache": {"no-cache": True}}, way="either"),
    Scenario("caching-argument", {"caching": True}, way="either"),
    Scenario("positional", {}, script=_positional),
    Scenario("wrong-type-messages", {"messages": "not a list"}, way="either"),
    Scenario("wrong-type-temperature", {"temperature": "hot"}, way="either"),
    Scenario("unserialisable", {"extra_body": {"when": Made(object)}}, way="either"),
    Scenario("model-missing-provider", {"model": "who-is-this"}, way="either"),
    # module settings
    Scenario("set-verbose", settings={"set_verbose": True}, way="either"),
    Scenario("modify-params", settings={"modify_params": True}, way="either"),
    Scenario("model-alias", {"model": "mine"}, settings={"model_alias_map": {"mine": "openai/gpt-4o"}}, way="either"),
    Scenario("redact", settings={"turn_off_message_logging": True}, way="either"),
    Scenario("request-timeout-module", settings={"request_timeout": 17.0}, way="either"),
    Scenario("num-retries-module", settings={"num_retries": 1}, way="either"),
    Scenario("max-budget", settings={"max_budget": 100.0}, way="either"),
    Scenario("budget-exceeded", settings={"max_budget": 1e-09, "_current_cost": 1.0}, way="either"),
    Scenario("input-rules", settings={"pre_call_rules": Made(lambda: [_allow])}, way="declined"),
    Scenario("output-rules", settings={"post_call_rules": Made(lambda: [_refuse])}, way="declined"),
    Scenario("return-headers", settings={"return_response_headers": True}, way="either"),
    Scenario("disable-aiohttp", settings={"disable_aiohttp_transport": True}, way="either"),
    Scenario("hf-template", settings={"add_function_to_prompt": True}, way="either"),
)

# What few use is played through one entry point.
SCENARIOS = themed(
    "parameters",
    *(replace(s, via=("acompletion",)) if s.way == "either" and s.via is DIRECT else s for s in PARAMETERS),
)
