from cpython.object cimport PyObject


cdef class Side:
    cdef readonly long long calls
    cdef readonly long long errors
    cdef readonly long long nanoseconds
    cdef readonly long long slowest
    cdef readonly long long cpu_calls
    cdef readonly long long cpu_nanoseconds
    cdef long long[1280] _buckets
    cdef long long[1280] _cpu_buckets

    cpdef void record(self, long long nanoseconds, bint failed, long long cpu_nanoseconds)


cdef class Gate:
    cdef readonly str name
    cdef readonly bint on
    cdef readonly bint is_open
    cdef readonly long long served
    cdef readonly long long bypassed
    cdef readonly long long faults
    cdef readonly long long max_faults
    cdef readonly double window
    cdef readonly double cooldown
    cdef readonly object clock
    cdef readonly str last_fault
    cdef readonly object last_reason
    cdef readonly tuple sides
    cdef readonly object shadow
    cdef readonly object observer
    cdef bint _switched_on
    cdef int _state
    cdef long long _threshold
    cdef tuple _path
    cdef unsigned int _calls
    cdef double _opened
    cdef bint _is_trying
    cdef double _tried
    cdef object _fault_times
    cdef dict _declined
    cdef dict _subjects

    cdef void _settle(self)
    cpdef object decline(self, object reason)
    cdef object _told_apart(self, object reason)
    cdef object _explain(self, object reason)
    cpdef void fault(self, object error)
    cdef object _close(self)
    cdef int _retries(self) except -1
    cpdef int admits(self, tuple args, dict kwargs) except -1
    cdef int _admits_by_array(self, PyObject **given, size_t count, PyObject *names) except -1
    cdef int _decides(self, object key) except -1
    cdef long long _place(self, object key) except -1
    cpdef object record(self, int side, object reason, long long nanoseconds, bint failed, long long cpu_nanoseconds)
