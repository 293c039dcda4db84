"""The log records that stock writes on a call's way: heard on watched calls, written again on served ones.

A watched call shows which loggers write what, and when: before the request goes out, once the answer is there, or after
callbacks have been told. A record is repeated only if each of its values is explained: by what the call passes, by the
request, the answer or the process. What is merely the same must have been the same in an earlier watched call, and
no text of the conversation may be in it. A record that is not explained leaves its kind of call to stock, for a reason
that names the logger whose level to raise.

Records are made and handled by the loggers themselves, so factories, filters, handlers and propagation are as ever.
Those that stock writes in its executor, for which ``acompletion`` waits, are written there.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import importlib
import logging
import re
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import httpx
import orjson

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.decline import Why
from litellm_accel.fastpath.plans.templates import InconclusiveRecording, Unrepeatable
from litellm_accel.hot import chat
from litellm_accel.stock.guard import PACKAGES

_LITELLM = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")
_ROOTS = frozenset((*_LITELLM, *PACKAGES, "asyncio"))
_LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)

BEFORE, DURING, AFTER, LAST = range(4)
# Functions of LiteLLM that run apart from the call, as themselves if somebody is told of it.
_APART = frozenset(
    ("success_handler", "async_success_handler", "failure_handler", "async_failure_handler", "_worker_loop")
)
# Functions that run as themselves in served calls, too, and write what they write.
_SERVED = frozenset(
    (
        "_track_deployment_metrics",
        "_should_raise_content_policy_error",
        "_acompletion_streaming_iterator",
        "_completion_streaming_iterator",
        "_record_zero_cost_diagnostic",
        "async_deployment_callback_on_success",
        "async_pre_call_check",
        "deployment_callback_on_success",
        "log_pre_api_call",
        "pre_call_check",
        "sync_deployment_callback_on_success",
    )
)
# Functions in whose course something is finalized: the garbage collector runs them in the middle of any call.
_FINALIZING = frozenset(("__del__", "call_exception_handler"))
_WRAPPERS = frozenset(("wrapper", "wrapper_async"))
# What runs the first part of an asynchronous call, in an executor; and the member of the request that comes with each.
_FIRST_PARTS = frozenset((("litellm.main", "completion"), ("litellm.main", "embedding")))
_SUBJECTS = ("messages", "input")
# Methods that a record passes before there is a record; somebody else's would not be asked.
_PASSED_BY = ("debug", "info", "warning", "error", "critical", "exception", "log", "_log", "isEnabledFor", "findCaller")
_REDACTING = "litellm._logging"
_REDACTED = frozenset(("msg", "args", "litellm_redacted"))
_IMMUTABLE = (str, int, float, bool, type(None), httpx.URL, httpx.Timeout)
# Packages of what stands between a line of stock and the record that is heard.
_OUR_OWN = frozenset(("logging", "litellm_accel"))
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$")
_MAX_SEEN = 4096
_MAX_STATES = 1024
_SHORT = 4  # characters; what is shorter is part of many texts


class NotWritable(Unrepeatable):
    """A logger writes what is not explained; the reason names it."""

    def __init__(self, name: str, level: int) -> None:
        super().__init__(decline.LOGGING.of(name, logging.getLevelName(level)))


# --- levels -----------------------------------------------------------------------------------------------------------


class LoggerLevels:
    """The levels at which loggers on the way of a call are enabled.

    ``key`` tells these apart in the keys of calls, so that plans made at other levels stay. ``in_threads`` says why no
    call in a thread may be served, ``in_streams`` why no stream there, None if they may: what httpcore writes depends
    on its connections, and threads of LiteLLM write about each chunk.

    Loggers remember whether they are enabled until any level is set by its method. ``memory`` is what one of them
    remembers: if that is empty, their attributes say how it is.
    """

    def __init__(self) -> None:
        self._count = 0
        self._loggers: list[logging.Logger] = []
        self._keys: dict[tuple[tuple[str, int], ...], bytes] = {}
        self._states: dict[Any, tuple[bytes, Why | None, Why | None, Why | None]] = {}
        self._attributes: Any = None
        self._first = logging.getLogger(_LITELLM[0])
        self.memory: dict[int, bool] = self._first._cache  # type: ignore[attr-defined]
        self.key = b""
        self.reason: Why | None = None
        self.in_threads: Why | None = None
        self.in_streams: Why | None = None

    def loggers(self) -> list[logging.Logger]:
        """Return the loggers of the packages on the way."""
        found = logging.root.manager.loggerDict
        if len(found) != self._count:
            self._count = len(found)
            names = sorted({*_LITELLM, *(name for name in list(found) if name.partition(".")[0] in _ROOTS)})
            self._loggers = [logging.getLogger(name) for name in names]
        return self._loggers

    def read(self) -> Why | None:
        """Look at the levels as they are now; return why no call may be served at them, or None."""
        is_fresh = not self.memory
        attributes = self._now()
        if is_fresh or attributes != self._attributes:
            state = self._states.get(attributes) if is_fresh else None
            if state is None:
                state = self._state()
                if is_fresh and self._now() == attributes and len(self._states) < _MAX_STATES:
                    self._states[attributes] = state
            self.key, self.reason, self.in_threads, self.in_streams = state
            self._attributes = attributes
            for level in _LEVELS:  # fills the memory
                self._first.isEnabledFor(level)
        return self.reason

    def _now(self) -> Any:
        levels = [(one.level, one.disabled) for one in self.loggers()]
        return logging.root.level, logging.root.manager.disable, *levels

    def _state(self) -> tuple[bytes, Why | None, Why | None, Why | None]:
        # A logger that has the level of its parent tells nothing: it may come to be whenever a module is loaded.
        loggers = ((one.name, _enabled(one), _enabled(one.parent)) for one in self._loggers)
        levels = (("", _enabled(logging.root)), *((name, own) for name, own, parents in loggers if own != parents))
        key = self._keys.setdefault(levels, b"\0%d" % len(self._keys) if self._keys else b"")
        in_threads = self._debugging("httpcore")
        return key, self._debugging(*_LITELLM), in_threads, in_threads or self._debugging("asyncio")

    def _debugging(self, *roots: str) -> Why | None:
        for one in self._loggers:
            if one.name.partition(".")[0] in roots and one.isEnabledFor(logging.DEBUG):
                return decline.LOGGING.of(one.name, "DEBUG")
        return None


def _enabled(logger: logging.Logger | None) -> int:
    """Return the first level at which ``logger`` writes."""
    held = logger or logging.root
    return next((level for level in _LEVELS if held.isEnabledFor(level)), sys.maxsize)


# --- what watched calls write -----------------------------------------------------------------------------------------


def site_of(record: logging.LogRecord) -> tuple[Any, ...]:
    """Return where in the source, and for which logger at which level, a record was made."""
    return record.name, record.levelno, record.pathname, record.lineno


class HeardRecord:
    """One record as a watched call's logger was about to handle it, and where in the call that was."""

    __slots__ = (
        "in_executor",
        "is_apart",
        "is_literal",
        "is_others",
        "is_served",
        "logger",
        "phase",
        "site",
        "values",
    )

    def __init__(self, logger: logging.Logger, record: logging.LogRecord, phase: int, is_elsewhere: bool) -> None:
        self.logger = logger
        self.values = dict(record.__dict__)
        self.site = site_of(record)
        names, modules = set(), set()
        place: Any = sys._getframe()
        while place.f_globals.get("__name__", "").partition(".")[0] in _OUR_OWN:
            place = place.f_back
        self.is_literal = record.msg in place.f_code.co_consts
        while place is not None:
            names.add(place.f_code.co_name)
            modules.add((place.f_globals.get("__name__"), place.f_code.co_name))
            place = place.f_back
        in_wrapper = any(("litellm.utils", name) in modules for name in _WRAPPERS)
        self.phase = LAST if phase == AFTER and not in_wrapper else phase
        self.in_executor = is_elsewhere and phase == BEFORE and not _FIRST_PARTS.isdisjoint(modules)
        self.is_apart = not _APART.isdisjoint(names) or (is_elsewhere and not self.in_executor)
        self.is_served = not _SERVED.isdisjoint(names)
        # What a filter or a handler logs is its own, what a finalizer logs is about some other call.
        self.is_others = ("logging", "handle") in modules or not _FINALIZING.isdisjoint(names)

    @property
    def warns(self) -> bool:
        """Whether LiteLLM warns of something before the request goes out: it would, each time."""
        return self.phase == BEFORE and self.values["levelno"] >= logging.WARNING and self.values["name"] == _LITELLM[0]

    def refusal(self) -> NotWritable:
        """Return what to raise if the record cannot be repeated."""
        return NotWritable(self.values["name"], self.values["levelno"])


