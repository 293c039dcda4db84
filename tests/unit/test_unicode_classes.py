"""The table of Unicode classes, against the tiktoken that is installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from litellm_accel import unicode_classes


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    unicode_classes.mismatch.cache_clear()
    yield
    unicode_classes.mismatch.cache_clear()


def test_runs_cover_all_code_points() -> None:
    stops = [0]
    for start, stop, letter in unicode_classes.runs():
        assert start == stops[-1] < stop
        assert letter in unicode_classes.PATTERNS or letter == "."
        stops.append(stop)
    assert stops[-1] == 0x110000


@pytest.mark.parametrize("letter", unicode_classes.PATTERNS)
def test_every_code_point(letter: str) -> None:
    everything = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF)
    expected = "".join(
        chr(code) for start, stop, own in unicode_classes.runs() if own == letter for code in range(start, stop)
    )
    assert unicode_classes.characters_matching(unicode_classes.PATTERNS[letter], everything) == expected


def test_no_mismatch() -> None:
    assert unicode_classes.mismatch() is None


@pytest.mark.parametrize("old", [" 1a1u", " 19l", " 1n", " 1m", " 1s"])
def test_one_other_character_is_a_mismatch(monkeypatch: pytest.MonkeyPatch, old: str) -> None:
    """A table in which one run has another class is found out."""
    runs = unicode_classes.RUNS.split()
    index = next((place for place, run in enumerate(runs) if run == old.strip()), 1)
    runs[index] = runs[index][:-1] + ("o" if runs[index][-1] != "o" else "n")
    monkeypatch.setattr(unicode_classes, "RUNS", " ".join(runs))
    assert unicode_classes.mismatch() == "the installed tiktoken has another Unicode version"
