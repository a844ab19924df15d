"""The configuration: `DIR/config.toml`, or what `--config` names.

    [keys]
    private = "/run/pythonaudit/keys"    # where private keys lie; default: DIR/keys/private
    epoch = "1h"                         # how long one of them signs

    [checkpoints]
    interval = "1m"                      # how often silence is signed
    file = "/mnt/other/web-1.checkpoint" # each new checkpoint is written there as well
    url = "https://logs.example/web-1"   # and posted there

    [agent]
    metrics = "127.0.0.1:9464"           # for Prometheus; a loopback address

    [retention]
    age = "30d"                          # of the archive: what is older goes
    size = "10GiB"                       # of the archive: the oldest goes until it fits
    journal_age = "30d"                  # of segments that cannot be archived

    [[hold]]                             # what retention leaves alone
    name = "case-17"
    reason = "letter of 2026-11-20"
    since = "2026-11-01T00:00:00Z"       # all three are optional
    until = "2026-11-08T00:00:00Z"
    host = "web-*"
    run = "deploy-*"

    [access]
    record = true                        # reading by our own commands is recorded

    [detect]                             # hold new events against the rules; without this, nothing is
    level = "low"                        # rules of this level and above
    notify = ["mailtos://…", "slack://…"]  # addresses of apprise: one message an alert
    notify_level = "medium"              # for alerts of this level and above

    [[export]]                           # where events go all the time
    name = "siem"
    to = "otlp+https://collector.example:4318"
    event = ["os.*", "socket.*"]         # filters, as of the commands; all are optional
    category = ["network"]
    source = ["application"]
    path = ["/etc/*"]
    package = ["requests"]
    headers-file = "/etc/pythonaudit/siem-headers"  # and whatever else the target takes

What makes no sense is refused as a whole, with the name of the key: an agent that runs on half of what was meant
would keep, or remove, something else than its owner thinks.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from pythonaudit.errors import ConfigError

NAME = "config.toml"

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31_536_000}
_BYTES = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_DURATION = re.compile(r"([0-9]{1,9})(" + "|".join(_SECONDS) + ")")
_SIZE = re.compile(r"([0-9]{1,9})(" + "|".join(_BYTES) + ")")
_SECOND_NS = 1_000_000_000
_LEVELS = ("informational", "low", "medium", "high", "critical")  # of Sigma


class _Named(Protocol):
    """What has a name of its own."""

    @property
    def name(self) -> str:
        """It."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Where private keys are (None: `DIR/keys/private`), and how many seconds one signs."""

    private: Path | None = None
    epoch: float = 3600.0


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """How often silence is signed, in seconds, and where checkpoints go besides."""

    interval: float = 60.0
    file: Path | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Agent:
    """Address and port at which metrics are told; None: nowhere."""

    metrics: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Retention:
    """How long (seconds) and how much (bytes) is kept. The defaults fit a laptop; None: without end."""

    age: float | None = 30 * 86400.0
    size: int | None = 10 << 30
    journal_age: float | None = 30 * 86400.0


@dataclass(frozen=True, slots=True)
class Hold:
    """What retention leaves alone: all that is given must hold.

    Attributes:
        name, reason: for people, and for the record.
        since_ns, until_ns: nanoseconds since 1970; None: without end.
        host, run: globs; None: all.
    """

    name: str
    reason: str
    since_ns: int | None = None
    until_ns: int | None = None
    host: str | None = None
    run: str | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """Whether reading by our own commands is recorded."""

    record: bool = True


class Secret(str):
    """A text that nothing shows."""

    def __repr__(self) -> str:
        return "'***'"


@dataclass(frozen=True, slots=True)
class Detect:
    """Which rules give alerts, and whom to tell of which of them."""

    level: str = "low"
    notify: tuple[Secret, ...] = ()
    notify_level: str = "medium"


