"""Several limits decided together: global ones, and those of keys, models, deployments or any other scope."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from litellm_accel.hot import rate_limit
from litellm_accel.ratelimit.queues import Queues, is_final
from litellm_accel.ratelimit.rules import Rule, parse

if TYPE_CHECKING:
    from litellm_accel._py.rate_limit import Decision
    from litellm_accel.ratelimit.redis_store import Lease, RedisStore
    from litellm_accel.ratelimit.rules import Limit

Keys: TypeAlias = "str | Mapping[str, str]"
Demand: TypeAlias = "tuple[Limit, str, int]"

_GLOBAL = "global"
_OTHERS = "*"
_DEFAULT = "key"
_MOST_LEASES = 1024


class Tokens(NamedTuple):
    """Marks ``limit`` as one of tokens: ``Tokens(TokenBucket(1500, burst=90_000))``."""

    limit: Any


class Limiter:
    """Limits of several scopes, decided on together: a call takes from all of them or from none.

    For each scope, ``limits`` has a text (``"60/minute; 90000 tokens/minute"``), a limit, ``Tokens`` of one, a list of
    these, or a dictionary with one of these for each key of the scope and ``"*"`` for all others. Scope ``global``
    counts every call; callers choose the names of the others. ``store`` shares the limits between processes.
    """

    def __init__(
        self,
        limits: Mapping[str, Any],
        *,
        store: RedisStore | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        if not isinstance(limits, Mapping) or not limits:
            raise ValueError(f"limits must be a dictionary of scopes that is not empty, got {limits!r}")
        self._clock = clock
        self._queues = Queues()
        self._store = store
        # By key, so that a permit that was taken ahead is spent without looking at limits.
        self._leases: dict[str, Lease] = {}
        scopes: dict[str, dict[str, list[Rule]]] = {}
        for scope, spec in limits.items():
            if not isinstance(scope, str) or not scope:
                raise ValueError(f"a scope must be a string that is not empty, got {scope!r}")
            scopes[scope] = self._rules_by_key(scope, spec)
        rules = [(scope, rule) for scope, keys in scopes.items() for held in keys.values() for rule in held]
        #: Whether any limit is one of tokens.
        self.counts_tokens = any(rule.of_tokens for _, rule in rules)
        own = [scope for scope in scopes if scope != _GLOBAL]
        single = own[0] if len(own) == 1 else _DEFAULT if _DEFAULT in own or not own else None
        self._scopes = rate_limit.Scopes(scopes, single)
        if store is not None:
            store.adopt(rules)

    def _rules_by_key(self, scope: str, spec: Any) -> dict[str, list[Rule]]:
        if not isinstance(spec, Mapping):
            return {_OTHERS: self._rules(scope, spec)}
        if scope == _GLOBAL:
            raise ValueError("limits: scope 'global' has no keys; give it a text, a limit or a list of these")
        return {_checked(key): self._rules(f"{scope} {key}", one) for key, one in spec.items()}

    def _rules(self, scope: str, spec: Any) -> list[Rule]:
        if isinstance(spec, str):
            rules = parse(spec, clock=self._clock)
            for rule in rules:
                rule.limit.name = f"{scope} {rule.limit.name}"
        elif isinstance(spec, Tokens):
            rules = [rule._replace(of_tokens=True) for rule in self._rules(scope, spec.limit)]
        elif isinstance(spec, Sequence):
            rules = [rule for one in spec for rule in self._rules(scope, one)]
        elif isinstance(spec, (rate_limit.TokenBucket, rate_limit.SlidingLog, rate_limit.SlidingCounter)):
            rules = [Rule(spec, False)]
        else:
            raise ValueError(f"limits: {scope} must be a text, a limit, Tokens or a list of these, got {spec!r}")
        if not rules:
            raise ValueError(f"limits: {scope} has no limit")
        return rules

    def check(self, key: Keys, cost: int = 1, tokens: int = 0) -> Decision:
        """Take ``cost`` requests and ``tokens`` from every limit that applies to ``key``, or nothing.

        ``key`` names the caller's keys by scope. A string is the key of the only scope, or of scope ``key``.
        """
        if self._store is None:
            return self._scopes.check(key, cost, tokens)
        if (permit := self._permit(key, cost, tokens)) is not None:
            return permit
        demands = self._scopes.demands(key, cost, tokens)
        if not demands:
            return self._scopes.check({})
        decision = self._store.take(demands)
        if self._store.leases and type(key) is str and key not in self._leases:
            self._remember(key, demands)
        return decision

    async def check_async(self, key: Keys, cost: int = 1, tokens: int = 0) -> Decision:
        """Check as ``check`` does, without blocking the event loop."""
        if self._store is None:
            return self._scopes.check(key, cost, tokens)
        if (permit := self._permit(key, cost, tokens)) is not None:
            return permit
        demands = self._scopes.demands(key, cost, tokens)
        if not demands:
            return self._scopes.check({})
        decision = await self._store.take_async(demands)
        if self._store.leases and type(key) is str and key not in self._leases:
            self._remember(key, demands)
        return decision

    def _permit(self, key: Keys, cost: int, tokens: int) -> Decision | None:
        """Return a permit for one request of ``key`` that was taken ahead, or None."""
        if type(key) is not str or type(cost) is not int or cost != 1 or type(tokens) is not int or tokens:
            return None
        lease = self._leases.get(key)
        if lease is None:
            return None
        if lease.is_dropped:
            self._leases.pop(key, None)
        return lease.spend()

    def _remember(self, key: str, demands: list[Demand]) -> None:
        """Note by what lease ``key`` is served."""
        assert self._store is not None
        if (lease := self._store.lease(demands)) is not None:
            if len(self._leases) >= _MOST_LEASES:
                self._leases.clear()
            self._leases[key] = lease

    def check_many(self, calls: Sequence[tuple[Keys, int, int]]) -> list[Decision]:
        """Check several ``(key, cost, tokens)``, one after the other; through a store in one round trip."""
        demands = [self._scopes.demands(*call) for call in calls]
        if self._store is None or not all(demands):
            return [self.check(*call) for call in calls]
        return self._store.take_many(demands)

    async def check_many_async(self, calls: Sequence[tuple[Keys, int, int]]) -> list[Decision]:
        """Check as ``check_many`` does, without blocking the event loop."""
        demands = [self._scopes.demands(*call) for call in calls]
        if self._store is None or not all(demands):
            return [await self.check_async(*call) for call in calls]
        return await self._store.take_many_async(demands)

    def acquire(self, key: Keys, cost: int = 1, tokens: int = 0, *, deadline: float | None = None) -> Decision:
        """Wait until ``check`` allows, at most ``deadline`` seconds, in order of arrival for the same keys.

        Returns the last decision: refused if the deadline has passed or the cost can never be allowed.
        """
        seconds = _seconds(deadline)
        if self._queues.is_empty() and is_final(decision := self.check(key, cost, tokens)):
            return decision
        return self._queues.acquire(self._name(key), lambda: self.check(key, cost, tokens), seconds)

    async def acquire_async(
        self, key: Keys, cost: int = 1, tokens: int = 0, *, deadline: float | None = None
    ) -> Decision:
        """Wait as ``acquire`` does, in an event loop; threads and loops wait in one queue."""
        seconds = _seconds(deadline)
        if self._queues.is_empty() and is_final(decision := await self.check_async(key, cost, tokens)):
            return decision
        return await self._queues.acquire_async(self._name(key), lambda: self.check_async(key, cost, tokens), seconds)

    def refund(self, key: Keys, cost: int = 1, tokens: int = 0, *, decision: Decision | None = None) -> None:
        """Give back what was taken by ``decision`` (just now if None) and not used."""
        demands = self._scopes.demands(key, cost, tokens)
        at = None if decision is None else decision.at
        if self._store is None:
            for limit, name, amount in demands:
                limit.refund(name, amount, at)
        else:
            self._store.refund(demands, at)
        self._queues.wake()

    async def refund_async(
        self, key: Keys, cost: int = 1, tokens: int = 0, *, decision: Decision | None = None
    ) -> None:
        """Give back as ``refund`` does, without blocking the event loop."""
        if self._store is None:
            self.refund(key, cost, tokens, decision=decision)
            return
        await self._store.refund_async(
            self._scopes.demands(key, cost, tokens), None if decision is None else decision.at
        )
        self._queues.wake()

    def charge(self, key: Keys, cost: int = 0, tokens: int = 0) -> None:
        """Take what was used in addition, whether or not it is free. A key in debt is refused until it recovers."""
        demands = self._scopes.demands(key, cost, tokens)
        if self._store is None:
            for limit, name, amount in demands:
                limit.charge(name, amount)
        else:
            self._store.charge(demands)

    async def charge_async(self, key: Keys, cost: int = 0, tokens: int = 0) -> None:
        """Take as ``charge`` does, without blocking the event loop."""
        if self._store is None:
            self.charge(key, cost, tokens)
        else:
            await self._store.charge_async(self._scopes.demands(key, cost, tokens))

    def _name(self, key: Keys) -> tuple[Any, ...]:
        """Return the name of the queue that calls with these keys wait in."""
        return tuple((id(limit), name) for limit, name, _ in self._scopes.demands(key, 0, 0))


def _checked(key: Any) -> str:
    if not isinstance(key, str) or not key:
        raise ValueError(f"key must be a string that is not empty, got {key!r}")
    return key


def _seconds(deadline: float | None) -> float:
    if deadline is None:
        return math.inf
    if not isinstance(deadline, (int, float)) or not deadline >= 0:
        raise ValueError(f"deadline must be a number of seconds from 0 on, got {deadline!r}")
    return deadline
