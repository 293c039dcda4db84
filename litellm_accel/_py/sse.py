"""Splits the bytes of an event stream into its events."""

from __future__ import annotations

__all__ = ["Splitter"]


class Splitter:
    """The events of a stream, from the packets in which it comes.

    An event is one ``data:`` line and the blank line after it, both ended by LF or both by CRLF; comments in ASCII and
    further blank lines are passed over. Whatever else comes (other fields, several lines, CR alone) makes the stream
    ``odd`` from there on: ``rest()`` is then what a decoder that knows all of the format must be given. ``early``
    is for a decoder that does not wait for the line feed after a carriage return, and decodes each line when it ends.
    """

    __slots__ = ("_before", "_cuts", "_early", "_held", "_later", "_next", "_open", "odd")

    def __init__(self, early: bool = False) -> None:
        self.odd = False
        self._early = early
        self._held = b""
        self._later: list[bytes] = []
        self._cuts: list[int] = []
        self._open = False
        self._next = 0
        self._before = 0

    def feed(self, packet: bytes) -> None:
        """Take the next packet of the stream."""
        self._later.append(packet)
        self._open = self._open or b"\n" in packet or b"\r" in packet

    def next(self) -> bytes | None:
        """Return the line of the next event, ``data:`` included; None if it is not whole yet, or the stream is odd."""
        if self.odd:
            return None
        if self._later:
            if not self._open:  # of an event that comes in many packets, the last alone is worth looking at
                return None
            self._join()
        held, line = self._held, self._next
        while (end := _line_end(held, line)) >= 0:
            ending = 1
            if held[end : end + 1] == b"\r":
                if end + 1 == len(held):
                    self.odd = self._early and not _is_text(held[line:end])
                    break
                ending = 2
                if held[end + 1 : end + 2] != b"\n":
                    self.odd = True
                    break
            if end == line or (held.startswith(b":", line) and held[line:end].isascii()):
                line = self._next = end + ending
                continue
            if not held.startswith(b"data:", line, end):
                self.odd = True
                break
            second = held[end + ending : end + 2 * ending]
            if not held.startswith(second, end):
                self.odd = True
                break
            if len(second) < ending and not (self._early and second):
                self.odd = self._early and not _is_text(held[line:end])
                break
            self._before = line
            self._next = end + ending + len(second)  # a line feed that comes later is a blank line
            return held[line:end]
        self._open = False
        return None

    def back(self) -> None:
        """Give the event that ``next()`` has just returned back: it is the next one again."""
        self._next = self._before

    def rest(self) -> list[bytes]:
        """Return what has not been taken yet, in the packets in which it came; the splitter is empty afterwards."""
        packets = self._packets()
        self._held, self._later, self._cuts, self._next = b"", [], [], 0
        return packets

    def _packets(self) -> list[bytes]:
        packets = []
        start = self._next
        for cut in self._cuts:
            if cut > start:
                packets.append(self._held[start:cut])
                start = cut
        if start < len(self._held):
            packets.append(self._held[start:])
        return packets + self._later

    def _join(self) -> None:
        if self._next == len(self._held) and len(self._later) == 1:
            self._held = self._later[0]
            self._cuts = []
        else:
            packets = self._packets()
            self._held = b"".join(packets)
            self._cuts = []
            length = 0
            for packet in packets[:-1]:
                length += len(packet)
                self._cuts.append(length)
        self._later = []
        self._next = self._before = 0


def _is_text(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _line_end(held: bytes, line: int) -> int:
    """Return where the first line feed or carriage return from ``line`` on is, or -1."""
    feed = held.find(b"\n", line)
    carriage = held.find(b"\r", line, feed if feed >= 0 else len(held))
    return carriage if carriage >= 0 else feed
