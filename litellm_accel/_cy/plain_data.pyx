# cython: language_level=3, binding=True, boundscheck=False, wraparound=False
"""Whether data is of the plainest kind, so that making a copy of it changes nothing."""

from __future__ import annotations

from libc.math cimport isfinite

__all__ = ["is_plain"]

cdef str _NUL = "\x00"


def is_plain(object data, Py_ssize_t levels, bint finite) -> bool:
    """Return whether ``data`` is a tree of texts, numbers, truth values, None, lists, tuples and dictionaries.

    It is at most ``levels`` deep; its keys are texts, no text holds a NUL, and no type is derived from another. If it
    must be ``finite``, no number is infinite or none at all.
    """
    return _is_plain(data, levels, finite)


cdef bint _is_plain(object data, Py_ssize_t levels, bint finite) except -1:
    if levels < 0:
        return False
    cdef object kind = type(data)
    if kind is str:
        return _NUL not in <str>data
    if data is None or kind is int or kind is bool:
        return True
    if kind is float:
        return not finite or isfinite(<double>data)
    if kind is dict:
        for key, value in (<dict>data).items():
            if type(key) is not str or _NUL in <str>key or not _is_plain(value, levels - 1, finite):
                return False
        return True
    if kind is list:
        for value in <list>data:
            if not _is_plain(value, levels - 1, finite):
                return False
        return True
    if kind is tuple:
        for value in <tuple>data:
            if not _is_plain(value, levels - 1, finite):
                return False
        return True
    return False
