"""Content encodings: which of a provider's the client accepts, and how a body is packed.

br and zstd are there where a library for them is: Brotli, or Python's own zstd, backports.zstd or zstandard.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

Packer = Callable[[bytes], bytes]


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, 31, 5)
    return packer.compress(body) + packer.flush()


def _optional(*ways: tuple[str, Callable[[Any], Packer]]) -> Packer | None:
    """The packer of the first module that is installed."""
    for name, packer in ways:
        try:
            return packer(importlib.import_module(name))
        except ImportError:
            continue
    return None


_FOUND: dict[str, Packer | None] = {
    "gzip": _gzip,
    "deflate": zlib.compress,
    "br": _optional(
        ("brotli", lambda module: lambda body: cast(bytes, module.compress(body, quality=4))),
        ("brotlicffi", lambda module: lambda body: cast(bytes, module.compress(body, quality=4))),
    ),
    "zstd": _optional(
        ("compression.zstd", lambda module: cast(Packer, module.compress)),
        ("backports.zstd", lambda module: cast(Packer, module.compress)),
        ("zstandard", lambda module: lambda body: cast(bytes, module.compress(body))),
    ),
}

#: What can be packed here, by the name of the encoding.
PACKERS: dict[str, Packer] = {name: packer for name, packer in _FOUND.items() if packer is not None}


@lru_cache(64)
def chosen(accepted: str, offered: tuple[str, ...]) -> str:
    """The first of `offered` that an Accept-Encoding header allows and that can be packed; "" for identity."""
    if not offered or not accepted:
        return ""
    refused: set[str] = set()
    named: set[str] = set()
    for item in accepted.lower().split(","):
        name, _, quality = item.partition(";")
        weight = quality.replace(" ", "").removeprefix("q=")
        (refused if weight and not weight.strip("0.") else named).add(name.strip())
    return next((n for n in offered if n in PACKERS and n not in refused and (n in named or "*" in named)), "")
