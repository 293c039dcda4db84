cdef class Splitter:
    cdef readonly bint odd
    cdef bytes _held
    cdef list _later
    cdef list _cuts
    cdef bint _early
    cdef bint _open
    cdef Py_ssize_t _next
    cdef Py_ssize_t _before

    cpdef bytes next(self)
    cpdef void back(self)
    cpdef list rest(self)
    cdef list _packets(self)
    cdef _join(self)
