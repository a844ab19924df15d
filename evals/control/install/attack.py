"""pip installs a source distribution that does nothing but be installed."""

import subprocess
import sys

PIP = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-build-isolation"]

subprocess.run([*PIP, "./package"], check=True)
