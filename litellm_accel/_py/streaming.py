"""Makes the chunks in the middle of a stream: from the bytes of an event to the object an application receives."""

from __future__ import annotations

import logging
import time
from typing import Any

import orjson

from litellm_accel._py.bindings import Bindings
from litellm_accel._py.sse import Splitter
from litellm_accel._py.template import Template, leaves_of
from litellm_accel.fastpath import decline
from litellm_accel.fastpath.decline import Why
from litellm_accel.fastpath.known_names import (
    EVENT_MEMBERS,
    OBFUSCATION,
    STREAM_BEGINNING,
    STREAM_CARRIED,
    STREAM_IDENTIFIERS,
    STREAM_MIDDLE,
    STREAM_PROVIDERS,
    STREAM_UPSTREAM,
    TREATED_VALUES,
)

__all__ = [
    "MORE",
    "UNKNOWN",
    "AtHand",
    "ChunkTemplate",
    "Reader",
    "bearing_usage",
    "condensed",
    "content_of",
    "is_plain",
]

MORE = decline.MORE
UNKNOWN = decline.LEARNED_FROM

_PARTS = ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
_set = object.__setattr__


class ChunkTemplate:
    """How events of one shape become chunks, and what LiteLLM's stream notes of each.

    ``response`` builds the chunk, ``noted`` a dictionary of those attributes of the stream that change. ``guarded``
    tells whether stock first looks for a model that repeats itself.
    """

    __slots__ = ("guarded", "noted", "response")

    def __init__(self, response: Template, noted: Template, guarded: bool) -> None:
        self.response = response
        self.noted = noted
        self.guarded = guarded


# How often the texts of a stream's events are looked for, and in how many texts events that are alike may differ.
_MAX_TRIES = 8
_MAX_TEXTS = 3


class Likeness:
    """Events that differ from one in the bytes of some of their texts alone.

    ``pieces`` are the bytes of that event around these texts, ``leaves`` its leaves, ``places`` which of those the
    texts are. ``around`` is what its stream was then.
    """

    __slots__ = ("_leaves", "_pieces", "_places", "around")

    def __init__(
        self, pieces: list[bytes], leaves: list[Any], places: tuple[int, ...], around: tuple[Any, ...]
    ) -> None:
        self._pieces = pieces
        self._leaves = leaves
        self._places = places
        self.around = around

    def read(self, line: bytes) -> list[Any] | None:
        """Return the leaves of an event, None if it is not one of these, or a text may be treated by content."""
        if not line.startswith(self._pieces[0]):
            return None
        start = len(self._pieces[0])
        texts = []
        for piece in self._pieces[1:]:
            end = line.find(b'"', start)
            if end < 0 or not line.startswith(piece, end):
                return None
            raw = line[start:end]
            if not raw or raw.startswith(b"<") or not _is_unescaped(raw):
                return None
            try:
                text = raw.decode()
            except UnicodeDecodeError:
                return None
            if text.isspace() or text in TREATED_VALUES:
                return None
            texts.append(text)
            start = end + len(piece)
        if start != len(line):
            return None
        leaves = self._leaves.copy()
        for place, text in zip(self._places, texts, strict=True):
            leaves[place] = text
        return leaves


def _is_unescaped(text: bytes) -> bool:
    """Return whether a text in JSON stands for itself."""
    return min(text) >= 32 and b"\\" not in text


def _likeness(line: bytes, leaves: list[Any], before: list[Any], around: tuple[Any, ...]) -> Likeness | None:
    """Return what events are like the one in ``line``; None if it differs from the one before in more than texts.

    ``leaves`` are those of both. That the pieces are those around the texts is shown by an event with other texts.
    """
    pieces: list[bytes] = []
    texts: list[bytes] = []
    expected = leaves.copy()
    start = 0
    if len(leaves) != len(before):
        return None
    places = tuple(place for place in range(len(leaves)) if leaves[place] != before[place])
    if not 0 < len(places) <= _MAX_TEXTS:
        return None
    for place in places:
        text = leaves[place]
        if type(text) is not str:
            return None
        raw = text.encode("utf-8", "surrogatepass")
        found = line.find(b'"%b"' % raw, start)
        if found < 0:
            return None
        pieces.append(line[start : found + 1])
        start = found + 1 + len(raw)
        expected[place] = f"text {place}"
        texts.append(expected[place].encode())
    pieces.append(line[start:])
    other = pieces[0] + b"".join(text + piece for text, piece in zip(texts, pieces[1:], strict=True))
    try:
        shown = leaves_of(orjson.loads(other[6:] if other[5:6] == b" " else other[5:]))
    except ValueError:  # a text like a comma was found between two others
        return None
    known = leaves_of(orjson.loads(line[6:] if line[5:6] == b" " else line[5:]))
    if shown is None or known is None or shown[1] != expected or shown[0] != known[0]:
        return None
    return Likeness(pieces, leaves, places, around)


