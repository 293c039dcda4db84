"""The deployments of a group, which the proxy asks its router for some six times a request, remembered.

LiteLLM asks the router's core for their positions each time, and reads its list there. The core has another version
after each change. While that is the same, a name that is no alias stands for the same entries; each call gets a list
of its own, of these very entries.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

from litellm_accel import hot
from litellm_accel.fastpath.owner_cache import OwnerCache
from litellm_accel.gateway.untouched import Untouched, looked_up
from litellm_accel.stock import releases

_MODULE = "litellm.router_rust.surface.registry"
_ENTRIES, _CORE = "litellm.router_rust.surface.model_list", "litellm.router_rust.core"
_OWNER = "HostRegistry"
#: LiteLLM's methods: what a name stands for, and the deployments that have it.
TARGET, TARGET_OF_ALL = f"{_MODULE}:{_OWNER}._core_get_model_list", f"{_MODULE}:{_OWNER}._core_get_all_deployments"
_SOURCES = ("abdaf1f0a628", "ed326c6081d6")
_ASKED = frozenset(("_rows", "_row_entry", "_lookup", "_live_handle", "_list_scope", "_at", "get_routing_group"))
_OF_LISTS = ("__getitem__", "__getattribute__")
_MAX_KNOWN = 1024


class Version:
    """A version of the deployments of the core that has this ``handle``, and what names stand for in it."""

    def __init__(self, handle: Any, number: int) -> None:
        self.handle = handle
        self.number = number
        self.rows: dict[tuple[str, str | None], list[Any]] = {}


class DeploymentLists:
    """Answers in the place of ``stock``, one of LiteLLM's methods."""

    def __init__(self, gate: hot.gate.Gate, stock: FunctionType) -> None:
        self._gate = gate
        self._stock: Callable[..., Any] = stock
        core = importlib.import_module(_CORE).RustCore
        self._registry = getattr(importlib.import_module(_MODULE), _OWNER)
        self._list = importlib.import_module(_ENTRIES).HostedModelList
        self._finds = core._live_handle
        self._versions = OwnerCache()
        kinds = self._registry, self._list, core
        self._untouched = Untouched(kinds, (*_ASKED, *_OF_LISTS), looked_up(stock, (_MODULE,)))

    def find(self, registry: Any, model_name: Any = None, team_id: Any = None) -> Any:
        """Return the deployments that a name stands for in ``registry``, as LiteLLM does."""
        return self._found(registry, model_name, team_id, (model_name, team_id))

    def find_all(self, registry: Any, model_name: Any, model_alias: Any = None, team_id: Any = None) -> Any:
        """Return the deployments that have a name in ``registry``, maybe under another one, as LiteLLM does."""
        given = model_name, model_alias, team_id
        return self._found(registry, model_name if model_alias is None else None, team_id, given)

    def _found(self, registry: Any, name: Any, team: Any, given: tuple[Any, ...]) -> Any:
        version = None
        try:
            version = self._current(registry, name, team)
            if version is not None and (rows := version.rows.get((name, team))) is not None:
                return rows.copy()
        except Exception as error:
            self._gate.fault(error)
        found = self._stock(registry, *given)
        try:
            if version is not None and self._current(registry, name, team) is version:
                self._learn(registry, version, (name, team), found)
        except Exception as error:
            self._gate.fault(error)
        return found

    def _current(self, registry: Any, name: Any, team: Any) -> Version | None:
        """Return the version that ``registry`` is at; None if the name may stand for more than the core's entries."""
        if type(registry) is not self._registry or not self._gate.on or not self._untouched.holds():
            return None
        if type(name) is not str or not (team is None or type(team) is str):
            return None
        held = vars(registry)
        with held["_deployment_index_lock"]:
            aliases, models, lookup = held["_core_model_group_alias"], held["_core_model_list"], held["handle_lookup"]
            if type(aliases) is not dict or name in aliases or held["_core_routing_groups"]:
                return None
            if type(lookup) is not MethodType or lookup.__func__ is not self._finds:
                return None
            if type(models) is not self._list or not held.keys().isdisjoint(_ASKED):
                return None
            handle, read_at = vars(lookup.__self__).get("_handle"), models._read_at
            if read_at is None or read_at[0] is not handle or models._building is not None:
                return None
            number = handle.registry_version()
            if read_at[1] != number:
                return None
            version: Version | None = self._versions.get(registry)
            if version is None or version.handle is not handle or version.number != number:
                version = self._versions[registry] = Version(handle, number)
            return version

    def _learn(self, registry: Any, version: Version, place: tuple[str, str | None], found: Any) -> None:
        """Note what LiteLLM has found, if it is the entries that it keeps."""
        kept = set(map(id, vars(registry)["_core_model_list"]))
        if type(found) is list and kept.issuperset(map(id, found)):
            if len(version.rows) >= _MAX_KNOWN:
                version.rows.clear()
            version.rows[place] = found.copy()


def is_known(stock: FunctionType) -> bool:
    """Return whether LiteLLM's method is one of a known release's, and asks what it is known to."""
    return releases.strange([_MODULE, _ENTRIES, _CORE]) is None and releases.is_source(stock, _SOURCES)
