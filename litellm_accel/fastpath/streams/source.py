"""What component ``streaming`` is made of: where a stream's bytes are taken, how its chunks are learned from stock."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from types import FunctionType, MappingProxyType, SimpleNamespace
from typing import Any

from litellm_accel.fastpath import decline, passage
from litellm_accel.fastpath.decline import Why
from litellm_accel.fastpath.plans.outlines import Clues, Outlines, of_reply
from litellm_accel.fastpath.plans.proof import CALLS
from litellm_accel.fastpath.plans.snapshots import where
from litellm_accel.fastpath.plans.templates import TemplateLearner, Unrepeatable, state, with_sentinels
from litellm_accel.hot import streaming, template

_current: Any = None


def use(streams: Any) -> None:
    """Have streams opened for ``streams``, which makes their chunks, from now on; None: no longer."""
    global _current
    _current = streams


def refusal(is_compared: bool) -> Why | None:
    """Return why no stream may be opened now, or None; one that ``is_compared`` is LiteLLM's all the same."""
    if _current is None or not _current.gate.whole:  # LiteLLM opens them where it makes some
        return decline.STREAMS_OFF
    if _current.gate.shadow is not None and not is_compared:
        return decline.STREAMS_OFF
    reason: Why | None = _current.admitted()
    return reason


