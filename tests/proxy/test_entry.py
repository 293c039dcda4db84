"""Component ``proxy``: bytes on the wire of a stock proxy and an accelerated one are the same. Run by ``-m slow``."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from litellm_accel.provider import Provider
from proxy import masks
from proxy.gateways import KEY, Gateway, missing

pytestmark = pytest.mark.slow

_COMMAND = ("litellm", "--config", "config.yaml", "--host", "127.0.0.1", "--port", "{port}")
_PATH = "/v1/chat/completions"
_HOOKS = """
from fastapi import HTTPException
from litellm.integrations.custom_logger import CustomLogger

class Hooks(CustomLogger):
    async def async_pre_call_hook(self, user_api_key_dict, cache, data, call_type):
        text = str(data.get("messages"))
        if "rejected" in text:
            raise HTTPException(status_code=451, detail={"error": "rejected by a hook"})
        if "told off" in text:
            return "a text of the hook"
        if "changed" in text:
            data["messages"] = [{"role": "user", "content": "by the hook"}]
        return data

    async def async_post_call_success_hook(self, data, user_api_key_dict, response):
        if "marked" in str(data.get("messages")):
            response.choices[0].message.content = "marked by a hook"
        return response

    async def async_post_call_response_headers_hook(self, data, user_api_key_dict, response, **more):
        return {"x-by-a-hook": "yes"}

