"""The directories of the journal and its files, among people who lay traps."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from errno import EACCES, EDQUOT, EEXIST, EMFILE, ENOENT, ENOTDIR, EPERM, ESTALE
from pathlib import Path

import pytest

from tests.native.store_driver import KIB, MIB, Driver, held, mode, names, program, usage, user

ROOT = os.geteuid() == 0
ME = os.geteuid()
ALICE, BOB = 64321, 64322
root_only = pytest.mark.skipif(not ROOT, reason="only root can be other users and mount")


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


# ---- directories ----


@pytest.mark.parametrize("mask", [0o022, 0o000, 0o077, 0o277, 0o777])
def test_what_is_made_is_private_whatever_the_umask(place: Path, mask: int) -> None:
    with Driver(umask=mask) as driver:
        box = driver.open(place / "a" / "b" / "c")
        driver.create("x.pyaudit", 4096)
        assert driver.ask_number("descriptors") == 3
    assert box == place / "a/b/c/journal" / f"u{ME}"
    for directory in [box, *box.parents]:
        if directory == place:
            break
        assert mode(directory) == 0o700
    assert [mode(box / name) for name in names(box)] == [0o600, 0o600]


@pytest.mark.parametrize("spelling", ["{}/audit/", "{}//audit", "{}/./audit", "{}/audit///"])
def test_spellings_of_a_directory(place: Path, driver: Driver, spelling: str) -> None:
    box = driver.open(spelling.format(place))
    assert box.samefile(place / "audit" / "journal" / f"u{ME}")
    assert "//" not in str(box)


def test_an_existing_directory_keeps_its_mode(place: Path, driver: Driver) -> None:
    (place / "audit" / "journal").mkdir(parents=True)
    (place / "audit").chmod(0o755)
    (place / "audit" / "journal").chmod(0o750)
    driver.open(place / "audit")
    assert (mode(place / "audit"), mode(place / "audit" / "journal")) == (0o755, 0o750)


def test_a_directory_by_a_symbolic_link(place: Path, driver: Driver) -> None:
    (place / "real").mkdir()
    (place / "link").symlink_to("real")
    driver.open(place / "link" / "audit")
    assert names(place / "real" / "audit" / "journal") == [f"u{ME}"]


@root_only
def test_the_system_directory_is_a_drop_box() -> None:
    """In a mount namespace of its own, where /var is empty."""
    talk = f"printf 'open\\t/var/log/pythonaudit/\\t9999999\\t0\\n' | {program()}"
    look = "stat -c %a /var/log /var/log/pythonaudit /var/log/pythonaudit/journal /var/log/pythonaudit/journal/u0"
    script = f"umask 077 && mount -t tmpfs none /var && {talk} && {look}"
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no namespace can be made here: {done.stderr.strip()}")
    assert done.stdout.splitlines() == [
        "0\t0\t/var/log/pythonaudit/journal/u0", "755", "711", "1733", "700"]  # fmt: skip


@pytest.fixture
def runtime(place: Path) -> Path:
    """The user's runtime directory."""
    (place / "runtime").mkdir(mode=0o700)
    return place / "runtime"


# ---- drop-boxes and traps ----


@pytest.fixture
def dropbox(place: Path) -> Path:
    """DIR with a sticky journal/ into which everybody may put a box."""
    (place / "journal").mkdir()
    (place / "journal").chmod(0o1733)
    return place


@root_only
def test_users_share_a_drop_box_and_see_nothing_of_each_other(dropbox: Path) -> None:
    for uid in (ALICE, BOB):
        with Driver(**user(uid)) as driver:
            box = driver.open(dropbox)
            driver.create("x.pyaudit", 4096)
        assert box == dropbox / "journal" / f"u{uid}"
        assert (box.stat().st_uid, mode(box), (box / "x.pyaudit").stat().st_uid) == (uid, 0o700, uid)
    alices = dropbox / "journal" / f"u{ALICE}"
    for attempt in (f"os.listdir({str(alices.parent)!r})", f"os.listdir({str(alices)!r})",
                    f"os.rename({str(alices)!r}, {str(alices)!r} + 'x')",
                    f"open({str(alices / 'x.pyaudit')!r})"):  # fmt: skip
        done = subprocess.run(
            ["python3", "-c", f"import os; {attempt}"], capture_output=True, text=True, **user(BOB)
        )
        assert "PermissionError" in done.stderr, attempt


def _as_bob(path: Path) -> None:
    os.chown(path, BOB, BOB, follow_symlinks=False)


