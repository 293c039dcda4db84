"""Records of equality and the command that makes them, without LiteLLM."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from litellm_accel.components import base
from litellm_accel.stock import releases
from litellm_accel.verify import command, comparison, records
from litellm_accel.verify.comparison import Difference, Result, Verdict
from litellm_accel.verify.scenario import Run, Scenario, after_plain, with_fields

EQUAL = Verdict(Run(Scenario("theme/equal"), "acompletion"), "served", {}, (), 0.1)
DECLINED = Verdict(Run(Scenario("theme/declined"), "completion"), "declined", {"a reason": 2}, (), 0.1)
DIFFERENT = Verdict(Run(Scenario("other/x"), "router"), "served", {}, (Difference("outcomes[0].n", 1, 2),), 0.1)
PROVEN = Result("chat", (EQUAL, DECLINED), 1.0)
REFUTED = Result("chat", (EQUAL, DIFFERENT), 1.0)

VERSIONS = {
    "litellm": {"version": "1.106.2", "contents": "0" * 32},
    "openai": {"version": "2.54.0", "contents": "1" * 32},
    "httpx": {"version": "0.28.1", "contents": "2" * 32},
    "pydantic": {"version": "2.14.3", "contents": "3" * 32},
    "pydantic-core": "2.50",
    "python": "3.11",
    "litellm-accel": "0.1.0",
}


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Records in a directory of their own, for fixed versions."""
    monkeypatch.setattr(records, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setattr(records, "user_directory", lambda: tmp_path / "user")
    monkeypatch.setattr(records, "key", lambda component: dict(VERSIONS))
    return tmp_path


def test_what_was_written_fits():
    assert records.fitting("chat") is None
    path = records.write(PROVEN)
    assert path.name.startswith("chat-1.106.2-py3.11-")
    record = records.fitting("chat")
    assert record is not None and record["key"] == VERSIONS
    assert (record["scenarios"], record["served"], record["declined"]) == (2, 1, 1)
    assert record["declined for"] == ["a reason"]


def test_shipped_records_fit_too(here):
    records.write(PROVEN, here / "shipped")
    assert records.fitting("chat") is not None


@pytest.mark.parametrize("name", list(VERSIONS))
def test_other_contents_do_not_fit(name, monkeypatch):
    records.write(PROVEN)
    other = {"version": "1.106.2", "contents": "f" * 32} if isinstance(VERSIONS[name], dict) else "other"
    monkeypatch.setattr(records, "key", lambda component: {**VERSIONS, name: other})
    assert records.fitting("chat") is None


def test_a_release_that_touches_nothing_fits(monkeypatch):
    records.write(PROVEN)
    patched = {"version": "2.14.4", "contents": VERSIONS["pydantic"]["contents"]}
    monkeypatch.setattr(records, "key", lambda component: {**VERSIONS, "pydantic": patched})
    assert records.fitting("chat") is not None


def test_a_record_of_versions_alone_does_not_fit(here):
    path = records.write(PROVEN)
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "key": {**VERSIONS, "litellm": "1.106.2", "modules": "0" * 64}}))
    assert records.fitting("chat") is None
    assert not records.is_proven("chat")


def test_contents_are_those_of_the_named_modules(monkeypatch, tmp_path):
    monkeypatch.undo()
    package = tmp_path / "openai"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("one = 1")
    (package / "used.py").write_text("used = 1")
    (package / "inner" / "__init__.py").write_text("inner = 1")
    monkeypatch.setattr(releases, "_folders", lambda name: (str(tmp_path / name),))
    monkeypatch.setattr(releases, "version", lambda name: "1.2.3")

    def contents(*modules: str) -> str:
        releases.digest.cache_clear()
        records._digest.cache_clear()
        return records.key("chat", modules)["openai"]["contents"]

    try:
        used = contents("openai.used", "openai.inner")
        (package / "__init__.py").write_text("one = 2")
        assert contents("openai.inner", "openai.used", "openai.used") == used
        (package / "inner" / "__init__.py").write_text("inner = 2")
        assert contents("openai.used", "openai.inner") != used
        assert contents("openai.used") != contents("openai.absent")
        assert records.key("chat", ())["pydantic-core"] == "1.2"
    finally:
        releases.digest.cache_clear()
        records._digest.cache_clear()


