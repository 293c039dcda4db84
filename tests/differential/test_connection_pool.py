"""The fast path over connections of its own, against stock LiteLLM."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import Iterator
from typing import Any

import litellm
import pytest

import litellm_accel
from litellm_accel.provider import Provider
from litellm_accel.verify import records
from wire_server import JSON, PLAIN, WireServer

HELLO = [{"role": "user", "content": "Hello"}]
ANSWERS = (
    "plain",
    "tools",
    "gzip",
    "close",
    "hangup",
    "chunked",
    'error-400{"plain_first": 0}',
    'error-500{"headers": {"x-should-retry": "false"}}',
    "disconnect",
    "not-json",
)


@pytest.fixture
def pool(restored: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(litellm, "suppress_debug_info", True)
    with records.proving("chat"):
        litellm_accel.accelerate(["connection_pool", "chat"], strict=True)
    yield
    litellm_accel.restore()


def call(provider: Provider, answer: str = "plain") -> dict[str, Any]:
    messages = [*HELLO, {"role": "user", "content": f"answer as: {answer}"}]
    return {
        "model": "openai/gpt-4o-mini",
        "messages": messages,
        "api_base": provider.url,
        "api_key": "sk-1",
        "max_retries": 0,
    }


def seen(provider: Provider, answer: str, sync: bool) -> Any:
    """What the application and the provider see of one call."""
    provider.clear()
    try:
        result = litellm.completion(**call(provider, answer)) if sync else _run(call(provider, answer))
        told: Any = (type(result), result.model_dump(exclude={"id", "created"}))
    except Exception as error:
        told = (type(error), re.sub(r"0x[0-9a-f]+|[\d.]+ seconds", "", str(error)))
    return told, [(r.method, r.path, r.headers, r.body) for r in provider.requests()]


_loop = asyncio.new_event_loop()


def _run(arguments: dict[str, Any]) -> Any:
    return _loop.run_until_complete(litellm.acompletion(**arguments))


@pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])
def test_every_answer_is_what_stock_makes_of_it(provider: Provider, pool: None, sync: bool) -> None:
    litellm_accel.restore()
    expected = {answer: seen(provider, answer, sync) for answer in ANSWERS}
    with records.proving("chat"):
        litellm_accel.accelerate(["connection_pool", "chat"], strict=True)
    for _ in range(3):  # learned from, then served or handed over
        for answer in ANSWERS:
            assert seen(provider, answer, sync) == expected[answer], answer
    status = litellm_accel.status()["connection_pool"]
    assert status.served >= 2 * len(ANSWERS), status
    assert not status.faults
    assert litellm_accel.status()["chat"].served >= 8


def test_statistics_tell_what_became_of_the_connections(provider: Provider, pool: None) -> None:
    assert litellm_accel.connection_pool_stats() == {"threads": {}, "loops": {}}
    for _ in range(6):
        litellm.completion(**call(provider))
        _run(call(provider))
    host = provider.url.removesuffix("/v1")
    threads, loops = (litellm_accel.connection_pool_stats()[kind][host] for kind in ("threads", "loops"))
    assert threads["created"] == threads["open"] == threads["idle"] == 1
    assert threads["reused"] >= 3
    assert threads["in_use"] == loops["in_use"] == 0
    assert (
        loops["reused"] + loops["created"] == litellm_accel.status()["connection_pool"].served - threads["reused"] - 1
    )


def test_restore_closes_the_connections_of_threads(provider: Provider, pool: None) -> None:
    for _ in range(3):
        litellm.completion(**call(provider))
    before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
    litellm_accel.restore()
    assert litellm_accel.connection_pool_stats() == {"threads": {}, "loops": {}}
    if before:
        assert len(before - set(os.listdir("/proc/self/fd"))) >= 1
    assert litellm.completion(**call(provider)).choices


def test_many_threads(provider: Provider, pool: None) -> None:
    litellm.completion(**call(provider))
    served = litellm_accel.status()["connection_pool"].served
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(10):
                assert litellm.completion(**call(provider)).choices[0].message.content
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert litellm_accel.status()["connection_pool"].served >= served + 150
    (counts,) = litellm_accel.connection_pool_stats()["threads"].values()
    assert counts["created"] <= 16
    assert counts["in_use"] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_opens_connections_of_its_own(provider: Provider, pool: None) -> None:
    for _ in range(3):
        litellm.completion(**call(provider))
    child = os.fork()
    if child == 0:
        try:
            empty = litellm_accel.connection_pool_stats()["threads"] == {}
            good = all(litellm.completion(**call(provider)).choices for _ in range(3))
            (counts,) = litellm_accel.connection_pool_stats()["threads"].values()
            os._exit(0 if empty and good and counts["created"] == 1 else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert litellm.completion(**call(provider)).choices, "the parent's connections are as they were"
    (counts,) = litellm_accel.connection_pool_stats()["threads"].values()
    assert counts["created"] == 1


@pytest.mark.parametrize("cookies", [False, True], ids=["without", "cookies"])
def test_an_answer_that_is_not_http_is_told_as_by_aiohttp(pool: None, cookies: bool) -> None:
    """What aiohttp's error tells of the request is what was sent: no length and no cookies of another."""
    litellm_accel.restore()
    expected, heads = refused(cookies)
    with records.proving("chat"):
        litellm_accel.accelerate(["connection_pool", "chat"], strict=True)
    assert refused(cookies) == (expected, heads)
    assert expected[0][1]["content-length"] in heads[-1].decode()
    assert litellm_accel.status()["connection_pool"].served >= 1


def refused(cookies: bool) -> tuple[list[Any], list[bytes]]:
    """The chain of errors of a call whose answer has a header without a name, and what was sent until then."""
    litellm.in_memory_llm_clients_cache.flush_cache()
    given = [JSON, ("Set-Cookie", "a=b")] if cookies else [JSON]
    with WireServer(lambda number, body: (200, [("a b", "c")] if number == 5 else given, PLAIN)) as server:
        arguments = {"model": "openai/gpt-4o-mini", "messages": HELLO, "api_key": "sk-1", "max_retries": 0}
        for _ in range(4):
            _loop.run_until_complete(litellm.acompletion(**arguments, api_base=server.url()))
        with pytest.raises(litellm.InternalServerError) as caught:
            _loop.run_until_complete(litellm.acompletion(**arguments, api_base=server.url()))
        port = str(server.port)
        heads = [re.sub(rb"^host:.*\r\n", b"", head, flags=re.MULTILINE | re.IGNORECASE) for head in server.heads]
    found: list[Any] = []
    error: BaseException | None = caught.value
    while error is not None:
        text = re.sub(r"0x[0-9a-f]+|[\d.]+ seconds", "", str(error)).replace(port, "")
        info = getattr(error, "request_info", None)
        shown = {name: held.replace(port, "") for name, held in info.headers.items()} if info else {}
        found.append((type(error), shown, text, type(error.__cause__), type(error.__context__)))
        error = error.__cause__ or error.__context__
    return sorted(found, key=lambda held: not held[1]), heads
