"""What docs/detection-limits.md says that no rule sees, no rule sees."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from pythonaudit.detect.library import OURS, rule_files
from tests.commands import run

PAGE = Path(__file__).parents[2] / "docs" / "detection-limits.md"
SILENT = """
import base64, builtins, ctypes, os, socket, subprocess, sys, zlib
from pathlib import Path

found = {name: value for name, value in os.environ.items() if "KEY" in name}
zlib.decompress(base64.b64decode(base64.b64encode(zlib.compress(b"answer = 42"))))
sys.path.insert(0, "/dev/shm")
sys.meta_path.append(None)
sys.meta_path.pop()
builtins.print = print
one, two = socket.socketpair()
copy = os.dup(0)
os.dup2(one.fileno(), 0)
os.dup2(copy, 0)
one.sendall(b"secret")
two.recv(6)
os.path.exists(os.path.expanduser("~/.ssh/id_rsa"))
os.stat("/etc/passwd")
try:
    subprocess.run([Path("/dev/shm/there-is-none")])
except OSError:
    pass
"""


def test_what_raises_no_event_gives_no_alert(tmp_path: Path) -> None:
    (tmp_path / "silent.py").write_text(SILENT)
    store = tmp_path / "store"
    done = run(store, "run", "--", sys.executable, "silent.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = run(store, "detect", "--level", "low", "--format", "jsonl")
    assert (told.returncode, told.stdout) == (0, "")


def test_rules_that_the_page_names_are_there() -> None:
    named = set(re.findall(r"`(python_audit_\w+)`", PAGE.read_text()))
    assert named and named <= {path.stem for path in rule_files(OURS)}
