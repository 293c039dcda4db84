"""Figures for others to collect: prometheus_client's registry, which LiteLLM's proxy exposes, and OpenTelemetry.

With several workers prometheus_client keeps its counters in files that all of them share, and does not accept custom
collectors. The figures are therefore its own counters, which each process updates every five seconds.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterable
from typing import Any

from litellm_accel.operation import statistics
from litellm_accel.operation.exports import PREFIX, Metric, metrics
from litellm_accel.operation.ticker import TICKER

_SECONDS = 5.0
_JOB = "prometheus"
_logger = logging.getLogger("litellm_accel")


class Prometheus:
    """Keeps counters and gauges in prometheus_client's default registry."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}
        self._added: dict[tuple[str, tuple[str, ...]], float] = {}

    def set(self, wanted: bool) -> None:
        """Start or stop. A missing prometheus_client is logged."""
        if not wanted:
            TICKER.stop(_JOB)
            return
        try:
            importlib.import_module("prometheus_client")
        except ImportError:
            _logger.warning("litellm-accel: setting prometheus needs prometheus_client: pip install prometheus_client")
            return
        self.push()
        TICKER.every(_SECONDS, _JOB, self.push)

    def push(self) -> None:
        """Add what has happened since the last push."""
        for metric in metrics(statistics.get_performance_stats()):
            known = self._known.get(metric.name)
            if known is None:
                known = self._known[metric.name] = _made(metric)
            for labels, value in metric.values.items():
                if metric.kind == "gauge":
                    known.labels(*labels).set(value)
                    continue
                place = (metric.name, labels)
                before = self._added.get(place, 0.0)
                known.labels(*labels).inc(value - before if value >= before else value)  # the counters were reset
                self._added[place] = value


def _made(metric: Metric) -> Any:
    client = importlib.import_module("prometheus_client")
    if metric.kind == "counter":
        return client.Counter(f"{PREFIX}{metric.name}", metric.meaning, metric.labels)
    return client.Gauge(f"{PREFIX}{metric.name}", metric.meaning, metric.labels, multiprocess_mode="livesum")


class OpenTelemetry:
    """Gives the figures to OpenTelemetry's metrics API whenever they are read."""

    def __init__(self) -> None:
        self._is_on = False
        self._instruments: list[Any] = []

    def set(self, wanted: bool) -> None:
        """Start or stop. A missing API is logged."""
        self._is_on = wanted
        if not wanted or self._instruments:
            return
        try:
            api = importlib.import_module("opentelemetry.metrics")
        except ImportError:
            _logger.warning(
                "litellm-accel: setting opentelemetry needs opentelemetry-api: pip install opentelemetry-api"
            )
            return
        meter = api.get_meter("litellm_accel")
        for metric in metrics({}):
            create = meter.create_observable_counter if metric.kind == "counter" else meter.create_observable_gauge
            name = f"{PREFIX}{metric.name}".replace("_", ".", 2)
            self._instruments.append(create(name, [self._observer(api, metric.name)], description=metric.meaning))

    def _observer(self, api: Any, name: str) -> Any:
        def observe(options: Any) -> Iterable[Any]:
            if not self._is_on:
                return []
            found = next(metric for metric in metrics(statistics.get_performance_stats()) if metric.name == name)
            return [
                api.Observation(value, dict(zip(found.labels, labels, strict=True)))
                for labels, value in found.values.items()
            ]

        return observe


PROMETHEUS = Prometheus()
OPENTELEMETRY = OpenTelemetry()
