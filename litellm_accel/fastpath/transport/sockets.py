"""Whether a connection that lies idle has something to read."""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any


def has_input(socket: Any) -> bool:
    """Return whether reading from ``socket`` would not wait; so for one that is closed or None."""
    return input_probe(-1 if socket is None else socket.fileno())()


def input_probe(number: int) -> Callable[[], bool]:
    """Return a function that says ``has_input()`` of the open socket with this file number, and keeps no hold of it."""
    if number < 0:
        return lambda: True
    if not hasattr(select, "poll"):
        return lambda: bool(select.select([number], [], [], 0)[0])
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return lambda: bool(poll.poll(0))
