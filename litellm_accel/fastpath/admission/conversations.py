"""Messages beyond the plainest: with members that LiteLLM does not know, as its own objects, of any JSON-like value.

LiteLLM makes dictionaries of messages, leaves out members that are None, and lets the provider's configuration rewrite
the rest. Most of what programs put into messages it passes on as it is. Which messages these are, watched calls show:
of each *shape* of message one must have been sent as it is. Others are rewritten by LiteLLM's own methods, if these
have come to what was sent in a watched call.
"""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Callable
from typing import Any, ClassVar

from pydantic import BaseModel

# Members whose values LiteLLM goes by, whoever the provider is.
_TELLING = frozenset(("role", "type"))
_LEAVES = {type(None): "none", bool: "flag", int: "number", float: "fraction"}
# Of a tool call's identifier: what some model's thoughts are appended to it with.
_THOUGHT = b"__thought__"
_FILE = "file_id"
# How stock sends a message of a shape.
_AS_IT_IS, _REWRITTEN, _REFUSED = "as it is", "rewritten", "refused"
_MAX_INT = 1 << 63
_MAX_SHAPES = 64


class Conversation:
    """Messages as LiteLLM's configurations get them, in JSON, and their shapes.

    ``given`` are the caller's, ``dicts`` what LiteLLM first makes of them, ``cleaned`` these without members that are
    None, and ``sent()`` what the configuration's ``rewrite`` makes of those.
    """

    __slots__ = (
        "_begun",
        "_is_named",
        "_ordered",
        "_sent",
        "cleaned",
        "dicts",
        "encoded",
        "given",
        "rewrite",
        "shapes",
    )
    LAST: ClassVar[int] = 3

    def __init__(
        self, given: list[Any], dicts: list[dict[str, Any]], cleaned: list[dict[str, Any]], is_named: bool
    ) -> None:
        self.given = given
        self._begun = given.copy()  # the caller may append to its list meanwhile
        self._is_named = is_named
        self.dicts = dicts
        self.cleaned = cleaned
        self._ordered = list(map(_shape, cleaned))
        self.shapes = frozenset(self._ordered)
        self.encoded = written(cleaned)
        self.rewrite: Callable[[list[Any]], Any] = list
        self._sent: list[Any] | None = None

    @property
    def told_key(self) -> bytes:
        """What decides which objects LiteLLM makes of the messages and shares: their shapes, and what they were."""
        marks = {
            repr((shape, _origin(message), None in read.values()))
            for shape, message, read in zip(self._ordered, self._begun, self.dicts, strict=True)
        }
        return f"{self._is_named}{sorted(marks)}".encode()

    def sent(self) -> list[Any]:
        """Return what is sent; what stock changes of the other steps is changed."""
        if self._sent is None:
            self._sent = self.rewrite(self.cleaned)
        return self._sent

    def at_step(self, number: int) -> list[Any]:
        """Return the messages at one step of LiteLLM's way with them: 0 as given, ``LAST`` or -1 as sent."""
        return (self._begun, self.dicts, self.cleaned)[number] if 0 <= number < self.LAST else self.sent()


class ConversationReader:
    """Reads conversations as the installed LiteLLM does."""

    def __init__(self) -> None:
        utils = importlib.import_module("litellm.utils")
        self._validated = utils.validate_chat_completion_user_messages
        # LiteLLM makes dictionaries of objects before it does anything else; before it did, it changed the objects.
        self._takes_objects = hasattr(utils, "_remove_thought_signatures_from_messages")

    def read(self, messages: Any, is_named: bool) -> Conversation | None:
        """Return ``messages`` as LiteLLM makes them, None to leave them to stock.

        Those that are not passed by name (``is_named``) may not be objects: LiteLLM changes these in place.
        """
        if type(messages) is not list or not messages:
            return None
        try:
            if not (is_named and self._takes_objects) and not all(map(_is_plain, messages)):
                return None
            dicts = list(map(_dictionary, messages))
            conversation = Conversation(messages, dicts, self._validated(list(map(_cleaned, dicts))), is_named)
        except Exception:  # stock says what is wrong with them
            return None
        return None if _THOUGHT in conversation.encoded else conversation


def _is_plain(message: Any) -> bool:
    """Return whether a message is a dictionary, and so are the calls in it."""
    if type(message) is not dict:
        return False
    calls = message.get("tool_calls")
    return type(calls) is not list or all(type(call) is dict for call in calls)


