"""`pythonaudit export --to`: ships events, or the archive as it is, to a target; once, or on and on."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from pythonaudit.agent.exporting import FOLDER, build_filter
from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.reader import ArchivedSegments
from pythonaudit.cli import INTERRUPTED, access, filters, settings
from pythonaudit.cli.render import amount, neutralise, say
from pythonaudit.errors import StoreError, UsageError
from pythonaudit.export.cursor import SUFFIX, Cursor
from pythonaudit.export.feed import Feed
from pythonaudit.export.shipping import Shipping, Stopped
from pythonaudit.export.targets import Address, Mirror, Target, open_target, parse_address
from pythonaudit.journal.follow import POLL_SECONDS
from pythonaudit.journal.reader import Journal

#: How long a target may be away before `export` without --follow gives up.
PATIENCE_SECONDS = 5.0
_MIRROR_SECONDS = 5.0
_OUTPUT = "-"


def ship(args: argparse.Namespace) -> int:
    """Ships; 0 when all is acknowledged.

    Raises:
        TargetError: the target cannot be had.
    """
    address, name = _find_address(args)
    target = open_target(address)
    with contextlib.closing(target), _ending() as end:
        if isinstance(target, Mirror):
            _mirror(args, address, target, end)
        else:
            _ship(args, address, name, target, end)
        return INTERRUPTED if end.is_set() and not args.follow else 0


def _find_address(args: argparse.Namespace) -> tuple[Address, str | None]:
    """Where to, and its name in the configuration, if it has one there."""
    options = {"format": args.format} if args.format else {}
    if ":" in args.to or args.to == _OUTPUT:
        return parse_address(args.to, options), None
    config = settings.load(args)
    for export in config.export:
        if export.name == args.to:
            if filters.given(args):
                hint = "set its filters there, or write an address"
                raise UsageError(f"--to {args.to}: is set in the configuration, with its filters", hint=hint)
            return parse_address(export.to, {**export.options, **options}), export.name
    names = ", ".join(export.name for export in config.export)
    hint = f"the configuration has {names}" if names else "write an address such as otlp+http://127.0.0.1:4318"
    raise UsageError(f"--to {args.to}: no address, and no export of the configuration", hint=hint)


def _ship(
    args: argparse.Namespace, address: Address, name: str | None, target: Target, end: threading.Event
) -> None:
    journal = filters.open_journal(args.dir)
    archived = journal.archived
    assert isinstance(archived, ArchivedSegments)
    wanted = filters.select(journal, args, time.time_ns()).exact(journal)
    if name is not None:
        wanted = build_filter(next(one for one in settings.load(args).export if one.name == name), wanted)
    path = _cursor_path(args, address, name)
    if path is not None and args.again:
        path.unlink(missing_ok=True)
    cursor = Cursor(path, address.text)
    with contextlib.closing(cursor), contextlib.closing(Feed(journal, archived, wanted, cursor)) as feed:
        begin = cursor.counts.copy()
        patience = None if args.follow else PATIENCE_SECONDS
        shipping = Shipping(feed, target, cursor, say, end.wait, patience)
        try:
            _run(shipping, journal, args.follow, end)
        finally:
            cursor.save()
            counts = {kind: cursor.counts[kind] - begin[kind] for kind in ("sent", "refused", "gone")}
            access.shown(counts["sent"])
            if address.scheme != _OUTPUT:
                _report(address, counts)
    for problem in archived.problems():
        say(problem)


def _run(shipping: Shipping, journal: Journal, is_following: bool, end: threading.Event) -> None:
    try:
        shipping.ship_backlog()
        while is_following and not end.is_set():
            if not shipping.ship_news():
                end.wait(POLL_SECONDS)
    except Stopped:
        pass


def _mirror(args: argparse.Namespace, address: Address, target: Mirror, end: threading.Event) -> None:
    if filters.given(args):
        raise UsageError(f"--to {address.text}: takes the archive as it is", hint="leave the filters out")
    files = size = events = 0
    access.begin(args.dir)
    if not Archive(args.dir).exists:
        raise StoreError(f"{args.dir}: there is no archive", hint="'pythonaudit ingest' or an agent makes one")
    while True:
        shipped = target.ship(args.dir)
        files, size, events = files + shipped.files, size + shipped.bytes, events + shipped.events
        if end.is_set() or (shipped.is_done and not args.follow):
            break
        if shipped.is_done:
            end.wait(_MIRROR_SECONDS)
    access.shown(events)
    say(f"{amount(files, 'file')}, {size:,} bytes, {amount(events, 'event')} went to {address.text}")


def _report(address: Address, counts: dict[str, int]) -> None:
    text = f"{amount(counts['sent'], 'event')} went to {neutralise(address.text)}"
    if counts["refused"]:
        text += f"; it refused {amount(counts['refused'], 'event')}"
    if counts["gone"]:
        text += f"; {amount(counts['gone'], 'segment')} had gone before"
    say(text)


def _cursor_path(args: argparse.Namespace, address: Address, name: str | None) -> Path | None:
    """Where it is noted what was acknowledged; None: nowhere, for standard output acknowledges nothing."""
    if address.scheme == _OUTPUT:
        return None
    if name is None:
        # What goes where: other filters are another matter.
        text = "\0".join([address.text, *(f"{key}={value}" for key, value in sorted(filters.given(args).items()))])
        name = "to-" + hashlib.sha256(text.encode()).hexdigest()[:16]
    folder: Path = args.dir / FOLDER
    return folder / f"{name}{SUFFIX}"


@contextlib.contextmanager
def _ending() -> Iterator[threading.Event]:
    """Set by SIGTERM and Ctrl-C: shipping ends in order. A second signal ends it at once."""
    end = threading.Event()

    def stop(number: int, frame: object) -> None:
        end.set()
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield end
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
