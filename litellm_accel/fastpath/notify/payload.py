"""The standard logging payload, of which most is the same for all calls of one kind.

Two payloads that LiteLLM has built for calls of one kind show what that is. What belongs to one call (its identifiers,
clocks, tokens, price, messages and answer) is taken from the same places as LiteLLM takes it. The payload made this way
must be the second of the two before any is; a call that differs in more than that is LiteLLM's to describe.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from typing import Any

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.notify.model_dumps import ModelDumps
from litellm_accel.fastpath.notify.rates import DIAGNOSTIC, FAILED
from litellm_accel.fastpath.plans.header_maps import NumberedHeaders
from litellm_accel.fastpath.plans.proof import Trial
from litellm_accel.fastpath.plans.snapshots import SnapshotNode, equivalent, take_snapshot, where, within
from litellm_accel.fastpath.plans.templates import HIDDEN, Unrepeatable
from litellm_accel.hot import template
from litellm_accel.stock import seams

_OF_USAGE = ("total_tokens", "prompt_tokens", "completion_tokens")
_USAGE = "usage_object"
_COUNTED = "combined_usage_object"  # the usage that a proxy has settled the price by
_HEADERS = "additional_headers"
_OVERHEAD = "litellm_overhead_time_ms"
# Metadata of which more of a payload is made.
_DESCRIBED = frozenset(
    ("client_disconnected", "internal_call_origin", "routing_decision", "standard_logging_guardrail_information")
)
# Details of a call by which LiteLLM cleans its metadata.
_OF_DETAILS = (
    "prompt_integration",
    "applied_guardrails",
    "mcp_tool_call_metadata",
    "vector_store_request_metadata",
    "custom_llm_provider",
)


class Sources:
    """LiteLLM's own functions for the parts of a payload that belong to one call."""

    def __init__(self) -> None:
        logging = importlib.import_module("litellm.litellm_core_utils.litellm_logging")
        self._setup = logging.StandardLoggingPayloadSetup
        self._tags: Any = getattr(self._setup, seams.name_of(self._setup, "get_request_tags"))
        self._headers = NumberedHeaders(self._setup.get_additional_headers)
        self._dumps = ModelDumps()
        self._no_hidden = _copied_as_they_are(self._setup.get_hidden_params)
        self._truncate = logging.truncate_base64_in_messages
        # What LiteLLM cleans metadata with besides the metadata; later releases look at more.
        taken = seams.taken_by(self._setup.get_standard_logging_metadata, dict.fromkeys(_OF_DETAILS))
        self._of_details = tuple(taken)
        helper = importlib.import_module("litellm.litellm_core_utils.model_param_helper").ModelParamHelper
        self._parameters = helper.get_standard_logging_model_parameters
        self._access_groups = getattr(logging, "request_model_access_groups_from_litellm_params", None)
        # A proxy of a later release settles a price before its callbacks hear of it.
        self._settled: Callable[[Any], Any] = getattr(logging, "_finalized_cost_of", lambda logging: None)
        self.litellm = importlib.import_module("litellm")

    def slots(self, logging: Any, result: Any, start: Any, end: Any) -> dict[str, Any] | None:
        """Return what belongs to this call, by its name in the payload; None for what only LiteLLM describes."""
        details = logging.model_call_details
        response = self._dumps.made(result)
        counted = details.get(_COUNTED)
        usage = self._setup.get_usage_as_dict(response, counted)
        hidden = self._hidden(result.__pydantic_private__[HIDDEN])
        cost = details.get("response_cost")
        if details.get("cache_hit") or (counted is None and usage is not response.get("usage")):
            return None
        # Either there is a price, or LiteLLM has said why not, see ``facts``.
        if (cost is None) != (details.get(FAILED) is not None) or details.get(DIAGNOSTIC) is not None:
            return None
        if hidden["response_cost"] is None:
            hidden["response_cost"] = cost
        if hidden[_OVERHEAD] is None:
            hidden[_OVERHEAD] = (getattr(logging, "response_timing_metrics", None) or {}).get(_OVERHEAD)
        messages = getattr(logging, "truncated_messages_for_logging", None)  # not of every release
        if messages is None:
            messages = details.get("messages")
            messages = self._truncate(self._setup.append_system_prompt_messages(kwargs=details, messages=messages))
        settled = self._settled(logging)
        started, ended, begun = start.timestamp(), end.timestamp(), details["completion_start_time"].timestamp()
        return {
            "id": str(response.get("id", logging.litellm_call_id)),
            "litellm_call_id": logging.litellm_call_id,
            "trace_id": logging.litellm_trace_id,
            "startTime": started,
            "endTime": ended,
            "completionStartTime": begun,
            "response_time": self._setup.get_response_time(started, ended, begun, details.get("stream", False)),
            "cache_hit": details["cache_hit"],
            "cost_finalized": settled is not None,
            "response_cost": (0.0 if cost is None else cost) if settled is None else settled.amount,
            # There is none where the answer states its price.
            "cost_breakdown": logging.cost_breakdown if settled is None else settled.logging_breakdown(),
            **{name: usage.get(name, 0) for name in _OF_USAGE},
            _USAGE: usage,
            "messages": messages,
            "response": response,
            "hidden_params": hidden,
        }

    def _hidden(self, params: dict[str, Any]) -> dict[str, Any]:
        """Return what LiteLLM makes of a result's hidden parameters, the headers among them by their names."""
        made: dict[str, Any]
        if self._no_hidden is None:
            made = self._setup.get_hidden_params({**params, _HEADERS: None})
        else:
            made = self._no_hidden.copy()
            for name in self._no_hidden.keys() & params.keys():
                made[name] = params[name]
            made[_HEADERS] = None
        if params.get(_HEADERS) is not None and _HEADERS in made:
            made[_HEADERS] = self._headers.made(params[_HEADERS])
        return made

    def noted(self, logging: Any, slots: dict[str, Any], start: Any) -> dict[str, Any] | None:
        """Return what is taken from noted arguments, by its name in the payload; None for what only LiteLLM describes.

        ``slots`` is the rest of what belongs to this call.
        """
        details, setup = logging.model_call_details, self._setup
        params = details["litellm_params"]
        request = params.get("proxy_server_request") or {}
        metadata = setup.merge_litellm_metadata(params)
        if self._access_groups is None or not _DESCRIBED.isdisjoint(metadata):
            return None
        clean = setup.get_standard_logging_metadata(
            metadata=metadata,
            litellm_params=params,
            usage_object=slots[_USAGE],
            proxy_server_request=request,
            start_time=start,
            response_id=slots["response"].get("id", slots["litellm_call_id"]),
            **{name: details.get(name) for name in self._of_details},
        )
        return {
            "metadata": clean,
            "end_user": clean["user_api_key_end_user_id"] or request.get("body", {}).get("user"),
            "request_tags": self._tags(litellm_params=params, proxy_server_request=request),
            "request_model_access_groups": self._access_groups(params),
            "requester_ip_address": clean.get("requester_ip_address"),
            "user_agent": clean.get("user_agent"),
            "trace_id": setup.get_standard_logging_payload_trace_id(logging_obj=logging, litellm_params=params),
            "session_id": setup.get_standard_logging_payload_session_id(logging_obj=logging, litellm_params=params),
            "model_group": metadata.get("model_group", ""),
            "model_parameters": self._parameters(details.get("optional_params") or {}),
        }

    def facts(self, logging: Any, result: Any, key: str | None) -> tuple[Any, ...]:
        """Return what the rest of a payload depends on: the answering model, its deployment and their prices."""
        prices = self.litellm.model_cost
        metadata = logging.model_call_details["litellm_params"].get("metadata") or {}
        deployed = metadata.get("deployment"), metadata.get("model_info")
        # A stream's response is of the model that was asked for, whichever answered.
        hidden = result.__pydantic_private__[HIDDEN]
        answered = result.model, hidden.get("provider_response_model")
        is_priced = logging.model_call_details.get(FAILED) is None
        return answered, prices.get(key), prices.get(hidden.get("model_id")), deployed, is_priced


