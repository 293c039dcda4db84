# cython: language_level=3, binding=True
"""Makes the chunks in the middle of a stream: from the bytes of an event to the object an application receives."""

from __future__ import annotations

import logging
import time
from typing import Any

import orjson

from litellm_accel._cy.bindings cimport Bindings
from litellm_accel._cy.sse cimport Splitter
from litellm_accel._cy.template cimport Template

from litellm_accel._cy.template import leaves_of
from litellm_accel.fastpath import decline

cdef frozenset TREATED_VALUES
cdef tuple EVENT_MEMBERS, STREAM_BEGINNING, STREAM_CARRIED, STREAM_MIDDLE, STREAM_PROVIDERS
cdef str OBFUSCATION, STREAM_IDENTIFIERS, STREAM_UPSTREAM

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

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject_GenericGetAttr, PyObject_GenericSetAttr
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.string cimport memchr, memcmp

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
cdef object _MORE = MORE
cdef object _UNKNOWN = UNKNOWN
cdef object _Why = decline.Why
cdef int _DEBUG = logging.DEBUG
cdef object _loads = orjson.loads
cdef object _time = time.time
cdef object _leaves_of = leaves_of

cdef tuple _PARTS = ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")


cdef class ChunkTemplate:
    """How events of one shape become chunks, and what LiteLLM's stream notes of each.

    ``response`` builds the chunk, ``noted`` a dictionary of those attributes of the stream that change. ``guarded``
    tells whether stock first looks for a model that repeats itself.
    """

    cdef readonly Template response
    cdef readonly Template noted
    cdef readonly bint guarded

    def __init__(self, response: Template, noted: Template, guarded: bool) -> None:
        self.response = response
        self.noted = noted
        self.guarded = guarded


# How often the texts of a stream's events are looked for, and in how many texts events that are alike may differ.
cdef int _MAX_TRIES = 8
cdef Py_ssize_t _MAX_TEXTS = 3


cdef class Likeness:
    """Events that differ from one in the bytes of some of their texts alone.

    ``pieces`` are the bytes of that event around these texts, ``leaves`` its leaves, ``places`` which of those the
    texts are. ``around`` is what its stream was then.
    """

    cdef list _pieces
    cdef list _leaves
    cdef tuple _places
    cdef readonly tuple around

    def __init__(
        self, pieces: list[bytes], leaves: list[Any], places: tuple[int, ...], around: tuple[Any, ...]
    ) -> None:
        self._pieces = pieces
        self._leaves = leaves
        self._places = places
        self.around = around

    cpdef list read(self, bytes line: bytes):
        """Return the leaves of an event, None if it is not one of these, or a text may be treated by content."""
        cdef const char *at = PyBytes_AS_STRING(line)
        cdef const char *stop = at + PyBytes_GET_SIZE(line)
        cdef const char *end
        cdef bytes piece = self._pieces[0]
        cdef Py_ssize_t length = PyBytes_GET_SIZE(piece)
        cdef list texts = []
        cdef str text
        if stop - at < length or memcmp(at, PyBytes_AS_STRING(piece), length) != 0:
            return None
        at += length
        for found in self._pieces[1:]:
            piece = found
            end = <const char *>memchr(at, b'"', stop - at)
            length = PyBytes_GET_SIZE(piece)
            if end == NULL or stop - end < length or memcmp(end, PyBytes_AS_STRING(piece), length) != 0:
                return None
            if end == at or at[0] == b"<" or not _is_unescaped(at, end):
                return None
            try:
                text = PyUnicode_DecodeUTF8(at, end - at, NULL)
            except UnicodeDecodeError:
                return None
            if text.isspace() or text in TREATED_VALUES:
                return None
            texts.append(text)
            at = end + length
        if at != stop:
            return None
        cdef list leaves = self._leaves.copy()
        for place, found in zip(self._places, texts):
            leaves[<Py_ssize_t>place] = found
        return leaves


cdef bint _is_unescaped(const char *start, const char *end) noexcept:
    """Return whether a text in JSON stands for itself."""
    while start < end:
        if <unsigned char>start[0] < 32 or start[0] == b"\\":
            return False
        start += 1
    return True