def _directory(path: Path) -> None:
    path.mkdir(mode=0o777)
    _as_bob(path)


def _link_to_own(path: Path) -> None:
    target = path.parent.parent / "bobs"
    target.mkdir()
    target.chmod(0o777)
    path.symlink_to(target)
    _as_bob(path)


def _link_to_alices(path: Path) -> None:
    target = path.parent.parent / "alices"
    target.mkdir(mode=0o700)
    os.chown(target, ALICE, ALICE)
    path.symlink_to(target)
    _as_bob(path)


def _fifo(path: Path) -> None:
    os.mkfifo(path, 0o666)
    _as_bob(path)


def _file(path: Path) -> None:
    path.write_bytes(b"trap")
    _as_bob(path)


def _hard_link(path: Path) -> None:
    other = path.parent.parent / "other"
    other.write_bytes(b"trap")
    os.chown(other, ALICE, ALICE)
    path.hardlink_to(other)


def _open_directory_of_hers(path: Path) -> None:
    path.mkdir()
    os.chown(path, ALICE, ALICE)
    path.chmod(0o770)


TRAPS = [_directory, _link_to_own, _link_to_alices, _fifo, _file, _hard_link, _open_directory_of_hers]


@root_only
@pytest.mark.parametrize("trap", TRAPS)
def test_a_trap_is_left_alone_and_a_fresh_box_made(dropbox: Path, trap: Callable[[Path], None]) -> None:
    trapped = dropbox / "journal" / f"u{ALICE}"
    trap(trapped)
    before = trapped.lstat()
    with Driver(**user(ALICE)) as driver:
        box = driver.open(dropbox)
        driver.create("x.pyaudit", 4096)
        driver.create("y.pyaudit", 4096)
    assert re.fullmatch(rf"u{ALICE}-[0-9a-f]{{16}}", box.name) and box.parent == dropbox / "journal"
    assert (box.stat().st_uid, mode(box), names(box)) == (ALICE, 0o700, ["usage", "x.pyaudit", "y.pyaudit"])
    after = trapped.lstat()
    assert (after.st_mode, after.st_uid, after.st_size, after.st_mtime_ns) == (
        before.st_mode, before.st_uid, before.st_size, before.st_mtime_ns)  # fmt: skip
    for target in ("bobs", "alices"):
        assert not (dropbox / target).exists() or names(dropbox / target) == []


@root_only
@pytest.mark.parametrize(
    ("owner", "bits", "refused"),
    [
        (BOB, 0o700, True), (BOB, 0o777, True), (ALICE, 0o770, True), (ALICE, 0o702, True), (0, 0o777, True),
        (BOB, 0o1777, False), (BOB, 0o1733, False), (0, 0o1777, False), (ALICE, 0o700, False),
    ],
)  # fmt: skip
def test_whose_journal_is_trusted(place: Path, owner: int, bits: int, refused: bool) -> None:
    (place / "journal").mkdir()
    os.chown(place / "journal", owner, owner)
    (place / "journal").chmod(bits)
    with Driver(**user(ALICE)) as driver:
        assert driver.ask_number("open", place, MIB, 0) == (-EPERM if refused else 0)


@root_only
def test_root_does_not_trust_a_users_private_journal(place: Path, runtime: Path) -> None:
    (place / "journal").mkdir(mode=0o700)
    os.chown(place / "journal", ALICE, ALICE)
    with Driver({"XDG_RUNTIME_DIR": str(runtime)}) as driver:
        assert driver.ask("open", place, MIB, 0)[:2] == ["0", "1"]
    assert names(place / "journal") == []


def test_a_journal_that_is_a_link_is_not_followed(place: Path, runtime: Path) -> None:
    (place / "elsewhere").mkdir(mode=0o700)
    (place / "journal").symlink_to("elsewhere")
    with Driver({"XDG_RUNTIME_DIR": str(runtime)}) as driver:
        assert driver.ask("open", place, MIB, 0)[:2] == ["0", "1"]
    assert names(place / "elsewhere") == []


@root_only
def test_an_exchanged_box_is_noticed(dropbox: Path) -> None:
    with Driver(**user(ALICE)) as driver:
        box = driver.open(dropbox)
        box.rename(box.with_name("moved"))
        assert driver.ask_number("create", "x.pyaudit", 4096) == -ENOENT
        box.symlink_to("moved")
        assert driver.ask_number("create", "x.pyaudit", 4096) == -ENOTDIR
        box.unlink()
        box.mkdir(mode=0o777)
        assert driver.ask_number("create", "x.pyaudit", 4096) in (-ESTALE, -EACCES)
        assert names(box) == []


