"""What is asked: of every configuration, in unusual ways, and of those that have a feature."""

from __future__ import annotations

import json
from typing import Any

from litellm_accel.verify.proxy.configs import (
    BLOCKED,
    BY_NAME,
    CONFIGS,
    EXPIRED,
    LIMITED,
    POOR,
    RICH,
    SCOPED,
    TAGGED,
    TEAM,
    USER,
)
from litellm_accel.verify.proxy.script import CHAT, KEY, Ask, GatewayRun, Script, Way

#: Two requests of a kind are watched; after so many, the entry has been used.
_TIMES = 8
_TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
_DATABASES = tuple(config.name for config in CONFIGS if "database" in config.needs)


def _chat(text: str = "hello {n}", model: str = "gpt", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def _ask(body: Any = None, path: str = CHAT, *, times: int = 2, **how: Any) -> Ask:
    return Ask(body, path, times=times, **how)


def _wire(lines: str, body: bytes = b"", closes: bool = True) -> bytes:
    """Return a request as text with ``|`` between its lines."""
    head = f"{lines}|Host: proxy|Authorization: Bearer {KEY}" + ("|Connection: close" if closes else "")
    return head.replace("|", "\r\n").encode("latin-1") + b"\r\n\r\n" + body


_BODY = json.dumps(_chat("hello")).encode()
_LENGTH = f"Content-Type: application/json|Content-Length: {len(_BODY)}"
_POST = f"POST {CHAT} HTTP/1.1"
_KEPT = _wire(f"{_POST}|{_LENGTH}", _BODY, closes=False)
_PARTS = (_BODY[:10], _BODY[10:11], _BODY[11:], b"")
_CHUNKED = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in _PARTS)

# --- what every configuration is asked --------------------------------------------------------------------------------

_EVERYWHERE: dict[str, tuple[Ask, ...]] = {
    "chat": (Ask(_chat(), times=_TIMES),),
    "arguments": (
        _ask(_chat(temperature=0.5, top_p=1, user="someone", n=1, seed=3), times=_TIMES),
        _ask(_chat(max_tokens=9, stop=["a"], response_format={"type": "json_object"})),
        _ask(_chat(nobody_knows=1)),
        _ask(_chat("tools {n}", "tools", tools=[_TOOL], tool_choice="auto"), times=4),
    ),
    "streams": (
        _ask(_chat(), times=4),  # answers are shown equal first
        _ask(_chat("stream {n}", "streaming", stream=True), times=_TIMES),
        _ask(_chat("usage {n}", "streaming", stream=True, stream_options={"include_usage": True}), times=4),
        _ask(_chat("openai's {n}", stream=True), times=4),
        _ask(_chat("failing {n}", "failing", stream=True)),
    ),
    "embeddings": (
        _ask({"model": "embedding", "input": "text {n}"}, "/v1/embeddings", times=_TIMES),
        _ask({"model": "embedding", "input": ["a {n}", "b"]}, "/embeddings", times=4),
    ),
    "errors": tuple(
        _ask(_chat("hello {n}", model))
        for model in ("failing", "unauthorized", "missing", "limited", "broken", "garbled", "dropping")
    ),
    "invalid": (
        _ask(b"{no json"),
        _ask(b""),
        _ask([1]),
        _ask({"model": "gpt"}),
        _ask({"messages": []}),
        _ask(_chat(model="nothing")),
        _ask({**_chat(), "model": 1}),
        _ask({**_chat(), "messages": "none"}),
        _ask(b'{"model": "gpt", "messages": [{"role": "user", "content": "\\ud800"}]}'),
        _ask("é".encode("latin-1")),
    ),
    "keys": (
        _ask(_chat(), key=None),
        _ask(_chat(), key="sk-wrong-1234567"),
        _ask(_chat(), key="wrong"),
        _ask(_chat(), key=None, headers=(f"api-key: {KEY}",)),
        _ask(_chat(), key=None, headers=(f"x-api-key: {KEY}",)),
        _ask(_chat(), key="sk-wrong-1234567", headers=(f"x-litellm-api-key: Bearer {KEY}",)),
    ),
    "metadata": (
        _ask(_chat(metadata={"tags": ["one"], "more": {"a": 1}}), times=_TIMES),
        _ask(_chat(), headers=("x-litellm-tags: one,two",), times=4),
        _ask(_chat(user="end user {n}", litellm_metadata={"a": 1})),
        _ask(_chat(), headers=("x-litellm-call-id: 12345", "User-Agent: verify/1.0", "x-two: 1", "x-two: 2")),
    ),
    "paths": (
        _ask(_chat(), "/chat/completions", times=6),
        _ask(_chat(), "/engines/gpt/chat/completions", times=4),
        _ask(_chat(), "/openai/deployments/gpt/chat/completions", times=4),
        _ask(_chat(), f"{CHAT}?model=failing"),
        _ask(_chat(), f"{CHAT}/"),
        _ask(method="GET"),
        _ask(path="/v1/models", method="GET"),
        _ask(path="/nowhere/chat/completions"),
    ),
    "others": (
        _ask({"model": "gpt", "prompt": "hello {n}"}, "/v1/completions", times=6),
        _ask({**_chat(model="bridged"), "max_tokens": 9}, "/v1/messages", times=6),
        _ask({"model": "bridged", "input": "hello {n}"}, "/v1/responses", times=6),
    ),
    "together": (Ask(_chat("together {n}"), times=12, together=True), Ask(_chat("after {n}"), times=2)),
    "mocked": (_ask(_chat(mock_response="mocked {n}"), times=4),),
}

