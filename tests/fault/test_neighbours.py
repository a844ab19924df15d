"""Others in the same process: preloaded libraries, greenlets, namespaces of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Installed
from tests.fault.ways import OLDEST_AND_NEWEST, ROOT_ONLY, record_beside
from tests.native.test_sanitized import library
from tests.recorded import is_whole, threads

PROGRAM = """
import sys, threading
def work(name):
    for n in range(2000):
        sys.audit("work", name, n, "x" * (n % 300))
workers = [threading.Thread(target=work, args=(name,)) for name in range(4)]
for worker in workers: worker.start()
for worker in workers: worker.join()
import subprocess
print(subprocess.run([sys.executable, "-c", "import sys; sys.audit('child', 1); print('child')"],
                     capture_output=True, text=True).stdout)
"""


def check(installed: Installed, way: str, settings: dict[str, str | Path]) -> None:
    recording = record_beside(installed, way, PROGRAM, settings)
    work = [tuple(e.values[:2]) for e in recording.events("work")]
    assert sorted(work) == [(name, n) for name in range(4) for n in range(2000)]
    assert len(recording.events("child")) == 1
    threads(recording.journal.events())
    assert is_whole(recording)


@pytest.fixture(scope="module")
def jemalloc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The allocator of many servers: Debian's package, unpacked."""
    place = tmp_path_factory.mktemp("jemalloc")
    if not shutil.which("apt-get"):
        pytest.skip("jemalloc comes by apt-get")
    fetch = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", "libjemalloc2"]
    got = subprocess.run(fetch, cwd=place, capture_output=True, text=True)
    packages = list(place.glob("*.deb"))
    if not packages:
        pytest.skip(f"apt-get cannot fetch libjemalloc2: {got.stderr.strip()}")
    subprocess.run(["dpkg", "-x", packages[0], place], check=True)
    (found,) = place.rglob("libjemalloc.so.2")
    return found


@OLDEST_AND_NEWEST
def test_jemalloc(installed: Installed, way: str, jemalloc: Path) -> None:
    check(installed, way, {"LD_PRELOAD": jemalloc})


@OLDEST_AND_NEWEST
def test_address_sanitizer(installed: Installed, way: str) -> None:
    """Its runtime insists on being the first of all libraries, and looks at every access of the C library."""
    runtime = library("asan")
    if runtime is None:
        pytest.skip("no runtime of AddressSanitizer here")
    check(installed, way, {"LD_PRELOAD": runtime, "ASAN_OPTIONS": "detect_leaks=0"})


NAMESPACES = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def step(name):
    for n in range(3000):
        sys.audit("step", name, n, "x" * 500)
step("before")
print(libc.unshare({flags}), ctypes.get_errno())
step("after")
pid = os.fork()
if not pid:
    step("child")
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
#: CLONE_NEW*, of linux/sched.h.
KINDS = {"mount": 0x20000, "user": 0x10000000, "user and mount": 0x10020000, "pid": 0x20000000, "time": 0x80}


@ROOT_ONLY
@OLDEST_AND_NEWEST
@pytest.mark.parametrize("kind", KINDS)
def test_namespaces(installed: Installed, way: str, kind: str) -> None:
    """The process goes on in its journal, and in the next segments; so do its children in theirs."""
    program = NAMESPACES.format(flags=KINDS[kind])
    recording = record_beside(installed, way, program)
    for name in ("before", "after", "child"):
        found = [e.values[1] for e in recording.events("step") if e.values[0] == name]
        assert found == list(range(3000)), name
    assert is_whole(recording)


@pytest.fixture(scope="module")
def green(installed_here: Installed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """greenlet and gevent for that interpreter, from PyPI."""
    place = tmp_path_factory.mktemp("green")
    version = ".".join(map(str, installed_here.interpreter.version[:2]))
    command = [sys.executable, "-m", "pip", "install", "-qq", "--target", str(place), "--only-binary=:all:"]
    command += ["--python-version", version, "--implementation", "cp", "gevent"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"gevent cannot be had for {version}: {done.stderr.strip().splitlines()[-1]}")
    return place


GREEN = """
import sys, greenlet
def leaf(name, n):
    sys.audit("green", name, n)
def ring(name):
    for n in range(100):
        leaf(name, n)
        ring_of[(name + 1) % 10].switch()
def of_even(name): ring(name)
def of_odd(name): ring(name)
ring_of = [greenlet.greenlet(lambda name=name: (of_odd if name % 2 else of_even)(name)) for name in range(10)]
for each in ring_of:
    if not each.dead:
        each.switch()
print("done")
"""

GEVENT = """
from gevent import monkey
monkey.patch_all()
import gevent, socket, sys, threading
def ask(name):
    for n in range(20):
        sys.audit("asked", name, n)
        with socket.create_connection(server.getsockname()) as connection:
            connection.sendall(b"x")
            connection.recv(1)
def answer():
    for _ in range(200):
        connection, _ = server.accept()
        connection.sendall(connection.recv(1))
        connection.close()
server = socket.create_server(("127.0.0.1", 0))
gevent.joinall([gevent.spawn(answer), *(gevent.spawn(ask, name) for name in range(10))], raise_error=True)
print("done")
"""


def test_greenlets(installed_here: Installed, way: str, green: Path) -> None:
    """Stacks are those of the greenlet that runs."""
    recording = record_beside(installed_here, way, GREEN, {"PYTHONPATH": green})
    events = recording.events("green")
    for name in range(10):
        mine = [e for e in events if e.values[0] == name]
        assert [e.values[1] for e in mine] == list(range(len(mine)))
        for event in mine:
            functions = [function for _, _, function in event.stack]
            assert functions[:3] == ["leaf", "ring", "of_odd" if name % 2 else "of_even"]
            assert len(functions) < 6
    assert len(events) > 900
    assert is_whole(recording)


def test_gevent(installed_here: Installed, way: str, green: Path) -> None:
    recording = record_beside(installed_here, way, GEVENT, {"PYTHONPATH": green})
    asked = recording.events("asked")
    for name in range(10):
        assert [e.values[1] for e in asked if e.values[0] == name] == list(range(20))
    assert {e.stack[0][2] for e in asked} == {"ask"}
    assert len(recording.events("socket.connect")) >= 200
    assert is_whole(recording)
