# cython: language_level=3, binding=True, boundscheck=False, wraparound=False
# distutils: extra_compile_args = -ffp-contract=off
"""What LiteLLM charges for a call: prices prepared per kind of call, and the arithmetic over one usage.

A ``Tariff`` holds rates that LiteLLM's own code has resolved for one model; the arithmetic follows LiteLLM's
``generic_cost_per_token`` operation by operation, so that the sums are equal to the last digit.
"""

from __future__ import annotations

import threading

from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject
from libc.string cimport memset

from litellm_accel._cy.bindings cimport Bindings
from litellm_accel._cy.gate cimport Gate

cdef tuple PRICED_COMPLETION, PRICED_TOKENS

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.decline import Unserved
from litellm_accel.fastpath.known_names import PRICED_COMPLETION, PRICED_TOKENS

__all__ = ["CostCalculator", "Plan", "Prices", "Tariff"]

cdef enum:
    MAX_PLANS = 4096
    MAX_THRESHOLDS = 7
    MAX_MULTIPLIERS = 4
    RATES = 10

cdef Py_ssize_t MAX_TOKENS = <Py_ssize_t>1 << 50
cdef object _DEBUG = 10
cdef str _ABSENT = "\0"

cdef extern from "Python.h":
    bint PyAnySet_CheckExact(PyObject *container)
    bint PyDict_CheckExact(PyObject *container)
    bint PyList_CheckExact(PyObject *container)
    Py_ssize_t PySet_GET_SIZE(PyObject *container)
    Py_ssize_t PyDict_GET_SIZE(PyObject *container)
    Py_ssize_t PyList_GET_SIZE(PyObject *container)
    PyObject *PyTuple_GET_ITEM(PyObject *container, Py_ssize_t index)
    Py_ssize_t PyObject_Size(PyObject *container) except -1
    dict PyObject_GenericGetDict(object owner, void *context)
    object PyObject_GenericGetAttr(object owner, object name)


cdef struct Counts:
    # The numbers of a usage that are priced.
    Py_ssize_t prompt
    Py_ssize_t completion
    bint has_prompt_details
    bint has_written_details
    bint has_completion_details
    Py_ssize_t cached
    Py_ssize_t written
    Py_ssize_t written_5m
    Py_ssize_t written_1h
    Py_ssize_t text
    Py_ssize_t audio
    Py_ssize_t image
    Py_ssize_t output_text
    Py_ssize_t output_audio
    Py_ssize_t output_image
    Py_ssize_t reasoning


cdef class Tariff:
    """Rates of one model: which of them hold depends on the length of the prompt.

    ``thresholds`` ascend; ``rates`` has one row more than thresholds: input, output, cache write, cache write for an
    hour, cache read, input audio, input image, output audio, output image, reasoning, all in dollars a token.
    A prompt as long as a threshold is beyond it if ``inclusive``. The sums are multiplied by ``multipliers`` in turn.
    """

    cdef Py_ssize_t _threshold_count
    cdef double _thresholds[MAX_THRESHOLDS]
    cdef bint _inclusive
    cdef double _rates[MAX_THRESHOLDS + 1][RATES]
    cdef Py_ssize_t _multiplier_count
    cdef double _multipliers[MAX_MULTIPLIERS]

    def __init__(self, thresholds: object, inclusive: bool, rates: object, multipliers: object) -> None:
        cdef Py_ssize_t row, column
        if len(rates) != len(thresholds) + 1 or any([len(each) != RATES for each in rates]):
            raise ValueError("a tariff needs rows of ten rates, one more than thresholds")
        if len(thresholds) > MAX_THRESHOLDS or len(multipliers) > MAX_MULTIPLIERS:
            raise ValueError("a tariff has at most 7 thresholds and 4 multipliers")
        self._inclusive = inclusive
        self._threshold_count = len(thresholds)
        self._multiplier_count = len(multipliers)
        for row in range(self._threshold_count):
            self._thresholds[row] = thresholds[row]
        for row in range(self._threshold_count + 1):
            for column in range(RATES):
                self._rates[row][column] = rates[row][column]
        for row in range(self._multiplier_count):
            self._multipliers[row] = multipliers[row]

    cdef tuple _cost(self, const Counts *counts):
        cdef Py_ssize_t index, row = 0
        cdef double *rates
        cdef double prompt, completion
        for index in range(self._threshold_count):
            if counts.prompt > self._thresholds[index] or (
                self._inclusive and counts.prompt == self._thresholds[index]
            ):
                row += 1
        rates = self._rates[row]
        prompt = _prompt_cost(counts, rates[0], rates[2], rates[3], rates[4], rates[5], rates[6])
        completion = _completion_cost(counts, rates[1], rates[7], rates[8], rates[9])
        for index in range(self._multiplier_count):
            prompt *= self._multipliers[index]
            completion *= self._multipliers[index]
        return prompt, completion


