"""How long a request may take, where that differs from call to call: its transport's limits, and the header that tells.

LiteLLM gives the SDKs' clients the limit of a call, and keeps one client for each that it has met: with connections and
cookies of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import ClientTimeout

# By which the SDKs tell the provider how long they read.
TOLD = b"x-stainless-read-timeout"
# Under which the options of a request name the arguments that its limit comes from, which are equal.
TIMED = "timed"
_PHASES = ("connect", "read", "write", "pool")


def seconds_of(argument: bytes) -> float:
    """Return the limit in an ``argument``, which is in JSON."""
    return float(argument)


def of_request(seconds: float) -> dict[str, float | None]:
    """Return the limit as httpx has it in a request."""
    return dict.fromkeys(_PHASES, seconds)


def of_transport(options: Mapping[str, Any], seconds: float) -> ClientTimeout | dict[str, float | None]:
    """Return the limit as the transport goes by it that sends requests with such ``options``."""
    if "head" in options:  # in threads
        return of_request(seconds)
    return ClientTimeout(sock_connect=seconds, sock_read=seconds, connect=seconds)


def read_by(options: Mapping[str, Any]) -> float:
    """Return the limit of a request that is sent with these ``options``."""
    seconds: float = options["timeout"]["read"] if "head" in options else options["timeout"].sock_read
    return seconds


def are_of(options: Mapping[str, Any], seconds: float) -> bool:
    """Return whether requests with these ``options`` have this limit."""
    return bool(options["timeout"] == of_transport(options, seconds))


def told_in(options: Mapping[str, Any], argument: bytes) -> dict[bytes, bytes]:
    """Return the header that tells of the limit in an ``argument``, by name; nothing if these requests have none."""
    return {TOLD: argument} if any(name.lower() == TOLD for name, _ in options["headers"].fixed) else {}