# --- one configuration's ----------------------------------------------------------------------------------------------

_PLAIN: dict[str, tuple[Ask, ...]] = {
    "chunked body": (_ask(raw=_wire(f"{_POST}|Content-Type: application/json|Transfer-Encoding: chunked", _CHUNKED)),),
    "HTTP/1.0": (_ask(raw=_wire(f"POST {CHAT} HTTP/1.0|{_LENGTH}", _BODY)),),
    "expects": (_ask(raw=_wire(f"{_POST}|{_LENGTH}|Expect: 100-continue", _BODY)),),
    "pipelined": (_ask(raw=_KEPT + _wire(f"{_POST}|{_LENGTH}", _BODY)),),
    "kept alive": (
        _ask(raw=_wire(f"{_POST}|{_LENGTH}", _BODY, closes=False) * 3 + _wire(f"{_POST}|{_LENGTH}", _BODY)),
    ),
    "no HTTP": (_ask(raw=b"hello\r\n\r\n"),),
    "two lengths": (_ask(raw=_wire(f"{_POST}|{_LENGTH}|Content-Length: 3", _BODY)),),
    "two authorizations": (_ask(raw=_wire(f"{_POST}|{_LENGTH}|Authorization: Bearer sk-no", _BODY)),),
    "header folded": (_ask(raw=_wire(f"{_POST}|{_LENGTH}|X-One: a| b", _BODY)),),
    "upper case": (_ask(raw=_wire(f"{_POST}|CONTENT-TYPE: application/json|CONTENT-LENGTH: {len(_BODY)}", _BODY)),),
    "percent": (_ask(raw=_wire(f"POST /v1/chat%2Fcompletions HTTP/1.1|{_LENGTH}", _BODY)),),
    "a whole address": (_ask(raw=_wire(f"POST http://proxy{CHAT} HTTP/1.1|{_LENGTH}", _BODY)),),
    "put": (_ask(_chat(), method="PUT"),),
    "head": (_ask(method="HEAD", path="/health/liveliness"),),
    "options": (_ask(method="OPTIONS", headers=("Origin: http://a", "Access-Control-Request-Method: POST")),),
    "an origin": (_ask(_chat(), headers=("Origin: http://a",), times=4),),
    "gzip": (_ask(_chat(), headers=("Accept-Encoding: gzip",), times=4),),
    "other type": (_ask(_chat(), headers=("Content-Type: text/plain",)),),
    "no type": (_ask(_chat(), headers=("Content-Type: ",)),),
    "a form": (_ask(b"model=gpt", headers=("Content-Type: application/x-www-form-urlencoded",)),),
    "other charset": (_ask(_chat(), headers=("Content-Type: application/json; charset=latin-1",)),),
    "large request": (_ask(_chat("a" * 300_000)),),
    "10 MB": (_ask(_chat("a" * 10_000_000), times=1),),
    "large answer": (_ask(_chat("hello {n}", "large"), times=4),),
    "many messages": (_ask({"model": "gpt", "messages": [{"role": "user", "content": "x {n}"}] * 200}, times=4),),
    "parts": (
        _ask({"model": "gpt", "messages": [{"role": "user", "content": [{"type": "text", "text": "x {n}"}]}]}, times=4),
    ),
    "a long conversation": (
        _ask(
            {
                "model": "gpt",
                "messages": [
                    {"role": "system", "content": "be brief"},
                    {"role": "user", "content": "hi {n}"},
                    {"role": "assistant", "content": "hello"},
                    {"role": "user", "content": "again"},
                ],
            },
            times=6,
        ),
    ),
    "not streamed": (_ask(_chat(stream=False), times=4),),
    "stream of another type": (_ask(_chat(stream="yes")),),
    "a cut stream": (_ask(_chat("hello {n}", "cut", stream=True), times=4),),
    "left while waiting": (_ask(_chat("hello {n}", "slow"), leaves="asked"), _ask(_chat())),
    "left while streaming": (
        _ask(_chat("hello {n}", "pausing", stream=True), leaves="answered", times=3),
        _ask(_chat()),
    ),
    "timeout of a request": (_ask(_chat("hello {n}", "slow", timeout=0.05)),),
    "guarded": (_ask(_chat(guardrails=["nobody's"])),),
    "cached": (_ask(_chat("the same", caching=True, cache={"no-cache": True}), times=4),),
    "health": (_ask(path="/health/readiness", method="GET"), _ask(path="/", method="GET")),
    "tools of a model": (_ask(path="/model/info", method="GET"), _ask(path="/v1/models/gpt", method="GET")),
    "admin without a database": (_ask({"key": "sk-new"}, "/key/generate"), _ask(path="/key/list", method="GET")),
    "counting": (_ask(_chat(), "/utils/token_counter", times=3),),
}

