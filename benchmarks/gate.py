"""What the gate adds to a call: the same small function called directly (stock) and through a gate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks import BACKENDS, STOCK, hot

_KEYED = {"litellm_call_id": "5f1c3c5e-4f9a-4a55-9a3c-2f1a4be0a7d1"}


def _length(text: str, litellm_call_id: str = "") -> int:
    return len(text)


class Calls:
    """One call that is served; one that is declined, so that stock runs after it; one through a gate that is off."""

    params = (list(BACKENDS),)
    param_names = ("backend",)

    def setup(self, backend: str) -> None:
        self.served = self.declined = self.off = _length
        if backend == STOCK:
            return
        module = hot("gate", backend)
        gate = module.Gate("benchmark")
        gate.switch(True)
        self.served = gate.pure(_length, _never)
        self.declined = gate.pure(lambda text: gate.decline("benchmark"), _length)
        self.off = module.Gate("closed").pure(_never, _length)
        assert self.served("text") == self.declined("text") == self.off("text") == 4
        assert (gate.served, gate.declined, gate.faults) == (1, {"benchmark": 1}, 0)

    def time_served(self, backend: str) -> None:
        self.served("text")

    def time_declined(self, backend: str) -> None:
        self.declined("text")

    def time_off(self, backend: str) -> None:
        self.off("text")


class Watched:
    """The same call with a share by a key and its time taken, and through a door where nothing is set."""

    params = (list(BACKENDS),)
    param_names = ("backend",)

    def setup(self, backend: str) -> None:
        self.everything = self.nothing = _length
        if backend == STOCK:
            return
        module = hot("gate", backend)
        gate = module.Gate("benchmark")
        gate.switch(True)
        self.nothing = module.Door(gate, _length, _never)
        watched = module.Gate("watched")
        watched.switch(True)
        watched.measure(True)
        watched.set_share(0.9999999)
        self.everything = watched.pure(_length, _length)
        assert self.everything("text", **_KEYED) == self.nothing("text") == 4
        assert (watched.served, watched.sides[0].calls) == (1, 1)

    def time_everything(self, backend: str) -> None:
        self.everything("text", **_KEYED)

    def time_nothing(self, backend: str) -> None:
        self.nothing("text")


class Counting:
    """What components of their own do to the counters: count a served call."""

    params = (list(BACKENDS[1:]),)
    param_names = ("backend",)

    def setup(self, backend: str) -> None:
        gate = hot("gate", backend).Gate("benchmark")
        self.serve: Callable[[], Any] = gate.serve
        self.serve()
        assert gate.served == 1

    def time_serve(self, backend: str) -> None:
        self.serve()


def _never(text: str) -> int:
    raise AssertionError("the other path should have run")