hooks = Hooks()
"""


def config(provider: Provider) -> str:
    made = {
        "gpt": provider.at('plain{"profile": "openai"}'),
        "streaming": provider.at("plain"),
        "failing": provider.at("error-400"),
        "limited": provider.at("error-429"),
        "broken": provider.at("error-500"),
    }
    lines = ["model_list:"]
    for name, address in made.items():
        params = f"model: openai/gpt-4o-mini, api_base: '{address}', api_key: sk-up, max_retries: 0"
        lines += [f"  - model_name: {name}", f"    litellm_params: {{{params}}}", f"    model_info: {{id: d-{name}}}"]
    params = f"model: mistral/some, api_base: '{made['gpt']}', api_key: sk-up"
    lines += ["  - model_name: bridged", f"    litellm_params: {{{params}}}", "    model_info: {id: d-bridged}"]
    lines += ["router_settings: {num_retries: 0, disable_cooldowns: true}"]
    lines += ["litellm_settings: {callbacks: hooks.hooks}"]
    return "\n".join([*lines, "general_settings:", f"  master_key: {KEY}", ""])


def request(body: Any, path: str = _PATH, *lines: str, method: str = "POST", key: str | None = KEY) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"{method} {path} HTTP/1.1", "Host: proxy", *([f"Authorization: Bearer {key}"] if key else [])]
    if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in lines):
        head.append(f"Content-Length: {len(data)}")
    if not any(line.lower().startswith("content-type") for line in lines):
        head.append("Content-Type: application/json")
    return "\r\n".join([*head, *lines, "Connection: close", "", ""]).encode() + data


def chat(text: str = "hello", **more: Any) -> dict[str, Any]:
    return {"model": "gpt", "messages": [{"role": "user", "content": text}], **more}


_PARTS = b'{"model": "gpt", "messages": ', b'[{"role": "user", "content": "hello"}]}', b""
_CHUNKED = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in _PARTS)
_TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
SCENARIOS: dict[str, bytes] = {
    "plain": request(chat()),
    "another path": request(chat(), "/chat/completions"),
    "engines": request(chat(), "/engines/gpt/chat/completions"),
    "engines without a model": request({"messages": chat()["messages"]}, "/engines/gpt/chat/completions"),
    "azure": request(chat(), "/openai/deployments/gpt/chat/completions"),
    "azure with its version": request(chat(), "/openai/deployments/gpt/chat/completions?api-version=2024"),
    "a query": request(chat(), f"{_PATH}?model=failing"),
    "a slash": request(chat(), f"{_PATH}/"),
    "get": request(b"", method="GET"),
    "put": request(chat(), method="PUT"),
    "options": request(b"", _PATH, "Origin: http://a", "Access-Control-Request-Method: POST", method="OPTIONS"),
    "an origin": request(chat(), _PATH, "Origin: http://a"),
    "no key": request(chat(), key=None),
    "a wrong key": request(chat(), key="sk-wrong-1234567"),
    "an empty key": request(chat(), _PATH, "Authorization: ", key=None),
    "no bearer": request(chat(), _PATH, f"Authorization: {KEY}", key=None),
    "two keys": request(chat(), _PATH, "Authorization: Bearer sk-wrong-1234567"),
    "azure's key": request(chat(), _PATH, f"api-key: {KEY}", key=None),
    "anthropic's key": request(chat(), _PATH, f"x-api-key: {KEY}", key=None),
    "google's key": request(chat(), _PATH, f"x-goog-api-key: {KEY}", key=None),
    "litellm's key": request(chat(), _PATH, f"x-litellm-api-key: Bearer {KEY}", key="sk-wrong-1234567"),
    "no JSON": request(b"{no json"),
    "an empty body": request(b""),
    "a list": request([1]),
    "no messages": request({"model": "gpt"}),
    "no model": request({"messages": chat()["messages"]}),
    "an unknown model": request(chat(model="nothing")),
    "a model that is none": request(chat(model=1)),
    "messages that are none": request(chat(messages="none")),
    "latin": request("é".encode("latin-1")),
    "a surrogate": request(b'{"model": "gpt", "messages": [{"role": "user", "content": "\\ud800"}]}'),
    "other type": request(chat(), _PATH, "Content-Type: text/plain"),
    "a form": request(b"model=gpt", _PATH, "Content-Type: application/x-www-form-urlencoded"),
    "no type": request(chat(), _PATH, "Content-Type: "),
    "chunked": request(_CHUNKED, _PATH, "Transfer-Encoding: chunked"),
    "HTTP/1.0": request(chat()).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "expects": request(chat(), _PATH, "Expect: 100-continue"),
    "pipelined": request(chat()).replace(b"Connection: close\r\n", b"") + request(chat("again")),
    "no HTTP": b"hello\r\n\r\n",
    "large": request(chat("a" * 300_000)),
    "gzip": request(chat(), _PATH, "Accept-Encoding: gzip"),
    "arguments": request(chat(temperature=0.5, top_p=1, user="someone", n=1, seed=3)),
    "an unknown argument": request(chat(nobody_knows=1)),
    "tools": request(chat(tools=[_TOOL])),
    "metadata": request(chat(metadata={"tags": ["one"], "more": {"a": 1}})),
    "tags": request(chat(), _PATH, "x-litellm-tags: one,two"),
    "a call's id": request(chat(), _PATH, "x-litellm-call-id: 12345"),
    "two of a header": request(chat(), _PATH, "x-two: 1", "x-two: 2"),
    "streamed": request(chat(model="streaming", stream=True)),
    "streamed with usage": request(chat(model="streaming", stream=True, stream_options={"include_usage": True})),
    "streamed from a plain one": request(chat(stream=True)),
    "not streamed": request(chat(stream=False)),
    "stream of another type": request(chat(stream="yes")),
    "failing": request(chat(model="failing")),
    "failing streamed": request(chat(model="failing", stream=True)),
    "limited": request(chat(model="limited")),
    "broken": request(chat(model="broken")),
    "fallbacks": request(chat(model="broken", fallbacks=["gpt"])),
    "rejected": request(chat("rejected")),
    "told off": request(chat("told off")),
    "told off streamed": request(chat("told off", stream=True)),
    "changed": request(chat("changed")),
    "marked": request(chat("marked")),
    "mocked": request(chat(mock_response="mocked")),
    "embeddings": request({"model": "gpt", "input": "x"}, "/v1/embeddings"),
    "completions": request({"model": "gpt", "prompt": "x"}, "/v1/completions"),
    "messages": request(chat(model="bridged", max_tokens=9), "/v1/messages"),
    "messages streamed": request(chat(model="bridged", max_tokens=9, stream=True), "/v1/messages"),
    "messages, wrong": request(chat(), "/v1/messages"),
    "responses": request({"model": "bridged", "input": "x"}, "/v1/responses"),
    "responses streamed": request({"model": "bridged", "input": "x", "stream": True}, "/v1/responses"),
    "responses, wrong": request({"model": "bridged", "input": 1}, "/responses"),
    "models": request(b"", "/v1/models", method="GET"),
    "nowhere": request(chat(), "/nowhere/chat/completions"),
}


class Side:
    """One proxy and its provider."""

    def __init__(self, gateway: Gateway, provider: Provider) -> None:
        self.gateway = gateway
        self.provider = provider

    def exchange(self, raw: bytes) -> Any:
        """Return what comes for ``raw`` until the server closes, as it is compared."""
        with socket.create_connection(("127.0.0.1", self.gateway.port), 60) as connection:
            connection.sendall(raw)
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
        lines = b"".join(parts).decode("latin-1").split("\r\n")
        return [shown(line) for line in lines]

    def requests(self) -> Any:
        return [
            ([(name, masks.masked(value)) for name, value in request.headers], masks.masked(request.body))
            for request in self.provider.requests()
            if request.method == "POST"
        ]


_HEADER = re.compile(r"([\w-]+): (.*)")


def shown(line: str) -> Any:
    """Return a line of an answer with identifiers, clocks and what is measured masked."""
    if header := _HEADER.fullmatch(line):
        name = header[1].lower()
        return name, "<length>" if name == "content-length" else masks.masked(header[2], name)
    line = re.sub(r'"created(_at)?":\s*\d+', '"created":0', re.sub(r"resp_[\w=-]{40,}", "<id>", line))
    try:
        return masks.masked(json.loads(line))
    except ValueError:
        return re.sub(r"chatcmpl-[\w-]+|^[0-9a-f]{1,4}$", "<id>", masks.masked(line))


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Side, Side]]:
    if problem := missing():
        pytest.skip(problem)
    with ExitStack() as stack:
        made = []
        for name in ("stock", "accelerated"):
            folder: Path = tmp_path_factory.mktemp(name)
            provider = stack.enter_context(Provider())
            (folder / "config.yaml").write_text(config(provider))
            (folder / "hooks.py").write_text(_HOOKS)
            gateway = Gateway(folder, _COMMAND, {}, accelerated=name == "accelerated")
            stack.callback(gateway.stop)
            made.append(Side(gateway, provider))
        with ThreadPoolExecutor() as threads:
            list(threads.map(lambda side: side.gateway.wait(), made))
        for path in (_PATH, "/chat/completions", "/engines/gpt/chat/completions"):
            for number in range(6):
                for side in made:
                    side.exchange(request(chat(f"hello {number}"), path))
        yield made[0], made[1]


def served(side: Side) -> int:
    (report,) = side.gateway.reports()
    return int(report["proxy"]["served"])


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_bytes(sides: tuple[Side, Side], name: str) -> None:
    stock, accelerated = sides
    for _ in range(2):
        one, two = stock.exchange(SCENARIOS[name]), accelerated.exchange(SCENARIOS[name])
        assert [pair for pair in zip(one, two, strict=False) if pair[0] != pair[1]] == []
        assert two == one


_SERVED = {
    _PATH: chat(),
    "/v1/completions": {"model": "gpt", "prompt": "x"},
    "/v1/embeddings": {"model": "gpt", "input": "x"},
    "/v1/messages": chat(model="bridged", max_tokens=9),
    "/v1/responses": {"model": "bridged", "input": "x"},
    "/engines/streaming/chat/completions": chat(model="streaming", stream=True),
}


@pytest.mark.parametrize("path", _SERVED)
def test_what_is_served(sides: tuple[Side, Side], path: str) -> None:
    stock, accelerated = sides
    before = served(accelerated)
    raw = request(_SERVED[path], path)
    for _ in range(10):
        assert accelerated.exchange(raw) == stock.exchange(raw)
    assert served(accelerated) >= before + 7
    (report,) = accelerated.gateway.reports()
    assert report["proxy"]["faults"] == 0 and report["proxy"]["state"] == "active"


def test_the_provider_was_asked_the_same(sides: tuple[Side, Side]) -> None:
    stock, accelerated = sides
    assert accelerated.requests() == stock.requests()


def test_clients_that_go_away(sides: tuple[Side, Side]) -> None:
    for side in sides:
        for raw in (SCENARIOS["plain"], SCENARIOS["streamed"], SCENARIOS["large"][:1000]):
            with socket.create_connection(("127.0.0.1", side.gateway.port), 60) as connection:
                connection.sendall(raw)
    stock, accelerated = sides
    for _ in range(2):
        assert accelerated.exchange(SCENARIOS["plain"]) == stock.exchange(SCENARIOS["plain"])