cdef object _likeness(bytes line, list leaves, list before, tuple around):
    """Return what events are like the one in ``line``; None if it differs from the one before in more than texts.

    ``leaves`` are those of both. That the pieces are those around the texts is shown by an event with other texts.
    """
    cdef tuple places
    cdef list pieces = []
    cdef list texts = []
    cdef list expected = leaves.copy()
    cdef Py_ssize_t start = 0
    cdef Py_ssize_t found
    cdef bytes raw
    if len(leaves) != len(before):
        return None
    places = tuple([place for place in range(len(leaves)) if leaves[place] != before[place]])
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
        pieces.append(line[start:found + 1])
        start = found + 1 + len(raw)
        expected[place] = f"text {place}"
        texts.append(expected[place].encode())
    pieces.append(line[start:])
    other = pieces[0] + b"".join([text + piece for text, piece in zip(texts, pieces[1:])])
    try:
        shown = _leaves_of(_loads(other[6:] if other[5:6] == b" " else other[5:]))
    except ValueError:  # a text like a comma was found between two others
        return None
    known = _leaves_of(_loads(line[6:] if line[5:6] == b" " else line[5:]))
    if shown is None or known is None or shown[1] != expected or shown[0] != known[0]:
        return None
    return Likeness(pieces, leaves, places, around)


cdef class Reader:
    """The events of one stream, and the chunks that ``templates``, by shape, make of them.

    Where ``templates`` holds a reason for a shape, stock makes the chunk. ``package`` holds the names of the module
    ``litellm``; ``early`` is the splitter's. After ``chunk()`` has returned ``UNKNOWN``, ``value`` is the event as
    parsed, and ``shape`` its shape, which that of a stream's first event shares with no other, nor that of one after a
    call of a tool with one before, nor those of one provider with another's.
    """

    cdef readonly Splitter splitter
    cdef readonly dict templates
    cdef readonly object value
    cdef readonly tuple shape
    cdef dict _package
    cdef list _leaves
    cdef tuple _last_shape
    cdef ChunkTemplate _last
    cdef Likeness _likeness
    cdef int _tries

    def __init__(
        self, templates: dict[Any, ChunkTemplate | None], package: dict[str, Any], early: bool = False
    ) -> None:
        self.splitter = Splitter(early)
        self._leaves = []
        self.templates = templates
        self._package = package

    def renew(self, templates: dict[Any, ChunkTemplate | None]) -> None:
        """Go on with other templates."""
        self.templates = templates
        self._last_shape = self._last = self._likeness = None

    cpdef object chunk(self, dict state: dict[str, Any]):
        """Return the next chunk of the stream whose attributes are ``state``, which are brought up to date.

        Where there is none, nothing has changed, and what is returned is a reason: ``MORE``, ``UNKNOWN``, or why stock
        must go on. Nor has it after an exception.
        """
        cdef Splitter splitter = self.splitter
        cdef bint begins
        begins = state.get("sent_first_chunk") is False
        for name, wanted in STREAM_BEGINNING if begins else STREAM_MIDDLE:
            found = state.get(name, _UNKNOWN)
            if found is not wanted and found != wanted:
                return decline.FIRST_OR_LAST_CHUNK
        if not is_plain(state):
            return decline.FIRST_OR_LAST_CHUNK
        if state.get("custom_llm_provider") not in STREAM_PROVIDERS:
            return decline.CHUNK_PROVIDER
        line = splitter.next()
        if line is None:
            return decline.CHUNK_FIELDS if splitter.odd else _MORE
        try:
            made = self._made(<bytes>line, begins, state)
        except BaseException:
            splitter.back()
            if begins:
                state["created"] = None
            raise
        if isinstance(made, _Why):
            splitter.back()
        return made

    cdef object _made(self, bytes line, bint begins, dict state):
        found = self._template(line, begins, state)
        if type(found) is not ChunkTemplate:
            return found
        template = <ChunkTemplate>found
        chunks = state["chunks"]
        repeated = state["_repeated_messages_count"]
        if template.guarded:
            repeated = _repeated(chunks, repeated)
            if repeated is None or repeated >= self._package["REPEATED_STREAMING_CHUNK_LIMIT"]:
                return decline.CHUNK_REPEATED
        if begins:
            state["created"] = int(_time())
        response = template.response.build(self._leaves, state)
        text = content_of(response)
        noted = template.noted.build(self._leaves, state)
        noted["_repeated_messages_count"] = repeated
        if text:
            noted["response_uptil_now"] = noted.get("response_uptil_now", state["response_uptil_now"]) + text
        state.update(noted)
        chunks.append(response)
        return response

    cdef object _template(self, bytes line, bint begins, dict state):
        cdef list before = self._leaves
        cdef tuple around
        if self._likeness is not None and not begins:
            around = self._likeness.around
            if around[0] is state["custom_llm_provider"] and around[1] == bool(state.get("tool_call")):
                leaves = self._likeness.read(line)
                if leaves is not None:
                    self._leaves = leaves
                    self._last_shape, self._last = around[2], around[3]
                    return self._last
        try:
            value = _loads(line[6:] if line[5:6] == b" " else line[5:])
        except ValueError:
            return decline.CHUNK_NOT_JSON
        if type(value) is not dict or (<dict>value).get("error"):
            return decline.CHUNK_NOT_ONE
        found = _leaves_of(value)
        if found is None or _is_blank(value.get("id")):
            return decline.CHUNK_CONTENT
        self.shape, self._leaves = <tuple>found
        if begins:
            self.shape = ("first", self.shape)
        elif state.get("tool_call"):
            self.shape = ("tools", self.shape)
        if state["custom_llm_provider"] != STREAM_PROVIDERS[0]:
            self.shape = (state["custom_llm_provider"], self.shape)
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
        template = self.templates.get(self.shape, _UNKNOWN)
        if template is _UNKNOWN:
            self.value = value
        elif type(template) is ChunkTemplate:
            self._last_shape = self.shape
            self._last = template
        return template


