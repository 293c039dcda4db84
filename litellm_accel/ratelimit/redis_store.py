"""Limits shared by many processes through Redis: one script a check, by the server's clock.

Redis may be slow or down: a check waits for it no longer than the deadline, and a breaker keeps checks from waiting
again and again. Nothing is retried.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from importlib import resources
from math import gcd
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

try:
    import redis
    import redis.asyncio
    from redis.backoff import NoBackoff
    from redis.exceptions import NoScriptError
    from redis.retry import Retry
except ImportError as error:
    raise ImportError("RedisStore needs redis-py: pip install 'litellm-accel[redis]'") from error

try:
    from async_timeout import timeout  # which redis-py requires where Python's is missing or has a bug
except ImportError:
    from asyncio import timeout  # type: ignore[attr-defined]

from litellm_accel.hot import rate_limit
from litellm_accel.ratelimit.connections import AsyncConnections, Connections

if TYPE_CHECKING:
    from litellm_accel._py.rate_limit import Decision
    from litellm_accel.ratelimit.limiter import Demand
    from litellm_accel.ratelimit.rules import Limit, Rule

logger = logging.getLogger("litellm_accel.ratelimit")

_SCRIPT = resources.files(__package__).joinpath("script.lua").read_text("utf-8")
_SHA = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()
_EXACT = 1 << 53  # Lua counts exactly up to this
_MICROSECONDS = 1_000_000

# So many failures in a row open the breaker, at first and at most for so many seconds.
_FAILURES = 3
_FIRST_PAUSE = 1.0
_LAST_PAUSE = 30.0
# A lease is valid for so many seconds.
_LEASE_SECONDS = 1.0

OnFailure = Literal["fail_open", "fail_closed", "local"]


class State(NamedTuple):
    """Whether Redis is being asked, how often it has failed since the store was made, and the last failure."""

    available: bool
    failures: int
    last_failure: str


class _Terms(NamedTuple):
    """A limit as the script knows it: the prefix of its keys, its numbers, and this process's share of it."""

    prefix: str
    numbers: tuple[Any, ...]
    share: Limit


