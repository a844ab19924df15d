"""The nine lines of the original, with another program."""

import base64
import os
import zlib

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

with open("/bin/true", "rb") as file:
    program = base64.b64encode(zlib.compress(file.read()))
exec(zlib.decompress(base64.b64decode("@@zlib loader.py.in@@")))
