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
    ACCEL_LAST_WRITES,
    accel_class_dict,
    accel_dict_version,
    accel_last_writes,
    accel_shows_values,
    accel_watch,
    accel_writes,
)

from cpython.ref cimport Py_DECREF, Py_INCREF

cdef enum:
    _FEW = 8  # values that are compared in place

cdef extern from *:
    Py_ssize_t PyList_GET_SIZE(PyObject *held) nogil
    Py_ssize_t PyTuple_GET_SIZE(PyObject *held) nogil
    PyObject *PyList_GET_ITEM(PyObject *held, Py_ssize_t i) nogil
    PyObject *PyTuple_GET_ITEM(PyObject *held, Py_ssize_t i) nogil
    PyObject *PyDict_GetItemWithError(object held, object key) except? NULL
    int PyDict_Next(object held, Py_ssize_t *position, PyObject **key, PyObject **value)

cdef extern from *:
    """
    #define accel_class_version(kind) (((PyTypeObject *)(kind))->tp_version_tag)
    #define accel_class_lookup(kind, name) _PyType_Lookup((PyTypeObject *)(kind), name)
    """
    unsigned int accel_class_version(object kind)  # 0 until an attribute is looked up
    PyObject *accel_class_lookup(object kind, object name)

__all__ = ["MISSING", "Classes", "Watch", "namespace"]

#: What was there before something was added.
MISSING = object()


def namespace(owner: Any) -> dict[str, Any] | MappingProxyType[str, Any]:
    """Return the dictionary that holds the attributes of a module, class or instance."""
    if isinstance(owner, type):
        return accel_class_dict(owner)
    return vars(owner)