class RecordTemplate:
    """One record, open for what belongs to one call; ``args`` is a node, see ``_built``."""

    __slots__ = ("_args", "_is_fixed", "_place", "_plain", "_redacted", "logger", "site")

    def __init__(self, heard: HeardRecord, args: tuple[Any, ...]) -> None:
        values = heard.values
        self.logger = heard.logger
        self.site = heard.site
        self._place = (values["pathname"], values["lineno"], values["msg"])
        self._args = args
        self._is_fixed = args[0] == "constant"
        self._plain = (values["funcName"], len(values))
        self._redacted: tuple[Any, dict[str, Any] | None] = (None, None)

    def write(self, body: bytes, reply: Any) -> None:
        """Write the record of the call with this request ``body`` and, if it is there, ``reply``."""
        logger, level = self.logger, self.site[1]
        if not logger.isEnabledFor(level):
            return
        args = _built(self._args, body, reply)
        record = self._made(args)
        filters = logger.filters
        if self._is_fixed and filters and type(filters[0]).__module__ == _REDACTING:
            if self._redacted[0] is not filters[0]:
                self._redacted = filters[0], self._redaction(filters[0], args)
            changes = self._redacted[1]
            plain = record.msg is self._place[2] and record.args == args and len(record.__dict__) == self._plain[1]
            if changes is not None and plain:
                record.__dict__.update(changes)
        logger.handle(record)

    def is_like(self, heard: HeardRecord, body: bytes, reply: Any) -> bool:
        """Return whether ``heard`` is the record that this writes for the request ``body`` and ``reply``."""
        return heard.site == self.site and _explains(self._args, heard.values["args"], body, reply)

    def _made(self, args: Any) -> logging.LogRecord:
        path, line, message = self._place
        given = (args,) if type(args) is dict else args
        logger = self.logger
        return logger.makeRecord(
            logger.name, self.site[1], path, line, message, given, None, self._plain[0], None, None
        )

    def _redaction(self, own: Any, args: Any) -> dict[str, Any] | None:
        """Return what LiteLLM's filter makes of each such record, if it says in the record that it has done so.

        It searches the text for secrets, which takes longer than all else.
        """
        record = self._made(args)
        before = dict(record.__dict__)
        if own.filter(record) is not True:
            return None
        after = record.__dict__
        changes = {name: value for name, value in after.items() if name not in before or before[name] is not value}
        return changes if "litellm_redacted" in changes and _REDACTED.issuperset(changes) else None


