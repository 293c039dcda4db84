"""What limits are given in, checked, and the whole numbers in which both kernels of them and Redis count."""

from __future__ import annotations

from fractions import Fraction
from math import gcd
from typing import Any

_SECOND = 1_000_000_000
_LONGEST = 1 << 60  # nanoseconds, 36 years


def whole(name: str, value: Any, largest: int) -> int:
    """Return ``value``, an integer from 1 to ``largest``. Raises ``ValueError`` that names it."""
    if not isinstance(value, int) or not 1 <= value <= largest:
        raise ValueError(f"{name} must be an integer from 1 to {largest}, got {value!r}")
    return value


def fraction(name: str, value: Any) -> Fraction:
    """Return ``value``, a positive number, as a fraction. Raises ``ValueError`` that names it."""
    try:
        number = Fraction(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} must be a positive number, got {value!r}") from None
    if isinstance(value, float):
        number = number.limit_denominator(1_000_000)
    if isinstance(value, str) or number <= 0:
        raise ValueError(f"{name} must be a positive number, got {value!r}")
    return number


def nanoseconds(name: str, value: Any) -> int:
    """Return ``value``, in seconds, in nanoseconds. Raises ``ValueError`` that names it."""
    number = round(fraction(name, value) * _SECOND)
    if not 1 <= number <= _LONGEST:
        raise ValueError(f"{name} must be from a nanosecond to {_LONGEST // _SECOND} seconds, got {value!r}")
    return number


def units(rate: Fraction, ticks: int) -> tuple[int, int]:
    """Return how many units a bucket gains in one of a second's ``ticks``, and how many a permit is: both whole."""
    common = gcd(rate.numerator, rate.denominator * ticks)
    return rate.numerator // common, rate.denominator * ticks // common


def grain(window: int, limit: int, most: int) -> int:
    """Return in how long grains shares of ``window`` are counted, so that times ``limit`` they are up to ``most``."""
    length = 1
    while -(-window // length) > most // limit and length < window:
        length *= 2
    return length
