"""Whether a key has a limit of its own for a model, which LiteLLM's limiter asks once a call is done: most have none.

LiteLLM makes the object of a key to look for one name in the key's metadata and for another in its budgets. That
neither is there is seen without. Anything else is LiteLLM's to look at.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

from litellm_accel import hot
from litellm_accel.gateway.untouched import Untouched, looked_up
from litellm_accel.stock import releases

_MODULE = "litellm.proxy.hooks.parallel_request_limiter_v3"
_LIMITS, _KEYS = "litellm.proxy.auth.auth_utils", "litellm.types.proxy.auth.user_api_key_auth"
_OWNER = "_PROXY_MaxParallelRequestsHandler_v3"
#: LiteLLM's method.
TARGET = f"{_MODULE}:{_OWNER}._key_owns_model_tpm_limit_from_request_metadata"
_SOURCES = ("93a2b9ad4bd2",)
_ASKED = "_key_owns_model_limit"
_METADATA, _BUDGETS = "user_api_key_metadata", "user_api_key_model_max_budget"
_LIMIT = "model_tpm_limit"


class OwnedLimits:
    """Answers in the place of ``stock``, LiteLLM's method."""

    def __init__(self, gate: hot.gate.Gate, stock: FunctionType) -> None:
        self._gate = gate
        self._stock: Callable[[Any, Any, Any], Any] = stock
        limiter: Any = importlib.import_module(_MODULE)
        self._limiter, self._model = getattr(limiter, _OWNER), limiter.RateLimitedModel
        kinds = self._limiter, self._model, limiter.UserAPIKeyAuth
        asked = ("__getattribute__", "__init__", "check_api_key", "limit_in", "model_validate", _ASKED)
        finds = importlib.import_module(_LIMITS).get_key_own_model_rate_limit
        self._untouched = Untouched(kinds, asked, [*looked_up(stock, ()), *looked_up(finds, ())])

    def owns(self, limiter: Any, request_metadata: Any, model: Any) -> Any:
        """Return whether the key of a request limits the tokens of ``model``, as LiteLLM does."""
        try:
            if (
                self._gate.on
                and type(limiter) is self._limiter
                and type(model) is self._model
                and _ASKED not in vars(limiter)
                and has_none(request_metadata)
                and self._untouched.holds()
            ):
                return False
        except Exception as error:
            self._gate.fault(error)
        return self._stock(limiter, request_metadata, model)


def has_none(metadata: Any) -> bool:
    """Return whether a request's ``metadata`` tell of no limit: neither the key's own ones nor its budgets do."""
    if type(metadata) is not dict or metadata.get(_BUDGETS):
        return False
    own = metadata.get(_METADATA) or {}
    return type(own) is dict and _LIMIT not in own and all(type(name) is str for name in own)


def is_known(stock: FunctionType) -> bool:
    """Return whether LiteLLM's method is that of a known release, and looks where it is known to."""
    return releases.strange([_MODULE, _LIMITS, _KEYS]) is None and releases.is_source(stock, _SOURCES)


def agrees(limits: OwnedLimits, stock: Callable[[Any, Any, Any], Any]) -> bool:
    """Return whether LiteLLM finds no limit where none is seen, and one elsewhere."""
    limiter, model = object.__new__(limits._limiter), limits._model("a", "a")
    seen = [(has_none(metadata), stock(limiter, metadata, model)) for metadata in _probes()]
    return {owned for _, owned in seen} == {True, False} and not any(owned for is_none, owned in seen if is_none)


def _probes() -> Iterator[dict[str, Any]]:
    for own in (None, {}, {"a": 1}, {_LIMIT: {"a": 1}}, {_LIMIT: None}):
        for budgets in (None, {}, {"a": {"tpm_limit": 1}}):
            yield {_METADATA: own, _BUDGETS: budgets}
