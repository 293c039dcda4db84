"""The first calls of a program: CPU time from `accelerate()` to the end of the last, each in a new process."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks import SHIPPED, STOCK, openai
from litellm_accel.bench.workloads import BEGINNINGS, of_many_kinds


def alike(number: int) -> dict[str, Any]:
    """Calls of one kind."""
    called = of_many_kinds(number)
    return {"model": "openai/gpt-4o-mini", "messages": called["messages"]}


def unlike(number: int) -> dict[str, Any]:
    """Calls none of which is of the kind of another, as far as anybody can tell."""
    return {**alike(number), "extra_body": {"number": number}}


# Each with the least share of a hundred calls that is served.
PROGRAMS: dict[str, tuple[Callable[[int], dict[str, Any]], float]] = {
    "one kind": (alike, 0.9),
    "40 kinds": (of_many_kinds, 0.3),
    "each its own": (unlike, 0.0),
}


def main(program: str, backend: str, calls: str) -> None:
    """Play a program and print the CPU time that it took, in milliseconds, and how many calls were served."""
    import litellm

    litellm.suppress_debug_info = True
    call, _ = PROGRAMS[program]
    made = [{**call(number), "api_key": "sk", "api_base": os.environ["PROVIDER"]} for number in range(int(calls))]
    litellm_first = time.process_time()
    if backend != STOCK:
        import litellm_accel

        litellm_accel.accelerate(strict=True)
    accelerated = time.process_time()
    asyncio.run(_play(litellm, made))
    ended = time.process_time()
    served = 0 if backend == STOCK else litellm_accel.status()["chat"].served
    print(
        json.dumps(
            {"ms": 1000 * (ended - litellm_first), "start": 1000 * (accelerated - litellm_first), "served": served}
        )
    )


async def _play(litellm: Any, calls: list[dict[str, Any]]) -> None:
    for call in calls:
        await litellm.acompletion(**call)


def play(provider: Any, program: str, backend: str, calls: int) -> dict[str, float]:
    """What a new process says of it."""
    environment = {
        **os.environ,
        **provider.trust,
        "PROVIDER": provider.url,
        "LITELLM_ACCEL_PURE": "0",
    }
    code = f"from benchmarks.cold import main; main({program!r}, {backend!r}, {str(calls)!r})"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    said: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return said


class FirstCalls:
    """CPU milliseconds of a program's first calls, `accelerate()` included, `import litellm` not."""

    params = (list(PROGRAMS), [100], list(SHIPPED))  # others take minutes: `python -m benchmarks.cold`
    param_names = ("program", "calls", "backend")
    timeout = 600

    def track_first_calls(self, program: str, calls: int, backend: str) -> float:
        with openai() as provider:
            said = play(provider, program, backend, calls)
        if backend != STOCK:
            assert said["served"] >= calls * PROGRAMS[program][1], f"the calls have not been served: {said}"
        return said["ms"]

    track_first_calls.unit = "ms"  # type: ignore[attr-defined]


def _turns(turns: int) -> Iterator[tuple[str, int, str, dict[str, float]]]:
    with openai() as provider:
        for program in PROGRAMS:
            for calls in BEGINNINGS:
                for _ in range(turns):
                    for backend in SHIPPED:
                        yield program, calls, backend, play(provider, program, backend, calls)


if __name__ == "__main__":
    for line in _turns(1):
        print(*line, flush=True)
