# cython: language_level=3, binding=True, boundscheck=False, wraparound=False
"""The gate every accelerated call passes: switch, share, breaker, counters and latencies of one component."""

from __future__ import annotations

from cpython.contextvars cimport PyContextVar_Reset, PyContextVar_Set, get_value
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_XDECREF
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset

from litellm_accel._cy.crc cimport crc32, prepare
from litellm_accel._cy.clocks cimport nanoseconds as clock_nanoseconds, thread_nanoseconds

import logging
import time
from collections import deque
from contextvars import ContextVar

cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text)
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *length) except NULL

cdef extern from *:
    """
    #define LITELLM_ACCEL_SEND(target, value, result) \
        PyIter_Send((target), (value), (PyObject **)(result))
    """
    int PyIter_Send "LITELLM_ACCEL_SEND"(object target, object value, PyObject **result) except? -1

# Calls by an array of arguments, for which Python makes neither a tuple nor a dictionary.
cdef extern from *:
    """
    #define LITELLM_ACCEL_CALL(target, given, count, names) \
        PyObject_Vectorcall((target), (PyObject *const *)(given), (count), (names))

    static void litellm_accel_call_by_array(PyObject *type, Py_ssize_t offset) {
        ((PyTypeObject *)type)->tp_vectorcall_offset = offset;
        ((PyTypeObject *)type)->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL;
        PyType_Modified((PyTypeObject *)type);
    }

    #if defined(__GNUC__) || defined(__clang__)
    static inline int litellm_accel_bits(long long number) {
        return number ? 64 - __builtin_clzll((unsigned long long)number) : 0;
    }
    #else
    static inline int litellm_accel_bits(long long number) {
        int bits = 0;
        while (number >> bits) bits++;
        return bits;
    }
    #endif
    """
    PyObject *call_by_array "LITELLM_ACCEL_CALL"(
        PyObject *target, PyObject **given, size_t count, PyObject *names
    ) except NULL
    object PyVectorcall_Call(PyObject *target, PyObject *args, PyObject *kwargs)
    Py_ssize_t PyVectorcall_NARGS(size_t count)
    void be_called_by_array "litellm_accel_call_by_array"(object kind, Py_ssize_t offset)
    int bit_length "litellm_accel_bits"(long long number)

cdef extern from "Python.h":
    PyObject *PyDict_GetItemWithError(object held, object key) except? NULL

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
cdef int _MAX_SUBJECTS = 100
# Buckets of latencies: 32 for each doubling, up to 2**44 nanoseconds.
cdef enum:
    _BUCKETS = 1280
cdef long long _LONGEST = (1LL << 44) - 1
# What a gate does with calls: serves all of them, none, or looks closer at each.
cdef enum:
    _PLAIN = 0
    _OFF = 1
    _WATCHED = 2
# What ``admits`` says of a call.
cdef enum:
    _NO = 0
    _YES = 1
    _TRIAL = 2
# Sides of calls: served, left to stock for a reason, left to stock because of the share.
cdef enum:
    _SERVED = 0
    _LEFT = 1
    _BYPASSED = 2
cdef long long _EVERYONE = 1LL << 32
# Of the calls by a door in threads, one in so many has its CPU time taken, for which the kernel is asked.
cdef int _CPU_SAMPLE = 16

_logger = logging.getLogger("litellm_accel")
prepare()


cdef class _Declined:

    def __repr__(self):
        return "DECLINED"

    def __reduce__(self):
        return "DECLINED"


DECLINED = _Declined()
cdef object _declined = DECLINED  # a C global: no dictionary look-up on the path of every call


def place_of(key: object) -> int:
    """Return the place of ``key`` among 2**32: CRC-32 of its text in UTF-8, mixed by MurmurHash3's 32-bit finalizer.

    It is the same in every process and release. A share of calls are those whose places are lowest.
    """
    return _place_of(key)


cdef long long _place_of(object key) except -1:
    cdef bytes data
    cdef Py_ssize_t length
    cdef const char *text
    cdef uint32_t place
    if not isinstance(key, str):
        key = str(key)
    if PyUnicode_IS_ASCII(key):
        text = PyUnicode_AsUTF8AndSize(key, &length)
    else:
        data = (<str>key).encode("utf-8", "surrogatepass")
        text, length = data, len(data)
    place = crc32(<const uint8_t *>text, length)
    place = (place ^ place >> 16) * <uint32_t>0x85EBCA6B
    place = (place ^ place >> 13) * <uint32_t>0xC2B2AE35
    return place ^ place >> 16


