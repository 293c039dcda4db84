"""What the benchmarks measure: LiteLLM's counting, pricing, choosing, bookkeeping and limits, made ready to be called.

The asv suites in ``benchmarks/`` and ``litellm-accel bench`` take their work from here.
"""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta, timezone
from itertools import cycle
from typing import Any

Work = Callable[[], Any]

# --- counting -------------------------------------------------------------------------------------------------------

SENTENCE = "The quick brown fox jumps over the lazy dog and runs away!!!"
CONVERSATION = [
    {"role": "assistant" if turn % 2 else "user", "content": f"short message number {turn} here, hello"}
    for turn in range(10)
]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": f"weather_{number}",
            "description": "The weather of a city, now or in the days to come. " * 3,
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "The city's name"},
                    "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                    "days": {"type": "array", "items": {"type": "integer"}},
                },
                "required": ["city"],
            },
        },
    }
    for number in range(5)
]
PARTS = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": SENTENCE},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
        ],
    }
]
#: What ``counting()`` makes, and how often one batch of ``litellm-accel bench`` calls it.
COUNTED = {
    "text_60": 500,
    "text_10k": 50,
    "messages_10": 200,
    "tools_5": 100,
    "content_parts": 200,
    "encode": 300,
    "decode": 300,
    "reach_token_count": 100,
    "trim_messages": 20,
}


def counting() -> dict[str, Work]:
    """Return ``litellm.token_counter`` and its neighbours by the names in ``COUNTED``."""
    import litellm

    count = litellm.token_counter
    tokens = litellm.encode(model="gpt-4o", text=SENTENCE)
    long_text = f"{SENTENCE} " * 170
    return {
        "text_60": lambda: count(model="gpt-4o", text=SENTENCE),
        "text_10k": lambda: count(model="gpt-4o", text=long_text),
        "messages_10": lambda: count(model="gpt-4o", messages=CONVERSATION),
        "tools_5": lambda: count(model="gpt-4o", messages=CONVERSATION, tools=TOOLS),
        "content_parts": lambda: count(model="gpt-4o", messages=PARTS),
        "encode": lambda: litellm.encode(model="gpt-4o", text=SENTENCE),
        "decode": lambda: litellm.decode(model="gpt-4o", tokens=tokens),
        "reach_token_count": lambda: litellm.utils.is_prompt_caching_valid_prompt("gpt-4o", CONVERSATION),
        "trim_messages": lambda: litellm.utils.trim_messages(CONVERSATION, model="gpt-4o", max_tokens=60),
    }


# --- pricing --------------------------------------------------------------------------------------------------------

PRICED = ("response", "response_cached", "response_named", "usage", "numbers", "threshold")


def pricing() -> dict[str, Work]:
    """Return calls of ``completion_cost`` and ``cost_per_token`` by the names in ``PRICED``."""
    import litellm
    from litellm.types.utils import Choices, Message, ModelResponse, Usage

    def response(model: str, provider: str, **details: Any) -> ModelResponse:
        usage = Usage(prompt_tokens=1200, completion_tokens=300, total_tokens=1500, **details)
        made = ModelResponse(model=model, choices=[Choices(message=Message(content="Hello"))], usage=usage)
        made._hidden_params = {"custom_llm_provider": provider}
        return made

    plain = response("gpt-4o", "openai")
    cached = response(
        "claude-sonnet-4-5",
        "anthropic",
        prompt_tokens_details={"cached_tokens": 1000},
        completion_tokens_details={"reasoning_tokens": 200},
    )
    long = Usage(prompt_tokens=250_000, completion_tokens=300, total_tokens=250_300)
    return {
        "response": lambda: litellm.completion_cost(plain),
        "response_cached": lambda: litellm.completion_cost(cached),
        "response_named": lambda: litellm.completion_cost(
            plain, model="gpt-4o", custom_llm_provider="openai", call_type="acompletion"
        ),
        "usage": lambda: litellm.cost_per_token("gpt-4o", custom_llm_provider="openai", usage_object=plain.usage),
        "numbers": lambda: litellm.cost_per_token("gpt-4o", 1200, 300),
        "threshold": lambda: litellm.cost_per_token(
            "gemini/gemini-2.5-pro", custom_llm_provider="gemini", usage_object=long
        ),
    }