def _origin(message: Any) -> tuple[str, ...]:
    """Return the classes of a message and of the calls in it, by name; nothing for dictionaries."""
    if _is_plain(message):
        return ()
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    kinds = map(type, [message, *(calls or ())])
    return tuple(f"{kind.__module__}.{kind.__qualname__}" for kind in dict.fromkeys(kinds))


def _dictionary(message: Any) -> dict[str, Any]:
    """Return the dictionary that LiteLLM makes of a message. Raises ``ValueError``."""
    if isinstance(message, BaseModel):
        made: dict[str, Any] = message.model_dump(warnings="error")
    elif isinstance(message, dict):
        made = message.copy()
    else:
        raise ValueError("no message")
    if not made.get("role"):
        raise ValueError("a message that LiteLLM completes")
    calls = made.get("tool_calls")
    if type(calls) is list:
        if made["role"] != "assistant" and not all(type(call) is dict for call in calls):
            raise ValueError("calls of somebody else")
        made["tool_calls"] = [
            call.model_dump(warnings="error") if isinstance(call, BaseModel) else dict(call) for call in calls
        ]
    elif calls:
        raise ValueError("no calls")
    return made


def _cleaned(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message without members that are None."""
    return {name: value for name, value in message.items() if value is not None}


class Rewriting:
    """What one provider's configuration does to messages, by their shapes.

    ``rewrite`` are LiteLLM's methods; they may change what they are given. With ``is_bound`` the configuration has
    rules of its own, which may look at values: then each conversation is given to them.
    """

    def __init__(self, rewrite: Callable[[list[Any]], Any], is_bound: bool) -> None:
        self.rewrite = rewrite
        self._is_bound = is_bound
        self._shown: dict[Any, str] = {}

    def learn(self, conversation: Conversation, sent: list[Any]) -> bytes:
        """Learn from the messages that stock has ``sent`` for a conversation; return them in JSON."""
        text = written(sent)
        how = _REFUSED
        if text == conversation.encoded and not self._is_bound:
            how = _AS_IT_IS
        else:
            with contextlib.suppress(Exception):
                if written(self.rewrite(json.loads(conversation.encoded))) == text:
                    how = _REWRITTEN
        if len(self._shown) < _MAX_SHAPES:
            self._shown.update(dict.fromkeys(conversation.shapes, how))
        return text

    def take(self, other: Rewriting) -> None:
        """Take what ``other``, of the same kind of call, has learned before."""
        self._shown = {**other._shown, **self._shown}

    def fits(self, conversation: Conversation) -> bool | None:
        """Return whether it is known what stock sends for a conversation, None if that has not been shown."""
        shown = [self._shown.get(shape) for shape in conversation.shapes]
        if _REFUSED in shown or (None in shown and len(self._shown) >= _MAX_SHAPES):
            return False
        return None if None in shown else True

    def odd_role(self, conversation: Conversation) -> str:
        """Return the role of a message for which a conversation does not fit."""
        odd = (shape for shape in conversation.shapes if self._shown.get(shape, _REFUSED) is _REFUSED)
        told = (said[2] for shape in odd for said in shape if said[0] == "role" and len(said) > 2)
        return next(told, "")

    def written(self, conversation: Conversation) -> bytes:
        """Return in JSON what stock sends for a conversation that ``fits``; what stock changes of it is changed."""
        conversation.rewrite = self.rewrite
        if all(self._shown[shape] is _AS_IT_IS for shape in conversation.shapes):
            return conversation.encoded
        return written(conversation.sent())


def written(messages: list[Any]) -> bytes:
    """Return ``messages`` as the provider SDK writes them. Raises ``ValueError`` if they are not of JSON alone."""
    return json.dumps(messages, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _shape(value: Any) -> Any:
    """Return what LiteLLM may go by in a value, whatever texts and numbers it holds. Raises ``ValueError``."""
    kind = type(value)
    if kind in _LEAVES:
        if kind is int and not -_MAX_INT <= value < _MAX_INT:
            raise ValueError("a number that JSON readers round")
        return _LEAVES[kind]
    if isinstance(value, str):
        return (kind.__name__, not value)
    if kind is list or kind is tuple:
        return (kind.__name__, frozenset(map(_shape, value)))
    if not isinstance(value, dict) or kind.items is not dict.items or kind.__iter__ is not dict.__iter__:
        raise ValueError("no JSON")
    if _FILE in value:  # LiteLLM may fetch it
        raise ValueError("a file elsewhere")
    shape = []
    for name, item in value.items():
        if type(name) is not str:
            raise ValueError("no JSON")
        said = _shape(item)
        shape.append((name, said, str.__str__(item)) if name in _TELLING and isinstance(item, str) else (name, said))
    return tuple(shape)
