"""Every shape of answer with status 200, and how it travels."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from litellm_accel.verify.scenario import ALL, DIRECT, Scenario, after_plain, crossed, themed

# Of another domain than the provider's on loopback, so it is not kept.
OPENAI_COOKIE = "__cf_bm=x.y-1; path=/; expires=Fri, 01-Jan-38 00:00:00 GMT; domain=.api.openai.com; Secure"


def plain(**fields: Any) -> str:
    return "plain" + json.dumps(fields)


def in_turn(*answers: str) -> Any:
    """Return a script that makes calls which are alike and gets these answers."""

    async def script(stage: Any) -> None:
        function = stage.entry()
        for answer in answers:
            await stage.acall(function, stage.arguments(messages=asking(answer)))
            await stage.settled()

    return script


def in_turn_sync(*answers: str) -> Any:
    """The same for threads."""

    def script(stage: Any) -> None:
        function = stage.entry()
        for answer in answers:
            stage.call(function, stage.arguments(messages=asking(answer)))
            stage.loop.run_until_complete(stage.settled())

    return script


def asking(answer: str) -> list[dict[str, str]]:
    """A conversation that the provider answers so."""
    return [{"role": "user", "content": f"answer as: {answer}"}]


def _counting(prompt: int, completion: int, total: int, **more: Any) -> str:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total, **more}
    return plain(usage=usage)


SHAPES = (
    Scenario("echo", answer="echo", via=ALL),
    Scenario("large", answer="large", via=ALL),
    Scenario("huge", answer=plain(size=256 * 1024)),
    Scenario("empty", answer="empty"),
    Scenario("null-content", answer="null-content"),
    Scenario("tools", answer="tools", via=ALL),
    Scenario("parallel-tools", answer="parallel-tools"),
    Scenario("content-and-tools", answer="content-and-tools"),
    Scenario("tools-stop", answer=plain(tool_calls=True, content=None, finish="stop")),
    Scenario("tools-empty-list", answer=plain(message={"tool_calls": []})),
    Scenario("tools-null", answer=plain(message={"tool_calls": None})),
    Scenario(
        "tools-no-arguments", answer=plain(tool_calls=[{"id": "c", "type": "function", "function": {"name": "f"}}])
    ),
    Scenario(
        "tools-no-id",
        answer=plain(tool_calls=[{"type": "function", "function": {"name": "f", "arguments": "{}"}}]),
        way="either",
    ),
    Scenario(
        "tools-object-arguments",
        answer=plain(tool_calls=[{"id": "c", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}]),
        way="either",
    ),
    Scenario("function-call", answer="function-call"),
    Scenario("refusal", answer="refusal"),
    Scenario("reasoning", answer="reasoning"),
    Scenario("reasoning-field", answer=plain(message={"reasoning": "think"})),
    Scenario("think-tags", answer="think-tags", way="either"),
    Scenario("thinking-blocks", answer=plain(message={"thinking_blocks": [{"type": "thinking", "thinking": "t"}]})),
    Scenario(
        "annotations",
        answer=plain(message={"annotations": [{"type": "url_citation", "url_citation": {}}]}),
        way="either",
    ),
    Scenario("citations", answer=plain(merge={"citations": ["https://example.invalid"]})),
    Scenario("audio", answer=plain(message={"audio": {"id": "a", "data": "AAAA", "expires_at": 1, "transcript": "t"}})),
    Scenario("images", answer=plain(message={"images": [{"type": "image_url", "image_url": {"url": "data:,"}}]})),
    Scenario("n-3", {"n": 3}, answer="plain"),
    Scenario("n-unasked", answer=plain(n=2)),
    Scenario("logprobs", answer="logprobs"),
    Scenario("length", answer="length"),
    Scenario("content-filter", answer="content-filter"),
    Scenario("finish-null", answer=plain(finish=None)),
    Scenario("finish-details", answer=plain(finish=None, choice={"finish_details": "max_tokens"}), way="either"),
    Scenario("finish-unknown", answer=plain(finish="eos_token"), way="either"),
    Scenario("no-usage", answer="no-usage", via=ALL),
    Scenario("usage-details", answer="details", via=ALL),
    Scenario(
        "usage-null-details",
        answer=plain(
            usage={
                "prompt_tokens": 5,
                "completion_tokens": 2,
                "total_tokens": 7,
                "prompt_tokens_details": None,
                "completion_tokens_details": None,
            }
        ),
    ),
    Scenario("usage-partial", answer=plain(usage={"prompt_tokens": 5})),
    Scenario("usage-zero", answer=plain(usage={"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0})),
    Scenario(
        "usage-nulls",
        answer=plain(usage={"prompt_tokens": None, "completion_tokens": None, "total_tokens": None}),
        way="either",
    ),
    Scenario(
        "usage-floats",
        answer=plain(usage={"prompt_tokens": 5.0, "completion_tokens": 2.0, "total_tokens": 7.0}),
        way="either",
    ),
    Scenario("usage-text", answer=plain(usage="many"), way="either"),
    Scenario("usage-cost-text", answer=_counting(20, 2, 22, cost="0.25"), way="either"),
    Scenario("hidden-params", answer=plain(merge={"_hidden_params": "x", "hidden_params": "y"}), way="either"),
    Scenario("nested", answer=plain(body='{"a":' * 900 + "1" + "}" * 900), way="either"),
    Scenario(
        "usage-deepseek",
        answer=plain(
            usage={
                "prompt_tokens": 20,
                "completion_tokens": 2,
                "total_tokens": 22,
                "prompt_cache_hit_tokens": 16,
                "prompt_cache_miss_tokens": 4,
            }
        ),
    ),
    Scenario(
        "usage-cost",
        answer=plain(
            usage={"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22, "cost": 0.25, "is_byok": False}
        ),
    ),
    Scenario(
        "usage-anthropic",
        answer=plain(
            usage={
                "prompt_tokens": 20,
                "completion_tokens": 2,
                "total_tokens": 22,
                "cache_creation_input_tokens": 3,
                "cache_read_input_tokens": 9,
            }
        ),
    ),
    Scenario("vendor-fields", answer="vendor-fields", via=ALL),
    Scenario("service-tier", answer=plain(merge={"service_tier": "flex"})),
    Scenario("other-model", answer=plain(merge={"model": "gpt-4o-2024-08-06"}), via=ALL),
    Scenario("unknown-model", answer=plain(merge={"model": "a-model-without-a-price"})),
    Scenario("null-model", answer=plain(merge={"model": None}), way="either"),
    Scenario("null-fingerprint", answer=plain(merge={"system_fingerprint": None})),
    Scenario("other-object", answer=plain(merge={"object": "text_completion"}), way="either"),
    Scenario("created-float", answer=plain(merge={"created": 1700000000.5}), way="either"),
    Scenario("created-null", answer=plain(merge={"created": None}), way="either"),
    Scenario("missing-id", answer="missing-id", way="either"),
    Scenario("missing-model", answer="missing-model", way="either"),
    Scenario("null-id", answer=plain(merge={"id": None}), way="either"),
    Scenario("role-other", answer=plain(message={"role": "model"}), way="either"),
    Scenario(
        "role-missing",
        answer=plain(merge={"choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}]}),
        way="either",
    ),
    Scenario("message-missing", answer=plain(merge={"choices": [{"index": 0, "finish_reason": "stop"}]}), way="either"),
    Scenario(
        "message-null",
        answer=plain(merge={"choices": [{"index": 0, "message": None, "finish_reason": "stop"}]}),
        way="either",
    ),
    Scenario(
        "index-missing",
        answer=plain(merge={"choices": [{"message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}]}),
        way="either",
    ),
    Scenario(
        "index-odd",
        answer=plain(
            merge={"choices": [{"index": 7, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}]}
        ),
        way="either",
    ),
    Scenario("content-parts", answer=plain(message={"content": [{"type": "text", "text": "a"}]}), way="either"),
    Scenario("content-number", answer=plain(message={"content": 42}), way="either"),
    Scenario("no-choices", answer="no-choices", way="either"),
    Scenario("null-choices", answer="null-choices", way="either"),
    Scenario("missing-choices", answer="missing-choices", way="either"),
    Scenario("error-in-200", answer="error-in-200", way="either"),
    Scenario("not-json", answer="not-json", way="either"),
    Scenario("broken-json", answer="broken-json", way="either"),
    Scenario("not-an-object", answer="not-an-object", way="either"),
    Scenario("json-null", answer="json-null", way="either"),
    Scenario("json-string", answer="json-string", way="either"),
    Scenario("no-body", answer="no-body", way="either"),
    Scenario("nan", answer=plain(body='{"id": "a", "choices": [], "x": NaN}'), way="either"),
    Scenario(
        "duplicate-keys",
        answer=plain(
            body='{"id":"a","id":"b","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}]}'
        ),
    ),
    Scenario(
        "big-numbers",
        answer=plain(
            body='{"id":"a","object":"chat.completion","created":1,"model":"m","big":123456789012345678901234567890,"choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}]}'
        ),
        way="either",
    ),
    Scenario(
        "escapes",
        answer=plain(
            body='{"id":"a","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"\\u00e9\\ud83d\\ude00\\n\\u0000"},"finish_reason":"stop"}]}'
        ),
    ),
    Scenario(
        "lone-surrogate",
        answer=plain(
            body='{"id":"a","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"\\ud83d"},"finish_reason":"stop"}]}'
        ),
        way="either",
    ),
    Scenario(
        "byte-order-mark",
        answer=plain(
            body='\ufeff{"id":"a","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}]}'
        ),
        way="either",
    ),
)

# Answers of one shape, which LiteLLM treats by what their numbers come to.
ALIKE = (
    Scenario(
        "reasoning-exceeds",
        script=in_turn(
            *[_counting(9, 20, 29, reasoning_tokens=50)] * 3,
            _counting(9, 50, 59, reasoning_tokens=20),
        ),
        way="either",
    ),
    Scenario("prompt-of-none", script=in_turn(*[_counting(0, 5, 5)] * 3, _counting(0, 5, 9))),
    Scenario("completion-of-none", script=in_turn(*[_counting(5, 0, 5)] * 3, _counting(5, 0, 30))),
    Scenario("total-is-other", script=in_turn(*[_counting(5, 2, 7)] * 3, _counting(5, 2, 30), _counting(5, 200, 3))),
)
MANY = tuple(f"x-{number}" for number in range(130))  # more than aiohttp takes
TRAVELS = (
    Scenario("gzip", answer="gzip", via=ALL),
    Scenario("deflate", answer="deflate", way="either"),
    Scenario("chunked", answer="chunked", via=ALL),
    Scenario("connection-close", answer="close", via=ALL),
    Scenario("hang-up", answer="hangup", via=ALL),
    Scenario("status-201", answer=plain(status=201), way="either"),
    Scenario("content-type-missing", answer=plain(headers={"content-type": ""}), way="either"),
    Scenario("content-type-text", answer=plain(headers={"content-type": "text/plain"}), way="either"),
    Scenario(
        "headers-extra", answer=plain(headers={"x-extra": "1", "X-Upper": "A", "server-timing": "a;dur=1"}), via=ALL
    ),
    # Not Router.completion: which of stock's clients it gets, and so which cookies, differs from run to run.
    Scenario("cookie", answer=plain(headers={"set-cookie": "a=b"}), via=(*DIRECT, "arouter")),
    Scenario("cookie-openai", answer=plain(headers={"set-cookie": OPENAI_COOKIE}), via=(*DIRECT, "arouter")),
    Scenario("headers-rate-limit", answer=plain(headers={"x-ratelimit-remaining-requests": "0", "retry-after": "1"})),
    Scenario("headers-latin-1", {"max_retries": 0}, answer=plain(headers={"x-name": "caf\u00e9"}), way="either"),
    Scenario("header-long", {"max_retries": 0}, answer=plain(headers={"x-long": "v" * 8500}), way="either"),
    Scenario("headers-many", {"max_retries": 0}, answer=plain(headers=dict.fromkeys(MANY, "v")), way="either"),
)

SCENARIOS = themed(
    "responses",
    *(replace(shape, via=shape.via if shape.via == ALL else ("acompletion",)) for shape in SHAPES),
    *(replace(alike, via=("acompletion",)) for alike in ALIKE),
    *TRAVELS,
    *crossed(*after_plain(*SHAPES, via=("completion",)), *after_plain(*TRAVELS)),
)
