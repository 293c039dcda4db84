"""``verify`` beside the application, without LiteLLM and without running it."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest

from litellm_accel import settings
from litellm_accel.verify import background, records

COMPONENTS = ("chat", "streaming")


class Started:
    """In the place of a process."""

    all: ClassVar[list[Started]] = []

    def __init__(self, command: list[str], env: dict[str, str], **streams: Any) -> None:
        self.command = command
        self.env = env
        self.ended: int | None = None
        self.all.append(self)

    def poll(self) -> int | None:
        return self.ended

    def terminate(self) -> None:
        self.ended = -15


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache directory of its own; no process is started."""
    monkeypatch.setattr(records, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setattr(records, "user_directory", lambda: tmp_path / "user")
    monkeypatch.setattr(records, "key", lambda component: {"litellm": {"version": "1", "contents": "c"}, "python": "3"})
    monkeypatch.setattr(background.subprocess, "Popen", Started)
    monkeypatch.setattr(background.atexit, "register", lambda *given: None)
    monkeypatch.setattr(background, "_is_refused", False)
    Started.all.clear()
    return tmp_path / "user"


def test_it_is_begun_once_per_environment(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_ACCEL_VERIFY", "background")
    background.begin(COMPONENTS)
    background.begin(COMPONENTS)
    (one,) = Started.all
    assert one.command[1:3] == ["-m", "litellm_accel.verify.background"] and one.command[4:] == list(COMPONENTS)
    assert "LITELLM_ACCEL_VERIFY" not in one.env and one.env["PATH"] == os.environ["PATH"]
    background.begin(("chat",))
    assert len(Started.all) == 2
    monkeypatch.setattr(records, "key", lambda component: {"other": "contents"})
    background.begin(COMPONENTS)
    assert len(Started.all) == 3


def test_what_was_killed_is_begun_again_and_what_has_ended_is_not(here: Path) -> None:
    background.begin(COMPONENTS)
    (path,) = here.iterdir()
    long_ago = time.time() - background._STALE_SECONDS - 1
    os.utime(path, (long_ago, long_ago))
    background.begin(COMPONENTS)
    assert len(Started.all) == 2
    path.write_text("chat is not proven")
    os.utime(path, (long_ago, long_ago))
    background.begin(COMPONENTS)
    assert len(Started.all) == 2


def test_an_application_that_ends_breaks_it_off(here: Path) -> None:
    background.begin(COMPONENTS)
    (path,) = here.iterdir()
    background._end(Started.all[0], path)
    assert Started.all[0].ended == -15 and not path.exists()
    background.begin(COMPONENTS)
    Started.all[1].ended = 0
    background._end(Started.all[1], path)
    assert path.exists()


def test_a_cache_that_cannot_be_written_is_said_once(
    here: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    here.parent.joinpath("file").touch()
    monkeypatch.setattr(records, "user_directory", lambda: here.parent / "file" / "records")
    with caplog.at_level(logging.WARNING, "litellm_accel"):
        background.begin(COMPONENTS)
        background.begin(COMPONENTS)
    assert not Started.all
    assert len(caplog.records) == 1 and "nothing is verified in the background" in caplog.text


def test_a_record_is_found_when_it_is_there(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(background.time, "monotonic", lambda: now[0])
    fitting: list[Any] = [None]
    asked = []
    monkeypatch.setattr(records, "fitting", lambda component: asked.append(component) or fitting[0])
    watch = background.Watch("chat")
    assert not watch() and not asked  # there is no directory
    here.mkdir()
    now[0] += background._LOOK_SECONDS
    assert not watch() and asked == ["chat"]
    now[0] += background._LOOK_SECONDS
    assert not watch() and asked == ["chat"]  # nothing has changed
    fitting[0] = {}
    (here / "chat-1.json").touch()
    assert not watch()  # not yet
    now[0] += background._LOOK_SECONDS
    assert watch()


def test_how_it_ended_is_written(here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from litellm_accel.verify import comparison, sides

    class Result:
        def __init__(self, component: str) -> None:
            self.proves = component == "chat"

    asked, written, nice = [], [], []

    def run(component: str, pairs: int, kept: comparison.Pairs) -> Result:
        asked.append((component, pairs))
        processes.add(id(kept))
        return Result(component)

    processes: set[int] = set()
    monkeypatch.setattr(sides, "fork_server", contextlib.nullcontext)
    monkeypatch.setattr(comparison, "run", run)
    monkeypatch.setattr(records, "write", written.append)
    monkeypatch.setattr(os, "nice", nice.append, raising=False)
    background.main(str(tmp_path / "lock"), *COMPONENTS)
    assert asked == [("chat", 1), ("streaming", 1)] and len(written) == 1 and nice == [19]
    assert len(processes) == 1
    assert (tmp_path / "lock").read_text() == "chat is proven; streaming is not proven"


def test_values_that_make_no_sense_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_ACCEL_PROOF", "perhaps")
    monkeypatch.setenv("LITELLM_ACCEL_VERIFY", "now")
    assert settings.demands_records() and not settings.verifies()
    assert settings.problems() == [
        "LITELLM_ACCEL_PROOF='perhaps' is not 'recorded'; records are demanded",
        "LITELLM_ACCEL_VERIFY='now' is not 'background'; nothing is verified",
    ]
    monkeypatch.setenv("LITELLM_ACCEL_PROOF", "RECORDED")
    monkeypatch.setenv("LITELLM_ACCEL_VERIFY", "background")
    assert settings.demands_records() and settings.verifies() and not settings.problems()
    monkeypatch.delenv("LITELLM_ACCEL_PROOF")
    monkeypatch.delenv("LITELLM_ACCEL_VERIFY")
    assert not settings.demands_records() and not settings.verifies()
