"""Whether what is kept can be relied on, and by what anchor: the one place where a report asks for it.

    verdict = verdict_of(directory, keys, checkpoints)

It is what `pythonaudit verify` says: every file and every event is hashed anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pythonaudit.archive.verify import verify
from pythonaudit.integrity import notes
from pythonaudit.integrity.log import Log
from pythonaudit.integrity.verdicts import CONSISTENT, INCOMPLETE, INTACT, NO_ANCHOR, TAMPERED
from pythonaudit.integrity.verify import Anchors, parse_outside

NOT_SEALED = "not sealed"
_WORST_LAST = (INTACT, CONSISTENT, INCOMPLETE, TAMPERED)
_TOLD = 50  # of what is not as it was sealed
_KEY = b'{"record":"key"'


@dataclass(slots=True)
class Verdict:
    """What can be said.

    Attributes:
        word: one word for it: the worst of all journals and parts.
        anchors: what was given from outside, and whether it vouches for anything; a line each.
        findings: what is to be told besides, a line each.
        origin: name of the log; empty: there is none.
        records: how many there are. `covered`: how many of them the newest checkpoint covers.
        sealed_ns: when the last of these was written; None: none is covered.
        epochs: how many keys have signed so far.
    """

    word: str
    anchors: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    origin: str = ""
    records: int = 0
    covered: int = 0
    sealed_ns: int | None = None
    epochs: int = 0


def verdict_of(
    directory: Path, keys: Sequence[str], checkpoints: Sequence[str], further: Iterable[Path] = ()
) -> Verdict:
    """What can be said of a directory.

    Args:
        directory: that of `PYTHONAUDIT_DIR`.
        keys: public keys (vkey) from outside.
        checkpoints: signed notes from outside.
        further: other directories with journals.

    Raises:
        StoreError: something may not be read.
        FormatError: what is given from outside is no key, or no checkpoint.
    """
    given = tuple(notes.parse_vkey(key) for key in keys)
    sizes = [parse_outside(note)[1] for note in checkpoints]
    log = Log(directory)
    if not log.exists:
        return Verdict(NOT_SEALED, findings=["nothing is sealed here: 'pythonaudit keys init' begins it"])
    report = verify(directory, Anchors(given, tuple(checkpoints)), further)
    whole, *others = report.verdicts
    bad = [one for one in others if not one.is_fine]
    findings = [whole.reason] if whole.reason else []
    findings += [f"{one.kind} {one.subject}: {one.verdict}: {one.reason}" for one in bad[:_TOLD]]
    if len(bad) > _TOLD:
        findings.append(f"and {len(bad) - _TOLD:,} more: 'pythonaudit verify' says which")
    if report.unsealed:
        findings.append(f"{report.unsealed:,} events of the journal are not sealed yet")
    anchors = [f"key {key.vkey}" for key in given] + [f"checkpoint of {size:,} records" for size in sizes]
    if anchors:
        vouches = f"the {whole.anchor} vouches" if whole.anchor != NO_ANCHOR else "none of them vouches"
        anchors.append(f"{vouches} for the whole")
    return Verdict(
        max((one.verdict for one in report.verdicts), key=_WORST_LAST.index),
        anchors,
        [*findings, *report.notes],
        whole.subject,
        report.records + report.uncovered,
        report.records,
        report.newest_ns or None,
        _count_keys(log),
    )


def _count_keys(log: Log) -> int:
    return sum(line.startswith(_KEY) for line in log.lines())
