"""Pictures of what other threads write to: LiteLLM tells of a call in threads, which note more of it meanwhile."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from litellm_accel.fastpath.plans.snapshots import take_snapshot
from litellm_accel.fastpath.plans.templates import state

_TIMES = 150


@pytest.mark.parametrize("picture", [take_snapshot, state])
def test_a_dictionary_may_change_while_it_is_looked_at(picture: Callable[[Any], Any]) -> None:
    shared: dict[str, Any] = {f"name {number}": [number] for number in range(2000)}
    is_over = threading.Event()

    def write() -> None:
        while not is_over.is_set():
            shared["late"] = [1]
            time.sleep(0)  # the other thread may go on here
            del shared["late"]

    writer = threading.Thread(target=write)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    writer.start()
    try:
        taken = [picture(shared) for _ in range(_TIMES)]
    finally:
        is_over.set()
        writer.join()
        sys.setswitchinterval(before)
    lengths = {len(list(one.named()) if picture is take_snapshot else one[1]) for one in taken}
    assert lengths <= {2000, 2001}
