"""How streams are opened: what LiteLLM returns before anything has been read, learned from two calls.

What stock returns for ``stream=True`` is made of LiteLLM's stream and its ``Logging`` object, of the SDK's stream, and
of the HTTP response that it reads from. The first two are filled in as two watched calls have shown them, see
``success``; the others are made by their own classes, over LiteLLM's own transport. What reads them, ends them, or lets
go of them is stock's, as ever.
"""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import httpx
from httpx._client import BoundAsyncStream, BoundSyncStream
from openai import NotGiven

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.notify import call_diff, success
from litellm_accel.fastpath.notify.payload import Payloads
from litellm_accel.fastpath.plans.header_maps import HeaderMaps
from litellm_accel.fastpath.plans.proof import Trial
from litellm_accel.fastpath.plans.recorder import Recording, Reply
from litellm_accel.fastpath.plans.snapshots import (
    OBJECTS,
    RAW,
    anatomy,
    equivalent,
    take_snapshot,
    where,
    without_nodes,
)
from litellm_accel.fastpath.plans.templates import Unrepeatable
from litellm_accel.fastpath.streams.pricer import StreamPricer
from litellm_accel.fastpath.transport import time_limits
from litellm_accel.fastpath.transport.cookies import ClientCookies, NoCookies
from litellm_accel.hot import chat, template
from litellm_accel.stock import seams

# What is another in each call, by attribute, and when or how it is made.
_MOMENTS = {
    "_response_ms": "total",
    "_stream_created_time": "created",
    "idempotency_key": "key",
    "litellm_overhead_time_ms": "overhead",
}
_ADDITIONAL, _HEADERS = "additional_headers", "response_headers"
# In the names of headers by which a price is stated.
_PRICE = "response-cost"
# So many sets of names are remembered of the answers of one kind of call.
_MAX_NAMES = 64


class ObservedStream(call_diff.ObservedCall):
    """One stream as stock returned it: the state of all its parts before it was read, and what the call was given."""

    def __init__(
        self, recording: Recording, arguments: Mapping[str, Any], plan: chat.Plan, read: call_diff.ReadMessages
    ) -> None:
        pictures = recording.pictures
        if pictures is None or pictures.state is None:
            raise Unrepeatable(decline.STREAM_UNKNOWN)
        if pictures.logging is not None and not recording.sent[0].options:
            raise Unrepeatable(decline.STREAM_LOGGING)  # which holds the stream, in a thread
        self.parts = dict(pictures.state.named())
        super().__init__(pictures, arguments, None, plan, read, self.parts["logging"])
        self.stream = dict(self.parts["stream"].named())
        #: The answer's, as the handler has them.
        self.received = self.details.get(_HEADERS, self.stream["_response_headers"])
        self.headers: dict[str, str] = without_nodes(self.received)

    def slots(self) -> dict[str, Any]:
        """Return the clocks, identifiers and objects of this call, by slot."""
        hidden = dict(self.stream["_hidden_params"].named())
        objects = {**self.known, **self.stream}
        return {
            **super().slots(),
            **{name: objects[name] for name in OBJECTS if name in objects},
            "start": dict(self.parts["handler"].named())["start_time"],  # of the call, whenever its logging began
            "total": hidden["_response_ms"],
            "overhead": hidden.get("litellm_overhead_time_ms"),
            "created": self.stream["_stream_created_time"],
            "key": dict(self.parts["options"].named())["idempotency_key"],
            "not given": NotGiven,
        }


class _StreamDiff(call_diff.CallDiff):
    """Two streams of one kind, walked together."""

    fixed: ClassVar[Mapping[str, Any]] = {"message_copy_duration_ms": 0.0}
    later: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        first: ObservedStream,
        second: ObservedStream,
        earlier: StreamOpener | None,
        conversions: Mapping[str, Callable[[Any], Any]],
    ) -> None:
        super().__init__(first, second, earlier)
        self._shown = first, second
        self._conversions = conversions
        self.copied: dict[int, tuple[str, Any]] = {}
        self.given: dict[str, Any] = {}

    def node(self, one: Any, two: Any, name: object) -> tuple[Any, ...]:
        """Return the template node for what is ``one`` in the first call and ``two`` in the second."""
        if one is NotGiven and two is NotGiven:
            return (template.SLOT, "not given")
        if dataclasses.is_dataclass(one) and one is not two and type(one) is type(two) and one == two:
            slot = self.copied.setdefault(id(one), (f"copy {len(self.copied)}", copy.copy(one)))[0]
            return (template.SLOT, slot)
        return super().node(one, two, name)

    def named(self, one: Any, two: Any, name: str) -> tuple[Any, ...] | None:
        """Return the node for what LiteLLM keeps under this ``name``, None if its name says nothing."""
        if name in OBJECTS and one is two:
            return (template.SLOT, name)
        if name in _MOMENTS and type(one) is type(two):
            return (template.SLOT, _MOMENTS[name])
        if name == _ADDITIONAL:
            return self._additional(one, two)
        if name in ("_response_headers", _HEADERS):
            return self._held(one, two, self.headers)
        return super().named(one, two, name)

    def headers(self, one: Any, two: Any) -> tuple[Any, ...]:
        """Return the node for the headers of the answer."""
        if all(found is shown.received for found, shown in zip((one, two), self._shown, strict=True)):
            return (template.SLOT, _HEADERS)
        return self._additional(one, two)

    def _additional(self, one: Any, two: Any) -> tuple[Any, ...]:
        for slot, convert in self._conversions.items():
            if self.given.get(slot, one.original) is not one.original:
                continue  # where both conversions come to the same, each dictionary has its own
            if all(
                list(without_nodes(found).items()) == list(convert(shown.headers).items())
                for found, shown in zip((one, two), self._shown, strict=True)
            ):
                self.given[slot] = one.original
                return (template.SLOT, slot)
        raise Unrepeatable(decline.RESPONSE_HEADERS)


