"""Behaviour under attack: each known way past a hook, and what comes of it, as docs/threat-model.md says.

Each test has the name and the label of a row in the table "Switching it off from inside" there: *blocked*,
*detected* (an event, or a gap, that shows it) or *disclosed* (it works, and that page is what we do about it).
tests/architecture/test_documents.py holds the two together. What imitates an attack here reaches no further
than its own processes.
"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from pythonaudit.cli.interpreters import unrecorded
from pythonaudit.journal.layout import STATE_CLEAN_END, STATE_OPEN
from pythonaudit.journal.summary import Summary, summarise
from tests.conftest import Installed, Recording
from tests.fault.ways import WAYS, record
from tests.recorded import lost, total

#: Name of a row to its label.
BYPASSES: dict[str, str] = {}
Test = TypeVar("Test", bound=Callable[..., None])


def bypass(name: str, label: str) -> Callable[[Test], Test]:
    """This test shows what comes of that way: blocked, detected or disclosed."""
    BYPASSES[name] = label
    return lambda test: test


both_ways = pytest.mark.parametrize("way", WAYS)

# Finds the list of C hooks in _PyRuntime, by the hook that lies in our file, and empties it.
UNHOOK = """
import ctypes, sys
word = ctypes.sizeof(ctypes.c_void_p)
maps = [line.split() for line in open("/proc/self/maps")]
spans = [(tuple(int(end, 16) for end in m[0].split("-")), m[1], m[-1]) for m in maps]
ours = [span for span, _, path in spans if "/pythonaudit/_recorder." in path]
readable = [span for span, rights, path in spans if rights.startswith("rw") and path != "[vvar]"]
def within(address, places, room=0):
    return any(start <= address and address + room <= end for start, end in places)
def at(address):
    return ctypes.c_size_t.from_address(address).value
head = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
for place in range(head, head + 65536, word):
    entry = at(place)
    if within(entry, readable, 3 * word) and within(at(entry + word), ours):
        ctypes.c_size_t.from_address(place).value = 0
        break
else:
    sys.exit("no hook of ours in _PyRuntime")
sys.audit("shop.order.paid")
"""


def only_segment(directory: Path) -> Summary:
    (path,) = directory.glob("journal/*/*.pyaudit")
    summary = summarise(path)
    assert summary
    return summary


@bypass("list-of-hooks", "detected")
@both_ways
def test_a_process_can_stop_its_own_recording_and_that_shows(installed: Installed, way: str) -> None:
    recording = record(installed, way, UNHOOK)
    assert recording.completed.returncode == 0, recording.completed.stderr
    names = [event.event for event in recording.journal.events()]
    assert "shop.order.paid" not in names
    assert "ctypes.dlsym" in names
    assert "ctypes.dlopen" in names
    assert only_segment(recording.directory).header.state == STATE_OPEN


@both_ways
def test_without_that_the_end_is_clean(installed: Installed, way: str) -> None:
    recording = record(installed, way, "import sys; sys.audit('shop.order.paid')")
    assert [event.event for event in recording.journal.events()].count("shop.order.paid") == 1
    assert only_segment(recording.directory).header.state == STATE_CLEAN_END


# As for any hook that is a Python function: its code and what its cells hold are exchanged.
CHANGE_HOOKS = """
import gc, sys, types
def quiet(*args): return None
def make():
    on = True
    def hook(event, args):
        if on and event.startswith("shop."): print("seen", event)
    return hook
sys.addaudithook(make())
for o in gc.get_objects():
    if type(o) is types.FunctionType and (o.__name__ == "hook" or "pythonaudit" in str(o.__module__)):
        for cell in o.__closure__ or ():
            cell.cell_contents = False
        o.__code__ = quiet.__code__.replace(co_freevars=o.__code__.co_freevars)
