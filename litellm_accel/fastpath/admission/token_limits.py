"""What ``litellm.modify_params`` does to calls that the fast path serves: it cuts ``max_tokens`` to what the model can
take.

That depends on the messages, so a watched call does not show it. LiteLLM's own function is asked for each call, and a
call whose limit would be cut is stock's. All else that the setting does is done for providers that the fast path leaves
to stock.
"""

from __future__ import annotations

import importlib
from typing import Any

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.decline import Why


class TokenLimits:
    """Tells which calls have their ``max_tokens`` cut."""

    def __init__(self) -> None:
        self._litellm = importlib.import_module("litellm")
        counter = importlib.import_module("litellm.litellm_core_utils.token_counter")
        self._modified = getattr(counter, "get_modified_max_tokens", None)

    def reason(self, model: Any, messages: Any, limit: Any) -> Why | None:
        """Return why a call with this ``max_tokens`` is stock's to serve, or None."""
        if limit is None or self._litellm.modify_params is not True:
            return None
        if self._modified is not None:
            cut = self._modified(
                model=model,
                base_model=model,
                messages=messages,
                user_max_tokens=limit,
                buffer_num=None,
                buffer_perc=None,
            )
            if type(cut) is type(limit) and cut == limit:
                return None
        return decline.SETTING.of("modify_params", "=True")
