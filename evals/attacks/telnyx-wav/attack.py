"""An application that imports the client."""

import os

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

import telnyx  # noqa: F401
