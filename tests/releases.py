"""What tests must know of the installed LiteLLM."""

from __future__ import annotations

import pytest

from litellm_accel.stock import seams

#: The components for which the installed LiteLLM leaves nothing to do.
NATIVE = {"routing", "rate_limit"} if seams.has_core_of_its_own() else set()

#: For tests of what only routers have that choose, and keep what they know, in Python.
routers_in_python = pytest.mark.skipif(
    seams.has_core_of_its_own(), reason="the installed LiteLLM's routers have a core of their own"
)
