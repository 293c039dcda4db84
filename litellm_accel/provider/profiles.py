"""How the real providers answer: headers, cookies, encodings, members of answers, streams and errors, as data.

Each profile names where its facts are from. `{name}` in a text is filled in from `varying`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from litellm_accel.provider.varying import Varying

Json = Any


@dataclass(frozen=True)
class Header:
    """A header of each answer, or, with `one_in`, of some: of about one in so many."""

    name: str
    value: str
    one_in: int = 1


@dataclass(frozen=True)
class Cookie:
    """A cookie that is set where the client has sent none, and renewed with about one in so many answers."""

    name: str
    value: str
    one_in: int = 6


@dataclass(frozen=True)
class Stream:
    """How a stream differs from the plain one."""

    prelude: Json = None  # a chunk of its own before the first
    first: Json = field(default_factory=dict)  # members of the first chunk
    last: Json = field(default_factory=dict)  # members of the chunk that has the finish reason
    choice: Json = field(default_factory=dict)  # members of each choice
    #: Where usage is: in a chunk of its own where it was asked for or always, or in the chunk with the finish reason.
    usage: Literal["asked", "always", "finish"] = "asked"
    nulls: bool = True  # chunks without usage say so where it was asked for
    obfuscation: bool = False  # a text of random length in each chunk, which hides how long its content is
    comment: str = "keep-alive"
    comments: tuple[int, ...] = ()  # before which events there is one


@dataclass(frozen=True, eq=False)
class Profile:
    """One provider. The defaults are the plain profile, which says nothing but what the protocol wants."""

    name: str
    edge: tuple[Header, ...] = ()  # of whoever is in front of the provider; answers that it gives itself have these
    origin: tuple[Header, ...] = ()
    cookies: tuple[Cookie, ...] = ()
    stream_headers: tuple[Header, ...] = ()
    encodings: tuple[str, ...] = ()  # of answers that are no streams; the first that the client accepts
    chunked: bool = False  # what is packed has no length
    indent: bool = False
    requests: int = 0  # answered on a connection before it is closed; 0: no end
    page: str = "nginx"  # who signs a page with an error

    identifier: str = "chatcmpl-provider"
    dated: bool = False  # `created` moves on
    models: Mapping[str, str] = field(default_factory=dict)  # what a model is called in its answers
    fingerprint: str | None = "fp_provider"
    answer: Json = field(default_factory=dict)
    chunk: Json = field(default_factory=dict)
    message: Json = field(default_factory=dict)
    choice: Json = field(default_factory=dict)
    without: frozenset[str] = frozenset()  # of "refusal" and "logprobs"
    usage: Callable[[Json, Varying], Json] = lambda usage, varying: usage
    reasoning: str = "reasoning_content"
    numbered_tools: bool = False  # tool calls of an answer have an index, as those of a chunk
    tool_id: str = ""
    stream: Stream = field(default_factory=Stream)
    error: Callable[[int, Json, Varying], Json] = lambda status, error, varying: {"error": error}


RATE_LIMIT_HEADERS = {
    "x-request-id": "req_provider",
    "openai-organization": "loopback",
    "openai-processing-ms": "1",
    "openai-version": "2020-10-01",
    "x-ratelimit-limit-requests": "10000",
    "x-ratelimit-limit-tokens": "2000000",
    "x-ratelimit-remaining-requests": "9999",
    "x-ratelimit-remaining-tokens": "1999978",
    "x-ratelimit-reset-requests": "6ms",
    "x-ratelimit-reset-tokens": "0s",
}

PLAIN = Profile("plain", origin=tuple(Header(name, value) for name, value in RATE_LIMIT_HEADERS.items()))

#: As Cloudflare sends them over HTTP/1.1 in front of whomever; the cookies are described in its "Cloudflare cookies".
CLOUDFLARE = (
    Header("Date", "{date}"),
    Header("Connection", "keep-alive"),
    Header("Server", "cloudflare"),
    Header("CF-RAY", "{ray}-{colo}"),
    Header("cf-cache-status", "DYNAMIC", one_in=4),
    Header("alt-svc", 'h3=":443"; ma=86400'),
)
BOT_COOKIE = Cookie(
    "__cf_bm",
    "{token43}-{created}-1.0.1.1-{token86}; path=/; expires={expires}; domain={host}; HttpOnly; Secure; SameSite=None",
)
VISITOR_COOKIE = Cookie(
    "_cfuvid",
    "{token43}-{created_ms}-0.0.1.1-604800000; path=/; domain={host}; HttpOnly; Secure; SameSite=None",
)

#: How compressed answers leave Cloudflare: "Content compression" of its docs.
COMPRESSED = ("br", "gzip")

DATED_MODELS = {
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-4.1": "gpt-4.1-2025-04-14",
    "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
}


def _details(prompt: Json, completion: Json = None) -> Callable[[Json, Varying], Json]:
    """Add details of the prompt's and the completion's tokens, where the usage is not the scenario's own."""

    def detailed(usage: Json, varying: Varying) -> Json:
        more = {"prompt_tokens_details": prompt, **({"completion_tokens_details": completion} if completion else {})}
        return {**more, **usage} if "prompt_tokens_details" in usage else {**usage, **more}

    return detailed


