"""Reads plain HTTP/1.1 responses, and says of any other that it is for a full parser."""

from __future__ import annotations

__all__ = ["DONE", "MORE", "UNUSUAL", "Response"]

MORE, DONE, UNUSUAL = range(3)

_MAX_HEAD = 65536
_MAX_LINE = 8000  # aiohttp takes 8190, and 128 fields
_MAX_LINES = 100
_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_HEX = frozenset(b"0123456789abcdefABCDEF")
_CONTROLS = frozenset(range(32)) - {9} | {127}


class Response:
    """One response, as its bytes arrive (RFC 9112).

    Plain is a final response of HTTP/1.1 that may have a body, ended by a content length or in chunks without
    extensions and trailers, with one field a line and nothing after its end, and with a head that no parser finds too
    long.

    ``received`` holds all bytes that were fed. Once ``feed`` has returned ``DONE``, ``status``, ``reason``, ``headers``
    (names as they came, values without the blanks around them), ``body`` (still encoded) and ``keep_alive`` are set.
    """

    __slots__ = (
        "_chunked",
        "_chunks",
        "_has_head",
        "_length",
        "_received",
        "_start",
        "_state",
        "body",
        "headers",
        "keep_alive",
        "reason",
        "status",
    )

    def __init__(self) -> None:
        self.status = 0
        self.reason = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.keep_alive = True
        self._has_head = False
        self._received = bytearray()
        self._start = 0
        self._length = -1
        self._chunked = False
        self._chunks: list[bytes] = []
        self._state = MORE

    @property
    def received(self) -> bytes:
        """All bytes that were fed."""
        return bytes(self._received)

    def feed(self, data: bytes) -> int:
        """Take the next bytes. Returns ``MORE``, ``DONE``, or ``UNUSUAL``, which stays so."""
        self._received += data
        if self._state == MORE and not self._has_head:
            self._state = self._read_head()
        if self._state == MORE and self._has_head:
            self._state = self._read_chunks() if self._chunked else self._read_length()
        return self._state

    def _read_head(self) -> int:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return MORE if len(self._received) <= _MAX_HEAD and _may_go_on(bytes(self._received)) else UNUSUAL
        if end > _MAX_HEAD:
            return UNUSUAL
        head = bytes(self._received[:end])
        lines = head.split(b"\r\n")
        first = lines[0]
        if len(first) < 12 or not first.startswith(b"HTTP/1.1 ") or not first[9:12].isdigit():
            return UNUSUAL
        if (len(first) > 12 and first[12] != 32) or not _is_text(first) or len(lines) > _MAX_LINES:
            return UNUSUAL
        self.status = int(first[9:12])
        self.reason = first[13:]
        if self.status < 200 or self.status == 204 or self.status == 304:
            return UNUSUAL
        for line in lines[1:]:
            colon = line.find(b":")
            if colon <= 0 or len(line) > _MAX_LINE:
                return UNUSUAL
            name, value = line[:colon], line[colon + 1 :].strip(b" \t")
            if not _TOKEN.issuperset(name) or not _is_text(value):
                return UNUSUAL
            self.headers.append((name, value))
            lower = name.lower()
            if lower == b"content-length":
                if self._length >= 0 or not value.isdigit() or len(value) > 18:
                    return UNUSUAL
                self._length = int(value)
            elif lower == b"transfer-encoding":
                if self._chunked or value != b"chunked":  # h11 says it in lower case
                    return UNUSUAL
                self._chunked = True
            elif lower == b"connection":
                if value.lower() == b"close":
                    self.keep_alive = False
                elif value.lower() != b"keep-alive":
                    return UNUSUAL
        if self._chunked == (self._length >= 0):
            return UNUSUAL
        self._has_head = True
        self._start = end + 4
        return MORE

    def _read_length(self) -> int:
        missing = self._start + self._length - len(self._received)
        if missing == 0:
            self.body = bytes(self._received[self._start :])
            return DONE
        return MORE if missing > 0 else UNUSUAL

    def _read_chunks(self) -> int:
        while True:
            end = self._received.find(b"\r\n", self._start)
            if end < 0:
                return MORE if len(self._received) - self._start <= 16 else UNUSUAL
            digits = bytes(self._received[self._start : end])
            if not 0 < len(digits) <= 15 or not _HEX.issuperset(digits):
                return UNUSUAL
            size = int(digits, 16)
            if len(self._received) < end + size + 4:
                return MORE
            if self._received[end + 2 + size] != 13 or self._received[end + 3 + size] != 10:
                return UNUSUAL
            self._start = end + size + 4
            if size == 0:
                self.body = b"".join(self._chunks)
                return DONE if self._start == len(self._received) else UNUSUAL
            self._chunks.append(bytes(self._received[end + 2 : end + 2 + size]))


def _may_go_on(head: bytes) -> bool:
    """Return whether a plain head may begin so. Of any other a full parser says so before its end comes."""
    lines = head.split(b"\r\n")
    return (
        lines[0][:9] == b"HTTP/1.1 "[: len(lines[0])]
        and all(len(line) <= _MAX_LINE and b"\n" not in line for line in lines)
        and all(line.find(b":") > 0 for line in lines[1:-1])
    )


def _is_text(value: bytes) -> bool:
    """Return whether ``value`` has no control characters but tabs."""
    return _CONTROLS.isdisjoint(value)
