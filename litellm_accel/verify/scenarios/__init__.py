"""The scenarios, one file a theme; which themes prove which component."""

from __future__ import annotations

import importlib

from litellm_accel.verify.scenario import Run, Scenario

#: The themes of each component that is proven by scenarios.
THEMES: dict[str, tuple[str, ...]] = {
    "chat": (
        "parameters",
        "varying",
        "messages",
        "responses",
        "answers",
        "errors",
        "callbacks",
        "integrations",
        "metadata",
        "router",
        "providers",
        "caching",
        "concurrency",
        "openings",
        "logs",
    ),
    "streaming": ("streaming",),
    "embeddings": ("embeddings",),
}


def runs(component: str) -> list[Run]:
    """Every run of `component`: all its scenarios through all their entry points.

    Raises ValueError for one that is not proven by scenarios.
    """
    return [Run(scenario, via) for scenario in _scenarios(component) for via in scenario.via]


def short(component: str) -> list[Run]:
    """The runs of a short proof: each scenario that is no crossing, through one of its entry points in turn."""
    subjects = [scenario for scenario in _scenarios(component) if not scenario.crossing]
    return [Run(scenario, scenario.via[turn % len(scenario.via)], brief=True) for turn, scenario in enumerate(subjects)]


def _scenarios(component: str) -> list[Scenario]:
    if component not in THEMES:
        raise ValueError(f"no scenarios for {component!r}; known: {', '.join(THEMES)}")
    modules = [importlib.import_module(f"{__name__}.{theme}") for theme in THEMES[component]]
    return [scenario for module in modules for scenario in module.SCENARIOS]
