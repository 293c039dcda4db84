cdef class Template:
    cdef readonly tuple root
    cdef object _made

    cpdef object build(self, list leaves, dict slots)
