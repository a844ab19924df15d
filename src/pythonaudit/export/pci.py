"""PCI DSS 4, requirement 10: each of its parts with the evidence that a report holds for it.

A line of evidence is made of numbers of the report, and of nothing else. Where there are none, the part is not shown
or is not pythonaudit's; what somebody else has to show is said in the same place. Titles are ours, shortened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pythonaudit.export.report import Report
from pythonaudit.export.words import duration, moment, number, setting
from pythonaudit.query.commands import NOT_RECORDED, UNEXPLAINED

SHOWN = "shown for Python processes"
PART = "shown in part"
NOT_SHOWN = "not shown"
NOT_COVERED = "not covered by pythonaudit"

_YEAR_DAYS = 365
_DAY_NS = 86_400_000_000_000


@dataclass(frozen=True, slots=True)
class Requirement:
    """A part of requirement 10.

    Attributes:
        number, title: which.
        state: one of the words above.
        evidence: what is known, a sentence each.
    """

    number: str
    title: str
    state: str
    evidence: tuple[str, ...]


Answer = tuple[str, list[str]]


def requirements(report: Report) -> list[Requirement]:
    """All parts, in order."""
    found = []
    for numbered, title, answer in _PARTS:
        state, evidence = answer(report)
        found.append(Requirement(numbered, title, state, tuple(evidence)))
    return found


def _not_covered(*why: str) -> Callable[[Report], Answer]:
    return lambda report: (NOT_COVERED, list(why))


def _active(report: Report) -> Answer:
    coverage = report.coverage
    if not coverage.processes:
        return NOT_SHOWN, ["no process was recorded in the period"]
    hosts = len(coverage.hosts.rows) + coverage.hosts.more
    said = [
        f"{number(coverage.processes, 'Python process', 'Python processes')} recorded on {number(hosts, 'host')}",
        f"{number(report.activity.events, 'event')} kept of the period",
    ]
    ledger = coverage.ledger
    if ledger is None:
        said.append("too many processes were started to tell which of them were not recorded")
        return PART, said
    missing, unclear = ledger[NOT_RECORDED], ledger[UNEXPLAINED]
    said.append(f"of what they started, {number(missing, 'Python process', 'Python processes')} not recorded")
    said[-1] += f" and {unclear:,} unexplained"
    said.append("programs that are not Python, and Python that nothing recorded started, are not seen")
    is_whole = not (missing or unclear or report.losses.rows or coverage.unproved)
    return (SHOWN if is_whole else PART), said + _losses(report)


def _losses(report: Report) -> list[str]:
    if not report.losses.rows:
        return ["nothing was lost, as far as recorders and readers know"]
    return [
        f"lost: {reason}, {amount:,} in {number(processes, 'process', 'processes')}"
        for reason, processes, amount in report.losses.rows
    ]


def _data(report: Report) -> Answer:
    own = report.activity.own
    why = "which data are cardholder data is for the application to say, by events of its own"
    if not own:
        return NOT_COVERED, [why, "no application raised any in the period"]
    return PART, [why, f"{number(own, 'event')} raised by applications in the period"]


def _administrators(report: Report) -> Answer:
    activity = report.activity
    if not activity.events:
        return NOT_SHOWN, ["no event was recorded in the period"]
    said = [f"{number(activity.privileged, 'event')} of Python processes of uid 0"]
    said.append(
        "what administrators do without Python is not seen; who became root is told by the system's own log"
    )
    return PART, said


def _access(report: Report) -> Answer:
    access, activity = report.access, report.activity
    said = []
    if access.readings:
        said.append(f"{number(access.readings, 'reading')} by pythonaudit's own commands, each with its reader")
    if activity.trail:
        by = number(activity.trail_processes, "recorded process", "recorded processes")
        said.append(f"{number(activity.trail, 'attempt')} of {by} to open files of the trail")
    if report.sealing.settings.get("access.record") is False:
        said.append("recording of readings by pythonaudit's own commands is switched off")
    if not said:
        return NOT_SHOWN, ["no reading was recorded in the period"]
    said.append("reading by other programs is told by the system's own log")
    return (PART if access.readings or activity.trail else NOT_SHOWN), said


def _trail(report: Report) -> Answer:
    coverage, sealing = report.coverage, report.sealing
    if not coverage.processes and not sealing.records:
        return NOT_SHOWN, ["no process was recorded, and nothing sealed, in the period"]
    said = [f"{number(coverage.begun, 'recording')} begun in the period"]
    said.append(
        f"of {coverage.processes:,} that ran in it, {coverage.ended:,} have ended in order; "
        f"the others run still, or were ended from outside"
    )
    if sealing.exists:
        kinds = sealing.kinds
        said.append(f"{number(kinds['agent'], 'start or stop', 'starts and stops')} of the agent")
        said.append(f"{number(kinds['setting'], 'change')} of settings")
    else:
        said.append("nothing is sealed here, so starts and stops of the agent are not told")
    return PART, said


def _objects(report: Report) -> Answer:
    if not report.activity.events:
        return NOT_SHOWN, ["no event was recorded in the period"]
    made = number(report.activity.objects, "attempt")
    return (PART if report.activity.objects else NOT_SHOWN), [
        f"{made} to make, remove, rename or link files and directories, by Python processes",
        "which objects are of the system is for the reader to say; files that are made by opening them are 'open' events",
    ]


def _details(report: Report) -> Answer:
    activity = report.activity
    if not activity.events:
        return NOT_SHOWN, ["no event was recorded in the period"]
    of = f"of {number(activity.events, 'event')}"
    return PART, [
        f"user: {activity.named:,} {of} name one, and all the uid",
        f"type, date and time: all {of[3:]}",
        f"origin: {activity.placed:,} {of} name the host, {activity.located:,} the line of code",
        f"affected data or resource: {activity.aimed:,} {of} name one",
        "success or failure is not recorded: an event is an attempt, raised before the operation",
    ]


def _rights(report: Report) -> Answer:
    said, is_closed = [], True
    for place in report.places:
        if place.mode is None:
            continue
        others = place.mode & 0o077
        is_closed &= not others or place.name == "journal"
        said.append(f"{place.name}: mode {place.mode:04o}, owner {place.uid}")
    if not said:
        return NOT_SHOWN, ["there is no directory of the trail"]
    said.append("as they were when the report was made; 'journal' holds a closed directory for each user")
    return (PART if is_closed else NOT_SHOWN), said


def _protected(report: Report) -> Answer:
    sealing = report.sealing
    if not sealing.exists:
        return NOT_SHOWN, ["nothing is sealed here"]
    return PART, [
        f"{number(sealing.sealed, 'event')} sealed in the period, in {number(sealing.records, 'record')} of the log",
        f"{number(report.verdict.epochs, 'key')} signed so far",
        *_verdict(report),
        "pythonaudit shows changes; what prevents them are the rights of the directories (10.3.1)",
    ]


def _verdict(report: Report) -> list[str]:
    verdict = report.verdict
    return [f"verdict: {verdict.word}", *verdict.anchors, *verdict.findings]


def _copies(report: Report) -> Answer:
    if report.asked.is_elsewhere:
        return PART, [
            "the configuration writes each checkpoint to another place as well",
            "copies of the events themselves are for others to show",
        ]
    return NOT_COVERED, ["the configuration writes checkpoints to no other place; copies are for others to show"]


def _change_detection(report: Report) -> Answer:
    sealing = report.sealing
    if not sealing.exists:
        return NOT_SHOWN, ["nothing is sealed here"]
    said = _verdict(report)
    if sealing.silent:
        said.append(
            f"{number(sealing.silent, 'stretch', 'stretches')} longer than was promised without a checkpoint"
        )
    said.append(f"longest time between two records in the period: {duration(sealing.longest_ns / 1e9)}")
    return PART, said


def _review(report: Report) -> Answer:
    access, days = report.access, report.coverage.days
    if not access.readings:
        return NOT_SHOWN, ["no reading of the trail was recorded in the period"]
    return PART, [
        f"the trail was read on {access.days:,} of {number(days, 'day')}",
        "that it was read is no proof that it was reviewed",
    ]


def _kept(report: Report) -> Answer:
    limits = dict(report.asked.limits or {})
    limits.update({k: v for k, v in report.sealing.settings.items() if k.startswith("retention.")})
    said, days = [], 0
    if report.oldest_ns is not None:
        days = max(0, report.made_ns - report.oldest_ns) // _DAY_NS
        said.append(f"the oldest event that is kept is of {moment(report.oldest_ns)}, {number(days, 'day')} ago")
    is_year = days >= _YEAR_DAYS
    if not is_year:
        said.append("that is less than twelve months")
    said += [f"{name}: {setting(name, value)}" for name, value in limits.items()]
    if not limits:
        said.append("no retention is configured, and none is in the log")
    age, size = limits.get("retention.age"), limits.get("retention.size")
    if isinstance(age, int | float) and age < _YEAR_DAYS * 86_400:
        is_year = False
        said.append("events are removed before they are twelve months old")
    if size is not None:
        is_year = False
        said.append("what is larger than the size goes, whatever its age")
    if report.sealing.removed["batches"]:
        said.append(f"{number(report.sealing.removed['events'], 'event')} removed in the period")
    said.append(f"{number(report.activity.events, 'event')} of the period at hand, without restoring anything")
    return (PART if is_year else NOT_SHOWN), said


def _failures(report: Report) -> Answer:
    coverage, sealing = report.coverage, report.sealing
    said = _losses(report)
    if coverage.ledger is not None:
        said.append(f"{number(coverage.ledger[NOT_RECORDED], 'Python process', 'Python processes')} not recorded")
    said.append(f"{number(coverage.unproved, 'process', 'processes')} in which the hook may not have been in")
    if sealing.exists:
        said.append(f"{number(sealing.silent, 'stretch', 'stretches')} without a checkpoint that was promised")
    said.append(f"{number(coverage.idle_days, 'day')} of {coverage.days:,} without an event")
    said.append("that somebody was told, and acted, is for others to show")
    return (PART if coverage.processes or sealing.records else NOT_SHOWN), said


_POLICY = _not_covered("documents, roles and procedures are the organisation's")
_CLOCKS = _not_covered(
    "events carry the time of their host's clock; how that is set and protected is for others to show"
)

_PARTS: tuple[tuple[str, str, Callable[[Report], Answer]], ...] = (
    ("10.1.1", "policies and procedures are documented and in use", _POLICY),
    ("10.1.2", "roles and responsibilities are assigned", _POLICY),
    ("10.2.1", "audit logs are enabled and active", _active),
    ("10.2.1.1", "individual access to cardholder data", _data),
    ("10.2.1.2", "actions of those with administrative access", _administrators),
    ("10.2.1.3", "access to audit logs", _access),
    (
        "10.2.1.4",
        "invalid logical access attempts",
        _not_covered("log-ins are the system's and the application's"),
    ),
    (
        "10.2.1.5",
        "changes to identification and authentication credentials",
        _not_covered("accounts are the system's and the application's"),
    ),
    ("10.2.1.6", "starting, stopping and pausing of audit logs", _trail),
    ("10.2.1.7", "creation and deletion of system-level objects", _objects),
    ("10.2.2", "details of each event", _details),
    ("10.3.1", "read access is limited", _rights),
    ("10.3.2", "files are protected from modification", _protected),
    ("10.3.3", "files are promptly backed up to a central or safe place", _copies),
    ("10.3.4", "changes to audit logs are detected", _change_detection),
    ("10.4.1", "audit logs are reviewed daily", _review),
    ("10.4.1.1", "reviews are automated", _not_covered("feed what is recorded to the system that reviews it")),
    ("10.4.2", "logs of other components are reviewed periodically", _review),
    ("10.4.2.1", "the frequency follows a risk analysis", _POLICY),
    ("10.4.3", "exceptions and anomalies are addressed", _POLICY),
    ("10.5.1", "twelve months are kept, three at hand", _kept),
    ("10.6.1", "clocks are synchronised", _CLOCKS),
    ("10.6.2", "systems have the correct and consistent time", _CLOCKS),
    ("10.6.3", "time settings are protected", _CLOCKS),
    ("10.7.1", "service providers: failures are detected and addressed", _failures),
    ("10.7.2", "failures are detected, alerted and addressed", _failures),
    ("10.7.3", "failures are responded to promptly", _POLICY),
)
