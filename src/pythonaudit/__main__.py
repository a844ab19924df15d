"""`python -m pythonaudit`: the command line, or one line on interpreters that it is not made for."""

import sys

if __name__ == "__main__":
    if sys.implementation.name != "cpython" or sys.version_info < (3, 10):  # what follows may not even compile
        name, (major, minor, *_) = sys.implementation.name, sys.version_info
        sys.stderr.write(
            f"pythonaudit: {sys.executable} is {name} {major}.{minor}; use CPython 3.10 or later, which is what is recorded\n"
        )
        sys.exit(3)
    from pythonaudit.cli import main

    sys.exit(main())
