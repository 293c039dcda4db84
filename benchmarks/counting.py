"""Counting tokens: tiktoken (stock), the compiled and the pure implementation, and gigatoken on one thread."""

from __future__ import annotations

import gc
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import BACKENDS, COMPILED, PURE, STOCK, prefer
from benchmarks.texts import KINDS, PATHOLOGICAL, mixed, prose, python, text

ENCODINGS = ("cl100k_base", "o200k_base")
GIGATOKEN = "gigatoken"


def stock_encoding(name: str) -> Any:
    """Return tiktoken's encoding, from the file that LiteLLM has."""
    import tiktoken

    os.environ["TIKTOKEN_CACHE_DIR"] = str(tokenizer_files())
    return tiktoken.get_encoding(name)


def our_encoding(name: str, backend: str) -> Any:
    """Return our encoding on that backend. Raises `RuntimeError` if it is on the other."""
    prefer(backend)
    from litellm_accel import get_encoding

    encoding = get_encoding(name)
    package = "_cy" if backend == COMPILED else "_py"
    if type(encoding.encoder).__module__ != f"litellm_accel.{package}.bpe":
        raise RuntimeError(f"{name} is not on the {backend} backend: {encoding.reason}")
    return encoding


def gigatoken_encoding(name: str) -> Any:
    """Return gigatoken's tokenizer, which goes by the file's name. Raises `ImportError` without gigatoken."""
    import gigatoken

    url = f"https://openaipublic.blob.core.windows.net/encodings/{name}.tiktoken"
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, f"{name}.tiktoken")
        path.write_bytes((tokenizer_files() / hashlib.sha1(url.encode()).hexdigest()).read_bytes())
        return gigatoken.Tokenizer.from_tiktoken(path)


def tokenizer_files() -> Path:
    """Return LiteLLM's directory of vocabulary files, without importing LiteLLM."""
    from litellm_accel.encodings import _litellm_directories

    return _litellm_directories()[0]


def counter(name: str, backend: str) -> Callable[[str], int]:
    """Return what counts the tokens of a text. gigatoken makes an array of them, its fastest way."""
    if backend == GIGATOKEN:
        encode = gigatoken_encoding(name).encode
        return lambda text: len(encode(text))
    if backend == STOCK:
        encode = stock_encoding(name).encode_ordinary
        return lambda text: len(encode(text))
    count: Callable[[str], int] = our_encoding(name, backend).count
    return count


class Count:
    """Text that was seen before, as in a conversation that grows."""

    params = (list(KINDS), list(ENCODINGS), [*BACKENDS, GIGATOKEN])
    param_names = ("text", "encoding", "backend")

    def setup(self, kind: str, name: str, backend: str) -> None:
        self.text = text(kind)
        self.count = counter(name, backend)
        if self.count(self.text) != len(stock_encoding(name).encode_ordinary(self.text)):
            raise RuntimeError(f"{backend} and tiktoken disagree on {kind}")

    def time_count(self, kind: str, name: str, backend: str) -> None:
        self.count(self.text)


class Cold:
    """5 MB that the process has never seen, once."""

    params = (list(ENCODINGS), [*BACKENDS, GIGATOKEN])
    param_names = ("encoding", "backend")
    number = 1
    repeat = 3
    rounds = 1
    warmup_time = 0
    timeout = 180

    def setup(self, name: str, backend: str) -> None:
        self.text = prose(3_000_000) + python(1_500_000) + mixed(200_000)
        self.count = counter(name, backend)

    def time_count(self, name: str, backend: str) -> None:
        self.count(self.text)


class Linear:
    """1 MB that is hard to cut: the time for it is to be compared with that of prose."""

    params = (["prose 2M", *PATHOLOGICAL], list(ENCODINGS), [STOCK, COMPILED])
    param_names = ("text", "encoding", "backend")

    def setup(self, kind: str, name: str, backend: str) -> None:
        self.text = text(kind)
        self.count = counter(name, backend)
        if self.count(self.text) != len(stock_encoding(name).encode_ordinary(self.text)):
            raise RuntimeError(f"{backend} and tiktoken disagree on {kind}")

    def time_count(self, kind: str, name: str, backend: str) -> None:
        self.count(self.text)


class Batch:
    """64 texts of 30 kB on one and on two threads."""

    params = ([1, 2], [COMPILED, PURE])
    param_names = ("threads", "backend")

    def setup(self, threads: int, backend: str) -> None:
        whole = prose()
        self.texts = [whole[start : start + 30_000] for start in range(0, 64 * 30_000, 30_000)]
        self.encoding = our_encoding("o200k_base", backend)
        if self.encoding.count_batch(self.texts, num_threads=threads) != list(map(self.encoding.count, self.texts)):
            raise RuntimeError("a batch is counted otherwise than its texts")

    def time_count_batch(self, threads: int, backend: str) -> None:
        self.encoding.count_batch(self.texts, num_threads=threads)


class Loading:
    """From a name to the first count, in a process that has imported tiktoken."""

    params = (list(ENCODINGS), list(BACKENDS))
    param_names = ("encoding", "backend")
    number = 1
    repeat = 5
    rounds = 1
    warmup_time = 0

    def setup(self, name: str, backend: str) -> None:
        import tiktoken

        from litellm_accel import encodings

        os.environ["TIKTOKEN_CACHE_DIR"] = str(tokenizer_files())
        tiktoken.registry.ENCODINGS.clear()
        encodings._encodings.clear()
        gc.collect()
        self.load = stock_encoding if backend == STOCK else lambda name: our_encoding(name, backend)

    def time_load(self, name: str, backend: str) -> None:
        self.load(name).encode_ordinary("hello world")


def track_memory(backend: str) -> int:
    """Both large vocabularies, loaded and used once."""
    before = _resident()
    for name in ENCODINGS:
        load = stock_encoding if backend == STOCK else lambda name: our_encoding(name, backend)
        load(name).encode_ordinary("hello world")
    return _resident() - before


track_memory.params = (list(BACKENDS),)  # type: ignore[attr-defined]
track_memory.param_names = ("backend",)  # type: ignore[attr-defined]
track_memory.unit = "bytes"  # type: ignore[attr-defined]


def _resident() -> int:
    import tiktoken.registry

    import litellm_accel.encodings  # noqa: F401

    gc.collect()
    tiktoken.list_encoding_names()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
