"""What a project for an interview runs: the client, with base64 around it."""

import base64
import os

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

exec(base64.b64decode("@@base64 client.py.in@@"))
