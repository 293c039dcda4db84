"""The embedded provider as the real ones answer: profiles over TLS, cookies, encodings, the end of connections."""

from __future__ import annotations

import asyncio
import http.cookies
import importlib.util
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest

from litellm_accel.provider import PROFILES, Address, Provider
from litellm_accel.provider.encodings import PACKERS, chosen

MESSAGES = [{"role": "user", "content": "Hello there"}]
NAMES = sorted(PROFILES)


def installed(*modules: str) -> bool:
    return any(importlib.util.find_spec(module) for module in modules)


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    with Provider(profile="openai", tls=True) as provider:
        yield provider


@pytest.fixture
def provider(running: Provider) -> Provider:
    running.clear()
    return running


@pytest.fixture(scope="module")
def trust(running: Provider) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=running.authority)


@pytest.fixture
def client(trust: ssl.SSLContext) -> Iterator[httpx.Client]:
    with httpx.Client(verify=trust) as client:
        yield client


def ask(client: httpx.Client, address: Address, scenario: str = "plain", **more: Any) -> httpx.Response:
    body = {"model": "gpt-4o", "messages": MESSAGES, **more.pop("members", {})}
    return client.post(f"{address.at(scenario)}/chat/completions", json=body, **more)


def events(text: str) -> list[Any]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


# TLS


def test_the_address_is_tls_and_plain_http_is_there_too(provider: Provider, client: httpx.Client) -> None:
    assert provider.url == f"https://127.0.0.1:{provider.tls_port}/v1"
    assert ask(client, provider).http_version == "HTTP/1.1"
    assert ask(client, provider.plain).status_code == 200
    assert provider.plain.secured.url == provider.url
    assert [request.path.count("chat/completions") for request in provider.requests()] == [1, 1]


def test_nobody_else_trusts_the_certificate(provider: Provider) -> None:
    with httpx.Client(verify=ssl.create_default_context()) as client, pytest.raises(httpx.ConnectError, match="verify"):
        ask(client, provider)


def test_the_certificate_is_for_localhost_too_and_strict_clients_accept_it(provider: Provider) -> None:
    context = ssl.create_default_context(cafile=provider.authority)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with httpx.Client(verify=context) as client:
        assert client.get(f"https://localhost:{provider.tls_port}/health").json() == {"status": "ok"}


def test_the_usual_variable_makes_a_client_trust_it(provider: Provider) -> None:
    assert provider.trust == {"SSL_CERT_FILE": provider.authority}
    code = f"import httpx; print(httpx.get('https://127.0.0.1:{provider.tls_port}/health').status_code)"
    ran = subprocess.run([sys.executable, "-c", code], env=provider.trust, capture_output=True, text=True)
    assert ran.stdout.strip() == "200", ran.stderr


def test_http_1_1_is_negotiated_where_the_client_offers_http_2(provider: Provider) -> None:
    context = ssl.create_default_context(cafile=provider.authority)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", provider.tls_port)) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1") as wrapped,
    ):
        assert wrapped.selected_alpn_protocol() == "http/1.1"


def test_the_authority_goes_with_the_provider() -> None:
    for end in ("stop", "kill"):
        provider = Provider(tls=True).start()
        directory = Path(provider.authority).parent
        assert directory.exists()
        getattr(provider, end)()
        assert not directory.exists()


