"""Checks a log: records, tree, keys, checkpoints, and what was given from outside.

    checker = Checker(log.read_checkpoint(), Anchors(keys=(…,)))
    for number, line in …: checker.add(number, line)
    checked = checker.finish()
    checked.anchor_of(17)                 # what vouches for record 17

Public data alone, values only. Everything that is found is collected, and the rest is checked all the same: what a
good signature covers stays proved, whatever is wrong behind it. The format is docs/format/checkpoint.md, section 8.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pythonaudit.errors import FormatError
from pythonaudit.integrity import merkle, notes
from pythonaudit.integrity.account import Account
from pythonaudit.integrity.log import FORMAT, parse_record
from pythonaudit.integrity.verdicts import CHECKPOINT, KEY, NO_ANCHOR, Finding, incomplete, tampered

_UNSOUND = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, FormatError)


@dataclass(frozen=True, slots=True)
class Anchors:
    """What was kept elsewhere.

    Attributes:
        keys: public keys.
        checkpoints: signed notes (`parse_outside`).
    """

    keys: tuple[notes.PublicKey, ...] = ()
    checkpoints: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.keys or self.checkpoints)


@dataclass(slots=True)
class _Epoch:
    """A key's time.

    Attributes:
        number: from 0.
        key: None: its record makes no sense.
        record: where it is introduced.
        chain: keys that vouch for each other have the same.
        first: size of the smallest checkpoint that it signs.
    """

    number: int
    key: notes.PublicKey | None
    record: int
    chain: int
    first: int


@dataclass(slots=True)
class Checked:
    """What is known of a log.

    Attributes:
        origin: its name; empty: it does not say.
        size: how many records count. `uncovered`: how many more there are.
        time_ns: of the last record that counts.
        proved: how many records have a good signature of the log's own keys over them.
        by_key, by_checkpoint: how many are vouched for by what came from outside.
        findings: what is wrong with the log itself.
        account: what its records say.
    """

    origin: str = ""
    size: int = 0
    uncovered: int = 0
    time_ns: int = 0
    proved: int = 0
    by_key: int = 0
    by_checkpoint: int = 0
    findings: list[Finding] = field(default_factory=list)
    account: Account = field(default_factory=Account)

    def anchor_of(self, record: int) -> str:
        """What vouches for a record: none, key or checkpoint."""
        if record < self.by_checkpoint:
            return CHECKPOINT
        return KEY if record < self.by_key else NO_ANCHOR


def parse_outside(note: str) -> tuple[str, int, bytes]:
    """Origin, size and root of a checkpoint.

    Raises:
        FormatError: it is none.
    """
    text, _ = notes.split_note(note)
    origin = text.partition("\n")[0]
    return origin, *notes.parse_checkpoint(text, origin)


class Checker:
    """Takes the records of a log one by one.

    Args:
        checkpoint: the newest of the log itself, read before its records; None: there is none.
        anchors: from outside.
    """

    def __init__(self, checkpoint: str | None, anchors: Anchors) -> None:
        self.checked = Checked()
        self._anchors = anchors
        self._given = [(note, *parse_outside(note)) for note in anchors.checkpoints]
        self._own = self._parse_own(checkpoint)
        # What counts: all, where nothing says how much.
        self._limit = max([self._own[2], *(given[2] for given in self._given)]) if self._own else None
        self._tree = merkle.Tree()
        self._is_whole = True
        self._next = 0  # the record that is to come
        self._wanted = {given[2] for given in self._given} | ({self._own[2]} if self._own else set())
        self._roots: dict[int, bytes] = {0: self._tree.root()}
        self._epochs: list[_Epoch] = []
        self._good: list[tuple[int, int]] = []  # size that a good note covers, and by which epoch, as its place
        self._later = 0  # of such notes in records that do not count
        self._kind = ""  # of the record before

    def _parse_own(self, note: str | None) -> tuple[str, str, int, bytes] | None:
        if note is None:
            self.checked.findings.append(
                incomplete("there is no checkpoint: how many records there were is not known")
            )
            return None
        try:
            found = note, *parse_outside(note)
            if len(notes.split_note(note)[1]) != 1:
                raise FormatError("it has several signatures")
            return found
        except FormatError as error:
            self.checked.findings.append(tampered(f"the checkpoint cannot be read: {error}"))
            return None

    def add(self, number: int, line: bytes) -> None:
        """The next record.

        Args:
            number: of the record, as its file says.
            line: without the line feed.
        """
        checked = self.checked
        counts = self._limit is None or number < self._limit
        if number != self._next:
            self._is_whole = False
            what = f"records {self._next:,} to {number - 1:,} are not there"
            if number < self._next:
                checked.findings.append(tampered(f"record {number:,} is there twice"))
            elif counts:
                checked.findings.append(incomplete(what))
        self._next = number + 1
        leaf = merkle.hash_leaf(line)
        record = self._parse(number, line, counts)
        if record is not None:
            self._check(number, record, leaf, counts)
        self._kind = str(record["record"]) if record else ""
        if self._is_whole:
            self._tree.add(leaf)
            if self._tree.size in self._wanted:
                self._roots[self._tree.size] = self._tree.root()
        if counts:
            checked.size = max(checked.size, number + 1)
        else:
            checked.uncovered += 1

    def _parse(self, number: int, line: bytes, counts: bool) -> dict[str, Any] | None:
        try:
            return parse_record(line)
        except FormatError:
            if counts:
                self.checked.findings.append(tampered(f"record {number:,} is none"))
            return None

    def _check(self, number: int, record: dict[str, Any], leaf: bytes, counts: bool) -> None:
        checked, kind = self.checked, record["record"]
        problems: list[Finding] = []
        if (number == 0) != (kind == "begin"):
            problems.append(tampered(f"record {number:,} is '{kind}': a log begins with 'begin'"))
        if (kind == "key") != (number == 1) and number == 1:
            problems.append(tampered("record 1 is no key"))
        if counts and record["time_ns"] < checked.time_ns:
            problems.append(tampered(f"record {number:,} is older than the one before it"))
        if self._must_close(number) and kind != "closed":
            problems.append(
                tampered(f"record {number:,} is not the last checkpoint of epoch {self._epochs[-2].number}")
            )
        try:
            if kind == "begin":
                problems += self._check_begin(record)
            elif kind == "key":
                problems += self._check_key(number, record)
            elif kind == "closed":
                problems += self._check_closed(number, record, counts)
            elif counts:
                checked.account.add(number, record, leaf.hex())
        except _UNSOUND as error:
            problems.append(tampered(f"record {number:,} ('{kind}') makes no sense: {_said(error)}"))
        if counts:
            checked.findings += problems
            checked.time_ns = max(checked.time_ns, record["time_ns"])

    def _check_begin(self, record: dict[str, Any]) -> list[Finding]:
        if record["format"] != FORMAT:
            return [tampered(f"the log is of format {record['format']}, which is not known here")]
        if not notes.is_origin(record["origin"]):
            return [tampered("the name of the log makes no sense")]
        self.checked.origin = record["origin"]
        return []

    def _check_key(self, number: int, record: dict[str, Any]) -> list[Finding]:
        before = self._epochs[-1] if self._epochs else None
        begins = before is None or bool(record.get("again"))
        epoch = before.number + 1 if before else 0
        key, problem = None, ""
        try:
            text, _ = notes.split_note(record["note"])
            said, key = notes.parse_key(text)
            if said != epoch or record["epoch"] != epoch or key.origin != self.checked.origin:
                problem = "it is out of its turn"
            signer = key if begins else before.key if before else None
            if signer is None:
                problem = "the key before it is not known"
            else:
                signer.open(record["note"])
        except FormatError as error:
            problem = str(error)
        chain = before.chain + bool(begins or problem) if before else 0
        self._epochs.append(_Epoch(epoch, key, number, chain, number + 1 if begins else number + 2))
        return [tampered(f"key of epoch {epoch} (record {number:,}): {problem}")] if problem else []

    def _must_close(self, number: int) -> bool:
        """Whether this record has to be the last checkpoint of an epoch."""
        if len(self._epochs) < 2:
            return False
        last = self._epochs[-1]
        return last.record + 1 == number and last.first == number + 1

    def _check_closed(self, number: int, record: dict[str, Any], counts: bool) -> list[Finding]:
        if not self._must_close(number):
            return [tampered(f"record {number:,}: no epoch ends here")]
        if record["epoch"] != self._epochs[-2].number:
            return [tampered(f"record {number:,} is of another epoch")]
        root = self._tree.root() if self._is_whole else None
        _, size, said = parse_outside(record["note"])
        if size != number:
            return [tampered(f"record {number:,}: its checkpoint covers {size:,} records")]
        problem = self._check_note(record["note"], size, said, root)
        if problem:
            return [tampered(f"last checkpoint of epoch {self._epochs[-2].number} (record {number:,}): {problem}")]
        if not counts:
            self._later = size
        return []

    def _check_note(self, note: str, size: int, said: bytes, root: bytes | None) -> str:
        """What is wrong with a checkpoint; empty: nothing, and it is kept as a good one."""
        at = self._signer(size)
        key = self._epochs[at].key if at >= 0 else None
        if key is None:
            return "the key that should have signed it is not known"
        try:
            notes.parse_checkpoint(key.open(note), self.checked.origin)
        except FormatError as error:
            return str(error)
        if root is None:
            return "there are records missing before it, so it proves nothing"
        if said != root:
            good = max((size for size, _ in self._good), default=0)
            where = f"{good:,} to {size - 1:,}" if good else f"0 to {size - 1:,}"
            return (
                f"records {where} are not those that were signed: changed, removed, inserted or in another order"
            )
        self._good.append((size, at))
        return ""

    def _signer(self, size: int) -> int:
        """Which epoch signs checkpoints of this size, as its place; -1: none."""
        return max((at for at, epoch in enumerate(self._epochs) if epoch.first <= size), default=-1)

    def finish(self, newest: str | None = None) -> Checked:
        """All that is known now.

        Args:
            newest: the log's checkpoint, read once more after the records; None: nobody writes meanwhile.
        """
        checked = self.checked
        if not checked.origin and not self._next:
            checked.findings.append(incomplete("there are no records"))
        if self._own:
            self._check_own(*self._own, newest)
        checked.proved = max((size for size, _ in self._good), default=0)
        vouched = self._check_keys() | self._check_given()
        checked.by_key = max((size for size, at in self._good if at in vouched), default=0)
        self._check_chains(vouched)
        return checked

    def _check_own(self, note: str, _: str, size: int, root: bytes, newest: str | None) -> None:
        checked = self.checked
        if size > self._next:
            what = f"the checkpoint covers {size:,} records, and {self._next:,} are there: {_count(size - self._next)} gone"
            checked.findings.append(incomplete(what))
            return
        problem = self._check_note(note, size, root, self._roots.get(size))
        if problem:
            checked.findings.append(tampered(f"checkpoint: {problem}"))
        if self._later > size and self._later > _size_of(newest):
            what = f"the checkpoint covers {size:,} records, an earlier one {self._later:,}: it was replaced"
            checked.findings.append(tampered(what))

    def _check_keys(self) -> set[int]:
        """The epochs, as places, that keys from outside vouch for."""
        vouched: set[int] = set()
        for key in self._anchors.keys:
            found = [at for at, epoch in enumerate(self._epochs) if epoch.key == key]
            if not found:
                what = f"no key of this log is the given one, {key.vkey}: it was signed anew, or is another log"
                self.checked.findings.append(tampered(what))
            for at in found:
                vouched |= self._followers(at)
        return vouched

    def _followers(self, at: int) -> set[int]:
        chain = self._epochs[at].chain
        return {other for other in range(at, len(self._epochs)) if self._epochs[other].chain == chain}

    def _check_given(self) -> set[int]:
        """The same for checkpoints; and how far these reach."""
        checked = self.checked
        vouched: set[int] = set()
        for note, origin, size, root in self._given:
            named = f"the given checkpoint of {size:,} records"
            if origin != checked.origin:
                checked.findings.append(tampered(f"{named} is of another log, {origin}"))
                continue
            at = self._signer(size)
            key = self._epochs[at].key if at >= 0 else None
            try:
                if key is None:
                    raise FormatError("its key is not known")
                key.open(note)
            except FormatError as error:
                checked.findings.append(tampered(f"{named} is not signed by this log's key of that time: {error}"))
                continue
            if size > self._next:
                what = f"{named} says that {_count(size - self._next)} gone: the log ends with record {self._next - 1:,}"
                checked.findings.append(incomplete(what))
                continue
            if self._roots.get(size) != root:
                checked.findings.append(tampered(f"{named} is of other records than the first {size:,} here"))
                continue
            if self._own and self._own[2] < size:
                what = (
                    f"the log's own checkpoint covers {self._own[2]:,} records, less than {named}: it was replaced"
                )
                checked.findings.append(tampered(what))
            checked.by_checkpoint = max(checked.by_checkpoint, size)
            for at, epoch in enumerate(self._epochs):
                if epoch.record < size:
                    vouched |= self._followers(at)
        return vouched

    def _check_chains(self, vouched: set[int]) -> None:
        """What follows a key that vouches has to be vouched for as well."""
        if not vouched:
            return
        for at in range(min(vouched) + 1, len(self._epochs)):
            epoch = self._epochs[at]
            counts = epoch.record < self.checked.size
            if counts and at not in vouched and self._epochs[at - 1].chain != epoch.chain:
                what = f"a chain of keys begins anew with epoch {epoch.number} (record {epoch.record:,}), "
                self.checked.findings.append(tampered(what + "and no given key vouches for it"))


def _size_of(note: str | None) -> int:
    """How many records a checkpoint says that it covers; 0: it is none."""
    try:
        return parse_outside(note)[1] if note else 0
    except FormatError:
        return 0


def _count(records: int) -> str:
    return f"{records:,} record{'s are' if records > 1 else ' is'}"


def _said(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)
