"""The gate every accelerated call passes: switch, share, breaker, counters and latencies of one component."""

from __future__ import annotations

import logging
import time
import zlib
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

__all__ = [
    "DECLINED",
    "AsyncCall",
    "AsyncDoor",
    "Door",
    "Followed",
    "Gate",
    "Passing",
    "PureCall",
    "Ready",
    "Side",
    "place_of",
]

# Of each reason, so many of the things that it is about are told apart.
_MAX_SUBJECTS = 100
# Buckets of latencies: 32 for each doubling, up to 2**44 nanoseconds.
_BUCKETS = 1280
_LONGEST = (1 << 44) - 1
# What a gate does with calls: serves all of them, none, or looks closer at each.
_PLAIN, _OFF, _WATCHED = 0, 1, 2
# What ``admits`` says of a call.
_NO, _YES, _TRIAL = 0, 1, 2
# Sides of calls: served, left to stock for a reason, left to stock because of the share.
_SERVED, _LEFT, _BYPASSED = 0, 1, 2
_EVERYONE = 1 << 32
# Of the calls by a door in threads, one in so many has its CPU time taken, for which the kernel is asked.
_CPU_SAMPLE = 16

_logger = logging.getLogger("litellm_accel")


class _Declined:
    __slots__ = ()

    def __repr__(self) -> str:
        return "DECLINED"

    def __reduce__(self) -> str:
        return "DECLINED"


DECLINED = _Declined()


def place_of(key: object) -> int:
    """Return the place of ``key`` among 2**32: CRC-32 of its text in UTF-8, mixed by MurmurHash3's 32-bit finalizer.

    It is the same in every process and release. A share of calls are those whose places are lowest.
    """
    place = zlib.crc32((key if isinstance(key, str) else str(key)).encode("utf-8", "surrogatepass"))
    place = ((place ^ place >> 16) * 0x85EBCA6B) & 0xFFFFFFFF
    place = ((place ^ place >> 13) * 0xC2B2AE35) & 0xFFFFFFFF
    return place ^ place >> 16


class Side:
    """How long calls of one side took, and how many failed, in memory of fixed size.

    Latencies are counted in ``buckets``, 32 for each doubling: the middle of a bucket is within 1.6 % of all in it. CPU
    time is counted alike in ``cpu_buckets``, of the calls of which it was taken.
    """

    __slots__ = (
        "_buckets",
        "_cpu_buckets",
        "calls",
        "cpu_calls",
        "cpu_nanoseconds",
        "errors",
        "nanoseconds",
        "slowest",
    )

    def __init__(self) -> None:
        self.calls = 0
        self.errors = 0
        self.nanoseconds = 0
        self.slowest = 0
        self.cpu_calls = 0
        self.cpu_nanoseconds = 0
        self._buckets = [0] * _BUCKETS
        self._cpu_buckets = [0] * _BUCKETS

    @property
    def buckets(self) -> list[int]:
        """How many calls are in each bucket."""
        return self._buckets.copy()

    @property
    def cpu_buckets(self) -> list[int]:
        """How many calls are in each bucket of CPU time."""
        return self._cpu_buckets.copy()

    def record(self, nanoseconds: int, failed: bool, cpu_nanoseconds: int) -> None:
        """Count a call that took so long, and so much of a CPU's time; less than 0 if that was not taken."""
        if nanoseconds < 0:
            nanoseconds = 0
        if nanoseconds > _LONGEST:
            nanoseconds = _LONGEST
        self._buckets[_bucket(nanoseconds)] += 1
        self.calls += 1
        self.nanoseconds += nanoseconds
        if nanoseconds > self.slowest:
            self.slowest = nanoseconds
        if failed:
            self.errors += 1
        if cpu_nanoseconds >= 0:
            self._cpu_buckets[_bucket(min(cpu_nanoseconds, _LONGEST))] += 1
            self.cpu_calls += 1
            self.cpu_nanoseconds += cpu_nanoseconds


def _bucket(nanoseconds: int) -> int:
    exponent = nanoseconds.bit_length() - 6
    if exponent < 0:
        exponent = 0
    return exponent * 32 + (nanoseconds >> exponent)


