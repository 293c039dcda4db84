"""Turns one call that stock has served into what the fast path needs to serve the next: proven on that very call.

Nothing about LiteLLM's conversion of an answer is written down here. A *template* is learned from stock: the shape of
an answer is filled with unmistakable leaves, twice, and converted by stock's own functions; where each leaf turns up in
the result says how to build it from any other leaves. A template counts only if it rebuilds, from the real body, the
very object tree that stock returned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from httpx import Headers
from pydantic import BaseModel

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.decline import Why
from litellm_accel.fastpath.known_names import TELLING_MEMBERS
from litellm_accel.hot import chat, template

HIDDEN, HEADERS, MILLISECONDS = "_hidden_params", "_response_headers", "_response_ms"
_TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens")
_ATOMS = (str, int, float, bool, type(None))


class Unrepeatable(Exception):
    """Stock does something with this call that a plan cannot repeat; the ``reason`` says what."""

    def __init__(self, reason: Why) -> None:
        super().__init__(reason)
        self.reason = reason


class InconclusiveRecording(Unrepeatable):
    """The call did not show how it goes when it goes well; the next one may."""


# --- object trees -----------------------------------------------------------------------------------------------------


def state(value: Any) -> Any:
    """Return everything that can be told about a response object as plain comparable data, order included."""
    if isinstance(value, BaseModel):
        return (
            type(value),
            _members(value.__dict__),
            frozenset(value.__pydantic_fields_set__),
            None if value.__pydantic_extra__ is None else _members(value.__pydantic_extra__),
            None if value.__pydantic_private__ is None else _members(value.__pydantic_private__),
        )
    if type(value) is dict:
        return (dict, _members(value))
    if type(value) is list:
        return (list, [state(item) for item in value])
    if type(value) is float:
        return (float, repr(value))
    if type(value) is Headers:
        return (Headers, value.raw)
    if type(value) in _ATOMS:
        return (type(value), value)
    if isinstance(value, str):  # the caller's own name for the model
        return (type(value), str.__str__(value))
    raise Unrepeatable(decline.RESULT_HOLDS.of(type(value).__name__))


def _members(held: dict[Any, Any]) -> list[tuple[Any, Any]]:
    """Return the keys and states of what a dictionary holds; LiteLLM's threads may add to it meanwhile."""
    return [(key, state(item)) for key, item in held.copy().items()]


def with_sentinels(value: Any, salt: int, sums: bool = False) -> Any:
    """Return a JSON value of the same shape whose leaves are all different, and different for each ``salt``.

    Of two numbers the first is the smaller with one salt, the greater with the next, and they are another distance
    apart, lest what LiteLLM computes or chooses by comparing them looks constant. With ``sums``, tokens that add up
    still do.
    """
    count = 0

    def mark(item: Any, key: str) -> Any:
        nonlocal count
        if type(item) is dict:
            made = {name: mark(inner, name) for name, inner in item.items()}
            parts: list[Any] = [item.get(name) for name in _TOKENS]
            if sums and all(type(part) is int for part in parts):
                for apart in (lambda usage: 0, _reasoning):
                    if parts[0] + parts[1] + apart(item) == parts[2]:
                        made[_TOKENS[2]] = made[_TOKENS[0]] + made[_TOKENS[1]] + apart(made)
                        break
            return made
        if type(item) is list:
            return [mark(inner, key) for inner in item]
        if item is None or type(item) is bool or not item:
            return item
        count += 1
        if type(item) is int:
            return (1_000_003 * salt + (17 if salt % 2 else -19) * count) * (1 if item > 0 else -1)
        if type(item) is float:
            return (salt + (count if salt % 2 else 1023 - count) / 1024) * (1 if item > 0 else -1)
        return item if key in TELLING_MEMBERS else f"~{salt}~{count}~"

    return mark(value, "")


def _reasoning(usage: dict[str, Any]) -> int:
    """Return how many tokens of reasoning a usage counts."""
    details = usage.get("completion_tokens_details")
    count = details.get("reasoning_tokens") if type(details) is dict else None
    return count if type(count) is int else 0


def learn_template(convert: Callable[[Any], Any], value: Any, sums: bool = False) -> template.Template:
    """Return the template of ``convert``, which ``sums`` tokens up or not, for values shaped like ``value``.

    Raises ``Unrepeatable``.
    """
    examples = []
    for salt in (1, 2):
        example = with_sentinels(value, salt, sums)
        found = chat.shape_of(example, sums)
        if found is None:
            raise Unrepeatable(decline.ANSWER_SHAPE)
        places: dict[Any, int] = {}
        for index, leaf in enumerate(found[1]):
            if leaf:
                places[type(leaf), leaf] = index
        examples.append((convert(example), places))
    (first, first_places), (second, second_places) = examples
    root = TemplateLearner(first_places, second_places).node(first, second, root=True)
    return template.Template(root)


