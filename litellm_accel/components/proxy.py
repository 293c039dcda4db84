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
    admissions,
    answer_headers,
    deployment_lists,
    deployment_objects,
    error_notes,
    guardrail_entries,
    hidden_params,
    json_texts,
    log_arguments,
    model_guardrails,
    owned_limits,
    prepared_costs,
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
        self._admissions: admissions.Admissions | None = None

    @property
    def proof(self) -> Proof | None:
        """How requests are proven, while the component is active."""
        return self._proof

    @property
    def partly(self) -> dict[str, int]:
        """How many requests LiteLLM itself has authenticated, by reason."""
        return {} if self._admissions is None else self._admissions.left.declined

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
        if admissions.is_known(authenticate):
            self._admissions = admissions.Admissions(gate, authenticate)
            entry.admit = self._admissions.admit

        def build(stock: FunctionType) -> Callable[..., Any]:
            entry.stock = stock
            return hot.gate.AsyncDoor(gate, entry.take, stock)

        texts = [*_json_texts(gate), *_log_arguments(gate)]
        around = [*_deployments(gate), *_after_calls(gate)]
        return [Replacement(_ROUTER, build), *_route_lists(gate), *texts, *_stream_events(gate), *around]

    def prove(self, replaced: Mapping[str, Replaced]) -> None:
        """Leave it to the requests that come, unless records are demanded, which there are none of."""
        if settings.demands_records():
            raise Unproven("there are no records for the proxy")

    def stopped(self) -> None:
        """Forget what was learned."""
        self._proof = self._admissions = None


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


def _log_arguments(gate: hot.gate.Gate) -> list[Replacement]:
    """Return what remembers which texts of the access log hold no credentials, if LiteLLM looks as is known here."""
    return _answered(gate, log_arguments.TARGET, log_arguments.is_known, log_arguments.LogArguments, "scrub")


def _json_texts(gate: hot.gate.Gate) -> list[Replacement]:
    """Return what writes the texts of spend logs, if LiteLLM writes them as is known here."""
    texts = json_texts
    return _answered(gate, texts.TARGET, texts.is_known, texts.JsonTexts, "dumps", texts.agrees)


def _stream_events(gate: hot.gate.Gate) -> list[Replacement]:
    """Return what takes LiteLLM's questions about chunks of streams, copies and writes them, where these are known."""
    events, served = stream_events, served_texts
    return [
        *_answered(gate, events.TARGET, events.is_known, events.UsageArtifacts, "is_artifact", events.agrees),
        *_hidden_params(gate),
        *_answered(gate, served.TARGET, served.is_known, served.ServedTexts, "texts", served.agrees),
        *_chunk_models(gate),
        *_chunk_texts(gate),
    ]


def _deployments(gate: hot.gate.Gate) -> list[Replacement]:
    """Return what remembers the router's deployments, by name and as objects, where these are known."""
    lists, objects = deployment_lists, deployment_objects
    return [
        *_answered(gate, lists.TARGET, lists.is_known, lists.DeploymentLists, "find"),
        *_answered(gate, lists.TARGET_OF_ALL, lists.is_known, lists.DeploymentLists, "find_all"),
        *_answered(gate, objects.TARGET, objects.is_known, objects.DeploymentObjects, "make"),
    ]


def _after_calls(gate: hot.gate.Gate) -> list[Replacement]:
    """Return what settles prices, notes errors, looks for guardrails and limits and puts headers, if all is known."""
    entries, of_models, costs, limits = guardrail_entries, model_guardrails, prepared_costs, owned_limits
    headers, errors = answer_headers, error_notes
    return [
        *_answered(gate, entries.TARGET, entries.is_known, entries.GuardrailEntries, "find", entries.agrees),
        *_answered(gate, of_models.TARGET, of_models.is_known, of_models.ModelGuardrails, "merge"),
        *_answered(gate, costs.TARGET, costs.is_known, costs.PreparedCosts, "prepare"),
        *_answered(gate, limits.TARGET, limits.is_known, limits.OwnedLimits, "owns", limits.agrees),
        *_answered(gate, errors.TARGET, errors.is_known, errors.ErrorNotes, "note", errors.agrees),
        *_answered(gate, headers.TARGET, headers.is_known, headers.AnswerHeaders, "put"),
    ]


def _hidden_params(gate: hot.gate.Gate) -> list[Replacement]:
    target = next((held for held in hidden_params.TARGETS if _present(held) is not None), hidden_params.TARGETS[0])
    module = target.partition(":")[0]
    return _answered(
        gate,
        target,
        lambda stock: hidden_params.is_known(stock, module),
        lambda gate, stock: hidden_params.HiddenParams(gate, module, stock),
        "find",
        hidden_params.agrees,
    )


def _chunk_models(gate: hot.gate.Gate) -> list[Replacement]:
    return _answered(
        gate,
        stream_models.TARGET,
        stream_models.is_known,
        lambda gate, stock: stream_models.ChunkModels(gate, stream_models.module(), stock),
        "restamp",
        lambda models, stock: stream_models.agrees(models),
    )


def _chunk_texts(gate: hot.gate.Gate) -> list[Replacement]:
    return _answered(
        gate,
        stream_texts.TARGET,
        lambda stock: stream_texts.is_known(stock, stream_texts.module()),
        lambda gate, stock: stream_texts.ChunkTexts(gate, stream_texts.module(), stock),
        "write",
        stream_texts.agrees,
    )


def _answered(
    gate: hot.gate.Gate,
    target: str,
    is_known: Callable[[FunctionType], bool],
    make: Callable[[hot.gate.Gate, FunctionType], Any],
    door: str,
    agrees: Callable[[Any, FunctionType], bool] = lambda made, stock: True,
) -> list[Replacement]:
    """Return what takes the calls of LiteLLM's function at ``target``: the method ``door`` of what ``make`` makes.

    Nothing where the installed release has no such function, or it is not as ``is_known``, or what is made does not
    do the same as ``agrees`` finds.
    """
    if (asked := _present(target)) is None:
        return []
    stock = patching.stock_copy(asked)
    if not is_known(stock) or not agrees(make(gate, stock), stock):
        return []
    return [Replacement(target, lambda stock: getattr(make(gate, stock), door))]


COMPONENT = Proxy()
