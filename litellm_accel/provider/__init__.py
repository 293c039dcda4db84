"""An OpenAI-compatible provider on loopback, in a process of its own.

It answers the demo, the benchmarks, ``verify`` and the tests over real HTTP, so that what is measured is the client
alone. The bytes of an answer depend on the request only (ids and dates are fixed), so that two clients which send the
same request can be compared.

    with Provider() as provider:
        litellm.completion("openai/gpt-4o", messages, api_base=provider.url, api_key="sk-test")
        provider.requests()[-1].json["model"]

``python -m litellm_accel.provider --port 0`` runs it by hand and prints its address.

Routes
------
=============================  ===================================================================================
``POST …/chat/completions``    any prefix: ``/v1``, ``/openai/deployments/NAME`` (the model is then NAME), ``/api/v3``
``POST …/embeddings``          eight-dimensional vectors derived from the text
``GET …/models``, ``/health``  a list of two models; ``{"status": "ok"}``
``GET /-/requests``            what was received so far (``DELETE`` forgets it); ``GET /-/stats`` counts
=============================  ===================================================================================

Scenarios
---------
How a chat request is answered is told by its model name: ``NAME`` or ``NAME{"field": value, …}``, where NAME is one of
the table ``SCENARIOS``, an error or delay in the form below, or any other text (a plain answer), and the fields are
those of ``Scenario``: ``gpt-4o``, ``tools``, ``error-429-retry-after-0.5``, ``plain{"n": 3, "usage": null}``. Where the
model must keep its real name, the scenario is put in the address instead: ``provider.at("error-500-then-ok")``. Where
calls that are alike must be answered differently, the last message asks for it: ``answer as: error-500-then-ok``.

Where a program's own words decide, a script does: ``Provider(script=(path, argument))`` loads a Python file whose
``script(argument)`` returns a function from a chat request to a scenario, or to ``""`` where the above shall hold.

``error-STATUS[-retry-after-SECONDS][-then-ok[-TIMES]]`` answers with an error, for ever or the first TIMES (1) requests
of one path, key and model. ``delay-SECONDS`` answers plainly after a while.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import gzip
import http.client
import itertools
import json
import os
import re
import runpy
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, cast
from urllib.parse import quote, unquote

import orjson

__all__ = ["SCENARIOS", "Address", "Provider", "RecordedRequest", "Scenario"]

Json = Any
CREATED = 1_700_000_000
STALL_SECONDS = 120.0


# --- scenarios --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Scenario:
    """How one request is answered. The defaults are a plain answer. Compared by identity: `scenario()` caches."""

    # When it is played: after `plain_first` plain answers, `times` times (None: always), then plain answers follow.
    # Counted for each path, key and model.
    plain_first: int = 0
    times: int | None = None

    # The fault.
    status: int = 200
    headers: dict[str, str | None] = field(default_factory=dict)  # over the usual ones; null: left out
    body: str | None = None  # sent instead of the JSON the other fields describe
    error: Json = None  # body of an error status; default is OpenAI's shape
    delay: float = 0.0  # seconds before the first byte
    drop: Literal["", "request", "headers", "body"] = ""  # close before the headers, within them, within the body
    reset: bool = False  # drop with a TCP reset

    # The answer.
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
    encoding: Literal["", "gzip", "deflate"] = ""
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


def _asked(request: Json) -> str:
    """The scenario that the conversation asks for: what follows ``answer as:`` where its last message begins so."""
    messages = request.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    text = last.get("content") if isinstance(last, dict) else None
    return text[10:].strip() if isinstance(text, str) and text.startswith("answer as:") else ""


def _error(message: str, kind: str, code: str | None, param: str | None = None) -> Json:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


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
CONTENT_POLICY = _error(
    "Your request was rejected as a result of our safety system. content_policy_violation",
    "invalid_request_error",
    "content_policy_violation",
)
CONTEXT_WINDOW = _error(
    "This model's maximum context length is 128000 tokens. However, your messages resulted in 130001 tokens.",
    "invalid_request_error",
    "context_length_exceeded",
    "messages",
)
STREAM_ERROR = orjson.dumps(_error("The server had an error while streaming", "server_error", "stream_failed")).decode()

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
    "error-in-200": Scenario(merge=_error("Upstream is overloaded", "server_error", "overloaded")),
    "not-json": Scenario(body="<html><body>Bad gateway</body></html>", headers={"content-type": "text/html"}),
    "broken-json": Scenario(body='{"id": "chatcmpl-provider", "choices": [{"index": 0, "mess'),
    "not-an-object": Scenario(body='["this", "is", "a", "list"]'),
    "json-null": Scenario(body="null"),
    "json-string": Scenario(body='"only a string"'),
    "no-body": Scenario(body=""),
    "gzip": Scenario(encoding="gzip"),
    "deflate": Scenario(encoding="deflate"),
    "chunked": Scenario(chunked=True),
    "close": Scenario(after="close"),
    "hangup": Scenario(after="hangup"),
    "context-window": Scenario(status=400, error=CONTEXT_WINDOW),
    "content-policy": Scenario(status=400, error=CONTENT_POLICY),
    "invalid-key": Scenario(
        status=401, error=_error("Incorrect API key provided.", "invalid_request_error", "invalid_api_key")
    ),
    "error-html": Scenario(status=502, body="<html>Bad gateway</html>", headers={"content-type": "text/html"}),
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
            error=_error(f"The provider answers {status}", kind, code),
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


# --- answers ----------------------------------------------------------------------------------------------------------

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


def _last_text(request: Json) -> str:
    """The text of the last message; parts are joined."""
    messages = request.get("messages")
    content = messages[-1].get("content") if isinstance(messages, list) and messages else ""
    if isinstance(content, list):
        content = " ".join(str(part.get("text", part.get("type"))) for part in content if isinstance(part, dict))
    return str(content or "")


def _content(plan: Scenario, request: Json) -> str | None:
    text = plan.content
    if text == "echo":
        text = _last_text(request)
    elif text == "auto":
        said = _last_text(request)
        digest = zlib.crc32(said.encode("utf-8", "surrogatepass"))
        text = f"Answer {digest:08x} to {len(request.get('messages') or ())} messages, {len(said)} characters."
    if plan.size:
        words = (text or "The quick brown fox") + " "
        text = (words * (plan.size // len(words) + 1))[: plan.size]
    return text


def _tool_calls(plan: Scenario, request: Json) -> list[Json]:
    if plan.tool_calls is not True:
        return plan.tool_calls or []
    tools = request.get("tools") or [TOOL_CALL]
    return [{**TOOL_CALL, "function": {"name": tools[0]["function"]["name"], "arguments": '{"city": "Oslo"}'}}]


def _usage(plan: Scenario, request: Json, content: str | None) -> Json:
    if plan.usage == "details":
        return USAGE_DETAILS
    if plan.usage != "auto":
        return plan.usage
    prompt = 3 + sum(1 + len(str(m.get("content", ""))) // 4 for m in request.get("messages") or ())
    completion = 1 + len(content or "") // 4
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _shaped(plan: Scenario, answer: dict[str, Json]) -> dict[str, Json]:
    answer.update(plan.merge)
    for name in plan.omit:
        answer.pop(name, None)
    return answer


def completion(plan: Scenario, request: Json, model: str) -> dict[str, Json]:
    """The chat completion object for a request."""
    content = _content(plan, request)
    message: dict[str, Json] = {"role": "assistant", "content": content, "refusal": plan.refusal}
    if plan.reasoning is not None:
        message["reasoning_content"] = plan.reasoning
    if calls := _tool_calls(plan, request):
        message["tool_calls"] = calls
    message.update(plan.message)
    answer: dict[str, Json] = {
        "id": "chatcmpl-provider",
        "object": "chat.completion",
        "created": CREATED,
        "model": model,
        "choices": [
            {"index": i, "message": message, "logprobs": None, "finish_reason": plan.finish, **plan.choice}
            for i in range(plan.n or request.get("n") or 1)
        ],
        "system_fingerprint": "fp_provider",
    }
    usage = _usage(plan, request, content)
    if usage is not None:
        answer["usage"] = usage
    return _shaped(plan, answer)


def _deltas(plan: Scenario, request: Json) -> Iterator[dict[str, Json]]:
    """The deltas of one choice: role, reasoning, content in `chunks` pieces, refusal, tool calls in three pieces."""
    yield {"role": "assistant", "content": "", "refusal": None}
    if plan.reasoning is not None:
        for word in re.findall(r"\S+\s*", plan.reasoning):
            yield {"reasoning_content": word}
    content = _content(plan, request) or ""
    step = max(1, -(-len(content) // max(1, plan.chunks)))
    pieces = [content[i : i + step] for i in range(0, len(content), step)]
    if plan.content is not None:
        pieces += [" and so on"] * (plan.chunks - len(pieces))
    for piece in pieces:
        yield {"content": piece}
    if plan.refusal is not None:
        yield {"refusal": plan.refusal}
    for index, call in enumerate(_tool_calls(plan, request)):
        function = call["function"]
        arguments = function["arguments"]
        yield {"tool_calls": [{"index": index, **call, "function": {**function, "arguments": ""}}]}
        for part in (arguments[:5], arguments[5:]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": part}}]}


def stream_events(plan: Scenario, request: Json, model: str) -> Iterator[bytes]:
    """The server-sent events of a streamed completion, each with its blank line."""
    head = {"id": "chatcmpl-provider", "object": "chat.completion.chunk", "created": CREATED, "model": model}
    include_usage = bool((request.get("stream_options") or {}).get("include_usage")) and plan.usage is not None
    count = plan.n or request.get("n") or 1
    end = plan.newline.encode()
    injected = {int(number): text for number, text in plan.inject.items()}
    number = 0

    def event(data: bytes) -> bytes:
        nonlocal number
        lines = b""
        if plan.comments:
            lines += b": keep-alive" + end + end
        if number in injected:
            lines += b"data: " + injected[number].encode() + end + end
        number += 1
        return lines + b"data: " + data + end + end

    def chunk(choices: list[Json], usage: Json = None) -> bytes:
        body: dict[str, Json] = {**head, "system_fingerprint": "fp_provider", "choices": choices}
        if include_usage:
            body["usage"] = usage
        return event(orjson.dumps(_shaped(plan, body)))

    for delta in _deltas(plan, request):
        for index in range(count):
            yield chunk([{"index": index, "delta": {**delta, **plan.message}, "finish_reason": None, "logprobs": None}])
    if plan.finish is not None:
        for index in range(count):
            yield chunk([{"index": index, "delta": {}, "finish_reason": plan.finish, "logprobs": None, **plan.choice}])
    if include_usage:
        yield chunk([], _usage(plan, request, _content(plan, request)))
    if plan.done:
        yield event(b"[DONE]")


@lru_cache(maxsize=64)
def stream_packets(plan: Scenario, body: bytes, model: str) -> list[bytes]:
    """The events of a stream up to where it is cut or stalls, grouped or cut into what is written at once."""
    last = plan.cut if plan.cut is not None else plan.stall
    events = itertools.islice(stream_events(plan, _parse(body), model), last)
    if plan.split:
        whole = b"".join(events)
        return [whole[i : i + plan.split] for i in range(0, len(whole), plan.split)]
    return [b"".join(group) for group in iter(lambda: list(itertools.islice(events, plan.packet or 1)), [])]


def embeddings(request: Json) -> Json:
    """Eight numbers for each input, derived from its text."""
    inputs = request.get("input")
    texts = inputs if isinstance(inputs, list) else [inputs]
    data = []
    for index, text in enumerate(texts):
        seed = zlib.crc32(str(text).encode("utf-8", "surrogatepass"))
        vector: Json = [((seed >> (4 * i)) & 15) / 16 - 0.5 for i in range(8)]
        if request.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack("<8f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    tokens = sum(1 + len(str(text)) // 4 for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": request.get("model"), "usage": usage}


# --- the server -------------------------------------------------------------------------------------------------------

_REASONS = {code: phrase for code, phrase in http.client.responses.items()}
_DEPLOYMENT = re.compile(r"/deployments/([^/]+)/")
_ADDRESSED = re.compile(r"/~([^/]+)/")
_JSON_HEAD = b"".join(b"%s: %s\r\n" % (k.encode(), v.encode()) for k, v in RATE_LIMIT_HEADERS.items())
_PLAIN_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + _JSON_HEAD + b"content-length: "


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}\r\n{lines}\r\n".encode("latin-1")


def _parse(body: bytes) -> Json:
    """The JSON of a request; None where there is none. The standard library reads lone surrogates, orjson does not."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            return json.loads(body)
        except ValueError:
            return None


