"""Plays the runs of a component in stock and in accelerated LiteLLM and compares the two descriptions.

Each pair of processes (one stock, one accelerated) has a provider of its own; both play the same runs in the same
order against the same address, stock first. Several pairs work at a time.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from typing import Any, Literal, Protocol

from litellm_accel.provider import Provider
from litellm_accel.verify import scenarios
from litellm_accel.verify.scenario import Run
from litellm_accel.verify.sides import ForkServer, Side, fork_server

RUN_SECONDS = 30.0
STOCK = "litellm_accel.verify.worker:stock"
ACCELERATED = "litellm_accel.verify.worker:accelerated"
PLAYS = 8
#: What LiteLLM logs in place of telling a callback when two of its threads work on one dictionary at the same time, or
#: when its worker meets the queue of another loop, which came between.
COLLISIONS = ("dictionary changed size during iteration", "is bound to a different event loop")
#: What a worker calls the calls that an accelerator left to stock because it failed.
FAULT = "internal fault"
SHOWN = 12
#: Begins the error of a run that stock did not finish, before the accelerated side has played it.
STOCK_ERROR = "stock: "
#: The share of runs that stock may leave unfinished, as where a release of LiteLLM falls back without an end.
MOST_UNPLAYED = 0.01
#: Starting a pair takes about as long as these many runs.
RUNS_WORTH_A_PAIR = 10

_GLOBBING = frozenset("*?[")

WayTaken = Literal["served", "declined", "mixed", "unknown"]


@dataclass(frozen=True)
class Difference:
    """Something that is not the same: where, and what each side shows."""

    where: str
    stock: Any
    accelerated: Any

    def __str__(self) -> str:
        return f"{self.where}\n      stock:       {_short(self.stock)}\n      accelerated: {_short(self.accelerated)}"


class Played(Protocol):
    """What a run is a run of."""

    @property
    def name(self) -> str: ...

    @property
    def way(self) -> str: ...


class Playable(Protocol):
    """A run, of whatever component."""

    @property
    def id(self) -> str: ...

    @property
    def scenario(self) -> Played: ...


@dataclass(frozen=True)
class Verdict:
    """What came of one run.

    ``way`` says what the fast path did, ``served`` how many calls it served; ``error`` is set if a side could not play
    it.
    """

    run: Playable
    way: WayTaken
    reasons: dict[str, int]
    differences: tuple[Difference, ...]
    seconds: float
    error: str = ""
    served: int = 0

    @property
    def ok(self) -> bool:
        """Whether both sides showed the same."""
        return not self.error and not self.differences

    @property
    def unplayed(self) -> bool:
        """Whether stock itself could not play it, which says nothing of the fast path."""
        return self.error.startswith(STOCK_ERROR)

    @property
    def unserved(self) -> bool:
        """Whether the fast path left a run to stock that it is made for: equal, and slow."""
        return self.run.scenario.way == "served" and self.way in ("declined", "unknown")

    def __str__(self) -> str:
        lines = [self.run.id, *([self.error] if self.error else []), *map(str, self.differences[:SHOWN])]
        if len(self.differences) > SHOWN:
            lines.append(f"… and {len(self.differences) - SHOWN} more")
        return "\n    ".join(lines)


@dataclass(frozen=True)
class Result:
    """The verdicts on all runs of a component."""

    component: str
    verdicts: tuple[Verdict, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        return bool(self.verdicts) and not self.failed

    @property
    def proves(self) -> bool:
        """Whether the component may be switched on: nothing differs, and not because every call was left to stock."""
        return self.ok and any(verdict.way in ("served", "mixed") for verdict in self.verdicts)

    @property
    def unplayed(self) -> list[Verdict]:
        """What stock itself could not play; if that is much, the fault is not stock's, and these have failed."""
        found = [verdict for verdict in self.verdicts if verdict.unplayed]
        return found if len(found) <= MOST_UNPLAYED * len(self.verdicts) else []

    @property
    def failed(self) -> list[Verdict]:
        unplayed = {verdict.run.id for verdict in self.unplayed}
        return [verdict for verdict in self.verdicts if not verdict.ok and verdict.run.id not in unplayed]

    def count(self, way: str) -> int:
        """How many runs the fast path took so: served, declined, mixed, unknown."""
        return sum(verdict.way == way for verdict in self.verdicts)


