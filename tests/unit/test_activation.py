"""Switching components on and off, with made-up components over a made-up package."""

from __future__ import annotations

import importlib
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import litellm_accel
from litellm_accel import _backend, activation, components
from litellm_accel.components.base import Native, ProbeMismatch, Unproven
from made_up import SOURCE, Part, Register

MISSING = "victim:missing does not exist in the installed LiteLLM"


def test_accelerate_serves_and_restore_gives_back(victim: ModuleType, register: Register) -> None:
    part = Part("one", "double")
    register(part)
    function, code = victim.double, victim.double.__code__
    report = litellm_accel.accelerate()
    assert (report["one"].state, report["one"].reason, report["one"].served) == ("active", "serves one", 0)
    assert [function(2), function(0), function(5)] == [4, 0, 10]
    row = litellm_accel.status()["one"]
    assert (row.served, row.declined, row.faults) == (2, {"zero": 1}, 0)
    litellm_accel.restore()
    assert victim.double is function and function.__code__ is code
    assert (litellm_accel.status()["one"].state, part.stops) == ("off", 1)
    litellm_accel.restore()
    assert part.stops == 1, "restore() twice does nothing"


@pytest.mark.parametrize("has_versions", [True, False])
def test_a_twin_that_would_be_slower_than_stock_stays_off_and_says_so(
    victim: ModuleType, register: Register, monkeypatch: pytest.MonkeyPatch, has_versions: bool
) -> None:
    """Dictionaries without versions must be compared, value by value, by the twins that watch many of them."""
    from litellm_accel._py import watch

    part = Part("one", "double")
    part.hot_modules = ("watch",)  # type: ignore[misc]
    register(part)
    monkeypatch.setitem(_backend._modules, "watch", watch)
    monkeypatch.setitem(_backend._backends, "watch", _backend.Backend("pure", "chosen here"))
    monkeypatch.setattr(watch, "HAS_TAGS", has_versions)
    row = litellm_accel.accelerate()["one"]
    assert row.state == ("active" if has_versions else "off")
    assert has_versions or row.reason == "slower than LiteLLM on this Python without compiled modules"


def test_accelerate_twice_changes_nothing(victim: ModuleType, register: Register) -> None:
    register(Part("one", "double"))
    litellm_accel.accelerate()
    victim.double(1)
    code = victim.double.__code__
    assert litellm_accel.accelerate()["one"].served == 1
    assert victim.double.__code__ is code


def test_only_the_components_asked_for_start(victim: ModuleType, register: Register) -> None:
    register(Part("one", "double"), Part("two", "triple"))
    code = victim.triple.__code__
    report = litellm_accel.accelerate("one")
    assert [row.state for row in report.components] == ["active", "off"]
    assert victim.triple.__code__ is code
    assert [row.state for row in litellm_accel.accelerate(["two", "one"]).components] == ["active", "active"]


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (ProbeMismatch("double('x')"), "failed", "differs from stock: double('x')"),
        (Unproven("no record for this version"), "unproven", "no record for this version"),
        (ZeroDivisionError("oops"), "failed", "ZeroDivisionError: oops"),
    ],
)
def test_what_is_not_proven_stays_off_and_says_so_once(
    victim: ModuleType,
    register: Register,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    state: str,
    reason: str,
) -> None:
    register(Part("one", "double", error=error), Part("two", "triple"))
    code = victim.double.__code__
    with caplog.at_level(logging.WARNING, "litellm_accel"):
        report = litellm_accel.accelerate()
    assert (report["one"].state, report["one"].reason, report["two"].state) == (state, reason, "active")
    assert victim.double.__code__ is code
    assert len(caplog.records) == 1 and reason in caplog.text


def test_a_component_is_replaced_wholly_or_not_at_all(victim: ModuleType, register: Register) -> None:
    register(Part("one", "double", "missing"))
    code = victim.double.__code__
    report = litellm_accel.accelerate()
    assert (report["one"].state, report["one"].reason) == ("off", MISSING)
    assert victim.double.__code__ is code


def test_strict_raises_and_leaves_everything_as_it_was(victim: ModuleType, register: Register) -> None:
    register(Part("one", "double"), Part("two", "missing"), Part("three", "triple"))
    litellm_accel.accelerate("three")
    codes = victim.double.__code__, victim.triple.__code__
    with pytest.raises(litellm_accel.AccelerationError) as caught:
        litellm_accel.accelerate(strict=True)
    assert caught.value.failures == {"two": MISSING}
    assert (victim.double.__code__, victim.triple.__code__) == codes
    assert [row.state for row in litellm_accel.status().components] == ["off", "off", "active"]


