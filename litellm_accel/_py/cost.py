"""What LiteLLM charges for a call: prices prepared per kind of call, and the arithmetic over one usage.

A ``Tariff`` holds rates that LiteLLM's own code has resolved for one model; the arithmetic follows LiteLLM's
``generic_cost_per_token`` operation by operation, so that the sums are equal to the last digit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence, Sized
from typing import Any

from litellm_accel._py.bindings import Bindings
from litellm_accel._py.gate import Gate
from litellm_accel.fastpath import decline
from litellm_accel.fastpath.decline import Unserved, Why
from litellm_accel.fastpath.known_names import PRICED_COMPLETION, PRICED_TOKENS

__all__ = ["CostCalculator", "Plan", "Prices", "Tariff"]

_DEBUG = 10
_MAX_PLANS = 4096
_MAX_TOKENS = 1 << 50
_ABSENT = "\0"


class _Counts:
    """The numbers of a usage that are priced."""

    __slots__ = (
        "audio",
        "cached",
        "completion",
        "has_completion_details",
        "has_prompt_details",
        "has_written_details",
        "image",
        "output_audio",
        "output_image",
        "output_text",
        "prompt",
        "reasoning",
        "text",
        "written",
        "written_1h",
        "written_5m",
    )

    def __init__(self) -> None:
        self.prompt = self.completion = 0
        self.has_prompt_details = self.has_written_details = self.has_completion_details = False
        self.cached = self.written = self.written_5m = self.written_1h = self.text = self.audio = self.image = 0
        self.output_text = self.output_audio = self.output_image = self.reasoning = 0


class Tariff:
    """Rates of one model: which of them hold depends on the length of the prompt.

    ``thresholds`` ascend; ``rates`` has one row more than thresholds: input, output, cache write, cache write for an
    hour, cache read, input audio, input image, output audio, output image, reasoning, all in dollars a token.
    A prompt as long as a threshold is beyond it if ``inclusive``. The sums are multiplied by ``multipliers`` in turn.
    """

    __slots__ = ("_inclusive", "_multipliers", "_rates", "_thresholds")

    def __init__(
        self,
        thresholds: Sequence[float],
        inclusive: bool,
        rates: Sequence[Sequence[float]],
        multipliers: Sequence[float],
    ) -> None:
        if len(rates) != len(thresholds) + 1 or any(len(row) != 10 for row in rates):
            raise ValueError("a tariff needs rows of ten rates, one more than thresholds")
        self._thresholds = tuple(map(float, thresholds))
        self._inclusive = inclusive
        self._rates = tuple(tuple(map(float, row)) for row in rates)
        self._multipliers = tuple(map(float, multipliers))

    def _cost(self, counts: _Counts) -> tuple[float, float]:
        row = 0
        for threshold in self._thresholds:
            if counts.prompt > threshold or (self._inclusive and counts.prompt == threshold):
                row += 1
        base, output, write, write_1h, read, audio_rate, image_rate, output_audio, output_image, reasoning = (
            self._rates[row]
        )
        prompt = _prompt_cost(counts, base, write, write_1h, read, audio_rate, image_rate)
        completion = _completion_cost(counts, output, output_audio, output_image, reasoning)
        for multiplier in self._multipliers:
            prompt *= multiplier
            completion *= multiplier
        return prompt, completion


def _prompt_cost(
    counts: _Counts, base: float, write: float, write_1h: float, read: float, audio_rate: float, image_rate: float
) -> float:
    text = counts.prompt
    audio = image = 0
    if counts.has_prompt_details:
        text, audio, image = counts.text, counts.audio, counts.image
        details = text + counts.cached + audio + counts.written + image
        if (counts.cached > 0 or counts.written > 0) and details > counts.prompt:
            # Details overlap: what the cache covers is not billed again.
            budget = max(counts.prompt - counts.cached - counts.written, 0)
            audio = min(audio, budget)
            image = min(image, budget - audio)
            text = budget - audio - image
        elif text == 0:
            text = max(counts.prompt - counts.cached - audio - counts.written - image, 0)
    cost = float(text) * base
    cost += float(counts.cached) * read
    if audio:
        cost += float(audio) * audio_rate
    if image:
        cost += float(image) * image_rate
    if counts.has_written_details:
        written = float(counts.written_5m) * write
        written += float(counts.written_1h) * write_1h
        cost += written
    elif counts.written:
        cost += float(counts.written) * write
    return cost


def _completion_cost(
    counts: _Counts, output: float, output_audio: float, output_image: float, reasoning_rate: float
) -> float:
    if not counts.has_completion_details:
        return float(counts.completion) * output
    audio, image, reasoning = counts.output_audio, counts.output_image, counts.reasoning
    reported = counts.output_text + reasoning + audio + image
    # Text that is reported with the reasoning in it counts without.
    text = counts.output_text - min(reasoning, counts.output_text, max(reported - counts.completion, 0))
    if text == 0:
        if not (audio or image or reasoning):
            return float(counts.completion) * output
        text = max(0, counts.completion - reasoning - audio - image)
    cost = float(text) * output
    if audio:
        cost += float(audio) * output_audio
    if reasoning:
        cost += float(reasoning) * reasoning_rate
    if image:
        cost += float(image) * output_image
    return cost


def _extra(model: Any) -> dict[str, Any]:
    extra: dict[str, Any] | None = model.__pydantic_extra__
    return extra or {}


def _hidden_params(model: Any) -> Any:
    return (model.__pydantic_private__ or {}).get("_hidden_params")


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < _MAX_TOKENS:
        raise Unserved(decline.USAGE_UNUSUAL)
    return value


def _read_usage(usage: Any, types: tuple[type, type, type, type]) -> _Counts:
    """Return the numbers of a LiteLLM ``Usage``. Raises ``Unserved`` for anything that could be priced otherwise."""
    usage_type, prompt_type, completion_type, written_type = types
    if type(usage) is not usage_type:
        raise Unserved(decline.USAGE_UNUSUAL)
    counts = _Counts()
    for name, value in usage.__dict__.items():
        if name == "prompt_tokens":
            counts.prompt = _count(value)
        elif name == "completion_tokens":
            counts.completion = _count(value)
        elif value is None or name == "total_tokens":
            continue
        elif name == "prompt_tokens_details" and type(value) is prompt_type:
            _read_prompt_details(counts, value, written_type)
        elif name == "completion_tokens_details" and type(value) is completion_type:
            _read_completion_details(counts, value)
        else:
            raise Unserved(decline.USAGE_UNUSUAL)
    for name, value in _extra(usage).items():
        if value is not None and name not in _MIRRORED:
            raise Unserved(decline.USAGE_UNUSUAL)
    return counts


# Calls that are billed by the tokens of their usage, whatever else that usage says.
_CALL_TYPES = frozenset(
    {
        "acompletion",
        "aembedding",
        "aresponses",
        "atext_completion",
        "completion",
        "embedding",
        "responses",
        "text_completion",
    }
)

# Extra fields of a usage whose numbers LiteLLM has also put into the details.
_MIRRORED = frozenset(
    {
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
        "prompt_cache_hit_tokens",
        "prompt_cache_miss_tokens",
    }
)


def _read_prompt_details(counts: _Counts, details: Any, written_type: type) -> None:
    counts.has_prompt_details = True
    created = 0
    for name, value in details.__dict__.items():
        if value is None or name == "tool_use_tokens":
            continue
        if name == "cached_tokens":
            counts.cached = _count(value)
        elif name == "text_tokens":
            counts.text = _count(value)
        elif name == "audio_tokens":
            counts.audio = _count(value)
        elif name == "image_tokens":
            counts.image = _count(value)
        elif name == "cache_write_tokens":
            counts.written = _count(value)
        elif name == "cache_creation_tokens":
            created = _count(value)
        elif name == "cache_creation_token_details" and type(value) is written_type:
            _read_written_details(counts, value)
        elif name in _OTHER_UNITS and value == 0:
            continue
        else:
            raise Unserved(decline.USAGE_UNUSUAL)
    if _extra(details):
        raise Unserved(decline.USAGE_UNUSUAL)
    counts.written = counts.written or created
    if counts.has_written_details and counts.written > counts.written_5m + counts.written_1h:
        raise Unserved(decline.USAGE_UNUSUAL)  # releases differ in what writes of no known lifetime cost


_OTHER_UNITS = frozenset(
    {
        "audio_length_seconds",
        "character_count",
        "image_count",
        "query_count",
        "video_length_seconds",
        "video_tokens",
    }
)


def _read_written_details(counts: _Counts, details: Any) -> None:
    counts.has_written_details = True
    for name, value in details.__dict__.items():
        if name == "ephemeral_5m_input_tokens":
            counts.written_5m = 0 if value is None else _count(value)
        elif name == "ephemeral_1h_input_tokens":
            counts.written_1h = 0 if value is None else _count(value)
        elif value is not None:
            raise Unserved(decline.USAGE_UNUSUAL)


def _read_completion_details(counts: _Counts, details: Any) -> None:
    counts.has_completion_details = True
    for name, value in details.__dict__.items():
        if value is None or name == "accepted_prediction_tokens" or name == "rejected_prediction_tokens":
            continue
        if name == "reasoning_tokens":
            counts.reasoning = _count(value)
        elif name == "text_tokens":
            counts.output_text = _count(value)
        elif name == "audio_tokens":
            counts.output_audio = _count(value)
        elif name == "image_tokens":
            counts.output_image = _count(value)
        elif name == "video_tokens" and value == 0:
            continue
        else:
            raise Unserved(decline.USAGE_UNUSUAL)
    if _extra(details):
        raise Unserved(decline.USAGE_UNUSUAL)


class Plan:
    """How one kind of call is priced: by ``tariff``, until ``bindings`` or the size of one of ``registries`` changes.

    Registries are sets, lists and dicts of model names, which applications may extend in place.
    """

    __slots__ = ("_bindings", "_registries", "_sizes", "tariff")

    def __init__(self, tariff: Tariff, bindings: Bindings, registries: Sequence[Sized]) -> None:
        self.tariff = tariff
        self._bindings = bindings
        self._registries = tuple(registries)
        self._sizes = tuple(map(len, self._registries))

    def outdated(self) -> bool:
        """Return whether something has changed that the plan depends on."""
        return tuple(map(len, self._registries)) != self._sizes or self._bindings.changed()


class Prices:
    """What pricing depends on in LiteLLM, as of one moment, and the plans made since.

    ``bindings`` tell when it is outdated; ``refusal`` says why nothing can be served, or is None; ``debugging(level)``
    tells whether LiteLLM logs; while any of ``adjustments`` holds something, prices are stock's.
    """

    __slots__ = ("adjustments", "bindings", "debugging", "plans", "refusal", "seen")

    def __init__(
        self,
        bindings: Bindings,
        refusal: Why | None,
        debugging: Callable[[int], bool],
        adjustments: Sequence[Any],
    ) -> None:
        self.bindings = bindings
        self.refusal = refusal
        self.debugging = debugging
        self.adjustments = tuple(adjustments)
        self.plans: dict[Any, Any] = {}
        self.seen: set[Any] = set()


def _not_a_text(names: tuple[str, ...], key: tuple[Any, ...]) -> str:
    """Return the name of the first part of ``key`` that is no text; the last name is that of all that follow."""
    for name, part in zip(names, key, strict=False):
        if part is not None and type(part) is not str:
            return name
    return names[len(names) - 1]


class CostCalculator:
    """Serves LiteLLM's ``completion_cost`` and ``cost_per_token``; declines what it does not fully know.

    ``read()`` returns ``Prices``. ``prepare(function, arguments)`` returns the ``Plan`` for calls of one kind, proven
    against stock, or why there is none. ``response_types`` are the classes of a response, a choice and a message,
    ``usage_types`` those of a usage and its details of prompt, completion and cache writes; others are stock's.
    """

    def __init__(
        self,
        gate: Gate,
        read: Callable[[], Prices],
        prepare: Callable[[str, dict[str, Any]], Plan | Why],
        response_types: tuple[type, type, type],
        usage_types: tuple[type, type, type, type],
    ) -> None:
        self._gate = gate
        self._read = read
        self._prepare = prepare
        self._response_type, self._choice_type, self._message_type = response_types
        self._usage_types = usage_types
        self._declined = threading.local()
        self._prices = read()

    def price(self, tariff: Tariff, usage: Any) -> tuple[float, float] | None:
        """Return what prompt and completion of a usage cost by ``tariff``; None for a usage that is left to stock."""
        try:
            return tariff._cost(_read_usage(usage, self._usage_types))
        except Unserved:
            return None

    def completion_cost(
        self,
        completion_response: Any,
        model: object,
        prompt: object,
        messages: object,
        completion: object,
        total_time: object,
        call_type: object,
        custom_llm_provider: object,
        region_name: object,
        size: object,
        quality: object,
        n: object,
        custom_cost_per_token: object,
        custom_cost_per_second: object,
        optional_params: Any,
        custom_pricing: object,
        base_model: object,
        standard_built_in_tools_params: object,
        litellm_model_name: object,
        router_model_id: object,
        litellm_logging_obj: object,
        service_tier: object,
        data_residency: object,
        vertex_location: object,
    ) -> object:
        """Serve ``litellm.completion_cost`` for a chat completion."""
        try:
            prices = self._admit()
            if type(completion_response) is not self._response_type:
                raise Unserved(decline.NO_CHAT_COMPLETION)
            if litellm_logging_obj is not None:
                raise Unserved(decline.COST_LOGGING_OBJECT)
            if custom_cost_per_token is not None or custom_cost_per_second is not None or custom_pricing:
                raise Unserved(decline.CUSTOM_PRICING)
            if standard_built_in_tools_params:
                raise Unserved(decline.UNUSUAL_ARGUMENT.of("standard_built_in_tools_params"))
            if messages:
                raise Unserved(decline.UNUSUAL_ARGUMENT.of("messages"))
            extra = _extra(completion_response)
            self._require_no_annotations(completion_response)
            hidden = _hidden_params(completion_response)
            if type(hidden) is not dict or hidden.get("provider_specific_fields"):
                raise Unserved(decline.HIDDEN_PARAMS_UNUSUAL)
            requested_tier = None
            if optional_params is not None:
                if type(optional_params) is not dict or "model_id" in optional_params:
                    raise Unserved(decline.UNUSUAL_ARGUMENT.of("optional_params"))
                requested_tier = optional_params.get("service_tier")
            key = (
                model,
                call_type,
                custom_llm_provider,
                region_name,
                base_model,
                router_model_id,
                service_tier,
                data_residency,
                vertex_location,
                requested_tier,
                completion_response.__dict__.get("model"),
                extra.get("service_tier"),
                hidden.get("custom_llm_provider", _ABSENT),
                hidden.get("region_name", _ABSENT),
                hidden.get("provider_response_model"),
                hidden.get("model"),
                hidden.get("litellm_model_name"),
            )
            plan = self._plan(prices, PRICED_COMPLETION, key, call_type)
            if plan is None:
                plan = self._make_plan(
                    prices,
                    key,
                    "completion_cost",
                    {
                        "completion_response": completion_response,
                        "model": model,
                        "call_type": call_type,
                        "custom_llm_provider": custom_llm_provider,
                        "region_name": region_name,
                        "optional_params": optional_params,
                        "base_model": base_model,
                        "router_model_id": router_model_id,
                        "service_tier": service_tier,
                        "data_residency": data_residency,
                        "vertex_location": vertex_location,
                    },
                )
            prompt_cost, completion_cost = plan.tariff._cost(_read_usage(extra.get("usage"), self._usage_types))
            return prompt_cost + completion_cost
        except Unserved as unserved:
            return self._decline("completion_cost", unserved)

    def cost_per_token(
        self,
        model: object,
        prompt_tokens: object,
        completion_tokens: object,
        response_time_ms: object,
        custom_llm_provider: object,
        region_name: object,
        prompt_characters: object,
        completion_characters: object,
        cache_creation_input_tokens: object,
        cache_read_input_tokens: object,
        custom_cost_per_token: object,
        custom_cost_per_second: object,
        number_of_queries: object,
        usage_object: Any,
        rerank_billed_units: object,
        call_type: object,
        audio_transcription_file_duration: object,
        service_tier: object,
        data_residency: object,
        vertex_location: object,
        response: object,
        request_model: object,
        custom_model_info: object,
        bedrock_model_info: object,
    ) -> object:
        """Serve ``litellm.cost_per_token``."""
        try:
            prices = self._admit()
            if custom_cost_per_token is not None or custom_cost_per_second is not None:
                raise Unserved(decline.CUSTOM_PRICING)
            if bedrock_model_info is not None:
                raise Unserved(decline.UNUSUAL_ARGUMENT.of("bedrock_model_info"))
            if prompt_characters is not None or completion_characters is not None:
                raise Unserved(decline.UNUSUAL_ARGUMENT.of("prompt_characters"))
            key = (
                model,
                custom_llm_provider,
                region_name,
                call_type,
                service_tier,
                data_residency,
                vertex_location,
                request_model,
            )
            plan = self._plan(prices, PRICED_TOKENS, key, call_type)
            if plan is None:
                plan = self._make_plan(
                    prices,
                    key,
                    "cost_per_token",
                    {
                        "model": model,
                        "custom_llm_provider": custom_llm_provider,
                        "region_name": region_name,
                        "call_type": call_type,
                        "service_tier": service_tier,
                        "data_residency": data_residency,
                        "vertex_location": vertex_location,
                        "request_model": request_model,
                    },
                )
            if usage_object is not None:
                return plan.tariff._cost(_read_usage(usage_object, self._usage_types))
            counts = _Counts()
            counts.prompt = _count(prompt_tokens)
            counts.completion = _count(completion_tokens)
            if cache_read_input_tokens is not None:
                counts.has_prompt_details = True
                counts.cached = _count(cache_read_input_tokens)
            if cache_creation_input_tokens is not None:
                counts.has_prompt_details = True
                counts.written = _count(cache_creation_input_tokens)
            return plan.tariff._cost(counts)
        except Unserved as unserved:
            return self._decline("cost_per_token", unserved)

    def priced(self, function: str) -> None:
        """Take note that stock has priced the call that ``function`` declined last in this thread.

        Only then is a plan made for its kind: making one where stock fails would repeat what stock prints and logs.
        """
        kind = getattr(self._declined, function, None)
        if kind is not None:
            setattr(self._declined, function, None)
            if len(self._prices.seen) >= _MAX_PLANS:
                self._prices.seen.clear()
            self._prices.seen.add(kind)

    def _decline(self, function: str, unserved: Unserved) -> object:
        reason, *kinds = unserved.args
        setattr(self._declined, function, kinds[0] if kinds else None)
        return self._gate.decline(reason)

    def _admit(self) -> Prices:
        """Return what prices depend on now. Raises ``Unserved``."""
        prices = self._prices
        if prices.bindings.changed():
            prices = self._prices = self._read()
        if prices.refusal is not None:
            raise Unserved(prices.refusal)
        if prices.debugging(_DEBUG):
            raise Unserved(decline.LOGGING.of("LiteLLM", "DEBUG"))
        for adjustment in prices.adjustments:
            if adjustment:
                raise Unserved(decline.DISCOUNT_OR_MARGIN)
        return prices

    def _plan(self, prices: Prices, names: tuple[str, ...], key: tuple[Any, ...], call_type: Any) -> Plan | None:
        """Return the plan of a kind of call, whose ``key`` has these ``names``, or None if it is to be made.

        Raises ``Unserved``.
        """
        for part in key:
            if part is not None and type(part) is not str:
                raise Unserved(decline.UNUSUAL_ARGUMENT.of(_not_a_text(names, key)))
        if call_type is not None and call_type not in _CALL_TYPES:
            raise Unserved(decline.OTHER_CALL_TYPE)
        plan = prices.plans.get(key)
        if type(plan) is Plan:
            if not plan.outdated():
                return plan
            prices.plans.pop(key, None)
        elif plan is not None:
            raise Unserved(plan)
        if key not in prices.seen:
            raise Unserved(decline.FIRST_PRICED, key)
        return None

    def _make_plan(self, prices: Prices, key: tuple[Any, ...], function: str, arguments: dict[str, Any]) -> Plan:
        """Return a new plan for a kind of call that stock has priced. Raises ``Unserved``."""
        if len(prices.plans) >= _MAX_PLANS:
            prices.plans.clear()
        plan = self._prepare(function, arguments)
        prices.plans[key] = plan
        if isinstance(plan, Why):
            raise Unserved(plan)
        return plan

    def _require_no_annotations(self, response: Any) -> None:
        """Raise ``Unserved`` if a message has annotations: searches are billed by them."""
        choices = response.__dict__.get("choices")
        if type(choices) is not list:
            raise Unserved(decline.CHOICES_UNUSUAL)
        for choice in choices:
            message = choice.__dict__.get("message") if type(choice) is self._choice_type else None
            if type(message) is not self._message_type or message.__dict__.get("annotations"):
                raise Unserved(decline.CHOICES_UNUSUAL)
