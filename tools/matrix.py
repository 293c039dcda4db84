"""Test and verify litellm-accel on each supported release of LiteLLM, and keep what came out.

A release is supported if there is a file of constraints for it. Each gets an environment of its own, .venv-RELEASE.
What each showed when it was last tried is in docs/figures/matrix.json, and from there in docs/compatibility.md. The
tests run the compiled half: the twins are the same on every release.

    python tools/matrix.py                      # all releases
    python tools/matrix.py 1.108.14 1.106.12    # some of them; the options come after
    python tools/matrix.py --only verify        # without the tests; or `components`, what is active alone
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "figures" / "matrix.json"
ALL_TESTS = ("tests",)
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
    parser.add_argument("--tests", nargs="+", default=ALL_TESTS, metavar="PATH", help="which tests; default: all")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, metavar="FILE", help="default: docs/figures/matrix.json"
    )
    chosen = parser.parse_args()
    supported = in_order(path.stem for path in (ROOT / "constraints").glob("*.txt"))
    if unknown := set(chosen.releases) - set(supported):
        parser.error(f"no constraints for {', '.join(sorted(unknown))}; there are some for {', '.join(supported)}")
    is_good = True
    for release in chosen.releases or supported:
        print(f"=== LiteLLM {release}", flush=True)
        tests = chosen.tests if chosen.only in (None, "tests") else None
        found = tried(release, tests, with_verify=chosen.only in (None, "verify"))
        results = json.loads(chosen.results.read_text(encoding="utf-8")) if chosen.results.exists() else {}
        results[release] = joined(results.get(release, {}), found)
        ordered = {name: results[name] for name in in_order(results)}
        chosen.results.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
        is_good = is_good and passed(found)
    return 0 if is_good else 1


def tried(release: str, tests: Sequence[str] | None, with_verify: bool) -> dict[str, Any]:
    """Return what a release shows: versions, components, and how tests and verify went, where asked for, and when."""
    python = environment_of(release)
    program = python.with_name("litellm-accel")
    found: dict[str, Any] = {"versions": json.loads(_output(python, "-c", _VERSIONS))}
    with tempfile.TemporaryDirectory() as cache:  # what this user has proven says nothing to others
        status = json.loads(_output(program, "status", "--json", XDG_CACHE_HOME=cache))
        found["components"] = {
            part["name"]: {name: part[name] for name in ("state", "proof", "reason")} for part in status["components"]
        }
        if tests is not None:
            found["tests"] = {"date": _today(), "of": list(tests), **tested(python, tests)}
        if with_verify:
            command = (program, "verify", "--json", "--records", cache)
            found["verify"] = {"date": _today(), "components": json.loads(_output(*command, XDG_CACHE_HOME=cache))}
    return found


def environment_of(release: str) -> Path:
    """Return the Python of an environment with a release, where all that tests need is installed and compiled."""
    environment = Path(sys.prefix).with_name(f".venv-{release}")
    if not environment.exists():
        begin(environment)
    command = ("make", "--no-print-directory", "build", f"RELEASE={release}", f"VENV={environment}", "EXTRAS=test")
    subprocess.run(command, cwd=ROOT, check=True)
    return environment / "bin" / "python"


def begin(environment: Path) -> None:
    """Make an environment of what is in this one, by links: another release is three other packages or four."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    here = Path(sysconfig.get_path("purelib"))
    there = environment / here.relative_to(sys.prefix)
    shutil.copytree(here, there, copy_function=os.link, dirs_exist_ok=True)


def tested(python: Path, tests: Sequence[str]) -> dict[str, int]:
    """Run ``tests``, but not those that verify, and return how many passed, failed and were skipped."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.xml"
        chosen = ("-k", "not pure and not verify_finds", *tests)
        options = ("--quiet", "--numprocesses=2", "--dist=loadfile", "--tb=short", f"--junit-xml={report}")
        command: list[str | Path] = [python, "-m", "pytest", *options, *chosen]
        subprocess.run(command, cwd=ROOT, env=_environment(), check=False)
        suite = ElementTree.parse(report).getroot().find("testsuite")
    assert suite is not None
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    skipped = int(suite.get("skipped", 0))
    return {"passed": int(suite.get("tests", 0)) - failed - skipped, "failed": failed, "skipped": skipped}


def joined(earlier: Mapping[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Return what was ``found``, with what it leaves out as it was found ``earlier`` beside the same packages."""
    return {**earlier, **found} if earlier.get("versions") == found["versions"] else found


def passed(found: Mapping[str, Any]) -> bool:
    """Return whether no test failed and no run differed."""
    counts, verified = found.get("tests", {}), found.get("verify", {"components": {}})
    return not counts.get("failed") and not any(one["different"] for one in verified["components"].values())


def in_order(releases: Iterable[str]) -> list[str]:
    """Return ``releases``, the newest first."""
    return sorted(releases, key=lambda release: tuple(map(int, release.split("."))), reverse=True)


def _output(*command: str | Path, **environ: str) -> str:
    # A program that found a difference says so by its exit code, and tells what it found all the same.
    environment = _environment(**environ)
    return subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False).stdout


def _environment(**more: str) -> dict[str, str]:
    # Neither tests nor verify ask the network for LiteLLM's price list.
    return {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", **more}


def _today() -> str:
    return datetime.datetime.now(datetime.timezone.utc).date().isoformat()


if __name__ == "__main__":
    sys.exit(main())
