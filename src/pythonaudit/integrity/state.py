"""What the records of a log come to, as far as somebody needs it who writes the next one.

state = State()
for line in log.lines():
    state.add(line)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pythonaudit.errors import FormatError
from pythonaudit.integrity import merkle, notes
from pythonaudit.integrity.log import FORMAT, parse_record

Key = tuple[str, int, int]  # of a segment: process, sequence, uid
Run = tuple[int, int, int]  # slot, number of the first event, how many
Span = tuple[int, int]  # numbers of events of a slot: the first, and the first that is not meant

ABOUT_JOURNALS = frozenset({"events", "segment", "gone"})


@dataclass(slots=True)
class Sealed:
    """What is sealed of a segment that can still grow, or is not archived.

    Attributes:
        spans: for each slot the numbers that are sealed, each span from one to before another, in order.
        events: how many are sealed.
    """

    spans: dict[int, list[Span]] = field(default_factory=dict)
    events: int = 0

    def add(self, runs: Sequence[Run]) -> None:
        """Seals some more."""
        for slot, first, count in runs:
            self.spans[slot] = add_span(self.spans.get(slot, []), (first, first + count))
            self.events += count


def add_span(spans: list[Span], new: Span) -> list[Span]:
    """Spans with one more, in order, those that meet made one."""
    if not spans or spans[-1][1] < new[0]:
        return [*spans, new]
    if spans[-1][1] == new[0]:
        return [*spans[:-1], (spans[-1][0], new[1])]
    found: list[Span] = []
    for first, end in sorted([*spans, new]):
        if found and found[-1][1] >= first:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((first, end))
    return found


class State:
    """The sum of all records so far.

    Attributes:
        tree: their hashes.
        time_ns: of the last.
        origin: name of the log; empty: there is none yet.
        epoch, public: which key signs the next checkpoint. `epoch_ns`: since when.
        closing: the key of the epoch before has signed its last checkpoint, or is about to, and there is no
            record `closed` of it: its epoch, and how many records that checkpoint covers.
        sealed: segments that are sealed at least in part, and not archived.
        archived: segments that are in a batch, and that batch.
        previous: hash of the last record about a process of a user.
        batches: those that are in the manifest, or come into it, and what each replaces.
        dropped: those that retention removed.
        settings: by name.
        holds: legal holds that stand, by name.
    """

    def __init__(self) -> None:
        self.tree = merkle.Tree()
        self.time_ns = 0
        self.origin = ""
        self.epoch, self.epoch_ns = -1, 0
        self.public: notes.PublicKey | None = None
        self.signer: notes.PublicKey | None = None  # of the epoch before, as long as it is closing
        self.closing: tuple[int, int] | None = None
        self.sealed: dict[Key, Sealed] = {}
        self.archived: dict[Key, str] = {}
        self.previous: dict[tuple[str, int], str] = {}
        self.batches: dict[str, tuple[str, ...]] = {}
        self._last = ""  # batch
        self._closed: list[tuple[Key, str]] = []  # segments, and the batch that is to come
        self._unsure: dict[Key, str | None] = {}  # those of the last batch, and in which they had been before
        self.dropped: set[str] = set()
        self.settings: dict[str, Any] = {}
        self.holds: dict[str, Mapping[str, Any]] = {}

    def add(self, line: bytes) -> dict[str, Any]:
        """Adds a record; gives it, parsed.

        Raises:
            FormatError: it is none, or makes no sense here.
        """
        number = self.tree.size
        try:
            record = parse_record(line)
            kind = record["record"]
            if (number == 0) != (kind == "begin"):
                raise FormatError("a log begins with a record 'begin'")
            leaf = merkle.hash_leaf(line)
            apply = getattr(self, f"_add_{kind}", None)
            if apply:
                apply(record)
            if kind in ABOUT_JOURNALS:
                self.previous[record["process"], record["uid"]] = leaf.hex()
        except (KeyError, TypeError, ValueError, FormatError) as error:
            raise FormatError(f"record {number}: {error}") from None
        self.tree.add(leaf)
        self.time_ns = max(self.time_ns, record["time_ns"])
        return record

    def _add_begin(self, record: Mapping[str, Any]) -> None:
        if record["format"] > FORMAT:
            raise FormatError(f"format {record['format']} is of a later version")
        if not notes.is_origin(record["origin"]):
            raise FormatError("the name of the log makes no sense")
        self.origin = record["origin"]

    def _add_key(self, record: Mapping[str, Any]) -> None:
        text, _ = notes.split_note(record["note"])
        epoch, key = notes.parse_key(text)
        if epoch != record["epoch"] or epoch != self.epoch + 1 or key.origin != self.origin:
            raise FormatError("a key out of its turn")
        begins = self.public is None or record.get("again")
        self.closing = None if begins else (self.epoch, self.tree.size + 1)
        self.signer, self.public = None if begins else self.public, key
        self.epoch, self.epoch_ns = epoch, record["time_ns"]

    def _add_closed(self, record: Mapping[str, Any]) -> None:
        self.closing = self.signer = None

    def _add_found(self, record: Mapping[str, Any]) -> None:
        for batch in record["batches"]:
            self.batches[batch["batch"]] = ()

    def _add_events(self, record: Mapping[str, Any]) -> None:
        self.sealed.setdefault(key_of(record), Sealed()).add(record["runs"])

    def _add_segment(self, record: Mapping[str, Any]) -> None:
        self._closed.append((key_of(record), record["batch"]))

    def _add_gone(self, record: Mapping[str, Any]) -> None:
        self.sealed.pop(key_of(record), None)

    def _add_batch(self, record: Mapping[str, Any]) -> None:
        self.batches[record["batch"]] = tuple(record["replaces"])
        self._last = record["batch"]
        for key in self._unsure:  # whoever was killed was found out before this one
            self.sealed.pop(key, None)
        # Those that were to come into another batch were not: its writer was killed before it came to it.
        keys = [key for key, batch in self._closed if batch == self._last]
        self._closed.clear()
        self._unsure = {key: self.archived.get(key) for key in keys}
        self.archived.update(dict.fromkeys(keys, self._last))

    def _add_void(self, record: Mapping[str, Any]) -> None:
        self.batches.pop(record["batch"], None)
        for key, before in self._unsure.items() if record["batch"] == self._last else ():
            if before is None:
                self.archived.pop(key, None)
            else:
                self.archived[key] = before
        self._unsure = {}

    def _add_dropped(self, record: Mapping[str, Any]) -> None:
        self.dropped.update(record["batches"])

    def _add_setting(self, record: Mapping[str, Any]) -> None:
        self.settings[record["name"]] = record["value"]

    def _add_hold(self, record: Mapping[str, Any]) -> None:
        if record["action"] == "place":
            self.holds[record["hold"]] = record
        else:
            self.holds.pop(record["hold"], None)

    def unsure_batches(self) -> set[str]:
        """Batches whose writer can have been killed before they came into the manifest: the last one."""
        return {self._last} & self.counting

    @property
    def counting(self) -> set[str]:
        """The batches that are in the manifest, if everything went well."""
        replaced = {name for replaces in self.batches.values() for name in replaces}
        return self.batches.keys() - replaced - self.dropped


def key_of(record: Mapping[str, Any]) -> Key:
    """Which segment a record is about."""
    return record["process"], record["sequence"], record["uid"]
