"""pip installs the package."""

import os
import subprocess
import sys

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

PIP = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-build-isolation"]

subprocess.run([*PIP, "./package"], check=True)