cdef class AtHand:
    """What comes next in streams that are being served: the way of most chunks, and the shortest.

    ``source`` is the class of their events, ``settings`` the bindings they rely on, ``templates`` what these readers
    must use, ``package`` the names of the module ``litellm``, ``logger`` the one that would tell of each chunk.
    """

    cdef object _source
    cdef Bindings _settings
    cdef dict _templates
    cdef dict _package
    cdef object _logger

    def __init__(
        self, source: type, settings: Bindings, templates: dict[Any, Any], package: dict[str, Any], logger: Any
    ) -> None:
        self._source = source
        self._settings = settings
        self._templates = templates
        self._package = package
        self._logger = logger

    def take(self, wrapper: Any, kind: type) -> Any:
        """Return the next chunk of a stream of the SDK's class ``kind`` if its event has come, or ``MORE``.

        None, with nothing changed, if that is to be looked at more closely.
        """
        cdef dict state = wrapper.__dict__
        cdef Reader reader
        stream = state.get("completion_stream")
        if type(stream) is not kind or not state.get("sent_first_chunk"):
            return None
        events = stream._decoder
        if type(events) is not self._source or events.packets is None or events.packet is not None or events.reading:
            return None
        reader = events.reader
        if reader.templates is not self._templates or self._settings.changed():
            return None
        if self._package["post_call_rules"] or self._package["_custom_providers"] or self._logger.isEnabledFor(_DEBUG):
            return None
        made = reader.chunk(state)
        return None if made is not _MORE and isinstance(made, _Why) else made


cdef bint _is_blank(object identifier):
    return type(identifier) is str and (<str>identifier).isspace()


cpdef bint is_plain(dict attributes: dict[str, Any]) except -1:
    """Return whether nothing has come in a stream by which later releases of LiteLLM make its chunks otherwise."""
    for name in STREAM_CARRIED:
        if attributes.get(name):
            return False
    identifiers = attributes.get(STREAM_IDENTIFIERS)
    return attributes.get(STREAM_UPSTREAM) is None and (identifiers is None or identifiers.response_id is None)


cpdef object content_of(chunk: Any):
    """Return the content of a chunk's first choice as it is now, ``...`` where that is not where it should be."""
    try:
        choice = PyObject_GenericGetAttr(chunk, "__dict__")["choices"][0]
        delta = PyObject_GenericGetAttr(choice, "__pydantic_extra__")["delta"]
        return PyObject_GenericGetAttr(delta, "__pydantic_extra__")["content"]
    except (AttributeError, LookupError, TypeError):
        return ...


cdef object _repeated(list chunks, object count):
    """Return how often the last chunk has come now, counted as LiteLLM does; None where it must count itself."""
    if len(chunks) < 2:
        return count
    last = content_of(chunks[-1])
    if last is None or (type(last) is str and len(<str>last) <= 2):
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
    cdef list made = []
    cdef list texts = []
    cdef object run = None
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


cdef bint _may_hold_usage(object chunk) except -1:
    extra = PyObject_GenericGetAttr(chunk, "__pydantic_extra__")
    return type(extra) is not dict or "usage" in extra or "usage" in PyObject_GenericGetAttr(chunk, "__dict__")