cdef double _prompt_cost(
    const Counts *counts, double base, double write, double write_1h, double read, double audio_rate, double image_rate
) noexcept nogil:
    cdef Py_ssize_t text = counts.prompt
    cdef Py_ssize_t audio = 0
    cdef Py_ssize_t image = 0
    cdef Py_ssize_t details, budget
    cdef double cost, written
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
    cost = <double>text * base
    cost += <double>counts.cached * read
    if audio:
        cost += <double>audio * audio_rate
    if image:
        cost += <double>image * image_rate
    if counts.has_written_details:
        written = <double>counts.written_5m * write
        written += <double>counts.written_1h * write_1h
        cost += written
    elif counts.written:
        cost += <double>counts.written * write
    return cost


cdef double _completion_cost(
    const Counts *counts, double output, double output_audio, double output_image, double reasoning_rate
) noexcept nogil:
    cdef Py_ssize_t text, audio, image, reasoning, reported
    cdef double cost
    if not counts.has_completion_details:
        return <double>counts.completion * output
    audio, image, reasoning = counts.output_audio, counts.output_image, counts.reasoning
    reported = counts.output_text + reasoning + audio + image
    # Text that is reported with the reasoning in it counts without.
    text = counts.output_text - min(min(reasoning, counts.output_text), max(reported - counts.completion, 0))
    if text == 0:
        if not (audio or image or reasoning):
            return <double>counts.completion * output
        text = max(0, counts.completion - reasoning - audio - image)
    cost = <double>text * output
    if audio:
        cost += <double>audio * output_audio
    if reasoning:
        cost += <double>reasoning * reasoning_rate
    if image:
        cost += <double>image * output_image
    return cost


# A pydantic model asks its class for a `__getattr__` first; these do not, at a third of the price.
cdef inline dict _fields(object model):
    return PyObject_GenericGetDict(model, NULL)


cdef inline dict _extra(object model):
    return PyObject_GenericGetAttr(model, "__pydantic_extra__") or {}


cdef inline object _hidden_params(object model):
    return (PyObject_GenericGetAttr(model, "__pydantic_private__") or {}).get("_hidden_params")


cdef Py_ssize_t _count(object value) except -1:
    if type(value) is not int or not 0 <= value < MAX_TOKENS:
        raise Unserved(decline.USAGE_UNUSUAL)
    return value


cdef int _read_usage(Counts *counts, object usage, tuple types) except -1:
    """Read the numbers of a LiteLLM ``Usage``. Raises ``Unserved`` for anything that could be priced otherwise."""
    usage_type, prompt_type, completion_type, written_type = types
    if type(usage) is not usage_type:
        raise Unserved(decline.USAGE_UNUSUAL)
    for name, value in _fields(usage).items():
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
    return 0


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


cdef int _read_prompt_details(Counts *counts, object details, object written_type) except -1:
    cdef Py_ssize_t created = 0
    counts.has_prompt_details = True
    for name, value in _fields(details).items():
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
    return 0


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


