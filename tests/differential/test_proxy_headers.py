"""The headers that the proxy reads for keys and puts onto answers: as its web framework reads and puts them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from answering import made
from litellm_accel.gateway import answer_headers, key_headers

pytest.importorskip("fastapi")


def putting(is_on: bool = True) -> tuple[Callable[..., Any], Any, list[Any]]:
    return made(answer_headers, "AnswerHeaders", "put", is_on)


def headers(pairs: list[tuple[bytes, bytes]], kind: Any = None) -> Any:
    from starlette.datastructures import MutableHeaders

    return (MutableHeaders if kind is None else kind)(raw=list(pairs))


def put_by(put: Callable[..., Any], pairs: list[tuple[bytes, bytes]], other: Any, kind: Any = None) -> Any:
    held = headers(pairs, kind)
    try:
        returned = put(held, other)
    except Exception as error:
        returned = type(error), str(error)
    return returned, held.raw


_OLD = [(b"content-type", b"text/plain"), (b"x-a", b"1"), (b"X-Upper", b"2")]
_CASES: dict[str, tuple[list[tuple[bytes, bytes]], Any, bool]] = {
    "none": (_OLD, {}, True),
    "new ones": (_OLD, {"x-b": "1", "X-C": "2"}, True),
    "over one": (_OLD, {"X-A": "3", "content-type": "é"}, True),
    "one twice": (_OLD, {"x-b": "1", "X-B": "2", "x-a": "3"}, True),
    "another case": (_OLD, {"x-upper": "3"}, True),
    "onto none": ([], {"a": "1", "b": "2"}, True),
    "twice before": ([*_OLD, (b"x-a", b"2")], {"x-a": "3"}, False),
    "no text": (_OLD, {"x-b": "1", "x-c": 1}, False),
    "no name": (_OLD, {"x-b": "1", 3: "1"}, False),
    "not latin": (_OLD, {"x-b": "1", "x-c": "\u20ac"}, False),
    "no dictionary": (_OLD, None, False),
    "a list": (_OLD, [("a", "b")], False),
}


@pytest.mark.parametrize("case", _CASES)
def test_headers_are_put_as_the_framework_does(case: str) -> None:
    put, stock, asked = putting()
    pairs, other, is_ours = _CASES[case]
    assert put_by(put, pairs, other) == put_by(stock, pairs, other)
    assert bool(asked) is not is_ours


def test_any_headers_are_put_as_the_framework_does() -> None:
    put, stock, asked = putting()
    chance = random.Random(3)
    names = ["a", "B", "b", "x-C", "x-c", "\xe9", "\xc9"]
    for _ in range(500):
        encoded = [(name.encode("latin-1"), bytes([chance.randrange(256)])) for name in names]
        pairs = [chance.choice(encoded) for _ in range(chance.randrange(5))]
        other = {chance.choice(names): chr(chance.randrange(256)) for _ in range(chance.randrange(6))}
        assert put_by(put, pairs, other) == put_by(stock, pairs, other)
    assert len(asked) < 300


def test_headers_of_another_class_and_somebody_s_methods_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    from starlette.datastructures import MutableHeaders

    put, stock, asked = putting()
    own = type("Own", (MutableHeaders,), {"__setitem__": lambda self, name, value: None})
    assert put_by(put, _OLD, {"a": "1"}, own) == put_by(stock, _OLD, {"a": "1"}, own)
    assert len(asked) == 1
    monkeypatch.setattr(MutableHeaders, "__setitem__", lambda self, name, value: self._list.append((b"own", b"1")))
    assert put_by(put, _OLD, {"a": "1"}) == (None, [*_OLD, (b"own", b"1")])
    assert len(asked) == 2


def test_switched_off_the_framework_puts_headers() -> None:
    put, stock, asked = putting(is_on=False)
    assert put_by(put, _OLD, {"a": "1"}) == put_by(stock, _OLD, {"a": "1"})
    assert len(asked) == 1


_NAMES = ("Authorization", "api-key", "X-API-Key", "Ocp-Apim-Subscription-Key")


def asks() -> list[tuple[str, Any]]:
    from fastapi.security.api_key import APIKeyHeader

    return [(f"key {name}", APIKeyHeader(name=name, auto_error=False)) for name in _NAMES]


def request(pairs: list[tuple[bytes, bytes]]) -> Any:
    from starlette.requests import Request

    return Request({"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": pairs})


def looked_up(asked: list[tuple[str, Any]], of: Any) -> dict[str, Any]:
    async def look() -> dict[str, Any]:
        return {name: await ask(of) for name, ask in asked}

    return asyncio.run(look())


def reader(asked: list[tuple[str, Any]]) -> key_headers.KeyHeaders:
    if not key_headers.are_known(asked):
        pytest.skip("a framework that looks headers up in another way")
    return key_headers.KeyHeaders(asked)


def test_keys_are_found_as_the_framework_finds_them() -> None:
    asked = asks()
    read = reader(asked).read
    chance = random.Random(4)
    names = [*(name.lower().encode() for name in _NAMES), b"Authorization", b"other"]
    for _ in range(500):
        pairs = [(chance.choice(names), bytes(chance.choices(range(256), k=chance.randrange(3)))) for _ in range(6)]
        pairs = pairs[: chance.randrange(7)]
        assert read(request(pairs)) == looked_up(asked, request(pairs))
        assert list(read(request(pairs)) or ()) == [name for name, _ in asked]


def test_the_proxy_s_own_keys_are_known() -> None:
    auth = pytest.importorskip("litellm.proxy.auth.user_api_key_auth", exc_type=ImportError)
    from litellm_accel.gateway.entry import _keys_of

    asked: Any = _keys_of(auth.user_api_key_auth)
    pairs = [(b"authorization", b"Bearer sk-a"), (b"x-goog-api-key", b"b")]
    assert reader(asked).read(request(pairs)) == looked_up(asked, request(pairs))


def test_a_header_of_another_name_is_heeded() -> None:
    asked = asks()
    read = reader(asked).read
    of = request([(b"other", b"1")])
    assert read(of) is not None
    asked[0][1].model.name = "Other"
    assert read(of) is None
    assert looked_up(asked, of)["key Authorization"] == "1"


def test_a_header_that_must_be_there_is_the_framework_s() -> None:
    asked = asks()
    read = reader(asked).read
    of = request([])
    asked[1][1].auto_error = True
    assert read(of) is None
    assert not key_headers.are_known(asked)
    assert not key_headers.are_known([("query", lambda request: None)])


def test_somebody_s_ways_of_looking_up_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastapi.security.api_key import APIKeyHeader
    from starlette.datastructures import Headers

    of = request([])
    for kind, name in ((APIKeyHeader, "__call__"), (APIKeyHeader, "check_api_key"), (Headers, "__getitem__")):
        read = reader(asks()).read
        assert read(of) is not None
        with monkeypatch.context() as patch:
            patch.setattr(kind, name, lambda *given: "own")
            assert read(of) is None
            assert not key_headers.are_known(asks())
    asked = asks()
    read = reader(asked).read
    asked[0][1].check_api_key = lambda key: "own"
    assert read(of) is None


def test_a_request_of_another_class_is_the_framework_s() -> None:
    from starlette.requests import Request

    own = type("Own", (Request,), {})
    assert reader(asks()).read(own({"type": "http", "headers": []})) is None
