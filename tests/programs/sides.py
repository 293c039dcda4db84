"""One program on stock and on accelerated LiteLLM: two processes, each with a provider of its own, compared."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from answers import literal

from litellm_accel.provider import Provider, RecordedRequest
from litellm_accel.verify import masks
from litellm_accel.verify.comparison import differ

HERE = Path(__file__).parent
TASK_SECONDS = 180.0
#: Rounds in which plans are learned; CPU and the share of served calls are measured after them.
LEARNING_ROUNDS = 2
#: How the reasons of calls begin by which the fast path learns, and those that are counted besides such a call's own.
LEARNING = ("learned from", "first of its kind")
BESIDES = ("unlearnable", "nothing learned")
#: The reason of replies that stock judges: errors, and answers of a new shape.
HANDED_OVER = "reply left to stock"
#: Of calls that LiteLLM refuses before it sends anything: those that were watched, counted besides, and others.
WATCHED_FAILURE, FAILURE = "unlearnable: it fails before it is sent", "it fails before it is sent"
ENVIRONMENT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "OPENAI_API_KEY": "sk-test",
    "PYTHONHASHSEED": "0",
    "OTEL_SDK_DISABLED": "true",
    "DO_NOT_TRACK": "1",
    "NO_COLOR": "1",
    "COLUMNS": "120",
}
IDENTIFIER = re.compile(r"<id \d+>")
#: Values of cookies, which whichever of several answers came last has set.
COOKIE = re.compile(r"(?:(?<=__cf_bm=)|(?<=_cfuvid=))[^;\"]+")


class Broken(Exception):
    """A process ended or did not answer in time."""


class Side:
    """A program's process, and the provider that it asks."""

    def __init__(self, program: Path, python: Path, mode: str, home: Path, explain: bool) -> None:
        self.home = home
        self.environment = python.parents[1]
        shutil.rmtree(home, ignore_errors=True)
        (home / "work").mkdir(parents=True)
        script = (HERE / "answers.py", str(program))
        self.provider = Provider(profile="openai", tls=True, script=script, record=5_000).start()
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("LITELLM_", "PYTHON"))}
        environ |= ENVIRONMENT | self.provider.trust | {"HOME": str(home), "OPENAI_API_BASE": self.provider.url}
        environ |= literal(program, "ENVIRONMENT", {})
        self.printed = (home / "printed.txt").open("w")
        options = ["explain"] if explain else []
        self.process = subprocess.Popen(
            [python, HERE / "worker.py", program, self.provider.url, mode, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.printed,
            text=True,
            cwd=home / "work",
            env=environ,
        )

    def answer(self) -> Any:
        """Return what the process says next. Raises Broken if it does not."""
        assert self.process.stdout is not None
        timer = threading.Timer(TASK_SECONDS, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        if not line:
            self.printed.flush()
            tail = (self.home / "printed.txt").read_text(errors="replace").splitlines()[-25:]
            raise Broken(f"the process ended with code {self.process.wait()}:\n" + "\n".join(tail))
        return json.loads(line)

    def ask(self, **question: Any) -> Any:
        """Return the answer to a question; with it what the provider has received."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        answer = self.answer()
        answer["requests"] = [_request(request) for request in self.provider.requests()]
        self.provider.clear()
        return answer

    def close(self) -> None:
        """End both processes."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.provider.stop()
        self.printed.close()


def _request(request: RecordedRequest) -> Any:
    headers = [[name, value] for name, value in request.headers]
    return {"method": request.method, "path": request.path, "headers": headers, "body": request.body.decode("latin-1")}


@dataclass
class Outcome:
    """What came of a program."""

    name: str
    differences: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    requests: int = 0
    served: int = 0
    declined: dict[str, int] = field(default_factory=dict)
    first_served: int = 0  # of these, in the learning rounds
    first_declined: dict[str, int] = field(default_factory=dict)
    faults: int = 0
    explained: list[Any] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)  # of CPU, each side, after the learning rounds
    measured: int = 0  # requests in that time
    error: str = ""

    @property
    def learning(self) -> int:
        """Calls by which the fast path learned."""
        return sum(count for reason, count in self.declined.items() if reason.startswith(LEARNING))

    @property
    def handed_over(self) -> int:
        """Calls whose reply was stock's to judge."""
        return self.declined.get(HANDED_OVER, 0)

    @property
    def left(self) -> dict[str, int]:
        """The calls declined after the learning rounds, by reason, but those handed over, and those that sent nothing.

        What could not be learned is a reason that is counted besides the call's own.
        """
        later = {reason: count - self.first_declined.get(reason, 0) for reason, count in self.declined.items()}
        later.pop(HANDED_OVER, None)
        later.pop(FAILURE, None)
        if failed := later.get(WATCHED_FAILURE, 0):
            later["learned from"] -= failed
        return {reason: count for reason, count in later.items() if count and not reason.startswith(BESIDES)}

    @property
    def share(self) -> float:
        """Per cent served of the calls after the learning rounds, without those that were handed over."""
        served = self.served - self.first_served
        rest = served + sum(self.left.values())
        return 100.0 * served / rest if rest else 0.0


def compare(program: Path, python: Path, cache: Path, *, proven: bool, explain: bool, rounds: int | None) -> Outcome:
    """Play a program on both sides, task by task in turn."""
    outcome = Outcome(program.stem)
    home = cache / "homes" / program.stem
    mode = "accelerated" if proven else "unproven"
    sides = {
        "stock": Side(program, python, "stock", home / "a", False),
        "accelerated": Side(program, python, mode, home / "b", explain),
    }
    try:
        _play(outcome, program, sides, rounds or literal(program, "ROUNDS", 6), cache, proven)
    except Broken as error:
        outcome.error = str(error)
    finally:
        for side in sides.values():
            side.close()
    return outcome


def _play(outcome: Outcome, program: Path, sides: dict[str, Side], rounds: int, cache: Path, proven: bool) -> None:
    begun = {name: side.answer() for name, side in sides.items()}
    outcome.versions = [seen.pop("versions") for seen in begun.values()][-1]
    tasks = begun["stock"]["tasks"]
    ignored = [re.compile(pattern) for pattern in literal(program, "MASKS", [])]
    unordered = literal(program, "UNORDERED", [])
    if unordered:
        ignored.append(COOKIE)
    _note(outcome, "start", begun, sides, ignored, False)
    spent: Counter[str] = Counter()
    seen: dict[str, Any] = {}  # in the last round, for who looks into a difference
    for number in range(rounds):
        if number == LEARNING_ROUNDS:
            told = sides["accelerated"].ask(report="counts")
            outcome.first_served, outcome.first_declined = told["served"], told["declined"]
        for place, task in enumerate(tasks):
            order = list(sides) if (number + place) % 2 else list(sides)[::-1]
            played = {name: sides[name].ask(task=task, round=number) for name in order}
            seconds = {name: seen.pop("seconds") for name, seen in played.items()}
            requests = len(played["stock"]["requests"])
            outcome.requests += requests
            if number >= LEARNING_ROUNDS:
                spent.update(seconds)
                outcome.measured += requests
            _note(outcome, f"{task}, round {number}", played, sides, ignored, task in unordered)
            seen[task] = played
    (cache / "seen").mkdir(exist_ok=True)
    (cache / "seen" / f"{outcome.name}.json").write_text(json.dumps(seen, indent=1))
    told = sides["accelerated"].ask(report="all")
    outcome.seconds = dict(spent)
    outcome.served, outcome.declined, outcome.explained = told["served"], told["declined"], told["explained"]
    outcome.faults = told["faults"]
    outcome.states = {name: state for name, (state, _) in told["states"].items()}
    if (chat := told["states"]["chat"])[0] != "active" and not proven:
        outcome.differences.append(f"chat is {chat[0]}: {chat[1]}")
    if outcome.faults:
        outcome.differences.append(f"internal faults: {told['last']}")


def _note(
    outcome: Outcome, where: str, seen: dict[str, Any], sides: dict[str, Side], ignored: list[Any], unordered: bool
) -> None:
    shown = {name: _masked(seen[name], side, ignored, unordered) for name, side in sides.items()}
    for difference in differ(shown["stock"], shown["accelerated"]):
        outcome.differences.append(f"{where}: {difference}")


def _masked(seen: Any, side: Side, ignored: list[Any], unordered: bool) -> Any:
    """What was seen, without addresses, homes, clocks and identifiers; in a fixed order where there is none."""
    provider = side.provider
    text = json.dumps(seen).replace(f":{provider.tls_port or provider.port}", ":<port>")
    for place, name in ((side.home, "<home>"), (side.environment, "<environment>"), (HERE, "<programs>")):
        text = text.replace(str(place), name)
    for pattern in ignored:
        text = pattern.sub("0", text)
    found = json.loads(text)
    for request in found.get("requests", ()):
        for header in request["headers"]:
            if header[0].lower() == "content-length":
                header[1] = "<length>"  # of a body that is compared
    found = masks.mask(_unclocked(found))
    if unordered:
        found = json.loads(IDENTIFIER.sub("<id>", json.dumps(found)))
        for name in ("requests", "logged", "warned"):
            found[name] = sorted(found[name], key=repr)
    return found


def _unclocked(value: Any, key: object = None) -> Any:
    if isinstance(value, dict):
        return {name: _unclocked(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_unclocked(item, key) for item in value]
    return masks.clock(key, value) or value


def reasons(declined: dict[str, int]) -> Iterator[str]:
    """The reasons, the most frequent first."""
    for reason, count in sorted(declined.items(), key=lambda item: -item[1]):
        yield f"{count} {reason}"
