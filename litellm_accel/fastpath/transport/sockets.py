"""Whether a connection that lies idle has something to read."""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any


def has_input(socket: Any) -> bool:
    """Return whether reading from ``socket`` would not wait; so for one that is closed or None."""
    return input_probe(socket)()


def input_probe(socket: Any) -> Callable[[], bool]:
    """Return a function that says ``has_input(socket)`` again and again."""
    number = -1 if socket is None else socket.fileno()
    if number < 0:
        return lambda: True
    if not hasattr(select, "poll"):
        return lambda: socket.fileno() < 0 or bool(select.select([socket], [], [], 0)[0])
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return lambda: socket.fileno() != number or bool(poll.poll(0))
