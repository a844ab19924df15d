"""What programs are on this host: a script with its `#!` line, another file, or missing.

Paths come from recorded processes that nobody vouches for: they are looked at without following them anywhere
but by the file system, only regular files are opened, and a few bytes are read. What a process of another host, or of
another pid namespace (a container), has started is not looked at: its files are others.
"""

from __future__ import annotations

import os
import shutil
import stat
from functools import lru_cache
from pathlib import Path

from pythonaudit.query.attempts import ProcessRow
from pythonaudit.query.commands import File, Look

_LINE_BYTES = 256  # of `#!`, as the kernel reads it
# What these stand for depends on who looks.
_RELATIVE = ("/proc/", "/dev/")


class Programs:
    """Looks at programs, at each once.

    Args:
        path: directories in which a bare name is looked for, as in PATH. It is ours: that of the process
            that started the program is not known.
    """

    def __init__(self, path: str) -> None:
        self._path = os.pathsep.join(part for part in path.split(os.pathsep) if part.startswith("/"))
        self._host = os.uname().nodename
        self._pid_namespace = os.stat("/proc/self/ns/pid").st_ino
        self._examine = lru_cache(maxsize=None)(_examine)

    def look_for(self, process: ProcessRow) -> Look:
        """What looks at the programs that a process starts."""
        is_here = process.host == self._host and process.pid_namespace in (0, self._pid_namespace)
        return self.look if is_here else look_nowhere

    def look(self, program: str, cwd: str | None) -> File | None:
        """What a program is here; None: it cannot be said.

        Args:
            program: its path, or a name to be looked for in PATH.
            cwd: where a relative path begins.
        """
        if "\0" in program:
            return None
        if "/" not in program:
            found = shutil.which(program, path=self._path)
            return self._examine(found) if found else File("missing")
        if not program.startswith("/"):
            if cwd is None:
                return None
            program = os.path.join(cwd, program)
        return None if os.path.normpath(program).startswith(_RELATIVE) else self._examine(program)


def look_nowhere(program: str, cwd: str | None) -> File | None:
    """Programs of another host."""
    return None


def _examine(path: str) -> File | None:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return File("missing")
        name = os.path.basename(os.path.realpath(path))
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return File("missing")
    except PermissionError:
        return File("binary", Path(path).name) if os.access(path, os.X_OK) else None
    except (OSError, ValueError):
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        line = os.read(descriptor, _LINE_BYTES).split(b"\n")[0]
    except OSError:
        return None
    finally:
        os.close(descriptor)
    if not line.startswith(b"#!"):
        return File("binary", name)
    # The kernel hands everything behind the interpreter on as one word.
    return File("script", name, tuple(os.fsdecode(line[2:]).strip().split(None, 1)))
