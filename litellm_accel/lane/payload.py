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

from litellm_accel._backend import load
from litellm_accel.lane.learn import Unlearnable
from litellm_accel.lane.pictures import Held, alike, picture, within

template = load("template")

_OF_USAGE = ("total_tokens", "prompt_tokens", "completion_tokens")
_USAGE = "usage_object"


class Sources:
    """LiteLLM's own functions for the parts of a payload that belong to one call."""

    def __init__(self) -> None:
        logging = importlib.import_module("litellm.litellm_core_utils.litellm_logging")
        self._setup = logging.StandardLoggingPayloadSetup
        self._truncate = logging.truncate_base64_in_messages
        self.litellm = importlib.import_module("litellm")

    def slots(self, logging: Any, result: Any, start: Any, end: Any) -> dict[str, Any] | None:
        """Return what belongs to this call, by its name in the payload; None for what only LiteLLM describes."""
        details = logging.model_call_details
        response = result.model_dump()
        usage = self._setup.get_usage_as_dict(response)
        hidden = self._setup.get_hidden_params(result._hidden_params)
        cost = details.get("response_cost")
        if usage is not response.get("usage") or not cost or hidden["response_cost"] is None:
            return None
        if hidden["litellm_overhead_time_ms"] is None or details.get("cache_hit") is not None:
            return None
        messages = logging.truncated_messages_for_logging
        if messages is None:
            messages = details.get("messages")
            messages = self._truncate(self._setup.append_system_prompt_messages(kwargs=details, messages=messages))
        started, ended = start.timestamp(), end.timestamp()
        return {
            "id": str(response["id"]),
            "litellm_call_id": logging.litellm_call_id,
            "trace_id": logging.litellm_trace_id,
            "startTime": started,
            "endTime": ended,
            "completionStartTime": details["completion_start_time"].timestamp(),
            "response_time": ended - started,
            "response_cost": cost,
            **{name: usage.get(name, 0) for name in _OF_USAGE},
            _USAGE: usage,
            "messages": messages,
            "response": response,
            "hidden_params": hidden,
        }

    def facts(self, result: Any, key: str | None) -> tuple[Any, ...]:
        """Return what the rest of a payload depends on: the answering model and the entries of the price list."""
        prices = self.litellm.model_cost
        return result.model, prices.get(key), prices.get(result._hidden_params.get("model_id"))


class Payloads:
    """Builds the payloads of one kind of call. ``fault`` is told of an exception while it does; LiteLLM then builds."""

    def __init__(self, sources: Sources, fault: Callable[[BaseException], None]) -> None:
        self._sources = sources
        self._fault = fault
        self._first: tuple[Held, dict[str, Any]] | None = None
        self._made: _Made | None = None
        self._refused = False

    def build(self, logging: Any, result: Any, start: Any, end: Any, stock: Callable[..., Any]) -> Any:
        """Return the payload of a call; ``stock`` builds one, too."""
        # A second payload for one call is built when callbacks may have changed what the first was built from.
        if self._refused or "standard_logging_object" in logging.model_call_details:
            return stock(result, start, end)
        payload = None
        try:
            if self._made is not None:
                payload = self._build(self._made, logging, result, start, end)
            else:
                payload = stock(result, start, end)
                self._learn(logging, result, start, end, payload)
        except Exception as error:
            self._refused = True
            self._fault(error)
        return stock(result, start, end) if payload is None else payload

    def _build(self, made: _Made, logging: Any, result: Any, start: Any, end: Any) -> Any:
        if self._sources.facts(result, made.key) != made.facts:
            return None
        slots = self._sources.slots(logging, result, start, end)
        return None if slots is None else made.payload(logging, slots)

    def _learn(self, logging: Any, result: Any, start: Any, end: Any, payload: Any) -> None:
        slots = self._sources.slots(logging, result, start, end)
        if slots is None or type(payload) is not dict:
            return
        places = {id(value): path for path, value in within((), vars(logging))}
        shown = picture(payload), places
        if self._first is None:
            self._first = shown
            return
        information = payload.get("model_map_information") or {}
        key = (information.get("model_map_value") or {}).get("key")
        try:
            made = _Made(self._first, shown, key, copy.deepcopy(self._sources.facts(result, key)))
            again = made.payload(logging, slots)
            self._refused = not alike(picture([again, vars(logging)]), picture([payload, vars(logging)]), {})
        except Unlearnable:
            self._refused = True
        if not self._refused:
            self._made = made
        self._first = None


class _Made:
    """A payload with places for what belongs to one call."""

    def __init__(
        self, first: tuple[Held, dict[int, Any]], second: tuple[Held, dict[int, Any]], key: Any, facts: Any
    ) -> None:
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
        if (depth == 1 and name in _SLOTS) or (depth == 2 and name == _USAGE):
            return (template.SLOT, name)
        if type(one) is not Held or type(two) is not Held:
            if type(one) is type(two) and one == two:
                return (template.CONSTANT, one)
            raise Unlearnable(f"a payload with another {name}")
        path = self._places[0].get(id(one.original))
        if path != self._places[1].get(id(two.original)):
            raise Unlearnable(f"a payload with another {name}")
        if path is not None:
            slot = f"at {path}"
            self._paths[slot] = path
            return (template.SLOT, slot)
        if one.original is two.original:
            return (template.CONSTANT, one.original)
        if one.keys != two.keys or len(one.items) != len(two.items):
            raise Unlearnable(f"a payload with another {name}")
        nodes = tuple(
            self._node(item, other, key, depth + 1) for (key, item), other in zip(one.named(), two.items, strict=True)
        )
        return (template.LIST, nodes) if one.keys is None else (template.DICT, one.keys, nodes)


_SLOTS = frozenset(
    [
        "id",
        "litellm_call_id",
        "trace_id",
        "startTime",
        "endTime",
        "completionStartTime",
        "response_time",
        "response_cost",
        *_OF_USAGE,
        "messages",
        "response",
        "hidden_params",
    ]
)
