"""What a call costs, as LiteLLM's callbacks, budgets and applications ask: of a response, of a usage, of numbers."""

from __future__ import annotations

import litellm

from benchmarks import BACKENDS, STOCK, accelerate
from litellm_accel.bench.workloads import PRICED, pricing


class Pricing:
    """`completion_cost` and `cost_per_token`; every measured call is required to have been served."""

    params = (list(PRICED), list(BACKENDS))
    param_names = ("work", "backend")

    def setup(self, work: str, backend: str) -> None:
        accelerate("cost", backend)
        self.call = pricing()[work]
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
