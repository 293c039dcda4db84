"""Values that differ from answer to answer, and are the same whenever the same is asked for the same time.

They are made from a digest of the request and of how often it was asked before, so that a stock and an accelerated
client that do the same are told the same. Dates alone are the clock's.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache

CREATED = 1_700_000_000
COOKIE_SECONDS = 1800  # how long Cloudflare's __cf_bm is kept
COLOS = ("AMS", "FRA", "IAD", "SJC", "NRT")


def _symbols(symbols: str) -> bytes:
    """The table that makes one of some symbols of each byte."""
    return bytes(ord(symbols[byte % len(symbols)]) for byte in range(256))


LETTERS = _symbols("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
CROCKFORD = _symbols("0123456789abcdefghjkmnpqrstvwxyz")


class Varying(dict[str, str]):
    """The values of one answer by name, for `str.format_map`; each is made when it is first asked for."""

    def __init__(self, request: bytes, times: int, host: str) -> None:
        super().__init__(host=host)
        self.digest = hashlib.blake2b(b"%d %b" % (times, request)).digest()
        self.hex = self.digest.hex()
        self.created = CREATED + times

    def __missing__(self, name: str) -> str:
        value = self[name] = MAKERS[name](self)
        return value

    def number(self, at: int, below: int) -> int:
        """A number derived from two bytes of the digest, less than `below`."""
        return int.from_bytes(self.digest[at : at + 2], "big") % below

    def text(self, at: int, length: int, symbols: bytes = LETTERS) -> str:
        """`length` symbols derived from the digest's bytes from `at` on, round and round."""
        return (self.digest * 2)[at % 64 : at % 64 + length].translate(symbols).decode()

    def uuid(self, at: int) -> str:
        """A random UUID made of the digest's 16 bytes at `at`."""
        text = self.hex[2 * at : 2 * at + 32]
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def _base64(data: bytes, length: int) -> str:
    return base64.b64encode(data, b"._").decode()[:length]


@lru_cache(2)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


@lru_cache(2)
def _expiry(second: int) -> str:
    return time.strftime("%a, %d-%b-%y %H:%M:%S GMT", time.gmtime(second + COOKIE_SECONDS))


MAKERS: dict[str, Callable[[Varying], str]] = {
    "date": lambda v: _date(int(time.time())),
    "expires": lambda v: _expiry(int(time.time())),
    "created": lambda v: str(v.created),
    "created_ms": lambda v: f"{v.created}{v.number(0, 1000):03d}",
    "ray": lambda v: v.hex[:16],
    "colo": lambda v: COLOS[v.digest[0] % len(COLOS)],
    "hex32": lambda v: v.hex[16:48],
    "uuid": lambda v: v.uuid(8),
    "uuid2": lambda v: v.uuid(24),
    "token43": lambda v: _base64(v.digest[:32], 43),
    "token86": lambda v: _base64(v.digest, 86),
    "id29": lambda v: v.text(0, 29),
    "id20": lambda v: v.text(8, 20),
    "id7": lambda v: v.text(30, 7),
    "id9": lambda v: v.text(40, 9),
    "ulid": lambda v: "01k" + v.text(5, 23, CROCKFORD),
    "milliseconds": lambda v: str(180 + v.number(2, 2400)),
    "latency": lambda v: str(190 + v.number(2, 2400)),
    "requests_left": lambda v: str(9_999 - v.number(4, 60)),
    "tokens_left": lambda v: str(1_999_978 - v.number(6, 60_000)),
    "reset_requests": lambda v: f"{6 + v.number(8, 800)}ms",
    "reset_tokens": lambda v: (
        f"{v.number(10, 900)}ms" if v.number(10, 3) else f"{v.number(10, 59)}.{v.number(8, 999)}s"
    ),
    "reset_minutes": lambda v: f"{1 + v.number(8, 9)}m{v.number(10, 59)}.{v.number(12, 999):03d}s",
    "reset_seconds": lambda v: str(1 + v.number(8, 59)),
}
