"""What LiteLLM tells callbacks of an embedding: as of a chat, with the input in the place of the messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.notify.call_diff import MESSAGES, CallDiff
from litellm_accel.fastpath.notify.success import NotifierFactory
from litellm_accel.fastpath.plans.snapshots import SnapshotNode, without_nodes
from litellm_accel.fastpath.plans.templates import InconclusiveRecording, Unrepeatable
from litellm_accel.hot import template


class _Form:
    """One of the forms in which LiteLLM keeps the input; ``make`` makes it of that and of the copies of the call."""

    def __init__(self, make: Callable[[Any, dict[int, list[Any]]], Any]) -> None:
        self.made = make


def _as_messages(given: Any, copies: dict[int, list[Any]]) -> list[Any]:
    held = copies.get(0)
    if held is None:
        texts = given if type(given) is list else [given]
        held = copies[0] = [{"role": "user", "content": text} for text in texts]
    return held.copy()


_GIVEN = _Form(lambda given, copies: given)
_COPIED = _Form(lambda given, copies: given.copy())
_ALONE = _Form(lambda given, copies: [given])
_MESSAGES = _Form(_as_messages)


class EmbeddingDiff(CallDiff):
    """Two embeddings of one kind, walked together."""

    def node(self, one: Any, two: Any, name: object) -> tuple[Any, ...]:
        """Return the template node for what is ``one`` in the first call and ``two`` in the second."""
        inputs = self.first.messages, self.second.messages
        if type(one) is str and type(two) is str and (one, two) == inputs:
            if one == two and name not in MESSAGES:
                raise InconclusiveRecording(decline.SAME_INPUT)
            return self._told(_GIVEN)
        return super().node(one, two, name)

    def _messages(self, one: Any, two: Any) -> tuple[Any, ...]:
        form = _form_of(one, self.first.messages)
        if form is None or form is not _form_of(two, self.second.messages):
            raise Unrepeatable(decline.TOLD_MESSAGES)
        return self._told(form)

    def _told(self, form: _Form) -> tuple[Any, ...]:
        slot = f"messages {len(self.lists)}"
        self.lists.append((slot, form))
        return (template.SLOT, slot)


def _form_of(held: Any, given: Any) -> _Form | None:
    """Return the form in which LiteLLM has ``held`` the input that was ``given``, None if it is none of these."""
    if type(held) is not SnapshotNode or held.keys is not None:
        return None
    if type(given) is SnapshotNode and held.original is given.original:
        return _GIVEN
    shown, told = without_nodes(held), without_nodes(given)
    if shown == _as_messages(told, {}):
        return _MESSAGES
    if shown == [told]:
        return _ALONE
    if shown != told:
        return None
    pairs = zip(held.items, given.items, strict=True)
    is_shallow = all(type(one) is not SnapshotNode or one.original is two.original for one, two in pairs)
    return _COPIED if is_shallow else None


class EmbeddingNotifiers(NotifierFactory):
    """Makes what tells callbacks of embeddings."""

    diff_class: ClassVar[type[CallDiff]] = EmbeddingDiff
