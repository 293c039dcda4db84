"""Cookies and headers of answers: what is kept, sent and shown is what stock keeps, sends and shows."""

from __future__ import annotations

import asyncio
import gzip
import inspect
import threading
import time
import zlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import litellm
import openai
import pytest
from httpx._decoders import SUPPORTED_DECODERS
from litellm.caching.llm_caching_handler import LLMClientCache

from fastpath_switch import Switch
from litellm_accel.fastpath.streams import source
from wire_server import JSON, PLAIN, Answer, Headers, WireServer, streamed

HELLO = [{"role": "user", "content": "Hello"}]
MODES = ("async", "sync", "async stream", "sync stream")
LATER = "Fri, 01 Jan 2038 00:00:00 GMT"
OPENAI = (
    ("Date", "Tue, 01 Dec 2026 04:00:00 GMT"),
    ("openai-version", "2020-10-01"),
    ("x-ratelimit-remaining-tokens", "49999975"),
    ("x-request-id", "req_%d"),
    ("Set-Cookie", f"__cf_bm=%d.x-1; path=/; expires={LATER}; domain=.api.openai.com; HttpOnly; Secure; SameSite=None"),
    ("Set-Cookie", "_cfuvid=%d-0-604800000; path=/; domain=.api.openai.com; HttpOnly; Secure; SameSite=None"),
    ("CF-RAY", "%d-FRA"),
)
Step = Callable[[int, Any], Any]

# Since LiteLLM 1.108 all event loops share the clients for threads.
CLIENTS_BY_LOOP = "loop_bound" not in inspect.signature(LLMClientCache.get_cache).parameters
clients_by_loop = pytest.mark.skipif(not CLIENTS_BY_LOOP, reason="the installed LiteLLM's threads share a client")

pytestmark = pytest.mark.usefixtures("quiet")


def numbered(headers: Headers, number: int) -> list[tuple[str, str]]:
    """Return headers with the number of the answer in their values."""
    return [(name, value % number if "%d" in value else value) for name, value in headers]


def answers(*headers: tuple[str, str], first: Headers = ()) -> Callable[[int, Any], Answer]:
    """Return what answers with these headers, and the first time with those in ``first``."""

    def answer(number: int, body: Any) -> Answer:
        given = numbered(first if first and number == 1 else headers, number)
        if body.get("stream"):
            return 200, [("Content-Type", "text/event-stream"), *given], streamed("a", "b")
        return 200, [JSON, *given], PLAIN

    return answer


def cookies(*values: str) -> Callable[[int, Any], Answer]:
    return answers(*(("Set-Cookie", value) for value in values))


def http_clients() -> list[Any]:
    """Return the HTTP clients that LiteLLM keeps."""
    held = litellm.in_memory_llm_clients_cache.cache_dict.values()
    clients = [getattr(client, "_client", None) or getattr(client, "client", None) for client in held]
    return [client for client in clients if hasattr(client, "cookies")]


def jars() -> list[Any]:
    """Return what is in their jars, with lives in seconds rounded."""
    now = time.time()
    return [
        [
            {
                **vars(cookie),
                "expires": cookie.expires
                and (cookie.expires, round((cookie.expires - now) / 100))[cookie.expires < now + 1e6],
            }
            for cookie in client.cookies.jar
        ]
        for client in http_clients()
    ]


def shown(result: Any) -> Any:
    hidden = {name: value for name, value in result._hidden_params.items() if name in ("headers", "additional_headers")}
    headers = result._response_headers
    return (
        type(headers),
        list(dict(headers or {}).items()),
        {name: list(value.items()) for name, value in hidden.items()},
    )


async def play(server: WireServer, mode: str, step: Step, count: int, **more: Any) -> list[Any]:
    """Return what is seen of each call: its request, its result, the jars after it."""
    seen: list[Any] = []
    server.heads.clear()
    litellm.in_memory_llm_clients_cache.flush_cache()
    arguments = {"model": "openai/gpt-4o", "messages": HELLO, "api_base": server.url(), "api_key": "sk-1"}
    for number in range(count):
        given = step(number, http_clients()) or {}
        given = {**arguments, "max_retries": 0, "stream": mode.endswith("stream"), **more, **given}
        try:
            if mode.startswith("async"):
                result = await litellm.acompletion(**given)
                parts = [part async for part in result] if mode.endswith("stream") else [result]
            else:
                result = litellm.completion(**given)
                parts = list(result) if mode.endswith("stream") else [result]
            seen.append((shown(result), [part.choices[0].model_dump() for part in parts]))
        except openai.APIError as error:
            seen.append((type(error), str(error)))
        seen.append(jars())
    for client in http_clients():
        await client.aclose() if hasattr(client, "aclose") else client.close()
    return [*seen, list(server.heads)]


