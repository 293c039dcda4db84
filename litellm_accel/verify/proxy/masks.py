"""What two proxies that do the same may tell or store differently: identifiers, clocks, what is measured, frames."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_ID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|resp_[\w=-]{40,}|chatcmpl-[\w-]+|msg_[\w-]+"
    r"|(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])"
)
_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?|\w{3}, \d\d[ -]\w{3}[ -]\d{2,4} \d\d:\d\d:\d\d GMT"
    r"|\b\d\d:\d\d:\d\d\b(?= - )|\d{4}-\d\d-\d\d-\d\d-\d\d"
)
_ADDRESS = re.compile(r"0x[0-9a-f]{6,}")
_PROCESS = re.compile(
    r"(?i)(?<=process \[)\d+(?=\])|(?<=\[)\d+(?=\] \[(?:INFO|ERROR|WARNING)\])|(?<=pid: )\d+|(?<=pid:)\d+"
)
_PORT = re.compile(r"127\.0\.0\.1(:\d+)")
_SECONDS = re.compile(r"(?i)(?<=took )\d+\.\d+|(?<=duration[:=] )\d+\.\d+|\d+\.\d+(?= ?(?:seconds|ms)\b)")
_FRAMES = re.compile(r'(?:^ *File "[^\n]*\n(?:^ {2,}[^\n]*\n?)*)+', re.MULTILINE)
#: Names of members and headers that are clocks, or are measured.
_MEASURED = re.compile(
    r"traceback|stacktrace|duration|_ms$|overhead|time_seconds$|latency|time_to_first|[a-z]Time$|_time$|^date$"
    r"|timestamp$|windows$|^created(_at)?$"
    r"|^updated_at$|^settings_updated_at$|^last_(refreshed|active|used)(_at)?$|_reset_at$|^x-litellm-timing"
)
#: How lines of a log begin that a scheduler writes where the machine is busy.
_TRACEBACK = "Traceback (most recent call last)"
_BY_CHANCE = ("Execution of job", "Run time of job")
_LENGTH = "content-length"
#: Metrics of the process, and of how long something took.
_METRIC = re.compile(r"(?:process|python)_|\w+_(?:created|bucket|sum)\b|\w*(?:latency|duration|overhead|time)\w*")
#: The name under which a daily row was first written says which of its calls that was.
_OF_ONE_CALL = "request_id"


def masked(value: Any, name: str = "") -> Any:
    """Return ``value`` with a word in the place of each identifier, clock, duration and port; ``name`` is its key."""
    if isinstance(value, Mapping):
        return {text(str(key)): masked(item, str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(item, name) for item in value]
    if value is not None and not isinstance(value, bool) and _MEASURED.search(name):
        return f"<{name}>"
    if not isinstance(value, str):
        return value
    if value[:1] in ('"', "{", "["):  # a text that holds JSON
        try:
            return masked(json.loads(value))
        except ValueError:
            pass
    return text(value)


def text(value: str) -> str:
    """Return a text with a word in the place of each identifier, clock, duration, port and frame."""
    value = _FRAMES.sub("<frames>\n", value) if "File " in value else value
    value = _PORT.sub("127.0.0.1:<port>", _TIME.sub("<time>", _ID.sub("<id>", value)))
    return _SECONDS.sub("<seconds>", _ADDRESS.sub("<address>", _PROCESS.sub("<process>", value)))


def answer(raw: bytes) -> Any:
    """Return what came over a connection, as it is compared: every header in order, of each answer."""
    shown: list[dict[str, Any]] = []
    while raw:
        head, separator, rest = raw.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        pairs = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        headers = dict(pairs)
        if not separator or not status.startswith("HTTP/"):
            shown.append({"no HTTP": text(raw.decode("latin-1"))})
            break
        if "chunked" in headers.get("transfer-encoding", ""):
            body, raw = _unchunked(rest)
        else:
            length = int(headers.get(_LENGTH, 0))
            body, raw = rest[:length], rest[length:]
        shown.append({"status": status, "headers": [_header(*pair) for pair in pairs], "body": _body(body)})
    return shown


def _unchunked(raw: bytes) -> tuple[bytes, bytes]:
    """Return the body that chunks make, and what follows them."""
    parts = []
    while raw:
        size, _, raw = raw.partition(b"\r\n")
        count = int(size.partition(b";")[0] or b"0", 16)
        parts.append(raw[:count])
        raw = raw[count + 2 :]
        if not count:
            return b"".join(parts), raw
    return b"".join([*parts, b"<the connection ended>"]), b""


def _header(name: str, value: str) -> list[str]:
    shown = f"<{name}>" if name == _LENGTH else masked(value, name)
    return [name, shown if isinstance(shown, str) else json.dumps(shown)]


def _body(body: bytes) -> Any:
    decoded = body.decode("latin-1")
    try:
        return masked(json.loads(decoded))
    except ValueError:
        return [_event(line) for line in decoded.split("\n")]


def _event(line: str) -> Any:
    """Return a line of a stream as it is compared."""
    if line.startswith("data: {"):
        try:
            return masked(json.loads(line[6:]))
        except ValueError:
            pass
    return text(line)


def log(lines: str) -> list[Any]:
    """Return the lines of a log in no order, without frames of tracebacks."""
    shown = []
    for line in lines.splitlines():
        if not line.strip() or line[0] in " ^" or line.startswith((_TRACEBACK, *_BY_CHANCE)):
            continue
        shown.append(json.dumps(masked(line), sort_keys=True))
    return sorted(shown)


def metrics(lines: str) -> list[str]:
    """Return the lines of a page of metrics that count something else than time."""
    return sorted(text(line) for line in lines.splitlines() if line and line[0] != "#" and not _METRIC.match(line))


def rows(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[str]]:
    """Return all rows of all tables, each as a text, in no order."""
    return {name: sorted(_row(name, row) for row in found) for name, found in sorted(tables.items())}


def _row(table: str, row: Mapping[str, Any]) -> str:
    named = {**row, _OF_ONE_CALL: ""} if table.startswith("LiteLLM_Daily") else dict(row)
    if table.startswith("LiteLLM_Deleted"):
        named["spend"] = "<as far as it was written>"
    return json.dumps(masked(named), sort_keys=True)


def events(lines: Iterable[str]) -> list[str]:
    """Return what a callback was told, in no order."""
    return sorted(json.dumps(masked(json.loads(line)), sort_keys=True) for line in lines)


def keys(found: Mapping[str, tuple[str, int, Any]]) -> dict[str, list[Any]]:
    """Return what is in Redis; keys that differ by an identifier alone are listed under one name."""
    shown: dict[str, list[Any]] = {}
    for key, (kind, left, value) in found.items():
        shown.setdefault(text(key), []).append([kind, left, masked(value)])
    return {key: sorted(values, key=str) for key, values in sorted(shown.items())}
