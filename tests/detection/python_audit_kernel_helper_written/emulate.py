"""A file of that name in a directory of its own; the kernel has no part in it."""

from pathlib import Path

GROUP = Path("cgroup", "sample")


def match() -> None:
    GROUP.mkdir(parents=True)
    (GROUP / "release_agent").write_text("/bin/true\n")


def nomatch() -> None:
    GROUP.mkdir(parents=True)
    (GROUP / "cgroup.procs").write_text("")
    open("/proc/sys/kernel/core_pattern").close()
