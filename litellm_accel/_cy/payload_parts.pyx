# cython: language_level=3, binding=True, boundscheck=False, wraparound=False
"""The parts of a payload that are made of each answer: a dictionary of the answer, and of its headers."""

from __future__ import annotations

from typing import Any

from cpython.object cimport PyObject_GenericGetAttr

__all__ = ["dumped", "numbered"]

cdef type _NONE = type(None)


def dumped(model: Any, dict known) -> dict[str, Any] | None:
    """Return what pydantic makes of a ``model`` without what is unset; None if not all that is in it is ``known``.

    ``known`` has, by classes of models and names of members, the types of their values and of the items of those that
    are lists. Values are texts, numbers, truth values, None, models, lists of these and empty dictionaries.
    """
    return _dumped(model, known)


cdef dict _dumped(object model, dict known):
    cdef dict fields = known.get(type(model))
    cdef dict made = {}
    cdef set names
    cdef object extra
    if fields is None:
        return None
    names = PyObject_GenericGetAttr(model, "__pydantic_fields_set__")
    for name, value in (<dict>PyObject_GenericGetAttr(model, "__dict__")).items():
        if name in names and not _put(made, name, value, fields, known):
            return None
    extra = PyObject_GenericGetAttr(model, "__pydantic_extra__")
    if extra is not None:
        for name, value in (<dict>extra).items():
            if not _put(made, name, value, fields, known):
                return None
    return made


cdef inline bint _is_leaf(object kind):
    return kind is str or kind is int or kind is _NONE or kind is float or kind is bool


cdef bint _put(dict made, object name, object value, dict fields, dict known) except -1:
    cdef tuple kinds = fields.get(name)
    cdef object kind = type(value)
    cdef list items
    if kinds is None or kind not in <frozenset>kinds[0]:
        return False
    if _is_leaf(kind):
        made[name] = value
    elif kind is list:
        items = []
        for item in <list>value:
            kind = type(item)
            if kind not in <frozenset>kinds[1]:
                return False
            if not _is_leaf(kind):
                item = _dumped(item, known)
                if item is None:
                    return False
            items.append(item)
        made[name] = items
    elif kind is dict:
        if <dict>value:
            return False
        made[name] = {}
    else:
        made[name] = held = _dumped(value, known)
        return held is not None
    return True


def numbered(dict headers, tuple known) -> dict[Any, Any]:
    """Return a dictionary of ``headers``: ``known`` has ``(name in it, name of the header, whether it is a number)``.

    What should be a number and is none stays as it is.
    """
    cdef dict made = {}
    cdef tuple item
    for item in known:
        value = headers[item[1]]
        made[item[0]] = _number(value) if item[2] else value
    return made


cdef object _number(object value):
    cdef Py_UCS4 letter, before = u" "
    if type(value) is str:
        for letter in <str>value:  # no exception is made for what is clearly no number
            if letter < 128 and not (u"0" <= letter <= u"9" or letter <= u" " or letter == u"_"):
                if (letter != u"-" and letter != u"+") or before > u" ":
                    return value
            before = letter
    try:
        return int(value)
    except (ValueError, TypeError):
        return value
