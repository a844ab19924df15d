"""Cleans up, and removes itself."""

import os

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

before = os.stat("/var/log/wtmp")
os.truncate("/var/log/wtmp", 0)
os.utime("/var/log/wtmp", (before.st_atime, before.st_mtime))
os.remove("/var/log/auth.log")
history = os.path.expanduser("~/.bash_history")
os.remove(history)
os.symlink("/dev/null", history)
os.remove(__file__)
