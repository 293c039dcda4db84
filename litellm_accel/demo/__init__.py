"""The demo: the same work in stock and in accelerated LiteLLM, in turn, with its speed and its results compared."""

from __future__ import annotations

from litellm_accel.demo.page import page
from litellm_accel.demo.results import Result
from litellm_accel.demo.runner import QUICK_SECONDS, SECONDS, WorkerFailed, run
from litellm_accel.demo.table import print_table

__all__ = ["QUICK_SECONDS", "SECONDS", "Result", "WorkerFailed", "page", "print_table", "run"]
