"""Whether a dictionary has been written to, as CPython knows it; for all modules that watch some.

Up to 3.13 every dictionary carries a version, which each write renews (PEP 509). From 3.12 on a watcher counts the
writes to all watched dictionaries of a module together, and keeps which the last ones were: while that count stands
still, no version has to be looked at. Later CPythons have the watcher alone. A process has eight of them; where all are
taken, versions serve, or, without those, every look finds a write. From 3.13 on an instance may keep its attributes in
itself; then neither knows of writes to them, until the dictionary is made to hold them.
"""

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #if defined(__GNUC__)
    #pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    #pragma GCC diagnostic ignored "-Wunused-function"
    #endif
    #define ACCEL_LAST_WRITES 64
    static uint64_t accel_writes = 1;
    #if PY_VERSION_HEX >= 0x030C0000
    #define ACCEL_HAS_WATCHERS 1
    static int accel_watcher = -1;
    static void *accel_last_writes[ACCEL_LAST_WRITES];  /* the written dicts, by the count of the write */
    static int accel_on_write(PyDict_WatchEvent event, PyObject *dict, PyObject *key, PyObject *value)
    {
        accel_writes++;
        accel_last_writes[accel_writes % ACCEL_LAST_WRITES] = dict;
        return 0;
    }
    /* 1 if writes to the dict are counted from now on, as long as it lives, 0 if they cannot be. */
    static int accel_watch(PyObject *dict)
    {
        if (accel_watcher < 0 && (accel_watcher = PyDict_AddWatcher(accel_on_write)) < 0) {
            PyErr_Clear();
            return 0;
        }
        return PyDict_Watch(accel_watcher, dict) < 0 ? -1 : 1;
    }
    #else
    #define ACCEL_HAS_WATCHERS 0
    #define accel_last_writes ((void **)0)
    static int accel_watch(PyObject *dict) { return 0; }
    #endif
    #if PY_VERSION_HEX >= 0x030E0000
    #define accel_dict_version(dict) (accel_watcher < 0 ? ++accel_writes : accel_writes)
    #elif PY_VERSION_HEX >= 0x030D0000
    #define accel_dict_version(dict) (((PyDictObject *)(dict))->ma_version_tag >> 12)  /* below: who watches the dict */
    #elif PY_VERSION_HEX >= 0x030C0000
    #define accel_dict_version(dict) (((PyDictObject *)(dict))->ma_version_tag >> 8)
    #else
    #define accel_dict_version(dict) (((PyDictObject *)(dict))->ma_version_tag)
    #endif
    /* Whether the dict of an instance only shows values that the instance keeps in itself; their writes go past it. */
    #if PY_VERSION_HEX >= 0x030D0000
    #define accel_shows_values(dict) (((PyDictObject *)(dict))->ma_values != NULL)
    #else
    #define accel_shows_values(dict) 0
    #endif
    /* The dict of a class itself, which Python shows behind a proxy. */
    static PyObject *accel_class_dict(PyObject *type)
    {
        PyObject *dict = ((PyTypeObject *)type)->tp_dict;
        Py_XINCREF(dict);
        return dict;
    }
    """
    const bint ACCEL_HAS_WATCHERS
    const uint64_t ACCEL_LAST_WRITES
    uint64_t accel_writes
    void *accel_last_writes[64]
    int accel_watch(object mapping) except -1
    uint64_t accel_dict_version(PyObject *mapping) noexcept nogil
    bint accel_shows_values(object mapping)
    object accel_class_dict(object owner)