cdef class Watch:
    """A set of dictionaries and lists that are expected to stay as they are.

    ``changed()`` is true if any of them may have changed since ``mark()``; ``differences()`` then tells what really
    did, and so does ``take()``, which marks what it tells. CPython itself says which dictionaries were written to, and
    only these are compared, value by value, by identity.
    """

    def __init__(self) -> None:
        self._names = []
        self._dicts = []
        self._seen = []
        self._places = {}
        self._free = []
        self._list_names = []
        self._lists = []
        self._items = []
        self._held_versions = bytearray()
        self._writes = accel_writes

    def __len__(self) -> int:
        return len(self._dicts) - len(self._free) + len(self._lists)

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
        if accel_shows_values(held):
            _hold_values(held)
        if not accel_watch(held) and ACCEL_HAS_WATCHERS:
            raise RuntimeError("all of this process's dictionary watchers are taken")
        if not self._free:
            self._free.append(len(self._dicts))
            for values in (self._names, self._dicts, self._seen):
                values.append(None)
            self._held_versions = self._held_versions + bytes(sizeof(uint64_t))
            self._versions = <uint64_t *><char *>self._held_versions
        self._put(self._free.pop(), name, held)

    def drop(self, name: str) -> None:
        """Watch what was added as ``name`` no longer."""
        cdef Py_ssize_t i
        while name in self._list_names:
            i = self._list_names.index(name)
            del self._list_names[i], self._lists[i], self._items[i]
        while name in self._names:
            i = self._names.index(name)
            address = <size_t><PyObject *>self._dicts[i]
            self._places[address].remove(i)
            if not self._places[address]:
                del self._places[address]
            self._put(i, None, {})  # in its place, so that others keep theirs
            self._free.append(i)

    cdef int _put(self, Py_ssize_t i, name, dict held) except -1:
        self._names[i], self._dicts[i] = name, held
        if name is not None:
            self._places.setdefault(<size_t><PyObject *>held, []).append(i)
        self._versions[i] = accel_dict_version(<PyObject *>held)
        self._seen[i] = dict(held)
        return 0

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
        return [(name, key) for name, key, _ in self._find(False)]

    def take(self) -> list[tuple[str, Any, Any]]:
        """Return ``(name, key, before)`` of each difference and mark it; ``before`` is ``MISSING`` for what was added.

        What is written from now on differs again.
        """
        return self._find(True)

    def mark(self) -> None:
        """Take what is there now as unchanged."""
        self._find(True)

    cdef list _find(self, bint marking):
        cdef Py_ssize_t i
        cdef list found = []
        # Versions first: what another thread writes while the copies are made counts as a change.
        cdef uint64_t writes = accel_writes
        for i in range(len(self._lists)):
            before = self._items[i]
            if not _same(<PyObject *>self._lists[i], <PyObject *>before):
                if marking:
                    self._items[i] = tuple(self._lists[i])
                found.append((self._list_names[i], None, before))
        for i, version in self._written():
            if not self._compare_in_place(i, found, marking):
                held = dict(self._dicts[i])
                self._compare(i, held, found)
                if marking:
                    self._seen[i] = held
            if marking:
                self._versions[i] = version
        if marking:
            self._writes = writes
        return found

    cdef list _written(self):
        """Return the numbers of the dictionaries that may have been written to, and their versions."""
        cdef Py_ssize_t i
        cdef uint64_t writes = accel_writes, version
        cdef list found = []
        cdef set places
        if ACCEL_HAS_WATCHERS and writes - self._writes < ACCEL_LAST_WRITES:
            places = set()
            while writes != self._writes:
                places.update(self._places.get(<size_t>accel_last_writes[writes % ACCEL_LAST_WRITES], ()))
                writes -= 1
            return [(i, 0) for i in sorted(places)]
        for i in range(len(self._dicts)):
            version = accel_dict_version(<PyObject *>self._dicts[i])
            if ACCEL_HAS_WATCHERS or version != self._versions[i]:
                found.append((i, version))
        return found

    cdef bint _compare_in_place(self, Py_ssize_t i, list found, bint marking) except -1:
        """Add to ``found`` what differs, and mark it; return False, with nothing done, if that is much or a key.

        A module of two thousand names is compared three times sooner than copied and compared.
        """
        cdef Py_ssize_t here = 0, there = 0
        cdef PyObject *key
        cdef PyObject *value
        cdef PyObject *seen_key
        cdef PyObject *seen_value
        cdef PyObject *differing[_FEW]
        cdef int count = 0, k
        cdef dict held = self._dicts[i], seen = self._seen[i]
        if len(held) != len(seen):
            return False
        while PyDict_Next(held, &here, &key, &value):  # runs no code of others, so the dictionaries stay as they are
            if not PyDict_Next(seen, &there, &seen_key, &seen_value) or key != seen_key:
                return False
            if value != seen_value:
                if count == _FEW:
                    return False
                differing[count] = key
                count += 1
        for k in range(count):
            Py_INCREF(<object>differing[k])
        names = []
        for k in range(count):
            names.append(<object>differing[k])
            Py_DECREF(<object>differing[k])
        for name in names:
            found.append((self._names[i], name, seen[name]))
            if marking and name in held:
                seen[name] = held[name]
        return True

    cdef int _compare(self, Py_ssize_t i, dict held, list found) except -1:
        cdef Py_ssize_t here = 0, there = 0
        cdef PyObject *key
        cdef PyObject *value
        cdef PyObject *seen_key
        cdef PyObject *seen_value
        cdef dict seen = self._seen[i]
        cdef list differing = []
        name = self._names[i]
        # Values change more often than keys: as long as both have the same ones, they come in the same order.
        while PyDict_Next(held, &here, &key, &value):
            if not PyDict_Next(seen, &there, &seen_key, &seen_value) or key != seen_key:
                break
            if value != seen_value:
                differing.append((name, <object>key, <object>seen_value))
        else:
            if len(held) == len(seen):
                found += differing
                return 0
        for held_key, held_value in held.items():
            seen_value = PyDict_GetItemWithError(seen, held_key)
            if seen_value != <PyObject *>held_value:
                found.append((name, held_key, MISSING if seen_value == NULL else <object>seen_value))
        found += [(name, gone, before) for gone, before in seen.items() if gone not in held]
        return 0


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


cdef int _hold_values(dict held) except -1:
    """Make the dictionary of an instance hold the values that the instance keeps in itself, without a moment without.

    What cannot be among those, the dictionary must hold itself; and what is popped is taken out of it.
    """
    if held:
        name, value = held.popitem()
        held[name] = value
    else:
        held[None] = None
        del held[None]
    return 0


cdef bint _same(PyObject *now, PyObject *before):
    cdef Py_ssize_t i
    if PyList_GET_SIZE(now) != PyTuple_GET_SIZE(before):
        return False
    for i in range(PyList_GET_SIZE(now)):
        if PyList_GET_ITEM(now, i) != PyTuple_GET_ITEM(before, i):
            return False
    return True
