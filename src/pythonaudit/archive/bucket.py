"""What is where in a bucket, and what the objects hold that are not files of the archive (docs/format/bucket.md).

    entry_key("web-1", "18b…-1f0a7c3e", Span(begin_ns, end_ns))
    build_listed(entry_text, processes)  ·  parse_listed(data)
    build_sealed(Sealed(…))              ·  parse_sealed(data)

Keys and bytes to values and back; nothing is read or written here. What comes out of a bucket is untrusted.
"""

from __future__ import annotations

import fnmatch
import gzip
import json
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from pythonaudit.archive.manifest import Entry, parse_entry
from pythonaudit.errors import FormatError

FORMAT = 1
FOREVER_NS = (1 << 63) - 1
#: An entry that is about more processes, or hosts, does not say which.
MOST_NAMED = 4096
#: The longest interval that a sender can promise, in seconds: silence for longer is always told.
MOST_INTERVAL = 86400

_ENTRY = re.compile(r"([0-9a-f]{16}-[0-9a-f]{8})\.([0-9a-f]{16})-([0-9a-f]{16})\.json")
_SEALED = re.compile(r"([0-9]{16})\.gz")
_NAMED = ("hosts", "processes")
_MOST_SEALED_BYTES = 256 << 20  # uncompressed


class Span(NamedTuple):
    """From when to when, nanoseconds since 1970; both are in it."""

    begin_ns: int
    end_ns: int


def name_of(text: str) -> str:
    """A host, or the origin of a log, as one word of a key."""
    name = quote(text, safe="") or "%00"
    return name if name.strip(".") else name.replace(".", "%2E")  # `..` is no word of a path


def text_of(name: str) -> str:
    """The inverse."""
    text = unquote(name, errors="replace")
    return "" if text == "\0" else text


def host_key(host: str, sender: str) -> str:
    """Of the mark that a sender has events of a host."""
    return f"hosts/{name_of(host)}/{name_of(sender)}"


def part_key(sender: str, path: str, sha256: str) -> str:
    """Of a part.

    Args:
        sender: whose it is.
        path: of the part below the archive.
        sha256: of its bytes.
    """
    return f"parts/{name_of(sender)}/{path.removesuffix('.parquet')}.{sha256}.parquet"


def entry_key(sender: str, batch: str, span: Span) -> str:
    """Of an entry of the manifest."""
    return f"{entries_prefix(sender)}{batch}.{span.begin_ns:016x}-{span.end_ns:016x}.json"


def entries_prefix(sender: str) -> str:
    """How keys of a sender's entries begin."""
    return f"manifest/{name_of(sender)}/"


def parse_entry_key(key: str) -> tuple[str, Span] | None:
    """Batch and span that a key of an entry tells; None: it is none."""
    match = _ENTRY.fullmatch(key.rpartition("/")[2])
    return (match[1], Span(int(match[2], 16), int(match[3], 16))) if match else None


def seal_prefix(sender: str, origin: str = "") -> str:
    """How keys of a sender's seals begin, or of one log of it."""
    return f"seal/{name_of(sender)}/" + (f"{name_of(origin)}/" if origin else "")


def sealed_key(sender: str, origin: str, first: int) -> str:
    """Of the records from one on."""
    return f"{seal_prefix(sender, origin)}{first:016d}.gz"


