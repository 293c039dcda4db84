"""Stock's HTTP exchanges: watched while the fast path learns, answered again when stock must judge what came back.

Both happen at LiteLLM's own transport, below the provider SDK: retries, error mapping, logging and callbacks are
stock's, in stock's order. A *script*, held by a context variable, says what to do with the next exchange. Stock's
functions are changed only while a script is playing, so that a call which was sent before ``restore()`` can still be
handed over after it.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import itertools
import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from contextvars import Context, ContextVar, copy_context
from types import FunctionType, SimpleNamespace
from typing import Any, TypeVar

import aiohttp
import httpx
import openai
from aiohttp.base_protocol import BaseProtocol
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from litellm_accel.fastpath import decline, passage
from litellm_accel.fastpath.notify.log_records import AFTER, BEFORE, DURING, HeardRecord, site_of
from litellm_accel.fastpath.plans.argument_writes import CallSnapshots, same
from litellm_accel.fastpath.plans.error_states import error_state
from litellm_accel.fastpath.plans.snapshots import anatomy
from litellm_accel.fastpath.plans.templates import InconclusiveRecording
from litellm_accel.import_watch import is_being_imported
from litellm_accel.patching import PatchError, Shared, resolve, shared
from litellm_accel.stock import providers, seams
from litellm_accel.stock.trace import Trace

ASYNC_TRANSPORT = "litellm.llms.custom_httpx.aiohttp_transport:LiteLLMAiohttpTransport._make_aiohttp_request"
SYNC_TRANSPORT = "httpx._transports.default:HTTPTransport.handle_request"
COST = "litellm.cost_calculator:response_cost_calculator"
METADATA = "litellm.litellm_core_utils.llm_response_utils.response_metadata:update_response_metadata"
HANDLE = "logging:Logger.handle"
# By which LiteLLM hands the success of a call in an event loop to those who are told; a release has one of them.
DISPATCHES = ("litellm.utils:_dispatch_success_logging", "litellm.utils:dispatch_success_logging")
# The same for a call in a thread: LiteLLM's executor is given the handler.
SUBMIT = "litellm.litellm_core_utils.thread_pool_executor:BoundedLoggingThreadPoolExecutor.submit"
_HANDLER = "success_handler"
# By which LiteLLM makes an exception of its own of any that a call raises.
MAPPING = "litellm.litellm_core_utils.exception_mapping_utils:exception_type"
# By which a router's strategy counts a call before it is sent.
COUNTING = "litellm.router_strategy.least_busy:LeastBusyLoggingHandler.log_pre_api_call"
# By which the core of a router takes a stream that LiteLLM has opened, in event loops and in threads.
ASYNC_TAKING = "litellm.router_rust.invoke.streaming:open_attempt_stream"
SYNC_TAKING = "litellm.router_rust.invoke.streaming:open_attempt_stream_sync"
# By which the provider's SDK waits before it sends a request again, in event loops and in threads.
ASYNC_WAITING = "openai._base_client:AsyncAPIClient._sleep_for_retry"
SYNC_WAITING = "openai._base_client:SyncAPIClient._sleep_for_retry"
# Functions that word a timeout with the seconds it took: of handlers that use an SDK, and of LiteLLM's own client.
ASYNC_TIMING = "litellm.llms.openai.openai:OpenAIChatCompletion.make_openai_chat_completion_request"
ASYNC_AZURE_TIMING = "litellm.llms.azure.azure:AzureChatCompletion.make_azure_openai_chat_completion_request"
ASYNC_HTTP_TIMING = "litellm.llms.custom_httpx.http_handler:AsyncHTTPHandler.post"
# How providers that LiteLLM calls without an SDK turn an answer into a response.
CONVERSIONS = (
    "litellm.llms.openai.chat.gpt_transformation:OpenAIGPTConfig.transform_response",
    *providers.CONVERSIONS.values(),
    *providers.EMBEDDING_CONVERSIONS.values(),
)
# Functions by which LiteLLM finds or makes the client for the running event loop.
CLIENTS = (
    "litellm.llms.openai.openai:OpenAIChatCompletion._get_openai_client",
    "litellm.llms.azure.common_utils:BaseAzureLLM.get_azure_openai_client",
    "litellm.llms.custom_httpx.http_handler:get_async_httpx_client",
    "litellm.llms.custom_httpx.http_handler:get_httpx_client",
)
_UNSET: Any = object()
_DECODING = ("utf-8", "surrogateescape")  # aiohttp's, of headers
_TIME_TAKEN = re.compile(r"(?<=time taken=)[\d.]+(?= seconds$)")


class Reply:
    """What came back on an exchange begun at ``sent``: status, headers and body, or an error at one of two stages.

    ``live`` is the response as stock's transport has it, if the body is a stream and nothing of it has been read;
    ``request`` is what it answers.
    """

    __slots__ = ("body", "body_error", "error", "extensions", "headers", "live", "request", "sent", "status")

    def __init__(
        self,
        sent: float,
        status: int = 0,
        headers: Any = None,
        body: bytes = b"",
        error: BaseException | None = None,
        body_error: BaseException | None = None,
        extensions: Mapping[str, Any] | None = None,
        live: Any = None,
        request: httpx.Request | None = None,
    ) -> None:
        self.sent = sent
        self.status = status
        self.headers = headers
        self.body = body
        self.error = error
        self.body_error = body_error
        self.extensions = extensions
        self.live = live
        self.request = request

    def note(self, part: bytes) -> None:
        """Add a part of the body, which somebody else reads."""
        self.body += part

    def fail(self, error: Exception) -> None:
        """Note how somebody else's reading ended."""
        self.body_error = error

    def read(self, response: httpx.Response) -> None:
        """Take the body of ``response`` as it came, or what went wrong with it, and close it."""
        try:
            self.body = b"".join(response.iter_raw())
        except Exception as error:
            self.body_error = error
        finally:
            response.close()


