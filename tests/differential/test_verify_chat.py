"""The scenarios of the fast path, each as a test: stock against accelerated LiteLLM.

By default those of a short proof.
"""

from __future__ import annotations

import pytest

import replayed
from litellm_accel.verify import comparison, scenarios

SHORT = {run.id for run in scenarios.short("chat")}
RUNS = [
    pytest.param(run.id, marks=() if run.id in SHORT else pytest.mark.slow, id=run.id) for run in scenarios.runs("chat")
]


@pytest.fixture(scope="module")
def verdicts(request: pytest.FixtureRequest) -> dict[str, comparison.Verdict]:
    """The verdicts on the runs selected in this session, all played at once."""
    selected = [
        item.callspec.params["run"]
        for item in request.session.items
        if item.module is request.module and hasattr(item, "callspec")
    ]
    played = replayed.verdicts("chat") if set(selected) == SHORT else comparison.run("chat", patterns=selected).verdicts
    return {verdict.run.id: verdict for verdict in played}


@pytest.mark.parametrize("run", RUNS)
def test_equal(run: str, verdicts: dict[str, comparison.Verdict]) -> None:
    assert verdicts[run].ok, str(verdicts[run])


def test_the_lane_serves_what_it_is_there_for(verdicts: dict[str, comparison.Verdict]) -> None:
    """Equality by leaving every call to stock would prove nothing."""
    assert sum(verdict.unserved for verdict in verdicts.values()) < len(verdicts) / 10
