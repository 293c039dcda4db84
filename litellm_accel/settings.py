"""What the environment may say. A value that makes no sense is logged once and the default holds.

Whether something else than the defaults is configured is found out here; ``operation.control`` reads what that is.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from pathlib import Path

PURE = "LITELLM_ACCEL_PURE"
MAX_FAULTS = "LITELLM_ACCEL_MAX_FAULTS"
PROOF = "LITELLM_ACCEL_PROOF"
VERIFY = "LITELLM_ACCEL_VERIFY"
GC = "LITELLM_ACCEL_GC"
CONFIG = "LITELLM_ACCEL_CONFIG"
ENABLED = "LITELLM_ACCEL_ENABLED"
STATS = "LITELLM_ACCEL_STATS"
VERBOSE = "LITELLM_ACCEL_VERBOSE"
PREFIX = "LITELLM_ACCEL_"  # with the name of a component: the mode it is in
# Read where they are needed.
PLAIN = (PURE, MAX_FAULTS, PROOF, VERIFY, VERBOSE, GC)
TABLE = "litellm-accel"  # in a pyproject.toml, below ``tool``
_TABLE = re.compile(rb"tool\s*\.\s*[\"']?litellm-accel")

_DEFAULT_MAX_FAULTS = 10
_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"", "0", "false", "no", "off"})
_RECORDED = "recorded"
BACKGROUND = "background"
FREEZE = "freeze"


def pure() -> bool:
    """Return whether ``LITELLM_ACCEL_PURE`` asks for the pure-Python twins."""
    return _flag(os.environ.get(PURE, ""))


def max_faults() -> int:
    """Return how many internal faults open a component's breaker (``LITELLM_ACCEL_MAX_FAULTS``, default 10)."""
    return _count(os.environ.get(MAX_FAULTS, ""))


def demands_records() -> bool:
    """Return whether ``LITELLM_ACCEL_PROOF=recorded`` keeps off what no record of ``verify`` proves.

    Any other value does so as well: whoever has set it wants something else than the default.
    """
    return _demands(os.environ.get(PROOF, ""))


def verifies() -> bool:
    """Return whether ``LITELLM_ACCEL_VERIFY=background`` asks for a proof beside the application."""
    return _asks(os.environ.get(VERIFY, ""))


def freezes() -> bool:
    """Return whether ``LITELLM_ACCEL_GC=freeze`` keeps a proxy's garbage collector from what was there at first."""
    return os.environ.get(GC, "").lower() == FREEZE


def verbose() -> bool:
    """Return whether ``LITELLM_ACCEL_VERBOSE`` asks for a log line a call."""
    return _flag(os.environ.get(VERBOSE, ""))


def is_configured(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether modes, bounds or anything else that takes reading are set, by variables or a file."""
    named = (name for name, value in environment.items() if value and name.startswith(PREFIX) and name not in PLAIN)
    return next(named, None) is not None or project_file() is not None


def project_file() -> Path | None:
    """Return the pyproject.toml of the working directory if it may have a table of ours."""
    try:
        path = Path.cwd() / "pyproject.toml"
        return path if path.is_file() and _TABLE.search(path.read_bytes()) else None
    except OSError:
        return None


def problems() -> list[str]:
    """Return one line for each variable of ours whose value makes no sense."""
    found = []
    if os.environ.get(PURE, "").lower() not in _YES | _NO:
        found.append(f"{PURE}={os.environ[PURE]!r} is neither 0 nor 1; the compiled modules are used")
    if os.environ.get(VERBOSE, "").lower() not in _YES | _NO:
        found.append(f"{VERBOSE}={os.environ[VERBOSE]!r} is neither 0 nor 1; calls are not logged")
    text = os.environ.get(MAX_FAULTS, "")
    if text and not _is_count(text):
        found.append(f"{MAX_FAULTS}={text!r} is not a whole number of at least 1; {_DEFAULT_MAX_FAULTS} is used")
    if os.environ.get(PROOF, "").lower() not in ("", _RECORDED):
        found.append(f"{PROOF}={os.environ[PROOF]!r} is not {_RECORDED!r}; records are demanded")
    if os.environ.get(VERIFY, "").lower() not in ("", BACKGROUND):
        found.append(f"{VERIFY}={os.environ[VERIFY]!r} is not {BACKGROUND!r}; nothing is verified")
    if os.environ.get(GC, "").lower() not in ("", FREEZE):
        found.append(f"{GC}={os.environ[GC]!r} is not {FREEZE!r}; the garbage collector is left as it is")
    return found


@functools.cache
def _asks(text: str) -> bool:
    if text.lower() not in ("", BACKGROUND):
        _log_problems()
    return text.lower() == BACKGROUND


@functools.cache
def _demands(text: str) -> bool:
    if text.lower() not in ("", _RECORDED):
        _log_problems()
    return bool(text)


@functools.cache
def _flag(text: str) -> bool:
    if text.lower() not in _YES | _NO:
        _log_problems()
    return text.lower() in _YES


@functools.cache
def _count(text: str) -> int:
    if text and not _is_count(text):
        _log_problems()
    return int(text) if _is_count(text) else _DEFAULT_MAX_FAULTS


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) >= 1


def _log_problems() -> None:
    import logging

    for problem in problems():
        logging.getLogger("litellm_accel").warning("litellm-accel: %s", problem)
