"""What the threads of real programs are called, where that can be told without asking them."""

from __future__ import annotations

from tests.conftest import Installed
from tests.recorded import is_whole

BEGIN = "import sys\naudit = sys.audit\n"


def test_names_of_threads(installed: Installed) -> None:
    program = r"""
import threading
from concurrent.futures import ThreadPoolExecutor
class Own(threading.Thread):
    _name = property(lambda self: "own", lambda self, name: None)
class Name(str):
    def __str__(self): raise SystemExit("asked")
def run(kind, name, event):
    def work():
        audit(event)
        audit(event)
    thread = kind(target=work, name=name)
    thread.start()
    thread.join()
audit("app.main")
run(threading.Thread, "worker-1", "app.plain")
run(threading.Thread, "caf\xe9 password=swordfish-9 \udcff", "app.odd")
run(threading.Thread, "x" * 1000, "app.long")
run(threading.Timer(0, audit).__class__.__mro__[1], "timer", "app.timer")
run(Own, "own", "app.own")
with ThreadPoolExecutor(1, thread_name_prefix="pool") as pool:
    pool.submit(audit, "app.pool").result()
import _thread
done = _thread.allocate_lock()
done.acquire()
def foreign():
    audit("app.foreign")
    done.release()
_thread.start_new_thread(foreign, ())
done.acquire()
"""
    recording = installed.record(BEGIN + program)
    named = {e.event[4:]: e.thread.name for e in recording.journal.events() if e.event.startswith("app.")}
    assert named.pop("long") == "x" * 256
    assert named == {
        "main": None,
        "plain": "worker-1",
        "odd": "caf\xe9 password=*** \\udcff",
        "timer": "timer",
        "own": None,
        "pool": "pool_0",
        "foreign": None,
    }
    assert is_whole(recording)
