"""What LiteLLM tells callbacks of a successful call, for calls that the fast path serves.

LiteLLM keeps all it knows of a call in a ``Logging`` object, and its success handlers make of that what callbacks
receive. The fast path makes such an object, in the state in which stock would have it when the call succeeds, and
leaves the rest to those handlers. What that state is, is learned from two calls that stock was watched serving: what is
the same object in both is shared, what is equal is made afresh for each call, and what differs must be one of the few
things that the fast path knows of a call.
"""

from __future__ import annotations

import contextvars
import datetime
import importlib
import inspect
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from logging import DEBUG
from operator import is_not
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.admission.conversations import Conversation
from litellm_accel.fastpath.admission.message_steps import MessageStep, WatchedSteps
from litellm_accel.fastpath.known_names import MUTATED_NAMES, VARIABLE_STRUCTURES
from litellm_accel.fastpath.notify.payload import Payloads, Sources
from litellm_accel.fastpath.plans.argument_writes import ArgumentWrites, CallSnapshots, Path, at, mark, same, undo
from litellm_accel.fastpath.plans.proof import Proof, Trial
from litellm_accel.fastpath.plans.snapshots import (
    UNREAD,
    SnapshotNode,
    equivalent,
    is_blank,
    take_snapshot,
    within,
    without_nodes,
)
from litellm_accel.fastpath.plans.templates import HIDDEN, MILLISECONDS, Unrepeatable
from litellm_accel.hot import chat, template
from litellm_accel.stock import seams
from litellm_accel.stock.seams import CACHING_HANDLER

# Clocks, by the names LiteLLM gives them; the value is the slot they are made from.
_CLOCKS = {
    "start_time": "start",
    "api_call_start_time": "sent",
    "first_api_call_start_time": "sent",
    "current_attempt_api_call_start_time": "sent",
    "llm_api_duration_ms": "provider_ms",
    "llm_api_timing_windows": "windows",
}
# What pricing an answer leaves behind, and what is there before.
_PRICED: dict[str, Any] = {"cost_breakdown": None, "billed_token_rates": None, "zero_cost_warned": False}
_COSTS = ("input_cost", "output_cost", "total_cost", "original_cost")
_PRICED_LATER = frozenset(("zero_cost_diagnostic", "response_cost_failure_debug_information"))
MESSAGES = ("input", "messages")
# Under which key LiteLLM has looked for the answer in its cache.
_CACHE_KEY = "preset_cache_key"
_CALL_ID, _TRACE_ID, _LOGGING = "litellm_call_id", "litellm_trace_id", "litellm_logging_obj"
_FRESH_ID = "fresh identifier"
# Notes that callbacks are told of the end of a stream.
_DISPATCHED = "has_dispatched_final_stream_success"
# Among the metadata: how a router's strategy chose the deployment.
REPORT = "_latency_per_deployment"
_MAX_TRIES = 32
_ALL_LEVELS = 64
TAGS = "_routing_request_tags"
_TEXT, _HEADERS = "original_response", "response_headers"
_RECEIVED = "headers as they came"
# With this in the environment, LiteLLM prints payloads.
_PRINTS = "LITELLM_PRINT_STANDARD_LOGGING_PAYLOAD"
# The header that holds the price where the provider states one. LiteLLM believes it.
STATED_PRICE = "llm_provider-x-litellm-response-cost"
# Makes a conversation of messages; None where they are of the plainest.
ReadMessages = Callable[[Any], Conversation] | None


# --- what was shown ---------------------------------------------------------------------------------------------------


class ObservedCall:
    """One call as stock served it: the state of its ``Logging`` object when it had succeeded, and what it was given."""

    def __init__(
        self,
        pictures: CallSnapshots,
        arguments: Mapping[str, Any],
        result: Any,
        plan: chat.Plan,
        read: ReadMessages = None,
        logging: SnapshotNode | None = None,
    ) -> None:
        """``logging`` is the object's part of what was pictured, which is all of it if not given.

        ``read`` makes a conversation of messages that are not of the plainest.
        """
        if pictures.state is None:
            raise Unrepeatable(decline.TOLD_ELSEWHERE)
        self.pictures = pictures
        self.state = pictures.state
        self.messages = pictures.messages
        self.read = read
        self.result = result
        self.answered = None if result is None else pricing_facts(result)  # before anybody changes the result
        self.plan = plan  # what it was learned to send
        self.given = arguments
        others = {name: value for name, value in arguments.items() if name not in MUTATED_NAMES}
        self.arguments = {id(value): path for path, value in within((), others)}
        self.variables = {
            name: take_snapshot(value)
            for name, value in arguments.items()
            if name in VARIABLE_STRUCTURES and type(value) in (dict, list) and value
        }
        self.known = dict((logging or self.state).named())
        self.details = dict(self.known["model_call_details"].named())

    def slots(self) -> dict[str, Any]:
        """Return the clocks and identifiers of this call, by slot."""
        return {
            **({_LOGGING: self.pictures.logging} if _LOGGING in self.given else {}),
            **{slot: self.details[name] for name, slot in _CLOCKS.items() if name in self.details},
            "windows": next(self._under("llm_api_timing_windows", self.state), None),
            REPORT: getattr(next(self._under(REPORT, self.state), None), "original", None),
            _CALL_ID: self.known[_CALL_ID],
            _TRACE_ID: self.known[_TRACE_ID],
            _TEXT: self.details.get(_TEXT),
            _CACHE_KEY: getattr(next(filter(None, map(self.known.get, CACHING_HANDLER)), None), _CACHE_KEY, None),
        }

    def told_state(self) -> SnapshotNode:
        """Return what the call left behind: the state of its ``Logging`` object, and of the arguments noted in."""
        shown = SnapshotNode(None)
        shown.items = [self.state, self.pictures.noted]
        return shown

    @property
    def fresh_id(self) -> Any:
        """The trace identifier of a router's own, where the logging object has come with another; None without."""
        known = self.known[_CALL_ID], self.known[_TRACE_ID]
        found = self._under(_TRACE_ID, self.state)
        return next((value for value in found if type(value) is str and value not in known), None)

    def told(self, messages: Any) -> Any:
        """Return ``messages`` equal to this call's as lists are made of them."""
        return messages if self.read is None else self.read(messages)

    def _under(self, name: str, held: SnapshotNode) -> Iterator[Any]:
        for key, item in held.named():
            if key == name:
                yield item
            elif type(item) is SnapshotNode:
                yield from self._under(name, item)


