"""Log levels at which stock and its libraries write something about each call."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from litellm_accel.verify.scenario import ALL, DIRECT, Scenario, after_plain, themed

INFO = {"": logging.INFO}
#: Everything but LiteLLM's own debugging, and the HTTP client that threads use.
DEBUG = {"openai": logging.DEBUG, "httpx": logging.DEBUG, "LiteLLM": logging.INFO, "LiteLLM Router": logging.INFO}
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}


def at(name: str, levels: dict[str, int], arguments: dict[str, Any] | None = None, **more: Any) -> Scenario:
    """A scenario at these levels; records must be seen twice before they are written."""
    return Scenario(name, arguments or {}, levels=levels, **{"calls": 6, "via": ALL, **more})


PLAIN = (
    at("info", INFO),
    at("info-httpx-alone", {"httpx": logging.INFO}),
    at("info-litellm-alone", {"LiteLLM": logging.INFO}),
    at("info-router-alone", {"LiteLLM Router": logging.INFO}),
    at("debug", DEBUG),
    at("debug-asyncio", {**DEBUG, "asyncio": logging.DEBUG}, via=("acompletion", "arouter")),
    at("info-tools", INFO, {"tools": [TOOL]}, answer="tools"),
    at("debug-tools", DEBUG, {"tools": [TOOL], "user": "somebody"}, answer="tools"),
    at("info-callbacks", INFO, callbacks={"callbacks": ("success",)}, calls=8),
    at("info-metadata", INFO, {"metadata": {"request": "one"}}, calls=8),
    at("debug-no-request-id", DEBUG, answer='plain{"headers": {"x-request-id": null}}'),
)
PROVIDERS = tuple(
    at(f"{name}-hosted-vllm", levels, model="hosted_vllm/some-model", via=DIRECT)
    for name, levels in (("info", INFO), ("httpx", {"httpx": logging.INFO}), ("debug", DEBUG))
)
STREAMS = (at("info-stream", INFO, {"stream": True}), at("debug-stream", DEBUG, {"stream": True}))
ERRORS = tuple(
    replace(scenario, calls=8)
    for scenario in after_plain(
        at("info-bad-gateway", INFO, answer="error-html", way="either"),
        at("debug-context-window", DEBUG, answer="context-window", way="either"),
        at("info-lost-connection", INFO, answer="drop-headers", way="either"),
    )
)
DECLINED = (
    at("debug-litellm", {"LiteLLM": logging.DEBUG}, way="declined", calls=2, via=("acompletion",)),
    at("debug-router", {"LiteLLM Router": logging.DEBUG}, way="declined", calls=2, via=("arouter",)),
    at("debug-httpcore", {"httpcore": logging.DEBUG}, way="declined", calls=2, via=("completion",)),
)

SCENARIOS = themed("logs", *PLAIN, *PROVIDERS, *STREAMS, *ERRORS, *DECLINED)
