"""An application that imports the package."""

import os

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

import pyrologin

pyrologin.main()
