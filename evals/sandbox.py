"""A place where an emulation can do what it imitates, and nothing is left of it.

usage: python sandbox.py SCRATCH EMULATION SECONDS -- COMMAND ...      (as root, in the namespaces of `command`)

`command()` puts a command into namespaces of its own: mounts, network, processes, IPC, host name. What is then
done here, as the first process of them, before COMMAND is started:

- Every file system of the machine is seen through an overlay whose upper layer is in memory. A program can
  write to /etc, to a home or to site-packages, and nobody outside ever sees it. Only SCRATCH/store is real.
- /dev has what programs need and no device; /proc shows these processes only.
- The network is one loopback interface. It also has the address of clouds' metadata services and two addresses
  that are reserved for documentation (RFC 5737). servers.py answers there; all names that EMULATION uses are in
  /etc/hosts. Nothing can leave: there is nowhere to go.
- /home/alice is a developer's home with keys, tokens and histories, all of them made up; /etc/shadow, service
  account tokens and logs likewise (stage.py).
- Files of EMULATION go to /home/alice/app, which has a virtual environment: `attack.py` becomes `main.py`, `site/`
  is put in site-packages, with the metadata of `distribution`, `served/` is what the web server has, and `bin/` are
  stand-ins of programs, first on PATH. What is no program of its own ends in `.in` where it lies, so that nothing
  there can be imported or started, and loses that here; what is packed is packed here (packing.py).

When COMMAND has ended or its time is over, this process ends, and the kernel ends all others of the namespace.
Exit status: COMMAND's, 124 when its time was over, 125 when the sandbox could not be made.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import packing
import servers
import stage
from emulation import Emulation

HERE = Path(__file__).resolve().parent
#: Is there inside, and nowhere else. Emulations do nothing without it.
MARK = Path("/.sandbox")
FAILED = 125
OUT_OF_TIME = 124
#: File systems that show the kernel, or that are made anew inside.
NOT_FILES = {"proc", "sysfs", "devtmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "securityfs", "debugfs"}
NOT_FILES |= {"tracefs", "pstore", "bpf", "configfs", "fusectl", "hugetlbfs", "binfmt_misc", "nsfs", "autofs"}
UNSHARE = ("unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_SIOCSIFADDR, _SIOCSIFFLAGS, _SIOCSIFNETMASK = 0x8916, 0x8914, 0x891C
_IFF_UP = 1


def command(scratch: Path, emulation: Path, seconds: float, words: Sequence[str]) -> list[str]:
    """What runs `words` in a sandbox that is made for `emulation` and keeps SCRATCH/store."""
    inside = [sys.executable, "-I", str(HERE / "enter.py"), str(scratch), str(emulation), str(seconds)]
    return [*UNSHARE, "--", *inside, "--", *words]


def obstacle() -> str | None:
    """Why no sandbox can be made here, or None."""
    if os.geteuid() != 0:
        return (
            "the sandbox of the emulations needs root: for namespaces and an overlay (nothing is written outside)"
        )
    missing = [name for name in ("unshare", "mount") if not shutil.which(name)]
    if missing:
        return f"the sandbox of the emulations needs {' and '.join(missing)} (util-linux)"
    done = subprocess.run([*UNSHARE, "--", "true"], capture_output=True, text=True)
    if done.returncode:
        return f"the sandbox of the emulations needs namespaces: {done.stderr.strip()}"
    return None


def run_inside(scratch: Path, emulation: Emulation, seconds: float, words: Sequence[str]) -> int:
    """Makes the sandbox around this process, runs the command in it; its exit status."""
    root = make_root(scratch)
    os.chroot(root)
    os.chdir("/")
    make_network()
    MARK.touch()
    python = stage.furnish(emulation, Path(sysconfig.get_paths()["purelib"]))
    packing.place(emulation.directory, stage.APP, stage.site_packages(stage.VENV))
    stage.describe(emulation)
    with servers.running(Path("/srv/www")) as certificate:
        environment = stage.environment(python, certificate)
        said = scratch / "store" / "output.txt"
        with open(said, "wb") as output:
            process = subprocess.Popen(
                [word.replace("{python}", str(python)) for word in words],
                cwd=stage.APP,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
            try:
                return process.wait(seconds)
            except subprocess.TimeoutExpired:
                return OUT_OF_TIME


def make_root(scratch: Path) -> Path:
    """All file systems, each under a layer in memory; the new root."""
    layers, root = scratch / "layers", scratch / "root"
    for directory in (layers, root):
        directory.mkdir()
    points = mount_points()
    mount("-t", "tmpfs", "none", str(layers))
    for number, point in enumerate(points):
        upper, work = layers / f"upper{number}", layers / f"work{number}"
        for directory in (upper, work):
            directory.mkdir()
        upper.chmod(os.stat(point).st_mode & 0o7777)
        target = root / point.relative_to("/")
        mount("-t", "overlay", "-o", f"lowerdir={point},upperdir={upper},workdir={work}", "none", str(target))
    mount("-t", "proc", "none", str(root / "proc"))
    mount("--rbind", "/sys", str(root / "sys"))
    make_devices(root / "dev")
    mount("--bind", str(scratch / "store"), str(root / (scratch / "store").relative_to("/")))
    return root


def mount_points() -> list[Path]:
    """Where directories of files are mounted, each after those above it."""
    found = {Path("/")}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        point = Path(left.split()[4].encode().decode("unicode_escape"))
        special = any(point.is_relative_to(top) for top in ("/proc", "/sys", "/dev", "/mnt"))
        if right.split()[0] not in NOT_FILES and not special and point.is_dir() and ":" not in str(point):
            found.add(point)
    return sorted(found)


def make_devices(directory: Path) -> None:
    """A /dev without devices of the machine."""
    mount("-t", "tmpfs", "-o", "mode=755", "none", str(directory))
    for name in DEVICES:
        (directory / name).touch()
        mount("--bind", f"/dev/{name}", str(directory / name))
    for name in ("pts", "shm", "input"):
        (directory / name).mkdir()
    mount("-t", "devpts", "-o", "newinstance,ptmxmode=0666", "none", str(directory / "pts"))
    (directory / "ptmx").symlink_to("pts/ptmx")
    (directory / "fd").symlink_to("/proc/self/fd")
    (directory / "shm").chmod(0o1777)


def mount(*words: str) -> None:
    """Calls mount(8).

    Raises:
        OSError: it says no.
    """
    done = subprocess.run(["mount", *words], capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"mount {' '.join(words)}: {done.stderr.strip()}")


def make_network() -> None:
    """The loopback interface, up, with the addresses that servers answer at."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
        for number, address in enumerate(servers.ADDRESSES):
            name = f"lo:{number}".encode()
            for request, value in ((_SIOCSIFADDR, address), (_SIOCSIFNETMASK, "255.255.255.255")):
                packed = struct.pack("16sHH4s8x", name, socket.AF_INET, 0, socket.inet_aton(value))
                fcntl.ioctl(control, request, packed)
    socket.sethostname("build-7")