class LogTemplate:
    """The records of one kind of call, by when they are written. ``fault`` is told of a filter's error."""

    def __init__(
        self,
        before: list[tuple[bool, list[RecordTemplate]]],
        after: list[RecordTemplate],
        last: list[RecordTemplate],
        reply: Any,
        names: frozenset[str] | None,
        fault: Callable[[BaseException], None],
    ) -> None:
        self._before = before
        self._after = after
        self._last = last
        self._said = _status_line(reply)
        self._names = names
        self._fault = fault
        self.sites = [line.site for _, lines in before for line in lines]

    def fits(self, reply: Any) -> bool:
        """Return whether ``reply`` is one that the records would tell of as they told of the watched one."""
        return _status_line(reply) == self._said and (self._names is None or self._names == _header_names(reply))

    def tells(self, heard: list[HeardRecord], body: bytes, reply: Any) -> bool:
        """Return whether ``heard`` are the records that this writes for the request ``body`` and ``reply``."""
        lines = [*(line for _, lines in self._before for line in lines), *self._after, *self._last]
        return len(lines) == len(heard) and all(
            line.is_like(one, body, reply) for line, one in zip(lines, heard, strict=True)
        )

    async def abefore(self, body: bytes) -> None:
        """Write what comes before the request, in an event loop and its executor."""
        for in_executor, lines in self._before:
            if in_executor:
                run = functools.partial(contextvars.copy_context().run, self._write, lines, body, None)
                await asyncio.get_running_loop().run_in_executor(None, run)
            else:
                self._write(lines, body, None)

    def before(self, body: bytes) -> None:
        """Write what comes before the request, in a thread."""
        for _, lines in self._before:
            self._write(lines, body, None)

    def after(self, body: bytes, reply: Any) -> None:
        """Write what tells of the answer."""
        self._write(self._after, body, reply)

    def last(self, body: bytes, reply: Any) -> None:
        """Write what comes once callbacks have been told."""
        self._write(self._last, body, reply)

    def _write(self, lines: list[RecordTemplate], body: bytes, reply: Any) -> None:
        for line in lines:
            try:
                line.write(body, reply)
            except Exception as error:
                self._fault(error)


