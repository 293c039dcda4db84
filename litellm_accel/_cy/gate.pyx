# cython: language_level=3, binding=True, boundscheck=False, wraparound=False
"""The gate every accelerated call passes: switch, breaker and counters of one component."""

from __future__ import annotations

__all__ = ["DECLINED", "AsyncCall", "Gate", "PureCall", "Ready"]

# Of each reason, so many of the things that it is about are told apart.
cdef int _MAX_SUBJECTS = 100


cdef class _Declined:

    def __repr__(self):
        return "DECLINED"

    def __reduce__(self):
        return "DECLINED"


DECLINED = _Declined()
cdef object _declined = DECLINED  # a C global: no dictionary look-up on the path of every call


cdef class Gate:
    """Switch, breaker and counters of one component.

    ``on`` is true while the component is switched on and its breaker is closed. ``max_faults`` internal faults open
    the breaker; ``reset_errors()`` closes it. Counters only grow: ``served``, ``declined`` (by reason), ``faults``.
    """

    def __init__(self, name: str, max_faults: int = 10) -> None:
        if max_faults < 1:
            raise ValueError(f"max_faults must be at least 1, got {max_faults}")
        self.name = name
        self.max_faults = max_faults
        self.last_fault = ""
        self._declined = {}
        self._subjects = {}

    def __repr__(self) -> str:
        return f"<Gate {self.name!r} {'on' if self.on else 'off'}>"

    def switch(self, on: bool) -> None:
        """Switch the component on or off; an open breaker keeps ``on`` false."""
        self._switched_on = on
        self.on = self._switched_on and self.faults < self.max_faults

    def reset_errors(self) -> None:
        """Forget all faults and close the breaker."""
        self.faults = 0
        self.last_fault = ""
        self.on = self._switched_on

    def clear(self) -> None:
        """Set every counter to zero and close the breaker."""
        self.served = 0
        self._declined = {}
        self._subjects = {}
        self.reset_errors()

    @property
    def declined(self) -> dict[str, int]:
        """How many calls were left to stock, by reason, in words."""
        cdef dict told = {}
        for reason, count in self._declined.copy().items():
            text = str(reason)
            told[text] = told.get(text, 0) + count
        return told

    cpdef object decline(self, object reason):
        """Count a call left to stock, by ``reason``; return ``DECLINED``.

        A reason that is about something is a tuple of the reason and that; so many of each are told apart.
        """
        if reason not in self._declined:
            reason = self._told_apart(reason)
        self._declined[reason] = self._declined.get(reason, 0) + 1
        return _declined

    cdef object _told_apart(self, object reason):
        """Return a new ``reason``, or the bare one where that is about too many things already."""
        cdef int subjects
        if not isinstance(reason, tuple):
            return reason
        bare = (<tuple>reason)[0]
        subjects = self._subjects.get(bare, 0)
        if subjects >= _MAX_SUBJECTS:
            return bare
        self._subjects[bare] = subjects + 1
        return reason

    def serve(self) -> None:
        """Count a call that the accelerated path has served."""
        self.served += 1

    cpdef void fault(self, object error):
        """Count an internal fault; ``max_faults`` of them open the breaker."""
        self.faults += 1
        self.last_fault = f"{type(error).__name__}: {error}"[:200]
        if self.faults >= self.max_faults:
            self.on = False

    def pure(self, fast: object, stock: object) -> PureCall:
        """Return a callable that serves a function without side effects by ``fast``, else by ``stock``."""
        return PureCall(self, fast, stock)

    def coroutine(self, fast: object, stock: object) -> AsyncCall:
        """Return a callable that serves a coroutine function by ``fast``, a plain function, else by ``stock``."""
        return AsyncCall(self, fast, stock)


cdef class PureCall:
    """Calls ``fast``; runs ``stock`` where the gate is off, or ``fast`` declines or fails.

    ``fast`` has no side effects, so stock may run after it: errors the caller made are raised by stock in its own
    words. An exception of ``fast`` is an internal fault only if stock then succeeds.
    """

    cdef readonly Gate gate
    cdef readonly object fast
    cdef readonly object stock

    def __init__(self, gate: Gate, fast: object, stock: object) -> None:
        self.gate = gate
        self.fast = fast
        self.stock = stock

    def __call__(self, *args, **kwargs):
        cdef Gate gate = self.gate
        if not gate.on:
            return self.stock(*args, **kwargs)
        try:
            result = self.fast(*args, **kwargs)
        except Exception as error:
            result = self.stock(*args, **kwargs)
            gate.fault(error)
            return result
        if result is _declined:
            return self.stock(*args, **kwargs)
        gate.served += 1
        return result


cdef class Ready:
    """An awaitable that gives ``result`` at once."""

    cdef object result

    def __init__(self, result: object) -> None:
        self.result = result

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        raise StopIteration(self.result)


cdef class AsyncCall:
    """Calls ``fast`` in place of the coroutine function ``stock``: gives an awaitable of its result.

    Stock's coroutine runs where the gate is off, or ``fast`` declines or fails.
    """

    cdef readonly Gate gate
    cdef readonly object fast
    cdef readonly object stock

    def __init__(self, gate: Gate, fast: object, stock: object) -> None:
        self.gate = gate
        self.fast = fast
        self.stock = stock

    def __call__(self, *args, **kwargs):
        if not self.gate.on:
            return self.stock(*args, **kwargs)
        try:
            result = self.fast(*args, **kwargs)
        except Exception as error:
            return self._recover(error, args, kwargs)
        if result is _declined:
            return self.stock(*args, **kwargs)
        self.gate.served += 1
        return Ready(result)

    async def _recover(self, error, args, kwargs):
        """Run stock after an internal ``error``, which counts as a fault if stock succeeds."""
        result = await self.stock(*args, **kwargs)
        self.gate.fault(error)
        return result
