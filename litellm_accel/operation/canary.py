"""Mode ``canary``: the share of a component grows while its calls are shown to be no worse than stock's.

Two things are compared on the same traffic: the failure rate of calls that were admitted with that of calls that the
share left to stock, and the proportion of calls slower than stock's 95th percentile, among served calls and among those
left to stock. The test is exact and one-sided: given the number of failed (or slow) calls on both sides together, the
number among the accelerated ones is binomial if they are no worse. A step is judged when its calls reach ``min_calls``,
each time their number has doubled since, and at its end. A probability below ``ALPHA`` takes the share back to 0 for
good. So does a failure rate that is significantly above both ``max_error_rate`` and stock's, and so does an open
breaker.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from litellm_accel import activation
from litellm_accel.hot import gate as hot_gate
from litellm_accel.operation.latency import bucket_at
from litellm_accel.operation.modes import Mode
from litellm_accel.operation.schema import ComponentSettings
from litellm_accel.operation.ticker import TICKER

ALPHA = 0.001
_SECONDS = 1.0
_SLOW = 0.95
_logger = logging.getLogger("litellm_accel")


class Calls(NamedTuple):
    """Calls of one side: their number, how many of them failed, and the buckets that their times are in."""

    calls: int
    errors: int
    buckets: Sequence[int]

    @classmethod
    def of(cls, side: hot_gate.Side) -> Calls:
        """Return all calls of a side so far."""
        buckets = side.buckets
        return cls(sum(buckets), side.errors, buckets)

    def since(self, before: Calls) -> Calls:
        """Return the calls that were not in ``before``."""
        buckets = [now - then for now, then in zip(self.buckets, before.buckets, strict=True)]
        return Calls(self.calls - before.calls, self.errors - before.errors, buckets)

    def slower_than(self, bucket: int) -> int:
        """Return how many calls are in later buckets."""
        return sum(self.buckets[bucket + 1 :])


def chance(successes: int, trials: int, share: float) -> float:
    """Return the probability of at least this many successes in this many trials that each succeed with ``share``."""
    if successes <= trials * share or not 0 < share < 1:
        return 1.0
    logarithm = (
        math.lgamma(trials + 1)
        - math.lgamma(successes + 1)
        - math.lgamma(trials - successes + 1)
        + successes * math.log(share)
        + (trials - successes) * math.log1p(-share)
    )
    term = total = math.exp(logarithm)
    odds = share / (1 - share)
    for number in range(successes, trials):
        term *= (trials - number) / (number + 1) * odds
        total += term
        if term < total * 1e-12:
            break
    return min(total, 1.0)


class Canary(Mode):
    """A share that grows step by step, and goes back to 0 if it does harm."""

    measures = True

    def __init__(
        self,
        name: str,
        gate: hot_gate.Gate,
        settings: ComponentSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name, gate, settings)
        self._clock = clock
        first = settings.steps[0] if settings.percent is None else settings.percent
        self._steps = [first, *(step for step in settings.steps if step > first)]
        self._step = 0
        self._began = 0.0
        self._next = 0
        self._sides: tuple[hot_gate.Side, ...] = ()
        self._has_left = False
        self.outcome = ""

    def __str__(self) -> str:
        return f"canary {self._steps[self._step]:g} %" if not self.outcome else f"canary: {self.outcome}"

    def enter(self) -> None:
        """Begin with the first share."""
        self.gate.measure(True)
        self._begin(0)
        TICKER.every(_SECONDS, f"canary {self.name}", self.look)

    def leave(self) -> None:
        """Stop judging."""
        self._has_left = True
        TICKER.stop(f"canary {self.name}")

    def look(self) -> None:
        """Judge the share, and widen it or take it back."""
        with activation.locked():
            if not self.outcome and not self._has_left:
                self._look()

    def _look(self) -> None:
        if self.gate.is_open:
            self._roll_back(f"its breaker has opened: {self.gate.last_fault}")
            return
        if self.gate.sides is not self._sides:  # the counters were reset
            self._begin(self._step)
            return
        served, left, stock = self._calls()
        is_over = self._clock() - self._began >= self.settings.step_seconds and served.calls >= self.settings.min_calls
        if served.calls < self._next and not is_over:
            return
        self._next = max(2 * served.calls, self.settings.min_calls)
        reason = self._worse(served, left, stock)
        if reason is not None:
            self._roll_back(reason)
        elif is_over:
            self._widen()

    def _begin(self, step: int) -> None:
        self._step = step
        self._began = self._clock()
        self._next = self.settings.min_calls
        if self.gate.sides is not self._sides:
            assert self.gate.sides is not None
            self._sides = self.gate.sides
            self._stock = Calls.of(self._sides[2])
        self._before = [Calls.of(side) for side in self._sides[:2]]
        self.share(self._steps[step])

    def _calls(self) -> tuple[Calls, Calls, Calls]:
        """Return calls served and left to stock in this step, and those that all shares so far left to stock."""
        served, left = (Calls.of(side).since(before) for side, before in zip(self._sides, self._before, strict=False))
        return served, left, Calls.of(self._sides[2]).since(self._stock)

    def _worse(self, served: Calls, left: Calls, stock: Calls) -> str | None:
        """Return what is worse on the accelerated side than in stock, or None."""
        calls, errors = served.calls + left.calls, served.errors + left.errors
        both = calls + stock.calls
        rates = f"{errors} of {calls} calls failed, of stock's {stock.errors} of {stock.calls}"
        if stock.calls and chance(errors, errors + stock.errors, calls / both) < ALPHA:
            return rates
        allowed = max(self.settings.max_error_rate, stock.errors / stock.calls if stock.calls else 0.0)
        if errors and (chance(errors, calls, allowed) < ALPHA or allowed == 0):
            return f"{rates}; at most {allowed:.2%} may"
        slow = bucket_at(stock.buckets, _SLOW)
        ours, theirs = served.slower_than(slow), stock.slower_than(slow)
        both = served.calls + stock.calls
        if stock.calls and chance(ours, ours + theirs, served.calls / both) < ALPHA:
            return f"{ours} of {served.calls} calls took longer than stock's p95, of stock's {theirs} of {stock.calls}"
        return None

    def _widen(self) -> None:
        if self._step + 1 < len(self._steps):
            self._begin(self._step + 1)
            _logger.warning("litellm-accel: %s: %s", self.name, self)
        else:
            self._end(f"done at {self._steps[self._step]:g} %")

    def _roll_back(self, reason: str) -> None:
        self.share(0.0)
        self._end(f"back to 0 % at {self._steps[self._step]:g} %: {reason}")

    def _end(self, outcome: str) -> None:
        self.outcome = outcome
        self.leave()
        _logger.warning("litellm-accel: %s: %s", self.name, self)