# --- routing --------------------------------------------------------------------------------------------------------

STRATEGIES = (
    "simple-shuffle",
    "least-busy",
    "cost-based-routing",
    "latency-based-routing",
    "usage-based-routing-v2",
    "usage-based-routing",
)
DEMANDS = ("tags", "pre-call checks", "wildcard")
QUESTION = [{"role": "user", "content": "How many roads must a man walk down?"}]


def router_of(strategy: str, size: int, groups: int = 1) -> Any:
    """Return a router of ``groups`` model groups ``g0``, ``g1``, … of ``size`` deployments each, with measurements."""
    from litellm import Router

    models: list[dict[str, Any]] = [
        {
            "model_name": f"g{group}",
            "litellm_params": {
                "model": "openai/gpt-4o-mini",
                "api_key": "sk-benchmark",
                "api_base": f"http://{group}.{index}.test/v1",
                "weight": index % 7 + 1,
            },
            "model_info": {"id": f"d{group}-{index}"},
        }
        for group in range(groups)
        for index in range(size)
    ]
    router = Router(model_list=models, routing_strategy=strategy)
    ids = [model["model_info"]["id"] for model in models]
    memory = router.cache.in_memory_cache
    draw = random.Random(size)
    if strategy == "latency-based-routing":
        memory.set_cache("g0_map", {name: {"latency": [draw.random() for _ in range(10)]} for name in ids})
    elif strategy == "cost-based-routing":
        memory.set_cache("cost_map:g0", {name: {} for name in ids})
    elif strategy == "usage-based-routing":
        usage = {name: draw.randrange(1000) for name in ids}
        for minute in _minutes(datetime.now()):
            memory.set_cache(f"g0:tpm:{minute}", dict(usage), ttl=600)
    elif strategy == "usage-based-routing-v2":
        for name in draw.sample(ids, min(size, 75)):
            for kind in ("tpm", "rpm"):
                used = draw.randrange(1, 1000)
                for minute in _minutes(datetime.now(timezone.utc)):
                    memory.set_cache(f"{name}:openai/gpt-4o-mini:{kind}:{minute}", used, ttl=600)
    elif strategy == "least-busy":
        for name in draw.sample(ids, min(size, 150)):
            memory.set_cache(f"g0_request_count:{name}", draw.randrange(1, 5))
    return router


def _minutes(now: datetime) -> list[str]:
    """Return this minute and the next, as routers name them: sides that are compared may not choose in the same one."""
    return [f"{now + timedelta(minutes=later):%H-%M}" for later in (0, 1)]


def choosing(router: Any, group: str = "g0", tags: Sequence[str] = ()) -> Callable[[], Awaitable[Any]]:
    """Return a coroutine function that chooses a deployment for a request as ``Router.acompletion`` does."""

    def choose() -> Awaitable[Any]:
        metadata = {"tags": list(tags)} if tags else {}
        found: Awaitable[Any] = router.async_get_available_deployment(group, {"metadata": metadata}, QUESTION)
        return found

    return choose


def writing(router: Any) -> Callable[[], Awaitable[Any]]:
    """Return a choice before which the requests in flight of one deployment change."""
    choose, memory, counts = choosing(router), router.cache.in_memory_cache.cache_dict, cycle((1, 2))
    counter = next(key for key in memory if key.startswith("g0_request_count:"))

    def work() -> Awaitable[Any]:
        memory[counter] = next(counts)
        return choose()

    return work