def test_a_broken_or_forged_record_does_not_fit():
    path = records.write(PROVEN)
    path.write_text("{")
    assert records.fitting("chat") is None
    path.write_text(json.dumps({"key": {**VERSIONS, "litellm": "1.0"}}))
    assert records.fitting("chat") is None
    path.write_text("[]")
    assert records.fitting("chat") is None


def test_differences_are_never_recorded(here):
    with pytest.raises(ValueError, match="1 scenarios differ"):
        records.write(REFUTED)
    with pytest.raises(ValueError):
        records.write(Result("chat", (), 0.0))
    assert not (here / "user").exists()


def test_without_a_record_the_user_s_own_calls_have_to_prove():
    assert not records.is_proven("chat")
    with records.proving("chat"):
        assert records.is_proven("chat")
        assert not records.is_proven("streaming")
    assert not records.is_proven("chat")
    records.write(PROVEN)
    assert records.is_proven("chat")


def test_where_records_are_demanded_the_command_is_named(monkeypatch):
    monkeypatch.setenv("LITELLM_ACCEL_PROOF", "recorded")
    with pytest.raises(base.Unproven, match=r"litellm-accel verify --component chat"):
        records.is_proven("chat")
    with records.proving("chat"):
        assert records.is_proven("chat")
        with pytest.raises(base.Unproven):
            records.is_proven("streaming")
    with pytest.raises(base.Unproven):
        records.is_proven("chat")
    records.write(PROVEN)
    assert records.is_proven("chat")


def test_it_is_said_what_is_missing(monkeypatch):
    monkeypatch.setenv("LITELLM_ACCEL_PROOF", "recorded")

    def reason(**others: object) -> str:
        monkeypatch.setattr(records, "key", lambda component: {**VERSIONS, **others})
        with pytest.raises(base.Unproven) as caught:
            records.is_proven("chat")
        return str(caught.value).partition(";")[0]

    assert reason() == "not proven on LiteLLM 1.106.2 with Python 3.11: there is no record"
    for other in ("3.12", "3.13"):
        monkeypatch.setattr(records, "key", lambda component, other=other: {**VERSIONS, "python": other})
        records.write(PROVEN)
    openai = {"version": "3.0.0", "contents": "f" * 32}
    assert reason(openai=openai, python="3.13") == "not proven with openai 3.0.0 (proven: 2.54.0)"
    assert reason(python="3.11") == "not proven with python 3.11 (proven: 3.12)"
    litellm = {"version": "1.106.2", "contents": "f" * 32}
    assert reason(python="3.12", litellm=litellm) == "not proven with changed files of litellm 1.106.2"


def run_command(monkeypatch: pytest.MonkeyPatch, result: Result, *arguments: str):
    def play(component, *, patterns, thorough, kept, progress):
        assert thorough == ("--thorough" in arguments)
        for verdict in result.verdicts:
            progress(verdict, len(result.verdicts))
        return result

    monkeypatch.setattr(comparison, "run", play)
    monkeypatch.setattr(command, "fork_server", contextlib.nullcontext)
    return CliRunner().invoke(command.verify_command, ["--component", "chat", *arguments])


def test_the_command_records_what_is_equal(monkeypatch, here):
    outcome = run_command(monkeypatch, PROVEN)
    assert outcome.exit_code == 0, outcome.output
    assert f"chat: equal on LiteLLM {importlib.metadata.version('litellm')}" in outcome.output
    assert records.fitting("chat") is not None