def test_without_cryptography_there_is_one_clear_line_and_plain_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cryptography.py").write_text("raise ImportError\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{Path(__file__).parents[2]}")
    code = (
        "from litellm_accel.provider import Provider\n"
        "with Provider(tls=True) as provider: print(provider.url, provider.trust)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout.startswith("http://127.0.0.1:") and ran.stdout.rstrip().endswith("{}")
    assert ran.stderr.splitlines() == [
        "litellm-accel: no TLS without the package cryptography (pip install 'litellm-accel[demo]'): plain HTTP"
    ]


# profiles


@pytest.mark.parametrize("name", NAMES)
def test_every_profile_over_tls_with_httpx(provider: Provider, client: httpx.Client, name: str) -> None:
    answers = [ask(client, provider, f'plain{{"profile": "{name}"}}') for _ in range(2)]
    first, second = (answer.json() for answer in answers)
    assert first["choices"][0]["message"]["content"].endswith("to 1 messages, 11 characters.")
    assert first["usage"]["total_tokens"] == first["usage"]["prompt_tokens"] + first["usage"]["completion_tokens"]
    assert (first["id"] == second["id"]) == (name == "plain")
    assert not [value for value in (*answers[0].headers.values(), *first) if "{" in str(value)]


@pytest.mark.parametrize("name", NAMES)
def test_every_profile_over_tls_with_aiohttp(provider: Provider, trust: ssl.SSLContext, name: str) -> None:
    async def play() -> tuple[Any, str]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
            address = provider.at('tools{"profile": "' + name + '"}') + "/chat/completions"
            body = {"model": "gpt-4o", "messages": MESSAGES}
            async with session.post(address, json=body) as response:
                told = await response.json()
            async with session.post(address, json={**body, "stream": True}) as response:
                return told, await response.text()

    told, streamed = asyncio.run(play())
    call = told["choices"][0]["message"]["tool_calls"][0]
    assert call["function"] == {"name": "get_weather", "arguments": '{"city": "Oslo"}'}
    assert ("index" in call) == PROFILES[name].numbered_tools
    deltas = [choice["delta"] for event in events(streamed) for choice in event["choices"]]
    pieces = [call["function"]["arguments"] for delta in deltas for call in delta.get("tool_calls") or ()]
    assert "".join(pieces) == '{"city": "Oslo"}'
    assert streamed.endswith("data: [DONE]\n\n")


def test_stock_and_accelerated_are_told_the_same(provider: Provider, trust: ssl.SSLContext) -> None:
    def played() -> list[Any]:
        provider.clear()
        with httpx.Client(verify=trust) as client:
            answers = [ask(client, provider, "plain", members={"stream": number == 3}) for number in range(4)]
            clocks = ("date", "set-cookie")
            return [([item for item in a.headers.items() if item[0] not in clocks], a.text) for a in answers]

    assert played() == played()


def test_openai_says_what_it_says(provider: Provider, client: httpx.Client) -> None:
    answers = [ask(client, provider) for _ in range(12)]
    told = answers[0].json()
    assert told["choices"][0]["message"].keys() == {"role", "content", "refusal", "annotations"}
    assert told["choices"][0]["message"]["annotations"] == [] and told["choices"][0]["message"]["refusal"] is None
    assert told["service_tier"] == "default" and told["model"] == "gpt-4o-2024-08-06"
    assert told["usage"]["prompt_tokens_details"] == {"cached_tokens": 0, "audio_tokens": 0}
    for name in ("cf-ray", "x-request-id", "x-ratelimit-remaining-tokens", "openai-processing-ms"):
        assert len({answer.headers[name] for answer in answers}) > 6, name
    parsedate_to_datetime(answers[0].headers["date"])
    assert answers[0].headers["x-request-id"].startswith("req_")
    shapes = {tuple(sorted(answer.headers)) for answer in answers}
    assert len(shapes) > 3  # some headers come and go
    assert {"strict-transport-security", "alt-svc", "openai-version"} <= set.intersection(*map(set, shapes))


def test_openai_streams_with_obfuscation_and_the_usage_at_the_end(provider: Provider, client: httpx.Client) -> None:
    asked = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = events(ask(client, provider, members=asked).text)
    assert all(1 <= len(chunk["obfuscation"]) <= 16 for chunk in chunks)
    assert len({len(chunk["obfuscation"]) for chunk in chunks}) > 3
    assert [chunk["usage"] is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["completion_tokens_details"]["reasoning_tokens"] == 0


def test_what_is_peculiar_to_others(provider: Provider, client: httpx.Client) -> None:
    def told(name: str, scenario: str = "plain", **members: Any) -> Any:
        answer = ask(client, provider, scenario + '{"profile": "' + name + '"}', members=members)
        return answer.text if members.get("stream") else answer.json()

    groq = told("groq")
    assert groq["x_groq"]["id"].startswith("req_01k") and groq["usage"]["queue_time"] > 0
    assert "refusal" not in groq["choices"][0]["message"]
    assert events(told("groq", stream=True))[-1]["x_groq"]["id"].startswith("req_01k")
    assert events(told("groq", stream=True))[-1]["usage"]["total_time"] > 0
    deepseek = told("deepseek", "reasoning")
    assert deepseek["usage"]["prompt_cache_miss_tokens"] == deepseek["usage"]["prompt_tokens"]
    assert deepseek["choices"][0]["message"]["reasoning_content"] == "First, think. Then answer."
    assert told("deepseek", stream=True).startswith(": keep-alive\n\ndata: ")
    openrouter = told("openrouter")
    assert openrouter["provider"] == "OpenAI" and openrouter["choices"][0]["native_finish_reason"] == "stop"
    assert openrouter["usage"]["cost"] > 0
    assert told("openrouter", stream=True).startswith(": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\ndata: ")
    assert events(told("openrouter", stream=True))[0]["choices"][0]["native_finish_reason"] is None
    mistral = told("mistral")
    assert mistral["choices"][0].keys() == {"index", "message", "finish_reason"}
    assert "system_fingerprint" not in mistral and mistral["choices"][0]["message"]["tool_calls"] is None
    azure = told("azure")
    assert azure["prompt_filter_results"][0]["content_filter_results"]["hate"]["severity"] == "safe"
    assert events(told("azure", stream=True))[0]["choices"] == []
    assert told("vllm")["kv_transfer_params"] is None
    assert told("together")["choices"][0]["seed"] > 2**63


def test_errors_are_in_the_providers_words(provider: Provider, client: httpx.Client) -> None:
    def failed(name: str, status: int) -> Any:
        answer = ask(client, provider, f"error-{status}-retry-after-7" + '{"profile": "' + name + '"}')
        assert answer.status_code == status and answer.headers["retry-after"] == "7"
        return answer.json()

    assert failed("openai", 429)["error"]["code"] == "rate_limit_exceeded"
    assert failed("azure", 429)["error"]["code"] == "429"
    assert failed("mistral", 429) == {
        "object": "error",
        "message": "The provider answers 429",
        "type": "rate_limited",
        "param": None,
        "code": "1300",
    }
    assert failed("openrouter", 429)["error"]["metadata"]["provider_name"] == "OpenAI"
    assert failed("vllm", 404)["error"]["type"] == "NotFoundError"


def test_whoever_is_in_front_has_pages_of_its_own(provider: Provider, client: httpx.Client) -> None:
    answer = ask(client, provider, "edge-502")
    assert answer.status_code == 502 and answer.headers["content-type"] == "text/html"
    assert "<center>cloudflare</center>" in answer.text
    assert "cf-ray" in answer.headers and "x-request-id" not in answer.headers
    assert "<center>nginx</center>" in ask(client, provider, 'edge-502{"profile": "vllm"}').text


def test_a_busy_provider_sends_empty_lines_first(provider: Provider, client: httpx.Client) -> None:
    answer = ask(client, provider, 'busy{"profile": "deepseek"}')
    assert answer.text.startswith("\n\n\n{") and answer.json()["object"] == "chat.completion"


def test_scenarios_go_over_the_profile(provider: Provider, client: httpx.Client) -> None:
    answer = ask(client, provider, 'plain{"headers": {"X-Request-Id": null, "openai-version": "1"}}')
    assert "x-request-id" not in answer.headers and answer.headers["openai-version"] == "1"
    assert ask(client, provider, 'plain{"profile": "unheard-of"}').status_code == 400


# cookies


def test_cookies_are_those_of_cloudflare_and_the_jar_sends_them_back(provider: Provider, client: httpx.Client) -> None:
    first = ask(client, provider)
    cookies = http.cookies.SimpleCookie()
    for line in first.headers.get_list("set-cookie"):
        cookies.load(line)
    bot, visitor = cookies["__cf_bm"], cookies["_cfuvid"]
    for cookie in (bot, visitor):
        assert cookie["path"] == "/" and cookie["domain"] == "127.0.0.1"
        assert cookie["secure"] and cookie["httponly"] and cookie["samesite"] == "None"
    age = parsedate_to_datetime(bot["expires"].replace("-", " ")) - parsedate_to_datetime(first.headers["date"])
    assert age.total_seconds() == 1800 and not visitor["expires"]
    ask(client, provider)
    sent = [request.header("cookie") for request in provider.requests()]
    assert sent == [None, f"__cf_bm={bot.value}; _cfuvid={visitor.value}"]


def test_cookies_are_set_where_none_were_sent_and_now_and_then(provider: Provider, client: httpx.Client) -> None:
    renewed = ["set-cookie" in ask(client, provider).headers for _ in range(16)]
    assert renewed[0] and True in renewed[1:] and False in renewed[1:]


def test_secure_cookies_do_not_travel_without_tls(provider: Provider, client: httpx.Client) -> None:
    for _ in range(2):
        assert "set-cookie" in ask(client, provider.plain).headers
    assert [request.header("cookie") for request in provider.requests()] == [None, None]


# encodings


@pytest.mark.parametrize(
    ("accepted", "profile", "expected"),
    [
        ("gzip, deflate", "openai", "gzip"),
        ("gzip, deflate, br", "openai", "br"),
        ("gzip, br;q=0", "openai", "gzip"),
        ("gzip, zstd", "gateway", "zstd"),
        ("*", "deepseek", "gzip"),
        ("identity", "openai", None),
        ("", "openai", None),
        ("gzip, br, zstd", "azure", None),
    ],
)
def test_the_encoding_is_the_best_that_both_ends_know(
    provider: Provider, client: httpx.Client, accepted: str, profile: str, expected: str | None
) -> None:
    if expected not in (None, *PACKERS):
        pytest.skip(f"nothing packs {expected} here")
    asked = f'plain{{"profile": "{profile}"}}'
    body = json.dumps({"model": "gpt-4o", "messages": MESSAGES})
    with client.stream(
        "POST", f"{provider.at(asked)}/chat/completions", content=body, headers={"accept-encoding": accepted}
    ) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers.get("content-encoding") == expected
    assert raw.lstrip().startswith(b"{") == (expected is None)
    framed = "transfer-encoding" if expected and PROFILES[profile].chunked else "content-length"
    assert framed in answer.headers
    with client.stream(
        "POST",
        f"{provider.at(asked)}/chat/completions",
        json={"model": "gpt-4o", "messages": MESSAGES, "stream": True},
        headers={"accept-encoding": accepted},
    ) as streamed:
        assert "content-encoding" not in streamed.headers
        streamed.read()


@pytest.mark.parametrize(("encoding", "modules"), [("br", ("brotli", "brotlicffi")), ("zstd", ("zstandard",))])
def test_clients_read_what_is_packed(
    provider: Provider, client: httpx.Client, encoding: str, modules: tuple[str, ...]
) -> None:
    if not installed(*modules):
        pytest.skip(f"httpx reads no {encoding} here")
    answer = ask(client, provider, encoding)
    assert answer.headers["content-encoding"] == encoding
    assert answer.json()["object"] == "chat.completion"


def test_what_is_chosen() -> None:
    assert chosen("gzip;q=0.5, deflate", ("deflate", "gzip")) == "deflate"
    assert chosen("gzip;q=0", ("gzip",)) == ""
    assert chosen("gzip;q=0.0, *", ("gzip", "deflate")) == "deflate"
    assert chosen("gzip", ("unheard-of", "gzip")) == "gzip"


# connections


@pytest.mark.parametrize("members", [{}, {"stream": True}])
def test_a_connection_ends_after_so_many_answers(members: Any) -> None:
    with Provider(profile="openai", requests_each=3) as provider, httpx.Client() as client:
        said = [ask(client, provider, members=members).headers["connection"] for _ in range(6)]
        assert said == ["keep-alive", "keep-alive", "close"] * 2
        assert provider.stats()["connections"] - provider.stats()["open"] >= 2
        assert len({request.connection for request in provider.requests()}) == 2


def test_a_gateway_ends_its_connections_by_itself(provider: Provider, client: httpx.Client) -> None:
    said = [ask(client, provider, 'plain{"profile": "gateway"}').headers.get("connection") for _ in range(100)]
    assert said == [None] * 99 + ["close"]
    assert ask(client, provider, 'plain{"profile": "gateway"}').status_code == 200