class LogTemplates:
    """Makes the templates of records that watched calls have shown."""

    def __init__(self, levels: LoggerLevels, fault: Callable[[BaseException], None]) -> None:
        self._levels = levels
        self._fault = fault
        self._seen: set[Any] = set()
        self._utils = importlib.import_module("litellm.utils")

    def template(self, recording: Any, plan: chat.Plan, passed: Iterable[Any], is_told: bool) -> LogTemplate | None:
        """Return the template of what ``recording`` has heard, None if that is nothing.

        ``passed`` is what the call and its deployment pass by name. Raises ``NotWritable``, or
        ``InconclusiveRecording`` if it takes another call to tell.
        """
        heard = told_by_call(recording, is_told)
        if not heard:
            return None
        sent = recording.sent[0]
        making = _Making(plan, sent, passed)
        before: list[tuple[bool, list[RecordTemplate]]] = []  # in the executor or not, in turn
        by_phase: dict[int, list[RecordTemplate]] = {AFTER: [], LAST: []}
        known = set(self._levels.loggers())
        for one in heard:
            values = one.values
            if (
                one.is_apart
                or one.is_served
                or one.phase == DURING
                or one.logger not in known
                or values["exc_info"]
                or values["stack_info"]
                or not _is_plain(one)
            ):
                raise one.refusal()
            line = RecordTemplate(one, making.args(one))
            if one.phase != BEFORE:
                by_phase[one.phase].append(line)
            elif before and before[-1][0] == one.in_executor:
                before[-1][1].append(line)
            else:
                before.append((one.in_executor, [line]))
        signature = (self._levels.key, *((one.site, one.phase, one.in_executor) for one in heard), *making.unproven)
        if signature not in self._seen:
            if len(self._seen) >= _MAX_SEEN:
                self._seen.clear()
            self._seen.add(signature)
            raise InconclusiveRecording(decline.LOG_RECORDS_SEEN_ONCE)
        names = _header_names(sent.reply) if making.tells_absence else None
        return LogTemplate(before, by_phase[AFTER], by_phase[LAST], sent.reply, names, self._fault)


def told_by_call(recording: Any, is_told: bool) -> list[HeardRecord]:
    """Return the records that a watched call has written; those of who ``is_told`` of it are written apart."""
    return [one for one in recording.heard if not (is_told and one.is_apart)]


class _Making:
    """What the values of one watched call's records can be explained by.

    ``unproven`` are those that are merely constant, ``tells_absence`` says that a header may have been missed.
    """

    def __init__(self, plan: chat.Plan, sent: Any, passed: Iterable[Any]) -> None:
        self.unproven: list[tuple[str, str]] = []
        self.tells_absence = False
        self._body = orjson.loads(sent.request.content)
        self._headers = _headers(sent.reply)
        self._url = sent.request.url
        self._known = {
            sent.request.method,
            sent.reply.status,
            str(self._url),
            *_status_line(sent.reply),
            "OK",
            "HTTP/1.1",
        }
        own = {*_SUBJECTS, *plan.free, *plan.places.values()}
        asked = {name: value for name, value in self._body.items() if name not in own}
        self._known.update(leaf for value in (*passed, asked) for leaf in _leaves(value))
        free = [orjson.loads(value) for value in plan.free.values()]
        said = (*_leaves([self._body.get(name) for name in _SUBJECTS]), *_leaves(free), *_answered(sent.reply))
        self._said = {text for text in said if type(text) is str and len(text) >= _SHORT} - self._known
        self._heard: Any = None

    def args(self, heard: HeardRecord) -> tuple[Any, ...]:
        """Return the node of a record's ``args``. Raises ``NotWritable``."""
        self._heard = heard
        message = heard.values["msg"]
        if not heard.is_literal:
            self.node(message)
        args = heard.values["args"]
        return self.node(args) if args else ("constant", args)

    def node(self, value: Any) -> tuple[Any, ...]:
        """Return the node that explains ``value``, see ``_built``."""
        kind = type(value)
        if kind is dict:
            if value == self._body and orjson.dumps(value) == orjson.dumps(self._body):
                return ("body",)
            return ("dict", tuple(value), tuple(self.node(item) for item in value.values()))
        if kind is tuple:
            nodes = [self.node(item) for item in value]
            if all(node[0] == "constant" for node in nodes):
                return ("constant", value)
            return ("tuple", tuple(nodes))
        if kind is httpx.Headers and value.raw == self._headers.raw:
            return ("headers",)
        if kind not in _IMMUTABLE:
            raise self._heard.refusal()
        return self._atom(value)

    def _atom(self, value: Any) -> tuple[Any, ...]:
        if type(value) is httpx.URL:
            if value != self._url:
                raise self._heard.refusal()
            return ("constant", value)
        if value in self._known and type(value) in (str, int):
            return ("constant", value)
        if type(value) is str:
            told = [name for name, text in self._headers.multi_items() if text == value]
            if value and self._heard.phase != BEFORE and told:
                if len(told) > 1:
                    raise self._heard.refusal()
                return ("header", told[0])
            drawn = _UUID.search(value)
            if drawn is not None:
                return ("uuid", value[: drawn.start()])
            if any(text in value for text in self._said):
                raise self._heard.refusal()
        if value is None and self._heard.phase != BEFORE:
            self.tells_absence = True
        self.unproven.append((type(value).__name__, repr(value)))
        return ("constant", value)