def test_the_command_names_what_is_left_to_stock(monkeypatch):
    left = Verdict(Run(Scenario("theme/slow"), "router"), "declined", {"some reason": 1}, (), 0.1)
    outcome = run_command(monkeypatch, Result("chat", (EQUAL, left), 1.0))
    assert outcome.exit_code == 0 and "theme/slow@router left to stock: some reason" in outcome.output
    assert left.unserved and not EQUAL.unserved


def test_the_command_fails_on_a_difference(monkeypatch):
    outcome = run_command(monkeypatch, REFUTED)
    assert outcome.exit_code == 1
    assert "other/x@router" in outcome.output and "outcomes[0].n" in outcome.output
    assert records.fitting("chat") is None


@pytest.mark.parametrize(("others", "ends"), [(100, 0), (1, 1)])
def test_what_stock_does_not_finish_is_not_compared(monkeypatch, others, ends):
    """But for many such runs something else is to blame."""
    endless = replace(DIFFERENT, way="unknown", differences=(), error=f"{comparison.STOCK_ERROR}did not answer")
    outcome = run_command(monkeypatch, Result("chat", (endless, *[EQUAL] * others), 1.0))
    assert outcome.exit_code == ends and "other/x@router" in outcome.output
    assert ("not compared" in outcome.output) == (records.fitting("chat") is not None) == (not ends)


def test_nothing_served_proves_nothing(monkeypatch):
    outcome = run_command(monkeypatch, Result("chat", (DECLINED,), 1.0))
    assert outcome.exit_code == 1 and "chat has served no call" in outcome.output
    assert records.fitting("chat") is None
    with pytest.raises(ValueError):
        records.write(Result("chat", (DECLINED,), 1.0))


def test_a_part_is_not_recorded(monkeypatch):
    assert run_command(monkeypatch, PROVEN, "--scenario", "parameters/*").exit_code == 0
    assert records.fitting("chat") is None


def test_records_go_where_they_are_wanted(monkeypatch, here):
    assert run_command(monkeypatch, PROVEN, "--thorough", "--records", str(here / "shipped")).exit_code == 0
    assert [path.parent.name for path in here.rglob("*.json")] == ["shipped"]


def test_a_record_that_cannot_be_written_is_an_error(monkeypatch, here):
    (here / "file").touch()
    outcome = run_command(monkeypatch, PROVEN, "--records", str(here / "file" / "records"))
    assert outcome.exit_code == 1 and "the record cannot be written" in outcome.output


def test_a_pattern_that_matches_nothing_is_an_error():
    outcome = CliRunner().invoke(command.verify_command, ["--component", "chat", "--scenario", "nowhere"])
    assert outcome.exit_code == 1 and "no scenario of chat matches nowhere" in outcome.output


def test_a_pattern_need_not_match_in_every_component(monkeypatch):
    played = []

    def play(component: str, **options: object) -> Result:
        played.append(component)
        return PROVEN

    monkeypatch.setattr(comparison, "run", play)
    monkeypatch.setattr(command, "fork_server", contextlib.nullcontext)
    outcome = CliRunner().invoke(command.verify_command, ["--scenario", "parameters/temperature*"])
    assert outcome.exit_code == 0 and played == ["chat"]


def test_results_are_told_as_json(monkeypatch, tmp_path):
    monkeypatch.setattr(comparison, "run", lambda component, **options: PROVEN)
    monkeypatch.setattr(command, "fork_server", contextlib.nullcontext)
    arguments = ["--component", "chat", "--records", str(tmp_path), "--json"]
    told = json.loads(CliRunner().invoke(command.verify_command, arguments).stdout)
    assert told["chat"]["runs"] == len(PROVEN.verdicts) and told["chat"]["different"] == []


def test_with_fields():
    assert with_fields("tools", plain_first=2) == 'tools{"plain_first": 2}'
    assert with_fields('error-500{"times": 1}', plain_first=2) == 'error-500{"times": 1, "plain_first": 2}'
    (scenario,) = after_plain(Scenario("a", answer="tools"))
    assert (scenario.name, scenario.calls) == ("a-after-plain", 5)
