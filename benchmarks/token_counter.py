"""LiteLLM's counting as applications call it: texts, conversations, tools, encoding and trimming."""

from __future__ import annotations

import litellm

from benchmarks import BACKENDS, STOCK, accelerate, require_served
from litellm_accel.bench.workloads import COUNTED, SENTENCE, counting


class Counting:
    """`litellm.token_counter` and its neighbours. Each measured call is required to have been served."""

    params = (list(COUNTED), list(BACKENDS))
    param_names = ("work", "backend")

    def setup(self, work: str, backend: str) -> None:
        accelerate("tokens", backend)
        self.call = counting()[work]
        self.call()
        if backend != STOCK:
            require_served("tokens")

    def time_call(self, work: str, backend: str) -> None:
        self.call()

    def teardown(self, work: str, backend: str) -> None:
        if backend != STOCK:
            require_served("tokens")


class Declined:
    """A call that is left to stock: a model with Anthropic's packaged tokenizer."""

    params = (list(BACKENDS),)
    param_names = ("backend",)

    def setup(self, backend: str) -> None:
        accelerate("tokens", backend)
        litellm.anthropic_models.add("claude-2.1")
        self.count = litellm.token_counter
        self.count(model="claude-2.1", text=SENTENCE)
        if backend != STOCK:
            import litellm_accel

            assert litellm_accel.status()["tokens"].declined == {"huggingface tokenizer": 1}

    def time_text_60(self, backend: str) -> None:
        self.count(model="claude-2.1", text=SENTENCE)
