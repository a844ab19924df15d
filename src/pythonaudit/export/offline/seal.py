"""The tree of RFC 6962, and signed notes, which the program `openssl` verifies.

Part of verify.py (`offline`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import subprocess
import tempfile
from typing import Any

from pythonaudit.export.offline.files import CannotError, WrongError

_VKEY = re.compile(r"([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


def hash_leaf(leaf: bytes) -> bytes:
    """The hash of a leaf."""
    return hashlib.sha256(b"\0" + leaf).digest()


def root_of(leaf: bytes, index: Any, size: Any, path: Any) -> bytes | None:
    """The root that an inclusion proof leads to (RFC 9162, section 2.1.3.2); None: it is no proof."""
    if type(index) is not int or type(size) is not int or not 0 <= index < size or type(path) is not list:
        return None
    last = size - 1
    for text in path:
        other = digest(text)
        if not last or other is None:
            return None
        if index & 1 or index == last:
            leaf = hashlib.sha256(b"\1" + other + leaf).digest()
            while not index & 1 and index:
                index >>= 1
                last >>= 1
        else:
            leaf = hashlib.sha256(b"\1" + leaf + other).digest()
        index >>= 1
        last >>= 1
    return None if last else leaf


def digest(text: Any) -> bytes | None:
    """A hash from its hexadecimal digits; None: it is none."""
    try:
        data = bytes.fromhex(text)
    except (TypeError, ValueError):
        return None
    return data if len(data) == 32 and data.hex() == text else None


class Key:
    """A public key of Ed25519 with the name of its log, from what signed-note calls a vkey."""

    def __init__(self, place: str, text: str) -> None:
        match = _VKEY.fullmatch(text)
        data = decode(match.group(3)) if match else b""
        if match is None or data[:1] != b"\1" or len(data) != 33:
            raise WrongError(place, "no public key of Ed25519: it looks like NAME+8 hexadecimal digits+base64")
        self.text, self.origin, self.data = text, match.group(1), data[1:]
        self.id = hashlib.sha256(self.origin.encode() + b"\n" + data).digest()[:4]
        if self.id.hex() != match.group(2):
            raise WrongError(place, "a public key with a mistake in it")


def decode(text: str) -> bytes:
    """Bytes of base64; none where it is not."""
    try:
        data = base64.b64decode(text.encode(), validate=True)
    except (binascii.Error, ValueError):
        return b""
    return data if base64.b64encode(data).decode() == text else b""


class Note:
    """A text with one signature."""

    def __init__(self, place: str, note: Any) -> None:
        text, blank, signatures = note.rpartition("\n\n") if isinstance(note, str) else ("", "", "")
        lines = signatures.split("\n")
        if not blank or len(lines) != 2 or lines[1] or not lines[0].startswith("\u2014 "):
            raise WrongError(place, "no note with one signature")
        self.place, self.text = place, text + "\n"
        self.name, _, signature = lines[0][2:].rpartition(" ")
        self._data = decode(signature)

    def signed(self, key: Key) -> tuple[str, bytes, bytes, bytes]:
        """What is still to be verified, if this key can have signed it: place, key, text, signature."""
        if self.name != key.origin or self._data[:4] != key.id or len(self._data) != 68:
            raise WrongError(self.place, f"not signed by {key.text!a}")
        return self.place, key.data, self.text.encode(), self._data[4:]

    def checkpoint(self) -> tuple[str, int, bytes]:
        """Origin, number of records and root."""
        lines = self.text.split("\n")
        root = decode(lines[2]) if len(lines) == 4 else b""
        if len(root) != 32 or not _NUMBER.fullmatch(lines[1]) or lines[3]:
            raise WrongError(self.place, "no checkpoint")
        return lines[0], int(lines[1]), root

    def key(self) -> tuple[int, Key]:
        """Epoch and key that the note introduces."""
        lines = self.text.split("\n")
        if len(lines) != 4 or not re.fullmatch("key (0|[1-9][0-9]{0,18})", lines[1]) or lines[3]:
            raise WrongError(self.place, "no note of a key")
        key = Key(self.place, lines[2])
        if key.origin != lines[0]:
            raise WrongError(self.place, "a key of another log")
        return int(lines[1][4:]), key


class OpenSSL:
    """Verifies signatures with the program `openssl`."""

    # RFC 8032, section 7.1, test 2
    _KEY = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    _SIGNATURE = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    _SUBJECT_PUBLIC_KEY_INFO = bytes.fromhex("302a300506032b6570032100")  # RFC 8410: Ed25519, and 32 bytes follow

    def __init__(self, program: str) -> None:
        self._program = program
        try:
            done = subprocess.run([program, "version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        except OSError as error:
            reason = f"{program}: {error.strerror}"
            raise CannotError(
                "signatures need OpenSSL 3.0 or later; say where it is with --openssl; " + reason
            ) from None
        works = self(self._KEY, b"\x72", self._SIGNATURE) and not self(self._KEY, b"\x73", self._SIGNATURE)
        if not works:
            version = ascii(done.stdout.decode("ascii", "replace").strip())
            reason = f"{program} says {version}"
            raise CannotError("signatures need OpenSSL 3.0 or later; say where it is with --openssl; " + reason)

    def __call__(self, key: bytes, text: bytes, signature: bytes) -> bool:
        """Whether a signature is right."""
        with tempfile.TemporaryDirectory() as directory:
            names = [os.path.join(directory, name) for name in ("key", "text", "signature")]
            for name, data in zip(names, (self._SUBJECT_PUBLIC_KEY_INFO + key, text, signature)):
                with open(name, "wb") as file:
                    file.write(data)
            command = [
                self._program,
                "pkeyutl",
                "-verify",
                "-pubin",
                "-keyform",
                "DER",
                "-inkey",
                names[0],
                "-rawin",
            ]
            command += ["-in", names[1], "-sigfile", names[2]]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
        return done.returncode == 0