cdef class Side:
    """How long calls of one side took, and how many failed, in memory of fixed size.

    Latencies are counted in ``buckets``, 32 for each doubling: the middle of a bucket is within 1.6 % of all in it. CPU
    time is counted alike in ``cpu_buckets``, of the calls of which it was taken.
    """

    def __init__(self) -> None:
        memset(self._buckets, 0, sizeof(self._buckets))
        memset(self._cpu_buckets, 0, sizeof(self._cpu_buckets))

    @property
    def buckets(self) -> list[int]:
        """How many calls are in each bucket."""
        cdef int place
        return [self._buckets[place] for place in range(_BUCKETS)]

    @property
    def cpu_buckets(self) -> list[int]:
        """How many calls are in each bucket of CPU time."""
        cdef int place
        return [self._cpu_buckets[place] for place in range(_BUCKETS)]

    cpdef void record(self, long long nanoseconds, bint failed, long long cpu_nanoseconds):
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


cdef inline int _bucket(long long nanoseconds) noexcept:
    cdef int exponent = bit_length(nanoseconds) - 6
    if exponent < 0:
        exponent = 0
    return exponent * 32 + <int>(nanoseconds >> exponent)


cdef class Passing:
    """A call on its way through ``gate``: which ``side`` it is on, why, and whether it is still running."""

    cdef readonly Gate gate
    cdef readonly int side
    cdef readonly bint trial
    cdef readonly bint live
    cdef readonly object reason

    def __init__(self, gate: Gate, side: int, trial: bool = False) -> None:
        self.gate = gate
        self.side = side
        self.trial = trial
        self.live = True


cdef object _passing = ContextVar("litellm_accel_passing", default=None)


cdef inline Passing _running(Gate gate):
    """Return the call by a door of ``gate`` that is running here, or None."""
    cdef object found = get_value(_passing)
    if found is None or (<Passing>found).gate is not gate:
        return None
    return <Passing>found


