"""Fill the figures of README.md, docs and the like from what is stored in docs/figures.

A place is marked ``<!-- figure NAME -->…<!-- end -->``; what lies between is written by this program. ``make measure``
stores new results of the demo, the bench and of counting; the proxy's come from ``python -m benchmarks.proxy``.

    python tools/figures.py            # fill all marked places
    python tools/figures.py --check    # exit with 1 if a place is out of date
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from litellm_accel.demo.table import duration, ratio
from litellm_accel.verify import scenarios

ROOT = Path(__file__).parent.parent
PLACE = re.compile(r"(<!-- figure ([\w.-]+) -->)(.*?)(<!-- end -->)", re.DOTALL)
# The tables that docs make of the bench's rows, and what they call the rows.
BENCH = {
    "chat": {
        "chat.completion": "`litellm.completion`, one thread",
        "chat.threads": "`litellm.completion`, 8 threads",
        "chat.acompletion": "`litellm.acompletion`, 20 in flight",
        "chat.plain_http": "… over plain HTTP, with few headers",
        "chat.hosted_vllm": "… on `hosted_vllm`",
        "chat.azure": "… on `azure`",
        "chat.tools.acompletion": "… with another temperature and other tools in each call",
        "chat.metadata.acompletion": "… with other `metadata` in each call",
        "chat.cached.acompletion": "… answered from `litellm.cache` in memory",
        "chat.router": "`Router.acompletion`, 10 deployments with rpm and tpm",
        "chat.tools.router": "… with another temperature and other tools in each call",
        "chat.metadata.router": "… with other `metadata` in each call",
        "chat.router.least-busy": "… with `least-busy`",
        "chat.router.latency-based-routing": "… with `latency-based-routing`",
        "chat.router.usage-based-routing-v2": "… with `usage-based-routing-v2`",
    },
    "chat-told": {
        "chat.told.completion": "`litellm.completion`, one thread",
        "chat.told.threads": "`litellm.completion`, 8 threads",
        "chat.told.acompletion": "`litellm.acompletion`, 20 in flight",
        "chat.told.router": "`Router.acompletion`, 10 deployments with rpm and tpm",
    },
    "streams": {
        "streaming.acompletion": "`litellm.acompletion`, 40 events a packet",
        "streaming.apart": "… ten at once, one event a packet",
        "streaming.completion": "`litellm.completion`, 40 events a packet",
        "streaming.router": "`Router.acompletion`, 40 events a packet",
        "streaming.short.acompletion": "`litellm.acompletion`, 4 chunks",
        "streaming.short.completion": "`litellm.completion`, 4 chunks",
        "streaming.short.router": "`Router.acompletion`, 4 chunks",
        "streaming.long.acompletion": "`litellm.acompletion`, 200 chunks, one event a packet",
        "streaming.long.completion": "`litellm.completion`, the same",
        "streaming.long.router": "`Router.acompletion`, the same",
        "streaming.told.acompletion": "… `litellm.acompletion`, with a `CustomLogger` that reads the standard payload",
        "streaming.told.completion": "… `litellm.completion`, the same",
        "streaming.told.router": "… `Router.acompletion`, the same",
    },
    "embeddings": {
        "embeddings.aembedding": "`aembedding`, one text, 1536 numbers",
        "embeddings.100-texts": "`embedding`, 100 texts",
    },
}
SLOW = {"letter": "one letter", "blanks": "blanks", "digits": "digits", "bytes": "random bytes", "emoji": "one emoji"}


def pages() -> list[Path]:
    """Return the pages that may have marked places."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def figures() -> dict[str, str]:
    """Return the text of each figure by its name."""
    demo, counting, bench = (stored(name) for name in ("demo", "counting", "bench"))
    found = {"demo": times(demo["rows"], "CPU time of"), "demo-machine": setting(demo)}
    found |= {"counting": _counting(counting["rows"]), "slow": _slow(counting["slow"])}
    found |= {"counting-machine": setting(counting)}
    found["bench-machine"] = setting(bench)
    by_name = {row["name"]: row for row in bench["rows"]}
    for table_of, titles in BENCH.items():
        found[table_of] = times({**by_name[name], "title": title} for name, title in titles.items())
    for name, row in by_name.items():
        stock, accelerated = row["stock"]["cpu_min"], row["accelerated"]["cpu_min"]
        found[f"{name}-ratio"] = ratio(stock / accelerated)
        found[f"{name}-stock"] = duration(stock)
        found[f"{name}-accelerated"] = duration(accelerated)
    found |= _matrix(stored("matrix"))
    for name in scenarios.THEMES:
        found[f"runs-{name}"] = f"{len(scenarios.short(name)):,}"
    found["runs-short"] = f"{sum(len(scenarios.short(name)) for name in scenarios.THEMES):,}"
    found["runs-all"] = f"{sum(len(scenarios.runs(name)) for name in scenarios.THEMES):,}"
    return found


def stored(name: str) -> dict[str, Any]:
    """Return what ``docs/figures`` holds under a name."""
    found: dict[str, Any] = json.loads((ROOT / "docs" / "figures" / f"{name}.json").read_text(encoding="utf-8"))
    return found


