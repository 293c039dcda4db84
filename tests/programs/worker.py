"""Plays the tasks of one program, on stock or accelerated LiteLLM. Runs in the program's environment.

    python worker.py PROGRAM.py ADDRESS stock|accelerated|unproven [explain]

`unproven` accelerates without asking for records of ``verify``. Standard input has one JSON object a line, the task to
play and its round; standard output answers each with what could be seen of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import importlib.util
import inspect
import json
import logging
import os
import random
import sys
import time
import warnings
from pathlib import Path
from typing import Any

sys.path.pop(0)  # this file's folder: what is in it is none of the program's
HERE = Path(__file__).parent
PACKAGES = ("litellm", "openai", "httpx", "aiohttp", "pydantic")
#: Long enough for LiteLLM's threads and its worker to tell everybody of a call.
SETTLING = 0.06
#: Held as long as the process lives: components look for their proof when the application imports LiteLLM.
UNPROVEN = contextlib.ExitStack()


def load(name: str, path: Path) -> Any:
    """Import a file under a name that is nobody else's."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


describing = load("programs_describe", HERE / "describe.py")


class Seen:
    """What the process shows besides results: log records and warnings."""

    def __init__(self) -> None:
        self.logged: list[Any] = []
        self.warned: list[Any] = []
        handler = logging.Handler(0)
        handler.emit = self.record  # type: ignore[method-assign]
        logging.root.addHandler(handler)
        warnings.simplefilter("default")
        warnings.showwarning = self.warning  # type: ignore[assignment]

    def record(self, record: logging.LogRecord) -> None:
        """Keep a log record, unless it is one of ours."""
        if record.name != "litellm_accel" and not record.name.startswith("asyncio"):
            self.logged.append([record.name, record.levelname, record.getMessage()])

    def warning(self, message: Warning | str, category: type[Warning], filename: str, *_: Any) -> None:
        """Keep a warning and the file that it is about."""
        if not issubclass(category, ResourceWarning):
            self.warned.append([category.__name__, str(message), Path(filename).name])

    def taken(self) -> dict[str, Any]:
        """Return what was seen since the last time."""
        taken = {"logged": self.logged[:], "warned": self.warned[:]}
        self.logged.clear()
        self.warned.clear()
        return taken


def accelerate(proven: bool) -> None:
    """Accelerate as a user would write it."""
    import litellm_accel

    if not proven:
        from litellm_accel.verify.records import proving

        for name in ("chat", "streaming", "embeddings", "connection_pool"):
            UNPROVEN.enter_context(proving(name))
    litellm_accel.accelerate()


def counts() -> dict[str, Any]:
    """Return what component ``chat`` has counted so far, by nothing that `status()` would import."""
    from litellm_accel import activation

    gate = activation._activations["chat"].gate
    return {"served": gate.served, "declined": gate.declined}


def counters() -> dict[str, Any]:
    """Return what component ``chat`` counts, what failed inside, and the components' states."""
    import litellm_accel

    report = litellm_accel.status()
    chat = report["chat"]
    return {
        "served": chat.served,
        "declined": chat.declined,
        "faults": sum(component.faults for component in report.components),
        "last": {component.name: component.reason for component in report.components if component.faults},
        "states": {component.name: [component.state, component.reason] for component in report.components},
    }


class Player:
    """Plays tasks one at a time; asynchronous ones in one event loop, as within one ``asyncio.run``."""

    def __init__(self, tasks: dict[str, Any], seen: Seen) -> None:
        self.tasks = tasks
        self.seen = seen
        self.loop = asyncio.new_event_loop()

    def play(self, name: str, number: int) -> dict[str, Any]:
        """Play a task; return its outcome, what was seen and the CPU time that it took."""
        task = self.tasks[name]
        random.seed(number)
        begin = time.process_time()
        try:
            if inspect.iscoroutinefunction(task):
                outcome = self.loop.run_until_complete(self.asynchronous(task, number))
            else:
                outcome = describing.describe(task(number))
                time.sleep(SETTLING)
        except Exception as error:
            outcome = describing.error(error)
            if isinstance(error, (AttributeError, TypeError, NameError, ImportError)):
                import traceback

                traceback.print_exc()
        spent = time.process_time() - begin
        return {"outcome": outcome, **self.seen.taken(), "seconds": spent}

    async def asynchronous(self, task: Any, number: int) -> Any:
        outcome = describing.describe(await task(number))
        await asyncio.sleep(SETTLING)
        return outcome


def main(program: str, address: str, side: str, *options: str) -> None:
    """Answer the lines on standard input until it ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the program prints goes to standard error
    before = dict(os.environ)
    seen = Seen()
    if side != "stock":
        accelerate(side == "accelerated")
    module = load("program", Path(program))
    explained: Any = load("programs_explain", HERE / "explain.py").Explained() if "explain" in options else None
    player = Player(module.tasks(address), seen)

    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer, default=repr) + "\n")
        answers.flush()

    changed = {name: value for name, value in os.environ.items() if before.get(name) != value}
    versions = {name: importlib.metadata.version(name) for name in (*PACKAGES, *module.SHOWN)}
    say({"environment": changed, **seen.taken(), "tasks": list(player.tasks), "versions": versions})
    for line in sys.stdin:
        asked = json.loads(line)
        if "task" in asked:
            say(player.play(asked["task"], asked["round"]))
        else:
            told = {} if side == "stock" else counts() if asked["report"] == "counts" else counters()
            say({**told, "explained": explained.kinds if explained else []})
    answers.close()
    os._exit(0)  # threads that a program leaves behind are not waited for


if __name__ == "__main__":
    main(*sys.argv[1:])
