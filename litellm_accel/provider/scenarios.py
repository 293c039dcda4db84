"""Scenarios: how a request is answered, told by a name."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import Any, Literal

import orjson

Json = Any
STALL_SECONDS = 120.0


def openai_error(message: str, kind: str, code: str | None, param: str | None = None) -> Json:
    """The body of an error in OpenAI's form."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


@dataclass(frozen=True, eq=False)
class Scenario:
    """How one request is answered. The defaults are a plain answer. Compared by identity: `scenario()` caches."""

    # When it is played: after `plain_first` plain answers, `times` times (None: always), then plain answers follow.
    # Counted for each path, key and model; or for each key and body, and anew after one plain answer.
    plain_first: int = 0
    times: int | None = None
    by_body: bool = False

    # The fault.
    status: int = 200
    headers: dict[str, str | None] = field(default_factory=dict)  # over the usual ones; null: left out
    body: str | None = None  # sent instead of the JSON the other fields describe
    error: Json = None  # body of an error status; default is OpenAI's shape
    delay: float = 0.0  # seconds before the first byte
    drop: Literal["", "request", "headers", "body"] = ""  # close before the headers, within them, within the body
    reset: bool = False  # drop with a TCP reset

    edge: bool = False  # a page with the status, by whoever is in front of the provider

    # The answer.
    profile: str = ""  # whose it is; default: that of the provider as it was started
    content: str | None = "auto"  # "auto": derived from the messages; "echo": the last message's text
    size: int = 0  # pad the content to that many characters
    n: int | None = None  # choices; default: the request's n
    tool_calls: Json = None  # a list, or true for one call of the request's first tool
    reasoning: str | None = None
    refusal: str | None = None
    finish: str | None = "stop"
    usage: Json = "auto"  # "auto", "details" (cached, reasoning, audio), null (left out) or an object
    message: Json = field(default_factory=dict)  # members added to each message or delta
    choice: Json = field(default_factory=dict)  # members added to each choice
    merge: Json = field(default_factory=dict)  # members added to the answer or to each stream chunk
    omit: list[str] = field(default_factory=list)  # members left out of the answer or of each stream chunk

    # How the answer travels.
    encoding: Literal["", "gzip", "deflate", "br", "zstd", "identity"] = ""  # default: what both ends know
    blank_lines: int = 0  # empty lines before the body, each in a chunk of its own: the provider is busy
    chunked: bool = False
    after: Literal["keep", "close", "hangup"] = "keep"  # "hangup" closes without having said so

    # The stream.
    chunks: int = 8  # content deltas
    packet: int = 0  # events a packet; 0: one packet an event
    split: int = 0  # bytes a packet, wherever that cuts
    pause: float = 0.0  # seconds between packets
    newline: str = "\n"
    comments: bool = False
    done: bool = True  # ends with [DONE]
    cut: int | None = None  # the connection is closed after that many events
    stall: int | None = None  # nothing is sent any more after that many events
    inject: dict[str, str] = field(default_factory=dict)  # event number -> raw data sent before it


TOOL_CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}
TOOL_CALL_2 = {"id": "call_2", "type": "function", "function": {"name": "get_time", "arguments": '{"zone": "CET"}'}}
USAGE_DETAILS = {
    "prompt_tokens": 1200,
    "completion_tokens": 340,
    "total_tokens": 1540,
    "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 256,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 3,
        "rejected_prediction_tokens": 1,
    },
}
LOGPROBS = {
    "content": [
        {
            "token": "Hi",
            "logprob": -0.125,
            "bytes": [72, 105],
            "top_logprobs": [{"token": "Hi", "logprob": -0.125, "bytes": [72, 105]}],
        }
    ],
    "refusal": None,
}
CONTENT_POLICY = openai_error(
    "Your request was rejected as a result of our safety system. content_policy_violation",
    "invalid_request_error",
    "content_policy_violation",
)
CONTEXT_WINDOW = openai_error(
    "This model's maximum context length is 128000 tokens. However, your messages resulted in 130001 tokens.",
    "invalid_request_error",
    "context_length_exceeded",
    "messages",
)
STREAM_ERROR = orjson.dumps(
    openai_error("The server had an error while streaming", "server_error", "stream_failed")
).decode()

