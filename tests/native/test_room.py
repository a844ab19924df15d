"""The room that a journal may take: a full disk, the limit of file sizes, PYTHONAUDIT_MAX_BYTES."""

import os
import resource
import shutil
import signal
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from errno import EDQUOT, EFBIG, ENOSPC
from pathlib import Path

import pytest

from tests.native.store_driver import KIB, MIB, Driver, held, names, usage, user

ROOT = os.geteuid() == 0
ALICE = 64321


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user can reach, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def driver() -> Iterator[Driver]:
    with Driver() as process:
        yield process


# ---- the disk ----


@pytest.fixture
def mount() -> Iterator[Callable[[Path, str], None]]:
    """Mounts small file systems, and takes them away again."""
    mounted: list[Path] = []

    def make(where: Path, options: str) -> None:
        if not ROOT:
            pytest.skip("only root can mount")
        command = ["mount", "-t", "tmpfs", "-o", f"mode=755,{options}", "none", str(where)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
        mounted.append(where)

    yield make
    for where in mounted:
        subprocess.run(["umount", str(where)], check=True)


@pytest.fixture
def small(place: Path, mount: Callable[[Path, str], None]) -> Path:
    """A file system of 1 MiB."""
    mount(place, "size=1m")
    return place


@pytest.mark.parametrize("allocates", [True, False])
def test_a_full_disk_leaves_nothing_behind(small: Path, driver: Driver, allocates: bool) -> None:
    box = driver.open(small)
    if not allocates:
        driver.ask("no-fallocate")
    assert driver.ask_number("create", "big.pyaudit", 4 * MIB) == -ENOSPC
    inode = driver.create("x.pyaudit", 128 * KIB)
    assert driver.ask_number("grow", "x.pyaudit", inode, 128 * KIB, 2 * MIB) == -ENOSPC
    assert names(box) == ["usage", "x.pyaudit"]
    assert (box / "x.pyaudit").stat().st_size == usage(box) == 128 * KIB
    while driver.ask_number("create", f"{len(names(box))}.pyaudit", 128 * KIB) == 0:
        assert len(names(box)) < 10
    assert usage(box) == held(box)
    assert driver.ask_number("trim", "x.pyaudit", inode, 128 * KIB, 4096) == 0
    driver.create("y.pyaudit", 64 * KIB)


def test_a_disk_without_room_for_the_directory(place: Path, mount: Callable[[Path, str], None]) -> None:
    mount(place, "nr_inodes=3")
    with Driver(**user(ALICE)) as driver:
        (place / "journal").mkdir()
        (place / "journal").chmod(0o1777)
        (place / "one").touch()
        assert driver.ask("open", place, MIB, 0)[0] == str(-ENOSPC)


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * KIB, 64 * KIB))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


@pytest.mark.parametrize("allocates", [True, False])
def test_the_limit_of_file_sizes_kills_nobody(place: Path, allocates: bool) -> None:
    with Driver(preexec_fn=limited) as driver:
        if not allocates:
            driver.ask("no-fallocate")
        box = driver.open(place)
        assert driver.ask_number("create", "big.pyaudit", 128 * KIB) == -EFBIG
        inode = driver.create("x.pyaudit", 32 * KIB)
        assert driver.ask_number("grow", "x.pyaudit", inode, 32 * KIB, 128 * KIB) == -EFBIG
        assert driver.ask("signals") == ["0", "0", "0"], "nothing blocked, nothing pending"
    assert names(box) == ["usage", "x.pyaudit"]
    assert (box / "x.pyaudit").stat().st_size == usage(box) == 32 * KIB


def test_a_signal_that_was_pending_before_stays(place: Path) -> None:
    with Driver(preexec_fn=limited) as driver:
        driver.open(place)
        driver.ask("block-and-raise")
        assert driver.ask_number("create", "big.pyaudit", 128 * KIB) == -EFBIG
        assert driver.ask("signals") == ["1", "1", "0"]


# ---- the limit ----


def test_stop_at_the_limit(place: Path, driver: Driver) -> None:
    box = driver.open(place, MIB, stop=True)
    inode = driver.create("x.pyaudit", 512 * KIB)
    driver.create("y.pyaudit", 512 * KIB)
    assert driver.ask_number("create", "z.pyaudit", 4096) == -EDQUOT
    assert driver.ask_number("grow", "x.pyaudit", inode, 512 * KIB, 513 * KIB) == -EDQUOT
    assert names(box) == ["usage", "x.pyaudit", "y.pyaudit"]
    assert usage(box) == held(box) == MIB
    assert driver.ask_number("trim", "x.pyaudit", inode, 512 * KIB, 4096) == 0
    driver.create("z.pyaudit", 508 * KIB)


