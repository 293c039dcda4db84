"""What LiteLLM's authentication makes of requests with the master key, or with plain virtual keys, remembered.

LiteLLM walks through some five hundred functions for each of them. Where there is no budget and no authentication of
the user's own, its answer depends on the path, the headers, the names of what is in the body, the model, on settings,
and, where there is a database, on what LiteLLM has cached of a virtual key. Two requests that agree in all of this are
LiteLLM's, and watched: the key's object and everything that is noted of the request. The next ones get new objects like
these. What changes something outside of the request is LiteLLM's own and runs each time: the master key's object is put
into the cache, and those who listen are told.

All that the answer depends on is watched for changes, and a change forgets everything that was remembered.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from types import FunctionType
from typing import Any

import orjson

from litellm_accel import hot
from litellm_accel.fastpath import decline
from litellm_accel.gateway.admission_settings import FREE, METADATA, MODULE, Settings, Strange
from litellm_accel.gateway.object_templates import Differing, ObjectTemplate, demand_own
from litellm_accel.gateway.virtual_keys import demand_may_ask, demand_plain, end_of, is_unowned, left
from litellm_accel.stock import releases

# The authentication that is known: digests of the module's source.
_KNOWN = frozenset(("09dd54fd6e63",))
_MASTER, _MODEL, _USER, _USER_ID = "api_key", "model", "user", "user_id"
_MAX_REMEMBERED = _MAX_SEEN = 256
_MAX_CHANGES = 64  # of settings without _SETTLED requests between them, after which requests are LiteLLM's
_SETTLED = 20  # which pay for another look at everything
_CREDIT = 64  # requests that are watched without any that is served; each one that is gives one back
_WAITED = 2  # requests before anything is looked at: LiteLLM imports some of its modules with the first
# Headers that LiteLLM's authentication does not read where there are no settings for networks, teams and agents.
_LENGTH, _AUTHORIZATION, _TYPE = b"content-length", b"authorization", b"content-type"
_UNREAD = frozenset(
    (
        *(b"accept", b"accept-encoding", b"accept-language", b"connection", b"user-agent"),
        *(b"traceparent", b"tracestate", b"x-request-id", b"x-correlation-id", b"x-amzn-trace-id"),
        *(b"x-forwarded-for", b"x-forwarded-port", b"x-forwarded-proto", b"x-real-ip", b"cf-ray", b"cf-connecting-ip"),
        *(b"x-stainless-retry-count", b"x-stainless-read-timeout", b"x-stainless-timeout"),
    )
)
_RECEIVED, _PRINCIPAL = "litellm_received_at", "principal"
_NOTED = _RECEIVED, "_cached_headers", "budget_reservation", _PRINCIPAL
# What of a request's state LiteLLM would go by.
_STATE = frozenset((*_NOTED, "parent_otel_span", "litellm_baggage_client_body", "litellm_baggage_mapped_tags"))
_BODY = "parsed_body"
_SIMPLE = (str, bool, type(None))
# Where OpenTelemetry is installed, LiteLLM notes where spans go; that runs with each request.
_TELEMETRY = "litellm_otel_request_destinations"


class Seen:
    """What a watched request has come to: its key and its principal, both as they are and as they were then."""

    def __init__(self, route: str, added: dict[str, Any], key: Any, principal: Any, held: Any) -> None:
        self.route, self.added = route, added
        self.held, self.held_then = held, copy.deepcopy(held)
        self.live = key.__copy__(), principal.model_copy(update={"source_key": None})
        self.then = copy.deepcopy(self.live)
        vars(self.then[1].network)["client_ip"] = None

    def agreed(self, other: Seen) -> Admission:
        """Return what makes others like this and an ``other`` one. Raises ``Differing``."""
        if self.route != other.route or self.added != other.added or self.held_then != other.held_then:
            raise Differing("route, scope or key")
        for one, two in zip(self.live, other.live, strict=True):
            demand_own(one, two)
        key, principal = zip(self.then, other.then, strict=True)
        try:
            ends = end_of(key[0].expires)
        except (TypeError, ValueError):
            raise Differing("expires") from None
        return Admission(
            self.route,
            self.added,
            ObjectTemplate(*key, frozenset(("last_refreshed_at",) if self.held is None else ())),
            ObjectTemplate(*principal, frozenset(("source_key",))),
            other.held,
            other.held_then,
            ends,
        )


@dataclass
class Admission:
    """What makes key and principal of requests of a kind, for ``route``; ``added`` goes into their scopes.

    ``held`` is what LiteLLM's cache has of a virtual key, ``held_then`` a copy; None for the master key.
    ``ends`` is when the key's time is over, None: never.
    """

    route: str
    added: dict[str, Any]
    key: ObjectTemplate
    principal: ObjectTemplate
    held: dict[str, Any] | None
    held_then: dict[str, Any] | None
    ends: datetime | None

    def is_of(self, held: dict[str, Any] | None) -> bool:
        """Return whether ``held`` is the very key, and as it was."""
        return self.held is held and self.held_then == held

    def make(self, client: str | None) -> tuple[Any, Any]:
        """Return a key and its principal, for a request that comes from there."""
        key = self.key.make({"last_refreshed_at": None} if self.held is None else {})
        principal = self.principal.make({"source_key": key})
        vars(principal.network)["client_ip"] = client
        return key, principal


class Admissions:
    """Answers in the place of ``stock``, LiteLLM's ``user_api_key_auth``."""

    def __init__(self, gate: hot.gate.Gate, stock: Any) -> None:
        self._gate = gate
        self._stock = stock
        self._settings: Settings | None = None
        self._version: Any = None
        self._remembered: dict[Any, Admission] = {}
        self._seen: dict[Any, Seen | None] = {}  # by kind; None: requests of it do not agree
        self._routes: dict[int, Any] = {}  # and their endpoints, kept so that no others have their ids
        self._changes = self._waited = self._served = 0
        self._credit = float(_CREDIT)
        #: Counts requests that LiteLLM authenticates, by reason; what becomes of them besides is counted elsewhere.
        self.left = hot.gate.Gate("authentication")
        #: Why requests are LiteLLM's, None if they are not.
        self.reason: str | None = None

    async def admit(self, request: Any, **keys: Any) -> Any:
        """Return the key of a ``request`` with these ``keys``, as LiteLLM does, or raise its refusal."""
        place = self._guarded(self._place, request, keys) if self._gate.on else None
        settings = self._settings
        if place is None or settings is None:
            return await self._stock(request=request, **keys)
        settings.stock._ensure_parent_otel_span_on_request_state(request)
        try:
            body = await request.body()
        except Exception as error:
            request._receive = _raising(error)  # LiteLLM reads it, and meets the same
            return await self._stock(request=request, **keys)
        found = self._guarded(self._found, settings, place, body, request)
        if found is None:
            return await self._stock(request=request, **keys)
        place, parsed, held, admission, made = found
        if admission is None:
            self.left.decline(decline.AUTHENTICATION.of("learned from"))
            return await self._watch(settings, place, held, parsed, request, keys)
        key, principal = made
        self._served += 1
        self._credit = min(self._credit + 1, _CREDIT)
        return await _admitted(settings, admission, key, principal, parsed, request)

    def _guarded(self, ask: Callable[..., Any], *given: Any) -> Any:
        """Return what ``ask`` finds, None where that fails, or finds that a request is LiteLLM's."""
        try:
            return ask(*given)
        except decline.Unserved as unserved:
            self.left.decline(unserved.args[0])
            return None
        except Exception as error:
            self._gate.fault(error)
            return None

    def _place(self, request: Any, keys: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any] | None]:
        """Return what decides, besides its body, what a request comes to, and what is held of its virtual key.

        Raises ``Unserved`` if it is LiteLLM's.
        """
        scope = request.scope
        if any(value is not None for name, value in keys.items() if name != _MASTER):
            raise left("a key in another header")
        if scope.get("query_string") or scope.get("path_params") or _BODY in scope or scope["method"] != "POST":
            raise left("more than a path and a body")
        settings = self._current()
        authorization, headers = _headers(scope["headers"])
        state, client = scope.get("state"), scope.get("client")
        if type(state) is not dict or not _STATE.isdisjoint(state):
            raise left("the request's state")
        name = held = None
        if settings.keys is not None:
            name = settings.keys.name(authorization, keys.get(_MASTER))
            if (held := settings.keys.find(name)) is None:
                raise left("a key that is not cached, or budgets of model groups")
        elif not _is_master(authorization, settings.bearer, keys.get(_MASTER)):
            raise left("another key than the master key")
        where = scope["path"], scope.get("root_path"), scope.get("app_root_path"), scope["scheme"]
        of_scope = client is None, headers, tuple(state), id(scope.get("endpoint")), id(scope.get("route"))
        return (name, where, *of_scope), held

    def _current(self) -> Settings:
        """Return the settings as they are now. Raises ``Unserved`` if there are any that are LiteLLM's to heed."""
        settings = self._settings
        if settings is None and self.reason is None and self._waited < _WAITED:
            self._waited += 1
            raise left("LiteLLM has just begun")
        if self.reason is None and (settings is None or not settings.hold()):
            settings = self._look()
        if settings is None or self.reason is not None:
            raise left(self.reason)
        if not settings.are_quiet():
            raise left("a log of every step, an administrator's row, or endpoints to pass through to")
        return settings

    def _found(
        self, settings: Settings, found: tuple[tuple[Any, ...], Any], body: bytes, request: Any
    ) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, Any] | None, Admission | None, Any]:
        """Return the whole place of a request, its body, what is held of its key, and what it comes to, if known.

        Raises ``Unserved`` if it is LiteLLM's. Since the body was awaited, things may have changed.
        """
        place, held = found
        parsed = _parsed(body, settings.read_of_metadata)
        if settings is not self._settings or not settings.hold() or not settings.are_quiet():
            raise left("a change in between")
        if held is not None:
            if not settings.has(place, held):
                raise left("a change in between")
            demand_may_ask(held, parsed)
        if (version := settings.version) != self._version:
            self._forget()
            self._version = version
        metadata = parsed.get(METADATA, {})  # a caller's end user may be named there, and any name may be refused
        users = parsed.get(_USER), metadata.get(_USER_ID)
        place = *place, parsed[_MODEL], users, frozenset(parsed), frozenset(metadata)
        admission = self._remembered.get(place)
        if admission is not None and not admission.is_of(held):
            del self._remembered[place]  # LiteLLM has read the key anew
            admission = None
        if admission is not None:
            if admission.ends is not None and admission.ends <= datetime.now(timezone.utc):
                raise left("a key that is over")
            client = request.scope.get("client")
            return place, parsed, held, admission, admission.make(client[0] if client else None)
        if held is not None:
            demand_plain(held)
        if self._seen.get(place, self) is None:
            raise left("requests that do not agree")
        if not settings.has_model(parsed[_MODEL]):
            raise left("a model that the router does not have")
        if self._credit < 1:
            self._credit += 1 / 16
            raise left("kinds that do not come again")
        self._credit -= 1
        return place, parsed, held, None, None

    def _look(self) -> Settings | None:
        """Look at the settings anew."""
        self._forget()
        self._settings = None
        self._changes = 1 if self._served >= _SETTLED else self._changes + 1
        self._served = 0
        try:
            if self._changes > _MAX_CHANGES:
                raise Strange("changes all the time")
            self._settings = Settings()
        except Strange as strange:
            self.reason = str(strange)
        return self._settings

    def _forget(self) -> None:
        for held in (self._remembered, self._seen, self._routes):
            held.clear()

    async def _watch(
        self, settings: Settings, place: Any, held: Any, parsed: Any, request: Any, keys: Mapping[str, Any]
    ) -> Any:
        """Let LiteLLM answer, and see what becomes of the request."""
        before = self._guarded(Before, request, settings)
        key = await self._stock(request=request, **keys)
        if before is not None:
            self._guarded(self._conclude, settings, place, held, parsed, request, key, before)
        return key

    def _conclude(
        self, settings: Settings, place: Any, held: Any, parsed: Any, request: Any, key: Any, before: Before
    ) -> None:
        """Note what a watched request has come to, unless something has changed meanwhile."""
        if settings is not self._settings or not settings.hold() or not settings.are_quiet():
            return
        if settings.version != self._version or not before.is_as_expected(request, parsed, key):
            return
        if held is not None and not self._is_plain(settings, place, held, parsed, request, key):
            return
        if len(self._seen) >= _MAX_SEEN or len(self._routes) >= _MAX_SEEN:
            self._forget()
        for part in (request.scope.get("endpoint"), request.scope.get("route")):
            self._routes[id(part)] = part
        route = settings.stock.get_request_route(request=request)
        seen = Seen(route, before.added(request), key, request.scope["state"][_PRINCIPAL], held)
        first = self._seen.pop(place, None)
        if first is None or first.held is not held:
            self._seen[place] = seen
            return
        try:
            admission = first.agreed(seen)
        except Differing:
            self._seen[place] = None
            return
        if len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[place] = admission

    def _is_plain(
        self, settings: Settings, place: Any, held: dict[str, Any], parsed: Any, request: Any, key: Any
    ) -> bool:
        """Return whether LiteLLM has come to ``key`` by what is still ``held`` alone, for nobody."""
        ask_user = settings.stock.get_end_user_id_from_request_body
        return settings.has(place, held) and is_unowned(key) and ask_user(parsed, dict(request.headers)) is None


