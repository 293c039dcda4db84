"""Limits written as text, ``"100/minute;5/second"``, in the format of the package ``limits``."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from litellm_accel.hot import rate_limit

if TYPE_CHECKING:
    from litellm_accel._py.rate_limit import SlidingCounter, SlidingLog, TokenBucket

    Limit = TokenBucket | SlidingLog | SlidingCounter

#: A limit written as text is kept as an exact log up to this number of permits.
EXACT_UP_TO = 1000

_SECONDS = {
    "second": 1,
    "minute": 60,
    "hour": 3600,
    "day": 86400,
    "month": 30 * 86400,
    "year": 12 * 30 * 86400,
}
_ONE = re.compile(
    r"\s*(?P<amount>\d+)\s*(?P<tokens>tokens?)?\s*(?:/|\bper\b)\s*(?P<times>\d+)?\s*"
    r"(?P<unit>second|minute|hour|day|month|year)s?\s*",
    re.IGNORECASE,
)
_SEPARATOR = re.compile(r"[,;|]")


class Rule(NamedTuple):
    """One limit, and whether it limits tokens rather than requests."""

    limit: Limit
    of_tokens: bool


def SlidingWindow(
    limit: int,
    seconds: int | float | Fraction,
    *,
    exact: bool = True,
    name: str = "",
    clock: Callable[[], int] = time.monotonic_ns,
) -> SlidingLog | SlidingCounter:
    """Return a limit of ``limit`` permits in any ``seconds``.

    ``exact`` keeps the time of each permit, in 16 bytes. Otherwise there are two counters for each key;
    ``SlidingCounter`` says how far they may be off.
    """
    kind = rate_limit.SlidingLog if exact else rate_limit.SlidingCounter
    return kind(limit, seconds, name=name, clock=clock)


def parse(text: str, *, clock: Callable[[], int] = time.monotonic_ns) -> list[Rule]:
    """Return the limits that ``text`` names, separated by ``;``, ``,`` or ``|``.

    ``"100/minute"``, ``"10 per 2 hours"`` and, of tokens, ``"90000 tokens/minute"``. They are sliding windows: exact
    up to 1000 permits, two counters above.
    """
    if not isinstance(text, str):
        raise ValueError(f"a limit must be a text like '100/minute', got {text!r}")
    return [_parsed(part, text, clock) for part in _SEPARATOR.split(text)]


def _parsed(part: str, text: str, clock: Callable[[], int]) -> Rule:
    found = _ONE.fullmatch(part)
    if found is None:
        raise ValueError(f"limit {part!r} makes no sense in {text!r}; write it like '100/minute' or '5 per 2 hours'")
    seconds = int(found["times"] or 1) * _SECONDS[found["unit"].lower()]
    amount = int(found["amount"])
    try:
        limit = SlidingWindow(amount, seconds, exact=amount <= EXACT_UP_TO, name=part.strip(), clock=clock)
    except ValueError as error:
        raise ValueError(f"limit {part!r} makes no sense in {text!r}: {error}") from None
    return Rule(limit, found["tokens"] is not None)
