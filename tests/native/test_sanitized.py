"""The whole recorder under the sanitizers, inside real interpreters: no bad access, no undefined step, no race.

AddressSanitizer and UndefinedBehaviorSanitizer with every interpreter, and programs that raise what can be
raised; ThreadSanitizer where several threads are inside the recorder at once: interpreters with their own GIL.
"""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from pythonaudit.cli.interpreters import Interpreter
from tests.conftest import ROOT, Installed, Recording
from tests.recorded import is_whole, lost, threads, total

PROGRAMS = ROOT / "tests" / "integration"
COMPILER = shutil.which("gcc") or shutil.which("cc")


def library(name: str) -> Path | None:
    """A sanitizer's own library, if the compiler has it."""
    if COMPILER is None:
        return None
    said = subprocess.run([COMPILER, f"-print-file-name=lib{name}.so"], capture_output=True, text=True, check=True)
    found = Path(said.stdout.strip())
    return found if found.is_absolute() else None


def build(directory: Path, sanitizers: str) -> Path:
    """The recorder, compiled with these sanitizers."""
    sources = sorted(p for p in (ROOT / "native").glob("*.c") if not p.name.startswith("preload"))
    built = directory / "_recorder.abi3.so"
    subprocess.run(
        [
            COMPILER or "cc",
            *("-std=gnu11", "-O1", "-g", "-fno-omit-frame-pointer", "-fvisibility=hidden", "-fPIC", "-shared"),
            *("-Wall", "-Wextra", f"-fsanitize={sanitizers}", "-Wl,-z,nodelete"),
            *("-DPy_LIMITED_API=0x030A0000", '-DPA_VERSION="0.0.0"', f"-I{sysconfig.get_path('include')}"),
            *sources,
            *("-o", built, "-ldl", "-lpthread"),
        ],
        check=True,
    )
    return built


class Sanitized:
    """An environment whose recorder reports what it does wrong, to files in `reports`."""

    def __init__(self, environment: Installed, built: Path, library: Path, reports: Path) -> None:
        self.environment = environment
        self.reports = reports
        shutil.copy(built, environment.purelib / "pythonaudit" / built.name)
        options = f"log_path={reports}/report:exitcode=99"
        self.settings: dict[str, str | Path] = {
            "LD_PRELOAD": library,
            "ASAN_OPTIONS": f"{options}:detect_leaks=0",
            "UBSAN_OPTIONS": f"{options}:halt_on_error=1:print_stacktrace=1",
            "TSAN_OPTIONS": f"{options}:halt_on_error=0",
        }

    def record(self, code: str | list[str | Path], **settings: str) -> Recording:
        """Records the program; fails if anything was reported."""
        recording = self.environment.record(code, settings=self.settings | settings, status=None)
        reports = "".join(path.read_text() for path in sorted(self.reports.iterdir()))
        assert not reports, reports[:10_000]
        done = recording.completed
        assert done.returncode == 0, done.stderr
        assert is_whole(recording)
        threads(recording.journal.events())
        return recording


@pytest.fixture(scope="session")
def with_addresses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if library("asan") is None:
        pytest.skip("this compiler has no AddressSanitizer")
    return build(tmp_path_factory.mktemp("asan"), "address,undefined")


