"""The process that plays runs: stock, or with LiteLLM accelerated for its whole life.

It is started by ``comparison`` and answers each pickled (run id, provider's host and port) on its standard input with
(JSON of the masked description, (calls served, calls declined by reason), error text).
An accelerator is a context manager, named ``module:function``, that accelerates LiteLLM and yields a function that
returns how many calls were served and how many were declined for which reason.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import pickle
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, BinaryIO

Counters = Callable[[], tuple[int, dict[str, int]]]
Accelerator = Callable[[str], AbstractContextManager[Counters]]


@contextmanager
def stock(component: str) -> Iterator[Counters]:
    """LiteLLM as it is."""
    yield lambda: (0, {})


@contextmanager
def accelerated(component: str) -> Iterator[Counters]:
    """LiteLLM with the component active, proven or not."""
    import litellm_accel
    from litellm_accel.verify import records

    with records.proving(component), litellm_accel.accelerated(component, strict=True):

        def counters() -> tuple[int, dict[str, int]]:
            status = litellm_accel.status()[component]
            faults = {"internal fault": status.faults} if status.faults else {}
            return status.served, {**status.declined, **faults}

        yield counters


def _serve(orders: BinaryIO, answers: BinaryIO, component: str, accelerator: Accelerator) -> None:
    from litellm_accel.provider import Address
    from litellm_accel.verify import masks, scenarios
    from litellm_accel.verify.scenario import ALL, Run, Scenario
    from litellm_accel.verify.stage import Stage

    def answer(value: Any) -> None:
        pickle.dump(value, answers)
        answers.flush()

    runs = {run.id: run for run in scenarios.runs(component)}
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    with accelerator(component) as counters:
        gc.freeze()  # what was imported is not looked at again by the collections after each run
        answer("")
        warm = False
        while True:
            name, host, port = pickle.load(orders)
            if not warm:  # what LiteLLM imports, and warns about, when it is first used
                for via in ALL:
                    Stage(Run(Scenario("warm-up"), via), Address(host, port), loop).play()
                warm = True
            served, declined = counters()
            try:
                description = json.dumps(masks.mask(Stage(runs[name], Address(host, port), loop).play()))
            except Exception:
                answer(("", (0, {}), traceback.format_exc()))
                continue
            served_after, declined_after = counters()
            reasons = {r: n - declined.get(r, 0) for r, n in declined_after.items() if n > declined.get(r, 0)}
            answer((description, (served_after - served, reasons), ""))


def main(component: str, accelerator: str) -> None:
    """Serve orders from standard input until it ends; what anyone prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    module, _, function = accelerator.partition(":")
    try:
        _serve(sys.stdin.buffer, answers, component, getattr(importlib.import_module(module), function))
    except EOFError:
        pass  # whoever asked is gone
    except Exception:
        pickle.dump(traceback.format_exc(), answers)
    answers.close()
    os._exit(0)  # threads that a scenario left waiting must not keep the process


if __name__ == "__main__":
    main(*sys.argv[1:])
