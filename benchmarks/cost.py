"""What a call costs, as LiteLLM's callbacks, budgets and applications ask: of a response, of a usage, of numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import litellm

from benchmarks import BACKENDS, STOCK, accelerate


class Pricing:
    """`completion_cost` and `cost_per_token`; every measured call is required to have been served."""

    work = ("response", "response_cached", "response_named", "usage", "numbers", "threshold")
    params = (list(work), list(BACKENDS))
    param_names = ("work", "backend")

    def setup(self, work: str, backend: str) -> None:
        accelerate("cost", backend)
        from litellm.types.utils import Choices, Message, ModelResponse, Usage

        def response(model: str, provider: str, **details: Any) -> ModelResponse:
            usage = Usage(prompt_tokens=1200, completion_tokens=300, total_tokens=1500, **details)
            made = ModelResponse(model=model, choices=[Choices(message=Message(content="Hello"))], usage=usage)
            made._hidden_params = {"custom_llm_provider": provider}
            return made

        plain = response("gpt-4o", "openai")
        cached = response(
            "claude-sonnet-4-5",
            "anthropic",
            prompt_tokens_details={"cached_tokens": 1000},
            completion_tokens_details={"reasoning_tokens": 200},
        )
        long = Usage(prompt_tokens=250_000, completion_tokens=300, total_tokens=250_300)
        calls: dict[str, Callable[[], Any]] = {
            "response": lambda: litellm.completion_cost(plain),
            "response_cached": lambda: litellm.completion_cost(cached),
            "response_named": lambda: litellm.completion_cost(
                plain, model="gpt-4o", custom_llm_provider="openai", call_type="acompletion"
            ),
            "usage": lambda: litellm.cost_per_token("gpt-4o", custom_llm_provider="openai", usage_object=plain.usage),
            "numbers": lambda: litellm.cost_per_token("gpt-4o", 1200, 300),
            "threshold": lambda: litellm.cost_per_token(
                "gemini/gemini-2.5-pro", custom_llm_provider="gemini", usage_object=long
            ),
        }
        self.call = calls[work]
        for _ in range(2):  # the second call of a kind makes its plan
            self.call()
        self.served = _served(backend)

    def time_call(self, work: str, backend: str) -> None:
        self.call()

    def teardown(self, work: str, backend: str) -> None:
        if backend != STOCK:
            self.call()
            assert _served(backend) > self.served, "the calls that were measured have not been served"


class Declined:
    """A call that is left to stock: a response as a dict, with prices of its own."""

    params = (list(BACKENDS),)
    param_names = ("backend",)

    def setup(self, backend: str) -> None:
        accelerate("cost", backend)
        self.price = litellm.completion_cost
        self.time_custom_pricing(backend)

    def time_custom_pricing(self, backend: str) -> None:
        self.price(
            {"model": "gpt-4o", "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}},
            custom_cost_per_token={"input_cost_per_token": 0.1, "output_cost_per_token": 0.2},
        )


def _served(backend: str) -> int:
    if backend == STOCK:
        return 0
    import litellm_accel

    status = litellm_accel.status()["cost"]
    assert not status.faults
    return status.served
