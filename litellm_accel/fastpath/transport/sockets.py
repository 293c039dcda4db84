"""Whether a connection that lies idle has something to read."""

from __future__ import annotations

import select
from typing import Any


def has_input(socket: Any) -> bool:
    """Return whether reading from ``socket`` would not wait; so for one that is closed or None."""
    number = -1 if socket is None else socket.fileno()
    if number < 0:
        return True
    if not hasattr(select, "poll"):
        return bool(select.select([number], [], [], 0)[0])
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(0))