def nothing(number: int, clients: Any) -> None:
    """Between calls."""


def same(
    answer: Callable[[int, Any], Answer], mode: str, step: Step = nothing, count: int = 7, **more: Any
) -> tuple[list[Any], Any]:
    """Assert that stock and the fast path are equal; return what was seen and the fast path's gate."""
    with WireServer(answer) as server:
        expected = asyncio.run(play(server, mode, step, count, **more))
        switch = Switch()
        source.use(SimpleNamespace(gate=switch.gate, admitted=lambda: None))
        try:
            with switch.on():
                found = asyncio.run(play(server, mode, step, count, **more))
        finally:
            source.use(None)
            switch.stop()
    for one, other in zip(expected, found, strict=True):
        assert other == one
    assert switch.gate.faults == 0, switch.gate.last_fault
    return expected, switch.gate


def cookie_lines(seen: list[Any]) -> list[bytes]:
    """Return the ``Cookie`` header of each request, empty if it has none."""
    lines = [[line for line in head.split(b"\r\n") if line.lower().startswith(b"cookie:")] for head in seen[-1]]
    return [b"".join(line) for line in lines]


@pytest.mark.parametrize("mode", MODES)
def test_openais_cookies_of_another_domain(mode: str) -> None:
    seen, gate = same(answers(*OPENAI), mode)
    assert not any(cookie_lines(seen))
    assert gate.served >= 3, gate.declined


@pytest.mark.parametrize("mode", MODES)
def test_cookies_that_are_sent_back(mode: str) -> None:
    values = (
        "a=%d; path=/",
        f"b=%d; Expires={LATER}; HttpOnly",
        "c=%d; Max-Age=5000",
        "d=1; path=/v1/chat",
        "e=%d;path=/other",
    )
    seen, gate = same(cookies(*values), mode)
    lines = {line.partition(b": ")[2] for line in cookie_lines(seen)[1:]}
    assert {line.count(b";") for line in lines} == {3} and len(lines) == 6
    assert gate.served >= 3, gate.declined


@pytest.mark.parametrize("mode", MODES)
def test_secure_cookies_are_kept_but_not_sent_in_the_open(mode: str) -> None:
    seen, gate = same(cookies("a=%d; Secure", "b=%d"), mode)
    assert len(seen[-2][0]) == 2
    assert all(line.partition(b": ")[2].startswith(b"b=") for line in cookie_lines(seen)[1:])
    assert gate.served >= 3, gate.declined


ODD = (
    'a="b c; path=/',
    "a=",
    "a",
    "=b",
    "a=b; path=v1",
    "a=b; domain=127.0.0.1",
    "a=b; domain=.0.0.1",
    "a=b; domain=localhost",
    "a=b; Max-Age=0",
    "a=b; Max-Age=x",
    f"a=b; Max-Age=7000; expires={LATER}; Expires={LATER}",
    "a=b; expires=Thursday, 01-Jan-70 00:00:00 GMT",
    "a=b; expires=soon",
    "a=b; expires",
    "a=b; Version=1; Port",
    "a=b; discard; comment=c",
    "expires=b",
    " a = b ; path = / ",
    "a=%d; path=/; SameSite=None; Partitioned; Priority=High",
)


@pytest.mark.parametrize("mode", ["async", "sync"])
@pytest.mark.parametrize("odd", ODD)
def test_odd_cookies(mode: str, odd: str) -> None:
    _, gate = same(cookies(odd, "z=%d"), mode)
    assert gate.served >= 3, gate.declined


@pytest.mark.parametrize("mode", ["async", "sync"])
@pytest.mark.parametrize("header", [("Set-Cookie", "a=\xe9"), ("Set-Cookie2", "a=b; Version=1"), ("x-name", "\xe9")])
def test_what_only_the_client_reads_is_left_to_it(mode: str, header: tuple[str, str]) -> None:
    def answer(number: int, body: Any) -> Answer:
        return answers(*[header] if number > 4 else [])(number, body)

    _, gate = same(answer, mode)
    assert gate.declined["reply left to stock"] >= 1


@pytest.mark.parametrize("mode", MODES)
def test_cookies_end(mode: str) -> None:
    def aged(number: int, clients: Any) -> None:
        if number == 4:
            for cookie in clients[-1].cookies.jar:
                cookie.expires = int(time.time())
        if number == 5:
            for cookie in clients[-1].cookies.jar:
                cookie.expires = int(time.time()) + 1000

    seen, gate = same(answers(first=[("Set-Cookie", f"a=1; expires={LATER}")]), mode, aged)
    assert list(map(bool, cookie_lines(seen))) == [False, True, True, True, False, True, True]
    assert gate.served >= 4, gate.declined


