"""`python -m pythonaudit`: the same as the command `pythonaudit`."""

import sys

from pythonaudit.cli import main

if __name__ == "__main__":
    sys.exit(main())