class Reader:
    """The events of one stream, and the chunks that ``templates``, by shape, make of them.

    Where ``templates`` holds a reason for a shape, stock makes the chunk. ``package`` holds the names of the module
    ``litellm``; ``early`` is the splitter's. After ``chunk()`` has returned ``UNKNOWN``, ``value`` is the event as
    parsed, and ``shape`` its shape, which that of a stream's first event shares with no other, nor that of one after a
    call of a tool with one before, nor those of one provider with another's.
    """

    __slots__ = (
        "_last",
        "_last_shape",
        "_leaves",
        "_likeness",
        "_package",
        "_tries",
        "shape",
        "splitter",
        "templates",
        "value",
    )

    def __init__(self, templates: dict[Any, ChunkTemplate | Why], package: dict[str, Any], early: bool = False) -> None:
        self.splitter = Splitter(early)
        self.templates = templates
        self.value: Any = None
        self.shape: tuple[Any, ...] | None = None
        self._package = package
        self._leaves: list[Any] = []
        self._last_shape: tuple[Any, ...] | None = None
        self._last: ChunkTemplate | None = None
        self._likeness: Likeness | None = None
        self._tries = 0

    def renew(self, templates: dict[Any, ChunkTemplate | Why]) -> None:
        """Go on with other templates."""
        self.templates = templates
        self._last_shape = self._last = self._likeness = None

    def chunk(self, state: dict[str, Any]) -> Any:
        """Return the next chunk of the stream whose attributes are ``state``, which are brought up to date.

        Where there is none, nothing has changed, and what is returned is a reason: ``MORE``, ``UNKNOWN``, or why stock
        must go on. Nor has it after an exception.
        """
        splitter = self.splitter
        begins = state.get("sent_first_chunk") is False
        for name, wanted in STREAM_BEGINNING if begins else STREAM_MIDDLE:
            found = state.get(name, UNKNOWN)
            if found is not wanted and found != wanted:
                return decline.FIRST_OR_LAST_CHUNK
        if not is_plain(state):
            return decline.FIRST_OR_LAST_CHUNK
        if state.get("custom_llm_provider") not in STREAM_PROVIDERS:
            return decline.CHUNK_PROVIDER
        line = splitter.next()
        if line is None:
            return decline.CHUNK_FIELDS if splitter.odd else MORE
        try:
            made = self._made(line, begins, state)
        except BaseException:
            splitter.back()
            if begins:
                state["created"] = None
            raise
        if isinstance(made, Why):
            splitter.back()
        return made

    def _made(self, line: bytes, begins: bool, state: dict[str, Any]) -> Any:
        template = self._template(line, begins, state)
        if type(template) is not ChunkTemplate:
            return template
        chunks = state["chunks"]
        repeated = state["_repeated_messages_count"]
        if template.guarded:
            repeated = _repeated(chunks, repeated)
            if repeated is None or repeated >= self._package["REPEATED_STREAMING_CHUNK_LIMIT"]:
                return decline.CHUNK_REPEATED
        if begins:
            state["created"] = int(time.time())
        response = template.response.build(self._leaves, state)
        text = content_of(response)
        noted = template.noted.build(self._leaves, state)
        noted["_repeated_messages_count"] = repeated
        if text:
            noted["response_uptil_now"] = noted.get("response_uptil_now", state["response_uptil_now"]) + text
        state.update(noted)
        chunks.append(response)
        return response

    def _template(self, line: bytes, begins: bool, state: dict[str, Any]) -> Any:
        before = self._leaves
        if self._likeness is not None and not begins:
            around = self._likeness.around
            if around[0] is state["custom_llm_provider"] and around[1] == bool(state.get("tool_call")):
                leaves = self._likeness.read(line)
                if leaves is not None:
                    self._leaves = leaves
                    self._last_shape, self._last = around[2], around[3]
                    return self._last
        try:
            value = orjson.loads(line[6:] if line[5:6] == b" " else line[5:])
        except ValueError:
            return decline.CHUNK_NOT_JSON
        if type(value) is not dict or value.get("error"):
            return decline.CHUNK_NOT_ONE
        found = leaves_of(value)
        if found is None or _is_blank(value.get("id")):
            return decline.CHUNK_CONTENT
        self.shape, self._leaves = found
        if begins:
            self.shape = "first", self.shape
        elif state.get("tool_call"):
            self.shape = "tools", self.shape
        if state["custom_llm_provider"] != STREAM_PROVIDERS[0]:
            self.shape = state["custom_llm_provider"], self.shape
        if self.shape == self._last_shape:
            if (
                self._tries < _MAX_TRIES
                and not begins
                and (self._likeness is None or self._likeness.around[2] != self.shape)
            ):
                self._tries += 1
                around = state["custom_llm_provider"], bool(state.get("tool_call")), self.shape, self._last
                self._likeness = _likeness(line, self._leaves, before, around)
            return self._last
        template = self.templates.get(self.shape, UNKNOWN)
        if template is UNKNOWN:
            self.value = value
        elif isinstance(template, ChunkTemplate):
            self._last_shape = self.shape
            self._last = template
        return template


