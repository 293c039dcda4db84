# cython: language_level=3, binding=True, boundscheck=False, wraparound=False
"""Reads plain HTTP/1.1 responses, and says of any other that it is for a full parser."""

from __future__ import annotations

__all__ = ["DONE", "MORE", "UNUSUAL", "Response"]

MORE, DONE, UNUSUAL = range(3)
cdef enum State:
    _MORE, _DONE, _UNUSUAL

cdef Py_ssize_t _MAX_HEAD = 65536
cdef Py_ssize_t _MAX_LINE = 8000  # aiohttp takes 8190, and 128 fields
cdef Py_ssize_t _MAX_LINES = 100
cdef frozenset _TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
cdef frozenset _HEX = frozenset(b"0123456789abcdefABCDEF")
cdef unsigned char[256] _IS_TOKEN
cdef unsigned char[256] _IS_HEX
cdef int _byte
for _byte in range(256):
    _IS_TOKEN[_byte] = _byte in _TOKEN
    _IS_HEX[_byte] = _byte in _HEX


cdef class Response:
    """One response, as its bytes arrive (RFC 9112).

    Plain is a final response of HTTP/1.1 that may have a body, ended by a content length or in chunks without
    extensions and trailers, with one field a line and nothing after its end, and with a head that no parser finds too
    long.

    ``received`` holds all bytes that were fed. Once ``feed`` has returned ``DONE``, ``status``, ``reason``, ``headers``
    (names as they came, values without the blanks around them), ``body`` (still encoded) and ``keep_alive`` are set.
    """

    cdef readonly int status
    cdef readonly bytes reason
    cdef readonly list headers
    cdef readonly bytes body
    cdef readonly bint keep_alive
    cdef bint _has_head
    cdef bytearray _received
    cdef Py_ssize_t _start
    cdef Py_ssize_t _length
    cdef bint _chunked
    cdef list _chunks
    cdef int _state

    def __init__(self) -> None:
        self.status = 0
        self.reason = b""
        self.headers = []
        self.body = b""
        self.keep_alive = True
        self._has_head = False
        self._received = bytearray()
        self._start = 0
        self._length = -1
        self._chunked = False
        self._chunks = []
        self._state = _MORE

    @property
    def received(self) -> bytes:
        """All bytes that were fed."""
        return bytes(self._received)

    def feed(self, data: bytes) -> int:
        """Take the next bytes. Returns ``MORE``, ``DONE``, or ``UNUSUAL``, which stays so."""
        self._received += data
        if self._state == _MORE and not self._has_head:
            self._state = self._read_head()
        if self._state == _MORE and self._has_head:
            self._state = self._read_chunks() if self._chunked else self._read_length()
        return self._state

    cdef int _read_head(self) except -1:
        cdef bytes head
        cdef Py_ssize_t end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return _MORE if len(self._received) <= _MAX_HEAD and _may_go_on(bytes(self._received)) else _UNUSUAL
        if end > _MAX_HEAD:
            return _UNUSUAL
        head = bytes(self._received[:end])
        cdef list lines = head.split(b"\r\n")
        cdef bytes first = lines[0]
        if len(first) < 12 or not first.startswith(b"HTTP/1.1 ") or not first[9:12].isdigit():
            return _UNUSUAL
        if (len(first) > 12 and first[12] != 32) or not _is_text(first) or len(lines) > _MAX_LINES:
            return _UNUSUAL
        self.status = int(first[9:12])
        self.reason = first[13:]
        if self.status < 200 or self.status == 204 or self.status == 304:
            return _UNUSUAL
        cdef bytes line, name, value, lower
        for line in lines[1:]:
            colon = line.find(b":")
            if colon <= 0 or len(line) > _MAX_LINE:
                return _UNUSUAL
            name, value = line[:colon], line[colon + 1:].strip(b" \t")
            if not _is_token(name) or not _is_text(value):
                return _UNUSUAL
            self.headers.append((name, value))
            lower = name.lower()
            if lower == b"content-length":
                if self._length >= 0 or not value.isdigit() or len(value) > 18:
                    return _UNUSUAL
                self._length = int(value)
            elif lower == b"transfer-encoding":
                if self._chunked or value != b"chunked":  # h11 says it in lower case
                    return _UNUSUAL
                self._chunked = True
            elif lower == b"connection":
                if value.lower() == b"close":
                    self.keep_alive = False
                elif value.lower() != b"keep-alive":
                    return _UNUSUAL
        if self._chunked == (self._length >= 0):
            return _UNUSUAL
        self._has_head = True
        self._start = end + 4
        return _MORE

    cdef int _read_length(self) except -1:
        cdef Py_ssize_t missing = self._start + self._length - len(self._received)
        if missing == 0:
            self.body = bytes(self._received[self._start:])
            return _DONE
        return _MORE if missing > 0 else _UNUSUAL

    cdef int _read_chunks(self) except -1:
        cdef Py_ssize_t end, size
        cdef bytes digits
        while True:
            end = self._received.find(b"\r\n", self._start)
            if end < 0:
                return _MORE if len(self._received) - self._start <= 16 else _UNUSUAL
            digits = bytes(self._received[self._start:end])
            if not 0 < len(digits) <= 15 or not _is_hex(digits):
                return _UNUSUAL
            size = int(digits, 16)
            if len(self._received) < end + size + 4:
                return _MORE
            if self._received[end + 2 + size] != 13 or self._received[end + 3 + size] != 10:
                return _UNUSUAL
            self._start = end + size + 4
            if size == 0:
                self.body = b"".join(self._chunks)
                return _DONE if self._start == len(self._received) else _UNUSUAL
            self._chunks.append(bytes(self._received[end + 2:end + 2 + size]))


cdef bint _may_go_on(bytes head):
    """Return whether a plain head may begin so. Of any other a full parser says so before its end comes."""
    cdef list lines = head.split(b"\r\n")
    cdef bytes line
    if lines[0][:9] != b"HTTP/1.1 "[:len(lines[0])]:
        return False
    for line in lines:
        if len(line) > _MAX_LINE or b"\n" in line:
            return False
    for line in lines[1:len(lines) - 1]:
        if line.find(b":") <= 0:
            return False
    return True


cdef bint _is_token(bytes name):
    cdef unsigned char c
    for c in name:
        if not _IS_TOKEN[c]:
            return False
    return True


cdef bint _is_hex(bytes digits):
    cdef unsigned char c
    for c in digits:
        if not _IS_HEX[c]:
            return False
    return True


cdef bint _is_text(bytes value):
    """Return whether ``value`` has no control characters but tabs."""
    cdef unsigned char c
    for c in value:
        if (c < 32 and c != 9) or c == 127:
            return False
    return True
