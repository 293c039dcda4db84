"""What the processes of ``sides`` run: ``play COMPONENT ACCELERATOR``, or ``fork`` to fork such players.

A player is stock, or has LiteLLM accelerated for as long as it plays runs of one component. It reads pickled values
from its standard input: the provider's address, which it answers with "" when it is warm, then (id of a run, whether
it is brief), or the name of another component, which it answers with "" when it is ready for that. A run is answered
with (JSON of the masked description, (calls served, calls declined by reason), error text).
An accelerator is a context manager, named ``module:function``, that accelerates LiteLLM and yields a function that
returns how many calls were served and how many were declined for which reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import itertools
import json
import os
import pickle
import socket
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

from litellm_accel.report import AccelerationError

if TYPE_CHECKING:
    from litellm_accel.verify.scenario import Run

RUNS_BETWEEN_COLLECTIONS = 10
#: Which tiktoken reads once for all players: it takes as long as ten runs.
VOCABULARIES = ("cl100k_base", "o200k_base")

Counters = Callable[[], tuple[int, dict[str, int]]]
Accelerator = Callable[[str], AbstractContextManager[Counters]]


@contextmanager
def stock(component: str) -> Iterator[Counters]:
    """LiteLLM as it is."""
    yield lambda: (0, {})


@contextmanager
def accelerated(component: str) -> Iterator[Counters]:
    """LiteLLM with everything on that can be, proven or not: that is how `component` will be used.

    Raises AccelerationError if the component itself cannot be.
    """
    import litellm  # noqa: F401  # is accelerated at once then

    import litellm_accel
    from litellm_accel import activation, components
    from litellm_accel.components.chat import COMPONENT
    from litellm_accel.fastpath.admission.newcomers import Newcomers
    from litellm_accel.verify import records, scenarios
    from litellm_accel.verify.comparison import FAULT

    with ExitStack() as stack:
        for name in scenarios.THEMES:
            stack.enter_context(records.proving(name))
        found = stack.enter_context(litellm_accel.accelerated(components.NAMES, config=False))[component]
        if found.state != "active":
            raise AccelerationError({component: found.reason})
        gate = activation.activations()[component].gate

        def counters() -> tuple[int, dict[str, int]]:
            if COMPONENT.pipeline is not None:
                COMPONENT.pipeline.newcomers = Newcomers()  # each run is a program of its own, whose kinds are new
            return gate.served, {**gate.declined, **({FAULT: gate.faults} if gate.faults else {})}

        yield counters


# --- playing ----------------------------------------------------------------------------------------------------------


def play(component: str, accelerator: str, runs: Sequence[Run] | None = None) -> None:
    """Serve orders from standard input until it ends; what anyone prints goes to standard error.

    Without `runs` it is those of the component that can be ordered.
    """
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    module, _, function = accelerator.partition(":")
    try:
        with open(0, "rb", closefd=False) as orders:
            _serve(orders, answers, component, getattr(importlib.import_module(module), function), runs)
    except EOFError:
        pass  # whoever asked is gone
    except AccelerationError as error:
        pickle.dump(str(error), answers)
    except Exception:
        pickle.dump(traceback.format_exc(), answers)
    answers.close()
    os._exit(0)  # threads that a scenario left waiting must not keep the process


def _serve(
    orders: BinaryIO, answers: BinaryIO, component: str, accelerator: Accelerator, given: Sequence[Run] | None
) -> None:
    from litellm_accel.provider import Address
    from litellm_accel.verify import masks, scenarios
    from litellm_accel.verify.stage import played

    def answer(value: Any) -> None:
        pickle.dump(value, answers)
        answers.flush()

    gc.disable()  # garbage is collected between runs, and where a run asks for it
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    provider = Address(*pickle.load(orders))
    os.environ.update(provider.trust)
    is_warm = False
    while True:
        runs = {run.id: run for run in (scenarios.runs(component) if given is None else given)}
        with accelerator(component) as counters:
            if not is_warm:
                is_warm = True
                for _ in _warm_up(provider, loop):
                    pass
                gc.freeze()  # what is there to stay is not looked at again by the collections
            answer("")
            for number in itertools.count():
                order = pickle.load(orders)
                if isinstance(order, str):
                    component = order
                    break
                name, brief = order
                if number % RUNS_BETWEEN_COLLECTIONS == 0:
                    gc.collect()
                served, declined = counters()
                try:
                    description = json.dumps(masks.mask(played(replace(runs[name], brief=brief), provider, loop)))
                except Exception:
                    answer(("", (0, {}), traceback.format_exc()))
                    continue
                served_after, declined_after = counters()
                reasons = {r: n - declined.get(r, 0) for r, n in declined_after.items() if n > declined.get(r, 0)}
                answer((description, (served_after - served, reasons), ""))


def _warm_up(provider: Any, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Play what makes LiteLLM import, cache and warn about all that it does when it is first used, step by step."""
    from litellm_accel.verify.scenario import ALL, Run, Scenario
    from litellm_accel.verify.scenarios.parameters import WEATHER
    from litellm_accel.verify.stage import Stage

    for scenario in (
        Scenario("plain", via=ALL, calls=1),
        Scenario("tools", {"tools": [WEATHER]}, calls=1),
        Scenario("stream", {"stream": True}, via=ALL, calls=1),
        Scenario("error", {"max_retries": 0}, answer="error-400", calls=1),
        Scenario("callbacks", callbacks={"callbacks": ("both",)}, via=ALL, calls=1),
        Scenario("counting", via=("arouter",), router={"routing_strategy": "usage-based-routing-v2"}, calls=1),
    ):
        for via in scenario.via:
            Stage(Run(scenario, via), provider, loop).play()
            yield


