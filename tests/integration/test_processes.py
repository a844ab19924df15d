"""Processes that come from each other: each has a journal of its own, and says where it comes from.

`way`, `parent` and the number of processes are checked as much as their events.
"""

from __future__ import annotations

import http.client
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

from pythonaudit.journal.decode import Event
from tests.conftest import Installed, Recording
from tests.recorded import SOAK, is_whole, threads


def one(recording: Recording, name: str) -> Event:
    (event,) = recording.events(name)
    return event


def assert_family(recording: Recording, processes: int) -> None:
    """That many processes, and each parent that is named is one of them."""
    trails = recording.journal.processes()
    assert len(trails) == processes
    ids = {t.process.id for t in trails}
    for trail in trails:
        assert (trail.process.parent is not None) == (trail.process.way == "fork")
        assert trail.process.parent in ids | {None}
    threads(recording.journal.events())
    assert is_whole(recording)


def test_fork(installed: Installed) -> None:
    """Children and grandchildren, each also with threads of its own."""
    program = """
import os, sys, threading
def generation(depth):
    sys.audit("generation", depth, os.getpid(), os.getppid())
    t = threading.Thread(target=sys.audit, args=("thread", depth))
    t.start()
    t.join()
    if depth < 3:
        pid = os.fork()
        if pid == 0:
            generation(depth + 1)
            os._exit(0)
        os.waitpid(pid, 0)
    sys.audit("end of", depth)
generation(0)
"""
    recording = installed.record(program)
    generations = recording.events("generation")
    assert [e.values[0] for e in generations] == [0, 1, 2, 3]
    for older, younger in itertools.pairwise(generations):
        assert younger.process.parent == older.process.id
    for event in generations:
        assert event.values[1:] == [event.process.pid, event.process.ppid]
        mine = [e for e in recording.events() if e.process.id == event.process.id]
        names = [(e.event, e.values[0]) for e in mine if e.event in ("generation", "thread", "end of")]
        depth = event.values[0]
        assert names == [("generation", depth), ("thread", depth), ("end of", depth)]
    assert_family(recording, 4)


def test_fork_while_other_threads_record(installed: Installed) -> None:
    """A child has the thread that forked and no other; whatever the others held, it goes on."""
    program = """
import os, sys, threading
sys.setswitchinterval(1e-5)
done = False
def busy(me):
    n = 0
    while not done:
        sys.audit(f"busy.{n}", me, sum(range(1000)))
        n += 1
others = [threading.Thread(target=busy, args=(me,)) for me in range(3)]
for t in others: t.start()
for n in range(20):
    pid = os.fork()
    if pid == 0:
        for name in range(5):
            sys.audit(f"child.{name}", n)
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
done = True
for t in others: t.join()
"""
    recording = installed.record(program)
    children: dict[str, list[tuple[str, int]]] = {}
    for event in recording.events():
        if event.event.startswith("child."):
            children.setdefault(event.process.id, []).append((event.event, event.values[0]))
    assert sorted(children.values(), key=lambda c: c[0][1]) == [
        [(f"child.{name}", n) for name in range(5)] for n in range(20)
    ]
    assert_family(recording, 21)


def test_200_forks(installed: Installed) -> None:
    count = 200 * SOAK
    program = f"""
import os, sys
for n in range({count}):
    pid = os.fork()
    if pid == 0:
        sys.audit("child", n)
        os._exit(0)
    os.waitpid(pid, 0)
"""
    recording = installed.record(program)
    assert [e.values for e in recording.events("child")] == [[n] for n in range(count)]
    assert len({e.process.id for e in recording.events("child")}) == count
    assert [e.number for e in recording.events("os.fork")] == sorted(e.number for e in recording.events("os.fork"))
    assert_family(recording, count + 1)


