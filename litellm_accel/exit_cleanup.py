"""LiteLLM's clean-up at the end of the interpreter, for which it makes an event loop.

LiteLLM registers it when the first of the names that it loads lazily is asked for. Components ask for such names before
the application has used anything.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_REGISTERED = "_async_client_cleanup_registered"


@contextmanager
def left_to_the_application() -> Iterator[None]:
    """Let nothing that is asked of LiteLLM in the block register the clean-up; the next use of LiteLLM does."""
    litellm = sys.modules.get("litellm")
    if litellm is None or vars(litellm).get(_REGISTERED) is not False:
        yield
        return
    setattr(litellm, _REGISTERED, True)
    try:
        yield
    finally:
        setattr(litellm, _REGISTERED, False)