@pytest.fixture(scope="session")
def addresses(
    install: Callable[[Interpreter], Installed],
    interpreter: Interpreter,
    with_addresses: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Sanitized:
    asan = library("asan")
    assert asan is not None
    return Sanitized(install(interpreter), with_addresses, asan, tmp_path_factory.mktemp("reports"))


def test_the_sanitizer_is_in(addresses: Sanitized) -> None:
    recording = addresses.record("print(open('/proc/self/maps').read())")
    assert "libasan" in recording.completed.stdout
    built = addresses.environment.purelib / "pythonaudit" / "_recorder.abi3.so"
    assert str(built) in recording.completed.stdout
    assert b"__asan_report_store" in built.read_bytes()
    assert recording.events()


def test_everything_that_can_be_raised(addresses: Sanitized, tmp_path: Path) -> None:
    recording = addresses.record([PROGRAMS / "compared_program.py", tmp_path / "seen"], PYTHONAUDIT_EVENTS="all")
    assert len(recording.events()) > 1500


@pytest.mark.parametrize("depth", [3, 128])
def test_stacks_of_every_kind(addresses: Sanitized, tmp_path: Path, depth: int) -> None:
    addresses.record([PROGRAMS / "stack_program.py", tmp_path / "seen"], PYTHONAUDIT_STACK=str(depth))


def test_code_that_comes_and_goes(addresses: Sanitized) -> None:
    """With the text of code revealed; more distinct code than is held at a time."""
    program = """
import sys
for n in range(8000):
    scope = {}
    exec(compile(f"def made_{n}(audit):\\n audit('made', {n})" + "#" * (n % 500), f"<made {n}>", "exec"), scope)
    scope[f"made_{n}"](sys.audit)
"""
    recording = addresses.record(program, PYTHONAUDIT_REVEAL="code")
    assert [e.values for e in recording.events("made")] == [[n] for n in range(8000)]


RANDOM = """
import os, pythonaudit, random, sys, threading
sys.setswitchinterval(1e-5)
CHARACTERS = [chr(c) for c in (97, 61, 58, 34, 10, 0x7f, 0xe9, 0x65e5, 0x1f600, 0xdc80)]
ATOMS = [None, True, 0, -1, 2**63, -(2**1030), 0.1, float("nan"), "password=x", "token: y z", object(), len]
NAMES = ["random", "os.putenv", "compile", "subprocess.Popen", "http.client.send", "ftplib.sendcmd", "x" * 5000]

def anything(chance, depth=0):
    kind = chance.randrange(14 if depth < 8 else 9)
    if kind < 3:
        return "".join(chance.choices(CHARACTERS, k=chance.randrange(40))) * chance.choice((1, 1, 1, 1, 200))
    if kind < 5:
        return chance.randbytes(chance.randrange(60)) * chance.choice((1, 1, 1, 1, 200))
    if kind < 9:
        return chance.choice(ATOMS)
    items = [anything(chance, depth + 1) for _ in range(chance.choice((0, 1, 2, 130)) if depth == 0 else 1)]
    if kind < 13:
        return items if kind < 11 else tuple(items)
    return {n if n % 2 else f"key {n}": item for n, item in enumerate(items)}

def work(seed):
    chance = random.Random(seed)
    for n in range(200):
        name = chance.choice((*NAMES, f"random.{n}", f"Random: n={n} é"))
        fields = {chance.choice(("user", "password", "x" * 5000, chr(0xDC80) + "é")): anything(chance) for _ in range(n % 3)}
        with pythonaudit.context(**fields):
            sys.audit(name, *(anything(chance) for _ in range(chance.randrange(6))))

with pythonaudit.context(): pass # imported now: a fork while another thread imports waits for that thread for ever
threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
for t in threads: t.start()
for n in range(6):
    pid = os.fork()
    if pid == 0:
        work(100 + n)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
for t in threads: t.join()
sys.audit("done")
"""

INTERPRETERS = """
import sys, threading
try:
    import _interpreters
except ImportError:
    import _xxsubinterpreters as _interpreters

def live(interpreter):
    _interpreters.run_string(interpreter, CODE)
    _interpreters.destroy(interpreter)

CODE = '''
import sys
from pythonaudit import context
def deep(levels, *args):
    if levels:
        return deep(levels - 1, *args)
    sys.audit(*args)
for n in range(3000):
    with context(n=n // 5):
        deep(n % 9, f"parallel.{n % 500}" if n % 2 else f"Message: n={n}", n, "x" * (n % 300))
'''
for again in range(2):
    these = [_interpreters.create() for _ in range(4)]
    threads = [threading.Thread(target=live, args=(i,)) for i in these]
    for t in threads: t.start()
    for t in threads: t.join()
"""


def test_anything_from_threads_and_forks(addresses: Sanitized) -> None:
    recording = addresses.record(RANDOM)
    assert len(recording.events("done")) == 1
    assert len(recording.journal.processes()) == 7


def test_interpreters(addresses: Sanitized) -> None:
    recording = addresses.record(INTERPRETERS)
    assert len([e for e in recording.events() if e.event.startswith(("parallel.", "Message"))]) == 8 * 3000


def test_small_room(addresses: Sanitized) -> None:
    """Segments that are closed, evicted and begun all the time."""
    program = "import sys\nfor n in range(20000): sys.audit(f'small.{n % 50}', n, 'x' * (n % 2000))"
    settings = addresses.settings | {"PYTHONAUDIT_MAX_BYTES": "1M"}
    recording = addresses.environment.record(program, settings=settings)
    assert list(addresses.reports.iterdir()) == []
    assert recording.events()[-1].event == "cpython._PySys_ClearAuditHooks"


@pytest.fixture(scope="session")
def with_threads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if library("tsan") is None:
        pytest.skip("this compiler has no ThreadSanitizer")
    return build(tmp_path_factory.mktemp("tsan"), "thread")


@pytest.fixture(scope="session")
def races(
    install: Callable[[Interpreter], Installed],
    interpreter: Interpreter,
    with_threads: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Sanitized:
    tsan = library("tsan")
    assert tsan is not None
    if interpreter.version < (3, 12):
        pytest.skip("there is one GIL, and one thread in the recorder")
    return Sanitized(install(interpreter), with_threads, tsan, tmp_path_factory.mktemp("reports"))


def test_no_races_between_interpreters(races: Sanitized) -> None:
    recording = races.record(INTERPRETERS)
    assert len([e for e in recording.events() if e.event.startswith(("parallel.", "Message"))]) == 8 * 3000


def test_no_races_while_segments_come_and_go(races: Sanitized) -> None:
    """And what was evicted under one thread, while others were writing, is counted to the event.

    So is what finds the limit reached while a thread of each interpreter, kept waiting, is still in an older
    segment: then none may go.
    """
    program = INTERPRETERS.replace("range(3000)", "range(8000)")
    settings = races.settings | {"PYTHONAUDIT_EVENTS": "all"}
    fine = races.record(program, PYTHONAUDIT_EVENTS="all")
    small = races.environment.record(program, settings=settings | {"PYTHONAUDIT_MAX_BYTES": "1M"})
    assert list(races.reports.iterdir()) == []
    assert total(small) == total(fine)
    assert {"evicted", "missing-segments"} <= set(lost(small)) <= {"evicted", "missing-segments", "limit"}
