# cython: language_level=3, binding=True
"""Tells of the Python functions that begin in a thread, by the place that CPython has for profilers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType, FrameType

from cpython.object cimport PyObject

__all__ = ["Calls"]

cdef extern from *:
    """
    #include <frameobject.h>
    #define accel_code_of(frame) ((PyObject *)PyFrame_GetCode(frame))

    #if defined(_MSC_VER)
    static __declspec(thread) PyObject *accel_here = NULL;
    #else
    static __thread PyObject *accel_here = NULL;
    #endif

    #if PY_VERSION_HEX >= 0x030B0000 && PY_VERSION_HEX < 0x030C0000 && !defined(PYPY_VERSION)
    #ifndef Py_BUILD_CORE
    #define Py_BUILD_CORE 1
    #endif
    #include "internal/pycore_frame.h"
    #define ACCEL_EVALUATES 1
    typedef struct _PyInterpreterFrame accel_Begun;
    #define accel_code_in(frame) ((PyObject *)(frame)->f_code)
    /* Of a function that makes a generator only that begins, not the frame that makes it. */
    #define accel_makes(frame) (((frame)->f_code->co_flags & (CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR)) \\
        && (frame)->owner != FRAME_OWNED_BY_GENERATOR)
    #define accel_depth(state) ((state)->recursion_limit - (state)->recursion_remaining)
    #define accel_default _PyEval_EvalFrameDefault
    #define accel_is_default() \\
        (_PyInterpreterState_GetEvalFrameFunc(PyInterpreterState_Get()) == _PyEval_EvalFrameDefault)
    #define accel_is_set(function) (_PyInterpreterState_GetEvalFrameFunc(PyInterpreterState_Get()) == (function))
    #define accel_set(function) _PyInterpreterState_SetEvalFrameFunc(PyInterpreterState_Get(), (function))
    #else
    #define ACCEL_EVALUATES 0
    typedef struct { int none; } accel_Begun;
    #define accel_code_in(frame) NULL
    #define accel_makes(frame) 0
    #define accel_depth(state) 0
    static PyObject *accel_default(PyThreadState *state, accel_Begun *frame, int thrown) { return NULL; }
    #define accel_is_default() 0
    #define accel_is_set(function) 0
    #define accel_set(function) ((void)(function))
    #endif
    """
    ctypedef struct PyFrameObject:
        pass
    ctypedef struct PyThreadState:
        void *c_profilefunc
    ctypedef struct accel_Begun:
        pass
    ctypedef int (*Py_tracefunc)(PyObject *, PyFrameObject *, int, PyObject *) noexcept
    ctypedef PyObject *(*accel_Evaluation)(PyThreadState *, accel_Begun *, int) noexcept
    int PyTrace_CALL
    int PyTrace_RETURN
    void PyEval_SetProfile(Py_tracefunc function, PyObject *held)
    object accel_code_of(PyFrameObject *frame)
    int ACCEL_EVALUATES
    PyObject *accel_here
    PyObject *accel_code_in(accel_Begun *frame)
    bint accel_makes(accel_Begun *frame)
    int accel_depth(PyThreadState *state)
    PyObject *accel_default(PyThreadState *state, accel_Begun *frame, int thrown) noexcept
    bint accel_is_default()
    bint accel_is_set(accel_Evaluation function)
    void accel_set(accel_Evaluation function)

# Python's own functions run in one C function, one inside another where somebody hears of them: not deeper than this.
cdef enum:
    MAX_DEPTH = 2000

cdef int _evaluating = 0  # in so many threads

cdef class Calls:
    """Calls ``began(frame, code)`` when a function begins for the first time in a thread where this is switched on.

    What runs below the function of the code ``aside`` is passed over. ``began`` must not raise. It ``is_lost`` if not
    all were heard of.

    In CPython 3.11 frames are heard of as they are evaluated: a profiler would be told of every call and return, of C
    functions as well, which takes as long as the call itself. It has the place only while a function begins.
    """

    cdef readonly bint is_lost
    cdef object _began
    cdef object _aside
    cdef PyFrameObject *_within
    cdef dict _seen

    def __init__(self, began: Callable[[FrameType, CodeType], None], aside: CodeType) -> None:
        self._began = began
        self._aside = aside
        self._within = NULL  # the frame of what is passed over now
        self._seen = {}  # kept, so that no other gets the address of one that is gone
        self.is_lost = False

    def on(self) -> bool:
        """Begin in this thread; return False, with nothing done, where a profiler has the place."""
        global accel_here, _evaluating
        if sys.getprofile() is not None or accel_here != NULL:
            return False
        if ACCEL_EVALUATES and (accel_is_set(_evaluate) or (not _evaluating and accel_is_default())):
            accel_set(_evaluate)
            _evaluating += 1
            accel_here = <PyObject *>self
            return True
        self._within = NULL
        PyEval_SetProfile(_heard, <PyObject *>self)
        return True

    def off(self) -> None:
        """End in this thread, unless somebody else has taken the place."""
        global accel_here, _evaluating
        if accel_here == <PyObject *>self:  # it may be on in several threads
            accel_here = NULL
            _evaluating -= 1
            if not accel_is_set(_evaluate):
                self.is_lost = True
            elif not _evaluating:
                accel_set(accel_default)
        elif sys.getprofile() is self:
            PyEval_SetProfile(NULL, NULL)

    cdef bint _knows(self, PyObject *code):
        address = <size_t>code
        if address in self._seen:
            return True
        self._seen[address] = <object>code
        return False

    def clear(self) -> None:
        """Forget which functions have begun."""
        self._seen = {}


cdef PyObject *_evaluate(PyThreadState *state, accel_Begun *frame, int thrown) noexcept:
    """Evaluate a frame, in whatever thread."""
    global accel_here
    cdef PyObject *held = accel_here
    cdef PyObject *code
    cdef PyObject *made
    if accel_depth(state) > MAX_DEPTH:
        accel_set(accel_default)  # whoever is traced finds that
    if held == NULL or thrown:
        return accel_default(state, frame, thrown)
    code = accel_code_in(frame)
    if code == <PyObject *>(<Calls>held)._aside:
        accel_here = NULL
        made = accel_default(state, frame, thrown)
        accel_here = held
        return made
    if accel_makes(frame) or state.c_profilefunc != NULL or (<Calls>held)._knows(code):
        return accel_default(state, frame, thrown)
    PyEval_SetProfile(_begun, held)
    made = accel_default(state, frame, thrown)
    if state.c_profilefunc == <void *>_begun:  # it has not come to begin
        PyEval_SetProfile(NULL, NULL)
    return made


cdef int _begun(PyObject *held, PyFrameObject *frame, int event, PyObject *argument) noexcept:
    """A function begins; the profiler's place is for this alone."""
    global accel_here
    PyEval_SetProfile(NULL, NULL)
    if event == PyTrace_CALL:
        calls = <Calls>held
        accel_here = NULL
        calls._began(<object>frame, accel_code_of(frame))
        accel_here = held
    return 0


cdef int _heard(PyObject *held, PyFrameObject *frame, int event, PyObject *argument) noexcept:
    cdef Calls calls = <Calls>held
    if calls._within != NULL:
        if event == PyTrace_RETURN and frame == calls._within:
            calls._within = NULL
    elif event == PyTrace_CALL:
        code = accel_code_of(frame)
        if code is calls._aside:
            calls._within = frame
            return 0
        address = <size_t><PyObject *>code
        if address not in calls._seen:
            calls._seen[address] = code
            calls._began(<object>frame, code)
    return 0