def _copied_as_they_are(convert: Callable[[Any], Any]) -> dict[str, Any] | None:
    """Return what ``convert`` makes of no hidden parameters, if it puts those of these names into it as they are.

    None if it does more, headers aside.
    """
    try:
        made: dict[str, Any] = convert({})
        given = {name: object() for name in (*made, "another")} | {_HEADERS: None}
        is_all = convert(given) == {name: given[name] for name in made}
    except Exception:
        return None
    return made if is_all and type(made) is dict and not any(value is not None for value in made.values()) else None


class Payloads:
    """Builds the payloads of one kind of call. ``fault`` is told of an exception while it does; LiteLLM then builds.

    With ``is_noted`` the calls have arguments that LiteLLM keeps notes in. While they are on ``trial`` LiteLLM builds
    them as well, and its own are used.
    """

    def __init__(self, sources: Sources, fault: Callable[[BaseException], None], is_noted: bool, trial: Trial) -> None:
        self._trial = trial
        self._sources = sources
        self._fault = fault
        self._first: tuple[SnapshotNode, dict[int, Any]] | None = None
        self._made: _Made | None = None
        self._refused = False
        self._is_noted = is_noted

    def build(self, logging: Any, result: Any, start: Any, end: Any, stock: Callable[..., Any]) -> Any:
        """Return the payload of a call; None if LiteLLM is to build it, as ``stock`` does."""
        try:
            return self._payload(logging, result, start, end, stock)
        except Exception as error:
            self._refused = True
            self._fault(error)
            return None

    def _payload(self, logging: Any, result: Any, start: Any, end: Any, stock: Callable[..., Any]) -> Any:
        # A second payload for one call is built when callbacks may have changed what the first was built from.
        if self._refused or "standard_logging_object" in logging.model_call_details:
            return None
        if self._made is None:
            payload = stock(result, start, end)
            self._learn(logging, result, start, end, payload)
            return payload
        payload = self._build(self._made, logging, result, start, end)
        if payload is not None and self._trial.is_on:
            payload = self._tried(payload, logging, stock(result, start, end))
        return payload

    def _tried(self, made: Any, logging: Any, payload: Any) -> Any:
        """Return the ``payload`` that LiteLLM has built, to which ``made`` must be equal."""
        ours, stocks = take_snapshot([made, vars(logging)]), take_snapshot([payload, vars(logging)])
        if equivalent(ours, stocks, {}):
            self._trial.agreed()
        else:
            self._refused = True
            self._trial.refuse(f"payload {where(ours, stocks).partition('.')[2]!r}")
        return payload

    def _build(self, made: _Made, logging: Any, result: Any, start: Any, end: Any) -> Any:
        if self._sources.facts(logging, result, made.key) != made.facts:
            return None
        slots = self._slots(logging, result, start, end)
        return None if slots is None else made.payload(logging, slots)

    def _slots(self, logging: Any, result: Any, start: Any, end: Any) -> dict[str, Any] | None:
        slots = self._sources.slots(logging, result, start, end)
        if slots is None or not self._is_noted:
            return slots
        taken = self._sources.noted(logging, slots, start)
        return None if taken is None else {**slots, **taken}

    def _learn(self, logging: Any, result: Any, start: Any, end: Any, payload: Any) -> None:
        slots = self._slots(logging, result, start, end)
        if slots is None or type(payload) is not dict:
            return
        places = {id(value): path for path, value in within((), vars(logging))}
        shown = take_snapshot(payload), places
        if self._first is None:
            self._first = shown
            return
        information = payload.get("model_map_information") or {}
        known = information.get("model_map_value")
        key = information.get("model_map_key") if known is None else known.get("key")
        try:
            made = _Made(
                self._first, shown, frozenset(slots), key, copy.deepcopy(self._sources.facts(logging, result, key))
            )
            again = made.payload(logging, slots)
            self._refused = not equivalent(
                take_snapshot([again, vars(logging)]), take_snapshot([payload, vars(logging)]), {}
            )
        except Unrepeatable:
            self._refused = True
        if not self._refused:
            self._made = made
        self._first = None