cdef class Gate:
    """Switch, share, breaker and counters of one component.

    ``on`` is true while the component is switched on, has a share of the calls, and its breaker is closed.
    ``max_faults`` internal faults within ``window`` seconds open the breaker. After ``cooldown`` seconds one call is
    tried; it closes the breaker or opens it for as long again. ``reset_errors()`` closes it. Counters only grow:
    ``served``, ``declined`` (by reason), ``bypassed`` (left to stock because of the share), ``faults``.
    """

    def __init__(
        self,
        name: str,
        max_faults: int = 10,
        window: float = 60.0,
        cooldown: float = 300.0,
        clock: object = time.monotonic,
    ) -> None:
        if max_faults < 1:
            raise ValueError(f"max_faults must be at least 1, got {max_faults}")
        self.name = name
        self.max_faults = max_faults
        self.window = window
        self.cooldown = cooldown
        self.clock = clock
        self.last_fault = ""
        self._state = _OFF
        self._threshold = _EVERYONE
        self._path = ("litellm_call_id",)
        self._fault_times = deque(maxlen=max_faults)
        self._declined = {}
        self._subjects = {}

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

    def set_share(self, share: float, path: tuple = ("litellm_call_id",)) -> None:
        """Admit that ``share`` of calls, from 0 to 1, by the place of what is found at ``path`` in their arguments.

        Calls that have nothing there are admitted in turn.
        """
        self._path = path
        self._threshold = <long long>(<double>share * _EVERYONE)
        self._settle()

    def measure(self, wanted: bool) -> None:
        """Take the time of each call from now on, or no longer; what was taken is forgotten then."""
        if wanted != (self.sides is not None):
            self.sides = (Side(), Side(), Side()) if wanted else None
        self._settle()

    def compare_with(self, shadow: object) -> None:
        """Have calls that stock serves computed beside it by ``shadow``, None: no longer."""
        self.shadow = shadow
        self._settle()

    def observe_with(self, observer: object) -> None:
        """Tell ``observer(gate, side, reason, nanoseconds)`` of each call, None: no longer."""
        self.observer = observer
        self._settle()

    cdef void _settle(self):
        """Derive from all that is set what happens to calls."""
        cdef bint has_share = self._switched_on and self._threshold > 0
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

    def reasons(self) -> dict[object, int]:
        """Return how many calls were left to stock, by reason."""
        return self._declined.copy()

    @property
    def whole(self) -> bool:
        """Whether every call may be served: there is neither a share nor an open breaker."""
        return self.on and self._threshold >= _EVERYONE and not self.is_open

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
            self._declined.setdefault(reason, 0)
        self._declined[reason] += 1
        if self.observer is not None:
            self._explain(reason)
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

    cdef object _explain(self, object reason):
        """Note for the observer why the call that is running here is left to stock."""
        self.last_reason = reason
        passing = _running(self)
        if passing is not None:
            passing.reason = reason

    def serve(self) -> None:
        """Count a call that the accelerated path has served."""
        self.served += 1
        if self._state == _WATCHED:
            passing = _running(self)
            if passing is not None:
                passing.side = _SERVED
            if self._is_trying:
                self._close()

    def bypass(self) -> None:
        """Count a call that the share leaves to stock."""
        self.bypassed += 1
        passing = _running(self)
        if passing is not None:
            passing.side = _BYPASSED

    cpdef void fault(self, object error):
        """Count an internal fault; ``max_faults`` of them within ``window`` seconds open the breaker."""
        cdef double now
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

    cdef object _close(self):
        """Close the breaker, for a call that was tried has been served."""
        self.is_open = self._is_trying = False
        self._fault_times.clear()
        self._settle()
        _logger.warning("litellm-accel: %s serves again: the trial succeeded", self.name)

    cdef int _retries(self) except -1:
        """Return whether a call shall try the open breaker: one after each cooldown, the next if it tells nothing."""
        cdef double now = self.clock()
        cdef double since = self._tried if self._is_trying else self._opened
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

    cpdef int admits(self, tuple args, dict kwargs) except -1:
        """Return 0 if a call with these arguments is left to stock, 1 if it may be served, 2 if the breaker tries it.

        What is called before with 2 is followed by ``end_trial()``.
        """
        found = None
        if 0 < self._threshold < _EVERYONE:
            found = _at(kwargs, self._path, 0)
            if found is None:
                for value in args:
                    found = _at(value, self._path, 0)
                    if found is not None:
                        break
        return self._decides(found)

    cdef int _admits_by_array(self, PyObject **given, size_t count, PyObject *names) except -1:
        """As ``admits``."""
        found = None
        if 0 < self._threshold < _EVERYONE:
            found = _key_of(given, PyVectorcall_NARGS(count), names, self._path)
        return self._decides(found)

    cdef int _decides(self, object key) except -1:
        """As ``admits``, of a call with this ``key``, None if it has none."""
        if self._threshold < _EVERYONE and (self._threshold == 0 or self._place(key) >= self._threshold):
            return _NO
        return self._retries() if self.is_open else _YES

    cdef long long _place(self, object key) except -1:
        """Return the place of a call, by its key or in turn."""
        if key is not None:
            return _place_of(key)
        self._calls += 1
        return <uint32_t>(self._calls * <uint32_t>0x9E3779B1)  # places spread evenly

    cpdef object record(self, int side, object reason, long long nanoseconds, bint failed, long long cpu_nanoseconds):
        """Note how long a call took."""
        if self.sides is not None:
            (<Side>self.sides[side]).record(nanoseconds, failed, cpu_nanoseconds)
        if self.observer is not None:
            try:
                self.observer(self, side, reason, nanoseconds)
            except Exception:
                _logger.debug("litellm-accel: a call cannot be observed", exc_info=True)

    def pure(self, fast: object, stock: object, beside: object = None) -> PureCall:
        """Return a callable that serves a function without side effects by ``fast``, else by ``stock``.

        ``beside`` computes in a shadow what ``stock`` does.
        """
        return PureCall(self, fast, stock, beside)

    def coroutine(self, fast: object, stock: object, beside: object = None) -> AsyncCall:
        """Return a callable that serves a coroutine function by ``fast``, a plain function, else by ``stock``.

        ``beside`` computes in a shadow what ``stock`` does.
        """
        return AsyncCall(self, fast, stock, beside)

    def carried(self, function: object) -> object:
        """Return ``function`` for another thread, where it belongs to the call that is running here."""
        passing = get_value(_passing)
        if passing is None:
            return function

        def carry(*args):
            token = PyContextVar_Set(_passing, passing)
            try:
                return function(*args)
            finally:
                PyContextVar_Reset(_passing, token)

        return carry


