# cython: language_level=3, binding=True, boundscheck=False, wraparound=False, cdivision=True
"""Rate limits in memory: a token bucket, a log of a sliding window, and its approximation by two counters.

All arithmetic is in integers. What a key has used is kept while it matters and dropped as other keys are checked.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

cimport cython
from cpython.long cimport PyLong_AsLongLong
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from cpython.object cimport PyObject, PyObject_Hash
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.unicode cimport PyUnicode_CheckExact, PyUnicode_Compare, PyUnicode_FromObject
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

cdef extern from *:
    """
    #if defined(_WIN32)
    #define RATE_LIMIT_CLOCK 0
    static long long rate_limit_now(void) { return 0; }
    #else
    #include <time.h>
    #define RATE_LIMIT_CLOCK 1
    static long long rate_limit_now(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (long long)now.tv_sec * 1000000000LL + now.tv_nsec;
    }
    #endif
    """
    const bint RATE_LIMIT_CLOCK
    long long rate_limit_now() nogil

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

cdef long long _LARGEST = LARGEST
cdef int _SWEPT = 2  # keys looked at in each check, so that more can leave than come
cdef Py_ssize_t _DEMANDS = 64
cdef double _NEVER = float("inf")

cdef object _monotonic_ns = time.monotonic_ns

# The GIL is the lock: nothing below runs Python code between reading and writing what a key has used.


cdef struct Mark:
    long long time
    long long cost


cdef struct Log:
    Py_ssize_t start
    Py_ssize_t count
    Py_ssize_t room
    Mark marks[1]


cdef struct Entry:
    # What is known of a key; the numbers mean what its kind of limit makes of them.
    PyObject* key
    long long first
    long long second
    long long third  # or the log


cdef struct Place:
    # Of the hash table, which is searched linearly: half of the key's hash, and 1 + where its entry is; 0 if free.
    uint32_t hash
    uint32_t entry


@cython.freelist(64)
cdef class Decision:
    """What a limit has decided.

    ``remaining`` is what is left after this decision. ``retry_after`` is in seconds: 0 if allowed, infinite where the
    cost exceeds the limit itself. ``limit`` names the limit that refused, or has least left. ``at`` is the limit's
    clock in nanoseconds; a refund needs it. A decision is true where it is allowed.
    """

    cdef readonly bint allowed
    cdef readonly long long remaining
    cdef readonly double retry_after
    cdef readonly str limit
    cdef readonly long long at

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


cdef inline Decision _decision(bint allowed, long long remaining, double retry_after, str limit, long long at):
    cdef Decision decision = Decision.__new__(Decision)
    decision.allowed = allowed
    decision.remaining = remaining
    decision.retry_after = retry_after
    decision.limit = limit
    decision.at = at
    return decision


cdef class _Limit:
    """The keys of a limit, and what all kinds of limits do with them."""

    cdef readonly long long limit
    cdef public str name
    cdef object _clock
    cdef bint _system_clock
    cdef Entry* _entries
    cdef Py_ssize_t _used
    cdef Py_ssize_t _room
    cdef Py_ssize_t _hand
    cdef Place* _places
    cdef uint32_t _mask

    def __len__(self) -> int:
        return self._used

    def __dealloc__(self):
        cdef Py_ssize_t place
        for place in range(self._used):
            self._end(&self._entries[place])
            Py_DECREF(<object>self._entries[place].key)
        PyMem_RawFree(self._entries)
        PyMem_RawFree(self._places)

    def check(self, key: object, cost: object = 1) -> Decision:
        """Take ``cost`` permits of ``key`` if that many are free. A cost of 0 looks and takes nothing."""
        cdef str name = _key(key)
        cdef long long price = _cost(cost), now = self._now()
        self._sweep(now)
        return self._decide(name, price, now, price > 0)

    def refund(self, key: object, cost: object = 1, at: object = None) -> None:
        """Give back ``cost`` permits that were taken ``at`` (``Decision.at``; just now if None) and not used."""
        cdef str name = _key(key)
        cdef long long price = _cost(cost), now = self._now()
        cdef long long then = now if at is None else at
        cdef Entry* entry = self._find(name)
        if entry is not NULL:
            self._settle(entry, now)
            self._return(entry, price, then, now)

    def charge(self, key: object, cost: object) -> None:
        """Take ``cost`` permits whether or not they are free: what was used beyond what was taken before.

        The debt of a key is at most the limit.
        """
        cdef str name = _key(key)
        cdef long long price = _cost(cost), now = self._now()
        cdef Entry* entry = self._entry(name, now)
        price = min(price, self._free(entry, now) + self.limit)
        if price > 0:
            self._take(entry, price, now)

    cdef int _set(self, long long limit, str name, object clock) except -1:
        self.limit = limit
        self.name = name
        self._clock = clock
        self._system_clock = RATE_LIMIT_CLOCK and clock is _monotonic_ns
        return 0

    cdef inline long long _now(self) except? -1:
        return rate_limit_now() if self._system_clock else self._clock()

    cdef Decision _decide(self, str key, long long cost, long long now, bint taken):
        """Decide on ``cost``; take it if it is allowed and ``taken`` is asked for."""
        cdef Entry* entry = self._find(key)
        cdef long long free
        if entry is NULL:
            if cost > self.limit:
                return _decision(False, self.limit, _NEVER, self.name, now)
            if not taken:
                return _decision(True, self.limit - cost, 0.0, self.name, now)
            entry = self._insert(key)
            self._begin(entry, now)
        else:
            self._settle(entry, now)
        free = self._free(entry, now)
        if cost <= free:
            if taken:
                self._take(entry, cost, now)
            return _decision(True, free - cost, 0.0, self.name, now)
        wait = _NEVER if cost > self.limit else self._wait(entry, cost, now) / 1e9
        return _decision(False, max(free, 0), wait, self.name, now)

    cdef Entry* _entry(self, str key, long long now) except NULL:
        """Return the entry of ``key`` as it is now, a new one if there is none."""
        cdef Entry* entry = self._find(key)
        if entry is not NULL:
            self._settle(entry, now)
            return entry
        entry = self._insert(key)
        self._begin(entry, now)
        return entry

    cdef int _sweep(self, long long now) except -1:
        """Look at the next keys in turn, and drop those of which nothing matters any more."""
        cdef int _
        for _ in range(min(_SWEPT, self._used)):
            if self._hand >= self._used:
                self._hand = 0
            if self._idle(&self._entries[self._hand], now):
                self._drop(self._hand)
            else:
                self._hand += 1
        return 0

    cdef int _begin(self, Entry* entry, long long now) except -1:
        """Make a new entry one that has used nothing."""
        return 0

    cdef void _end(self, Entry* entry) noexcept:
        """Free what an entry holds besides its key."""

    cdef void _settle(self, Entry* entry, long long now) noexcept:
        """Bring an entry up to ``now``; a clock that went back stands still."""

    cdef bint _idle(self, Entry* entry, long long now) noexcept:
        """Return whether the entry equals a new one."""
        return False

    cdef long long _free(self, Entry* entry, long long now) noexcept:
        """Return how many permits are free, negative in debt."""
        return 0

    cdef long long _wait(self, Entry* entry, long long cost, long long now) noexcept:
        """Return the nanoseconds until ``cost`` permits are free, if nobody takes any."""
        return 0

    cdef int _take(self, Entry* entry, long long cost, long long now) except -1:
        return 0

    cdef void _return(self, Entry* entry, long long cost, long long at, long long now) noexcept:
        pass

    # The twin has a dictionary and a list. Here a key costs 32 bytes and 8 for each place of the table, of which
    # three to six eighths are taken.

    cdef inline Entry* _find(self, str key) noexcept:
        """Return the entry of ``key``; NULL if there is none."""
        cdef uint32_t place, half
        cdef Entry* entry
        if self._used == 0:
            return NULL
        half = _half(key)
        place = half & self._mask
        while self._places[place].entry:
            if self._places[place].hash == half:
                entry = &self._entries[self._places[place].entry - 1]
                if entry.key is <PyObject*>key or PyUnicode_Compare(<object>entry.key, key) == 0:
                    return entry
            place = (place + 1) & self._mask
        return NULL

    cdef Entry* _insert(self, str key) except NULL:
        """Append an entry for ``key``, which has none. All numbers in it are 0."""
        cdef Py_ssize_t room
        cdef Entry* entry
        if self._used >= 0xFFFFFFF0:
            raise MemoryError
        if self._used == self._room:
            room = self._room + (self._room >> 3) + 8
            entry = <Entry*>PyMem_RawRealloc(self._entries, room * sizeof(Entry))
            if entry is NULL:
                raise MemoryError
            self._entries = entry
            self._room = room
        if self._places is NULL:
            self._index(7)
        elif self._used >= <Py_ssize_t>(self._mask >> 2) * 3:
            self._index(2 * <uint64_t>self._mask + 1)
        entry = &self._entries[self._used]
        memset(entry, 0, sizeof(Entry))
        entry.key = <PyObject*>key
        Py_INCREF(key)
        self._used += 1
        self._point(_half(key), <uint32_t>self._used)
        return entry

    cdef inline void _point(self, uint32_t half, uint32_t entry) noexcept:
        """Let a free place of the table point to an entry, 1 + where it is."""
        cdef uint32_t place = half & self._mask
        while self._places[place].entry:
            place = (place + 1) & self._mask
        self._places[place].hash = half
        self._places[place].entry = entry

    cdef int _index(self, uint64_t mask) except -1:
        """Make the table one of ``mask`` + 1 places."""
        cdef Place* old = self._places
        cdef uint64_t place, places = <uint64_t>self._mask + 1 if old is not NULL else 0
        cdef Place* new = <Place*>PyMem_RawCalloc(mask + 1, sizeof(Place))
        if new is NULL:
            raise MemoryError
        self._places = new
        self._mask = <uint32_t>mask
        for place in range(places):
            if old[place].entry:
                self._point(old[place].hash, old[place].entry)
        PyMem_RawFree(old)
        return 0

    cdef uint32_t _place_of(self, Py_ssize_t number) noexcept:
        """Return the place of the table that points to the entry of ``number``."""
        cdef uint32_t place = _half(<object>self._entries[number].key) & self._mask
        while self._places[place].entry != <uint32_t>number + 1:
            place = (place + 1) & self._mask
        return place

    cdef int _drop(self, Py_ssize_t number) except -1:
        """Drop an entry, and put the last one where it was."""
        cdef uint32_t hole = self._place_of(number), place = hole, home
        cdef PyObject* key = self._entries[number].key
        cdef Py_ssize_t room
        cdef Entry* entries
        self._end(&self._entries[number])
        # Places behind the hole move up, unless their home lies behind it.
        while True:
            place = (place + 1) & self._mask
            if self._places[place].entry == 0:
                break
            home = self._places[place].hash & self._mask
            if ((place - home) & self._mask) >= ((place - hole) & self._mask):
                self._places[hole] = self._places[place]
                hole = place
        self._places[hole].entry = 0
        self._used -= 1
        if number < self._used:
            self._places[self._place_of(self._used)].entry = <uint32_t>number + 1
            self._entries[number] = self._entries[self._used]
        Py_DECREF(<object>key)
        if self._room > 64 and self._used < self._room >> 1:
            room = self._used + (self._used >> 2)
            entries = <Entry*>PyMem_RawRealloc(self._entries, room * sizeof(Entry))
            if entries is not NULL:
                self._entries = entries
                self._room = room
            if self._mask > 64 and self._used < self._mask >> 2:
                self._index(self._mask >> 1)
        return 0


cdef inline uint32_t _half(object key) noexcept:
    cdef uint64_t whole = <uint64_t>PyObject_Hash(key)
    return <uint32_t>(whole ^ (whole >> 32))


cdef class TokenBucket(_Limit):
    """A bucket for each key: holds ``burst`` permits, and fills at ``rate`` permits a second.

    In any time of t seconds at most burst + rate × t permits are given, less what is refunded in it. ``rate`` is an
    integer, a ``Fraction``, or a float, which is taken as the nearest fraction with a denominator up to a million.
    """

    cdef readonly object rate
    cdef long long _gain
    cdef long long _permit
    cdef long long _capacity
    cdef long long _filled_after

    def __init__(
        self,
        rate: object,
        burst: object,
        *,
        name: str = "",
        clock: object = time.monotonic_ns,
    ) -> None:
        cdef long long most = permits("burst", burst, LARGEST)
        self.rate = fraction("rate", rate)
        self._set(most, name or f"{self.rate}/second, burst {burst}", clock)
        self._gain, self._permit = bucket_units(self.rate, burst)
        self._capacity = most * self._permit
        self._filled_after = 2 * self._capacity // self._gain + 1  # whatever the debt

    # first: when the bucket was filled last; second: units in it

    cdef int _begin(self, Entry* entry, long long now) except -1:
        entry.first = now
        entry.second = self._capacity
        return 0

    cdef void _settle(self, Entry* entry, long long now) noexcept:
        cdef long long elapsed = now - entry.first
        if elapsed > 0:
            entry.first = now
            entry.second = self._filled(entry, elapsed)

    cdef bint _idle(self, Entry* entry, long long now) noexcept:
        return self._filled(entry, now - entry.first) == self._capacity

    cdef inline long long _filled(self, Entry* entry, long long elapsed) noexcept:
        if elapsed >= self._filled_after:
            return self._capacity
        if elapsed <= 0:
            return entry.second
        return min(entry.second + elapsed * self._gain, self._capacity)

    cdef long long _free(self, Entry* entry, long long now) noexcept:
        return _floor(entry.second, self._permit)

    cdef long long _wait(self, Entry* entry, long long cost, long long now) noexcept:
        return -_floor(entry.second - cost * self._permit, self._gain) + max(entry.first - now, 0)

    cdef int _take(self, Entry* entry, long long cost, long long now) except -1:
        entry.second -= cost * self._permit
        return 0

    cdef void _return(self, Entry* entry, long long cost, long long at, long long now) noexcept:
        entry.second = min(entry.second + min(cost, 2 * self.limit) * self._permit, self._capacity)


cdef class SlidingLog(_Limit):
    """At most ``limit`` permits in any ``seconds``, exactly: the time of each is kept, in 16 bytes."""

    cdef readonly long long window

    def __init__(
        self,
        limit: object,
        seconds: object,
        *,
        name: str = "",
        clock: object = time.monotonic_ns,
    ) -> None:
        cdef long long most = permits("limit", limit, LARGEST_LOG)
        self.window = nanoseconds("seconds", seconds)
        self._set(most, name or f"{limit} in {seconds} s", clock)

    # first: permits in the window; second: when the newest was taken

    cdef int _begin(self, Entry* entry, long long now) except -1:
        entry.second = now
        return 0

    cdef void _end(self, Entry* entry) noexcept:
        PyMem_RawFree(<Log*>entry.third)

    cdef void _settle(self, Entry* entry, long long now) noexcept:
        cdef Log* log = <Log*>entry.third
        cdef long long gone = max(now, entry.second) - self.window
        if log is NULL:
            return
        while log.count and log.marks[log.start].time <= gone:
            entry.first -= log.marks[log.start].cost
            log.start = (log.start + 1) & (log.room - 1)
            log.count -= 1

    cdef bint _idle(self, Entry* entry, long long now) noexcept:
        return entry.second <= now - self.window

    cdef long long _free(self, Entry* entry, long long now) noexcept:
        return self.limit - entry.first

    cdef long long _wait(self, Entry* entry, long long cost, long long now) noexcept:
        cdef Log* log = <Log*>entry.third
        cdef long long needed = entry.first + cost - self.limit
        cdef Py_ssize_t number, place = log.start
        for number in range(log.count):
            place = (log.start + number) & (log.room - 1)
            needed -= log.marks[place].cost
            if needed <= 0:
                break
        return log.marks[place].time + self.window - now

    cdef int _take(self, Entry* entry, long long cost, long long now) except -1:
        cdef Log* log = <Log*>entry.third
        cdef Py_ssize_t place
        now = max(now, entry.second)
        if log is NULL or log.count == log.room:
            log = self._grow(entry)
        place = (log.start + log.count - 1) & (log.room - 1)
        if log.count and log.marks[place].time == now:
            log.marks[place].cost += cost
        else:
            place = (log.start + log.count) & (log.room - 1)
            log.marks[place].time = now
            log.marks[place].cost = cost
            log.count += 1
        entry.first += cost
        entry.second = now
        return 0

    cdef Log* _grow(self, Entry* entry) except NULL:
        """Give the log of an entry twice the room, a power of two."""
        cdef Log* old = <Log*>entry.third
        cdef Py_ssize_t number, room = 2 * old.room if old is not NULL else 2
        cdef Log* log = <Log*>PyMem_RawMalloc(sizeof(Log) + (room - 1) * sizeof(Mark))
        if log is NULL:
            raise MemoryError
        log.start = 0
        log.count = old.count if old is not NULL else 0
        log.room = room
        for number in range(log.count):
            log.marks[number] = old.marks[(old.start + number) & (old.room - 1)]
        PyMem_RawFree(old)
        entry.third = <long long>log
        return log

    cdef void _return(self, Entry* entry, long long cost, long long at, long long now) noexcept:
        cdef Log* log = <Log*>entry.third
        cdef Mark* mark
        cdef long long returned
        cdef Py_ssize_t later, number = log.count if log is not NULL else 0
        while cost and number:
            number -= 1
            mark = &log.marks[(log.start + number) & (log.room - 1)]
            if mark.time <= at:
                returned = min(mark.cost, cost)
                entry.first -= returned
                cost -= returned
                mark.cost -= returned
                if mark.cost == 0:
                    for later in range(number + 1, log.count):
                        log.marks[(log.start + later - 1) & (log.room - 1)] = log.marks[
                            (log.start + later) & (log.room - 1)
                        ]
                    log.count -= 1


cdef class SlidingCounter(_Limit):
    """At most ``limit`` permits in any ``seconds``, judged by two counters for each key.

    Time is cut into windows of ``seconds``. The permits of the window before count by the share of it that is still
    inside the last ``seconds``, as if they had been taken evenly; if so, the limit is kept to within one permit. At
    worst (all taken at the end of a window) the last ``seconds`` hold less than twice the limit; all taken at the
    beginning of a window, permits come up to one window later than they would by an exact log.
    """

    cdef readonly long long window
    cdef long long _grain
    cdef long long _grains

    def __init__(
        self,
        limit: object,
        seconds: object,
        *,
        name: str = "",
        clock: object = time.monotonic_ns,
    ) -> None:
        cdef long long most = permits("limit", limit, LARGEST)
        self.window = nanoseconds("seconds", seconds)
        self._set(most, name or f"{limit} in {seconds} s", clock)
        self._grain = window_grain(self.window, most)
        self._grains = -_floor(-self.window, self._grain)

    # first: number of the window; second, third: permits in the one before, and in it

    cdef int _begin(self, Entry* entry, long long now) except -1:
        entry.first = _floor(now, self.window)
        return 0

    cdef void _settle(self, Entry* entry, long long now) noexcept:
        cdef long long passed
        if 0 <= now - entry.first * self.window < self.window:
            return
        passed = _floor(now, self.window) - entry.first
        if passed > 0:
            entry.first += passed
            entry.second = entry.third if passed == 1 else 0
            entry.third = 0

    cdef bint _idle(self, Entry* entry, long long now) noexcept:
        return now >= (entry.first + 2) * self.window

    cdef inline long long _left(self, Entry* entry, long long now) noexcept:
        """Return the nanoseconds until the window ends; all of them if the clock went back behind it."""
        return min((entry.first + 1) * self.window - now, self.window)

    cdef long long _free(self, Entry* entry, long long now) noexcept:
        cdef long long shares
        if entry.second == 0:
            return self.limit - entry.third
        shares = -_floor(-self._left(entry, now), self._grain)
        return self.limit - entry.third + _floor(-entry.second * shares, self._grains)

    cdef long long _wait(self, Entry* entry, long long cost, long long now) noexcept:
        cdef long long end = (entry.first + 1) * self.window
        cdef long long before = entry.second, most = self.limit - cost - entry.third
        if most < 0:  # only in the next window, in which this one is the one before
            before = entry.third
            most = self.limit - cost
            if before <= most:
                return end - now
            end += self.window
        return end - most * self._grains // before * self._grain - now

    cdef int _take(self, Entry* entry, long long cost, long long now) except -1:
        entry.third += cost
        return 0

    cdef void _return(self, Entry* entry, long long cost, long long at, long long now) noexcept:
        cdef long long window = _floor(at, self.window)
        if window >= entry.first:
            entry.third = max(entry.third - cost, 0)
        elif window == entry.first - 1:
            entry.second = max(entry.second - cost, 0)


cdef class Scopes:
    """The limits of a limiter: of each scope those of its keys, with whether they are of tokens; ``"*"`` is all others.

    Scope ``global`` counts every call. ``single`` is the scope of a key that is given as a string.
    """

    cdef dict _scopes
    cdef str _single

    def __init__(self, scopes: dict, single: object) -> None:
        self._scopes = scopes
        self._single = single

    def check(self, key: object, cost: object = 1, tokens: object = 0) -> Decision:
        """Take ``cost`` requests and ``tokens`` from every limit that applies to ``key``, or nothing."""
        cdef _Demands demands = self._asked(key, cost, tokens)
        return demands.taken() if demands.count else _decision(True, _LARGEST, 0.0, "", 0)

    def demands(self, key: object, cost: object, tokens: object) -> list:
        """Return what a call of ``key`` asks of each limit that applies to it: ``(limit, key, cost)``."""
        cdef _Demands asked = self._asked(key, cost, tokens)
        cdef Py_ssize_t number
        return [(asked.limits[number], asked.keys[number], asked.costs[number]) for number in range(asked.count)]

    cdef _Demands _asked(self, key, cost, tokens):
        cdef _Demands demands = _Demands.__new__(_Demands)
        cdef long long requests = _cost(cost), amount = _cost(tokens, "tokens")
        cdef object found
        cdef bint is_text = isinstance(key, str), is_dict = type(key) is dict
        if is_text:
            if self._single is None:
                raise ValueError(f"key must name its scopes, of {sorted(self._scopes)}, got {key!r}")
        elif not is_dict and not isinstance(key, Mapping):
            raise ValueError(f"key must be a string, or a dictionary of strings by scope, got {key!r}")
        for scope, by_key in self._scopes.items():
            if <str>scope == "global":
                found = "global"
            elif is_text:
                found = key if <str>scope == self._single else None
            elif is_dict:
                found = (<dict>key).get(scope)
            else:
                found = key.get(scope)
            if found is None:
                continue
            found = _key(found)
            for limit, of_tokens in (<dict>by_key).get(found) or (<dict>by_key).get("*") or ():
                demands.add(limit, <str>found, amount if of_tokens else requests)
        return demands


cdef class _Demands:
    """What a call asks of several limits."""

    cdef long long costs[64]
    cdef long long nows[64]
    cdef Py_ssize_t count
    cdef list limits
    cdef list keys

    def __cinit__(self):
        self.limits = []
        self.keys = []

    cdef int add(self, _Limit limit, str key, long long cost) except -1:
        if self.count == _DEMANDS:
            raise ValueError(f"key {key!r} has more than {_DEMANDS} limits")
        self.limits.append(limit)
        self.keys.append(key)
        self.costs[self.count] = cost
        self.count += 1
        return 0

    cdef Decision taken(self):
        """Take all or nothing."""
        cdef Py_ssize_t number
        cdef _Limit limit
        cdef Decision decision, refused = None, tightest = None
        for number in range(self.count):
            limit = <_Limit>self.limits[number]
            if number and limit._clock is (<_Limit>self.limits[0])._clock:
                self.nows[number] = self.nows[0]  # the decision tells one time, by which all are refunded
            else:
                self.nows[number] = limit._now()
        if self.count == 1:
            limit = <_Limit>self.limits[0]
            limit._sweep(self.nows[0])
            return limit._decide(<str>self.keys[0], self.costs[0], self.nows[0], self.costs[0] > 0)
        for number in range(self.count):
            limit = <_Limit>self.limits[number]
            limit._sweep(self.nows[number])
            decision = limit._decide(<str>self.keys[number], self.costs[number], self.nows[number], False)
            if not decision.allowed:
                if refused is None or decision.retry_after > refused.retry_after:
                    refused = decision
            elif tightest is None or decision.remaining < tightest.remaining:
                tightest = decision
        if refused is not None:
            return refused
        for number in range(self.count):
            if self.costs[number]:
                limit = <_Limit>self.limits[number]
                limit._take(
                    limit._entry(<str>self.keys[number], self.nows[number]), self.costs[number], self.nows[number]
                )
        return tightest


def take(demands: object) -> Decision:
    """Take the cost of every demand, a ``(limit, key, cost)``, or of none.

    Refused, the decision is that of the limit with the longest wait; else that of the one with least left.
    """
    cdef _Demands asked = _Demands.__new__(_Demands)
    if not 0 < len(demands) <= _DEMANDS:
        raise ValueError(f"demands must be 1 to {_DEMANDS}, got {len(demands)}")
    for limit, key, cost in demands:
        asked.add(limit, _key(key), _cost(cost))
    return asked.taken()


def leased(count: object, remaining: object, limit: object, at: object) -> list:
    """Return the decisions on ``count`` permits that were taken at once, the last one first; ``remaining`` are left."""
    cdef long long number, left = remaining
    return [_decision(True, left + number, 0.0, limit, at) for number in range(<long long>count)]


cdef inline str _key(object key):
    if PyUnicode_CheckExact(key) and key:
        return <str>key
    if not isinstance(key, str) or not key:
        raise ValueError(f"key must be a string that is not empty, got {key!r}")
    return <str>PyUnicode_FromObject(key)  # of a subclass, the exact string: comparing it runs no code of the caller's


cdef inline long long _cost(object cost, str name="cost") except -1:
    cdef long long value
    if type(cost) is int:
        try:
            value = PyLong_AsLongLong(cost)
        except OverflowError:
            value = -1
        if 0 <= value <= _LARGEST:
            return value
    elif isinstance(cost, int):
        return _cost(int(cost), name)
    raise ValueError(f"{name} must be an integer from 0 to {_LARGEST}, got {cost!r}")


cdef inline long long _floor(long long dividend, long long divisor) noexcept:
    """Divide by a positive number as Python does."""
    cdef long long quotient = dividend // divisor
    return quotient - 1 if dividend < 0 and quotient * divisor != dividend else quotient
