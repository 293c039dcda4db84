"""The head of an answer: the status line, and a profile's headers and cookies for this one answer."""

from __future__ import annotations

import http.client
import zlib
from collections.abc import Mapping
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

    `framing` is what says what follows: content type, length, encoding, and ``connection`` where it ends. `changes` are
    the scenario's: a value in place of whatever is called so, or None to leave it out.
    """
    kind = (edge_only, streaming)
    present = tuple([_now(header, varying) for header in _sometimes(profile, *kind)])
    text = _template(profile, *kind, present, "connection" in framing).format_map(varying)
    text += "".join([f"{name}: {value}\r\n" for name, value in framing.items()])
    if profile.cookies and (not edge_only or profile.page == "cloudflare"):
        text += "".join(
            [
                f"Set-Cookie: {cookie.name}={cookie.value.format_map(varying)}\r\n"
                for cookie in profile.cookies
                if f"{cookie.name}=" not in sent_cookies or _now(cookie, varying)
            ]
        )
    if changes:
        lowered = {name.lower() for name in changes}
        kept = [line for line in text.splitlines(keepends=True) if line.partition(":")[0].lower() not in lowered]
        text = "".join(kept + [f"{name}: {value}\r\n" for name, value in changes.items() if value is not None])
    return f"HTTP/1.1 {status} {REASONS.get(status, 'Unknown')}\r\n{text}\r\n".encode("latin-1")


def _headers(profile: Profile, edge_only: bool, streaming: bool) -> tuple[Header, ...]:
    """All that such an answer may have."""
    return (*profile.edge, *(() if edge_only else profile.origin), *(profile.stream_headers if streaming else ()))


@lru_cache(256)
def _sometimes(profile: Profile, edge_only: bool, streaming: bool) -> tuple[Header, ...]:
    """Those that come and go."""
    return tuple(header for header in _headers(profile, edge_only, streaming) if header.one_in > 1)


@lru_cache(1024)
def _template(profile: Profile, edge_only: bool, streaming: bool, present: tuple[bool, ...], closes: bool) -> str:
    """The lines of the headers that are there this time, their values still to be filled in."""
    sometimes = iter(present)
    there = [h for h in _headers(profile, edge_only, streaming) if h.one_in < 2 or next(sometimes)]
    return "".join(f"{h.name}: {h.value}\r\n" for h in there if not (closes and h.name == "Connection"))


def _now(item: Header | Cookie, varying: Varying) -> bool:
    """Whether a header that comes and goes is there this time, a cookie renewed."""
    return varying.digest[_place(item.name)] % item.one_in == 0


@lru_cache(256)
def _place(name: str) -> int:
    return zlib.crc32(name.encode()) % 64
