"""Records of what ``verify`` has proven, each for one set of installed versions.

Records for the versions a release supports ship in the wheel; others live in the user's cache directory.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import litellm_accel
from litellm_accel import components, settings
from litellm_accel.components.base import Unproven

if TYPE_CHECKING:
    from litellm_accel.verify.comparison import Result

SHIPPED = Path(__file__).parent / "records"
PACKAGES = ("litellm", "openai", "httpx", "aiohttp", "pydantic")

_being_proven: set[str] = set()


def key(component: str) -> dict[str, str]:
    """What a record holds for: versions, and a digest of the LiteLLM modules the component relies on."""
    versions = {package: _version(package) for package in PACKAGES}
    return {
        **versions,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "litellm-accel": litellm_accel.__version__,
        "modules": _digest(tuple(components.get(component).relies_on)),
    }


@cache
def _version(package: str) -> str:
    return importlib.metadata.version(package)


@cache
def _digest(modules: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for name in modules:
        source = _source(name)
        digest.update(source.read_bytes() if source else f"{name} is absent".encode())
    return digest.hexdigest()


def _source(module: str) -> Path | None:
    """The file of a module, found without importing the packages around it, which takes seconds for LiteLLM."""
    package, *inner = module.split(".")
    spec = importlib.util.find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder, *inner)
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if candidate.is_file():
                return candidate
    return None


def user_directory() -> Path:
    """Where the user's own records are kept."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "litellm-accel" / "records"


def _file_name(component: str, held: dict[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()[:12]
    return f"{component}-{held['litellm']}-py{held['python']}-{digest}.json"


def fitting(component: str) -> dict[str, Any] | None:
    """The record that proves `component` on what is installed, or None."""
    held = key(component)
    return next((record for record in _known(component) if record["key"] == held), None)


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
        return f"not proven on LiteLLM {held['litellm']} with Python {held['python']}: there is no record"
    nearest = min(proven, key=lambda other: sum(other.get(name) != held[name] for name in held))
    differing = [name for name in held if nearest.get(name) != held[name]]
    if differing == ["modules"]:
        return f"not proven: the files of LiteLLM {held['litellm']} are not those that were proven"
    versions = (f"{name} {held[name]} (proven: {nearest.get(name)})" for name in differing if name != "modules")
    return f"not proven with {', '.join(versions)}"


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
    lanes = {lane: result.count(lane) for lane in ("served", "declined", "mixed")}
    record = {
        "component": result.component,
        "key": held,
        "scenarios": len(result.verdicts),
        **lanes,
        "declined for": sorted({reason for verdict in result.verdicts for reason in verdict.reasons}),
    }
    path = (directory or user_directory()) / _file_name(result.component, held)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)
    return path
