"""An application with a typing error in its imports."""

import os

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

import fabrice

fabrice.test()
