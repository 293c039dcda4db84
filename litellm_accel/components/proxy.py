"""Component ``proxy``: requests of LiteLLM's proxy on a shorter way through its web framework."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any, ClassVar

from litellm_accel import components, hot, patching, settings
from litellm_accel.components.base import Component, Replaced, Replacement, Unavailable, Unproven
from litellm_accel.fastpath.plans.proof import Proof
from litellm_accel.gateway import (
    hidden_params,
    json_texts,
    log_arguments,
    served_texts,
    stream_events,
    stream_models,
    stream_texts,
)
from litellm_accel.gateway.entry import Entry, is_plain_coroutine
from litellm_accel.gateway.route_lists import RouteLists, is_closed

_ROUTER = "starlette.routing:Router.__call__"
_ROUTE_CHECK = "litellm.proxy.auth.route_checks:RouteChecks.check_route_access"
# LiteLLM's endpoints, by how their paths end; longer ends first.
_ENDPOINTS = {
    "/chat/completions": "litellm.proxy.proxy_server:chat_completion",
    "/completions": "litellm.proxy.proxy_server:completion",
    "/embeddings": "litellm.proxy.proxy_server:embeddings",
    "/v1/messages": "litellm.proxy.anthropic_endpoints.endpoints:anthropic_response",
    "/responses": "litellm.proxy.response_api_endpoints.endpoints:responses_api",
}


class Proxy(Component):
    """Serves the proxy's endpoints for models, in processes that run the proxy."""

    name: ClassVar[str] = "proxy"
    summary: ClassVar[str] = "the proxy's endpoints past its web framework"
    hot_modules: ClassVar[tuple[str, ...]] = ("plain_data",)

    def __init__(self) -> None:
        self._proof: Proof | None = None

    @property
    def proof(self) -> Proof | None:
        """How requests are proven, while the component is active."""
        return self._proof

    def replacements(self, gate: hot.gate.Gate) -> Sequence[Replacement]:
        """Return the router's entry, what remembers which lists of routes cover a path, and what helps with texts."""
        proxy: Any = importlib.import_module(components.HOSTS[self.name])
        from starlette.routing import Router

        if type(proxy.app.router).__call__ is not Router.__call__:
            raise Unavailable("the proxy has a router of its own")
        authenticate = proxy.user_api_key_auth
        if not is_plain_coroutine(authenticate):
            raise Unavailable("the proxy's authentication is no plain function")
        self._proof = Proof(gate)
        entry = Entry(gate, self._proof, proxy.app, _ENDPOINTS, authenticate)

        def build(stock: FunctionType) -> Callable[..., Any]:
            entry.stock = stock
            return hot.gate.AsyncDoor(gate, entry.take, stock)

        texts = [*_json_texts(gate), *_log_arguments(gate)]
        return [Replacement(_ROUTER, build), *_route_lists(gate), *texts, *_stream_events(gate)]

    def prove(self, replaced: Mapping[str, Replaced]) -> None:
        """Leave it to the requests that come, unless records are demanded, which there are none of."""
        if settings.demands_records():
            raise Unproven("there are no records for the proxy")

    def stopped(self) -> None:
        """Forget what was learned."""
        self._proof = None


def _present(target: str) -> FunctionType | None:
    """Return the function that is replaced, None where the installed release has none."""
    try:
        return patching.resolve(target)
    except patching.PatchError:
        return None


def _route_lists(gate: hot.gate.Gate) -> list[Replacement]:
    """Return what takes LiteLLM's question whether a list of routes covers a path, if that can be taken here."""
    if (asked := _present(_ROUTE_CHECK)) is None:
        return []
    owner = sys.modules[asked.__module__].RouteChecks
    if list(inspect.signature(asked).parameters) != ["route", "allowed_routes"] or not is_closed(asked, owner):
        return []
    return [Replacement(_ROUTE_CHECK, lambda stock: RouteLists(gate, owner, stock).cover)]


def _json_texts(gate: hot.gate.Gate) -> list[Replacement]:
    """Return what writes the texts of spend logs, if LiteLLM writes them as is known here."""
    if (written := _present(json_texts.TARGET)) is None:
        return []
    stock = patching.stock_copy(written)
    if not json_texts.is_known(stock) or not json_texts.agrees(json_texts.JsonTexts(gate, stock), stock):
        return []
    return [Replacement(json_texts.TARGET, lambda stock: json_texts.JsonTexts(gate, stock).dumps)]


def _log_arguments(gate: hot.gate.Gate) -> list[Replacement]:
    """Return what remembers which texts of the access log hold no credentials, if LiteLLM looks as is known here."""
    asked = _present(log_arguments.TARGET)
    if asked is None or not log_arguments.is_known(patching.stock_copy(asked)):
        return []
    return [Replacement(log_arguments.TARGET, lambda stock: log_arguments.LogArguments(gate, stock).scrub)]


def _stream_events(gate: hot.gate.Gate) -> list[Replacement]:
    """Return what takes LiteLLM's questions about chunks of streams, copies and writes them, where these are known."""
    asked = [*_usage_artifacts(gate), *_hidden_params(gate), *_served_texts(gate)]
    return [*asked, *_chunk_models(gate), *_chunk_texts(gate)]


def _usage_artifacts(gate: hot.gate.Gate) -> list[Replacement]:
    if (asked := _present(stream_events.TARGET)) is None:
        return []
    stock = patching.stock_copy(asked)
    made = stream_events.UsageArtifacts
    if not stream_events.is_known(stock) or not stream_events.agrees(made(gate, stock), stock):
        return []
    return [Replacement(stream_events.TARGET, lambda stock: made(gate, stock).is_artifact)]


def _chunk_models(gate: hot.gate.Gate) -> list[Replacement]:
    if (asked := _present(stream_models.TARGET)) is None:
        return []
    stock, module = patching.stock_copy(asked), stream_models.module()
    made = stream_models.ChunkModels
    if not stream_models.is_known(stock) or not stream_models.agrees(made(gate, module, stock)):
        return []
    return [Replacement(stream_models.TARGET, lambda stock: made(gate, module, stock).restamp)]


def _hidden_params(gate: hot.gate.Gate) -> list[Replacement]:
    target = next((held for held in hidden_params.TARGETS if _present(held) is not None), None)
    if target is None:
        return []
    stock, module = patching.stock_copy(patching.resolve(target)), target.partition(":")[0]
    made = hidden_params.HiddenParams
    if not hidden_params.is_known(stock, module) or not hidden_params.agrees(made(gate, module, stock), stock):
        return []
    return [Replacement(target, lambda stock: made(gate, module, stock).find)]


def _served_texts(gate: hot.gate.Gate) -> list[Replacement]:
    if (asked := _present(served_texts.TARGET)) is None:
        return []
    stock = patching.stock_copy(asked)
    made = served_texts.ServedTexts
    if not served_texts.is_known(stock) or not served_texts.agrees(made(gate, stock), stock):
        return []
    return [Replacement(served_texts.TARGET, lambda stock: made(gate, stock).texts)]


def _chunk_texts(gate: hot.gate.Gate) -> list[Replacement]:
    if (asked := _present(stream_texts.TARGET)) is None:
        return []
    stock, module = patching.stock_copy(asked), stream_texts.module()
    made = stream_texts.ChunkTexts
    if not stream_texts.is_known(stock, module) or not stream_texts.agrees(made(gate, module, stock), stock):
        return []
    return [Replacement(stream_texts.TARGET, lambda stock: made(gate, module, stock).write)]


COMPONENT = Proxy()
