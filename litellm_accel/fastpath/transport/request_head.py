"""The head of a request that is sent repeatedly; only the length of the body and the cookies change."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import httpx
import orjson

if TYPE_CHECKING:
    from typing_extensions import Self

_LENGTH = re.compile(rb"(\r\ncontent-length: )\d+(\r\n)", re.IGNORECASE)
# Stands for the cookies while a client's library writes a head.
COOKIE = b"~cookies~"
_COOKIE = re.compile(rb"(\r\ncookie: )" + COOKIE + rb"(?=\r\n)", re.IGNORECASE)


class RequestHeaders:
    """The headers of a request, open for the length of its body and for its cookies.

    httpx puts cookies behind all that callers and clients give, and the length of the body behind these. With
    ``own_cookie`` somebody has given a ``Cookie`` header; then httpx sends no other. Raises ``ValueError`` if the
    headers are not in such an order.
    """

    def __init__(self, headers: httpx.Headers, own_cookie: bool) -> None:
        raw = headers.raw
        names = [name.lower() for name, _ in raw]
        if names.count(b"content-length") != 1:
            raise ValueError("a request without a content length")
        place = names.index(b"content-length")
        if not own_cookie:
            if names[place + 1 :] not in ([], [b"content-type"]):
                raise ValueError("a request with other headers behind its length")
            if place and names[place - 1] == b"cookie":
                del raw[place - 1], names[place - 1]
                place -= 1
            if b"cookie" in names:
                raise ValueError("a request with cookies in another place")
        self.fixed = raw[:place] + raw[place + 1 :]
        self.own_cookie = own_cookie
        self._name = raw[place][0]
        self._before, self._after = raw[:place], raw[place + 1 :]
        self._encoding = headers.encoding
        #: The options of requests like it that are sent after others, by how many these are, see ``outbound``.
        self.retried: dict[int, Any] = {}
        self._texts = self._as_texts()

    def _as_texts(self) -> list[list[tuple[str, str]]]:
        encoding = self._encoding
        return [
            [(name.lower().decode(encoding), value.decode(encoding)) for name, value in part]
            for part in (self._before, self._after)
        ]

    def with_value(self, name: bytes, value: bytes, other: bytes) -> RequestHeaders | None:
        """Return headers like these, in which ``name``, which is ``value`` here, is the ``other``; None without."""
        found = [held for key, held in self.fixed if key.lower() == name]
        return self.with_values({name: other}) if found == [value] else None

    def with_values(self, values: Mapping[bytes, bytes]) -> RequestHeaders:
        """Return headers like these with other ``values``, by names in lower case."""
        made = copy.copy(self)
        made.fixed, made._before, made._after = (
            [(key, values.get(key.lower(), held)) for key, held in part]
            for part in (self.fixed, self._before, self._after)
        )
        made._texts = made._as_texts()
        made.retried = {}
        return made

    def raw(self, body: bytes, cookie: bytes) -> list[tuple[bytes, bytes]]:
        """Return the headers as httpx keeps them, for a request with ``body`` and, unless empty, ``cookie``."""
        held = self._before.copy()
        if cookie and not self.own_cookie:
            held.append((b"Cookie", cookie))
        held.append((self._name, b"%d" % len(body)))
        return held + self._after

    def texts(self, body: bytes, cookie: bytes) -> list[tuple[str, str]]:
        """Return the same as texts, with names in lower case."""
        before, after = self._texts
        held = before.copy()
        if cookie and not self.own_cookie:
            held.append(("cookie", cookie.decode()))
        held.append(("content-length", str(len(body))))
        return held + after


class RequestHeadTemplate:
    """A request's head as it was ``written`` once, with its length open, and its cookies, if there is ``COOKIE`` in it.

    Raises ``ValueError`` if it has no length.
    """

    def __init__(self, written: bytes) -> None:
        parts = _LENGTH.split(written)
        if len(parts) != 4:
            raise ValueError("a request without a content length")
        before, name, end, after = parts
        self._before, self._after = before + name, end + after
        found = _COOKIE.split(self._before)
        self._with_cookie = (found[0] + found[1], found[2]) if len(found) == 3 else None
        if self._with_cookie is not None:
            self._before = found[0] + found[2]

    def with_values(self, values: Mapping[bytes, bytes]) -> Self:
        """Return a head like this with other ``values`` of headers before its length, by names in lower case."""
        made = copy.copy(self)
        made._before = _replaced(self._before, values)
        if self._with_cookie is not None:
            before, after = self._with_cookie
            made._with_cookie = _replaced(before, values), _replaced(after, values)
        return made

    def around(self, body: bytes, cookie: bytes) -> bytes:
        """Return the whole request, as it goes over the wire; it has no ``Cookie`` header if ``cookie`` is empty."""
        if not cookie or self._with_cookie is None:
            return b"%b%d%b%b" % (self._before, len(body), self._after, body)
        before, after = self._with_cookie
        return b"%b%b%b%d%b%b" % (before, cookie, after, len(body), self._after, body)


def values_of(argument: bytes) -> dict[bytes, bytes]:
    """Return the values of the headers in an ``argument``, which is in JSON, by names in lower case."""
    return {name.lower().encode(): value.encode() for name, value in orjson.loads(argument).items()}


def _replaced(written: bytes, values: Mapping[bytes, bytes]) -> bytes:
    for name, value in values.items():
        if (found := _line(name).search(written)) is not None:
            written = written[: found.end(1)] + value + written[found.end() :]
    return written


@functools.lru_cache(maxsize=1024)
def _line(name: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"(\r\n" + re.escape(name) + rb": )[^\r\n]*", re.IGNORECASE)
