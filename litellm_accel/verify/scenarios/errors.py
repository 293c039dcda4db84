"""Every failure: status codes, retries and their pace, broken connections, timeouts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from litellm_accel.verify.scenario import ALL, DIRECT, ROUTED, Scenario, after_plain, themed

ONCE = {"max_retries": 0}


def error(status: int, then_ok: int = 0, *, soon: bool = True, **fields: Any) -> str:
    """An error answer; `soon` asks the client to retry after 20 ms, so that retries do not take long.

    With `then_ok` it comes to a caller that has had two plain answers, that many times.
    """
    headers = {**({"retry-after-ms": "20"} if soon else {}), **fields.pop("headers", {})}
    when = {"plain_first": 2, "times": then_ok} if then_ok else {}
    return f"error-{status}" + json.dumps({**when, "headers": headers, **fields})


FAULTS = (
    *(
        Scenario(f"status-{status}", ONCE, answer=error(status))
        for status in (400, 401, 402, 403, 404, 405, 408, 409, 413, 415, 418, 422, 429, 500, 501, 502, 503, 504, 529)
    ),
    *(Scenario(f"router-{status}", via=ROUTED, answer=error(status)) for status in (400, 429, 500)),
    # The only deployment cools down at once.
    *(Scenario(f"router-{status}", via=ROUTED, answer=error(status), way="either") for status in (401, 404)),
    Scenario("context-window", ONCE, answer="context-window", via=ALL),
    Scenario("content-policy", ONCE, answer="content-policy", via=ALL),
    Scenario("invalid-key", ONCE, answer="invalid-key"),
    Scenario("html", ONCE, answer="error-html"),
    Scenario("empty", ONCE, answer="error-empty"),
    Scenario("string", ONCE, answer="error-string"),
    Scenario("detail", ONCE, answer="error-detail"),
    Scenario("list", ONCE, answer=error(400, error=[{"error": {"message": "in a list"}}])),
    Scenario("null-message", ONCE, answer=error(400, error={"error": {"message": None, "code": 400}})),
    Scenario("code-number", ONCE, answer=error(429, error={"error": {"message": "slow down", "code": 429}})),
    Scenario("unicode", ONCE, answer=error(400, error={"error": {"message": "špatně 日本"}})),
    Scenario("long-message", ONCE, answer=error(400, error={"error": {"message": "long " * 5_000}})),
    Scenario(
        "too-long-text",
        ONCE,
        answer=error(400, error={"error": {"message": "This model's maximum context length is 8192 tokens."}}),
    ),
    Scenario("model-not-found", ONCE, answer=error(404, error={"error": {"message": "The model `x` does not exist"}})),
    Scenario("quota", ONCE, answer=error(429, error={"error": {"message": "quota", "code": "insufficient_quota"}})),
    Scenario("redirect", ONCE, answer="redirect", way="either"),
    Scenario("drop-request", ONCE, answer="drop-request", via=ALL),
    Scenario("drop-reset", ONCE, answer="drop-reset"),
    Scenario("drop-headers", ONCE, answer="drop-headers"),
    Scenario("drop-body", ONCE, answer="drop-body"),
)

SCENARIOS = themed(
    "errors",
    # For a caller that has had no answer yet, and for one that has had two.
    *(
        replace(fault, via=("completion",) if fault.via is DIRECT else fault.via, way="either", calls=3, crossing=True)
        for fault in FAULTS
        if not fault.name.startswith("status-") or fault.name in ("status-400", "status-429", "status-500")
    ),
    *after_plain(*FAULTS),
    # retries: how many, and when
    *(
        Scenario(f"retry-{status}", {"max_retries": 2}, answer=error(status, then_ok=1))
        for status in (408, 409, 429, 500, 503)
    ),
    # The first of these calls fails, and shows what the SDK sends; the next is sent again by what was learned of it.
    *(
        Scenario(f"retry-known-{status}", {"max_retries": 1}, answer=error(status, then_ok=3), calls=5)
        for status in (429, 500)
    ),
    Scenario("retry-400-not", {"max_retries": 2}, answer=error(400, then_ok=1)),
    Scenario("retry-default", answer=error(500, then_ok=2)),
    Scenario("retry-exhausted", {"max_retries": 2}, answer=error(500, then_ok=3)),
    Scenario("retry-exhausted-429", {"max_retries": 1}, answer=error(429, then_ok=2)),
    Scenario("retry-five", {"max_retries": 5}, answer=error(503, then_ok=5)),
    Scenario("should-retry", {"max_retries": 2}, answer=error(400, then_ok=1, headers={"x-should-retry": "true"})),
    Scenario("should-not-retry", {"max_retries": 2}, answer=error(500, then_ok=1, headers={"x-should-retry": "false"})),
    Scenario(
        "retry-after",
        {"max_retries": 1},
        answer='error-429-retry-after-0.3{"plain_first": 2, "times": 1}',
        gap=(0.29, 0.8),
        seconds=0.3,
    ),
    Scenario(
        "retry-after-ms",
        {"max_retries": 1},
        answer=error(429, then_ok=1, headers={"retry-after-ms": "250"}),
        gap=(0.24, 0.7),
        seconds=0.3,
    ),
    Scenario(
        "retry-after-ms-first",
        {"max_retries": 1},
        answer=error(429, then_ok=1, headers={"retry-after-ms": "200", "retry-after": "30"}),
        gap=(0.19, 0.7),
        seconds=0.3,
    ),
    *(
        Scenario(
            f"retry-after-{name}",
            {"max_retries": 1},
            answer=error(429, then_ok=1, soon=False, headers={"retry-after": value}),
            gap=(0.3, 2.0),
            seconds=0.9,
        )
        for name, value in (("garbage", "soon"), ("zero", "0"), ("negative", "-1"), ("too-long", "1000000"))
    ),
    Scenario(
        "back-off",
        {"max_retries": 2},
        answer=error(500, then_ok=2, soon=False),
        gap=(0.36, 1.8),
        seconds=2.0,
    ),
    Scenario("num-retries", {"num_retries": 2, "max_retries": 0}, answer=error(500, then_ok=1), way="either"),
    Scenario("num-retries-exhausted", {"num_retries": 1, "max_retries": 0}, answer=error(500), way="either"),
    # connections
    Scenario(
        "drop-retried",
        {"max_retries": 1},
        answer='drop-request{"plain_first": 2, "times": 1}',
        seconds=0.9,
        gap=(0.3, 2.0),
    ),
    Scenario("refused", {**ONCE, "api_base": "http://127.0.0.1:9/v1"}, way="either"),
    Scenario("bad-url", {**ONCE, "api_base": "nonsense"}, way="either"),
    Scenario("bad-scheme", {**ONCE, "api_base": "ftp://127.0.0.1/v1"}, way="either"),
    Scenario("bad-header", {**ONCE, "extra_headers": {"x-a": "a\nb"}}, way="either"),
    # timeouts
    Scenario("timeout", {**ONCE, "timeout": 0.2}, answer='stall{"plain_first": 2, "times": 1}', via=ALL, seconds=0.4),
    Scenario(
        "timeout-retried",
        {"max_retries": 1, "timeout": 0.2},
        answer='stall{"plain_first": 2, "times": 1}',
        calls=4,
        seconds=1.5,
    ),
    Scenario("timeout-short", {**ONCE, "timeout": 0.05}, answer='delay-0.2{"plain_first": 2, "times": 1}'),
    Scenario("slow", {**ONCE, "timeout": 5.0}, answer="delay-0.15", via=ALL, seconds=0.2),
)
