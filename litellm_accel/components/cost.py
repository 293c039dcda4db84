"""Component ``cost``: what a call costs, by LiteLLM's prices.

LiteLLM decides anew for every call which entry of its price list a call is billed by and which of the entry's prices
hold. Here that is decided once per kind of call (names of model and provider, tier, region), by LiteLLM's own code: it
runs over a copy of its module's names in which the last step notes what it was asked. What was noted gives the rates,
and a plan serves only if it prices a dozen different usages, and the call at hand, exactly as stock does.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

from litellm_accel import hot, patching
from litellm_accel.components.base import (
    Component,
    ProbeMismatch,
    Replaced,
    Replacement,
    Unavailable,
    with_parameters_of,
)
from litellm_accel.components.beside import Computed
from litellm_accel.components.compared import compared
from litellm_accel.fastpath import decline
from litellm_accel.fastpath.decline import Why
from litellm_accel.fastpath.plans.proof import Proof
from litellm_accel.stock import seams
from litellm_accel.stock.guard import is_stock
from litellm_accel.stock.providers import LAST_STEPS, PRICED_BY_LIST

_CALCULATOR = "litellm.cost_calculator"
_ARITHMETIC = "litellm.litellm_core_utils.llm_cost_calc.utils"
_TOOLS = "litellm.litellm_core_utils.llm_cost_calc.tool_call_cost_tracking"

# The functions that end LiteLLM's decision and price by `generic_cost_per_token`, with the provider each stands for.
_LAST_STEPS = {**LAST_STEPS, "generic_cost_per_token": None, "google_cost_per_token": None}

# What is read of LiteLLM, besides all of its modules that price; some releases call one or the other by another name.
_SETTINGS = {
    "litellm": ("cost_discount_config", "cost_margin_config", "get_llm_provider", "get_model_info", "model_cost"),
    "litellm.utils": (
        "_build_model_info",
        "_cached_get_model_info",
        "_cached_get_model_info_helper",
        "_get_model_info_helper",
        "_model_cost_mutation_generation",
        "cached_get_model_info_helper",
        "get_model_info",
        "get_model_info_helper",
        "get_provider_info",
    ),
    _CALCULATOR: ("verbose_logger",),
}


class _LiteLLM:
    """LiteLLM's pricing: its functions as they were before any was replaced, and the settings they read."""

    def __init__(self) -> None:
        self.litellm = _module("litellm")
        self.utils = _module("litellm.utils")
        self.calculator = _module(_CALCULATOR)
        self.arithmetic = _module(_ARITHMETIC)
        self.tracking = _attribute(_module(_TOOLS), "StandardBuiltInToolCostTracking")
        self.functions = {
            name: patching.stock_copy(value)
            for name, value in vars(self.calculator).items()
            if type(value) is FunctionType and value.__globals__ is vars(self.calculator)
        }
        self.settings = {
            module: tuple(name for name in names if hasattr(_module(module), name))
            for module, names in _SETTINGS.items()
        }
        _attribute(self.utils, "_build_model_info")
        for name in _LAST_STEPS:
            _attribute(self.calculator, name)
        # The last steps are elsewhere, and so is what they call.
        homes = {getattr(self.calculator, name).__module__ for name in _LAST_STEPS} | {_CALCULATOR, _ARITHMETIC}
        self.homes = [_module(home) for home in sorted(homes)]
        self._own = [
            (vars(owner), name, value)
            for owner in (*self.homes, self.tracking)
            for name, value in vars(owner).items()
            if _is_function(value) and not name.startswith("__")
        ] + [
            (vars(_module(module)), name, vars(_module(module))[name])
            for module, names in self.settings.items()
            for name in names
            if callable(vars(_module(module)).get(name))
        ]
        for _, name, value in self._own:
            if not is_stock(value):
                raise Unavailable(f"{name} of LiteLLM's pricing has been replaced")
        types = _module("litellm.types.utils")
        self.response_types = tuple(_attribute(types, name) for name in ("ModelResponse", "Choices", "Message"))
        self.usage_types = tuple(
            _attribute(types, name)
            for name in (
                "Usage",
                "PromptTokensDetailsWrapper",
                "CompletionTokensDetailsWrapper",
                "CacheCreationTokenDetails",
            )
        )

    def prices(self) -> hot.cost.Prices:
        """Read ``Prices``."""
        points: list[tuple[Any, tuple[str, ...]]] = [
            (_module(module), names) for module, names in self.settings.items() if module != _CALCULATOR
        ]
        for module in self.homes:
            functions = (name for namespace, name, _ in self._own if namespace is vars(module))
            points.append((module, (*functions, "verbose_logger")))
        points.append((self.tracking, tuple(vars(self.tracking))))
        points.append((self.litellm, self._registry_names()))
        # The bindings come first: what is set while we read makes the prices outdated at once.
        bindings = hot.bindings.Bindings(points)
        replaced = any(namespace.get(name) is not value for namespace, name, value in self._own)
        return hot.cost.Prices(
            bindings,
            decline.STOCK_REPLACED if replaced else None,
            self.calculator.verbose_logger.isEnabledFor,
            (self.litellm.cost_discount_config, self.litellm.cost_margin_config),
        )

    def registries(self) -> list[Sized]:
        """Return what decides which provider a model has: LiteLLM's sets and lists of names, and the price list."""
        return [self.litellm.model_cost, *(vars(self.litellm)[name] for name in self._registry_names())]

    def _registry_names(self) -> tuple[str, ...]:
        return tuple(
            name
            for name, value in vars(self.litellm).items()
            if name.endswith(("_models", "_llms", "_providers", "provider_list", "_map", "_endpoints"))
            and type(value) in (set, list, dict)
        )

    def rehearse(self, function: str, arguments: Mapping[str, Any]) -> tuple[Any, str, dict[str, Any]] | None:
        """Return stock's result for a call, and the name and arguments of the last step that has priced it.

        None if that is no step we know, or LiteLLM has no price.
        """
        noted: list[tuple[str, dict[str, Any]]] = []
        names = self._copies()

        def note(name: str) -> Callable[..., Any]:
            def last_step(**keywords: Any) -> Any:
                cost = getattr(self.calculator, name)(**keywords)
                noted.append((name, keywords))
                return cost

            return last_step

        names.update((name, note(name)) for name in _LAST_STEPS)
        try:
            result = names[function](**arguments)
        except Exception:  # what LiteLLM has no price for, it says so when it serves the call
            return None
        return (result, *noted[-1]) if noted else None

    def is_current(self, info: Mapping[str, Any], model: str, provider: str) -> bool:
        """Return whether ``info``, which LiteLLM may have remembered for long, is what the price list says now."""
        try:
            return bool(info == self.utils._build_model_info(model, provider))
        except Exception:  # the entry is gone
            return False

    def _copies(self) -> dict[str, Any]:
        """Return the names of LiteLLM's calculator, its functions as copies that call each other."""
        names = dict(vars(self.calculator))
        for name, function in self.functions.items():
            made = FunctionType(function.__code__, names, name, function.__defaults__, function.__closure__)
            made.__kwdefaults__ = function.__kwdefaults__
            names[name] = made
        return names


