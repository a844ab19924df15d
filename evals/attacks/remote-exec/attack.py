"""The victim, and who gets into it."""

import os
import subprocess
import sys
import time

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

VICTIM = "import time\nprint(flush=True)\nfor _ in range(200): time.sleep(0.02)"
victim = subprocess.Popen([sys.executable, "-c", VICTIM], stdout=subprocess.PIPE)
assert victim.stdout
victim.stdout.readline()
with open("/tmp/inject.py", "w") as file:
    file.write("open('/tmp/injected', 'w').close()\n")
getattr(sys, "remote_exec")(victim.pid, "/tmp/inject.py")  # noqa: B009
deadline = time.monotonic() + 3
while not os.path.exists("/tmp/injected") and time.monotonic() < deadline:
    time.sleep(0.02)
victim.kill()
victim.wait()
assert os.path.exists("/tmp/injected")
