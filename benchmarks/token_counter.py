"""LiteLLM's counting as applications call it: texts, conversations, tools, encoding and trimming."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import litellm

from benchmarks import BACKENDS, STOCK, accelerate, require_served

SENTENCE = "The quick brown fox jumps over the lazy dog and runs away!!!"
MESSAGES = [
    {"role": "assistant" if turn % 2 else "user", "content": f"short message number {turn} here, hello"}
    for turn in range(10)
]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": f"weather_{number}",
            "description": "The weather of a city, now or in the days to come. " * 3,
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "The city's name"},
                    "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                    "days": {"type": "array", "items": {"type": "integer"}},
                },
                "required": ["city"],
            },
        },
    }
    for number in range(5)
]
PARTS = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": SENTENCE},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
        ],
    }
]


class Counting:
    """`litellm.token_counter` and its neighbours. Each measured call is required to have been served."""

    work = (
        "text_60",
        "text_10k",
        "messages_10",
        "tools_5",
        "content_parts",
        "encode",
        "decode",
        "reach_token_count",
        "trim_messages",
    )
    params = (list(work), list(BACKENDS))
    param_names = ("work", "backend")

    def setup(self, work: str, backend: str) -> None:
        accelerate("tokens", backend)
        count = litellm.token_counter
        tokens = litellm.encode(model="gpt-4o", text=SENTENCE)
        long_text = f"{SENTENCE} " * 170
        calls: dict[str, Callable[[], Any]] = {
            "text_60": lambda: count(model="gpt-4o", text=SENTENCE),
            "text_10k": lambda: count(model="gpt-4o", text=long_text),
            "messages_10": lambda: count(model="gpt-4o", messages=MESSAGES),
            "tools_5": lambda: count(model="gpt-4o", messages=MESSAGES, tools=TOOLS),
            "content_parts": lambda: count(model="gpt-4o", messages=PARTS),
            "encode": lambda: litellm.encode(model="gpt-4o", text=SENTENCE),
            "decode": lambda: litellm.decode(model="gpt-4o", tokens=tokens),
            "reach_token_count": lambda: litellm.utils.is_prompt_caching_valid_prompt("gpt-4o", MESSAGES),
            "trim_messages": lambda: litellm.utils.trim_messages(MESSAGES, model="gpt-4o", max_tokens=60),
        }
        self.call = calls[work]
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
