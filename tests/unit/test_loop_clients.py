"""Which clients a plan has for event loops, and when it lets go of them."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from litellm_accel.fastpath.transport import loop_clients
from litellm_accel.fastpath.transport.loop_clients import Transports


class Thing:
    pass


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop in a process whose garbage collector does nothing."""
    loop = asyncio.new_event_loop()
    gc.disable()
    yield loop
    gc.enable()
    loop.close()


def put(loop: asyncio.AbstractEventLoop, transports: Transports) -> weakref.ref[Any]:
    """Map the running ``loop`` to a client that refers to it, and return that."""

    async def run() -> weakref.ref[Any]:
        client: Any = Thing()
        client.session = loop
        transports[loop] = client
        return weakref.ref(client)

    return loop.run_until_complete(run())


def transports() -> Transports:
    return Transports(None, lambda transport: transport)


def test_a_loop_that_is_closed_lets_go_of_its_client_at_once(loop: asyncio.AbstractEventLoop) -> None:
    held = transports()
    client = put(loop, held)
    assert held.get(loop) is client() is not None
    loop.close()
    assert client() is None
    assert held.get(loop) is None and held.get(loop, 1) == 1


@pytest.mark.parametrize("end", ["replaced", "forgotten"])
def test_a_client_is_held_for_as_long_as_it_is_a_plans(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(loop_clients, "_SECONDS", 0.0)
    held = transports()
    client = put(loop, held)
    for _ in range(4):
        loop.run_until_complete(asyncio.sleep(0))
    assert held.get(loop) is client() is not None
    if end == "replaced":
        other = put(loop, held)
    else:
        del held
    for _ in range(4):
        loop.run_until_complete(asyncio.sleep(0))
    assert client() is None
    if end == "replaced":
        assert held.get(loop) is other() is not None


def test_nothing_of_the_call_is_held_with_it(loop: asyncio.AbstractEventLoop) -> None:
    variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable")
    held, thing = transports(), Thing()
    gone = weakref.ref(thing)

    def run(thing: Any) -> None:
        variable.set(thing)
        put(loop, held)

    contextvars.Context().run(run, thing)
    del thing
    assert gone() is None


def test_threads_have_theirs(loop: asyncio.AbstractEventLoop) -> None:
    """Of a loop that runs in another thread, or of none."""
    held = transports()
    for key in (None, loop):
        client = Thing()
        held[key] = client  # type: ignore[assignment]
        assert held.get(key) is client
    assert transports().get(loop) is None
