"""Byte-pair encoding: counts, encodes and decodes text as one tiktoken encoding does."""

# The work is done by tiktoken's own core.

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

__all__ = ["BytePairEncoder", "UnsupportedEncodingError"]

_TOKEN_BYTES = 4  # of one token in CoreBPE's buffer

if TYPE_CHECKING:
    from typing_extensions import Buffer

    class CoreBPE(Protocol):
        """What is called of tiktoken's own class of this name, which comes without types."""

        def encode_to_tiktoken_buffer(self, text: str, allowed_special: set[str]) -> Buffer: ...
        def encode_ordinary(self, text: str) -> list[int]: ...
        def encode_single_token(self, piece: bytes) -> int: ...
        def decode_bytes(self, tokens: Sequence[int]) -> bytes: ...
        def decode_single_token_bytes(self, token: int) -> bytes: ...


class UnsupportedEncodingError(ValueError):
    """This implementation does not cover an encoding; the message says why."""


def _without_surrogates(text: str) -> str:
    """Return valid Unicode: surrogate pairs joined and lone surrogates replaced, as tiktoken does."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class BytePairEncoder:
    """Encodes text as one tiktoken encoding does.

    ``pat_str`` and ``special_tokens`` (text -> id) are the encoding's; ``ranks`` is the content of a .tiktoken file:
    lines of a token in base64, a blank and its rank. ``stock()`` returns tiktoken's own core of this encoding, which
    words the errors for arguments of wrong types. Special tokens are text like any other in what is encoded or counted
    here. Raises ``UnsupportedEncodingError`` where this implementation does not cover the encoding.

    Calls may come from any thread; calls with long text let other threads run.
    """

    def __init__(
        self, pat_str: str, ranks: bytes, special_tokens: dict[str, int], stock: Callable[[], CoreBPE]
    ) -> None:
        self._ranks = ranks
        self._stock = stock

    def mergeable_ranks(self) -> dict[bytes, int]:
        """Return the rank of every token."""
        lines = map(bytes.split, self._ranks.splitlines())
        return {base64.b64decode(token): int(rank) for token, rank in lines}

    # Counting

    def count(self, text: str) -> int:
        """Return the number of tokens of ``text``: ``len(encode_ordinary(text))``."""
        try:
            return len(self.encode_to_bytes(text)) // _TOKEN_BYTES
        except UnicodeEncodeError:
            return len(self.encode_to_bytes(_without_surrogates(text))) // _TOKEN_BYTES

    def count_chunked(self, text: str, chunk_chars: int) -> int:
        """Return the sum of the token counts of ``text`` cut into pieces of ``chunk_chars`` characters."""
        if chunk_chars < 1:
            raise ValueError(f"chunk_chars must be at least 1, got {chunk_chars}")
        return sum(self.count(text[start : start + chunk_chars]) for start in range(0, len(text), chunk_chars))

    def count_slice(self, text: str, start: int, stop: int, chunk_chars: int) -> int:
        """Return ``count_chunked(text[start:stop], chunk_chars)``; ``0 <= start <= stop <= len(text)``."""
        if not 0 <= start <= stop <= len(text):
            raise ValueError(f"no slice [{start}:{stop}] in a text of {len(text)} characters")
        return self.count_chunked(text[start:stop], chunk_chars)

    def count_many(self, texts: list[str]) -> list[int]:
        """Return the number of tokens of each text."""
        return [self.count(text) for text in texts]

    # Encoding

    def encode_to_bytes(self, text: str) -> bytes:
        """Return the tokens of ``text`` as unsigned 32-bit integers in the machine's byte order.

        Raises ``UnicodeEncodeError`` for text with surrogates.
        """
        return bytes(self._stock().encode_to_tiktoken_buffer(text, set()))

    def encode_ordinary(self, text: str) -> list[int]:
        """Return the tokens of ``text``."""
        try:
            return self._stock().encode_ordinary(text)
        except UnicodeEncodeError:
            return self._stock().encode_ordinary(_without_surrogates(text))

    def encode_single_token(self, token: bytes) -> int:
        """Return the id of a token or special token with exactly these bytes; ``KeyError`` if there is none."""
        return self._stock().encode_single_token(token)

    # Decoding

    def decode_bytes(self, tokens: Sequence[int]) -> bytes:
        """Return the bytes of a sequence of token ids; ``KeyError`` for a number that is no token."""
        return self._stock().decode_bytes(tokens)

    def decode_single_token_bytes(self, token: int) -> bytes:
        """Return the bytes of one token id; ``KeyError`` if it is no token."""
        return self._stock().decode_single_token_bytes(token)
