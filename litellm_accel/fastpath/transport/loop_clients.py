"""LiteLLM's client for the calls of a plan, by event loop.

LiteLLM keeps a client for each event loop. In a loop in which a plan has not been used yet, LiteLLM's own function
finds or makes it, with the arguments that the watched call gave it, just as it does in a stock call: so LiteLLM's cache
holds the same clients under the same keys, and closes and forgets them as ever.
"""

from __future__ import annotations

import asyncio
import contextvars
import weakref
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType
from typing import Any

import httpx

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.owner_cache import OwnerCache
from litellm_accel.fastpath.plans.templates import Unrepeatable
from litellm_accel.fastpath.transport.client_guard import RESOURCES, ClientGuard, transport_of

_PLAIN = (str, bytes, int, float, bool, type(None))
# What two clients are compared by, where their attributes are of these types.
_COMPARED = (*_PLAIN, httpx.URL, httpx.Timeout, httpx.Headers, httpx.QueryParams)
# Attributes that a client's first call fills in: the platform for the request headers, and that it has been used.
_FILLED_IN = ("_platform", "_state")
_LOOKED_UP = "proxy_cache"  # by a transport's first call, in the environment
_LIMIT = "timeout"
_SECONDS = 60.0  # after which it is seen whether a client is still a plan's


class ClientSource:
    """How LiteLLM came by the ``client`` of a watched call: its own ``function`` and the ``arguments`` it was given."""

    def __init__(self, function: FunctionType, arguments: tuple[Any, ...], client: Any) -> None:
        self._function = function
        self._arguments = tuple(map(_lasting, arguments))
        self._facts = [_facts(part) for part in _parts(client)]
        self._filled_in = [{name: vars(part).get(name) for name in _FILLED_IN} for part in _parts(client)]
        self._resources = sum(name in vars(part) for name, part in zip(RESOURCES, _resources(client), strict=False))
        #: Whether LiteLLM keeps one client for each time limit.
        self.is_timed = _with_limit(function, self._arguments, 0.0) != self._arguments

    def found_again(self, client: Any, kept: Mapping[str, Any]) -> Any:
        """Return what LiteLLM's function finds where it has found ``client``: that, or one like it among ``kept``.

        Of calls that begin at once, each may make a client, of which LiteLLM keeps the last. Raises ``Unrepeatable`` if
        it finds another.
        """
        before = list(map(id, kept.values()))
        found = self._function(*self._arguments)
        if found is not client and (id(found) not in before or self.client() is not found):
            raise Unrepeatable(decline.CLIENT_PER_CALL)
        return found

    def client(self, seconds: float | None = None) -> Any:
        """Return the client for the running loop, or None if it is not like the one that was watched.

        With ``seconds``, the client of calls with that time limit.
        """
        arguments, first = self._arguments, self._facts[0]
        if seconds is not None:
            arguments, first = _with_limit(self._function, arguments, seconds), _limited(first, seconds)
        client = self._function(*arguments)
        watched = first, *self._facts[1:]
        for part, facts, filled_in in zip(_parts(client), watched, self._filled_in, strict=True):
            if _facts(part) != facts:
                return None
            for name, value in filled_in.items():
                if value is not None and vars(part).get(name, value) is not value:
                    setattr(part, name, value)
        part = client
        for name in RESOURCES[: self._resources]:  # each is made when a call first asks for it
            part = getattr(part, name)
        return client


