"""What pydantic makes of an answer for those who are told of it: a dictionary, made of the answer as it is by then.

What becomes of a member depends on its class, its name and the type of its value. Answers show it: what pydantic has
made of one without objection is made of others with members of the same types.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from litellm_accel.hot import payload_parts

_LEAVES = frozenset((str, int, float, bool, type(None)))
_NONE: frozenset[type] = frozenset()
# By which a class has a say in what becomes of its objects.
_DECORATORS = ("model_serializers", "field_serializers", "computed_fields")
# Answers that are learned from in vain are not learned from for ever, nor are ever more kinds of them kept.
_MAX_TRIES = 64

_Known = dict[type, dict[str, tuple[frozenset[type], frozenset[type]]]]


class ModelDumps:
    """Makes the dictionaries that ``model_dump()`` makes."""

    def __init__(self) -> None:
        self._known: _Known = {}
        self._methods: dict[type, Any] = {}
        self._tries = 0

    def made(self, model: Any) -> Any:
        """Return what ``model.model_dump()`` does."""
        kind = type(model)
        if self._methods.get(kind) is kind.model_dump:
            made = payload_parts.dumped(model, self._known)
            if made is not None:
                return made
        method, made = kind.model_dump, model.model_dump()
        if self._tries < _MAX_TRIES:
            self._tries += 1
            try:
                self._learn(model, made)
                self._methods[kind] = method
            except Exception:  # pydantic objects, or the class has a say in it
                return made
        return made

    def _learn(self, model: Any, made: Any) -> None:
        """Learn from what LiteLLM has made of ``model``. Raises what pydantic does, and ``ValueError``."""
        found = {kind: dict(fields) for kind, fields in self._known.items()}
        _gather(model, found)
        strict = type(model).__pydantic_serializer__.to_python(model, exclude_unset=True, warnings="error")
        if not _is_same(strict, made) or not _is_same(payload_parts.dumped(model, found), made):
            raise ValueError(type(model))
        self._known = found


def _gather(model: Any, found: _Known) -> None:
    kind = type(model)
    decorators = getattr(kind, "__pydantic_decorators__", None)
    if not isinstance(model, BaseModel) or any(getattr(decorators, name) for name in _DECORATORS):
        raise ValueError(type(model))
    fields = found.setdefault(kind, {})
    members = {name: value for name, value in vars(model).items() if name in model.__pydantic_fields_set__}
    for name, value in {**members, **(model.__pydantic_extra__ or {})}.items():
        values, items = fields.get(name, (_NONE, _NONE))
        if type(value) is list:
            items |= {type(item) for item in value}
        fields[name] = values | {type(value)}, items
        for item in value if type(value) is list else (value,):
            if type(item) not in _LEAVES and item != {}:
                _gather(item, found)


def _is_same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if type(one) is dict:
        return list(one) == list(other) and all(map(_is_same, one.values(), other.values()))
    if type(one) is list:
        return len(one) == len(other) and all(map(_is_same, one, other))
    return bool(one == other)
