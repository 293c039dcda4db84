# cython: language_level=3

cpdef tuple sent_value(str name, object value)