def _is_function(value: Any) -> bool:
    """Return whether ``value`` is a function, or behaves like one."""
    return (callable(value) or isinstance(value, (staticmethod, classmethod))) and not issubclass(type(value), type)


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise Unavailable(f"{name} does not exist in the installed LiteLLM") from None


def _attribute(owner: ModuleType, name: str) -> Any:
    found = getattr(owner, name, _MISSING)
    if found is _MISSING:
        raise Unavailable(f"{owner.__name__}:{name} does not exist in the installed LiteLLM")
    return found


_MISSING = object()


class _Planner:
    """Makes plans: finds the rates of a kind of call and proves them."""

    def __init__(self, litellm: _LiteLLM) -> None:
        self._litellm = litellm
        self.calculator: hot.cost.CostCalculator

    def prepare(self, function: str, arguments: dict[str, Any]) -> hot.cost.Plan | Why:
        """Return the ``Plan`` for calls of this kind, or why there is none."""
        litellm = self._litellm
        response = arguments.get("completion_response")
        if self._provider(arguments, response) not in PRICED_BY_LIST:
            return decline.OTHER_PROVIDER
        usage = next(_usages(litellm, 1000)) if response is None else response.usage
        given = arguments if response is not None else {**arguments, "usage_object": usage}
        rehearsed = litellm.rehearse(function, given)
        if rehearsed is None:
            return decline.NO_TOKEN_PRICE
        result, name, asked = rehearsed
        if asked.get("model_info") is not None:
            return decline.DEPLOYMENT_PRICES
        provider = _LAST_STEPS[name] or asked["custom_llm_provider"]
        info = litellm.utils.get_model_info(model=asked["model"], custom_llm_provider=provider)
        if not litellm.is_current(info, asked["model"], provider):
            return decline.PRICES_IN_PLACE
        if info.get("off_peak_pricing") is not None or info.get("tiered_pricing") is not None:
            return decline.PRICES_BY_TIME
        lengths, tariff = self._tariff(info, provider, asked)
        last_step = getattr(litellm.calculator, name)
        for length in lengths:
            for probe in _usages(litellm, length):
                if self.calculator.price(tariff, probe) != last_step(**{**asked, "usage": probe}):
                    return decline.COST_DIFFERS
        priced = self.calculator.price(tariff, usage)
        if priced is None:
            return decline.USAGE_UNUSUAL
        if (priced if response is None else sum(priced)) != result:
            return decline.COST_DIFFERS
        names = {part for part in (*arguments.values(), asked["model"], info["key"]) if isinstance(part, str)}
        if response is not None and response.model is not None:
            names.add(response.model)
        return hot.cost.Plan(tariff, self._bindings(names, provider), self._litellm.registries())

    def _provider(self, arguments: Mapping[str, Any], response: Any) -> Any:
        hidden = {} if response is None else response._hidden_params
        provider = hidden.get("custom_llm_provider") or arguments["custom_llm_provider"]
        model = arguments["model"] or (None if response is None else response.model)
        return provider or self._litellm.litellm.get_llm_provider(model=model)[1]

    def _tariff(
        self, info: Mapping[str, Any], provider: str, asked: Mapping[str, Any]
    ) -> tuple[list[int], hot.cost.Tariff]:
        """Return a prompt length for each row of rates, and the tariff."""
        arithmetic = self._litellm.arithmetic
        info = getattr(arithmetic, "apply_provider_cache_read_default", lambda info, _: info)(info, provider)
        cost_per_unit = seams.either(arithmetic, "get_cost_per_unit", "_get_cost_per_unit")
        tier = asked.get("service_tier")
        inclusive = arithmetic._uses_inclusive_token_thresholds(provider)
        thresholds = sorted(
            {
                # Early releases take a key's first "above" for the threshold, which may be that of a cache's lifetime.
                arithmetic._parse_above_token_threshold(f"_above_{key.rsplit('_above_', 1)[1]}")
                for key, price in info.items()
                if price is not None and "_above_" in key and key.rsplit("_above_", 1)[1].partition("_tokens")[1]
            }
        )
        # In the first interval a prompt that is long enough for parts of it to be cached, written and heard.
        first = min([_LENGTH, *(int(threshold) // 2 for threshold in thresholds)])
        lengths = [first, *(int(threshold) + (not inclusive) for threshold in thresholds)]
        now = seams.billing_time(arithmetic)
        rates = []
        for length in lengths:
            usage = SimpleNamespace(prompt_tokens=length)
            long = {"prompt_tokens": length, "threshold_is_inclusive": inclusive}
            base, output, write, write_1h, read = _base_rates(
                arithmetic._get_token_base_cost(
                    model_info=info,
                    usage=usage,
                    service_tier=tier,
                    current_time=now,
                    threshold_is_inclusive=inclusive,
                )
            )
            output_audio = cost_per_unit(info, "output_cost_per_audio_token", None)
            output_image = cost_per_unit(info, "output_cost_per_image_token", None)
            rates.append(
                (
                    base,
                    output,
                    write,
                    write_1h,
                    read,
                    seams.modality_rate(arithmetic, info, "input_cost_per_audio_token", base, tier, long),
                    seams.modality_rate(arithmetic, info, "input_cost_per_image_token", base, tier, long),
                    output if output_audio is None else output_audio,
                    output if output_image is None else output_image,
                    arithmetic._resolve_billed_reasoning_rate(
                        model_info=info,
                        usage=usage,
                        service_tier=tier,
                        completion_base_cost=output,
                        current_time=now,
                    ),
                )
            )
        regional = seams.either(arithmetic, "get_regional_uplift_multiplier", "_get_regional_uplift_multiplier")
        fedramp = getattr(arithmetic, "get_fedramp_uplift_multiplier", None)
        residency = asked.get("data_residency")
        multipliers = (
            regional(info, residency) * (fedramp(info, residency) if fedramp else 1.0),
            arithmetic.get_vertex_regional_endpoint_uplift(info, asked.get("vertex_location")),
        )
        tariff = hot.cost.Tariff(thresholds, inclusive, rates, [each for each in multipliers if each != 1.0])
        return lengths, tariff

    def _bindings(self, names: set[str], provider: str) -> hot.bindings.Bindings:
        """Return bindings to the entries of the price list that a call with these names may be billed by."""
        model_cost = self._litellm.litellm.model_cost
        for name in tuple(names):
            parts = name.split("/")
            names.update("/".join(parts[start:]) for start in range(1, len(parts)))
        names.update([f"{provider}/{name}" for name in names])
        entries = [(model_cost[name], None) for name in sorted(names) if type(model_cost.get(name)) is dict]
        return hot.bindings.Bindings([(model_cost, tuple(sorted(names))), *entries[:15]])


def _base_rates(found: Any) -> tuple[float, float, float, float, float]:
    """Return the rates of input, output, cache writes, cache writes for an hour and cache reads.

    LiteLLM before 1.110 returns these five, later ones an object with a rate for each lifetime of a cache write.
    """
    if isinstance(found, tuple):
        base, output, write, write_1h, read = found
        return base, output, write, write_1h, read
    by_lifetime = found.cache_creation_rates_by_ttl
    write = found.cache_creation_rate
    return found.input_rate, found.output_rate, write, by_lifetime.get("1hr", write), found.cache_read_rate


def _usages(litellm: _LiteLLM, length: int) -> Iterator[Any]:
    """Yield usages of prompts of this length: plain, cached, written, overlapping, with audio, images and reasoning."""
    usage, _, _, written = litellm.usage_types
    third = length // 3
    yield usage(prompt_tokens=length, completion_tokens=77, total_tokens=length + 77)
    for details in (
        {"cached_tokens": third},
        {"cached_tokens": third, "text_tokens": length},
        {"cache_write_tokens": third, "cached_tokens": third, "text_tokens": length - 2 * third},
        {
            "cache_creation_tokens": third,
            "cache_creation_token_details": written(ephemeral_5m_input_tokens=third, ephemeral_1h_input_tokens=7),
        },
        {"audio_tokens": third, "text_tokens": length - third},
        {"audio_tokens": third, "image_tokens": third, "cached_tokens": third},
        {"image_tokens": third},
    ):
        yield usage(prompt_tokens=length, completion_tokens=1001, total_tokens=0, prompt_tokens_details=details)
    for details in (
        {"reasoning_tokens": 640},
        {"reasoning_tokens": 640, "text_tokens": 1000},
        {"reasoning_tokens": 200, "audio_tokens": 300, "image_tokens": 100},
        {"audio_tokens": 999, "text_tokens": 1},
    ):
        yield usage(prompt_tokens=length, completion_tokens=1000, total_tokens=0, completion_tokens_details=details)


class Cost(Component):
    name = "cost"
    summary = "completion_cost and cost_per_token for calls billed by tokens"
    hot_modules = ("bindings", "cost")

    _proof: Proof | None = None

    @property
    def proof(self) -> Proof | None:
        """How calls are proven, while the component is active and LiteLLM is of no known release."""
        return None if self._proof is None or self._proof.is_known else self._proof

    def replacements(self, gate: hot.gate.Gate) -> Sequence[Replacement]:
        litellm = self._litellm = _LiteLLM()
        homes = [module.__name__ for module in (*litellm.homes, litellm.tracking)]
        proof = self._proof = Proof(gate, [*homes, litellm.utils.__name__], homes)
        planner = self._planner = _Planner(litellm)
        calculator = planner.calculator = hot.cost.CostCalculator(
            gate, litellm.prices, planner.prepare, litellm.response_types, litellm.usage_types
        )

        def declined(name: str) -> Any:
            return gate.decline(decline.UNUSUAL_ARGUMENT.of(name))

        def replacement(fast: Callable[..., Any]) -> Replacement:
            def build(stock: FunctionType) -> Callable[..., Any]:
                def observed(*arguments: Any) -> Any:
                    result = stock(*arguments)
                    calculator.priced(stock.__name__)
                    return result

                found = with_parameters_of(stock, fast, declined)
                learn = functools.partial(calculator.priced, stock.__name__)
                call: Callable[..., Any] = gate.pure(
                    compared(proof, found, stock), observed, Computed(stock, found, learn)
                )
                return call

            return Replacement(f"{_CALCULATOR}:{fast.__name__}", build)

        return [replacement(calculator.completion_cost), replacement(calculator.cost_per_token)]

    def prove(self, replaced: Mapping[str, Replaced]) -> None:
        """Make a plan for a model. Whenever a plan is made it is proven, then and later; see ``_Planner``."""
        arguments = dict.fromkeys(("region_name", "service_tier", "data_residency", "vertex_location", "request_model"))
        for model, provider in _PROBED:
            if model not in self._litellm.litellm.model_cost:
                continue
            asked = {**arguments, "model": model, "custom_llm_provider": provider, "call_type": "completion"}
            try:
                plan = self._planner.prepare("cost_per_token", asked)
            except Exception as error:
                raise Unavailable(f"the installed LiteLLM finds its prices differently: {error!r}") from error
            if isinstance(plan, decline.Why):
                raise ProbeMismatch(f"cost_per_token({model!r}, custom_llm_provider={provider!r}): {plan}")


_LENGTH = 1200
_PROBED = (("gpt-4o", "openai"),)  # LiteLLM reads all its prices once more for the first of some others

COMPONENT = Cost()