class TemplateLearner:
    """Two results of one conversion, walked together: what agrees is constant, what differs must be a leaf."""

    def __init__(self, first: Mapping[Any, int], second: Mapping[Any, int]) -> None:
        self.first = first
        self.second = second
        self.met: set[int] = set()

    def node(self, one: Any, two: Any, root: bool = False) -> tuple[Any, ...]:
        if type(one) is not type(two):
            raise Unrepeatable(decline.RESULT_BY_VALUES)
        if isinstance(one, BaseModel):
            return self._model(one, two, root)
        if type(one) is dict:
            self._once(one)
            return self._dict(one, two)
        if type(one) is list:
            self._once(one)
            if len(one) != len(two):
                raise Unrepeatable(decline.RESULT_BY_VALUES)
            return (template.LIST, tuple(self.node(a, b) for a, b in zip(one, two, strict=True)))
        if type(one) not in _ATOMS:
            raise Unrepeatable(decline.RESULT_HOLDS.of(type(one).__name__))
        return self._atom(one, two)

    def _once(self, held: Any) -> None:
        if id(held) in self.met:
            raise Unrepeatable(decline.RESULT_SHARES)
        self.met.add(id(held))

    def _atom(self, one: Any, two: Any) -> tuple[Any, ...]:
        place = self.first.get((type(one), one))
        if place is not None and place == self.second.get((type(two), two)):
            return (template.LEAF, place)
        if one == two:
            return (template.CONSTANT, one)
        if type(one) is str:
            for (kind, leaf), index in self.first.items():
                if kind is str and one.endswith(leaf):
                    prefix = one[: -len(leaf)]
                    other = next((t for (k, t), i in self.second.items() if i == index and k is str), None)
                    if other is not None and two == prefix + other:
                        return (template.PREFIXED, prefix, index)
        raise Unrepeatable(decline.RESULT_COMPUTED)

    def _dict(self, one: dict[Any, Any], two: dict[Any, Any]) -> tuple[Any, ...]:
        if list(one) != list(two):
            raise Unrepeatable(decline.RESULT_BY_VALUES)
        return (template.DICT, tuple(one), tuple(self.node(one[key], two[key]) for key in one))

    def _model(self, one: BaseModel, two: BaseModel, root: bool) -> tuple[Any, ...]:
        self._once(one)
        if one.__pydantic_fields_set__ != two.__pydantic_fields_set__:
            raise Unrepeatable(decline.RESULT_BY_VALUES)
        fields = self._dict(one.__dict__, two.__dict__)
        extra = self._held(one.__pydantic_extra__, two.__pydantic_extra__)
        if root:
            names = tuple(one.__pydantic_private__ or ())
            if sorted(names) == [HIDDEN, HEADERS]:
                if dict(zip(fields[1], fields[2], strict=True))["created"][0] != template.LEAF:
                    raise Unrepeatable(decline.RESULT_WITHOUT_TIME)
                fields = (template.DICT, (*fields[1], MILLISECONDS), (*fields[2], (template.SLOT, MILLISECONDS)))
            elif sorted(names) != [HIDDEN, HEADERS, MILLISECONDS]:  # an embedding's
                raise Unrepeatable(decline.RESULT_PRIVATE)
            private: tuple[Any, ...] = (template.DICT, names, tuple((template.SLOT, name) for name in names))
        else:
            private = self._held(one.__pydantic_private__, two.__pydantic_private__)
        return (template.MODEL, type(one), fields, frozenset(one.__pydantic_fields_set__), extra, private)

    def _held(self, one: dict[str, Any] | None, two: dict[str, Any] | None) -> tuple[Any, ...]:
        if one is None or two is None:
            if one is not two:
                raise Unrepeatable(decline.RESULT_BY_VALUES)
            return (template.CONSTANT, None)
        return self._dict(one, two)


# --- headers ----------------------------------------------------------------------------------------------------------


def learn_headers(names: tuple[Any, ...], convert: Callable[[dict[str, str]], dict[str, str]]) -> tuple[Any, ...]:
    """Return ``((name in additional_headers, index of the response header), …)`` for a response with these headers.

    The name of an empty value is given in a tuple.
    """
    values = {
        name[0] if type(name) is tuple else name: "" if type(name) is tuple else f"~{index}~"
        for index, name in enumerate(names)
    }
    back = {value: index for index, value in enumerate(values.values())}
    try:
        return tuple((name, back[value]) for name, value in convert(values).items())
    except KeyError:
        raise Unrepeatable(decline.RESPONSE_HEADERS) from None