@pytest.mark.parametrize("mode", MODES)
def test_cookies_are_taken_away_by_an_answer(mode: str) -> None:
    def answer(number: int, body: Any) -> Answer:
        value = "a=b; Max-Age=0" if number in (4, 6) else f"a={number}"
        return answers(("Set-Cookie", value))(number, body)

    seen, gate = same(answer, mode)
    assert list(map(bool, cookie_lines(seen))) == [False, True, True, True, False, True, False]
    assert gate.served >= 3, gate.declined


@pytest.mark.parametrize("mode", MODES)
def test_cookies_that_an_error_sets(mode: str) -> None:
    def answer(number: int, body: Any) -> Answer:
        if number == 4:
            return 429, [JSON, ("Set-Cookie", "error=1"), ("Set-Cookie", "a=4")], b'{"error": {"message": "slow"}}'
        return answers(("Set-Cookie", "a=%d"))(number, body)

    seen, gate = same(answer, mode, count=8)
    assert b"error=1" in cookie_lines(seen)[4]
    assert gate.declined["reply left to stock"] == 1


@pytest.mark.parametrize("mode", ["async", "sync"])
def test_cookies_of_an_error_that_is_tried_again(mode: str) -> None:
    def answer(number: int, body: Any) -> Answer:
        if number == 4:
            return 500, [JSON, ("retry-after-ms", "5"), ("Set-Cookie", "error=1")], b"{}"
        return answers(("Set-Cookie", "a=%d"))(number, body)

    seen, _ = same(answer, mode, max_retries=1)
    assert b"error=1" in cookie_lines(seen)[4]


def cleared(client: Any) -> None:
    client.cookies.clear()


def added(client: Any) -> None:
    client.cookies.set("mine", "1")


def of_a_domain(client: Any) -> None:
    client.cookies.set("mine", "1", domain="127.0.0.1", path="/v1")


def deleted(client: Any) -> None:
    client.cookies.delete("a")


def put_in_place(client: Any) -> None:
    client.cookies = {"mine": "1"}


def another_jar(client: Any) -> None:
    client.cookies.jar = type(client.cookies.jar)()


def written(client: Any) -> None:
    for cookie in client.cookies.jar:
        cookie.value = "written"


def renamed(client: Any) -> None:
    for cookie in client.cookies.jar:
        cookie.path = "/other"


def of_version_1(client: Any) -> None:
    for cookie in client.cookies.jar:
        cookie.version = 1


def blocked(client: Any) -> None:
    client.cookies.jar._policy.set_blocked_domains(["127.0.0.1"])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "change",
    [cleared, added, of_a_domain, deleted, put_in_place, another_jar, written, renamed, of_version_1, blocked],
)
def test_what_the_user_does_to_a_jar(mode: str, change: Callable[[Any], None]) -> None:
    def step(number: int, clients: Any) -> None:
        if number in (3, 5):
            change(clients[-1])

    _, gate = same(cookies("a=%d", "b=%d"), mode, step, count=8)
    assert gate.served >= 3, gate.declined


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["Cookie", "cookie"])
def test_a_cookie_header_of_the_callers_own(mode: str, name: str) -> None:
    seen, gate = same(cookies("a=%d"), mode, extra_headers={name: "own=1", "x-b": "1"})
    assert {line.partition(b": ")[2] for line in cookie_lines(seen)} == {b"own=1"}
    assert gate.served >= 3, gate.declined


@pytest.mark.parametrize("mode", MODES)
def test_two_clients_have_two_jars(mode: str) -> None:
    def step(number: int, clients: Any) -> dict[str, Any]:
        return {"api_key": f"sk-{number % 2}"}

    def answer(number: int, body: Any) -> Answer:
        return answers(("Set-Cookie", f"a={number}"))(number, body)

    seen, gate = same(answer, mode, step, count=12)
    assert [line.partition(b"=")[2] for line in cookie_lines(seen)[2:]] == [b"%d" % number for number in range(1, 11)]
    assert gate.served >= 4, gate.declined


@pytest.mark.parametrize("mode", MODES)
def test_a_client_that_litellm_keeps_no_more_takes_its_cookies_along(mode: str) -> None:
    def flushed(number: int, clients: Any) -> dict[str, Any]:
        if number == 6:
            litellm.in_memory_llm_clients_cache.flush_cache()
        return {}

    seen, gate = same(cookies("a=%d"), mode, flushed, count=10)
    assert [not line for line in cookie_lines(seen)] == [number in (0, 6) for number in range(10)]
    assert gate.served >= 3, gate.declined


