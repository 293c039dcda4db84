"""Where settings come from: a file, the environment, the program. Each source is read and checked separately."""

from __future__ import annotations

import importlib
import json
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from litellm_accel import components, settings
from litellm_accel.operation.schema import Problem, Settings, checked

DEFAULT, ENVIRONMENT = "default", "environment"
_LARGEST = 1 << 20
_MODES = "on, off, rollout:PERCENT, canary:PERCENT or shadow:PERCENT"
_SWITCHES = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
# In force if a source cannot be understood and never was valid: nothing is turned on.
_NOTHING = {"enabled": False}


@dataclass
class Source:
    """The contents of one source: ``values`` as in a settings file, the ``places`` of some, a line for each problem."""

    place: str
    values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    is_unread: bool = False  # it is invalid, and always was


def file_in_use() -> tuple[Path, bool] | None:
    """Return the settings file of this process, and whether it is a pyproject.toml; None if there is none."""
    named = os.environ.get(settings.CONFIG)
    if named:
        return Path(named).absolute(), False
    project = settings.project_file()
    return None if project is None else (project, True)


def of_file(path: Path, is_project: bool = False) -> Source:
    """Return the contents of the file. Raises ``Problem``."""
    place = f"file {path}"
    try:
        values = _parsed(path, _content(path))
    except Problem:
        raise
    except FileNotFoundError:
        raise Problem(place, "", "no file", "a JSON or TOML file") from None
    except OSError as error:
        raise Problem(place, "", error.strerror or str(error), "a JSON or TOML file that can be read") from None
    except Exception as error:  # syntax, encoding, nesting or numbers beyond Python's limits
        raise Problem(place, "", f"{type(error).__name__}: {error}", "JSON, or TOML in a file named *.toml") from None
    if is_project:
        table = values.get("tool")
        values = table.get(settings.TABLE, {}) if isinstance(table, dict) else {}
        place = f"file {path}, tool.{settings.TABLE}"
    checked(values, place)
    return Source(place, values)


def of_values(values: Any, place: str) -> Source:
    """Return what a program has passed: a mapping, or the path of a file. Raises ``Problem``."""
    if isinstance(values, (str, os.PathLike)):
        return of_file(Path(values).absolute())
    if isinstance(values, Settings):
        values = values.model_dump(exclude_unset=True)
    checked(values, place)
    return Source(place, copied(values))


def of_environment(environment: Mapping[str, str] = os.environ) -> Source:
    """Return the settings in the environment. An invalid value turns off what it concerns."""
    source = Source(ENVIRONMENT)

    def put(variable: str, *path: str, value: Any) -> None:
        held = source.values
        for step in path[:-1]:
            held = held.setdefault(step, {})
        held[path[-1]] = value
        source.places[".".join(path)] = f"{ENVIRONMENT}: {variable}"

    if text := environment.get(settings.ENABLED, ""):
        enabled = False
        try:
            enabled = switch(ENVIRONMENT, settings.ENABLED, text)
        except Problem as error:
            source.problems.append(str(error))
        put(settings.ENABLED, "enabled", value=enabled)
    modes = {f"{settings.PREFIX}{name.upper()}": name for name in components.NAMES}
    for variable, name in modes.items():
        if text := environment.get(variable, ""):
            try:
                found = mode(ENVIRONMENT, variable, text, name)
            except Problem as error:
                found = {"mode": "off"}
                source.problems.append(str(error))
            for key, value in found.items():
                put(variable, "components", name, key, value=value)
    if text := environment.get(settings.STATS, ""):
        put(settings.STATS, "stats", value=text)
    if settings.MAX_FAULTS in environment:
        put(settings.MAX_FAULTS, "breaker", "faults", value=settings.max_faults())
    known = {*settings.PLAIN, settings.CONFIG, settings.ENABLED, settings.STATS, *modes}
    for variable in sorted(environment):
        if variable.startswith(settings.PREFIX) and variable not in known:
            problem = Problem(ENVIRONMENT, variable, environment[variable], ", ".join(sorted(known)))
            source.problems.append(str(problem))
    return source


