"""Which lines of an application make which calls: how many, how many served, why not, how long, what is saved."""

from __future__ import annotations

import logging
import os
import sys
import sysconfig
from collections import Counter
from html import escape
from pathlib import Path
from string import Template
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from litellm_accel import activation
from litellm_accel.hot import gate as hot_gate
from litellm_accel.operation.latency import usual

if TYPE_CHECKING:
    from rich.table import Table

_SERVED = 0
_MOST_SITES = 10_000
_REASONS = 3
_FEW = 30
_ELSEWHERE = "(LiteLLM itself)"
_INNER, _LIBRARY, _APPLICATION = 0, 1, 2
_RUNNERS = ("asyncio", "concurrent", "threading")  # frames that call on behalf of others
_OURS = str(Path(__file__).parents[1])
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_SIDES = ("served", "left to LiteLLM", "left to LiteLLM by its share")
_logger = logging.getLogger("litellm_accel")
_kinds: dict[str, int] = {}


def call_site() -> str:
    """Return ``file:line`` of the application's line that is calling LiteLLM; a library's line if there is none."""
    frame: FrameType | None = sys._getframe(1)
    of_library = ""
    while frame is not None:
        name = frame.f_code.co_filename
        kind = _kinds.get(name)
        if kind is None:
            if len(_kinds) >= _MOST_SITES:
                _kinds.clear()
            kind = _kinds[name] = _kind(name)
        if kind == _APPLICATION:
            return f"{name}:{frame.f_lineno}"
        if kind == _LIBRARY and not of_library and not any(word in name for word in _RUNNERS):
            of_library = f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return of_library or _ELSEWHERE


def _kind(name: str) -> int:
    if name.startswith(tuple(f"{path}{os.sep}" for path in (_OURS, *activation.host_paths()))):
        return _INNER
    return _LIBRARY if name.startswith((*_LIBRARIES, "<frozen", "<string")) else _APPLICATION


class Site(NamedTuple):
    """The calls of one component from one line."""

    place: str
    component: str
    calls: int
    served: int
    reasons: dict[str, int]
    seconds: float
    saved: float | None


