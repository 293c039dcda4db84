"""The hot path of the fast path: admission, the request's body, the answer."""

from __future__ import annotations

import itertools
import json
import marshal
import os
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

import orjson
from httpx import DecodingError, Headers, Response, Timeout
from httpx._decoders import SUPPORTED_DECODERS

from litellm_accel._py.template import Template, leaves_of
from litellm_accel._py.variables import sent_value
from litellm_accel.fastpath.known_names import (
    ARGUMENTS,
    CODE_EXECUTION,
    EXTRA_BODY,
    MESSAGE_KINDS,
    METADATA,
    MUTATED_DICTIONARIES,
    MUTATED_NAMES,
    PRICE,
    ROLES,
    ROUTER_NOTES,
    VARIABLE_ARGUMENTS,
    VARIABLE_HEADERS,
)

if TYPE_CHECKING:
    from litellm_accel.fastpath.admission.conversations import Rewriting
    from litellm_accel.fastpath.notify.log_records import LogTemplate
    from litellm_accel.fastpath.notify.success import LearnedCall, SuccessNotifier
    from litellm_accel.fastpath.plans.errors import CallErrors
    from litellm_accel.fastpath.plans.header_maps import HeaderMaps
    from litellm_accel.fastpath.plans.recorder import Conversion
    from litellm_accel.fastpath.streams.opener import StreamOpener
    from litellm_accel.fastpath.transport.loop_clients import Transports

    class Others(Protocol):
        """Arguments that ``call_key`` does not know by itself."""

        def are_admitted(self, name: str, value: Any, /) -> bool: ...
        def are_providers(self, name: str, /) -> bool: ...
        def heard_of(self) -> frozenset[str]: ...
        def are_unread(self, headers: dict[str, str], /) -> bool: ...
        def state_of(self, value: Any, /) -> Any: ...
        def key(self, passed: list[Any], /) -> bytes | None: ...


__all__ = [
    "Answer",
    "Plan",
    "Tally",
    "body_of",
    "call_key",
    "cookies_of",
    "fresh_id",
    "kinds_of",
    "messages_of",
    "minute",
    "read_headers",
    "shape_of",
    "value_of",
]

_PLAIN = (str, int, float, bytes, tuple, list, dict)
_EMPTY, _NAMES, _PARTS, _OTHER_PARTS, _IMAGES, _CALLS, _RESULTS, _OTHER = MESSAGE_KINDS.values()
_THOUGHT = "__thought__"
_MAX_KEY = 1 << 16


def messages_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the call's messages, or None if it has none by that name or in second place."""
    if len(args) > 1:
        return args[1]
    return kwargs.get("messages")


def call_key(
    kind: str, args: tuple[Any, ...], kwargs: dict[str, Any], others: Others | None = None
) -> tuple[bytes, dict[str, bytes]] | None:
    """Return a key for what a call passes but its messages, and its free arguments by name, in JSON.

    Calls with equal keys pass equal values of equal types, but for free arguments, which have equal names and kinds,
    and those that LiteLLM writes to, which are of equal kinds. None if the fast path does not know the call's
    arguments. An argument that is None asks for nothing, whatever its name. ``others`` knows those that are the
    provider's, or are switches that are off, and more values.
    """
    stream = kwargs.get("stream")
    if len(args) > 2 or (stream and stream is not True):
        return None
    passed: list[Any] = [kind, args[0] if args else None]
    free: dict[str, bytes] = {}
    for name, value in kwargs.items():
        if name == "messages":
            continue
        if name in MUTATED_NAMES:
            if (
                name in MUTATED_DICTIONARIES
                and value is not None
                and (type(value) is not dict or CODE_EXECUTION in value)
            ):
                return None
            value = _known_kind(value, others) if name == METADATA and others is not None else _kind(value)
        elif name == "shared_session":
            value = _session_number(value)
        elif value is None:
            pass
        elif name in ROUTER_NOTES:
            value = None if others is None else others.state_of(value)
            if value is None:
                return None
        elif name not in ARGUMENTS and (others is None or not others.are_admitted(name, value)):
            return None
        elif (sent := _free_value(name, value, others)) is not None:
            free[name] = sent[0]
            value = ..., "free", sent[1]
        elif name == EXTRA_BODY and (members := _members(value, kwargs, others)) is not None:
            free.update(members[0])
            value = ..., "free", members[1]
        elif type(value) is Timeout:
            value = ..., "timeout", value.as_dict()
        elif name == "response_format" and isinstance(value, type):
            value = _class_number(value)
        elif name == "stream_options" and not stream:
            return None
        passed.append(name)
        passed.append(value)
    try:
        key: bytes | None = marshal.dumps(passed, 2)
    except ValueError:
        key = None if others is None else others.key(passed)
    return (key, free) if key is not None and len(key) <= _MAX_KEY else None


