"""No room, no descriptors, no directory: the program runs on unchanged, and what is missing is counted.

Each program runs twice: once where everything is there, which tells how many events it raises, and once in
trouble. Then events recorded and events lost must be exactly as many. `PYTHONAUDIT_EVENTS=all` keeps counting
by name out of it. The version of Python matters little here: most run with one.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pythonaudit.journal.reader import Journal
from tests.conftest import Installed, Recording
from tests.recorded import lost, threads, total

ROOT_ONLY = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can mount a small disk or become somebody else"
)
SOMEBODY = 54321
Disk = Callable[[str, str], Path]

# Raises so many events, `size` bytes each; and time enough for the recorder to look for room again.
TOOLS = """
import os, sys, time
place = sys.argv[1]
trouble = os.path.basename(place) == "bad"

def raise_events(count, size=900, raised=iter(range(10**9)), audit=sys.audit):
    for _ in range(count):
        audit("app.event", next(raised), "x" * size)

def wait(monotonic=time.monotonic):
    until = monotonic() + 0.5
    while monotonic() < until:
        pass

def fill():
    fd = os.open(os.path.join(place, "filler"), os.O_CREAT | os.O_WRONLY)
    try:
        while trouble:
            os.write(fd, b"x" * 4096)
    except OSError:
        pass
    os.close(fd)

def make_room():
    os.remove(os.path.join(place, "filler"))
"""


def in_trouble(
    installed: Installed,
    program: str,
    good: Path,
    bad: Path,
    settings: dict[str, str | Path] | None = None,
    prefix: tuple[str, ...] = (),
) -> Recording:
    """Runs it with its directory in `good`, then in `bad`; gives the latter recording.

    Everything that was raised must be there or counted, and the program must not have noticed.
    """
    program = TOOLS + program
    settings = {"PYTHONAUDIT_EVENTS": "all", **(settings or {})}
    recordings = []
    for place in (good, bad):
        variables = {"PYTHONAUDIT": "1", "PYTHONAUDIT_DIR": str(place / "audit")} | settings
        done = subprocess.run(
            [*prefix, str(installed.python), "-c", program, str(place)],
            env=installed.environment(**variables),
            capture_output=True,
            text=True,
        )
        recordings.append(Recording(place / "audit", done))
    fine, troubled = recordings
    assert fine.completed.returncode == 0, fine.completed.stderr
    assert lost(fine) == {}
    ran, unharmed = troubled.completed, fine.completed
    assert (ran.stdout, ran.stderr, ran.returncode) == (unharmed.stdout, unharmed.stderr, unharmed.returncode)
    assert total(troubled) == total(fine)
    # What there is, is whole: each event as it was raised, in order.
    raised = [e.values for e in troubled.events("app.event")]
    assert raised == sorted(raised)
    assert all(values[1] == "x" * len(values[1]) for values in raised)
    assert list(troubled.journal.damage()) == []
    return troubled


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Makes disks of these names and sizes."""
    mounted: list[Path] = []

    def make(name: str, size: str) -> Path:
        place = tmp_path / name
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=True)
        mounted.append(place)
        return place

    yield make
    for place in mounted:
        subprocess.run(["umount", "-l", place], check=True)


@ROOT_ONLY
def test_disk_full_at_the_start(installed_here: Installed, disk: Disk) -> None:
    good, bad = disk("good", "16m"), disk("bad", "2m")
    (good / "filler").touch()
    filler = os.open(bad / "filler", os.O_CREAT | os.O_WRONLY)
    with pytest.raises(OSError):
        while True:
            os.write(filler, b"x" * 4096)
    os.close(filler)
    program = "raise_events(100); make_room(); wait(); raise_events(100)"
    recording = in_trouble(installed_here, program, good, bad)
    assert [e.values[0] for e in recording.events("app.event")] == list(range(100, 200))
    assert lost(recording)["no-space"] > 100


@ROOT_ONLY
def test_disk_full_in_between(installed: Installed, disk: Disk) -> None:
    program = "raise_events(50); fill(); raise_events(2000); make_room(); wait(); raise_events(100)"
    recording = in_trouble(installed, program, disk("good", "16m"), disk("bad", "3m"))
    kept = [e.values[0] for e in recording.events("app.event")]
    assert kept[:50] == list(range(50))
    assert kept[-100:] == list(range(2050, 2150))
    assert lost(recording)["no-space"] > 100


