# cython: language_level=3, binding=True, boundscheck=False, wraparound=False
"""Learning cheaply that names in other modules are still bound to what they were.

Compiled, CPython itself tells whether a dict changed at all: up to 3.11 each dict carries a version (PEP 509), from
3.12 on a watcher is called (``PyDict_Watch``). Only then are names compared; the pure twin compares at every look.
"""

from __future__ import annotations

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

__all__ = ["Bindings"]

cdef extern from *:
    """
    #if PY_VERSION_HEX >= 0x030C0000
    /* One watcher and one version for all dicts: a process has eight watchers, and watched names rarely change. */
    static uint64_t accel_epoch = 0;
    static int accel_watcher = -1;

    static int accel_on_change(PyDict_WatchEvent event, PyObject *dict, PyObject *key, PyObject *value)
    {
        accel_epoch++;
        return 0;
    }

    static int accel_watch(PyObject *dict)
    {
        if (accel_watcher < 0) {
            accel_watcher = PyDict_AddWatcher(accel_on_change);
            if (accel_watcher < 0) {  /* all eight taken: every look compares the names */
                PyErr_Clear();
                return 0;
            }
        }
        return PyDict_Watch(accel_watcher, dict);
    }

    #define accel_version(dict) (accel_watcher < 0 ? ++accel_epoch : accel_epoch)
    #else
    #define accel_watch(dict) 0
    #define accel_version(dict) (((PyDictObject *)(dict))->ma_version_tag)
    #endif
    #define accel_type_dict(type) (((PyTypeObject *)(type))->tp_dict)
    """
    int accel_watch(PyObject *namespace) except -1
    uint64_t accel_version(PyObject *namespace) noexcept
    PyObject *accel_type_dict(object owner) noexcept  # borrowed


cdef dict _namespace(object owner):
    if isinstance(owner, dict):
        return owner
    if isinstance(owner, type):
        return <dict>accel_type_dict(owner)
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
    ``None``. Where ``names`` is ``None`` the whole content counts, compared by equality. At most 16 points.
    """

    def __init__(self, points: object) -> None:
        cdef Py_ssize_t index
        cdef dict namespace
        points = [(_namespace(owner), names) for owner, names in points]
        if len(points) > 16:
            raise ValueError(f"at most 16 points can be watched, got {len(points)}")
        self._points = []
        for index, (namespace, names) in enumerate(points):
            self._watched[index] = <PyObject *>namespace
            accel_watch(self._watched[index])
            self._versions[index] = accel_version(self._watched[index])
            values = dict(namespace) if names is None else [namespace.get(name) for name in names]
            self._points.append((namespace, names, values))
            self._count += 1

    cpdef bint changed(self) except -1:
        """Return whether any of the names is now bound to another object, or a whole content differs."""
        cdef Py_ssize_t index
        cdef uint64_t version
        for index in range(self._count):
            version = accel_version(self._watched[index])
            if version != self._versions[index]:
                namespace, names, values = self._points[index]
                if not _same(namespace, names, values):
                    return True
                self._versions[index] = version
        return False