class _Breaker:
    """Keeps calls away from a failing Redis, and lets one try it from time to time."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._pause = _FIRST_PAUSE
        self._closed_until = 0.0
        self._is_trying = False
        self.failures = 0
        self.last_failure = ""

    @property
    def remaining(self) -> float:
        """Seconds until Redis is asked again."""
        return max(self._closed_until - time.monotonic(), 0.0)

    def allows(self) -> bool:
        if self._in_a_row < _FAILURES:
            return True
        if self.remaining:
            return False
        self._closed_until = time.monotonic() + self._pause  # for all other calls while this one tries
        self._is_trying = True
        return True

    def succeeded(self) -> None:
        if self._in_a_row >= _FAILURES:
            logger.warning("Redis answers again: limits are shared")
        self._in_a_row = 0
        self._pause = _FIRST_PAUSE
        self._is_trying = False

    def failed(self, error: BaseException) -> None:
        self.failures += 1
        self.last_failure = f"{type(error).__name__}: {error}"[:200]
        self._in_a_row += 1
        if self._in_a_row == _FAILURES:
            logger.warning("Redis fails (%s): it is left alone for a while", self.last_failure)
        elif self._is_trying:
            self._pause = min(2 * self._pause, _LAST_PAUSE)
            self._is_trying = False
        else:  # too few failures, or the call was sent before the breaker opened
            return
        self._closed_until = time.monotonic() + self._pause


class Lease:
    """Permits taken in advance for calls of one kind, to be spent in this process, as decisions."""

    __slots__ = ("_command", "_size", "is_dropped", "permits", "renewed_until", "size", "until")

    def __init__(self) -> None:
        self.size = 0
        self._size = 0
        self._command: list[Any] = []
        self.is_dropped = False  # the store has forgotten it
        self.permits: list[Decision] = []  # whoever pops a decision owns it, whatever other threads do
        self.until = 0.0
        self.renewed_until = 0.0

    def command(self, make: Callable[[int], list[Any]]) -> list[Any]:
        """Return the command that takes as many permits as it is to have, which ``make`` makes."""
        if self._size != self.size:
            self._size, self._command = self.size, make(self.size)
        return self._command

    def spend(self) -> Decision | None:
        """Return a permit that is still good, or None."""
        if self.permits and self.until > time.monotonic():
            try:
                return self.permits.pop()
            except IndexError:  # the last one went to another thread
                pass
        return None

    def unspent(self) -> tuple[int, int]:
        """Take out the unspent permits; return how many there were and when they were taken."""
        count = at = 0
        while self.permits:
            try:
                at = self.permits.pop().at
            except IndexError:
                break
            count += 1
        return count, at


class RedisStore:
    """Keeps the limits of a ``Limiter`` in the Redis at ``url``, for all processes whose store has the same ``name``.

    A check waits for Redis at most ``deadline`` seconds. If Redis is slow or down, ``on_failure`` decides: everything
    is allowed (``fail_open``), nothing is (``fail_closed``), or each process enforces its own share of the limits,
    divided by ``processes`` (``local``).

    With ``lease`` above 1, a process takes up to so many permits at a time for busy keys, and spends them within a
    second. A window may then contain up to processes × (lease - 1) permits more than the limit, and as many may lie
    unused.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str = "litellm-accel",
        deadline: float = 0.05,
        on_failure: OnFailure = "local",
        processes: int = 1,
        lease: int = 1,
    ) -> None:
        if not isinstance(name, str) or not name or set(name) & set("{}"):
            raise ValueError(f"name must be a string that is not empty, without braces, got {name!r}")
        if not isinstance(deadline, (int, float)) or not 0 < deadline < math.inf:
            raise ValueError(f"deadline must be a positive number of seconds, got {deadline!r}")
        if on_failure not in ("fail_open", "fail_closed", "local"):
            raise ValueError(f"on_failure must be 'fail_open', 'fail_closed' or 'local', got {on_failure!r}")
        for what, value in (("processes", processes), ("lease", lease)):
            if not isinstance(value, int) or not 1 <= value <= 1_000_000:
                raise ValueError(f"{what} must be an integer from 1 to 1000000, got {value!r}")
        self._url = url
        self._deadline = deadline
        self._on_failure = on_failure
        self._processes = processes
        self._most = lease
        #: Whether permits are taken in advance.
        self.leases = lease > 1
        self._prefix = f"{{{name}}}"  # all keys in one slot of a cluster, as one script reads them
        self._breaker = _Breaker()
        self._terms: dict[Limit, _Terms] = {}
        self._lock = threading.Lock()
        self._leases: dict[tuple[Demand, ...], Lease] = {}
        self._timeouts = {"socket_timeout": deadline, "socket_connect_timeout": deadline}
        pool = redis.ConnectionPool.from_url(url, retry=Retry(NoBackoff(), 0), **self._timeouts)
        self._connections = Connections(pool)
        self._loop_connections: dict[asyncio.AbstractEventLoop, AsyncConnections] = {}

    @property
    def state(self) -> State:
        """Whether Redis is being asked, and the last failure."""
        breaker = self._breaker
        return State(not breaker.remaining, breaker.failures, breaker.last_failure)

    def close(self) -> None:
        """Close the connections of threads."""
        self._connections.close()

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        connections = self._loop_connections.pop(asyncio.get_running_loop(), None)
        if connections is not None:
            await connections.aclose()

    def adopt(self, rules: Sequence[tuple[str, Rule]]) -> None:
        """Adopt the limits of a limiter, by scope. Raises ``ValueError`` if Redis cannot count one exactly."""
        for scope, rule in rules:
            numbers = _numbers(rule.limit)
            kind, limit, first, second = numbers
            what = f"{scope}.tokens" if rule.of_tokens else scope
            prefix = f"{self._prefix}:{what}:{kind}{limit}/{first}/{second}:"
            self._terms[rule.limit] = _Terms(prefix, numbers, _share(rule.limit, self._processes))

    def lease(self, demands: list[Demand]) -> Lease | None:
        """Return the lease that calls with these demands spend, None where there is none."""
        return self._leases.get(tuple(demands))

    def take(self, demands: list[Demand]) -> Decision:
        """Take the cost of every demand or of none."""
        leased = self._spend(demands)
        if isinstance(leased, rate_limit.Decision):
            return leased
        commands = self._commands(demands, leased)
        return self._told(demands, leased, self._run(commands))

    async def take_async(self, demands: list[Demand]) -> Decision:
        """Take as ``take`` does, without blocking the event loop."""
        leased = self._spend(demands)
        if isinstance(leased, rate_limit.Decision):
            return leased
        commands = self._commands(demands, leased)
        return self._told(demands, leased, await self._run_async(commands))

    def take_many(self, calls: Sequence[list[Demand]]) -> list[Decision]:
        """Take for each of ``calls``, in one round trip."""
        replies = self._run([self._command("take", 1, demands) for demands in calls])
        return [self._decision(demands, replies and reply) for demands, reply in _beside(calls, replies)]

    async def take_many_async(self, calls: Sequence[list[Demand]]) -> list[Decision]:
        """Take for each of ``calls``, in one round trip, without blocking the event loop."""
        replies = await self._run_async([self._command("take", 1, demands) for demands in calls])
        return [self._decision(demands, replies and reply) for demands, reply in _beside(calls, replies)]

    def refund(self, demands: list[Demand], at: int | None) -> None:
        """Give back what was taken ``at``, to Redis or to this process's share."""
        if at is not None and at <= 0:
            self._refund_share(demands, at)
        elif demands:
            self._run([self._command("return", "" if at is None else at, demands)])

    async def refund_async(self, demands: list[Demand], at: int | None) -> None:
        """Give back as ``refund`` does, without blocking the event loop."""
        if at is not None and at <= 0:
            self._refund_share(demands, at)
        elif demands:
            await self._run_async([self._command("return", "" if at is None else at, demands)])

    def charge(self, demands: list[Demand]) -> None:
        """Take the cost of every demand, whether or not it is free."""
        if demands and self._run([self._command("charge", "", demands)]) is None:
            self._charge_share(demands)

    async def charge_async(self, demands: list[Demand]) -> None:
        """Take as ``charge`` does, without blocking the event loop."""
        if demands and await self._run_async([self._command("charge", "", demands)]) is None:
            self._charge_share(demands)

    def _command(self, what: str, how: Any, demands: Sequence[Demand], times: int = 1) -> list[Any]:
        """Return the arguments of the script: the number of keys, the keys, and what to do with them."""
        command: list[Any] = [len(demands)]
        arguments: list[Any] = [what, how]
        for limit, key, cost in demands:
            prefix, numbers, _ = self._terms[limit]
            command.append((prefix + key).encode("utf-8", "surrogatepass"))  # any text is a key
            arguments += numbers
            arguments.append(times * cost)
        return command + arguments

    def _run(self, commands: list[list[Any]]) -> list[Any] | None:
        """Return Redis's replies to the commands, or None if it is not asked or fails."""
        if not self._breaker.allows():
            return None
        ask = self._connections.ask
        try:
            replies = ask([("EVALSHA", _SHA, *command) for command in commands])
            for place, reply in enumerate(replies):
                if isinstance(reply, NoScriptError):
                    (replies[place],) = ask([("EVAL", _SCRIPT, *commands[place])])
                if isinstance(replies[place], Exception):
                    raise replies[place]
        except Exception as error:
            self._breaker.failed(error)
            return None
        self._breaker.succeeded()
        return replies

    async def _run_async(self, commands: list[list[Any]]) -> list[Any] | None:
        """Do what ``_run`` does; the deadline holds for all commands together."""
        if not self._breaker.allows():
            return None
        connections = self._loop_connections.get(asyncio.get_running_loop())
        ask = (connections or self._connect_loop()).ask
        try:
            async with timeout(self._deadline):
                replies = await ask([("EVALSHA", _SHA, *command) for command in commands])
                for place, reply in enumerate(replies):
                    if isinstance(reply, NoScriptError):
                        (replies[place],) = await ask([("EVAL", _SCRIPT, *commands[place])])
                    if isinstance(replies[place], Exception):
                        raise replies[place]
        except Exception as error:
            self._breaker.failed(error)
            return None
        self._breaker.succeeded()
        return replies

    def _connect_loop(self) -> AsyncConnections:
        """Return connections for the running event loop, and forget those of loops that were closed."""
        for loop in [loop for loop in list(self._loop_connections) if loop.is_closed()]:
            self._loop_connections.pop(loop, None)
        pool = redis.asyncio.ConnectionPool.from_url(
            self._url, retry=redis.asyncio.retry.Retry(NoBackoff(), 0), **self._timeouts
        )
        connections = self._loop_connections[asyncio.get_running_loop()] = AsyncConnections(pool)
        return connections

    def _decision(self, demands: Sequence[Demand], reply: Any) -> Decision:
        """Return the decision in ``reply``; without a reply, what ``on_failure`` asks for."""
        if reply is not None:
            allowed, which, remaining, wait, now, _ = reply
            retry_after = math.inf if wait < 0 else wait / 1e6
            return rate_limit.Decision(bool(allowed), remaining, retry_after, demands[which][0].name, now)
        if self._on_failure == "fail_open":
            return rate_limit.Decision(True, 0, 0.0, "", 0)
        if self._on_failure == "fail_closed":
            return rate_limit.Decision(False, 0, self._breaker.remaining or self._deadline, "", 0)
        told = rate_limit.take([(self._terms[limit].share, key, cost) for limit, key, cost in demands])
        # Times below 0 are those of shares, from 0 on those of Redis; 0 itself took nothing.
        return rate_limit.Decision(told.allowed, told.remaining, told.retry_after, told.limit, -told.at)

    def _refund_share(self, demands: Sequence[Demand], at: int) -> None:
        if at < 0:
            for limit, key, cost in demands:
                self._terms[limit].share.refund(key, cost, -at)

    def _charge_share(self, demands: Sequence[Demand]) -> None:
        if self._on_failure == "local":
            for limit, key, cost in demands:
                self._terms[limit].share.charge(key, cost)

    def _spend(self, demands: list[Demand]) -> Decision | Lease | None:
        """Return a decision from a lease, or the lease to be renewed, or None if there is no lease for this call."""
        if not self.leases:
            return None
        for _, _, cost in demands:
            if cost > 1:
                return None
        name = tuple(demands)
        lease = self._leases.get(name)
        if lease is not None and (permit := lease.spend()) is not None:
            return permit
        now = time.monotonic()
        with self._lock:
            if lease is None:
                lease = self._leases.setdefault(name, Lease())
            if lease.renewed_until > now:  # by another thread or task
                return None
            lease.renewed_until = now + 10 * self._deadline  # it may be cancelled
        return lease

    def _commands(self, demands: list[Demand], lease: Lease | None) -> list[list[Any]]:
        """Return the commands for Redis, including the return of permits whose leases have expired."""
        if lease is None:
            return [self._command("take", 1, demands)]
        commands = []
        name, now = tuple(demands), time.monotonic()
        with self._lock:
            busy = not lease.permits and lease.until > now
            lease.size = min(max(2 * lease.size, 1), self._most) if busy else 1
            self._leases.pop(name, None)  # those that were unused for longest come first
            for held, other in ((name, lease), *itertools.islice(self._leases.items(), 2)):
                if other.permits and other.until <= now:
                    unspent, at = other.unspent()
                    commands.append(self._command("return", at, held, unspent))
                if other is not lease and max(other.until, other.renewed_until) <= now:
                    del self._leases[held]
                    other.is_dropped = True
            self._leases[name] = lease
        commands.append(lease.command(lambda size: self._command("take", size, demands)))
        return commands

    def _told(self, demands: list[Demand], lease: Lease | None, replies: list[Any] | None) -> Decision:
        if lease is None or replies is None or not replies[-1][0]:
            permits = [self._decision(demands, replies and replies[-1])]
        else:
            _, which, remaining, _, now, times = replies[-1]
            permits = rate_limit.leased(times, remaining, demands[which][0].name, now)
        decision = permits.pop()
        if lease is not None:
            with self._lock:
                lease.permits = permits
                lease.until = time.monotonic() + _LEASE_SECONDS
                lease.renewed_until = 0.0
        return decision


