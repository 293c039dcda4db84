"""Settings: where they come from, what they do to components, and what happens to those that make no sense."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import settings as bounds
from hypothesis import strategies as st

import litellm_accel
from litellm_accel import activation, cli, components, settings
from litellm_accel.operation import control, schema, sources
from litellm_accel.operation.schema import Problem, checked
from litellm_accel.operation.ticker import TICKER
from made_up import Part, Register

EXAMPLE = {
    "enabled": True,
    "components": {
        "tokens": {"mode": "on"},
        "chat": {"mode": "rollout", "percent": 25, "key": "metadata.user_id"},
        "streaming": {"mode": "canary", "percent": 5, "max_error_rate": 0.01, "min_calls": 200, "step_seconds": 600},
        "cost": {"mode": "shadow", "percent": 10},
        "routing": {"mode": "off"},
    },
    "breaker": {"faults": 10, "window_seconds": 60, "cooldown_seconds": 300},
    "alerts": [{"metric": "fault_rate", "component": "*", "above": 0.001}],
    "watch": True,
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and no variables of ours but those that choose the backend."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    for name in list(os.environ):
        if name.startswith(settings.PREFIX) and name != settings.PURE:
            monkeypatch.delenv(name)
    return place


def written(path: Path, values: Any) -> Path:
    new = path.with_name(f"{path.name}.new")
    new.write_text(values if isinstance(values, str) else json.dumps(values))
    return new.replace(path)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "litellm_accel"]


# --- what is understood


def test_the_example_is_understood() -> None:
    found = checked(EXAMPLE, "here")
    assert found.of("chat").percent == 25 and found.of("connection_pool").mode == "on"
    assert found.of("streaming").steps == [5, 25, 50, 100]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"parts": {}}, "x: parts = {} is not understood; allowed: enabled, components, breaker, "),
        ({"components": {"chta": {}}}, "x: components.chta = 'on' is not understood; allowed: tokens, cost, routing, "),
        ({"components": {"chat": {"mode": "rolout"}}}, "x: components.chat.mode = 'rolout' is not understood; allowed"),
        ({"components": {"chat": {"mode": "rollout"}}}, "x: components.chat.percent = None is not understood; allowed"),
        (
            {"components": {"rate_limit": {"mode": "shadow"}}},
            "x: components.rate_limit.mode = 'shadow' is not understood;",
        ),
        (
            {"components": {"chat": {"percnt": 1}}},
            "x: components.chat.percnt = 1 is not understood; allowed: mode, per",
        ),
        ({"components": {"chat": {"percent": float("nan")}}}, "x: components.chat.percent = nan is not understood; al"),
        (
            {"components": {"chat": {"percent": 10**400}}},
            "x: components.chat.percent = 1000000000000000000000000000000",
        ),
        (
            {"components": {"chat": {"percent": 10**5000}}},
            "x: components.chat.percent = a int is not understood; allow",
        ),
        (
            {"components": {"chat": {"percent": 101}}},
            "x: components.chat.percent = 101 is not understood; allowed: les",
        ),
        (
            {"components": {"chat": {"percent": "5"}}},
            "x: components.chat.percent = '5' is not understood; allowed: num",
        ),
        (
            {"components": {"chat": {"key": "a.b"}}},
            "x: components.chat.key = 'a.b' is not understood; allowed: litellm",
        ),
        (
            {"components": {"chat": {"steps": [5, 5]}}},
            "x: components.chat.steps = [5.0, 5.0] is not understood; allowed",
        ),
        ({"components": {"chat": []}}, "x: components.chat = [] is not understood; allowed: a table"),
        (
            {"components": {"connection_pool": {"mode": "canary"}}},
            "x: components.connection_pool.mode = 'canary' is not",
        ),
        ({"breaker": {"faults": True}}, "x: breaker.faults = True is not understood; allowed: integer"),
        ({"breaker": {"faults": 0}}, "x: breaker.faults = 0 is not understood; allowed: greater than or equal to 1"),
        (
            {"alerts": [{"metric": "p95_us"}]},
            "x: alerts.0.above = {'metric': 'p95_us'} is not understood; allowed: a va",
        ),
        (
            {"alerts": [{"metric": "p95_us", "above": 1, "component": "x"}]},
            "x: alerts.0.component = 'x' is not underst",
        ),
        (
            {"alerts": [{"metric": "p95_us", "above": 1, "webhook": "ftp:"}]},
            "x: alerts.0.webhook = 'ftp:' is not under",
        ),
        ([], "x: [] is not understood; allowed: a table"),
        (None, "x: None is not understood; allowed: a table"),
    ],
)
def test_what_is_not_understood_is_named_with_what_is_allowed(values: Any, line: str) -> None:
    with pytest.raises(Problem) as error:
        checked(values, "x")
    assert str(error.value).startswith(line) and len(str(error.value)) < 400


def test_each_component_is_known_to_compute_without_side_effects_or_not() -> None:
    assert sorted((*schema._IN_SHADOW, *schema._NEVER_IN_SHADOW)) == sorted(components.NAMES)


NESTED = "[" * 100_000
HOSTILE = {
    "empty": "",
    "truncated": json.dumps(EXAMPLE)[:100],
    "nested": NESTED,
    "tables": '{"a":' * 100_000,
    "digits": '{"breaker": {"faults": ' + "9" * 10_000 + "}}",
    "infinite": '{"components": {"chat": {"percent": 1e999}}}',
    "nan": '{"components": {"chat": {"percent": NaN}}}',
    "list": "[1, 2]",
    "null": "null",
    "large": " " * (1 << 20) + "{}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_file_stops_an_application_or_turns_anything_on(
    name: str, here: Path, victim: ModuleType, register: Register, caplog: pytest.LogCaptureFixture
) -> None:
    register(Part("one", "double"))
    report = litellm_accel.accelerate(config=written(here / "x.json", HOSTILE[name]))
    assert report["one"].state == "off" and "accelerate(), which is not understood" in report["one"].reason
    assert victim.double(2) == 4 and litellm_accel.status()["one"].served == 0
    (line,) = lines(caplog)
    assert line.startswith(f"litellm-accel: file {here / 'x.json'}") and "allowed: " in line
    assert line.endswith("nothing is accelerated")
    assert CliRunner().invoke(cli.commands, ["config", "--check", str(here / "x.json")]).exit_code == 1


def test_files_that_are_no_files(here: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "binary").write_bytes(b"\xff\xfe{\x00")
    for path, word in (
        (tmp_path / "missing.json", "no file"),
        (tmp_path / "pipe", "no plain file"),
        (tmp_path, "directory"),
        (tmp_path / "binary", "UnicodeDecodeError"),
        (Path("/dev/zero"), "no plain file"),
    ):
        with pytest.raises(Problem, match=word):
            sources.of_file(path)
    if os.geteuid():
        (tmp_path / "secret.json").write_text("{}")
        (tmp_path / "secret.json").chmod(0)
        with pytest.raises(Problem, match="Permission denied"):
            sources.of_file(tmp_path / "secret.json")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*schema.Settings.model_fields, *schema.ComponentSettings.model_fields, "chat", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@bounds(max_examples=300, deadline=None)
@given(json_values)
def test_any_values_are_settings_or_a_problem(values: Any) -> None:
    try:
        found = checked(values, "x")
    except Problem as problem:
        assert "allowed: " in str(problem) and len(str(problem)) < 500
    else:
        assert checked(found.model_dump(exclude_unset=True), "again") == found


# --- where they come from


def test_the_program_is_over_the_environment_and_that_over_the_file(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(here / "x.json", {"components": {"chat": {"mode": "rollout", "percent": 5, "key": "user"}}, "watch": True})
    monkeypatch.setenv(settings.CONFIG, str(here / "x.json"))
    monkeypatch.setenv("LITELLM_ACCEL_CHAT", "rollout:25")
    monkeypatch.setenv(settings.MAX_FAULTS, "3")
    one = control.Control()
    one.load({"components": {"chat": {"percent": 50}}})
    rows = {key: (value, place) for key, value, place in sources.rows(one.settings, one.places)}
    assert rows["components.chat.mode"] == ("rollout", "environment: LITELLM_ACCEL_CHAT")
    assert rows["components.chat.percent"] == (50, "accelerate()")
    assert rows["components.chat.key"] == ("user", f"file {here / 'x.json'}")
    assert rows["breaker.faults"] == (3, "environment: LITELLM_ACCEL_MAX_FAULTS")
    assert rows["enabled"] == (True, "default")
    one.configure({"components": {"chat": {"percent": 75}}})
    assert one.settings.of("chat").percent == 75 and one.places["components.chat.percent"] == "configure()"
    one.forget()
    assert one.settings == schema.Settings() and TICKER.jobs == []


def test_a_table_of_pyproject_is_a_settings_file(here: Path) -> None:
    (here / "pyproject.toml").write_text('[project]\nname = "litellm-accel-user"\n')
    assert not settings.is_configured()
    (here / "pyproject.toml").write_text('[tool.x]\ny = "tool.litellm-accel"\n')
    assert settings.is_configured() and sources.inspected()[1] == []
    (here / "pyproject.toml").write_text('[tool.litellm-accel.components.chat]\nmode = "rollout"\npercent = 25\n')
    rows, problems = sources.inspected()
    assert problems == []
    assert {
        "key": "components.chat.percent",
        "value": 25,
        "from": f"file {here / 'pyproject.toml'}, tool.litellm-accel",
    } in rows
    (here / "pyproject.toml").write_text('[tool.other]\nname = "x"\n')
    assert not settings.is_configured()


def test_toml_is_read_and_its_errors_are_told(here: Path) -> None:
    (here / "x.toml").write_text('enabled = true\n[components.chat]\nmode = "off"\n')
    assert sources.of_file(here / "x.toml").values == {"enabled": True, "components": {"chat": {"mode": "off"}}}
    (here / "x.toml").write_text("enabled = maybe\n")
    with pytest.raises(Problem, match="TOML"):
        sources.of_file(here / "x.toml")


@pytest.mark.parametrize(
    ("text", "mode", "percent"),
    [
        ("on", "on", None),
        ("OFF", "off", None),
        ("rollout:25", "rollout", 25),
        ("canary:5", "canary", 5),
        ("canary:0.5", "canary", 0.5),
    ],
)
def test_modes_in_the_environment(text: str, mode: str, percent: float | None) -> None:
    found = sources.of_environment({"LITELLM_ACCEL_CHAT": text})
    assert found.values["components"]["chat"] == {"mode": mode, **({} if percent is None else {"percent": percent})}
    assert found.problems == []


@pytest.mark.parametrize(
    "text", ["onn", "rollout", "rollout:", "rollout:x", "rollout:nan", "rollout:101", "on:5", "shadow:-5"]
)
def test_a_variable_that_is_not_understood_turns_its_component_off(text: str) -> None:
    found = sources.of_environment({"LITELLM_ACCEL_CHAT": text})
    assert found.values == {"components": {"chat": {"mode": "off"}}}
    (problem,) = found.problems
    assert problem.startswith(
        f"environment: LITELLM_ACCEL_CHAT = {text!r} is not understood; allowed: on, off, rollout:P"
    )


def test_other_variables_that_are_not_understood() -> None:
    found = sources.of_environment({settings.ENABLED: "perhaps", "LITELLM_ACCEL_CHATT": "off", "OTHER": "1"})
    assert found.values == {"enabled": False}
    assert [problem.split(" is not")[0] for problem in found.problems] == [
        "environment: LITELLM_ACCEL_ENABLED = 'perhaps'",
        "environment: LITELLM_ACCEL_CHATT = 'off'",
    ]
    assert sources.of_environment({settings.ENABLED: "0"}).values == {"enabled": False}
    assert sources.of_environment({settings.ENABLED: ""}).values == {}


def test_nothing_is_imported_where_nothing_is_configured(here: Path) -> None:
    code = """
