"""Embeddings: what may be embedded, by which arguments and providers, their answers, errors, callbacks and routers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from litellm_accel.verify.scenario import EMBEDDING, KEY, At, Scenario, themed, with_fields

MODEL = "openai/text-embedding-3-small"
VLLM, AZURE = "hosted_vllm/embed", "azure/embed"
VERSION = {"api_version": "2024-10-21"}


def _answered(**members: Any) -> str:
    """The provider's scenario with these members of an answer."""
    return with_fields("plain", merge=members)


def _entry(vector: Any, **more: Any) -> dict[str, Any]:
    return {"object": "embedding", "index": 0, "embedding": vector, **more}


async def _routed(stage: Any) -> None:
    params = {"model": MODEL, "api_base": At(), "api_key": KEY}
    router = stage.router(({"model_name": "e", "litellm_params": params, "model_info": {"id": "one"}},))
    for number in range(4):
        await stage.acall(router.aembedding, {"model": "e", "input": f"Text {number}"})
        await stage.settled()


def _routed_in_threads(stage: Any) -> None:
    params = {"model": MODEL, "api_base": At(), "api_key": KEY}
    router = stage.router(({"model_name": "e", "litellm_params": params, "model_info": {"id": "one"}},))
    for number in range(4):
        stage.call(router.embedding, {"model": "e", "input": f"Text {number}"})
        stage.loop.run_until_complete(stage.settled())


_INPUTS = (
    Scenario("text"),
    Scenario("texts", {"input": ["Hello", "Žluťoučký kůň 🐎", '"\\\n\t']}),
    Scenario("tokens", {"input": [1, 2, 3]}),
    Scenario("lists-of-tokens", {"input": [[1, 2], [3]]}),
    Scenario("empty-text", {"input": ""}, way="declined"),
    Scenario("empty-list", {"input": []}, way="declined"),
    Scenario("mixed", {"input": ["a", 1]}, way="declined"),
)
_ARGUMENTS = (
    Scenario("dimensions", {"dimensions": 64}),
    Scenario("floats", {"encoding_format": "float"}),
    Scenario("base64", {"encoding_format": "base64", "dimensions": 64}),
    Scenario("user", {"user": "ada"}),
    Scenario("timeout", {"timeout": 7}),
    Scenario("headers", {"extra_headers": {"x-own": "1"}}),
    Scenario("many", {"input": ["a", "b"], "dimensions": 1536}),
    Scenario("metadata", {"metadata": {"trace_id": "t-1", "tags": ["a"]}}, calls=7),
    Scenario("max-tokens", {"max_tokens": 7}, way="either"),
    Scenario("input-type", {"input_type": "query"}, way="declined"),
    Scenario("both-headers", {"headers": {"x-a": "1"}, "extra_headers": {"x-b": "2"}}, way="declined"),
    Scenario("mock", {"mock_response": [0.5]}, way="declined"),
)
_ANSWERS = (
    Scenario("integers", answer=_answered(data=[_entry([1, -2, 0])])),
    Scenario("large", answer=_answered(data=[_entry([1e300, 0.5])]), way="declined"),
    Scenario("more-members", answer=_answered(data=[_entry([0.5], more=1)]), way="declined"),
    Scenario("no-data", answer=_answered(data=[]), way="declined"),
    Scenario("more-usage", answer=_answered(usage={"prompt_tokens": 3, "total_tokens": 3, "cost": 0.5, "a": {"b": 1}})),
    Scenario("no-usage", answer=with_fields("plain", omit=["usage"]), way="either"),
    Scenario("vendors", answer=_answered(id="e-1", created=17, x={"y": [1]})),
    Scenario("gzip", answer="gzip"),
    Scenario("chunked", answer="chunked"),
    *(Scenario(name, {"max_retries": 0}, answer=name, way="declined") for name in ("error-400", "error-429")),
    Scenario(
        "retry-known",
        {"max_retries": 1},
        answer='error-500{"plain_first": 2, "times": 3, "headers": {"retry-after-ms": "20"}}',
        calls=5,
    ),
    *(Scenario(name, {"max_retries": 0}, answer=name, way="declined") for name in ("broken-json", "drop-body")),
)
_LISTENED = (
    Scenario("logger", callbacks={"callbacks": ("success",)}, calls=4),
    Scenario("texts-logger", {"input": ["a", "b"]}, callbacks={"callbacks": ("success",)}, calls=4),
    Scenario("tokens-logger", {"input": [1, 2]}, callbacks={"callbacks": ("redacted",)}, calls=4),
    Scenario("metadata-logger", {"metadata": {"a": 1}}, callbacks={"callbacks": ("success",)}, calls=7),
    Scenario("all-events-logger", callbacks={"callbacks": ("both",)}, way="declined"),
)

SCENARIOS = themed(
    "embeddings",
    *(replace(scenario, via=EMBEDDING, model=MODEL) for scenario in (*_INPUTS, *_ARGUMENTS, *_ANSWERS, *_LISTENED)),
    *(
        replace(scenario, name=f"{name}-{scenario.name}", via=EMBEDDING, model=model, arguments=given)
        for name, model, more in (("azure", AZURE, VERSION), ("vllm", VLLM, {}))
        for scenario in (*_INPUTS[:3], *_ARGUMENTS[:4], _LISTENED[0])
        for given in ({**scenario.arguments, **more},)
    ),
    *(
        replace(scenario, name=f"{name}-{scenario.name}", via=EMBEDDING, model=model, crossing=True)
        for name, model in (("together", "together_ai/embed"), ("mistral", "mistral/embed"))
        for scenario in (*_INPUTS[:3], *_ARGUMENTS[:4], *_LISTENED)
    ),
    Scenario("router", via=("aembedding",), script=_routed),
    Scenario("router-in-threads", via=("embedding",), script=_routed_in_threads),
)
