"""Proof of equality: every scenario of a component in stock and in accelerated LiteLLM, compared in all it shows.

``run()`` plays the scenarios and compares; ``records`` keeps what was proven, for which versions.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from litellm_accel.verify.comparison import Difference, Result, Verdict, run

__all__ = ["Difference", "Result", "Verdict", "run"]


def __getattr__(name: str) -> Any:
    """Import what plays scenarios when it is asked for: components only ask for records."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("litellm_accel.verify.comparison"), name)
