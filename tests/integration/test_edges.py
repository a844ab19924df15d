"""Corners of the recorder in which something once went wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path

from tests.conftest import Installed
from tests.recorded import is_whole


def test_first_event_of_a_child_from_another_thread(installed: Installed) -> None:
    """The thread that forked is not the one that notices: neither writes where the parent writes."""
    recording = installed.record("""
import os, sys, threading
for n in range(3):
    sys.audit("app.both", n)
    if n == 1 and os.fork() == 0:
        thread = threading.Thread(target=sys.audit, args=("app.thread",))
        thread.start()
        thread.join()
        sys.audit("app.both", 3)
        os._exit(0)
os.wait()
""")
    parent, child = sorted(recording.journal.processes(), key=lambda p: p.process.parent is not None)
    of = {p.process.id: [e for e in recording.events() if e.process.id == p.process.id] for p in (parent, child)}
    assert [e.values for e in of[parent.process.id] if e.event == "app.both"] == [[0], [1], [2]]
    assert [e.values for e in of[child.process.id] if e.event == "app.both"] == [[3]]
    assert len({e.tid for e in of[child.process.id]}) == 2
    assert is_whole(recording)


def test_attributes_that_do_not_fit(installed_here: Installed, tmp_path: Path) -> None:
    """Names made to be long when escaped cost these attributes and no event."""
    deep = tmp_path
    for _ in range(12):
        deep = deep / ("\x01" * 250)
        deep.mkdir()
    target = deep / "python"
    shutil.copy(installed_here.interpreter.base, target)
    directory = installed_here.new_directory()
    env = installed_here.environment(PYTHONAUDIT="1", PYTHONAUDIT_DIR=directory)
    env |= {
        "PYTHONPATH": str(installed_here.purelib),
        "PYTHONHOME": str(installed_here.interpreter.base.parent.parent),
    }
    program = "from pythonaudit.recorder import startup; startup.start(); import sys; sys.audit('app.x')"
    argv = [str(target), "-c", program, *["\x01" * 4000] * 8]
    subprocess.run(argv, cwd=deep, env=env, check=True)
    from pythonaudit.journal.reader import Journal

    journal = Journal(directory)
    assert [e.event for e in journal.events() if e.event == "app.x"] == ["app.x"]
    (process,) = journal.processes()
    assert process.process.python == ".".join(map(str, installed_here.interpreter.version))


def test_status_in_a_child_before_its_first_event(installed_here: Installed) -> None:
    """A forked child tells its own identity."""
    done = installed_here.record("""
import os
from pythonaudit.recorder import status
mine = status()["process"]
if os.fork() == 0:
    os._exit(status()["process"] == mine)
assert os.wait()[1] == 0
""")
    assert done.completed.returncode == 0


def test_room_that_ends(installed: Installed) -> None:
    """At the limit, with `stop`: one reason, nothing recorded twice, and still a clean end."""
    count = 30000
    settings = {"PYTHONAUDIT_MAX_BYTES": "1M", "PYTHONAUDIT_ON_FULL": "stop"}
    recording = installed.record(
        f"import sys\nfor n in range({count}): sys.audit('app.n', n, 'x' * 60)", settings=settings
    )
    losses = {loss.reason: loss.count for loss in recording.journal.losses()}
    recorded = recording.events()
    assert set(losses) == {"limit"}
    total = losses["limit"] + sum(e.event == "app.n" for e in recorded)
    assert count <= total <= count + 20  # the end of the interpreter raises some too
    (process,) = recording.journal.processes()
    assert process.ended


def test_frames_that_are_being_made(installed: Installed) -> None:
    """A constructor's frame in the making is not shown, and never makes two stacks into one."""
    recording = installed.record(
        """
import sys
class C:
    def __init__(self): sys.audit("app.init")
def make(): return C()
def a(): return make()
def b(): return make()
for _ in range(200): make()
for _ in range(100): a()
for _ in range(100): b()
""",
        settings={"PYTHONAUDIT_STACK": "4"},
    )
    callers = Counter(
        function for e in recording.events("app.init") for _, _, function in e.stack if function in ("a", "b")
    )
    assert callers == {"a": 100, "b": 100}


def test_code_of_many_instructions(installed: Installed) -> None:
    """Two calls in one function, 2 ** 16 instructions apart, have their own lines."""
    recording = installed.record("""
import sys
source = "def f(a):\\n a('app.big')\\n" + " x=1\\n" * 32766 + " a('app.big')\\n"
names = {}
exec(compile(source, "big", "exec"), names)
names["f"](sys.audit)
""")
    assert [e.stack[0][1] for e in recording.events("app.big")] == [2, 32769]


def test_text_that_looks_like_a_definition(installed_here: Installed) -> None:
    """Names of functions with NUL bytes are text, whatever they spell."""
    names = [f"{n:05}" + "\x02\0\0\0" * (3 + n % 4) + "k" * (n % 3) for n in range(900)]
    recording = installed_here.record(f"""
import sys, json
for name in json.loads({json.dumps(json.dumps(names))}):
    exec(compile("a('app.n')", "F", "exec").replace(co_qualname=name), {{"a": sys.audit}})
""")
    assert [e.stack[0][2] for e in recording.events("app.n")] == names
    assert not recording.journal.damage()


def test_vetoed(installed: Installed, tmp_path: Path) -> None:
    """An earlier hook that keeps ours out is told by the status and by the journal, once."""
    (tmp_path / "veto.py").write_text(
        "import sys\n"
        "def hook(event, args):\n"
        "    if event == 'sys.addaudithook': raise RuntimeError\n"
        "sys.addaudithook(hook)\n"
        "from pythonaudit.recorder import startup, status\n"
        "assert startup.start() == startup.start() == status()['state'] == 'vetoed'\n"
    )
    directory = installed.new_directory()
    env = installed.environment(PYTHONAUDIT_DIR=directory)
    program = f"import os; os.environ['PYTHONAUDIT'] = '1'; exec(open({str(tmp_path / 'veto.py')!r}).read())"
    installed.run("-c", program, env=env)
    from pythonaudit.journal.reader import Journal

    (process,) = Journal(directory).processes()
    assert not process.process.canary

    env["PYTHONAUDIT_ON_FAILURE"] = "stop"
    done = installed.run("-c", program, env=env, status=78)
    assert done.stderr.count("\n") == 1
    assert "another audit hook keeps ours out" in done.stderr
