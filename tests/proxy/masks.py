"""What two proxies that do the same may tell or store differently: identifiers, clocks, what is measured, frames."""

from __future__ import annotations

import json
import re
from itertools import zip_longest
from typing import Any

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?|\w{3}, \d\d[ -]\w{3}[ -]\d{2,4} \d\d:\d\d:\d\d GMT"
)
_MEASURED = re.compile(r"traceback|duration|_ms$|overhead|[a-z]Time$|_time$|^date$|^timestamp$|windows$")
_PORT = re.compile(r"127\.0\.0\.1:\d+")


def masked(value: Any, name: str = "") -> Any:
    """Return ``value`` with a word in the place of each identifier, clock, duration and port; ``name`` is its key."""
    if isinstance(value, dict):
        return {key: masked(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item, name) for item in value]
    if name == "delivery_id":  # drawn for each row of the ledger
        return "<id>"
    if value is not None and not isinstance(value, bool) and _MEASURED.search(name):
        return f"<{name}>"
    if isinstance(value, float):
        return float(f"{value:.12g}")  # sums of sums depend on which calls are written at once
    if not isinstance(value, str):
        return value
    if value[:1] in ('"', "{", "["):  # Prisma's columns of JSON hold a text that holds JSON
        try:
            return masked(json.loads(value))
        except ValueError:
            pass
    return _PORT.sub("127.0.0.1:<port>", _TIME.sub("<time>", _ID.sub("<id>", value)))


def answer(status: int, headers: list[tuple[str, str]], body: bytes) -> Any:
    """Return an HTTP answer as it is compared: the order of its headers counts."""
    shown = [(name.lower(), masked(value, name.lower())) for name, value in headers]
    lengths = [(name, "<length>" if name == "content-length" else value) for name, value in shown]
    try:
        return status, lengths, masked(json.loads(body))
    except ValueError:
        return status, lengths, masked(body.decode("latin-1"))


def differences(table: str, ones: list[Any], twos: list[Any]) -> list[Any]:
    """Return the rows of a table that are in one of two databases alone, as they are compared."""
    shown = [sorted(json.dumps(_row(table, row), sort_keys=True) for row in rows) for rows in (ones, twos)]
    return [(one, two) for one, two in zip_longest(*shown) if one != two]


def _row(table: str, row: dict[str, Any]) -> Any:
    if table.startswith("LiteLLM_Daily"):
        row = {**row, "request_id": ""}  # of whichever call of the day was written last when the row was made
    return masked(row)