sys.audit("shop.order.paid")
"""


@bypass("python-hook", "blocked")
@both_ways
def test_no_python_object_is_the_hook(installed: Installed, way: str) -> None:
    recording = record(installed, way, CHANGE_HOOKS)
    assert (recording.completed.stdout, recording.completed.stderr) == ("", "")
    assert len(recording.events("shop.order.paid")) == 1


@bypass("own-memory", "detected")
@both_ways
def test_writing_to_its_own_memory_leaves_the_opening(installed_here: Installed, way: str) -> None:
    recording = record(installed_here, way, "open('/proc/self/mem', 'rb+', buffering=0).close()")
    opened = [event.fields["path"] for event in recording.events("open")]
    assert "/proc/self/mem" in opened


# What a bug of the interpreter lets pure Python do, here with memory that is given for it.
SILENT = """
import ctypes, sys
text = ctypes.create_string_buffer(b"before")
memory = memoryview(text).cast("B")
sys.audit("app.before")
memory[:6] = b"after."
sys.audit("app.after")
print(text.value)
"""


@bypass("corrupted-memory", "disclosed")
@both_ways
def test_what_is_written_to_memory_is_not_seen(installed_here: Installed, way: str) -> None:
    recording = record(installed_here, way, SILENT)
    (before,), (after,) = recording.events("app.before"), recording.events("app.after")
    assert recording.completed.stdout == "b'after.'\n"
    assert after.number == before.number + 1


# What belongs to the interpreter's state (the search functions of codecs) goes right before the hooks.
LATE = """
import atexit, codecs, signal, sys
class Late:
    def __init__(self, name): self.name = name
    def __call__(self, name): return None
    def __repr__(self): sys.audit("app.repr"); return "repr"
    def __del__(self, audit=sys.audit): audit("app." + self.name)
codecs.register(Late("state"))
atexit.register(sys.audit, "app.atexit")
signal.signal(signal.SIGUSR1, lambda *args: sys.audit("app.signal"))
signal.raise_signal(signal.SIGUSR1)
last = Late("module")
sys.audit("app.argument", last)
"""


@bypass("late-code", "detected")
@both_ways
def test_code_that_runs_at_the_end(installed: Installed, way: str) -> None:
    """Handlers, atexit and finalizers, to the last; an argument's own methods are never called."""
    recording = record(installed, way, LATE)
    names = [event.event for event in recording.events() if event.event.startswith("app.")]
    assert names[:3] == ["app.signal", "app.argument", "app.atexit"]
    assert sorted(names[3:]) == ["app.module", "app.state"]
    assert recording.events()[-1].event == "cpython._PySys_ClearAuditHooks"


PATHS = """
import os, sys
os.close(os.open(b"/etc/os-release", os.O_RDONLY))
os.close(os.open("/etc/os-release", os.O_RDONLY))
os.chdir("/etc")
open("os-release").close()
open("../etc/./os-release").close()
place = os.open("/etc", os.O_RDONLY)
os.close(os.open("os-release", os.O_RDONLY, dir_fd=place))
"""


@bypass("paths", "blocked")
@both_ways
def test_paths_are_texts_in_every_form(installed: Installed, way: str) -> None:
    recording = record(installed, way, PATHS)
    opened = [e.fields["path"] for e in recording.events("open") if "os-release" in str(e.fields["path"])]
    assert opened[:4] == ["/etc/os-release", "/etc/os-release", "os-release", "../etc/./os-release"]
    assert [e.values for e in recording.events("os.chdir")] == [["/etc"]]


@bypass("dir-fd", "disclosed")
@both_ways
def test_directories_by_descriptor_are_not_in_the_event(installed: Installed, way: str) -> None:
    last = [e for e in record(installed, way, PATHS).events("open") if "os-release" in str(e.fields["path"])][-1]
    assert last.fields["path"] == "os-release"
    assert "/etc" not in str(last.args)


@bypass("flood", "detected")
@both_ways
def test_a_flood_pushes_out_what_is_older_and_that_is_counted(installed_here: Installed, way: str) -> None:
    program = "import sys\nsys.audit('app.deed')\nfor n in range(20000): sys.audit('app.flood', n, 'x' * 500)"
    settings: dict[str, str | Path] = {"PYTHONAUDIT_MAX_BYTES": "1M", "PYTHONAUDIT_EVENTS": "all"}
    recording = record(installed_here, way, program, settings)
    fine = record(installed_here, way, program, settings | {"PYTHONAUDIT_MAX_BYTES": "1G"})
    assert recording.events("app.deed") == []
    assert lost(recording)["evicted"] > 1000
    assert total(recording) == total(fine)


REFUSE = """
import sys
def hook(event, args):
    if event.startswith("shop."):
        sys.audit("nested." + event)
        raise ValueError("no")
sys.addaudithook(hook)
try:
    sys.audit("shop.order.paid")
except ValueError as error:
    print(error)
"""


@bypass("hook-that-raises", "blocked")
@both_ways
def test_a_hook_that_refuses_hides_nothing(installed: Installed, way: str) -> None:
    recording = record(installed, way, REFUSE)
    assert recording.completed.stdout == "no\n"
    names = [event.event for event in recording.events() if "shop." in event.event]
    assert names == ["shop.order.paid", "nested.shop.order.paid"]


