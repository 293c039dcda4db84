"""The arguments in which LiteLLM notes what comes of a call: ``metadata``, and what a proxy passes along with it.

They are the caller's own objects and other ones with each call. LiteLLM writes into them before it sends a request and
after it; the fast path does so at the same two moments. What is written is learned from the two watched calls, as what
was there after and not before. Which values may differ from call to call is learned from them, too: what was equal in
both must be equal in every call that is served, what differed is free.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.known_names import (
    ARGUMENTS,
    EXTRA_BODY,
    METADATA,
    MUTATED_ARGUMENTS,
    MUTATED_NAMES,
    VARIABLE_ARGUMENTS,
    VARIABLE_HEADERS,
    VARIABLE_TIMES,
)
from litellm_accel.fastpath.plans.snapshots import (
    SnapshotNode,
    conceal_objects,
    take_snapshot,
    take_stream_snapshot,
    without_nodes,
)
from litellm_accel.fastpath.plans.templates import Unrepeatable
from litellm_accel.hot import template

_LOGGING = "litellm_logging_obj"
_HELD = (*MUTATED_ARGUMENTS, *sorted(VARIABLE_ARGUMENTS), EXTRA_BODY)
# Schemas are told as they are; LiteLLM makes new dictionaries of headers and of what goes into a request.
_UNPARTED = VARIABLE_ARGUMENTS - VARIABLE_HEADERS
_KNOWN = ARGUMENTS | MUTATED_NAMES | {"input"}
# Written when an exchange ends, however it does.
_TIMES = frozenset(("llm_api_duration_ms", "llm_api_timing_windows"))
# Metadata by which LiteLLM tells what a call is and what it costs, unless it writes them itself.
_BUCKETS = ("metadata", "litellm_metadata")
_STEERING = frozenset(("deployment", "internal_call_origin", "model_group", "model_info", "routing_decision"))
_PLAIN = frozenset((str, int, float, bool, bytes, type(None)))
_PARTED = frozenset((dict, list))
_MISSING: Any = object()
# In the place of a step from a member: that not every call has it.
_GONE: Any = object()
# A step from a whole number to the number that LiteLLM makes of it: a time limit.
_AS_FLOAT: Any = object()

# The way to a value from these arguments by name.
Path = tuple[Any, ...]
# What was written: into which dictionary, the key, what was there before, and what was written.
Written = list[tuple[dict[Any, Any], Any, Any, Any]]


def are_in(arguments: Mapping[str, Any]) -> bool:
    """Return whether a call passes any of these arguments."""
    if MUTATED_NAMES.isdisjoint(arguments):  # most calls; a fifth of the time
        return False
    return any(arguments.get(name) is not None for name in MUTATED_ARGUMENTS)


def held_by(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return these arguments, free texts and numbers, headers, and the provider's own arguments by name; of a
    ``Logging`` object its attributes."""
    others = [name for name in arguments if name not in _KNOWN]
    return {
        name: vars(value) if name == _LOGGING else value
        for name in (*_HELD, *others)
        if (value := arguments.get(name)) is not None and (type(value) not in _PARTED or name not in _UNPARTED)
    }


def same(one: Any, two: Any) -> bool:
    """Return whether two values that are no dictionaries or lists are beyond doubt the same."""
    if one is two:
        return True
    if type(one) is not type(two):
        return False
    if type(one) is tuple:
        return len(one) == len(two) and all(map(same, one, two))
    return type(one) in _PLAIN and bool(one == two)


