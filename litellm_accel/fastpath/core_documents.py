"""What a router's core is told of calls, which takes LiteLLM longer to make than all the core's steps take.

It is the same for all calls of a kind: texts and free arguments are nothing to it. Of the metadata LiteLLM reads a few
members, like the team; which ones is seen when it reads them, and calls that have the same there are told of alike.
Some calls have to show that, and one more does whenever there have been twice as many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from litellm_accel.fastpath.known_names import MUTATED_NAMES
from litellm_accel.fastpath.plans.argument_writes import Path
from litellm_accel.fastpath.plans.proof import CALLS
from litellm_accel.fastpath.router import BUCKETS

#: What the core is told of a call is to be learned.
LEARN: Any = object()
_MISSING: Any = object()
# What is read and cannot be compared.
_UNTOLD: Any = object()
_BUCKETS = frozenset(BUCKETS)
_OTHERS = MUTATED_NAMES - _BUCKETS
_MAX_KEPT = 512
_MAX_PLACES = 16
_MIN_COMPARED = 16
_PLAIN = frozenset((str, int, float, bool, type(None)))


class Document:
    """What a core is told of calls that are alike, the same ``held`` each time unless it ``differs``."""

    __slots__ = ("agreed", "calls", "differs", "held")

    def __init__(self) -> None:
        self.calls = self.agreed = 0
        self.differs = False
        self.held: Any = None

    def serves(self) -> bool:
        """Return whether the core can be told this of the next call; else that call is to be compared."""
        self.calls += 1
        return self.agreed >= CALLS and not self.differs and self.calls & (self.calls - 1) != 0

    def compare(self, document: Any) -> None:
        """Note what the core is told of a call by LiteLLM."""
        if self.agreed and document != self.held:
            self.differs = True
        self.held = document
        self.agreed += 1


class _Kind:
    """Calls of one key: the ``places`` in their metadata that LiteLLM reads, None if those cannot be compared."""

    __slots__ = ("compared", "places", "served")

    def __init__(self) -> None:
        self.places: tuple[Path, ...] | None = ()
        self.compared = self.served = 0


class Documents:
    """What one core is told of calls, by their keys and by what LiteLLM reads of their metadata for it."""

    def __init__(self) -> None:
        self._kinds: dict[bytes, _Kind] = {}
        self._known: dict[tuple[Any, ...], Document] = {}

    def find(self, key: bytes, request: Mapping[str, Any]) -> Any:
        """Return what the core is told of a ``request``.

        ``LEARN`` if that is to be learned, None where LiteLLM is to make it each time.
        """
        if not _OTHERS.isdisjoint(request):
            return None
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= _MAX_KEPT:
                self._kinds.clear()
                self._known.clear()  # whose places go by what was read first
            kind = self._kinds[key] = _Kind()
        found = self._alike(key, kind, request)
        if found is None or found.differs:
            return None
        if found.serves():
            kind.served += 1
            return found.held
        # Where hardly two calls are alike, comparing them would cost more than it saves.
        return LEARN if kind.compared <= _MIN_COMPARED + kind.served else None

    def learn(
        self, key: bytes, request: Mapping[str, Any], prepared: Mapping[str, Any], make: Callable[..., Any]
    ) -> None:
        """Learn from a ``request`` of which LiteLLM has ``prepared`` a call; ``make`` makes what the core is told."""
        kind = self._kinds.setdefault(key, _Kind())
        kind.compared += 1
        reads = _Reads(_BUCKETS.intersection(request))
        try:
            document = make(reads.watched(request), reads.watched(prepared))
        except Exception:  # of something that does not take these for dictionaries
            reads.lose()
        if reads.places is not None and kind.places is not None:
            both = tuple(dict.fromkeys((*kind.places, *reads.places)))
            kind.places = both if len(both) <= _MAX_PLACES else None
        else:
            kind.places = None
        found = self._alike(key, kind, request)
        if found is not None:
            found.compare(document)

    def _alike(self, key: bytes, kind: _Kind, request: Mapping[str, Any]) -> Document | None:
        """Return what the core is told of calls like a ``request``; None if calls like it cannot be told."""
        if kind.places is None:
            return None
        place = (key, *(_read(request, place) for place in kind.places))
        if _UNTOLD in place:
            return None
        found = self._known.get(place)
        if found is None:
            if len(self._known) >= _MAX_KEPT:
                self._known.clear()
            found = self._known[place] = Document()
        return found


class _Reads:
    """Which members of the metadata are read that a request has under ``names``.

    ``places`` is None if more is read than can be compared.
    """

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self.places: dict[Path, None] | None = {}

    def watched(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return a ``request`` whose metadata note what is read of them."""
        return {
            name: _Watched(self, (name,), held) if name in self._names and type(held) is dict else held
            for name, held in request.items()
        }

    def note(self, place: Path) -> None:
        """Note that what is at ``place`` is read."""
        if self.places is not None:
            self.places[place] = None

    def lose(self) -> None:
        """Note that something is read that cannot be told."""
        self.places = None


class _Watched(dict[Any, Any]):
    """A dictionary that notes which of its members are read. Their names are told by a call's key, or where a
    dictionary is read as a member."""

    def __init__(self, reads: _Reads, path: Path, held: dict[Any, Any]) -> None:
        super().__init__(held)
        self._reads, self._path = reads, path

    def __iter__(self) -> Iterator[Any]:
        return super().__iter__()  # or Python would copy the members without asking for them

    def __getitem__(self, name: Any) -> Any:
        place = (*self._path, name)
        self._reads.note(place)
        value = super().__getitem__(name)
        return _Watched(self._reads, place, value) if type(value) is dict else value

    def get(self, name: Any, default: Any = None) -> Any:
        """Return a member, and note that it is read."""
        if name in self:
            return self[name]
        self._reads.note((*self._path, name))
        return default

    def _all(self, *args: Any, **kwargs: Any) -> Any:
        self._reads.lose()
        return NotImplemented

    def items(self) -> Any:
        """Return all members, which cannot be compared."""
        self._reads.lose()
        return super().items()

    def values(self) -> Any:
        """Return all members, which cannot be compared."""
        self._reads.lose()
        return super().values()

    def copy(self) -> Any:
        """Return all members, which cannot be compared."""
        self._reads.lose()
        return super().copy()

    __eq__ = __ne__ = __or__ = __ror__ = _all
    __hash__ = None


def _read(request: Mapping[str, Any], place: Path) -> Any:
    """Return by what a request is compared with others at a ``place``: the value there, and its type."""
    held: Any = request
    for step in place:
        held = held.get(step, _MISSING) if type(held) is dict else _MISSING
    kind = type(held)
    if held is _MISSING:
        return None
    if kind in _PLAIN:
        return kind, held
    if kind is dict:
        return kind, tuple(held)
    if kind is list and all(type(item) in _PLAIN for item in held):
        return kind, tuple((type(item), item) for item in held)
    return _UNTOLD
