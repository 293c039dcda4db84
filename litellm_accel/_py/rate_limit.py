"""Rate limits in memory: a token bucket, a log of a sliding window, and its approximation by two counters.

All arithmetic is in integers. What a key has used is kept while it matters and dropped as other keys are checked.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from math import inf
from typing import Any

from litellm_accel.limit_numbers import (
    LARGEST,
    LARGEST_LOG,
    bucket_units,
    fraction,
    nanoseconds,
    permits,
    window_grain,
)

__all__ = ["Decision", "Scopes", "SlidingCounter", "SlidingLog", "TokenBucket", "leased", "take"]

_SWEPT = 2  # keys looked at in each check, so that more can leave than come
_DEMANDS = 64

# One for all limits, so that `take` finds several of them in one state.
_lock = threading.Lock()


class Decision:
    """What a limit has decided.

    ``remaining`` is what is left after this decision. ``retry_after`` is in seconds: 0 if allowed, infinite where the
    cost exceeds the limit itself. ``limit`` names the limit that refused, or has least left. ``at`` is the limit's
    clock in nanoseconds; a refund needs it. A decision is true where it is allowed.
    """

    __slots__ = ("allowed", "at", "limit", "remaining", "retry_after")

    def __init__(self, allowed: bool, remaining: int, retry_after: float, limit: str, at: int = 0) -> None:
        self.allowed = allowed
        self.remaining = remaining
        self.retry_after = retry_after
        self.limit = limit
        self.at = at

    def __bool__(self) -> bool:
        return self.allowed

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Decision):
            return NotImplemented
        return (self.allowed, self.remaining, self.retry_after, self.limit, self.at) == (
            other.allowed,
            other.remaining,
            other.retry_after,
            other.limit,
            other.at,
        )

    def __hash__(self) -> int:
        return hash((self.allowed, self.remaining, self.retry_after, self.limit, self.at))

    def __repr__(self) -> str:
        return (
            f"Decision(allowed={self.allowed}, remaining={self.remaining}, retry_after={self.retry_after}, "
            f"limit={self.limit!r}, at={self.at})"
        )


class _Entry:
    """What is known of a key; the numbers mean what its kind of limit makes of them."""

    __slots__ = ("first", "key", "log", "second", "third")

    def __init__(self, key: str) -> None:
        self.key = key
        self.first = 0
        self.second = 0
        self.third = 0
        self.log: deque[list[int]] = _NO_LOG


_NO_LOG: deque[list[int]] = deque()


class _Limit:
    """The keys of a limit, and what all kinds of limits do with them."""

    __slots__ = ("_clock", "_entries", "_hand", "_places", "limit", "name")

    def __init__(self, limit: int, name: str, clock: Callable[[], int]) -> None:
        self.limit = limit
        self.name = name
        self._clock = clock
        self._entries: list[_Entry] = []
        self._places: dict[str, int] = {}
        self._hand = 0

    def __len__(self) -> int:
        return len(self._entries)

    def check(self, key: str, cost: int = 1) -> Decision:
        """Take ``cost`` permits of ``key`` if that many are free. A cost of 0 looks and takes nothing."""
        key = _key(key)
        cost = _cost(cost)
        with _lock:
            now = self._clock()
            self._sweep(now)
            return self._decide(key, cost, now, cost > 0)

    def refund(self, key: str, cost: int = 1, at: int | None = None) -> None:
        """Give back ``cost`` permits that were taken ``at`` (``Decision.at``; just now if None) and not used."""
        key = _key(key)
        cost = _cost(cost)
        with _lock:
            now = self._clock()
            place = self._places.get(key)
            if place is not None:
                entry = self._entries[place]
                self._settle(entry, now)
                self._return(entry, cost, now if at is None else at, now)

    def charge(self, key: str, cost: int) -> None:
        """Take ``cost`` permits whether or not they are free: what was used beyond what was taken before.

        The debt of a key is at most the limit.
        """
        key = _key(key)
        cost = _cost(cost)
        with _lock:
            now = self._clock()
            entry = self._entry(key, now)
            cost = min(cost, self._free(entry, now) + self.limit)
            if cost > 0:
                self._take(entry, cost, now)

    def _decide(self, key: str, cost: int, now: int, taken: bool) -> Decision:
        """Decide on ``cost``; take it if it is allowed and ``taken`` is asked for."""
        place = self._places.get(key)
        if place is None:
            if cost > self.limit:
                return Decision(False, self.limit, inf, self.name, now)
            if not taken:
                return Decision(True, self.limit - cost, 0.0, self.name, now)
            entry = self._entry(key, now)
        else:
            entry = self._entries[place]
            self._settle(entry, now)
        free = self._free(entry, now)
        if cost <= free:
            if taken:
                self._take(entry, cost, now)
            return Decision(True, free - cost, 0.0, self.name, now)
        wait = inf if cost > self.limit else self._wait(entry, cost, now) / 1e9
        return Decision(False, max(free, 0), wait, self.name, now)

    def _entry(self, key: str, now: int) -> _Entry:
        """Return the entry of ``key`` as it is now, a new one if there is none."""
        place = self._places.get(key)
        if place is not None:
            entry = self._entries[place]
            self._settle(entry, now)
            return entry
        entry = _Entry(key)
        self._begin(entry, now)
        self._places[key] = len(self._entries)
        self._entries.append(entry)
        return entry

    def _sweep(self, now: int) -> None:
        """Look at the next keys in turn, and drop those of which nothing matters any more."""
        entries = self._entries
        for _ in range(min(_SWEPT, len(entries))):
            if self._hand >= len(entries):
                self._hand = 0
            entry = entries[self._hand]
            if self._idle(entry, now):
                last = entries.pop()
                del self._places[entry.key]
                if last is not entry:
                    entries[self._hand] = last
                    self._places[last.key] = self._hand
            else:
                self._hand += 1

    def _begin(self, entry: _Entry, now: int) -> None:
        """Make a new entry one that has used nothing."""
        raise NotImplementedError

    def _settle(self, entry: _Entry, now: int) -> None:
        """Bring an entry up to ``now``; a clock that went back stands still."""
        raise NotImplementedError

    def _idle(self, entry: _Entry, now: int) -> bool:
        """Return whether the entry equals a new one."""
        raise NotImplementedError

    def _free(self, entry: _Entry, now: int) -> int:
        """Return how many permits are free, negative in debt."""
        raise NotImplementedError

    def _wait(self, entry: _Entry, cost: int, now: int) -> int:
        """Return the nanoseconds until ``cost`` permits are free, if nobody takes any."""
        raise NotImplementedError

    def _take(self, entry: _Entry, cost: int, now: int) -> None:
        raise NotImplementedError

    def _return(self, entry: _Entry, cost: int, at: int, now: int) -> None:
        raise NotImplementedError


class TokenBucket(_Limit):
    """A bucket for each key: holds ``burst`` permits, and fills at ``rate`` permits a second.

    In any time of t seconds at most burst + rate × t permits are given, less what is refunded in it. ``rate`` is an
    integer, a ``Fraction``, or a float, which is taken as the nearest fraction with a denominator up to a million.
    """

    __slots__ = ("_capacity", "_filled_after", "_gain", "_permit", "rate")

    def __init__(
        self,
        rate: int | float | Fraction,
        burst: int,
        *,
        name: str = "",
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        burst = permits("burst", burst, LARGEST)
        self.rate = fraction("rate", rate)
        super().__init__(burst, name or f"{self.rate}/second, burst {burst}", clock)
        self._gain, self._permit = bucket_units(self.rate, burst)
        self._capacity = burst * self._permit
        self._filled_after = 2 * self._capacity // self._gain + 1  # whatever the debt

    # first: when the bucket was filled last; second: units in it

    def _begin(self, entry: _Entry, now: int) -> None:
        entry.first = now
        entry.second = self._capacity

    def _settle(self, entry: _Entry, now: int) -> None:
        elapsed = now - entry.first
        if elapsed > 0:
            entry.first = now
            entry.second = self._filled(entry, elapsed)

    def _idle(self, entry: _Entry, now: int) -> bool:
        return self._filled(entry, now - entry.first) == self._capacity

    def _filled(self, entry: _Entry, elapsed: int) -> int:
        if elapsed >= self._filled_after:
            return self._capacity
        if elapsed <= 0:
            return entry.second
        return min(entry.second + elapsed * self._gain, self._capacity)

    def _free(self, entry: _Entry, now: int) -> int:
        return entry.second // self._permit

    def _wait(self, entry: _Entry, cost: int, now: int) -> int:
        return -((entry.second - cost * self._permit) // self._gain) + max(entry.first - now, 0)

    def _take(self, entry: _Entry, cost: int, now: int) -> None:
        entry.second -= cost * self._permit

    def _return(self, entry: _Entry, cost: int, at: int, now: int) -> None:
        entry.second = min(entry.second + min(cost, 2 * self.limit) * self._permit, self._capacity)


class SlidingLog(_Limit):
    """At most ``limit`` permits in any ``seconds``, exactly: the time of each is kept, in 16 bytes."""

    __slots__ = ("window",)

    def __init__(
        self,
        limit: int,
        seconds: int | float | Fraction,
        *,
        name: str = "",
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        limit = permits("limit", limit, LARGEST_LOG)
        self.window = nanoseconds("seconds", seconds)
        super().__init__(limit, name or f"{limit} in {seconds} s", clock)

    # first: permits in the window; second: when the newest was taken

    def _begin(self, entry: _Entry, now: int) -> None:
        entry.log = deque()
        entry.second = now

    def _settle(self, entry: _Entry, now: int) -> None:
        log, gone = entry.log, max(now, entry.second) - self.window
        while log and log[0][0] <= gone:
            entry.first -= log.popleft()[1]

    def _idle(self, entry: _Entry, now: int) -> bool:
        return entry.second <= now - self.window

    def _free(self, entry: _Entry, now: int) -> int:
        return self.limit - entry.first

    def _wait(self, entry: _Entry, cost: int, now: int) -> int:
        needed = entry.first + cost - self.limit
        place = -1
        while needed > 0:
            place += 1
            needed -= entry.log[place][1]
        return entry.log[place][0] + self.window - now

    def _take(self, entry: _Entry, cost: int, now: int) -> None:
        log, now = entry.log, max(now, entry.second)
        entry.first += cost
        entry.second = now
        if log and log[-1][0] == now:
            log[-1][1] += cost
        else:
            log.append([now, cost])

    def _return(self, entry: _Entry, cost: int, at: int, now: int) -> None:
        log = entry.log
        place = len(log)
        while cost and place:
            place -= 1
            when, taken = log[place]
            if when <= at:
                returned = min(taken, cost)
                entry.first -= returned
                cost -= returned
                if returned < taken:
                    log[place][1] -= returned
                else:
                    del log[place]


class SlidingCounter(_Limit):
    """At most ``limit`` permits in any ``seconds``, judged by two counters for each key.

    Time is cut into windows of ``seconds``. The permits of the window before count by the share of it that is still
    inside the last ``seconds``, as if they had been taken evenly; if so, the limit is kept to within one permit. At
    worst (all taken at the end of a window) the last ``seconds`` hold less than twice the limit; all taken at the
    beginning of a window, permits come up to one window later than they would by an exact log.
    """

    __slots__ = ("_grain", "_grains", "window")

    def __init__(
        self,
        limit: int,
        seconds: int | float | Fraction,
        *,
        name: str = "",
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        limit = permits("limit", limit, LARGEST)
        self.window = nanoseconds("seconds", seconds)
        super().__init__(limit, name or f"{limit} in {seconds} s", clock)
        self._grain = window_grain(self.window, limit)
        self._grains = -(-self.window // self._grain)

    # first: number of the window; second, third: permits in the one before, and in it

    def _begin(self, entry: _Entry, now: int) -> None:
        entry.first = now // self.window

    def _settle(self, entry: _Entry, now: int) -> None:
        passed = now // self.window - entry.first
        if passed > 0:
            entry.first += passed
            entry.second = entry.third if passed == 1 else 0
            entry.third = 0

    def _idle(self, entry: _Entry, now: int) -> bool:
        return now >= (entry.first + 2) * self.window

    def _left(self, entry: _Entry, now: int) -> int:
        """Return the nanoseconds until the window ends; all of them if the clock went back behind it."""
        return min((entry.first + 1) * self.window - now, self.window)

    def _free(self, entry: _Entry, now: int) -> int:
        shares = -(-self._left(entry, now) // self._grain)
        return self.limit - entry.third - -(-entry.second * shares // self._grains)

    def _wait(self, entry: _Entry, cost: int, now: int) -> int:
        end = (entry.first + 1) * self.window
        before, most = entry.second, self.limit - cost - entry.third
        if most < 0:  # only in the next window, in which this one is the one before
            before, most = entry.third, self.limit - cost
            if before <= most:
                return end - now
            end += self.window
        return end - most * self._grains // before * self._grain - now

    def _take(self, entry: _Entry, cost: int, now: int) -> None:
        entry.third += cost

    def _return(self, entry: _Entry, cost: int, at: int, now: int) -> None:
        window = at // self.window
        if window >= entry.first:
            entry.third = max(entry.third - cost, 0)
        elif window == entry.first - 1:
            entry.second = max(entry.second - cost, 0)


class Scopes:
    """The limits of a limiter: of each scope those of its keys, with whether they are of tokens; ``"*"`` is all others.

    Scope ``global`` counts every call. ``single`` is the scope of a key that is given as a string.
    """

    __slots__ = ("_scopes", "_single")

    def __init__(self, scopes: dict[str, dict[str, Any]], single: str | None) -> None:
        self._scopes = scopes
        self._single = single

    def check(self, key: Any, cost: int = 1, tokens: int = 0) -> Decision:
        """Take ``cost`` requests and ``tokens`` from every limit that applies to ``key``, or nothing."""
        demands = self.demands(key, cost, tokens)
        return take(demands) if demands else Decision(True, LARGEST, 0.0, "", 0)

    def demands(self, key: Any, cost: int, tokens: int) -> list[tuple[Any, str, int]]:
        """Return what a call of ``key`` asks of each limit that applies to it: ``(limit, key, cost)``."""
        if isinstance(key, str):
            if self._single is None:
                raise ValueError(f"key must name its scopes, of {sorted(self._scopes)}, got {key!r}")
            key = {self._single: key}
        elif not isinstance(key, Mapping):
            raise ValueError(f"key must be a string, or a dictionary of strings by scope, got {key!r}")
        cost = _cost(cost)
        tokens = _cost(tokens, "tokens")
        demands = []
        for scope, by_key in self._scopes.items():
            name = "global" if scope == "global" else key.get(scope)
            if name is None:
                continue
            name = _key(name)
            for limit, of_tokens in by_key.get(name) or by_key.get("*") or ():
                demands.append((limit, name, tokens if of_tokens else cost))
        if len(demands) > _DEMANDS:
            raise ValueError(f"key {key!r} has more than {_DEMANDS} limits")
        return demands


def take(demands: Sequence[tuple[Any, str, int]]) -> Decision:
    """Take the cost of every demand, a ``(limit, key, cost)``, or of none.

    Refused, the decision is that of the limit with the longest wait; else that of the one with least left.
    """
    if not 0 < len(demands) <= _DEMANDS:
        raise ValueError(f"demands must be 1 to {_DEMANDS}, got {len(demands)}")
    asked = [(limit, _key(key), _cost(cost)) for limit, key, cost in demands]
    refused: Decision | None = None
    tightest: Decision | None = None
    with _lock:
        # One time for all limits of one clock: the decision tells it, and by it all are refunded.
        times = {id(limit._clock): limit._clock for limit, _, _ in asked}
        nows = {name: clock() for name, clock in times.items()}
        checked = [(limit, key, cost, nows[id(limit._clock)]) for limit, key, cost in asked]
        for limit, key, cost, now in checked:
            limit._sweep(now)
            decision = limit._decide(key, cost, now, False)
            if not decision.allowed:
                if refused is None or decision.retry_after > refused.retry_after:
                    refused = decision
            elif tightest is None or decision.remaining < tightest.remaining:
                tightest = decision
        if refused is not None:
            return refused
        for limit, key, cost, now in checked:
            if cost:
                limit._take(limit._entry(key, now), cost, now)
    assert tightest is not None
    return tightest


def leased(count: int, remaining: int, limit: str, at: int) -> list[Decision]:
    """Return the decisions on ``count`` permits that were taken at once, the last one first; ``remaining`` are left."""
    return [Decision(True, remaining + number, 0.0, limit, at) for number in range(count)]


def _key(key: Any) -> str:
    if not isinstance(key, str) or not key:
        raise ValueError(f"key must be a string that is not empty, got {key!r}")
    return str.__str__(key)  # of a subclass, the exact string: comparing it runs no code of the caller's


def _cost(cost: Any, name: str = "cost") -> int:
    if not isinstance(cost, int) or not 0 <= cost <= LARGEST:
        raise ValueError(f"{name} must be an integer from 0 to {LARGEST}, got {cost!r}")
    return cost