class Profile:
    """Counts calls by line while its ``with`` block runs; ``sites`` has them, and it prints as a table."""

    def __init__(self) -> None:
        # By line and component: calls, calls served, nanoseconds of these and of the others, and reasons.
        self._found: dict[tuple[str, str], tuple[list[int], Counter[str]]] = {}
        # By component: calls served and the others, which show what a call usually takes.
        self._usual: dict[str, tuple[hot_gate.Side, hot_gate.Side]] = {}

    def __enter__(self) -> Profile:
        activation.observe(self._observe, True)
        return self

    def __exit__(self, *error: object) -> None:
        activation.observe(self._observe, False)

    def _observe(self, gate: hot_gate.Gate, side: int, reason: object, nanoseconds: int) -> None:
        key = (call_site(), gate.name)
        row = self._found.get(key)
        if row is None:
            if len(self._found) >= _MOST_SITES:
                key = ("(more lines)", gate.name)
            row = self._found.setdefault(key, ([0, 0, 0, 0], Counter()))
        counts, reasons = row
        sides = self._usual.get(gate.name)
        if sides is None:
            sides = self._usual.setdefault(gate.name, (hot_gate.Side(), hot_gate.Side()))
        sides[side != _SERVED].record(nanoseconds, False, -1)
        counts[0] += 1
        if side == _SERVED:
            counts[1] += 1
            counts[2] += nanoseconds
        else:
            counts[3] += nanoseconds
            reasons[_SIDES[side] if reason is None else str(reason)] += 1

    @property
    def sites(self) -> list[Site]:
        """The lines, those that took the most time first.

        The saving is the number of calls served, times the usual difference between a served call of the component and
        one left to LiteLLM; None if only a few were left.
        """
        found = {key: (list(counts), dict(reasons)) for key, (counts, reasons) in self._found.copy().items()}
        sites = []
        for (place, name), (counts, reasons) in found.items():
            ours, theirs = self._usual[name]
            each = None
            if ours.calls and theirs.calls >= _FEW:
                each = ((usual(theirs.buckets) or 0.0) - (usual(ours.buckets) or 0.0)) / 1e9
            saved = None if each is None else counts[1] * each
            sites.append(Site(place, name, counts[0], counts[1], reasons, (counts[2] + counts[3]) / 1e9, saved))
        return sorted(sites, key=lambda site: -site.seconds)

    def to_dict(self) -> list[dict[str, Any]]:
        """Return plain data."""
        return [site._asdict() for site in self.sites]

    def __rich__(self) -> Table:
        from rich.table import Table

        table = Table(title="litellm-accel: calls by line", title_justify="left")
        table.add_column("line")
        table.add_column("component")
        for heading in ("calls", "served", "time", "saved"):
            table.add_column(heading, justify="right")
        table.add_column("left to LiteLLM")
        for site in self.sites:
            table.add_row(
                _shown(site.place),
                site.component,
                f"{site.calls:,}",
                f"{site.served / site.calls:.0%}",
                _seconds(site.seconds),
                "" if site.saved is None else _seconds(site.saved),
                "\n".join(_reasons(site)),
            )
        return table

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=140, color_system=None)
        with console.capture() as capture:
            console.print(self)
        return capture.get().rstrip()

    def html(self) -> str:
        """Return a self-contained web page with a chart and a table."""
        sites = self.sites
        longest = max((site.seconds for site in sites), default=0) or 1
        rows = "".join(
            f"<tr><td>{escape(_shown(site.place))}<td>{escape(site.component)}<td>{site.calls:,}"
            f"<td>{site.served / site.calls:.0%}<td>{_seconds(site.seconds)}"
            f"<td>{'' if site.saved is None else _seconds(site.saved)}"
            f'<td class="bar"><i style="width:{100 * site.seconds / longest:.1f}%">'
            f'<b style="width:{100 * site.served / site.calls:.1f}%"></b></i>'
            f"<td>{'<br>'.join(map(escape, _reasons(site)))}\n"
            for site in sites
        )
        return _PAGE.substitute(rows=rows)


def _shown(place: str) -> str:
    file, colon, line = place.rpartition(":")
    try:
        return f"{Path(file).relative_to(Path.cwd())}{colon}{line}"
    except (ValueError, OSError):
        return place


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if abs(seconds) >= 1 else f"{seconds * 1e3:.2f} ms"


def _reasons(site: Site) -> list[str]:
    ordered = sorted(site.reasons.items(), key=lambda item: -item[1])
    lines = [f"{count:,} {reason}" for reason, count in ordered[:_REASONS]]
    rest = sum(count for _, count in ordered[_REASONS:])
    return [*lines, f"{rest:,} for other reasons"] if rest else lines


_PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>litellm-accel: calls by line</title>
<style>
:root { color-scheme: light dark; --line: #8884; --accel: #0b7a5c; --stock: #a3a9b1 }
body { margin: 2rem auto; max-width: 80rem; padding: 0 1rem; font: 15px/1.5 system-ui, sans-serif }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top }
.bar { width: 14rem }
.bar i { display: block; height: 12px; margin-top: 5px; background: var(--stock) }
.bar b { display: block; height: 12px; background: var(--accel) }
</style>
<h1>litellm-accel: calls by line</h1>
<p>Bars are the time of calls, green the share of them that was served.</p>
<table>
<tr><th>line<th>component<th>calls<th>served<th>time<th>saved<th><th>left to LiteLLM
$rows</table>
""")


def log_calls(gate: hot_gate.Gate, side: int, reason: object, nanoseconds: int) -> None:
    """Log one line for a call: which side ran, why, for how long, and where it was called from."""
    why = "" if reason is None else f": {reason}"
    _logger.debug("litellm-accel: %s %s%s, %.1f µs, %s", gate.name, _SIDES[side], why, nanoseconds / 1000, call_site())
