"""What switching everything on leaves behind in a fresh process: as little as possible, at any log level."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import litellm_accel
from forked import Imported
from litellm_accel import components, hot
from litellm_accel.components.base import Native
from releases import NATIVE, routers_in_python

ROOT = str(Path(litellm_accel.__file__).parents[1])

LEFT = """
import gc, json, logging, os, sys, time
level = {level!r}
if level:
    logging.basicConfig(level=level, format="%(name)s %(levelname)s %(message)s")
if {early}:
    import litellm_accel
    litellm_accel.accelerate()
begin = time.process_time()
import litellm
imported = time.process_time() - begin
modules, environ = set(sys.modules), dict(os.environ)
for stream in (sys.stdout, sys.stderr):
    print("imported", file=stream, flush=True)
import litellm_accel
begin = time.process_time()
report = litellm_accel.accelerate()
seconds = time.process_time() - begin
young = len(gc.get_objects(generation=0)) + len(gc.get_objects(generation=1))
for stream in (sys.stdout, sys.stderr):
    print("accelerated", file=stream, flush=True)
print(json.dumps({{
    "states": {{row.name: [row.state, row.reason] for row in report.components}},
    "modules": sorted(name for name in set(sys.modules) - modules if not name.startswith("litellm_accel")),
    "tokenizers": "TIKTOKEN_CACHE_DIR" in set(os.environ) - set(environ),
    "environ": dict(os.environ) == environ,
    "seconds": [seconds, imported],
    "collects": gc.isenabled(),
    "young": young,
    "frozen": gc.get_freeze_count(),
    "registered": litellm._async_client_cleanup_registered,
}}))
"""
HEAVY = ("openai.resources", "openai.types.beta", "httpcore", "litellm.litellm_core_utils.default_encoding")


def _assert_all_on(states: dict[str, list[str]]) -> None:
    left = {name: state for name, state in states.items() if state[0] != "active"}
    assert left.keys() == NATIVE | {"proxy"}, left  # which waits for LiteLLM's proxy
    assert {name for name, state in left.items() if state[0] == "native"} == NATIVE, left


def _left(program: str, run: Callable[[str], subprocess.CompletedProcess[str]]) -> tuple[dict[str, Any], str]:
    ran = run(program)
    said = [output.partition("imported\n")[2].partition("accelerated\n") for output in (ran.stdout, ran.stderr)]
    return json.loads(said[0][2].splitlines()[0]), said[0][0] + said[1][0]


def _anew(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own, which keeps the bytecode that Python makes, whatever is set here."""
    own = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONPATH": ROOT, "PYTHONDONTWRITEBYTECODE": ""}
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )


@pytest.mark.parametrize("level", ["", "INFO", "DEBUG"])
def test_everything_is_switched_on_at_any_log_level_and_says_nothing(level: str, imported: Imported) -> None:
    run = _anew if level == "DEBUG" else imported.run  # once with a level that is set before LiteLLM is imported
    left, written = _left(LEFT.format(level=level, early=False), run)
    _assert_all_on(left["states"])
    assert written == ""


@pytest.mark.parametrize("early", [False, True])
def test_little_is_left_behind(early: bool, imported: Imported) -> None:
    """Neither vocabularies nor SDKs are loaded, and LiteLLM's own clean-up at exit waits for its first use."""
    left, _ = _left(LEFT.format(level="", early=early), _anew if early else imported.run)
    _assert_all_on(left["states"])
    assert not left["tokenizers"]
    assert left["environ"]
    assert left["registered"] is False
    assert [name for name in left["modules"] if name.startswith(HEAVY)] == []
    assert len(left["modules"]) < 100
    assert left["collects"]
    assert left["young"] < 1000 and left["frozen"] == 0  # it has made some 20,000 objects


def test_switching_on_takes_a_small_part_of_the_import() -> None:
    """150 ms of processor time where ``import litellm`` takes 2 s; machines differ, the ratio does not."""
    program = LEFT.format(level="", early=False)
    _left(program, _anew)  # so that Python has compiled everything
    seconds, imported = _left(program, _anew)[0]["seconds"]
    assert seconds < 0.12 * imported, f"accelerate() took {seconds:.3f} s, import litellm {imported:.3f} s"


USED = """
import asyncio, json, sys
import litellm_accel
from litellm_accel.provider import Provider
import litellm
litellm_accel.accelerate("chat")
messages = [{{"role": "user", "content": "Hello"}}]
with Provider() as provider:
    asked = dict(model="openai/gpt-4o-mini", messages=messages, api_key="sk-test", api_base=provider.url)
    if {patched}:
        import openai.resources.chat.completions.completions as late
        create = late.{kind}Completions.create
        called = []
        def mine(self, *args, **kwargs):
            called.append(1)
            return create(self, *args, **kwargs)
        late.{kind}Completions.create = mine
    def call():
        return {call}
    for number in range(9):
        messages[0]["content"] = f"Hello {{number}}"
        call()
    row = litellm_accel.status()["chat"]
    calls = []
    if {patched}:
        calls.append(len(called))
        litellm_accel.restore()
        call()
        calls.append(len(called))
    print(json.dumps([row.served, dict(row.declined), calls, litellm._async_client_cleanup_registered]))
"""