def test_daemon_by_two_forks(installed: Installed) -> None:
    program = """
import os, sys
alive, held = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.close(0)
        os.chdir("/")
        sys.audit("daemon", os.getpid())
        os._exit(0)
    os._exit(0)
os.wait()
os.close(held)
os.read(alive, 1)  # until the daemon has ended
"""
    recording = installed.record(program)
    daemon, forks = one(recording, "daemon"), recording.events("os.fork")
    assert daemon.values == [daemon.process.pid]
    assert len(forks) == 2
    assert forks[1].process.parent == forks[0].process.id
    assert daemon.process.parent == forks[1].process.id
    assert_family(recording, 3)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(installed: Installed, tmp_path: Path, method: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        f"""
import multiprocessing, sys
def work(n):
    sys.audit("work", n)
    return n * n
if __name__ == "__main__":
    multiprocessing.set_start_method({method!r})
    with multiprocessing.Pool(2) as pool:
        assert pool.map(work, range(20), chunksize=1) == [n * n for n in range(20)]
        pool.close()
        pool.join()
    process = multiprocessing.Process(target=work, args=(20,))
    process.start()
    process.join()
    sys.audit("main")
"""
    )
    recording = installed.record([program])
    assert sorted(e.values[0] for e in recording.events("work")) == list(range(21))
    main, last = one(recording, "main"), recording.events("work")[-1]
    workers = {e.process.id for e in recording.events("work")}
    assert main.process.id not in workers
    assert len(workers) in (2, 3)
    ways = {e.process.way for e in recording.events("work")}
    assert ways == {"site" if method == "spawn" else "fork"}
    if method == "fork":
        assert last.process.parent == main.process.id
    threads(recording.journal.events())
    assert is_whole(recording)


EXECS = {
    "execv": "os.execv(sys.executable, argv)",
    "execve": "os.execve(sys.executable, argv, os.environ)",
    "execl": "os.execl(sys.executable, *argv)",
    "execvp": "os.execvp(sys.executable, argv)",
    "execlpe": "os.execlpe(sys.executable, *argv, os.environ)",
    "posix_spawn": "os.waitpid(os.posix_spawn(sys.executable, argv, os.environ), 0)",
    "spawnv": "os.spawnv(os.P_WAIT, sys.executable, argv)",
    "system": "os.system(f'{sys.executable} -c \"{code}\"')",
    "subprocess": "subprocess.check_call(argv)",
    "subprocess, its environment": "subprocess.check_call(argv, env=dict(os.environ))",
    "subprocess, other descriptors": "subprocess.check_call(argv, close_fds=False, start_new_session=True)",
    "subprocess, a shell": "subprocess.check_call(f'exec {sys.executable} -c \"{code}\"', shell=True)",
}


@pytest.mark.parametrize("how", EXECS)
def test_programs_started(installed: Installed, how: str) -> None:
    program = f"""
import os, subprocess, sys
code = "import sys; sys.audit('child')"
argv = [sys.executable, "-c", code]
sys.audit("parent")
{EXECS[how]}
"""
    recording = installed.record(program)
    parent, child = one(recording, "parent"), one(recording, "child")
    assert child.process.id != parent.process.id
    assert (child.process.pid == parent.process.pid) == how.startswith("exec")
    assert child.process.way == "site"
    assert is_whole(recording)


@pytest.mark.parametrize("environment", ["{}", "{k: v for k, v in os.environ.items() if k != 'PYTHONAUDIT'}"])
def test_without_the_variable_a_child_is_not_recorded(installed: Installed, environment: str) -> None:
    """The site way has nothing but the environment to follow by; `pythonaudit run` follows these too."""
    program = f"""
import os, subprocess, sys
argv = [sys.executable, "-c", "import sys; sys.audit('child'); print('ran')"]
subprocess.check_call(argv, env={environment})
"""
    recording = installed.record(program)
    assert recording.completed.stdout == "ran\n"
    assert recording.events("subprocess.Popen")
    assert recording.events("child") == []
    assert_family(recording, 1)