def test_what_litellm_does_natively_is_not_missing(
    victim: ModuleType, register: Register, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "litellm_accel")
    register(Part("one", "double"), Part("two", "triple", error=Native("it has a core of its own")))
    litellm_accel.accelerate(strict=True)
    row = litellm_accel.status()["two"]
    assert (row.state, row.reason) == ("native", "it has a core of its own")
    assert states() == ["active", "native"]
    assert not caplog.records


def test_faults_open_the_breaker_and_reset_errors_closes_it(victim: ModuleType, register: Register) -> None:
    register(Part("one", "double"))
    litellm_accel.accelerate()
    assert [victim.double(13) for _ in range(12)] == [26] * 12
    row = litellm_accel.status()["one"]
    assert (row.state, row.faults) == ("failed", 10)
    assert row.reason == "breaker open after 10 faults; last: RuntimeError: unlucky"
    with pytest.raises(litellm_accel.AccelerationError, match="breaker open"):
        litellm_accel.accelerate(strict=True)
    litellm_accel.reset_errors("one")
    assert victim.double(2) == 4
    assert (litellm_accel.status()["one"].state, litellm_accel.status()["one"].served) == ("active", 1)


def test_the_with_block_undoes_what_it_switched_on(victim: ModuleType, register: Register) -> None:
    register(Part("one", "double"), Part("two", "triple"))
    litellm_accel.accelerate("one")
    with pytest.raises(KeyError), litellm_accel.accelerated() as report:
        assert [row.state for row in report.components] == ["active", "active"]
        raise KeyError
    assert [row.state for row in litellm_accel.status().components] == ["active", "off"]


def test_racing_threads_activate_once(victim: ModuleType, register: Register) -> None:
    register(Part("one", "double"))
    code = victim.double.__code__
    barrier = threading.Barrier(8)
    reports = []

    def race() -> None:
        barrier.wait()
        reports.append(litellm_accel.accelerate())

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [report["one"].state for report in reports] == ["active"] * 8
    assert victim.double(4) == 8
    assert litellm_accel.status()["one"].served == 1
    litellm_accel.restore()
    assert victim.double.__code__ is code


@pytest.mark.parametrize("ask", [litellm_accel.accelerate, litellm_accel.reset_errors])
def test_unknown_names_raise_and_list_the_known(register: Register, ask: Callable[[Any], Any]) -> None:
    register(Part("one", "double"), Part("two", "triple"))
    with pytest.raises(ValueError, match="components: unknown component 'three'; known: one, two"):
        ask("three")
    with pytest.raises(TypeError, match="components: names are strings, got 3; known: one, two"):
        ask([3])


def test_reports_print_as_a_table_and_become_plain_data(victim: ModuleType, register: Register) -> None:
    register(Part("one", "double"))
    report = litellm_accel.accelerate()
    victim.double(0)
    printed = str(litellm_accel.status())
    for text in ("component", "declined", "faults", "one", "active", "serves one", "1 zero"):
        assert text in printed
    data = json.loads(json.dumps(report.to_dict()))
    assert data["components"][0] == {
        "name": "one",
        "state": "active",
        "reason": "serves one",
        "backend": data["components"][0]["backend"],
        "served": 0,
        "declined": {},
        "faults": 0,
        "proof": "at start",
        "mode": "",
        "bypassed": 0,
        "partly": {},
    }
    with pytest.raises(KeyError):
        report["two"]


@pytest.fixture
def absent(victim: ModuleType, register: Register) -> Iterator[None]:
    """The made-up package is installed, but has not been imported."""
    del sys.modules["victim"]
    before = list(sys.meta_path)
    yield
    activation.restore()
    assert sys.meta_path == before


def states() -> list[str]:
    return [row.state for row in litellm_accel.status().components]


def test_what_is_not_imported_yet_is_waited_for(absent: None, register: Register) -> None:
    register(Part("one", "double"), Part("two", "triple"))
    row = litellm_accel.accelerate("one")["one"]
    assert (row.state, row.reason, row.backend) == ("waiting", "waits for LiteLLM to be imported", "")
    assert "victim" not in sys.modules
    assert [row.state for row in litellm_accel.accelerate("one").components] == ["waiting", "off"]
    victim = importlib.import_module("victim")
    assert states() == ["active", "off"]
    assert victim.double(4) == 8
    assert litellm_accel.status()["one"].served == 1


def test_wishes_add_up_until_the_import(absent: None, register: Register) -> None:
    register(Part("one", "double"), Part("two", "missing"), Part("three", "triple"))
    litellm_accel.accelerate("one")
    litellm_accel.accelerate("two")
    assert states() == ["waiting", "waiting", "off"]
    importlib.import_module("victim")
    assert states() == ["active", "off", "off"]
    assert litellm_accel.status()["two"].reason == MISSING


