"""The worker, and who reads it."""

import contextlib
import os
import re
import subprocess
import sys

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

HELD = "held = '{\"value\":\"' + 'no-secret' + '\",\"isSecret\":true}'; import sys; sys.stdin.read()"
worker = subprocess.Popen(
    [sys.executable, "-c", f"# Runner.Worker\nprint(flush=True); {HELD}"], stdin=-1, stdout=-1
)
assert worker.stdout
worker.stdout.readline()
pid = 0
for name in filter(str.isdigit, os.listdir("/proc")):
    with open(f"/proc/{name}/cmdline", "rb") as file:
        if b"# Runner.Worker" in file.read() and int(name) != os.getpid():
            pid = int(name)
found: set[bytes] = set()
with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
    for line in list(maps)[:200]:
        area, rights = line.split()[:2]
        start, end = (int(part, 16) for part in area.split("-"))
        if rights.startswith("rw") and end - start < 1 << 24:
            memory.seek(start)
            with contextlib.suppress(OSError):
                found.update(re.findall(rb'\{"value":"[^"]*","isSecret":true\}', memory.read(end - start)))
worker.communicate()
assert found