cdef int _read_written_details(Counts *counts, object details) except -1:
    counts.has_written_details = True
    for name, value in _fields(details).items():
        if name == "ephemeral_5m_input_tokens":
            counts.written_5m = 0 if value is None else _count(value)
        elif name == "ephemeral_1h_input_tokens":
            counts.written_1h = 0 if value is None else _count(value)
        elif value is not None:
            raise Unserved(decline.USAGE_UNUSUAL)
    return 0


cdef int _read_completion_details(Counts *counts, object details) except -1:
    counts.has_completion_details = True
    for name, value in _fields(details).items():
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
    return 0


# There are a hundred, and each call looks at all of them: `len` asks their types for a function first.
cdef inline Py_ssize_t _size(PyObject *registry) except -1:
    if PyAnySet_CheckExact(registry):
        return PySet_GET_SIZE(registry)
    if PyDict_CheckExact(registry):
        return PyDict_GET_SIZE(registry)
    if PyList_CheckExact(registry):
        return PyList_GET_SIZE(registry)
    return PyObject_Size(registry)


cdef class Plan:
    """How one kind of call is priced: by ``tariff``, until ``bindings`` or the size of one of ``registries`` changes.

    Registries are sets, lists and dicts of model names, which applications may extend in place.
    """

    cdef readonly Tariff tariff
    cdef Bindings _bindings
    cdef tuple _registries
    cdef Py_ssize_t *_sizes

    def __init__(self, tariff: Tariff, bindings: Bindings, registries: object) -> None:
        cdef Py_ssize_t index
        self.tariff = tariff
        self._bindings = bindings
        self._registries = tuple(registries)
        self._sizes = <Py_ssize_t *>PyMem_Realloc(self._sizes, len(self._registries) * sizeof(Py_ssize_t))
        if self._sizes is NULL:
            raise MemoryError()
        for index in range(len(self._registries)):
            self._sizes[index] = _size(PyTuple_GET_ITEM(<PyObject *>self._registries, index))

    def __dealloc__(self) -> None:
        PyMem_Free(self._sizes)

    cpdef bint outdated(self) except -1:
        """Return whether something has changed that the plan depends on."""
        cdef Py_ssize_t index
        cdef PyObject *registries = <PyObject *>self._registries
        for index in range(len(self._registries)):
            if _size(PyTuple_GET_ITEM(registries, index)) != self._sizes[index]:
                return True
        return self._bindings.changed()


cdef class Prices:
    """What pricing depends on in LiteLLM, as of one moment, and the plans made since.

    ``bindings`` tell when it is outdated; ``refusal`` says why nothing can be served, or is None; ``debugging(level)``
    tells whether LiteLLM logs; while any of ``adjustments`` holds something, prices are stock's.
    """

    cdef readonly Bindings bindings
    cdef readonly object refusal
    cdef readonly object debugging
    cdef readonly tuple adjustments
    cdef readonly dict plans
    cdef readonly set seen

    def __init__(self, bindings: Bindings, refusal: object, debugging: object, adjustments: object) -> None:
        self.bindings = bindings
        self.refusal = refusal
        self.debugging = debugging
        self.adjustments = tuple(adjustments)
        self.plans = {}
        self.seen = set()


cdef str _not_a_text(tuple names, tuple key):
    """Return the name of the first part of ``key`` that is no text; the last name is that of all that follow."""
    for name, part in zip(names, key):
        if part is not None and type(part) is not str:
            return name
    return names[len(names) - 1]