@pytest.mark.parametrize("mode", MODES)
def test_jars_are_shared_with_calls_of_stocks(mode: str) -> None:
    def declined(number: int, clients: Any) -> dict[str, Any]:
        return {"cooldown_time": 1.0} if number in (3, 5) else {}

    seen, gate = same(cookies("a=%d"), mode, declined)
    assert len(set(cookie_lines(seen))) == 7
    assert gate.declined["argument 'cooldown_time'"] == 2 and gate.served >= 2, gate.declined


@pytest.mark.parametrize("mode", ["async", "sync"])
@pytest.mark.parametrize("provider", ["hosted_vllm", "deepseek", "openrouter"])
def test_litellms_own_clients_keep_what_the_user_has_given_them(mode: str, provider: str) -> None:
    def step(number: int, clients: Any) -> None:
        if number == 4:
            clients[-1].cookies.set("mine", "1")

    seen, gate = same(cookies("a=%d", f"b=%d; expires={LATER}"), mode, step, model=f"{provider}/model")
    assert list(map(bool, cookie_lines(seen))) == [number >= 4 for number in range(7)]
    assert gate.served >= 3, gate.declined


@pytest.mark.parametrize("mode", ["async", "sync"])
def test_without_pools(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("litellm_accel.fastpath.transport.pools.use", lambda pools: None)
    seen, gate = same(cookies("a=%d", "b=%d"), mode)
    assert all(cookie_lines(seen)[1:])
    assert gate.served >= 3, gate.declined


# --- headers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_headers_that_come_and_go(mode: str) -> None:
    names = (
        "x-request-id",
        "x-ratelimit-limit-requests",
        "request-id",
        "llm_provider-x",
        "X-Odd",
        "x-litellm-model-id",
    )

    def answer(number: int, body: Any) -> Answer:
        some = [(name, f"{name}-{number}") for place, name in enumerate(names) if number >> place & 1]
        if number % 3 == 0:
            some.reverse()
        if number % 4 == 0:
            some.append(("x-request-id", ""))
            some.append(("x-empty", ""))
        if number % 5 == 0:
            some.append(("x-Odd", "again"))
        return answers(*some)(number, body)

    _, gate = same(answer, mode, count=24)
    assert "reply left to stock" not in gate.declined
    assert gate.served >= 20, gate.declined


# --- encodings --------------------------------------------------------------------------------------------------------


def deflated(data: bytes, **how: Any) -> bytes:
    compressor = zlib.compressobj(**how)
    return compressor.compress(data) + compressor.flush()


def encoders() -> dict[str, Callable[[bytes], bytes]]:
    found: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "deflate": deflated,
        "Deflate": lambda data: deflated(data, wbits=-15),
        "identity": bytes,
        "unknown": bytes,
        "deflate, gzip": lambda data: gzip.compress(deflated(data)),
    }
    if "br" in SUPPORTED_DECODERS:
        found["br"] = pytest.importorskip("brotli").compress
        found["gzip,br"] = lambda data: found["br"](gzip.compress(data))
    if "zstd" in SUPPORTED_DECODERS:
        found["zstd"] = pytest.importorskip("zstandard").compress
    return found


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("encoding", encoders())
def test_encodings(mode: str, encoding: str) -> None:
    def answer(number: int, body: Any) -> Answer:
        status, headers, content = answers()(number, body)
        return status, [*headers, ("Content-Encoding", encoding)], encoders()[encoding](content)

    _, gate = same(answer, mode)
    assert "reply left to stock" not in gate.declined
    assert gate.served >= 3, gate.declined


