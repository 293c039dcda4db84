"""How LiteLLM copies a caller's messages, and other arguments, for those it tells of a call."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.plans.argument_writes import same
from litellm_accel.fastpath.plans.snapshots import SnapshotNode, without_nodes
from litellm_accel.fastpath.plans.templates import Unrepeatable

_ALL_LEVELS = 64
# Instead of a number of levels: dictionaries in dictionaries are new ones, and what lists hold is the caller's.
_DICTIONARIES = -1
# In texts with data that LiteLLM may cut.
_DATA = ";base64,"


class LoggedMessages:
    """Messages as LiteLLM logs them: copies, in which long data are cut."""

    def __init__(self) -> None:
        self._limits = importlib.import_module("litellm.litellm_core_utils.logging_utils")

    def made(self, messages: Any) -> list[dict[str, Any]] | None:
        """Return what LiteLLM makes of a few short texts in an instant; None of others, which it may do in a thread."""
        limits = self._limits
        if type(messages) is not list or limits.MAX_BASE64_LENGTH_FOR_LOGGING <= 0:
            return None
        characters = 0
        made = []
        for message in messages:
            if type(message) is not dict:
                return None
            for value in message.values():
                if type(value) is str:
                    if _DATA in value:
                        return None
                    characters += len(value)
                elif value is not None:
                    return None
            made.append(message.copy())
        return made if characters < limits.BASE64_TRUNCATION_OFFLOAD_THRESHOLD_CHARS else None


class ToldMessages(Protocol):
    """How LiteLLM copies the caller's messages for one use."""

    def made(self, messages: Any, copies: dict[int, list[Any]], /) -> Any:
        """Return the copy for a call; ``copies`` are those made for it before."""


class MessageCopy:
    """How LiteLLM copies the caller's list of messages for one use: down to which level, by the names of members.

    LiteLLM writes into parts with images, which may be copied further down: ``images`` levels, by the same names.
    ``group`` tells lists apart that hold other copies of the messages; the lists of one group hold the same. Where a
    member of a message is None, ``is_bare`` copies have none. ``shared`` are members, by name, that are one object with
    those of an ``earlier`` group's copies, and the number of that group. Where only messages are copied
    anew whose content is a list of parts, ``others`` is the number of the group that all others are taken from.
    """

    def __init__(self, held: SnapshotNode, messages: SnapshotNode, group: int, earlier: Sequence[SnapshotNode]) -> None:
        shown, given = without_nodes(held), without_nodes(messages)
        self.is_bare = shown != given
        if self.is_bare and shown != [_bare(message) for message in given]:
            raise Unrepeatable(decline.TOLD_MESSAGES)
        self.is_same = held.original is messages.original
        self.group = group
        self.levels: dict[str, int] = {}
        self.images: dict[str, int] = {}
        pairs = list(zip(held.items, messages.items, strict=True))
        copies = [other.items for other in earlier]
        self.others = _group_of_others(pairs, copies)
        shared = [item.original is message.original for item, message in pairs]
        if any(shared) and not all(shared):
            raise Unrepeatable(decline.TOLD_MESSAGE_PARTS)
        self.is_shallow = self.is_same or all(shared)
        if self.others is not None:
            places = [place for place, (_, message) in enumerate(pairs) if _has_parts(without_nodes(message))]
            pairs = [pairs[place] for place in places]
            copies = [[items[place] for place in places] for items in copies]
        if not self.is_shallow:
            for item, message in pairs:
                members = dict(message.named())
                for name, value in item.named():
                    if type(value) is SnapshotNode:
                        level, image = _levels_of_parts(value, members[name])
                        if self.levels.setdefault(name, level) != level:
                            raise Unrepeatable(decline.TOLD_MESSAGE_PARTS)
                        if image is not None and self.images.setdefault(name, image) != image:
                            raise Unrepeatable(decline.TOLD_MESSAGE_PARTS)
        self.shared = _shared(
            [item for item, _ in pairs], copies, [name for name, level in self.levels.items() if level]
        )

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other)

    def made(self, messages: list[dict[str, Any]], copies: dict[int, list[Any]]) -> list[Any]:
        """Return the list for a call; ``copies`` are those made for it before, by group."""
        if self.is_same:
            return messages
        if self.is_shallow:
            return messages.copy()
        found = copies.get(self.group)
        if found is None:
            found = copies[self.group] = [
                self._message(message) if self._is_own(message) else copies[self.others][place]  # type: ignore[index]
                for place, message in enumerate(messages)
            ]
            for name, group in self.shared.items():
                for message, other in zip(found, copies[group], strict=True):
                    if name in message and self._is_own(message):
                        message[name] = other[name]
        return found.copy()

    def _is_own(self, message: dict[str, Any]) -> bool:
        """Return whether a message is copied for this list."""
        return self.others is None or _has_parts(message)

    def _message(self, message: dict[str, Any]) -> dict[str, Any]:
        if self.is_bare:
            message = _bare(message)
        if not self.levels:
            return message.copy()
        return {name: self._member(name, value) for name, value in message.items()}

    def _member(self, name: str, value: Any) -> Any:
        level = self.levels.get(name, 0)
        image = self.images.get(name)
        if image is None or not level or type(value) is not list:
            return copied(value, level)
        return [copied(part, image if _has_image(part) else level - 1) for part in value]


