#!/usr/bin/env python3
r"""Verifies a bundle that `pythonaudit export --evidence` wrote, offline and without pythonaudit.

    python3 verify.py [--key VKEY] [--proven] [BUNDLE]

Python 3.8 or later, its standard library alone, and the program `openssl`, 3.0 or later, for signatures of Ed25519.
What is verified, from the event up (docs/format/checkpoint.md of pythonaudit is the normative text):

1. each line of events.jsonl gives a hash, made anew from the line;
2. its path in proofs.jsonl leads from that hash to the root that a record of the log has for such events;
3. what the event says of its process stands in a line of segments.jsonl, the hash of which is in the same record;
4. each record in log.jsonl has a path to the root that the newest checkpoint signs, and one to the root that the
   checkpoint at the end of its own epoch signs: by a key that was destroyed then;
5. each key was introduced by the one before it; one of them is the key that you were given (`--key`).

Exit status: 0 all of it agrees, 1 something does not, or is not there, 2 wrong usage, 3 it could not be verified.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any

from pythonaudit.export.offline.events import NOT_PROVEN, Events
from pythonaudit.export.offline.files import FORMAT, Bundle, CannotError, WrongError, load_object
from pythonaudit.export.offline.log import Log
from pythonaudit.export.offline.seal import Key, OpenSSL

_SHOWN = 20
#: What a bundle can raise that is not of the shape that everything here takes it to have.
_NONSENSE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def load_segments(bundle: Bundle, log: Log) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The rows of segments, each of which a record has the hash of."""
    told = {record.segment: record.said for record in log.records.values() if record.kind == "segment"}
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for place, line in bundle.lines("segments.jsonl"):
        row = load_object(place, line)
        key = row.get("process"), row.get("sequence"), row.get("uid")
        said = told.get(key) or {}
        if said.get("row") != hashlib.sha256(line).hexdigest() or said.get("events") != row.get("events"):
            raise WrongError(place, "no record of the log has the hash of this segment")
        found[key] = row
    return found