OPENAI_COMPLETION = {
    "reasoning_tokens": 0,
    "audio_tokens": 0,
    "accepted_prediction_tokens": 0,
    "rejected_prediction_tokens": 0,
}

#: Headers and answer: dumps of curl -i in public repositories (yasuota/FastlyAIAccelerator-OpenAI), the recordings of
#: pydantic/pydantic-ai (test_openai), OpenAI's API reference on headers, and its "stream_options.include_obfuscation".
OPENAI = Profile(
    "openai",
    edge=CLOUDFLARE,
    origin=(
        Header("access-control-expose-headers", "X-Request-ID"),
        Header("openai-organization", "user-loopback"),
        Header("openai-processing-ms", "{milliseconds}"),
        Header("openai-project", "proj_loopback", one_in=2),
        Header("openai-version", "2020-10-01"),
        Header("x-envoy-upstream-service-time", "{latency}", one_in=3),
        Header("x-ratelimit-limit-requests", "10000"),
        Header("x-ratelimit-limit-tokens", "2000000"),
        Header("x-ratelimit-remaining-requests", "{requests_left}"),
        Header("x-ratelimit-remaining-tokens", "{tokens_left}"),
        Header("x-ratelimit-reset-requests", "{reset_requests}"),
        Header("x-ratelimit-reset-tokens", "{reset_tokens}"),
        Header("x-request-id", "req_{hex32}"),
        Header("strict-transport-security", "max-age=31536000; includeSubDomains; preload"),
        Header("X-Content-Type-Options", "nosniff"),
    ),
    cookies=(BOT_COOKIE, VISITOR_COOKIE),
    encodings=COMPRESSED,
    chunked=True,
    indent=True,
    page="cloudflare",
    identifier="chatcmpl-{id29}",
    dated=True,
    models=DATED_MODELS,
    fingerprint="fp_b28b39ffa8",
    message={"annotations": []},
    answer={"service_tier": "default"},
    chunk={"service_tier": "default"},
    tool_id="call_{id20}",
    usage=_details({"cached_tokens": 0, "audio_tokens": 0}, OPENAI_COMPLETION),
    stream=Stream(obfuscation=True),
)

SAFE: Json = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}


def _azure_error(status: int, error: Json, varying: Varying) -> Json:
    return {"error": {**error, "code": str(status) if status in (401, 404, 429) else error["code"]}}


