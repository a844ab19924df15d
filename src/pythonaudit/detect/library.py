"""Which rules there are: ours, the user's beside them, and what is excepted from them.

    library = load_library(directory)                  # DIR/rules beside ours
    library = load_library(directory, Path("pack"))    # the rules of a directory, and no others
    library.rules, library.refused, library.exceptions

Compiling a rule takes tens of milliseconds, so what came of a file is kept in the user's own cache
(`$XDG_CACHE_HOME/pythonaudit/rules`) under the hash of all that it depends on: the file, the placeholders, and the
programs that made it. Where nothing can be kept, nothing is.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from pythonaudit.detect.documents import FILE_BYTES, Document, parse_documents
from pythonaudit.detect.rules import Compiled, Correlation, Rule, from_json, to_json
from pythonaudit.durable import write_durably
from pythonaudit.errors import RuleError, UnsupportedError

OURS = Path(__file__).parent / "rules"
EXCEPTIONS, PLACEHOLDERS = "exceptions.yml", "placeholders.yml"
_ENDINGS = (".yml", ".yaml")
_MOST_FILES = 20_000


@dataclass(frozen=True, slots=True)
class Library:
    """Rules, ready to be used.

    Attributes:
        rules: in the order of their files; correlations after what they refer to.
        references: for each correlation, by its id, the places in `rules` of those it refers to.
        refused: what is wrong with those that cannot be had.
        files: how many files there were.
    """

    rules: list[Compiled]
    references: Mapping[str, tuple[int, ...]]
    refused: list[RuleError]
    files: int = 0


@dataclass(slots=True)
class _Found:
    compiled: list[Compiled] = field(default_factory=list)
    refused: list[RuleError] = field(default_factory=list)


def load_library(directory: Path, pack: Path | None = None) -> Library:
    """The rules that are in force.

    Args:
        directory: that of `PYTHONAUDIT_DIR`; its `rules/` are added to ours, with the placeholders that lie there.
        pack: a directory or a file whose rules are taken instead of both.

    Raises:
        RuleError: a directory cannot be read; the placeholders make no sense.
        UnsupportedError: this Python is too old for pySigma.
    """
    check_python()
    own = directory / "rules"
    placeholders = load_placeholders(own)
    files = list(rule_files(pack)) if pack else [*rule_files(OURS), *(rule_files(own) if own.is_dir() else ())]
    found = _Found()
    for path in files:
        try:
            some, refused = load_file(path, placeholders)
        except RuleError as error:
            some, refused = [], [error]
        found.compiled += some
        found.refused += refused
    return resolve(found.compiled, found.refused, len(files))


def check_python() -> None:
    """Raises UnsupportedError where pySigma cannot be had."""
    if sys.version_info < (3, 11):
        hint = "install the tools beside a newer Python: what they read may be recorded by an older one"
        raise UnsupportedError("rules need Python 3.11 or later", hint=hint)


def rule_files(place: Path) -> Iterator[Path]:
    """The rule files in a directory and below it, by name; or the one file.

    Raises:
        RuleError: there is nothing, or it may not be read.
    """
    if place.is_file():
        yield place
        return
    try:
        place.stat()
        os.listdir(place)
    except OSError as error:
        raise RuleError(f"{place}: {error.strerror}", hint="name a directory of rules, or one rule") from None
    count = 0
    for root, folders, names in os.walk(place):
        folders.sort()
        for name in sorted(names):
            if not name.endswith(_ENDINGS) or (Path(root) == place and name in (EXCEPTIONS, PLACEHOLDERS)):
                continue
            count += 1
            if count > _MOST_FILES:
                raise RuleError(f"{place}: more than {_MOST_FILES:,} rule files")
            yield Path(root, name)


def read_file(path: Path) -> bytes:
    """What is in a rule file; no more than one can have.

    Raises:
        RuleError: it cannot be read, or is no file.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise RuleError(f"{path}: no regular file")
            return file.read(FILE_BYTES + 1)
    except OSError as error:
        raise RuleError(f"{path}: {error.strerror}") from None


def load_file(path: Path, placeholders: Mapping[str, Sequence[str]]) -> tuple[list[Compiled], list[RuleError]]:
    """The rules of a file, from the cache if it has them, and what is wrong with the others.

    Raises:
        RuleError: it cannot be read.
    """
    data = read_file(path)
    known = _cached(data, str(path), placeholders)
    if known is not None:
        return known, []
    from pythonaudit.detect.compile import compile_documents

    compiled, refused = compile_documents(parse_documents(data, str(path)), placeholders)
    if not refused:
        _keep(data, str(path), placeholders, compiled)
    return compiled, refused


