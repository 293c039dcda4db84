"""How long connections are used, and what became of those to each host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

MAX_AGE = 600.0  # seconds; then a new connection follows what has become of the host's address
_MAX_HOSTS = 256


class HostStats:
    """Connections to one host: how many are idle and in use, and how many were created, used again and closed."""

    __slots__ = ("closed", "created", "idle", "in_use", "reused")

    def __init__(self) -> None:
        self.idle = 0
        self.in_use = 0
        self.created = 0
        self.reused = 0
        self.closed: Counter[str] = Counter()  # by reason

    def add(self, other: HostStats) -> None:
        """Count ``other``'s connections here too."""
        self.idle += other.idle
        self.in_use += other.in_use
        self.created += other.created
        self.reused += other.reused
        self.closed += other.closed

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers by name."""
        return {
            "open": self.idle + self.in_use,
            "idle": self.idle,
            "in_use": self.in_use,
            "created": self.created,
            "reused": self.reused,
            "closed": dict(self.closed),
        }


class StatsByHost(dict[str, HostStats]):
    """Tallies by host. Of many hosts, those without open connections are forgotten."""

    def __missing__(self, host: str) -> HostStats:
        if len(self) >= _MAX_HOSTS:
            for name in [name for name, tally in self.items() if not tally.idle and not tally.in_use]:
                del self[name]
        found = self[host] = HostStats()
        return found


def summed(tallies: Iterable[StatsByHost]) -> dict[str, dict[str, Any]]:
    """Return the sums of several tallies as numbers by host and name."""
    hosts = StatsByHost()
    for each in tallies:
        for host, tally in each.copy().items():
            hosts[host].add(tally)
    return {host: tally.as_dict() for host, tally in hosts.items()}
