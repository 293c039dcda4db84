"""Pictures of data as it was at one moment: the values, and which of them are one and the same object."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import CoroutineType
from typing import Any

from openai import NotGiven
from pydantic import BaseModel

from litellm_accel.stock.seams import CACHING_HANDLER, either

# Of a ``Logging`` object: of stock's own doing, and read by nobody once a call has succeeded.
UNREAD: dict[str, Any] = {**dict.fromkeys(CACHING_HANDLER), "message_copy_duration_ms": 0.0}
# Of a stream: the attributes that are objects of their own. No two parts have one of the same name.
OBJECTS = ("completion_stream", *CACHING_HANDLER, "logging_loop", "logging_obj", "rules")
RAW = "original_response"


class SnapshotNode:
    """A dictionary or list as it was: which object, and what was in it."""

    __slots__ = ("items", "keys", "original", "places")

    def __init__(self, original: Any) -> None:
        self.original = original
        self.keys: tuple[Any, ...] | None = None
        self.items: list[Any] = []
        self.places = 0  # at how many places it occurs

    def named(self) -> Iterator[tuple[Any, Any]]:
        """Yield what is in it, with its keys if it is a dictionary."""
        return zip(self.keys, self.items, strict=True) if self.keys is not None else ((None, it) for it in self.items)


def take_snapshot(value: Any, seen: dict[int, SnapshotNode] | None = None) -> Any:
    """Return ``value`` with every dictionary and list in it as a ``SnapshotNode``; one that occurs twice is one
    ``SnapshotNode``."""
    seen = {} if seen is None else seen
    if type(value) is not dict and type(value) is not list:
        return value
    held = seen.get(id(value))
    if held is None:
        held = seen[id(value)] = SnapshotNode(value)
        if type(value) is dict:
            members = value.copy()  # LiteLLM's threads may add to it
            held.keys = tuple(members)
            held.items = [take_snapshot(item, seen) for item in members.values()]
        else:
            held.items = [take_snapshot(item, seen) for item in value]
    held.places += 1
    return held


def is_blank(value: Any) -> bool:
    """Return whether ``value`` is an object of LiteLLM's, or a lock, as it was made: one is as good as another."""
    kind = type(value)
    if kind is not asyncio.Lock and (
        kind.__module__.partition(".")[0] != "litellm" or kind.__init__ is object.__init__
    ):
        return False
    try:
        return bool(vars(value) == vars(kind()))
    except TypeError:
        return False


def take_stream_snapshot(stream: Any, again: Any, is_given: bool, seen: dict[int, SnapshotNode]) -> SnapshotNode:
    """Return what LiteLLM's ``stream`` is made of, and what a router would call ``again`` with, as ``take_snapshot``.

    Objects are replaced by their types, since a picture must not keep a stream open. ``is_given`` says whether its
    ``Logging`` object is the caller's.
    """
    logging = stream.logging_obj
    parts = {
        "stream": vars(stream),
        "logging": vars(logging),
        "handler": vars(either(logging, *CACHING_HANDLER)),
        "options": vars(stream.completion_stream._options),
        "again": again,
    }
    shown: SnapshotNode = take_snapshot(parts, seen)
    named = dict(shown.named())
    details = dict(named["logging"].named())["model_call_details"]
    own = [shown, named["stream"], named["options"], *(() if is_given else (named["logging"], details))]
    for node in (named["stream"], named["options"], named["logging"], details):
        conceal_objects(node, stream)
    for node in own:
        node.original = {}  # that is nobody else's
    return shown


def anatomy(stream: Any) -> Any:
    """Return what an SDK stream is made of, as plain data. It is other data as soon as somebody has begun to read."""
    response = stream.response
    request = response.request
    return (
        [
            [(name, type(part)) for name, part in vars(whole).items() if name != "_options"]
            for whole in (stream, response, response.stream, response.stream._stream, request)
        ],
        (response.status_code, response.headers.raw, response.default_encoding, response.extensions, response.history),
        (request.method, str(request.url), request.headers.raw, request.content, request.extensions),
        (stream._client, stream._cast_to, stream.__orig_class__),
    )


