"""The client that LiteLLM keeps for the calls of a plan, and whether it is still what it was when the plan was made.

Somebody may give it other headers, hooks or a key, put a mock into it, or another client in its place. Stock looks at
it anew in each call; a plan has seen one.
"""

from __future__ import annotations

from typing import Any

import httpx

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.plans.templates import Unrepeatable
from litellm_accel.fastpath.transport.cookies import ClientCookies, NoCookies
from litellm_accel.hot import watch
from litellm_accel.stock import guard, seams

# From the SDK's client to what LiteLLM calls; each is made when it is first asked for.
RESOURCES = ("chat", "completions", "with_raw_response")
# Dictionaries of the SDK's client and of its HTTP client that a request is made of.
_OPTIONS = ("_custom_headers", "_custom_query", "_event_hooks", "_mounts")


class ClientGuard:
    """The client among ``kept`` (LiteLLM's cache) that sends through its ``transport``, and its cookies for ``url``.

    Where it is not ``is_shared``, LiteLLM has one like it for each call, and none keeps cookies for another.
    ``gives_cookie`` says that it has a ``Cookie`` header of its own. Raises ``Unrepeatable`` if there is no such
    client, or somebody has put functions into it.
    """

    __slots__ = ("__weakref__", "_client", "_kept", "_key", "_watch", "cookies", "gives_cookie", "transport")

    def __init__(self, kept: dict[str, Any], transport: Any, url: httpx.URL, is_shared: bool = True) -> None:
        found = next((pair for pair in kept.copy().items() if transport_of(pair[1]) is transport), None)
        if found is None:
            raise Unrepeatable(decline.CLIENT_UNKNOWN)
        self.transport = transport
        self._kept = kept
        self._key, client = found
        self._client = client
        http = client._client
        self.cookies: ClientCookies | NoCookies = ClientCookies(http, url) if is_shared else NoCookies()
        given = vars(client).get("_custom_headers") or ()
        self.gives_cookie = "cookie" in map(str.lower, given) or any(
            key == b"cookie" for _, key, _ in http.headers._list
        )
        parts = [http, http.headers, client]
        for name in RESOURCES:
            if name in vars(parts[-1]):
                parts.append(vars(parts[-1])[name])
        if any(guard.put_onto(part) is not None for part in parts):
            raise Unrepeatable(decline.CLIENT_METHODS)
        options = [held for part in (client, http) for name in _OPTIONS if type(held := vars(part).get(name)) is dict]
        hooks = list(http.event_hooks.values())
        if any(hook not in seams.hooks_of_the_sdk() for held in hooks for hook in held):
            raise Unrepeatable(decline.CLIENT_HOOKS)
        self._watch = watch.Watch()
        for part in (*parts, *options, *hooks, http.headers._list):
            self._watch.add("client", part)
        self._watch.mark()

    @property
    def sdk(self) -> Any:
        """LiteLLM's client itself, of the provider's SDK or of its own."""
        return self._client

    def is_gone(self) -> bool:
        """Return whether LiteLLM keeps the client no more, so that the next call begins with a new one's cookies."""
        return self._key not in self._kept and self.cookies.are_kept()

    def changed(self) -> bool:
        """Return whether stock's next call would use another client, or this one otherwise."""
        if self._kept.get(self._key, self._client) is not self._client:  # one that is gone would be made alike
            return True
        return guard.differs(self._watch)


def transport_of(client: Any) -> Any:
    """Return what a ``client`` that LiteLLM keeps sends through, None if it has nothing of the kind."""
    return getattr(getattr(client, "_client", None), "_transport", None)