cdef object _at(object held, tuple path, Py_ssize_t step):
    """Return what is at ``path``, from this ``step`` on, in dictionaries in each other, or None."""
    cdef PyObject *found
    while step < len(path):
        if type(held) is not dict:
            return None
        found = PyDict_GetItemWithError(held, path[step])
        if found is NULL:
            return None
        held = <object>found
        step += 1
    return held


cdef object _key_of(PyObject **given, Py_ssize_t placed, PyObject *names, tuple path):
    """Return what is at ``path`` in the arguments of a call, or None; so many of them are ``placed`` before others."""
    cdef Py_ssize_t number
    cdef tuple named
    if names is not NULL:
        named = <tuple>names
        for number in range(len(named)):
            if <str>named[number] == <str>path[0]:
                found = _at(<object>given[placed + number], path, 1)
                if found is not None:
                    return found
                break
    for number in range(placed):
        if type(<object>given[number]) is dict:
            found = _at(<object>given[number], path, 0)
            if found is not None:
                return found
    return None


cdef class _Call:
    """Calls ``fast``, else ``stock``; what ``beside`` computes in a shadow is told what stock gives."""

    cdef readonly Gate gate
    cdef readonly object fast
    cdef readonly object stock
    cdef readonly object beside

    def __init__(self, gate: Gate, fast: object, stock: object, beside: object = None) -> None:
        self.gate = gate
        self.fast = fast
        self.stock = stock
        self.beside = beside


cdef class PureCall(_Call):
    """Calls ``fast``; runs ``stock`` where the gate is off, or ``fast`` declines or fails.

    ``fast`` has no side effects, so stock may run after it: errors the caller made are raised by stock in its own
    words. An exception of ``fast`` is an internal fault only if stock then succeeds.
    """

    cdef void *_call  # how Python calls it

    def __init__(self, gate: Gate, fast: object, stock: object, beside: object = None) -> None:
        _Call.__init__(self, gate, fast, stock, beside)
        self._call = <void *>_call_pure

    def __call__(self, *args, **kwargs):
        return PyVectorcall_Call(<PyObject *>self, <PyObject *>args, <PyObject *>kwargs)

    cdef PyObject *_watched(self, PyObject **given, size_t count, PyObject *names) except NULL:
        cdef Gate gate = self.gate
        cdef int admitted = gate._admits_by_array(given, count, names)
        cdef PyObject *result
        if admitted == _NO:
            gate.bypassed += 1
            shadow = gate.shadow
            if shadow is None or self.beside is None:
                return self._left(_BYPASSED, None, given, count, names)
            ticket = shadow.begin(self.beside, *_given(given, count, names))
            result = self._left(_BYPASSED, None, given, count, names)
            if ticket is not None:
                ticket.finish(<object>result)
            return result
        if admitted == _YES:
            return self._admitted(given, count, names)
        try:
            return self._admitted(given, count, names)
        finally:
            gate.end_trial()

    cdef PyObject *_admitted(self, PyObject **given, size_t count, PyObject *names) except NULL:
        cdef Gate gate = self.gate
        cdef long long took, began = clock_nanoseconds()
        cdef PyObject *result
        try:
            result = call_by_array(<PyObject *>self.fast, given, count, names)
        except Exception as error:
            result = self._left(_LEFT, "fault", given, count, names)
            gate.fault(error)
            return result
        if result is <PyObject *>_declined:
            Py_XDECREF(result)
            return self._left(_LEFT, gate.last_reason, given, count, names)
        took = clock_nanoseconds() - began
        gate.served += 1
        if gate._is_trying:
            gate._close()
        gate.record(_SERVED, None, took, False, took)
        return result

    cdef PyObject *_left(
        self, int side, object reason, PyObject **given, size_t count, PyObject *names
    ) except NULL:
        """Run stock and note how long that takes."""
        cdef long long took, began = clock_nanoseconds()
        cdef bint failed = True
        cdef PyObject *result
        try:
            result = call_by_array(<PyObject *>self.stock, given, count, names)
            failed = False
        finally:
            took = clock_nanoseconds() - began
            self.gate.record(side, reason, took, failed, took)
        return result