@ROOT_ONLY
def test_disk_full_at_a_rotation(installed_here: Installed, disk: Disk) -> None:
    """The first segment of 4 MiB has room, the next one has not."""
    recording = in_trouble(installed_here, "raise_events(12000)", disk("good", "32m"), disk("bad", "4200k"))
    kept = [e.values[0] for e in recording.events("app.event")]
    assert kept == list(range(len(kept)))
    assert len(kept) > 3000
    assert lost(recording)["no-space"] > 5000


@ROOT_ONLY
def test_disk_full_for_children(installed_here: Installed, disk: Disk) -> None:
    """A child that cannot have a journal is counted in its parent's."""
    program = """
sys.audit("before")
fill()
for n in range(3):
    pid = os.fork()
    if pid == 0:
        os._exit(0 if n else raise_events(10) or 0)
    assert os.waitpid(pid, 0)[1] == 0
make_room()
"""
    bad = disk("bad", "1m")
    variables = {"PYTHONAUDIT": "1"}
    done = installed_here.run(
        "-c", TOOLS + program, str(bad), env=installed_here.environment(**variables, PYTHONAUDIT_DIR=bad / "audit")
    )
    recording = Recording(bad / "audit", done)
    # Two of them raised nothing but the end of their interpreter, which os._exit left out.
    assert lost(recording)["unrecorded-child"] == 1
    assert len(recording.journal.processes()) == 1


@pytest.mark.parametrize("disposition", ["SIG_IGN", "SIG_DFL"])
def test_limit_of_file_sizes(installed_here: Installed, tmp_path: Path, disposition: str) -> None:
    """Python ignores SIGXFSZ, but a program may have set it back: ours must not kill it."""
    program = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.{disposition})
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000 if trouble else limits[0], limits[1]))
raise_events(1000)
resource.setrlimit(resource.RLIMIT_FSIZE, limits)
wait()
raise_events(100)
print(signal.getsignal(signal.SIGXFSZ), signal.sigpending())
"""
    (tmp_path / "good").mkdir()
    (tmp_path / "bad").mkdir()
    recording = in_trouble(installed_here, program, tmp_path / "good", tmp_path / "bad")
    kept = [e.values[0] for e in recording.events("app.event")]
    assert kept[-100:] == list(range(1000, 1100))
    assert set(lost(recording)) == {"no-space"}


def test_no_descriptors_left(installed: Installed, tmp_path: Path) -> None:
    program = """
import resource
limits = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
held = []
try:
    for _ in range(100 if trouble else 10):
        held.append(os.dup(2))
except OSError:
    pass
if trouble:
    assert max(held) == 63
raise_events(1000)
for fd in held:
    os.close(fd)
wait()
raise_events(100)
print("fine")
"""
    (tmp_path / "good").mkdir()
    (tmp_path / "bad").mkdir()
    recording = in_trouble(installed, program, tmp_path / "good", tmp_path / "bad")
    kept = [e.values[0] for e in recording.events("app.event")]
    assert kept[-100:] == list(range(1000, 1100))
    assert lost(recording)["no-journal"] > 500


def test_others_close_every_descriptor(installed: Installed) -> None:
    """Daemons close all that they did not open; also while other threads are inside the recorder."""
    program = """
import os, sys, threading
done = False
def close_all():
    while not done:
        os.closerange(3, 256)
closer = threading.Thread(target=close_all)
sys.setswitchinterval(1e-5)
closer.start()
for n in range(20000):
    sys.audit("app.event", n, "x" * 900)
done = True
closer.join()
print("fine")
"""
    recording = installed.record(program)
    assert recording.completed.stdout == "fine\n"
    assert [e.values[0] for e in recording.events("app.event")] == list(range(20000))
    threads(recording.journal.events())
    assert lost(recording) == {}


def test_its_descriptors_are_not_ours(installed_here: Installed) -> None:
    """Own-GIL interpreters and closed numbers: what the program opens is never written to or closed by us."""
    program = """
import os, sys, threading
problems = []
done = False
def own():
    while not done:
        r, w = os.pipe()
        os.write(w, b"mine")
        if os.read(r, 100) != b"mine":
            problems.append("read something else")
        os.close(r)
        os.close(w)
sys.setswitchinterval(1e-5)
others = [threading.Thread(target=own) for _ in range(2)]
for t in others: t.start()
for n in range(20000):
    sys.audit("app.event", n, "x" * 900)
