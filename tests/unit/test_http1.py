"""The reader of plain HTTP/1.1 responses: what it reads is what h11 reads, anything else is unusual."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litellm_accel import settings as accel_settings

Hot = Callable[[str], ModuleType]


def _hot(package: str) -> Hot:
    return lambda name: importlib.import_module(f"litellm_accel.{package}.{name}")


# Hypothesis takes no fixtures that pytest parametrises.
HOTS = [_hot("_py")] if accel_settings.pure() else [_hot("_py"), _hot("_cy")]
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-length: 2\r\n\r\n{}"
CHUNKED = (
    b"HTTP/1.1 429 Too Many Requests\r\nTransfer-Encoding: chunked\r\nRetry-After:  1 \r\n\r\n"
    b"2\r\n{}\r\nA\r\n0123456789\r\n0\r\n\r\n"
)
FRAGMENTS = [
    b"HTTP/1.1 200 OK", b"HTTP/1.1 200", b"HTTP/1.1 204 No Content", b"HTTP/1.0 200 OK", b"HTTP/1.1 100 Continue",
    b"\r\n", b"\r\n\r\n", b"\n", b"\r", b" ", b"\t", b":", b"content-length: 3", b"Content-Length: 0",
    b"content-length: -1", b"transfer-encoding: chunked", b"Transfer-Encoding: gzip", b"connection: close",
    b"Connection: keep-alive", b"x: y", b"x : y", b"x:\x00", b"set-cookie: a=b", b"abc", b"3\r\nabc\r\n", b"0\r\n\r\n",
    b"0\r\nx: y\r\n\r\n", b"3;a=b\r\nabc\r\n", b"\xff",
]  # fmt: skip


def read(hot: Hot, parts: Sequence[bytes]) -> tuple[int, Any]:
    http1 = hot("http1")
    response = http1.Response()
    state = http1.MORE
    for part in parts:
        state = response.feed(part)
        if state != http1.MORE:
            break
    return state, response


def by_h11(data: bytes) -> tuple[int, bytes, list[tuple[bytes, bytes]], bytes, bool]:
    """Status, reason, headers, body and keep-alive as httpcore gets them from h11; raises what h11 raises."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="POST", target="/", headers=[("host", "h"), ("content-length", "0")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    head, body = None, b""
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        assert event is not h11.NEED_DATA, "incomplete"
        if isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
    assert head is not None
    assert not event.headers and not connection.trailing_data[0]
    keep = connection.their_state is h11.DONE
    return head.status_code, bytes(head.reason), head.headers.raw_items(), body, keep


def told(response: Any) -> tuple[int, bytes, list[tuple[bytes, bytes]], bytes, bool]:
    return response.status, response.reason, response.headers, response.body, response.keep_alive


@pytest.mark.parametrize("data", [PLAIN, CHUNKED], ids=["length", "chunked"])
def test_a_response_is_read_as_h11_reads_it_however_it_is_cut(hot: Hot, data: bytes) -> None:
    http1 = hot("http1")
    for size in range(1, len(data) + 1):
        state, response = read(hot, [data[i : i + size] for i in range(0, len(data), size)])
        assert state == http1.DONE
        assert told(response) == by_h11(data)
        assert response.received == data


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n1",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: CHUNKED\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n12",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n folded: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length : 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx: a\x00b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx: a\nb: c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;a=b\r\n1\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n1\r\n0\r\nx: y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n123\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nmore",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n12345678901234567890",
        b"HTTP/1.1 2 0\r\ncontent-length: 0\r\n\r\n",
        b"not HTTP at all\r\n\r\n",
        b"x" * 70_000,
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000 + b"\r\n\r\n",
    ],
    ids=lambda data: repr(data[:50]),
)
def test_what_is_not_plain_is_unusual_and_stays_so(hot: Hot, data: bytes) -> None:
    http1 = hot("http1")
    state, response = read(hot, [data])
    assert state == http1.UNUSUAL
    assert response.feed(b"more") == http1.UNUSUAL
    assert response.received == data + b"more"


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH",
        b"HTTP/1.0 200",
        b"HTTP/1.1 200 OK\n",
        PLAIN.replace(b"\r\n", b"\n"),
        b"HTTP/1.1 200 OK\r\nno colon\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 8200,
    ],
)
def test_what_cannot_become_plain_is_not_waited_for(hot: Hot, data: bytes) -> None:
    assert read(hot, [data])[0] == hot("http1").UNUSUAL


@pytest.mark.parametrize("size", range(len(PLAIN)))
def test_a_plain_head_is_waited_for(hot: Hot, size: int) -> None:
    assert read(hot, [PLAIN[:size]])[0] == hot("http1").MORE


@pytest.mark.parametrize("fields", [b"x: " + b"y" * 8200 + b"\r\n", b"x: y\r\n" * 129])
def test_a_head_that_aiohttp_finds_too_long_is_unusual(hot: Hot, fields: bytes) -> None:
    data = PLAIN.replace(b"\r\n", b"\r\n" + fields, 1)
    assert read(hot, [data])[0] == hot("http1").UNUSUAL


def test_a_body_of_many_megabytes_is_read_in_time_that_grows_with_its_length(hot: Hot) -> None:
    http1 = hot("http1")
    chunk = b"x" * 65_536
    for head, pieces, end in (
        (b"content-length: %d" % (320 * len(chunk)), [chunk] * 320, b""),
        (b"transfer-encoding: chunked", [b"10000\r\n" + chunk + b"\r\n"] * 320, b"0\r\n\r\n"),
    ):
        state, response = read(hot, [b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n", *pieces, *([end] if end else [])])
        assert state == http1.DONE
        assert response.body == chunk * 320


@settings(max_examples=600, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=3), max_size=14), st.integers(1, 40))
def test_whatever_comes_is_read_as_h11_reads_it_or_is_unusual(parts: list[bytes], size: int) -> None:
    for data in (b"".join(parts), b"HTTP/1.1 200 OK\r\n" + b"".join(parts)):
        for hot in HOTS:
            state, response = read(hot, [data[i : i + size] for i in range(0, len(data), size)])
            if state == hot("http1").DONE:
                assert told(response) == by_h11(response.received)