class Before:
    """A request, and what holds where it runs, before LiteLLM looks at it."""

    def __init__(self, request: Any, settings: Settings) -> None:
        request.headers  # noqa: B018 - which puts a list of its own into the scope
        self._has_telemetry = settings.has_telemetry
        self._scope = dict(request.scope)
        self._state = dict(request.scope["state"])
        self._context = self._now()

    def _now(self) -> dict[Any, Any]:
        held = contextvars.copy_context().items()
        return {name: value for name, value in held if not (self._has_telemetry and name.name == _TELEMETRY)}

    def added(self, request: Any) -> dict[str, Any]:
        """Return what has been added to the scope and is as simple as can be."""
        found = request.scope.items()
        return {name: value for name, value in found if name not in self._scope and type(value) in _SIMPLE}

    def is_as_expected(self, request: Any, parsed: dict[str, Any], key: Any) -> bool:
        """Return whether LiteLLM has noted of the request what is noted here, and nothing else."""
        scope, state = dict(request.scope), dict(request.scope["state"])
        if not state.keys() >= set(_NOTED):
            return False
        body = scope.pop(_BODY, None)
        for name in self.added(request):
            scope.pop(name)
        received, headers, reservation, principal = map(state.pop, _NOTED)
        self._state.pop(_RECEIVED, None)
        client = scope.get("client")
        return (
            _are_the_same(scope, self._scope)
            and _are_the_same(state, self._state)
            and _are_the_same(self._now(), self._context)
            and body == (tuple(parsed), parsed)
            and type(received) is datetime
            and reservation is None
            and headers == dict(request.headers)
            and principal.source_key is key
            and principal.network.client_ip == (client[0] if client else None)
            and type(key.last_refreshed_at) is float
        )


