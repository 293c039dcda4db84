"""Pictures of what others write to: LiteLLM tells of a call in threads, which note more of it meanwhile."""

from __future__ import annotations

import gc
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from litellm_accel.fastpath.plans.snapshots import take_snapshot
from litellm_accel.fastpath.plans.templates import state

_LARGE = 5000  # CPython keeps up to 2000 pairs for reuse, and making those collects no garbage


@pytest.mark.parametrize("picture", [take_snapshot, state])
def test_a_dictionary_may_change_while_it_is_looked_at(picture: Callable[[Any], Any]) -> None:
    shared: dict[str, Any] = {f"name {number}": [number] for number in range(_LARGE)}
    late = count()

    def write(*_: object) -> None:
        shared[f"late {next(late)}"] = []

    before = gc.get_threshold()
    gc.set_threshold(100)
    gc.callbacks.append(write)  # as a thread would: CPython may switch to one wherever it collects garbage
    try:
        taken = picture(shared)
    finally:
        gc.callbacks.remove(write)
        gc.set_threshold(*before)
    members = dict(taken.named()) if picture is take_snapshot else dict(taken[1])
    assert next(late) > 1
    assert [name for name in members if name.startswith("name")] == [f"name {number}" for number in range(_LARGE)]