def has_same_parts(held: SnapshotNode, other: SnapshotNode) -> bool:
    """Return whether ``held`` holds the very dictionaries and lists that ``other`` does, and nothing else."""
    return (
        held.keys == other.keys
        and len(held.items) == len(other.items) > 0
        and all(
            type(item) is SnapshotNode and type(part) is SnapshotNode and item.original is part.original
            for item, part in zip(held.items, other.items, strict=True)
        )
    )


def is_copy(held: SnapshotNode, other: SnapshotNode) -> bool:
    """Return whether ``held`` is equal to ``other``, to the last leaf and in the same order."""
    return (
        held.keys == other.keys
        and len(held.items) == len(other.items)
        and all(
            is_copy(item, part) if type(item) is SnapshotNode is type(part) else same(item, part)
            for item, part in zip(held.items, other.items, strict=True)
        )
    )


def copied_levels(copies: Sequence[tuple[SnapshotNode, SnapshotNode]]) -> int:
    """Return down to which level the dictionaries and lists in ``copies`` of something are new ones.

    Each comes with what it is a copy of. Raises ``Unrepeatable`` if they differ.
    """
    if all(held.keys is not None and _are_dictionaries_new(held, other) for held, other in copies):
        return _DICTIONARIES
    levels = {_levels(held, other) for held, other in copies}
    if len(levels) > 1:
        raise Unrepeatable(decline.TOLD_BY_VALUES)
    return levels.pop()


def _are_dictionaries_new(held: SnapshotNode, other: SnapshotNode) -> bool:
    """Return whether dictionaries in dictionaries in ``held`` are copies of those in ``other``, and lists are not."""
    return all(
        item.original is part.original
        if item.keys is None
        else item.original is not part.original and _are_dictionaries_new(item, part)
        for item, part in zip(held.items, other.items, strict=True)
        if type(item) is SnapshotNode
    )


def _levels(held: SnapshotNode, other: SnapshotNode) -> int:
    """Return down to which level the dictionaries and lists in a copy are new ones. Raises ``Unrepeatable``."""
    new, shared = {1}, {_ALL_LEVELS}

    def walk(one: SnapshotNode, two: SnapshotNode, level: int) -> None:
        for item, part in zip(one.items, two.items, strict=True):
            if type(item) is SnapshotNode and item.original is part.original:
                shared.add(level)
            elif type(item) is SnapshotNode:
                new.add(level + 1)
                walk(item, part, level + 1)

    walk(held, other, 1)
    if len(shared) > 2 or max(new) > min(shared):
        raise Unrepeatable(decline.TOLD_BY_VALUES)
    return min(shared)


