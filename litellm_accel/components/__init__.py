"""The components, one module each, in the order in which they are switched on and reported."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from litellm_accel.components.base import Component

# Switched on by accelerate() unless it is told names. ``connection_pool``, ``chat`` and ``streaming`` serve by a record
# of ``litellm-accel verify``, or, as ``proxy`` always does, once the application's own calls have shown them equal;
# ``connection_pool`` is the way in which ``chat`` sends.
NAMES: tuple[str, ...] = ("tokens", "cost", "routing", "rate_limit", "connection_pool", "chat", "streaming", "proxy")

# The modules that components wait for, where that is not LiteLLM itself: importing those is the application's, too.
HOSTS: Mapping[str, str] = {"proxy": "litellm.proxy.proxy_server"}


def get(name: str) -> Component:
    """Return the component called ``name``, one of ``NAMES``."""
    component: Component = importlib.import_module(f"litellm_accel.components.{name}").COMPONENT
    return component
