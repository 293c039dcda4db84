"""The head of an answer: the status line, and a profile's headers and cookies for this one answer."""

from __future__ import annotations

import http.client
import zlib
from collections.abc import Iterable, Mapping
from functools import lru_cache

from litellm_accel.provider.profiles import Cookie, Header, Profile
from litellm_accel.provider.varying import Varying

REASONS = dict(http.client.responses)


def head(
    status: int,
    profile: Profile,
    varying: Varying,
    framing: Mapping[str, str],
    *,
    edge_only: bool = False,
    streaming: bool = False,
    sent_cookies: str = "",
    changes: Mapping[str, str | None] | None = None,
) -> bytes:
    """The bytes before the body.

    `framing` is what says what follows (content type, length, encoding, whether the connection stays) and goes over the
    profile's headers, `changes` goes over both: a value in place of whatever is called so, or None to leave it out.
    """
    headers = (*profile.edge, *(() if edge_only else profile.origin), *(profile.stream_headers if streaming else ()))
    lines = [
        (header.name, header.value.format_map(varying))
        for header in headers
        if header.one_in < 2 or _now(header, varying)
    ]
    names = {name.lower() for name, _ in lines}
    lines = [(name, framing.get(name.lower(), value)) for name, value in lines]
    lines += [(name, value) for name, value in framing.items() if name not in names]
    if not edge_only or profile.page == "cloudflare":
        lines += [
            ("Set-Cookie", f"{cookie.name}={cookie.value.format_map(varying)}")
            for cookie in profile.cookies
            if f"{cookie.name}=" not in sent_cookies or _now(cookie, varying)
        ]
    if changes:
        lowered = {name.lower() for name in changes}
        lines = [(name, value) for name, value in lines if name.lower() not in lowered]
        lines += [(name, value) for name, value in changes.items() if value is not None]
    return _written(status, lines)


def _now(item: Header | Cookie, varying: Varying) -> bool:
    """Whether a header that comes and goes is there this time, a cookie renewed."""
    if isinstance(item, Cookie):
        return varying.digest[_place(item.name)] % item.renewed == 0
    return varying.digest[_place(item.name)] % item.one_in == 0


@lru_cache(256)
def _place(name: str) -> int:
    return zlib.crc32(name.encode()) % 64


def _written(status: int, lines: Iterable[tuple[str, str]]) -> bytes:
    text = "".join([f"{name}: {value}\r\n" for name, value in lines])
    return f"HTTP/1.1 {status} {REASONS.get(status, 'Unknown')}\r\n{text}\r\n".encode("latin-1")