@pytest.mark.parametrize(
    ("kind", "call"),
    [("", "litellm.completion(**asked)"), ("Async", "asyncio.run(litellm.acompletion(**asked))")],
)
@pytest.mark.parametrize("patched", [False, True])
def test_what_is_imported_later_is_looked_at_before_it_matters(
    kind: str, call: str, patched: bool, imported: Imported
) -> None:
    """A module that a watched call is the first to import is watched from then on, and a patch in it stands."""
    ran = imported.run(USED.format(kind=kind, call=call, patched=patched))
    served, declined, calls, registered = json.loads(ran.stdout)
    assert registered is True
    if patched:
        assert (served, calls) in ((0, [9, 10]), (0, [0, 0]))  # later releases call the SDK's client instead
        assert any("patched" in reason and "create" in reason for reason in declined), declined
    else:
        assert served >= 3, declined


DECODED = """
import litellm, litellm_accel
report = litellm_accel.accelerate("tokens", strict=True)
tokens = litellm.encode(model="gpt-4o", text="Hello, world!")
assert litellm.decode(model="gpt-4o", tokens=tokens) == "Hello, world!"
row = litellm_accel.status()["tokens"]
print(row.served, row.reason)
"""


@pytest.mark.parametrize(("pure", "said"), [("0", "2 token counting, encoding and decoding"), ("1", "1 token")])
def test_what_would_be_slower_without_compiled_code_stays_stock(pure: str, said: str, imported: Imported) -> None:
    ran = imported.run(DECODED, LITELLM_ACCEL_PURE=pure)
    assert ran.stdout.startswith(said)
    assert ("decoding stays LiteLLM's" in ran.stdout) == (pure == "1")


CHOSEN = """
import asyncio, json, logging
logging.basicConfig(level={level!r}, format="%(name)s %(levelname)s %(message)s")
import litellm
from litellm import Router
import litellm_accel
params = {{"model": "openai/gpt-4o-mini", "api_key": "sk-x"}}
models = [
    {{"model_name": "chat", "litellm_params": dict(params), "model_info": {{"id": name}}}}
    for name in ("d0", "d1")
]
written = []

class Kept(logging.Handler):
    def emit(self, record):
        written.append([record.name, record.levelname, record.getMessage(), record.funcName])

def chosen():
    router = Router(model_list=models, routing_strategy="least-busy")
    asked = [{{"role": "user", "content": "Hello"}}]
    del written[:]
    router.get_available_deployment(model="chat", messages=asked, request_kwargs={{}})
    asyncio.run(router.async_get_available_deployment(model="chat", messages=asked, request_kwargs={{}}))
    litellm.token_counter(model="gpt-4o", text="Hello")
    return list(written)

for logger in logging.getLogger("LiteLLM"), logging.getLogger("LiteLLM Router"):
    logger.addHandler(Kept())
chosen()
stock = chosen()
report = litellm_accel.accelerate(("tokens", "routing"), strict=True)
accelerated = chosen()
rows = {{row.name: [row.served, dict(row.declined)] for row in litellm_accel.status().components}}
print("RESULT" + json.dumps([stock, accelerated, rows]))
"""


@routers_in_python
@pytest.mark.parametrize("level", ["WARNING", "INFO", "DEBUG"])
def test_a_logger_that_would_write_of_a_choice_is_named_and_writes_the_same(level: str, imported: Imported) -> None:
    ran = imported.run(CHOSEN.format(level=level))
    stock, accelerated, rows = json.loads(ran.stdout.partition("RESULT")[2].splitlines()[0])
    assert accelerated == stock
    assert bool(stock) == (level != "WARNING")
    served, declined = rows["routing"]
    assert served > 0 if level == "WARNING" else declined["logging: LiteLLM Router at INFO"] >= 2
    served, declined = rows["tokens"]
    assert declined == {"logging: LiteLLM at DEBUG": 1} if level == "DEBUG" else served == 1


@pytest.mark.parametrize("name", ["routing", "rate_limit"])
def test_routers_with_a_core_of_their_own_are_native(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    facade = type("Facade", (type,), {})
    monkeypatch.setattr("litellm.router.Router", facade("Router", (), {}))
    with pytest.raises(Native, match="a core of their own"):
        components.get(name).replacements(hot.gate.Gate(name, 10))