done = True
for t in others: t.join()
print(problems)
"""
    recording = installed_here.record(program)
    assert recording.completed.stdout == "[]\n"
    assert [e.values[0] for e in recording.events("app.event")] == list(range(20000))


REMOVALS = {
    "removed": "shutil.rmtree(place)",
    "box removed": "shutil.rmtree(box)",
    "moved": "os.rename(place, place + '.moved')",
    "replaced by a directory": "os.rename(box, box + '.moved'); os.mkdir(box, 0o700)",
    "replaced by a link": "os.rename(box, box + '.moved'); os.mkdir(place + '.trap'); os.symlink(place + '.trap', box)",
    "replaced by a file": "os.rename(box, box + '.moved'); open(box, 'w').close()",
}


@pytest.mark.parametrize("how", REMOVALS)
def test_directory_gone(installed_here: Installed, tmp_path: Path, how: str) -> None:
    """Recording goes on in a directory of its own; what had been recorded goes with the old one."""
    program = f"""
import os, shutil, sys
place = {str(tmp_path / "audit")!r}
box = os.path.join(place, "journal", f"u{{os.geteuid()}}")
for n in range(10000):
    sys.audit("app.event", n, "x" * 900)
    if n == 100:
        {REMOVALS[how]}
print("fine")
"""
    recording = installed_here.record(program, directory=tmp_path / "audit")
    assert (recording.completed.stdout, recording.completed.stderr) == ("fine\n", "")
    kept = [e.values[0] for e in recording.events("app.event")]
    # The segment that was open is as good as any until it has to grow.
    assert kept == list(range(kept[0], 10000))
    assert kept[0] < 5000
    losses = lost(recording)
    assert bool(losses.pop("missing-segments", 0)) == (kept[0] > 0)
    assert not any(losses.values())
    assert not list(tmp_path.glob("audit.trap/*"))
    (trail,) = recording.journal.processes()
    assert trail.ended


@ROOT_ONLY
def test_directory_made_read_only(installed_here: Installed) -> None:
    """What is there goes on growing; a next segment cannot be made, and what it would have held is counted."""
    scratch = Path(tempfile.mkdtemp(prefix="pythonaudit-"))
    try:
        scratch.chmod(0o755)
        program = """
import glob
os.setgid(54321)
os.setuid(54321)
raise_events(300)  # past the segment that root began
(box,) = glob.glob(os.path.join(place, "audit", "journal", "u54321"))
if trouble:
    os.chmod(box, 0o500)
else:
    os.chmod(box, 0o700)
raise_events(12000)
os.chmod(box, 0o700)
wait()
raise_events(100)
"""
        for name in ("good", "bad"):
            (scratch / name).mkdir()
            os.chown(scratch / name, SOMEBODY, SOMEBODY)
            (scratch / name / "audit").mkdir(mode=0o755)
            (scratch / name / "audit" / "journal").mkdir()
            (scratch / name / "audit" / "journal").chmod(0o1777)
        recording = in_trouble(installed_here, program, scratch / "good", scratch / "bad")
        kept = [e.values[0] for e in recording.events("app.event")]
        assert kept[-100:] == list(range(12300, 12400))
        assert lost(recording)["no-journal"] > 5000
    finally:
        shutil.rmtree(scratch)


@ROOT_ONLY
def test_user_changed_where_he_may_not_write(installed_here: Installed) -> None:
    """A private directory of root's is closed to whom root becomes: the segment in hand is all there is."""
    scratch = Path(tempfile.mkdtemp(prefix="pythonaudit-"))
    try:
        scratch.chmod(0o755)
        for name in ("good", "bad"):
            (scratch / name).mkdir(mode=0o755)
        program = f"""
os.setgid(0 if "good" in place else {SOMEBODY})
os.setuid(0 if "good" in place else {SOMEBODY})
raise_events(3000)
"""
        recording = in_trouble(installed_here, program, scratch / "good", scratch / "bad")
        assert lost(recording)["no-journal"] > 2000
    finally:
        shutil.rmtree(scratch)


