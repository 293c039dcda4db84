"""The entry to the proxy's endpoints, past the framework's routing, dependencies and encoder.

A request that comes to the application's router is of a kind: its path. Stock serves the first requests of a kind,
watched: which route they find and what that adds to the request's scope, what LiteLLM's authentication and endpoint are
called with, and what is sent of the endpoint's result. Where two such requests agree with each other and with what
would have been sent here, the next ones are served: LiteLLM's own authentication and endpoint are called with what
stock would call them with. All middlewares of the application run as they are, and so do its exception handlers.
"""

from __future__ import annotations

import inspect
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import AsyncExitStack
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from litellm_accel import hot, patching
from litellm_accel.fastpath import decline
from litellm_accel.fastpath.decline import Why
from litellm_accel.fastpath.plans.proof import Proof
from litellm_accel.gateway.key_headers import KeyHeaders, are_known

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_WATCHED = 2  # requests of a kind that must agree, and answers of a class
_MAX_KINDS = 256
# What servers, the application and its outer parts put into a scope; the router reads nothing else of it.
_KNOWN = frozenset(
    (
        *("type", "asgi", "http_version", "method", "scheme", "path", "raw_path", "query_string", "root_path"),
        *("headers", "client", "server", "state", "extensions", "app"),
        *("starlette.exception_handlers", "fastapi_middleware_astack"),
    )
)
# Stacks that the framework opens for each request: one closes before the answer is sent, the other after it.
_OUTER, _INNER = "fastapi_inner_astack", "fastapi_function_astack"


class Unlike(Exception):
    """A watched request did not go the way that is served; the text says where."""


@dataclass
class Facts:
    """What was seen of a request that stock served."""

    added: dict[str, Any]  # to its scope, by routing
    constants: dict[str, Any]  # what the endpoint is called with besides request, response and key
    answer: Any  # the class of its answers

    def agrees(self, other: Facts) -> bool:
        """Return whether another request went the same way."""
        is_alike = self.constants == other.constants and self.answer is other.answer
        return is_alike and _same(self.added, other.added)


@dataclass
class Kind:
    """Requests to one path, for ``endpoint``. ``reason`` says why they are stock's for now, None: they are served."""

    endpoint: FunctionType
    reason: Why | None = decline.LEARNED_FROM
    facts: Facts | None = None
    agreed: int = 0
    is_watched: bool = False

    def saw(self, facts: Facts) -> None:
        """Note what was seen of one more request."""
        self.agreed = self.agreed + 1 if self.facts is not None and self.facts.agrees(facts) else 1
        self.facts = facts


