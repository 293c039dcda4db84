"""Which releases of LiteLLM are known: the ones this package was compared with, by the contents of their source files.

A source file that is in none of them is of another release, or somebody has changed it. What such code does with texts
and numbers that were not compared is anybody's guess, see ``fastpath/plans/outlines.py``.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import inspect
import re
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from pathlib import Path
from types import FunctionType

#: Digests of all source files of all known releases, ``SIZE`` bytes each; ``tools/generate_releases.py`` writes it.
KNOWN = Path(__file__).with_name("releases.bin")
SIZE = 6
_HOST = "litellm."


def strange(modules: Iterable[str]) -> str | None:
    """Return one of LiteLLM's ``modules`` whose source is of no known release, None if there is none."""
    for name in modules:
        if f"{name}.".startswith(_HOST) and (found := digest(name)) is not None and found[:SIZE] not in _known():
            return name
    return None


def knows(function: FunctionType, parameters: list[str], modules: Iterable[str]) -> bool:
    """Return whether a ``function`` takes these ``parameters``, and the ``modules`` it needs are a known release's."""
    return strange(modules) is None and list(inspect.signature(function).parameters) == parameters


def is_source(function: FunctionType, digests: Collection[str]) -> bool:
    """Return whether the source of ``function`` has one of these digests: what it does is known by the letter."""
    try:
        return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()[:12] in digests
    except OSError:
        return False


@cache
def version(package: str) -> str:
    """Return the installed version of ``package``. Raises ``PackageNotFoundError``.

    ``importlib.metadata.version`` would parse the whole file, LiteLLM's long description included, for this one line.
    """
    text = importlib.metadata.distribution(package).read_text("METADATA") or ""
    found = re.search(r"^Version:(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else importlib.metadata.version(package)


@cache
def digest(module: str) -> bytes | None:
    """Return the digest of a module's source file, found without importing anything; None if it has none."""
    for path in _files(module):
        try:
            return hashlib.sha256(path.read_bytes()).digest()
        except OSError:
            continue
    return None


@cache
def _known() -> frozenset[bytes]:
    held = KNOWN.read_bytes()
    return frozenset(held[place : place + SIZE] for place in range(0, len(held), SIZE))


def _files(module: str) -> Iterator[Path]:
    """Yield where the source of a module may be; to import the packages around it would take long."""
    package, *inner = module.split(".")
    for folder in _folders(package):
        path = Path(folder, *inner)
        yield from (path / "__init__.py",) if not inner else (path.with_suffix(".py"), path / "__init__.py")


@cache
def _folders(package: str) -> tuple[str, ...]:
    spec = importlib.util.find_spec(package)
    return tuple((spec and spec.submodule_search_locations) or ())