def narrowing(demand: str, size: int) -> Callable[[], Awaitable[Any]]:
    """Return a choice among those of ``size`` deployments that meet a ``demand``, one of ``DEMANDS``."""
    from litellm import Router

    if demand == "wildcard":
        name, model, asked = "openai/*", "openai/*", "openai/gpt-4o-mini"
    else:
        name, model, asked = "g0", "openai/gpt-4o-mini", "g0"
    models = [
        {
            "model_name": name,
            "litellm_params": {"model": model, "api_key": "sk-benchmark", "tags": [("free", "paid")[index % 2]]},
            "model_info": {"id": f"{demand}-{index}"},
        }
        for index in range(size)
    ]
    settings = {"tags": {"enable_tag_filtering": True}, "pre-call checks": {"enable_pre_call_checks": True}}
    router = Router(model_list=models, **settings.get(demand, {}))
    return choosing(router, asked, ["paid"] if demand == "tags" else ())


def recording(router: Any, strategy: str, failure: bool) -> Callable[[], Awaitable[Any]]:
    """Return a coroutine function that records a finished call in the router and in its strategy."""
    from litellm import APIConnectionError, ModelResponse, Router, Usage

    kwargs = {
        "call_type": "acompletion",
        "litellm_params": {
            "metadata": {"model_group": "g0", "deployment": "openai/gpt-4o-mini"},
            "model_info": {"id": "d0-3"},
        },
        "standard_logging_object": {
            "model_group": "g0",
            "model_id": "d0-3",
            "total_tokens": 12,
            "hidden_params": {"litellm_model_name": "openai/gpt-4o-mini"},
        },
        "exception": APIConnectionError("gone", "openai", "gpt-4o-mini"),
    }
    response = ModelResponse(usage=Usage(completion_tokens=5, prompt_tokens=7, total_tokens=12))
    start = datetime(2026, 1, 1)
    call = (kwargs, response, start, start + timedelta(seconds=1))
    selector = getattr(router, Router._DEFAULT_SELECTOR_ATTR_BY_STRATEGY.get(strategy, ""), None)

    async def succeed() -> None:
        await router.deployment_callback_on_success(*call)
        if selector is not None:
            await selector.async_log_success_event(*call)

    async def fail() -> None:
        await router.async_deployment_callback_on_failure(*call)
        router.deployment_callback_on_failure(*call)
        if selector is not None:
            await selector.async_log_failure_event(*call)

    return fail if failure else succeed


# --- what varies ----------------------------------------------------------------------------------------------------


def tools(number: int) -> list[dict[str, Any]]:
    """Return the functions of agent ``number``: one to three, each its own."""
    return [
        {
            "type": "function",
            "function": {
                "name": f"tool_{number}_{place}",
                "description": f"Looks up {number} by {place}.",
                "parameters": {
                    "type": "object",
                    "properties": {f"field_{at}": {"type": "string", "description": "One of them."} for at in range(3)},
                    "required": ["field_0"],
                },
            },
        }
        for place in range(1 + number % 3)
    ]


def schema(number: int) -> dict[str, Any]:
    """Return a schema of function ``number`` as pydantic makes them."""
    item = {"type": "object", "title": "Item", "properties": {"code": {"type": "string", "pattern": "^[a-z]+$"}}}
    properties = {
        "kind": {"const": f"kind {number}", "title": "Kind", "type": "string"},
        "items": {"items": {"$ref": f"#/$defs/Item{number}"}, "title": "Items", "type": "array"},
        "sizes": {"additionalProperties": {"type": "integer"}, "title": "Sizes", "type": "object"},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None, "title": "Note"},
    }
    return {"$defs": {f"Item{number}": item}, "properties": properties, "required": ["kind"], "type": "object"}


def tracer() -> Any:
    """Return LiteLLM's OpenTelemetry logger, whose spans go into memory. Raises ``NotImplementedError``."""
    try:
        from litellm.integrations.opentelemetry import OpenTelemetry, OpenTelemetryConfig
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    except ImportError as error:
        raise NotImplementedError("opentelemetry-sdk is not installed") from error
    return OpenTelemetry(config=OpenTelemetryConfig(exporter=InMemorySpanExporter()))