class Sent:
    """One request as stock handed it to its transport, the reply to it, and the event loop that was running.

    ``head`` are the headers that LiteLLM's own transport has sent, None where the transport is not LiteLLM's.
    """

    __slots__ = ("head", "loop", "options", "reply", "request", "transport")

    def __init__(
        self, transport: Any, request: httpx.Request, options: tuple[Any, ...], reply: Reply, head: Any = None
    ) -> None:
        self.head = head
        self.transport = transport
        self.request = request
        self.options = options
        self.reply = reply
        self.loop = asyncio._get_running_loop()


class Conversion:
    """How LiteLLM turned the answer of one call into a response, for a provider that it calls without an SDK.

    ``config`` is LiteLLM's object for the provider, ``given`` what its method of this ``name`` was called with.
    """

    __slots__ = ("config", "given", "name")

    def __init__(self, config: Any, given: dict[str, Any], name: str = "transform_response") -> None:
        self.config = config
        self.name = name
        self.given = {**given, "model_response": copy.deepcopy(given["model_response"])}

    def convert(self, body: bytes) -> Any:
        """Return the response to an answer with this ``body``; nobody is told."""
        response = httpx.Response(200, headers={"content-type": "application/json"}, content=body)
        model_response = copy.deepcopy(self.given["model_response"])
        if "id" in type(model_response).model_fields:
            model_response.id = type(model_response)().id  # each call draws one, lest its answer has none
        given = {**self.given, "model_response": model_response, "raw_response": response, "logging_obj": _Deaf()}
        return getattr(self.config, self.name)(**given)


class _Deaf:
    """In the place of a call's ``Logging`` object."""

    def __init__(self) -> None:
        self.model_call_details: dict[str, Any] = {}

    def post_call(self, *arguments: Any, **named: Any) -> None:
        """Nobody is told."""