def test_prefork_server(installed: Installed) -> None:
    """A listening socket, forked workers that accept on it, a master that stops them by a signal."""
    program = """
import os, signal, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
listener.settimeout(0.5)  # a signal that comes just before accept() does not end it
workers = []
for n in range(3):
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        while True:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            with connection:
                request = connection.recv(100).decode()
                sys.audit("request", request)
                connection.sendall(request.upper().encode())
    workers.append(pid)
for n in range(30):
    with socket.create_connection(listener.getsockname()) as client:
        client.sendall(f"request {n}".encode())
        assert client.recv(100) == f"REQUEST {n}".encode()
for pid in workers:
    os.kill(pid, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""
    recording = installed.record(program)
    requests = recording.events("request")
    assert sorted(e.values[0] for e in requests) == sorted(f"request {n}" for n in range(30))
    (master,) = {e.process.id for e in recording.events("socket.connect")}
    assert {e.process.parent for e in requests} == {master}
    assert all(t.ended for t in recording.journal.processes())
    assert_family(recording, 4)


APPLICATION = """
import sys
def application(environ, start_response):
    sys.audit("request", environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].encode()]
"""


def test_gunicorn(installed_here: Installed, tmp_path: Path) -> None:
    """A server as people run it, from PyPI."""
    command = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    got = subprocess.run([*command, "--target", tmp_path, "gunicorn"], capture_output=True)
    if got.returncode != 0:
        pytest.skip("gunicorn cannot be had here")
    (tmp_path / "served.py").write_text(APPLICATION)
    directory = installed_here.new_directory()
    variables: dict[str, str | Path] = {"PYTHONAUDIT": "1", "PYTHONAUDIT_DIR": directory, "PYTHONPATH": tmp_path}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        with subprocess.Popen(
            [
                installed_here.python,
                "-m",
                "gunicorn",
                "-w",
                "3",
                "-b",
                f"fd://{listener.fileno()}",
                "served:application",
            ],
            env=installed_here.environment(**variables),
            cwd=tmp_path,
            pass_fds=[listener.fileno()],
            stderr=subprocess.PIPE,
            text=True,
        ) as server:
            for n in range(30):
                connection = http.client.HTTPConnection(host, port)
                connection.request("GET", f"/{n}")
                assert connection.getresponse().read() == f"/{n}".encode()
                connection.close()
            server.terminate()
            _, said = server.communicate()
    assert server.returncode == 0, said
    recording = Recording(directory, subprocess.CompletedProcess(server.args, 0, "", said))
    requests = recording.events("request")
    assert sorted(e.values[0] for e in requests) == sorted(f"/{n}" for n in range(30))
    assert {e.process.parent for e in requests} == {recording.journal.processes()[0].process.id}
    assert all(t.ended for t in recording.journal.processes())
    assert_family(recording, 4)


def test_a_child_of_another_user(installed: Installed, request: pytest.FixtureRequest) -> None:
    """A journal belongs to who writes it: a process that changes its user goes on in a box of that user's."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    # pytest's own directories are closed to others.
    directory = Path(tempfile.mkdtemp(prefix="pythonaudit-"))
    request.addfinalizer(lambda: shutil.rmtree(directory))
    directory.chmod(0o711)
    (directory / "journal").mkdir()
    (directory / "journal").chmod(0o1733)
    program = """
import os, sys
sys.audit("root")
if os.fork() == 0:
    os.setgid(54321)
    os.setuid(54321)
    sys.audit("user")
    os._exit(0)
os.wait()
"""
    recording = installed.record(program, directory=directory)
    assert [one(recording, name).process.uid for name in ("root", "user")] == [0, 54321]
    assert_family(recording, 2)


def start_by_file(scratch: Path) -> list[str | Path]:
    (scratch / "program.py").write_text("import sys; sys.audit('started')")
    return [scratch / "program.py"]


