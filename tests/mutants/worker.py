"""The processes of mutants, forked from one that has imported all but LiteLLM: one for each, which forks its sides."""

from __future__ import annotations

import functools
import gc
import itertools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from litellm_accel.verify.worker import Counters, fork_when_asked, import_modules, play, what_is_used
from mutants.copies import PACKAGE

#: What of the accelerator answers calls; what others count and price meanwhile is no call, and neither is a chunk.
ANSWERING = "chat"


@contextmanager
def accelerated(component: str) -> Iterator[Counters]:
    """LiteLLM as a user has it after ``accelerate()``: what no record proves has to be proven by the calls."""
    import litellm_accel
    from litellm_accel import components
    from litellm_accel.verify.comparison import FAULT

    with litellm_accel.accelerated(components.NAMES):
        numbers = itertools.count()  # so that what is off has always become more

        def counters() -> tuple[int, dict[str, int]]:
            status, number = litellm_accel.status(), next(numbers)
            declined = {f"{row.name}: {reason}": n for row in status.components for reason, n in row.declined.items()}
            off = {
                f"{row.name} is off: {row.reason}": number
                for row in status.components
                if row.state not in ("active", "waiting")
            }
            faults = sum(row.faults for row in status.components)
            return status[ANSWERING].served, {**declined, **off, **({FAULT: faults} if faults else {})}

        yield counters


def fork() -> None:
    """Fork a process for each directory with a changed LiteLLM."""
    gc.disable()  # what is imported is there to stay
    used = what_is_used()
    ours = (PACKAGE, "litellm_accel")
    import_modules(name for name in used if name.partition(".")[0] not in ours)
    assert PACKAGE not in sys.modules, "LiteLLM as it is installed has been imported"
    fork_when_asked(functools.partial(changed, used))


def changed(used: list[str], directory: str) -> None:
    """Import the LiteLLM of a directory, and fork a player for each component and accelerator that are named."""
    sys.path.insert(0, directory)
    import_modules([PACKAGE, *used])
    assert Path(str(sys.modules[PACKAGE].__file__)).is_relative_to(directory), "LiteLLM as installed has been imported"
    from litellm_accel import components
    from mutants.calls import RUNS

    for name in components.NAMES:
        components.get(name)
    fork_when_asked(functools.partial(play, runs=RUNS))


if __name__ == "__main__":
    fork()
