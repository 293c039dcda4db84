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
from litellm_accel.bench.workloads import tools

KINDS = 40


def agents(number: int) -> dict[str, Any]:
    """Call ``number`` of a program with 40 agents: each has a prompt, tools and a temperature of its own."""
    kind = number * 7 % KINDS
    return {
        "messages": [
            {"role": "system", "content": f"You are agent {kind}."},
            {"role": "user", "content": f"This is request {number}."},
        ],
        "temperature": 0.31 + kind / 100,
        "tools": tools(kind),
    }


def models(number: int) -> dict[str, Any]:
    """The same with four models, each with a key of its own."""
    at = number % 4
    names = "gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini"
    return {**agents(number), "model": f"openai/{names[at]}", "api_key": f"sk-{at}"}


def alike(number: int) -> dict[str, Any]:
    """Calls of one kind."""
    return {"messages": agents(number)["messages"]}


def unlike(number: int) -> dict[str, Any]:
    """Calls none of which is of the kind of another, as far as anybody can tell."""
    return {**alike(number), "extra_body": {"number": number}}


PROGRAMS: dict[str, Callable[[int], dict[str, Any]]] = {
    "one kind": alike,
    "40 agents": agents,
    "40 agents, 4 models": models,
    "each its own": unlike,
}


def main(program: str, backend: str, calls: str, proof: str) -> None:
    """Play a program and print the CPU time that it took, in milliseconds, and how many calls were served."""
    import litellm

    litellm.suppress_debug_info = True
    made = [
        {
            "model": "openai/gpt-4o-mini",
            "api_key": "sk",
            "api_base": os.environ["PROVIDER"],
            **PROGRAMS[program](number),
        }
        for number in range(int(calls))
    ]
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


def play(provider: Any, program: str, backend: str, calls: int, proof: str = "auto") -> dict[str, float]:
    """What a new process says of it."""
    environment = {
        **os.environ,
        **provider.trust,
        "PROVIDER": provider.url,
        "LITELLM_ACCEL_PURE": "0",
    }
    code = f"from benchmarks.cold import main; main({program!r}, {backend!r}, {str(calls)!r}, {proof!r})"
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
        if backend != STOCK and program != "each its own" and calls > 10:
            assert said["served"] > calls // 2, f"the calls have not been served: {said}"
        return said["ms"]

    track_first_calls.unit = "ms"  # type: ignore[attr-defined]


def _turns(turns: int) -> Iterator[tuple[str, int, str, dict[str, float]]]:
    with openai() as provider:
        for program in PROGRAMS:
            for calls in (10, 100, 1000):
                for _ in range(turns):
                    for backend in SHIPPED:
                        yield program, calls, backend, play(provider, program, backend, calls)


if __name__ == "__main__":
    for line in _turns(1):
        print(*line, flush=True)
