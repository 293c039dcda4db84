"""How Python's garbage collector treats a proxy that ``litellm-accel proxy`` has started.

A collection of the oldest generation walks all that has been imported, a third of a second for LiteLLM's proxy, while
all requests wait. Once the proxy is imported, what is there is frozen: it is no longer walked. New objects are
collected as before, less often by ``THRESHOLDS``.
"""

from __future__ import annotations

import gc

from litellm_accel import import_watch, settings

_PROXY = "litellm.proxy.proxy_server"
#: New objects more than freed ones until the youngest are collected; collections until older ones are, too.
THRESHOLDS = (5_000, 20, 20)


def begin() -> None:
    """Freeze what is there when the proxy has been imported, if ``LITELLM_ACCEL_GC`` asks for it."""
    if not settings.freezes():
        return
    if import_watch.is_imported(_PROXY):
        _freeze()
        return

    def imported() -> None:
        watch.stop()
        _freeze()

    watch = import_watch.ImportWatch(_PROXY, imported)
    watch.start()


def _freeze() -> None:
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