class OpenerFactory:
    """Makes openings: with the installed LiteLLM's own classes.

    ``feeds`` has what callbacks are told by, ``total`` prices what stock has priced, see ``Maker.total``.
    """

    def __init__(self, feeds: success.NotifierFactory, total: Callable[[dict[str, Any]], Callable[[Any], Any]]) -> None:
        handler = importlib.import_module("litellm.litellm_core_utils.streaming_handler")
        logging = importlib.import_module("litellm.litellm_core_utils.litellm_logging")
        transport = importlib.import_module("litellm.llms.custom_httpx.aiohttp_transport")
        caching = importlib.import_module("litellm.caching.caching_handler")
        self.classes = handler.CustomStreamWrapper, logging.Logging, caching.LLMCachingHandler
        self.notifiers = feeds
        self.total = total
        self.rules = handler.Rules
        self.body = transport.AiohttpResponseStream
        self.sdk = importlib.import_module("openai._streaming")
        openai = importlib.import_module("litellm.llms.openai.openai").OpenAIChatCompletion
        azure = importlib.import_module("litellm.llms.azure.azure")
        #: The functions that open streams in event loops, by their code.
        self.calls = {
            call.__code__: call for call in (openai.async_streaming, azure.AzureChatCompletion.async_streaming)
        }
        convert = handler.process_response_headers

        def twice(headers: Any) -> Any:
            return convert(convert(headers), preserve_litellm_internal_headers=True)

        own = azure.process_azure_headers
        self.conversions: dict[str, Callable[[Any], Any]] = {
            "base headers": convert,
            _ADDITIONAL: twice,
            "azure headers": own,
            "azure base headers": lambda headers: convert(own(headers)),
            "azure additional headers": lambda headers: twice(own(headers)),
        }
        self.header_maps = {slot: HeaderMaps(convert) for slot, convert in self.conversions.items()}

    def opening(
        self,
        first: ObservedStream,
        second: ObservedStream,
        recording: Recording,
        body: bytes,
        are_current: Callable[[], bool],
        earlier: StreamOpener | None,
        refuse: Callable[[str], None],
    ) -> StreamOpener:
        """Return how streams like these two are opened, proven on the second. Raises ``Unrepeatable``.

        ``are_current`` says whether the settings are those of now when a stream ends; ``earlier`` opens those from
        which the second differs in too much; ``refuse`` is told of what is found to differ from stock later.
        """
        pair = _StreamDiff(first, second, earlier, self.conversions)
        made = StreamOpener(self, pair, recording.stream, are_current, refuse)
        made.prove(second, recording, second.plan.request, body)
        return made


class _NormalizedNames:
    """The names of headers as an HTTP client normalizes them, remembered by the names that come together."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], list[tuple[bytes, bytes]]] = {}
        self._is_able = list(vars(httpx.Headers())) == ["_list", "_encoding"]

    def headers(self, names: tuple[Any, ...], values: Sequence[bytes]) -> Any:
        """Return the client's headers of these ``names``, texts or bytes, and ``values``."""
        if not self._is_able:
            return httpx.Headers([(_encoded(name), value) for name, value in zip(names, values, strict=True)])
        known = self._known.get(names)
        if known is None:
            if len(self._known) >= _MAX_NAMES:
                self._known.clear()
            encoded = list(map(_encoded, names))
            known = self._known[names] = [(name, name.lower()) for name in encoded]
        made = object.__new__(httpx.Headers)
        held = [(name, lower, value) for (name, lower), value in zip(known, values, strict=True)]
        made.__dict__ = {"_list": held, "_encoding": None}
        return made


def _encoded(name: str | bytes) -> bytes:
    return name.encode("ascii") if isinstance(name, str) else name