def _beside(calls: Sequence[list[Demand]], replies: list[Any] | None) -> zip[tuple[list[Demand], Any]]:
    return zip(calls, [None] * len(calls) if replies is None else replies, strict=True)


def _numbers(limit: Any) -> tuple[str, int, int, int]:
    """Return a limit in the form that the script takes."""
    if isinstance(limit, rate_limit.TokenBucket):
        common = gcd(limit.rate.numerator, limit.rate.denominator * _MICROSECONDS)
        gain, permit = limit.rate.numerator // common, limit.rate.denominator * _MICROSECONDS // common
        if limit.limit * permit >= _EXACT >> 1 or gain >= _EXACT >> 1:
            raise ValueError(f"limit {limit.name!r} is too large, or its rate too odd a fraction, for Redis")
        return "b", limit.limit, gain, permit
    window = -(-limit.window // 1000)
    if isinstance(limit, rate_limit.SlidingLog):
        return "l", limit.limit, window, 0
    grain = 1
    while -(-window // grain) > (_EXACT >> 1) // limit.limit and grain < window:
        grain *= 2
    return "c", limit.limit, window, grain


def _share(limit: Any, processes: int) -> Any:
    """Return one of ``processes`` equal parts of ``limit``, at least one permit."""
    part = max(limit.limit // processes, 1)
    if isinstance(limit, rate_limit.TokenBucket):
        return rate_limit.TokenBucket(limit.rate / processes, part, name=limit.name)
    return type(limit)(part, Fraction(limit.window, 1_000_000_000), name=limit.name)
