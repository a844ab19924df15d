"""An application that checks for updates of an extension."""

import os

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

import chimera_sandbox_extensions

chimera_sandbox_extensions.check_update()
