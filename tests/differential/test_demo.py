"""The demo as a user starts it, and its worker, with LiteLLM and the embedded provider."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from litellm_accel import components, demo, settings
from litellm_accel.demo.runner import Worker
from litellm_accel.demo.work import ROWS, Row
from litellm_accel.provider import Provider


def test_quick_demo_measures_equal_work_and_tells_who_served_it(tmp_path: Path) -> None:
    page = tmp_path / "demo.html"
    code = "from litellm_accel.cli import main; main()"
    ran = subprocess.run(
        [sys.executable, "-c", code, "demo", "--quick", "--json", "--html", str(page)],
        cwd=Path(demo.__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = json.loads(ran.stdout)
    assert [row["name"] for row in told["rows"]] == [row.name for row in ROWS]
    states = {found["name"]: found["state"] for found in told["report"]["components"]}
    active = {name for name, state in states.items() if state == "active"}
    for row in told["rows"]:
        assert row["equal"] is True, row
        assert row["stock"]["cpu_min"] > 0 and row["accelerated"]["cpu_min"] > 0
        assert row["rounds"] >= 2
        if active & set(row["components"]):
            most = 0.95 if row["unit"] == "chunk" else 1.0  # a stream's first and last chunks are stock's
            assert most * row["calls"] <= row["served"] <= row["calls"], row
        else:
            assert row["served"] == 0 and row["unavailable"], row
    assert states.keys() == set(components.NAMES) and set(states.values()) <= {"active", "native", "waiting"}
    assert "<svg" in page.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.skipif(settings.pure(), reason="the bound is the compiled modules'")
def test_accelerated_counting_is_several_times_faster() -> None:
    result = demo.run(seconds=demo.QUICK_SECONDS, rows=[row for row in ROWS if row.components == ("tokens",)])
    assert result.ok
    for outcome in result.outcomes:
        assert outcome.served == outcome.calls
        assert outcome.cpu_ratio > 3, outcome.row.title


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider(record=0) as provider:
        yield provider


@pytest.fixture(scope="module")
def stock() -> Iterator[Worker]:
    """A worker that is ready."""
    with Worker("stock") as worker:
        worker.answer()
        yield worker


def test_worker_in_stock_serves_nothing(stock: Worker, provider: Provider) -> None:
    stock.send(next(row for row in ROWS if row.name == "acompletion"), provider.url)
    answer = stock.answer()
    assert answer["units"] == len(answer["results"])
    assert answer["served"] == 0 and answer["declined"] == {}


def test_worker_tells_what_raised_and_goes_on(stock: Worker, provider: Provider) -> None:
    stock.send(Row("unknown", "Unknown", (), ROWS[0].prepare), provider.url)
    assert "KeyError: 'unknown'" in stock.answer()["error"]
    stock.send(ROWS[0], provider.url)
    assert stock.answer()["results"]


def test_provider_that_is_gone_is_told_as_the_error_of_the_row(stock: Worker) -> None:
    stock.send(next(row for row in ROWS if row.name == "completion"), "http://127.0.0.1:9/v1")
    assert "Connection error" in stock.answer()["error"]


def test_worker_that_dies_is_told() -> None:
    with Worker("accelerated") as worker:
        worker.answer()
        worker.process.kill()
        worker.process.wait()
        with pytest.raises(demo.WorkerFailed, match="the accelerated worker ended with code -9"):
            for _ in range(2):
                worker.send(ROWS[0], "http://unused")
                time.sleep(0.1)
                worker.answer()
