"""The rows of ``litellm-accel bench``: which there are, which are chosen, and that asv measures the same work."""

from __future__ import annotations

import importlib
import json
from typing import Any

import pytest
from click.testing import CliRunner

from litellm_accel import cli, components, demo
from litellm_accel.bench import rows, workloads
from litellm_accel.demo.results import Outcome, Result, Times
from litellm_accel.demo.work import ROWS as DEMONSTRATED


def test_rows_have_names_of_their_own_and_known_components() -> None:
    names = [row.name for row in rows.ROWS]
    assert len({*names, *(row.name for row in DEMONSTRATED)}) == len(names) + len(DEMONSTRATED)
    others = {"connection_pool", "proxy"}  # one sends for chat, one needs a proxy
    assert {row.components[0] for row in rows.ROWS} == {*components.NAMES} - others


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        (["cost.usage"], ["cost.usage"]),
        (["cost"], [f"cost.{name}" for name in workloads.PRICED]),
        (
            ["routing.choose.*-busy.*", "tokens.text_60"],
            ["tokens.text_60", *(f"routing.choose.least-busy.{n}" for n in (10, 1000))],
        ),
    ],
)
def test_rows_are_chosen_by_name_beginning_and_pattern(patterns: list[str], chosen: list[str]) -> None:
    assert [row.name for row in rows.chosen(patterns)] == chosen
    assert rows.chosen([]) == list(rows.ROWS)


def test_the_command_measures_what_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def run(**how: Any) -> Result:
        asked.append(how)
        outcomes = [Outcome(row, Times([0.002], [0.002]), Times([0.001], [0.001]), 1, 1) for row in how["rows"]]
        return Result("A processor", {"litellm": "1"}, "openai", {"components": []}, outcomes, 1.0)

    monkeypatch.setattr(demo, "run", run)
    ran = CliRunner().invoke(cli.commands, ["bench", "cost", "--seconds", "2", "--json"])
    assert ran.exit_code == 0, ran.output
    assert [row["name"] for row in json.loads(ran.stdout)["rows"]] == [f"cost.{name}" for name in workloads.PRICED]
    assert asked[0]["seconds"] == 2 * len(workloads.PRICED)
    ran = CliRunner().invoke(cli.commands, ["bench", "routing.choose.usage-based-routing-v2.1000"])
    assert "routing.choose.usage-based-routing-v2.1000" in ran.output, "on one line where there is no terminal"


def test_a_name_that_no_row_has_is_a_usage_error_and_names_can_be_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "run", pytest.fail)
    ran = CliRunner().invoke(cli.commands, ["bench", "nothing"])
    assert ran.exit_code == 2 and "'nothing'" in ran.output and "--list" in ran.output
    ran = CliRunner().invoke(cli.commands, ["bench", "--list", "cost"])
    assert ran.exit_code == 0 and ran.output.split() == [f"cost.{name}" for name in workloads.PRICED]


@pytest.mark.parametrize("has_core", [True, False])
def test_routers_rows_are_left_out_where_litellm_does_their_work_natively(
    monkeypatch: pytest.MonkeyPatch, has_core: bool
) -> None:
    monkeypatch.setattr(rows.seams, "has_core_of_its_own", lambda: has_core)
    monkeypatch.setattr(rows.workloads, "router_of", lambda *which: which)
    monkeypatch.setattr(rows.workloads, "recording", lambda *which: lambda: None)
    rows._router.cache_clear()
    row = next(row for row in rows.ROWS if row.name == "routing.record.success.least-busy")
    if has_core:
        with pytest.raises(NotImplementedError, match="a core of their own"):
            row.prepare("http://unused")
    else:
        row.prepare("http://unused")
    rows._router.cache_clear()


@pytest.mark.parametrize("suite", ["cost", "rate_limit", "routing", "token_counter"])
def test_asv_measures_the_same_work(suite: str) -> None:
    shared = vars(importlib.import_module(f"benchmarks.{suite}"))
    assert any(getattr(found, "__module__", "") == workloads.__name__ for found in shared.values())