class Passing:
    """A call on its way through ``gate``: which ``side`` it is on, why, and whether it is still running."""

    __slots__ = ("gate", "live", "reason", "side", "trial")

    def __init__(self, gate: Gate, side: int, trial: bool = False) -> None:
        self.gate = gate
        self.side = side
        self.trial = trial
        self.live = True
        self.reason: object = None


_passing: ContextVar[Passing | None] = ContextVar("litellm_accel_passing", default=None)


class Gate:
    """Switch, share, breaker and counters of one component.

    ``on`` is true while the component is switched on, has a share of the calls, and its breaker is closed.
    ``max_faults`` internal faults within ``window`` seconds open the breaker. After ``cooldown`` seconds one call is
    tried; it closes the breaker or opens it for as long again. ``reset_errors()`` closes it. Counters only grow:
    ``served``, ``declined`` (by reason), ``bypassed`` (left to stock because of the share), ``faults``.
    """

    __slots__ = (
        "_calls",
        "_declined",
        "_fault_times",
        "_is_trying",
        "_opened",
        "_path",
        "_state",
        "_subjects",
        "_switched_on",
        "_threshold",
        "_tried",
        "bypassed",
        "clock",
        "cooldown",
        "faults",
        "is_open",
        "last_fault",
        "last_reason",
        "max_faults",
        "name",
        "observer",
        "on",
        "served",
        "shadow",
        "sides",
        "window",
    )

    def __init__(
        self,
        name: str,
        max_faults: int = 10,
        window: float = 60.0,
        cooldown: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_faults < 1:
            raise ValueError(f"max_faults must be at least 1, got {max_faults}")
        self.name = name
        self.max_faults = max_faults
        self.window = window
        self.cooldown = cooldown
        self.clock = clock
        self.on = False
        self.is_open = False
        self.served = 0
        self.bypassed = 0
        self.faults = 0
        self.last_fault = ""
        self.last_reason: object = None
        self.sides: tuple[Side, Side, Side] | None = None
        self.shadow: Any = None
        self.observer: Any = None
        self._switched_on = False
        self._state = _OFF
        self._threshold = _EVERYONE
        self._path: tuple[str, ...] = ("litellm_call_id",)
        self._calls = 0
        self._opened = 0.0
        self._is_trying = False
        self._tried = 0.0
        self._fault_times: deque[float] = deque(maxlen=max_faults)
        self._declined: dict[Any, int] = {}
        self._subjects: dict[Any, int] = {}

    def __repr__(self) -> str:
        return f"<Gate {self.name!r} {'on' if self.on else 'off'}>"

    def switch(self, on: bool) -> None:
        """Switch the component on or off; an open breaker keeps ``on`` false."""
        self._switched_on = on
        self._settle()

    def limit(self, max_faults: int, window: float, cooldown: float) -> None:
        """Set what opens the breaker, and for how long."""
        self.max_faults = max_faults
        self.window = window
        self.cooldown = cooldown
        self._fault_times = deque(self._fault_times, maxlen=max_faults)

    def set_share(self, share: float, path: tuple[str, ...] = ("litellm_call_id",)) -> None:
        """Admit that ``share`` of calls, from 0 to 1, by the place of what is found at ``path`` in their arguments.

        Calls that have nothing there are admitted in turn.
        """
        self._path = path
        self._threshold = int(share * _EVERYONE)
        self._settle()

    def measure(self, wanted: bool) -> None:
        """Take the time of each call from now on, or no longer; what was taken is forgotten then."""
        if wanted != (self.sides is not None):
            self.sides = (Side(), Side(), Side()) if wanted else None
        self._settle()

    def compare_with(self, shadow: Any) -> None:
        """Have calls that stock serves computed beside it by ``shadow``, None: no longer."""
        self.shadow = shadow
        self._settle()

    def observe_with(self, observer: Any) -> None:
        """Tell ``observer(gate, side, reason, nanoseconds)`` of each call, None: no longer."""
        self.observer = observer
        self._settle()

    def _settle(self) -> None:
        """Derive from all that is set what happens to calls."""
        has_share = self._switched_on and self._threshold > 0
        self.on = has_share and (not self.is_open or self._is_trying)
        if not self._switched_on:
            self._state = _OFF
        elif self.sides is not None or self.observer is not None or self.shadow is not None or self.is_open:
            self._state = _WATCHED
        elif self._threshold >= _EVERYONE:
            self._state = _PLAIN
        else:
            self._state = _WATCHED if has_share else _OFF

    def reset_errors(self) -> None:
        """Forget all faults and close the breaker."""
        self.faults = 0
        self.last_fault = ""
        self._fault_times.clear()
        self.is_open = self._is_trying = False
        self._settle()

    def clear(self) -> None:
        """Set every counter to zero and close the breaker."""
        self.served = 0
        self.bypassed = 0
        self._declined = {}
        self._subjects = {}
        if self.sides is not None:
            self.sides = (Side(), Side(), Side())
        self.reset_errors()

    def reasons(self) -> dict[Any, int]:
        """Return how many calls were left to stock, by reason."""
        return self._declined.copy()

    @property
    def whole(self) -> bool:
        """Whether every call may be served: there is neither a share nor an open breaker."""
        return self.on and self._threshold >= _EVERYONE and not self.is_open

    @property
    def declined(self) -> dict[str, int]:
        """How many calls were left to stock, by reason, in words."""
        told: dict[str, int] = {}
        for reason, count in self._declined.copy().items():
            text = str(reason)
            told[text] = told.get(text, 0) + count
        return told

    def decline(self, reason: object) -> object:
        """Count a call left to stock, by ``reason``; return ``DECLINED``.

        A reason that is about something is a tuple of the reason and that; so many of each are told apart.
        """
        if reason not in self._declined:
            reason = self._told_apart(reason)
            self._declined.setdefault(reason, 0)
        self._declined[reason] += 1
        if self.observer is not None:
            self._explain(reason)
        return DECLINED

    def _told_apart(self, reason: object) -> object:
        """Return a new ``reason``, or the bare one where that is about too many things already."""
        if not isinstance(reason, tuple):
            return reason
        bare = reason[0]
        subjects = self._subjects.get(bare, 0)
        if subjects >= _MAX_SUBJECTS:
            return bare
        self._subjects[bare] = subjects + 1
        return reason

    def _explain(self, reason: object) -> None:
        """Note for the observer why the call that is running here is left to stock."""
        self.last_reason = reason
        passing = _passing.get()
        if passing is not None and passing.gate is self:
            passing.reason = reason

    def serve(self) -> None:
        """Count a call that the accelerated path has served."""
        self.served += 1
        if self._state == _WATCHED:
            passing = _passing.get()
            if passing is not None and passing.gate is self:
                passing.side = _SERVED
            if self._is_trying:
                self._close()

    def bypass(self) -> None:
        """Count a call that the share leaves to stock."""
        self.bypassed += 1
        passing = _passing.get()
        if passing is not None and passing.gate is self:
            passing.side = _BYPASSED

    def fault(self, error: object) -> None:
        """Count an internal fault; ``max_faults`` of them within ``window`` seconds open the breaker."""
        self.faults += 1
        self.last_fault = f"{type(error).__name__}: {error}"[:200]
        now = self.clock()
        times = self._fault_times
        times.append(now)
        if self.is_open:
            if self._is_trying:
                self._is_trying = False
                self._opened = now
                self._settle()
                _logger.warning(
                    "litellm-accel: %s stays on stock: the trial failed: %s; next in %g s",
                    self.name,
                    self.last_fault,
                    self.cooldown,
                )
        elif len(times) == self.max_faults and now - times[0] <= self.window:
            self.is_open = True
            self._opened = now
            self._settle()
            _logger.warning(
                "litellm-accel: %s runs stock: %d faults within %g s; last: %s; a call is tried in %g s",
                self.name,
                self.max_faults,
                self.window,
                self.last_fault,
                self.cooldown,
            )

    def _close(self) -> None:
        """Close the breaker, for a call that was tried has been served."""
        self.is_open = self._is_trying = False
        self._fault_times.clear()
        self._settle()
        _logger.warning("litellm-accel: %s serves again: the trial succeeded", self.name)

    def _retries(self) -> int:
        """Return whether a call shall try the open breaker: one after each cooldown, the next if it tells nothing."""
        now = self.clock()
        since = self._tried if self._is_trying else self._opened
        if now - since < self.cooldown:
            return _NO
        self._tried = now
        self._is_trying = True
        self._settle()
        return _TRIAL

    def end_trial(self) -> None:
        """Note that the call that was tried is over; if it has told nothing, the next call is tried."""
        if self._is_trying:
            self._is_trying = False
            self._settle()

    def admits(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        """Return 0 if a call with these arguments is left to stock, 1 if it may be served, 2 if the breaker tries it.

        What is called before with 2 is followed by ``end_trial()``.
        """
        if self._threshold < _EVERYONE and (self._threshold == 0 or self._place(args, kwargs) >= self._threshold):
            return _NO
        return self._retries() if self.is_open else _YES

    def _place(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        """Return the place of a call, by its key or in turn."""
        found = _at(kwargs, self._path)
        if found is None:
            for value in args:
                if type(value) is dict:
                    found = _at(value, self._path)
                    if found is not None:
                        break
        if found is not None:
            return place_of(found)
        self._calls += 1
        return self._calls * 0x9E3779B1 & 0xFFFFFFFF  # places spread evenly

    def record(self, side: int, reason: object, nanoseconds: int, failed: bool, cpu_nanoseconds: int) -> None:
        """Note how long a call took."""
        if self.sides is not None:
            self.sides[side].record(nanoseconds, failed, cpu_nanoseconds)
        if self.observer is not None:
            try:
                self.observer(self, side, reason, nanoseconds)
            except Exception:
                _logger.debug("litellm-accel: a call cannot be observed", exc_info=True)

    def pure(
        self, fast: Callable[..., Any], stock: Callable[..., Any], beside: Callable[..., Any] | None = None
    ) -> PureCall:
        """Return a callable that serves a function without side effects by ``fast``, else by ``stock``.

        ``beside`` computes in a shadow what ``stock`` does.
        """
        return PureCall(self, fast, stock, beside)

    def coroutine(
        self, fast: Callable[..., Any], stock: Callable[..., Awaitable[Any]], beside: Callable[..., Any] | None = None
    ) -> AsyncCall:
        """Return a callable that serves a coroutine function by ``fast``, a plain function, else by ``stock``.

        ``beside`` computes in a shadow what ``stock`` does.
        """
        return AsyncCall(self, fast, stock, beside)

    def carried(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``function`` for another thread, where it belongs to the call that is running here."""
        passing = _passing.get()
        if passing is None:
            return function

        def carry(*args: Any) -> Any:
            token = _passing.set(passing)
            try:
                return function(*args)
            finally:
                _passing.reset(token)

        return carry


def _at(held: Any, path: tuple[str, ...]) -> Any:
    """Return what is at ``path`` in dictionaries in each other, or None."""
    for name in path:
        if type(held) is not dict:
            return None
        held = held.get(name)
    return held


class _Call:
    """Calls ``fast``, else ``stock``; what ``beside`` computes in a shadow is told what stock gives."""

    __slots__ = ("beside", "fast", "gate", "stock")

    def __init__(
        self,
        gate: Gate,
        fast: Callable[..., Any],
        stock: Callable[..., Any],
        beside: Callable[..., Any] | None = None,
    ) -> None:
        self.gate = gate
        self.fast = fast
        self.stock = stock
        self.beside = beside

    def _watched(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        gate = self.gate
        admitted = gate.admits(args, kwargs)
        if admitted == _NO:
            gate.bypassed += 1
            shadow = gate.shadow
            ticket = None if shadow is None or self.beside is None else shadow.begin(self.beside, args, kwargs)
            return self._passed_by(ticket, args, kwargs)
        if admitted == _YES:
            return self._admitted(args, kwargs)
        try:
            return self._admitted(args, kwargs)
        finally:
            gate.end_trial()

    def _passed_by(self, ticket: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run stock for a call that the share leaves to it, and tell ``ticket`` the result, if there is one."""
        raise NotImplementedError

    def _admitted(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        raise NotImplementedError


class PureCall(_Call):
    """Calls ``fast``; runs ``stock`` where the gate is off, or ``fast`` declines or fails.

    ``fast`` has no side effects, so stock may run after it: errors the caller made are raised by stock in its own
    words. An exception of ``fast`` is an internal fault only if stock then succeeds.
    """

    __slots__ = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        gate = self.gate
        if gate._state != _PLAIN:
            return self.stock(*args, **kwargs) if gate._state == _OFF else self._watched(args, kwargs)
        try:
            result = self.fast(*args, **kwargs)
        except Exception as error:
            result = self.stock(*args, **kwargs)
            gate.fault(error)
            return result
        if result is DECLINED:
            return self.stock(*args, **kwargs)
        gate.served += 1
        return result

    def _passed_by(self, ticket: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = self._left(_BYPASSED, None, args, kwargs)
        if ticket is not None:
            ticket.finish(result)
        return result

    def _admitted(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        gate = self.gate
        began = time.perf_counter_ns()
        try:
            result = self.fast(*args, **kwargs)
        except Exception as error:
            result = self._left(_LEFT, "fault", args, kwargs)
            gate.fault(error)
            return result
        if result is DECLINED:
            return self._left(_LEFT, gate.last_reason, args, kwargs)
        took = time.perf_counter_ns() - began
        gate.served += 1
        if gate._is_trying:
            gate._close()
        gate.record(_SERVED, None, took, False, took)
        return result

    def _left(self, side: int, reason: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run stock and note how long that takes."""
        began = time.perf_counter_ns()
        failed = True
        try:
            result = self.stock(*args, **kwargs)
            failed = False
        finally:
            took = time.perf_counter_ns() - began
            self.gate.record(side, reason, took, failed, took)
        return result


class Ready:
    """An awaitable that gives ``result`` at once."""

    __slots__ = ("_result",)

    def __init__(self, result: Any) -> None:
        self._result = result

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> Ready:
        return self

    def __next__(self) -> Any:
        raise StopIteration(self._result)


class Followed(Passing):
    """An awaitable that runs ``coroutine`` and notes how long it takes, and how long of that it runs.

    ``ticket`` is told the result, if there is one.
    """

    __slots__ = ("_began", "_coroutine", "_cpu", "_ticket", "_token")

    def __init__(self, gate: Gate, coroutine: Any, side: int, trial: bool = False, ticket: Any = None) -> None:
        super().__init__(gate, side, trial)
        self._coroutine = coroutine
        self._ticket = ticket
        self._began = 0
        self._cpu = 0
        self._token: Any = None

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> Followed:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        """Go on with the coroutine."""
        return self._step(self._coroutine.send, value)

    def throw(self, *error: Any) -> Any:
        """Raise an exception where the coroutine waits."""
        return self._step(self._coroutine.throw, *error)

    def close(self) -> None:
        """End the coroutine where it waits."""
        self._coroutine.close()
        self._end()

    def _step(self, step: Callable[..., Any], *args: Any) -> Any:
        began = time.perf_counter_ns()
        if not self._began:
            self._began = began
            self._token = _passing.set(self)
        try:
            return step(*args)
        except StopIteration as stop:
            self._over(began, False)
            if self._ticket is not None:
                self._ticket.finish(stop.value)
            raise
        except BaseException as error:
            self._over(began, not isinstance(error, StopAsyncIteration))  # which ends a stream
            raise
        finally:
            self._cpu += time.perf_counter_ns() - began

    def _over(self, began: int, failed: bool) -> None:
        """Note how long the call took, which is over."""
        now = time.perf_counter_ns()
        self._end()
        self.gate.record(self.side, self.reason, now - self._began, failed, self._cpu + now - began)

    def _end(self) -> None:
        self.live = False
        if self.trial:
            self.gate.end_trial()
        token, self._token = self._token, None
        if token is not None:
            try:
                _passing.reset(token)
            except ValueError:  # it has begun in another context
                return


class AsyncCall(_Call):
    """Calls ``fast`` in place of the coroutine function ``stock``: gives an awaitable of its result.

    Stock's coroutine runs where the gate is off, or ``fast`` declines or fails.
    """

    __slots__ = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        gate = self.gate
        if gate._state != _PLAIN:
            return self.stock(*args, **kwargs) if gate._state == _OFF else self._watched(args, kwargs)
        try:
            result = self.fast(*args, **kwargs)
        except Exception as error:
            return self._recover(error, args, kwargs)
        if result is DECLINED:
            return self.stock(*args, **kwargs)
        gate.served += 1
        return Ready(result)

    def _passed_by(self, ticket: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return Followed(self.gate, self.stock(*args, **kwargs), _BYPASSED, False, ticket)

    def _admitted(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Awaitable[Any]:
        gate = self.gate
        began = time.perf_counter_ns()
        try:
            result = self.fast(*args, **kwargs)
        except Exception as error:
            return self._recover(error, args, kwargs)
        if result is DECLINED:
            followed = Followed(gate, self.stock(*args, **kwargs), _LEFT)
            followed.reason = gate.last_reason
            return followed
        took = time.perf_counter_ns() - began
        gate.served += 1
        if gate._is_trying:
            gate._close()
        gate.record(_SERVED, None, took, False, took)
        return Ready(result)

    async def _recover(self, error: Exception, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run stock after an internal ``error``, which counts as a fault if stock succeeds."""
        result = await self.stock(*args, **kwargs)
        self.gate.fault(error)
        return result


class Door:
    """Passes calls to ``method``, which serves them or runs ``stock`` itself; to ``stock`` what the share leaves to it.

    Where ``stock`` is None, ``method`` asks the gate which side a call is on.
    """

    __slots__ = ("_calls", "gate", "method", "stock")

    def __init__(self, gate: Gate, method: Callable[..., Any], stock: Callable[..., Any] | None = None) -> None:
        self.gate = gate
        self.method = method
        self.stock = stock
        self._calls = 0

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        if self.gate._state != _WATCHED:
            return self.method(*args, **kwargs)
        return self._watched(args, kwargs)

    def _watched(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        gate = self.gate
        outer = _passing.get()
        call: Any = self.method
        if outer is not None and outer.gate is gate and outer.live:  # called by stock, in a call that has a side
            if outer.side == _BYPASSED and self.stock is not None:
                call = self.stock
            return call(*args, **kwargs)
        side, admitted = _LEFT, _YES if self.stock is None else gate.admits(args, kwargs)
        if admitted == _NO:
            gate.bypassed += 1
            side, call = _BYPASSED, self.stock
        return self._timed(call, side, admitted == _TRIAL, args, kwargs)

    def _timed(
        self, call: Callable[..., Any], side: int, trial: bool, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run ``call``, which is on ``side`` unless it tells otherwise, and note how long it takes."""
        gate = self.gate
        passing = Passing(gate, side, trial)
        self._calls += 1
        cpu = time.thread_time_ns() if self._calls % _CPU_SAMPLE == 0 else -1
        token = _passing.set(passing)
        failed = True
        began = time.perf_counter_ns()
        try:
            result = call(*args, **kwargs)
            failed = False
        except StopIteration:  # which ends a stream
            failed = False
            raise
        finally:
            took = time.perf_counter_ns() - began
            if cpu >= 0:
                cpu = time.thread_time_ns() - cpu
            passing.live = False
            _passing.reset(token)
            if passing.trial:
                gate.end_trial()
            gate.record(passing.side, passing.reason, took, failed, cpu)
        return result


class AsyncDoor(Door):
    """As ``Door``, for coroutine functions."""

    __slots__ = ()

    def _timed(
        self, call: Callable[..., Any], side: int, trial: bool, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        return Followed(self.gate, call(*args, **kwargs), side, trial)
