"""`pythonaudit keys`: begins to seal, and shows, exports or changes the keys that sign."""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.sealer import begin
from pythonaudit.cli import filters, settings
from pythonaudit.cli.render import neutralise
from pythonaudit.errors import FormatError, StoreError, UsageError
from pythonaudit.integrity import notes
from pythonaudit.integrity.log import Log, parse_record
from pythonaudit.integrity.writer import Writer
from pythonaudit.journal.decode import format_time
from pythonaudit.journal.reader import Journal

_EPILOG = """\
From 'init' on, everything that 'agent' and 'ingest' come across is sealed: hashed, logged, and covered by a signed
checkpoint (docs/format/checkpoint.md). The key changes every hour, and the one before is destroyed: who takes the
machine today cannot rewrite yesterday. What 'export' prints is public, and meant to leave the machine: 'verify
--key' holds everything against it.

examples:
  pythonaudit keys init
  pythonaudit keys export >web-1.vkey
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.epilog = _EPILOG
    settings.add_argument(parser)
    actions = parser.add_subparsers(dest="action", required=True, metavar="init|show|export|rotate")
    init = actions.add_parser("init", help="begin to seal, with a first key")
    init.add_argument("--name", help="name of the log; default: pythonaudit/HOST/ and 8 random digits")
    init.add_argument("--again", action="store_true", help="the key was lost: begin a chain of keys anew")
    show = actions.add_parser("show", help="the keys so far, newest last")
    show.add_argument("--format", choices=("table", "jsonl"), default="table", help="default: table")
    export = actions.add_parser("export", help="the first key, to be kept elsewhere and given to 'verify --key'")
    export.add_argument("file", nargs="?", type=Path, metavar="FILE", help="default: standard output")
    actions.add_parser("rotate", help="end the epoch now: a new key, and the old one is destroyed")


def run(args: argparse.Namespace) -> int:
    """Does what was asked."""
    actions = {"init": _init, "show": _show, "export": _export, "rotate": _rotate}
    actions[args.action](args)
    return 0


def _init(args: argparse.Namespace) -> None:
    writer = settings.open_writer(args)
    if args.again:
        writer.begin_again()
        print(f"a new chain of keys begins; keep this one elsewhere:\n{_public(writer).vkey}")
        return
    origin = args.name or f"pythonaudit/{_host()}/{os.urandom(4).hex()}"
    if not notes.is_origin(origin):
        raise UsageError(
            f"--name {origin!r}: has white space, a plus sign or what does not print", hint="leave it out"
        )
    journal = Journal(args.dir, filters.further_directories())
    begin(writer, journal, Archive(args.dir), origin, version("pythonaudit"))
    print(f"sealing begins; keep this key elsewhere, 'pythonaudit verify --key' takes it:\n{_public(writer).vkey}")


def _public(writer: Writer) -> notes.PublicKey:
    assert writer.state.public is not None
    return writer.state.public


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()) or "host"


def _show(args: argparse.Namespace) -> None:
    for record, key in _keys(args.dir):
        since = format_time(record["time_ns"]).decode()
        if args.format == "jsonl":
            is_first = record["epoch"] == 0 or bool(record.get("again"))
            print(json.dumps({"epoch": record["epoch"], "since": since, "key": key.vkey, "first": is_first}))
        else:
            print(f"{record['epoch']:>6}  {since[:19]}Z  {neutralise(key.vkey)}")


def _export(args: argparse.Namespace) -> None:
    keys = [key.vkey for record, key in _keys(args.dir) if record["epoch"] == 0 or record.get("again")]
    text = "".join(f"{key}\n" for key in keys)
    if args.file is None:
        print(text, end="")
        return
    try:
        args.file.write_text(text)
    except OSError as error:
        raise StoreError(f"{args.file}: {error.strerror}") from None


def _rotate(args: argparse.Namespace) -> None:
    writer = settings.open_writer(args)
    with writer.lock() as state:
        writer.rotate()
        writer.checkpoint()
        print(f"epoch {state.epoch} begins: {_public(writer).vkey}", file=sys.stdout)


def _keys(directory: Path) -> Iterator[tuple[dict[str, Any], notes.PublicKey]]:
    """The records of keys, and each key. Signatures are left to 'verify'."""
    log = Log(directory)
    if not log.exists:
        raise StoreError(f"nothing is sealed in {directory}", hint="begin with 'pythonaudit keys init'")
    try:
        for line in log.lines():
            if line.startswith(b'{"record":"key"'):
                record = parse_record(line)
                yield record, notes.parse_key(notes.split_note(record["note"])[0])[1]
    except (FormatError, KeyError, TypeError) as error:
        raise StoreError(f"{log.root}: {error}", hint="'pythonaudit verify' says what is wrong") from None