@root_only
def test_after_a_change_of_user_the_box_is_another(dropbox: Path, driver: Driver) -> None:
    mine = driver.open(dropbox)
    assert driver.ask_number("seteuid", ALICE) == 0
    assert driver.ask_number("create", "x.pyaudit", 4096) == -EACCES
    hers = driver.open(dropbox)
    driver.create("x.pyaudit", 4096)
    assert driver.ask_number("seteuid", 0) == 0
    assert driver.ask_number("create", "y.pyaudit", 4096) == -ESTALE, "root's file in her box"
    assert (names(mine), names(hers)) == ([], ["usage", "x.pyaudit"])


# ---- nowhere to write ----


@root_only
def test_the_runtime_directory_is_the_fallback(place: Path, runtime: Path) -> None:
    os.chown(runtime, ALICE, ALICE)
    with Driver({"XDG_RUNTIME_DIR": str(runtime)}, **user(ALICE)) as driver:
        assert driver.ask("open", place / "no", MIB, 0) == [
            "0", "1", f"{runtime}/pythonaudit/journal/u{ALICE}"]  # fmt: skip
        driver.create("x.pyaudit", 4096)


@root_only
@pytest.mark.parametrize(("owner", "bits"), [(BOB, 0o777), (ALICE, 0o770), (0, 0o755)])
def test_a_runtime_directory_in_other_hands_is_not_used(place: Path, runtime: Path, owner: int, bits: int) -> None:
    os.chown(runtime, owner, owner)
    runtime.chmod(bits)
    with Driver({"XDG_RUNTIME_DIR": str(runtime)}, **user(ALICE)) as driver:
        assert driver.ask("open", place / "no", MIB, 0)[:2] == [str(-EACCES), "0"]
    assert names(runtime) == []


@root_only
def test_an_unwritable_box_is_replaced(dropbox: Path, runtime: Path) -> None:
    os.chown(runtime, ALICE, ALICE)
    with Driver({"XDG_RUNTIME_DIR": str(runtime)}, **user(ALICE)) as driver:
        box = driver.open(dropbox)
        box.chmod(0o500)
        assert driver.ask_number("create", "x.pyaudit", 4096) == -EACCES
        assert driver.ask("open", dropbox, MIB, 0)[:2] == ["0", "1"]
        assert mode(box) == 0o500, "somebody wanted it so"


def test_a_removed_directory(place: Path, driver: Driver) -> None:
    box = driver.open(place / "audit")
    inode = driver.create("x.pyaudit", 4096)
    shutil.rmtree(place / "audit")
    assert driver.ask_number("grow", "x.pyaudit", inode, 4096, 8192) == -ENOENT
    assert driver.ask_number("trim", "x.pyaudit", inode, 4096, 0) == -ENOENT
    assert driver.ask_number("create", "y.pyaudit", 4096) == -ENOENT
    assert driver.open(place / "audit") == box
    driver.create("y.pyaudit", 4096)
    assert usage(box) == held(box) == 4096


# ---- files ----


def test_create_grow_trim(place: Path, driver: Driver) -> None:
    box = driver.open(place)
    inode = driver.create("x.pyaudit", 128 * KIB)
    path = box / "x.pyaudit"
    assert (path.stat().st_size, path.stat().st_ino, usage(box)) == (128 * KIB, inode, 128 * KIB)
    path.write_bytes(b"\1" * 128 * KIB)
    assert driver.ask_number("grow", "x.pyaudit", inode, 128 * KIB, MIB) == 0
    assert path.stat().st_blocks * 512 >= MIB
    assert path.read_bytes() == b"\1" * 128 * KIB + bytes(MIB - 128 * KIB)
    assert usage(box) == MIB
    assert driver.ask_number("trim", "x.pyaudit", inode, MIB, 8 * KIB) == 0
    assert path.read_bytes() == b"\1" * 8 * KIB
    assert usage(box) == held(box) == 8 * KIB