# --- learning ---------------------------------------------------------------------------------------------------------


class ToldMessages(Protocol):
    """How LiteLLM copies the caller's messages for one use."""

    def made(self, messages: Any, copies: dict[int, list[Any]], /) -> Any:
        """Return the copy for a call; ``copies`` are those made for it before."""


class CallDiff:
    """Two calls of one kind, walked together."""

    fixed: ClassVar[Mapping[str, Any]] = {**_PRICED, **UNREAD}
    later: ClassVar[frozenset[str]] = _PRICED_LATER

    def __init__(self, first: ObservedCall, second: ObservedCall, earlier: LearnedCall | None) -> None:
        self.first = first
        self.second = second
        self.receives = False
        self.noted = ArgumentWrites(first.pictures, second.pictures, earlier.free if earlier is not None else set())
        self.tries = earlier.tries if earlier is not None else 0
        self.constants: set[Any] = set()
        self.parts: list[tuple[str, Any]] = []
        self.lists: list[tuple[str, ToldMessages]] = []
        self.paths: list[tuple[str, tuple[Any, ...]]] = []
        self.copies: list[tuple[str, str, int]] = []
        self._sources: list[tuple[str, tuple[str, ...], SnapshotNode, SnapshotNode]] = [
            (f"argument {(name,)}", (name,), shown, second.variables[name])
            for name, shown in first.variables.items()
            if name in second.variables
        ]
        self.values: list[tuple[str, Path]] = []
        self._placed: dict[int, tuple[SnapshotNode, tuple[Any, ...]]] = {}
        self._groups: dict[tuple[int, ...], int] = {}
        self._copies: list[tuple[SnapshotNode, SnapshotNode]] = []
        self._steps: tuple[WatchedSteps, WatchedSteps] | None = None
        self._is_early = False
        self.fresh: tuple[str, str] | None = None
        self.blanks: list[tuple[str, type]] = []
        self._are_blank: dict[int, tuple[Any, Any, str]] = {}

    def learn_early(self) -> int:
        """Learn what is written into the arguments before a request is sent; return how many parts that has."""
        self._is_early = True
        self.noted.learn_early(self.node)
        self._is_early = False
        return len(self.parts)

    def node(self, one: Any, two: Any, name: object) -> tuple[Any, ...]:
        """Return the template node for what is ``one`` in the first call and ``two`` in the second."""
        if type(one) is SnapshotNode and type(two) is SnapshotNode:
            number = self.noted.number(one, two)
            if number is not None:
                return (template.SLOT, f"noted {number}")
            if self._are_headers(one, two):
                return (template.SLOT, _HEADERS)
        found = self.named(one, two, name) if type(name) is str else None
        if found is not None:
            return found
        if type(one) is SnapshotNode and type(two) is SnapshotNode:
            return self._held(one, two)
        if type(one) is not SnapshotNode and type(two) is not SnapshotNode:
            if same(one, two):
                self.constants.update(map(mark, one) if type(one) is tuple else (mark(one),))
                return (template.CONSTANT, one)
            path = self.noted.path(one, two)
            if path is not None:
                slot = f"noted at {path}"
                self.values.append((slot, path))
                return (template.SLOT, slot)
        if one is self.first.pictures.logging and two is self.second.pictures.logging:
            return (template.SLOT, _LOGGING)
        for slot in (_CALL_ID, _TRACE_ID):
            if one == self.first.known[slot] and two == self.second.known[slot]:
                return (template.SLOT, slot)
        if name == _TRACE_ID and type(one) is str and self.fresh in (None, (one, two)):
            self.fresh = one, two  # a router's own, where the logging object has come with another
            return (template.SLOT, _FRESH_ID)
        if type(one) is tuple and type(two) is tuple and one == two:
            return (template.CONSTANT, one)
        if type(one) is type(two) and is_blank(one) and is_blank(two):
            return self._blank(one, two)
        raise Unrepeatable(decline.TOLD_UNEXPLAINED.of(name if type(name) is str else type(one).__name__))

    def _blank(self, one: Any, two: Any) -> tuple[Any, ...]:
        """Return the node for an object that each call has made anew."""
        found = self._are_blank.get(id(one))
        if found is None:
            found = self._are_blank[id(one)] = one, two, f"new {len(self.blanks)}"
            self.blanks.append((found[2], type(one)))
        if found[1] is not two:
            raise Unrepeatable(decline.TOLD_TWICE)
        return (template.SLOT, found[2])

    def named(self, one: Any, two: Any, name: str) -> tuple[Any, ...] | None:
        """Return the node for what LiteLLM keeps under this ``name``, None if its name says nothing."""
        if name in self.fixed:
            return (template.CONSTANT, self.fixed[name])
        if name in _CLOCKS and one is not None and two is not None:
            return (template.SLOT, _CLOCKS[name])
        if name in (TAGS, REPORT):
            return (template.SLOT, name)
        if name == _TEXT:
            return (template.SLOT, _TEXT)
        if name == _CACHE_KEY and one is not None and two is not None:
            return (template.SLOT, _CACHE_KEY)
        if name == _HEADERS and one is not None:
            return self.headers(one, two)
        if name in MESSAGES and type(one) is SnapshotNode:
            return self._held(one, two, self._messages)
        return None

    def _are_headers(self, one: SnapshotNode, two: SnapshotNode) -> bool:
        """Return whether these are the answers' headers, wherever: they may be equal in both calls by chance."""
        shown = (one, self.first.result), (two, self.second.result)
        return all(result is not None and held.original is result._response_headers for held, result in shown)

    def headers(self, one: Any, two: Any) -> tuple[Any, ...]:
        """Return the node for the headers of the answer as LiteLLM's own client has them."""
        shown = (one, self.first.result), (two, self.second.result)
        if all(held is result._hidden_params.get("headers") for held, result in shown):
            self.receives = True
            return (template.SLOT, _RECEIVED)
        raise Unrepeatable(decline.HEADERS_TOLD_OTHERWISE)

    def _held(self, one: Any, two: Any, new: Callable[[Any, Any], tuple[Any, ...]] | None = None) -> tuple[Any, ...]:
        placed = self._placed.get(id(one.original))
        if placed is not None:
            if placed[0].original is not two.original:
                raise Unrepeatable(decline.TOLD_TWICE)
            return placed[1]
        node = (new or self._new)(one, two)
        if (one.places > 1 or self._is_early) and node[0] != template.SLOT:
            slot = f"part {len(self.parts)}"
            self.parts.append((slot, template.Template(node)))
            node = (template.SLOT, slot)
        self._placed[id(one.original)] = (two, node)
        return node

    def _new(self, one: SnapshotNode, two: SnapshotNode) -> tuple[Any, ...]:
        path = self.first.arguments.get(id(one.original))
        if path is not None or id(two.original) in self.second.arguments:
            if path != self.second.arguments.get(id(two.original)) or _is_within(path):
                raise Unrepeatable(decline.ARGUMENT_TOLD)
            return self._argument(tuple(path or ()))
        if one.original is two.original:
            return (template.CONSTANT, one.original)
        copied = self._copied(one, two)
        if copied is not None:
            return copied
        if one.keys != two.keys or len(one.items) != len(two.items):
            raise Unrepeatable(decline.TOLD_BY_VALUES)
        if one.keys is None:
            return (template.LIST, tuple(self.node(a, b, None) for a, b in zip(one.items, two.items, strict=True)))
        kept = [name not in self.later for name in one.keys]
        return (
            template.DICT,
            tuple(name for name, keep in zip(one.keys, kept, strict=True) if keep),
            tuple(
                self.node(a, b, name)
                for name, a, b, keep in zip(one.keys, one.items, two.items, kept, strict=True)
                if keep
            ),
        )

    def _argument(self, path: tuple[Any, ...]) -> tuple[Any, ...]:
        slot = f"argument {path}"
        self.paths.append((slot, path))
        return (template.SLOT, slot)

    def _copied(self, one: SnapshotNode, two: SnapshotNode) -> tuple[Any, ...] | None:
        """Return the node for a copy of a variable argument, or of another copy of it; None if it is none."""
        for source, path, first, second in reversed(self._sources):
            if _has_parts(one, first) and _has_parts(two, second):
                levels = 1
            elif path and _is_copy(one, first) and _is_copy(two, second):
                levels = _levels(one, first)
                if levels != _levels(two, second):
                    raise Unrepeatable(decline.TOLD_BY_VALUES)
            else:
                continue
            if path:
                self._argument(path)
            slot = f"copied {len(self.copies)}"
            self.copies.append((slot, source, levels))
            self._sources.append((slot, (), one, two))
            return (template.SLOT, slot)
        return None

    def _messages(self, one: Any, two: Any) -> tuple[Any, ...]:
        if (
            type(one) is not SnapshotNode
            or type(two) is not SnapshotNode
            or one.keys is not None
            or two.keys is not None
        ):
            raise Unrepeatable(decline.TOLD_MESSAGES)
        if self._are_withheld(one, two):
            return self._new(one, two)
        copied = self._copy(one, two) if self.first.read is None else self._step(one, two)
        slot = f"messages {len(self.lists)}"
        self.lists.append((slot, copied))
        return (template.SLOT, slot)

    def _are_withheld(self, one: SnapshotNode, two: SnapshotNode) -> bool:
        """Return whether callbacks are told the same in the place of two calls' messages, which differ: LiteLLM has
        redacted them."""
        held = without_nodes(one)
        if held != without_nodes(two):
            return False
        first, second = without_nodes(self.first.messages), without_nodes(self.second.messages)
        return bool(first != second and held not in (first, second))

    def _step(self, one: SnapshotNode, two: SnapshotNode) -> MessageStep:
        if self._steps is None:
            self._steps = (
                WatchedSteps(self.first.messages, self.first.told),
                WatchedSteps(self.second.messages, self.second.told),
            )
        step = self._steps[0].find(one)
        if step != self._steps[1].find(two):
            raise Unrepeatable(decline.TOLD_MESSAGES)
        return step

    def _copy(self, one: SnapshotNode, two: SnapshotNode) -> _Copy:
        if any(type(item) is not SnapshotNode for held in (one, two) for item in held.items):
            raise Unrepeatable(decline.TOLD_MESSAGES)
        group = self._groups.setdefault(tuple(id(item.original) for item in one.items), len(self._groups))
        if group == len(self._copies):
            self._copies.append((one, two))
        ones, twos = zip(*self._copies, strict=True)
        copied = _Copy(one, self.first.messages, group, ones[:group])
        if copied != _Copy(two, self.second.messages, group, twos[:group]):
            raise Unrepeatable(decline.TOLD_MESSAGES)
        return copied


