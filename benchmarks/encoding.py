"""Token lists and back: tiktoken (stock), the compiled and the pure implementation."""

from __future__ import annotations

from typing import Any

from benchmarks import BACKENDS, STOCK
from benchmarks.counting import ENCODINGS, our_encoding, stock_encoding
from benchmarks.texts import text

KINDS = ("prose 60", "prose 10k", "mixed 2M")


class Encode:
    """Every way to tokens and back, on text that was seen before."""

    params = (list(KINDS), list(ENCODINGS), list(BACKENDS))
    param_names = ("text", "encoding", "backend")

    def setup(self, kind: str, name: str, backend: str) -> None:
        stock = stock_encoding(name)
        self.text = text(kind)
        self.tokens = stock.encode_ordinary(self.text)
        self.encoding: Any = stock if backend == STOCK else our_encoding(name, backend)
        if self.encoding.encode(self.text, disallowed_special=()) != self.tokens:
            raise RuntimeError(f"{backend} and tiktoken disagree on {kind}")
        if self.encoding.decode(self.tokens) != self.text:
            raise RuntimeError(f"{backend} does not decode {kind}")

    def time_encode_ordinary(self, kind: str, name: str, backend: str) -> None:
        self.encoding.encode_ordinary(self.text)

    def time_encode(self, kind: str, name: str, backend: str) -> None:
        self.encoding.encode(self.text, disallowed_special=())

    def time_encode_to_numpy(self, kind: str, name: str, backend: str) -> None:
        self.encoding.encode_to_numpy(self.text, disallowed_special=())

    def time_decode(self, kind: str, name: str, backend: str) -> None:
        self.encoding.decode(self.tokens)
