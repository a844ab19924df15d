"""Which segments go when the limit is reached, which stay, and how what was in them is counted."""

import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from errno import EDQUOT
from pathlib import Path

import pytest

from tests.native.store_driver import KIB, MIB, Driver, held, names, usage

OPEN, ROTATED, CLEAN_END, VOID = 1, 2, 3, 4
EVENT, OWNER, COUNT = 1, 2, 4
EVENTS, STRINGS = 1, 2
SIZE = 128 * KIB


def boot_id() -> bytes:
    return bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text().replace("-", ""))


def start_time(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def dead() -> tuple[int, int]:
    with subprocess.Popen(["true"]) as process:
        return process.pid, 1


def header(
    *,
    state: int = OPEN,
    process: tuple[int, int] | None = None,
    boot: bytes | None = None,
    namespace: int | None = None,
    losses: dict[int, int] | None = None,
    major: int = 1,
    incompatible: int = 0,
    size: int = 4096,
) -> bytes:
    """A segment's header, by docs/format/journal.md section 2; of a dead process if no pid and start are given."""
    pid, pid_start = process or dead()
    page = bytearray(size)
    struct.pack_into("<8sHHIII", page, 0, b"PYAUDIT\n", major, 0, size, incompatible, 0)
    page[56:72] = boot_id() if boot is None else boot
    where = os.stat("/proc/self/ns/pid").st_ino if namespace is None else namespace
    struct.pack_into("<IIIIQQ", page, 72, 0, state, pid, 1, pid_start, where)
    for reason, count in (losses or {}).items():
        struct.pack_into("<Q", page, 256 + 8 * reason, count)
    return bytes(page)


def entry(kind: int, commit: int = 7, count: int = 0) -> bytes:
    return struct.pack("<IBBHQIIII", commit, kind, 1, 0, count, 1, 0, 64, 0)


def chunk(
    entries: list[bytes], size: int = 4096, kind: int = EVENTS, generation: int = 7, magic: int = 0x4B4E4843
) -> bytes:
    """A chunk with these entries, by sections 3 and 5."""
    each = len(entries[0])
    head = struct.pack("<IIIHHI", magic, size, generation, kind, each, 0).ljust(64, b"\0")
    return head + bytes(size - 64 - each * len(entries)) + b"".join(reversed(entries))


FIRST_THREAD_ENDS = """
import ctypes, sys, threading
threading.Thread(target=sys.stdin.read).start()
ctypes.CDLL(None).pthread_exit(None)
"""
#: A live process: this one.
LIVE = os.getpid(), start_time(os.getpid())


@pytest.fixture
def place() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def driver(place: Path) -> Iterator[Driver]:
    """With a store of eight segments' room."""
    with Driver() as process:
        process.open(place, 8 * SIZE)
        yield process


@pytest.fixture
def box(place: Path, driver: Driver) -> Path:
    return place / "journal" / f"u{os.geteuid()}"


def put(box: Path, name: str, content: bytes, size: int = SIZE) -> Path:
    """A segment of that size in the box."""
    path = box / f"{name}.pyaudit"
    path.write_bytes(content.ljust(size, b"\0"))
    return path


def fill(box: Path, count: int = 8) -> None:
    """As many open segments of a live process as that."""
    for i in range(count):
        put(box, f"live{i}", header(process=LIVE))


# ---- which ----


def test_the_oldest_go_until_a_tenth_is_free(box: Path, driver: Driver) -> None:
    for i in (5, 3, 7, 1, 0, 2, 6, 4):  # not in the order of the directory
        put(box, f"{i:016x}", header(state=ROTATED))
    driver.create("new.pyaudit", SIZE)
    assert names(box) == [*(f"{i:016x}.pyaudit" for i in range(2, 8)), "new.pyaudit", "usage"]
    assert usage(box) == held(box) == 7 * SIZE
    driver.create("newer.pyaudit", SIZE)
    assert len(names(box)) == 9, "the limit itself may be reached"
    inode = (box / "newer.pyaudit").stat().st_ino
    assert driver.ask_number("grow", "newer.pyaudit", inode, SIZE, SIZE + 4096) == 0
    assert usage(box) == held(box)
    assert names(box)[0] == f"{3:016x}.pyaudit"


def test_open_segments_of_live_processes_stay(box: Path, driver: Driver) -> None:
    fill(box)
    assert driver.ask_number("create", "new.pyaudit", SIZE) == -EDQUOT
    assert len(names(box)) == 9 and usage(box) == held(box) == 8 * SIZE
    put(box, "live3", header(process=LIVE, state=ROTATED))
    put(box, "live5", header(process=LIVE, state=CLEAN_END))
    driver.create("new.pyaudit", SIZE)
    assert not {"live3.pyaudit", "live5.pyaudit"} & set(names(box))
    assert len(names(box)) == 8


def before_this_boot() -> float:
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) - 60