class Recording:
    """Script: let exchanges pass and write them down, with what LiteLLM priced the answer by.

    ``result`` is what stock returned; whoever runs it puts it there. ``conversion`` is how the answer became that, None
    if the provider's SDK had a hand in it. ``client_guard`` are what LiteLLM's functions for them were called with and
    returned. ``is_sending`` tells whether a request has been about to leave. ``heard`` are the log records of the call,
    ``listens`` whether they are all.
    ``trace`` is whose functions have run, ``lookup`` LiteLLM's handler of its cache, if that was asked. The result
    ``is_foretold`` if the answer was of a shape that earlier ones had. ``changed`` is the name of a context variable
    that the caller finds with another value afterwards.
    If successes are told of, also ``pictures``: of what LiteLLM's ``Logging`` object holds for them and of what the
    call was given. Of a call that ``streams``, the body is left to stock, and ``stream`` is LiteLLM's stream, whose
    parts the pictures show; ``anatomy`` is what the SDK's was made of before anybody read it.
    """

    def __init__(self, pictures: CallSnapshots | None = None, streams: bool = False) -> None:
        self.live = True
        self.trace = Trace()
        self.streams = streams
        self.stream: Any = None
        self.anatomy: Any = None
        self.pictures = pictures
        self.text: Any = None
        self.sent: list[Sent] = []
        self.heard: list[HeardRecord] = []
        self.listens = hearing() is not None
        self.is_sending = False
        self._thread = threading.get_ident()
        self.conversion: Conversion | None = None
        self.pricing: dict[str, Any] | None = None
        self.result: Any = None
        self.clients: list[tuple[FunctionType, tuple[Any, ...], Any]] = []
        self.fault: Exception | None = None
        self.lookup: Any = None
        self.is_foretold = False
        self.changed: str | None = None

    def take(self, request: httpx.Request) -> Reply | None:
        if self.pictures is not None and not self.sent:
            self.pictures.send()
        self.is_sending = True
        return None

    def fail(self, error: Exception) -> None:
        """Record no more, for ``error`` has come in between."""
        self.live = False
        self.fault = error

    def hear(self, logger: logging.Logger, record: logging.LogRecord) -> bool:
        """Take note of a log ``record``; return whether it is to be written, as each is."""
        phase = AFTER if self.sent else DURING if self.is_sending else BEFORE
        try:
            heard = HeardRecord(logger, record, phase, threading.get_ident() != self._thread)
            if not heard.is_others:
                self.heard.append(heard)
        except Exception:
            self.listens = False
        return True

    def note(self, logging: Any, result: Any) -> None:
        """Keep what ``logging`` holds now that its call has succeeded."""
        handler = seams.either(logging, *seams.CACHING_HANDLER)
        if self.live and getattr(handler, "preset_cache_key", None) is not None:
            self.lookup = handler
        if self.live and self.pictures is not None and self.pictures.state is None:
            self.text = logging.model_call_details.get("original_response")
            if self.streams:
                self.note_stream(result, None)
            else:
                self.pictures.succeed(logging)

    def tell(self, logging: Any, result: Any) -> None:
        """Somebody will be told now of a ``result``, by ``logging``."""

    def forget(self) -> None:
        """Let go of all: tasks that were begun meanwhile may hold this recording for long, with their context."""
        self.trace.end()
        self.stream = self.anatomy = self.pictures = self.conversion = None
        self.pricing = self.result = self.lookup = None
        self.sent.clear()
        self.heard.clear()
        self.clients.clear()

    def note_stream(self, stream: Any, again: Any) -> None:
        """Keep what LiteLLM's ``stream`` holds before it is read, and what a router would call ``again`` with."""
        self.stream = stream
        if self.pictures is not None:
            with suppress(AttributeError):  # a stream of another kind, which is not learned
                self.anatomy = anatomy(stream.completion_stream)
                self.pictures.open(stream, again)


class Failure:
    """The ``error`` that LiteLLM has made of a reply, and its ``state`` at that moment.

    ``mapped`` is what its function was called with. By then so many requests had come ``later`` than the first, and so
    many log records were ``heard``.
    """

    __slots__ = ("error", "heard", "later", "mapped", "state")

    def __init__(self, error: Exception, mapped: dict[str, Any], later: int, heard: int) -> None:
        self.error = error
        self.state = error_state(error)
        self.mapped = mapped
        self.later = later
        self.heard = heard


