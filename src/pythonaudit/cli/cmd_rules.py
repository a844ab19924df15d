"""`pythonaudit rules`: which rules there are, what they say, whether they are right, what they cover."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pythonaudit.cli.cmd_detect import COULD_NOT, add_rules
from pythonaudit.cli.filters import plain
from pythonaudit.cli.render import Output, Screen, amount, json_line, json_text, neutralise, say
from pythonaudit.errors import PythonAuditError, UsageError

if TYPE_CHECKING:
    from pythonaudit.detect.documents import Document
    from pythonaudit.detect.library import Library
    from pythonaudit.detect.rules import Compiled

_EPILOG = """\
acts:
  list               the rules in force
  show RULE          one rule as it is written, and its SQL
  test RULE          hold a rule against recorded events, and say which part of it holds of which
  lint [PATH ...]    check how rules are written, and that samples prove each; default: DIR/rules
  convert RULE       print it as SQL, or as a query of another system (--to)
  coverage           print a layer for the ATT&CK Navigator

RULE is an id, its beginning, a name, or a file.

examples:
  pythonaudit rules list
  pythonaudit rules test my_rule.yml --sample events.jsonl
  pythonaudit rules coverage > layer.json
"""
_ACTS = ("list", "show", "test", "lint", "convert", "coverage")
_MATCH, _NOMATCH = "match.jsonl", "nomatch.jsonl"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.epilog = _EPILOG
    parser.add_argument("act", choices=_ACTS, metavar="ACT", help=", ".join(_ACTS))
    parser.add_argument(
        "what", nargs="*", type=plain, metavar="RULE", help="show, test, convert: one; lint: paths"
    )
    add_rules(parser)
    parser.add_argument(
        "--sample", type=Path, metavar="FILE", help="test: events as 'log --format jsonl' prints them"
    )
    help_samples = f"test, lint: has RULE-FILE/{_MATCH} and {_NOMATCH}; default: samples beside the rule"
    parser.add_argument("--samples", type=Path, metavar="DIR", help=help_samples)
    parser.add_argument("--to", default="sql", metavar="FORM", help="convert: sql, sigma, or a backend of pySigma")
    parser.add_argument("--format", choices=("table", "jsonl"), default="table", help="list: default: table")


def run(args: argparse.Namespace) -> int:
    """Does the act. 1: a rule is not as it should be; 3: rules could not be used."""
    acts: dict[str, Callable[[argparse.Namespace], int]] = {
        "list": _list, "show": _show, "test": _test, "lint": _lint, "convert": _convert, "coverage": _coverage,
    }  # fmt: skip
    takes = {"list": (0, 0), "coverage": (0, 0), "lint": (0, 1000)}
    least, most = takes.get(args.act, (1, 1))
    if not least <= len(args.what) <= most:
        raise UsageError(f"'rules {args.act}' takes {'one rule' if least else 'nothing more'}", hint="see --help")
    return acts[args.act](args)


def _load(args: argparse.Namespace) -> Library:
    from pythonaudit.detect.library import load_library

    return load_library(args.dir, args.rules)


def _end(library: Library) -> int:
    for error in library.refused:
        say(f"{error}; {error.hint}" if error.hint else str(error))
    return COULD_NOT if library.refused else 0


def _list(args: argparse.Namespace) -> int:
    from pythonaudit.detect.rules import Rule

    library, output = _load(args), Output()
    rows = []
    for rule in library.rules:
        head = rule.head
        asked = (", ".join(rule.events) if rule.events else "any") if isinstance(rule, Rule) else rule.type
        if args.format == "jsonl":
            said = {
                "id": head.id, "name": head.name or None, "title": head.title, "level": head.level,
                "status": head.status or None, "techniques": head.techniques, "events": asked, "file": head.file,
            }  # fmt: skip
            output.write(
                json_line({key: value for key, value in said.items() if value is not None}, output.is_terminal)
            )
        rows.append((head.title, asked, head.id, head.level, " ".join(head.techniques)))
    if args.format == "table" and rows:
        columns = ("rule", "events", "id", "level", "techniques")
        output.write(Screen(output.is_terminal).table(columns, rows, 3))
    output.flush()
    return _end(library)


def _show(args: argparse.Namespace) -> int:
    library, output = _load(args), Output()
    rule = _find(library, args.what[0])
    output.write(_shown_file(rule))
    output.write("\n# asked of the view `events` (pythonaudit sql):\n")
    output.write("".join(f"# {neutralise(line)}\n" for line in _sql(library, rule).splitlines()))
    output.flush()
    return 0


def _convert(args: argparse.Namespace) -> int:
    library, output = _load(args), Output()
    rule = _find(library, args.what[0])
    if args.to == "sql":
        output.write(neutralise(_sql(library, rule)) + "\n")
    elif args.to == "sigma":
        output.write(_shown_file(rule))
    else:
        from pythonaudit.detect.convert import convert_with

        for query in convert_with(args.to, Path(rule.head.file)):
            output.write(neutralise(query) + "\n")
    output.flush()
    return 0


def _coverage(args: argparse.Namespace) -> int:
    from pythonaudit.detect.coverage import build_layer

    library, output = _load(args), Output()
    output.write(json_line(build_layer(library.rules), output.is_terminal))
    output.flush()
    return _end(library)


def _sql(library: Library, rule: Compiled) -> str:
    from pythonaudit.detect.convert import sql_of

    return sql_of(library, rule)


def _shown_file(rule: Compiled) -> str:
    from pythonaudit.detect.library import read_file

    text = read_file(Path(rule.head.file)).decode("utf-8", "replace")
    return "".join(f"{neutralise(line)}\n" for line in text.splitlines())


def _find(library: Library, word: str) -> Compiled:
    """The rule that somebody means."""
    low = word.lower()
    exact = [rule for rule in library.rules if low in (rule.head.id.lower(), rule.head.name.lower())]
    begun = [rule for rule in library.rules if rule.head.id.lower().startswith(low)]
    path = str(Path(word).absolute())
    in_file = [rule for rule in library.rules if rule.head.file == path or Path(rule.head.file).stem == word]
    # Of a file with several, the last: a correlation stands behind the rules that it refers to.
    for found in (exact, begun if len(begun) == 1 else [], in_file[-1:]):
        if found:
            return found[0]
    refused = [error for error in library.refused if path in str(error)]
    if refused:
        raise refused[0]
    words = [
        one for rule in library.rules for one in (rule.head.id, rule.head.name, Path(rule.head.file).stem) if one
    ]
    near = difflib.get_close_matches(word, words, n=1)
    raise PythonAuditError(f"no rule {word!r}", hint=f"did you mean {near[0]!r}?" if near else "see 'rules list'")


def _test(args: argparse.Namespace) -> int:
    from pythonaudit.detect.library import load_library

    word = args.what[0]
    is_file = Path(word).is_file()
    library = load_library(args.dir, Path(word).absolute() if is_file and args.rules is None else args.rules)
    rule = _find(library, word)
    if args.sample is not None:
        return _explain(args, library, rule, [(args.sample, None)])
    place = _samples_of(args.samples, rule)
    pairs = [(place / _MATCH, True), (place / _NOMATCH, False)]
    if not any(path.exists() for path, _ in pairs):
        raise PythonAuditError(f"no samples in {place}", hint="name some: --sample FILE")
    return _explain(args, library, rule, [(path, wanted) for path, wanted in pairs if path.exists()])


def _samples_of(samples: Path | None, rule: Compiled) -> Path:
    file = Path(rule.head.file)
    return (samples or file.parent / "samples") / file.stem


def _explain(
    args: argparse.Namespace, library: Library, rule: Compiled, files: Sequence[tuple[Path, bool | None]]
) -> int:
    """Shows what holds of the events of files; 1 if it is not what is wanted (None: an alert)."""
    from pythonaudit.detect import explain
    from pythonaudit.detect.library import load_documents, load_placeholders
    from pythonaudit.detect.rules import Rule

    output, is_right = Output(), True
    document = explain.find_document(load_documents(Path(rule.head.file)), rule)
    placeholders = load_placeholders(args.dir / "rules")
    for path, wanted in files:
        events = _read_sample(path)
        is_alert = explain.fires(library, rule, events)
        is_right = is_right and is_alert == (wanted is not False)
        verdict = "alert" if is_alert else "no alert"
        output.write(neutralise(f"{path}: {verdict}, {amount(len(events), 'event')}") + "\n")
        if isinstance(rule, Rule):
            for number, parts in enumerate(explain.explain(document, events, placeholders), 1):
                _write_parts(output, number, events[number - 1], parts)
        else:
            _write_references(output, library, rule, events)
    output.flush()
    return 0 if is_right else 1


def _write_parts(output: Output, number: int, event: Any, parts: Iterable[Any]) -> None:
    output.write(neutralise(f"  {number}: {event['event']} {json_text(event.get('args', []))}"[:200]) + "\n")
    for part in parts:
        value = f"   <- {json_text(part.value) if part.value is not None else 'nothing'}" if part.is_field else ""
        mark = "yes" if part.holds else "no "
        output.write(neutralise(f"    {'  ' * part.depth}{mark} {part.said}{value}") + "\n")


def _write_references(output: Output, library: Library, rule: Compiled, events: Sequence[Any]) -> None:
    from pythonaudit.detect.explain import count_matches

    for place in library.references[rule.head.id]:
        other = library.rules[place]
        count = count_matches(library, other, events)
        output.write(neutralise(f"  {amount(count, 'match', 'matches')} of {other.head.title}") + "\n")


def _read_sample(path: Path) -> list[Any]:
    from pythonaudit.query.samples import load_samples

    try:
        return list(load_samples(path.read_bytes(), str(path)))
    except OSError as error:
        raise PythonAuditError(f"{path}: {error.strerror}") from None


def _lint(args: argparse.Namespace) -> int:
    """Prints what is wrong; 1 if anything is."""
    from pythonaudit.detect.explain import prove
    from pythonaudit.detect.library import OURS, load_documents, load_file, load_placeholders, resolve, rule_files
    from pythonaudit.detect.lint import lint_file
    from pythonaudit.errors import RuleError

    own: Path = args.dir / "rules"
    asked = [Path(word).absolute() for word in args.what] or [args.rules or own]
    files = [path for place in asked for path in rule_files(place) if "samples" not in path.parts[:-1]]
    placeholders = load_placeholders(own)
    complaints: list[str] = []
    compiled: list[Compiled] = []
    written: list[Document] = []
    for path in files:
        try:
            documents = load_documents(path)
            complaints += lint_file(path, documents)
            some, refused = load_file(path, placeholders)
        except RuleError as error:
            complaints.append(str(error))
            continue
        written += documents
        compiled += some
        complaints += map(str, refused)
    # An id of ours is taken; correlations may refer to our rules.
    names = {str(path) for path in files}
    ours = [
        rule for path in rule_files(OURS) if str(path) not in names for rule in load_file(path, placeholders)[0]
    ]
    library = resolve([*ours, *compiled], [])
    complaints += map(str, library.refused)
    for rule in library.rules:
        if rule.head.file in names and _is_proved(library, rule):
            complaints += _prove(prove, library, rule, args.samples)
    output = Output()
    output.write("".join(f"{neutralise(complaint)}\n" for complaint in sorted(complaints)))
    output.flush()
    checked = amount(len(written), "rule")
    say(f"{checked} checked: {amount(len(complaints), 'complaint') if complaints else 'nothing is wrong'}")
    return 1 if complaints else 0


def _is_proved(library: Library, rule: Compiled) -> bool:
    """Whether a rule is to be proved alone: the last of its file; what stands before it is a part of it."""
    return not any(
        other.head.file == rule.head.file and other.head.line > rule.head.line for other in library.rules
    )


def _prove(
    prove: Callable[[Library, Compiled, list[Any], list[Any]], list[str]],
    library: Library,
    rule: Compiled,
    samples: Path | None,
) -> list[str]:
    where, place = f"{rule.head.file}:{rule.head.line}", _samples_of(samples, rule)
    missing = [name for name in (_MATCH, _NOMATCH) if not (place / name).is_file()]
    if missing:
        return [f"{where}: no sample {place / name}" for name in missing]
    events = [_read_sample(place / name) for name in (_MATCH, _NOMATCH)]
    return [f"{where}: {reason} ({place})" for reason in prove(library, rule, events[0], events[1])]
