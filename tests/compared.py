"""Calls whose outcomes are compared: what an application sees of each, and what the provider has received."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

from litellm_accel.fastpath.plans import templates
from litellm_accel.provider import Provider

HELLO = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]


def asked(scenario: str) -> list[dict[str, Any]]:
    """A conversation that the provider answers with ``scenario``."""
    return [*HELLO, {"role": "assistant", "content": "Yes?"}, {"role": "user", "content": f"answer as: {scenario}"}]


def seen(result: Any, error: BaseException | None) -> Any:
    """Everything an application sees of a call, but its id and its times."""
    if error is not None:
        shown = {k: v for k, v in vars(error).items() if k not in ("request", "response", "litellm_response_headers")}
        shown["litellm_response_headers"] = sorted(dict(getattr(error, "litellm_response_headers", None) or {}).items())
        text = repr((type(error), str(error), sorted(shown.items(), key=str), type(error.__context__)))
        return re.sub(r"0x[0-9a-f]+|time taken=[\d.]+|[0-9a-f-]{36}", "", text)
    result = copy.deepcopy(result)
    hidden = result._hidden_params
    for name in ("_response_ms", "litellm_overhead_time_ms", "litellm_call_id"):
        hidden[name] = type(hidden[name])()
    private = result.__pydantic_private__  # where an embedding has its time
    (private if "_response_ms" in private else vars(result))["_response_ms"] = 0.0
    text = repr((templates.state(result), result.model_dump(), result.model_dump_json()))
    text = re.sub(r"chatcmpl-[0-9a-f-]{36}", "chatcmpl", text)
    return re.sub(r"\b\d{10}\b", lambda found: "now" if abs(int(found[0]) - time.time()) < 3600 else found[0], text)


def sent(provider: Provider) -> list[Any]:
    return [(r.method, r.path, r.headers, r.body) for r in provider.requests()]


async def outcome(call: Callable[[], Awaitable[Any]]) -> Any:
    try:
        return seen(await call(), None)
    except Exception as error:
        return seen(None, error)
