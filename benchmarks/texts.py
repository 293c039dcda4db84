"""Texts to measure with: the same on every run of one machine, real where the machine has real text."""

from __future__ import annotations

import functools
import random
import sysconfig
from importlib import metadata
from pathlib import Path

KINDS = ("prose 60", "prose 1k", "prose 10k", "prose 2M", "python 2M", "mixed 2M")
PATHOLOGICAL = ("letter", "blanks", "digits", "bytes", "emoji")

_SENTENCES = (
    "\u4f60\u597d\uff0c\u4e16\u754c\uff01\u4eca\u5929\u5929\u6c14\u5f88\u597d\uff0c\u6211\u4eec\u53bb\u516c\u56ed"
    "\u6563\u6b65\u5427\u3002",
    "\u6771\u4eac\u306f\u65e5\u672c\u306e\u9996\u90fd\u3067\u3042\u308a\u3001\u4e16\u754c\u6700\u5927\u306e\u90fd"
    "\u5e02\u306e\u4e00\u3064\u3067\u3059\u3002",
    "\uc548\ub155\ud558\uc138\uc694, \uc624\ub298\uc740 \ub0a0\uc528\uac00 \uc815\ub9d0 \uc88b\ub124\uc694. ",
    "\u0421\u044a\u0435\u0448\u044c \u0436\u0435 \u0435\u0449\u0451 \u044d\u0442\u0438\u0445 "
    "\u043c\u044f\u0433\u043a\u0438\u0445 \u0431\u0443\u043b\u043e\u043a, \u0434\u0430 "
    "\u0432\u044b\u043f\u0435\u0439 \u0447\u0430\u044e. ",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645\u060c \u0647\u0630\u0627 "
    "\u0646\u0635 \u062a\u062c\u0631\u064a\u0628\u064a \u0628\u0627\u0644\u0644\u063a\u0629 "
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629. ",
)


@functools.cache
def text(kind: str) -> str:
    """Return a text of `KINDS` or `PATHOLOGICAL`; the latter have about 1 MB."""
    match kind.split():
        case ["prose", size]:
            return prose()[5000:][: {"60": 60, "1k": 1000, "10k": 10_000, "2M": 2_000_000}[size]]
        case ["python", _]:
            return python()
        case ["mixed", _]:
            return mixed()
        case ["letter"]:
            return "a" * 1_000_000
        case ["blanks"]:
            return " " * 900_000  # tiktoken panics at a million
        case ["digits"]:
            return "7" * 1_000_000
        case ["emoji"]:
            return "\U0001f600" * 250_000
        case ["bytes"]:
            return random.Random(1).randbytes(1_000_000).decode("utf-8", "replace")
    raise ValueError(kind)


@functools.cache
def prose(size: int = 2_005_000) -> str:
    """Return what the installed packages say about themselves: descriptions in English, some of them long."""
    packages = sorted(metadata.distributions(), key=lambda package: package.metadata["Name"])
    return _fill([package.read_text("METADATA") or "" for package in packages], size)


@functools.cache
def python(size: int = 2_000_000) -> str:
    """Return source code of the standard library."""
    return _fill(
        [path.read_text(encoding="utf-8") for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))], size
    )


@functools.cache
def mixed(size: int = 700_000) -> str:
    """Return Chinese, Japanese, Korean, Russian and Arabic, cut and mixed; about 2 MB as UTF-8."""
    source = random.Random(3)
    parts = []
    while size > 0:
        sentence = source.choice(_SENTENCES)
        start, stop = sorted(source.choices(range(len(sentence) + 1), k=2))
        parts.append(sentence[start:stop] + source.choice(" \n"))
        size -= len(parts[-1])
    return "".join(parts)


def _fill(parts: list[str], size: int) -> str:
    whole = "".join(parts).replace("<|", "< |")  # special tokens are not everybody's text
    if len(whole) < size // 4:
        raise RuntimeError(f"this machine has only {len(whole)} characters of text to measure with")
    return (whole * (size // len(whole) + 1))[:size]