class Replay:
    """Script: answer the first exchanges with replies that are already here; later ones pass.

    There is more than one where the provider's SDK has sent the request again after ``earlier`` replies, having
    ``waited_for`` so many; it does not wait for these again. ``reply`` is the last, ``following`` the next request that
    stock sends afterwards.

    ``differs`` is set if stock sends another ``body`` to ``url``, or this one elsewhere: the reply is used all the
    same, since the request has been sent and must not be sent again, but the fast path has made a mistake. ``waited``
    is how many seconds the exchange took; ``result`` is what stock returned, put there by whoever runs it. ``written``
    are the sites of log records that have been written already. Of a reply that is an error, ``failure`` is what
    LiteLLM has made of it; ``later`` is how many requests have come since, ``heard`` how many log records. ``uncount``
    makes a router's strategy take back that it has counted the call, which it counts again; without, stock's counting
    is left out.
    """

    def __init__(
        self,
        url: str,
        body: bytes,
        reply: Reply,
        written: Iterable[Any] = (),
        uncount: Callable[[Any], None] | None = None,
        earlier: Sequence[Reply] = (),
        waited_for: int = 0,
    ) -> None:
        self.live = True
        self._replies = [*earlier, reply]
        self._waited_for = waited_for
        self.following: httpx.Request | None = None
        self.url = url
        self.body = body
        self.reply = reply
        self.used = False
        self.differs = False
        self.result: Any = None
        self.text: Any = None
        self.written = list(written)
        self.uncount = uncount
        self.waited = time.time() - self._replies[0].sent
        self.failure: Failure | None = None
        self.later = 0
        self.heard = 0

    @property
    def hears(self) -> bool:
        """Whether log records are of interest."""
        return bool(self.written) or self.reply.status != 200

    def take(self, request: httpx.Request) -> Reply | None:
        is_there = str(request.url) == self.url
        is_this = getattr(request, "_content", None) == self.body  # a body that is yet to be read is another's
        if self.used or not (is_there or is_this):
            return None
        self.differs = self.differs or not (is_there and is_this)
        found = self._replies.pop(0)
        if not self._replies:
            self.used = True
            self.live = False
        return found

    def waits(self) -> bool:
        """Return whether the SDK is to wait now before it sends a request again."""
        if self._waited_for == 0:
            return True
        self._waited_for -= 1
        return False

    def follow(self, request: httpx.Request) -> None:
        """Note a ``request`` that stock sends after it has met the reply."""
        self.later += 1
        if self.following is None:
            self.following = request

    def fail(self, error: Exception) -> Reply:
        """Return the reply all the same: what it answers has been sent."""
        self.live = False
        self.used = self.differs = True
        return self.reply

    def hear(self, logger: logging.Logger, record: logging.LogRecord) -> bool:
        """Return whether a log ``record`` is to be written: once."""
        with suppress(Exception):
            self.heard += not HeardRecord(logger, record, AFTER, False).is_others
        if self.used or (site := site_of(record)) not in self.written:
            return True
        self.written.remove(site)
        return False

    def forget(self) -> None:
        """Let go of all, as a recording does; of a reply that was not used, someone may yet be in need."""
        self.result = self.failure = self.following = None
        if self.used:
            self.reply.live = None

    def note(self, logging: Any, result: Any) -> None:
        """Keep the text of the answer as LiteLLM tells it to callbacks."""
        if self.used and self.text is None:
            self.text = logging.model_call_details.get("original_response")


Script = TypeVar("Script", Recording, Replay)
_script: ContextVar[Recording | Replay | None] = ContextVar("litellm_accel_script", default=None)


def note_stream(stream: Any, again: Any) -> None:
    """Show a recording that is made now the ``stream`` that a router has got, see ``Recording.note_stream``."""
    now = _script.get()
    if isinstance(now, Recording) and now.live and now.streams:
        now.note_stream(stream, again)


def playing() -> bool:
    """Return whether this call runs under a script that is not over."""
    now = _script.get()
    return now is not None and now.live


@contextmanager
def scripted(script: Script) -> Iterator[Script]:
    """Let ``script`` say what becomes of the exchanges in the block."""
    with ExitStack() as held:
        modules = _imported()
        for function in _functions(modules):
            held.enter_context(function)
        listening = hearing()
        if listening is not None and (isinstance(script, Recording) or script.hears):
            held.enter_context(listening)
        before = copy_context()
        token = _script.set(script)
        try:
            yield script
        finally:
            script.live = False
            _script.reset(token)
            if isinstance(script, Recording):
                script.changed = _changed(before)
                if _imported() != modules:
                    script.fail(InconclusiveRecording(decline.IMPORTED))