#: Named scenarios; any other name is ``plain``.
SCENARIOS: dict[str, Scenario] = {
    "plain": Scenario(),
    "echo": Scenario(content="echo"),
    "large": Scenario(size=8 * 1024),
    "huge": Scenario(size=1024 * 1024),
    "empty": Scenario(content=""),
    "null-content": Scenario(content=None),
    "tools": Scenario(content=None, tool_calls=True, finish="tool_calls"),
    "parallel-tools": Scenario(content=None, tool_calls=[TOOL_CALL, TOOL_CALL_2], finish="tool_calls"),
    "content-and-tools": Scenario(content="Let me look.", tool_calls=[TOOL_CALL], finish="tool_calls"),
    "function-call": Scenario(
        content=None, message={"function_call": {"name": "f", "arguments": "{}"}}, finish="function_call"
    ),
    "refusal": Scenario(content=None, refusal="I cannot help with that."),
    "reasoning": Scenario(reasoning="First, think. Then answer."),
    "think-tags": Scenario(content="<think>First, think.</think>The answer is 4."),
    "logprobs": Scenario(choice={"logprobs": LOGPROBS}),
    "length": Scenario(finish="length"),
    "content-filter": Scenario(content="", finish="content_filter"),
    "no-usage": Scenario(usage=None),
    "details": Scenario(usage=USAGE_DETAILS),
    "vendor-fields": Scenario(
        merge={"x_vendor": {"region": "eu", "score": 0.5}, "service_tier": "default"},
        message={"audio": None, "annotations": [], "vendor_note": "hello"},
        choice={"native_finish_reason": "STOP"},
    ),
    "no-choices": Scenario(merge={"choices": []}),
    "null-choices": Scenario(merge={"choices": None}),
    "missing-choices": Scenario(omit=["choices"]),
    "missing-id": Scenario(omit=["id", "created", "system_fingerprint"]),
    "missing-model": Scenario(omit=["model"]),
    "error-in-200": Scenario(merge=openai_error("Upstream is overloaded", "server_error", "overloaded")),
    "not-json": Scenario(body="<html><body>Bad gateway</body></html>", headers={"content-type": "text/html"}),
    "broken-json": Scenario(body='{"id": "chatcmpl-provider", "choices": [{"index": 0, "mess'),
    "not-an-object": Scenario(body='["this", "is", "a", "list"]'),
    "json-null": Scenario(body="null"),
    "json-string": Scenario(body='"only a string"'),
    "no-body": Scenario(body=""),
    "gzip": Scenario(encoding="gzip"),
    "deflate": Scenario(encoding="deflate"),
    "br": Scenario(encoding="br"),
    "zstd": Scenario(encoding="zstd"),
    "chunked": Scenario(chunked=True),
    "busy": Scenario(blank_lines=3, comments=True),
    "close": Scenario(after="close"),
    "hangup": Scenario(after="hangup"),
    "context-window": Scenario(status=400, error=CONTEXT_WINDOW),
    "content-policy": Scenario(status=400, error=CONTENT_POLICY),
    "invalid-key": Scenario(
        status=401, error=openai_error("Incorrect API key provided.", "invalid_request_error", "invalid_api_key")
    ),
    "error-html": Scenario(status=502, body="<html>Bad gateway</html>", headers={"content-type": "text/html"}),
    "edge-500": Scenario(status=500, edge=True),
    "edge-502": Scenario(status=502, edge=True),
    "edge-503": Scenario(status=503, edge=True),
    "error-empty": Scenario(status=500, body=""),
    "error-string": Scenario(status=500, error={"error": "a string"}),
    "error-detail": Scenario(status=422, error={"detail": [{"loc": ["body", "messages"], "msg": "field required"}]}),
    "redirect": Scenario(status=307, body="", headers={"location": "/v1/chat/completions"}),
    "drop-request": Scenario(drop="request"),
    "drop-headers": Scenario(drop="headers"),
    "drop-body": Scenario(drop="body"),
    "drop-reset": Scenario(drop="request", reset=True),
    "drop-then-ok": Scenario(drop="request", times=1),
    "stall": Scenario(delay=STALL_SECONDS),
    # streams
    "one-packet": Scenario(packet=1_000_000),
    "split-3": Scenario(split=3, content="Žluťoučký kůň 🐎 pěl 日本語"),
    "crlf": Scenario(newline="\r\n"),
    "comments": Scenario(comments=True),
    "no-done": Scenario(done=False),
    "no-finish": Scenario(finish=None),
    "cut": Scenario(cut=3),
    "stall-stream": Scenario(stall=3),
    "stream-error": Scenario(inject={"3": STREAM_ERROR}),
    "stream-garbage": Scenario(inject={"3": '{"id": "chatcmpl-prov'}),
    "stream-200": Scenario(chunks=200),
    "stream-31": Scenario(chunks=29, size=8 * 1024),
}

_ERROR_NAME = re.compile(r"error-(\d{3})(?:-retry-after-([\d.]+))?(-then-ok(?:-(\d+))?)?$")
_DELAY_NAME = re.compile(r"delay-([\d.]+)$")
_FIELDS = frozenset(f.name for f in fields(Scenario))
_KINDS = {
    400: ("invalid_request_error", "bad_request"),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("permission_error", "forbidden"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
}


@lru_cache(maxsize=4096)
def scenario(text: str) -> Scenario:
    """The scenario a model name (or an address) stands for. Raises ValueError for unknown fields or bad JSON."""
    name, brace, rest = text.partition("{")
    name = name.rpartition("/")[2]
    if match := _ERROR_NAME.match(name):
        status, retry_after, then_ok, times = match.groups()
        kind, code = _KINDS.get(int(status), ("server_error", None))
        base = Scenario(
            status=int(status),
            error=openai_error(f"The provider answers {status}", kind, code),
            headers={"retry-after": retry_after} if retry_after else {},
            times=int(times or 1) if then_ok else None,
        )
    elif match := _DELAY_NAME.match(name):
        base = Scenario(delay=float(match.group(1)))
    else:
        base = SCENARIOS.get(name, SCENARIOS["plain"])
    if not brace:
        return base
    members = json.loads("{" + rest)
    if unknown := members.keys() - _FIELDS:
        raise ValueError(f"unknown scenario fields {sorted(unknown)}; known: {sorted(_FIELDS)}")
    return replace(base, **members)


def asked(request: Json) -> str:
    """The scenario that the conversation, or what is embedded, asks for: what follows ``answer as:`` where the last
    message or text begins so."""
    messages = request.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    embedded = request.get("input")
    said = embedded[-1] if isinstance(embedded, list) and embedded else embedded
    text = last.get("content") if isinstance(last, dict) else said
    return text[10:].strip() if isinstance(text, str) and text.startswith("answer as:") else ""
