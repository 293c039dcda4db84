"""Add the source files of LiteLLM releases to those that are known (``litellm_accel/stock/releases.bin``).

python tools/generate_releases.py SITE_PACKAGES...   # directories in which verified releases are installed
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from litellm_accel.stock.releases import KNOWN, SIZE


def main() -> None:
    """Add the files of the releases in the directories that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", nargs="+", type=Path, metavar="SITE_PACKAGES")
    held = KNOWN.read_bytes() if KNOWN.exists() else b""
    known = {held[place : place + SIZE] for place in range(0, len(held), SIZE)}
    for directory in parser.parse_args().directories:
        before = len(known)
        for path in (directory / "litellm").rglob("*.py"):
            known.add(hashlib.sha256(path.read_bytes()).digest()[:SIZE])
        print(f"{directory}: {len(known) - before} new files")
    KNOWN.write_bytes(b"".join(sorted(known)))


if __name__ == "__main__":
    main()
