"""Records of what ``verify`` has proven, each for the contents of what a component relies on.

A record holds for one Python and one version of this package, and, of each package on the way of a call, for the source
of the modules that are relied on: a release that touches none of these changes nothing. Records for the versions that a
release supports ship in the wheel; others live in the user's cache directory.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import litellm_accel
from litellm_accel import components, settings
from litellm_accel.components.base import Unproven
from litellm_accel.stock import releases

if TYPE_CHECKING:
    from litellm_accel.verify.comparison import Result

SHIPPED = Path(__file__).parent / "records"
PACKAGES = ("litellm", "openai", "httpx", "httpcore", "aiohttp", "pydantic")
# Compiled: there is no source to compare, and a patch release keeps what it does.
_COMPILED = "pydantic-core"
_VERSION, _CONTENTS = "version", "contents"

_being_proven: set[str] = set()


def key(component: str, modules: Iterable[str] | None = None) -> dict[str, Any]:
    """Return what a record holds for: of each package the contents of the ``modules`` that ``component`` relies on.

    By default these are the component's ``relies_on``. Versions are told, but only contents are compared, see
    ``fitting``.
    """
    found = components.get(component).relies_on if modules is None else modules
    of_package: dict[str, list[str]] = {package: [] for package in PACKAGES}
    for name in sorted(set(found)):
        of_package.get(name.partition(".")[0], []).append(name)
    return {
        **{
            package: {_VERSION: releases.version(package), _CONTENTS: _digest(tuple(names))}
            for package, names in of_package.items()
        },
        _COMPILED: ".".join(releases.version(_COMPILED).split(".")[:2]),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "litellm-accel": litellm_accel.__version__,
    }


@cache
def _digest(modules: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for name in modules:
        digest.update(releases.digest(name) or f"{name} is absent".encode())
    return digest.hexdigest()[:32]


def user_directory() -> Path:
    """Where the user's own records are kept."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "litellm-accel" / "records"


def _file_name(component: str, held: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()[:12]
    return f"{component}-{held['litellm'][_VERSION]}-py{held['python']}-{digest}.json"


def fitting(component: str) -> dict[str, Any] | None:
    """The record that proves `component` on what is installed, or None."""
    held = key(component)
    return next((record for record in _known(component) if not _differing(held, record["key"])), None)


def _differing(held: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return the names of what another record's key does not hold for."""
    return [
        name
        for name in {**held, **other}
        if name not in held or name not in other or _compared(held[name]) != _compared(other[name])
    ]


def _compared(part: Any) -> Any:
    return part.get(_CONTENTS, ...) if isinstance(part, dict) else part


def _known(component: str) -> Iterator[dict[str, Any]]:
    """All records of a component; files that are none are passed over."""
    for directory in (SHIPPED, user_directory()):
        for path in sorted(directory.glob(f"{component}-*.json")):
            try:
                record = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            if isinstance(record, dict) and isinstance(record.get("key"), dict):
                yield record


def is_proven(component: str) -> bool:
    """Return whether a record proves ``component``, or it is being proven; if not, the user's own calls have to.

    Raises ``Unproven``, with what is missing and the command that helps, where records are demanded.
    """
    if component in _being_proven or fitting(component) is not None:
        return True
    if settings.demands_records():
        raise Unproven(f"{_missing(component)}; run: litellm-accel verify --component {component}")
    return False


def _missing(component: str) -> str:
    """What stands between what is installed and the nearest record."""
    held = key(component)
    proven = [record["key"] for record in _known(component)]
    if not proven:
        return f"not proven on LiteLLM {_shown(held['litellm'])} with Python {held['python']}: there is no record"
    nearest = min(proven, key=lambda other: len(_differing(held, other)))
    told: list[str] = []
    for name in _differing(held, nearest):
        here, there = _shown(held.get(name)), _shown(nearest.get(name))
        told.append(f"{name} {here} (proven: {there})" if here != there else f"changed files of {name} {here}")
    return f"not proven with {', '.join(told)}"


def _shown(part: Any) -> Any:
    return part.get(_VERSION) if isinstance(part, dict) else part


@contextmanager
def proving(component: str) -> Iterator[None]:
    """Within the block `is_proven(component)` holds: how ``verify`` runs what it is about to prove."""
    _being_proven.add(component)
    try:
        yield
    finally:
        _being_proven.discard(component)


def write(result: Result, directory: Path | None = None) -> Path:
    """Keep the record of a result that proves; the user's directory is the default. Returns the file.

    Raises ValueError for any other result.
    """
    if not result.proves:
        raise ValueError(f"{result.component} is not proven: {len(result.failed)} scenarios differ")
    held = key(result.component)
    ways = {way: result.count(way) for way in ("served", "declined", "mixed")}
    record = {
        "component": result.component,
        "key": held,
        "scenarios": len(result.verdicts),
        **ways,
        "declined for": sorted({reason for verdict in result.verdicts for reason in verdict.reasons}),
    }
    path = (directory or user_directory()) / _file_name(result.component, held)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)
    return path