class _Copy:
    """How LiteLLM copies the caller's list of messages for one use: down to which level, by the names of members.

    ``group`` tells lists apart that hold other copies of the messages; the lists of one group hold the same. Where a
    member of a message is None, ``is_bare`` copies have none. ``shared`` are members, by name, that are one object with
    those of an ``earlier`` group's copies, and the number of that group.
    """

    def __init__(self, held: SnapshotNode, messages: SnapshotNode, group: int, earlier: Sequence[SnapshotNode]) -> None:
        shown, given = without_nodes(held), without_nodes(messages)
        self.is_bare = shown != given
        if self.is_bare and shown != [_bare(message) for message in given]:
            raise Unrepeatable(decline.TOLD_MESSAGES)
        self.is_same = held.original is messages.original
        self.group = group
        self.levels: dict[str, int] = {}
        pairs = list(zip(held.items, messages.items, strict=True))
        shared = [item.original is message.original for item, message in pairs]
        if any(shared) and not all(shared):
            raise Unrepeatable(decline.TOLD_MESSAGE_PARTS)
        self.is_shallow = self.is_same or all(shared)
        if not self.is_shallow:
            for item, message in pairs:
                members = dict(message.named())
                for name, value in item.named():
                    if type(value) is SnapshotNode:
                        level = _level(value, members[name])
                        if self.levels.setdefault(name, level) != level:
                            raise Unrepeatable(decline.TOLD_MESSAGE_PARTS)
        self.shared = _shared(held, earlier, [name for name, level in self.levels.items() if level])

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other)

    def made(self, messages: list[dict[str, Any]], copies: dict[int, list[Any]]) -> list[Any]:
        """Return the list for a call; ``copies`` are those made for it before, by group."""
        if self.is_same:
            return messages
        if self.is_shallow:
            return messages.copy()
        copied = copies.get(self.group)
        if copied is None:
            copied = copies[self.group] = [self._message(message) for message in messages]
            for name, group in self.shared.items():
                for message, other in zip(copied, copies[group], strict=True):
                    if name in message:
                        message[name] = other[name]
        return copied.copy()

    def _message(self, message: dict[str, Any]) -> dict[str, Any]:
        if self.is_bare:
            message = _bare(message)
        if not self.levels:
            return message.copy()
        return {name: _copied(value, self.levels.get(name, 0)) for name, value in message.items()}