def run(
    component: str,
    *,
    patterns: Sequence[str] = (),
    thorough: bool = False,
    accelerator: str = ACCELERATED,
    pairs: int | None = None,
    forked: ForkServer | None = None,
    kept: Pairs | None = None,
    progress: Callable[[Verdict, int], None] = lambda verdict, total: None,
) -> Result:
    """Play and compare the runs of a short proof of `component`, or with `thorough` all its runs.

    With `patterns` it is those of all runs whose id or scenario name matches one of them.

    `accelerator` names what accelerates LiteLLM (see ``worker``). `forked` is what the sides are forked from; without
    it this call starts its own. `kept` are pairs of processes that play other components before or after, accelerated
    as they were made; without them this call starts and ends its own. `progress` is called with each verdict as it
    comes and with how many come in all.
    Raises ValueError when nothing matches and RuntimeError when a side cannot start.
    """
    begin = time.monotonic()
    if patterns:
        wanted = matching(component, patterns)
    else:
        wanted = scenarios.runs(component) if thorough else scenarios.short(component)
    if not wanted:
        raise ValueError(f"no scenario of {component} matches {', '.join(patterns)}")
    # Those that wait, the longest first, are taken from the left; the others, which keep a processor busy, meanwhile
    # from the right.
    pending = deque(sorted(wanted, key=lambda r: -r.scenario.seconds))
    verdicts: dict[str, Verdict] = {}
    failures: list[BaseException] = []
    lock = threading.Lock()

    def work(following: Callable[[], Run]) -> None:
        try:
            with processes.of(component) as pair:
                while pending and not failures:
                    try:
                        item = following()
                    except IndexError:  # another pair has taken the last one
                        return
                    verdict = pair.compare(item)
                    with lock:
                        verdicts[verdict.run.id] = verdict
                        progress(verdict, len(wanted))
        except BaseException as error:
            failures.append(error)

    # More than there are processors: a run waits for the provider and for LiteLLM's background work half of its time.
    count = pairs or min(9, 3 * (os.cpu_count() or 1), math.ceil(len(wanted) / RUNS_WORTH_A_PAIR))
    threads = [
        threading.Thread(target=work, args=(pending.pop if i % 3 else pending.popleft,), name=f"verify-{i}")
        for i in range(count)
    ]
    with contextlib.ExitStack() as stack:
        if kept is None:
            server = forked or stack.enter_context(fork_server())
            kept = stack.enter_context(Pairs(server, accelerator))
        processes = kept
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    return Result(component, tuple(verdicts[r.id] for r in wanted), time.monotonic() - begin)


def matching(component: str, patterns: Sequence[str]) -> list[Run]:
    """The runs of `component` whose id or scenario name matches one of `patterns`, of which none need be.

    Raises ValueError for a component that is not proven by scenarios.
    """
    globs = [pattern for pattern in patterns if not _GLOBBING.isdisjoint(pattern)]
    runs = scenarios.runs(component)
    return [r for r in runs if _matches(r.id, patterns, globs) or _matches(r.scenario.name, patterns, globs)]


def _matches(name: str, exact: Sequence[str], globs: Sequence[str]) -> bool:
    return name in exact or any(fnmatch(name, pattern) for pattern in globs)


class Pairs:
    """Pairs of processes, each started when it is first wanted, and used again until the end of the block."""

    def __init__(self, server: ForkServer | None, accelerator: str = ACCELERATED) -> None:
        self._server = server
        self._accelerator = accelerator
        self._idle: list[_Pair] = []

    def __enter__(self) -> Pairs:
        return self

    def __exit__(self, *_: object) -> None:
        for pair in self._idle:
            pair.__exit__()

    @contextlib.contextmanager
    def of(self, component: str) -> Iterator[_Pair]:
        """Lend a pair that plays runs of ``component``. Raises RuntimeError if a side cannot."""
        try:
            pair = self._idle.pop()
        except IndexError:
            pair = _Pair(component, self._accelerator, self._server).__enter__()
        try:
            pair.turn_to(component)
            yield pair
        except BaseException:
            pair.__exit__()
            raise
        self._idle.append(pair)