cdef object _moment(object chunk, object kind):
    """Return when a chunk was made; None if it does not say so."""
    private = PyObject_GenericGetAttr(chunk, "__pydantic_private__") if type(chunk) is kind else None
    hidden = (<dict>private).get("_hidden_params") if type(private) is dict else None
    moment = (<dict>hidden).get("created_at") if type(hidden) is dict else None
    return moment if type(moment) is float and moment > 0 else None


cdef object _text(object chunk, tuple kinds):
    """Return the text of a chunk that holds nothing else, None for any other chunk."""
    cdef dict fields = PyObject_GenericGetAttr(chunk, "__dict__")
    cdef dict held
    extra = PyObject_GenericGetAttr(chunk, "__pydantic_extra__")
    choices = fields.get("choices")
    if type(choices) is not list or len(choices) != 1 or type(choices[0]) is not kinds[1] or type(extra) is not dict:
        return None
    held = extra
    for item in held.values():
        if item is not None and type(item) is not str:
            return None
    if fields.get("provider_specific_fields") is not None:
        return None
    choice = choices[0]
    extra = PyObject_GenericGetAttr(choice, "__pydantic_extra__")
    if type(extra) is not dict or PyObject_GenericGetAttr(choice, "__dict__"):
        return None
    held = extra
    for name, item in held.items():
        if item is not None and name != "delta" and name != "index":
            return None
    delta = held.get("delta")
    if type(delta) is not kinds[2] or type(PyObject_GenericGetAttr(delta, "__pydantic_extra__")) is not dict:
        return None
    held = PyObject_GenericGetAttr(delta, "__dict__")
    for item in held.values():
        if item is not None:
            return None
    held = PyObject_GenericGetAttr(delta, "__pydantic_extra__")
    for name, item in held.items():
        if item is not None and name != "content":
            return None
    text = held.get("content")
    return text if type(text) is str else None


cdef bint _alike(object one, object other) except -1:
    """Return whether two chunks that hold a text alone are otherwise alike."""
    cdef dict first = PyObject_GenericGetAttr(one, "__dict__")
    cdef dict second = PyObject_GenericGetAttr(other, "__dict__")
    cdef dict hidden, hidden_too
    for name in EVENT_MEMBERS:
        item = first.get(name)
        found = second.get(name)
        if found is not item and found != item:
            return False
    if not _same_extra(
        PyObject_GenericGetAttr(one, "__pydantic_extra__"), PyObject_GenericGetAttr(other, "__pydantic_extra__")
    ):
        return False
    if _index(first["choices"][0]) != _index(second["choices"][0]):  # later releases make a text of each
        return False
    hidden = PyObject_GenericGetAttr(one, "__pydantic_private__")["_hidden_params"]
    hidden_too = PyObject_GenericGetAttr(other, "__pydantic_private__")["_hidden_params"]
    if len(hidden) != len(hidden_too) or "usage" in hidden:
        return False
    for name, item in hidden.items():
        found = hidden_too.get(name, ...)
        if found is not item and name != "created_at" and found != item:
            return False
    return True


cdef object _index(object choice):
    return (<dict>PyObject_GenericGetAttr(choice, "__pydantic_extra__")).get("index")


cdef bint _same_extra(dict one, dict other) except -1:
    """Return whether two chunks say the same besides; what OpenAI fills them up with is read by nobody."""
    if len(one) != len(other):
        return False
    for name, item in one.items():
        found = other.get(name, ...)
        if found is not item and found != item and (name != OBFUSCATION or type(found) is not str):
            return False
    return True


cdef object _joined(object chunk, list texts):
    """Return a chunk like ``chunk`` that holds all of ``texts``."""
    if len(texts) == 1:
        return chunk
    choice = (<dict>PyObject_GenericGetAttr(chunk, "__dict__"))["choices"][0]
    extra = PyObject_GenericGetAttr(choice, "__pydantic_extra__")
    delta = _copy(extra["delta"])
    members = PyObject_GenericGetAttr(delta, "__pydantic_extra__")
    PyObject_GenericSetAttr(delta, "__pydantic_extra__", {**members, "content": "".join(texts)})
    choice = _copy(choice)
    PyObject_GenericSetAttr(choice, "__pydantic_extra__", {**extra, "delta": delta})
    made = _copy(chunk)
    members = PyObject_GenericGetAttr(chunk, "__dict__")
    PyObject_GenericSetAttr(made, "__dict__", {**members, "choices": [choice]})
    return made


cdef object _copy(object model):
    """Return an object that shares all its parts with ``model``."""
    made = model.__new__(type(model))
    for part in _PARTS:
        PyObject_GenericSetAttr(made, part, PyObject_GenericGetAttr(model, part))
    return made
