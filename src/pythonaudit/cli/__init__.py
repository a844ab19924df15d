"""The command line: `pythonaudit [--dir DIR] VERB ...`.

One verb is one module, `cmd_VERB.py`, with two functions:

    add_arguments(parser: argparse.ArgumentParser) -> None
    run(args: argparse.Namespace) -> int                      # the exit status

`VERBS` below lists them. A verb is imported when it is called for, and only that one; nothing heavy is
imported before a verb needs it, because start-up time is felt and because the base installation has no
dependency. `args.dir` (a `Path`, or a `BucketAddress`) is always there: `--dir`, else `PYTHONAUDIT_DIR` (also
one that the recorder hides from this process, `ourselves.py`), else the default.

Data goes to stdout, the rest to stderr. Exit status: 0 done; 1 the answer is no; 2 wrong usage; 3 could not;
130 interrupted; 141 whoever read our output has gone. An error is one line on stderr: what, where, what to do.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import io
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from pythonaudit.cli import access
from pythonaudit.cli.ourselves import environment_in_force
from pythonaudit.errors import MissingToolsError, PythonAuditError, UsageError

VERBS: Mapping[str, str] = {
    "run": "run a command and record it and its children",
    "log": "print what happened, oldest first",
    "stats": "count events by name, category, source and process, and say what was lost",
    "who": "say which package, and which line of code, opens, writes, imports, runs, … what",
    "diff": "compare two runs: what B did that A did not, by package",
    "detect": "hold what is recorded against rules (Sigma), and print alerts",
    "alerts": "list the alerts that the agent has told, show one with its whole story, or close it",
    "rules": "list, show, test, check and convert rules, and say which techniques they cover",
    "sql": "answer one SELECT over everything recorded",
    "stacks": "show where events come from: collapsed stacks, speedscope, or a flame graph in HTML",
    "report": "write the dated evidence for a period: coverage, losses, integrity, retention, access",
    "ingest": "move what is closed from the journal into the archive (Parquet)",
    "agent": "follow, seal and archive continuously",
    "status": "say whether an agent runs, what is sealed and archived, and what is wrong",
    "keys": "begin to seal what is kept, and show, export or change the keys that sign it",
    "verify": "hold what is kept against what was sealed: was anything changed, removed or cut off?",
    "export": "ship events to a logging system, or write evidence that an outsider verifies",
    "tree": "show which process started which, and which of them were not recorded",
    "config": "check the configuration, and say what is in force",
    "env": "print what turns recording on in a shell, systemd, Docker or Kubernetes",
    "doctor": "check that recording works here, and say how to mend what does not",
    "bench": "measure what recording costs here, beside what one would use instead",
}

if TYPE_CHECKING:
    from pythonaudit.archive.address import BucketAddress

# What the extra `tools` brings: the verbs that need these say so where they are missing.
TOOLS = frozenset(
    {
        *("apprise", "botocore", "cryptography", "duckdb", "google", "grpc", "numpy", "opentelemetry", "orjson"),
        *("prometheus_client", "pyarrow", "rich", "sigma", "tomli", "yaml"),
    }
)

INTERRUPTED = 130
_BUCKET = "s3://"
PIPE_CLOSED = 141

#: The verbs that answer for all hosts in a bucket (`--dir s3://…`); the others work with what is on this one.
OF_BUCKETS = frozenset({"log", "stats", "who", "tree", "stacks", "diff", "sql", "verify"})


class Verb(Protocol):
    """What each `cmd_VERB` module offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Says what the verb takes."""

    def run(self, args: argparse.Namespace) -> int:
        """Does it, and returns the exit status."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line, raised as `UsageError`."""

    def __init__(self, prog: str, description: str = "", **more: Any) -> None:
        super().__init__(
            prog=prog,
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            **more,  # of a parser below another: 3.14 gives it its colours
        )

    def error(self, message: str) -> NoReturn:
        """Called by argparse for every mistake it finds."""
        raise UsageError(message, hint=f"see '{self.prog} --help'")

    def _check_value(self, action: argparse.Action, value: str) -> None:
        """Called by argparse for every value of an option or argument that has choices."""
        names = [str(choice) for choice in action.choices or ()]
        near = difflib.get_close_matches(str(value).lower(), names, n=1)
        if near and value not in names:
            name = "/".join(action.option_strings) or action.metavar
            raise UsageError(f"argument {name}: invalid choice: {value!r}", hint=f"did you mean '{near[0]}'?")
        super()._check_value(action, value)


@dataclass(frozen=True, slots=True)
class CommandLine:
    """`pythonaudit HEAD VERB REST`, cut at the first word that is no option."""

    head: Sequence[str]
    verb: str | None
    rest: Sequence[str]