def _free_value(name: str, value: Any, others: Others | None) -> tuple[bytes, Any] | None:
    """Return the ``value`` of a free argument as it is sent, in JSON, and its kind; None if it is not free."""
    if name not in VARIABLE_ARGUMENTS and (name in ARGUMENTS or others is None or not others.are_providers(name)):
        return None
    sent = sent_value(name, value)
    if name in VARIABLE_HEADERS and sent is not None and (others is None or not others.are_unread(value)):
        return None
    return sent


def _members(value: Any, kwargs: dict[str, Any], others: Others | None) -> tuple[dict[str, bytes], list[Any]] | None:
    """Return the members of ``extra_body`` as free arguments, and their names and kinds; None unless all are the
    provider's own, and none is an argument by itself."""
    if type(value) is not dict or not value or others is None:
        return None
    free: dict[str, bytes] = {}
    kinds: list[Any] = []
    for name, held in value.items():
        if type(name) is not str or name in kwargs or not others.are_providers(name):
            return None
        sent = sent_value(name, held)
        if sent is None:
            return None
        free[name] = sent[0]
        kinds.append((name, sent[1]))
    return free, kinds


def _kind(value: Any) -> Any:
    """Return what LiteLLM may go by in a noted argument whoever calls: names, types, and what is None or empty."""
    if type(value) is dict:
        return tuple(value), [_brief(item) for item in value.values()]
    return _brief(value)


def _known_kind(metadata: Any, others: Others) -> Any:
    """Return the kind of ``metadata`` but for members that LiteLLM has never heard of, if these are plain and not
    empty: what else there may be is seen when two calls differ in it."""
    if type(metadata) is not dict or not metadata:
        return _kind(metadata)
    heard = others.heard_of()
    names: list[Any] = []
    briefs: list[Any] = []
    for name, value in metadata.items():
        if type(name) is str and name not in heard and value and type(value) in (str, int, float):
            continue
        names.append(name)
        briefs.append(_brief(value))
    return tuple(names), briefs


def _brief(value: Any) -> Any:
    if value is None or value is True or value is False:
        return value
    kind = type(value)
    if kind in _PLAIN:
        return kind.__name__, not value
    return kind.__module__, kind.__qualname__


_classes: WeakKeyDictionary[Any, tuple[Any, int]] = WeakKeyDictionary()
_sessions: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
_numbers = itertools.count(1)


def _class_number(model: Any) -> Any:
    """Return a number that a pydantic class shares with no other, and that changes when it is rebuilt."""
    schema = model.__dict__.get("__pydantic_core_schema__")
    if schema is None:
        return model  # which has no key
    found = _classes.get(model)
    if found is None or found[0] is not schema:
        found = _classes[model] = schema, next(_numbers)
    return ..., "class", found[1]


def _session_number(session: Any) -> Any:
    """Return a number that a client session shares with no other."""
    if session is None:
        return None
    try:
        number = _sessions.setdefault(session, next(_numbers))
    except TypeError:
        return session  # which has no key
    return ..., "session", number


def body_of(messages: Any) -> bytes | None:
    """Return ``messages`` as the provider SDK writes them, or None if LiteLLM might not pass them on as they are.

    What it passes on: dictionaries with a known role and text, or a list of texts, a user's of texts and images; with a
    name; an assistant's with the calls of tools, a refusal and no annotations; the results of tools. Members that are
    None are not written.
    """
    if type(messages) is not list or not messages:
        return None
    written: list[Any] | None = None
    for index, message in enumerate(messages):
        if type(message) is not dict:
            return None
        for value in message.values():
            if value is None:
                message = {name: held for name, held in message.items() if held is not None}
                if written is None:
                    written = messages.copy()
                written[index] = message
                break
        role = message.get("role")
        if type(role) is not str or role not in ROLES:
            return None
        content = message.get("content")
        members = 1
        if content is not None:
            if type(content) is not str and not _are_parts(content, role == "user"):
                return None
            members += 1
        elif "tool_calls" not in message:
            return None
        if type(message.get("name")) is str:
            members += 1
        if role == "tool":
            identifier = message.get("tool_call_id")
            if type(identifier) is not str or _THOUGHT in identifier:
                return None
            members += 1
        elif role == "assistant" and len(message) > members:
            if "tool_calls" in message:
                if not _are_calls(message["tool_calls"]):
                    return None
                members += 1
            if type(message.get("refusal")) is str:
                members += 1
            if message.get("annotations") == []:
                members += 1
        if len(message) != members:
            return None
    try:
        return orjson.dumps(messages if written is None else written)
    except orjson.JSONEncodeError:
        return None


