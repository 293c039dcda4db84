"""The settings in force in this process: read from their sources, applied to the gates, changed while it runs.

``activation`` asks here which components are switched off, and reports those that have started. Settings that cannot
be understood never turn anything on: the earlier ones stay in force, and if there were none, everything is off.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from litellm_accel import activation, settings
from litellm_accel.hot import gate as hot_gate
from litellm_accel.operation import sources
from litellm_accel.operation.alerts import Alerts
from litellm_accel.operation.flags import Flags
from litellm_accel.operation.metrics import OPENTELEMETRY, PROMETHEUS
from litellm_accel.operation.modes import Mode, mode_of
from litellm_accel.operation.route import ROUTE
from litellm_accel.operation.schema import Problem, Settings
from litellm_accel.operation.server import SERVER
from litellm_accel.operation.sources import Source
from litellm_accel.operation.ticker import TICKER

_logger = logging.getLogger("litellm_accel")
_WATCH = "settings file"
_WATCH_SECONDS = 2.0
_FILE, _ENVIRONMENT, _ARGUMENT, _FLAGS, _RUN_TIME = "file", "environment", "accelerate()", "OpenFeature", "configure()"
_ORDER = (_FILE, _ENVIRONMENT, _ARGUMENT, _FLAGS, _RUN_TIME)


class Control:
    """The settings of this process, and the modes of its components. All methods need ``activation``'s lock."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.places: dict[str, str] = {}
        self.modes: dict[str, Mode] = {}
        self._sources: dict[str, Source] = {}
        self._gates: dict[str, hot_gate.Gate] = {}
        self._file: tuple[Path, bool] | None = None
        self._seen: object = None
        self._told: set[str] = set()
        self._alerts = Alerts(lambda: self._gates)
        self._flags = Flags(self._take_flags)

    # --- what activation asks and tells

    def refusal(self, name: str) -> str | None:
        """Return why a component must not be started, or None."""
        if self.settings.of(name).mode != "off":
            return None
        key = f"components.{name}.mode" if self.settings.enabled else "enabled"
        return f"switched off by {self.places.get(key, sources.DEFAULT)}"

    def started(self, name: str, gate: hot_gate.Gate) -> None:
        """Put the gate of a component that has just started into its mode."""
        self._gates[name] = gate
        self._enter(name)

    def stopped(self, name: str) -> None:
        """Forget a component that has been restored."""
        self._gates.pop(name, None)
        mode = self.modes.pop(name, None)
        if mode is not None:
            mode.leave()

    def mode(self, name: str) -> str:
        """Return the mode of a component in words."""
        mode = self.modes.get(name)
        return "" if mode is None else str(mode)

    def forget(self) -> None:
        """Forget what the program has set; the next ``accelerate()`` reads the file and the environment again."""
        self._sources.clear()
        self._told.clear()
        TICKER.stop(_WATCH)
        self._hold(Settings(), {})

    # --- reading

    def load(self, values: Any = None) -> None:
        """Read the file, the environment and what ``accelerate()`` was given. Errors are logged."""
        self._file = sources.file_in_use()
        self._read_file()
        self._take(_ENVIRONMENT, sources.of_environment())
        if values is not None:
            try:
                self._take(_ARGUMENT, sources.of_values(values, _ARGUMENT))
            except Problem as problem:
                self._keep(_ARGUMENT, problem)
        self._apply()

    def configure(self, values: Any) -> None:
        """Override all settings with ``values``. Raises ``ValueError``, and then nothing has changed."""
        source = sources.of_values(values, _RUN_TIME)
        before = self._sources.get(_RUN_TIME)
        over = Source(_RUN_TIME, sources.copied(before.values) if before else {})
        sources.put_over(over.values, source.values)
        found, places = sources.merged([*self._ordered(before=_RUN_TIME), over])
        self._sources[_RUN_TIME] = over
        self._hold(found, places)

    def look(self) -> None:
        """Apply the file if it has changed."""
        with activation.locked():
            if self._file is not None and _mark(self._file[0]) != self._seen:
                self._read_file()
                self._apply()

    @property
    def problems(self) -> list[str]:
        """One line for each value that is not understood."""
        return [problem for source in self._ordered() for problem in source.problems]

    def _read_file(self) -> None:
        if self._file is None:
            self._sources.pop(_FILE, None)
            return
        path, is_project = self._file
        self._seen = _mark(path)
        try:
            self._take(_FILE, sources.of_file(path, is_project))
        except Problem as problem:
            self._keep(_FILE, problem)

    def _take(self, name: str, source: Source) -> None:
        self._sources[name] = source
        for problem in source.problems:
            self._tell(problem)

    def _take_flags(self, source: Source | None) -> None:
        """Take over what flags say now, or let go of what they have said."""
        with activation.locked():
            if source is None:
                self._sources.pop(_FLAGS, None)
            else:
                self._take(_FLAGS, source)
            self._apply()

    def _keep(self, name: str, problem: Problem) -> None:
        """Keep the last valid values of a source that cannot be understood."""
        before = self._sources.get(name)
        if before is None or before.is_unread:
            self._sources[name] = sources.unread(f"{name}, which is not understood", problem)
            self._tell(f"{problem}; nothing is accelerated")
        else:
            before.problems = [str(problem)]
            self._tell(f"{problem}; the settings before hold")

    def _tell(self, problem: str) -> None:
        if problem not in self._told:
            if len(self._told) > 1000:
                self._told.clear()
            self._told.add(problem)
            _logger.warning("litellm-accel: %s", problem)

    def _ordered(self, before: str | None = None) -> list[Source]:
        names = _ORDER if before is None else _ORDER[: _ORDER.index(before)]
        return [self._sources[name] for name in names if name in self._sources]

    # --- applying

    def _apply(self) -> None:
        try:
            self._hold(*sources.merged(self._ordered()))
        except Problem as problem:  # each is valid by itself, but not all together
            self._tell(f"{problem}; the settings before hold")

    def _hold(self, found: Settings, places: dict[str, str]) -> None:
        self.settings, self.places = found, places
        for name in list(self._gates):
            self._enter(name)
        if found.watch and self._file is not None:
            TICKER.every(_WATCH_SECONDS, _WATCH, self.look)
        else:
            TICKER.stop(_WATCH)
        SERVER.listen(found.stats)
        self._alerts.set(found.alerts)
        if found.prometheus or "prometheus" in TICKER.jobs:
            PROMETHEUS.set(found.prometheus)
        OPENTELEMETRY.set(found.opentelemetry)
        ROUTE.set(found.admin_route)
        activation.follow_settings()
        self._flags.set(found.openfeature)  # last, for flags may change the settings at once

    def _enter(self, name: str) -> None:
        """Put a component's gate into its configured mode; a mode that has not changed continues."""
        gate, wanted = self._gates[name], self.settings.of(name)
        breaker = self.settings.breaker
        faults = breaker.faults if "breaker.faults" in self.places else settings.max_faults()
        gate.limit(faults, breaker.window_seconds, breaker.cooldown_seconds)
        before = self.modes.get(name)
        if before is None or before.settings != wanted:
            if before is not None:
                before.leave()
            mode = self.modes[name] = mode_of(name, gate, wanted)
            mode.enter()
            if before is not None:
                _logger.warning("litellm-accel: %s: %s, was %s", name, mode, before)
        gate.measure(self.settings.measures or self.modes[name].measures)


def _mark(path: Path) -> object:
    """Return something that differs once the file has changed."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


CONTROL = Control()
