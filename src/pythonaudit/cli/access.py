"""Who reads what is recorded, is recorded: every reading by a command of ours is an event in the trail that it reads.

    access.announce("log", ["-n", "20"])   # by the dispatcher: which command, which words
    access.begin(directory)                # by whoever opens a store, before anything of it is read
    access.shown(17)                       # by the verb: so many events went into what it showed
    access.end(0)                          # by the dispatcher: the exit status

`begin` raises `pythonaudit.read`, `end` raises `pythonaudit.read.end`: a command that is killed, or whose output
nobody takes, has said who it is before it showed anything. The process records itself, nothing but these events,
with our own recorder; where it is recorded anyway, and to the same place, it raises them and no more. What could
not be recorded is said in one line, and is no reason not to read. docs/guide/access.md is for users.

Standard library and the recorder only, but for the configuration, where there is one.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pythonaudit.cli import ourselves
from pythonaudit.errors import ConfigError

READ = "pythonaudit.read"
END = "pythonaudit.read.end"
SETTING = "pythonaudit.read.setting"
EVENTS = (READ, END, SETTING)

# The last that holds counts: everything is off, these are on. Alerts are told, and closed, in the same way.
_POLICY = ",".join(["app", "-*", *(f"+{name}" for name in EVENTS), "+pythonaudit.alert*"])
_CONFIG = "config.toml"
_NOBODY = (1 << 32) - 1
_IS_OFF = "reading-is-not-recorded"  # in the reader's own box: he knows that it is switched off

Item = TypeVar("Item")


@dataclass(slots=True)
class _Reading:
    """One command.

    Attributes:
        command: the verb.
        words: what came after it.
        is_begun: whether a store was opened.
        is_recorded: whether that was recorded.
        counts: how much was shown of what, by its name.
    """

    command: str
    words: Sequence[str]
    is_begun: bool = False
    is_recorded: bool = False
    counts: dict[str, int] = field(default_factory=dict)


_reading: _Reading | None = None


def announce(command: str, words: Sequence[str]) -> None:
    """Says which command comes now. Nothing is recorded before it opens a store."""
    global _reading
    _reading = _Reading(command, words)


def begin(directory: Path) -> None:
    """Records that the announced command reads a directory; once, and before it does.

    Args:
        directory: that of `PYTHONAUDIT_DIR`. Where nothing is to be read there, nothing is written.
    """
    reading = _reading
    if reading is None or reading.is_begun or not _has_something(directory):
        return
    reading.is_begun = True
    is_on = _is_wanted(directory)
    mark = directory / "journal" / f"u{os.geteuid()}" / _IS_OFF
    was_on = not os.path.lexists(mark)
    if not (is_on or was_on):
        return
    trouble = record(directory)
    if not trouble and is_on != was_on:
        trouble = tell(SETTING, {"record": is_on, "config": str(directory / _CONFIG)} | _reader())
        if not trouble:
            _set_mark(mark, not is_on)
    if not is_on:
        return
    if not trouble:
        trouble = tell(READ, {"command": reading.command, "filters": list(reading.words)} | _reader())
    if trouble:
        from pythonaudit.cli.render import neutralise

        said = f"this reading is not recorded in {directory}: {trouble}"
        print(f"pythonaudit: {neutralise(said)}", file=sys.stderr)
    reading.is_recorded = not trouble


def shown(count: int, what: str = "events") -> None:
    """Says that so many were shown, or went into what was shown.

    Args:
        count: how many, in addition to what was said before.
        what: `events`, or else what they are: `rows`, `processes`.
    """
    if _reading is not None:
        _reading.counts[what] = _reading.counts.get(what, 0) + count


def counted(items: Iterable[Item]) -> Iterator[Item]:
    """The same events, each of which counts as shown from when it is handed out."""
    shown(0)
    reading = _reading
    for item in items:
        if reading is not None:
            reading.counts["events"] += 1
        yield item


def end(status: int) -> None:
    """Records how the announced command ended, if that it began was recorded."""
    global _reading
    reading, _reading = _reading, None
    if reading is not None and reading.is_recorded:
        tell(END, {"command": reading.command, **reading.counts, "status": status})


def _has_something(directory: Path) -> bool:
    """Whether this user can read something here: a journal, a box of his own in it, an archive."""
    journal = directory / "journal"
    if os.path.isdir(journal):
        return any(
            os.access(place, os.R_OK | os.X_OK, effective_ids=True)
            for place in (journal, journal / f"u{os.geteuid()}")
        )
    return os.path.isdir(directory / "archive")


def _is_wanted(directory: Path) -> bool:
    """What the configuration says; if that makes no sense: what is said where there is none."""
    if not os.path.lexists(directory / _CONFIG):
        return True
    from pythonaudit.agent.config import load_config

    try:
        return load_config(directory).access.record
    except ConfigError:
        return True


def _set_mark(mark: Path, is_off: bool) -> None:
    try:
        if is_off:
            os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        else:
            mark.unlink()
    except OSError:
        pass  # the next reading says it again


def record(directory: Path, is_agent: bool = False) -> str:
    """Makes sure that this process is recorded in a directory. Why that cannot be had; empty: it is."""
    try:
        told = ourselves.record(str(directory), _POLICY, is_agent)
    except ImportError as error:
        return f"the recorder cannot be loaded ({error})"
    if told["root"] and not _is_same(told["root"], directory):
        return f"this process is recorded in {told['root']}"
    reasons = {
        "vetoed": "another audit hook keeps the recorder out",
        "unsupported": "this is not a CPython that the recorder knows",
        "failed": "the recorder has no memory, or the path is too long",
    }
    return reasons.get(told["state"], "")


def tell(event: str, said: dict[str, Any]) -> str:
    """Raises an event of ours. Why it was not recorded; empty: it was."""
    before = ourselves.status()
    try:
        sys.audit(event, said)
    except Exception as error:  # a hook may raise what it likes
        return f"another audit hook refused it ({type(error).__name__})"
    after = ourselves.status()
    if not after["process"]:
        return ""  # by the recorder of another installation, which cannot be asked
    if after["committed"] == before["committed"]:
        return _reason(Path(after["root"]), after["trouble"])
    if after["directory"] and not _is_same(os.path.dirname(after["directory"]), Path(after["root"], "journal")):
        return f"it is in {after['directory']} instead"
    return ""


def _reason(directory: Path, trouble: str) -> str:
    if not trouble:
        return f"PYTHONAUDIT_EVENTS leaves {READ} out"
    try:
        owner = os.stat(directory / "journal").st_uid
    except OSError:
        return trouble
    return trouble if owner in (0, os.geteuid()) else f"its journal belongs to {_name_of(owner) or owner}"


def _reader() -> dict[str, Any]:
    """Who reads: the real user, and who logged in, as the kernel has it.

    `SUDO_USER` is a variable that anybody can set: it is told of root alone, who could write anything anyway.
    """
    uid = os.getuid()
    said: dict[str, Any] = {"uid": uid, "user": _name_of(uid)}
    if os.geteuid() != uid:
        said["euid"] = os.geteuid()
    try:
        loginuid = int(Path("/proc/self/loginuid").read_bytes())
    except (OSError, ValueError):
        loginuid = _NOBODY
    if loginuid not in (_NOBODY, uid):
        said |= {"loginuid": loginuid, "login": _name_of(loginuid)}
    if uid == 0 and os.environ.get("SUDO_USER"):
        said["sudo_user"] = os.environ["SUDO_USER"]
    return {key: value for key, value in said.items() if value is not None}


def _name_of(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _is_same(path: str, directory: Path) -> bool:
    try:
        return Path(path) == directory or os.path.samefile(path, directory)
    except OSError:
        return False
