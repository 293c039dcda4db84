"""The face on real LiteLLM: any import order, early references, threads, forks, and an exact way back."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import litellm
import litellm.utils
import pytest
from litellm import token_counter as captured_early

import litellm_accel
from forked import Imported

pytestmark = pytest.mark.usefixtures("restored")

ROOT = str(Path(litellm_accel.__file__).parents[1])
ACCELERATE = "import litellm_accel; litellm_accel.accelerate('tokens', strict=True)"
WAIT = "import litellm_accel; litellm_accel.accelerate('tokens')"
TEXT = "The quick brown fox jumps over the lazy dog."


def _run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout.strip()


COUNTED = f"print(count(model='gpt-4o', text={TEXT!r}), litellm_accel.status()['tokens'].served)"


@pytest.mark.parametrize(
    "order",
    [
        f"{ACCELERATE}; import litellm; count = litellm.token_counter",
        f"{WAIT}; import litellm; count = litellm.token_counter",
        f"{WAIT}; from litellm.utils import token_counter as count",
    ],
)
def test_an_import_after_accelerate_is_served(order: str) -> None:
    assert _run(f"{order}\n{COUNTED}") == "10 1"


@pytest.mark.parametrize(
    "order",
    [
        f"import litellm; {ACCELERATE}; count = litellm.token_counter",
        f"from litellm import token_counter as count; {ACCELERATE}",
        f"from litellm.main import token_counter as count; {ACCELERATE}",
    ],
)
def test_an_import_before_accelerate_is_served(order: str, imported: Imported) -> None:
    assert imported.run(f"{order}\n{COUNTED}").stdout == "10 1\n"


SEEN = """
import logging, os, sys, warnings
logging.basicConfig(level=logging.DEBUG, format="%(name)s %(levelname)s %(message)s")
warnings.simplefilter("always")
if {wait}:
    import litellm_accel
    assert {{row.state for row in litellm_accel.accelerate().components}} == {{"waiting"}}
    logging.getLogger("litellm_accel").setLevel(logging.CRITICAL)
print(sorted(name for name in sys.modules if name.partition(".")[0] in ("litellm", "openai", "httpx", "aiohttp")))
{late}
import litellm
print(sorted(os.environ.items()), litellm.__spec__, litellm.__loader__)
print([type(finder) for finder in sys.meta_path if "litellm_accel" not in type(finder).__module__])
left = [finder._name for finder in sys.meta_path if "litellm_accel" in type(finder).__module__]
assert set(left) - {{"litellm.router_rust.core"}} == ({{"litellm.proxy.proxy_server"}} if {wait} else set()), left
assert {wait} or not left
if {wait}:
    found = {{row.name: row.state for row in litellm_accel.status().components}}
    assert found["cost"] == "active" and [name for name in found if found[name] == "waiting"] == ["proxy"], found
sys.stdout.flush()
os._exit(0)  # what LiteLLM does when the interpreter ends is no part of its import
"""


@pytest.mark.parametrize("mode", ["", "PRODUCTION"])
def test_importing_litellm_is_left_to_the_application(tmp_path: Path, mode: str) -> None:
    """As it would be without us: no sooner, under the settings of that moment, with the same log and warnings."""
    (tmp_path / ".env").write_text("READ_FROM_A_FILE=yes\n")
    late = f"os.environ['LITELLM_MODE'] = {mode!r}" if mode else ""
    seen = []
    for wait in (False, True):
        ran = subprocess.run(
            [sys.executable, "-c", SEEN.format(wait=wait, late=late)],  # without a script, files above are looked for
            cwd=tmp_path,
            env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONPATH": ROOT},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        seen.append([re.sub(r"\d\d:\d\d:\d\d|0x\w+", "", output) for output in (ran.stdout, ran.stderr)])
    assert seen[0] == seen[1]
    assert ("READ_FROM_A_FILE" in seen[1][0]) == (mode != "PRODUCTION")


def test_nothing_heavy_is_imported_to_wait() -> None:
    code = """
import sys
import litellm_accel
litellm_accel.accelerate(); litellm_accel.status(); litellm_accel.restore()
roots = {name.partition(".")[0] for name in sys.modules}
print(sorted(roots & {"litellm", "openai", "httpx", "aiohttp", "pydantic", "numpy", "orjson", "tiktoken", "rich"}))
"""
    assert _run(code) == "[]"


def test_references_captured_early_are_served() -> None:
    litellm_accel.accelerate("tokens", strict=True)
    before = litellm_accel.status()["tokens"].served
    assert captured_early(model="gpt-4", text=TEXT) == 10
    assert litellm_accel.status()["tokens"].served == before + 1


def _everything_reachable() -> Iterator[tuple[str, Any]]:
    """All functions of all loaded LiteLLM modules and their classes, with their code, defaults and attributes."""
    for module_name, module in sorted(sys.modules.items()):
        if module_name.partition(".")[0] != "litellm":
            continue
        for name, value in sorted(vars(module).items()):
            yield f"{module_name}:{name}", value
            members = vars(value).items() if isinstance(value, type) else ()
            for member_name, member in [("", value), *members]:
                if isinstance(member, FunctionType):
                    label = f"{module_name}:{name}.{member_name}"
                    yield f"{label}.__code__", member.__code__
                    yield f"{label}.__defaults__", member.__defaults__
                    yield f"{label}.__kwdefaults__", member.__kwdefaults__


def test_restore_leaves_every_object_identical() -> None:
    litellm_accel.accelerate(strict=True)  # whatever LiteLLM loads lazily is loaded by now
    litellm_accel.restore()
    before = dict(_everything_reachable())
    litellm_accel.accelerate(strict=True)
    assert any(before[name] is not value for name, value in _everything_reachable())
    litellm.token_counter(model="gpt-4", text=TEXT)
    litellm_accel.restore()
    after = dict(_everything_reachable())
    assert set(before) == set(after)
    assert [name for name in before if before[name] is not after[name]] == []


def test_calls_race_with_accelerate_and_restore() -> None:
    expected = litellm.token_counter(model="gpt-4o", text=TEXT)
    stop = threading.Event()
    wrong: list[Any] = []

    def call() -> None:
        while not stop.is_set():
            try:
                if (got := litellm.token_counter(model="gpt-4o", text=TEXT)) != expected:
                    wrong.append(got)
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(25):
        litellm_accel.accelerate("tokens")
        litellm_accel.restore()
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_forked_children_stay_accelerated(imported: Imported) -> None:
    code = f"""
import os, litellm, litellm_accel
litellm_accel.accelerate("tokens", strict=True)
litellm.token_counter(model="gpt-4o", text={TEXT!r})
child = os.fork()
if child == 0:
    assert litellm.token_counter(model="gpt-4o", text={TEXT!r}) == 10
    assert litellm_accel.status()["tokens"].served == 2
    litellm_accel.restore()
    assert litellm_accel.status()["tokens"].state == "off"
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), litellm_accel.status()["tokens"].served)
"""
    assert imported.run(code).stdout == "0 1\n"