_KEYED: tuple[tuple[str, tuple[Ask, ...], Way], ...] = (
    ("of a user", (Ask(_chat(), key=USER, times=10),), "served"),
    ("of a team", (Ask(_chat(), key=TEAM, times=10),), "served"),
    ("with a budget", (Ask(_chat(), key=RICH, times=10),), "served"),
    ("blocked", (_ask(_chat(), key=BLOCKED),), "either"),
    ("expired", (_ask(_chat(), key=EXPIRED),), "either"),
    ("unknown", (_ask(_chat(), key="sk-unknown-key-of-verify"),), "either"),
    (
        "with models",
        (_ask(_chat(), key=SCOPED, times=4), _ask(_chat(model="large"), key=SCOPED)),
        "either",
    ),
    ("limited", (Ask(_chat(), key=LIMITED, times=7),), "either"),
    (
        "with tags and aliases",
        (
            Ask(_chat(), key=TAGGED, times=_TIMES),
            Ask(_chat(model="mine"), key=TAGGED, times=4),
            Ask(_chat(metadata={"tags": ["three"]}), key=TAGGED, times=4),
        ),
        "served",
    ),
    (
        "for end users",
        (
            Ask(_chat(user="an-end-user"), key=USER, times=6),
            Ask(_chat(user="new end user {n}"), key=USER, times=3),
            Ask(_chat(user="blocked-end-user"), key=USER, times=2),
        ),
        "served",
    ),
    ("of failing calls", (Ask(_chat(model="failing"), key=USER, times=3),), "either"),
    (
        "streamed",
        (
            Ask(_chat("stream {n}", "streaming", stream=True), key=RICH, times=8),
            Ask({"model": "embedding", "input": "text {n}"}, "/v1/embeddings", key=RICH, times=6),
        ),
        "served",
    ),
    (
        "changed in between",
        (
            Ask(_chat(), key=SCOPED, times=3),
            Ask({"key": SCOPED, "models": ["large"], "metadata": {"now": 1}}, "/key/update", status_only=True),
            Ask(_chat(), key=SCOPED, times=2),
            Ask({"key": SCOPED}, "/key/block", status_only=True),
            Ask(_chat(model="large"), key=SCOPED, times=2),
            Ask({"key": SCOPED}, "/key/unblock", status_only=True),
            Ask(_chat(model="large"), key=SCOPED, times=2),
            Ask({"keys": [SCOPED]}, "/key/delete", status_only=True),
            Ask(_chat(model="large"), key=SCOPED, times=2),
        ),
        "served",
    ),
    ("poor", (Ask(_chat(), key=POOR, times=1),), "either"),
)

