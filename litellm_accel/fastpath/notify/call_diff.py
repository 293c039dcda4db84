"""What two watched calls of one kind have in common in LiteLLM's ``Logging`` objects, and in what they differ.

What is the same object in both is shared, what is equal is made afresh for each call, and what differs must be one of
the few things that the fast path knows of a call, each of which has a slot here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.admission.conversations import Conversation
from litellm_accel.fastpath.admission.message_steps import MessageStep, WatchedSteps
from litellm_accel.fastpath.known_names import MUTATED_NAMES, VARIABLE_STRUCTURES
from litellm_accel.fastpath.notify.message_copies import (
    MessageCopy,
    ToldMessages,
    copied_levels,
    has_same_parts,
    is_copy,
)
from litellm_accel.fastpath.notify.rates import DIAGNOSTIC, FAILED, pricing_facts
from litellm_accel.fastpath.plans.argument_writes import ArgumentWrites, CallSnapshots, Path, mark, same
from litellm_accel.fastpath.plans.snapshots import (
    UNREAD,
    SnapshotNode,
    is_blank,
    take_snapshot,
    within,
    without_nodes,
)
from litellm_accel.fastpath.plans.templates import Unrepeatable
from litellm_accel.hot import chat, template
from litellm_accel.stock.seams import CACHING_HANDLER

if TYPE_CHECKING:
    from litellm_accel.fastpath.notify.success import LearnedCall

# Clocks, by the names LiteLLM gives them; the value is the slot they are made from.
CLOCKS = {
    "start_time": "start",
    "api_call_start_time": "sent",
    "first_api_call_start_time": "sent",
    "current_attempt_api_call_start_time": "sent",
    "llm_api_duration_ms": "provider_ms",
    "llm_api_timing_windows": "windows",
}
# What pricing an answer leaves behind, and what is there before.
_PRICED: dict[str, Any] = {"cost_breakdown": None, "billed_token_rates": None, "zero_cost_warned": False}
_PRICED_LATER = frozenset((DIAGNOSTIC, FAILED))
MESSAGES = ("input", "messages")
# Under which key LiteLLM has looked for the answer in its cache.
CACHE_KEY = "preset_cache_key"
CALL_ID, TRACE_ID, LOGGING = "litellm_call_id", "litellm_trace_id", "litellm_logging_obj"
FRESH_ID = "fresh identifier"
# Among the metadata: how a router's strategy chose the deployment.
REPORT = "_latency_per_deployment"
TAGS = "_routing_request_tags"
TEXT, HEADERS = "original_response", "response_headers"
RECEIVED = "headers as they came"
# Makes a conversation of messages; None where they are of the plainest.
ReadMessages = Callable[[Any], Conversation] | None


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

    @property
    def kept_in_both(self) -> tuple[tuple[str, str], ...]:
        """What the result holds as well as the ``Logging`` object: names of hidden parameters and of attributes."""
        known = {id(held.original): name for name, held in self.known.items() if type(held) is SnapshotNode}
        hidden = self.result._hidden_params.copy().items()
        return tuple((name, known[id(value)]) for name, value in hidden if id(value) in known)

    def slots(self) -> dict[str, Any]:
        """Return the clocks and identifiers of this call, by slot."""
        return {
            **({LOGGING: self.pictures.logging} if LOGGING in self.given else {}),
            **{slot: self.details[name] for name, slot in CLOCKS.items() if name in self.details},
            "windows": next(self._under("llm_api_timing_windows", self.state), None),
            REPORT: getattr(next(self._under(REPORT, self.state), None), "original", None),
            CALL_ID: self.known[CALL_ID],
            TRACE_ID: self.known[TRACE_ID],
            TEXT: self.details.get(TEXT),
            CACHE_KEY: getattr(next(filter(None, map(self.known.get, CACHING_HANDLER)), None), CACHE_KEY, None),
        }

    def told_state(self) -> SnapshotNode:
        """Return what the call left behind: the state of its ``Logging`` object, and of the arguments noted in."""
        shown = SnapshotNode(None)
        shown.items = [self.state, self.pictures.noted]
        return shown

    @property
    def fresh_id(self) -> Any:
        """The trace identifier of a router's own, where the logging object has come with another; None without."""
        known = self.known[CALL_ID], self.known[TRACE_ID]
        found = self._under(TRACE_ID, self.state)
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
                return (template.SLOT, HEADERS)
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
            return (template.SLOT, LOGGING)
        for slot in (CALL_ID, TRACE_ID):
            if one == self.first.known[slot] and two == self.second.known[slot]:
                return (template.SLOT, slot)
        if name == TRACE_ID and type(one) is str and self.fresh in (None, (one, two)):
            self.fresh = one, two  # a router's own, where the logging object has come with another
            return (template.SLOT, FRESH_ID)
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
        if name in CLOCKS and one is not None and two is not None:
            return (template.SLOT, CLOCKS[name])
        if name in (TAGS, REPORT):
            return (template.SLOT, name)
        if name == TEXT:
            return (template.SLOT, TEXT)
        if name == CACHE_KEY and one is not None and two is not None:
            return (template.SLOT, CACHE_KEY)
        if name == HEADERS and one is not None:
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
            return (template.SLOT, RECEIVED)
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
            if has_same_parts(one, first) and has_same_parts(two, second):
                levels = 1
            elif path and is_copy(one, first) and is_copy(two, second):
                levels = copied_levels([(one, first), (two, second)])
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

    def _copy(self, one: SnapshotNode, two: SnapshotNode) -> MessageCopy:
        if any(type(item) is not SnapshotNode for held in (one, two) for item in held.items):
            raise Unrepeatable(decline.TOLD_MESSAGES)
        group = self._groups.setdefault(tuple(id(item.original) for item in one.items), len(self._groups))
        if group == len(self._copies):
            self._copies.append((one, two))
        ones, twos = zip(*self._copies, strict=True)
        copied = MessageCopy(one, self.first.messages, group, ones[:group])
        if copied != MessageCopy(two, self.second.messages, group, twos[:group]):
            raise Unrepeatable(decline.TOLD_MESSAGES)
        return copied


def _is_within(path: tuple[Any, ...] | None) -> bool:
    """Return whether ``path`` leads to a part of a variable argument, which other calls may not have."""
    return path is not None and len(path) > 1 and path[0] in VARIABLE_STRUCTURES