async def _admitted(
    settings: Settings, admission: Admission, key: Any, principal: Any, parsed: dict[str, Any], request: Any
) -> Any:
    """Return the ``key`` of a request that is admitted, and do what LiteLLM does with it."""
    stock, state = settings.stock, request.state
    started = state.litellm_received_at
    stock.safe_get_request_headers(request)  # which notes them
    request.scope[_BODY] = tuple(parsed), parsed
    request.scope.update(admission.added)
    with stock.service_target(stock.AUTH_OBJECTS_TARGET):
        ended = datetime.now(timezone.utc)
        told = stock.user_api_key_service_logger_obj.async_service_success_hook(
            service=stock.ServiceTypes.AUTH,
            call_type=admission.route,
            start_time=started,
            end_time=ended,
            duration=ended.timestamp() - started.timestamp(),
            parent_otel_span=None,
        )
        asyncio.create_task(told)  # noqa: RUF006 - LiteLLM holds neither
        if admission.held is None:
            cached = stock.cache_key_object(
                hashed_token=stock.hash_token(settings.master_key),
                user_api_key_obj=key,
                user_api_key_cache=settings.key_cache,
                proxy_logging_obj=settings.logging,
            )
            asyncio.create_task(cached)  # noqa: RUF006
        if settings.has_telemetry:
            stock._seed_request_destinations(key, request)
        await asyncio.sleep(0)  # both begin before the endpoint does, as with LiteLLM
    state.budget_reservation = None
    state.principal = principal
    return key


