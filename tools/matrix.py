"""Test and verify litellm-accel on each supported release of LiteLLM, and keep what came out.

A release is supported if there is a file of constraints for it. Each gets an environment of its own, .venv-RELEASE.
What each showed when it was last tried is in docs/figures/matrix.json, and from there in docs/compatibility.md.

    python tools/matrix.py                      # all releases
    python tools/matrix.py 1.108.14 1.106.12    # some of them; the options come after
    python tools/matrix.py --only verify        # without the tests; or `components`, what is active alone
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "figures" / "matrix.json"
TOLD = ("litellm", "openai", "pydantic", "aiohttp", "httpx")
_VERSIONS = f"""
import importlib.metadata, json, platform
versions = {{name: importlib.metadata.version(name) for name in {TOLD}}}
print(json.dumps({{"python": platform.python_version(), **versions}}))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("releases", nargs="*", metavar="RELEASE", help="default: all that are supported")
    parser.add_argument("--only", choices=["components", "tests", "verify"], help="leave out the others")
    parser.add_argument("--tests", nargs="+", default=["tests"], metavar="PATH", help="which tests; default: all")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, metavar="FILE", help="default: docs/figures/matrix.json"
    )
    chosen = parser.parse_args()
    supported = sorted((path.stem for path in (ROOT / "constraints").glob("*.txt")), key=_order, reverse=True)
    if unknown := set(chosen.releases) - set(supported):
        parser.error(f"no constraints for {', '.join(sorted(unknown))}; there are some for {', '.join(supported)}")
    is_good = True
    for release in chosen.releases or supported:
        print(f"=== LiteLLM {release}", flush=True)
        tests = chosen.tests if chosen.only in (None, "tests") else None
        found = tried(release, tests, with_verify=chosen.only in (None, "verify"))
        results = json.loads(chosen.results.read_text(encoding="utf-8")) if chosen.results.exists() else {}
        results[release] = {**results.get(release, {}), **found}
        ordered = {name: results[name] for name in sorted(results, key=_order, reverse=True)}
        chosen.results.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
        is_good = is_good and passed(found)
    return 0 if is_good else 1


def tried(release: str, tests: Sequence[str] | None, with_verify: bool) -> dict[str, Any]:
    """Return what a release shows: the day, versions, components, and how tests and verify went, where asked for."""
    environment = ROOT / f".venv-{release}"
    subprocess.run(["make", "--no-print-directory", "build", f"RELEASE={release}", f"VENV={environment}"], check=True)
    programs = environment / "bin"
    status = json.loads(_output(programs / "litellm-accel", "status", "--json"))
    found: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "versions": json.loads(_output(programs / "python", "-c", _VERSIONS)),
        "components": {
            part["name"]: {name: part[name] for name in ("state", "proof", "reason")} for part in status["components"]
        },
    }
    if tests is not None:
        found["tests"] = _tested(programs, tests)
    if with_verify:
        with tempfile.TemporaryDirectory() as records:
            found["verify"] = json.loads(_output(programs / "litellm-accel", "verify", "--json", "--records", records))
    return found


def passed(found: Mapping[str, Any]) -> bool:
    """Return whether no test failed and no run differed."""
    counts, verified = found.get("tests", {}), found.get("verify", {})
    return not counts.get("failed") and not any(component["different"] for component in verified.values())


def _tested(programs: Path, tests: Sequence[str]) -> dict[str, int]:
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.xml"
        arguments = ["--quiet", "--numprocesses=2", "--dist=loadfile", "--tb=short", f"--junit-xml={report}", *tests]
        subprocess.run([programs / "pytest", *arguments], cwd=ROOT, env=_environment(), check=False)
        suite = ElementTree.parse(report).getroot().find("testsuite")
    assert suite is not None
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    skipped = int(suite.get("skipped", 0))
    return {"passed": int(suite.get("tests", 0)) - failed - skipped, "failed": failed, "skipped": skipped}


def _output(*command: str | Path) -> str:
    # A program that found a difference says so by its exit code, and tells what it found all the same.
    return subprocess.run(command, cwd=ROOT, env=_environment(), stdout=subprocess.PIPE, text=True, check=False).stdout


def _environment() -> dict[str, str]:
    # Neither tests nor verify ask the network for LiteLLM's price list. Records of this user prove nothing to others.
    return {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "XDG_CACHE_HOME": str(ROOT / ".cache" / "matrix")}


def _order(release: str) -> tuple[int, ...]:
    return tuple(int(number) for number in release.split("."))


if __name__ == "__main__":
    sys.exit(main())
