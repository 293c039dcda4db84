"""``python -m benchmarks.table``: counting by tiktoken, litellm-accel and gigatoken in turn in one process, as JSON.

``make measure`` stores it in docs/figures/counting.json, which the README's tables are made of.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import time
from collections.abc import Callable
from typing import Any

from benchmarks import COMPILED, STOCK
from benchmarks.counting import ENCODINGS, GIGATOKEN, counter, our_encoding, stock_encoding
from benchmarks.texts import KINDS, PATHOLOGICAL, text
from litellm_accel.demo.runner import machine

ROUNDS = 7
CHARACTERS = 400_000  # counted in one turn, at least


def turn(call: Callable[[str], Any], sample: str, times: int) -> float:
    """Return the seconds of one call with ``sample``, measured over ``times``."""
    begin = time.perf_counter()
    for _ in range(times):
        call(sample)
    return (time.perf_counter() - begin) / times


def in_turn(*turns: tuple[Callable[[str], Any], str], times: int) -> list[float]:
    """Return the least seconds of each call over ``ROUNDS`` rounds in which all have their turn."""
    rounds = [[turn(call, sample, times) for call, sample in turns] for _ in range(ROUNDS)]
    return [min(column) for column in zip(*rounds, strict=True)]


def ordinary(encoding: str, kind: str) -> dict[str, Any]:
    """Return how fast a text is counted, and how much faster than by tiktoken it is encoded; results are compared."""
    stock, ours, peer = (counter(encoding, backend) for backend in (STOCK, COMPILED, GIGATOKEN))
    encoders = stock_encoding(encoding).encode_ordinary, our_encoding(encoding, COMPILED).encode_ordinary
    sample = text(kind)
    assert ours(sample) == stock(sample), kind
    assert encoders[1](sample) == encoders[0](sample), kind
    calls = (stock, ours, peer, *encoders)
    seconds = in_turn(*((call, sample) for call in calls), times=max(1, CHARACTERS // len(sample)))
    size = len(sample.encode())
    names = ("tiktoken", "litellm-accel", "gigatoken")
    return {
        "encoding": encoding,
        "text": kind,
        "mb_per_second": {name: size / each / 1e6 for name, each in zip(names, seconds, strict=False)},
        "encode_ratio": seconds[3] / seconds[4],
    }


def against_prose(encoding: str, kind: str) -> float:
    """Return the time that a byte of a text made to be slow takes, against a byte of prose."""
    ours, samples = counter(encoding, COMPILED), (text("prose 2M"), text(kind))
    seconds = in_turn(*((ours, sample) for sample in samples), times=1)
    prose, slow = (each / len(sample.encode()) for each, sample in zip(seconds, samples, strict=True))
    return slow / prose


def main() -> None:
    versions = {name: importlib.metadata.version(name) for name in ("tiktoken", "gigatoken")}
    result = {
        "machine": machine(),
        "versions": {**versions, "python": platform.python_version()},
        "rows": [ordinary(encoding, kind) for encoding in ENCODINGS for kind in KINDS],
        "slow": [
            {"encoding": name, "against_prose": {kind: against_prose(name, kind) for kind in PATHOLOGICAL}}
            for name in ENCODINGS
        ],
    }
    print(json.dumps(result, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