def _changed(before: Context) -> str | None:
    """Return the name of a context variable that has another value than ``before``, None if there is none."""
    now = copy_context()
    for variable in {**before, **now}:
        was, value = before.get(variable, _UNSET), now.get(variable, _UNSET)
        if value is not was and not same(*(_default(variable) if one is _UNSET else one for one in (was, value))):
            return variable.name
    return None


def _default(variable: ContextVar[Any]) -> Any:
    try:
        return Context().run(variable.get)
    except LookupError:
        return _UNSET


def _answered(reply: Reply, request: httpx.Request) -> aiohttp.ClientResponse:
    """Return a response of aiohttp's whose body is here, and whose connection has gone back when that was read."""
    loop = asyncio.get_running_loop()
    fields = reply.headers
    if type(fields) is list:  # as bytes, as they came
        fields = CIMultiDict((name.decode(*_DECODING), value.decode(*_DECODING)) for name, value in fields)
    url = URL(str(request.url), encoded=True)
    sent = CIMultiDictProxy(CIMultiDict(request.headers.items()))
    begun = {
        "method": request.method,
        "url": url,
        "writer": None,
        "continue100": None,
        "timer": None,
        "request_info": aiohttp.RequestInfo(url, request.method, sent, url),
        "traces": [],
        "loop": loop,
        "session": None,
        "stream_writer": SimpleNamespace(output_size=0),
    }
    response = aiohttp.ClientResponse(**seams.taken_by(aiohttp.ClientResponse, begun))
    response.version, response.status, response.reason = aiohttp.HttpVersion11, reply.status, ""
    response._headers = CIMultiDictProxy(CIMultiDict(fields))
    response._raw_headers = tuple((name.encode(*_DECODING), text.encode(*_DECODING)) for name, text in fields.items())
    protocol: Any = BaseProtocol(loop)
    response._protocol = protocol
    response.content = aiohttp.StreamReader(protocol, len(reply.body) + 1, loop=loop)
    if reply.body_error is not None:
        response.content.set_exception(reply.body_error)
    else:
        response.content.feed_data(reply.body)
        response.content.feed_eof()
    return response


class _Body(httpx.SyncByteStream):
    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def __iter__(self) -> Iterator[bytes]:
        if self._reply.body:
            yield self._reply.body
        if self._reply.body_error is not None:
            raise self._reply.body_error


def _taken(request: httpx.Request) -> Reply | None:
    """Return what answers ``request`` in the place of a host, if it is not to be sent."""
    now = None
    try:
        now = _script.get()
        if isinstance(now, Replay) and not now.live:
            now.follow(request)
        return now.take(request) if now is not None and now.live else None
    except Exception as error:
        return None if now is None else now.fail(error)


def _before(hear: Callable[..., Any]) -> passage.Hook:
    """Return a hook that lets ``hear`` know of a call in a script that records; a fault ends the recording."""

    def heard(*args: Any) -> None:
        now = _script.get()
        if isinstance(now, Recording) and now.live:
            try:
                hear(now, *args)
            except Exception as error:
                now.fail(error)

    return heard


def _after(hear: Callable[..., Any]) -> passage.Hook:
    """Return a hook that lets ``hear`` know of a result in a script; a fault ends the script."""

    def heard(result: Any, *args: Any) -> Any:
        now = _script.get()
        if now is not None:
            try:
                hear(now, result, *args)
            except Exception as error:
                now.fail(error)
        return result

    return heard


def _async_transport(stock: FunctionType) -> Callable[..., Any]:
    def before(
        transport: Any, client_session: Any, request: httpx.Request, *options: Any
    ) -> tuple[Any, BaseException | None] | None:
        reply = _taken(request)
        if reply is None:
            return None
        if reply.error is not None:
            return None, reply.error
        return reply.live or _answered(reply, request), None

    def after(
        now: Recording | Replay,
        response: Any,
        transport: Any,
        client_session: Any,
        request: httpx.Request,
        *options: Any,
    ) -> None:
        if isinstance(now, Recording) and now.live:
            reply = Reply(0.0, response.status, response.headers, live=response if now.streams else None)
            now.sent.append(Sent(transport, request, options, reply, response.request_info.headers))
            if not now.streams:
                response.content = passage.Overheard(response.content, reply.note, reply.fail)

    return passage.aaround(stock, before, _after(after))