def test_another_file_of_that_name_is_not_touched(place: Path, driver: Driver) -> None:
    box = driver.open(place)
    inode = driver.create("x.pyaudit", 4096)
    (box / "x.pyaudit").rename(box / "moved.pyaudit")
    (box / "x.pyaudit").write_bytes(b"other")
    assert driver.ask_number("grow", "x.pyaudit", inode, 4096, 8192) == -ESTALE
    assert driver.ask_number("trim", "x.pyaudit", inode, 4096, 0) == -ESTALE
    assert driver.ask_number("create", "x.pyaudit", 4096) == -EEXIST
    assert (box / "x.pyaudit").read_bytes() == b"other"
    assert usage(box) == 4096


def test_a_link_of_that_name_is_not_followed(place: Path, driver: Driver) -> None:
    box = driver.open(place)
    (place / "target").write_bytes(b"other")
    (box / "x.pyaudit").symlink_to(place / "target")
    assert driver.ask_number("create", "x.pyaudit", 4096) == -EEXIST
    inode = (place / "target").stat().st_ino
    assert driver.ask_number("trim", "x.pyaudit", inode, 5, 0) < 0
    assert (place / "target").read_bytes() == b"other"


@pytest.mark.parametrize("command", ["create", "grow"])
def test_where_the_file_system_cannot_allocate_zeros_are_written(
    place: Path, driver: Driver, command: str
) -> None:
    box = driver.open(place)
    inode = driver.create("x.pyaudit", 4096) if command == "grow" else 0
    driver.ask("no-fallocate")
    size = 300 * KIB + 5
    if command == "grow":
        assert driver.ask_number("grow", "x.pyaudit", inode, 4096, size) == 0
    else:
        driver.create("x.pyaudit", size)
    assert (box / "x.pyaudit").read_bytes() == bytes(size)
    assert (box / "x.pyaudit").stat().st_blocks * 512 >= size


@pytest.mark.parametrize("spare", range(5))
def test_few_descriptors_left(place: Path, driver: Driver, spare: int) -> None:
    """The store works, or says that it cannot."""
    box = driver.open(place)
    inode = driver.create("x.pyaudit", 4096)
    assert driver.ask_number("few-descriptors", spare) == 0
    created = driver.ask_number("create", "y.pyaudit", 4096)
    grown = driver.ask_number("grow", "x.pyaudit", inode, 4096, 8192)
    assert (created, grown) == (-EMFILE if spare < 2 else 0, -EMFILE if spare < 3 else 0)
    assert driver.ask_number("open", place, MIB, 0) == (-EMFILE if spare < 2 else 0)
    driver.ask("few-descriptors", 100)  # the leak check at the driver's end needs some
    assert driver.ask_number("descriptors") == 3
    assert usage(box) == held(box)


# ---- descriptors that another thread takes ----


@pytest.mark.parametrize("kind", ["file", "directory"])
@pytest.mark.parametrize("command", ["open", "create", "grow", "trim", "evict"])
def test_descriptors_taken_by_another_thread_are_left_alone(place: Path, kind: str, command: str) -> None:
    """At each moment at which that can be noticed."""
    victim = place / "victim"
    if kind == "file":
        victim.write_bytes(b"the application's own" * 400)
    else:
        victim.mkdir()
    victim.chmod(0o640)
    before = victim.stat()
    with Driver(umask=0o777) as driver:  # so that modes have to be set, too
        for nth in range(1, 200):
            directory, inode = place / f"{nth}", 0
            if command != "open":
                box = driver.open(directory, 16 * KIB)
                inode = driver.create("x.pyaudit", 8 * KIB)
                (box / "unfinished.pyaudit").write_bytes(bytes(8 * KIB))
                os.utime(box / "unfinished.pyaudit", (0, 0))
            commands: dict[str, tuple[object, ...]] = {
                "open": ("open", directory, MIB, 0),
                "create": ("create", "y.pyaudit", 4 * KIB),
                "grow": ("grow", "x.pyaudit", inode, 8 * KIB, 12 * KIB),
                "trim": ("trim", "x.pyaudit", inode, 8 * KIB, 4 * KIB),
                "evict": ("create", "y.pyaudit", 12 * KIB),
            }
            driver.ask("steal", victim, nth)
            error = driver.ask_number(*commands[command])
            became = driver.ask("thief")[0]
            after = victim.stat()
            assert (after.st_mode, after.st_size, after.st_mtime_ns, after.st_nlink) == (
                before.st_mode, before.st_size, before.st_mtime_ns, before.st_nlink)  # fmt: skip
            if became == "not reached":
                assert error == (-EDQUOT if command == "evict" else 0)
                break
            assert became in ("untouched", "nothing to steal")
            assert error <= (1 if command == "create" else 0), "1: taken on the way to the caller"
    assert nth > 10