def _group_of_others(
    pairs: Sequence[tuple[SnapshotNode, SnapshotNode]], earlier: Sequence[Sequence[SnapshotNode]]
) -> int | None:
    """Return in which of ``earlier`` copies all messages but those in parts are the very same; None if in none."""
    has_parts = [_has_parts(without_nodes(message)) for _, message in pairs]
    if all(has_parts) or not any(has_parts):
        return None
    for group, copies in enumerate(earlier):
        same_ones = [item.original is other.original for (item, _), other in zip(pairs, copies, strict=True)]
        if same_ones == [not has for has in has_parts]:
            return group
    return None


def _shared(
    held: Sequence[SnapshotNode], earlier: Sequence[Sequence[SnapshotNode]], names: Iterable[str]
) -> dict[str, int]:
    """Return in which of ``earlier`` copies the members ``names`` are the very same objects; absent if in none.

    Raises ``Unrepeatable`` if that differs from message to message.
    """
    found: dict[str, int] = {}
    for name in names:
        for group, other in enumerate(earlier):
            same_one = {
                dict(item.named())[name].original is getattr(dict(again.named()).get(name), "original", None)
                for item, again in zip(held, other, strict=True)
                if type(dict(item.named()).get(name)) is SnapshotNode
            }
            if len(same_one) > 1:
                raise Unrepeatable(decline.TOLD_MESSAGE_PARTS)
            if same_one == {True}:
                found.setdefault(name, group)
    return found


def _bare(message: dict[str, Any]) -> dict[str, Any]:
    """Return ``message`` without its members that are None."""
    return {name: value for name, value in message.items() if value is not None}


def _levels_of_parts(value: SnapshotNode, given: SnapshotNode) -> tuple[int, int | None]:
    """Return how many levels of containers are copies, and of those parts that have images; None if none has.

    Raises ``Unrepeatable`` if that differs from part to part.
    """
    if value.original is given.original:
        return 0, None
    levels: dict[bool, set[int]] = {True: set(), False: set()}
    for part, other in zip(value.items, given.items, strict=True):
        if type(part) is SnapshotNode:
            levels[value.keys is None and _has_image(without_nodes(other))].add(_level(part, other))
    if any(len(found) > 1 for found in levels.values()):
        raise Unrepeatable(decline.TOLD_MESSAGE_PARTS)
    images, others = levels[True], levels[False]
    return 1 + (others.pop() if others else 0), images.pop() if images else None


def _has_image(part: Any) -> bool:
    return type(part) is dict and "image_url" in part


def _has_parts(message: Any) -> bool:
    """Return whether what a message says is a list of parts."""
    return type(message.get("content")) is list


def _level(copied: Any, given: Any) -> int:
    """Return how many levels of containers are copies. Raises ``Unrepeatable`` if that differs from branch to
    branch."""
    if copied.original is given.original:
        return 0
    inner = {
        _level(item, other) for item, other in zip(copied.items, given.items, strict=True) if type(item) is SnapshotNode
    }
    if len(inner) > 1:
        raise Unrepeatable(decline.TOLD_MESSAGE_PARTS)
    return 1 + (inner.pop() if inner else 0)


def copied(value: Any, levels: int) -> Any:
    """Return a copy of ``value`` as ``copied_levels`` says."""
    if levels and type(value) is dict:
        return {key: copied(item, levels - 1) for key, item in value.items()}
    return [copied(item, levels - 1) for item in value] if levels > 0 and type(value) is list else value


def nested(messages: list[dict[str, Any]]) -> bytes:
    """Return what tells conversations apart that LiteLLM may copy differently, to be added to a call's key."""
    marks = set()
    for message in messages:
        if message.get("role") == "assistant":
            marks.add("assistant")
        for name, value in message.items():
            if value is None:
                marks.add("no content" if name == "content" else "none")
            elif type(value) is list:
                marks.add(name)
                if name == "content" and any(map(_has_image, value)):
                    marks.add("image_url")
    if "content" in marks and not all(map(_has_parts, messages)):
        marks.add("other content")
    return ",".join(sorted(marks)).encode()
