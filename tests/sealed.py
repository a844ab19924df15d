"""Sealed stores, bundles of evidence taken out of them, and what verify.py says of these."""

from __future__ import annotations

import json
import os
import types
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pythonaudit.archive.compact import compact
from pythonaudit.archive.ingest import ingest
from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.sealer import Sealer, begin
from pythonaudit.export import offline
from pythonaudit.export.evidence import Report, write_evidence
from pythonaudit.integrity.writer import Writer
from pythonaudit.journal import layout
from pythonaudit.journal.filters import EventFilter
from pythonaudit.journal.reader import Journal
from tests.archives import archived_journal
from tests.journal_writer import BEGIN_NS, STDLIB, SegmentWriter

ORIGIN = "pythonaudit/web-1/1f0a7c3e"
NEXT_DAY_NS = BEGIN_NS + 86_400_000_000_000  # batches are put together if their newest events are of one day
Files = dict[str, bytes]


def start_sealing(directory: Path) -> str:
    """Begins a log; gives its first key."""
    writer = Writer(directory)
    begin(writer, Journal(directory), Archive(directory), ORIGIN, "0")
    assert writer.state.public
    return writer.state.public.vkey


def rotate(directory: Path) -> str:
    """Ends the epoch; gives the new key."""
    writer = Writer(directory)
    with writer.lock() as state:
        writer.rotate()
        writer.checkpoint()
        assert state.public
        return state.public.vkey


def seal_open(directory: Path) -> int:
    """Seals what is in the journal, as somebody does who follows it; how many events."""
    journal = Journal(directory)
    return Sealer(Writer(directory)).seal(filter(None, map(journal.load, journal.heads())))


def archive(directory: Path, batch_bytes: int = 64 << 20) -> None:
    """Archives and seals what is closed."""
    ingest(Journal(directory), Archive(directory), sealer=Sealer(Writer(directory)), batch_bytes=batch_bytes)


def put_together(directory: Path) -> None:
    """Compacts the archive."""
    assert compact(Archive(directory), sealer=Sealer(Writer(directory)))


def hostile(process: int, begin_ns: int = BEGIN_NS) -> SegmentWriter:
    """A segment of all that is odd: two threads, contexts, revealed text, lines, unknown frames."""
    writer = SegmentWriter(process=process.to_bytes(16, "big"), begin_ns=begin_ns)
    first, second = writer.thread(slot=1, tid=100), writer.thread(slot=2, tid=101)
    stack = [("/srv/app.py", 7, "main"), (STDLIB[0] + "runpy>", 0, "é\n\x1b[31m")]
    first.event("open", ["/etc/passwd", "r", 524288], stack=stack)
    second.named("wörker\n1")
    second.context({"user": "zoë", "odd": {"$float": "nan"}, "line": "a\nb"})
    second.trace(bytes(range(16)), bytes(range(8)))
    second.event("User logged in: username=johndoe, ip=192.168.0.1", source=layout.SOURCE_APPLICATION)
    text = writer.string('print("é\\n")\n')
    shortened = f'{{"$length":11,"$hash":"0123456789abcdef","$text":{text}}}'
    odd = '1.5,1e+22,-0.0,1e-07,"\\u0001\\t\x7f\u2028"'
    second.event("compile", f"[{shortened},{odd}]".encode(), stack=stack[1:], notes=4)
    first.event("line\nbreak \x1b[31m\u202e\x00 = <&>", [{"$base64": "//8="}, {"$wtf8": "7aCA"}, [[]], {}])
    first.event("huge", ["x" * 9000], source=layout.SOURCE_APPLICATION, notes=3)
    first.event("open", b'[\n{"event":"forged"},\r\n 1.50 ]')
    first.event("shop.order.paid", b'[{"a":1,\n"event":"forged"}]', source=layout.SOURCE_APPLICATION)
    second.context('{"b" : 1e2,\n"user":"u"}')
    unknown = writer.node(writer.node(0, 0, 5), writer.code("", "", 1), 0)
    second.event("an.event", [True, None, 9223372036854775807], stack=unknown, source=9)
    writer.ticks += 7
    second.event("at the end", stack=writer.node(0, 0, 5), inline=True)
    for number in range(20):
        writer.ticks += 1_000_000
        first.event("open", [f"/srv/{number}", "r", 0], stack=[("/srv/app.py", number + 1, "main")])
    return writer


def build_store(directory: Path) -> list[str]:
    """Three epochs, two batches put together and one that is not; gives the keys."""
    keys = [start_sealing(directory)]
    hostile(1).save(directory, state=layout.STATE_OPEN)
    assert seal_open(directory) == 29
    hostile(1).save(directory)
    hostile(2, BEGIN_NS + 86_400_000_000_000 - 8_000_000).save(directory)  # two days
    archive(directory)
    keys.append(rotate(directory))
    hostile(3, NEXT_DAY_NS).save(directory)
    archive(directory)
    put_together(directory)
    keys.append(rotate(directory))
    hostile(4).save(directory)
    archive(directory, batch_bytes=1)
    return keys


def export(directory: Path, path: Path, wanted: EventFilter | None = None) -> Report:
    """A bundle of the wanted events."""
    return write_evidence(directory, Archive(directory), archived_journal(directory).events(wanted), path, {})


def unpack(path: Path) -> Files:
    """What is in a bundle, by name."""
    with zipfile.ZipFile(path) as bundle:
        return {name.removeprefix("evidence/"): bundle.read(name) for name in bundle.namelist()}


def pack(files: Mapping[str, bytes], path: Path) -> Path:
    """A bundle with these files."""
    with zipfile.ZipFile(path, "w") as bundle:
        for name, content in files.items():
            bundle.writestr(f"evidence/{name}", content)
    return path


def is_signed(key: bytes, text: bytes, signature: bytes) -> bool:
    """What the program openssl says, in less time."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, text)
    except (InvalidSignature, ValueError):
        return False
    return True


@dataclass(frozen=True)
class Verdict:
    """What verify.py finds."""

    problems: list[str]
    lines: list[str]
    proven: list[dict[str, Any]]


#: verify.py as it is in bundles.
program = types.ModuleType("verify")
exec(compile(offline.source(), "verify.py", "exec"), program.__dict__)


def verify(path: Path, keys: Iterable[str] = ()) -> Verdict:
    """What verify.py says of a bundle."""
    proven: list[dict[str, Any]] = []
    try:
        with program.Bundle(os.fspath(path)) as bundle:
            report = program.verify(bundle, program.parse_keys(list(keys)), is_signed, proven.append)
    except program.WrongError as error:
        return Verdict([str(error)], [], proven)
    return Verdict(report.problems, report.lines, proven)


def lines(content: bytes) -> list[Any]:
    """JSON lines, parsed."""
    return [json.loads(line) for line in content.splitlines()]


def write_lines(values: Iterable[Any]) -> bytes:
    """The inverse."""
    return b"".join(json.dumps(one, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for one in values)