def _sync_transport(stock: FunctionType) -> Callable[..., Any]:
    def before(transport: Any, request: httpx.Request) -> tuple[Any, BaseException | None] | None:
        reply = _taken(request)
        if reply is None:
            return None
        if reply.error is not None or reply.live is not None:
            return reply.live, reply.error
        stream = _Body(reply)
        return httpx.Response(reply.status, headers=reply.headers, stream=stream, extensions=reply.extensions), None

    def after(now: Recording | Replay, response: Any, transport: Any, request: httpx.Request) -> None:
        if isinstance(now, Recording) and now.live:
            live = response if now.streams else None
            raw = response.headers.raw
            reply = Reply(0.0, response.status_code, raw, extensions=response.extensions, live=live)
            now.sent.append(Sent(transport, request, (), reply))
            if not now.streams:
                response.stream = passage.OverheardStream(response.stream, reply.note, reply.fail)

    return passage.around(stock, before, _after(after))


def _is_waited_for(*args: Any, **options: Any) -> tuple[None, None] | None:
    now = _script.get()
    return None if not isinstance(now, Replay) or now.waits() else (None, None)


def _async_waiting(stock: FunctionType) -> Callable[..., Any]:
    return passage.aaround(stock, _is_waited_for)


def _sync_waiting(stock: FunctionType) -> Callable[..., Any]:
    return passage.around(stock, _is_waited_for)


def _cost(stock: FunctionType) -> Callable[..., Any]:
    names = stock.__code__.co_varnames[: stock.__code__.co_argcount]

    def before(now: Recording, *arguments: Any) -> None:
        now.pricing = dict(zip(names, arguments, strict=True))

    return passage.around(stock, _before(before))


def _mapping(stock: FunctionType) -> Callable[..., Any]:
    names = stock.__code__.co_varnames[: stock.__code__.co_argcount]

    def failed(error: Exception, *arguments: Any) -> None:
        now = _script.get()
        if isinstance(now, Replay) and now.used and now.failure is None:
            now.failure = Failure(error, dict(zip(names, arguments, strict=True)), now.later, now.heard)

    return passage.around(stock, failed=failed)


def _metadata(stock: FunctionType) -> Callable[..., Any]:
    places = [stock.__code__.co_varnames.index(name) for name in ("logging_obj", "result")]

    def after(now: Recording | Replay, result: None, *arguments: Any) -> None:
        now.note(*(arguments[place] for place in places))

    return passage.around(stock, None, _after(after))


def _dispatch(stock: FunctionType) -> Callable[..., Any]:
    places = [stock.__code__.co_varnames.index(name) for name in ("logging_obj", "result")]

    def before(now: Recording, *arguments: Any) -> None:
        now.tell(*(arguments[place] for place in places))

    return passage.around(stock, _before(before))


def _submit(stock: FunctionType) -> Callable[..., Any]:
    def before(now: Recording, executor: Any, *arguments: Any) -> None:
        for handler, result in itertools.pairwise(arguments):
            if getattr(handler, "__name__", None) == _HANDLER:
                now.tell(handler.__self__, result)

    return passage.around(stock, _before(before))


def _conversion(stock: FunctionType) -> Callable[..., Any]:
    names = stock.__code__.co_varnames[1 : stock.__code__.co_argcount]

    def before(now: Recording, config: Any, *arguments: Any) -> None:
        if now.conversion is None:
            now.conversion = Conversion(config, dict(zip(names, arguments, strict=True)), stock.__name__)

    return passage.around(stock, _before(before))


def _handling(stock: FunctionType) -> Callable[..., Any]:
    def before(logger: logging.Logger, record: logging.LogRecord) -> tuple[None, None] | None:
        now = _script.get()
        is_heard = now is not None and (now.live or (isinstance(now, Replay) and now.hears))
        return None if now is None or not is_heard or now.hear(logger, record) else (None, None)

    return passage.around(stock, before)


def _client(function: FunctionType, stock: FunctionType) -> Callable[..., Any]:
    def after(now: Recording | Replay, found: Any, *arguments: Any) -> None:
        if isinstance(now, Recording) and now.live:
            now.clients.append((function, arguments, found))

    return passage.around(stock, None, _after(after))