#: Headers: dumps in public write-ups (POST …/openai/deployments/… with a response), Microsoft's REST reference and
#: "Content filtering" for the members of answers, prompt_filter_results and the first chunk of a stream.
AZURE = Profile(
    "azure",
    edge=(
        Header("Date", "{date}"),
        Header("Strict-Transport-Security", "max-age=31536000; includeSubDomains; preload"),
    ),
    origin=(
        Header("Cache-Control", "no-cache, must-revalidate", one_in=2),
        Header("access-control-allow-origin", "*", one_in=3),
        Header("apim-request-id", "{uuid}"),
        Header("x-content-type-options", "nosniff"),
        Header("x-ms-region", "East US 2"),
        Header("x-ratelimit-limit-requests", "1000"),
        Header("x-ratelimit-limit-tokens", "1000000"),
        Header("x-ratelimit-remaining-requests", "{requests_left}"),
        Header("x-ratelimit-remaining-tokens", "{tokens_left}"),
        Header("x-accel-buffering", "no"),
        Header("x-ms-rai-invoked", "true"),
        Header("X-Request-ID", "{uuid2}"),
        Header("x-ms-client-request-id", "{uuid}"),
        Header("azureml-model-session", "d{id7}"),
        Header("x-ms-deployment-name", "chat", one_in=2),
    ),
    page="Microsoft-Azure-Application-Gateway/v2",
    identifier="chatcmpl-{id29}",
    dated=True,
    models=DATED_MODELS,
    fingerprint="fp_b705f0c291",
    answer={"prompt_filter_results": [{"prompt_index": 0, "content_filter_results": SAFE}]},
    message={"annotations": []},
    choice={"content_filter_results": SAFE},
    tool_id="call_{id20}",
    usage=_details({"cached_tokens": 0, "audio_tokens": 0}, OPENAI_COMPLETION),
    stream=Stream(
        prelude={
            "choices": [],
            "created": 0,
            "id": "",
            "model": "",
            "object": "",
            "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": SAFE}],
        },
        choice={"content_filter_results": {}},
        obfuscation=True,
    ),
    error=_azure_error,
)


def _groq_usage(usage: Json, varying: Varying) -> Json:
    prompt, completion = (varying.number(at, 60_000) / 1e6 + 0.000123 for at in (14, 16))
    return {
        "queue_time": varying.number(18, 60_000) / 1e6 + 0.017,
        "prompt_tokens": usage["prompt_tokens"],
        "prompt_time": prompt,
        "completion_tokens": usage["completion_tokens"],
        "completion_time": completion,
        "total_tokens": usage["total_tokens"],
        "total_time": prompt + completion,
        **{name: value for name, value in usage.items() if name.endswith("_details")},
    }


#: Headers: Groq's "Rate limits" (of which those of requests are a day's), the recordings of pydantic/pydantic-ai
#: (test_groq) and charmbracelet/fantasy for the answer, x_groq and streams; x-groq-region as clients of Groq read it.
GROQ = Profile(
    "groq",
    edge=CLOUDFLARE,
    origin=(
        Header("Cache-Control", "private, max-age=0, no-store, no-cache, must-revalidate"),
        Header("vary", "Origin"),
        Header("x-groq-region", "dls"),
        Header("x-ratelimit-limit-requests", "14400"),
        Header("x-ratelimit-limit-tokens", "6000"),
        Header("x-ratelimit-remaining-requests", "{requests_left}"),
        Header("x-ratelimit-remaining-tokens", "{tokens_left}"),
        Header("x-ratelimit-reset-requests", "{reset_minutes}"),
        Header("x-ratelimit-reset-tokens", "{reset_requests}"),
        Header("x-request-id", "req_{ulid}"),
        Header("via", "1.1 google", one_in=2),
        Header("strict-transport-security", "max-age=15552000"),
    ),
    cookies=(BOT_COOKIE,),
    encodings=COMPRESSED,
    chunked=True,
    page="cloudflare",
    identifier="chatcmpl-{uuid}",
    dated=True,
    fingerprint="fp_5cf921caa2",
    answer={"usage_breakdown": None, "x_groq": {"id": "req_{ulid}", "seed": 1903311360}, "service_tier": "on_demand"},
    without=frozenset({"refusal"}),
    reasoning="reasoning",
    tool_id="call_{id20}",
    usage=_groq_usage,
    stream=Stream(
        first={"x_groq": {"id": "req_{ulid}", "seed": 1903311360}},
        last={"x_groq": {"id": "req_{ulid}"}},
        usage="finish",
        nulls=False,
    ),
)


