"""What a stranger hashes and signs: sections 3 to 7 of docs/format/checkpoint.md, written from that page alone.

`stranger_seal` verifies a store with it. For what is still in the journal: docs/format/journal.md (`stranger`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.conformance import stranger

Key = tuple[str, int, int]  # of a segment: process, sequence, uid
Row = dict[str, Any]
NOT_IN_ROW = {"batch", "user", "begin", "end"}
IDENTITY = [
    "process", "sequence", "uid", "parent", "host", "boot", "pid", "ppid", "pid_start", "pid_namespace", "way",
    "run", "python", "exe", "argv", "cwd", "begin_ns",
]  # fmt: skip
WAYS = {1: "preload", 2: "site", 3: "fork"}
NULL = 0xFFFFFFFF


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


# -- section 5: the tree


def root_of(hashes: list[bytes]) -> bytes:
    if not hashes:
        return sha(b"")
    level = hashes
    while len(level) > 1:
        above = [sha(b"\1" + level[at] + level[at + 1]) for at in range(0, len(level) - 1, 2)]
        level = above + level[len(level) // 2 * 2 :]
    return level[0]


# -- sections 6 and 7: notes and keys


@dataclass(frozen=True)
class PublicKey:
    origin: str
    id: bytes
    data: bytes
    text: str


def parse_vkey(text: str) -> PublicKey:
    match = re.fullmatch(r"([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]{44})", text)
    if not match:
        raise ValueError("no vkey")
    data = from_base64(match[3])
    id_ = sha(match[1].encode() + b"\n" + data)[:4]
    if data[:1] != b"\1" or len(data) != 33 or id_.hex() != match[2]:
        raise ValueError("no vkey of Ed25519")
    return PublicKey(match[1], id_, data[1:], text)


def open_note(note: str, key: PublicKey) -> list[str]:
    """The lines of a note's text; ValueError: this key has not signed it."""
    text, blank, signature = note.rpartition("\n\n")
    prefix = f"\u2014 {key.origin} "
    if not blank or not signature.startswith(prefix) or not signature.endswith("\n") or signature.count("\n") != 1:
        raise ValueError("no note of this log")
    data = from_base64(signature[len(prefix) : -1])
    if data[:4] != key.id:
        raise ValueError("signed by another key")
    try:
        Ed25519PublicKey.from_public_bytes(key.data).verify(data[4:], text.encode() + b"\n")
    except InvalidSignature:
        raise ValueError("a wrong signature") from None
    return text.split("\n")


def from_base64(text: str) -> bytes:
    """ValueError: not the one form in which these bytes are written."""
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError("not canonical")
    return data


def parse_checkpoint(lines: list[str]) -> tuple[str, int, bytes]:
    if len(lines) != 3 or not re.fullmatch("0|[1-9][0-9]*", lines[1]):
        raise ValueError("no checkpoint")
    return lines[0], int(lines[1]), from_base64(lines[2])


# -- section 3: events


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def sealed_arguments(text: str | None) -> str | None:
    if text is None or '"$text":' not in text:
        return text
    return compact(without_text(json.loads(text)))


def without_text(value: Any) -> Any:
    if isinstance(value, list):
        return [without_text(item) for item in value]
    if isinstance(value, dict):
        first = next(iter(value), None)
        return {k: without_text(v) for k, v in value.items() if not (first == "$length" and k == "$text")}
    return value


def sized(text: str | None) -> bytes:
    if text is None:
        return struct.pack("<I", NULL)
    return struct.pack("<I", len(text.encode())) + text.encode()


def hash_frame(caller: bytes, line: int, file: str | None, function: str | None) -> bytes:
    return sha(caller + struct.pack("<I", line) + sized(file) + sized(function))


def hash_event(event: Row, stack: bytes) -> bytes:
    notes = ",".join(event["notes"]) if event["notes"] else None
    texts = [
        event["event"],
        event["source"],
        sealed_arguments(event["args"]),
        event["thread"],
        event["context"],
        notes,
    ]
    data = struct.pack("<q", event["time_ns"])
    data += struct.pack("<Q", event["number"] % 2**64)
    data += struct.pack("<4I", event["slot"], event["tid"], event["interpreter"], 1)
    for text in texts:
        data += struct.pack("<I", NULL if text is None else len(text.encode()))
    data += stack
    for text in texts:
        data += (text or "").encode()
    return sha(b"\0" + data)


# -- section 4: segments


def hash_columns(columns: Row) -> str:
    said = {name: value for name, value in sorted(columns.items()) if value is not None}
    return sha(compact(said).encode()).hex()


def hash_row(row: Row) -> str:
    return hash_columns({name: value for name, value in row.items() if name not in NOT_IN_ROW})


def hash_identity(row: Row) -> str:
    return hash_columns({name: row[name] for name in IDENTITY})


def key_of(record: Row) -> Key:
    return record["process"], record["sequence"], record["uid"]


class LiveSegment(stranger.Segment):
    """A segment of the journal with texts as the archive has them."""

    def arguments(self, text: bytes) -> Any:
        found = stranger.parse(text) if text else []
        return text.decode() if isinstance(found, list) and found else None

    def context(self, string: int, trace: bytes, span: bytes) -> Any:
        found = super().context(string, trace, span)
        return compact(found) if found else None

    def stack(self, number: int) -> Any:
        frames = []
        while number in self.nodes:
            _, node = self.nodes[number]
            names: tuple[str | None, str | None] = None, None
            if self.u32(node + 8) in self.codes:
                _, code = self.codes[self.u32(node + 8)]
                names = self.string(self.u32(code + 4)), self.string(self.u32(code + 8))
            frames.append((self.u32(node + 12), *names))
            parent = self.u32(node + 4)
            number = parent if parent < number else 0
        found = bytes(32)
        for line, file, function in reversed(frames):
            found = hash_frame(found, line, file, function)
        return found