def _are_calls(calls: Any) -> bool:
    """Return whether ``calls`` are plain calls of functions."""
    if type(calls) is not list or not calls:
        return False
    for call in calls:
        if type(call) is not dict or len(call) != 3 or call.get("type") != "function":
            return False
        identifier, function = call.get("id"), call.get("function")
        if type(identifier) is not str or _THOUGHT in identifier or type(function) is not dict or len(function) != 2:
            return False
        if type(function.get("name")) is not str or type(function.get("arguments")) is not str:
            return False
    return True


def _are_parts(parts: Any, images: bool) -> bool:
    """Return whether ``parts`` are plain texts, or ``images`` too."""
    if type(parts) is not list or not parts:
        return False
    for part in parts:
        if type(part) is not dict or len(part) != 2:
            return False
        kind = part.get("type")
        if kind == "text":
            if type(part.get("text")) is not str:
                return False
        elif images and kind == "image_url":
            image = part.get("image_url")
            if type(image) is not dict or type(image.get("url")) is not str:
                return False
            if len(image) != (2 if type(image.get("detail")) is str else 1):
                return False
        else:
            return False
    return True


def kinds_of(messages: Any) -> int:
    """Return what ``messages``, which have a body, hold besides plain texts: a sum of ``MESSAGE_KINDS``."""
    kinds = 0
    for message in messages:
        if type(message) is not dict:
            kinds |= _OTHER
            continue
        content = message.get("content")
        role = message["role"]
        known = 1
        if type(content) is str:
            known = 2
            if not content:
                kinds |= _EMPTY
        elif content is not None:
            known = 2
            if role != "user":
                kinds |= _OTHER_PARTS
            else:
                kinds |= _PARTS
                for part in content:
                    if part["type"] != "text":
                        kinds |= _IMAGES
        elif "content" in message:
            known = 2
        if role == "tool":
            kinds |= _RESULTS
            known += 1
        elif "tool_calls" in message:
            kinds |= _CALLS
            known += 1
        if "name" in message:
            kinds |= _NAMES
            known += 1
        if len(message) != known or next(iter(message)) != "role":
            kinds |= _OTHER
    return kinds


def value_of(body: bytes, encoding: str | None) -> Any:
    """Return the JSON value in a reply's body, or None if it is not valid JSON, or not in the encoding it names."""
    try:
        return orjson.loads(body if encoding is None else _decoded(body, encoding))
    except (zlib.error, DecodingError, orjson.JSONDecodeError):
        return None


def _decoded(body: bytes, encoding: str) -> bytes:
    """Return a body as LiteLLM's HTTP client decodes it."""
    if encoding == "gzip":
        inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
        return inflate.decompress(body) + inflate.flush()
    kind = SUPPORTED_DECODERS.get(encoding)
    if kind is not None:
        decoder = kind()
        return decoder.decode(body) + decoder.flush()
    return Response(200, headers={"content-encoding": encoding}, content=body).content


def cookies_of(held: dict[str, dict[str, dict[str, Any]]], now: int) -> tuple[list[Any], list[tuple[Any, ...]]]:
    """Return the cookies that a jar holds by domain, path and name, and the facts of each.

    These are what the library goes by when it sends one, but for its value and the moment at which it expires.
    """
    cookies: list[Any] = []
    facts: list[tuple[Any, ...]] = []
    for paths in held.values():
        for names in paths.values():
            for cookie in names.values():
                expires = cookie.expires
                cookies.append(cookie)
                facts.append(
                    (
                        cookie.version,
                        cookie.name,
                        cookie.domain,
                        cookie.domain_specified,
                        cookie.domain_initial_dot,
                        cookie.path,
                        cookie.port,
                        cookie.secure,
                        expires is not None and expires <= now,
                        type(cookie.value),
                    )
                )
    return cookies, facts


