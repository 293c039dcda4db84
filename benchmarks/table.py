"""``python -m benchmarks.table``: the README's table of counting, all peers in turn in one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks import COMPILED, STOCK
from benchmarks.counting import ENCODINGS, GIGATOKEN, counter, our_encoding, stock_encoding
from benchmarks.texts import KINDS, PATHOLOGICAL, text

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


def main() -> None:
    for name in ENCODINGS:
        stock, ours, peer = (counter(name, backend) for backend in (STOCK, COMPILED, GIGATOKEN))
        encode_stock, encode_ours = stock_encoding(name).encode_ordinary, our_encoding(name, COMPILED).encode_ordinary
        print(f"\n| {name} | tiktoken | litellm-accel | | gigatoken | encode_ordinary |")
        print("|---|---|---|---|---|---|")
        for kind in KINDS:
            sample = text(kind)
            assert ours(sample) == stock(sample), kind
            assert encode_ours(sample) == encode_stock(sample), kind
            calls = (stock, ours, peer, encode_stock, encode_ours)
            seconds = in_turn(*((call, sample) for call in calls), times=max(1, CHARACTERS // len(sample)))
            size = len(sample.encode())
            tiktoken, accel, giga = (f"{size / each / 1e6:,.0f} MB/s" for each in seconds[:3])
            print(
                f"| {kind} | {tiktoken} | {accel} | {seconds[0] / seconds[1]:.1f}× | {giga} "
                f"({seconds[2] / seconds[1]:.2f}×) | {seconds[3] / seconds[4]:.1f}× |"
            )
        prose = text("prose 2M")
        for kind in PATHOLOGICAL:
            sample = text(kind)
            seconds = in_turn((ours, prose), (ours, sample), times=1)
            per_byte = [each / len(of.encode()) for each, of in zip(seconds, (prose, sample), strict=True)]
            print(f"| {kind} 1M, a byte against one of prose | | {per_byte[1] / per_byte[0]:.2f}× the time | | | |")


if __name__ == "__main__":
    main()