class _Pair:
    """A stock and an accelerated process, and the provider both talk to."""

    def __init__(self, component: str, accelerator: str, server: ForkServer | None) -> None:
        self.provider = Provider(tls=True)
        self.stock = Side(component, STOCK, server, self.provider)
        self.accelerated = Side(component, accelerator, server, self.provider)

    def __enter__(self) -> _Pair:
        try:
            self.provider.start()
            for side in (self.stock, self.accelerated):
                side.start()
            for side in (self.stock, self.accelerated):
                side.ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for side in (self.stock, self.accelerated):
            side.stop()
            side.errors.close()
        self.provider.stop()

    def turn_to(self, component: str) -> None:
        """Play runs of ``component`` from now on. Raises RuntimeError if a side cannot."""
        for side in (self.stock, self.accelerated):
            if side.component != component:
                side.turn_to(component)

    def compare(self, run: Run) -> Verdict:
        """Play a run on both sides and compare; a brief one in full if the fast path has served none of its calls."""
        verdict = self._compare(run)
        if run.brief and run.scenario.repeats and verdict.ok and verdict.unserved:
            return self._compare(replace(run, brief=False))
        return verdict

    def _compare(self, run: Run) -> Verdict:
        """Play a run on both sides and compare.

        What the accelerated side shows must be what stock shows: where stock's own threads race, stock is played
        again, a few times, to see whether it shows that too. The accelerated side has one try, unless LiteLLM's threads
        have collided in it.
        """
        begin = time.monotonic()
        accelerated: str | None = None
        differences: list[Difference] | None = None
        for _ in range(PLAYS):
            stock, _counted, error = self.stock.play(run, RUN_SECONDS)
            if error:
                error = f"{STOCK_ERROR if accelerated is None else 'stock, played again: '}{error}"
                break
            if accelerated is None or any(text in accelerated for text in COLLISIONS):
                accelerated, (served, declined), error = self.accelerated.play(run, RUN_SECONDS)
                if error:
                    error = f"accelerated: {error}"
                    break
            if stock == accelerated:  # equal texts are equal descriptions: dicts are sorted in them
                differences = []
                break
            found = list(differ(json.loads(stock), json.loads(accelerated)))
            if differences is None or len(found) < len(differences):
                differences = found
        if accelerated is None or error:
            return Verdict(run, "unknown", {}, (), time.monotonic() - begin, error)
        differences = _way_differences(run, served, declined) + (differences or [])
        seconds = time.monotonic() - begin
        return Verdict(run, _way(served, declined), declined, tuple(differences), seconds, served=served)


# --- comparing --------------------------------------------------------------------------------------------------------


def differ(stock: Any, accelerated: Any, where: str = "") -> Iterator[Difference]:
    """The places where two descriptions differ, types included. The order of plain dicts does not matter."""
    if type(stock) is not type(accelerated):
        yield Difference(where, stock, accelerated)
    elif isinstance(stock, dict):
        for key in [*stock, *(key for key in accelerated if key not in stock)]:
            inner = f"{where}.{key}" if where else str(key)
            if key not in stock or key not in accelerated:
                yield Difference(inner, stock.get(key, ABSENT), accelerated.get(key, ABSENT))
            else:
                yield from differ(stock[key], accelerated[key], inner)
    elif isinstance(stock, list):
        if len(stock) != len(accelerated):
            yield Difference(f"len({where})", len(stock), len(accelerated))
        for index, (one, other) in enumerate(itertools.zip_longest(stock, accelerated, fillvalue=ABSENT)):
            yield from differ(one, other, f"{where}[{index}]")
    elif stock != accelerated and not (stock != stock and accelerated != accelerated):  # nan is nan here
        yield Difference(where, stock, accelerated)


def _way(served: int, declined: dict[str, int]) -> WayTaken:
    if served and declined:
        return "mixed"
    return "served" if served else "declined" if declined else "unknown"


def _way_differences(run: Run, served: int, declined: dict[str, int]) -> list[Difference]:
    """What is a difference whatever the result: serving a call that is stock's, or failing inside."""
    found = []
    if run.scenario.way == "declined" and served:
        found.append(Difference("way", "must decline", f"{served} calls served"))
    if FAULT in declined:
        found.append(Difference("way", "no internal fault", f"{declined[FAULT]} internal faults"))
    return found


class _Absent:
    def __repr__(self) -> str:
        return "<absent>"


ABSENT = _Absent()


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}… ({len(text)} characters)"
