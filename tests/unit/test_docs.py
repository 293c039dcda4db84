"""What README, docs and CONTRIBUTING say of figures and files, against what is stored and what is there."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from litellm_accel import settings

TREE = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(settings.pure(), reason="pages do not depend on the backend")


def test_marked_figures_are_those_that_are_stored() -> None:
    """`make figures` fills them in."""
    spec = importlib.util.spec_from_file_location("figures", TREE / "tools" / "figures.py")
    assert spec is not None and spec.loader is not None
    figures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(figures)
    known = figures.figures()
    assert figures.outdated(known) == []
    shown = {name for page in figures.pages() for _, name, _, _ in figures.PLACE.findall(page.read_text("utf-8"))}
    assert {"demo", "counting", "slow", "chat", "chat-later", "runs-all"} <= shown
    assert figures.filled("<!-- figure runs-all -->1<!-- end -->", known) != "<!-- figure runs-all -->1<!-- end -->"


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md"])
def test_files_that_pages_name_are_there(page: str) -> None:
    named = re.findall(
        r"`((?:litellm_accel|tests|tools|benchmarks|docs|\.github)/[\w./-]+)`", (TREE / page).read_text("utf-8")
    )
    assert named
    assert [name for name in named if not (TREE / name).exists()] == []
