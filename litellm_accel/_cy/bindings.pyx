# cython: language_level=3, binding=True, boundscheck=False, wraparound=False
"""Learning cheaply that names in other modules are still bound to what they were.

CPython itself tells whether a dict was written to at all, and only then are names compared.
"""

from __future__ import annotations

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from litellm_accel._cy.dict_writes cimport accel_class_dict, accel_dict_version, accel_watch, accel_writes

__all__ = ["Bindings"]


cdef dict _namespace(object owner):
    if isinstance(owner, dict):
        return owner
    if isinstance(owner, type):
        return accel_class_dict(owner)
    return owner.__dict__


cdef bint _same(dict namespace, tuple names, object before) except -1:
    cdef Py_ssize_t index
    if names is None:
        return namespace == before
    for index in range(len(names)):
        if namespace.get(names[index]) is not (<list>before)[index]:
            return False
    return True


cdef class Bindings:
    """Names in other modules and what each was bound to when this object was made.

    Each point is ``(owner, names)``: a module, class or dict, and names in it, of which a missing one counts as
    ``None``. Where ``names`` is ``None`` the whole content counts, compared by equality. At most 32 points.
    """

    def __init__(self, points: object) -> None:
        cdef Py_ssize_t index
        cdef dict namespace
        points = [(_namespace(owner), names) for owner, names in points]
        if len(points) > 32:
            raise ValueError(f"at most 32 points can be watched, got {len(points)}")
        self._points = []
        self._watching = True
        self._writes = accel_writes
        for index, (namespace, names) in enumerate(points):
            self._watched[index] = <PyObject *>namespace
            self._watching = accel_watch(namespace) and self._watching
            self._versions[index] = accel_dict_version(self._watched[index])
            values = dict(namespace) if names is None else [namespace.get(name) for name in names]
            self._points.append((namespace, names, values))
            self._count += 1

    cpdef bint changed(self) except -1:
        """Return whether any of the names is now bound to another object, or a whole content differs."""
        cdef Py_ssize_t index
        cdef uint64_t version, writes = accel_writes
        if self._watching and writes == self._writes:
            return False
        for index in range(self._count):
            version = accel_dict_version(self._watched[index])
            if version != self._versions[index]:
                namespace, names, values = self._points[index]
                if not _same(namespace, names, values):
                    return True
                self._versions[index] = version
        self._writes = writes
        return False
