"""The recorder's settings, policy and store as a process to talk to: store_driver.c.

    with Driver() as driver:
        box = driver.open("/tmp/somewhere")
        driver.create("x.pyaudit", 4096)
        assert driver.ask("create", "x.pyaudit", 4096) == [str(-errno.EEXIST)]

Built once a session with the address and undefined behaviour sanitizers; a report of theirs ends
it with an exit status that fails the test.
"""

from __future__ import annotations

import functools
import os
import stat
import struct
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

NATIVE = Path(__file__).resolve().parents[2] / "native"
PARTS = ("settings", "policy", "held", "store", "evict")
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g", "-O1"]
STRICT = ["-std=gnu11", "-Wall", "-Wextra", "-Werror"]
WRAP = [f"-Wl,--wrap={function}" for function in ("openat", "fstat", "mmap", "fallocate")]


KIB, MIB = 1 << 10, 1 << 20

#: Keeps the directory for as long as the tests run.
_kept: list[tempfile.TemporaryDirectory[str]] = []


@functools.cache
def program() -> Path:
    """Compiles the driver, in a place where every user can run it."""
    _kept.append(tempfile.TemporaryDirectory(dir="/tmp"))
    os.chmod(_kept[-1].name, 0o755)
    built = Path(_kept[-1].name, "store_driver")
    sources = [Path(__file__).with_suffix(".c"), *(NATIVE / f"{part}.c" for part in PARTS)]
    command = ["cc", *STRICT, *SANITIZE, *WRAP, f"-I{NATIVE}", *map(str, sources), "-o", str(built)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    built.chmod(0o755)
    return built


class Driver:
    """One process of it.

    Args:
        env: its environment; by default nothing.
        before: a command that runs it.
        options: further arguments of `subprocess.Popen`.
    """

    def __init__(self, env: Mapping[str, str] | None = None, before: Sequence[str] = (), **options: Any) -> None:
        self.process: subprocess.Popen[str] = subprocess.Popen(
            [*before, str(program())],
            env=dict(env or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="surrogateescape",
            **options,
        )

    def __enter__(self) -> Driver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.returncode is not None:
            return
        said = self.process.communicate()[1]
        if kind is None:
            assert self.process.returncode == 0, said

    def end(self) -> str:
        """Lets it finish, which has to be in order; returns what it wrote to stderr."""
        said: str = self.process.communicate()[1]
        assert self.process.returncode == 0, said
        return said

    def tell(self, *parts: object) -> None:
        """Sends a command; `hear` has the answer."""
        assert self.process.stdin
        self.process.stdin.write("\t".join(map(str, parts)) + "\n")
        self.process.stdin.flush()

    def hear(self) -> list[str]:
        """The parts of the next answer."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line.endswith("\n"), f"it ended: {self.process.communicate()[1]}"
        return line[:-1].split("\t")

    def ask(self, *parts: object) -> list[str]:
        """Sends a command and returns the parts of its answer."""
        self.tell(*parts)
        return self.hear()

    def ask_number(self, *parts: object) -> int:
        """The first part of the answer, as a number."""
        return int(self.ask(*parts)[0])

    def open(self, directory: Path | str, max_bytes: int = 1 << 30, stop: bool = False) -> Path:
        """Opens the store, which has to succeed; returns its box."""
        error, _, box = self.ask("open", directory, max_bytes, int(stop))
        assert int(error) == 0, os.strerror(-int(error))
        return Path(box)

    def create(self, name: str, size: int) -> int:
        """Creates a file, which has to succeed; returns its inode."""
        error, *inode = self.ask("create", name, size)
        assert int(error) == 0, f"{error}: {os.strerror(abs(int(error)))}"
        return int(inode[0])


def user(uid: int) -> dict[str, Any]:
    """The arguments that make a Driver another user's."""
    return {"user": uid, "group": uid, "extra_groups": []}


def mode(path: Path) -> int:
    """The permission bits."""
    return stat.S_IMODE(path.lstat().st_mode)


def names(directory: Path) -> list[str]:
    """What is in it."""
    return sorted(path.name for path in directory.iterdir())


def usage(box: Path) -> int:
    """The bytes that the box says it holds."""
    charged, _ = struct.unpack("<QQ", (box / "usage").read_bytes())
    return int(charged)


def held(box: Path) -> int:
    """The bytes that it does hold."""
    return sum(path.stat().st_size for path in box.glob("*.pyaudit"))
