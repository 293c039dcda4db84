"""The values of the headers in which LiteLLM looks for keys, read of a request at once.

FastAPI has an object for each such header, and each searches all headers of the request. What they return is their
header's first value, or None where that is empty or missing.
"""

from __future__ import annotations

from typing import Any

from litellm_accel import hot
from litellm_accel.stock import guard, releases

# How FastAPI and Starlette look a header up.
_SOURCES = ("87ca9b21f35a", "39095e949563", "c49baa3cfea5")
_CALLED = ("__call__", "check_api_key", "__getattribute__")
_SEARCHED = ("get", "__getitem__", "__getattribute__", "headers")


Asks = list[tuple[str, Any]]


class KeyHeaders:
    """Reads what ``asks`` return, each of them FastAPI's for one header."""

    def __init__(self, asks: Asks) -> None:
        from fastapi.security.api_key import APIKeyHeader
        from starlette.datastructures import Headers
        from starlette.requests import Request

        self._request, self._headers = Request, Headers
        self._classes = hot.watch.Classes((APIKeyHeader, Headers, Request), (*_CALLED, *_SEARCHED))
        self._names = [(name, ask.model.name.lower().encode("latin-1")) for name, ask in asks]
        self._held = [(vars(owner), dict(vars(owner))) for _, ask in asks for owner in (ask, ask.model)]

    def read(self, request: Any) -> dict[str, str | None] | None:
        """Return the values by name, None if they may be others than these."""
        if self._classes.changed() or any(now != before for now, before in self._held):
            return None
        if type(request) is not self._request or type(request.headers) is not self._headers:
            return None
        found = dict(reversed(request.headers.raw))
        return {name: found.get(wanted, b"").decode("latin-1") or None for name, wanted in self._names}


def are_known(asks: Asks) -> bool:
    """Return whether all ``asks`` are FastAPI's for a header that may be missing, as it is known to look it up."""
    from fastapi.security.api_key import APIKeyHeader
    from starlette.datastructures import Headers

    searched: Any = APIKeyHeader.__call__, APIKeyHeader.check_api_key, Headers.__getitem__
    is_source = all(
        guard.is_defined_at(function, function.__module__, function.__qualname__)
        and releases.is_source(function, (known,))
        for function, known in zip(searched, _SOURCES, strict=True)
    )
    return is_source and all(type(ask) is APIKeyHeader and not ask.auto_error for _, ask in asks)
