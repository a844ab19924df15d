"""Writes what is generated from the catalog: `native/event_table.h` and `docs/coverage.md`.

    python -m pythonaudit.catalog.generate            write the files of this source tree
    python -m pythonaudit.catalog.generate --check    write nothing; exit 1 if one is out of date

It runs from a source tree, not from an installed package, which has neither folder.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pythonaudit.catalog.coverage import build_coverage
from pythonaudit.catalog.event_table import build_event_table

ROOT = Path(__file__).parents[3]
TARGETS = {"native/event_table.h": build_event_table, "docs/coverage.md": build_coverage}


def main(argv: list[str] | None = None) -> int:
    """Writes or checks the files; the exit status: 0, 1 out of date, 2 usage, 3 no source tree."""
    parser = argparse.ArgumentParser(
        prog="python -m pythonaudit.catalog.generate", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is out of date")
    check = parser.parse_args(argv).check
    if not (ROOT / "native" / "format.h").exists():
        print(f"{ROOT} is no source tree of pythonaudit: run this from a checkout", file=sys.stderr)
        return 3
    stale = []
    for name, build in TARGETS.items():
        target, text = ROOT / name, build()
        if not target.exists() or target.read_text("utf-8") != text:
            stale.append(name)
            if not check:
                target.write_text(text, "utf-8")
    if check and stale:
        print(
            f"out of date: {', '.join(stale)}; run python -m pythonaudit.catalog.generate",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
