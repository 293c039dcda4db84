"""The demo's result as one web page: a bar chart and a table, nothing loaded from elsewhere, light and dark."""

from __future__ import annotations

from html import escape
from string import Template

from litellm_accel.demo.results import Outcome, Result
from litellm_accel.demo.table import EXPLANATION, duration, left_out, ratio, reasons

PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>litellm-accel: stock and accelerated LiteLLM</title>
<style>
:root {
  color-scheme: light dark;
  --page: #fbfbfa; --text: #1c1e21; --quiet: #656b73; --line: #e2e4e7;
  --track: #eceef0; --stock: #a3a9b1; --accel: #0b7a5c; --bad: #b42318;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14161a; --text: #e7e9ec; --quiet: #959ca6; --line: #2c3037;
    --track: #20242a; --stock: #616974; --accel: #3ccb9c; --bad: #ff8a7a;
  }
}
* { box-sizing: border-box }
body {
  margin: 0 auto; padding: 2.5rem 1.25rem 3rem; max-width: 58rem; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
h1 { margin: 0; font-size: 1.6rem; line-height: 1.2 }
h2 { margin: 2.25rem 0 .6rem; font-size: 1.05rem }
p { margin: .4rem 0 }
.quiet { color: var(--quiet); font-size: .875rem }
.bad { color: var(--bad) }
pre { padding: .8rem 1rem; overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; font-size: .8rem }
.legend { display: flex; gap: 1.4rem; margin: 0 0 1rem }
.legend i { display: inline-block; width: .75rem; height: .75rem; margin-right: .45rem; border-radius: 2px }
.row {
  display: grid; grid-template-columns: 16.5rem 1fr 4.5rem; gap: 0 1.1rem; align-items: center;
  padding: .7rem 0; border-top: 1px solid var(--line);
}
.row .ratio { text-align: right; font-size: 1.25rem; font-weight: 650; font-variant-numeric: tabular-nums }
.row .name small { display: block; color: var(--quiet); font-size: .8rem }
.row.served .ratio { color: var(--accel) }
.row:not(.served) .ratio { color: var(--quiet); font-weight: 400 }
.row .bad { color: var(--bad) }
.bar { display: grid; grid-template-columns: 1fr 4.6rem; gap: .7rem; align-items: center; margin: 3px 0 }
.bar span { font-size: .8rem; font-variant-numeric: tabular-nums; white-space: nowrap }
.bar svg { display: block; width: 100%; height: 12px; border-radius: 2px; background: var(--track) }
.stock { fill: var(--stock); background: var(--stock) }
.accel { fill: var(--accel); background: var(--accel) }
.row:not(.served) .accel { fill: var(--stock) }
.scroll { overflow-x: auto }
table { width: 100%; border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums }
th, td { padding: .4rem .5rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap }
th { color: var(--quiet); font-weight: 500; vertical-align: bottom }
th[colspan] { text-align: center }
th[scope=row] { padding-left: 0; color: inherit; font-weight: 400; text-align: left }
tr > [rowspan]:last-child, td:last-child { padding-right: 0 }
@media (max-width: 44rem) {
  .row { grid-template-columns: 1fr auto }
  .row .bars { grid-column: 1 / -1; grid-row: 2 }
}
</style>
<h1>LiteLLM, stock and accelerated</h1>
<p class="quiet">$setting</p>
$failures<h2>CPU time per call</h2>
<div class="legend quiet"><span><i class="stock"></i>Stock LiteLLM</span>\
<span><i class="accel"></i>With litellm-accel</span></div>
$chart
<p class="quiet">Each pair of bars has its own scale: the longer bar is full width. $explanation</p>
$reasons<h2>All figures</h2>
<div class="scroll"><table>
<thead>
<tr><td rowspan="2"></td><th colspan="3">CPU time</th><th colspan="3">Clock</th>\
<th rowspan="2">Rounds</th><th rowspan="2">Served</th><th rowspan="2">Equal</th></tr>
<tr><th>stock</th><th>accelerated</th><th>ratio</th><th>stock</th><th>accelerated</th><th>ratio</th></tr>
</thead>
<tbody>
$table
</tbody>
</table></div>
</html>
""")


def page(result: Result) -> str:
    """Return ``result`` as an HTML page."""
    measured = [outcome for outcome in result.outcomes if outcome.is_measured]
    return PAGE.substitute(
        setting=escape(result.setting),
        explanation=escape(EXPLANATION),
        failures="".join(_failure(outcome) for outcome in result.outcomes if not outcome.ok),
        chart="\n".join(map(_bars, measured)),
        reasons="".join(
            f'<p class="quiet">Left to stock: {escape("; ".join(titles))}: {escape(reason)}</p>\n'
            for reason, titles in reasons(result).items()
        )
        + "".join(
            f'<p class="quiet">Left out: {escape("; ".join(titles))}: {escape(reason)}</p>\n'
            for reason, titles in left_out(result).items()
        ),
        table="\n".join(map(_figures, measured)),
    )


def _failure(outcome: Outcome) -> str:
    what = "failed" if outcome.error is not None else "gives different results"
    text = outcome.error if outcome.error is not None else str(outcome.difference)
    return f'<p class="bad">{escape(outcome.row.title)} {what}</p>\n<pre>{escape(text)}</pre>\n'


def _bars(outcome: Outcome) -> str:
    stock, accelerated = min(outcome.stock.cpu), min(outcome.accelerated.cpu)
    longest = max(stock, accelerated)
    notes = "" if outcome.served else "<small>not accelerated</small>"
    notes += "" if outcome.ok else '<small class="bad">results differ</small>'
    return (
        f'<div class="row{" served" if outcome.served else ""}">'
        f'<div class="name">{escape(outcome.row.title)}{notes}</div>'
        f'<div class="bars">{_bar("stock", stock, longest)}{_bar("accel", accelerated, longest)}</div>'
        f'<div class="ratio">{ratio(outcome.cpu_ratio)}</div></div>'
    )


def _bar(kind: str, seconds: float, longest: float) -> str:
    return (
        f'<div class="bar"><svg role="img" aria-label="{duration(seconds)}">'
        f'<rect class="{kind}" width="{100 * seconds / longest:.2f}%" height="100%" rx="2"/></svg>'
        f"<span>{duration(seconds)}</span></div>"
    )


def _figures(outcome: Outcome) -> str:
    cells = [
        *(duration(min(times)) for times in (outcome.stock.cpu, outcome.accelerated.cpu)),
        ratio(outcome.cpu_ratio),
        *(duration(min(times)) for times in (outcome.stock.wall, outcome.accelerated.wall)),
        ratio(outcome.wall_ratio),
        str(len(outcome.stock.cpu)),
        outcome.served_share,
        "yes" if outcome.difference is None else "no",
    ]
    return f'<tr><th scope="row">{escape(outcome.row.title)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
