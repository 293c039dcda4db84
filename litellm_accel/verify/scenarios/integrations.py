"""LiteLLM's own integrations that hear of a call's end: what they keep, to send it on later."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import Callable
from typing import Any

from litellm_accel.verify.scenario import Scenario, themed
from litellm_accel.verify.scenarios.callbacks import PREPARED

# Those that collect what they are told, and what they want to know when they are made.
_COLLECTING: dict[str, dict[str, str]] = {
    "datadog": {"DD_AGENT_HOST": "127.0.0.1", "DD_API_KEY": "k", "DD_SITE": "localhost"},
    "datadog_metrics": {"DD_API_KEY": "k", "DD_SITE": "localhost"},
    "langsmith": {"LANGSMITH_API_KEY": "k", "LANGSMITH_BASE_URL": "http://127.0.0.1:9"},
    "posthog": {"POSTHOG_API_KEY": "k", "POSTHOG_API_URL": "http://127.0.0.1:9"},
}
# In the names of what depends on when a call was, or how long it took.
_CLOCKS = ("latency", "time", "duration", "_ms", "dotted_order")
_PLACES = ("callbacks", "success_callback")
# In each of them a task waits, to send on what was collected.
_SETTLING = 2.5


def _told(place: str, name: str) -> Callable[[Any], Any]:
    """A script: calls that an integration, put by its name into one of LiteLLM's lists, is told of."""

    async def script(stage: Any) -> None:
        from litellm.litellm_core_utils import litellm_logging

        made: list[Any] = litellm_logging._in_memory_loggers
        before, tasks = list(made), asyncio.all_tasks()
        setattr(stage.litellm, place, [name])
        function = stage.entry()
        for _ in range(PREPARED):
            await stage.acall(function, stage.arguments())
            await stage.settled()
        (logger,) = [each for each in made if each not in before]
        try:
            await stage.acall(function, stage.arguments(metadata={"tags": ["t"], "user_api_key": "hash"}))
            await stage.settled()
            stage.observe("told", _kept(logger))
        finally:
            made[:] = before
            if name == "prometheus":
                _unregister(logger)
            for task in asyncio.all_tasks() - tasks:
                task.cancel()  # it would send on what was collected

    return script


def _unregister(logger: Any) -> None:
    import prometheus_client

    for metric in _metrics(logger):
        prometheus_client.REGISTRY.unregister(metric)


def _kept(logger: Any) -> Any:
    """What an integration has been told, as it keeps it, without how long it took."""
    if hasattr(logger, "log_queue"):
        return [_untimed(event) for event in logger.log_queue]
    samples = (
        (sample.name, sorted(sample.labels.items()), None if _is_clock(sample.name) else sample.value)
        for metric in _metrics(logger)
        for sample in metric.collect()[0].samples
    )
    return sorted(samples, key=str)


def _untimed(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("{"):
        return _untimed(json.loads(value))
    if isinstance(value, dict):
        timed = _is_clock(str(value.get("metric")))
        return {
            name: "<clock>" if (timed and name == "points") or _is_clock(name) else _untimed(item)
            for name, item in value.items()
        }
    return [_untimed(item) for item in value] if isinstance(value, list) else value


def _is_clock(name: str) -> bool:
    return name.endswith(("_created", "_bucket")) or any(word in name for word in _CLOCKS)


def _metrics(logger: Any) -> list[Any]:
    return [held for held in vars(logger).values() if hasattr(held, "collect")]


SCENARIOS = themed(
    "integrations",
    *(
        Scenario(
            f"{name.replace('_', '-')}-{place}",
            via=("acompletion", "arouter"),
            environment=environment,
            seconds=_SETTLING,
            script=_told(place, name),
        )
        for place in _PLACES
        for name, environment in _COLLECTING.items()
    ),
    *(
        Scenario(f"prometheus-{place}", via=("acompletion", "arouter"), script=_told(place, "prometheus"))
        for place in _PLACES
        if importlib.util.find_spec("prometheus_client")
    ),
)