class AtHand:
    """What comes next in streams that are being served: the way of most chunks, and the shortest.

    ``source`` is the class of their events, ``settings`` the bindings they rely on, ``templates`` what these readers
    must use, ``package`` the names of the module ``litellm``, ``logger`` the one that would tell of each chunk.
    """

    __slots__ = ("_logger", "_package", "_settings", "_source", "_templates")

    def __init__(
        self, source: type, settings: Bindings, templates: dict[Any, Any], package: dict[str, Any], logger: Any
    ) -> None:
        self._source: Any = source
        self._settings = settings
        self._templates = templates
        self._package = package
        self._logger = logger

    def take(self, wrapper: Any, kind: type) -> Any:
        """Return the next chunk of a stream of the SDK's class ``kind`` if its event has come, or ``MORE``.

        None, with nothing changed, if that is to be looked at more closely.
        """
        state = vars(wrapper)
        stream = state.get("completion_stream")
        if type(stream) is not kind or not state.get("sent_first_chunk"):
            return None
        events: Any = stream._decoder  # type: ignore[attr-defined]
        if type(events) is not self._source or events.packets is None or events.packet is not None or events.reading:
            return None
        reader = events.reader
        if reader.templates is not self._templates or self._settings.changed():
            return None
        package = self._package
        if package["post_call_rules"] or package["_custom_providers"] or self._logger.isEnabledFor(logging.DEBUG):
            return None
        made = reader.chunk(state)
        return None if made is not MORE and isinstance(made, Why) else made


def _is_blank(identifier: Any) -> bool:
    return type(identifier) is str and identifier.isspace()


def is_plain(attributes: dict[str, Any]) -> bool:
    """Return whether nothing has come in a stream by which later releases of LiteLLM make its chunks otherwise."""
    if any(attributes.get(name) for name in STREAM_CARRIED):
        return False
    identifiers = attributes.get(STREAM_IDENTIFIERS)
    return attributes.get(STREAM_UPSTREAM) is None and (identifiers is None or identifiers.response_id is None)


def content_of(chunk: Any) -> Any:
    """Return the content of a chunk's first choice as it is now, ``...`` where that is not where it should be."""
    try:
        choice = vars(chunk)["choices"][0]
        return choice.__pydantic_extra__["delta"].__pydantic_extra__["content"]
    except (AttributeError, LookupError, TypeError):
        return ...


def _repeated(chunks: list[Any], count: Any) -> Any:
    """Return how often the last chunk has come now, counted as LiteLLM does; None where it must count itself."""
    if len(chunks) < 2:
        return count
    last = content_of(chunks[-1])
    if last is None or (type(last) is str and len(last) <= 2):
        return None if content_of(chunks[-2]) is ... else 1
    if type(last) is not str:
        return None
    before = content_of(chunks[-2])
    if before is ...:
        return None
    return count + 1 if last == before else 1


def condensed(chunks: list[Any], kinds: tuple[Any, ...]) -> list[Any]:
    """Return ``chunks`` with each run of chunks that differ in nothing but their text made one chunk.

    ``kinds`` are the classes of a chunk, a choice and a delta. The first and the last chunk stay as they are. Where the
    chunks are not in the order in which they were made, ``chunks`` itself is returned.
    """
    made: list[Any] = []
    run: Any = None
    texts: list[str] = []
    before = 0.0
    for chunk in chunks:
        moment = _moment(chunk, kinds[0])
        if moment is None or moment < before:
            return chunks
        before = moment
        last = chunk is chunks[-1]
        text = None if last or not made else _text(chunk, kinds)
        if text is not None and run is not None and _alike(run, chunk):
            texts.append(text)
            continue
        if run is not None:
            made.append(_joined(run, texts))
        if text is None:
            made.append(chunk)
            run = None
        else:
            run = chunk
            texts = [text]
    return made