@ROOT_ONLY
def test_runtime_directory_instead(installed_here: Installed) -> None:
    """Where nothing can be written, the user's runtime directory is next."""
    scratch = Path(tempfile.mkdtemp(prefix="pythonaudit-"))
    try:
        scratch.chmod(0o755)
        (scratch / "runtime").mkdir(mode=0o700)
        os.chown(scratch / "runtime", SOMEBODY, SOMEBODY)
        program = f"""
import os, sys
os.setgid({SOMEBODY})
os.setuid({SOMEBODY})
for n in range(5000):
    sys.audit("app.event", n, "x" * 900)
"""
        recording = installed_here.record(
            program, directory=scratch / "audit", settings={"XDG_RUNTIME_DIR": scratch / "runtime"}
        )
        elsewhere = Recording(scratch / "runtime" / "pythonaudit", recording.completed)
        kept = [e.values[0] for r in (recording, elsewhere) for e in r.events("app.event")]
        assert kept == list(range(5000))
        assert elsewhere.events("app.event")
        assert Journal(recording.directory, [elsewhere.directory]).losses() == []
        assert set(lost(elsewhere)) == {"missing-segments"}  # the first is where it could still write
    finally:
        shutil.rmtree(scratch)


STOPS = {
    "at the start": ("/dev/null/audit", "print('ran')"),
    "in between": (
        None,
        "import os, resource, sys\nprint('ran', flush=True)\nwhile True: sys.audit('app.event', 'x' * 900)",
    ),
}


@pytest.mark.parametrize("when", STOPS)
def test_stop_when_it_cannot_be_recorded(installed: Installed, tmp_path: Path, when: str) -> None:
    where, program = STOPS[when]
    if where is None:
        program = program.replace(
            "print", "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\nprint", 1
        )
    directory = Path(where) if where else tmp_path / "audit"
    done = installed.record(
        program, directory=directory, settings={"PYTHONAUDIT_ON_FAILURE": "stop"}, status=78
    ).completed
    assert done.stdout == ("" if where else "ran\n")
    (line,) = done.stderr.splitlines()
    assert line.startswith("pythonaudit: ")
    assert str(directory) in line


def test_a_directory_that_cannot_be_made_is_no_matter(installed: Installed) -> None:
    done = installed.record("print('ran')", directory=Path("/dev/null/audit")).completed
    assert (done.stdout, done.stderr) == ("ran\n", "")


def test_what_is_off_is_not_lost(installed_here: Installed, tmp_path: Path) -> None:
    """Events that nobody wanted are no loss where nothing can be recorded."""
    program = """
import os, resource, sys
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
n = 0
while n < 1000:
    sys.audit("app.event", n, "x" * 900)
    os.listdir("/")
    n += 1
"""
    recording = installed_here.record(program, settings={"PYTHONAUDIT_EVENTS": "app"})
    kept = recording.events("app.event")
    assert len(kept) == len(recording.events())
    assert len(kept) + lost(recording)["no-space"] == 1000


def test_no_memory_to_map(installed_here: Installed, tmp_path: Path) -> None:
    """A next segment that cannot be mapped: what it would have held is counted, until it can."""
    program = """
import re, resource
limits = resource.getrlimit(resource.RLIMIT_AS)
raise_events(1000)
with open("/proc/self/status") as status:
    used = int(re.search(r"VmSize:\\s+(\\d+)", status.read())[1]) * 1024
if trouble:
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 20), limits[1]))
else:
    resource.setrlimit(resource.RLIMIT_AS, limits)
raise_events(10000)
resource.setrlimit(resource.RLIMIT_AS, limits)
wait()
raise_events(100)
"""
    for name in ("good", "bad"):
        (tmp_path / name).mkdir()
    recording = in_trouble(installed_here, program, tmp_path / "good", tmp_path / "bad")
    kept = [e.values[0] for e in recording.events("app.event")]
    assert kept[-100:] == list(range(11000, 11100))
    assert lost(recording)["no-memory"] > 1000
    assert len(list(recording.directory.rglob("*.pyaudit"))) == len({e.process.id for e in recording.events()}) + 1


def test_killed_by_a_limit_of_time(installed_here: Installed) -> None:
    """RLIMIT_CPU, as any signal, loses nothing."""
    program = """
import resource, signal, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_CPU, (1, 2))
n = 0
while True:
    sys.audit("app.event", n)
    for _ in range(2000): pass
    n += 1
"""
    recording = installed_here.record(program, status=-signal.SIGXCPU)
    kept = [e.values[0] for e in recording.events("app.event")]
    assert kept == list(range(len(kept)))
    assert lost(recording) == {}
