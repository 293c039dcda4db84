"""Write litellm_accel/unicode_classes.py's table by asking the installed tiktoken.

The split patterns of tiktoken's encodings tell characters apart by `\\p{L}`, `\\p{N}`, `\\s` and some general
categories. What those mean is decided by the Unicode version inside tiktoken's regular expression engine, so the engine
itself is asked: an encoding of the 256 bytes whose pattern is one class returns the bytes of exactly the characters in
that class.

    python tools/generate_unicode_classes.py            # rewrite the table
    python tools/generate_unicode_classes.py --check    # exit with 1 if the table is out of date
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

from litellm_accel.unicode_classes import PATTERNS, characters_matching

TARGET = Path(__file__).parent.parent / "litellm_accel" / "unicode_classes.py"
BEGIN, END = 'RUNS = """\\\n', '"""\n'
CODE_POINTS = [code for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]


def run_lengths() -> str:
    """All code points as runs of one class: hexadecimal length, then the letter of the class, blank-separated."""
    classes = bytearray(b".") * 0x110000
    everything = "".join(map(chr, CODE_POINTS))
    for letter, pattern in PATTERNS.items():
        for character in characters_matching(pattern, everything):
            if classes[ord(character)] != ord("."):
                raise SystemExit(f"{ord(character):#x} is in two classes")
            classes[ord(character)] = ord(letter)
    runs, start = [], 0
    for code in range(1, 0x110001):
        if code == 0x110000 or classes[code] != classes[start]:
            runs.append(f"{code - start:x}{chr(classes[start])}")
            start = code
    return " ".join(runs)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument(
        "--check", action="store_true", help="change nothing; exit with 1 if the table is out of date"
    )
    check = arguments.parse_args().check
    source = TARGET.read_text(encoding="utf-8")
    head, rest = source.split(BEGIN, 1)
    _, tail = rest.split(END, 1)
    fresh = head + BEGIN + textwrap.fill(run_lengths(), 118) + "\n" + END + tail
    if check:
        return int(fresh != source)
    TARGET.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
