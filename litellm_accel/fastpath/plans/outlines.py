"""What of texts and numbers has been compared with a LiteLLM that nobody knows: their outlines.

Code that is not known may treat long texts, blank ones, other alphabets or many tokens otherwise than those that it was
compared with. So such values are served only where their outline was compared. An outline is cheap to tell and coarse:
how many of what there are, and which sorts of characters. Whatever lies between two numbers that were compared counts
as compared, as does a number of about the same size.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_DIGITS = re.compile(rb"\d")
_CAPITALS = re.compile(rb"[A-Z]")
_TOKENS = re.compile(rb'"(\w+_tokens)":\s*(\d+)')
_NUMBERS = re.compile(rb"(\w+)=(\d+)\b")

Outline = dict[str, Any]


class Outlines:
    """Outlines that were compared. Numbers are told by their size, all else by itself."""

    def __init__(self) -> None:
        self._spans: dict[str, tuple[int, int]] = {}
        self._seen: set[tuple[str, Any]] = set()

    def cover(self, outline: Outline) -> bool:
        """Return whether each part of an ``outline`` was compared."""
        spans, seen = self._spans, self._seen
        for name, value in outline.items():
            if type(value) is not int:
                if (name, value) not in seen:
                    return False
            elif name not in spans:
                return False
            else:
                low, high = spans[name]
                if not low <= value <= high and (name, _size(value)) not in seen:
                    return False
        return True

    def add(self, outline: Outline) -> None:
        """Note an ``outline`` that was compared."""
        for name, value in outline.items():
            if type(value) is int:
                low, high = self._spans.get(name, (value, value))
                self._spans[name] = min(low, value), max(high, value)
                value = _size(value)
            self._seen.add((name, value))


def of_text(text: bytes, name: str = "") -> Outline:
    """Return the outline of ``text``, JSON or not; ``name`` says of what."""
    return {
        f"{name} size": len(text),
        f"{name} ASCII": text.isascii(),
        f"{name} escapes": b"\\" in text,
        f"{name} line ends": b"\\n" in text or b"\n" in text,
        f"{name} empty texts": b'""' in text,
        f"{name} blank edges": b'" ' in text or b' "' in text or text != text.strip(),
        f"{name} digits": _DIGITS.search(text) is not None,
        f"{name} capitals": _CAPITALS.search(text) is not None,
    }


def of_request(messages: list[Any], encoded: bytes, free: Mapping[str, bytes]) -> Outline:
    """Return the outline of a conversation, which is ``encoded`` in JSON, and of ``free`` arguments, which are, too."""
    roles = [str(message.get("role")) if isinstance(message, dict) else "?" for message in messages]
    outline: Outline = {}
    for name, value in free.items():
        if value.isdigit():
            outline[name] = int(value)
        elif value[:1] in b'"{[':
            outline.update(of_text(value, name))
        else:
            outline[name] = value
    return {
        **outline,
        **of_text(encoded, "messages"),
        "messages": len(messages),
        "roles": frozenset(roles),
        "first role": "".join(roles[:1]),
        "last role": "".join(roles[-1:]),
    }


def of_reply(body: bytes) -> Outline:
    """Return the outline of a provider's answer, by which it is told whether LiteLLM may treat it otherwise."""
    tokens = {name.decode(): int(number) for name, number in _TOKENS.findall(body)}
    return {**of_text(body, "answer"), **tokens}


def of_arguments(arguments: Iterable[Any]) -> Outline:
    """Return the outline of what a function is called with."""
    shown = repr(arguments).encode(errors="replace")
    numbers = {name.decode(): int(number) for name, number in _NUMBERS.findall(shown)}
    plain = {f"argument {place}": value for place, value in enumerate(arguments) if type(value) is int}
    return {**of_text(shown, "arguments"), **numbers, **plain}


def _size(number: int) -> int:
    """Return about how large a number is: two of the same size differ by less than a half."""
    length = number.bit_length()
    return length * 2 + (number >> length - 2 & 1 if length > 1 else 0)