OTHER_BOOT = bytes(range(16))


LONG_AGO = time.time() - 4000

#: What the file holds, when it was last written if not now, and whether it may be removed.
JUDGED: dict[str, tuple[bytes, float | None, bool]] = {
    "no such process": (header(), None, True),
    "its number is another's now": (header(process=(LIVE[0], LIVE[1] - 1)), None, True),
    "alive": (header(process=LIVE), None, False),
    "before this boot": (header(process=LIVE, boot=OTHER_BOOT), before_this_boot(), True),
    "of another host": (header(boot=OTHER_BOOT), None, False),
    "of an unknown boot": (header(process=LIVE, boot=bytes(16)), None, False),
    "of another namespace": (header(namespace=1), None, False),
    "of an unknown namespace": (header(namespace=0), None, False),
    "of unknown age": (header(process=(LIVE[0], 0)), None, False),
    "no process number": (header(process=(2**31 + 5, 5)), None, False),
    "rotated, elsewhere": (header(state=ROTATED, boot=OTHER_BOOT, namespace=1), None, True),
    "ended": (header(state=CLEAN_END, process=LIVE), None, True),
    "unknown state, dead": (header(state=9), None, True),
    "unknown state, alive": (header(state=9, process=LIVE), None, False),
    "of a later format": (header(state=ROTATED, major=2), None, False),
    "with an unknown flag": (header(state=ROTATED, incompatible=1 << 31), None, False),
    "not begun": (b"", time.time() - 60, False),
    "never begun": (b"", LONG_AGO, True),
    "not a segment": (b"something else", None, False),
    "not a segment, old": (b"something else", LONG_AGO, True),
}


@pytest.mark.parametrize("name", JUDGED)
def test_who_is_dead(box: Path, driver: Driver, name: str) -> None:
    content, written, goes = JUDGED[name]
    fill(box, 7)
    path = put(box, "judged", content)
    if written is not None:
        os.utime(path, (written, written))
    assert driver.ask_number("create", "new.pyaudit", 4096) == (0 if goes else -EDQUOT)
    assert path.exists() is not goes
    assert driver.ask_number("evicted") == 0


def test_a_process_that_ended_and_was_not_waited_for(box: Path, driver: Driver) -> None:
    """It has a place in /proc still, and where process 1 waits for nobody it keeps it."""
    fill(box, 7)
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        path = put(box, "judged", header(process=(process.pid, start_time(process.pid))))
        driver.create("new.pyaudit", SIZE)
        assert not path.exists()


def test_a_process_whose_first_thread_has_ended(box: Path, driver: Driver) -> None:
    """It looks like one that nobody has waited for; its other threads go on."""
    fill(box, 7)
    with subprocess.Popen([sys.executable, "-c", FIRST_THREAD_ENDS], stdin=subprocess.PIPE) as process:
        while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            assert process.poll() is None
        path = put(box, "judged", header(process=(process.pid, start_time(process.pid))))
        assert driver.ask_number("create", "new.pyaudit", SIZE) == -EDQUOT
        assert path.exists()
        process.communicate()


def test_nobody_is_judged_by_the_proc_of_another_namespace(place: Path) -> None:
    """There /proc/1 is another process than the one whose number is 1 here."""
    look = 'stat -Lc %i /proc/self/ns/pid && exec "$0"'
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "--pid", "--fork", "true"]).returncode != 0:
        pytest.skip("no pid namespace can be made here")
    with Driver({"PATH": os.defpath}, [unshare, "--pid", "--fork", "sh", "-c", look]) as driver:
        namespace = int(driver.hear()[0])
        assert namespace != os.stat("/proc/self/ns/pid").st_ino
        box = driver.open(place, SIZE)
        put(box, "judged", header(process=(1, 12345), namespace=namespace))
        assert driver.ask_number("create", "new.pyaudit", 4096) == -EDQUOT


