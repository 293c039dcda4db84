# cython: language_level=3, binding=True, boundscheck=False, wraparound=False
"""Notices that one of many dictionaries has changed since it was last looked at."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from cpython.object cimport PyObject

cdef extern from *:
    """
    /* A stamp that differs whenever a dictionary was written: its version tag where dictionaries have one (3.10, 3.11),
       else a count of writes that a dictionary watcher keeps for all watched dictionaries together (3.12 and later). */
    #if PY_VERSION_HEX >= 0x030C0000
    static unsigned long long accel_writes = 1;
    static int accel_watcher = -1;
    static int accel_on_write(PyDict_WatchEvent event, PyObject *dict, PyObject *key, PyObject *value) {
        accel_writes++;
        return 0;
    }
    static int accel_watch(PyObject *dict) {
        if (accel_watcher < 0) {
            accel_watcher = PyDict_AddWatcher(accel_on_write);
            if (accel_watcher < 0) return -1;
        }
        return PyDict_Watch(accel_watcher, dict);
    }
    #define ACCEL_COMMON_STAMP 1
    static unsigned long long accel_stamp(PyObject *dict) { return accel_writes; }
    #else
    static int accel_watch(PyObject *dict) { return 0; }
    #define ACCEL_COMMON_STAMP 0
    static unsigned long long accel_stamp(PyObject *dict) {
        return dict ? (unsigned long long)((PyDictObject *)dict)->ma_version_tag : 0;
    }
    #endif
    static PyObject *accel_type_dict(PyObject *type) {
        PyObject *dict = ((PyTypeObject *)type)->tp_dict;
        Py_XINCREF(dict);
        return dict;
    }
    """
    int accel_watch(object held) except -1
    unsigned long long accel_stamp(PyObject *held) nogil
    const bint ACCEL_COMMON_STAMP
    object accel_type_dict(object owner)
    Py_ssize_t PyList_GET_SIZE(PyObject *held) nogil
    Py_ssize_t PyTuple_GET_SIZE(PyObject *held) nogil
    PyObject *PyList_GET_ITEM(PyObject *held, Py_ssize_t i) nogil
    PyObject *PyTuple_GET_ITEM(PyObject *held, Py_ssize_t i) nogil
    PyObject *PyDict_GetItemWithError(object held, object key) except? NULL

__all__ = ["Watch", "namespace"]


def namespace(owner: Any) -> dict[str, Any] | MappingProxyType[str, Any]:
    """Return the dictionary that holds the attributes of a module, class or instance."""
    if isinstance(owner, type):
        return accel_type_dict(owner)
    return vars(owner)


cdef class Watch:
    """A set of dictionaries and lists that are expected to stay as they are.

    ``changed()`` is true if any of them may have changed since ``mark()``; ``differences()`` then tells what really
    did. Compiled: on CPython 3.10 and 3.11 every dictionary carries a version tag that each write renews, later ones
    tell watchers of each write, so that nothing is compared until something was written. Here: a comparison, by
    identity, of every value.
    """

    def __init__(self) -> None:
        self._names = []
        self._dicts = []
        self._seen = []
        self._list_names = []
        self._lists = []
        self._items = []
        self._stamps = bytearray()
        self._common = accel_stamp(NULL)

    def __len__(self) -> int:
        return len(self._dicts) + len(self._lists)

    def add(self, name: str, owner: Any) -> None:
        """Watch ``owner``: a dictionary, a list, or a module, class or instance for its attributes."""
        if isinstance(owner, list):
            self._list_names.append(name)
            self._lists.append(owner)
            self._items.append(tuple(owner))
            return
        held = owner if isinstance(owner, dict) else namespace(owner)
        if type(held) is not dict:
            raise TypeError(f"cannot watch a {type(held).__name__}")
        accel_watch(held)
        self._names.append(name)
        self._dicts.append(held)
        self._stamps = self._stamps + bytes(sizeof(unsigned long long))
        self._tags = <unsigned long long *><char *>self._stamps
        self._tags[len(self._dicts) - 1] = accel_stamp(<PyObject *>held)
        self._seen.append(dict(held))

    cpdef bint changed(self):
        """Return whether something may have been written since ``mark()``."""
        cdef Py_ssize_t i
        cdef PyObject *lists = <PyObject *>self._lists
        cdef PyObject *items = <PyObject *>self._items
        cdef PyObject *dicts = <PyObject *>self._dicts
        for i in range(PyList_GET_SIZE(lists)):
            if not _same(PyList_GET_ITEM(lists, i), PyList_GET_ITEM(items, i)):
                return True
        if ACCEL_COMMON_STAMP:
            return accel_stamp(NULL) != self._common
        for i in range(PyList_GET_SIZE(dicts)):
            if accel_stamp(PyList_GET_ITEM(dicts, i)) != self._tags[i]:
                return True
        return False

    def differences(self) -> list[tuple[str, Any]]:
        """Return ``(name, key)`` of each value that is another object than at ``mark()``, was added or taken away.

        For a list the key is None.
        """
        cdef Py_ssize_t i
        found = []
        for name, now, items in zip(self._list_names, self._lists, self._items):
            if not _same(<PyObject *>now, <PyObject *>items):
                found.append((name, None))
        for i in range(len(self._dicts)):
            if self._written(i):
                name, seen, held = self._names[i], self._seen[i], dict(self._dicts[i])
                for key, value in held.items():
                    if PyDict_GetItemWithError(seen, key) != <PyObject *>value:
                        found.append((name, key))
                found += [(name, key) for key in seen if key not in held]
        return found

    def mark(self) -> None:
        """Take what is there now as unchanged."""
        cdef Py_ssize_t i
        written = [i for i in range(len(self._dicts)) if self._written(i)]
        # Stamps first: what another thread writes while the copies are made counts as a change.
        self._stamp()
        self._items = [tuple(held) for held in self._lists]
        for i in written:
            self._seen[i] = dict(self._dicts[i])

    cdef bint _written(self, Py_ssize_t i):
        return ACCEL_COMMON_STAMP or accel_stamp(<PyObject *>self._dicts[i]) != self._tags[i]

    cdef _stamp(self):
        cdef Py_ssize_t i
        self._stamps = bytearray(sizeof(unsigned long long) * len(self._dicts))
        self._tags = <unsigned long long *><char *>self._stamps
        for i in range(len(self._dicts)):
            self._tags[i] = accel_stamp(<PyObject *>self._dicts[i])
        self._common = accel_stamp(NULL)


cdef bint _same(PyObject *now, PyObject *before):
    cdef Py_ssize_t i
    if PyList_GET_SIZE(now) != PyTuple_GET_SIZE(before):
        return False
    for i in range(PyList_GET_SIZE(now)):
        if PyList_GET_ITEM(now, i) != PyTuple_GET_ITEM(before, i):
            return False
    return True