def _built(node: tuple[Any, ...], body: bytes, reply: Any) -> Any:
    """Return the value that ``node`` stands for in the call with this request and reply."""
    kind = node[0]
    if kind == "constant":
        return node[1]
    if kind == "tuple":
        return tuple(_built(item, body, reply) for item in node[1])
    if kind == "dict":
        return {name: _built(item, body, reply) for name, item in zip(node[1], node[2], strict=True)}
    if kind == "body":
        return orjson.loads(body)
    if kind == "uuid":
        return f"{node[1]}{uuid.uuid4()}"
    headers = _headers(reply)
    return headers if kind == "headers" else headers.get(node[1])


def _explains(node: tuple[Any, ...], value: Any, body: bytes, reply: Any) -> bool:
    """Return whether ``value`` may be what ``node`` stands for in the call with this request and reply."""
    kind = node[0]
    if kind == "tuple":
        nodes = node[1]
        return (
            type(value) is tuple
            and len(value) == len(nodes)
            and all(_explains(inner, item, body, reply) for inner, item in zip(nodes, value, strict=True))
        )
    if kind == "dict":
        return (
            type(value) is dict
            and tuple(value) == node[1]
            and all(_explains(inner, item, body, reply) for inner, item in zip(node[2], value.values(), strict=True))
        )
    if kind == "uuid":
        return type(value) is str and value.startswith(node[1]) and _UUID.fullmatch(value[len(node[1]) :]) is not None
    built = _built(node, body, reply)
    return type(built) is type(value) and bool(built == value)


def _headers(reply: Any) -> httpx.Headers:
    return httpx.Headers(reply.headers)


def _header_names(reply: Any) -> frozenset[str]:
    return frozenset(_headers(reply))


def _status_line(reply: Any) -> tuple[Any, ...]:
    """Return what an answer says besides status, headers and body."""
    extensions = reply.extensions or {}
    return tuple(extensions.get(name) for name in ("http_version", "reason_phrase"))


def _answered(reply: Any) -> Iterator[Any]:
    """Yield the texts of an answer that is no stream."""
    try:
        yield from _leaves(orjson.loads(reply.body))
    except orjson.JSONDecodeError:
        return


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    elif type(value) in (str, int):
        yield value


def _is_plain(heard: HeardRecord) -> bool:
    """Return whether a record's logger would make just such a record again, by way of nobody else's methods."""
    logger, values = heard.logger, heard.values
    for name in _PASSED_BY:
        method = getattr(type(logger), name)
        if name in vars(logger) or getattr(method, "__code__", None) is None:
            return False
        if method.__code__.co_filename != logging._srcfile:
            return False
    made = logger.makeRecord(
        logger.name, values["levelno"], values["pathname"], values["lineno"], "", (), None, values["funcName"]
    )
    return made.__dict__.keys() == values.keys()  # no ``extra``
