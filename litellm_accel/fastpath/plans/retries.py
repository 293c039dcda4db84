"""Requests that the provider's SDK sends once more because the reply is an error, like 429 and 500.

The SDK's client says whether it would, and waits as it does; LiteLLM and those who are told of a call see nothing of
it. The next request differs from the one before in the header that counts them. Some replies are handed to stock first,
and what it sends next is compared with what would be sent here. From then on such requests are sent here.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable
from typing import Any

import httpx

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.plans import recorder
from litellm_accel.fastpath.plans.recorder import Replay, Reply
from litellm_accel.fastpath.plans.templates import Unrepeatable
from litellm_accel.fastpath.transport.client_guard import ClientGuard
from litellm_accel.fastpath.transport.outbound import OutboundRequest
from litellm_accel.hot import chat

# How the SDK's client is asked to wait.
_WAIT = ("retries_taken", "max_retries", "options", "response")
_REFUSED = -1
_MAX_KINDS = 1024


class Retries:
    """Whether, when and how requests are sent once more."""

    def __init__(self) -> None:
        base = importlib.import_module("openai._base_client")
        sleeps = [getattr(kind, "_sleep_for_retry", len) for kind in (base.AsyncAPIClient, base.SyncAPIClient)]
        self._is_known = recorder.sees_waiting() and all(
            tuple(inspect.signature(sleep).parameters)[1:] == _WAIT for sleep in sleeps
        )
        self._clients = base.BaseClient
        options = importlib.import_module("openai._models").FinalRequestOptions
        self._options = options.construct(method="post", url="/")  # which says nothing of retries
        # By the templates that plans share, and the class of the client: these, which keeps their identity, and how
        # many requests have agreed.
        self._kinds: dict[tuple[int, type], tuple[Any, int]] = {}

    def is_due(self, client: ClientGuard, post: OutboundRequest, reply: Reply) -> bool:
        """Return whether the SDK sends once more what was answered with ``reply``."""
        sdk = client.sdk
        if not isinstance(sdk, self._clients):
            return False
        return len(post.earlier) < sdk.max_retries and bool(sdk._should_retry(_shown(reply)))

    def serves(self, plan: chat.Plan, client: ClientGuard, post: OutboundRequest, call: Any, calls: int) -> bool:
        """Return whether it can be sent once more here, where so many ``calls`` must have agreed."""
        agreed = self._kinds.get((id(plan.templates), type(client.sdk)), (None, 0))[1]
        if not self._is_known or agreed < max(calls, 1):
            return False
        return post.retried(len(post.earlier) + 1) is not None and not _counts_itself(client, call)

    def learn(self, plan: chat.Plan, client: ClientGuard, post: OutboundRequest, replay: Replay) -> None:
        """Learn from what stock has sent after the reply that it has met.

        Raises ``Unrepeatable`` if another request would be sent here; then none is.
        """
        sent = replay.following
        kind = id(plan.templates), type(client.sdk)
        agreed = self._kinds.get(kind, (None, 0))[1]
        if sent is None or agreed == _REFUSED or not self._is_known:
            return
        if len(self._kinds) >= _MAX_KINDS:
            self._kinds.clear()
        options = post.retried(len(post.earlier) + 1)
        headers = [] if options is None else options["headers"].raw(post.body, b"")
        is_same = _without_cookies(sent.headers.raw) == _without_cookies(headers)
        if not is_same or str(sent.url) != replay.url or getattr(sent, "_content", None) != post.body:
            self._kinds[kind] = plan.templates, _REFUSED
            raise Unrepeatable(decline.RETRY_DIFFERS)
        self._kinds[kind] = plan.templates, agreed + 1

    def wait(self, client: ClientGuard, post: OutboundRequest, reply: Reply) -> Any:
        """Wait as the SDK does before it sends once more; in an event loop what is returned does."""
        sdk = client.sdk
        taken = len(post.earlier)
        return sdk._sleep_for_retry(
            retries_taken=taken, max_retries=sdk.max_retries, options=self._options, response=_shown(reply)
        )


def _counts_itself(client: ClientGuard, call: Any) -> bool:
    """Return whether somebody has given the header by which the SDK counts."""
    given = (call.kwargs.get("headers"), call.kwargs.get("extra_headers"), client.sdk._custom_headers)
    return any(name.lower() == "x-stainless-retry-count" for names in given for name in names or ())


def _without_cookies(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return ``headers`` without cookies: another call may have got others since."""
    return [item for item in headers if item[0].lower() != b"cookie"]


def _shown(reply: Reply) -> httpx.Response:
    """Return what the SDK looks at of a ``reply``."""
    held = reply.headers if type(reply.headers) is list else list(reply.headers.items())
    return httpx.Response(reply.status, headers=held)
