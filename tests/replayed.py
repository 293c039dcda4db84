"""Verdicts of ``verify`` on a machine that is busy with other tests at the same time.

LiteLLM's threads and timeouts race with each other then as they do nowhere else: where a few runs differ, or are left
to stock unexpectedly, these are played once more, alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from litellm_accel.verify import comparison
from litellm_accel.verify.comparison import ACCELERATED, Verdict
from litellm_accel.verify.sides import ForkServer

#: More at a time are no accident.
MOST = 10


def verdicts(
    component: str,
    patterns: Sequence[str] = (),
    *,
    thorough: bool = False,
    accelerator: str = ACCELERATED,
    forked: ForkServer | None = None,
) -> dict[str, Verdict]:
    """The verdicts on what ``comparison.run`` plays, by the run's id."""
    result = comparison.run(component, patterns=patterns, thorough=thorough, accelerator=accelerator, forked=forked)
    found = {verdict.run.id: verdict for verdict in result.verdicts}
    serving = accelerator == ACCELERATED
    odd = [name for name, verdict in found.items() if not verdict.ok or (serving and verdict.unserved)]
    if 0 < len(odd) <= MOST:
        again = comparison.run(component, patterns=odd, accelerator=accelerator, pairs=1, forked=forked)
        found.update((verdict.run.id, verdict) for verdict in again.verdicts)
    return found