def main(argv: list[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the words after the program's name; None: those of this process.

    Returns:
        The exit status. Nothing but SystemExit (from --help and --version) escapes for a user's mistake.
    """
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - it was closed by whoever started us
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - print would take stdout for it
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # ASCII terminals: no character fails
    status = _status_of(sys.argv[1:] if argv is None else argv)
    access.end(status)
    return status


def _status_of(argv: Sequence[str]) -> int:
    try:
        return _answer(argv)
    except KeyboardInterrupt:
        pass
    except Exception:
        if not _is_interrupted():
            raise
    _drop_output()
    return INTERRUPTED


def _is_interrupted() -> bool:
    """Whether Ctrl-C came while DuckDB worked: then what it complains of is that."""
    interrupts = sys.modules.get("pythonaudit.query.interrupts")
    return interrupts is not None and interrupts.has_come()


def _answer(argv: Sequence[str]) -> int:
    try:
        status = _dispatch(argv)
        print(end="", flush=True)
        return status
    except PythonAuditError as error:
        if _is_interrupted():
            raise
        return _complain(error)
    except BrokenPipeError:
        _drop_output()
        return PIPE_CLOSED
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in TOOLS:
            raise
        return _complain(
            MissingToolsError(
                f"this command needs {missing}, which is not installed in {sys.prefix}",
                hint="pip install 'pythonaudit[tools]'",
            )
        )
    except OSError as error:
        try:
            sys.stdout.flush()
        except OSError:  # it was the output that could not be written
            _drop_output()
        where = f"{error.filename}: " if error.filename else ""
        return _complain(PythonAuditError(f"{where}{error.strerror or error}"))


def _drop_output() -> None:
    """What is still buffered the interpreter would write on its way out: complain, or wait for a reader that waits."""
    try:
        stdout = sys.stdout.fileno()
    except io.UnsupportedOperation:
        return  # it is no file
    os.dup2(os.open(os.devnull, os.O_WRONLY), stdout)


def default_directory(environ: Mapping[str, str], euid: int) -> Path:
    """Where everything is kept when nobody says otherwise: the rule of native/settings.c.

    Args:
        environ: the environment, as `ourselves.environment_in_force` gives it for this process.
        euid: the effective user id; root has a place of its own.
    """
    if environ.get("PYTHONAUDIT_DIR"):
        return Path(environ["PYTHONAUDIT_DIR"]).absolute()
    if euid == 0:
        return Path("/var/log/pythonaudit")
    if environ.get("XDG_STATE_HOME", "").startswith("/"):
        return Path(environ["XDG_STATE_HOME"], "pythonaudit")
    if environ.get("HOME", "").startswith("/"):
        return Path(environ["HOME"], ".local", "state", "pythonaudit")
    runtime = Path(f"/run/user/{euid}")
    return runtime / "pythonaudit" if runtime.is_dir() else Path(f"/tmp/pythonaudit-{euid}")


def _dispatch(argv: Sequence[str]) -> int:
    line = _cut(argv)
    parser = _top_parser()
    top = parser.parse_args(line.head)
    if line.verb is None:
        parser.print_help(sys.stderr)
        return UsageError.exit_status
    if line.verb not in VERBS:
        near = difflib.get_close_matches(line.verb, VERBS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"commands: {', '.join(VERBS)}"
        raise UsageError(f"{line.verb!r} is not a command", hint=hint)

    verb: Verb = importlib.import_module(f"{__name__}.cmd_{line.verb}")
    verb_parser = Parser(f"pythonaudit {line.verb}", VERBS[line.verb])
    _add_directory(verb_parser, default=top.dir)
    verb.add_arguments(verb_parser)
    args = verb_parser.parse_args(line.rest)
    if not isinstance(args.dir, Path) and line.verb not in OF_BUCKETS:
        able = ", ".join(verb for verb in VERBS if verb in OF_BUCKETS)
        hint = f"name one with --dir DIR; of a bucket there are {able}"
        raise UsageError(f"{args.dir}: '{line.verb}' works with a directory of this host", hint=hint)
    access.announce(line.verb, line.rest)
    return verb.run(args)


def _cut(argv: Sequence[str]) -> CommandLine:
    # By hand, not by argparse: `run` must get its `--` and everything after it untouched.
    at = 0
    while at < len(argv) and argv[at].startswith("-"):
        at += 2 if argv[at] == "--dir" else 1
    verb = argv[at] if at < len(argv) else None
    return CommandLine(argv[:at], verb, argv[at + 1 :])


def _top_parser() -> Parser:
    parser = Parser("pythonaudit", "The flight recorder and audit trail of Python.")
    parser.usage = "pythonaudit [--dir DIR] COMMAND ..."
    parser.epilog = "commands:\n" + "\n".join(f"  {verb:<10} {summary}" for verb, summary in VERBS.items())
    parser.epilog += "\n\n'pythonaudit COMMAND --help' says what a command takes."
    parser.add_argument("--version", action=_Version, help="print the version and end")
    environment = environment_in_force()
    if environment.get("PYTHONAUDIT_DIR", "").startswith(_BUCKET):
        _add_directory(parser, default=_directory(environment["PYTHONAUDIT_DIR"]))
    else:
        _add_directory(parser, default=default_directory(environment, os.geteuid()))
    return parser


def _add_directory(parser: argparse.ArgumentParser, default: Path | BucketAddress) -> None:
    help_dir = "where recordings are kept: a directory, or s3://BUCKET/PREFIX"
    parser.add_argument("--dir", type=_directory, default=default, metavar="DIR", help=help_dir)


def _directory(text: str) -> Path | BucketAddress:
    if text.startswith(_BUCKET):
        from pythonaudit.archive.address import parse_bucket

        return parse_bucket(text)
    return Path(text).absolute()  # a recorded command may go elsewhere


class _Version(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_unused: object) -> None:
        from importlib.metadata import version

        print("pythonaudit", version("pythonaudit"))
        parser.exit()


def _complain(error: PythonAuditError) -> int:
    from pythonaudit.cli.render import say

    say(f"{error}; {error.hint}" if error.hint else str(error))
    return error.exit_status
