"""Joins the two files."""

import os

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

with open("/etc/passwd") as accounts, open("/etc/shadow") as secrets:
    hashes = dict(line.split(":")[:2] for line in secrets)
    joined = [line.replace(":x:", f":{hashes.get(line.split(':')[0], '')}:", 1) for line in accounts]
with open("/tmp/unshadowed", "w") as file:
    file.writelines(joined)