def unread(place: str, problem: Problem) -> Source:
    """Return what is in force for a source that cannot be understood and never was valid."""
    return Source(place, dict(_NOTHING), problems=[str(problem)], is_unread=True)


def merged(sources: list[Source]) -> tuple[Settings, dict[str, str]]:
    """Return the merged values of ``sources``, of which later ones override, and their places. Raises ``Problem``."""
    values: dict[str, Any] = {}
    places: dict[str, str] = {}
    for source in sources:
        put_over(values, source.values)
        for key in _keys(source.values):
            places[key] = source.places.get(key, source.place)
    return checked(values, "settings together"), places


def inspected(file: Path | None = None) -> tuple[list[dict[str, Any]], list[str]]:
    """Return a row for each setting in force here, or in ``file`` alone, and a line for each problem."""
    in_use = file_in_use() if file is None else (file.absolute(), file.name == "pyproject.toml")
    found: list[Source] = []
    if in_use is not None:
        try:
            found.append(of_file(*in_use))
        except Problem as problem:
            found.append(unread(f"file {in_use[0]}, which is not understood", problem))
    if file is None:
        found.append(of_environment())
    problems = [problem for source in found for problem in source.problems]
    try:
        return [{"key": key, "value": value, "from": place} for key, value, place in rows(*merged(found))], problems
    except Problem as problem:
        return [], [*problems, str(problem)]


def rows(found: Settings, places: Mapping[str, str]) -> Iterator[tuple[str, Any, str]]:
    """Yield each setting in force, as key, value and place."""
    values = found.model_dump(mode="json")
    for name, component in values["components"].items():
        given = found.components[name].model_fields_set | {"mode"}
        values["components"][name] = {key: value for key, value in component.items() if key in given}
    for key in _keys(values):
        value: Any = values
        for step in key.split("."):
            value = value[step]
        yield key, value, places.get(key, DEFAULT)


def switch(place: str, key: str, text: str) -> bool:
    """Return whether the ``text`` of ``key`` switches on or off. Raises ``Problem``."""
    found = _SWITCHES.get(text.lower())
    if found is None:
        raise Problem(place, key, text, "0 or 1, on or off")
    return found


def mode(place: str, key: str, text: str, component: str) -> dict[str, Any]:
    """Return what ``rollout:25`` and the like stand for. Raises ``Problem``."""
    name, colon, percent = text.lower().partition(":")
    try:
        found: dict[str, Any] = {"mode": name, "percent": float(percent)} if colon else {"mode": name}
        checked({"components": {component: found}}, place)
        if (name in ("on", "off")) == bool(colon):
            raise ValueError(text)
    except ValueError:
        raise Problem(place, key, text, _MODES) from None
    return found


def _content(path: Path) -> bytes:
    """Return the contents of a regular file that is not too large. Never blocks, as reading a pipe would."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Problem(f"file {path}", "", "no plain file", "a JSON or TOML file")
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise Problem(f"file {path}", "", f"more than {_LARGEST} bytes", f"at most {_LARGEST} bytes")
    return content


def _parsed(path: Path, content: bytes) -> Any:
    text = content.decode("utf-8-sig")
    if path.suffix.lower() == ".toml":
        toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
        return toml.loads(text)
    return json.loads(text)


def copied(values: Any) -> Any:
    """Return a deep copy of the tables and lists in ``values``."""
    if isinstance(values, Mapping):
        return {key: copied(value) for key, value in values.items()}
    return [copied(value) for value in values] if isinstance(values, list) else values


def put_over(values: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Override ``values`` with ``more``, table by table."""
    for key, value in more.items():
        if isinstance(value, dict):
            held = values.setdefault(key, {})
            put_over(held, value)
        else:
            values[key] = value


def _keys(values: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _keys(value, f"{before}{key}.")
        else:
            yield f"{before}{key}"