class Report:
    """What was found.

    Attributes:
        problems: what does not agree; empty: everything does.
        lines: what else there is to say.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.lines: list[str] = []


def verify(
    bundle: Bundle,
    given: Sequence[Key],
    is_signed: Callable[[bytes, bytes, bytes], bool],
    show: Callable[[dict[str, Any]], None] | None = None,
) -> Report:
    """Verifies a bundle.

    Args:
        bundle: which.
        given: keys that are known from elsewhere.
        is_signed: told of one key, text and signature, whether the signature is right.
        show: is given what is proven of each event.

    Raises:
        CannotError: it cannot be read.
    """
    report = Report()
    try:
        about = load_object("bundle.json", bundle.read("bundle.json"))
        if about.get("format") != FORMAT:
            raise WrongError("bundle.json", "a later format: take the verify.py of the bundle, or a later one")
        log = Log(bundle)
        log.verify_signatures(is_signed)
        vouched = log.vouched(given)
        segments = load_segments(bundle, log)
        events = Events(log, segments)
        lines = 0
        for one, other in zip_longest(bundle.lines("events.jsonl"), bundle.lines("proofs.jsonl")):
            lines += 1
            if one is None or other is None:
                missing = "events.jsonl" if one is None else "proofs.jsonl"
                raise WrongError(f"{missing}, line {lines}", "is not there")
            try:
                proven = events.verify(one[0], one[1], load_object(*other))
            except WrongError as error:
                report.problems.append(str(error))
                continue
            if show:
                show(proven)
        if about.get("events") != lines:
            said = ascii(about.get("events"))
            report.problems.append(f"events.jsonl: bundle.json says that there are {said} events, not {lines}")
        _tell(report, log, segments, events, given, vouched)
    except WrongError as error:
        report.problems.append(str(error))
    except _NONSENSE as error:
        report.problems.append(f"the bundle makes no sense: {str(error)!a}")
    return report


def _tell(
    report: Report,
    log: Log,
    segments: dict[tuple[Any, ...], dict[str, Any]],
    events: Events,
    given: Sequence[Key],
    vouched: set[int],
) -> None:
    say = report.lines.append
    say(f"log: {ascii(log.origin)[1:-1]}, {_number(log.size, 'record')}, {_number(len(log.keys), 'epoch')}")
    records = list(events.records.values())
    if events.count:
        say(f"events: {events.count}, of {show_time(events.first_ns)} to {show_time(events.last_ns)}")
        sealed = [record.said["time_ns"] for record in records]
        say(f"sealed: {show_time(min(sealed))} to {show_time(max(sealed))}, by {_number(len(records), 'record')}")
        total = sum(row["events"] for row in segments.values())
        say(f"there are {total} events in all in {_number(len(segments), 'segment')}; a bundle is a selection")
    say("not proven, and only shown: {}".format(", ".join(NOT_PROVEN)))
    if events.texts:
        say(f'not proven, in {_number(events.texts, "event")}: what "$text" says, beyond its length')
    if not given:
        say(f"first key of the log: {ascii(log.keys[0].text)[1:-1]}")
        return
    late = [record for record in records if record.epoch not in vouched]
    if late and log.signer not in vouched:
        reason = "the keys that were given vouch for neither it nor the newest checkpoint"
        report.problems.extend(f"{record.place}: {reason}" for record in late)
    elif late:
        older = _number(len(late), "record")
        say(f"older than the key that was given: {older}, which it vouches for as of the newest checkpoint")


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def show_time(time_ns: int) -> str:
    """A time for people."""
    try:
        return (datetime(1970, 1, 1) + timedelta(seconds=time_ns // 1000000000)).strftime("%Y-%m-%dT%H:%M:%SZ")
    except OverflowError:
        return f"{time_ns} ns"


def parse_keys(words: Sequence[str]) -> list[Key]:
    """Keys as they are given: as text, or files with one a line."""
    found = []
    for word in words:
        texts = [word]
        if os.path.isfile(word):
            with open(word, encoding="utf-8", errors="replace") as file:
                texts = file.read().split()
        found += [Key("--key", text.strip()) for text in texts]
    return found


def main(argv: Sequence[str]) -> int:
    """Verifies, and says what was found; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="verify.py", description="Verifies that events were sealed by pythonaudit, and not altered since."
    )
    parser.add_argument(
        "bundle", nargs="?", metavar="BUNDLE", help="zip file or directory; default: that of verify.py"
    )
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="VKEY",
        help="a key of the log, or a file with some, that you were given by other ways than this bundle",
    )
    parser.add_argument("--proven", action="store_true", help="print what is proven of each event, as JSON lines")
    parser.add_argument("--openssl", default="openssl", metavar="PROGRAM", help="OpenSSL 3.0 or later")
    args = parser.parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    output = sys.stderr if args.proven else sys.stdout
    try:
        try:
            given = parse_keys(args.key)
        except WrongError as error:
            print(f"verify.py: {error}", file=sys.stderr)
            return 2
        show = (lambda event: print(json.dumps(event))) if args.proven else None
        with Bundle(args.bundle or os.path.dirname(os.path.abspath(__file__))) as bundle:
            report = verify(bundle, given, OpenSSL(args.openssl), show)
    except WrongError as error:
        report = Report()
        report.problems.append(str(error))
    except (CannotError, OSError) as error:
        print(f"verify.py: cannot verify: {error}", file=sys.stderr)
        return 3
    for line in report.lines:
        print(line, file=output)
    if report.problems:
        for problem in report.problems[:_SHOWN]:
            print(f"no: {problem}", file=output)
        if len(report.problems) > _SHOWN:
            print(f"no: {len(report.problems) - _SHOWN} more", file=output)
        print("NOT VERIFIED: this is not what was sealed, or not all of it", file=output)
        return 1
    if given:
        print(
            "INTACT: these events were sealed, and are as they were; the key that was given vouches for it",
            file=output,
        )
    else:
        print("self-consistent, not authenticated: give the log's key, from elsewhere, with --key", file=output)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