def start_by_module(scratch: Path) -> list[str | Path]:
    (scratch / "program").mkdir()
    (scratch / "program" / "__main__.py").write_text("import sys; sys.audit('started')")
    return ["-m", "program"]


def start_by_directory(scratch: Path) -> list[str | Path]:
    start_by_module(scratch)
    return [scratch / "program"]


def start_by_archive(scratch: Path) -> list[str | Path]:
    with zipfile.ZipFile(scratch / "program.pyz", "w") as archive:
        archive.writestr("__main__.py", "import sys; sys.audit('started')")
    return [scratch / "program.pyz"]


def start_by_option(*options: str) -> list[str | Path]:
    return [*options, "-c", "import sys; sys.audit('started')"]


STARTS = {
    "a file": start_by_file,
    "-m": start_by_module,
    "a directory": start_by_directory,
    "an archive": start_by_archive,
    "-c": lambda _: start_by_option(),
    "-I": lambda _: start_by_option("-I"),
    "-E": lambda _: start_by_option("-E"),
    "-s -O": lambda _: start_by_option("-s", "-O"),
    "-X dev": lambda _: start_by_option("-X", "dev"),
    "-B -u -W error": lambda _: start_by_option("-B", "-u", "-W", "error"),
}


@pytest.mark.parametrize("how", STARTS)
def test_ways_to_start(installed: Installed, tmp_path: Path, how: str) -> None:
    recording = installed.record(STARTS[how](tmp_path), cwd=tmp_path)
    assert one(recording, "started").process.way == "site"
    assert_family(recording, 1)


def test_start_from_standard_input(installed: Installed) -> None:
    recording = installed.record([], input="import sys\nsys.audit('started')\n")
    assert one(recording, "cpython.run_stdin")
    assert one(recording, "started").process.argv == []


def test_without_site_nothing_is_recorded(installed: Installed) -> None:
    """-S leaves out every .pth; `pythonaudit run` records such processes too."""
    recording = installed.record(["-S", "-c", "import sys; sys.audit('started'); print('ran')"])
    assert recording.completed.stdout == "ran\n"
    assert not (recording.directory / "journal").exists()


def test_pth_files_that_ran_earlier_are_named(installed: Installed, tmp_path: Path) -> None:
    copy = Installed(installed.interpreter, tmp_path / "copy", installed.new_directory)
    shutil.copytree(installed.prefix, copy.prefix, symlinks=True)
    for name in ("earlier.pth", "later.pth", "zzz.pth"):
        (copy.purelib / name).write_text("import sys; sys.audit('from a .pth')\n")
    (copy.purelib / "later.pth").rename(copy.purelib / "pythonaudit_later.pth")
    recording = copy.record("pass")
    (trail,) = recording.journal.processes()
    assert trail.process.attributes["began"]["pth"] == [str(copy.purelib / "earlier.pth")]
    # On 3.11 site processes them twice, and the first one runs again after recording has begun.
    assert len(recording.events("from a .pth")) >= 2


def test_death_of_a_parent_is_no_matter(installed: Installed) -> None:
    """A child goes on when its parent is killed, also when it has not recorded anything yet."""
    program = """
import os, signal, sys
ready, told = os.pipe()
alive, held = os.pipe()
if os.fork() == 0:
    os.close(alive)
    if os.fork() == 0:
        parent = os.getppid()
        os.kill(parent, signal.SIGKILL)
        while os.getppid() == parent:
            pass
        sys.audit("orphan")
        os._exit(0)
    signal.pause()
os.close(held)
os.read(alive, 1)
sys.audit("status", os.wait()[1])
"""
    recording = installed.record(program)
    assert one(recording, "status").values == [signal.SIGKILL]
    orphan, forks = one(recording, "orphan"), recording.events("os.fork")
    assert orphan.process.parent == forks[-1].process.id
    assert_family(recording, 3)
