# cython: language_level=3, binding=True, boundscheck=False, wraparound=False
"""Reads plain HTTP/1.1 responses, and says of any other that it is for a full parser."""

from __future__ import annotations

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memchr

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
cdef unsigned char[256] _IS_TEXT
cdef int _byte
for _byte in range(256):
    _IS_TOKEN[_byte] = _byte in _TOKEN
    _IS_HEX[_byte] = _byte in _HEX
    _IS_TEXT[_byte] = _byte == 9 or (_byte >= 32 and _byte != 127)


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
        cdef Py_ssize_t end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return _MORE if len(self._received) <= _MAX_HEAD and _may_go_on(bytes(self._received)) else _UNUSUAL
        if end > _MAX_HEAD:
            return _UNUSUAL
        cdef const char *line = PyByteArray_AS_STRING(self._received)
        cdef const char *stop = line + end
        cdef const char *line_end = _line_end(line, stop)
        cdef bytes first = PyBytes_FromStringAndSize(line, line_end - line)
        if len(first) < 12 or not first.startswith(b"HTTP/1.1 ") or not first[9:12].isdigit():
            return _UNUSUAL
        if (len(first) > 12 and first[12] != 32) or not _is_text(line, line_end):
            return _UNUSUAL
        self.status = int(first[9:12])
        self.reason = first[13:]
        if self.status < 200 or self.status == 204 or self.status == 304:
            return _UNUSUAL
        while line_end < stop:
            line = line_end + 2
            line_end = _line_end(line, stop)
            if len(self.headers) == _MAX_LINES - 1 or not self._read_line(line, line_end):
                return _UNUSUAL
        if self._chunked == (self._length >= 0):
            return _UNUSUAL
        self._has_head = True
        self._start = end + 4
        return _MORE

    cdef bint _read_line(self, const char *line, const char *end) except -1:
        """Take one field; returns whether it is a plain one."""
        cdef const char *colon = <const char *>memchr(line, b":", end - line)
        if colon == NULL or colon == line or end - line > _MAX_LINE:
            return False
        cdef const char *start = colon + 1
        while start < end and (start[0] == b" " or start[0] == b"\t"):
            start += 1
        while start < end and ((end - 1)[0] == b" " or (end - 1)[0] == b"\t"):
            end -= 1
        if not _are_all(_IS_TOKEN, line, colon) or not _is_text(start, end):
            return False
        cdef Py_ssize_t length = colon - line
        cdef bytes name = PyBytes_FromStringAndSize(line, length)
        cdef bytes value = PyBytes_FromStringAndSize(start, end - start)
        self.headers.append((name, value))
        if length != 10 and length != 14 and length != 17:
            return True
        cdef bytes lower = name.lower()
        if lower == b"content-length":
            if self._length >= 0 or not value.isdigit() or len(value) > 18:
                return False
            self._length = int(value)
        elif lower == b"transfer-encoding":
            if self._chunked or value != b"chunked":  # h11 says it in lower case
                return False
            self._chunked = True
        elif lower == b"connection":
            if value.lower() == b"close":
                self.keep_alive = False
            elif value.lower() != b"keep-alive":
                return False
        return True

    cdef int _read_length(self) except -1:
        cdef Py_ssize_t missing = self._start + self._length - len(self._received)
        if missing == 0:
            self.body = self._part(self._start, self._length)
            return _DONE
        return _MORE if missing > 0 else _UNUSUAL

    cdef int _read_chunks(self) except -1:
        cdef Py_ssize_t end, size
        cdef bytes digits
        while True:
            end = self._received.find(b"\r\n", self._start)
            if end < 0:
                return _MORE if len(self._received) - self._start <= 16 else _UNUSUAL
            digits = self._part(self._start, end - self._start)
            if not 0 < len(digits) <= 15 or not _is_hex(digits):
                return _UNUSUAL
            size = int(digits, 16)
            if len(self._received) < end + size + 4:
                return _MORE
            if self._received[end + 2 + size] != 13 or self._received[end + 3 + size] != 10:
                return _UNUSUAL
            self._start = end + size + 4
            if size == 0:
                self.body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
                return _DONE if self._start == len(self._received) else _UNUSUAL
            self._chunks.append(self._part(end + 2, size))

    cdef bytes _part(self, Py_ssize_t start, Py_ssize_t length):
        return PyBytes_FromStringAndSize(PyByteArray_AS_STRING(self._received) + start, length)


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


cdef const char *_line_end(const char *line, const char *stop) noexcept:
    """Return where a line ends: at the first CRLF, or at ``stop``."""
    cdef const char *end = <const char *>memchr(line, b"\r", stop - line)
    while end != NULL and end + 1 < stop and end[1] != b"\n":
        end = <const char *>memchr(end + 1, b"\r", stop - end - 1)
    return stop if end == NULL or end + 1 >= stop else end


cdef bint _is_hex(bytes digits):
    cdef const char *start = PyBytes_AS_STRING(digits)
    return _are_all(_IS_HEX, start, start + len(digits))


cdef bint _is_text(const char *start, const char *end) noexcept:
    """Return whether there are no control characters but tabs."""
    return _are_all(_IS_TEXT, start, end)


cdef bint _are_all(const unsigned char *kind, const char *start, const char *end) noexcept:
    while start < end:
        if not kind[<unsigned char>start[0]]:
            return False
        start += 1
    return True
