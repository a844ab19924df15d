"""An application that uses the package."""

import os

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

from solana_token import register_node

register_node("one")
