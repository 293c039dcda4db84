"""What constructors of rate limits accept, and the whole numbers that limits are kept in.

For both halves of the kernel ``rate_limit``, whose clocks count nanoseconds.
"""

from __future__ import annotations

from fractions import Fraction
from math import gcd
from typing import Any, Final

SECOND: Final = 1_000_000_000
# Of a limit: what a double, JavaScript and Redis count exactly.
LARGEST: Final = 1 << 53
LARGEST_LOG: Final = 1 << 30
_LONGEST = 1 << 60  # nanoseconds, 36 years
_ROOM = 1 << 61  # below which products stay, so that a sum of two fits into 63 bits


def permits(name: str, value: Any, largest: int) -> int:
    """Return ``value``, an integer from 1 to ``largest``. Raises ``ValueError``, as all here do."""
    if not isinstance(value, int) or not 1 <= value <= largest:
        raise ValueError(f"{name} must be an integer from 1 to {largest}, got {value!r}")
    return value


def fraction(name: str, value: Any) -> Fraction:
    """Return ``value``, a positive number, as a fraction."""
    try:
        found = Fraction(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} must be a positive number, got {value!r}") from None
    if isinstance(value, float):
        found = found.limit_denominator(1_000_000)
    if isinstance(value, str) or found <= 0:
        raise ValueError(f"{name} must be a positive number, got {value!r}")
    return found


def nanoseconds(name: str, seconds: Any) -> int:
    """Return ``seconds``, a positive number, in nanoseconds."""
    found = round(fraction(name, seconds) * SECOND)
    if not 1 <= found <= _LONGEST:
        raise ValueError(f"{name} must be from a nanosecond to {_LONGEST // SECOND} seconds, got {seconds!r}")
    return found


def bucket_units(rate: Fraction, burst: int) -> tuple[int, int]:
    """Return how many units a nanosecond gains and how many a permit is, both whole, of a bucket filled at ``rate``."""
    common = gcd(rate.numerator, rate.denominator * SECOND)
    gain, permit = rate.numerator // common, rate.denominator * SECOND // common
    if burst * permit >= _ROOM or gain >= _ROOM:
        raise ValueError(f"burst {burst} is too large for rate {rate}, or rate too odd a fraction")
    return gain, permit


def window_grain(window: int, limit: int) -> int:
    """Return the grain in which shares of a window are counted, so that their product with a counter has room."""
    grain = 1
    while -(-window // grain) > _ROOM // limit:
        grain *= 2
    return grain