class Transports(OwnerCache):
    """Maps event loops to LiteLLM's client that a plan's requests are sent for.

    None stands for threads in which no loop is running. ``guard`` returns a transport's ``ClientGuard``; without a
    ``source``, stock has to make the client for a loop.
    """

    __slots__ = ("_guard", "_loopless", "_source")

    def __init__(self, source: ClientSource | None, guard: Callable[[Any], ClientGuard]) -> None:
        self._source = source
        self._guard = guard
        self._loopless: ClientGuard | None = None

    def __setitem__(self, loop: Any, client: ClientGuard) -> None:
        running: Any = asyncio._get_running_loop()
        if loop is None:
            self._loopless = client
        elif loop is running:
            # A client that LiteLLM lets go of closes its session, unless the collector has to find both: then aiohttp
            # logs an error. So a timer holds it, which the loop drops when it is closed, and the loop itself does not.
            super().__setitem__(loop, weakref.ref(client))
            _hold(loop, weakref.ref(self), client)
        else:
            super().__setitem__(loop, lambda: client)

    def get(self, loop: Any, default: Any = None) -> Any:
        """Return what ``loop`` is mapped to, or ``default``."""
        if loop is None:
            return self._loopless or default
        held = super().get(loop)
        return default if held is None else held() or default

    def obtain(self, loop: Any) -> ClientGuard | None:
        """Let LiteLLM find or make its client for the running ``loop``; return what that is mapped to now, or None."""
        if self._source is None:
            return None
        try:
            client = self._source.client()
            if client is None:
                return None
            self[loop] = held = self._guard(client._client._transport)
        except Exception:  # stock's call will meet the same
            return None
        return held

    def are_timed(self) -> bool:
        """Return whether LiteLLM keeps one client for each time limit."""
        return self._source is not None and self._source.is_timed

    def timed(self, seconds: float) -> ClientGuard | None:
        """Let LiteLLM find or make its client for calls with this time limit, as it does for each; None if it is of
        another kind.

        Nobody holds it here but the call: LiteLLM lets go of such clients as of any.
        """
        if self._source is None:
            return None
        try:
            client = self._source.client(seconds)
            return None if client is None else self._guard(client._client._transport)
        except Exception:  # stock's call will meet the same
            return None

    def serve_limits(self, other: Transports, seconds: float) -> bool:
        """Return whether calls with any time limit get their clients here: those like ``other``, with ``seconds``,
        do."""
        if self.are_timed():
            return other.are_timed() and self.timed(seconds) is not None
        loop = asyncio._get_running_loop()
        mine, others = self.get(loop), other.get(loop)
        return mine is not None and others is not None and mine.transport is others.transport


def _hold(loop: Any, transports: weakref.ref[Transports], client: ClientGuard) -> None:
    """Hold ``client``, and nothing of the call that met it, for as long as a plan has it for ``loop``."""
    held = transports()
    if held is not None and held.get(loop) is client:
        loop.call_later(_SECONDS, _hold, loop, transports, client, context=contextvars.Context())


def source_of(
    found: list[tuple[FunctionType, tuple[Any, ...], Any]], transport: Any, kept: Mapping[str, Any]
) -> tuple[ClientSource | None, Any]:
    """Return how LiteLLM came by its client of ``transport``, and the transport of the client that it keeps for it.

    ``found`` are the functions that the call was given clients by, with their arguments and those clients. There is no
    source, and the transport is the same, if none of them can be called again.
    """
    for function, arguments, client in reversed(found):
        if transport_of(client) is transport:
            try:
                source = ClientSource(function, arguments, client)
                return source, source.found_again(client, kept)._client._transport
            except Unrepeatable:
                break
    return None, transport


def _lasting(argument: Any) -> Any:
    """Return ``argument`` without what belongs to one call: of a mapping, only the members that are plain."""
    if isinstance(argument, Mapping):
        return {name: value for name, value in argument.items() if type(value) in _PLAIN}
    return argument


def _with_limit(function: FunctionType, arguments: tuple[Any, ...], seconds: float) -> tuple[Any, ...]:
    """Return ``arguments`` of a ``function`` with another time limit where they have one."""
    names = function.__code__.co_varnames
    made = []
    for name, argument in zip(names, arguments, strict=False):
        if name == _LIMIT and type(argument) is float:
            argument = seconds
        elif isinstance(argument, Mapping) and type(argument.get(_LIMIT)) is float:
            argument = {**argument, _LIMIT: seconds}
        made.append(argument)
    return *made, *arguments[len(made) :]


def _limited(facts: tuple[Any, ...], seconds: float) -> tuple[Any, ...]:
    """Return the ``facts`` of a client that has a time limit with another one."""
    kind, held = facts
    return kind, ({**held, _LIMIT: seconds} if type(held.get(_LIMIT)) is float else held)


def _parts(client: Any) -> tuple[Any, ...]:
    return client, client._client, client._client._transport


def _resources(client: Any) -> Iterator[Any]:
    """Yield ``client`` and those of its resources that have been made, each of the one before."""
    part = client
    for name in RESOURCES:
        yield part
        part = vars(part).get(name)
        if part is None:
            return


def _facts(part: Any) -> tuple[Any, ...]:
    """Return what a client, or a part of one, is and holds, as far as that can be compared."""
    return type(part), {
        name: value
        for name, value in vars(part).items()
        if name not in (*_FILLED_IN, _LOOKED_UP)
        and (
            type(value) in _COMPARED
            or (type(value) is dict and all(type(item) in _COMPARED for item in value.values()))
        )
    }
