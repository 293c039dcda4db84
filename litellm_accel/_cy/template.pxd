cdef class Template:
    cdef readonly tuple root

    cpdef object build(self, list leaves, dict slots)
