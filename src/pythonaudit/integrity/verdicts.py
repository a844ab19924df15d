"""What verification says: findings, and a verdict on each subject."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

INTACT, CONSISTENT, INCOMPLETE, TAMPERED = "intact", "self-consistent", "incomplete", "tampered"
NO_ANCHOR, KEY, CHECKPOINT = "none", "key", "checkpoint"
_UNHELD = "nothing from outside vouches for it: who replaced keys and signatures as well would not be seen"
_SHOWN = 5  # reasons that a verdict gives; of further ones the number


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was sealed.

    Attributes:
        verdict: INCOMPLETE or TAMPERED.
        reason: what, and where.
    """

    verdict: str
    reason: str


def tampered(reason: str) -> Finding:
    """What is there does not agree."""
    return Finding(TAMPERED, reason)


def incomplete(reason: str) -> Finding:
    """Something is not there."""
    return Finding(INCOMPLETE, reason)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of one subject.

    Attributes:
        subject: id of a process, path of a part below the archive, or name of the log.
        kind: journal, part or archive.
        verdict: one of the four words above.
        anchor: what it was held against: none, key or checkpoint.
        reason: what was found; or what there is to know although nothing was.
        events: how many the verdict is about.
    """

    subject: str
    kind: str
    verdict: str
    anchor: str
    reason: str
    events: int

    @property
    def is_fine(self) -> bool:
        """Whether nothing was found."""
        return self.verdict in (INTACT, CONSISTENT)

    def to_json(self) -> str:
        """As one JSON object."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))


def judge(
    subject: str, kind: str, anchor: str, events: int, findings: Iterable[Finding], note: str = ""
) -> Verdict:
    """The verdict that follows from findings.

    Args:
        subject, kind, anchor, events: as in `Verdict`.
        findings: all of the subject.
        note: the reason where there are none.
    """
    found = list(dict.fromkeys(findings))
    if not found and anchor == NO_ANCHOR:
        return Verdict(subject, kind, CONSISTENT, anchor, "; ".join(filter(None, (note, _UNHELD))), events)
    if not found:
        return Verdict(subject, kind, INTACT, anchor, note, events)
    reasons = [one.reason for one in found[:_SHOWN]]
    if len(found) > _SHOWN:
        reasons.append(f"and {len(found) - _SHOWN} more")
    worst = TAMPERED if any(one.verdict == TAMPERED for one in found) else INCOMPLETE
    return Verdict(subject, kind, worst, anchor, "; ".join(reasons), events)
