"""The object of the deployment that has answered, which LiteLLM makes anew after each call.

It validates some two hundred fields of an entry that is the same until the deployment changes. Two objects that
LiteLLM has made of an entry show what it makes of it (``object_templates.py``). Only of an entry of plain values, which
share nothing with the object; another entry, or one that is not as it was, is LiteLLM's.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from operator import is_
from types import FunctionType
from typing import Any

from litellm_accel import hot
from litellm_accel.fastpath.owner_cache import OwnerCache
from litellm_accel.gateway.object_templates import Differing, ObjectTemplate
from litellm_accel.gateway.untouched import Untouched, looked_up
from litellm_accel.stock import releases

_MODULE, _ENTRIES = "litellm.router_rust.surface.registry", "litellm.router_rust.surface.model_list"
_TYPES = "litellm.types.router"
_OWNER = "HostRegistry"
#: LiteLLM's method.
TARGET = f"{_MODULE}:{_OWNER}._core_get_deployment"
_SOURCES = ("dae80a0bce41",)
_ENTRY = "_core_get_model_info"
# What makes an object, and what its parts are then read by.
_READ = ("__new__", "__init__", "__setattr__", "__getattribute__", "__getattr__")
_ATOMS = frozenset((str, int, float, bool, type(None)))
# Of which kinds arguments are that LiteLLM does not warn of while it makes an object.
_WARNED_OF = {"drop_params": (bool, type(None))}
_MAX_KNOWN = 1024


class Known:
    """What LiteLLM makes of an entry by these ``parts``; None: what cannot be made again."""

    __slots__ = ("parts", "template")

    def __init__(self, parts: list[Any], template: ObjectTemplate | None) -> None:
        self.parts = parts
        self.template = template

    def is_of(self, parts: list[Any]) -> bool:
        """Return whether an entry consists of the very same ``parts``."""
        return len(parts) == len(self.parts) and all(map(is_, parts, self.parts))


class DeploymentObjects:
    """Answers in the place of ``stock``, LiteLLM's method."""

    def __init__(self, gate: hot.gate.Gate, stock: FunctionType) -> None:
        self._gate = gate
        self._stock: Callable[[Any, Any], Any] = stock
        self._registry = getattr(importlib.import_module(_MODULE), _OWNER)
        self._kinds = dict, importlib.import_module(_ENTRIES)._HostedEntry
        types: Any = importlib.import_module(_TYPES)
        self._known = OwnerCache()  # by registry: what is known of deployments, by their ids
        self._made_of = types.Deployment, types.LiteLLM_Params, types.ModelInfo
        self._untouched = Untouched(
            (*self._made_of, self._registry),
            (*_READ, _ENTRY),
            [*looked_up(stock, ()), *looked_up(types.Deployment.__init__, ())],
            [types],
        )

    def make(self, registry: Any, model_id: Any) -> Any:
        """Return a new object of the deployment that ``registry`` has by an id, as LiteLLM does."""
        try:
            if type(registry) is self._registry and type(model_id) is str and self._gate.on and self._untouched.holds():
                template = self._template(registry, model_id)
                if template is not None:
                    return template.make({})
        except Exception as error:
            self._gate.fault(error)
        return self._stock(registry, model_id)

    def _template(self, registry: Any, number: str) -> ObjectTemplate | None:
        """Return what makes a deployment's object, None if LiteLLM has to."""
        entry = None if _ENTRY in vars(registry) else registry._core_get_model_info(number)
        parts = self._parts(entry)
        if parts is None:
            return None
        learned: dict[str, Known] | None = self._known.get(registry)
        if learned is None:
            learned = self._known[registry] = {}
        known = learned.get(number)
        if known is None or not known.is_of(parts):
            if len(learned) >= _MAX_KNOWN:
                learned.clear()
            known = learned[number] = Known(parts, self._learned(registry, number))
        return known.template

    def _parts(self, entry: Any) -> list[Any] | None:
        """Return all names and values in an ``entry``, and what validates it; None if some may change or be shared."""
        if type(entry) not in self._kinds or type(entry.get("litellm_params")) not in self._kinds:
            return None
        if any(type(entry["litellm_params"].get(name)) not in kinds for name, kinds in _WARNED_OF.items()):
            return None
        # pydantic makes validators when they are first needed, and anew for a class that is rebuilt.
        parts: list[Any] = [kind.__pydantic_validator__ for kind in self._made_of]
        for name, value in entry.items():
            held = (name, *value, *value.values()) if type(value) in self._kinds else (name, value)
            if not _ATOMS.issuperset(map(type, held)):
                return None
            parts += held
        return parts

    def _learned(self, registry: Any, number: str) -> ObjectTemplate | None:
        """Return what two objects show, which nobody else gets to see."""
        try:
            return ObjectTemplate(self._stock(registry, number), self._stock(registry, number))
        except Differing:
            return None


def is_known(stock: FunctionType) -> bool:
    """Return whether LiteLLM's method is that of a known release, and makes what it is known to."""
    modules = _MODULE, _ENTRIES, _TYPES
    return releases.strange(modules) is None and releases.is_source(stock, _SOURCES)
