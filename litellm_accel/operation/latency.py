"""Percentiles of what a gate has measured: the buckets of ``Side``, read."""

from __future__ import annotations

from collections.abc import Sequence

_STEPS = 32  # buckets for each doubling


def lowest_of(bucket: int) -> int:
    """Return the smallest number of nanoseconds that is counted in ``bucket``."""
    exponent = max(bucket // _STEPS - 1, 0)
    return (bucket - exponent * _STEPS) << exponent


def middle_of(bucket: int) -> float:
    """Return the middle of ``bucket``, in nanoseconds."""
    return (lowest_of(bucket) + lowest_of(bucket + 1) - 1) / 2


def quantile(buckets: Sequence[int], share: float) -> float | None:
    """Return the quantile ``share`` of the calls counted in ``buckets``, in nanoseconds."""
    missing = max(share * sum(buckets), 1)
    for bucket, count in enumerate(buckets):
        missing -= count
        if count and missing <= 0:
            return middle_of(bucket)
    return None


def usual(buckets: Sequence[int], share: float = 0.99) -> float | None:
    """Return the mean of the fastest calls, which leaves out those that loaded or learned something."""
    missing = calls = max(int(share * sum(buckets)), 1)
    total = 0.0
    for bucket, count in enumerate(buckets):
        taken = min(count, missing)
        total += taken * middle_of(bucket)
        missing -= taken
        if not missing:
            return total / calls
    return None


def bucket_at(buckets: Sequence[int], share: float) -> int:
    """Return the bucket that holds the quantile ``share`` of the calls counted in ``buckets``; 0 if there are none."""
    missing = max(share * sum(buckets), 1)
    for bucket, count in enumerate(buckets):
        missing -= count
        if count and missing <= 0:
            return bucket
    return 0