cdef PyObject *_call_pure(PyObject *target, PyObject **given, size_t count, PyObject *names) except NULL:
    """Call a ``PureCall``."""
    cdef PureCall call = <PureCall>target
    cdef Gate gate = call.gate
    cdef PyObject *result
    if gate._state == _WATCHED:
        return call._watched(given, count, names)
    if gate._state == _OFF:
        return call_by_array(<PyObject *>call.stock, given, count, names)
    try:
        result = call_by_array(<PyObject *>call.fast, given, count, names)
    except Exception as error:
        result = call_by_array(<PyObject *>call.stock, given, count, names)
        gate.fault(error)
        return result
    if result is <PyObject *>_declined:
        Py_XDECREF(result)
        return call_by_array(<PyObject *>call.stock, given, count, names)
    gate.served += 1
    return result


cdef tuple _given(PyObject **given, size_t count, PyObject *names):
    """Return arguments by place and by name."""
    cdef Py_ssize_t placed = PyVectorcall_NARGS(count), number
    cdef dict kwargs = {}
    if names is not NULL:
        for number in range(len(<tuple>names)):
            kwargs[(<tuple>names)[number]] = <object>given[placed + number]
    return tuple([<object>given[number] for number in range(placed)]), kwargs


cdef void _call_by_array():
    cdef PureCall call = PureCall.__new__(PureCall)
    be_called_by_array(PureCall, <char *>&call._call - <char *><PyObject *>call)


_call_by_array()


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


cdef class Followed(Passing):
    """An awaitable that runs ``coroutine`` and notes how long it takes, and how long of that it runs.

    ``ticket`` is told the result, if there is one.
    """

    cdef object _coroutine
    cdef object _ticket
    cdef object _token
    cdef long long _began
    cdef long long _cpu

    def __init__(self, gate: Gate, coroutine: object, side: int, trial: bool = False, ticket: object = None) -> None:
        Passing.__init__(self, gate, side, trial)
        self._coroutine = coroutine
        self._ticket = ticket

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return self.send(None)

    def send(self, value: object) -> object:
        """Go on with the coroutine."""
        cdef long long began = self._start()
        cdef PyObject *result = NULL
        cdef int how
        try:
            how = PyIter_Send(self._coroutine, value, &result)
        except BaseException as error:
            self._over(began, not isinstance(error, StopAsyncIteration))  # which ends a stream
            raise
        made = <object>result
        Py_DECREF(made)  # the reference that was given
        if how == 0:
            self._over(began, False)
            if self._ticket is not None:
                self._ticket.finish(made)
            raise StopIteration(made)
        self._cpu += clock_nanoseconds() - began
        return made

    def throw(self, *error: object) -> object:
        """Raise an exception where the coroutine waits."""
        cdef long long began = self._start()
        try:
            made = self._coroutine.throw(*error)
        except StopIteration as stop:
            self._over(began, False)
            if self._ticket is not None:
                self._ticket.finish(stop.value)
            raise
        except BaseException as error:
            self._over(began, not isinstance(error, StopAsyncIteration))  # which ends a stream
            raise
        self._cpu += clock_nanoseconds() - began
        return made

    def close(self) -> None:
        """End the coroutine where it waits."""
        self._coroutine.close()
        self._end()

    cdef long long _start(self) except -1:
        cdef long long began = clock_nanoseconds()
        if not self._began:
            self._began = began
            self._token = PyContextVar_Set(_passing, self)
        return began

    cdef object _over(self, long long began, bint failed):
        """Note how long the call took, which is over."""
        cdef long long now = clock_nanoseconds()
        self._end()
        self.gate.record(self.side, self.reason, now - self._began, failed, self._cpu + now - began)

    cdef object _end(self):
        self.live = False
        if self.trial:
            self.gate.end_trial()
        token, self._token = self._token, None
        if token is not None:
            try:
                PyContextVar_Reset(_passing, token)
            except ValueError:  # it has begun in another context
                return