@pytest.mark.parametrize("stop", [True, False])
def test_more_than_the_limit_at_once_removes_nothing(place: Path, driver: Driver, stop: bool) -> None:
    box = driver.open(place, MIB, stop)
    driver.create("x.pyaudit", 4096)
    assert driver.ask_number("create", "y.pyaudit", MIB + 1) == -EDQUOT
    assert names(box) == ["usage", "x.pyaudit"]


@pytest.mark.parametrize("wrong", [MIB, 10 * MIB, 2**64 - 1, 2**64 - 4096])
@pytest.mark.parametrize("stop", [True, False])
def test_a_wrong_account_is_mended_at_the_limit(place: Path, driver: Driver, wrong: int, stop: bool) -> None:
    box = driver.open(place, MIB, stop)
    driver.create("x.pyaudit", 128 * KIB)
    (box / "usage").write_bytes(struct.pack("<QQ", wrong, 0))
    driver.create("y.pyaudit", 128 * KIB)
    assert usage(box) == held(box) == 256 * KIB


def test_segments_that_somebody_removed_are_noticed_at_the_limit(place: Path, driver: Driver) -> None:
    box = driver.open(place, MIB, stop=True)
    for name in "abcd":
        driver.create(f"{name}.pyaudit", 256 * KIB)
    (box / "a.pyaudit").unlink()
    driver.create("e.pyaudit", 256 * KIB)
    assert usage(box) == held(box) == MIB


def test_a_lost_account_starts_with_what_is_there(place: Path, driver: Driver) -> None:
    box = driver.open(place)
    driver.create("x.pyaudit", 128 * KIB)
    (box / "usage").unlink()
    driver.create("y.pyaudit", 4096)
    assert usage(box) == held(box) == 132 * KIB
    (box / "usage").write_bytes(b"")
    driver.create("z.pyaudit", 4096)
    assert usage(box) == held(box) == 136 * KIB


def test_an_account_below_zero_is_zero(place: Path, driver: Driver) -> None:
    box = driver.open(place)
    inode = driver.create("x.pyaudit", 128 * KIB)
    (box / "usage").write_bytes(bytes(16))
    assert driver.ask_number("trim", "x.pyaudit", inode, 128 * KIB, 4096) == 0
    assert usage(box) == 0


@pytest.mark.parametrize("trap", ["directory", "link", "fifo"])
def test_an_account_that_is_none(place: Path, driver: Driver, trap: str) -> None:
    box = driver.open(place)
    (place / "other").write_bytes(b"\1" * 16)
    if trap == "directory":
        (box / "usage").mkdir()
    elif trap == "link":
        (box / "usage").symlink_to(place / "other")
    else:
        os.mkfifo(box / "usage")
    assert driver.ask_number("create", "x.pyaudit", 4096) < 0
    assert names(box) == ["usage"]
    assert (place / "other").read_bytes() == b"\1" * 16


def test_other_files_do_not_count(place: Path, driver: Driver) -> None:
    box = driver.open(place, MIB, stop=True)
    (box / "notes.txt").write_bytes(bytes(2 * MIB))
    (box / f"{'long' * 20}.pyaudit").write_bytes(bytes(2 * MIB))
    (box / "link.pyaudit").symlink_to("notes.txt")
    (box / "directory.pyaudit").mkdir()
    driver.create("x.pyaudit", 512 * KIB)
    (box / "usage").unlink()
    driver.create("y.pyaudit", 512 * KIB)
    assert usage(box) == MIB


def test_of_the_runtime_directory_a_quarter_is_taken(small: Path) -> None:
    small.chmod(0o700)
    with Driver({"XDG_RUNTIME_DIR": str(small)}) as driver:
        assert driver.ask("open", "/proc/none", 1 << 40, 1)[:2] == ["0", "1"]
        driver.create("x.pyaudit", 128 * KIB)
        driver.create("y.pyaudit", 128 * KIB)
        assert driver.ask_number("create", "z.pyaudit", 4096) == -EDQUOT


def test_two_processes_charge_at_once(place: Path) -> None:
    """Neither waits for the other's answer, so that they do run side by side."""
    rounds = 150
    with Driver() as one, Driver() as two:
        boxes = {one.open(place, rounds * 8 * KIB), two.open(place, rounds * 8 * KIB)}
        for i in range(rounds):
            for name, process in (("a", one), ("b", two)):
                process.tell("create", f"{name}{i}.pyaudit", 4096)
        for process in (one, two):
            for _ in range(rounds):
                assert process.hear()[0] == "0"
        (box,) = boxes
        assert usage(box) == held(box) == 2 * rounds * 4096
        assert one.ask_number("create", "more.pyaudit", rounds * 8 * KIB + 1) == -EDQUOT
