"""Where events go: what a target is, and how one is found.

    target = open_target(parse_address("syslog+tcp://logs.example:601", {"ca": "/etc/ca.pem"}))
    answer = target.send(events)     # when it returns, the other side has them
    target.close()

A target is found by the scheme of its address among the entry points `pythonaudit.targets` of what is installed, ours
like anybody's: a function that takes an `Address` and gives a `Target`, or a `Mirror`. It knows nothing of the others,
of journals or of cursors: `shipping` says what comes next, keeps what was acknowledged, and tries again.

A target raises one of three errors, each with one line for people that names the place:

- `Unavailable`: it cannot be reached, is too slow or too busy. The same events come again, as long as it takes.
- `Refused`: it will not take these events, whenever they come. They come again in smaller numbers, until the one that
  is at fault is alone; that one is counted, and left out.
- `Misconfigured`: it would refuse everything, as after a wrong password, address or certificate. Shipping ends.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable
from urllib.parse import parse_qsl, urlsplit

from pythonaudit.errors import TargetError, UsageError
from pythonaudit.journal.decode import Event

GROUP = "pythonaudit.targets"


class Unavailable(TargetError):
    """Not now.

    Args:
        message: what is wrong, and where.
        after: seconds after which to try again, if the other side has said so.
    """

    def __init__(self, message: str, *, hint: str | None = None, after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.after = after


class Refused(TargetError):
    """Not these."""


class Misconfigured(TargetError):
    """Never, until somebody changes something."""


class Answer(NamedTuple):
    """What became of events.

    Attributes:
        refused: how many of them the other side has thrown away, as it says.
        reason: why, in its words; untrusted.
    """

    refused: int = 0
    reason: str = ""


class Target(Protocol):
    """Takes events.

    Attributes:
        most: how many events it takes at once.
    """

    most: int

    def send(self, events: Sequence[Event]) -> Answer:
        """Hands events over, in this order. Whatever happens, all of them may come again: what is sent carries the
        event's `id`.

        Raises:
            Unavailable, Refused, Misconfigured: as above; then all of them come again.
        """

    def close(self) -> None:
        """Nothing more comes."""


class Shipped(NamedTuple):
    """What a mirror has done: files, bytes and the events in them, and whether it has all there is by now."""

    files: int = 0
    bytes: int = 0
    events: int = 0
    is_done: bool = True


@runtime_checkable
class Mirror(Protocol):
    """Takes closed files of the archive as they are, instead of events; remembers itself what it has."""

    def ship(self, directory: Path) -> Shipped:
        """Hands over what is new in the archive, and in the log that seals it, for some seconds at most.

        Args:
            directory: that of `PYTHONAUDIT_DIR`.

        Raises:
            Unavailable, Misconfigured: as above.
        """

    def close(self) -> None:
        """Nothing more comes."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to, and how.

    Attributes:
        text: the address as it was given, without options; for people.
        scheme, host, path: of it. `host`, `path`: empty where there is none; `path` as it stands there.
        port: None: there is none.
        options: what stands behind `?`, and further settings of the configuration, as text.
        open_options: names of those that stand in the address, for everybody to see.
    """

    text: str
    scheme: str
    host: str = ""
    port: int | None = None
    path: str = ""
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    open_options: frozenset[str] = frozenset()

    def read(self, secrets: Mapping[str, str] | None = None, **parsers: Callable[[str], Any]) -> dict[str, Any]:
        """The options that are given.

        Args:
            secrets: by name, the variable of the environment that has it. It is taken from the option `NAME` of the
                configuration, from the file that the option `NAME-file` names, or from that variable.
            parsers: by name (`_` for `-`), what makes a value of the text; ValueError: why it is none.

        Returns:
            Values by the same names.

        Raises:
            UsageError: there is an option that the target does not have, or its value makes no sense; or a secret
                stands in the address.
            Misconfigured: the file of a secret cannot be read.
        """
        found = {
            name: os.environ[variable] for name, variable in (secrets or {}).items() if variable in os.environ
        }
        known: dict[str, Callable[[str], Any]] = {
            **parsers,
            **{f"{name}{end}": str for name in secrets or () for end in ("", "_file")},
        }
        for option, text in self.options.items():
            name = option.replace("-", "_")
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                names = ", ".join(sorted(known)).replace("_", "-") or "none"
                hint = f"did you mean {near[0].replace('_', '-')}?" if near else f"it has {names}"
                raise UsageError(f"{self.text}: no option {option}", hint=hint)
            if name in (secrets or ()) and option in self.open_options:
                hint = f"name a file: {option}-file=PATH; or set {(secrets or {})[name]} in the environment"
                raise UsageError(f"{self.text}: {option} is a secret, and an address shows it", hint=hint)
            secret = name.removesuffix("_file")
            if secret != name and secret in (secrets or ()):
                found[secret] = _read_secret(self.text, option, text)
                continue
            try:
                found[name] = known[name](text)
            except (ValueError, OSError) as error:
                raise UsageError(f"{self.text}: {option}={text!r}: {error}") from None
        return found


def _read_secret(place: str, option: str, path: str) -> str:
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise Misconfigured(f"{place}: {option}: {path}: {reason}") from None


def parse_address(text: str, options: Mapping[str, str] | None = None) -> Address:
    """An address such as `otlp+http://127.0.0.1:4318`, `file:/var/log/audit.jsonl` or `-`.

    Args:
        text: with options behind `?`.
        options: further ones.

    Raises:
        UsageError: it is none, or has a password in it.
    """
    if text == "-":
        return Address("-", "-", options=dict(options or {}))
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{text!r}: {error}") from None
    if not parts.scheme:
        hint = "write one such as otlp+http://127.0.0.1:4318, syslog+tcp://HOST:601, file:PATH or -"
        raise UsageError(f"{text!r}: no address", hint=hint)
    if "@" in parts.netloc:
        hint = "the guide on shipping says where each target takes credentials from"
        raise UsageError(f"{parts.scheme}://…: an address holds no user and no password", hint=hint)
    place = text.partition("?")[0]
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    everything = {**given, **(options or {})}
    return Address(place, parts.scheme, parts.hostname or "", port, parts.path, everything, frozenset(given))


def open_target(address: Address) -> Target | Mirror:
    """The target of an address. It need not be there: whether it is shows with `send`.

    Raises:
        UsageError: nothing that is installed ships to such an address, or an option makes no sense.
        Misconfigured: credentials or certificates that it needs are not there, or cannot be read.
    """
    found = entry_points(group=GROUP, name=address.scheme)
    if not found:
        schemes = sorted({point.name for point in entry_points(group=GROUP)})
        near = difflib.get_close_matches(address.scheme, schemes, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(schemes)}"
        raise UsageError(f"{address.text}: no target {address.scheme!r}", hint=hint)
    make: Callable[[Address], Target | Mirror] = next(iter(found)).load()
    return make(address)
