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
from litellm_accel import components
from litellm_accel.components.base import Unproven

if TYPE_CHECKING:
    from litellm_accel.verify.comparison import Result

SHIPPED = Path(__file__).parent / "records"
PACKAGES = ("litellm", "openai", "httpx", "aiohttp", "pydantic")

_being_proven: set[str] = set()


def key(component: str) -> dict[str, str]:
    """What a record holds for: versions, and a digest of the LiteLLM modules the component relies on."""
    versions = {package: importlib.metadata.version(package) for package in PACKAGES}
    return {
        **versions,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "litellm-accel": litellm_accel.__version__,
        "modules": _digest(tuple(components.get(component).relies_on)),
    }


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
    name = _file_name(component, held)
    for directory in (SHIPPED, user_directory()):
        try:
            record = json.loads((directory / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(record, dict) and record.get("key") == held:
            return record
    return None


def require(component: str) -> None:
    """Raise `Unproven`, naming the command that helps, unless `component` is proven here or is being proven."""
    if component not in _being_proven and fitting(component) is None:
        held = key(component)
        raise Unproven(
            f"not proven on LiteLLM {held['litellm']} with openai {held['openai']}, httpx {held['httpx']}, "
            f"aiohttp {held['aiohttp']}, pydantic {held['pydantic']}, Python {held['python']}; "
            f"run: litellm-accel verify --component {component}"
        )


@contextmanager
def proving(component: str) -> Iterator[None]:
    """Within the block `require(component)` holds: how ``verify`` runs what it is about to prove."""
    _being_proven.add(component)
    try:
        yield
    finally:
        _being_proven.discard(component)


def write(result: Result, directory: Path | None = None) -> Path:
    """Keep the record of a result without differences; the user's directory is the default. Returns the file."""
    if not result.ok:
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
