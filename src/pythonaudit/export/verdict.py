"""Whether what is kept can be relied on, and by what anchor: the one place where a report asks for it.

    verdict = verdict_of(directory, keys, checkpoints)

Here the log is read and held against its own checkpoint and the anchors; events and parts are not hashed anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pythonaudit.errors import FormatError
from pythonaudit.integrity import notes
from pythonaudit.integrity.log import Log
from pythonaudit.integrity.state import State

NOT_SEALED = "not sealed"
NOT_VERIFIED = "not verified"
TAMPERED = "tampered"
INCOMPLETE = "incomplete"


@dataclass(slots=True)
class Verdict:
    """What can be said.

    Attributes:
        word: one word for it.
        anchors: what was given from outside, and what came of it; a line each.
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


def verdict_of(directory: Path, keys: Sequence[str], checkpoints: Sequence[str]) -> Verdict:
    """What can be said of a directory.

    Args:
        directory: that of `PYTHONAUDIT_DIR`.
        keys: public keys (vkey) from outside.
        checkpoints: signed notes from outside.

    Raises:
        StoreError: the log may not be read.
        FormatError: what is given from outside is no key, or no checkpoint.
    """
    given = [notes.parse_vkey(key) for key in keys]
    for note in checkpoints:
        _size_of(note)
    log = Log(directory)
    if not log.exists:
        return Verdict(NOT_SEALED, findings=["nothing is sealed here: 'pythonaudit keys init' begins it"])
    verdict = Verdict(NOT_VERIFIED)
    try:
        _hold_against(log, given, checkpoints, verdict)
    except (FormatError, KeyError, TypeError) as error:
        verdict.word = TAMPERED
        verdict.findings.append(f"the log makes no sense: {error}")
    verdict.findings.append(
        "events and parts were not hashed anew for this report: 'pythonaudit verify' does that"
    )
    return verdict


def _hold_against(
    log: Log, given: Sequence[notes.PublicKey], checkpoints: Sequence[str], verdict: Verdict
) -> None:
    own = log.read_checkpoint()  # first: the log may grow meanwhile
    sizes = {_size_of(note): None for note in (own, *checkpoints) if note is not None}
    roots: dict[int, bytes] = {}
    times: dict[int, int] = {}
    chain: dict[bytes, notes.PublicKey] = {}
    state = State()
    for line in log.lines():
        state.add(line)
        if state.public is not None:
            chain.setdefault(state.public.data, state.public)
        if state.tree.size in sizes:
            roots[state.tree.size], times[state.tree.size] = state.tree.root(), state.time_ns
    verdict.origin, verdict.records, verdict.epochs = state.origin, state.tree.size, len(chain)
    if own is None:
        verdict.word = INCOMPLETE
        verdict.findings.append("there is no checkpoint")
    else:
        size, problem = _check(own, state.origin, chain, roots)
        verdict.covered, verdict.sealed_ns = size, times.get(size)
        if problem:
            verdict.word = TAMPERED
            verdict.findings.append(f"its own checkpoint: {problem}")
    for key in given:
        is_known = key.data in chain
        verdict.anchors.append(f"key {key.vkey}: {'one of this log' if is_known else 'none of this log'}")
        if not is_known:
            verdict.word = TAMPERED
    for note in checkpoints:
        size, problem = _check(note, state.origin, chain, roots)
        verdict.anchors.append(f"checkpoint of {size:,} records: {problem or 'this log has them, unchanged'}")
        if problem:
            verdict.word = TAMPERED


def _size_of(note: str) -> int:
    text, _ = notes.split_note(note)
    return notes.parse_checkpoint(text, text.partition("\n")[0])[0]


def _check(
    note: str, origin: str, chain: dict[bytes, notes.PublicKey], roots: dict[int, bytes]
) -> tuple[int, str]:
    """Size of a checkpoint, and what is wrong with it; empty: nothing."""
    text, _ = notes.split_note(note)
    try:
        size, root = notes.parse_checkpoint(text, origin)
    except FormatError as error:
        return _size_of(note), str(error)
    if size not in roots:
        return size, "the log has fewer records"
    if roots[size] != root:
        return size, "the log has other records"
    for key in reversed(chain.values()):
        try:
            key.open(note)
        except FormatError:
            continue
        return size, ""
    return size, "not signed by a key of this log"