# Names of response headers, as they came and in lower case.
_names: dict[bytes, str] = {}
_MAX_NAMES = 4096


def read_headers(
    headers: Mapping[str, str] | Iterable[tuple[bytes, bytes]] | Iterable[tuple[str, str]],
) -> tuple[dict[str, str], list[str], tuple[Any, ...]] | None:
    """Return response headers as httpx shows them, the values that set cookies, and the names.

    ``headers`` are names and values, as bytes or as texts, or a mapping of texts. What is shown has names in lower case
    and joins the values of each. Among the names, that of an empty value is in a tuple. None if only the client
    knows what they are: if they are not ASCII, or set cookies in another way.
    """
    shown: dict[str, str] = {}
    cookies: list[str] = []
    has_empty = False
    fields: Any = headers.items() if hasattr(headers, "items") else headers
    for name, value in fields:
        if not value.isascii():
            return None
        if type(name) is bytes:
            lower = _names.get(name)
            if lower is None:
                lower = _named(name)
            value = value.decode("ascii")
        else:
            lower = name.lower()
        if lower == "set-cookie":
            cookies.append(value)
        elif lower == "set-cookie2":
            return None
        if lower in shown:
            value = f"{shown[lower]}, {value}"
        elif not value:
            has_empty = True
        shown[lower] = value
    if has_empty:
        return shown, cookies, tuple(name if value else (name,) for name, value in shown.items())
    return shown, cookies, tuple(shown)


def _named(name: bytes) -> str:
    if len(_names) >= _MAX_NAMES:
        _names.clear()
    lower = _names[name] = name.decode("ascii").lower()
    return lower


def shape_of(value: Any, sums: bool) -> tuple[tuple[Any, ...], list[Any]] | None:
    """Return the shape of an answer and its leaves, see ``leaves_of``; None if LiteLLM may treat it by its content.

    With ``sums`` LiteLLM looks whether the tokens add up. Those of reasoning may be counted apart: it adds them to the
    completion's, and so that sum is one more leaf.
    """
    found = leaves_of(value)
    usage = value.get("usage") if sums and type(value) is dict else None
    if found is None or type(usage) is not dict:
        return found
    prompt, completion, total = usage.get("prompt_tokens"), usage.get("completion_tokens"), usage.get("total_tokens")
    if type(prompt) is not int or type(completion) is not int or type(total) is not int:
        return None
    if prompt + completion == total:
        return found
    details = usage.get("completion_tokens_details")
    reasoning = details.get("reasoning_tokens") if type(details) is dict else None
    if type(reasoning) is not int or reasoning <= 0 or prompt + completion + reasoning != total:
        return None
    return (*found[0], "reasoning apart"), [*found[1], completion + reasoning]