def bearing_usage(chunks: list[Any], kind: Any) -> list[Any]:
    """Return those of ``chunks`` that may hold a usage; ``kind`` is the class of a chunk."""
    return [chunk for chunk in chunks if type(chunk) is not kind or _may_hold_usage(chunk)]


def _may_hold_usage(chunk: Any) -> bool:
    extra = chunk.__pydantic_extra__
    return type(extra) is not dict or "usage" in extra or "usage" in vars(chunk)


def _moment(chunk: Any, kind: Any) -> Any:
    """Return when a chunk was made; None if it does not say so."""
    private = chunk.__pydantic_private__ if type(chunk) is kind else None
    hidden = private.get("_hidden_params") if type(private) is dict else None
    moment = hidden.get("created_at") if type(hidden) is dict else None
    return moment if type(moment) is float and moment > 0 else None


def _text(chunk: Any, kinds: tuple[Any, ...]) -> str | None:
    """Return the text of a chunk that holds nothing else, None for any other chunk."""
    fields = vars(chunk)
    extra = chunk.__pydantic_extra__
    choices = fields.get("choices")
    if type(choices) is not list or len(choices) != 1 or type(choices[0]) is not kinds[1] or type(extra) is not dict:
        return None
    for item in extra.values():
        if item is not None and type(item) is not str:
            return None
    if fields.get("provider_specific_fields") is not None:
        return None
    choice = choices[0]
    extra = choice.__pydantic_extra__
    if type(extra) is not dict or vars(choice):
        return None
    for name, item in extra.items():
        if item is not None and name != "delta" and name != "index":
            return None
    delta: Any = extra.get("delta")
    if type(delta) is not kinds[2] or type(delta.__pydantic_extra__) is not dict:
        return None
    for item in vars(delta).values():
        if item is not None:
            return None
    extra = delta.__pydantic_extra__
    for name, item in extra.items():
        if item is not None and name != "content":
            return None
    text = extra.get("content")
    return text if type(text) is str else None


def _alike(one: Any, other: Any) -> bool:
    """Return whether two chunks that hold a text alone are otherwise alike."""
    first = vars(one)
    second = vars(other)
    for name in EVENT_MEMBERS:
        if first.get(name) != second.get(name):
            return False
    if not _same_extra(one.__pydantic_extra__, other.__pydantic_extra__):
        return False
    if _index(first["choices"][0]) != _index(second["choices"][0]):  # later releases make a text of each
        return False
    hidden = one.__pydantic_private__["_hidden_params"]
    hidden_too = other.__pydantic_private__["_hidden_params"]
    if len(hidden) != len(hidden_too) or "usage" in hidden:
        return False
    for name, item in hidden.items():
        found = hidden_too.get(name, ...)
        if found is not item and name != "created_at" and found != item:
            return False
    return True


def _index(choice: Any) -> Any:
    return choice.__pydantic_extra__.get("index")


def _same_extra(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two chunks say the same besides; what OpenAI fills them up with is read by nobody."""
    if len(one) != len(other):
        return False
    for name, item in one.items():
        found = other.get(name, ...)
        if found is not item and found != item and (name != OBFUSCATION or type(found) is not str):
            return False
    return True


def _joined(chunk: Any, texts: list[str]) -> Any:
    """Return a chunk like ``chunk`` that holds all of ``texts``."""
    if len(texts) == 1:
        return chunk
    choice = vars(chunk)["choices"][0]
    extra = choice.__pydantic_extra__
    delta = _copy(extra["delta"])
    members = delta.__pydantic_extra__
    _set(delta, "__pydantic_extra__", {**members, "content": "".join(texts)})
    choice = _copy(choice)
    _set(choice, "__pydantic_extra__", {**extra, "delta": delta})
    made = _copy(chunk)
    members = vars(chunk)
    _set(made, "__dict__", {**members, "choices": [choice]})
    return made


def _copy(model: Any) -> Any:
    """Return an object that shares all its parts with ``model``."""
    made = model.__new__(type(model))
    for part in _PARTS:
        _set(made, part, getattr(model, part))
    return made
