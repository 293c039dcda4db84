"""Drop-in acceleration for LiteLLM: ``litellm_accel.accelerate()`` and nothing else changes.

Importing this package does nothing: no patch, no thread, no socket, no heavy import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from litellm_accel._backend import backend
    from litellm_accel.activation import (
        accelerate,
        accelerated,
        apply_acceleration,
        configure,
        remove_acceleration,
        reset_errors,
        restore,
        status,
    )
    from litellm_accel.encodings import Encoding, get_encoding
    from litellm_accel.fastpath.transport.pools import connection_pool_stats
    from litellm_accel.operation.profiler import Profile as profile
    from litellm_accel.operation.statistics import (
        compare_implementations,
        export_performance_data,
        get_feature_status,
        get_patch_status,
        get_performance_stats,
        get_recommendations,
        health_check,
        reset_stats,
    )
    from litellm_accel.report import AccelerationError, ComponentStatus, Report

__all__ = [
    "AccelerationError",
    "ComponentStatus",
    "Encoding",
    "Report",
    "__version__",
    "accelerate",
    "accelerated",
    "apply_acceleration",
    "backend",
    "compare_implementations",
    "configure",
    "connection_pool_stats",
    "export_performance_data",
    "get_encoding",
    "get_feature_status",
    "get_patch_status",
    "get_performance_stats",
    "get_recommendations",
    "health_check",
    "profile",
    "remove_acceleration",
    "reset_errors",
    "reset_stats",
    "restore",
    "status",
]

# Where each public name lives; its module is imported when the name is first used.
_HOMES = {
    "AccelerationError": "report",
    "ComponentStatus": "report",
    "Encoding": "encodings",
    "Report": "report",
    "accelerate": "activation",
    "accelerated": "activation",
    "apply_acceleration": "activation",
    "backend": "_backend",
    "compare_implementations": "operation.statistics",
    "configure": "activation",
    "connection_pool_stats": "fastpath.transport.pools",
    "export_performance_data": "operation.statistics",
    "get_encoding": "encodings",
    "get_feature_status": "operation.statistics",
    "get_patch_status": "operation.statistics",
    "get_performance_stats": "operation.statistics",
    "get_recommendations": "operation.statistics",
    "health_check": "operation.statistics",
    "profile": "profile",
    "remove_acceleration": "activation",
    "reset_errors": "activation",
    "reset_stats": "operation.statistics",
    "restore": "activation",
    "status": "activation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    module = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    found = module if _HOMES[name] == name else getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