import sys, litellm_accel
litellm_accel.accelerate()
print(sorted(name for name in sys.modules if name.startswith(("litellm_accel.operation", "pydantic", "tomllib"))))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- what they do


def test_what_is_switched_off_is_not_activated(victim: ModuleType, register: Register) -> None:
    register(Part("one", "double"), Part("two", "triple"))
    code = victim.double.__code__
    report = litellm_accel.accelerate(strict=True, config={"components": {"one": {"mode": "off"}}})
    assert (report["one"].state, report["one"].reason) == ("off", "switched off by accelerate()")
    assert victim.double.__code__ is code and report["two"].state == "active"
    report = litellm_accel.configure(components={"one": {"mode": "on"}})
    assert report["one"].state == "active" and victim.double(2) == 4
    assert litellm_accel.status()["one"].served == 1


def test_a_block_follows_settings_too_and_nobody_has_to(
    victim: ModuleType, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(Part("one", "double"))
    monkeypatch.setenv(settings.ENABLED, "0")
    with litellm_accel.accelerated() as report:
        assert report["one"].state == "off" and victim.double(2) == 4
    assert litellm_accel.accelerate()["one"].reason == "switched off by environment: LITELLM_ACCEL_ENABLED"
    assert litellm_accel.accelerate(config=False)["one"].state == "active"


def test_settings_that_change_are_taken_over_at_once(
    victim: ModuleType, register: Register, caplog: pytest.LogCaptureFixture
) -> None:
    register(Part("one", "double"))
    litellm_accel.accelerate()
    litellm_accel.configure({"components": {"one": {"mode": "rollout", "percent": 25}}})
    for _ in range(100):
        victim.double(3)
    row = litellm_accel.status()["one"]
    assert (row.state, row.mode, row.served + row.bypassed) == ("active", "rollout 25 %", 100)
    assert abs(row.served - 25) <= 1
    served = row.served
    row = litellm_accel.configure(enabled=False)["one"]
    assert (row.state, row.reason) == ("off", "switched off by configure()")
    victim.double(3)
    assert litellm_accel.status()["one"].served == served
    litellm_accel.configure(enabled=True)
    with pytest.raises(ValueError, match=r"configure\(\): components.one.percent = 250 is not understood"):
        litellm_accel.configure(components={"one": {"percent": 250}})
    assert litellm_accel.status()["one"].mode == "rollout 25 %"
    assert lines(caplog)[-2:] == [
        "litellm-accel: one: off, was rollout 25 %",
        "litellm-accel: one: rollout 25 %, was off",
    ]
    litellm_accel.restore()
    assert litellm_accel.accelerate()["one"].mode == "on", "restore() has forgotten what the program has set"


def test_a_breaker_s_bounds_are_set(victim: ModuleType, register: Register) -> None:
    register(Part("one", "double"))
    litellm_accel.accelerate(config={"breaker": {"faults": 2}})
    for _ in range(3):
        victim.double(13)
    row = litellm_accel.status()["one"]
    assert (row.faults, row.state) == (2, "failed")
    assert victim.double(2) == 4 and litellm_accel.status()["one"].bypassed == 2


def test_a_changed_file_is_taken_over_while_the_program_runs(
    here: Path,
    victim: ModuleType,
    register: Register,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    register(Part("one", "double"))
    path = written(here / "x.json", {"watch": True, "components": {"one": {"mode": "rollout", "percent": 5}}})
    monkeypatch.setenv(settings.CONFIG, str(path))
    monkeypatch.setattr(control, "_WATCH_SECONDS", 0.05)

    def becomes(mode: str) -> bool:
        until = time.monotonic() + 5
        while litellm_accel.status()["one"].mode != mode and time.monotonic() < until:
            time.sleep(0.02)
        return litellm_accel.status()["one"].mode == mode

    def told(count: int) -> list[str]:
        until = time.monotonic() + 5
        while True:
            found = [line for line in lines(caplog) if "not understood" in line]
            if len(found) >= count or time.monotonic() > until:
                return found
            time.sleep(0.02)

    assert litellm_accel.accelerate()["one"].mode == "rollout 5 %"
    written(path, {"watch": True, "components": {"one": {"mode": "rollout", "percent": 50}}})
    assert becomes("rollout 50 %")
    path.write_text('{"watch": true, "components": {"one": {"mode": "on"')
    assert told(1) and litellm_accel.status()["one"].mode == "rollout 50 %"
    path.unlink()
    found = told(2)
    assert litellm_accel.status()["one"].mode == "rollout 50 %"
    assert len(found) == 2 and all(line.endswith("the settings before hold") for line in found)
    written(here / "new.json", {"watch": True, "components": {"one": {"mode": "rollout", "percent": 75}}}).rename(path)
    assert becomes("rollout 75 %")
    written(path, {"components": {"one": {"mode": "on"}}})
    assert becomes("on")
    assert TICKER.jobs == [], "the file no longer asks to be watched"


def test_nobody_watches_where_nobody_asks(victim: ModuleType, register: Register, here: Path) -> None:
    register(Part("one", "double"))
    litellm_accel.accelerate(config=written(here / "x.json", {"components": {"one": {"mode": "on"}}}))
    assert TICKER.jobs == []
    assert not [thread for thread in threading.enumerate() if thread.name == "litellm-accel-ticker"]


def test_settings_change_from_many_threads(victim: ModuleType, register: Register) -> None:
    register(Part("one", "double"), Part("two", "triple"))
    litellm_accel.accelerate()
    failed: list[BaseException] = []

    def change(number: int) -> None:
        try:
            for step in range(20):
                litellm_accel.configure(components={"one": {"mode": "rollout", "percent": (number * step) % 100}})
                assert victim.double(3) == 6
                litellm_accel.status()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=change, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    litellm_accel.configure(components={"one": {"mode": "on"}})
    assert activation._activations["one"].gate.whole


# --- the command line


def test_config_prints_what_holds_and_whence(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_ACCEL_COST", "rollout:7")
    monkeypatch.setenv(settings.CONFIG, str(written(here / "x.json", EXAMPLE)))
    done = CliRunner().invoke(cli.commands, ["config"])
    assert done.exit_code == 0
    assert "components.cost.percent = 7.0  # environment: LITELLM_ACCEL_COST\n" in done.output
    assert f'components.routing.mode = "off"  # file {here / "x.json"}\n' in done.output
    assert "statistics = false  # default\n" in done.output
    done = CliRunner().invoke(cli.commands, ["config", "--json"])
    assert json.loads(done.output)["problems"] == []


def test_config_and_doctor_fail_on_what_is_not_understood(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_ACCEL_COST", "rollout")
    done = CliRunner().invoke(cli.commands, ["config"])
    assert done.exit_code == 1 and "LITELLM_ACCEL_COST = 'rollout' is not understood" in done.output
    monkeypatch.setattr(cli, "_accelerate_offline", lambda: litellm_accel.Report("1", ()))
    done = CliRunner().invoke(cli.commands, ["doctor"])
    assert (
        done.exit_code == 1 and "setting environment: LITELLM_ACCEL_COST = 'rollout' is not understood" in done.output
    )
    monkeypatch.delenv("LITELLM_ACCEL_COST")
    monkeypatch.setenv(settings.CONFIG, str(here / "missing.json"))
    done = CliRunner().invoke(cli.commands, ["config"])
    assert done.exit_code == 1 and "enabled = false" in done.output


def test_config_checks_a_file(here: Path) -> None:
    assert (
        CliRunner().invoke(cli.commands, ["config", "--check", str(written(here / "x.json", EXAMPLE))]).exit_code == 0
    )
    written(here / "x.json", {"components": {"chat": {"mode": "rolout"}}})
    done = CliRunner().invoke(cli.commands, ["config", "--check", "x.json"])
    assert done.exit_code == 1 and "components.chat.mode = 'rolout'" in done.output


def test_the_published_schema_is_that_of_the_code() -> None:
    """``litellm-accel config --schema`` prints it."""
    path = Path(cli.__file__).parents[1] / "docs" / "settings.schema.json"
    assert json.loads(path.read_text()) == schema.json_schema()
    assert schema.json_schema()["additionalProperties"] is False
