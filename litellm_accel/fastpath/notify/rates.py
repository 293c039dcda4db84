"""What an answer's tokens cost, as calls have shown it, and what in an answer prices depend on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from litellm_accel.fastpath.plans.snapshots import SnapshotNode
from litellm_accel.fastpath.plans.templates import HIDDEN, MILLISECONDS

if TYPE_CHECKING:
    from litellm_accel.fastpath.notify.call_diff import CallDiff

_COSTS = ("input_cost", "output_cost", "total_cost", "original_cost")
#: So LiteLLM says that it has no price.
UNKNOWN_MODEL = "This model isn't mapped yet"
#: Among the details of a call: what LiteLLM has found wrong with a price.
FAILED, DIAGNOSTIC = "response_cost_failure_debug_information", "zero_cost_diagnostic"
# The header that holds the price where the provider states one. LiteLLM believes it.
STATED_PRICE = "llm_provider-x-litellm-response-cost"


class Rates:
    """What tokens cost, as a call has shown: the rates, LiteLLM's note of them, and what a breakdown looks like.

    ``answered`` are the ``pricing_facts`` of the result that was priced.
    """

    def __init__(self, billed: Any, breakdown: dict[str, Any], answered: Any) -> None:
        self.billed = billed
        self._breakdown = dict(breakdown)  # a callback may write into this call's own
        self._answered = answered

    def apply(self, result: Any) -> bool:
        """Return whether ``result`` comes from the same model and counts tokens of prompt and completion alone."""
        return self._answered == pricing_facts(result) and is_plain(extra(result, "usage"))

    def make_up(self, usage: Any, told: dict[str, Any]) -> bool:
        """Return whether there is nothing in the breakdown ``told`` but tokens at these rates."""
        if any(value for name, value in told.items() if name not in _COSTS):
            return False
        return self.made_up(usage, told["total_cost"]) == told

    def made_up(self, usage: Any, total: Any) -> dict[str, Any] | None:
        """Return the breakdown of the price ``total``; None if these rates do not make it up.

        Tokens that cost nothing may be a mistake in the prices, which LiteLLM looks for and tells.
        """
        prompt = usage.prompt_tokens * self.billed.input_cost_per_token
        completion = usage.completion_tokens * self.billed.output_cost_per_token
        if prompt + completion != total or (not total and usage.total_tokens):
            return None
        made = self._breakdown.copy()
        made["input_cost"], made["output_cost"] = prompt, completion
        made["total_cost"] = made["original_cost"] = total
        return made


class UnknownPrice:
    """What LiteLLM says of calls to a model that it has no price for, once it has said so of a call.

    It looks under many names before it gives up, and words an error each time. The price list is watched.
    """

    def __init__(self) -> None:
        self._facts: tuple[Any, ...] | None = None
        self._failure: dict[str, Any] = {}

    def learn(self, logging: Any, result: Any) -> None:
        """Keep what LiteLLM has told ``logging`` when it found no price for ``result``."""
        if not explains_costs(logging):
            return
        failure = logging.model_call_details.get(FAILED)
        if type(failure) is not dict or UNKNOWN_MODEL not in (failure.get("error_str") or ""):
            return
        is_plain_data = all(value is None or type(value) in (str, bool) for value in failure.values())
        if is_plain_data and not logging.zero_cost_warned and logging.model_call_details.get(DIAGNOSTIC) is None:
            self._facts, self._failure = self._facts_of(logging, result), failure.copy()

    def tell(self, logging: Any, result: Any) -> bool:
        """Tell ``logging`` that there is no price for ``result``, as LiteLLM does; return whether that is known."""
        if self._facts is None or self._facts_of(logging, result) != self._facts:
            return False
        details = logging.model_call_details
        details.pop(FAILED, None)
        details[FAILED], details[DIAGNOSTIC] = self._failure.copy(), None
        return True

    def _facts_of(self, logging: Any, result: Any) -> tuple[Any, ...] | None:
        """Return by what LiteLLM looks for a price; None if it looks at the usage, too."""
        if not is_plain(extra(result, "usage")):
            return None
        details = logging.model_call_details
        params = details["litellm_params"]
        described = [(params.get(name) or {}).get("model_info") for name in ("metadata", "litellm_metadata")]
        return pricing_facts(result), details.get("cache_hit"), details.get("additional_response_cost"), described


def rates_of(pair: CallDiff) -> Rates | None:
    """Return the rates by which both calls were priced; None if there is more to their prices than tokens and rates."""
    for shown in (pair.first, pair.second):
        breakdown = shown.known["cost_breakdown"]
        if shown.known.get("billed_token_rates") is None or type(breakdown) is not SnapshotNode:
            return None
        told = dict(breakdown.named())
        rates = Rates(shown.known["billed_token_rates"], told, shown.answered)
        if shown.answered != pair.second.answered or not is_plain(extra(shown.result, "usage")):
            return None
        if not rates.make_up(extra(shown.result, "usage"), told):
            return None
    return rates


def pricing_facts(result: Any) -> tuple[Any, ...]:
    """Return what an answer says about itself that prices depend on, its usage aside."""
    return result.model, extra(result, "service_tier"), stated_price(result)


def extra(result: Any, name: str) -> Any:
    """Return what an answer has besides the fields of its class under ``name``, or None: sooner than pydantic does."""
    held = result.__pydantic_extra__
    return held.get(name) if held is not None and name in held else result.__dict__.get(name)


def explains_costs(logging: Any) -> bool:
    """Return whether LiteLLM notes why a call costs nothing, as from 1.104 on. Before that it prints what it tries."""
    return hasattr(logging, "_record_zero_cost_diagnostic")


def note_found(logging: Any) -> None:
    """Note with a call's ``Logging`` object that its price needs no explanation, where LiteLLM does."""
    if explains_costs(logging):
        logging.model_call_details[DIAGNOSTIC] = None


def note_time(result: Any, milliseconds: float) -> None:
    """Write how long a call took into its ``result``, where pydantic has LiteLLM's attribute for it."""
    private = result.__pydantic_private__
    (private if MILLISECONDS in private else result.__dict__)[MILLISECONDS] = milliseconds


def stated_price(result: Any) -> Any:
    """Return the price that an answer has come with, in its body or its headers, as LiteLLM keeps it; None without."""
    return (result.__pydantic_private__[HIDDEN].get("additional_headers") or {}).get(STATED_PRICE)


def is_plain(usage: Any) -> bool:
    """Return whether a usage counts tokens of the prompt and the completion and nothing else."""
    if usage is None:
        return False
    for held in (usage.__dict__, usage.__pydantic_extra__ or {}):
        for name, value in held.items():
            if not value or name in ("prompt_tokens", "completion_tokens", "total_tokens"):
                continue
            if not isinstance(value, BaseModel) or any(value.__dict__.values()) or value.__pydantic_extra__:
                return False
    return True