# --- forking ----------------------------------------------------------------------------------------------------------


def fork() -> None:
    """Fork a player for each component and accelerator that are named."""
    import tiktoken

    from litellm_accel import components
    from litellm_accel.verify import scenarios

    gc.disable()  # what is imported is there to stay
    for component in scenarios.THEMES:
        components.get(component)
        scenarios.runs(component)
    import_modules(what_is_used())
    for vocabulary in VOCABULARIES:
        with contextlib.suppress(Exception):  # where one is missing, the runs that need it tell
            tiktoken.get_encoding(vocabulary)
    fork_when_asked(play)


def fork_when_asked(start: Callable[..., None]) -> None:
    """Fork a process for each message that comes through the socket that standard input is.

    The process calls `start` with the words of the message. With them come its standard input, output and error; what
    goes back is its number.
    """
    from litellm_accel.verify.sides import PID_BYTES

    gc.freeze()
    with socket.socket(fileno=os.dup(0)) as connection:
        while (received := socket.recv_fds(connection, 4096, 3))[0]:
            names, files, _, _ = received
            if not (pid := os.fork()):
                connection.close()
                for number, file in enumerate(files):
                    os.dup2(file, number)
                    os.close(file)
                start(*names.decode().split())
                os._exit(0)
            for file in files:
                os.close(file)
            connection.sendall(pid.to_bytes(PID_BYTES, "big"))
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()  # until then a player that has ended keeps its number, which others may still want to kill


def what_is_used() -> list[str]:
    """The modules that are imported when LiteLLM is imported and first used: learned in a fork, for threads' sake."""
    reading, writing = os.pipe()
    if not os.fork():
        _report_what_is_used(writing)
    os.close(writing)
    with open(reading) as report:
        return [line.rstrip() for line in report]


def import_modules(names: Iterable[str]) -> None:
    """Import modules; those that cannot be are passed over."""
    for name in names:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _report_what_is_used(writing: int) -> None:
    from litellm_accel.provider import Provider

    known = set(sys.modules)
    with open(writing, "w") as report, Provider() as provider:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        for _ in _warm_up(provider, loop):
            names = [name for name in sys.modules if name not in known]
            known.update(names)
            report.writelines(f"{name}\n" for name in names)
            report.flush()
    os._exit(0)


if __name__ == "__main__":
    roles: dict[str, Callable[..., None]] = {"play": play, "fork": fork}
    roles[sys.argv[1]](*sys.argv[2:])
