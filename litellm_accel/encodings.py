"""tiktoken's encodings with our own byte-pair encoding behind them.

Names, vocabularies, split patterns and special tokens are tiktoken's; the files are found where LiteLLM has them.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.util
import os
import re
import threading
from collections.abc import Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, Literal

import tiktoken
import tiktoken.load
import tiktoken.registry
from tiktoken import _tiktoken  # type: ignore[attr-defined]  # compiled, without types
from tiktoken.core import raise_disallowed_special_token

from litellm_accel import _backend, hot, unicode_classes
from litellm_accel._py import bpe as pure_bpe

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Encoding", "get_encoding"]

_THREAD_CHARS = 1 << 16
"""Counting fewer characters than this takes less time than handing them to another thread."""

_lock = threading.RLock()
_encodings: dict[str, Encoding] = {}


def get_encoding(name: str) -> Encoding:
    """Return tiktoken's encoding of that name, loaded once a process.

    Raises ``ValueError`` for a name that tiktoken does not know, and what tiktoken raises where a vocabulary file
    cannot be read.
    """
    if not isinstance(name, str):
        raise ValueError(f"Expected a string in get_encoding, got {type(name)}")
    encoding = _encodings.get(name)
    if encoding is None:
        with _lock:
            encoding = _encodings.get(name)
            if encoding is None:
                encoding = _encodings[name] = Encoding(**_definition(name))
    return encoding


def _after_fork() -> None:
    """Another thread of the parent may have held the lock."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Encoding(tiktoken.Encoding):
    """A ``tiktoken.Encoding`` that encodes, counts and decodes with litellm-accel's byte-pair encoding.

    The arguments are tiktoken's; ``mergeable_ranks`` can also be the content of a .tiktoken file. tiktoken's own core
    and its dictionary of ranks are made when something asks for them. ``encoder`` is the implementation in use: the
    compiled one where it covers the encoding, else the pure one; ``reason`` says why.
    """

    encoder: pure_bpe.BytePairEncoder
    reason: str

    def __init__(
        self,
        name: str,
        *,
        pat_str: str,
        mergeable_ranks: dict[bytes, int] | bytes,
        special_tokens: dict[str, int],
        explicit_n_vocab: int | None = None,
    ) -> None:
        self.name = name
        self._pat_str = pat_str
        self._special_tokens = special_tokens
        self._special_token_values = set(special_tokens.values())
        ranks = mergeable_ranks if isinstance(mergeable_ranks, bytes) else _as_rank_file(mergeable_ranks)
        last_rank = int(ranks.rstrip().rpartition(b" ")[2])
        self.max_token_value = max(last_rank, max(special_tokens.values(), default=0))
        if explicit_n_vocab:
            assert ranks.count(b" ") + len(special_tokens) == explicit_n_vocab
            assert self.max_token_value == explicit_n_vocab - 1
        self._special_prefix = os.path.commonprefix(list(special_tokens))  # noqa: RUF071 (not of paths)
        self.encoder, self.reason = _encoder(pat_str, ranks, special_tokens, lambda: self._core_bpe)
        if type(self).count is Encoding.count:
            self.__dict__["count"] = self.encoder.count  # one call less

    @functools.cached_property
    def _mergeable_ranks(self) -> dict[bytes, int]:  # type: ignore[override]  # an attribute of tiktoken's own class
        return self.encoder.mergeable_ranks()

    @functools.cached_property
    def _core_bpe(self) -> _tiktoken.CoreBPE:
        if _encodings.get(self.name) is self and (loaded := tiktoken.registry.ENCODINGS.get(self.name)):
            return loaded._core_bpe
        return _tiktoken.CoreBPE(self._mergeable_ranks, self._special_tokens, self._pat_str)

    # Counting

    def count(self, text: str) -> int:
        """Return the number of tokens of ``text``: ``len(encode_ordinary(text))``."""
        return self.encoder.count(text)

    def count_batch(self, texts: Sequence[str], *, num_threads: int = 8) -> list[int]:
        """Return the number of tokens of each text. Long work is shared by up to ``num_threads`` threads."""
        total = sum(map(len, texts))
        threads = min(num_threads, total // _THREAD_CHARS, len(texts))
        if threads < 2:
            return [self.count(text) for text in texts]
        share = total // (4 * threads)
        batches: list[list[str]] = [[]]
        chars = 0
        for text in texts:
            if chars >= share:
                batches.append([])
                chars = 0
            batches[-1].append(text)
            chars += len(text)
        with ThreadPoolExecutor(threads) as executor:
            return [count for counts in executor.map(self.encoder.count_many, batches) for count in counts]

    # Encoding

    def encode_ordinary(self, text: str) -> list[int]:
        return self.encoder.encode_ordinary(text)

    def encode(
        self,
        text: str,
        *,
        allowed_special: Literal["all"] | AbstractSet[str] = frozenset(),
        disallowed_special: Literal["all"] | Collection[str] = "all",
    ) -> list[int]:
        if not isinstance(text, str):
            return super().encode(text, allowed_special=allowed_special, disallowed_special=disallowed_special)
        allowed = self._check_special(text, allowed_special, disallowed_special)
        return self._encode_with_special(text, allowed) if allowed else self.encoder.encode_ordinary(text)

    def encode_to_numpy(
        self,
        text: str,
        *,
        allowed_special: Literal["all"] | AbstractSet[str] = frozenset(),
        disallowed_special: Literal["all"] | Collection[str] = "all",
    ) -> npt.NDArray[np.uint32]:
        if not isinstance(text, str):
            return super().encode_to_numpy(text, allowed_special=allowed_special, disallowed_special=disallowed_special)
        import numpy as np

        allowed = self._check_special(text, allowed_special, disallowed_special)
        if not allowed:
            return np.frombuffer(self.encoder.encode_to_bytes(text), dtype=np.uint32)
        text.encode()  # raises for surrogates, as without special tokens
        return np.frombuffer(
            np.array(self._encode_with_special(text, allowed), dtype=np.uint32).tobytes(), dtype=np.uint32
        )

    def encode_single_token(self, text_or_bytes: str | bytes) -> int:
        if isinstance(text_or_bytes, str):
            text_or_bytes = text_or_bytes.encode("utf-8")
        return self.encoder.encode_single_token(text_or_bytes)

    def _check_special(
        self,
        text: str,
        allowed_special: Literal["all"] | AbstractSet[str],
        disallowed_special: Literal["all"] | Collection[str],
    ) -> frozenset[str]:
        """Raise for a disallowed special token in ``text``; return the allowed ones that may be in it."""
        present = self.special_tokens_set if self._special_prefix in text else frozenset()
        if allowed_special == "all":
            allowed_special = self.special_tokens_set
        if disallowed_special == "all":
            disallowed_special = present and present - allowed_special
        if disallowed_special and (match := _any_of(frozenset(disallowed_special)).search(text)):
            raise_disallowed_special_token(match.group())
        return frozenset(allowed_special & present) if allowed_special else frozenset()

    def _encode_with_special(self, text: str, allowed: frozenset[str]) -> list[int]:
        tokens: list[int] = []
        start = 0
        for match in _any_of(allowed).finditer(text):
            tokens += self.encoder.encode_ordinary(text[start : match.start()])
            tokens.append(self._special_tokens[match.group()])
            start = match.end()
        tokens += self.encoder.encode_ordinary(text[start:])
        return tokens

    # Decoding

    def decode_bytes(self, tokens: Sequence[int]) -> bytes:
        return self.encoder.decode_bytes(tokens)

    def decode(self, tokens: Sequence[int], errors: str = "replace") -> str:
        return self.encoder.decode_bytes(tokens).decode("utf-8", errors=errors)

    def decode_single_token_bytes(self, token: int) -> bytes:
        return self.encoder.decode_single_token_bytes(token)

    # Pickling: encodings that `get_encoding` knows go by name, as tiktoken's do

    def __getstate__(self) -> object:
        if _encodings.get(self.name) is self:
            return self.name
        return super().__getstate__()

    def __setstate__(self, value: object) -> None:
        if isinstance(value, str):
            self.__dict__ = get_encoding(value).__dict__
        else:
            super().__setstate__(value)


def _encoder(
    pat_str: str, ranks: bytes, special_tokens: dict[str, int], stock: Callable[[], _tiktoken.CoreBPE]
) -> tuple[pure_bpe.BytePairEncoder, str]:
    """Return the fastest encoder that covers an encoding, and why that one."""
    kind, reason = _backend.chosen("bpe")
    if kind == "compiled":
        problem = unicode_classes.mismatch()
        if problem is None:
            try:
                return hot.bpe.BytePairEncoder(pat_str, ranks, special_tokens, stock), reason
            except hot.bpe.UnsupportedEncodingError as error:
                problem = str(error)
        reason = problem
    return pure_bpe.BytePairEncoder(pat_str, ranks, special_tokens, stock), reason


@functools.lru_cache(maxsize=64)
def _any_of(texts: frozenset[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, texts)))


