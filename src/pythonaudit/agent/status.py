"""How things are in a directory, from its files: whether an agent runs, what is sealed, what waits, what is wrong.

    status = read_status_of(directory, config, journal)
    status.wrong                        # lines; empty: all is well

While an agent runs, how much is sealed is what it says itself; otherwise the log is read for it.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pythonaudit.agent.config import Config
from pythonaudit.agent.presence import is_running, read_status
from pythonaudit.archive.covered import Covered
from pythonaudit.archive.ingest import is_closed
from pythonaudit.archive.manifest import Archive
from pythonaudit.errors import FormatError, StoreError
from pythonaudit.integrity.keys import PrivateKeys
from pythonaudit.integrity.log import Log
from pythonaudit.integrity.state import State
from pythonaudit.journal.reader import Journal, Key, SegmentHead
from pythonaudit.journal.summary import named_losses

#: What is late, in seconds.
LAG_SECONDS = 10.0
SILENT_SECONDS = 30.0
WAITING_SECONDS = 180.0
_CHECKPOINT_SECONDS = 60.0
_SECOND_NS = 1_000_000_000


@dataclass(slots=True)
class Status:
    """How things are.

    Attributes:
        agent: whether one runs. `pid`, `since_ns`, `version`: of it. `lag`: seconds from a commit to its seal.
        sealing: whether anything is sealed here.
        epoch: number of the key that signs now.
        checkpoint_age: seconds since the last checkpoint; None: there is none.
        records: how many it covers.
        segments, events: in the journal, and not in the archive. `closed`: of these segments, in which nothing more
            can come. `waiting`: seconds that the agent has let the first of them wait.
        unsealed: of these events, how many are not sealed.
        batches, archived_events, archive_bytes: of the archive.
        losses: by reason, of what is in the journal.
        exports, detection: as the agent's figures have them.
        problems: how many the agent has met. `latest`: the last of them.
        wrong: what is not as it should be, a line each.
    """

    agent: bool = False
    pid: int | None = None
    since_ns: int | None = None
    version: str | None = None
    lag: float | None = None
    sealing: bool = False
    epoch: int | None = None
    checkpoint_age: float | None = None
    records: int | None = None
    segments: int = 0
    closed: int = 0
    waiting: float | None = None
    events: int = 0
    unsealed: int | None = None
    batches: int = 0
    archived_events: int = 0
    archive_bytes: int = 0
    losses: dict[str, int] = field(default_factory=dict)
    exports: dict[str, dict[str, Any]] = field(default_factory=dict)
    detection: dict[str, Any] = field(default_factory=dict)
    problems: int | None = None
    latest: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As an object of JSON: what is not known is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def read_status_of(directory: Path, config: Config, journal: Journal) -> Status:
    """How things are in a directory.

    Args:
        directory: that of `PYTHONAUDIT_DIR`.
        config: what is set.
        journal: its journal, and those that are followed with it.

    Raises:
        StoreError: there is nothing, or it may not be read.
    """
    if not any((directory / name).exists() for name in ("journal", "archive", "seal", "agent")):
        hint = "record with PYTHONAUDIT=1 or 'pythonaudit run', or name another place with --dir"
        raise StoreError(f"nothing is recorded in {directory}", hint=hint)
    status = Status(agent=is_running(directory))
    said = read_status(directory) if status.agent else {}
    _add_agent(status, said)
    heads = _add_archive(status, directory, journal)
    sealed = _add_seal(status, directory, config, said)
    _add_journal(status, journal, heads, sealed, said)
    status.wrong += _judge(status, config)
    return status


def _add_agent(status: Status, said: dict[str, Any]) -> None:
    """What the agent says of itself; not all of it may be there."""
    status.pid, status.since_ns, status.version = said.get("pid"), said.get("since_ns"), said.get("version")
    status.problems = said.get("problems")
    status.latest = [str(text) for _, text in said.get("latest", [])]
    if status.agent:
        told_ns = said.get("time_ns", 0)
        status.lag = said.get("figures", {}).get("lag")
        status.waiting = said.get("figures", {}).get("waiting")
        status.exports = said.get("figures", {}).get("exports", {})
        status.detection = said.get("figures", {}).get("detection", {})
        silent = (time.time_ns() - told_ns) / _SECOND_NS
        if silent > SILENT_SECONDS:
            status.wrong.append(f"the agent has said nothing for {silent:.0f} s")


def _add_archive(status: Status, directory: Path, journal: Journal) -> list[SegmentHead]:
    """Adds what the archive holds; gives the segments that it does not."""
    archive = Archive(directory)
    covered = Covered(archive)
    entries = archive.entries()
    parts = [part for entry in entries for part in entry.parts]
    status.batches = len(entries)
    status.archived_events = sum(part.rows for part in parts if part.table == "events")
    status.archive_bytes = sum(part.bytes for part in parts)
    status.wrong += archive.problems()
    heads = journal.heads() if (directory / "journal").is_dir() else []
    return [head for head in heads if not covered.has(head.key)]


def _add_seal(status: Status, directory: Path, config: Config, said: dict[str, Any]) -> dict[Key, int] | None:
    """Adds what the log says; gives how many events of each segment are sealed, unless the agent told it."""
    log = Log(directory)
    status.sealing = log.exists
    if not status.sealing:
        return None
    try:
        status.checkpoint_age = max(time.time() - os.stat(log.root / "checkpoint").st_mtime, 0.0)
        note = log.read_checkpoint() or ""
        status.records = int(note.split("\n")[1])
    except (OSError, IndexError, ValueError, FormatError):
        status.wrong.append(f"{log.root / 'checkpoint'}: there is no checkpoint")
    keys = PrivateKeys(config.keys.private or directory / "keys" / "private")
    epochs = [int(name) for name in _names(keys.root) if name.isdecimal()]
    status.epoch = max(epochs, default=None)
    if status.epoch is None:
        status.wrong.append(f"{keys.root}: there is no key")
    if "sealed_in_journal" in said:
        return None
    state = State()
    try:
        for line in log.lines():
            state.add(line)
    except FormatError as error:
        status.wrong.append(f"{log.root}: {error}; 'pythonaudit verify' says more")
    return {key: one.events for key, one in state.sealed.items()}


def _add_journal(
    status: Status, journal: Journal, heads: list[SegmentHead], sealed: dict[Key, int] | None, said: dict[str, Any]
) -> None:
    losses: Counter[str] = Counter()
    closed = [head for head in heads if is_closed(head)]
    counted = 0
    for head in heads:
        losses.update(named_losses(head.header))
        decoder = journal.load(head)
        count = len(decoder.segment.events) if decoder else 0
        status.events += count
        if sealed is not None:
            counted += max(count - sealed.get(head.key, 0), 0)
    if status.sealing:
        in_journal = int(said.get("sealed_in_journal", 0))
        status.unsealed = counted if sealed is not None else max(status.events - in_journal, 0)
    status.segments, status.closed, status.losses = len(heads), len(closed), dict(losses)


def _judge(status: Status, config: Config) -> list[str]:
    """What is not as it should be."""
    wrong = []
    age, allowed = status.checkpoint_age, 3 * config.checkpoints.interval + _CHECKPOINT_SECONDS
    if status.sealing and age is not None and age > allowed:
        who = "" if status.agent else ": no agent runs"
        wrong.append(f"the last checkpoint is {age:.0f} s old{who}")
    if status.agent and status.sealing and (status.lag or 0.0) > LAG_SECONDS:
        wrong.append(f"sealing is {status.lag:.0f} s behind")
    if status.detection.get("trouble"):
        wrong.append(f"detection: {status.detection['trouble']}")
    if status.detection.get("behind", 0.0) > LAG_SECONDS:
        wrong.append(f"detection is {status.detection['behind']:.0f} s behind")
    for name, export in status.exports.items():
        if export.get("trouble"):
            behind = f", {export['behind']:.0f} s behind" if "behind" in export else ""
            wrong.append(f"export {name}{behind}: {export['trouble']}")
    if status.agent and (status.waiting or 0.0) > WAITING_SECONDS:
        wrong.append(f"closed segments have waited for {status.waiting:.0f} s to be archived")
    return wrong


def _names(path: Path) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []
