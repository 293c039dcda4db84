# cython: language_level=3, binding=True, boundscheck=False, wraparound=False
"""Notices that one of many dictionaries or classes has changed since it was last looked at."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType
from typing import Any

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from litellm_accel._cy.dict_writes cimport (
    ACCEL_HAS_WATCHERS,
    accel_class_dict,
    accel_dict_version,
    accel_watch,
    accel_writes,
)

cdef extern from *:
    Py_ssize_t PyList_GET_SIZE(PyObject *held) nogil
    Py_ssize_t PyTuple_GET_SIZE(PyObject *held) nogil
    PyObject *PyList_GET_ITEM(PyObject *held, Py_ssize_t i) nogil
    PyObject *PyTuple_GET_ITEM(PyObject *held, Py_ssize_t i) nogil
    PyObject *PyDict_GetItemWithError(object held, object key) except? NULL

cdef extern from *:
    """
    #define accel_class_version(kind) (((PyTypeObject *)(kind))->tp_version_tag)
    #define accel_class_lookup(kind, name) _PyType_Lookup((PyTypeObject *)(kind), name)
    """
    unsigned int accel_class_version(object kind)  # 0 until an attribute is looked up
    PyObject *accel_class_lookup(object kind, object name)

__all__ = ["Classes", "Watch", "namespace"]


def namespace(owner: Any) -> dict[str, Any] | MappingProxyType[str, Any]:
    """Return the dictionary that holds the attributes of a module, class or instance."""
    if isinstance(owner, type):
        return accel_class_dict(owner)
    return vars(owner)


cdef class Watch:
    """A set of dictionaries and lists that are expected to stay as they are.

    ``changed()`` is true if any of them may have changed since ``mark()``; ``differences()`` then tells what really
    did. Compiled, CPython itself tells whether a dictionary was written to, and only then is anything compared; the
    pure twin compares every value, by identity.
    """

    def __init__(self) -> None:
        self._names = []
        self._dicts = []
        self._seen = []
        self._list_names = []
        self._lists = []
        self._items = []
        self._held_versions = bytearray()
        self._writes = accel_writes

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
        if not accel_watch(held) and ACCEL_HAS_WATCHERS:
            raise RuntimeError("all of this process's dictionary watchers are taken")
        self._names.append(name)
        self._dicts.append(held)
        self._held_versions = self._held_versions + bytes(sizeof(uint64_t))
        self._versions = <uint64_t *><char *>self._held_versions
        self._versions[len(self._dicts) - 1] = accel_dict_version(<PyObject *>held)
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
        if ACCEL_HAS_WATCHERS:
            return accel_writes != self._writes
        for i in range(PyList_GET_SIZE(dicts)):
            if accel_dict_version(PyList_GET_ITEM(dicts, i)) != self._versions[i]:
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
        # Versions first: what another thread writes while the copies are made counts as a change.
        self._writes = accel_writes
        for i in range(len(self._dicts)):
            self._versions[i] = accel_dict_version(<PyObject *>self._dicts[i])
        self._items = [tuple(held) for held in self._lists]
        for i in written:
            self._seen[i] = dict(self._dicts[i])

    cdef bint _written(self, Py_ssize_t i):
        # An instance's attributes may change without a new version.
        return ACCEL_HAS_WATCHERS or accel_dict_version(<PyObject *>self._dicts[i]) != self._versions[i]


cdef class Classes:
    """The attributes by some names of classes, wherever among their bases they come from; others may change.

    ``changed()`` is true if any of them is another object than when this was made. Compiled, CPython's own version of a
    class, which each write to it or to a base renews, says whether there is anything to compare.
    """

    def __init__(self, classes: Iterable[type], names: Iterable[str]) -> None:
        cdef Py_ssize_t i
        self._classes = tuple(classes)
        self._names = tuple(names)
        self._held = [self._now(kind) for kind in self._classes]
        self._held_versions = bytearray(len(self._classes) * sizeof(unsigned int))
        self._versions = <unsigned int *><char *>self._held_versions
        for i in range(len(self._classes)):
            self._versions[i] = accel_class_version(self._classes[i])

    cdef tuple _now(self, object kind):
        cdef PyObject *found
        cdef list held = []
        for name in self._names:
            found = accel_class_lookup(kind, name)
            held.append(None if found == NULL else <object>found)
        return tuple(held)

    cpdef bint changed(self):
        """Return whether any of the attributes is another object now."""
        cdef Py_ssize_t i
        cdef unsigned int version
        for i in range(len(self._classes)):
            version = accel_class_version(self._classes[i])
            if version and version == self._versions[i]:
                continue
            for before, now in zip(self._held[i], self._now(self._classes[i])):
                if before is not now:
                    return True
            self._versions[i] = accel_class_version(self._classes[i])
        return False


cdef bint _same(PyObject *now, PyObject *before):
    cdef Py_ssize_t i
    if PyList_GET_SIZE(now) != PyTuple_GET_SIZE(before):
        return False
    for i in range(PyList_GET_SIZE(now)):
        if PyList_GET_ITEM(now, i) != PyTuple_GET_ITEM(before, i):
            return False
    return True
