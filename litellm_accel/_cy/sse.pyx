# cython: language_level=3, binding=True
"""Splits the bytes of an event stream into its events."""

from __future__ import annotations

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.string cimport memchr, memcmp

__all__ = ["Splitter"]


cdef class Splitter:
    """The events of a stream, from the packets in which it comes.

    An event is one ``data:`` line and the blank line after it, both ended by LF or both by CRLF; comments in ASCII and
    further blank lines are passed over. Whatever else comes (other fields, several lines, CR alone) makes the stream
    ``odd`` from there on: ``rest()`` is then what a decoder that knows all of the format must be given. ``early``
    is for a decoder that does not wait for the line feed after a carriage return, and decodes each line when it ends.
    """

    def __init__(self, early: bool = False) -> None:
        self._early = early
        self._held = b""
        self._later = []
        self._cuts = []

    def feed(self, bytes packet: bytes) -> None:
        """Take the next packet of the stream."""
        self._later.append(packet)
        self._open = self._open or _ends_line(packet)

    cpdef bytes next(self):
        """Return the line of the next event, ``data:`` included; None if it is not whole yet, or the stream is odd."""
        cdef const char *start
        cdef const char *line
        cdef const char *end
        cdef const char *last
        cdef const char *stop
        cdef Py_ssize_t ending
        if self.odd:
            return None
        if self._later:
            if not self._open:  # of an event that comes in many packets, the last alone is worth looking at
                return None
            self._join()
        start = PyBytes_AS_STRING(self._held)
        line = start + self._next
        stop = start + PyBytes_GET_SIZE(self._held)
        while True:
            end = _line_end(line, stop)
            if end == NULL:
                break
            ending = 1
            if end[0] == b"\r":
                if end + 1 == stop:
                    self.odd = self._early and not _is_text(line, end)
                    break
                ending = 2
                if end[1] != b"\n":
                    self.odd = True
                    break
            if end == line or (line[0] == b":" and _is_ascii(line, end)):
                line = end + ending
                self._next = line - start
                continue
            if end - line < 5 or memcmp(line, b"data:", 5) != 0:
                self.odd = True
                break
            if memcmp(end, end + ending, min(ending, stop - end - ending)) != 0:
                self.odd = True
                break
            last = end + 2 * ending
            if last > stop:
                if not self._early or end + ending == stop:
                    self.odd = self._early and not _is_text(line, end)
                    break
                last = stop  # a line feed that comes later is a blank line
            self._before = self._next
            self._next = last - start
            return PyBytes_FromStringAndSize(line, end - line)
        self._open = False
        return None

    cpdef void back(self):
        """Give the event that ``next()`` has just returned back: it is the next one again."""
        self._next = self._before

    cpdef list rest(self):
        """Return what has not been taken yet, in the packets in which it came; the splitter is empty afterwards."""
        packets = self._packets()
        self._held, self._later, self._cuts, self._next = b"", [], [], 0
        return packets

    cdef list _packets(self):
        cdef list packets = []
        cdef Py_ssize_t start = self._next
        for cut in self._cuts:
            if cut > start:
                packets.append(self._held[start:cut])
                start = cut
        if start < len(self._held):
            packets.append(self._held[start:])
        return packets + self._later

    cdef _join(self):
        cdef list packets
        cdef Py_ssize_t length = 0
        if self._next == PyBytes_GET_SIZE(self._held) and len(self._later) == 1:
            self._held = self._later[0]
            self._cuts = []
        else:
            packets = self._packets()
            self._held = b"".join(packets)
            self._cuts = []
            for packet in packets[:-1]:
                length += len(packet)
                self._cuts.append(length)
        self._later = []
        self._next = self._before = 0


cdef bint _is_ascii(const char *line, const char *end) noexcept:
    while line < end:
        if line[0] & 0x80:
            return False
        line += 1
    return True


cdef bint _is_text(const char *line, const char *end):
    try:
        PyUnicode_DecodeUTF8(line, end - line, NULL)
    except UnicodeDecodeError:
        return False
    return True


cdef bint _ends_line(bytes packet):
    cdef const char *start = PyBytes_AS_STRING(packet)
    return _line_end(start, start + PyBytes_GET_SIZE(packet)) != NULL


cdef const char *_line_end(const char *line, const char *stop) noexcept:
    """Return where the first line feed or carriage return is, or NULL."""
    cdef const char *feed = <const char *>memchr(line, b"\n", stop - line)
    cdef const char *carriage = <const char *>memchr(line, b"\r", (feed if feed else stop) - line)
    return carriage if carriage else feed
