cdef class Gate:
    cdef readonly str name
    cdef readonly bint on
    cdef readonly long long served
    cdef readonly long long faults
    cdef readonly long long max_faults
    cdef readonly str last_fault
    cdef bint _switched_on
    cdef dict _declined
    cdef dict _subjects

    cpdef object decline(self, object reason)
    cdef object _told_apart(self, object reason)
    cpdef void fault(self, object error)
