"""The components, one module each; ``NAMES`` is the order in which they are switched on and reported."""

from __future__ import annotations

import importlib

from litellm_accel.components.base import Component

NAMES: tuple[str, ...] = ("tokens", "cost")


def get(name: str) -> Component:
    """Return the component called ``name``, one of ``NAMES``."""
    component: Component = importlib.import_module(f"litellm_accel.components.{name}").COMPONENT
    return component