def _counting(stock: FunctionType) -> Callable[..., Any]:
    def before(strategy: Any, *args: Any, **kwargs: Any) -> tuple[None, None] | None:
        now = _script.get()
        if not isinstance(now, Replay) or not now.live:
            return None
        if now.uncount is None:
            return None, None  # what is answered again has been counted
        now.uncount(strategy)
        return None

    return passage.around(stock, before)


def _taken_by_core(now: Recording, attempt: Any, response: Any) -> None:
    if now.streams:
        now.note_stream(response, attempt.kwargs)


def _async_taking(stock: FunctionType) -> Callable[..., Any]:
    return passage.aaround(stock, _before(_taken_by_core))


def _sync_taking(stock: FunctionType) -> Callable[..., Any]:
    return passage.around(stock, _before(_taken_by_core))


def _async_timing(digits: int, stock: FunctionType) -> Callable[..., Any]:
    def failed(error: Exception) -> None:
        now = _script.get()
        if isinstance(error, openai.APITimeoutError) and isinstance(now, Replay) and now.used:
            waited = now.waited
            error.message = _TIME_TAKEN.sub(lambda shown: str(round(float(shown[0]) + waited, digits)), error.message)

    return passage.aaround(stock, failed=failed)


@functools.cache
def hearing() -> Shared | None:
    """Return the method of loggers by which scripts hear log records, None if it is not Python's own."""
    try:
        return shared(resolve(HANDLE), _handling)
    except PatchError:
        return None


def functions() -> tuple[Shared, ...]:
    """Return stock's functions that heed scripts, as far as their modules have been imported.

    Raises ``PatchError`` if one is missing or not LiteLLM's own.
    """
    return _functions(_imported())


@functools.lru_cache(16)
def _functions(modules: frozenset[str]) -> tuple[Shared, ...]:
    return (*required(), *_present(modules))


def _imported() -> frozenset[str]:
    return frozenset(module for module in _MODULES if module in sys.modules and not is_being_imported(module))


def load(target: str | None) -> None:
    """Import the module of ``target``, which LiteLLM is about to import for a call, so that it is seen at work."""
    if target is not None:
        with suppress(PatchError):
            resolve(target)


@functools.cache
def sees_waiting() -> bool:
    """Return whether the provider's SDK need not wait once more for what it has waited for."""
    try:
        return resolve(ASYNC_WAITING) is not None and resolve(SYNC_WAITING) is not None
    except PatchError:
        return False


@functools.cache
def sees_submission() -> bool:
    """Return whether it is seen how LiteLLM tells of a call in a thread."""
    try:
        return resolve(SUBMIT) is not None
    except PatchError:
        return False


def required() -> Iterator[Shared]:
    """Yield those of these functions without which nothing can be watched. Raises as ``functions`` does."""
    for target, build in (
        (ASYNC_TRANSPORT, _async_transport),
        (SYNC_TRANSPORT, _sync_transport),
        (COST, _cost),
        (METADATA, _metadata),
        (ASYNC_TIMING, functools.partial(_async_timing, 2)),
    ):
        yield shared(resolve(target), build)


_BUILDERS: dict[str, Callable[[FunctionType], Callable[..., Any]]] = {
    COUNTING: _counting,
    MAPPING: _mapping,
    ASYNC_WAITING: _async_waiting,
    SYNC_WAITING: _sync_waiting,
    ASYNC_TAKING: _async_taking,
    SYNC_TAKING: _sync_taking,
    ASYNC_AZURE_TIMING: functools.partial(_async_timing, 2),
    ASYNC_HTTP_TIMING: functools.partial(_async_timing, 3),
    **dict.fromkeys(CONVERSIONS, _conversion),
    **dict.fromkeys(DISPATCHES, _dispatch),
    SUBMIT: _submit,
    **dict.fromkeys(CLIENTS, lambda function: _client(function, function)),
}
_MODULES = frozenset(target.partition(":")[0] for target in _BUILDERS)


def _present(modules: Container[str]) -> Iterator[Shared]:
    """Yield the functions of other providers and of a strategy in these ``modules``.

    What the installed LiteLLM lacks, or has not imported, no call has run into.
    """
    for target, build in _BUILDERS.items():
        if target.partition(":")[0] in modules:
            with suppress(PatchError):
                yield shared(resolve(target), build)
