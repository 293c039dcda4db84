"""Which of LiteLLM's versions of a conversation callbacks are told of.

LiteLLM takes messages through steps: the caller's own, which may be objects; dictionaries of them; these without
members that are None; what is sent. Callbacks get lists of messages at one step or another, and what is one object at
two steps is one object for them. ``conversations`` takes the same steps, so a watched call only has to show at which
step each list is, or of which it is a copy (a provider's SDK makes one), and which parts of it are copies. Comparing
all that was told then proves it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.admission.conversations import Conversation
from litellm_accel.fastpath.plans.argument_writes import same
from litellm_accel.fastpath.plans.snapshots import SnapshotNode, without_nodes
from litellm_accel.fastpath.plans.templates import Unrepeatable

# Which parts of a message are copies: by the names of members, or ``_ITEMS`` of lists, the same of what is in them.
CopiedParts = dict[Any, Any]
_ITEMS = None
# The steps in the order in which a list is looked for: the caller's own, without members that are None, all, as sent.
_LIKELY = (0, 2, 1, Conversation.LAST)


@dataclasses.dataclass(frozen=True, slots=True)
class MessageStep:
    """A list of messages at the step ``number``; with ``is_same`` it is the caller's own list.

    With ``copied`` it holds copies of the messages, and of these parts of them.
    """

    number: int
    is_same: bool = False
    copied: CopiedParts | None = None

    def made(self, conversation: Conversation, _: Any) -> list[Any]:
        """Return the list for a call."""
        if self.is_same:
            return conversation.given
        messages = conversation.at_step(self.number)
        if self.copied is None:
            return messages.copy()
        return [_copy(message, self.copied) for message in messages]


class WatchedSteps:
    """The conversation of a watched call, of which ``given`` is a picture, at all steps.

    ``read`` takes messages through the steps.
    """

    def __init__(self, given: SnapshotNode, read: Callable[[Any], Conversation]) -> None:
        self._given = given
        self._stocks: dict[int, int] = {}  # LiteLLM's object by that of ours which stands for it
        messages = without_nodes(given)
        _pair(messages, given, self._stocks)
        conversation = read(messages)
        last = conversation.at_step(-1)  # may change what is in the others
        self._steps = [*map(conversation.at_step, range(conversation.LAST)), last]

    def find(self, shown: SnapshotNode) -> MessageStep:
        """Return at which step the list ``shown`` is, or a copy of which.

        Where it looks alike at several, it is that at which what is sent is made of it. Raises ``Unrepeatable``.
        """
        for number in _LIKELY:
            messages = self._steps[number]
            stocks = self._stocks.copy()
            if len(messages) == len(shown.items) and all(
                _is_one(message, item, stocks) for message, item in zip(messages, shown.items, strict=True)
            ):
                self._stocks = stocks
                return MessageStep(number, number == 0 and shown.original is self._given.original)
        for number, messages in reversed(list(enumerate(self._steps))):
            found = _Copies(self._stocks.copy())
            parts: CopiedParts = {}
            if found.are_copies(messages, shown, parts, ()) and _ITEMS in parts:
                self._stocks = found.stocks
                return MessageStep(number, copied=parts[_ITEMS])
        raise Unrepeatable(decline.TOLD_MESSAGES)


class _Copies:
    """Finds which parts of messages are copies, the same in all messages.

    ``stocks`` has LiteLLM's object by that of ours which stands for it.
    """

    def __init__(self, stocks: dict[int, int]) -> None:
        self.stocks = stocks
        self._shared: set[tuple[Any, ...]] = set()

    def are_copies(self, ours: Any, shown: SnapshotNode, copied: CopiedParts, path: tuple[Any, ...]) -> bool:
        """Return whether what is in ``shown`` are copies of what is in ``ours``; note in ``copied`` which parts are."""
        if type(ours) is not (list if shown.keys is None else dict) or len(ours) != len(shown.items):
            return False
        if id(shown.original) in self.stocks.values() or (shown.keys is not None and tuple(ours) != shown.keys):
            return False
        self.stocks[id(shown)] = id(shown.original)
        items = _items(ours)
        for name, item, (_, other) in zip(shown.keys or [_ITEMS] * len(ours), items, shown.named(), strict=True):
            if type(other) is not SnapshotNode:
                if not same(item, other):
                    return False
                continue
            place = (*path, name)
            if self.stocks.get(id(item)) == id(other.original):
                self._shared.add(place)
                if name in copied:
                    return False
            elif place in self._shared or not self.are_copies(item, other, copied.setdefault(name, {}), place):
                return False
        return True


def _copy(value: Any, copied: CopiedParts) -> Any:
    """Return a copy of a dictionary or list, and of the ``copied`` parts in it."""
    if type(value) is dict:
        return {name: _copy(item, copied[name]) if name in copied else item for name, item in value.items()}
    if type(value) is list:
        parts = copied.get(_ITEMS)
        return value.copy() if parts is None else [_copy(item, parts) for item in value]
    return value


def _pair(ours: Any, shown: Any, stocks: dict[int, int]) -> None:
    """Note which dictionaries and lists of ours stand for LiteLLM's."""
    if type(shown) is SnapshotNode:
        stocks[id(ours)] = id(shown.original)
        for item, other in zip(_items(ours), shown.items, strict=True):
            _pair(item, other, stocks)


def _is_one(ours: Any, shown: Any, stocks: dict[int, int]) -> bool:
    """Return whether ``ours`` may stand for what is ``shown``: equal, and the same objects at the same places."""
    if type(shown) is not SnapshotNode:
        return same(ours, shown)
    if id(ours) in stocks:
        return stocks[id(ours)] == id(shown.original)
    if id(shown.original) in stocks.values() or type(ours) is not (list if shown.keys is None else dict):
        return False
    stocks[id(ours)] = id(shown.original)
    if len(ours) != len(shown.items) or (shown.keys is not None and tuple(ours) != shown.keys):
        return False
    return all(_is_one(item, other, stocks) for item, other in zip(_items(ours), shown.items, strict=True))


def _items(held: Any) -> Iterable[Any]:
    """Return what is in a dictionary or list."""
    return held.values() if type(held) is dict else held