# ---------------------------------------------------------------------------------------------------------------------
# tiktoken's definitions
# ---------------------------------------------------------------------------------------------------------------------


def _definition(name: str) -> dict[str, Any]:
    """Return an encoding's arguments from tiktoken's registry, where possible with the ranks as a file's content."""
    known = tiktoken.list_encoding_names()
    if name not in known:
        raise ValueError(f"Unknown encoding {name!r}. Known are: {', '.join(sorted(known))}")
    constructors: dict[str, Callable[[], dict[str, Any]]] = tiktoken.registry.ENCODING_CONSTRUCTORS or {}
    return _with_reader(constructors[name], _read_ranks)()


def _with_reader(
    constructor: Callable[[], dict[str, Any]], reader: Callable[..., bytes]
) -> Callable[[], dict[str, Any]]:
    """Return a copy of a constructor of tiktoken's that reads files of ranks with `reader`.

    tiktoken's reader makes a dictionary of Python objects, which takes most of the time and memory of loading.
    """
    namespace = getattr(constructor, "__globals__", {})
    if namespace.get("load_tiktoken_bpe") is not tiktoken.load.load_tiktoken_bpe:
        return constructor
    copied = dict(namespace, load_tiktoken_bpe=reader)
    for name, value in namespace.items():  # one constructor calls another
        if isinstance(value, FunctionType) and value.__globals__ is namespace:
            copied[name] = FunctionType(value.__code__, copied, name, value.__defaults__, value.__closure__)
    copy: Callable[[], dict[str, Any]] = copied[constructor.__name__]
    return copy