class Plan:
    """How to repeat one kind of call: the request around its messages, and the result around its answer.

    ``transports`` maps each event loop (None for threads) to LiteLLM's transport there and its cookies; ``request`` is
    what a transport needs besides a body. A plan holds for one ``epoch`` of the settings and until ``expires``
    (``time.time()``). ``notifier`` tells callbacks of its successes, ``opening`` opens its streams, ``log``
    writes its log records, ``errors`` makes what they raise: None if there are none.

    ``kinds`` is the sum of what messages may hold besides texts (of ``MESSAGE_KINDS``; -1 for anything). With
    ``spaced`` the request is written as the ``json`` module writes it, else as the provider SDK does. ``conversion`` is
    how LiteLLM makes a response of an answer, None where the SDK has a hand in it; with ``sums`` it looks whether
    tokens add up.
    With ``tells_headers`` a response has the headers that it came with. ``prices`` makes the price that an answer
    states, by its shape. ``rewriting`` knows what becomes of messages that ``body_of`` does not take,
    ``header_maps`` what becomes of headers, see ``HeaderMaps``.

    ``free`` are the free arguments of the call it was learned from. It holds for calls with the same, but for those
    in ``places``, which names the member of the request's body that holds each (None if it is not sent).
    """

    __slots__ = (
        "_before",
        "_holes",
        "content_type",
        "conversion",
        "cost",
        "epoch",
        "errors",
        "expires",
        "free",
        "header_maps",
        "hidden",
        "kinds",
        "log",
        "notifier",
        "opening",
        "places",
        "prefix",
        "prices",
        "request",
        "rewriting",
        "spaced",
        "suffix",
        "sums",
        "tells_headers",
        "templates",
        "transports",
    )

    def __init__(
        self,
        prefix: bytes,
        suffix: bytes,
        spaced: bool,
        hidden: tuple[tuple[str, str, Any], ...],
        content_type: str,
        templates: dict[Any, Template],
        header_maps: HeaderMaps,
        cost: Callable[..., Any] | None,
        transports: Transports,
        request: dict[str, Any],
        epoch: int,
        expires: float,
        free: dict[str, bytes],
    ) -> None:
        self.prefix = prefix
        self.suffix = suffix
        self.spaced = spaced
        self.hidden = hidden
        self.content_type = content_type
        self.templates = templates
        self.header_maps = header_maps
        self.cost: Any = cost  # a stream has none, and no result to price
        self.transports = transports
        self.request = request
        self.epoch = epoch
        self.expires = expires
        self.free = free
        self.places: dict[str, str | None] = {}
        self.notifier: SuccessNotifier | None = None
        self.opening: StreamOpener | None = None
        self.log: LogTemplate | None = None
        self.errors: CallErrors | None = None
        self.kinds = -1
        self.conversion: Conversion | None = None
        self.rewriting: Rewriting
        self.prices: dict[Any, Template] = {}
        self.sums = False
        self.tells_headers = True
        self._before = suffix
        self._holes: tuple[tuple[str, bytes], ...] = ()

    @property
    def learned(self) -> LearnedCall | None:
        """What tells the plan's calls apart that pass what LiteLLM notes in, None where nobody is told of them."""
        return self.notifier if self.notifier is not None else self.opening

    def open(self, places: dict[str, str | None], before: bytes, holes: tuple[tuple[str, bytes], ...]) -> None:
        """Let the plan hold for any values of the free arguments in ``places``.

        ``before`` and ``holes`` are its suffix in pieces: up to the first of these values, and for each in turn the
        argument's name and what follows the value.
        """
        self.places = places
        self._before = before
        self._holes = holes

    def covers(self, free: dict[str, bytes]) -> bool:
        """Return whether the plan holds for these values of its free arguments."""
        return all(free[name] == value or name in self.places for name, value in self.free.items())

    def spelled(self, value: bytes) -> bytes:
        """Return an encoded ``value`` as the request spells it."""
        return json.dumps(orjson.loads(value)).encode() if self.spaced else value

    def body(self, messages: bytes, free: dict[str, bytes]) -> bytes:
        """Return the request body around encoded ``messages`` and values."""
        if self.spaced:
            messages = self.spelled(messages)
            free = {name: self.spelled(value) for name, value in free.items()}
        if not self._holes:
            return self.prefix + messages + self._before
        pieces = [self.prefix, messages, self._before]
        for name, after in self._holes:
            pieces.append(free[name])
            pieces.append(after)
        return b"".join(pieces)

    def answer(self, status: int, headers: Any, body: bytes) -> Answer | None:
        """Return what a reply says, or None if the plan does not cover it and stock must judge it.

        ``headers`` are as they came, see ``read_headers``.
        """
        if status != 200:
            return None
        read = read_headers(headers)
        if read is None:
            return None
        shown, cookies, names = read
        if shown.get("content-type") != self.content_type:
            return None
        value = value_of(body, shown.get("content-encoding"))
        found = None if value is None else shape_of(value, self.sums)
        if found is None:
            return None
        template = self.templates.get(found[0])
        if template is None:
            return None
        price = self.prices.get(found[0])
        header_map = self.header_maps.find(names if price is None else (*names, PRICE))
        if header_map is None:
            return None
        stated = None if price is None else price.build(found[1], {})
        return Answer(self, template, found[1], shown, cookies, header_map, body, headers, stated)


