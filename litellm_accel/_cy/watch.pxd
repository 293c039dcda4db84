from libc.stdint cimport uint64_t


cdef class Watch:
    cdef list _names
    cdef list _dicts
    cdef list _seen
    cdef dict _places  # the numbers of each dictionary, by its address
    cdef list _free  # numbers without a dictionary
    cdef list _list_names
    cdef list _lists
    cdef list _items
    cdef bytearray _held_versions
    cdef uint64_t *_versions
    cdef uint64_t _writes

    cpdef bint changed(self)
    cdef int _put(self, Py_ssize_t i, name, dict held) except -1
    cdef list _find(self, bint marking)
    cdef list _written(self)
    cdef bint _compare_in_place(self, Py_ssize_t i, list found, bint marking) except -1
    cdef int _compare(self, Py_ssize_t i, dict held, list found) except -1


cdef class Classes:
    cdef tuple _classes
    cdef tuple _names
    cdef list _held
    cdef bytearray _held_versions
    cdef unsigned int *_versions

    cdef tuple _now(self, object kind)
    cpdef bint changed(self)
