# cython: language_level=3, binding=True
"""Tells of the Python functions that begin in a thread, by the place that CPython has for profilers.

Where CPython lets somebody stand before the evaluation of functions, a compiled module stands there instead: under a
profile function all instructions run in their general forms.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF

from litellm_accel._cy.frames cimport (
    ACCEL_HAS_FRAMES,
    PyThreadState,
    accel_evaluate,
    accel_frame,
    accel_frame_below,
    accel_frame_code,
    accel_frame_first,
    accel_frame_globals,
    accel_is_tracing,
    accel_stand_before,
    accel_stands_before,
)

__all__ = ["Calls", "self_name"]

cdef extern from *:
    """
    #include <frameobject.h>
    #define accel_code_of(frame) ((PyObject *)PyFrame_GetCode(frame))
    #if defined(_MSC_VER)
    #define ACCEL_OF_THREAD __declspec(thread)
    #else
    #define ACCEL_OF_THREAD __thread
    #endif
    static ACCEL_OF_THREAD PyObject *accel_hearing;  /* the ``Calls`` that hear of this thread's functions */
    static int accel_hearing_threads;
    """
    ctypedef struct PyFrameObject:
        pass
    ctypedef int (*Py_tracefunc)(PyObject *, PyFrameObject *, int, PyObject *) noexcept
    int PyTrace_CALL
    int PyTrace_RETURN
    void PyEval_SetProfile(Py_tracefunc function, PyObject *held)
    object accel_code_of(PyFrameObject *frame)
    PyObject *accel_hearing
    int accel_hearing_threads

_SELVES = ("self", "cls")  # what methods call their first argument; to look at others costs more than all else here


def self_name(code: CodeType) -> str | None:
    """Return by which name the method of this ``code`` has what it is a method of, None if it is none."""
    first = code.co_varnames[0] if code.co_argcount else None
    return first if first in _SELVES else None


cdef class Calls:
    """The functions that begin for the first time in threads where this is switched on.

    Those that are ``known`` (by the addresses of their codes) are noted in ``met``, each with what it is a method of.
    Of others, and of all while ``looks_below``, ``began(code, globals, below, first)`` is told, which must not raise:
    ``below`` is the frame that has called it, ``first`` what it is a method of. What runs below the function of the
    code ``aside`` is passed over.
    """

    cdef readonly list met
    cdef readonly dict seen
    cdef public bint looks_below
    cdef dict _known
    cdef object _began
    cdef object _aside
    cdef PyFrameObject *_within

    def __init__(
        self,
        dict known,
        began: Callable[[CodeType, dict[str, Any], FrameType | None, Any], None],
        aside: CodeType,
    ) -> None:
        self.met = []
        self.looks_below = False
        self._known = known
        self._began = began
        self._aside = aside
        self._within = NULL  # the frame of what is passed over now
        self.seen = {}  # kept, so that no other gets the address of one that is gone

    def on(self) -> bool:
        """Begin in this thread; return False, with nothing done, where a profiler has the place."""
        if sys.getprofile() is not None or accel_hearing != NULL:
            return False
        if _STANDS_BEFORE and (accel_stands_before(accel_evaluate) or accel_stands_before(_evaluate)):
            _hear(<PyObject *>self)
        else:
            self._within = NULL
            PyEval_SetProfile(_heard, <PyObject *>self)
        return True

    def off(self) -> None:
        """End in this thread, unless somebody else has taken the place."""
        if accel_hearing == <PyObject *>self:
            _hear_no_more()
        elif sys.getprofile() is self:
            PyEval_SetProfile(NULL, NULL)

    def clear(self) -> None:
        """Forget which functions have begun."""
        self.seen = {}
        self.met = []

    def begun(self, frame: FrameType) -> None:
        """Note the function that begins in ``frame``."""
        code = frame.f_code
        if not self._is_new(code):
            return
        known = self._known.get(<size_t><PyObject *>code)
        if known is None or self.looks_below:
            name = self_name(code)
            self._began(code, frame.f_globals, frame.f_back, None if name is None else frame.f_locals.get(name))
        elif known.module is not None:
            self.met.append((known, None if known.first is None else frame.f_locals.get(known.first)))

    cdef bint _is_new(self, object code):
        address = <size_t><PyObject *>code
        if address in self.seen:
            return False
        self.seen[address] = code
        return True

    cdef int _begins(self, PyThreadState *state, accel_frame *frame) except -1:
        """As ``begun``, before there is a frame that Python knows."""
        cdef PyObject *first = accel_frame_first(frame)
        cdef PyObject *below
        code = <object>accel_frame_code(frame)
        if not self._is_new(code):
            return 0
        known = self._known.get(<size_t><PyObject *>code)
        if known is None or self.looks_below:
            held = None if first == NULL or self_name(code) is None else <object>first
            below = accel_frame_below(state)
            self._began(code, <object>accel_frame_globals(frame), None if below == NULL else <object>below, held)
            Py_XDECREF(below)
        elif known.module is not None:
            self.met.append((known, None if first == NULL or known.first is None else <object>first))
        return 0


cdef int _heard(PyObject *held, PyFrameObject *frame, int event, PyObject *argument) noexcept:
    cdef Calls calls = <Calls>held
    if calls._within != NULL:
        if event == PyTrace_RETURN and frame == calls._within:
            calls._within = NULL
    elif event == PyTrace_CALL:
        if accel_code_of(frame) is calls._aside:
            calls._within = frame
        else:
            calls.begun(<object>frame)
    return 0


cdef void _hear(PyObject *calls) noexcept:
    """Let ``calls`` hear of this thread's functions."""
    global accel_hearing, accel_hearing_threads
    accel_hearing = calls
    accel_hearing_threads += 1
    if accel_hearing_threads == 1:
        accel_stand_before(_evaluate)


