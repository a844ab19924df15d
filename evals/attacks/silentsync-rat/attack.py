"""An application that uses the package."""

import os

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

import sisaws

sisaws.gen_token("f5d3a8c2")