def _openrouter_usage(usage: Json, varying: Varying) -> Json:
    return {
        **_details({"cached_tokens": 0, "audio_tokens": 0}, {"reasoning_tokens": 0, "image_tokens": 0})(usage, varying),
        "cost": varying.number(20, 9_000) / 1e7 + 1e-6,
        "is_byok": False,
        "cost_details": {"upstream_inference_cost": None},
    }


def _openrouter_error(status: int, error: Json, varying: Varying) -> Json:
    metadata = {"metadata": {"raw": error["message"], "provider_name": "OpenAI"}} if status in (429, 502, 503) else {}
    return {"error": {"message": error["message"], "code": status, **metadata}, "user_id": "user_loopback"}


#: The recordings of pydantic/pydantic-ai (test_openrouter) for headers, streams and answers, those of
#: charmbracelet/fantasy for errors, OpenRouter's "Streaming" for the comment and "Usage accounting" for the cost.
OPENROUTER = Profile(
    "openrouter",
    edge=CLOUDFLARE,
    origin=(
        Header("Access-Control-Allow-Origin", "*"),
        Header("Vary", "Accept-Encoding"),
        Header(
            "Permissions-Policy",
            'payment=(self "https://checkout.stripe.com" "https://connect-js.stripe.com" "https://js.stripe.com")',
        ),
        Header("Referrer-Policy", "no-referrer, strict-origin-when-cross-origin"),
        Header("X-Content-Type-Options", "nosniff", one_in=2),
    ),
    encodings=COMPRESSED,
    chunked=True,
    page="cloudflare",
    identifier="gen-{created}-{id20}",
    dated=True,
    answer={"provider": "OpenAI"},
    chunk={"provider": "OpenAI"},
    message={"reasoning": None},
    choice={"native_finish_reason": "{finish}"},
    fingerprint=None,
    reasoning="reasoning",
    numbered_tools=True,
    tool_id="call_{id20}",
    usage=_openrouter_usage,
    stream=Stream(usage="always", nulls=False, comment="OPENROUTER PROCESSING", comments=(0, 0, 1)),
    error=_openrouter_error,
)


def _mistral_error(status: int, error: Json, varying: Varying) -> Json:
    kinds = {401: "unauthorized", 429: "rate_limited", 422: "invalid_request_error"}
    code = {429: "1300", 401: "1000"}.get(status, "3000")
    return {
        "object": "error",
        "message": error["message"],
        "type": kinds.get(status, "internal_server_error" if status >= 500 else "invalid_request_error"),
        "param": None,
        "code": code,
    }


#: The recordings of pydantic/pydantic-ai (test_mistral) for the answer and some headers; Kong's and Mistral's other
#: headers and the error of a rate limit as public clients of it name them.
MISTRAL = Profile(
    "mistral",
    edge=CLOUDFLARE,
    origin=(
        Header("access-control-allow-origin", "*"),
        Header("mistral-correlation-id", "{uuid}"),
        Header("x-kong-request-id", "{uuid}"),
        Header("x-envoy-upstream-service-time", "{latency}"),
        Header("x-kong-upstream-latency", "{latency}"),
        Header("x-kong-proxy-latency", "{reset_seconds}"),
        Header("x-ratelimit-limit-req-minute", "60", one_in=2),
        Header("x-ratelimit-remaining-req-minute", "{reset_seconds}", one_in=2),
        Header("x-ratelimit-limit-tokens-minute", "2000000"),
        Header("x-ratelimit-remaining-tokens-minute", "{tokens_left}"),
        Header("strict-transport-security", "max-age=15552000; includeSubDomains; preload"),
    ),
    cookies=(BOT_COOKIE, VISITOR_COOKIE),
    encodings=COMPRESSED,
    chunked=True,
    page="cloudflare",
    identifier="{hex32}",
    dated=True,
    fingerprint=None,
    message={"tool_calls": None},
    without=frozenset({"refusal", "logprobs"}),
    numbered_tools=True,
    tool_id="{id9}",
    usage=_details({"cached_tokens": 0}),
    stream=Stream(usage="finish", nulls=False),
    error=_mistral_error,
)


def _deepseek_usage(usage: Json, varying: Varying) -> Json:
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
    return {
        **_details({"cached_tokens": cached})(usage, varying),
        "prompt_cache_hit_tokens": cached,
        "prompt_cache_miss_tokens": usage["prompt_tokens"] - cached,
    }