@pytest.mark.parametrize("mode", ["async", "sync"])
@pytest.mark.parametrize("encoding", [name for name in encoders() if name not in ("identity", "unknown")])
def test_broken_encodings(mode: str, encoding: str) -> None:
    def answer(number: int, body: Any) -> Answer:
        status, headers, content = answers()(number, body)
        content = encoders()[encoding](content)
        if number in (4, 6):
            content = content[:-3] + b"\xff\xff\xff" if number == 4 else content[: len(content) // 2]
        return status, [*headers, ("Content-Encoding", encoding)], content

    _, gate = same(answer, mode)
    assert gate.declined["reply left to stock"] >= 1


# --- calls in threads -------------------------------------------------------------------------------------------------


@pytest.fixture
def loops(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.AbstractEventLoop]:
    """The event loops that are made, none of them freed: LiteLLM knows them by their place in memory."""
    made: list[asyncio.AbstractEventLoop] = []

    class Keeping(asyncio.DefaultEventLoopPolicy):
        def new_event_loop(self) -> asyncio.AbstractEventLoop:
            made.append(super().new_event_loop())
            return made[-1]

    monkeypatch.setattr(asyncio.events, "_event_loop_policy", Keeping())
    return made


def in_turn(call: Callable[[], Any]) -> None:
    for _ in range(8):
        call()


def in_a_running_loop(call: Callable[[], Any]) -> None:
    async def calls() -> None:
        in_turn(call)

    asyncio.run(calls())


def in_threads(call: Callable[[], Any]) -> None:
    for _ in range(2):
        threads = [threading.Thread(target=in_turn, args=(call,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def in_loops_of_their_own(call: Callable[[], Any]) -> None:
    """Two loops that take turns, and a thread without one between them."""

    async def calls() -> None:
        call()

    with asyncio.Runner() as one, asyncio.Runner() as other:
        for _ in range(4):
            call()
            one.run(calls())
            other.run(calls())


def heads_in_threads(way: Callable[..., None], call: Callable[[str], Any], accelerated: bool) -> tuple[Any, list[Any]]:
    """Return the ``Cookie`` header of each request that comes of calls in threads, and of the fast path its gate."""
    litellm.in_memory_llm_clients_cache.flush_cache()
    with WireServer(cookies("a=1; path=/", f"b=2; Expires={LATER}; HttpOnly")) as server:
        if not accelerated:
            way(call(server.url()))
            return None, cookie_lines([server.heads])
        switch = Switch()
        source.use(SimpleNamespace(gate=switch.gate, admitted=lambda: None))
        try:
            with switch.on():
                way(call(server.url()))
        finally:
            source.use(None)
            switch.stop()
        return switch.gate, cookie_lines([server.heads])


def of_a_router(url: str, model: str = "openai/gpt-4o", **more: Any) -> Callable[[], Any]:
    params = {"model": model, "api_key": "sk-1", "api_base": url}
    router = litellm.Router([{"model_name": "group", "litellm_params": params}], num_retries=0)

    def call() -> None:
        result = router.completion("group", HELLO, **more)
        if more:
            assert list(result)

    return call


def of_a_routers_stream(url: str) -> Callable[[], Any]:
    return of_a_router(url, stream=True)


def of_a_router_without_the_sdk(url: str) -> Callable[[], Any]:
    return of_a_router(url, "hosted_vllm/qwen")


def of_completion(url: str) -> Callable[[], Any]:
    return lambda: litellm.completion("openai/gpt-4o", HELLO, api_base=url, api_key="sk-1")


def of_completion_without_the_sdk(url: str) -> Callable[[], Any]:
    return lambda: litellm.completion("hosted_vllm/qwen", HELLO, api_base=url, api_key="sk-1")


# Where a router's calls share a client, cookies come and go between threads as it happens.
@pytest.mark.parametrize("way", [in_turn, in_a_running_loop, pytest.param(in_threads, marks=clients_by_loop)])
@pytest.mark.parametrize("call", [of_a_router, of_a_routers_stream, of_a_router_without_the_sdk])
def test_cookies_of_a_routers_calls_in_threads(loops: list[Any], way: Any, call: Any) -> None:
    _, expected = heads_in_threads(way, call, accelerated=False)
    gate, found = heads_in_threads(way, call, accelerated=True)
    assert found == expected
    # Each call has begun without cookies where its client is of its own, or keeps none.
    assert not any(expected) or not CLIENTS_BY_LOOP
    assert gate.faults == 0, gate.last_fault
    assert gate.served >= 3, gate.declined


@pytest.mark.parametrize("call", [of_completion, of_completion_without_the_sdk])
def test_each_event_loop_has_cookies_of_its_own(loops: list[Any], call: Any) -> None:
    _, expected = heads_in_threads(in_loops_of_their_own, call, accelerated=False)
    gate, found = heads_in_threads(in_loops_of_their_own, call, accelerated=True)
    assert found == expected
    sends_cookies = call is of_completion  # LiteLLM's own client keeps none
    assert any(expected) == sends_cookies
    assert gate.faults == 0, gate.last_fault
    assert gate.served >= 6, gate.declined


def test_an_http_client_of_the_users_keeps_the_cookies_of_all_calls(
    loops: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Any] = []
    for accelerated in (False, True):
        with httpx.Client() as client:
            monkeypatch.setattr(litellm, "client_session", client)
            found.append(heads_in_threads(in_turn, of_a_router, accelerated))
    assert found[1][1] == found[0][1]
    assert [bool(line) for line in found[0][1]] == [False] + [True] * 7