@pytest.mark.parametrize(
    ("monotonic", "realtime", "namespace", "goes"),
    [
        (25, 25, 1, True),
        (25, 23, 1, False),  # the clock was set
        (23, 25, 1, False),  # another time namespace
        (25, 25, None, False),  # it can be looked at, and lives
    ],
)
def test_a_last_sign_of_life(
    place: Path, monotonic: int, realtime: int, namespace: int | None, goes: bool
) -> None:
    """What cannot be looked at is dead when both clocks say that it was silent for more than 24 hours."""
    up_for_longer = ["unshare", "--fork", "--time", "--monotonic", "200000"]
    if shutil.which("unshare") is None or subprocess.run([*up_for_longer, "true"]).returncode != 0:
        pytest.skip("no time namespace can be made here")
    content = bytearray(header(process=LIVE, namespace=namespace))
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) + 200_000 * 10**9, time.time_ns()
    beats = (clock - hours * 3600 * 10**9 for clock, hours in zip(now, (monotonic, realtime), strict=True))
    struct.pack_into("<QQ", content, 192, *beats)
    with Driver({"PATH": os.defpath}, up_for_longer) as driver:
        box = driver.open(place, SIZE)
        path = put(box, "judged", bytes(content))
        assert driver.ask_number("create", "new.pyaudit", 4096) == (0 if goes else -EDQUOT)
        assert path.exists() is not goes


def test_what_an_earlier_segment_left_behind_is_not_counted(box: Path, driver: Driver) -> None:
    """A file that is used again: chunks behind `used` are of what it was; a void one holds nothing."""
    fill(box, 7)
    content = bytearray(header(state=ROTATED) + chunk([entry(OWNER), entry(EVENT)]) + chunk([entry(EVENT)] * 9))
    struct.pack_into("<I", content, 176, 8192)
    put(box, "again", bytes(content))
    driver.create("new.pyaudit", SIZE)
    assert driver.ask_number("evicted") == 1
    (box / "new.pyaudit").unlink()
    put(box, "void", header(state=VOID) + chunk([entry(EVENT)] * 9))
    driver.create("newer.pyaudit", SIZE)
    assert not (box / "void.pyaudit").exists()
    assert driver.ask_number("evicted") == 0


def test_short_and_odd_files(box: Path, driver: Driver) -> None:
    fill(box, 7)
    for i, content in enumerate([b"", b"PYAUDIT\n", header(state=ROTATED)[:383], bytes(100 * KIB)]):
        os.utime(put(box, f"odd{i}", content, size=0), (LONG_AGO, LONG_AGO))
    put(box, "odd9", header(state=ROTATED)[:384], size=0)
    put(box, "a-big-one", header(state=ROTATED), size=SIZE)
    driver.create("new.pyaudit", SIZE)
    assert names(box)[:7] == [f"live{i}.pyaudit" for i in range(7)]
    assert driver.ask_number("evicted") == 0


# ---- what was in them ----

