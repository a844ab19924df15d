"""What a bundle has of the log: records that a checkpoint covers, keys that follow each other.

Part of verify.py (`offline`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pythonaudit.export.offline.files import FORMAT, Bundle, WrongError, load_object
from pythonaudit.export.offline.seal import Key, Note, hash_leaf, root_of


class Record:
    """A record of the log that the newest checkpoint is proven to cover.

    Attributes:
        number: which. `said`: what it says. `place`: where it stands in the bundle.
        epoch: that of the first checkpoint by which it is proven: of the end of its own epoch, or the newest.
    """

    def __init__(self, place: str, number: int, said: dict[str, Any], epoch: int) -> None:
        self.place, self.number, self.said, self.epoch = place, number, said, epoch

    @property
    def kind(self) -> Any:
        """Its kind."""
        return self.said.get("record")

    @property
    def segment(self) -> tuple[Any, ...]:
        """Which segment it is about."""
        return self.said.get("process"), self.said.get("sequence"), self.said.get("uid")


class Log:
    """What the bundle has of the log, verified but for the signatures.

    Attributes:
        origin, size: of the newest checkpoint.
        records: by number.
        keys: of each epoch. `chains`: epochs with which a chain of keys begins.
        closed: of each epoch that has ended: how many records its last checkpoint covers, and their root.
        signer: epoch of the key that signed the newest checkpoint.
        signatures: all of them, still to be verified.
    """

    def __init__(self, bundle: Bundle) -> None:
        try:
            note = Note("checkpoint", bundle.read("checkpoint").decode())
        except UnicodeDecodeError:
            raise WrongError("checkpoint", "no text") from None
        self.origin, self.size, self._root = note.checkpoint()
        self.records: dict[int, Record] = {}
        self.keys: list[Key] = []
        self.chains: list[int] = []
        self.closed: dict[int, tuple[int, bytes]] = {}
        self.signatures: list[tuple[str, bytes, bytes, bytes]] = []
        self._introduced: list[int] = []  # numbers of the records of keys
        lines = [(place, load_object(place, line)) for place, line in bundle.lines("log.jsonl")]
        numbered = [self._prove(place, said) for place, said in lines]
        if not numbered or numbered[0][0] != 0:
            raise WrongError("log.jsonl", "does not begin with the first record")
        before, before_ns = -1, 0
        for number, (place, record, _) in numbered:
            time_ns = record.get("time_ns")
            if type(time_ns) is not int or number <= before or time_ns < before_ns:
                raise WrongError(place, f"record {number} cannot come after record {before}")
            before, before_ns = number, time_ns
            self._add(place, number, record)
        self._end(note)
        self._epochs = sorted(self.closed)
        self._ends = [self.closed[epoch][0] for epoch in self._epochs]
        for number, (place, record, said) in numbered:
            self.records[number] = self._in_its_epoch(place, number, record, said)

    def _prove(self, place: str, said: dict[str, Any]) -> tuple[int, tuple[str, dict[str, Any], dict[str, Any]]]:
        """That a record is in the tree of the newest checkpoint."""
        line, number = said.get("line"), said.get("number")
        if type(line) is not str or type(number) is not int:
            raise WrongError(place, "no record")
        if root_of(hash_leaf(_utf8(place, line)), number, self.size, said.get("path")) != self._root:
            raise WrongError(place, f"record {number} is not what the checkpoint covers")
        return number, (place, load_object(place, line.encode()), said)

    def _add(self, place: str, number: int, record: dict[str, Any]) -> None:
        """What a record says of keys."""
        kind = record.get("record")
        if (kind == "begin") != (number == 0):
            raise WrongError(place, f"makes no sense as record {number}")
        if kind == "begin" and (record.get("origin") != self.origin or record.get("format") != FORMAT):
            raise WrongError(place, "another log, or one of a later format")
        if kind == "key":
            self._add_key(Note(place, record.get("note")), number, record)
        if kind == "closed":
            note = Note(place, record.get("note"))
            origin, size, root = note.checkpoint()
            epoch = len(self.keys) - 2
            if record.get("epoch") != epoch or epoch in self.closed or origin != self.origin or size != number:
                raise WrongError(place, "does not end the epoch before it")
            self.closed[epoch] = size, root
            self.signatures.append(note.signed(self.keys[epoch]))

    def _add_key(self, note: Note, number: int, record: dict[str, Any]) -> None:
        epoch, key = note.key()
        if epoch != len(self.keys) or record.get("epoch") != epoch or key.origin != self.origin:
            raise WrongError(note.place, "a key out of its turn")
        if epoch == 0 or record.get("again"):
            self.chains.append(epoch)
            self.signatures.append(note.signed(key))
        else:
            self.signatures.append(note.signed(self.keys[-1]))
            self._need_closed(epoch - 2, note.place)
        self.keys.append(key)
        self._introduced.append(number)

    def _need_closed(self, epoch: int, place: str) -> None:
        """An epoch has its last checkpoint in the bundle, but for one whose key was lost."""
        if epoch >= 0 and epoch not in self.closed and epoch + 1 not in self.chains:
            raise WrongError(place, f"nothing says how epoch {epoch} ended")

    def _end(self, note: Note) -> None:
        if 0 not in self.chains or self._introduced[0] != 1:
            raise WrongError("log.jsonl", "the log's first records are not there")
        self.signer = len(self.keys) - 1
        before = self.signer - 1
        if before >= 0 and before not in self.closed and self.signer not in self.chains:
            if self.size != self._introduced[-1] + 1:
                raise WrongError("log.jsonl", f"nothing says how epoch {before} ended")
            self.signer = before  # this is its last checkpoint
        self.signatures.append(note.signed(self.keys[self.signer]))

    def _in_its_epoch(self, place: str, number: int, record: dict[str, Any], said: dict[str, Any]) -> Record:
        """The record, and that the checkpoint at the end of its epoch covers it, if that is over."""
        at = bisect_right(self._ends, number)
        epoch = self._epochs[at] if at < len(self._epochs) else self.signer
        if epoch in self.closed and record["record"] in ("events", "segment"):
            size, root = self.closed[epoch]
            if root_of(hash_leaf(said["line"].encode()), number, size, said.get("closed")) != root:
                reason = f"record {number} is not what the checkpoint at the end of epoch {epoch} covers"
                raise WrongError(place, reason)
        return Record(place, number, record, epoch)

    def verify_signatures(self, is_signed: Callable[[bytes, bytes, bytes], bool]) -> None:
        """That all signatures are right.

        Args:
            is_signed: told of one key, text and signature, whether the signature is right.
        """
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda one: is_signed(*one[1:]), self.signatures))
        for (place, _, _, _), right in zip(self.signatures, found):
            if not right:
                raise WrongError(place, "its signature is not right")

    def vouched(self, given: Sequence[Key]) -> set[int]:
        """The epochs whose keys one of the given ones vouches for."""
        found: set[int] = set()
        for key in given:
            epochs = [epoch for epoch, known in enumerate(self.keys) if known.text == key.text]
            if not epochs:
                raise WrongError("log.jsonl", f"{key.text!a} is no key of this log")
            end = min((chain for chain in self.chains if chain > epochs[0]), default=len(self.keys))
            found.update(range(epochs[0], end))
        return found


def _utf8(place: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise WrongError(place, "half of a character stands alone") from None
