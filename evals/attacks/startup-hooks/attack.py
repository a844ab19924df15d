"""Writes the hooks, and starts the next Python."""

import os
import site
import subprocess
import sys

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

CODE = "import os; open('/tmp/started-{}', 'a').close()\n"
folder = site.getsitepackages()[0]
for name in ("sitecustomize.py", "usercustomize.py", "zz-locale.pth"):
    with open(f"{folder}/{name}", "w") as file:
        file.write(CODE.format(name))
subprocess.run([sys.executable, "-c", "pass"], check=True)
