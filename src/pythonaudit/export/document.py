"""A report as headings, paragraphs and tables: what is said, without how it looks.

    document = build_document(report)
    "".join(report_html.render(document, show))

Texts are what was recorded, as it is: whoever renders them makes them safe.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pythonaudit.export import pci
from pythonaudit.export.report import Report, Top
from pythonaudit.export.words import duration, moment, number, setting
from pythonaudit.query.ledger import COVERAGE

Cell = str | int


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows; `more` rows are left out."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    more: int = 0


@dataclass(slots=True)
class Section:
    """A heading, and what is below it, in order: a paragraph is a text."""

    title: str
    blocks: list[str | Table] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Adds a paragraph."""
        self.blocks.append(text)

    def show(self, columns: Sequence[str], top: Top, row: Callable[..., Sequence[Cell]] | None = None) -> None:
        """Adds a table, where there is anything in it."""
        if top.rows:
            rows = [row(*one) if row else one for one in top.rows]
            self.blocks.append(Table(columns, rows, top.more))


@dataclass(frozen=True, slots=True)
class Document:
    """The whole."""

    title: str
    sections: Sequence[Section]


def build_document(report: Report) -> Document:
    """What a report says."""
    period = report.period
    title = f"pythonaudit: evidence for {moment(period.since_ns)} to {moment(period.until_ns)}"
    parts = (_about, _requirements, _coverage, _losses, _integrity, _retention, _access, _activity, _acts, _unread)
    return Document(title, [section for part in parts if (section := part(report)).blocks])


def _about(report: Report) -> Section:
    section = Section("About this report")
    made, period = moment(report.made_ns), report.period
    section.say(
        f"Made at {made} of {report.directory}, for the time from {moment(period.since_ns)} on and before "
        f"{moment(period.until_ns)}. All times are UTC."
    )
    if period.until_ns > report.made_ns:
        section.say("The period was not over when the report was made.")
    activity, coverage = report.activity, report.coverage
    if not activity.events and not coverage.processes:
        section.say("Nothing was recorded in this period: no process and no event.")
    else:
        section.say(
            f"{number(activity.events, 'event')} of {number(coverage.processes, 'process', 'processes')} kept; "
            f"verdict on what is kept: {report.verdict.word}."
        )
    section.say(
        "An event is an attempt, raised before the operation. Python processes alone are recorded, and not everything "
        "that they do raises an event; the numbers below are of what was recorded."
    )
    return section


def _requirements(report: Report) -> Section:
    section = Section("PCI DSS 4, requirement 10")
    rows = [(one.number, one.title, one.state, "; ".join(one.evidence)) for one in pci.requirements(report)]
    section.blocks.append(Table(("requirement", "what it asks", "state", "evidence"), rows))
    return section


def _coverage(report: Report) -> Section:
    section, coverage = Section("Coverage"), report.coverage
    if not coverage.processes:
        section.say("No process was recorded in the period.")
        _say_days(section, report)
        return section
    section.say(
        f"{number(coverage.processes, 'process', 'processes')} recorded, of which {coverage.begun:,} begun in the period; "
        f"{coverage.ended:,} ended in order; in {coverage.unproved:,} the hook may not have been in. In their whole "
        f"lives, they counted {number(coverage.counted, 'event')} instead of recording them."
    )
    columns = ("host", "processes", "first sign of life", "last sign of life")
    section.show(
        columns, coverage.hosts, lambda h, n, first, last: (h or "unknown", n, moment(first), moment(last))
    )
    section.show(("Python", "way in", "processes"), coverage.ways, lambda p, way, n: (p or "unknown", way, n))
    if coverage.ledger is None:
        section.say("Too many processes were started to tell which of them were not recorded.")
    else:
        rows = [(word, coverage.ledger[word]) for word in COVERAGE]
        section.blocks.append(Table(("processes started by recorded ones, and these", "how many"), rows))
        section.show(
            ("not recorded: time", "host", "command", "why"),
            coverage.unrecorded,
            lambda time_ns, host, command, reason: (moment(time_ns), host, command, reason),
        )
    _say_days(section, report)
    return section


