"""What a person wants to read of an event: one line of text instead of its arguments.

    open /etc/passwd mode=r                    socket.connect 127.0.0.1:443
    subprocess.Popen git commit -m 'a b'       os.rename a -> b

The catalog tells which arguments are paths, addresses and commands: these stand bare, and first. The others
follow as `name=value`; what says nothing (None, a bare object, `dir_fd=-1`, an environment) is left out.
The whole of it is in `--format jsonl`. Text comes back as it was: printing it safely is render.py's part.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pythonaudit.catalog import EventInfo
from pythonaudit.journal.fields import flatten, is_tagged
from pythonaudit.journal.process import Process

# Options of the interpreter that take a value, after any that do not: -c, -Im, -Werror, -X dev.
_OPTION = re.compile(r"-[a-zA-Z?]*?([cmWX])(.*)", re.DOTALL)
# Environments tell nothing: their values are masked. Look-up paths of `import` are only counted.
_SILENT_ARGS = frozenset({"env", "sys.path", "sys.meta_path", "sys.path_hooks"})
_ACCESS_FLAGS = ("O_RDONLY", "O_WRONLY", "O_RDWR")
_OPEN_FLAGS = ("O_CREAT", "O_EXCL", "O_TRUNC", "O_APPEND", "O_NONBLOCK", "O_DIRECTORY", "O_NOFOLLOW", "O_TMPFILE")


def describe_args(names: Sequence[str], values: Sequence[Any], info: EventInfo | None) -> str:
    """The arguments of an event for a person.

    Args:
        names: the arguments' names, in order; there may be fewer than values.
        values: the arguments, decoded from JSON (tagged forms as in docs/format/journal.md).
        info: the catalog's entry, or None: the event is an application's.
    """
    if info is None:
        return " ".join(_application_value(value) for value in values)
    if info.name == "open":
        names, values = _readable_open(names, values)
    bare: list[str] = []
    named: list[str] = []
    command = _first(names, values, info.command_args)
    for index, value in enumerate(values):
        name = names[index] if index < len(names) else f"arg{index}"
        if _says_nothing(name, value):
            continue
        if name in info.command_args:
            bare.append(command_text(value))
        elif name in info.address_args:
            if name == "port" and bare:
                bare[-1] = address_text([bare[-1], value])
            else:
                bare.append(address_text(value))
        elif name in info.path_args and command is None:
            bare.append(value_text(value))
        elif name == "executable" and command_text(command).split(" ")[0] == value_text(value):
            continue  # only one that goes by another name is worth saying
        elif (index == 0 and isinstance(value, str) and command is None) or _is_tagged(value, "$code"):
            bare.append(value_text(value))
        else:
            readable = _READABLE.get((info.name, name))
            known = readable(value) if readable else value
            if isinstance(known, str) and known.startswith(("AF_", "SOCK_")):
                bare.append(known)
            else:
                named.append(_pair(name, known))
    arrow = " -> " if len(names) > 1 and names[0].startswith("src") and names[1].startswith("dst") else " "
    return " ".join(filter(None, [arrow.join(bare), *named]))


def value_text(value: Any) -> str:
    """One argument for a person: text as it is, tagged forms in words, the rest as JSON."""
    flat = flatten(value)
    return flat if isinstance(flat, str) else json.dumps(flat, ensure_ascii=False)


def command_text(value: Any) -> str:
    """A command line: a list of words is quoted as a shell would want it."""
    if isinstance(value, list):
        return " ".join(_shell_word(value_text(word)) for word in value)
    return value_text(value)


def address_text(value: Any) -> str:
    """A network address: `host:port`, `[::1]:port`, or the path of a local socket."""
    if isinstance(value, list) and len(value) >= 2 and isinstance(value[1], int | str):
        host = value_text(value[0])
        return f"[{host}]:{value[1]}" if ":" in host else f"{host}:{value[1]}"
    return value_text(value)


def process_name(argv: Sequence[str], exe: str | None) -> str:
    """The name by which a person knows a Python process: the script or module that it runs.

    Args:
        argv: the words after the interpreter's own.
        exe: path of the interpreter; its name stands where there is no script.
    """
    words = iter(argv)
    for word in words:
        option = _OPTION.fullmatch(word)
        if word == "--check-hash-based-pycs":
            next(words, None)
        elif option and option[1] == "m":
            return option[2] or next(words, "-m")
        elif word == "-" or (option and option[1] == "c"):
            break
        elif option and not option[2]:
            next(words, None)
        elif word and not word.startswith("-"):
            return os.path.basename(word.rstrip("/")) or word
    return os.path.basename(exe or "") or "python"


def process_label(process: Process) -> str:
    """A process in a few characters: `app.py[123]`."""
    return f"{process_name(process.argv, process.exe)}[{process.pid}]"


def where_text(file: str, line: int, function: str, width: int | None = None) -> str:
    """A line of code: `/srv/app.py:12 load`, with fewer directories, or no function, where room is short.

    Args:
        width: characters that it should not exceed; the file's name and the line are always whole. None: no limit.
    """
    place = f"{file}:{line}" if line else file
    text = f"{place} {function}"
    if width is None or len(text) <= width:
        return text
    parts = place.split("/")
    for kept in range(len(parts) - 1, 1, -1):
        text = f"…/{'/'.join(parts[-kept:])} {function}"
        if len(text) <= width:
            return text
    text = f"{parts[-1]} {function}"
    return text if len(text) <= width else parts[-1]


def _application_value(value: Any) -> str:
    if isinstance(value, dict) and value and not is_tagged(value):
        return " ".join(_pair(key.removeprefix("$"), item) for key, item in value.items())
    return value_text(value)


def _readable_open(names: Sequence[str], values: Sequence[Any]) -> tuple[Sequence[str], Sequence[Any]]:
    # builtins.open has a mode that says it all; os.open has None there, and flags.
    if len(values) != 3 or not isinstance(values[2], int):
        return names, values
    path, mode, flags = values
    if mode is not None:
        return names[:2], values[:2]
    access = _ACCESS_FLAGS[flags & 3] if flags & 3 < len(_ACCESS_FLAGS) else "O_ACCMODE"
    more = [name for name in _OPEN_FLAGS if (bit := getattr(os, name, 0)) and flags & bit == bit]
    return names, [path, None, "|".join([access, *more])]


def _first(names: Sequence[str], values: Sequence[Any], wanted: Sequence[str]) -> Any:
    found = (value for name, value in zip(names, values, strict=False) if name in wanted and value is not None)
    return next(found, None)


def _says_nothing(name: str, value: Any) -> bool:
    return (
        value is None
        or name in _SILENT_ARGS
        or (name.endswith("dir_fd") and value == -1)
        or (name in ("family", "protocol") and value == 0)
        or _is_tagged(value, "$type")
    )


def _signal_name(value: Any) -> Any:
    try:
        return signal.Signals(value).name
    except ValueError:
        return value


def _socket_type(value: Any) -> Any:
    # The rest of the bits are SOCK_CLOEXEC and SOCK_NONBLOCK.
    return _SOCKET_TYPES.get(value & 0xF, value) if isinstance(value, int) else value


def _family(value: Any) -> Any:
    return _FAMILIES.get(value, value) if isinstance(value, int) else value


def _octal(value: Any) -> Any:
    return f"0o{value:o}" if isinstance(value, int) else value


_FAMILIES = {1: "AF_UNIX", 2: "AF_INET", 10: "AF_INET6", 16: "AF_NETLINK", 17: "AF_PACKET"}
_SOCKET_TYPES = {1: "SOCK_STREAM", 2: "SOCK_DGRAM", 3: "SOCK_RAW", 5: "SOCK_SEQPACKET"}
# Numbers that people know by another name; those of Linux, like the journals.
_READABLE: Mapping[tuple[str, str], Callable[[Any], Any]] = {
    ("os.chmod", "mode"): _octal,
    ("os.kill", "sig"): _signal_name,
    ("os.killpg", "sig"): _signal_name,
    ("os.mkdir", "mode"): _octal,
    ("signal.pthread_kill", "signalnum"): _signal_name,
    ("socket.__new__", "family"): _family,
    ("socket.__new__", "type"): _socket_type,
    ("socket.getaddrinfo", "family"): _family,
    ("socket.getaddrinfo", "type"): _socket_type,
}


def _shell_word(word: str) -> str:
    if "'" not in word:
        return shlex.quote(word)
    return '"' + re.sub(r'[\\"$`]', r"\\\g<0>", word) + '"'


def _is_tagged(value: Any, tag: str) -> bool:
    return isinstance(value, Mapping) and tag in value


def _pair(name: str, value: Any) -> str:
    text = value_text(value)
    if isinstance(value, str) and (not text or " " in text or '"' in text):
        text = json.dumps(text, ensure_ascii=False)
    return f"{name}={text}"
