"""Signed notes and the checkpoints that are such (C2SP signed-note and tlog-checkpoint), and keys of Ed25519.

    key = PrivateKey.generate("pythonaudit/web-1/1f0a7c3e")
    note = key.sign(build_checkpoint(key.origin, 4711, root))
    size, root = parse_checkpoint(key.public.open(note), key.origin)

Home of `cryptography`.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pythonaudit.errors import FormatError

_ED25519 = b"\1"
_ID_BYTES, _HASH_BYTES, _KEY_BYTES = 4, 32, 32
_LINE = "\u2014 "
_NAME = re.compile(r"[^\s+]+")
_VKEY = re.compile(r"([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
NOTE_MAX_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Verifies what a private key signed.

    Attributes:
        origin: name of the log.
        data: 32 bytes.
    """

    origin: str
    data: bytes

    @property
    def id(self) -> bytes:
        """The 4 bytes that stand before its signatures."""
        return sha256(self.origin.encode() + b"\n" + _ED25519 + self.data).digest()[:_ID_BYTES]

    @property
    def vkey(self) -> str:
        """As text: what signed-note calls a verifier key."""
        return f"{self.origin}+{self.id.hex()}+{encode(_ED25519 + self.data)}"

    def open(self, note: str) -> str:
        """The text of a note that this key signed.

        Raises:
            FormatError: it is no note, or not signed by this key.
        """
        text, lines = split_note(note)
        for line in lines:
            name, _, signature = line.removeprefix(_LINE).rpartition(" ")
            data = decode(signature)
            if name != self.origin or data[:_ID_BYTES] != self.id:
                continue
            # Bits of base64 that mean nothing are not set.
            is_exact = encode(data) == signature
            if not is_exact or not self.verifies(text.encode(), data[_ID_BYTES:]):
                raise FormatError(f"a signature of {self.vkey} is not right")
            return text
        raise FormatError(f"not signed by {self.vkey}")

    def verifies(self, data: bytes, signature: bytes) -> bool:
        """Whether the private key signed this."""
        try:
            Ed25519PublicKey.from_public_bytes(self.data).verify(signature, data)
        except (InvalidSignature, ValueError):
            return False
        return True


class PrivateKey:
    """Signs notes.

    Args:
        origin: name of the log.
        data: 32 bytes.
    """

    def __init__(self, origin: str, data: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(data)
        self.data = data
        self.public = PublicKey(origin, self._key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, origin: str) -> PrivateKey:
        """A new one."""
        return cls(origin, Ed25519PrivateKey.generate().private_bytes_raw())

    def sign(self, text: str) -> str:
        """Makes a note of a text that ends with a line feed."""
        data = self.public.id + self._key.sign(text.encode())
        return f"{text}\n{_LINE}{self.public.origin} {encode(data)}\n"


def parse_vkey(text: str) -> PublicKey:
    """A public key from its text.

    Raises:
        FormatError: it is none.
    """
    match = _VKEY.fullmatch(text.strip())
    if match is None:
        raise FormatError("no public key: it looks like NAME+8 hexadecimal digits+base64")
    data = decode(match[3])
    key = PublicKey(match[1], data[1:])
    if data[:1] != _ED25519 or len(key.data) != _KEY_BYTES or key.id.hex() != match[2]:
        raise FormatError("no public key of Ed25519, or not all of it")
    return key


def split_note(note: str) -> tuple[str, list[str]]:
    """Text and lines of signatures of a note.

    Raises:
        FormatError: it is none.
    """
    text, blank, signatures = note.rpartition("\n\n")
    lines = signatures.split("\n")
    is_sound = blank and lines.pop() == "" and lines and all(line.startswith(_LINE) for line in lines)
    if not is_sound or len(note) > NOTE_MAX_BYTES or any(c < " " and c != "\n" for c in note):
        raise FormatError("no signed note")
    return text + "\n", lines


def build_checkpoint(origin: str, size: int, root: bytes) -> str:
    """The text of a checkpoint."""
    return f"{origin}\n{size}\n{encode(root)}\n"


def parse_checkpoint(text: str, origin: str) -> tuple[int, bytes]:
    """Size and root of a checkpoint's text.

    Raises:
        FormatError: it is none, or of another log.
    """
    lines = text.split("\n")
    if len(lines) < 4 or not _NUMBER.fullmatch(lines[1]) or not all(lines[:-1]) or lines[-1]:
        raise FormatError("no checkpoint")
    root = decode(lines[2])
    if len(root) != _HASH_BYTES or encode(root) != lines[2]:
        raise FormatError("no checkpoint: its root is no hash")
    if lines[0] != origin:
        raise FormatError(f"a checkpoint of another log, {lines[0]}")
    return int(lines[1]), root


def build_key(key: PublicKey, epoch: int) -> str:
    """The text of the note that introduces a key."""
    return f"{key.origin}\nkey {epoch}\n{key.vkey}\n"


def parse_key(text: str) -> tuple[int, PublicKey]:
    """Epoch and key that a note introduces.

    Raises:
        FormatError: it introduces none.
    """
    lines = text.split("\n")
    if len(lines) != 4 or not lines[1].startswith("key ") or not _NUMBER.fullmatch(lines[1][4:]):
        raise FormatError("no note of a key")
    key = parse_vkey(lines[2])
    if key.origin != lines[0] or key.vkey != lines[2]:
        raise FormatError("no note of a key: it is of another log")
    return int(lines[1][4:]), key


def is_origin(text: str) -> bool:
    """Whether a text can name a log."""
    return _NAME.fullmatch(text) is not None and text.isprintable()


def encode(data: bytes) -> str:
    """Bytes as base64."""
    return base64.b64encode(data).decode()


def decode(text: str) -> bytes:
    """Bytes of base64; none where it is not."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