ALTER = """
import subprocess, sys
def hook(event, args):
    if event == "subprocess.Popen":
        args[1][2] = "echo another"
sys.addaudithook(hook)
print(subprocess.run(["sh", "-c", "echo one"], capture_output=True, text=True).stdout)
"""


@bypass("live-arguments", "disclosed")
@both_ways
def test_arguments_can_change_after_the_event(installed: Installed, way: str) -> None:
    """Recorded is what they were when our hook saw them."""
    recording = record(installed, way, ALTER)
    assert recording.completed.stdout == "another\n\n"
    assert [e.values[1] for e in recording.events("subprocess.Popen")] == [["sh", "-c", "echo one"]]


REMOTE = """
import os, subprocess, sys, time
script = sys.argv[1]
child = subprocess.Popen([sys.executable, "-c",
    "import sys\\nprint(1, flush=True)\\nwhile not hasattr(sys, 'told'): sys.audit('app.wait')"], stdout=subprocess.PIPE)
child.stdout.readline()
sys.remote_exec(child.pid, script)
sys.exit(child.wait(60))
"""


@bypass("remote-exec", "detected")
@both_ways
def test_a_script_brought_in_from_outside(installed: Installed, way: str, tmp_path: Path) -> None:
    """PEP 768: told in the process that it comes from, and in the one that it runs in."""
    if installed.interpreter.version < (3, 14):
        pytest.skip("sys.remote_exec is new in 3.14")
    script = tmp_path / "brought.py"
    script.write_text("import sys; sys.told = 1; sys.audit('app.brought')")
    settings: dict[str, str | Path] = {"PYTHONAUDIT_EVENTS": "default,-app.wait"}
    recording = record(installed, way, [installed.python, "-c", REMOTE, script], settings)
    assert recording.completed.returncode == 0, recording.completed.stderr
    ((brought),) = recording.events("app.brought")
    (asked,), (run,) = recording.events("sys.remote_exec"), recording.events("cpython.remote_debugger_script")
    assert (asked.values[0], asked.values[1]) == (run.process.pid, str(script))
    assert run.values == [str(script)]
    assert run.process.id == brought.process.id != asked.process.id


# Stops the process of that number as a debugger does, and lets it go again.
TRACE = """
import ctypes, os, sys
libc, pid = ctypes.CDLL(None, use_errno=True), int(sys.argv[1])
ATTACH, DETACH = 16, 17
if libc.ptrace(ATTACH, pid, None, None):
    sys.exit(os.strerror(ctypes.get_errno()))
os.waitpid(pid, 0)
libc.ptrace(DETACH, pid, None, None)
"""


@bypass("debugger", "disclosed")
@both_ways
def test_a_debugger_is_not_seen(installed_here: Installed, way: str, tmp_path: Path) -> None:
    """Tried from a process that is not recorded."""
    program = "import os, sys; print(os.getpid(), flush=True); sys.stdin.read(1); sys.audit('app.after')"
    directory = tmp_path / "audit"
    settings = {"PYTHONAUDIT": "1", "PYTHONAUDIT_DIR": str(directory)} if way == "site" else {}
    command = [str(installed_here.python), "-c", program]
    if way == "preload":
        command = [command[0], "-m", "pythonaudit", "run", "-q", "--dir", str(directory), "--", *command]
    with subprocess.Popen(
        command,
        env=unrecorded(os.environ) | settings,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout and process.stdin
        pid = process.stdout.readline().strip()
        traced = subprocess.run([installed_here.python, "-c", TRACE, pid], capture_output=True, text=True)
        process.communicate("x", timeout=60)
    if "not permitted" in traced.stderr:
        pytest.skip("no process may be traced here")
    assert (traced.returncode, process.returncode) == (0, 0)
    recording = Recording(directory, subprocess.CompletedProcess(command, 0))
    names = [event.event for event in recording.events()]
    assert "app.after" in names
    assert [name for name in names if "debug" in name or "trace" in name] == []


@bypass("killed", "detected")
@both_ways
def test_a_process_that_is_killed_has_no_clean_end(installed_here: Installed, way: str) -> None:
    program = "import os, signal, sys; sys.audit('app.last'); os.kill(os.getpid(), signal.SIGKILL)"
    recording = record(installed_here, way, program)
    assert recording.completed.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
    assert len(recording.events("app.last")) == 1
    assert only_segment(recording.directory).header.state == STATE_OPEN


def test_files_and_directories_are_private(installed: Installed, tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    installed.record("pass", directory=directory, umask=0)
    inside = [directory, *directory.rglob("*")]
    modes = {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in inside}
    assert modes == {(True, 0o700), (False, 0o600)}
