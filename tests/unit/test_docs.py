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
    assert {"demo", "counting", "slow", "chat", "chat-told", "streams", "embeddings", "runs-all"} <= shown
    assert figures.filled("<!-- figure runs-all -->1<!-- end -->", known) != "<!-- figure runs-all -->1<!-- end -->"


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md"])
def test_files_that_pages_name_are_there(page: str) -> None:
    named = re.findall(
        r"`((?:litellm_accel|tests|tools|benchmarks|docs|\.github)/[\w./-]+)`", (TREE / page).read_text("utf-8")
    )
    assert named
    assert [name for name in named if not (TREE / name).exists()] == []


def test_design_names_what_is_there() -> None:
    """Each file of the page, and behind a file in brackets what it defines."""
    text = (TREE / "docs" / "design.md").read_text("utf-8")
    roots = [TREE, TREE / "litellm_accel", TREE / "litellm_accel" / "fastpath", *(TREE / "litellm_accel").iterdir()]

    def found(name: str) -> Path | None:
        return next((root / name for root in roots if (root / name).exists()), None)

    named = set(re.findall(r"`([\w/.-]+(?:\.pyx?|\.bin|\.txt|/))`", text))
    assert len(named) > 90
    assert [name for name in sorted(named) if found(name) is None] == []
    defined = re.findall(r"`([\w/]+\.pyx?)` \(((?:`[\w.]+`(?:, )?)+)\)", text)
    assert len(defined) > 30
    missing = []
    for file, names in defined:
        path = found(file)
        source = path.read_text("utf-8") if path is not None else ""
        for name in re.findall(r"`([\w.]+)`", names):
            for part in name.split("."):
                if not re.search(rf"\b(?:def|class|object) {part}\b", source):
                    missing.append(f"{name} in {file}")
    assert missing == []