_FEATURES: tuple[Script, ...] = (
    *(
        Script(
            f"hooks/{name}", (_ask(_chat(f"{name} {{n}}"), times=4), _ask(_chat(f"{name}", stream=True))), ("hooks",)
        )
        for name in ("rejected", "told off", "changed", "marked", "tagged", "broken hook")
    ),
    # refused while the provider is still at it
    Script("hooks/moderated", (_ask(_chat("moderated {n}", "slow"), times=4),), ("hooks",), races=True),
    Script("guardrails/forbidden", (_ask(_chat("forbidden {n}", "slow"), times=4),), ("guardrails",), races=True),
    Script("hooks/worded", (_ask(_chat("worded", "failing")),), ("hooks",)),
    *(
        Script(f"guardrails/{name}", (_ask(_chat(f"{name} {{n}}"), times=4),), ("guardrails",))
        for name in ("secret", "late")
    ),
    Script(
        "limits/of keys",
        (
            Ask(_chat(), key="sk-limited-one", times=8),
            Ask(_chat(), key="sk-limited-two", times=5),
            Ask(_chat(model="large"), key="sk-limited-three", times=7),
            Ask(_chat(), key="none"),
        ),
        ("custom-auth",),
    ),
    Script("groups/two", (_ask(_chat("hello {n}", "two"), times=16),), ("load-balancer", "usage-based"), "served"),
    Script("groups/in Redis", (_ask(_chat("hello {n}", "two"), times=16),), ("redis-router",), "served"),
    Script(
        "fallbacks/of the router",
        tuple(_ask(_chat("hello {n}", model), times=4) for model in ("broken", "limited", "failing", "dropping")),
        ("fallbacks",),
    ),
    Script(
        "fallbacks/of a request",
        (
            _ask(_chat(model="broken", fallbacks=["gpt"]), times=4),
            _ask(_chat(model="broken", fallbacks=[{"model": "gpt", "messages": []}])),
            _ask(_chat(model="broken", num_retries=1)),
            _ask(_chat(model="broken", disable_fallbacks=True)),
        ),
        ("plain", "fallbacks"),
    ),
    Script(
        "aliases/of groups",
        (_ask(_chat("hello {n}", "gpt-4"), times=6), _ask(_chat("hello {n}", "hidden"), times=4)),
        ("aliases",),
    ),
    Script(
        "wildcard/any model",
        (_ask(_chat("hello {n}", "openai/gpt-4o"), times=6), _ask(_chat("hello {n}", "gpt-4o-mini"), times=6)),
        ("wildcard",),
    ),
    Script("azure/chat", (_ask(_chat("hello {n}", "an-azure"), times=_TIMES),), ("azure",), "served"),
    Script("azure/stream", (_ask(_chat("hello {n}", "an-azure", stream=True), times=6),), ("azure",)),
    Script("handler/own", (_ask(_chat("hello {n}", "own"), times=_TIMES),), ("handler",), "served"),
    Script(
        "user/required",
        (_ask(_chat(user="me"), times=6), _ask(_chat()), _ask({"messages": _chat()["messages"], "user": "me"})),
        ("user-required",),
    ),
    Script("settings/too large", (_ask(_chat("a" * 2_000_000), times=1),), ("settings",)),
    Script(
        "tags/of a request",
        (
            _ask(_chat("hello {n}", "two", metadata={"tags": ["a"]}), times=6),
            _ask(_chat("hello {n}", "two"), times=6),
            _ask(_chat("hello {n}", "two", metadata={"tags": ["nobody's"]})),
            _ask(_chat("hello {n}", "two"), headers=("x-litellm-tags: a",), times=4),
        ),
        ("tags",),
    ),
    Script(
        "pass-through/own",
        (_ask(_chat(), "/own/v1/chat/completions", times=3), _ask(path="/own/v1/models", method="GET")),
        ("pass-through",),
    ),
    Script(
        "cache/hits",
        (
            _ask(_chat("first {n}"), times=6),
            _ask(_chat("first {n}"), times=6),
            _ask(_chat("first 1", cache={"no-cache": True})),
            _ask(_chat("first 1", cache={"no-store": True, "ttl": 5})),
            _ask(_chat("streamed", "streaming", stream=True), times=3),
            _ask({"model": "embedding", "input": "the same"}, "/v1/embeddings", times=4),
        ),
        ("cache", "redis-cache", "database-redis"),
    ),
    Script("cache/misses", (_ask(_chat("miss {n}"), times=12),), ("cache", "redis-cache"), "served"),
    *(Script(f"keys/{name}", asks, _DATABASES, way) for name, asks, way in _KEYED),
    Script("metrics/calls", (_ask(_chat(), times=10), _ask(_chat(model="failing"))), ("prometheus",), "served"),
)