SEGMENTS = {
    "nothing": (header(state=ROTATED), 0),
    "events": (header(state=ROTATED) + chunk([entry(OWNER)] + [entry(EVENT)] * 5), 5),
    "counts": (
        header(state=ROTATED) + chunk([entry(COUNT, count=1000), entry(EVENT), entry(COUNT, count=5)]), 1006),
    "losses": (header(state=ROTATED, losses={0: 2, 4: 30, 6: 1, 15: 100}), 133),
    "up to the first that is not committed": (
        header(state=ROTATED) + chunk([entry(EVENT), entry(EVENT, commit=0), entry(EVENT)]), 1),
    "several chunks": (
        header(state=ROTATED) + chunk([entry(EVENT)] * 3) + chunk([entry(EVENT)] * 9, kind=STRINGS)
        + chunk([entry(EVENT, commit=9)] * 4, generation=9, size=8192), 7),
    "a full chunk": (header(state=ROTATED) + chunk([entry(EVENT)] * ((64 * KIB - 64) // 32), size=64 * KIB), 2046),
    "a chunk of more than one window": (
        header(state=ROTATED) + chunk([entry(EVENT)] * 3000, size=100 * KIB), 3000),
    "longer entries of a later version": (
        header(state=ROTATED) + chunk([entry(EVENT).ljust(40, b"\0")] * 4), 4),
    "a later header": (
        header(state=ROTATED, size=8192)[:4096] + chunk([entry(EVENT)]) + chunk([entry(EVENT)] * 4), 4),
    "entries that are too short": (header(state=ROTATED) + chunk([entry(EVENT)[:16]] * 4), 0),
    "one never published": (
        header(state=ROTATED) + chunk([entry(EVENT)], magic=0) + chunk([entry(EVENT)] * 2), 2),
    "a chunk that ends behind the file": (
        header(state=ROTATED) + chunk([entry(EVENT)], size=2 * SIZE)[:4096] + chunk([entry(EVENT)] * 2), 2),
    "generation 0": (header(state=ROTATED) + chunk([entry(0, commit=0)] * 2, generation=0), 0),
    "forged counts": (
        header(state=ROTATED, losses={0: 2**64 - 1, 1: 5}) + chunk([entry(COUNT, count=2**64 - 1)] * 2),
        2**64 - 1),
    "a dead process's": (header() + chunk([entry(EVENT)] * 6), 6),
}  # fmt: skip


@pytest.mark.parametrize("name", SEGMENTS)
def test_what_was_in_a_removed_segment_is_counted(box: Path, driver: Driver, name: str) -> None:
    content, events = SEGMENTS[name]
    fill(box, 7)
    path = put(box, "old", content)
    assert driver.ask_number("create", "new.pyaudit", 4096) == 0
    assert not path.exists()
    assert driver.ask_number("evicted") == events


@pytest.mark.parametrize("size", [0, 32, 4095, 4097, 8191, 2**31, 2**32 - 4096])
@pytest.mark.parametrize("entry_size", [0, 16, 31, 32, 65535])
def test_forged_lengths_are_survived(box: Path, driver: Driver, size: int, entry_size: int) -> None:
    forged = bytearray(chunk([entry(EVENT)] * 3))
    struct.pack_into("<I", forged, 4, size)
    struct.pack_into("<H", forged, 14, entry_size)
    fill(box, 7)
    put(box, "old", header(state=ROTATED) + bytes(forged))
    assert driver.ask_number("create", "new.pyaudit", 4096) == 0
    assert driver.ask_number("evicted") == 0


def test_a_segment_of_any_length_is_read_no_further_than_segments_go(place: Path) -> None:
    with Driver() as driver:
        box = driver.open(place, 1 << 50)
        old = put(box, "old", header(state=ROTATED))
        with old.open("r+b") as file:
            file.seek(4 * MIB)
            file.write(chunk([entry(EVENT)]))
            file.truncate(1 << 40)  # sparse: a walk to its end would not end today
        assert driver.ask("open", place, MIB, 0)[0] == "0"
        (box / "usage").unlink(missing_ok=True)
        driver.create("new.pyaudit", 4096)
        assert driver.ask_number("evicted") == 0
        assert names(box) == ["new.pyaudit", "usage"]


@pytest.mark.parametrize("again", range(10))
def test_two_processes_evict_at_once(place: Path, again: int) -> None:
    """Each removed segment is counted by one of them, and none is counted that stayed."""
    count, limit = 120, 64
    with Driver() as one, Driver() as two:
        (box,) = {one.open(place, limit * 4 * KIB), two.open(place, limit * 4 * KIB)}
        content = header(state=ROTATED)[:4096]
        for i in range(count):
            put(box, f"old{i:03}", content[:256] + struct.pack("<Q", 1 + i) + content[264:], size=4 * KIB)
        for i in range(100):
            for name, process in (("a", one), ("b", two)):
                process.tell("create", f"new-{name}{i}.pyaudit", 4 * KIB)
        answers = [process.hear()[0] for process in (one, two) for _ in range(100)]
        left = sum(1 + int(path.name[3:6]) for path in box.glob("old*.pyaudit"))
        evicted = one.ask_number("evicted") + two.ask_number("evicted")
        assert evicted + left == sum(range(1, count + 1))
        assert held(box) <= (limit + 1) * 4 * KIB, "one may just have been in the making"
        assert set(answers) <= {"0", str(-EDQUOT)}
        assert answers.count("0") == len(list(box.glob("new-*.pyaudit")))
