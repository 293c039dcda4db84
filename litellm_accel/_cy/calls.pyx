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
    """
    ctypedef struct PyFrameObject:
        pass
    ctypedef int (*Py_tracefunc)(PyObject *, PyFrameObject *, int, PyObject *) noexcept
    int PyTrace_CALL
    int PyTrace_RETURN
    void PyEval_SetProfile(Py_tracefunc function, PyObject *held)
    object accel_code_of(PyFrameObject *frame)


cdef class Calls:
    """Calls ``began(frame, code)`` when a function begins for the first time in a thread where this is switched on.

    What runs below the function of the code ``aside`` is passed over. ``began`` must not raise.
    """

    cdef object _began
    cdef object _aside
    cdef PyFrameObject *_within
    cdef dict _seen

    def __init__(self, began: Callable[[FrameType, CodeType], None], aside: CodeType) -> None:
        self._began = began
        self._aside = aside
        self._within = NULL  # the frame of what is passed over now
        self._seen = {}  # kept, so that no other gets the address of one that is gone

    def on(self) -> bool:
        """Begin in this thread; return False, with nothing done, where a profiler has the place."""
        if sys.getprofile() is not None:
            return False
        self._within = NULL
        PyEval_SetProfile(_heard, <PyObject *>self)
        return True

    def off(self) -> None:
        """End in this thread, unless somebody else has taken the place."""
        if sys.getprofile() is self:
            PyEval_SetProfile(NULL, NULL)

    def clear(self) -> None:
        """Forget which functions have begun."""
        self._seen = {}


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