class StreamOpener(success.LearnedCall):
    """Opens streams of one kind of call."""

    early: ClassVar[tuple[str, ...]] = (*success.LearnedCall.early, *seams.CACHING_HANDLER, "logging_loop", RAW)

    def __init__(
        self,
        openings: OpenerFactory,
        pair: _StreamDiff,
        made: Any,
        are_current: Callable[[], bool],
        refuse: Callable[[str], None],
    ) -> None:
        stream = made.completion_stream
        logging = made.logging_obj
        parts = made, logging, seams.either(logging, *seams.CACHING_HANDLER)
        if tuple(map(type, parts)) != openings.classes or type(made.rules) is not openings.rules:
            raise Unrepeatable(decline.STREAM_CLASS.of(type(made).__name__))
        if type(stream) not in (openings.sdk.AsyncStream, openings.sdk.Stream):
            raise Unrepeatable(decline.STREAM_CLASS.of(type(stream).__name__))
        super().__init__(openings.notifiers, pair)
        self._openings = openings
        self._copied = tuple(pair.copied.values())
        self._in_loop = type(stream) is openings.sdk.AsyncStream
        self._client, self._cast_to, self._alias = stream._client, stream._cast_to, stream.__orig_class__
        self._options = type(stream._options), frozenset(stream._options.__pydantic_fields_set__)
        response, request = stream.response, stream.response.request
        self._encoding = response.default_encoding
        self._url, self._timeout = request.url, dict(request.extensions["timeout"])
        # What an SDK notes of a request besides, for its own hooks.
        self._extensions = {name: held for name, held in request.extensions.items() if type(held) in (str, tuple)}
        self._normalized = _NormalizedNames()
        self.content_type = response.headers.get("content-type")
        feeds = openings.notifiers
        self._ends = StreamPricer(are_current, openings.total, feeds.fault, Trial(feeds.proof, refuse))
        is_noted = bool(pair.first.pictures.given.keys)
        self._payloads = Payloads(feeds.sources, feeds.fault, is_noted, Trial(feeds.proof, refuse))
        raw = pair.second.details.get(RAW)
        self._call = openings.calls.get(raw) if self._in_loop else None
        is_known = self._call is not None if self._in_loop else raw is openings.classes[0]
        if not is_known or pair.first.details.get(RAW) is not raw:
            raise Unrepeatable(decline.STREAM_RAW)
        self._header_maps = [(slot, openings.header_maps[slot]) for slot in pair.given]

    def prove(
        self, shown: ObservedStream, recording: Recording, options: Mapping[str, Any], body: bytes, client: Any = None
    ) -> None:
        """Open the stream that was ``shown`` again, for a request with these ``options`` and ``body`` of the SDK's
        ``client``, None for that of all calls; nobody reads it.

        Raises ``Unrepeatable`` if it is another one than stock's.
        """
        reply, stream = recording.sent[0].reply, recording.stream.completion_stream
        heads = self.mapped(chat.read_headers(reply.headers))
        if heads is None:
            raise Unrepeatable(decline.STREAM_HEADERS)
        begun = self._begun_as(shown)
        opened, told = take_snapshot([self._filled(heads, begun), begun.objects[0]]), shown.told_state()
        if not equivalent(opened, told, {}):
            raise Unrepeatable(decline.STREAM_OPENED_OTHERWISE.of(where(opened, told).partition(".")[2]))
        if anatomy(self.over(reply.live, stream, options, body, client)) != recording.anatomy:
            raise Unrepeatable(decline.STREAM_READ_OTHERWISE)

    # --- the answer's head

    def mapped(self, read: tuple[dict[str, str], list[str], tuple[Any, ...]] | None) -> dict[str, Any] | None:
        """Return the headers of an answer as LiteLLM keeps them, by slot; None if stock must judge them.

        ``read`` is what ``read_headers`` makes of them.
        """
        if read is None:
            return None
        shown, _, names = read
        if shown.get("content-type") != self.content_type or any(_PRICE in name for name in shown):
            return None
        values = list(shown.values())
        heads: dict[str, Any] = {_HEADERS: shown}
        for slot, maps in self._header_maps:
            found = maps.find(names)
            if found is None:
                return None
            heads[slot] = {name: values[index] for name, index in found}
        return heads

    # --- opening

    def open(
        self,
        reply: Reply,
        begun: success.Begun,
        started: float,
        cookies: ClientCookies | NoCookies,
        client: Any = None,
    ) -> tuple[Any, Any] | None:
        """Return LiteLLM's stream over the body of ``reply``, and what a router would call again with.

        Returns None if stock must judge the reply. ``begun`` is the call that was sent, which began at ``started``
        (``time.time()``). What the reply sets is kept in ``cookies``. The SDK's ``client`` is None if it is that of all
        calls.
        """
        read = chat.read_headers(reply.headers)
        heads = self.mapped(read)
        if read is None or heads is None:
            return None
        if read[1]:
            cookies.store(read[1], reply.headers)
        openings = self._openings
        now = time.time()
        duration, total = (now - reply.sent) * 1000, (now - started) * 1000
        made, logging = object.__new__(openings.classes[0]), object.__new__(openings.notifiers.fed)
        logging.payloads, logging.routed, logging.ends = self._payloads, None, self._ends
        logging.notes = None
        stream = self._stream(reply, client)
        begun.end(reply.sent, now)
        begun.slots.update(
            {
                "completion_stream": stream,
                "logging_obj": logging,
                "rules": openings.rules(),
                "total": total,
                "overhead": round(total - duration, 4),
                "created": now,
                "key": self._client._idempotency_key(),
                "not given": NotGiven(),
            }
        )
        if not self._in_loop:
            begun.slots[RAW] = made
        state = self._filled(heads, begun)
        options, fields_set = self._options
        stream._options = _model(options, state["options"], fields_set)
        handler = begun.slots[seams.CACHING_HANDLER[0]]
        for held, part in ((made, "stream"), (logging, "logging"), (handler, "handler")):
            held.__dict__ = state[part]
        return made, state["again"]

    def _objects(self) -> dict[str, Any]:
        handler = object.__new__(self._openings.classes[2])
        made = {**dict.fromkeys(seams.CACHING_HANDLER, handler), "logging_loop": None}
        if self._in_loop:
            made.update({"logging_loop": asyncio.get_running_loop(), RAW: self._finished()})
        return made

    def _filled(self, heads: Mapping[str, Any], begun: success.Begun) -> Any:
        """Return the attributes of a stream's parts, filled in."""
        begun.slots.update(heads)
        for slot, example in self._copied:
            begun.slots[slot] = copy.copy(example)
        return self._end(begun)

    def request(self, options: Mapping[str, Any], body: bytes, cookie: bytes) -> httpx.Request:
        """Return the request as the SDK's HTTP client would have made it, with these ``options`` and this
        ``cookie``."""
        headers = self._normalized.headers(*zip(*options["headers"].raw(body, cookie), strict=True))
        is_timed = time_limits.TIMED in options
        limits = time_limits.of_request(time_limits.read_by(options)) if is_timed else self._timeout.copy()
        extensions = {"timeout": limits, **self._extensions}
        # Of a request made of a content, the client would look at the headers once more for those that are missing.
        made = httpx.Request("POST", self._url, headers=headers, stream=httpx.ByteStream(body), extensions=extensions)
        made.read()
        return made

    def _stream(self, reply: Reply, client: Any) -> Any:
        """Return the SDK's stream over the body of ``reply``, without its options."""
        live = reply.live
        if self._in_loop:
            body = self._openings.body(live)
            held = live.headers.items()  # all of them; names alone come once each
            values = [value.encode("ascii") for _, value in held]
            headers = self._normalized.headers(tuple(name for name, _ in held), values)
            live = httpx.Response(live.status, headers=headers, stream=body, request=reply.request)
        live.request = reply.request
        start = time.perf_counter() - (time.time() - reply.sent)
        live.stream = (BoundAsyncStream if self._in_loop else BoundSyncStream)(live.stream, response=live, start=start)
        live.default_encoding = self._encoding
        kind = self._openings.sdk.AsyncStream if self._in_loop else self._openings.sdk.Stream
        stream = kind(cast_to=self._cast_to, response=live, client=client or self._client)
        stream.__orig_class__ = self._alias
        return stream

    def _finished(self) -> Any:
        """Return what is left of the coroutine that stock runs, and keeps as the call's response."""
        call: Any = self._call
        coroutine = call(*[None] * call.__code__.co_argcount)
        coroutine.close()
        return coroutine

    def over(self, live: Any, stream: Any, options: Mapping[str, Any], body: bytes, client: Any) -> Any:
        """Return what would be made for ``live``, the response to a request of ``client`` with these ``options`` and
        ``body`` that the SDK's ``stream`` reads; not to be read."""
        if not self._in_loop:
            body_stream = stream.response.stream._stream
            live = httpx.Response(
                live.status_code, headers=live.headers.raw, stream=body_stream, extensions=live.extensions
            )
        cookie = stream.response.request.headers.get("cookie", "").encode()
        return self._stream(Reply(0.0, live=live, request=self.request(options, body, cookie)), client)


def _model(kind: Any, fields: dict[str, Any], fields_set: frozenset[str]) -> Any:
    made = kind.__new__(kind)
    object.__setattr__(made, "__dict__", fields)
    object.__setattr__(made, "__pydantic_fields_set__", set(fields_set))
    object.__setattr__(made, "__pydantic_extra__", None)
    object.__setattr__(made, "__pydantic_private__", None)
    return made
