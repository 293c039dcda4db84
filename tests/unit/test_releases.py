"""Which source files are of LiteLLM releases that are known."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from litellm_accel.stock import releases


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    where = tmp_path / "litellm"
    (where / "inner").mkdir(parents=True)
    for name, text in (("__init__", "top"), ("main", "main"), ("inner/__init__", "inner")):
        (where / f"{name}.py").write_text(text)
    known = b"".join(hashlib.sha256(text.encode()).digest()[: releases.SIZE] for text in ("top", "main", "inner"))
    (tmp_path / "releases.bin").write_bytes(known)
    monkeypatch.setattr(releases, "KNOWN", tmp_path / "releases.bin")
    monkeypatch.setattr(releases, "_folders", lambda name: (str(tmp_path / name),))
    releases.digest.cache_clear()
    releases._known.cache_clear()
    yield where
    releases.digest.cache_clear()
    releases._known.cache_clear()


def test_files_of_a_known_release_are_not_strange(package: Path) -> None:
    assert releases.strange(("litellm", "litellm.main", "litellm.inner", "litellm.absent", "openai")) is None


def test_a_changed_file_is_strange(package: Path) -> None:
    (package / "main.py").write_text("main = 1")
    assert releases.strange(("litellm", "litellm.main")) == "litellm.main"


def test_what_is_not_litellms_is_never_strange(package: Path) -> None:
    assert releases.strange(("litellm_accel.stock", "httpx._client", "json")) is None


def test_the_installed_release_is_known() -> None:
    assert releases.strange(("litellm", "litellm.main", "litellm.utils", "litellm.router")) is None