def _headers(given: Any) -> tuple[bytes, tuple[Any, ...]]:
    """Return the authorization and the other headers of a request as far as LiteLLM reads them.

    Raises ``Unserved`` if they are not JSON's, or name no key.
    """
    headers: list[Any] = []
    authorization = kind = None
    for name, value in given:
        if name == _AUTHORIZATION:
            if authorization is not None:
                raise left("two keys")
            authorization = value
        elif name == _TYPE:
            if kind is not None or value.partition(b";")[0] != b"application/json":
                raise left("a body that is no JSON object")
            kind = value
        elif name not in _UNREAD and name != _LENGTH:
            headers.append((name, value))
    if kind is None or authorization is None:
        raise left("a key in another header, or a body that is no JSON object")
    return authorization, tuple(headers)


def _is_master(authorization: bytes, bearer: bytes, key: Any) -> bool:
    return type(key) is str and secrets.compare_digest(authorization, bearer) and key.encode() == authorization


def _parsed(body: bytes, read_of_metadata: frozenset[str]) -> dict[str, Any]:
    """Return what a body holds. Raises ``Unserved`` if LiteLLM's answer may depend on more values than say its kind."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = None
    if type(parsed) is not dict or type(parsed.get(_MODEL)) is not str:
        raise left("a body that is no JSON object, or has no model")
    if parsed.keys() - FREE - {_MODEL, _USER, METADATA} or type(parsed.get(_USER, "")) is not str:
        raise left("an unusual argument")
    metadata = parsed.get(METADATA, {})
    if type(metadata) is not dict or type(metadata.get(_USER_ID, "")) is not str:
        raise left("unusual metadata")
    if not read_of_metadata.isdisjoint(metadata):
        raise left("metadata that LiteLLM may refuse")
    return parsed


def _raising(error: Exception) -> Callable[[], Awaitable[Any]]:
    async def receive() -> Any:
        raise error

    return receive


def _are_the_same(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> bool:
    return one.keys() == other.keys() and all(value is other[name] for name, value in one.items())


def is_known(stock: FunctionType) -> bool:
    """Return whether LiteLLM's authentication is one that is known here."""
    found = releases.digest(MODULE)
    return found is not None and found.hex()[:12] in _KNOWN and stock.__module__ == MODULE
