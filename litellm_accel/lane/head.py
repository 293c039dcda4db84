"""The head of a request that is sent again and again: all of it but the length of the body."""

from __future__ import annotations

import re

_LENGTH = re.compile(rb"(\r\ncontent-length: )\d+(\r\n)", re.IGNORECASE)


class OpenHead:
    """A request's head as it was ``written`` once, with its length open. Raises ``ValueError`` if it has none."""

    def __init__(self, written: bytes) -> None:
        parts = _LENGTH.split(written)
        if len(parts) != 4:
            raise ValueError("a request without a content length")
        before, name, end, after = parts
        self._before, self._after = before + name, end + after

    def around(self, body: bytes) -> bytes:
        """Return the whole request, as it goes over the wire."""
        return b"%b%d%b%b" % (self._before, len(body), self._after, body)
