"""Proof of equality: every scenario of a component in stock and in accelerated LiteLLM, compared in all it shows.

``run()`` plays the scenarios and compares; ``records`` keeps what was proven, for which versions.
"""

from __future__ import annotations

from litellm_accel.verify.comparison import Difference, Result, Verdict, run

__all__ = ["Difference", "Result", "Verdict", "run"]