class Entry:
    """Takes what comes to the router of the application ``app``.

    ``endpoints`` are the names of LiteLLM's functions (``"module:name"``) by how their paths end, longer ends first;
    some are imported when they are first asked for. ``authenticate`` looks at keys, ``gate`` counts.
    ``stock(router, scope, receive, send)`` is the router's own way.
    """

    stock: Callable[..., Awaitable[None]]

    def __init__(
        self,
        gate: hot.gate.Gate,
        proof: Proof,
        app: Any,
        endpoints: Mapping[str, str],
        authenticate: FunctionType,
    ) -> None:
        from fastapi.dependencies.utils import get_dependant
        from fastapi.encoders import jsonable_encoder
        from fastapi.routing import get_request_handler
        from starlette._exception_handler import wrap_app_handling_exceptions
        from starlette.requests import Request
        from starlette.responses import Response

        self._gate = gate
        self._proof = proof
        self._app = app
        self._router = app.router
        self._endpoints = endpoints
        self._ends = tuple(endpoints)
        self._authenticate = authenticate
        #: What is asked for the key of a request that is served.
        self.admit: Callable[..., Awaitable[Any]] = authenticate
        self._keys = _keys_of(authenticate)
        self._key_headers = KeyHeaders(self._keys) if are_known(self._keys) else None
        self._kinds: dict[tuple[str, Any], Kind] = {}
        self._answers: Counter[Any] = Counter()  # answers that came out as stock's, by class
        self._routes: list[list[Any]] = []
        self._watched: hot.watch.Watch | None = None  # the lists of routes
        self._request, self._response = Request, Response
        self._encoder = jsonable_encoder
        self._asked_by, self._handler_of = get_dependant, get_request_handler
        self._handling = wrap_app_handling_exceptions

    async def take(self, router: Any, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request to ``router``, or leave it to stock."""
        if router is not self._router or not self._gate.on:
            return await self.stock(router, scope, receive, send)
        serve: Callable[..., Awaitable[None]] | None = None
        kind: Kind | None = None
        try:
            kind = self._kind_of(scope)
            if kind is not None and kind.reason is None and kind.facts is not None:
                added = {name: _copied(value) for name, value in kind.facts.added.items()}
                request = self._request(scope, receive, send)
                serve = self._handling(self._served(request, self._carrier(), kind, kind.facts), request)
                scope.update(added)
        except Exception as error:
            self._gate.fault(error)
            kind = serve = None
        if serve is not None:
            return await serve(scope, receive, send)
        if kind is not None:
            return await self._watch(kind, scope, receive, send)
        return await self.stock(router, scope, receive, send)

    def _kind_of(self, scope: Scope) -> Kind | None:
        """Return the kind of a request if it is to be served or watched; None if it is stock's, which is counted."""
        path = scope["path"] if scope["type"] == "http" else ""
        if not path.endswith(self._ends) or scope["method"] != "POST":
            self._gate.decline(decline.OTHER_ENDPOINT)
            return None
        if not scope.keys() <= _KNOWN:
            self._gate.decline(decline.SCOPE_UNKNOWN.of(min(map(str, scope.keys() - _KNOWN))))
            return None
        if scope["query_string"]:
            self._gate.decline(decline.QUERY_STRING)
            return None
        if self._app.dependency_overrides:
            self._gate.decline(decline.DEPENDENCY_OVERRIDES)
            return None
        self._follow_routes()
        place = path, scope.get("root_path")
        kind = self._kinds.get(place)
        if kind is None:
            if len(self._kinds) >= _MAX_KINDS:
                self._gate.decline(decline.MANY_PATHS)
                return None
            endpoint = self._endpoint_of(path)
            if endpoint is None:
                self._gate.decline(decline.OTHER_ENDPOINT)
                return None
            kind = self._kinds[place] = Kind(endpoint)
            if not all(_is_usual(route, path) for routes in self._routes for route in routes):
                kind.reason = decline.ROUTES_UNUSUAL
        if kind.reason is None:
            return kind
        if kind.is_watched:
            self._gate.decline(decline.BEING_LEARNED)
            return None
        self._gate.decline(kind.reason)
        return kind if kind.reason is decline.LEARNED_FROM else None

    def _endpoint_of(self, path: str) -> FunctionType | None:
        """Return the function that a path should find, None if it is no plain function, or has not been imported."""
        module, _, name = next(target for end, target in self._endpoints.items() if path.endswith(end)).partition(":")
        found = getattr(sys.modules.get(module), name, None)
        return found if is_plain_coroutine(found) else None

    def _follow_routes(self) -> None:
        """Forget what was learned where the application has other routes than before."""
        if self._watched is None or (self._watched.changed() and self._watched.take()):
            self._kinds.clear()
            self._routes = list(_lists_of_routes(self._router))
            self._watched = hot.watch.Watch()
            for number, routes in enumerate(self._routes):
                self._watched.add(str(number), routes)
            self._watched.mark()

    def _served(self, request: Any, carrier: Any, kind: Kind, facts: Facts) -> Callable[..., Awaitable[None]]:
        """Return what does for ``request`` what the framework would do; endpoints write headers onto ``carrier``."""

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            async with AsyncExitStack() as outer:
                scope[_OUTER] = outer
                async with AsyncExitStack() as inner:
                    scope[_INNER] = inner
                    keys = self._read_keys(request)
                    if keys is None:
                        keys = {name: await ask(request) for name, ask in self._keys}
                    key = await self.admit(request=request, **keys)
                    result = await kind.endpoint(
                        request=request, fastapi_response=carrier, user_api_key_dict=key, **facts.constants
                    )
                    if isinstance(result, self._response):
                        answer = result
                    elif self._answers[facts.answer] >= _WATCHED:
                        answer = self._answer(result, carrier, facts.answer)
                    else:
                        answer = await self._shown_answer(request, result, carrier, kind, facts.answer)
                    self._gate.serve()
                await answer(scope, receive, send)

        return serve

    def _read_keys(self, request: Any) -> dict[str, Any] | None:
        """Return the values of the headers that may hold a key; None if the framework is to look them up."""
        try:
            return None if self._key_headers is None else self._key_headers.read(request)
        except Exception as error:
            self._gate.fault(error)
            return None

    def _carrier(self) -> Any:
        """Return the response onto which endpoints write headers."""
        carrier = self._response()
        del carrier.headers["content-length"]
        carrier.status_code = None  # type: ignore[assignment]
        return carrier

    def _answer(self, result: Any, carrier: Any, kind: Any) -> Any:
        """Return the answer, of class ``kind``, that the framework makes of an endpoint's ``result``."""
        try:
            return self._made(result if _is_plain(result) else self._encoder(result), carrier, kind)
        except Exception as error:
            answer = self._made(self._encoder(result), carrier, kind)
            self._gate.fault(error)
            return answer

    async def _shown_answer(self, request: Any, result: Any, carrier: Any, kind: Kind, answers: Any) -> Any:
        """Return the answer that the framework itself makes of ``result``, and note whether ours is the same.

        The requests that were watched may all have been answered by a stream, which the endpoint makes.
        """

        async def endpoint(response: Any) -> Any:
            response.raw_headers.extend(carrier.raw_headers)
            response.status_code = carrier.status_code
            return result

        endpoint.__annotations__ = {"response": self._response}
        asked = self._asked_by(path="", call=endpoint)
        answer = await self._handler_of(asked, response_class=answers)(request)
        own = self._answer(result, carrier, answers)
        if _messages_of(own) == _messages_of(answer):
            self._answers[answers] += 1
        else:
            kind.reason = self._proof.refuse(request.scope["path"], "the answer")
        return answer

    def _made(self, content: Any, carrier: Any, kind: Any) -> Any:
        answer = kind(content, carrier.status_code or 200)
        if answer.status_code < 200 or answer.status_code in (204, 205, 304):
            answer.body = b""
        answer.raw_headers.extend(carrier.raw_headers)
        return answer

    async def _watch(self, kind: Kind, scope: Scope, receive: Receive, send: Send) -> None:
        """Let stock serve a request, and see how."""
        watch = Watch(self, dict(scope), scope, receive)
        kind.is_watched = True

        async def overhear(message: Message) -> None:
            watch.heard(message)
            await send(message)

        token = _watch.set(watch)
        try:
            with (
                patching.shared(self._authenticate, _observed("authenticated")),
                patching.shared(kind.endpoint, _observed("answered")),
            ):
                await self.stock(self._router, scope, receive, overhear)
        finally:
            kind.is_watched = False
            _watch.reset(token)
        await self._conclude(kind, watch, scope["path"])

    async def _conclude(self, kind: Kind, watch: Watch, path: str) -> None:
        """Note what a watched request has shown; one that was refused or has failed shows nothing."""
        if watch.scope.get("endpoint", kind.endpoint) is not kind.endpoint:
            kind.reason = decline.OTHER_ENDPOINT
            return
        if not watch.is_whole:
            return
        try:
            facts = await watch.facts()
        except Unlike as difference:
            kind.reason = self._proof.refuse(path, str(difference))
            return
        except Exception as error:
            self._gate.fault(error)
            return
        kind.saw(facts)
        if watch.expected is not None:
            self._answers[facts.answer] += 1
        if kind.agreed >= _WATCHED:
            kind.reason = None


@dataclass
class Watch:
    """One request that stock serves."""

    entry: Entry
    before: dict[str, Any]
    scope: Scope
    receive: Receive
    faults: list[BaseException] = field(default_factory=list)
    sent: list[dict[str, Any]] = field(default_factory=list)
    calls: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    routed: dict[str, Any] = field(default_factory=dict)
    key: Any = None
    result: Any = None
    expected: list[dict[str, Any]] | None = None
    is_whole: bool = False

    def began(self, name: str, arguments: dict[str, Any]) -> None:
        """Note that one of LiteLLM's functions begins."""
        self.calls.setdefault(name, []).append(dict(arguments))
        if name == "authenticated":
            self.routed = dict(self.scope)
        else:
            self.calls[name][-1]["carrier"] = _held(arguments["fastapi_response"])

    def ended(self, name: str, result: Any) -> None:
        """Note what it has returned."""
        if name == "authenticated":
            self.key = result
            return
        self.result = result
        self.is_whole = True
        if not isinstance(result, self.entry._response):
            kind = _class_of_answers(self.scope["route"])
            answer = self.entry._answer(result, self.calls[name][-1]["fastapi_response"], kind)
            self.expected = _messages_of(answer)

    def heard(self, message: Message) -> None:
        """Note what stock sends; others add to its headers once it is sent."""
        try:
            if self.expected is not None or not self.is_whole:
                said = dict(message)
                self.sent.append({**said, "headers": list(said["headers"])} if "headers" in said else said)
        except Exception as error:
            self.faults.append(error)

    async def facts(self) -> Facts:
        """Return what was seen. Raises ``Unlike``."""
        if self.faults:
            raise self.faults[0]
        for name in ("authenticated", "answered"):
            if len(self.calls.get(name, ())) != 1:
                raise Unlike(f"{name} {len(self.calls.get(name, ()))} times")
        asked, answered = dict(self.calls["authenticated"][0]), dict(self.calls["answered"][0])
        request = asked.pop("request")
        if type(request) is not self.entry._request or request.scope is not self.scope:
            raise Unlike("another request")
        if request._receive is not self.receive:
            raise Unlike("the body is read by way of the framework")
        if asked != {name: await ask(request) for name, ask in self.entry._keys}:
            raise Unlike("keys")
        if answered.pop("request") is not request or answered.pop("user_api_key_dict") is not self.key:
            raise Unlike("the endpoint's request or key")
        carrier, pristine = answered.pop("fastapi_response"), self.entry._carrier()
        if type(carrier) is not type(pristine) or answered.pop("carrier") != _held(pristine):
            raise Unlike("the response for headers")
        if self.expected is not None and self.sent != self.expected:
            raise Unlike("the answer")
        if any(not _is_same(value, self.routed.get(name)) for name, value in self.before.items()):
            raise Unlike("the scope")
        added = {name: value for name, value in self.routed.items() if name not in self.before}
        for name in (_OUTER, _INNER):
            if type(added.pop(name, None)) is not AsyncExitStack:
                raise Unlike("the exit stacks")
        if any(isinstance(value, AsyncExitStack) for value in added.values()):
            raise Unlike("the exit stacks")
        within, answer = added.get("fastapi"), _class_of_answers(added["route"])
        for route in (added["route"], *(within.values() if type(within) is dict else ())):
            if not _is_frameworks(type(route)):
                raise Unlike("the class of the route")
            if getattr(route, "response_field", None) is not None or _class_of_answers(route) not in (answer, None):
                raise Unlike("the model or the class of the response")
        return Facts(added, answered, answer)


_watch: ContextVar[Watch | None] = ContextVar("litellm_accel_entry", default=None)


def _observed(name: str) -> Callable[[FunctionType], Callable[..., Any]]:
    """Return what builds, for a function of LiteLLM's, what tells the watch of this context of its calls."""

    def build(stock: FunctionType) -> Callable[..., Any]:
        names = list(inspect.signature(stock).parameters)

        async def observed(*args: Any) -> Any:
            watch = _watch.get()
            if watch is None:
                return await stock(*args)
            try:
                watch.began(name, dict(zip(names, args, strict=True)))
            except Exception as error:
                watch.faults.append(error)
            result = await stock(*args)
            try:
                watch.ended(name, result)
            except Exception as error:
                watch.faults.append(error)
            return result

        return observed

    return build


def _keys_of(authenticate: FunctionType) -> list[tuple[str, Callable[..., Any]]]:
    """Return the parameters of LiteLLM's authentication, each with what finds its value in a request."""
    parameters = list(inspect.signature(authenticate).parameters.values())
    return [(parameter.name, parameter.default.dependency) for parameter in parameters if parameter.name != "request"]


def is_plain_coroutine(function: Any) -> bool:
    """Return whether a function is one whose calls can be watched."""
    return type(function) is FunctionType and inspect.iscoroutinefunction(function)


def _lists_of_routes(router: Any) -> Iterator[list[Any]]:
    """Yield the list of a router's routes, and those of routers that are included in it."""
    yield router.routes
    for route in router.routes:
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from _lists_of_routes(included)


def _is_usual(route: Any, path: str) -> bool:
    """Return whether path and method alone decide if a route is found for ``path``.

    LiteLLM has classes of its own for routes that step aside for others; they are none of this path's.
    """
    kind = type(route)
    if _is_frameworks(kind):
        return kind.__name__ != "Host"
    if not kind.__module__.startswith("litellm.") or not hasattr(route, "path_regex"):
        return False
    parts = path.split("/")
    return not any(route.path_regex.match("/" + "/".join(parts[place:])) for place in range(1, len(parts)))


def _class_of_answers(route: Any) -> Any:
    """Return the class of the answers that the framework makes for a route, None if it names none."""
    kind = getattr(route, "response_class", None)
    return getattr(kind, "value", kind)


def _is_frameworks(kind: type) -> bool:
    return kind.__module__ in ("fastapi.routing", "starlette.routing")


def _copied(value: Any) -> Any:
    return dict(value) if type(value) is dict else value


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two dictionaries hold the very same values, or plain ones that are equal."""
    return one.keys() == other.keys() and all(_is_same(value, other[name]) for name, value in one.items())


def _is_same(one: Any, other: Any) -> bool:
    if type(one) is dict and type(other) is dict:
        return _same(one, other)
    return one is other or (type(one) is type(other) and type(one) in (str, list) and one == other)


def _messages_of(answer: Any) -> list[dict[str, Any]]:
    """Return what an answer that is whole sends."""
    return [
        {"type": "http.response.start", "status": answer.status_code, "headers": list(answer.raw_headers)},
        {"type": "http.response.body", "body": answer.body},
    ]


def _held(carrier: Any) -> dict[str, Any]:
    """Return what a response holds now."""
    held = {**vars(carrier), "raw_headers": list(carrier.raw_headers)}
    held.pop("_headers", None)  # a view of these
    return held


_PLAIN = frozenset((str, int, float, bool, type(None)))


def _is_plain(value: Any) -> bool:
    """Return whether ``value`` is as the framework's encoder would leave it."""
    kind = type(value)
    if kind in _PLAIN:
        return True
    if kind is dict:
        return all(type(name) is str and name[:3] != "_sa" and _is_plain(held) for name, held in value.items())
    return kind is list and all(map(_is_plain, value))
