"""The scenarios of component ``embeddings``, each as a test: stock against accelerated LiteLLM."""

from __future__ import annotations

import pytest

from litellm_accel.verify import comparison, scenarios

pytestmark = pytest.mark.slow
RUNS = [run.id for run in scenarios.runs("embeddings")]


@pytest.fixture(scope="module")
def verdicts() -> dict[str, comparison.Verdict]:
    """The verdicts on all runs, played at once."""
    return {verdict.run.id: verdict for verdict in comparison.run("embeddings", patterns=RUNS).verdicts}


@pytest.mark.parametrize("run", RUNS)
def test_equal(run: str, verdicts: dict[str, comparison.Verdict]) -> None:
    assert verdicts[run].ok, str(verdicts[run])


def test_what_is_there_to_be_served_is(verdicts: dict[str, comparison.Verdict]) -> None:
    """Equality by leaving every call to stock would prove nothing."""
    assert not [name for name, verdict in verdicts.items() if verdict.unserved]
