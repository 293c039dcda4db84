"""The modes that a component can be in, and what each does to the component's gate."""

from __future__ import annotations

from litellm_accel.hot import gate as hot_gate
from litellm_accel.operation.schema import ComponentSettings


class Mode:
    """All calls, none, or a share of them: modes ``on``, ``off`` and ``rollout``."""

    measures = False  # whether each call must be timed

    def __init__(self, name: str, gate: hot_gate.Gate, settings: ComponentSettings) -> None:
        self.name = name
        self.gate = gate
        self.settings = settings

    def __str__(self) -> str:
        mode = self.settings.mode
        return mode if mode != "rollout" else f"rollout {self.settings.percent:g} %"

    def enter(self) -> None:
        """Put the gate into this mode."""
        percent = {"on": 100.0, "off": 0.0}.get(self.settings.mode, self.settings.percent or 0.0)
        self.share(percent)

    def leave(self) -> None:
        """Undo what the next mode does not set itself."""

    def share(self, percent: float) -> None:
        """Serve this percentage of the calls, chosen by the configured key."""
        key = self.settings.key
        self.gate.set_share(percent / 100, *([] if key is None else [tuple(key.split("."))]))


def mode_of(name: str, gate: hot_gate.Gate, settings: ComponentSettings) -> Mode:
    """Return the mode that is set for a component."""
    if settings.mode == "canary":
        from litellm_accel.operation.canary import Canary

        return Canary(name, gate, settings)
    if settings.mode == "shadow":
        from litellm_accel.operation.shadow import ShadowMode

        return ShadowMode(name, gate, settings)
    return Mode(name, gate, settings)
