"""`pythonaudit verify`: holds journal and archive against what was sealed, and that against what was kept elsewhere."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pythonaudit.archive.address import BucketAddress
from pythonaudit.archive.verify import Report, verify
from pythonaudit.cli import filters
from pythonaudit.cli.render import Output, Screen, json_line, neutralise, progress
from pythonaudit.errors import FormatError, UsageError
from pythonaudit.integrity import notes
from pythonaudit.integrity.verdicts import CHECKPOINT, KEY, NO_ANCHOR, Verdict
from pythonaudit.integrity.verify import Anchors, parse_outside
from pythonaudit.journal.decode import format_time

_EPILOG = """\
Verdicts: 'intact' was held against something that was kept elsewhere; 'self-consistent' agrees with itself, and no
more; 'incomplete' says what is not there, 'tampered' what is not as it was sealed. Everything is looked at, files
and events; nothing is written, and it works offline, on a copy ('cp -a'), and while recording goes on.

A key ('pythonaudit keys export') shows what was changed, and everything that was signed anew. A checkpoint
(a copy of DIR/seal/checkpoint) shows as well that nothing of what it covers was cut off. Keep both elsewhere.

Of a bucket (--dir s3://BUCKET/PREFIX) every log in it is verified, each against the keys and checkpoints that are its
own; a host that has stopped sending, and a log that a key was given for and that is not there, are incomplete.

Exit status: 0 nothing was found; 1 something is tampered with, incomplete or damaged; 2 no key, no checkpoint was
given; 3 it could not be told.

examples:
  pythonaudit verify --key web-1.vkey
  pythonaudit --dir s3://audit/fleet verify --key fleet.vkey
  pythonaudit verify --checkpoint /mnt/elsewhere/checkpoint --format jsonl
"""
_STYLES = {"intact": "green", "self-consistent": "yellow", "incomplete": "red", "tampered": "bold red"}
_HELD = {NO_ANCHOR: "nothing from outside", KEY: "a key", CHECKPOINT: "a checkpoint"}
_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="PUB",
        help="a public key, or a file with one a line; may be repeated",
    )
    parser.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="a checkpoint; may be repeated",
    )
    parser.add_argument("--format", choices=("table", "jsonl"), default="table", help="default: table")


def run(args: argparse.Namespace) -> int:
    """Verifies; 1 if something was found."""
    keys = tuple(key for said in args.key for key in _load_keys(said))
    anchors = Anchors(keys, tuple(map(_load_checkpoint, args.checkpoint)))
    if isinstance(args.dir, BucketAddress):
        return _run_fleet(args, anchors)
    with progress("verifying") as tell:
        report = verify(args.dir, anchors, filters.further_directories(), tell)
    output = Output()
    (_write_lines if args.format == "jsonl" else _write_table)(output, report)
    output.flush()
    return 0 if all(verdict.is_fine for verdict in report.verdicts) else 1


def _run_fleet(args: argparse.Namespace, anchors: Anchors) -> int:
    """Verifies every log in a bucket; 1 if something was found in one of them."""
    from pythonaudit.archive.fleet_verify import verify_fleet
    from pythonaudit.archive.objects import Bucket

    output, counts = Output(), Counter[str]()
    is_fine = True
    with progress("verifying") as tell:
        reports = list(verify_fleet(Bucket(args.dir), anchors, time.time_ns(), tell))
    for sender, report in reports:
        if args.format == "jsonl":
            _write_lines(output, report, sender)
        else:
            _write_host(output, sender, report)
        counts[report.verdicts[0].verdict] += 1
        is_fine &= all(verdict.is_fine for verdict in report.verdicts)
    if args.format == "table":
        said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        output.write(f"{_number(len(reports), 'log')}: {said}\n")
    output.flush()
    return 0 if is_fine else 1


def _write_host(output: Output, sender: str, report: Report) -> None:
    """One log of a bucket: what is said of it, and each thing that was found."""
    screen = Screen(output.is_terminal)
    whole = report.verdicts[0]
    word = screen.paint(f"{whole.verdict:<15}", _STYLES[whole.verdict])
    name = neutralise(sender or whole.subject)
    output.write(f"{word}  {name}: {_summary(report)}, held against {_HELD[whole.anchor]}\n")
    _write_bad(output, screen, report)
    for line in report.notes:
        output.write(f"    {neutralise(line)}\n")


def _write_bad(output: Output, screen: Screen, report: Report) -> None:
    for one in report.verdicts:
        if not one.is_fine:
            word = screen.paint(f"{one.verdict:<10}", _STYLES[one.verdict])
            output.write(f"  {word}  {one.kind:<7}  {neutralise(one.subject)}: {neutralise(one.reason)}\n")


def _load_keys(said: str) -> list[notes.PublicKey]:
    """The keys that an argument names: itself, or the lines of a file."""
    try:
        return [notes.parse_vkey(said)]
    except FormatError as error:
        problem = str(error)
    try:
        lines = Path(said).read_text("utf-8").splitlines()
    except FileNotFoundError:
        raise UsageError(f"--key {said!r}: {problem}; nor is there such a file") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"--key {said!r}: {getattr(error, 'strerror', None) or 'no text'}") from None
    try:
        keys = [notes.parse_vkey(line) for line in lines if line.strip()]
    except FormatError as error:
        raise UsageError(f"--key {said}: {error}", hint="'pythonaudit keys export' writes one") from None
    if not keys:
        raise UsageError(f"--key {said}: there is no key in it", hint="'pythonaudit keys export' writes one")
    return keys


def _load_checkpoint(path: Path) -> str:
    """A checkpoint from outside."""
    try:
        note = path.read_bytes().decode()
        parse_outside(note)
    except OSError as error:
        raise UsageError(f"--checkpoint {path}: {error.strerror}") from None
    except (FormatError, UnicodeDecodeError):
        hint = "a checkpoint is a copy of DIR/seal/checkpoint"
        raise UsageError(f"--checkpoint {path}: this is no checkpoint", hint=hint) from None
    return note


def _write_lines(output: Output, report: Report, sender: str | None = None) -> None:
    for verdict in report.verdicts:
        said = asdict(verdict) | ({} if sender is None else {"sender": sender})
        if verdict.kind == "archive":
            said |= {"records": report.records, "uncovered": report.uncovered, "unsealed": report.unsealed}
            said |= {"newest": format_time(report.newest_ns).decode(), "notes": report.notes}
        output.write(json_line(said, output.is_terminal))


def _write_table(output: Output, report: Report) -> None:
    screen = Screen(output.is_terminal)
    whole = report.verdicts[0]
    output.write(f"{screen.paint(whole.verdict, _STYLES[whole.verdict])}: {_summary(report)}\n")
    _write_bad(output, screen, report)
    for line in [*report.notes, *_unsealed(report), _anchored(report.verdicts[0], report)]:
        output.write(f"{neutralise(line)}\n")


def _summary(report: Report) -> str:
    whole = report.verdicts[0]
    journals, parts = (_of_kind(report.verdicts, kind) for kind in ("journal", "part"))
    text = f"{_number(whole.events, 'event')} of {_number(journals, 'journal')}, {_number(parts, 'part')}, "
    if not report.newest_ns:
        return f"{text}no record"
    newest = format_time(report.newest_ns).decode()[:19] + "Z"
    return f"{text}{_number(report.records, 'record')}; newest of {newest}, {_age(report.newest_ns)} ago"


def _of_kind(verdicts: Sequence[Verdict], kind: str) -> int:
    return sum(one.kind == kind and not one.subject.startswith("manifest/") for one in verdicts)


def _unsealed(report: Report) -> list[str]:
    lines = []
    if report.unsealed:
        where = _number(report.unsealed_segments, "segment")
        lines.append(f"not sealed yet: {_number(report.unsealed, 'event')} of {where} of the journal")
    if report.uncovered:
        lines.append(f"not covered by a checkpoint yet: {_number(report.uncovered, 'record')}")
    return lines


def _anchored(whole: Verdict, report: Report) -> str:
    """What the verdicts are worth."""
    if whole.anchor == NO_ANCHOR and report.is_anchored:
        return "What was given vouches for nothing here."
    if whole.anchor == NO_ANCHOR:
        return (
            "No anchor: who replaced keys and signatures as well would not be seen; give --key or --checkpoint, "
            "kept elsewhere."
        )
    if whole.anchor == KEY:
        return (
            "Held against a key. Had the newest files been removed, and the log been put back to an earlier signed "
            f"checkpoint, only a --checkpoint would show it; the newest one here is {_age(report.newest_ns)} old."
        )
    return (
        "Held against a checkpoint. What came after it is held against the keys that it covers; the newest one here "
        f"is {_age(report.newest_ns)} old."
    )


def _age(then_ns: int) -> str:
    seconds = max(time.time_ns() - then_ns, 0) // 1_000_000_000
    unit, size = next((one for one in _UNITS if seconds >= one[1]), _UNITS[-1])
    return _number(seconds // size, unit)


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
