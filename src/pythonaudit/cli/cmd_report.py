"""`pythonaudit report`: the dated evidence for a period (docs/guide/auditors.md)."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pythonaudit.agent.config import Config, load_config
from pythonaudit.archive.holds import describe_hold
from pythonaudit.archive.retention import describe_limits
from pythonaudit.cli import filters
from pythonaudit.cli.ourselves import own_process
from pythonaudit.cli.render import Output, neutralise
from pythonaudit.cli.times import parse_moment
from pythonaudit.durable import write_durably
from pythonaudit.errors import FormatError, StoreError, UsageError
from pythonaudit.export import report_html, report_markdown
from pythonaudit.export.document import Document, build_document
from pythonaudit.export.report import Asked, Period, take_report

_EPILOG = """\
What was recorded and what was not, what was lost, whether it can be relied on, what retention removed, who read it,
and which requirements of PCI DSS 4 it is evidence for. It reads, and changes nothing.

examples:
  pythonaudit report --since 2026-10-01 --until 2026-11-01 --key web-1.vkey -o october.html
  pythonaudit report --since 1d
"""
_SECOND_NS = 1_000_000_000
_RENDER = {"html": report_html.render, "markdown": report_markdown.render}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "--since", required=True, metavar="TIME", help="2026-11-22T14:30:00Z, 2026-11-22, 30d (ago)"
    )
    parser.add_argument("--until", metavar="TIME", help="the same; the moment itself is out; default: now")
    help_key = "a file with public keys, from 'pythonaudit keys export', kept elsewhere"
    parser.add_argument("--key", action="append", type=Path, metavar="FILE", help=help_key)
    help_checkpoint = "a checkpoint that was kept elsewhere"
    parser.add_argument("--checkpoint", action="append", type=Path, metavar="FILE", help=help_checkpoint)
    parser.add_argument("--config", type=Path, metavar="FILE", help="default: DIR/config.toml")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: standard output")
    help_format = "default: html where FILE ends with .html, else markdown"
    parser.add_argument("--format", choices=tuple(_RENDER), help=help_format)


def run(args: argparse.Namespace) -> int:
    """Writes the report; always 0."""
    now_ns = time.time_ns()
    period = Period(_moment("--since", args.since, now_ns), _moment("--until", args.until, now_ns))
    if period.since_ns >= period.until_ns:
        raise UsageError("--since is not before --until", hint="give a period, such as --since 30d")
    journal = filters.open_journal(args.dir)
    try:
        report = take_report(journal, period, _asked(args, load_config(args.dir, args.config)), now_ns)
    except FormatError as error:
        raise UsageError(f"--key or --checkpoint: {error}") from None
    kind = args.format or (
        "html" if args.output and args.output.suffix.lower() in (".html", ".htm") else "markdown"
    )
    _write(args.output, kind, build_document(report))
    if not report.coverage.processes:
        print(f"pythonaudit: nothing was recorded in the period in {neutralise(str(args.dir))}", file=sys.stderr)
    return 0


def _write(path: Path | None, kind: str, document: Document) -> None:
    pieces: Iterator[str] = _RENDER[kind](document, neutralise)
    if path is None:
        output = Output()
        for piece in pieces:
            output.write(piece)
        output.flush()
        return
    try:
        write_durably(path, "".join(pieces).encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from None


def _asked(args: argparse.Namespace, config: Config) -> Asked:
    return Asked(
        keys=[line for path in args.key or () for line in _read(path).split("\n") if line.strip()],
        checkpoints=[_read(path) for path in args.checkpoint or ()],
        limits=describe_limits(config.retention) if "retention" in config.given else None,
        holds=[describe_hold(hold) for hold in config.hold],
        interval_ns=int(config.checkpoints.interval * _SECOND_NS),
        is_elsewhere=config.checkpoints.file is not None or config.checkpoints.url is not None,
        private=config.keys.private,
        without=own_process(),
        programs=os.environ.get("PATH", os.defpath),
    )


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: neither a key nor a checkpoint") from None


def _moment(option: str, text: str | None, now_ns: int) -> int:
    if text is None:
        return now_ns
    try:
        return parse_moment(text, now_ns)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None