def _read_ranks(tiktoken_bpe_file: str, expected_hash: str | None = None) -> bytes:
    """Read a file of ranks as tiktoken does, and before LiteLLM has told tiktoken where its copies are, look there."""
    if "TIKTOKEN_CACHE_DIR" not in os.environ:
        for directory in _litellm_directories():
            path = directory / hashlib.sha1(tiktoken_bpe_file.encode()).hexdigest()
            if path.is_file():
                contents = path.read_bytes()
                if expected_hash is None or tiktoken.load.check_hash(contents, expected_hash):
                    return contents
    return tiktoken.load.read_file_cached(tiktoken_bpe_file, expected_hash)


def _litellm_directories() -> list[Path]:
    """Return where LiteLLM lets tiktoken look for its files: see litellm/litellm_core_utils/default_encoding.py."""
    if custom := os.environ.get("CUSTOM_TIKTOKEN_CACHE_DIR"):
        return [Path(custom)]
    spec = importlib.util.find_spec("litellm")
    roots = (spec.submodule_search_locations if spec else None) or []
    return [Path(root, "litellm_core_utils", "tokenizers") for root in roots]


def _as_rank_file(ranks: dict[bytes, int]) -> bytes:
    """Return the content of the .tiktoken file with these ranks."""
    return b"".join(
        base64.b64encode(token) + b" %d\n" % rank for token, rank in sorted(ranks.items(), key=lambda item: item[1])
    )
