from cpython.object cimport PyObject
from libc.stdint cimport uint64_t


cdef class Bindings:
    cdef list _points
    cdef Py_ssize_t _count
    cdef bint _watching
    cdef uint64_t _writes
    cdef PyObject *_watched[32]
    cdef uint64_t _versions[32]

    cpdef bint changed(self) except -1
