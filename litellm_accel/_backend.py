"""The loader: each hot module from ``_cy`` if it imports, else its twin from ``_py``."""

from __future__ import annotations

import importlib
import pkgutil
import threading
from types import ModuleType
from typing import Literal, NamedTuple

from litellm_accel import settings


class Backend(NamedTuple):
    """Which implementation of a hot module runs, and why that one."""

    kind: Literal["compiled", "pure"]
    reason: str


_lock = threading.Lock()
_modules: dict[str, ModuleType] = {}
_backends: dict[str, Backend] = {}


def load(name: str) -> ModuleType:
    """Return hot module ``name``: compiled if it imports and is wanted, else the pure twin.

    The choice is made once a process and a module; ``backend()`` tells it.
    """
    module = _modules.get(name)
    if module is None:
        with _lock:
            module = _modules.get(name)
            if module is None:
                module, _backends[name] = _choose(name)
                _modules[name] = module
    return module


def _choose(name: str) -> tuple[ModuleType, Backend]:
    if settings.pure():
        reason = "LITELLM_ACCEL_PURE is set"
    else:
        try:
            return importlib.import_module(f"litellm_accel._cy.{name}"), Backend("compiled", "compiled module imports")
        except ModuleNotFoundError as error:
            reason = "no compiled module is installed" if error.name == f"litellm_accel._cy.{name}" else str(error)
        except Exception as error:  # a broken extension can raise anything while it initialises
            reason = f"compiled module fails to import: {type(error).__name__}: {error}"
    return importlib.import_module(f"litellm_accel._py.{name}"), Backend("pure", reason)


def must_compare(name: str) -> bool:
    """Return whether hot module ``name`` is a twin that compares all it watches with what was there, at each call.

    So do these twins where dictionaries have no versions, which takes them longer than a call saves.
    """
    return name in ("routing", "watch") and not getattr(load(name), "HAS_TAGS", True)


def hot_modules() -> list[str]:
    """Return the names of all hot modules, sorted."""
    from litellm_accel import _py

    return sorted(module.name for module in pkgutil.iter_modules(_py.__path__))


def chosen(name: str) -> Backend:
    """Return which implementation of hot module ``name`` runs, loading it if need be."""
    load(name)
    return _backends[name]


def backend() -> dict[str, Backend]:
    """Return, for every hot module, whether the compiled or the pure implementation runs and why."""
    return {name: chosen(name) for name in hot_modules()}