def _is_within(path: tuple[Any, ...] | None) -> bool:
    """Return whether ``path`` leads to a part of a variable argument, which other calls may not have."""
    return path is not None and len(path) > 1 and path[0] in VARIABLE_STRUCTURES


def _has_parts(held: SnapshotNode, other: SnapshotNode) -> bool:
    """Return whether ``held`` holds the very dictionaries and lists that ``other`` does, and nothing else."""
    return (
        held.keys == other.keys
        and len(held.items) == len(other.items) > 0
        and all(
            type(item) is SnapshotNode and type(part) is SnapshotNode and item.original is part.original
            for item, part in zip(held.items, other.items, strict=True)
        )
    )


def _is_copy(held: SnapshotNode, other: SnapshotNode) -> bool:
    """Return whether ``held`` is equal to ``other``, to the last leaf and in the same order."""
    return (
        held.keys == other.keys
        and len(held.items) == len(other.items)
        and all(
            _is_copy(item, part) if type(item) is SnapshotNode is type(part) else same(item, part)
            for item, part in zip(held.items, other.items, strict=True)
        )
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


def _shared(held: SnapshotNode, earlier: Sequence[SnapshotNode], names: Iterable[str]) -> dict[str, int]:
    """Return in which of ``earlier`` copies the members ``names`` are the very same objects; absent if in none.

    Raises ``Unrepeatable`` if that differs from message to message.
    """
    found: dict[str, int] = {}
    for name in names:
        for group, other in enumerate(earlier):
            same_one = {
                dict(item.named())[name].original is getattr(dict(again.named()).get(name), "original", None)
                for item, again in zip(held.items, other.items, strict=True)
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


def _copied(value: Any, levels: int) -> Any:
    if levels and type(value) is dict:
        return {key: _copied(item, levels - 1) for key, item in value.items()}
    return [_copied(item, levels - 1) for item in value] if levels and type(value) is list else value


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
                if name == "content" and any(type(part) is dict and "image_url" in part for part in value):
                    marks.add("image_url")
    return ",".join(sorted(marks)).encode()


# --- feeding ----------------------------------------------------------------------------------------------------------


class NotifierFactory:
    """Makes feeds: with the installed LiteLLM's own ``Logging`` class and the way it hands events to its workers.

    What two calls show is read by ``diff_class``.

    ``texts`` maps each template of a response to what makes the text of an answer that LiteLLM keeps, or to None if it
    keeps the response instead; ``fault`` is told of what goes wrong when nobody else is there to hear. ``state``
    returns what stays equal while functions, settings and callbacks do, or None.
    """

    diff_class: ClassVar[type[CallDiff]] = CallDiff

    def __init__(
        self,
        texts: Mapping[Any, Any],
        fault: Callable[[BaseException], None],
        proof: Proof,
        state: Callable[[], Any],
    ) -> None:
        self.utils = importlib.import_module("litellm.utils")
        self.dispatch: Any = getattr(self.utils, "_dispatch_success_logging", None) or getattr(
            self.utils, "dispatch_success_logging", None
        )
        self._logging = importlib.import_module("litellm.litellm_core_utils.litellm_logging").Logging
        #: The method of a ``Logging`` object that prices a result and notes how the price is made up.
        self.calculator = seams.name_of(self._logging, "response_cost_calculator")
        self.fed = _fed_class(self._logging, self.calculator, fault, ToldCallbacks(state))
        metadata = importlib.import_module("litellm.litellm_core_utils.llm_response_utils.response_metadata")
        self.timing: Any = getattr(metadata, "response_timing_metrics", None)
        helpers = importlib.import_module("litellm.litellm_core_utils.core_helpers")
        tags = importlib.import_module("litellm.router_strategy.tag_based_routing")
        self.tags: Any = getattr(tags, "get_tags_from_request_kwargs", None) or getattr(
            tags, "_get_tags_from_request_kwargs", lambda *arguments: ()
        )
        # Marks the budget that a proxy has reserved as one that the success callbacks settle.
        self.bind = getattr(helpers, "bind_budget_reservation_to_callbacks", lambda arguments: None)
        self.sources = Sources()
        self.texts = texts
        self.fault = fault
        self.proof = proof

    def notifier(
        self,
        first: ObservedCall,
        second: ObservedCall,
        answer: Any,
        total: Callable[[Any], Any],
        earlier: SuccessNotifier | None,
        refuse: Callable[[str], None],
    ) -> SuccessNotifier:
        """Return what feeds callbacks for calls like these two, proven on the second, which got ``answer``.

        ``total`` prices a result; ``earlier`` is what feeds those from which the second differs in too much;
        ``refuse`` is told of what is found to differ from stock later. Raises ``Unrepeatable``.
        """
        if self.dispatch is None or self.timing is None or not hasattr(self._logging, self.calculator):
            raise Unrepeatable(decline.TOLD_OTHER_RELEASE)
        given = second.given.get(_LOGGING)
        if given is not None and type(given) is not self._logging:
            raise Unrepeatable(decline.TOLD_LOGGING_CLASS.of(type(given).__name__))
        pair = self.diff_class(first, second, earlier)
        feed = SuccessNotifier(self, pair, second.result, total, refuse)
        logging, made = feed.again(second, answer)
        answer.result(0.0, 0.0, feed.pricer(logging, None))
        if not equivalent(made(), second.told_state(), {}):
            raise Unrepeatable(decline.TOLD_SOMETHING_ELSE)
        return feed


class Begun:
    """A call that is being sent: the dictionaries and lists in its arguments, and what the fast path knows of it."""

    __slots__ = ("_noted", "done", "objects", "slots")

    def __init__(self, noted: ArgumentWrites, objects: list[Any], slots: dict[str, Any]) -> None:
        self._noted = noted
        self.objects = objects
        self.slots = slots
        self.done = noted.write_early(objects, slots)

    def end(self, sent: float, ended: float) -> None:
        """Note when the request was sent and when its exchange ended (``time.time()``)."""
        earlier = self._noted.earlier(self.objects, "llm_api_timing_windows") or ()
        self.slots["sent"] = datetime.datetime.fromtimestamp(sent)
        self.slots["provider_ms"] = (ended - sent) * 1000
        self.slots["windows"] = (*((float(begin), float(end)) for begin, end in earlier), (sent, ended))

    def cancel(self, sent: float) -> None:
        """Write what LiteLLM notes of a call that is cancelled while it waits for its answer."""
        self.end(sent, time.time())
        self._noted.write_times(self.objects, self.slots)

    def write(self) -> None:
        """Write what LiteLLM notes until the call has succeeded."""
        self.done += self._noted.write_late(self.objects, self.slots)

    def undo(self) -> None:
        """Take back what was written into the arguments: stock will write it."""
        undo(self.done)


class LearnedCall:
    """What LiteLLM holds and notes of one kind of call, as two calls have shown it; open for what belongs to one
    call."""

    #: Slots of what is known of a call when it is sent.
    early: ClassVar[tuple[str, ...]] = ("start", "sent", _CALL_ID, _TRACE_ID, _FRESH_ID, REPORT, _LOGGING, _CACHE_KEY)

    def __init__(self, feeds: NotifierFactory, pair: CallDiff) -> None:
        self._feeds = feeds
        self._noted = pair.noted
        self._early = pair.learn_early()
        self._noted.learn_late(pair.node)
        self._root = template.Template(pair.node(pair.first.state, pair.second.state, None))
        self._noted.keep(pair.constants)
        self.free: set[Path] = self._noted.free
        self.tries: int = pair.tries
        # With arguments that may vary more than these two do, another call is compared with the first.
        self.shown = pair.first if pair.first.pictures.given.keys or pair.first.plan.free else None
        self._parts = tuple(pair.parts)
        self._lists = tuple(pair.lists)
        self._paths = tuple(pair.paths)
        self._copies = tuple(pair.copies)
        self._needs_id = pair.fresh is not None
        self._blanks = tuple(pair.blanks)
        self._numbered = tuple(f"noted {number}" for number in range(self._noted.count))
        self._values = tuple(pair.values)

    def read(self, arguments: Mapping[str, Any]) -> list[Any] | Path:
        """Return the dictionaries and lists in a call's arguments by number, for ``send``.

        If it differs from those learned from in more than may vary, the place is returned.
        """
        return self._noted.read(arguments)

    def may_widen(self) -> bool:
        """Return whether it is worth another call's learning to let more vary."""
        self.tries += 1
        return self.tries <= _MAX_TRIES

    def send(self, call: Any) -> Begun:
        """Return a ``Call`` that has been read and will be sent now."""
        arguments = call.kwargs
        slots = {
            REPORT: None if call.reported is None else call.reported[1],
            "start": datetime.datetime.fromtimestamp(call.started),
            "sent": datetime.datetime.now(),
            _CALL_ID: arguments.get(_CALL_ID) or chat.fresh_id(),
            _TRACE_ID: arguments.get(_TRACE_ID) or chat.fresh_id(),
            _CACHE_KEY: None if call.lookup is None else call.lookup.key,
            **self._objects(),
        }
        return self._begin(call.told_messages, arguments, call.objects, slots)

    def _objects(self) -> dict[str, Any]:
        """Return the objects that LiteLLM makes before it sends a request, by slot."""
        return {}

    def _begin(self, messages: Any, arguments: Mapping[str, Any], objects: list[Any], slots: dict[str, Any]) -> Begun:
        """Return a call that will be sent now, with LiteLLM's notes in its arguments; ``slots`` are as far as known."""
        slots.update(zip(self._numbered, objects, strict=True))
        if _LOGGING in arguments:
            slots.setdefault(_LOGGING, arguments[_LOGGING])
        if self._needs_id:
            slots.setdefault(_FRESH_ID, chat.fresh_id())
        for slot, kind in self._blanks:
            slots[slot] = kind()
        slots[TAGS] = tuple(self._feeds.tags(objects[0], "metadata"))
        for slot, path in self._values:
            slots[slot] = at(path, objects[0])
        for slot, path in self._paths:
            slots[slot] = at(path, arguments)
        for slot, source, levels in self._copies:
            slots[slot] = _copied(slots[source], levels)
        copies: dict[int, list[Any]] = {}
        for slot, copied in self._lists:
            slots[slot] = copied.made(messages, copies)
        for slot, part in self._parts[: self._early]:
            slots[slot] = part.build([], slots)
        return Begun(self._noted, objects, slots)

    def _end(self, begun: Begun) -> Any:
        """Note in the arguments that a call has succeeded; return what LiteLLM holds of it.

        Nothing mutable is shared but what stock shares.
        """
        slots = begun.slots
        for slot, part in self._parts[self._early :]:
            slots[slot] = part.build([], slots)
        begun.write()
        return self._root.build([], slots)

    def _begun_as(self, shown: ObservedCall) -> Begun:
        """Return a call like the one ``shown``, as if it had come to its end. Nothing of that call's is touched.

        Raises ``Unrepeatable``.
        """
        arguments, messages = shown.pictures.again(shown.given)
        slots = shown.slots()
        if self._needs_id:
            slots[_FRESH_ID] = shown.fresh_id
        objects = self.read(arguments)
        if type(objects) is not list:
            raise Unrepeatable(decline.ARGUMENT_PARTS_SHARED)
        try:
            begun = self._begin(
                shown.told(messages), arguments, objects, {name: slots[name] for name in self.early if name in slots}
            )
        except KeyError as error:
            raise Unrepeatable(decline.TOLD_TOO_EARLY.of(str(error))) from None
        begun.slots.update(slots)
        return begun


class SuccessNotifier(LearnedCall):
    """Feeds the callbacks for one kind of call."""

    def __init__(
        self,
        feeds: NotifierFactory,
        pair: CallDiff,
        result: Any,
        total: Callable[[Any], Any],
        refuse: Callable[[str], None],
    ) -> None:
        super().__init__(feeds, pair)
        self._total = total
        self._receives = pair.receives
        self._model = result._hidden_params.get("litellm_model_name")
        self._model_id = result._hidden_params.get("model_id")
        self._rates = _rates(pair)
        self._payloads = Payloads(
            feeds.sources, feeds.fault, bool(pair.first.pictures.given.keys), Trial(feeds.proof, refuse)
        )

    def again(self, shown: ObservedCall, answer: Any) -> tuple[Any, Callable[[], SnapshotNode]]:
        """Return the ``Logging`` object of a call as ``shown``, not yet priced, and what makes a picture of all it did.

        That has the form of ``ObservedCall.told_state``. Nothing of the call's is touched. Raises ``Unrepeatable``.
        """
        begun = self._begun_as(shown)
        logging = self.open(answer, begun)
        logging.zero_cost_warned = shown.known["zero_cost_warned"]  # stock has said so
        return logging, lambda: take_snapshot([vars(logging), begun.objects[0]])

    def repeated(self, shown: ObservedCall, answer: Any) -> tuple[Any, SnapshotNode]:
        """Return the result that a call as ``shown`` would get, and what it would leave behind, see ``again``."""
        logging, made = self.again(shown, answer)
        start = shown.slots()["start"]
        result = answer.result(start.timestamp(), 0.0, self.pricer(logging, self._total))
        self._timed(logging, result, start)
        return result, made()

    def open(self, answer: Any, begun: Begun) -> Any:
        """Return a ``Logging`` object in the state of a call that got ``answer``, not yet priced."""
        slots = begun.slots
        slots[_HEADERS] = answer.headers
        if self._receives:
            slots[_RECEIVED] = answer.received()
        say = self._feeds.texts[answer.template]
        slots[_TEXT] = slots.get(_TEXT) if say is None else say(answer)
        logging = object.__new__(self._feeds.fed)
        slots.setdefault(_LOGGING, logging)
        logging.__dict__ = self._end(begun)
        logging.payloads, logging.routed, logging.ends = self._payloads, None, None
        logging.is_own = slots[_LOGGING] is logging
        return logging

    def pricer(self, logging: Any, total: Callable[[Any], Any] | None) -> Callable[[Any], Any]:
        """Return what prices a result and tells ``logging`` how the price is made up.

        ``total`` prices without telling: where tokens at the known rates come to the very same price, they make it up.
        """

        rates = self._rates

        def price(result: Any) -> Any:
            made_up = None
            if total is not None and rates is not None and rates.apply(result):
                made_up = rates.made_up(extra(result, "usage"), total(result))
            if made_up is None or rates is None:
                calculate = getattr(logging, self._feeds.calculator)
                return calculate(result=result, litellm_model_name=self._model, router_model_id=self._model_id)
            logging.cost_breakdown = made_up
            logging.billed_token_rates = rates.billed
            logging.model_call_details["zero_cost_diagnostic"] = None
            return made_up["total_cost"]

        return price

    def told(self, answer: Any, begun: Begun, started: float, sent: float) -> Notification | None:
        """Return the result of a call with ``answer``, and what callbacks are to be told; None if stock must do that.

        ``started`` is when the call began, ``sent`` when its request was sent (``time.time()``); the answer
        is here now.
        """
        if answer.template not in self._feeds.texts:
            return None
        ended = time.time()
        slots, start = begun.slots, begun.slots["start"]
        begun.end(sent, ended)
        logging = self.open(answer, begun)
        result = answer.result(started, slots["provider_ms"], self.pricer(logging, self._total))
        end = self._timed(logging, result, start)
        if self._feeds.texts[answer.template] is None:
            logging.model_call_details[_TEXT] = result
        return Notification(self._feeds, logging, result, start, end)

    def _timed(self, logging: Any, result: Any, start: datetime.datetime) -> datetime.datetime:
        """Write into ``result`` what LiteLLM does of its times and its identifier; return when the call ended."""
        hidden = result.__pydantic_private__[HIDDEN]
        end = start + datetime.timedelta(milliseconds=hidden["_response_ms"])
        hidden.update(self._feeds.timing(start, end, logging))
        note_time(result, hidden["_response_ms"])
        hidden[_CALL_ID] = logging.litellm_call_id
        return end


class Notification:
    """One served call: its result, and what its callbacks are told."""

    __slots__ = ("_feeds", "end", "is_told", "logging", "result", "start")

    def __init__(self, feeds: NotifierFactory, logging: Any, result: Any, start: Any, end: Any) -> None:
        self._feeds = feeds
        self.logging = logging
        self.result = result
        self.start = start
        self.end = end
        self.is_told = False  # set by the statement that tells

    def adispatch(self) -> None:
        """Hand the success to LiteLLM's worker for events, and to its threads if there are callbacks for them."""
        arguments = {
            "logging_obj": self.logging,
            "result": self.result,
            "start_time": self.start,
            "end_time": self.end,
            "is_completion_with_fallbacks": False,
            "is_litellm_internal_call": False,
        }
        self.is_told = self._feeds.dispatch(**arguments) is None

    def dispatch(self) -> None:
        """Hand the success to LiteLLM's threads, with the caller's context."""
        context = contextvars.copy_context()
        success = self.logging.success_handler, self.result, self.start, self.end
        self.is_told = self._feeds.utils.executor.submit(context.run, *success) is not None


class ToldCallbacks:
    """Which callbacks LiteLLM tells of a success, as it has found by their methods; it asks several times a call."""

    def __init__(self, state: Callable[[], Any]) -> None:
        self._litellm = importlib.import_module("litellm")
        self._logger = importlib.import_module("litellm._logging").verbose_logger
        self._state = state
        self._found: dict[bool, tuple[Any, list[Any], tuple[Any, ...]]] = {}

    def find(self, logging: Any, asynchronous: bool, stock: Callable[..., Any]) -> tuple[Any, ...]:
        """Return the callbacks of a call that has the object ``logging``, as ``stock`` does."""
        state = self._state()
        has_own = logging.dynamic_success_callbacks or logging.dynamic_async_success_callbacks
        if (
            state is None
            or has_own
            or logging.replaced_global_callback_keys
            or logging.routed is not None
            or self._logger.isEnabledFor(DEBUG)  # stock writes down what it leaves out
        ):
            return stock(asynchronous=asynchronous)  # type: ignore[no-any-return]
        callbacks = [*self._litellm.success_callback, None, *self._litellm._async_success_callback]
        found = self._found.get(asynchronous)
        if (
            found is None
            or found[0] != state
            or len(found[1]) != len(callbacks)
            or any(map(is_not, found[1], callbacks))
        ):
            found = self._found[asynchronous] = state, callbacks, stock(asynchronous=asynchronous)
        return found[2]


def _fed_class(logging_class: Any, calculator: str, fault: Callable[[BaseException], None], told: ToldCallbacks) -> Any:
    litellm = importlib.import_module("litellm")
    can_be_brief = "build_logging_payload" in inspect.signature(
        logging_class._success_handler_helper_fn
    ).parameters and hasattr(logging_class, "_restore_correlation_context")

    # By which later releases tell callbacks of the other kind, too.
    completed = getattr(logging_class, "_get_completed_success_callbacks", None)

    # Later releases name arguments that change nothing while they are these.
    unset = {
        name: parameter.default
        for name, parameter in inspect.signature(logging_class._build_standard_logging_payload).parameters.items()
        if parameter.default is not parameter.empty
    }

    dispatch = seams.CheckedDispatch(logging_class)

    class Fed(logging_class):  # type: ignore[misc]
        """A call's ``Logging`` object, made by the fast path."""

        __slots__ = ("ends", "is_own", "payloads", "routed")  # all else is in the dictionary, as stock has it

        async def dispatch_success_handlers(
            self,
            result: Any = None,
            start_time: Any = None,
            end_time: Any = None,
            cache_hit: Any = None,
            prefer_async_handlers: bool = False,
            **more: Any,
        ) -> None:
            times = {"start_time": start_time, "end_time": end_time, "cache_hit": cache_hit}
            if self.ends is None or not prefer_async_handlers or more or not dispatch.is_known():
                more["prefer_async_handlers"] = prefer_async_handlers
                await super().dispatch_success_handlers(result, **times, **more)
                return
            # As in stock, whose check of what is given takes longer than all the rest and refuses nothing.
            if self._is_assembled_stream_success(result):
                if self.model_call_details.get(_DISPATCHED):
                    return
                self.model_call_details[_DISPATCHED] = True
            await self.async_success_handler(result, **times)
            if self.stream and self._should_run_sync_callbacks_for_async_calls():
                dispatch.executor.submit(self.success_handler, result, **times, for_async_request=True)

        async def async_success_handler(
            self, result: Any = None, start_time: Any = None, end_time: Any = None, cache_hit: Any = None, **more: Any
        ) -> None:
            callbacks = self.dynamic_async_success_callbacks, litellm._async_success_callback
            routers = None if more else self._routers(*callbacks, result, "async_success_handler")
            if routers is None:
                await super().async_success_handler(result, start_time, end_time, cache_hit, **more)
            else:
                self._succeed("async_success", routers, result, start_time, end_time, cache_hit)

        def success_handler(
            self, result: Any = None, start_time: Any = None, end_time: Any = None, cache_hit: Any = None, **more: Any
        ) -> None:
            callbacks = self.dynamic_success_callbacks, litellm.success_callback
            routers = None if more else self._routers(*callbacks, result, "success_handler")
            if routers is None:
                super().success_handler(result, start_time, end_time, cache_hit, **more)
            else:
                self._succeed("sync_success", routers, result, start_time, end_time, cache_hit)

        def _routers(self, own: Any, common: list[Any], result: Any, hook: str) -> list[Any] | None:
            """Return the callbacks to be told of a success, if these are routers that have counted it already.

            None if somebody would see what LiteLLM makes of it, or if that cannot be told.
            """
            try:
                return self._counting(own, common, result, hook)
            except Exception as error:
                fault(error)
                return None

        def _counting(self, own: Any, common: list[Any], result: Any, hook: str) -> list[Any] | None:
            if not can_be_brief or self.ends is not None or not self.is_own or os.environ.get(_PRINTS):
                return None
            callbacks = super().get_combined_callback_list(own, common)
            if completed is not None:
                callbacks = [*callbacks, *completed(self, asynchronous=hook == "async_success_handler")]
            if self.routed is None:
                return None if callbacks else []
            params = self.model_call_details["litellm_params"]
            if not self.routed.has_counted(callbacks, params["metadata"], result):
                return None
            return [held for held in callbacks if self.should_run_callback(held, params, hook)]

        def _succeed(self, event: str, routers: list[Any], result: Any, start: Any, end: Any, cache_hit: Any) -> None:
            """Do what LiteLLM's success handlers do where nobody reads a payload."""
            try:
                if self.should_run_logging(event):
                    self._success_handler_helper_fn(result, start, end, cache_hit, build_logging_payload=False)
                    self.mark_logging_complete(event)
                    if self.routed is not None:
                        self.routed.succeed(routers)
            finally:
                self._restore_correlation_context()

        def get_combined_callback_list(self, *args: Any, **kwargs: Any) -> list[Any]:
            callbacks: list[Any] = super().get_combined_callback_list(*args, **kwargs)
            try:
                return callbacks if self.routed is None else [self.routed.shortened(callback) for callback in callbacks]
            except Exception as error:
                fault(error)
                return callbacks

        def _get_completed_success_callbacks(self, *, asynchronous: bool) -> tuple[Any, ...]:
            return told.find(self, asynchronous, super()._get_completed_success_callbacks)

        def _price(self, *args: Any, **kwargs: Any) -> Any:
            stock = getattr(super(), calculator)
            if self.ends is None or args or kwargs.keys() != {"result"}:
                return stock(*args, **kwargs)
            return self.ends.price(self, kwargs["result"], stock)

        def _build_standard_logging_payload(self, *args: Any, **kwargs: Any) -> Any:
            stock = super()._build_standard_logging_payload
            is_plain = len(args) == 3 and kwargs.items() <= unset.items()
            if not is_plain or not self._is_current():
                return stock(*args, **kwargs)
            return self.payloads.build(self, *args, stock)

        def _is_current(self) -> bool:
            try:
                return self.ends is None or bool(self.ends.are_current())
            except Exception as error:
                fault(error)
                return False

    if completed is None or not hasattr(logging_class, "_without_replaced_global_callbacks"):
        del Fed._get_completed_success_callbacks
    setattr(Fed, calculator, Fed._price)
    for name in ("__module__", "__name__", "__qualname__"):
        setattr(Fed, name, getattr(logging_class, name))  # it calls itself what stock's does
    return Fed


class Rates:
    """What tokens cost, as a call has shown: the rates, LiteLLM's note of them, and what a breakdown looks like.

    ``answered`` are the ``pricing_facts`` of the result that was priced.
    """

    def __init__(self, billed: Any, breakdown: dict[str, Any], answered: Any) -> None:
        self.billed = billed
        self._breakdown = dict(breakdown)  # a callback may write into this call's own
        self._answered = answered

    def apply(self, result: Any) -> bool:
        """Return whether ``result`` comes from the same model and counts tokens of prompt and completion alone."""
        return self._answered == pricing_facts(result) and is_plain(extra(result, "usage"))

    def make_up(self, usage: Any, told: dict[str, Any]) -> bool:
        """Return whether there is nothing in the breakdown ``told`` but tokens at these rates."""
        if any(value for name, value in told.items() if name not in _COSTS):
            return False
        return self.made_up(usage, told["total_cost"]) == told

    def made_up(self, usage: Any, total: Any) -> dict[str, Any] | None:
        """Return the breakdown of the price ``total``; None if these rates do not make it up.

        Tokens that cost nothing may be a mistake in the prices, which LiteLLM looks for and tells.
        """
        prompt = usage.prompt_tokens * self.billed.input_cost_per_token
        completion = usage.completion_tokens * self.billed.output_cost_per_token
        if prompt + completion != total or (not total and usage.total_tokens):
            return None
        made = self._breakdown.copy()
        made["input_cost"], made["output_cost"] = prompt, completion
        made["total_cost"] = made["original_cost"] = total
        return made


def _rates(pair: CallDiff) -> Rates | None:
    """Return the rates by which both calls were priced; None if there is more to their prices than tokens and rates."""
    for shown in (pair.first, pair.second):
        breakdown = shown.known["cost_breakdown"]
        if shown.known.get("billed_token_rates") is None or type(breakdown) is not SnapshotNode:
            return None
        told = dict(breakdown.named())
        rates = Rates(shown.known["billed_token_rates"], told, shown.answered)
        if shown.answered != pair.second.answered or not is_plain(extra(shown.result, "usage")):
            return None
        if not rates.make_up(extra(shown.result, "usage"), told):
            return None
    return rates


def pricing_facts(result: Any) -> tuple[Any, ...]:
    """Return what an answer says about itself that prices depend on, its usage aside."""
    return result.model, extra(result, "service_tier"), stated_price(result)


def extra(result: Any, name: str) -> Any:
    """Return what an answer has besides the fields of its class under ``name``, or None: sooner than pydantic does."""
    held = result.__pydantic_extra__
    return held.get(name) if held is not None and name in held else result.__dict__.get(name)


def note_time(result: Any, milliseconds: float) -> None:
    """Write how long a call took into its ``result``, where pydantic has LiteLLM's attribute for it."""
    private = result.__pydantic_private__
    (private if MILLISECONDS in private else result.__dict__)[MILLISECONDS] = milliseconds


def stated_price(result: Any) -> Any:
    """Return the price that an answer has come with, in its body or its headers, as LiteLLM keeps it; None without."""
    return (result.__pydantic_private__[HIDDEN].get("additional_headers") or {}).get(STATED_PRICE)


def is_plain(usage: Any) -> bool:
    """Return whether a usage counts tokens of the prompt and the completion and nothing else."""
    if usage is None:
        return False
    for held in (usage.__dict__, usage.__pydantic_extra__ or {}):
        for name, value in held.items():
            if not value or name in ("prompt_tokens", "completion_tokens", "total_tokens"):
                continue
            if not isinstance(value, BaseModel) or any(value.__dict__.values()) or value.__pydantic_extra__:
                return False
    return True
