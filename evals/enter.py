"""Starts in the namespaces of a sandbox and makes the rest of it; usage and exit status are in sandbox.py."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import sandbox
from emulation import load_emulation


def main() -> int:
    """Runs what the command line says."""
    scratch, directory, seconds, _, *words = sys.argv[1:]
    try:
        return sandbox.run_inside(Path(scratch), load_emulation(Path(directory)), float(seconds), words)
    except OSError as error:
        print(error, file=sys.stderr)
        return sandbox.FAILED


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status if status >= 0 else 128 - status)  # servers still have threads