cdef class AsyncCall(_Call):
    """Calls ``fast`` in place of the coroutine function ``stock``: gives an awaitable of its result.

    Stock's coroutine runs where the gate is off, or ``fast`` declines or fails.
    """

    def __call__(self, *args, **kwargs):
        cdef Gate gate = self.gate
        if gate._state != _PLAIN:
            return self.stock(*args, **kwargs) if gate._state == _OFF else self._watched(args, kwargs)
        try:
            result = self.fast(*args, **kwargs)
        except Exception as error:
            return self._recover(error, args, kwargs)
        if result is _declined:
            return self.stock(*args, **kwargs)
        gate.served += 1
        return Ready(result)

    cdef object _watched(self, tuple args, dict kwargs):
        cdef Gate gate = self.gate
        cdef int admitted = gate.admits(args, kwargs)
        if admitted == _NO:
            gate.bypassed += 1
            shadow = gate.shadow
            ticket = None if shadow is None or self.beside is None else shadow.begin(self.beside, args, kwargs)
            return Followed(gate, self.stock(*args, **kwargs), _BYPASSED, False, ticket)
        if admitted == _YES:
            return self._admitted(args, kwargs)
        try:
            return self._admitted(args, kwargs)
        finally:
            gate.end_trial()

    cdef object _admitted(self, tuple args, dict kwargs):
        cdef Gate gate = self.gate
        cdef Followed followed
        cdef long long took, began = clock_nanoseconds()
        try:
            result = self.fast(*args, **kwargs)
        except Exception as error:
            return self._recover(error, args, kwargs)
        if result is _declined:
            followed = Followed(gate, self.stock(*args, **kwargs), _LEFT)
            followed.reason = gate.last_reason
            return followed
        took = clock_nanoseconds() - began
        gate.served += 1
        if gate._is_trying:
            gate._close()
        gate.record(_SERVED, None, took, False, took)
        return Ready(result)

    async def _recover(self, error, args, kwargs):
        """Run stock after an internal ``error``, which counts as a fault if stock succeeds."""
        result = await self.stock(*args, **kwargs)
        self.gate.fault(error)
        return result


cdef class Door:
    """Passes calls to ``method``, which serves them or runs ``stock`` itself; to ``stock`` what the share leaves to it.

    Where ``stock`` is None, ``method`` asks the gate which side a call is on.
    """

    cdef readonly Gate gate
    cdef readonly object method
    cdef readonly object stock
    cdef int _calls

    def __init__(self, gate: Gate, method: object, stock: object = None) -> None:
        self.gate = gate
        self.method = method
        self.stock = stock

    def __call__(self, *args, **kwargs):
        if self.gate._state != _WATCHED:
            return self.method(*args, **kwargs)
        return self._watched(args, kwargs)

    cdef object _watched(self, tuple args, dict kwargs):
        cdef Gate gate = self.gate
        cdef Passing outer = _running(gate)
        call = self.method
        if outer is not None and outer.live:  # called by stock, in a call that has a side
            if outer.side == _BYPASSED and self.stock is not None:
                call = self.stock
            return call(*args, **kwargs)
        cdef int side = _LEFT, admitted = _YES if self.stock is None else gate.admits(args, kwargs)
        if admitted == _NO:
            gate.bypassed += 1
            side, call = _BYPASSED, self.stock
        return self._timed(call, side, admitted == _TRIAL, args, kwargs)

    cdef object _timed(self, object call, int side, bint trial, tuple args, dict kwargs):
        """Run ``call``, which is on ``side`` unless it tells otherwise, and note how long it takes."""
        cdef Gate gate = self.gate
        cdef long long cpu = -1, began, took
        cdef Passing passing = Passing(gate, side, trial)
        cdef bint failed = True
        self._calls = (self._calls + 1) % _CPU_SAMPLE
        if self._calls == 0:
            cpu = thread_nanoseconds()
        token = PyContextVar_Set(_passing, passing)
        began = clock_nanoseconds()
        try:
            result = call(*args, **kwargs)
            failed = False
        except StopIteration:  # which ends a stream
            failed = False
            raise
        finally:
            took = clock_nanoseconds() - began
            if cpu >= 0:
                cpu = thread_nanoseconds() - cpu
            passing.live = False
            PyContextVar_Reset(_passing, token)
            if passing.trial:
                gate.end_trial()
            gate.record(passing.side, passing.reason, took, failed, cpu)
        return result


cdef class AsyncDoor(Door):
    """As ``Door``, for coroutine functions."""

    cdef object _timed(self, object call, int side, bint trial, tuple args, dict kwargs):
        return Followed(self.gate, call(*args, **kwargs), side, trial)