#: What is other in each call, by the number of the call.
VARYING: dict[str, Callable[[int], dict[str, Any]]] = {
    "tools": lambda number: {"temperature": 0.31 + number % 97 / 200, "tools": tools(number)},
    "schemas": lambda number: {
        "tools": [
            {
                "type": "function",
                "function": {"name": f"tool_{number}", "description": "A.", "parameters": schema(number)},
            }
        ]
    },
    "headers": lambda number: {"extra_headers": {"x-request-id": f"r-{number}"}, "extra_body": {"seed_of": number}},
    "metadata": lambda number: {"metadata": {"session": f"s-{number}", "user": f"u-{number % 7}"}},
}


# --- beginnings -----------------------------------------------------------------------------------------------------

#: How many calls of a program are measured from its first on, and of how many kinds they are.
BEGINNINGS = (10, 100, 1000)
_KINDS, _SHAPES = 40, 10
_MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini")


def of_many_kinds(number: int) -> dict[str, Any]:
    """Return the arguments of call ``number`` of a program with 40 agents, which take turns.

    Each has its own system prompt. They pass ten sets of arguments, with values of their own, to four models.
    """
    kind = number % _KINDS
    shape = kind % _SHAPES
    given: dict[str, Any] = {
        "model": f"openai/{_MODELS[kind // _SHAPES]}",
        "messages": [
            {"role": "system", "content": f"You are agent {kind}. " * (1 + kind % 5)},
            {"role": "user", "content": f"Question {number}: what does a language model cost to run?"},
        ],
    }
    if shape & 1:
        given["temperature"] = 0.31 + kind / 100
    if shape & 2:
        given["tools"] = tools(kind)
    if shape & 4:
        given["max_tokens"] = 100 + kind
    if shape & 8:
        given["top_p"] = 0.5 + kind / 100
    return given


# --- limits ---------------------------------------------------------------------------------------------------------


def limiting() -> Work:
    """Return the check before a call and the count after it of a router's own limits, ``enforce_model_rate_limits``."""
    from litellm.caching.dual_cache import DualCache
    from litellm.router_utils.pre_call_checks.model_rate_limit_check import ModelRateLimitingCheck

    logger = ModelRateLimitingCheck(DualCache())
    model = "openai/gpt-4o-mini"
    deployment = {
        "model_name": "chat",
        "litellm_params": {"model": model, "rpm": 10**9, "tpm": 10**12},
        "model_info": {"id": "one"},
    }
    payload = {"model_id": "one", "total_tokens": 30, "hidden_params": {"litellm_model_name": model}}
    kwargs = {"standard_logging_object": payload, "metadata": {}}

    def check_and_count() -> None:
        logger.pre_call_check(deployment)
        logger.log_success_event(kwargs, None, None, None)

    return check_and_count


# --- attempts -------------------------------------------------------------------------------------------------------

RETRIED = ("completion", "acompletion", "router")
_LIMITED = 'answer as: error-429{"times": 1, "by_body": true, "headers": {"retry-after-ms": "1"}}'


def retried(kind: str, url: str) -> Callable[[int], Any]:
    """Return what makes the call with a number, which gets 429 first and is tried again at once.

    By the SDK, or by a router with another of its deployments. Calls with numbers below 0 get an answer at once.
    """
    import litellm

    # The provider counts for each key: not together with other processes.
    given = {"model": "openai/gpt-4o-mini", "api_base": url, "api_key": f"sk-{os.getpid()}"}
    entries = [{"model_name": "g", "litellm_params": given, "model_info": {"id": f"d{index}"}} for index in range(3)]
    router = litellm.Router(model_list=entries, num_retries=2, retry_after=0, disable_cooldowns=True)

    def one(number: int) -> Any:
        said = [{"role": "user", "content": f"Question {number}"}, {"role": "assistant", "content": "Yes?"}]
        messages = [*said, {"role": "user", "content": "Go on." if number < 0 else _LIMITED}]
        if kind == "router":
            return router.acompletion("g", messages)
        return (litellm.completion if kind == "completion" else litellm.acompletion)(**given, messages=messages)

    return one
