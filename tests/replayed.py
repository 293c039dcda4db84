"""Verdicts of a short ``verify`` on a machine that is busy with other tests at the same time.

LiteLLM's threads and timeouts race with each other then as they do nowhere else: where a few runs differ, or are left
to stock unexpectedly, these are played once more, alone. A warning names each, so that the tests' result tells it.
"""

from __future__ import annotations

import warnings

from litellm_accel.verify import comparison
from litellm_accel.verify.comparison import Verdict

#: More at a time are no accident.
MOST = 10


def verdicts(component: str) -> list[Verdict]:
    """The verdicts on the runs of a short proof."""
    found = {verdict.run.id: verdict for verdict in comparison.run(component).verdicts}
    odd = [name for name, verdict in found.items() if not verdict.ok or verdict.unserved]
    if 0 < len(odd) <= MOST:
        for name in odd:
            warnings.warn(f"played again: {name}, at first {found[name]}", stacklevel=2)
        again = comparison.run(component, patterns=odd, pairs=1)
        found.update((verdict.run.id, verdict) for verdict in again.verdicts)
    return list(found.values())
