cdef class Watch:
    cdef list _names
    cdef list _dicts
    cdef list _seen
    cdef list _list_names
    cdef list _lists
    cdef list _items
    cdef bytearray _stamps
    cdef unsigned long long *_tags
    cdef unsigned long long _common

    cpdef bint changed(self)
    cdef bint _written(self, Py_ssize_t i)
    cdef _stamp(self)