@dataclass(frozen=True, slots=True)
class Export:
    """Where events go all the time.

    Attributes:
        name: for people, and of the file that says what was acknowledged.
        to: an address.
        event, category, source, path, package: which events; of each that is given, one must hold.
        options: further ones of the target. Some are secret: nothing shows their values.
    """

    name: str
    to: str
    event: tuple[str, ...] = ()
    category: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    package: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Config:
    """All of it.

    Attributes:
        path: whence; None: there is no file, and these are the defaults.
        given: the sections that the file has.
    """

    path: Path | None = None
    given: frozenset[str] = frozenset()
    keys: Keys = field(default_factory=Keys)
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    agent: Agent = field(default_factory=Agent)
    retention: Retention = field(default_factory=Retention)
    access: Access = field(default_factory=Access)
    detect: Detect | None = None
    hold: tuple[Hold, ...] = ()
    export: tuple[Export, ...] = ()


def load_config(directory: Path, path: Path | None = None) -> Config:
    """The configuration of a directory.

    Args:
        directory: that of `PYTHONAUDIT_DIR`.
        path: of the file; None: `config.toml` there, if it is there.

    Raises:
        ConfigError: it cannot be read, or makes no sense.
    """
    place = path or directory / NAME
    try:
        text = place.read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        if path is None:
            return Config()
        raise ConfigError(f"{place}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(f"{place}: {reason}") from None
    try:
        return parse_config(text, place)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}", hint=error.hint) from None


def parse_config(text: str, path: Path | None = None) -> Config:
    """The configuration that a text says.

    Raises:
        ConfigError: it makes no sense.
    """
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"no TOML: {error}") from None
    _check_names(said, "", _SECTIONS | {"hold": {}, "export": {}})
    values = {section: _SHAPES[section](**_section(said, section)) for section in _SECTIONS if section in said}
    holds, exports = _several(said, "hold", _hold), _several(said, "export", _export)
    return Config(path=path, given=frozenset(said), hold=holds, export=exports, **values)


def _several(said: Mapping[str, Any], section: str, build: Callable[[Mapping[str, Any], str], _Named]) -> Any:
    tables = said.get(section, [])
    if not isinstance(tables, list):
        raise ConfigError(f"{section}: a list of tables, as in [[{section}]]")
    found, names = [], set()
    for number, table in enumerate(tables):
        if not isinstance(table, dict):
            raise ConfigError(f"{section}[{number}]: a table")
        one = build(table, f"{section}[{number}]")
        if one.name in names:
            raise ConfigError(f"{section}: two of them are called {one.name!r}")
        names.add(one.name)
        found.append(one)
    return tuple(found)


def _section(said: Mapping[str, Any], section: str) -> dict[str, Any]:
    values = said[section]
    if not isinstance(values, dict):
        raise ConfigError(f"{section}: a table, as in [{section}]")
    return _parsed(values, section, _SECTIONS[section])


