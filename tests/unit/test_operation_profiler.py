"""The profiler: which lines call, what becomes of their calls, and a log line for each."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import litellm_accel
from litellm_accel import activation, cli, settings
from litellm_accel.operation import profiler
from made_up import SOURCE, Part, Register

HERE = Path(__file__).name


@pytest.fixture(autouse=True)
def unlogged() -> None:
    """No call is logged, though a test before this one has had that done."""
    activation.observe(profiler.log_calls, False)


def line_of(word: str) -> str:
    """Return the number of the line of this file that ends with a mark."""
    lines = Path(__file__).read_text().splitlines()
    return next(str(number) for number, line in enumerate(lines, 1) if line.endswith(f"# {word}"))


def test_calls_are_counted_by_line_with_what_became_of_them(victim: ModuleType, register: Register) -> None:
    register(Part("one", "double"), Part("two", "triple"))
    litellm_accel.accelerate()
    with litellm_accel.profile() as profile:
        for number in range(100):
            victim.double(number % 2)  # first
        for _ in range(10):
            victim.triple(3)  # second
    victim.double(3)
    found = {(site.place, site.component): site for site in profile.sites}
    one = found[f"{__file__}:{line_of('first')}", "one"]
    assert (one.calls, one.served, one.reasons) == (100, 50, {"zero": 50})
    assert one.seconds > 0 and one.saved is not None
    two = found[f"{__file__}:{line_of('second')}", "two"]
    assert (two.calls, two.served, two.reasons, two.saved) == (10, 10, {}, None)
    assert len(found) == 2 and activation.activations()["one"].gate.observer is None
    printed, page = str(profile), profile.html()
    for text in (HERE, "50 zero", "100", "50%", "one", "two"):
        assert text in printed and text in page
    assert json.loads(json.dumps(profile.to_dict()))[0]["component"] in ("one", "two")
    assert page.count("<tr>") == 3 and "<script" not in page


def test_components_that_start_later_and_profiles_in_each_other(victim: ModuleType, register: Register) -> None:
    register(Part("one", "double"))
    with litellm_accel.profile() as outer:
        litellm_accel.accelerate()
        victim.double(3)
        with litellm_accel.profile() as inner:
            victim.double(3)
        victim.double(3)
    assert (sum(site.calls for site in outer.sites), sum(site.calls for site in inner.sites)) == (3, 1)


def test_calls_of_threads_and_of_no_line(victim: ModuleType, register: Register) -> None:
    register(Part("one", "double"))
    litellm_accel.accelerate()
    with litellm_accel.profile() as profile:
        threads = [threading.Thread(target=victim.double, args=(3,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(site.calls for site in profile.sites) == 8


def test_lines_without_end_do_not_grow_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiler, "_MOST_SITES", 5)
    gate: Any = type("Gate", (), {"name": "one"})
    numbers = iter(range(100))
    monkeypatch.setattr(profiler, "call_site", lambda: f"app.py:{next(numbers)}")
    profile = profiler.Profile()
    for _ in range(50):
        profile._observe(gate, 0, None, 1000)
    assert len(profile.sites) == 6
    assert {site.place: site.calls for site in profile.sites}["(more lines)"] == 45


def test_the_name_is_that_of_a_function_and_of_a_module() -> None:
    import litellm_accel.profile

    assert isinstance(litellm_accel.profile(), profiler.Profile)


APP = """
import sys, victim
for number in range(5):
    victim.double(number)
print(sys.argv)
sys.exit(3)
"""
STARTED = """
import sys
sys.path[:0] = {places!r}
import made_up
from litellm_accel import activation, components
components.NAMES = ("one",)
components.get = {{"one": made_up.Part("one", "double")}}.__getitem__
activation._HOST = "victim"
activation._watches = {{"victim": activation._watch_for("victim")}}
from litellm_accel.cli import main, profile
sys.argv = ["litellm-accel", *{arguments!r}]
main({command})
"""


@pytest.mark.parametrize("command", ["", "profile"])
def test_a_program_is_profiled_and_behaves_as_it_would(tmp_path: Path, command: str) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "__init__.py").write_text(SOURCE)
    (tmp_path / "app.py").write_text(APP)
    arguments = ["profile"] * (not command) + ["--html", "x.html", "--json", "x.json", "app.py", "--option"]
    code = STARTED.format(places=[str(Path(__file__).parents[1])], arguments=arguments, command=command)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{Path(cli.__file__).parents[1]}{os.pathsep}{tmp_path}"},
    )
    assert (done.stdout, done.returncode) == ("['app.py', '--option']\n", 3), done.stderr
    assert "app.py:4" in done.stderr and "1 zero" in done.stderr
    (site,) = json.loads((tmp_path / "x.json").read_text())
    assert (site["calls"], site["served"]) == (5, 4)
    assert "app.py:4" in (tmp_path / "x.html").read_text()


@pytest.fixture
def quiet_again() -> Any:
    """The logger as it was."""
    logger = logging.getLogger("litellm_accel")
    level, handlers = logger.level, list(logger.handlers)
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers
    activation.observe(profiler.log_calls, False)


@pytest.mark.parametrize("how", ["variable", "level"])
def test_each_call_is_logged_where_that_is_asked_for(
    victim: ModuleType,
    register: Register,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    quiet_again: None,
    how: str,
) -> None:
    register(Part("one", "double"))
    litellm_accel.accelerate()
    victim.double(3)
    assert not caplog.records
    if how == "variable":
        monkeypatch.setenv(settings.VERBOSE, "1")
    else:
        logging.getLogger("litellm_accel").setLevel(logging.DEBUG)
    litellm_accel.accelerate()
    victim.double(3)
    victim.double(0)
    served, declined = [record.getMessage() for record in caplog.records]
    assert served.startswith("litellm-accel: one served, ") and HERE in served
    assert declined.startswith("litellm-accel: one left to LiteLLM: zero, ")
