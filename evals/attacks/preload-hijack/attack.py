"""Puts the library in place."""

import os
import shutil
import subprocess

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

FOLDERS = ("/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/lib64", "/usr/lib")
PLACE = "/usr/local/lib/libprocesshider.so"
source = next(f"{folder}/libm.so.6" for folder in FOLDERS if os.path.exists(f"{folder}/libm.so.6"))
os.makedirs(os.path.dirname(PLACE), exist_ok=True)
shutil.copy(source, PLACE)
os.chmod(PLACE, 0o755)
with open("/etc/ld.so.preload", "a") as file:
    file.write(f"{PLACE}\n")
os.environ["LD_PRELOAD"] = PLACE
subprocess.run(["/bin/true"], check=True)