def setting(result: Mapping[str, Any]) -> str:
    """Return the machine, the versions and whose answers they are, in a line."""
    versions = [f"{name} {version}" for name, version in result["versions"].items()]
    answers = [f"answers: {result['answers']}"] if "answers" in result else []
    return ", ".join([result["machine"], *versions, *answers])


def times(rows: Iterable[Mapping[str, Any]], heading: str = "") -> str:
    """Return a table of CPU times, stock and accelerated, with their ratio."""
    lines = []
    for row in rows:
        stock, accelerated = row["stock"]["cpu_min"], row["accelerated"]["cpu_min"]
        lines.append([row["title"], duration(stock), duration(accelerated), ratio(stock / accelerated)])
    return table([heading, "stock", "accelerated", ""], lines)


def table(heading: list[str], lines: Iterable[list[str]]) -> str:
    """Return a table in Markdown, between empty lines."""
    rows = [heading, ["---"] * len(heading), *lines]
    return "\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n\n"


def filled(text: str, known: Mapping[str, str]) -> str:
    """Return a page's text with its marked places filled. Raises KeyError for a figure that there is not."""
    return PLACE.sub(lambda place: place[1] + known[place[2]] + place[4], text)


def outdated(known: Mapping[str, str]) -> list[Path]:
    """Return the pages with a place that is out of date."""
    return [page for page in pages() if filled(text := page.read_text(encoding="utf-8"), known) != text]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing")
    check, known = parser.parse_args().check, figures()
    for page in (found := outdated(known)):
        print(f"{page.relative_to(ROOT)} {'is out of date' if check else 'is filled'}")
        if not check:
            page.write_text(filled(page.read_text(encoding="utf-8"), known), encoding="utf-8")
    return 1 if check and found else 0


def _counting(rows: Iterable[Mapping[str, Any]]) -> str:
    heading = ["text", "tiktoken", "litellm-accel", "", "gigatoken", "", "`encode_ordinary`"]
    lines = []
    for row in rows:
        stock, ours, peer = (row["mb_per_second"][name] for name in ("tiktoken", "litellm-accel", "gigatoken"))
        speeds = [f"{stock:,.0f} MB/s", f"{ours:,.0f} MB/s", f"{ours / stock:.1f}×", f"{peer:,.0f} MB/s"]
        encode = f"{row['encode_ratio']:.1f}×"
        lines.append([f"{row['text']}, `{row['encoding']}`", *speeds, f"{ours / peer:.2f}×", encode])
    return table(heading, lines)


def _matrix(releases: Mapping[str, Any]) -> dict[str, str]:
    """Return what each release of LiteLLM showed when it was last tried: the components, and tests and verify."""
    components = list(next(iter(releases.values()))["components"])
    states, results, short = [], [], []
    for release, found in releases.items():
        beside = ", ".join(f"{name} {found['versions'][name]}" for name in ("openai", "pydantic"))
        states.append([release, beside, *(_state(found["components"][name]) for name in components)])
        verified = [_verified(found.get("verify"), name) for name in scenarios.THEMES]
        results.append([release, _tested(found.get("tests")), *verified])
        by_state = [
            ", ".join(f"`{name}`" for name in components if found["components"][name]["state"] == state)
            for state in ("active", "native", "off")
        ]
        short.append([release, *by_state, _compared(found.get("verify"))])
    headings = [f"`{name}`" for name in components]
    verifies = [f"verify, `{name}`" for name in scenarios.THEMES]
    return {
        "matrix": table(["LiteLLM", "with", *headings], states),
        "matrix-results": table(["LiteLLM", "tests", *verifies], results),
        "matrix-short": table(["LiteLLM", "on", "LiteLLM's own", "off", "`verify`"], short),
    }


def _state(component: Mapping[str, str]) -> str:
    return f"on, {component['proof']}" if component["state"] == "active" else component["state"]


def _tested(tests: Mapping[str, Any] | None) -> str:
    if tests is None:
        return "not run"
    of = "" if tests["of"] == ["tests"] else f" of {', '.join(f'`{path}`' for path in tests['of'])}"
    return f"{tests['passed']:,} passed, {tests['failed']} failed{of} ({tests['date']})"


def _verified(verify: Mapping[str, Any] | None, name: str) -> str:
    if verify is None or name not in verify["components"]:
        return "not run"
    counts = verify["components"][name]
    different = len(counts["different"])
    equal = f"{different} different" if different else "equal"
    return f"{equal}, {counts['served']:,} of {counts['runs']:,} served ({verify['date']})"


def _compared(verify: Mapping[str, Any] | None) -> str:
    if verify is None:
        return "not run"
    counts = verify["components"].values()
    different = sum(len(one["different"]) for one in counts)
    runs = f"{sum(one['runs'] for one in counts):,} runs"
    return f"{different} of {runs} different" if different else f"equal in {runs}"


def _slow(rows: Iterable[Mapping[str, Any]]) -> str:
    lines = [[f"`{row['encoding']}`", *(f"{row['against_prose'][kind]:.2f}×" for kind in SLOW)] for row in rows]
    return table(["", *SLOW.values()], lines)


if __name__ == "__main__":
    sys.exit(main())
