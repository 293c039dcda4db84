"""What can be told about an exception that a reply of the provider's has led to, to compare it with another."""

from __future__ import annotations

from typing import Any

import httpx


def error_state(error: BaseException | None) -> Any:
    """Return everything that can be told about an exception and its causes, as far as they come of one reply."""
    states = []
    while error is not None:
        states.append((type(error), _plain(error.args), _plain(vars(error)), error.__suppress_context__))
        if error.__cause__ is not None or isinstance(error, httpx.HTTPStatusError):
            break
        error = error.__context__
    return states


def _plain(value: Any) -> Any:
    if isinstance(value, httpx.Response):
        parts = value.status_code, value.headers.raw, value.content, value.reason_phrase, value.http_version
        return "response", *parts, _plain(value._request), hasattr(value, "_elapsed")
    if isinstance(value, httpx.Request):
        # Another call may have got other cookies since this request was sent.
        headers = [item for item in value.headers.raw if item[0].lower() != b"cookie"]
        return "request", value.method, str(value.url), headers, value.content
    if isinstance(value, httpx.Headers):
        return "headers", value.raw
    if isinstance(value, dict):
        return {name: _plain(held) for name, held in value.copy().items()}
    if isinstance(value, list | tuple):
        return type(value), [_plain(held) for held in value]
    return type(value), value
