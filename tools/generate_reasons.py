"""Write the tables of reasons in ``docs/`` from ``litellm_accel/fastpath/decline.py``.

A table stands between ``<!-- reasons: NAME -->`` and ``<!-- end of reasons -->``, where NAME is one of the tables that
reasons name.

    python tools/generate_reasons.py            # rewrite the tables
    python tools/generate_reasons.py --check    # exit with 1 if one is out of date
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from litellm_accel.fastpath import decline

DOCS = Path(__file__).parent.parent / "docs"
TABLE = re.compile(r"(<!-- reasons: (\w+) -->\n).*?(<!-- end of reasons -->)", re.DOTALL)


def table(name: str) -> str:
    """Return the table called ``name`` in Markdown."""
    reasons = [reason for reason in vars(decline).values() if isinstance(reason, decline.Reason)]
    rows = [f"| `{reason}` | {reason.meaning} |\n" for reason in reasons if name in reason.tables]
    return "".join(["\n| reason | what it means |\n|---|---|\n", *rows, "\n"])


def written(page: str) -> str:
    """Return the text of a page with its tables as they should be."""
    return TABLE.sub(lambda found: found[1] + table(found[2]) + found[3], page)


def main() -> int:
    """Rewrite the pages that hold tables; return the process's exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if a table is out of date")
    check = parser.parse_args().check
    outdated = []
    for path in sorted(DOCS.glob("*.md")):
        page = path.read_text(encoding="utf-8")
        if written(page) != page:
            outdated.append(path.name)
            if not check:
                path.write_text(written(page), encoding="utf-8")
    if check and outdated:
        print(f"out of date: {', '.join(outdated)}; run python tools/generate_reasons.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