def test_strict_imports_and_knows(absent: None, register: Register) -> None:
    register(Part("one", "double"), Part("two", "missing"))
    litellm_accel.accelerate("one")
    with pytest.raises(litellm_accel.AccelerationError, match=MISSING):
        litellm_accel.accelerate(strict=True)
    assert "victim" in sys.modules
    assert states() == ["active", "off"], "what was asked for before stays"


def test_restore_ends_the_waiting(absent: None, register: Register) -> None:
    part = Part("one", "double")
    register(part)
    litellm_accel.accelerate()
    litellm_accel.restore()
    assert (litellm_accel.status()["one"].state, litellm_accel.status()["one"].reason) == ("off", "restored")
    importlib.import_module("victim")
    assert (states(), part.stops) == (["off"], 0)


def test_the_with_block_waits_too(absent: None, register: Register) -> None:
    register(Part("one", "double"), Part("two", "triple"))
    litellm_accel.accelerate("two")
    with litellm_accel.accelerated() as report:
        assert [row.state for row in report.components] == ["waiting", "waiting"]
    assert states() == ["off", "waiting"]
    with litellm_accel.accelerated("one"):
        importlib.import_module("victim")
        assert states() == ["active", "active"]
    assert states() == ["off", "active"]


def test_an_import_that_was_not_seen_is_found_later(absent: None, register: Register) -> None:
    register(Part("one", "double"))
    litellm_accel.accelerate()
    activation._watches[activation._HOST].stop()  # as a tool that puts an older sys.meta_path back
    importlib.import_module("victim")
    assert states() == ["active"]


def test_a_component_may_wait_for_another_module(
    victim: ModuleType, register: Register, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(Part("one", "double"), Part("two", "triple"))
    monkeypatch.setattr(components, "HOSTS", {"two": "victim.later"})
    monkeypatch.setitem(activation._watches, "victim.later", activation._watch_for("victim.later"))
    (tmp_path / "victim" / "later.py").write_text("")
    importlib.invalidate_caches()
    before = list(sys.meta_path)
    assert [row.state for row in litellm_accel.accelerate(strict=True).components] == ["active", "waiting"]
    assert litellm_accel.status()["two"].reason == "waits for victim.later to be imported"
    assert "victim.later" not in sys.modules
    importlib.import_module("victim.later")
    assert (states(), sys.meta_path) == (["active", "active"], before)
    litellm_accel.restore()
    litellm_accel.accelerate("two")
    assert states() == ["off", "active"]


@pytest.mark.parametrize("strict", [False, True])
def test_accelerate_inside_the_import(absent: None, register: Register, tmp_path: Path, strict: bool) -> None:
    register(Part("one", "double"))
    call = "import litellm_accel\nassert litellm_accel.accelerate()['one'].state == 'waiting'\n"
    if strict:
        call = "import litellm_accel as accel, pytest\n"
        call += "with pytest.raises(accel.AccelerationError, match='by the caller'): accel.accelerate(strict=True)\n"
    (tmp_path / "victim" / "__init__.py").write_text(call + SOURCE)
    importlib.invalidate_caches()
    importlib.import_module("victim")
    assert states() == ["off" if strict else "active"]


def test_threads_that_ask_while_another_imports(absent: None, register: Register, tmp_path: Path) -> None:
    """Whoever asks in the middle of an import waits for it, and holds nothing that the import needs at its end."""
    register(Part("one", "double"), Part("two", "triple"))
    (tmp_path / "victim" / "__init__.py").write_text("import time\ntime.sleep(0.3)\n" + SOURCE)
    importlib.invalidate_caches()
    litellm_accel.accelerate("one")
    importing = threading.Thread(target=importlib.import_module, args=("victim",))
    reports: list[Any] = []
    asking = [
        threading.Thread(target=lambda ask=ask: reports.append(ask()))
        for ask in (litellm_accel.accelerate, litellm_accel.status, litellm_accel.accelerate)
    ]
    importing.start()
    while "victim" not in sys.modules:
        time.sleep(0.001)
    for thread in asking:
        thread.start()
    for thread in (importing, *asking):
        thread.join(10)
        assert not thread.is_alive()
    assert len(reports) == 3
    assert states() == ["active", "active"]


def test_litellm_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "litellm", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install litellm"):
        litellm_accel.accelerate()


def test_the_face_names_what_it_has() -> None:
    assert set(litellm_accel.__all__) <= set(dir(litellm_accel))
    with pytest.raises(AttributeError, match="has no attribute 'speed'"):
        litellm_accel.speed  # noqa: B018