def load_placeholders(directory: Path) -> dict[str, list[str]]:
    """What `%name%` stands for: DIR/rules/placeholders.yml, a list of values for each name.

    Raises:
        RuleError: it cannot be read, or is something else.
    """
    path = directory / PLACEHOLDERS
    if not path.exists():
        return {}
    found: dict[str, list[str]] = {}
    for document in parse_documents(read_file(path), str(path)):
        for name, values in document.content.items():
            some = values if isinstance(values, list) else [values]
            if not some or not all(isinstance(value, str | int) for value in some):
                raise document.refuse(f"{name!r} takes a list of texts", name)
            found[name] = list(map(str, some))
    return found


def resolve(compiled: Iterable[Compiled], refused: Iterable[RuleError], files: int = 0) -> Library:
    """Puts rules together: no id twice, correlations after what they refer to.

    Args:
        compiled: rules of several files.
        refused: what is wrong with others.
        files: how many files they are from.
    """
    complaints = list(refused)
    by_word: dict[str, Compiled] = {}
    rules: list[Compiled] = []
    for rule in compiled:
        head = rule.head
        other = by_word.get(head.id.lower()) or (by_word.get(head.name.lower()) if head.name else None)
        if other is not None:
            where = f"{other.head.file}:{other.head.line}"
            complaints.append(RuleError(f"{head.file}:{head.line}: the id or name is that of {where} as well"))
            continue
        by_word[head.id.lower()] = rule
        if head.name:
            by_word[head.name.lower()] = rule
        rules.append(rule)
    ordered: list[Compiled] = [rule for rule in rules if isinstance(rule, Rule)]
    places = {rule.head.id: place for place, rule in enumerate(ordered)}
    references: dict[str, tuple[int, ...]] = {}
    waiting = [rule for rule in rules if isinstance(rule, Correlation)]
    while waiting:
        ready = [rule for rule in waiting if all(_place(word, by_word, places) is not None for word in rule.rules)]
        if not ready:
            complaints += (_unresolved(rule, by_word) for rule in waiting)
            break
        for rule in ready:
            found = (_place(word, by_word, places) for word in rule.rules)
            references[rule.head.id] = tuple(place for place in found if place is not None)
            places[rule.head.id] = len(ordered)
            ordered.append(rule)
        waiting = [rule for rule in waiting if rule not in ready]
    return Library(ordered, references, complaints, files)


def _place(word: str, by_word: Mapping[str, Compiled], places: Mapping[str, int]) -> int | None:
    rule = by_word.get(word.lower())
    return places.get(rule.head.id) if rule else None


def _unresolved(rule: Correlation, by_word: Mapping[str, Compiled]) -> RuleError:
    where = f"{rule.head.file}:{rule.head.line}"
    missing = [word for word in rule.rules if word.lower() not in by_word]
    if missing:
        return RuleError(
            f"{where}: no rule {missing[0]!r} is there to be correlated", hint="it, too, may be refused"
        )
    return RuleError(f"{where}: the correlation refers to itself, or to one that cannot be had")


def _cache_file(data: bytes, file: str, placeholders: Mapping[str, Sequence[str]]) -> Path | None:
    home = os.environ.get("XDG_CACHE_HOME") or (os.environ.get("HOME", "") and f"{os.environ['HOME']}/.cache")
    if not home or not home.startswith("/"):
        return None
    parts = [
        data,
        file.encode("utf-8", "surrogateescape"),
        json.dumps(placeholders, sort_keys=True).encode(),
        _maker(),
    ]
    whole = b"".join(hashlib.sha256(part).digest() for part in parts)
    return Path(home, "pythonaudit", "rules", hashlib.sha256(whole).hexdigest() + ".json")


@cache
def _maker() -> bytes:
    """What compiled rules depend on besides their text."""
    sources = ("backend", "compile", "documents", "fields", "gate", "pipeline", "rules", "sql")
    digests = [hashlib.sha256(Path(__file__).with_name(f"{name}.py").read_bytes()).hexdigest() for name in sources]
    return " ".join([metadata.version("pysigma"), *digests]).encode()


def _cached(data: bytes, file: str, placeholders: Mapping[str, Sequence[str]]) -> list[Compiled] | None:
    path = _cache_file(data, file, placeholders)
    if path is None:
        return None
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as kept:
            status = os.fstat(kept.fileno())
            if status.st_uid != os.geteuid() or status.st_mode & 0o022 or not stat.S_ISREG(status.st_mode):
                return None
            values: list[Any] = json.loads(kept.read())
        return [from_json(value) for value in values]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(data: bytes, file: str, placeholders: Mapping[str, Sequence[str]], compiled: Iterable[Compiled]) -> None:
    path = _cache_file(data, file, placeholders)
    if path is None:
        return
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(path, json.dumps([to_json(rule) for rule in compiled]).encode())
    except OSError:
        pass  # it is made again the next time


def load_documents(path: Path) -> list[Document]:
    """The documents of a rule file, for whoever looks at how it is written.

    Raises:
        RuleError: it cannot be read.
    """
    return parse_documents(read_file(path), str(path))
