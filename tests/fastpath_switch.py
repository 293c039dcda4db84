"""The fast path switched on and off by hand within one process, with a record of verify or without."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import litellm

from litellm_accel import _backend, patching
from litellm_accel.components.base import prepared
from litellm_accel.components.chat import Chat
from litellm_accel.components.embeddings import Embeddings
from litellm_accel.fastpath.pipeline import Pipeline
from litellm_accel.fastpath.transport import pools

LISTS = (
    "callbacks",
    "input_callback",
    "success_callback",
    "failure_callback",
    "_async_input_callback",
    "_async_success_callback",
    "_async_failure_callback",
)


class Switch:
    """The component's functions, built once. Without ``pooled`` the fast path sends by LiteLLM's own transports.

    Where it is not ``recorded``, each kind of call is proven on its first calls. The ``component`` is a new one.
    """

    def __init__(self, pooled: bool = True, recorded: bool = True, component: Chat | Embeddings | None = None) -> None:
        component = component or Chat()
        Gate = _backend.load("gate").Gate
        self.gate = Gate(component.name, 10)
        self.pools = None
        if pooled:
            self.pools = pools.Pools(pool_gate := Gate("connection_pool", 10))
            pool_gate.switch(True)
        self.patches = []
        for replacement in component.replacements(self.gate):
            self.patches.append(prepared(replacement)[0])
        self.cores = component.cores
        assert component.pipeline is not None
        self.pipeline: Pipeline = component.pipeline
        self.pipeline.proof.is_recorded = recorded

    def start(self) -> None:
        """Switch on, until ``stop``."""
        self.gate.switch(True)
        patching.install(self.patches)
        if self.cores is not None:
            self.cores.join()
        pools.use(self.pools)

    def stop(self) -> None:
        """Switch off for good."""
        self.gate.switch(False)
        self._uninstall()
        if self.pools is not None:
            self.pools.close("restored")

    @contextmanager
    def on(self) -> Iterator[Pipeline]:
        """On within the block."""
        self.start()
        try:
            yield self.pipeline
        finally:
            self._uninstall()

    def _uninstall(self) -> None:
        pools.use(None)
        if self.cores is not None:
            self.cores.leave()
        patching.uninstall(self.patches)


def assert_served_as_by_stock(play: Callable[[], Any], at_least: int) -> None:
    """Let ``play`` make calls, by stock twice: what it returns is the same with the fast path, which serves them."""
    switch = Switch(pooled=False)
    play()  # what LiteLLM does once
    expected = play()
    with switch.on():
        found = play()
    assert found == expected
    assert switch.gate.served >= at_least, switch.gate.declined
    assert not switch.gate.faults, switch.gate.last_fault


@contextmanager
def without_callbacks() -> Iterator[None]:
    """LiteLLM's lists of callbacks are empty at first, and in the end what they were."""
    held = {name: list(getattr(litellm, name)) for name in LISTS}
    for name in LISTS:
        getattr(litellm, name).clear()
    try:
        yield
    finally:
        for name, callbacks in held.items():
            getattr(litellm, name)[:] = callbacks
