"""Streamed answers: deltas, events, and the packets they leave in."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import orjson

from litellm_accel.provider.answers import content_of, filled, shaped, tool_calls_of, usage_of
from litellm_accel.provider.profiles import PLAIN, Profile
from litellm_accel.provider.received import parse
from litellm_accel.provider.scenarios import Scenario
from litellm_accel.provider.varying import CREATED, Varying

Json = Any


def _deltas(plan: Scenario, request: Json, profile: Profile, varying: Varying) -> Iterator[dict[str, Json]]:
    """The deltas of one choice: role, reasoning, content in `chunks` pieces, refusal, tool calls in three pieces."""
    yield {"role": "assistant", "content": "", **({} if "refusal" in profile.without else {"refusal": None})}
    if plan.reasoning is not None:
        for word in re.findall(r"\S+\s*", plan.reasoning):
            yield {profile.reasoning: word}
    content = content_of(plan, request) or ""
    step = max(1, -(-len(content) // max(1, plan.chunks)))
    pieces = [content[i : i + step] for i in range(0, len(content), step)]
    if plan.content is not None:
        pieces += [" and so on"] * (plan.chunks - len(pieces))
    for piece in pieces:
        yield {"content": piece}
    if plan.refusal is not None:
        yield {"refusal": plan.refusal}
    for index, call in enumerate(tool_calls_of(plan, request, profile, varying)):
        function = call["function"]
        arguments = function["arguments"]
        yield {"tool_calls": [{"index": index, **call, "function": {**function, "arguments": ""}}]}
        for part in (arguments[:5], arguments[5:]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": part}}]}


class _Writer:
    """Writes the events of one stream."""

    def __init__(self, plan: Scenario, request: Json, model: str, profile: Profile, varying: Varying) -> None:
        self.plan = plan
        self.profile = profile
        self.stream = profile.stream
        self.varying = varying
        self.head: dict[str, Json] = {
            "id": filled(profile.identifier, varying),
            "object": "chat.completion.chunk",
            "created": varying.created if profile.dated else CREATED,
            "model": profile.models.get(model, model),
            **filled(profile.chunk, varying),
        }
        if profile.fingerprint is not None:
            self.head["system_fingerprint"] = profile.fingerprint
        asked = bool((request.get("stream_options") or {}).get("include_usage"))
        self.tells_usage = (asked or self.stream.usage != "asked") and plan.usage is not None
        self.nulls = asked and self.tells_usage and self.stream.nulls
        self.end = plan.newline.encode()
        self.injected = {int(number): text for number, text in plan.inject.items()}
        self.number = 0

    def event(self, data: bytes) -> bytes:
        """One event, with what comes before it."""
        comments = self.stream.comments.count(self.number) + self.plan.comments
        lines = (b": %b" % self.stream.comment.encode() + self.end + self.end) * comments
        if self.number in self.injected:
            lines += b"data: " + self.injected[self.number].encode() + self.end + self.end
        self.number += 1
        return lines + b"data: " + data + self.end + self.end

    def chunk(self, choices: list[Json], usage: Json = None, **members: Json) -> bytes:
        """An event with one chunk."""
        body: dict[str, Json] = {**self.head, "choices": choices, **members}
        if usage is not None or self.nulls:
            body["usage"] = usage
        if self.stream.obfuscation:
            at = self.number * 7 + len(choices)
            body["obfuscation"] = self.varying.text(at, 1 + (self.varying.digest[at % 64] + at) % 16)
        return self.event(orjson.dumps(shaped(self.plan, body)))

    def choice(self, index: int, delta: Json, finish: str | None) -> Json:
        """One choice of a chunk."""
        choice: dict[str, Json] = {"index": index, "delta": delta, "finish_reason": finish}
        if "logprobs" not in self.profile.without:
            choice["logprobs"] = None
        for name, value in {**self.profile.choice, **self.stream.choice}.items():
            choice[name] = filled(value, self.varying) if finish is not None or not isinstance(value, str) else None
        return choice


def stream_events(
    plan: Scenario, request: Json, model: str, profile: Profile = PLAIN, varying: Varying | None = None
) -> Iterator[bytes]:
    """The server-sent events of a streamed completion, each with its blank line."""
    varying = varying if varying is not None else Varying(b"", 0, "")
    varying["finish"] = str(plan.finish)
    writer = _Writer(plan, request, model, profile, varying)
    stream = profile.stream
    count = plan.n or request.get("n") or 1
    usage = usage_of(plan, request, content_of(plan, request), profile, varying) if writer.tells_usage else None
    opening = filled(stream.first, varying)
    if stream.prelude is not None:
        yield writer.event(orjson.dumps(stream.prelude))
    for delta in _deltas(plan, request, profile, varying):
        for index in range(count):
            yield writer.chunk([writer.choice(index, {**delta, **plan.message}, None)], **opening)
            opening = {}
    if plan.finish is not None:
        for index in range(count):
            is_last = index == count - 1
            closing = filled(stream.last, varying) if is_last else {}
            told = usage if stream.usage == "finish" and is_last else None
            yield writer.chunk([{**writer.choice(index, {}, plan.finish), **plan.choice}], told, **closing)
    if usage is not None and stream.usage != "finish":
        yield writer.chunk([], usage)
    if plan.done:
        yield writer.event(b"[DONE]")


def stream_packets(
    plan: Scenario, request: Json, model: str, profile: Profile = PLAIN, varying: Varying | None = None
) -> list[bytes]:
    """The events of a stream up to where it is cut or stalls, grouped or cut into what is written at once."""
    last = plan.cut if plan.cut is not None else plan.stall
    events = itertools.islice(stream_events(plan, request, model, profile, varying), last)
    if plan.split:
        whole = b"".join(events)
        return [whole[i : i + plan.split] for i in range(0, len(whole), plan.split)]
    return [b"".join(group) for group in iter(lambda: list(itertools.islice(events, plan.packet or 1)), [])]


@lru_cache(maxsize=64)
def plain_packets(plan: Scenario, body: bytes, model: str) -> list[bytes]:
    """The packets of a stream of the plain profile, which are the same each time."""
    return stream_packets(plan, parse(body), model)
