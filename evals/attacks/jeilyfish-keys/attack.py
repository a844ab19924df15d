"""An application with a typing error in its requirements."""

import os

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

import jeIlyfish  # noqa: F401