def conceal_objects(node: SnapshotNode, stream: Any = None) -> None:
    """Put in the places of the objects that belong to a ``stream`` what stands for them."""
    node.items = [_concealed(name, held, stream) for name, held in node.named()]


def _concealed(name: Any, held: Any, stream: Any) -> Any:
    if name == RAW:
        return _raw(held, stream) if stream is not None else getattr(held, "cr_code", held)
    return type(held) if name in OBJECTS or type(held) is NotGiven else held


def _raw(response: Any, stream: Any) -> Any:
    """Return what stands for the response that LiteLLM keeps: the stream's type, the code of an ended coroutine."""
    if response is stream:
        return type(stream)
    return response.cr_code if type(response) is CoroutineType and response.cr_frame is None else response


def without_nodes(shown: Any, made: dict[int, Any] | None = None) -> Any:
    """Return what a picture shows, as new dictionaries and lists; what is one thing in the picture is one thing.

    ``made`` has what was made of other pictures taken at the same moment.
    """
    if type(shown) is not SnapshotNode:
        return shown
    made = {} if made is None else made
    again: Any = made.get(id(shown))
    if again is None:
        again = made[id(shown)] = [] if shown.keys is None else {}
        if shown.keys is None:
            again.extend(without_nodes(item, made) for item in shown.items)
        else:
            again.update((name, without_nodes(item, made)) for name, item in shown.named())
    return again


def within(path: tuple[Any, ...], value: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield the way to every dictionary and list inside ``value``, and itself; not inside its ``messages``."""
    if path and path[0] == "messages":
        return
    items = value.items() if isinstance(value, dict) else enumerate(value) if type(value) is list else ()
    for key, item in items:
        if type(item) in (dict, list):
            yield (*path, key), item
            yield from within((*path, key), item)


def _are_blank(one: Any, two: Any) -> bool:
    return type(one) is type(two) and is_blank(one) and is_blank(two)


def equivalent(one: Any, two: Any, pairs: dict[int, Any]) -> bool:
    """Return whether two pictures show the same, the same things being one thing in both."""
    if type(one) is not SnapshotNode or type(two) is not SnapshotNode:
        return one is two or (type(one) is type(two) and bool(one == two)) or _are_blank(one, two)
    if id(one) in pairs or id(two) in pairs:
        return pairs.get(id(one)) is two and pairs.get(id(two)) is one
    pairs[id(one)], pairs[id(two)] = two, one
    return (
        one.keys == two.keys
        and len(one.items) == len(two.items)
        and all(
            name in UNREAD or equivalent(item, other, pairs)
            for (name, item), other in zip(one.named(), two.items, strict=True)
        )
    )


def where(one: Any, two: Any) -> str:
    """Return the way to the first difference between two pictures or response objects; empty if none is found."""
    return ".".join(str(step) for step in _apart(one, two, set()) or ())


def _apart(one: Any, two: Any, met: set[tuple[int, int]]) -> list[Any] | None:
    if type(one) is not type(two):
        return []
    if (id(one), id(two)) in met:
        return None
    met.add((id(one), id(two)))
    ones, twos = _members(one), _members(two)
    if ones is None or twos is None:
        return None if one is two or bool(one == two) else []
    if list(ones) != list(twos):
        names = [name for name in {**ones, **twos} if (name in ones) is not (name in twos)]
        return [names[0]] if names else []
    for name, value in ones.items():
        found = None if name in UNREAD else _apart(value, twos[name], met)
        if found is not None:
            return [name, *found]
    return None


def _members(value: Any) -> dict[Any, Any] | None:
    """Return what is in a value by name or number, None if it is a leaf."""
    if type(value) is SnapshotNode:
        return dict(value.named()) if value.keys is not None else dict(enumerate(value.items))
    if isinstance(value, BaseModel):
        return {**vars(value), **(value.__pydantic_extra__ or {}), **(value.__pydantic_private__ or {})}
    if type(value) is dict:
        return value
    return dict(enumerate(value)) if type(value) in (list, tuple) else None