def _say_days(section: Section, report: Report) -> None:
    coverage = report.coverage
    section.say(f"{number(coverage.idle_days, 'day')} of {number(coverage.days, 'day')} without an event.")
    if coverage.idle:
        rest = coverage.idle_days - len(coverage.idle)
        more = f", and {rest:,} more" if rest > 0 else ""
        section.say(f"Days without an event: {', '.join(coverage.idle)}{more}.")


def _losses(report: Report) -> Section:
    section = Section("Losses")
    if report.losses.rows:
        section.say(
            "In the segments of the journal that were written to in the period; docs/format/journal.md, 9."
        )
    else:
        section.say("Nothing was lost in the period, as far as recorders and readers know.")
    section.show(("reason", "processes", "how much"), report.losses)
    return section


def _integrity(report: Report) -> Section:
    section, verdict, sealing = Section("Integrity"), report.verdict, report.sealing
    section.say(f"Verdict: {verdict.word}.")
    if verdict.anchors:
        rows = [(line,) for line in verdict.anchors]
        section.blocks.append(Table(("anchor from outside",), rows))
    elif sealing.exists:
        section.say("No key and no checkpoint from outside was given (--key, --checkpoint).")
    for finding in verdict.findings:
        section.say(finding[:1].upper() + finding[1:] + ".")
    if not sealing.exists:
        return section
    section.say(
        f"Log {verdict.origin}, begun {moment(sealing.begun_ns)}: {number(verdict.records, 'record')}, of which "
        f"{verdict.covered:,} are covered by the newest checkpoint, up to {moment(verdict.sealed_ns)}; "
        f"{number(verdict.epochs, 'key')} so far. In the period: {number(sealing.records, 'record')}, "
        f"{number(sealing.sealed, 'event')} sealed, {sealing.lost:,} sealed events gone before they were archived."
    )
    if sealing.problem:
        section.say(f"The log could not be read to its end: {sealing.problem}.")
    longest = duration(sealing.longest_ns / 1e9)
    section.say(f"Longest time between two records in the period: {longest}.")
    promised = duration(2 * sealing.interval_ns / 1e9)
    section.show(
        ("silence with an agent running: from", "to", "how long"),
        Top(sealing.silences, sealing.silent - len(sealing.silences)),
        lambda begin, end: (moment(begin), moment(end), duration((end - begin) // 1_000_000_000)),
    )
    if not sealing.agent:
        section.say("No agent ran in the period, as the log says, so silence was not signed at intervals.")
    elif not sealing.silent:
        section.say(f"With an agent running, no two records were more than {promised} apart.")
    return section


def _retention(report: Report) -> Section:
    section, sealing, asked = Section("Retention and holds"), report.sealing, report.asked
    if report.oldest_ns is not None:
        section.say(f"The oldest event that is kept, of any time, is of {moment(report.oldest_ns)}.")
    told = {name: value for name, value in sealing.settings.items() if name.startswith("retention.")}
    configured = dict(asked.limits or {})
    rows = [
        (name, setting(name, told[name]) if name in told else "", setting(name, value) if asked.limits else "")
        for name, value in (told | configured).items()
    ]
    if rows:
        section.blocks.append(
            Table(("limit", "as the log had it at the end of the period", "configured now"), rows)
        )
    else:
        section.say("No retention is configured, and none is in the log.")
    removed = sealing.removed
    if sealing.exists:
        section.say(
            f"Removed in the period, as the log says: {number(removed['events'], 'event')} in "
            f"{number(removed['batches'], 'batch', 'batches')}, and {number(removed['files'], 'file')} of the journal."
        )
    else:
        dropped = report.dropped
        section.say(
            f"Removed so far, of any time: {number(dropped.events, 'event')} in "
            f"{number(dropped.batches, 'batch', 'batches')}; nothing is sealed here, so nobody vouches for that."
        )
    section.show(
        ("removed at", "rule", "batches", "files", "events", "first event", "last event"),
        Top(
            [
                (r.time_ns, r.rule, r.batches, r.files, r.events, r.begin_ns, r.end_ns)
                for r in reversed(sealing.removals)
            ],
            sealing.kinds["dropped"] - len(sealing.removals),
        ),
        lambda at, rule, batches, files, events, begin, end: (
            *(moment(at), rule, batches, files, events),
            *(moment(begin), moment(end)),
        ),
    )
    holds = [(hold, "log, at the end of the period") for hold in sealing.holds.values()]
    holds += [(hold, "configuration, now") for hold in asked.holds]
    if not holds:
        section.say("No legal hold stood at the end of the period or is configured.")
    section.show(
        ("hold", "reason", "from", "before", "host", "run", "as told by"),
        Top(holds),
        lambda hold, place: (*_hold(hold), place),
    )
    return section


def _hold(hold: Any) -> tuple[Cell, ...]:
    def time_of(name: str) -> str:
        value = hold.get(name)
        return moment(value) if isinstance(value, int) else "any time"

    texts = (str(hold.get("hold", "")), str(hold.get("reason", "")))
    globs = (str(hold.get("host", "all")), str(hold.get("run", "all")))
    return (*texts, time_of("since_ns"), time_of("until_ns"), *globs)


def _access(report: Report) -> Section:
    section, access = Section("Access to the trail"), report.access
    if report.sealing.settings.get("access.record") is False:
        section.say("Recording of readings was switched off at the end of the period, as the log says.")
    if not access.readings:
        section.say("No reading of the trail was recorded in the period.")
    else:
        section.say(
            f"{number(access.readings, 'reading')} recorded, on {number(access.days, 'day')}; each is what the "
            "reading command said of itself."
        )
    section.show(
        ("command", "reader", "readings", "events read", "first", "last"),
        access.rows,
        lambda command, user, readings, events, first, last: (
            *(command or "unknown", user or "unknown", readings, events),
            *(moment(first), moment(last)),
        ),
    )
    activity = report.activity
    section.say(
        f"{number(activity.trail, 'attempt')} of {number(activity.trail_processes, 'recorded process', 'recorded processes')} "
        f"to open files below {report.directory}."
    )
    rows = [
        (place.name, f"{place.mode:04o}", place.uid)
        for place in report.places
        if place.mode is not None and place.uid is not None
    ]
    section.show(("directory", "mode, now", "owner"), Top(rows))
    return section


def _activity(report: Report) -> Section:
    section, activity = Section("Activity"), report.activity
    if not activity.events:
        section.say("No event was recorded in the period.")
        return section
    section.say(
        f"{number(activity.events, 'event')}, the first at {moment(activity.first_ns)}, the last at "
        f"{moment(activity.last_ns)}; {activity.privileged:,} of processes of uid 0, {activity.own:,} raised by "
        f"applications, {activity.objects:,} to make, remove, rename or link files and directories."
    )
    section.show(("category", "events"), activity.categories)
    section.show(("event", "events"), activity.names)
    section.show(("package", "events"), activity.packages, lambda name, n: (name or "none known", n))
    section.show(
        ("user", "uid", "events", "processes"), activity.users, lambda name, *rest: (name or "unknown", *rest)
    )
    section.show(("note", "events"), activity.notes)
    return section


def _acts(report: Report) -> Section:
    section, sealing = Section("Administrative events"), report.sealing
    if not sealing.exists:
        section.say("Nothing is sealed here: administrative events are not told.")
        return section
    rows = [(act.time_ns, act.kind, act.values) for act in reversed(sealing.acts)]
    known = sum(sealing.kinds[kind] for kind in {act.kind for act in sealing.acts})
    section.show(
        ("time", "record", "what"),
        Top(rows, max(0, known - len(rows))),
        lambda at, kind, values: (moment(at), kind, ", ".join(f"{k}: {_told(k, v)}" for k, v in values.items())),
    )
    if not rows:
        section.say("None in the period.")
    return section


def _told(name: str, value: object) -> str:
    return moment(value) if name.endswith("_ns") and isinstance(value, int) else str(value)


def _unread(report: Report) -> Section:
    section = Section("What could not be read for this report")
    section.show(("problem",), report.unread)
    return section
