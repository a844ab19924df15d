"""What the agent counts about itself, for its status, for metrics and for people."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(slots=True)
class Figures:
    """Each is written by one thread, and read by all.

    Attributes:
        segments, processes: that are watched. `closed`: segments that wait for being archived, in bytes.
        sealed: events. `seal_seconds`: how long sealing took, all together; `seals`: how often.
        lag: seconds that it took at most from a commit to its seal, when something was sealed last.
        waiting: seconds since the first of the segments has closed that wait for being archived.
        archived: events. `batches`, `archived_bytes`: what was written for them.
        archive_seconds: how long it took, all together.
        compacted: batches that were put together.
        dropped, dropped_files: events in the archive and files of the journal that retention removed.
        gone: segments that were sealed, and lost before they were archived.
        losses: by user and reason, of all segments that were watched. Everybody can say anything of his own.
        posted, post_failures: checkpoints that went to other places, or did not.
        checkpoint_ns: when the last checkpoint was signed.
        exports: by name: events that were `sent` and `refused`, segments that had `gone`, `trouble`, and seconds that
            it is `behind`.
        detection: `rules` in force, `events` that were held against them, `alerts`, `trouble`, and seconds that it is
            `behind`; empty: nothing is detected.
    """

    segments: int = 0
    processes: int = 0
    closed: int = 0
    closed_bytes: int = 0
    waiting: float = 0.0
    sealed: int = 0
    seals: int = 0
    seal_seconds: float = 0.0
    lag: float = 0.0
    archived: int = 0
    archived_segments: int = 0
    archived_bytes: int = 0
    batches: int = 0
    archive_seconds: float = 0.0
    compacted: int = 0
    dropped: int = 0
    dropped_files: int = 0
    gone: int = 0
    losses: dict[int, Counter[str]] = field(default_factory=dict)
    posted: int = 0
    post_failures: int = 0
    checkpoint_ns: int = 0
    exports: dict[str, dict[str, Any]] = field(default_factory=dict)
    detection: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As an object of JSON."""
        said = {one.name: getattr(self, one.name) for one in fields(self)}
        return said | {"losses": {str(uid): dict(counts) for uid, counts in self.losses.items()}}