class Answer:
    """A reply that the plan covers. ``cookies`` are the values of its headers that set some."""

    __slots__ = ("_body", "_header_map", "_plan", "_received", "_stated", "cookies", "headers", "leaves", "template")

    def __init__(
        self,
        plan: Plan,
        template: Template,
        leaves: list[Any],
        headers: dict[str, str],
        cookies: list[str],
        header_map: tuple[tuple[str, int], ...],
        body: bytes,
        received: Any,
        stated: float | None,
    ) -> None:
        self._plan = plan
        self.template = template
        self.leaves = leaves
        self.headers = headers
        self.cookies = cookies
        self._header_map = header_map
        self._body = body
        self._received = received
        self._stated = stated

    def text(self) -> str:
        """Return the answer as it came."""
        encoding = self.headers.get("content-encoding")
        return (self._body if encoding is None else _decoded(self._body, encoding)).decode()

    def received(self) -> Headers:
        """Return the headers as LiteLLM's own client shows them, the same object each time."""
        if type(self._received) is not Headers:
            self._received = Headers(self._received)
        return self._received

    def result(self, started: float, provider_ms: float, price: Callable[[Any], Any] | None = None) -> Any:
        """Return the response object for a call that began at ``started`` (``time.time()``).

        ``provider_ms`` is how long the provider took, in milliseconds; ``price`` prices the response instead of the
        plan's own pricing. Who prices it has an identifier for the call, too; else one is made up.
        """
        values: list[Any] = [*self.headers.values(), self._stated]
        total = (time.time() - started) * 1000
        hidden: dict[str, Any] = {}
        made = self.template.build(
            self.leaves,
            {
                "_hidden_params": hidden,
                "_response_headers": self.headers if self._plan.tells_headers else None,
                "_response_ms": total,
            },
        )
        cost = None
        for key, source, value in self._plan.hidden:
            if source == "constant":
                hidden[key] = value
            elif source == "copied":
                hidden[key] = marshal.loads(value)
            elif source == "headers":
                hidden[key] = self.headers
            elif source == "received":
                hidden[key] = self.received()
            elif source == "additional":
                hidden[key] = {name: values[index] for name, index in self._header_map}
            elif source == "total":
                hidden[key] = total
            elif source == "overhead":
                hidden[key] = round(total - provider_ms, 4)
            elif source == "call":
                cost = (price or self._plan.cost)(made)
                hidden[key] = fresh_id() if price is None else None
            elif source == "cost":
                hidden[key] = cost
            elif source == "upstream":
                upstream = made.__pydantic_extra__.get("provider")
                if upstream and isinstance(upstream, str):
                    hidden[key] = upstream
            else:
                hidden[key] = made.model
        return made


def fresh_id() -> str:
    """Return a new random identifier, as ``str(uuid.uuid4())`` makes them."""
    drawn = bytearray(os.urandom(16))
    drawn[6] = drawn[6] & 0x0F | 0x40
    drawn[8] = drawn[8] & 0x3F | 0x80
    text = drawn.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


_minute_number = -1
_minute_text = ""


def minute() -> str:
    """Return the present minute in UTC as ``HH-MM``, as LiteLLM writes it into cache keys."""
    global _minute_number, _minute_text
    number = int(time.time() // 60)
    if number != _minute_number:
        _minute_text = f"{number // 60 % 24:02}-{number % 60:02}"
        _minute_number = number
    return _minute_text


class Tally:
    """Tokens and requests of a group's deployments in this minute, as a router's memory cache holds them.

    ``tokens`` and ``requests`` are the formats of the cache keys, one of each for a deployment, with the minute open.
    """

    def __init__(
        self, memory: Any, tokens: list[str], requests: list[str], token_limit: int | None, request_limit: int | None
    ) -> None:
        self.memory = memory
        self.tokens = tokens
        self.requests = requests
        self.token_limit = token_limit
        self.request_limit = request_limit
        self._minute = ""
        self._token_keys: list[str] = []
        self._request_keys: list[str] = []

    def remaining(self) -> dict[str, int]:
        """Return the rate limit headers of the group: what is left of each limit, and the limit."""
        now = minute()
        if now != self._minute:
            self._token_keys = [key.format(current_minute=now) for key in self.tokens]
            self._request_keys = [key.format(current_minute=now) for key in self.requests]
            self._minute = now
        headers = {}
        if self.token_limit is not None:
            headers["x-ratelimit-remaining-tokens"] = self.token_limit - self._sum(self._token_keys)
            headers["x-ratelimit-limit-tokens"] = self.token_limit
        if self.request_limit is not None:
            headers["x-ratelimit-remaining-requests"] = self.request_limit - self._sum(self._request_keys)
            headers["x-ratelimit-limit-requests"] = self.request_limit
        return headers

    def _sum(self, keys: list[str]) -> int:
        memory = self.memory
        held: dict[str, Any] = memory.cache_dict
        expiries: dict[str, float] = memory.ttl_dict
        now = memory._clock()
        total = 0
        for key in keys:
            value = held.get(key)
            if value is None:
                continue
            if type(value) is not int or now > expiries.get(key, now):
                value = memory.get_cache(key)  # parses it, or throws it away
                if not isinstance(value, int):
                    continue
            total += value
        return total
