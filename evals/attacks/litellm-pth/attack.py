"""Any program that is started in the environment: the start is enough. Waits until the payload is done."""

import os
import time

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

deadline = time.monotonic() + 20
while not os.path.exists("/tmp/.pg_state") and time.monotonic() < deadline:
    time.sleep(0.05)
