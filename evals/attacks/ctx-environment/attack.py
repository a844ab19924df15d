"""An application that uses the package."""

import os

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

from ctx import Ctx

settings = Ctx()
settings.debug = True