class _Made:
    """A payload with places for what belongs to one call."""

    def __init__(
        self,
        first: tuple[SnapshotNode, dict[int, Any]],
        second: tuple[SnapshotNode, dict[int, Any]],
        slots: frozenset[str],
        key: Any,
        facts: Any,
    ) -> None:
        self._slots = slots
        self.key = key
        self.facts = facts
        self._places = first[1], second[1]
        self._paths: dict[str, tuple[Any, ...]] = {}
        self._root = template.Template(self._node(first[0], second[0], None, 0))
        del self._places

    def payload(self, logging: Any, slots: dict[str, Any]) -> Any:
        """Return the payload of a call with these ``slots``."""
        for slot, path in self._paths.items():
            value: Any = vars(logging)
            for step in path:
                value = value[step]
            slots[slot] = value
        return self._root.build([], slots)

    def _node(self, one: Any, two: Any, name: Any, depth: int) -> tuple[Any, ...]:
        if (depth == 1 and name in self._slots) or (depth == 2 and name == _USAGE):
            return (template.SLOT, name)
        if type(one) is not SnapshotNode or type(two) is not SnapshotNode:
            if type(one) is type(two) and one == two:
                return (template.CONSTANT, one)
            raise Unrepeatable(decline.PAYLOAD_DIFFERS.of(str(name)))
        path = self._places[0].get(id(one.original))
        if path != self._places[1].get(id(two.original)):
            raise Unrepeatable(decline.PAYLOAD_DIFFERS.of(str(name)))
        if path is not None:
            slot = f"at {path}"
            self._paths[slot] = path
            return (template.SLOT, slot)
        if one.original is two.original:
            return (template.CONSTANT, one.original)
        if one.keys != two.keys or len(one.items) != len(two.items):
            raise Unrepeatable(decline.PAYLOAD_DIFFERS.of(str(name)))
        nodes = tuple(
            self._node(item, other, key, depth + 1) for (key, item), other in zip(one.named(), two.items, strict=True)
        )
        return (template.LIST, nodes) if one.keys is None else (template.DICT, one.keys, nodes)
