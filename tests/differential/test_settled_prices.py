"""Payloads of calls whose price a proxy has settled before callbacks hear of it."""

from __future__ import annotations

import datetime
from types import SimpleNamespace
from typing import Any

import litellm
import pytest
from litellm.litellm_core_utils.litellm_logging import Logging

from litellm_accel.fastpath.notify.payload import Payloads, Sources

finalization = pytest.importorskip("litellm.litellm_core_utils.llm_cost_calc.finalization")
BEGUN = datetime.datetime(2026, 1, 1)


def call(number: int) -> tuple[Any, Any]:
    """Return the ``Logging`` object and the result of a call."""
    messages = [{"role": "user", "content": f"question {number}"}]
    logging = Logging("gpt-4o-mini", messages, False, "acompletion", BEGUN, f"call-{number}", "function")
    logging.update_environment_variables(
        model="gpt-4o-mini",
        user=None,
        optional_params={},
        litellm_params={"metadata": {}},
        custom_llm_provider="openai",
    )
    result = litellm.ModelResponse(model="gpt-4o-mini", usage=usage(number))
    result._hidden_params = {"response_cost": None}
    logging.model_call_details.update(completion_start_time=BEGUN, response_cost=number * 0.5, cache_hit=None)
    return logging, result


def usage(number: int) -> litellm.Usage:
    return litellm.Usage(prompt_tokens=number, completion_tokens=1, total_tokens=number + 1)


def settle(logging: Any, number: int) -> None:
    """Do what the proxy does between a call and its callbacks."""
    breakdown = {"input_cost": number * 0.5, "output_cost": 0.0, "total_cost": number * 0.5}
    logging.record_finalized_cost(finalization.finalize_cost(number * 0.5, breakdown, 0.25))
    logging.model_call_details["combined_usage_object"] = usage(number + 7)


def payloads() -> Any:
    def fault(error: BaseException) -> None:
        raise error

    trial: Any = SimpleNamespace(is_on=False)
    return Payloads(Sources(), fault, True, trial)


def built(made: Any, logging: Any, result: Any) -> tuple[Any, bool]:
    """Return the payload, and whether LiteLLM has built it."""
    asked = []

    def stock(*arguments: Any) -> Any:
        asked.append(arguments)
        return logging._build_standard_logging_payload(*arguments)

    ended = BEGUN + datetime.timedelta(seconds=2)
    return made.build(logging, result, BEGUN, ended, stock), bool(asked)


def test_settled_prices_are_learned_and_made() -> None:
    made = payloads()
    for number in range(1, 6):
        logging, result = call(number)
        settle(logging, number)
        payload, is_stocks = built(made, logging, result)
        assert is_stocks == (number <= 2)
        expected = logging._build_standard_logging_payload(result, BEGUN, BEGUN + datetime.timedelta(seconds=2))
        assert payload == expected
        assert payload["cost_finalized"] is True
        assert payload["response_cost"] == number * 0.5 - 0.25
        assert payload["prompt_tokens"] == number + 7


@pytest.mark.parametrize("settled_first", [True, False])
def test_a_price_may_be_settled_or_not(settled_first: bool) -> None:
    made = payloads()
    for number in range(1, 8):
        logging, result = call(number)
        if (number <= 4) == settled_first:
            settle(logging, number)
        payload, _ = built(made, logging, result)
        expected = logging._build_standard_logging_payload(result, BEGUN, BEGUN + datetime.timedelta(seconds=2))
        assert payload == expected
        assert payload["cost_finalized"] is ((number <= 4) == settled_first)