class SSEEventSource:
    """Takes the decoder's place in an SDK stream: its events go to the reader or to the SDK's own loop, as they ask.

    The SDK's iterators stay where they are, suspended at the event they gave last. What the reader does not know, an
    error and the end included, is met by them when they are asked next.
    """

    def __init__(self, decoder: Any, reader: streaming.Reader, response: Any) -> None:
        """``response`` is the one that the SDK's stream reads."""
        self.decoder = decoder
        self.reader = reader
        self._response = response
        self.packets: Any = None  # while there may be more
        self.packet: Any = None  # that has come, and that the splitter has not been given yet
        self.error: BaseException | None = None  # of reading a packet, for the SDK to raise
        self.reading = False  # a packet is awaited
        self._decoded: list[Any] = []  # the event that is passed on next
        self.begun = False  # the SDK's own loop is suspended here, at an event or before the first

    async def aiter_bytes(self, packets: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        """Yield the events in ``packets`` that the reader has not taken. After a fault of ours the decoder goes on."""
        try:
            self.packets = packets
            splitter = self.reader.splitter
            if not self.begun:
                self.begun = True
                yield _NO_EVENT
            while not splitter.odd:
                self._raise()
                self.take()
                self._decode()
                if self._decoded:
                    # After the last event the SDK drops what it reads from, and the loop closes each iterator of that
                    # in a task. Where all has come, they are read to their end instead.
                    if _is_last(self._decoded[-1]) and _has_ended(self._response):
                        self.packet = await anext(packets, None)
                        if self.packet is None:
                            self.packets = None
                            return
                    yield self._decoded.pop()
                elif not splitter.odd:
                    self.packet = await anext(packets, None)
                    if self.packet is None:
                        break
        except Exception as error:
            self.packets, self.begun = None, True
            if not passage.is_ours(error):
                raise
        except BaseException:
            self.packets = None
            raise
        try:
            while self._decoded:
                yield self._decoded.pop()
            async for event in self.decoder.aiter_bytes(_arest(self, packets)):
                yield event
        finally:
            self.packets = None

    def iter_bytes(self, packets: Iterator[bytes]) -> Iterator[Any]:
        """Yield the events in ``packets`` that the reader has not taken. After a fault of ours the decoder goes on."""
        try:
            self.packets = packets
            splitter = self.reader.splitter
            if not self.begun:
                self.begun = True
                yield _NO_EVENT
            while not splitter.odd:
                self._raise()
                self.take()
                self._decode()
                if self._decoded:
                    # As above; the SDK would close a connection of which the end of the answer has not been read.
                    if _is_last(self._decoded[-1]) and _has_come(self._response):
                        self.packet = next(packets, None)
                        if self.packet is None:
                            self.packets = None
                            return
                    yield self._decoded.pop()
                elif not splitter.odd:
                    self.packet = next(packets, None)
                    if self.packet is None:
                        break
        except Exception as error:
            self.packets, self.begun = None, True
            if not passage.is_ours(error):
                raise
        except BaseException:
            self.packets = None
            raise
        try:
            while self._decoded:
                yield self._decoded.pop()
            yield from self.decoder.iter_bytes(_rest(self, packets))
        finally:
            self.packets = None

    def rest(self) -> list[bytes]:
        """Return what has come and has not become an event."""
        return [*self.reader.splitter.rest(), *([] if self.packet is None else [self.packet])]

    def _raise(self) -> None:
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    def take(self) -> None:
        """Give the splitter the packet that has come."""
        if self.packet is not None:
            # Both in one statement.
            self.packet = self.reader.splitter.feed(self.packet)  # type: ignore[func-returns-value]

    def _decode(self) -> None:
        """Have the SDK's decoder make an event of what has come, if it is one."""
        line = None
        try:
            line = self.reader.splitter.next()
            if line is not None:  # at once, since a decoder that has been given half an event would go on with it
                self._decoded.append((self.decoder.decode(line.decode("utf-8")), self.decoder.decode(""))[1])
        except Exception:
            if line is not None:
                self.reader.splitter.back()
            raise


class _NoEvent:
    """What the SDK's loop passes on without looking at it: it is at its place then, and has read nothing."""

    data = ""
    event = None
    json = type(None)  # that returns None


_NO_EVENT = _NoEvent()


_LAST_EVENT = "[DONE]"
_AS_IT_IS = "IdentityDecoder"  # of an HTTP client, by its name, since SDKs differ in whose client they use


def _is_last(event: Any) -> bool:
    """Return whether the SDK reads no event after this one."""
    return type(event.data) is str and event.data.startswith(_LAST_EVENT)


def _has_ended(response: Any) -> bool:
    """Return whether all of a response has come and been taken, so that to read on neither waits nor fails."""
    try:
        content = response.stream._stream._aiohttp_response.content
        is_plain = type(response._decoder).__name__ == _AS_IT_IS
        return is_plain and content.at_eof() is True and content.exception() is None
    except AttributeError:  # of another transport
        return False


# What is left of an answer in chunks once all that it says has been read; the first line ends the chunk before.
_ENDINGS = (b"0\r\n\r\n", b"\r\n0\r\n\r\n")


def _has_come(response: Any) -> bool:
    """As ``_has_ended``, of a response that is read in a thread; what is there already is taken from its socket."""
    try:
        connection = response.stream._stream._httpcore_stream._stream._connection
        received, wire = connection._h11_state, connection._network_stream._sock
        if type(response._decoder).__name__ != _AS_IT_IS or type(wire) not in (ssl.SSLSocket, socket.socket):
            return False
        if received.trailing_data[0] not in _ENDINGS:
            wire.settimeout(0)  # it is set before each read
            received.receive_data(wire.recv(connection.READ_NUM_BYTES))
        return received.trailing_data in ((ending, False) for ending in _ENDINGS)
    except AttributeError:  # of another transport
        return False
    except OSError:  # nothing is there yet
        return False


class _Busy:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def __aiter__(self) -> _Busy:
        return self

    def __next__(self) -> Any:
        raise self._error

    async def __anext__(self) -> Any:
        raise self._error


@contextlib.contextmanager
def busy(stream: Any, error: Exception) -> Iterator[None]:
    """Let whoever iterates the SDK's stream in this block meet ``error``, as in an iterator in which another waits."""
    iterator = stream._iterator
    stream._iterator = _Busy(error)
    try:
        yield
    finally:
        stream._iterator = iterator


async def aagain(first: Any, rest: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Yield what was taken from an SDK stream's iterator once more, and the ``rest``."""
    yield first
    async for item in rest:
        yield item


def again(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    """As ``aagain``."""
    yield first
    yield from rest


async def _arest(events: SSEEventSource, packets: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for packet in events.rest():
        yield packet
    async for packet in packets:
        yield packet


def _rest(events: SSEEventSource, packets: Iterator[bytes]) -> Iterator[bytes]:
    yield from events.rest()
    yield from packets


# --- learning ---------------------------------------------------------------------------------------------------------

_BASE = "_base_hidden_params"
_CREATED_AT = "created_at"

# Stands for what a stream's own attributes hold: where one turns up, a chunk takes it from the stream.
_MARKS: Mapping[str, Any] = {
    "created": 987_654_321,
    _BASE: {_BASE: "the stream's hidden parameters"},
    **{
        name: f"the stream's {name}"
        for name in (
            "model",
            "response_id",
            "system_fingerprint",
            "intermittent_finish_reason",
            "response_uptil_now",
            "_cached_logging_llm_provider",
            "_cached_model_name",
            "_provider_response_model",
            "received_model_id",
        )
    },
}


# What else changes in a stream with its first chunk, and with its last; with that, more in later releases.
_FIRST = frozenset(["sent_first_chunk"])
_LAST = frozenset(["sent_last_chunk", "received_finish_reason"])
_FINISH = frozenset(["received_any_finish_reason", "received_finish_choice_fields"])
# What is noted of a stream besides: once it is true, it stays so, and no chunk of the same shape comes out otherwise.
_FLAGS = frozenset(
    ["_emitted_disqualifying_content", "_openai_handler_receives_chat_chunks", "tool_call", "uses_openai_chat_stream"]
)
_DISQUALIFIED = "_emitted_disqualifying_content"


def _marks(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the marks for the attributes of a stream; before its first chunk, most of them hold nothing."""
    begun = attributes["sent_first_chunk"]
    return {
        name: mark
        for name, mark in _MARKS.items()
        if name in attributes and (begun or attributes[name] is not None or name == "created")
    }


class ChunkLearner:
    """Learns from LiteLLM's own code how an event of a stream becomes a chunk.

    Stock processes marked events of the same shape in copies of the stream, and at last the event itself: what the
    template makes of it must be the very chunk that stock made.
    """

    def __init__(self, handler: Any, ends: bool) -> None:
        """``handler`` is LiteLLM's module; with ``ends`` it ends streams by known steps, so that last chunks
        count."""
        self._steps = (_LAST, frozenset()) if ends else (frozenset(),)
        self._wrapper = handler.CustomStreamWrapper
        self._disqualifies = getattr(self._wrapper, "_delta_disqualifies_continuation", None)
        creator = self._wrapper.chunk_creator
        # A conversion that fails ends here: nothing is mapped, printed or logged.
        names = {**vars(handler), "exception_type": _unmapped, "verbose_logger": SimpleNamespace(exception=_failed)}
        self._create = FunctionType(creator.__code__, names, creator.__name__)

    def learn(self, stream: Any, attributes: dict[str, Any], value: Any) -> streaming.ChunkTemplate:
        """Return the ``ChunkTemplate`` for events shaped like ``value``, one of ``stream``.

        ``attributes`` are those of LiteLLM's stream. Raises ``Unrepeatable``.
        """
        if not value.get("choices"):
            raise Unrepeatable(decline.CHUNK_WITHOUT_CHOICES)
        marks = _marks(attributes)
        results: list[Any] = []
        noted: list[Any] = []
        places: list[dict[Any, int]] = []
        guarded = set()
        begin = time.time()
        for salt in (1, 2):
            example = with_sentinels(value, salt)
            found = template.leaves_of(example)
            if found is None:
                raise Unrepeatable(decline.ANSWER_SHAPE)
            places.append({(type(leaf), leaf): index for index, leaf in enumerate(found[1]) if leaf})
            chunk, changed, checks = self._converted(stream, attributes, example, marks)
            results.append(chunk)
            noted.append(changed)
            guarded.add(checks)
        if len(guarded) > 1:
            raise Unrepeatable(decline.RESULT_BY_VALUES)
        span = (begin, time.time())
        learned = streaming.ChunkTemplate(
            template.Template(_ChunkTemplateLearner(places, marks, span).node(results[0], results[1])),
            template.Template(_ChunkTemplateLearner(places, marks, span).node(noted[0], noted[1])),
            guarded.pop(),
        )
        self._prove(learned, stream, attributes, value)
        return learned

    def _prove(self, learned: streaming.ChunkTemplate, stream: Any, attributes: dict[str, Any], value: Any) -> None:
        begin = int(time.time())
        chunk, changed, _ = self._converted(stream, attributes, value, {})
        if attributes["created"] is None:
            created = changed.pop("created")
            if type(created) is not int or not begin <= created <= time.time():
                raise Unrepeatable(decline.CHUNK_TIME)
            attributes = {**attributes, "created": created}
        found = template.leaves_of(value)
        if found is None:
            raise Unrepeatable(decline.ANSWER_SHAPE)
        leaves = found[1]
        built = learned.response.build(leaves, attributes)
        if type(built._hidden_params.get(_CREATED_AT)) is float:
            built._hidden_params[_CREATED_AT] = chunk._hidden_params[_CREATED_AT]
        noted = learned.noted.build(leaves, attributes)
        if any(noted[name] != item for name, item in changed.items()) or state(built) != state(chunk):
            raise Unrepeatable(decline.CHUNK_DIFFERS)
        content = streaming.content_of(built)
        if content is not None and type(content) is not str:
            raise Unrepeatable(decline.CHUNK_NO_TEXT)

    def _converted(
        self, stream: Any, attributes: Mapping[str, Any], value: Any, marks: Mapping[str, Any]
    ) -> tuple[Any, dict[str, Any], bool]:
        """Return stock's chunk for an event, what its stream noted, and whether it looked for repetition."""
        checks: list[None] = []
        copy = self._wrapper.__new__(self._wrapper)
        before = {**attributes, "chunks": [], "logging_obj": None, **marks}
        strip = copy.strip_role_from_delta

        def strictly(response: Any) -> Any:
            response.choices[0].delta.model_dump(warnings="error")
            return strip(response)

        watched = {"raise_on_model_repetition": lambda: checks.append(None), "strip_role_from_delta": strictly}
        vars(copy).update(before, **watched)
        try:
            parsed = stream._client._process_response_data(
                data=value, cast_to=stream._cast_to, response=stream.response
            )
            # Stock dumps parts of it on its way: a shape of which pydantic warns is left to stock. Filters of warnings
            # are not touched, since the application's other threads and what was shown once depend on them.
            parsed.model_dump(warnings="error")
            chunk = self._create(copy, parsed)
        except Exception as error:
            raise Unrepeatable(decline.CHUNK_ERROR.of(type(error).__name__)) from None
        for name in watched:
            delattr(copy, name)
        if chunk is None or copy.chunks or getattr(chunk, "usage", None) is not None or not chunk.choices:
            raise Unrepeatable(decline.CHUNK_UNLIKE)
        changed = {name: item for name, item in vars(copy).items() if item is not before.get(name, ...)}
        if self._disqualifies is not None and self._disqualifies(chunk.choices[0].delta):
            changed[_DISQUALIFIED] = True
        steps, after = changed.keys() - _MARKS.keys() - _FLAGS, vars(copy)
        if steps >= _LAST:
            steps, after = steps - _FINISH, {name: item for name, item in after.items() if name not in _FINISH}
        if steps not in (self._steps if before["sent_first_chunk"] else (_FIRST,)) or not streaming.is_plain(after):
            raise Unrepeatable(decline.CHUNK_CHANGES_STREAM)
        return chunk, changed, bool(checks)


# --- proving ----------------------------------------------------------------------------------------------------------

# Where stock's own hook, which is called for a last chunk that is served, notes itself.
_HOOKS = "_post_streaming_hooks"


class ChunkTrial:
    """A template that makes no chunk before it has made some like stock's, of different events.

    ``shape`` is the shape of these, as a reader tells it, ``agreed`` are the lines of those that were.
    """

    def __init__(self, shape: Any, template: Any, clues: Clues) -> None:
        self.shape = shape
        self.template = template
        self._clues = clues
        self.agreed: set[int] = set()
        self._outlines = Outlines()

    def agree(self, line: bytes) -> None:
        """Note that it has made of an event's ``line`` what stock made."""
        if len(self.agreed) < CALLS:
            self.agreed.add(hash(line))
        self._outlines.add(of_reply(line, self._clues))

    def serves(self, reader: Any) -> bool:
        """Return whether it may make the chunk of the event that ``reader`` has given back, where LiteLLM is not
        known."""
        return len(self.agreed) >= CALLS and self._outlines.cover(of_reply(_line(reader), self._clues))

    def shadow(self, reader: Any, attributes: Mapping[str, Any], package: dict[str, Any]) -> Shadow:
        """Return what it makes of the event that ``reader`` has given back."""
        return Shadow(self, _line(reader), attributes, package)


def _line(reader: Any) -> bytes:
    """Return the line of the event that ``reader`` has given back."""
    line: bytes = (reader.splitter.next(), reader.splitter.back())[0]
    return line


class Shadow:
    """What a template on ``trial`` makes of the event in ``line``, beside stock, which serves it."""

    def __init__(self, trial: ChunkTrial, line: bytes, attributes: Mapping[str, Any], package: dict[str, Any]) -> None:
        self.trial = trial
        self.line = line
        self._begins = not attributes["sent_first_chunk"]
        self._attributes = {**attributes, "chunks": attributes["chunks"][-2:]}
        self._kept = len(attributes["chunks"]) - len(self._attributes["chunks"])
        reader = streaming.Reader({trial.shape: trial.template}, package)
        reader.splitter.feed(line + b"\n\n")
        self._chunk = reader.chunk(self._attributes)

    @property
    def made(self) -> Any:
        """The chunk as plain data."""
        return self._chunk.model_dump() if hasattr(self._chunk, "model_dump") else str(self._chunk)

    def difference(self, wrapper: Any, chunk: Any, note_usage: Callable[[Any, Any], None]) -> str | None:
        """Return in what this differs from stock's ``chunk`` and from its stream, ``wrapper``, now; None if not.

        ``note_usage`` notes in a stream and its last chunk what has been used, as stock does.
        """
        attributes = vars(wrapper)
        made, ours = self._chunk, self._attributes
        if type(made) is not type(chunk):
            return "chunk"
        made = made.model_copy()
        hidden = made._hidden_params = dict(made._hidden_params)
        if self._begins:
            vars(made)["created"] = chunk.created
        hidden[_CREATED_AT] = chunk._hidden_params.get(_CREATED_AT)
        if ours["sent_last_chunk"]:
            noted = object.__new__(type(wrapper))
            vars(noted).update(ours, chunks=attributes["chunks"])
            note_usage(noted, made)
            ours = {**vars(noted), "chunks": ours["chunks"]}
            noted.logging_obj = None  # which it would tell of its end
        if ours["sent_last_chunk"] and _HOOKS in attributes:
            ours[_HOOKS] = attributes[_HOOKS]
        for name in ours.keys() | attributes.keys():
            one, two = ours.get(name, ...), attributes.get(name, ...)
            if name == "chunks" and self._kept + len(one) != len(two):
                return "chunks that are kept"
            if one is two or one == two or name == "chunks" or (self._begins and name == "created"):
                continue
            return f"stream's {name!r}"
        return None if state(made) == state(chunk) else f"chunk {where(made, chunk)!r}"


class _ChunkTemplateLearner(TemplateLearner):
    """Two chunks made of marked events in marked streams."""

    def __init__(self, places: list[dict[Any, int]], marks: Mapping[str, Any], span: tuple[float, float]) -> None:
        super().__init__(*places)
        self._marks = marks
        self._span = span

    def _atom(self, one: Any, two: Any) -> tuple[Any, ...]:
        for name, mark in self._marks.items():
            if type(one) is type(mark) and one == two == mark:
                return (template.SLOT, name)
        if type(one) is float and self._span[0] <= one <= two <= self._span[1]:
            return (template.CLOCK,)
        return super()._atom(one, two)

    def node(self, one: Any, two: Any, root: bool = False) -> tuple[Any, ...]:
        if type(one) is MappingProxyType and type(two) is MappingProxyType:
            if one != two:
                raise Unrepeatable(decline.RESULT_BY_VALUES)
            return (template.CONSTANT, one)  # which nobody can change
        return super().node(one, two, root)

    def _dict(self, one: dict[Any, Any], two: dict[Any, Any]) -> tuple[Any, ...]:
        kind, keys, nodes = super()._dict(one, two)
        spread = (template.SPREAD, _BASE)
        return kind, keys, tuple(spread if key == _BASE else n for key, n in zip(keys, nodes, strict=True))


def _unmapped(original_exception: Exception, **_: Any) -> Exception:
    return original_exception


def _failed(message: str, error: Exception) -> None:
    raise error
