"""The Python interpreters and environments of this host, and whether each is covered.

Found are: this interpreter, the active virtual environment, what is called python on PATH, and
pyenv's versions. Each environment counts once, however many names lead to it. What an interpreter
is, it says itself: it is started once, unrecorded.

Standard library only: `doctor` runs on a base installation.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

#: The versions whose frames and objects the recorder of this version can read.
SUPPORTED = ((3, 10), (3, 15))
#: Of these, the versions whose free-threaded builds it can read too.
FREE_THREADED = ((3, 13),)

_NAME = re.compile(r"python(3(\.\d+)?)?$")

# Runs in any Python, also one that is far too old for us.
_PROBE = """
import json, os, sys, sysconfig
package, version = None, None
if sys.version_info >= (3, 8):
    import importlib.metadata, importlib.util
    try:
        spec = importlib.util.find_spec("pythonaudit")
        package = spec and os.path.dirname(spec.origin)
        version = importlib.metadata.version("pythonaudit")
    except Exception:
        pass
print(json.dumps({
    "version": list(sys.version_info[:3]),
    "implementation": sys.implementation.name if hasattr(sys, "implementation") else "cpython",
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "executable": sys.executable,
    "base": os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
    "prefix": sys.prefix,
    "pth": [p for p in sys.path if os.path.isfile(os.path.join(p, "pythonaudit.pth"))],
    "package": package,
    "package_version": version,
}))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """One interpreter in one environment.

    Attributes:
        executable: what to start.
        base: the real file of the interpreter; environments made from it share it.
        prefix: the environment, `sys.prefix`.
        version: major, minor, micro.
        implementation: `sys.implementation.name`.
        free_threaded: whether it is built without the GIL.
        pth: the directories of `sys.path` that hold pythonaudit.pth.
        package: the directory of the package that it imports, or None.
        package_version: the version of the distribution installed there, or None.
    """

    executable: Path
    base: Path
    prefix: Path
    version: tuple[int, int, int]
    implementation: str
    free_threaded: bool
    pth: tuple[str, ...]
    package: str | None
    package_version: str | None

    @property
    def supported(self) -> bool:
        """Whether the recorder of this version works in it."""
        return (
            self.implementation == "cpython"
            and SUPPORTED[0] <= self.version[:2] <= SUPPORTED[1]
            and (not self.free_threaded or self.version[:2] in FREE_THREADED)
        )

    @property
    def recorder_file(self) -> str:
        """The name of the recorder's file for it; the shim chooses by the same rule."""
        if not self.free_threaded:
            return "_recorder.abi3.so"
        major, minor, _ = self.version
        return f"_recorder.cpython-{major}{minor}t-{os.uname().machine}-linux-gnu.so"

    @property
    def covered(self) -> bool:
        """Whether `PYTHONAUDIT=1` alone records it."""
        return self.supported and bool(self.pth) and self.package is not None

    @property
    def version_text(self) -> str:
        """`3.12.1`, with a t for a free-threaded build."""
        return ".".join(map(str, self.version)) + ("t" if self.free_threaded else "")


def unrecorded(environment: Mapping[str, str]) -> dict[str, str]:
    """A copy of the environment without any variable of ours."""
    return {k: v for k, v in environment.items() if not k.startswith("PYTHONAUDIT")}


def probe(executable: Path) -> Interpreter | None:
    """What this executable says it is; None when it is no Python or does not answer in 30 s."""
    try:
        answer = subprocess.run(
            [executable, "-c", _PROBE],
            cwd="/",
            env=unrecorded(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
            check=True,
        )
        said = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    major, minor, micro = said["version"]
    return Interpreter(
        executable=executable,
        base=Path(said["base"]),
        prefix=Path(said["prefix"]),
        version=(major, minor, micro),
        implementation=said["implementation"],
        free_threaded=said["free_threaded"],
        pth=tuple(said["pth"]),
        package=said["package"],
        package_version=said["package_version"],
    )


def _candidates(environment: Mapping[str, str]) -> Iterator[Path]:
    yield Path(sys.executable)
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        if environment.get(variable):
            yield Path(environment[variable], "bin", "python")
    pyenv = Path(environment.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv"))
    for directory in map(Path, environment.get("PATH", os.defpath).split(os.pathsep)):
        # The shims only choose among the versions, which are listed below. What a relative entry
        # leads to depends on where one stands, and might be anybody's.
        if directory.is_absolute() and directory != pyenv / "shims":
            with suppress(OSError):
                yield from sorted(p for p in directory.iterdir() if _NAME.match(p.name))
    yield from sorted(pyenv.glob("versions/*/bin/python"))


def find_interpreters(environment: Mapping[str, str] = os.environ) -> list[Interpreter]:
    """Every interpreter and environment found, this one first, each once.

    Args:
        environment: where PATH, PYENV_ROOT, VIRTUAL_ENV and CONDA_PREFIX are looked up.
    """
    seen: set[tuple[str, str]] = set()
    found: dict[tuple[Path, Path], Interpreter] = {}
    for candidate in _candidates(environment):
        home = candidate.parent.parent
        in_environment = (home / "pyvenv.cfg").exists()
        key = (os.path.realpath(candidate), os.path.realpath(home) if in_environment else "")
        if key in seen or not os.access(candidate, os.X_OK):
            continue
        seen.add(key)
        interpreter = probe(candidate)
        if interpreter is not None:
            found.setdefault((interpreter.base, interpreter.prefix), interpreter)
    return list(found.values())
