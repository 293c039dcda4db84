"""What of texts and numbers has been compared with a LiteLLM that nobody knows: their outlines.

Code that is not known may treat long texts, blank ones, other alphabets or many tokens otherwise than those that it was
compared with. So such values are served only where their outline was compared. An outline is cheap to tell and coarse:
how many of what there are, which sorts of characters, and which of the words that this code names (``Clues``). Whatever
lies between two numbers that were compared counts as compared, and so does a number of about the same size, unless the
code names one between.
"""

from __future__ import annotations

import inspect
import re
from bisect import bisect
from collections.abc import Iterable, Mapping
from types import CodeType, ModuleType
from typing import Any

_DIGITS = re.compile(rb"\d")
_CAPITALS = re.compile(rb"[A-Z]")
_TOKENS = re.compile(rb'"(\w+_tokens)":\s*(\d+)')
_NUMBERS = re.compile(rb"(\w+)=(\d+)\b")
# Shorter words are in most texts; more would take longer to look for than LiteLLM takes for a call.
_SHORTEST, _MAX_WORDS = 3, 2000
_MAX_SEEN = 4096
# Numbers below are told apart one by one.
_SMALL = 16

# By what it is about: a number with its cell, or anything else as it is.
Outline = dict[str, Any]


class Clues:
    """Constants of functions that nobody knows: words that they may look for, and numbers that may be their limits."""

    def __init__(self) -> None:
        self._words: dict[bytes, str] = {}
        self._numbers: list[int] = []

    def read(self, code: CodeType, names: Mapping[str, Any]) -> None:
        """Take the constants of a function's ``code``, which is looked up among ``names`` where it has one."""
        for held in (*code.co_consts, *(names.get(name) for name in code.co_names)):
            if isinstance(held, CodeType):
                self.read(held, names)
            else:
                self._take(held)

    def read_all(self, module: ModuleType) -> None:
        """Take the constants of all functions of a ``module``."""
        for held in list(vars(module).values()):
            if getattr(held, "__module__", None) == module.__name__:
                for function in (held, *(vars(held).values() if isinstance(held, type) else ())):
                    code = getattr(inspect.unwrap(getattr(function, "__func__", function)), "__code__", None)
                    if isinstance(code, CodeType):
                        self.read(code, vars(module))

    def _take(self, value: Any) -> None:
        if type(value) in (tuple, frozenset):
            for held in value:
                self._take(held)
        elif type(value) is int and value > _SMALL and value not in self._numbers:
            self._numbers = sorted((*self._numbers, value))
        elif type(value) is str and len(value) >= _SHORTEST and len(self._words) < _MAX_WORDS:
            self._words[value.lower().encode(errors="replace")] = value

    def words_in(self, text: bytes) -> list[str]:
        """Return those of the words that are in ``text``, however they are written."""
        lowered = text.lower()
        return [word for spelled, word in self._words.items() if spelled in lowered]

    def number(self, value: int) -> tuple[int, Any]:
        """Return a number with its cell: others in it are of about the same size."""
        length = value.bit_length()
        size = value if value < _SMALL else _SMALL + 2 * length + (value >> length - 2 & 1)
        return value, (size, bisect(self._numbers, value - 1), bisect(self._numbers, value))


class Outlines:
    """Outlines that were compared."""

    def __init__(self) -> None:
        self._spans: dict[str, tuple[float, float]] = {}
        self._seen: set[tuple[str, Any]] = set()

    def cover(self, outline: Outline) -> bool:
        """Return whether each part of an ``outline`` was compared."""
        spans, seen = self._spans, self._seen
        for name, value in outline.items():
            if type(value) is tuple:
                number, value = value
                low, high = spans.get(name, (1, 0))
                if low <= number <= high:
                    continue
            if (name, value) not in seen:
                return False
        return True

    def add(self, outline: Outline) -> None:
        """Note an ``outline`` that was compared."""
        if len(self._seen) >= _MAX_SEEN:
            self._seen.clear()
            self._spans.clear()
        for name, value in outline.items():
            if type(value) is tuple:
                number, value = value
                low, high = self._spans.get(name, (number, number))
                self._spans[name] = min(low, number), max(high, number)
            self._seen.add((name, value))


def of_text(text: bytes, name: str, clues: Clues) -> Outline:
    """Return the outline of ``text``, JSON or not; ``name`` says of what."""
    return {
        f"{name}, size": clues.number(len(text)),
        f"{name}, ASCII": text.isascii(),
        f"{name}, escapes": b"\\" in text,
        f"{name}, line ends": b"\\n" in text or b"\n" in text,
        f"{name}, empty texts": b'""' in text,
        f"{name}, blank edges": b'" ' in text or b' "' in text or text != text.strip(),
        f"{name}, digits": _DIGITS.search(text) is not None,
        f"{name}, capitals": _CAPITALS.search(text) is not None,
        **{f"{name}, {word!r}": True for word in clues.words_in(text)},
    }


def of_request(messages: list[Any], encoded: bytes, free: Mapping[str, bytes], clues: Clues) -> Outline:
    """Return the outline of a conversation, which is ``encoded`` in JSON, and of ``free`` arguments, which are, too."""
    outline: Outline = {}
    for name, value in free.items():
        if value.isdigit():
            outline[name] = clues.number(int(value))
        elif value[:1] in b'"{[':
            outline.update(of_text(value, name, clues))
        else:
            outline[name] = float(value), round(float(value), 1)
    roles = [str(message.get("role")) if isinstance(message, dict) else "?" for message in messages]
    return {
        **outline,
        **of_text(encoded, "messages", clues),
        "messages": clues.number(len(messages)),
        "roles": frozenset(roles),
        "first role": "".join(roles[:1]),
        "last role": "".join(roles[-1:]),
    }


def of_reply(body: bytes, clues: Clues) -> Outline:
    """Return the outline of what a provider has sent."""
    tokens = {name.decode(): clues.number(int(number)) for name, number in _TOKENS.findall(body)}
    return {**of_text(body, "answer", clues), **tokens}


def of_arguments(arguments: Iterable[Any], clues: Clues) -> Outline:
    """Return the outline of what a function is called with."""
    shown = repr(arguments).encode(errors="replace")
    numbers = {name.decode(): clues.number(int(number)) for name, number in _NUMBERS.findall(shown)}
    plain = {f"argument {place}": clues.number(value) for place, value in enumerate(arguments) if type(value) is int}
    return {**of_text(shown, "arguments", clues), **numbers, **plain}