def _parsed(values: Mapping[str, Any], where: str, parsers: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    _check_names(values, f"{where}.", parsers)
    found = {}
    for name, value in values.items():
        try:
            found[name] = parsers[name](value)
        except ValueError as error:
            shown = "***" if parsers[name] is _secrets else repr(value)
            raise ConfigError(f"{where}.{name} = {shown}: {error}") from None
    return found


def _check_names(values: Mapping[str, Any], where: str, known: Mapping[str, Any]) -> None:
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {where}{near[0]}?" if near else f"there are {', '.join(sorted(known))}"
            raise ConfigError(f"{where}{name}: no such setting", hint=hint)


def _hold(said: Mapping[str, Any], where: str) -> Hold:
    values = _parsed(said, where, _HOLD)
    _check_given(values, where, "name", "reason")
    renamed = {f"{name}_ns" if name in ("since", "until") else name: value for name, value in values.items()}
    return Hold(**renamed)


def _export(said: Mapping[str, Any], where: str) -> Export:
    values = _parsed({name: value for name, value in said.items() if name in _EXPORT}, where, _EXPORT)
    _check_given(values, where, "name", "to")
    options = {}
    for name, value in said.items():
        if name not in _EXPORT:
            if not isinstance(value, (str, int)):
                raise ConfigError(f"{where}.{name}: a text or a number")  # it may be secret: it is not shown
            options[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return Export(**values, options=options)


def _check_given(values: Mapping[str, Any], where: str, *names: str) -> None:
    for name in names:
        if not values.get(name):
            raise ConfigError(f"{where}: has no {name}")


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError("a text, such as 'web-1'")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError("a list of texts, such as ['os.*']")
    return tuple(map(_text, value))


def _categories(value: Any) -> tuple[str, ...]:
    from pythonaudit.catalog import CATEGORIES

    return _members(value, ("application", *CATEGORIES))


def _sources(value: Any) -> tuple[str, ...]:
    from pythonaudit.journal.layout import SOURCES

    return _members(value, tuple(SOURCES.values()))


def _members(value: Any, known: Sequence[str]) -> tuple[str, ...]:
    found = _texts(value)
    for one in found:
        if one not in known:
            raise ValueError(f"there are {', '.join(known)}")
    return found


def _secrets(value: Any) -> tuple[Secret, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise ValueError("a list of addresses")
    return tuple(map(Secret, value))


def _level(value: Any) -> str:
    if value not in _LEVELS:
        raise ValueError(f"one of {', '.join(_LEVELS)}")
    return str(value)


def _name(value: Any) -> str:
    name = _text(value)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name) or name.startswith("to-"):
        raise ValueError("a short name of letters, digits and -, such as 'siem'")
    return name


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _path(value: Any) -> Path:
    path = Path(_text(value))
    if not path.is_absolute():
        raise ValueError("an absolute path")
    return path


def _seconds(value: Any) -> float:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None or not int(match[1]):
        raise ValueError("a time such as '90s', '15m', '1h', '30d' or '1y'")
    return float(int(match[1]) * _SECONDS[match[2]])


def _seconds_or_never(value: Any) -> float | None:
    return None if value == "never" else _seconds(value)


def _size_or_never(value: Any) -> int | None:
    if value == "never":
        return None
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None or not int(match[1]):
        raise ValueError("a size such as '500MiB' or '10GiB', or 'never'")
    return int(match[1]) * _BYTES[match[2]]


def _moment(value: Any) -> int:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            value = None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError("a moment such as '2026-11-22T14:30:00Z'")
    return int((value - datetime(1970, 1, 1, tzinfo=timezone.utc)).total_seconds()) * _SECOND_NS


def _loopback(value: Any) -> tuple[str, int]:
    host, _, port = _text(value).rpartition(":")
    try:
        is_sound = ipaddress.ip_address(host.strip("[]")).is_loopback and 0 < int(port) < 65536
    except ValueError:
        is_sound = False
    if not is_sound:
        raise ValueError("a loopback address and a port, such as '127.0.0.1:9464'")
    return host.strip("[]"), int(port)


def _url(value: Any) -> str:
    url = _text(value)
    if not url.startswith(("http://", "https://")) or "@" in url.partition("://")[2].partition("/")[0]:
        raise ValueError("an address that begins with https:// or http:// and holds no password")
    return url


_SHAPES: Mapping[str, Callable[..., Any]] = {
    "keys": Keys,
    "checkpoints": Checkpoints,
    "agent": Agent,
    "retention": Retention,
    "access": Access,
    "detect": Detect,
}
_SECTIONS: dict[str, Mapping[str, Callable[[Any], Any]]] = {
    "keys": {"private": _path, "epoch": _seconds},
    "checkpoints": {"interval": _seconds, "file": _path, "url": _url},
    "agent": {"metrics": _loopback},
    "retention": {"age": _seconds_or_never, "size": _size_or_never, "journal_age": _seconds_or_never},
    "access": {"record": _truth},
    "detect": {"level": _level, "notify": _secrets, "notify_level": _level},
}
_HOLD: Mapping[str, Callable[[Any], Any]] = {
    "name": _text,
    "reason": _text,
    "since": _moment,
    "until": _moment,
    "host": _text,
    "run": _text,
}
_EXPORT: Mapping[str, Callable[[Any], Any]] = {
    "name": _name,
    "to": _text,
    "event": _texts,
    "category": _categories,
    "source": _sources,
    "path": _texts,
    "package": _texts,
}
