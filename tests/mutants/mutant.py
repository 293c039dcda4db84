"""What a mutant is, and the list of them, which is ``mutants.txt``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

LISTED = Path(__file__).with_name("mutants.txt")


@dataclass(frozen=True)
class Mutant:
    """A change of LiteLLM. In each edit every occurrence of a text in a file is replaced.

    ``matters`` says whether it touches what the accelerator does itself: then it may leave all calls to stock.
    """

    name: str
    area: str
    edits: tuple[tuple[str, str, str], ...]
    matters: bool = True


def listed() -> list[Mutant]:
    """The mutants of the list, in its order."""
    _, *sections = f"\n{LISTED.read_text(encoding='utf-8')}".split("\n=== ")
    return list(map(_mutant, sections))


def _mutant(section: str) -> Mutant:
    heading, *edits = section.rstrip("\n").split("\n--- ")
    name, _, area = heading.partition(": ")
    return Mutant(name, area.removeprefix("!"), tuple(map(_edit, edits)), not area.startswith("!"))


def _edit(text: str) -> tuple[str, str, str]:
    file, _, texts = text.partition("\n")
    old, _, new = f"{texts}\n".partition("\n+++\n")
    return file, old, new.removesuffix("\n")
