"""What docs/threat-model.md discloses is so: no worse than it says, and with the traces that it names."""

import stat
from pathlib import Path

from pythonaudit.journal.layout import STATE_CLEAN_END, STATE_OPEN
from pythonaudit.journal.summary import Summary, summarise
from tests.conftest import Installed

# Finds the list of C hooks in _PyRuntime, by the hook that lies in our file, and empties it.
UNHOOK = """
import ctypes, sys
word = ctypes.sizeof(ctypes.c_void_p)
maps = [line.split() for line in open("/proc/self/maps")]
spans = [(tuple(int(end, 16) for end in m[0].split("-")), m[1], m[-1]) for m in maps]
ours = [span for span, _, path in spans if path.endswith("_recorder.abi3.so")]
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


def test_a_process_can_stop_its_own_recording_and_that_shows(installed: Installed) -> None:
    recording = installed.record(["-c", UNHOOK])
    names = [event.event for event in recording.journal.events()]
    assert "shop.order.paid" not in names
    assert "ctypes.dlsym" in names
    assert "ctypes.dlopen" in names
    assert only_segment(recording.directory).header.state == STATE_OPEN


def test_without_that_the_end_is_clean(installed: Installed) -> None:
    recording = installed.record("import sys; sys.audit('shop.order.paid')")
    assert [event.event for event in recording.journal.events()].count("shop.order.paid") == 1
    assert only_segment(recording.directory).header.state == STATE_CLEAN_END


def test_no_python_object_is_the_hook(installed: Installed) -> None:
    code = (
        "import gc, sys, types\n"
        "ours = [o for o in gc.get_objects() if type(o) is types.FunctionType and 'pythonaudit' in str(o.__module__)]\n"
        "assert ours\n"
        "for function in ours:\n"
        "    function.__code__ = (lambda *args: None).__code__\n"
        "sys.audit('shop.order.paid')\n"
    )
    assert len(installed.record(code).events("shop.order.paid")) == 1


def test_writing_to_its_own_memory_leaves_the_opening(installed_here: Installed) -> None:
    recording = installed_here.record("open('/proc/self/mem', 'rb+', buffering=0).close()")
    opened = [event.fields["path"] for event in recording.events("open")]
    assert "/proc/self/mem" in opened


def test_files_and_directories_are_private(installed: Installed, tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    installed.record("pass", directory=directory, umask=0)
    inside = [directory, *directory.rglob("*")]
    modes = {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in inside}
    assert modes == {(True, 0o700), (False, 0o600)}
