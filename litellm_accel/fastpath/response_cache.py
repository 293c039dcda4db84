"""LiteLLM's cache of responses: asked before a call is sent, and told of what it got.

LiteLLM's own handler does both, with the arguments that LiteLLM's call would have at that moment: keys, namespaces,
times to live and what is stored are LiteLLM's. A router's call whose answer is in the cache is stock's to serve;
direct calls are looked for by ``cache_hits``.
"""

from __future__ import annotations

import datetime
import importlib
from typing import TYPE_CHECKING, Any

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.plans.templates import Unrepeatable

if TYPE_CHECKING:
    from litellm_accel.fastpath.pipeline import Call

#: What LiteLLM has in its lists of callbacks where there is a cache; nobody is told by it.
NAME = "cache"
#: Arguments by which a call says itself what becomes of the cache.
CONTROLS = frozenset(("cache", "cache_key", "caching", "preset_cache_key"))
_METADATA, _GROUP = "metadata", "model_group"
_KIND = "acompletion"
# LiteLLM's handler, as far as it is called.
_METHODS = ("_is_call_type_supported_by_cache", "_retrieve_from_cache", "async_set_cache")


class ResponseCaches:
    """Which caches are understood: those that keep responses under a digest of the call."""

    def __init__(self) -> None:
        caching = importlib.import_module("litellm.caching.caching")
        self._cache = caching.Cache
        self._stores = {
            importlib.import_module(f"litellm.caching.{module}").__dict__[name]
            for module, name in (
                ("in_memory_cache", "InMemoryCache"),
                ("redis_cache", "RedisCache"),
                ("redis_cluster_cache", "RedisClusterCache"),
            )
        }

    def knows(self, cache: Any) -> bool:
        """Return whether ``cache`` is one of them."""
        return type(cache) is self._cache and type(cache.cache) in self._stores


class CachedKind:
    """What LiteLLM's handler is given for calls of one kind, as a ``call`` with its ``handler`` has shown."""

    def __init__(self, handler: Any, call: Any, group: str) -> None:
        self._handler = type(handler)
        self._function = handler.original_function
        self._group = group
        if not all(hasattr(handler, name) for name in _METHODS):
            raise Unrepeatable(decline.CACHE_OTHER_RELEASE)
        given, passed = handler.request_kwargs, {*call.kwargs, "messages", _METADATA}
        self._constants = {
            name: value if name not in passed and type(value) in (str, int, float, bool, list, dict) else None
            for name, value in given.items()
        }
        self.require(handler, call)

    def require(self, handler: Any, call: Any) -> None:
        """Raise ``Unrepeatable`` unless stock's ``handler`` of ``call`` has looked under the key that is made here."""
        cache = importlib.import_module("litellm").cache
        if cache.get_cache_key(**self._arguments(call)) != handler.preset_cache_key:
            raise Unrepeatable(decline.CACHE_KEY)

    def _arguments(self, call: Any) -> dict[str, Any]:
        passed = {
            **call.kwargs,
            "messages": call.messages,
            _METADATA: {**(call.kwargs.get(_METADATA) or {}), _GROUP: self._group},
        }
        return {name: passed.get(name, value) for name, value in self._constants.items()}

    async def look_up(self, call: Any) -> Lookup | None:
        """Return what is to be told the answer to ``call``, None if stock is to answer: it is in the cache."""
        arguments = self._arguments(call)
        handler = self._handler(
            original_function=self._function,
            request_kwargs=arguments,
            start_time=datetime.datetime.fromtimestamp(call.started),
        )
        if not handler._is_call_type_supported_by_cache(original_function=self._function):
            return None
        found = await handler._retrieve_from_cache(call_type=_KIND, kwargs=arguments, args=())
        return Lookup(handler, self._function, arguments) if found is None else None


class Lookup:
    """One call whose answer is not in the cache; ``key`` is where it was looked for."""

    __slots__ = ("_arguments", "_function", "_handler", "key")

    def __init__(self, handler: Any, function: Any, arguments: dict[str, Any]) -> None:
        self._handler = handler
        self._function = function
        self._arguments = arguments
        self.key = handler.preset_cache_key

    async def keep(self, result: Any) -> None:
        """Have the cache keep ``result``, as far as LiteLLM wants it kept."""
        await self._handler.async_set_cache(
            result=result, original_function=self._function, kwargs=self._arguments, args=()
        )


class Miss:
    """A ``call`` whose answer is not in the cache.

    ``key`` is where LiteLLM notes that it has looked for it: it does for calls in event loops only.
    """

    __slots__ = ("_args", "_handler", "_is_async", "_kwargs", "_looked_for", "call", "key")

    def __init__(
        self, call: Call, handler: Any, args: tuple[Any, ...], kwargs: dict[str, Any], key: str, is_async: bool
    ) -> None:
        self.call = call
        self.key = key if is_async else None
        self._looked_for = key
        self._is_async = is_async
        self._handler = handler
        self._args = args
        self._kwargs = kwargs

    def require(self, handler: Any) -> None:
        """Raise ``Unrepeatable`` unless stock's ``handler`` of the call has looked under the key that is made here."""
        looked_for = None if handler is None else (handler.preset_cache_key, handler.original_function)
        if looked_for != ((self._looked_for, self._handler.original_function) if self._is_async else None):
            raise Unrepeatable(decline.CACHE_KEY)

    async def keep(self, result: Any) -> None:
        """Have the cache keep ``result``, as far as LiteLLM wants it kept."""
        handler = self._handler
        if self._is_async:
            await handler.async_set_cache(
                result=result, original_function=handler.original_function, kwargs=self._kwargs, args=self._args
            )
        else:
            handler.sync_set_cache(result=result, kwargs=self._kwargs, args=self._args)