#: The recordings of pydantic/pydantic-ai (test_deepseek) for headers, answers and streams, DeepSeek's "Rate limit" for
#: empty lines and comments while one waits, clients of it for x-ds-trace-id.
DEEPSEEK = Profile(
    "deepseek",
    edge=(
        Header("Date", "{date}"),
        Header("Connection", "keep-alive"),
        Header("Server", "CloudFront", one_in=2),
        Header("strict-transport-security", "max-age=31536000; includeSubDomains; preload"),
    ),
    origin=(
        Header("vary", "origin, access-control-request-method, access-control-request-headers"),
        Header("access-control-allow-credentials", "true"),
        Header("x-ds-trace-id", "{hex32}"),
        Header("x-content-type-options", "nosniff"),
    ),
    stream_headers=(Header("cache-control", "no-cache"),),
    encodings=("gzip",),
    chunked=True,
    identifier="{uuid}",
    dated=True,
    fingerprint="fp_5417b77867_prod0225",
    without=frozenset({"refusal"}),
    numbered_tools=True,
    tool_id="call_0_{uuid2}",
    usage=_deepseek_usage,
    stream=Stream(usage="finish", comments=(0,)),
)

#: Together's "Rate limits" for the headers and its API reference for members of answers and chunks.
TOGETHER = Profile(
    "together",
    edge=CLOUDFLARE,
    origin=(
        Header("x-ratelimit-limit", "10"),
        Header("x-ratelimit-remaining", "9"),
        Header("x-ratelimit-reset", "{reset_seconds}"),
        Header("x-request-id", "{id7}-{ray}"),
        Header("etag", 'W/"{id7}"', one_in=2),
        Header("vary", "Accept-Encoding"),
        Header("strict-transport-security", "max-age=15552000; includeSubDomains"),
    ),
    cookies=(BOT_COOKIE,),
    encodings=COMPRESSED,
    chunked=True,
    page="cloudflare",
    identifier="{id7}-{ray}-{colo}",
    dated=True,
    fingerprint=None,
    answer={"prompt": []},
    message={"tool_calls": []},
    choice={"seed": 17003113600123456000},
    without=frozenset({"refusal"}),
    numbered_tools=True,
    tool_id="call_{id20}",
    stream=Stream(usage="finish", nulls=False),
)


def _vllm_error(status: int, error: Json, varying: Varying) -> Json:
    kind = {401: "Unauthorized", 404: "NotFoundError"}.get(
        status, "BadRequestError" if status < 500 else "InternalServerError"
    )
    return {"error": {"message": error["message"], "type": kind, "param": None, "code": status}}


#: vLLM's entrypoints/openai/protocol.py in its docs; headers are uvicorn's.
VLLM = Profile(
    "vllm",
    edge=(Header("date", "{date}"), Header("server", "uvicorn")),
    identifier="chatcmpl-{hex32}",
    dated=True,
    fingerprint=None,
    message={
        "annotations": None,
        "audio": None,
        "function_call": None,
        "tool_calls": [],
        "reasoning_content": None,
    },
    choice={"stop_reason": None, "token_ids": None},
    answer={
        "service_tier": None,
        "system_fingerprint": None,
        "prompt_logprobs": None,
        "prompt_token_ids": None,
        "kv_transfer_params": None,
    },
    tool_id="chatcmpl-tool-{hex32}",
    usage=lambda usage, varying: {"prompt_tokens_details": None, **usage},
    stream=Stream(nulls=False),
    error=_vllm_error,
)

#: A reverse proxy that adds nothing: Caddy's directive `encode` for zstd, Apache's default of MaxKeepAliveRequests.
GATEWAY = Profile("gateway", encodings=("zstd", "gzip"), requests=100, identifier="chatcmpl-{id29}", dated=True)

#: Every profile by its name.
PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (PLAIN, OPENAI, AZURE, GROQ, OPENROUTER, MISTRAL, DEEPSEEK, TOGETHER, VLLM, GATEWAY)
}
