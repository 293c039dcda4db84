"""``verify --component proxy``, where ``litellm[proxy]`` is in this environment: a few runs; with ``-m slow`` all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from litellm_accel.verify.proxy import proof
from litellm_accel.verify.proxy.services import missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))


def _database() -> Path | None:
    folder = os.environ.get("PROXY_TESTS_DATABASE")
    return Path(folder) if folder else None


def test_a_few_runs_are_equal_and_served() -> None:
    result = proof.run(patterns=["everywhere/chat@plain", "everywhere/streams@plain", "end/plain@plain"])
    assert result.failed == []
    assert result.count("served") + result.count("mixed") == 3


@pytest.mark.slow
def test_all_runs_are_equal() -> None:
    absent: list[str] = []
    result = proof.run(thorough=True, database=_database(), absent=absent.append)
    assert list(map(str, result.failed)) == []
    assert result.proves
    assert len(result.verdicts) >= 250 or absent