cdef class CostCalculator:
    """Serves LiteLLM's ``completion_cost`` and ``cost_per_token``; declines what it does not fully know.

    ``read()`` returns ``Prices``. ``prepare(function, arguments)`` returns the ``Plan`` for calls of one kind, proven
    against stock, or why there is none. ``response_types`` are the classes of a response, a choice and a message,
    ``usage_types`` those of a usage and its details of prompt, completion and cache writes; others are stock's.
    """

    cdef Gate _gate
    cdef object _read
    cdef object _prepare
    cdef object _response_type
    cdef object _choice_type
    cdef object _message_type
    cdef tuple _usage_types
    cdef object _declined
    cdef Prices _prices

    def __init__(
        self,
        gate: Gate,
        read: object,
        prepare: object,
        response_types: tuple,
        usage_types: tuple,
    ) -> None:
        self._gate = gate
        self._read = read
        self._prepare = prepare
        self._response_type, self._choice_type, self._message_type = response_types
        self._usage_types = usage_types
        self._declined = threading.local()
        self._prices = read()

    def price(self, tariff: Tariff, usage: object) -> object:
        """Return what prompt and completion of a usage cost by ``tariff``; None for a usage that is left to stock."""
        cdef Counts counts
        memset(&counts, 0, sizeof(Counts))
        try:
            _read_usage(&counts, usage, self._usage_types)
            return tariff._cost(&counts)
        except Unserved:
            return None

    def completion_cost(
        self,
        completion_response: object,
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
        optional_params: object,
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
        cdef Prices prices
        cdef Plan plan
        cdef Counts counts
        cdef dict extra
        memset(&counts, 0, sizeof(Counts))
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
                _fields(completion_response).get("model"),
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
            _read_usage(&counts, extra.get("usage"), self._usage_types)
            prompt_cost, completion_cost = plan.tariff._cost(&counts)
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
        usage_object: object,
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
        cdef Prices prices
        cdef Plan plan
        cdef Counts counts
        memset(&counts, 0, sizeof(Counts))
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
                _read_usage(&counts, usage_object, self._usage_types)
                return plan.tariff._cost(&counts)
            counts.prompt = _count(prompt_tokens)
            counts.completion = _count(completion_tokens)
            if cache_read_input_tokens is not None:
                counts.has_prompt_details = True
                counts.cached = _count(cache_read_input_tokens)
            if cache_creation_input_tokens is not None:
                counts.has_prompt_details = True
                counts.written = _count(cache_creation_input_tokens)
            return plan.tariff._cost(&counts)
        except Unserved as unserved:
            return self._decline("cost_per_token", unserved)

    def priced(self, function: str) -> None:
        """Take note that stock has priced the call that ``function`` declined last in this thread.

        Only then is a plan made for its kind: making one where stock fails would repeat what stock prints and logs.
        """
        kind = getattr(self._declined, function, None)
        if kind is not None:
            setattr(self._declined, function, None)
            if len(self._prices.seen) >= MAX_PLANS:
                self._prices.seen.clear()
            self._prices.seen.add(kind)

    cdef object _decline(self, str function, object unserved):
        reason, *kinds = unserved.args
        setattr(self._declined, function, kinds[0] if kinds else None)
        return self._gate.decline(reason)

    cdef Prices _admit(self):
        """Return what prices depend on now. Raises ``Unserved``."""
        cdef Prices prices = self._prices
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

    cdef Plan _plan(self, Prices prices, tuple names, tuple key, object call_type):
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
            if not (<Plan>plan).outdated():
                return plan
            prices.plans.pop(key, None)
        elif plan is not None:
            raise Unserved(plan)
        if key not in prices.seen:
            raise Unserved(decline.FIRST_PRICED, key)
        return None

    cdef Plan _make_plan(self, Prices prices, tuple key, str function, dict arguments):
        """Return a new plan for a kind of call that stock has priced. Raises ``Unserved``."""
        if len(prices.plans) >= MAX_PLANS:
            prices.plans.clear()
        plan = self._prepare(function, arguments)
        prices.plans[key] = plan
        if type(plan) is not Plan:
            raise Unserved(plan)
        return plan

    cdef int _require_no_annotations(self, object response) except -1:
        """Raise ``Unserved`` if a message has annotations: searches are billed by them."""
        choices = _fields(response).get("choices")
        if type(choices) is not list:
            raise Unserved(decline.CHOICES_UNUSUAL)
        for choice in <list>choices:
            message = _fields(choice).get("message") if type(choice) is self._choice_type else None
            if type(message) is not self._message_type or _fields(message).get("annotations"):
                raise Unserved(decline.CHOICES_UNUSUAL)
        return 0
