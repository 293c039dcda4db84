"""asv suites. Each compares stock with litellm-accel's compiled and pure implementations on the same work.

asv runs every parameter of every benchmark in a process of its own, so `prefer()` may settle the backend for all of it.
Suites that need LiteLLM import it at their top: asv's fork server then does so once for all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from litellm_accel.provider import Provider

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # LiteLLM must not look for prices on the network

STOCK, COMPILED, PURE = BACKENDS = ("stock", "compiled", "pure")
SHIPPED = (STOCK, COMPILED)  # for whole calls, which take long to set up


def hot(name: str, backend: str) -> ModuleType:
    """Return the compiled or the pure implementation of hot module `name`. Raises `ImportError` if it is not built."""
    return importlib.import_module(f"litellm_accel.{'_cy' if backend == COMPILED else '_py'}.{name}")


def prefer(backend: str) -> None:
    """Make this process and its children use the compiled or the pure modules; call it before importing them."""
    os.environ["LITELLM_ACCEL_PURE"] = "1" if backend == PURE else "0"


def accelerate(component: str, backend: str) -> None:
    """Put LiteLLM into the state to be measured: as it is for stock, else with `component` active.

    Raises `AccelerationError` if the component is not active, `RuntimeError` if it runs on the other backend, and
    `NotImplementedError`, whereupon asv leaves it out, if the installed LiteLLM does natively what it is for.
    """
    prefer(backend)
    if backend == STOCK:
        return
    import litellm_accel
    from litellm_accel.verify import records

    with (
        records.proving("chat"),
        records.proving("streaming"),
        records.proving("embeddings"),
    ):  # measured here, whether or not proven here
        status = litellm_accel.accelerate(component, strict=True)[component]
    if status.state == "native":
        raise NotImplementedError(status.reason)
    if status.backend != backend:
        raise RuntimeError(f"{component} runs on the {status.backend} backend, not on {backend}")


def accelerate_all(components: Sequence[str], backend: str) -> None:
    """As ``accelerate`` with several components; those that the installed LiteLLM does natively are its own."""
    for component in components:
        with contextlib.suppress(NotImplementedError):
            accelerate(component, backend)


def require_served(component: str) -> None:
    """Raise `RuntimeError` unless the component has served calls, and every call it was given."""
    import litellm_accel

    status = litellm_accel.status()[component]
    if not status.served or status.declined or status.faults:
        raise RuntimeError(f"{component} is not what would be measured: {status}")


@contextlib.contextmanager
def openai() -> Iterator[Provider]:
    """A provider that answers as OpenAI does, over TLS, and that this process trusts."""
    from litellm_accel.provider import Provider

    with Provider(record=0, profile="openai", tls=True) as provider:
        os.environ.update(provider.trust)
        yield provider


def close(loop: asyncio.AbstractEventLoop) -> None:
    """Close a loop that LiteLLM's worker for events still waits in: CPython may crash at its end otherwise."""
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0.001))
    loop.close()
