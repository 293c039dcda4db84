"""Frames of Python functions as CPython begins to evaluate them, where somebody may stand before that (PEP 523).

Of the releases whose functions run slower under a profile function, 3.11 is the one without a monitoring tool. There
what stands before its evaluation costs a function call for each that begins. Elsewhere there is no such frame.
"""

from cpython.object cimport PyObject

cdef extern from *:
    """
    #if PY_VERSION_HEX >= 0x030B0000 && PY_VERSION_HEX < 0x030C0000
    #define Py_BUILD_CORE 1
    #include "internal/pycore_frame.h"
    #undef Py_BUILD_CORE
    #define ACCEL_HAS_FRAMES 1
    typedef struct _PyInterpreterFrame accel_frame;
    #define accel_frame_code(frame) ((PyObject *)(frame)->f_code)
    #define accel_frame_globals(frame) ((frame)->f_globals)
    #define accel_is_tracing(state) ((state)->tracing)
    #define accel_evaluate _PyEval_EvalFrameDefault
    /* The frame that Python knows of whoever calls; sys._getframe() may take one that is not to be seen yet. */
    #define accel_frame_below(state) ((PyObject *)PyThreadState_GetFrame(state))
    /* The first argument, or NULL: a function that has begun already may have deleted it. */
    static PyObject *accel_frame_first(accel_frame *frame)
    {
        PyObject *first = frame->f_code->co_argcount ? frame->localsplus[0] : NULL;
        return first != NULL && PyCell_Check(first) ? PyCell_GET(first) : first;
    }
    static void accel_stand_before(_PyFrameEvalFunction evaluating)
    {
        _PyInterpreterState_SetEvalFrameFunc(PyInterpreterState_Get(), evaluating);
    }
    static int accel_stands_before(_PyFrameEvalFunction evaluating)
    {
        return _PyInterpreterState_GetEvalFrameFunc(PyInterpreterState_Get()) == evaluating;
    }
    #else
    #define ACCEL_HAS_FRAMES 0
    typedef PyObject accel_frame;
    typedef PyObject *(*accel_evaluation)(PyThreadState *, accel_frame *, int);
    static PyObject *accel_evaluate(PyThreadState *state, accel_frame *frame, int thrown) { return NULL; }
    #define accel_frame_code(frame) (frame)
    #define accel_frame_globals(frame) (frame)
    #define accel_frame_first(frame) (frame)
    #define accel_frame_below(state) NULL
    #define accel_is_tracing(state) 1
    static void accel_stand_before(accel_evaluation evaluating) {}
    static int accel_stands_before(accel_evaluation evaluating) { return 0; }
    #endif
    """
    bint ACCEL_HAS_FRAMES
    ctypedef struct PyThreadState:
        pass
    ctypedef struct accel_frame:
        pass
    ctypedef PyObject *(*accel_evaluation "_PyFrameEvalFunction")(PyThreadState *, accel_frame *, int) noexcept
    PyObject *accel_evaluate(PyThreadState *state, accel_frame *frame, int thrown) noexcept
    PyObject *accel_frame_code(accel_frame *frame)
    PyObject *accel_frame_globals(accel_frame *frame)
    PyObject *accel_frame_first(accel_frame *frame)
    PyObject *accel_frame_below(PyThreadState *state)  # a new reference
    bint accel_is_tracing(PyThreadState *state)
    void accel_stand_before(accel_evaluation evaluating)
    bint accel_stands_before(accel_evaluation evaluating)
