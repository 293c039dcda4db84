"""Alerts: every ten seconds, bounds are compared with the latest figures; a log, a function or a webhook is told."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from litellm_accel.hot import gate as hot_gate
from litellm_accel.operation.latency import quantile
from litellm_accel.operation.schema import AlertSettings
from litellm_accel.operation.ticker import TICKER

_SECONDS = 10.0
_PATIENCE = 5.0
_JOB = "alerts"
_logger = logging.getLogger("litellm_accel")


class _Figures:
    """Counters of a gate at one moment."""

    def __init__(self, gate: hot_gate.Gate) -> None:
        sides = gate.sides
        self.sides = sides
        self.calls = gate.served + gate.bypassed + sum(gate.reasons().values())
        self.declined = sum(gate.reasons().values())
        self.faults = gate.faults
        self.measured = sum(side.calls for side in sides) if sides else 0
        self.errors = sum(side.errors for side in sides) if sides else 0
        self.buckets = sides[0].buckets if sides else []

    def metric(self, name: str, before: _Figures | None) -> float | None:
        """Return the figure of the calls since ``before``; None if there were none or the counters were reset."""
        if before is None or self.sides is not before.sides or self.calls < before.calls:
            return None
        if name.startswith("p"):
            buckets = [now - then for now, then in zip(self.buckets, before.buckets, strict=True)]
            taken = quantile(buckets, int(name[1:3]) / 100) if sum(buckets) > 0 else None
            return None if taken is None else taken / 1000
        counted, of = {
            "fault_rate": ("faults", "calls"),
            "decline_rate": ("declined", "calls"),
            "error_rate": ("errors", "measured"),
        }[name]
        calls = getattr(self, of) - getattr(before, of)
        share: float = (getattr(self, counted) - getattr(before, counted)) / calls if calls > 0 else 0.0
        return share if calls > 0 else None


class Alerts:
    """The configured alerts, and which of them are on."""

    def __init__(self, gates: Callable[[], Mapping[str, hot_gate.Gate]]) -> None:
        self._gates = gates
        self._settings: list[AlertSettings] = []
        self._before: dict[str, _Figures] = {}
        self._firing: set[tuple[int, str]] = set()
        self._posting: set[tuple[int, str]] = set()

    def set(self, settings: list[AlertSettings]) -> None:
        """Check these alerts from now on."""
        if settings == self._settings:
            return
        self._settings = settings
        self._before, self._firing = {}, set()
        if settings:
            TICKER.every(_SECONDS, _JOB, self.look)
        else:
            TICKER.stop(_JOB)

    def look(self) -> None:
        """Check the figures and report alerts that begin or end."""
        gates = dict(self._gates())
        now = {name: _Figures(gate) for name, gate in gates.items()}
        for number, alert in enumerate(self._settings):
            for name in gates if alert.component == "*" else [alert.component]:
                if name not in now:
                    continue
                value = now[name].metric(alert.metric, self._before.get(name))
                if value is None:
                    continue  # no figure: an alert that is on stays on
                place = (number, name)
                if (value > alert.above) != (place in self._firing):
                    self._firing ^= {place}
                    self._tell(place, alert, name, value, value > alert.above)
        self._before = now

    def _tell(self, place: tuple[int, str], alert: AlertSettings, name: str, value: float, is_firing: bool) -> None:
        told = {
            "alert": alert.metric,
            "component": name,
            "value": value,
            "above": alert.above,
            "state": "firing" if is_firing else "resolved",
            "process": os.getpid(),
            "host": socket.gethostname(),
        }
        _logger.warning(
            "litellm-accel: alert %s: %s of %s is %.4g, bound %.4g",
            told["state"],
            alert.metric,
            name,
            value,
            alert.above,
        )
        if alert.call is not None:
            try:
                alert.call(dict(told))
            except Exception:
                _logger.warning("litellm-accel: an alert's function failed", exc_info=True)
        if alert.webhook is not None:
            if place in self._posting:
                _logger.warning("litellm-accel: an alert's webhook has not answered yet; it is not told about this one")
                return
            self._posting.add(place)
            threading.Thread(
                target=self._post, args=(place, alert.webhook, told), name="litellm-accel-webhook", daemon=True
            ).start()

    def _post(self, place: tuple[int, str], address: str, told: dict[str, Any]) -> None:
        try:
            request = urllib.request.Request(
                address, json.dumps(told).encode(), {"Content-Type": "application/json", "User-Agent": "litellm-accel"}
            )
            with urllib.request.urlopen(request, timeout=_PATIENCE):
                pass
        except Exception as error:
            _logger.warning("litellm-accel: an alert's webhook failed: %s: %s", type(error).__name__, error)
        finally:
            self._posting.discard(place)
