"""The guardrails of a deployment: none, for most.

LiteLLM asks after each answer, and makes an object of all of the deployment's settings to look for one of them. That
the router's entry has no such setting is seen without. Anything else is LiteLLM's to look at.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import FunctionType
from typing import Any

from litellm_accel import hot
from litellm_accel.gateway.untouched import Untouched, looked_up
from litellm_accel.stock import releases

_MODULE = "litellm.proxy.utils"
_ASKED, _TYPES = "litellm.router_api", "litellm.types.router"
_CORE, _ENTRIES = "litellm.router_rust.surface.registry", "litellm.router_rust.surface.model_list"
#: LiteLLM's function.
TARGET = f"{_MODULE}:check_and_merge_model_level_guardrails"
_SOURCES = ("015ac8fde7e5",)
_SETTING = "guardrails"
_BUILDS, _ENTRY = "_core_get_deployment", "_core_get_model_info"
# What finds a deployment, and what makes an object of it.
_READ = ("deployment", "deployment_dict", _BUILDS, _ENTRY, "__getattribute__", "__init__", "get", "keys", _SETTING)


class ModelGuardrails:
    """Answers in the place of ``stock``, LiteLLM's function."""

    def __init__(self, gate: hot.gate.Gate, stock: FunctionType) -> None:
        self._gate = gate
        self._stock: Callable[..., Any] = stock
        core, types = map(importlib.import_module, (_CORE, _TYPES))
        self._router = importlib.import_module("litellm.router").Router
        self._registry, self._host = core.RustRegistry, core.HostRegistry
        self._kinds = dict, importlib.import_module(_ENTRIES)._HostedEntry
        kinds = self._registry, self._host, self._kinds[1], types.LiteLLM_Params, types.Deployment
        fields = types.LiteLLM_Params.model_fields
        self._untouched = Untouched(
            (self._router, *kinds),
            ("registry", *_READ),
            looked_up(stock, ()),
            given=_SETTING not in fields and not hasattr(types.LiteLLM_Params, _SETTING),
        )

    def merge(self, data: Any, llm_router: Any, trust_client_model_info: Any = True, model_alias: Any = None) -> Any:
        """Return ``data`` with the guardrails of its deployment, as LiteLLM does."""
        try:
            if (
                trust_client_model_info is True
                and type(data) is dict
                and type(llm_router) is self._router
                and self._gate.on
                and self._untouched.holds()
                and self.has_none(data, llm_router)
            ):
                return data
        except Exception as error:
            self._gate.fault(error)
        return self._stock(data, llm_router, trust_client_model_info, model_alias)

    def has_none(self, data: dict[Any, Any], router: Any) -> bool:
        """Return whether the deployment that has answered is the core's, and has no guardrails."""
        metadata = data.get("metadata")
        information = metadata.get("model_info") if type(metadata) is dict else None
        number = information.get("id") if type(information) is dict else None
        if type(number) is not str or "registry" in vars(router):
            return False
        registry = router.registry()
        host = registry._router if type(registry) is self._registry else None
        if type(host) is not self._host or not {_BUILDS, _ENTRY}.isdisjoint(vars(host)):
            return False
        entry = registry.deployment_dict(number)
        params: Any = entry.get("litellm_params") if type(entry) in self._kinds else None
        return type(params) in self._kinds and _SETTING not in params


def is_known(stock: FunctionType) -> bool:
    """Return whether LiteLLM's function is that of a known release, and looks where it is known to."""
    modules = _MODULE, _ASKED, _CORE, _ENTRIES, _TYPES, "litellm.router"
    return releases.strange(modules) is None and releases.is_source(stock, _SOURCES)