def parse_sealed_key(key: str) -> int | None:
    """The number of the first record that a key tells; None: it is none."""
    match = _SEALED.fullmatch(key.rpartition("/")[2])
    return int(match[1]) if match else None


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry of the manifest in a bucket.

    Attributes:
        text: the file of the manifest, byte by byte.
        entry: what it says.
        hosts: those that it is about. `processes`: the first 8 hexadecimal digits of each. None: it does not say.
    """

    text: bytes
    entry: Entry
    hosts: frozenset[str] | None = None
    processes: frozenset[str] | None = None


def build_listed(text: bytes, hosts: Iterable[str] | None, processes: Iterable[str] | None) -> bytes:
    """An entry as an object; None: it is not known which it is about."""
    said: dict[str, Any] = {"format": FORMAT, "entry": text.decode()}
    for name, values in (("hosts", hosts), ("processes", {process[:8] for process in processes or ()} or None)):
        if values is not None and len(found := sorted(values)) <= MOST_NAMED:
            said[name] = found
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()


def parse_listed(data: bytes) -> Listed:
    """Reads an entry.

    Raises:
        FormatError: it is none, or one of a later format.
    """
    try:
        said: dict[str, Any] = json.loads(data)
        if said["format"] > FORMAT:
            raise FormatError(f"format {said['format']} is of a later version")
        text = said["entry"]
        hosts, processes = (None if said.get(name) is None else frozenset(said[name]) for name in _NAMED)
        if not all(type(one) is str for one in (*(hosts or ()), *(processes or ()))):
            raise FormatError("hosts and processes are texts")
        return Listed(text.encode(), parse_entry(text), hosts, processes)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FormatError(f"no entry of a bucket: {type(error).__name__} {error}") from None


@dataclass(frozen=True, slots=True)
class Sealed:
    """Records of a log, and the checkpoint that covers them.

    Attributes:
        first: number of the first.
        lines: the records, without line feeds.
        checkpoint: None: the next object has it.
        interval: seconds within which the sender promises the next; None: it promises nothing.
        sent_ns: when, nanoseconds since 1970.
    """

    first: int
    lines: tuple[bytes, ...]
    checkpoint: str | None
    interval: int | None
    sent_ns: int

    @property
    def end(self) -> int:
        """Number of the record that comes next."""
        return self.first + len(self.lines)


def build_sealed(sealed: Sealed) -> bytes:
    """Records as an object."""
    head = {
        "format": FORMAT,
        "first": sealed.first,
        "records": len(sealed.lines),
        "checkpoint": sealed.checkpoint,
        "interval": sealed.interval,
        "sent_ns": sealed.sent_ns,
    }
    lines = (json.dumps(head, ensure_ascii=False, separators=(",", ":")).encode(), *sealed.lines)
    return gzip.compress(b"".join(line + b"\n" for line in lines), mtime=0)


def parse_sealed(data: bytes) -> Sealed:
    """Reads records.

    Raises:
        FormatError: they are none, of a later format, or not all there.
    """
    try:
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
        text = unpacker.decompress(data, _MOST_SEALED_BYTES)
        if not unpacker.eof:
            raise FormatError("cut off, or too long")
        head, *lines = text.split(b"\n")
        said: dict[str, Any] = json.loads(head)
        if said["format"] > FORMAT:
            raise FormatError(f"format {said['format']} is of a later version")
        if lines.pop() or len(lines) != said["records"]:
            raise FormatError("not as many records as it says")
        first, interval, sent_ns, checkpoint = (
            said[name] for name in ("first", "interval", "sent_ns", "checkpoint")
        )
        if interval is not None:
            interval = min(_number(interval), MOST_INTERVAL)
        if checkpoint is not None and type(checkpoint) is not str:
            raise FormatError("its checkpoint is no text")
        return Sealed(_number(first), tuple(lines), checkpoint, interval, _number(sent_ns))
    except (ValueError, KeyError, TypeError, IndexError, zlib.error, RecursionError) as error:
        raise FormatError(f"no records: {type(error).__name__} {error}") from None


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= FOREVER_NS:
        raise TypeError(f"{value!r} is no whole number")
    return value


@dataclass(frozen=True, slots=True)
class Scope:
    """How much of a bucket is looked at.

    Attributes:
        since_ns, until_ns: batches with something in between; None: no limit.
        hosts: globs; empty: all.
        processes: beginnings of ids, as of `EventFilter`; empty: all.
    """

    since_ns: int | None = None
    until_ns: int | None = None
    hosts: tuple[str, ...] = ()
    processes: tuple[str, ...] = ()

    def has_host(self, host: str) -> bool:
        """Whether a host is asked for."""
        return not self.hosts or any(fnmatch.fnmatchcase(host, glob) for glob in self.hosts)

    def has_entry(self, listed: Listed) -> bool:
        """Whether an entry can have something that is asked for."""
        if listed.hosts is not None and not any(map(self.has_host, listed.hosts)):
            return False
        if listed.processes is None or not self.processes:
            return True
        return any(begin.startswith(asked[:8]) for begin in listed.processes for asked in self.processes)