cdef void _hear_no_more() noexcept:
    global accel_hearing, accel_hearing_threads
    accel_hearing = NULL
    accel_hearing_threads -= 1
    if accel_hearing_threads == 0 and accel_stands_before(_evaluate):
        accel_stand_before(accel_evaluate)


cdef PyObject *_evaluate(PyThreadState *state, accel_frame *frame, int thrown) noexcept:
    """Evaluate a function after whoever hears of this thread's functions has heard of it."""
    cdef PyObject *calls = accel_hearing
    cdef PyObject *result
    if calls == NULL or thrown or accel_is_tracing(state):
        return accel_evaluate(state, frame, thrown)
    if accel_frame_code(frame) == <PyObject *>(<Calls>calls)._aside:
        _hear_no_more()
        result = accel_evaluate(state, frame, thrown)
        _hear(calls)
        return result
    _tell(calls, state, frame)
    return accel_evaluate(state, frame, thrown)


cdef void _tell(PyObject *calls, PyThreadState *state, accel_frame *frame) noexcept:
    global accel_hearing
    accel_hearing = NULL  # of what is done here nobody is told
    (<Calls>calls)._begins(state, frame)
    accel_hearing = calls


def _stands_before() -> bool:
    """Return whether whoever stands before the evaluation is told of all functions, of subscriptions too."""
    if not ACCEL_HAS_FRAMES or not accel_stands_before(accel_evaluate):
        return False
    names: dict[str, Any] = {}
    exec(_PROBE, names)
    for _ in range(_WARM):  # until CPython has made it the special form that some releases do not tell of
        names["probe"]()
    told: list[str] = []
    calls = Calls({}, lambda code, *_: told.append(code.co_name), _stands_before.__code__)
    _hear(<PyObject *>calls)
    try:
        names["probe"]()
    finally:
        _hear_no_more()
    return told == ["probe", "__getitem__"]


def _forked() -> None:
    """Other threads are gone, and what has heard of theirs."""
    global accel_hearing_threads
    accel_hearing_threads = 0 if accel_hearing == NULL else 1
    if accel_hearing == NULL and accel_stands_before(_evaluate):
        accel_stand_before(accel_evaluate)


_PROBE = """
class Held:
    def __getitem__(self, key): return key
held = Held()
def probe(): return held[0]
"""
_WARM = 64
_STANDS_BEFORE = _stands_before()
os.register_at_fork(after_in_child=_forked)
