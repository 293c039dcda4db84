"""A provider's script: one conversation gets several answers in turn, and then begins anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

_WORDS = "answer as: "
_BETWEEN = " | "


def script(argument: str) -> Callable[[Any], str]:
    """Return what answers a request ``answer as: ONE | OTHER`` by one scenario and then by the other."""
    asked: Counter[str] = Counter()

    def answer(request: Any) -> str:
        text = request["messages"][-1]["content"]
        if not isinstance(text, str) or not text.startswith(_WORDS):
            return ""
        scenarios = text.removeprefix(_WORDS).split(_BETWEEN)
        asked[text] += 1
        return scenarios[(asked[text] - 1) % len(scenarios)]

    return answer