#: From a chat request to the scenario that answers it, or to "" where its model or its last message says.
Script = Callable[[Json], str]


def _no_script(request: Json) -> str:
    return ""


def _loaded(path: str, argument: str) -> Script:
    return cast(Script, runpy.run_path(path)["script"](argument))


class _Server:
    """What the connections share: the record, the counts, and how often each scenario was asked for."""

    def __init__(self, record: int, script: Script) -> None:
        self.script = script
        self.recorded: deque[tuple[Any, ...]] = deque(maxlen=record)
        self.recording = record > 0
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.connections = 0
        self.open = 0
        self.requests = 0
        self.aborted = 0

    def stats(self) -> dict[str, int]:
        return {
            "connections": self.connections,
            "open": self.open,
            "requests": self.requests,
            "aborted": self.aborted,
        }

    def count(self, *asked: str) -> int:
        """How often the same was asked for before."""
        self.counts[asked] += 1
        return self.counts[asked] - 1

    def forget(self) -> None:
        self.recorded.clear()
        self.counts.clear()


class _Connection(asyncio.Protocol):
    """One client connection: reads requests one after the other and answers each before the next."""

    def __init__(self, server: _Server) -> None:
        self.server = server
        server.connections += 1
        self.number = server.connections
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.buffer = bytearray()
        self.task: asyncio.Task[None] | None = None
        self.drained = asyncio.Event()
        self.drained.set()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.server.open += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.open -= 1
        self.drained.set()
        if self.task is not None and not self.task.done():
            self.server.aborted += 1
            self.task.cancel()

    def pause_writing(self) -> None:
        self.drained.clear()

    def resume_writing(self) -> None:
        self.drained.set()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self.serve()

    # requests

    def serve(self) -> None:
        """Answer the complete requests in the buffer, until one needs time."""
        while self.task is None and not self.transport.is_closing():
            request = self.next_request()
            if request is None:
                return
            self.answer(*request)

    def next_request(self) -> tuple[str, str, list[tuple[str, str]], bytes] | None:
        """Method, path, headers and body of the next complete request in the buffer."""
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        first, *lines = self.buffer[:end].decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = []
        length = 0
        chunked = False
        for line in lines:
            name, _, value = line.partition(":")
            value = value.strip()
            headers.append((name, value))
            lowered = name.lower()
            if lowered == "content-length":
                length = int(value)
            elif lowered == "transfer-encoding":
                chunked = value.lower() == "chunked"
        start = end + 4
        if chunked:
            unpacked = self.unchunk(start)
            if unpacked is None:
                return None
            body, stop = unpacked
        else:
            stop = start + length
            if len(self.buffer) < stop:
                return None
            body = bytes(self.buffer[start:stop])
        del self.buffer[:stop]
        return method, path, headers, body

    def unchunk(self, start: int) -> tuple[bytes, int] | None:
        """A chunked body and where it ends; None while it is incomplete. Trailers are not supported."""
        body = b""
        while (line := self.buffer.find(b"\r\n", start)) >= 0:
            size = int(self.buffer[start:line].split(b";")[0], 16)
            start = line + 2 + size + 2
            if len(self.buffer) < start:
                return None
            if size == 0:
                return body, start
            body += self.buffer[line + 2 : start - 2]
        return None

    def answer(self, method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> None:
        server = self.server
        if path.startswith("/-/"):
            self.control(method, path)
            return
        server.requests += 1
        if server.recording:
            server.recorded.append((method, path, headers, body, self.number, time.time()))
        route = path.partition("?")[0]
        if route.endswith("/chat/completions"):
            self.chat(route, headers, body)
        elif route.endswith("/embeddings"):
            request = _parse(body)
            self.send_json(200, embeddings(request)) if isinstance(request, dict) else self.not_json()
        elif route.endswith("/models"):
            models = [{"id": name, "object": "model", "created": CREATED, "owned_by": "loopback"} for name in "ab"]
            self.send_json(200, {"object": "list", "data": models})
        elif route.endswith("/health"):
            self.send_json(200, {"status": "ok"})
        else:
            self.send_json(404, _error(f"Unknown route {method} {path}", "invalid_request_error", "unknown_url"))

    def control(self, method: str, path: str) -> None:
        if path == "/-/stats":
            self.send_json(200, self.server.stats())
        elif path == "/-/requests" and method == "DELETE":
            self.server.forget()
            self.send_json(200, {})
        else:
            rows = [(m, p, h, b.decode("latin-1"), c, t) for m, p, h, b, c, t in self.server.recorded]
            self.send_json(200, rows)

    def not_json(self) -> None:
        message = "We could not parse the JSON body of your request."
        self.send_json(400, _error(message, "invalid_request_error", None))

    def chat(self, path: str, headers: list[tuple[str, str]], body: bytes) -> None:
        request = _parse(body)
        if not isinstance(request, dict):
            self.not_json()
            return
        model = request.get("model")
        if (match := _DEPLOYMENT.search(path)) and not model:
            model = unquote(match.group(1))
        model = str(model)
        addressed = _ADDRESSED.search(path)
        named = self.server.script(request) or _asked(request) or (unquote(addressed.group(1)) if addressed else model)
        try:
            plan = scenario(named)
        except ValueError as error:
            self.send_json(400, _error(f"Bad scenario: {error}", "invalid_request_error", "bad_scenario"))
            return
        if plan.times is not None or plan.plain_first:
            key = next((v for k, v in headers if k.lower() in ("authorization", "api-key")), "")
            played = self.server.count(path, key, model) - plan.plain_first
            if played < 0 or (plan.times is not None and played >= plan.times):
                plan = SCENARIOS["plain"]
        if plan is SCENARIOS["plain"] and not request.get("stream"):
            self.send(_PLAIN_HEAD, orjson.dumps(completion(plan, request, model)))
            return
        self.task = asyncio.ensure_future(self.play(plan, request, body, model))
        self.task.add_done_callback(self.played)

    def played(self, task: asyncio.Task[None]) -> None:
        self.task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self.transport.abort()
            raise error
        self.serve()

    # answers

    def send(self, head: bytes, body: bytes) -> None:
        self.transport.write(b"%b%d\r\n\r\n%b" % (head, len(body), body))

    def send_json(self, status: int, value: Json) -> None:
        head = f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: application/json\r\ncontent-length: "
        self.send(head.encode(), orjson.dumps(value))

    def hang_up(self, plan: Scenario) -> None:
        """Close the connection; with a reset, what was not delivered is lost."""
        if plan.reset:
            self.transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            self.transport.abort()
        else:
            self.transport.close()

    async def play(self, plan: Scenario, request: Json, body: bytes, model: str) -> None:
        """Answer as the scenario says."""
        if plan.delay:
            await asyncio.sleep(plan.delay)
        if plan.drop == "request":
            self.hang_up(plan)
            return
        streaming = bool(request.get("stream")) and plan.status == 200 and plan.body is None
        kind = "text/event-stream; charset=utf-8" if streaming else "application/json"
        given = {**RATE_LIMIT_HEADERS, "content-type": kind, **plan.headers}
        headers = {name: value for name, value in given.items() if value is not None}
        if plan.after == "close":
            headers["connection"] = "close"
        if streaming:
            headers["transfer-encoding"] = "chunked"
            await self.play_stream(plan, headers, body, model)
        else:
            self.play_body(plan, headers, request, model)
        if plan.after != "keep":
            await self.drained.wait()
            self.transport.close()

    def play_body(self, plan: Scenario, headers: dict[str, str], request: Json, model: str) -> None:
        if plan.body is not None:
            body = plan.body.encode()
        elif plan.status >= 400:
            body = orjson.dumps(plan.error or _error(f"The provider answers {plan.status}", "server_error", None))
        else:
            body = orjson.dumps(completion(plan, request, model))
        if plan.encoding:
            headers["content-encoding"] = plan.encoding
            body = gzip.compress(body, mtime=0) if plan.encoding == "gzip" else zlib.compress(body)
        if plan.chunked:
            headers["transfer-encoding"] = "chunked"
            half = len(body) // 2
            data = b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (half, body[:half], len(body) - half, body[half:])
        else:
            headers["content-length"] = str(len(body))
            data = body
        head = _head(plan.status, headers)
        if plan.drop:
            kept = head[: len(head) // 2] if plan.drop == "headers" else head + data[: len(data) // 2]
            self.transport.write(kept)
            self.hang_up(plan)
            return
        self.transport.write(head + data)

    async def play_stream(self, plan: Scenario, headers: dict[str, str], body: bytes, model: str) -> None:
        """Write the packets at the pace the scenario and the reader allow."""
        self.transport.write(_head(200, headers))
        for packet in stream_packets(plan, body, model):
            self.transport.write(b"%x\r\n%b\r\n" % (len(packet), packet))
            # Also without a pause each packet leaves on its own: other connections have their turn in between.
            await asyncio.sleep(plan.pause)
            await self.drained.wait()
        if plan.stall is not None:
            await asyncio.sleep(STALL_SECONDS)
        if plan.cut is not None or plan.drop:
            self.hang_up(plan)
        else:
            self.transport.write(b"0\r\n\r\n")


async def _run(host: str, port: int, record: int, until_eof: bool, script: Script) -> None:
    """Serve until a signal arrives or, for the child of a `Provider`, until the parent closes its end of stdin."""
    loop = asyncio.get_running_loop()
    server = _Server(record, script)
    listener = await loop.create_server(lambda: _Connection(server), host, port, backlog=4096)
    address = listener.sockets[0].getsockname()
    print(f"http://{address[0]}:{address[1]}/v1", flush=True)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    if until_eof:

        def stdin_readable() -> None:
            if not os.read(sys.stdin.fileno(), 4096):
                ended.set()

        loop.add_reader(sys.stdin.fileno(), stdin_readable)
    await ended.wait()
    listener.close()


# --- the parent's side ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RecordedRequest:
    """One request as the provider received it; `headers` in order, `json` None where the body is not JSON."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    connection: int
    time: float

    @property
    def json(self) -> Json:
        return _parse(self.body)

    def header(self, name: str) -> str | None:
        """The first value of a header, whatever its case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


class Address:
    """A provider that runs somewhere: where it listens, and what it has received."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    @property
    def root(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The address to use as `api_base`."""
        return f"{self.root}/v1"

    def at(self, scenario: str) -> str:
        """An `api_base` under which every model is answered with this scenario."""
        return f"{self.root}/~{quote(scenario, safe='')}/v1"

    def requests(self) -> list[RecordedRequest]:
        """What was received since the start or the last `clear()`, oldest first."""
        rows = self._control("GET", "/-/requests")
        return [RecordedRequest(m, p, [(k, v) for k, v in h], b.encode("latin-1"), c, t) for m, p, h, b, c, t in rows]

    def clear(self) -> None:
        """Forget the recorded requests and how often each scenario was asked for."""
        self._control("DELETE", "/-/requests")

    def stats(self) -> dict[str, int]:
        """Counts since the start: connections accepted and still open, requests, answers the client did not await."""
        return cast("dict[str, int]", self._control("GET", "/-/stats"))

    def _control(self, method: str, path: str) -> Json:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            connection.request(method, path)
            return orjson.loads(connection.getresponse().read())
        finally:
            connection.close()


class Provider(Address):
    """The provider in a child process; ends with the `with` block, or with this process, whichever is first.

    `record` is how many requests it remembers (0: none, for benchmarks), `script` a Python file and what its function
    `script` is called with.
    """

    def __init__(
        self,
        *,
        record: int = 10_000,
        host: str = "127.0.0.1",
        port: int = 0,
        script: tuple[str | Path, str] | None = None,
    ) -> None:
        super().__init__(host, port)
        self.record = record
        self.script = script
        self._child: subprocess.Popen[str] | None = None

    def __enter__(self) -> Provider:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Provider:
        """Start the child and wait until it listens. Raises RuntimeError if it ends instead."""
        if self._child is not None:
            raise RuntimeError("the provider already runs")
        root = str(Path(__file__).resolve().parent.parent.parent)
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        options = ["--host", self.host, "--port", str(self.port), "--record", str(self.record), "--until-eof"]
        if self.script is not None:
            options += ["--script", *map(str, self.script)]
        child = subprocess.Popen(
            [sys.executable, "-m", "litellm_accel.provider", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert child.stdout is not None
        line = child.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"the provider ended with code {child.wait()} before it listened")
        self._child = child
        self.port = int(line.rsplit(":", 1)[1].split("/")[0])
        return self

    def stop(self) -> None:
        """End the child. Safe to call twice."""
        child, self._child = self._child, None
        if child is None:
            return
        assert child.stdin is not None and child.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        try:
            child.wait(timeout=2)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdout.close()

    def kill(self) -> None:
        """End the child at once, in the middle of whatever it answers."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self.stop()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m litellm_accel.provider", description="A provider on loopback.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--record", type=int, default=10_000, help="requests remembered (0: none)")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input ends")
    parser.add_argument("--script", nargs=2, metavar=("FILE", "ARGUMENT"), help="a Python file that chooses scenarios")
    options = parser.parse_args(arguments)
    script = _no_script if options.script is None else _loaded(*options.script)
    asyncio.run(_run(options.host, options.port, options.record, options.until_eof, script))

