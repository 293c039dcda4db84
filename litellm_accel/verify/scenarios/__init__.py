"""The scenarios, one file a theme; which themes prove which component."""

from __future__ import annotations

import importlib

from litellm_accel.verify.scenario import Run

#: The themes of each component that is proven by scenarios.
THEMES: dict[str, tuple[str, ...]] = {
    "chat": (
        "parameters",
        "messages",
        "responses",
        "errors",
        "callbacks",
        "metadata",
        "router",
        "providers",
        "caching",
        "concurrency",
        "openings",
    ),
    "streaming": ("streaming",),
}


def runs(component: str) -> list[Run]:
    """Every run of `component`. Raises ValueError for one that is not proven by scenarios."""
    if component not in THEMES:
        raise ValueError(f"no scenarios for {component!r}; known: {', '.join(THEMES)}")
    modules = [importlib.import_module(f"{__name__}.{theme}") for theme in THEMES[component]]
    return [Run(scenario, via) for module in modules for scenario in module.SCENARIOS for via in scenario.via]
