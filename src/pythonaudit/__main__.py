"""`python -m pythonaudit`: the command line, or one line on interpreters that it is not made for."""

import sys

if __name__ == "__main__":
    # What follows does not even compile in older ones, and neither may this file say anything that they cannot.
    if sys.version_info < (3, 10) or sys.implementation.name != "cpython":
        this = " is ".join((sys.executable, " ".join(sys.version.split())))
        sys.stderr.write("pythonaudit: " + this + "; use CPython 3.10 or later, which is what is recorded\n")
        sys.exit(3)
    from pythonaudit.cli import main

    sys.exit(main())