#: Calls of many keys at once, and the end of the proxies with all that is still to be written.
_LAST_KEYED = (
    Ask(_chat("last {n}"), key=USER, times=20, together=True),
    Ask(_chat("last {n}", "streaming", stream=True), key=TEAM, times=10, together=True),
    Ask(_chat("last {n}", user="an-end-user", metadata={"tags": ["last"]}), key=TAGGED, times=20, together=True),
)
_LAST = (Ask(_chat("last {n}"), times=10, together=True),)


def _scripts() -> tuple[Script, ...]:
    names = tuple(BY_NAME)
    served = {"chat", "arguments", "streams", "embeddings", "metadata", "paths", "others", "together"}
    everywhere = tuple(
        Script(f"everywhere/{name}", asks, names, "served" if name in served else "either")
        for name, asks in _EVERYWHERE.items()
    )
    plain = tuple(Script(f"wire/{name}", asks, ("plain",)) for name, asks in _PLAIN.items())
    last = (
        Script("end/keys", _LAST_KEYED, _DATABASES, "served", ends=True),
        Script("end/plain", _LAST, tuple(name for name in names if name not in _DATABASES), ends=True),
    )
    return (*everywhere, *plain, *_FEATURES, *last)


SCRIPTS = _scripts()
#: What a short proof plays: the configurations that are most used, and what of theirs differs most.
_SHORT = ("plain", "callbacks")


def runs() -> list[GatewayRun]:
    """Return all runs, those of one configuration together and in the order in which they are to be played."""
    found = [GatewayRun(script, BY_NAME[name]) for script in SCRIPTS for name in script.via]
    return sorted(found, key=lambda run: (list(BY_NAME).index(run.config.name), run.scenario.ends))


def short() -> list[GatewayRun]:
    """Return the runs of a short proof."""
    return [run for run in runs() if run.config.name in _SHORT]
