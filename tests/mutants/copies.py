"""A copy of the installed LiteLLM in which some files are changed; everything else in it is a link."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from mutants.mutant import Mutant

PACKAGE = "litellm"


def changed_files(mutant: Mutant, installed: Path) -> dict[str, str] | None:
    """The files of `installed` that a mutant changes, as they are then; None where it is not applicable to them."""
    files: dict[str, str] = {}
    for name, old, new in mutant.edits:
        path = installed / name
        text = files.get(name) or (path.read_text(encoding="utf-8") if path.is_file() else "")
        if old not in text:
            return None
        files[name] = text.replace(old, new)
    return files


def write_copy(installed: Path, files: dict[str, str], directory: Path) -> None:
    """Make a package in `directory` that is the installed one but for some files."""
    _link(installed, directory / PACKAGE, {Path(name).parts for name in files})
    for name, text in files.items():
        (directory / PACKAGE / name).write_text(text, encoding="utf-8")


def _link(source: Path, target: Path, changed: Iterable[tuple[str, ...]]) -> None:
    """Link what is in a folder, but for files that are changed, which are given by their parts, and folders of such."""
    target.mkdir()
    inner = {parts[0]: {other[1:] for other in changed if other[0] == parts[0]} for parts in changed}
    for entry in os.scandir(source):
        if entry.name == "__pycache__":
            (target / entry.name).mkdir()
            for compiled in os.scandir(entry):  # what is linked needs not be compiled again
                if f"{compiled.name.partition('.')[0]}.py" not in inner:
                    (target / entry.name / compiled.name).symlink_to(compiled.path)
        elif entry.name not in inner:
            (target / entry.name).symlink_to(entry.path)
        elif entry.is_dir():
            _link(source / entry.name, target / entry.name, inner[entry.name])