class CallSnapshots:
    """A call that stock serves, in pictures: what it was given, the same when it was sent, and when it had succeeded.

    ``state`` is what its ``Logging`` object held then, ``noted`` what these arguments did.
    """

    def __init__(self, messages: Any, arguments: Mapping[str, Any]) -> None:
        self._held = held_by(arguments)
        given: dict[int, SnapshotNode] = {}
        self.given = take_snapshot(self._held, given)
        self.before = self.sent = self.after = given.copy()
        self.messages = take_snapshot(messages, given)
        self.state: SnapshotNode | None = None
        self.noted: SnapshotNode | None = None
        self.logging: Any = None

    def send(self) -> None:
        """Take those of the moment when the request is sent."""
        self.sent = {}
        take_snapshot(self._held, self.sent)
        if _LOGGING in self._held:
            for held in (self._held[_LOGGING], self._held[_LOGGING].get("model_call_details")):
                if id(held) in self.sent:
                    conceal_objects(self.sent[id(held)])

    def succeed(self, logging: Any) -> None:
        """Take those of the moment when the call has succeeded and nobody has been told."""
        self.after = {}
        self.logging = logging
        self.state = take_snapshot(vars(logging), self.after)
        self.noted = take_snapshot(self._held, self.after)

    def open(self, stream: Any, again: Any) -> None:
        """Take those of the moment when ``stream`` is there to be read; a router would call ``again`` with that."""
        self.after = {}
        is_given = _LOGGING in self._held
        if is_given:
            self.logging = stream.logging_obj
        self.state = take_stream_snapshot(stream, again, is_given, self.after)
        self.noted = take_snapshot(self._held, self.after)

    def again(self, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        """Return ``arguments`` and the messages as they were given, these arguments as new objects."""
        made: dict[int, Any] = {}
        held = without_nodes(self.given, made)
        if _LOGGING in held:
            logging = object.__new__(type(arguments[_LOGGING]))
            logging.__dict__ = held[_LOGGING]
            held[_LOGGING] = logging
        return {**arguments, **held}, without_nodes(self.messages, made)


class ArgumentWrites:
    """What two watched calls show of these arguments.

    ``freed`` is what earlier pairs of calls have shown to be free. Raises ``Unrepeatable``.
    """

    def __init__(self, first: CallSnapshots, second: CallSnapshots, freed: set[Path]) -> None:
        self._first = first
        self._second = second
        self._freed = freed
        self._numbers: dict[int, int] = {}
        self._others: dict[int, int] = {}
        self._pairs: list[tuple[SnapshotNode, SnapshotNode]] = []
        self._paths: list[Path] = []
        # Of each dictionary or list: what it is in, its key there, its type, and its keys or length, None if free.
        self._found: list[tuple[int, Any, type, Any]] = []
        self._again: list[tuple[int, Any, int]] = []
        self._kept: list[tuple[int, Any, Any]] = []
        self._leaves: dict[Any, list[tuple[Path, Any]]] = {}
        self._tied: set[tuple[Path, Path]] = set()
        self._early: list[tuple[int, Any]] = []
        self._late: list[tuple[int, Any]] = []
        self.free = set(freed)
        self._walk(first.given, second.given, -1, None)

    # --- learning

    def _walk(self, one: Any, two: Any, parent: int, key: Any) -> None:
        path = (*self._paths[parent], key) if parent >= 0 else ()
        if type(one) is SnapshotNode and type(two) is SnapshotNode and (one.keys is None) is (two.keys is None):
            number = self._numbers.get(id(one.original))
            if number is not None or id(two.original) in self._others:
                if number is None or number != self._others.get(id(two.original)):
                    raise Unrepeatable(decline.ARGUMENT_PARTS_SHARED)
                self._again.append((parent, key, number))
                return
            number = self._numbers[id(one.original)] = self._others[id(two.original)] = len(self._pairs)
            self._pairs.append((one, two))
            self._paths.append(path)
            is_open = one.keys != two.keys or len(one.items) != len(two.items) or path in self._freed
            if is_open and path == (METADATA,):
                self._walk_common(one, two, parent, number)
                return
            size = None if is_open else len(one.items) if one.keys is None else one.keys
            self._found.append((parent, key, list if one.keys is None else dict, size))
            if is_open:
                self.free.add(path)
                return
            names = range(len(one.items)) if one.keys is None else one.keys
            for name, item, other in zip(names, one.items, two.items, strict=True):
                self._walk(item, other, number, name)
        elif type(one) is SnapshotNode or type(two) is SnapshotNode or not same(one, two):
            self.free.add(path)
            for way, first, second in _forms(path, one, two):
                self._leaves.setdefault(mark(first), []).append((way, second))
        else:
            self._kept.append((parent, key, one))

    def _walk_common(self, one: SnapshotNode, two: SnapshotNode, parent: int, number: int) -> None:
        """Walk what the metadata of both calls have in common: other names come and go, which no call tells apart."""
        first, second = dict(one.named()), dict(two.named())
        gone = {(METADATA, name, _GONE) for name in first.keys() ^ second.keys()}
        self.free |= gone | {(METADATA,)}
        names = [name for name in first if name in second and (METADATA, name, _GONE) not in self._freed]
        self._found.append((parent, METADATA, dict, frozenset(names)))
        for name in names:
            self._walk(first[name], second[name], number, name)

    def number(self, one: SnapshotNode, two: SnapshotNode) -> int | None:
        """Return the number of the dictionary or list that is ``one`` in the first call and ``two`` in the second."""
        number = self._numbers.get(id(one.original))
        if number != self._others.get(id(two.original)):
            raise Unrepeatable(decline.ARGUMENT_TOLD)
        if number is None and (id(one.original) in self._first.before or id(two.original) in self._second.before):
            raise Unrepeatable(decline.ARGUMENT_PART_TOLD)
        return number

    def path(self, one: Any, two: Any) -> Path | None:
        """Return the way to a free value that is ``one`` in the first call and ``two`` in the second.

        Where there are several, none is told from the others: they must be the same in every call.
        """
        paths = [path for path, other in self._leaves.get(mark(one), ()) if same(two, other)]
        self._tied.update((paths[0], path) for path in paths[1:])
        return paths[0] if paths else None

    def learn_early(self, node: Callable[[Any, Any, Any], tuple[Any, ...]]) -> None:
        """Learn what is written before a request is sent.

        ``node`` makes a template's node of what something is in both calls and its name.
        """
        for shown in (self._first, self._second):
            for number, held in shown.before.items():
                is_inside = number not in self._numbers and number not in self._others
                if is_inside and _written(held, shown.after.get(number, held)):
                    raise Unrepeatable(decline.ARGUMENT_CHANGES_BY_CONTENT)
        self._early = self._changes(self._first.sent, self._second.sent, node)
        early = {(*self._paths[number], name) for number, written in self._early for name in written.root[1]}
        for path in self.free - self._freed:
            if path[0] in _BUCKETS and path[1:2] and path[1] in _STEERING and path[:2] not in early:
                raise Unrepeatable(decline.METADATA_STEERS.of(path[1]))

    def learn_late(self, node: Callable[[Any, Any, Any], tuple[Any, ...]]) -> None:
        """Learn what is written from then on until the call has succeeded."""
        self._late = self._changes(self._first.after, self._second.after, node)

    def _changes(
        self, first: dict[int, SnapshotNode], second: dict[int, SnapshotNode], node: Callable[..., tuple[Any, ...]]
    ) -> list[tuple[int, Any]]:
        changes = []
        for number, (one, two) in enumerate(self._pairs.copy()):
            one_after, two_after = first.get(id(one.original), one), second.get(id(two.original), two)
            written = _written(one, one_after) | _written(two, two_after)
            names = [name for name in two_after.keys or () if name in written]
            if names != [name for name in one_after.keys or () if name in written]:
                raise Unrepeatable(decline.ARGUMENT_CHANGES_BY_CONTENT)
            if names:
                then, now = dict(one_after.named()), dict(two_after.named())
                nodes = tuple(node(then[name], now[name], name) for name in names)
                changes.append((number, template.Template((template.DICT, tuple(names), nodes))))
            self._pairs[number] = one_after, two_after  # where what is written later begins
        return changes

    def keep(self, constants: set[Any]) -> None:
        """Let what earlier calls have freed be free, unless these two do not tell it from one of ``constants``."""
        for number, key, value in self._kept.copy():
            path = (*self._paths[number], key)
            if path not in self._freed:
                continue
            if any(mark(form) in constants for _, form, _ in _forms(path, value, value)):
                self.free.discard(path)
            else:
                self._kept.remove((number, key, value))

    # --- serving

    @property
    def count(self) -> int:
        """How many dictionaries and lists ``read`` returns."""
        return len(self._found)

    def read(self, arguments: Mapping[str, Any]) -> list[Any] | Path:
        """Return the dictionaries and lists of a call by number, or the place where it differs in what is not free."""
        objects: list[Any] = [held_by(arguments)]
        for parent, key, kind, size in self._found[1:]:
            value = objects[parent][key]
            if type(value) is not kind:
                return self._paths[len(objects)]
            if size is not None and not _is_of_size(value, size):
                return (*self._paths[len(objects)], *_odd_member(value, size))
            objects.append(value)
        for number, key, value in self._kept:
            found = objects[number][key]
            if found is not value and not same(found, value):
                return (*self._paths[number], key)
        for number, key, other in self._again:
            if objects[number][key] is not objects[other]:
                return (*self._paths[number], key)
        for path, same_as in self._tied:
            if not same(at(path, objects[0]), at(same_as, objects[0])):
                return path
        if len(set(map(id, objects))) == len(objects):
            return objects
        return next(path for number, path in enumerate(self._paths) if _is_among(objects[number], objects[:number]))

    def earlier(self, objects: list[Any], key: Any) -> Any:
        """Return what is at ``key`` where ``write_late`` writes there, or None."""
        return next((objects[number].get(key) for number, written in self._late if key in written.root[1]), None)

    def write_early(self, objects: list[Any], slots: dict[str, Any]) -> Written:
        """Write what LiteLLM writes before a request is sent; return what ``undo`` needs to take it back."""
        return _write([(objects[number], written.build([], slots)) for number, written in self._early])

    def write_times(self, objects: list[Any], slots: dict[str, Any]) -> None:
        """Write when a request that was cancelled was sent and ended."""
        for number, written in self._late:
            for key, node in zip(*written.root[1:], strict=True):
                if key in _TIMES:
                    objects[number][key] = slots[node[1]]

    def write_late(self, objects: list[Any], slots: dict[str, Any]) -> Written:
        """Write what LiteLLM writes until a call has succeeded; return what ``undo`` needs to take it back."""
        return _write([(objects[number], written.build([], slots)) for number, written in self._late])


def _write(changes: list[tuple[dict[Any, Any], dict[Any, Any]]]) -> Written:
    done = []
    for target, items in changes:
        for key, value in items.items():
            done.append((target, key, target.get(key, _MISSING), value))
            target[key] = value
    return done


def at(path: Path, value: Any) -> Any:
    """Return what is at the end of ``path`` from ``value``."""
    for step in path:
        value = float(value) if step is _AS_FLOAT else value[step]
    return value


def _forms(path: Path, one: Any, two: Any) -> list[tuple[Path, Any, Any]]:
    """Return the forms in which LiteLLM uses the argument at ``path``, ``one`` in a call and ``two`` in another.

    Each is a path with both values there. A time limit that is a whole number is used as a float, too.
    """
    forms = [(path, one, two)]
    if len(path) == 1 and path[0] in VARIABLE_TIMES and type(one) is int and type(two) is int:
        forms.append(((*path, _AS_FLOAT), float(one), float(two)))
    return forms


def undo(done: Written) -> None:
    """Take back what was written, where it is still there."""
    for target, key, before, value in reversed(done):
        if target.get(key, _MISSING) is not value:
            continue
        if before is _MISSING:
            del target[key]
        else:
            target[key] = before


def _odd_member(value: Any, size: Any) -> tuple[Any, ...]:
    """Return the key that a dictionary has and ``size`` has not, or the other way round; nothing for lists."""
    if type(value) is not dict:
        return ()
    if type(size) is frozenset:
        return tuple(sorted(size - value.keys(), key=str)[:1])
    odd = [key for key in value if key not in size] or [key for key in size if key not in value]
    return tuple(odd[:1])


def _is_among(value: Any, others: list[Any]) -> bool:
    return any(value is other for other in others)


def _is_of_size(value: Any, size: Any) -> bool:
    """Return whether a dictionary has the keys in ``size``, those in a set among others, or a list that length."""
    if type(size) is frozenset:
        return bool(size <= value.keys())
    return bool((tuple(value) if type(value) is dict else len(value)) == size)


def mark(value: Any) -> Any:
    """Return what finds a value among others: equal ones for plain values, itself for others."""
    return (
        (type(value), value) if type(value) in _PLAIN else id(value.original if type(value) is SnapshotNode else value)
    )


def _written(before: SnapshotNode, after: SnapshotNode) -> set[Any]:
    """Return the keys of what was written into a dictionary. Raises ``Unrepeatable`` for other changes."""
    if before.keys is None or after.keys is None:
        if len(before.items) != len(after.items) or not all(map(_is_kept, before.items, after.items)):
            raise Unrepeatable(decline.ARGUMENT_LIST_CHANGED)
        return set()
    old = dict(before.named())
    if [name for name in after.keys if name in old] != list(before.keys):
        raise Unrepeatable(decline.ARGUMENT_MEMBER_REMOVED)
    return {name for name, item in after.named() if name not in old or not _is_kept(old[name], item)}


def _is_kept(before: Any, after: Any) -> bool:
    if type(before) is SnapshotNode and type(after) is SnapshotNode:
        return before.original is after.original
    return same(before, after)
