"""Notes and checkpoints, against the examples of C2SP and against what a forger would try."""

import pytest

from pythonaudit.errors import FormatError
from pythonaudit.integrity import notes

ORIGIN = "pythonaudit/web-1/1f0a7c3e"
KEY = notes.PrivateKey(ORIGIN, bytes(range(32)))
TEXT = notes.build_checkpoint(ORIGIN, 4711, bytes(32))

#: golang.org/x/mod/sumdb/note's documentation.
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n\n"
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def test_a_note_of_the_reference_implementation() -> None:
    assert notes.parse_vkey(GO_VKEY).open(GO_NOTE) == GO_NOTE.rpartition("\n\n")[0] + "\n"
    with pytest.raises(FormatError, match="is not right"):
        notes.parse_vkey(GO_VKEY).open(GO_NOTE.replace("answer", "question"))


def test_what_was_signed_comes_back() -> None:
    note = KEY.sign(TEXT)
    assert notes.parse_checkpoint(KEY.public.open(note), ORIGIN) == (4711, bytes(32))
    assert notes.parse_vkey(KEY.public.vkey) == KEY.public


@pytest.mark.parametrize("at", range(len(KEY.sign(TEXT))))
def test_every_character_counts(at: int) -> None:
    note = KEY.sign(TEXT)
    changed = note[:at] + ("A" if note[at] != "A" else "B") + note[at + 1 :]
    with pytest.raises(FormatError):
        KEY.public.open(changed)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x\n",
        "x\n\n",
        "x\n\nno signature\n",
        "x\n\n\u2014 name\n",
        "\x00\n\n\u2014 name AA==\n",
        "x\n\n\u2014 name AA==",
    ],
)
def test_what_is_no_note(text: str) -> None:
    with pytest.raises(FormatError):
        KEY.public.open(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"{ORIGIN}\n4711\n",
        f"{ORIGIN}\n04711\n{notes.encode(bytes(32))}\n",
        f"{ORIGIN}\n-1\n{notes.encode(bytes(32))}\n",
        f"{ORIGIN}\n1\n{notes.encode(bytes(31))}\n",
        f"{ORIGIN}\n1\n{notes.encode(bytes(32))}",
        f"other\n1\n{notes.encode(bytes(32))}\n",
    ],
)
def test_what_is_no_checkpoint(text: str) -> None:
    with pytest.raises(FormatError):
        notes.parse_checkpoint(text, ORIGIN)


@pytest.mark.parametrize("text", ["", "name", "name+0+AA==", GO_VKEY[:-4], GO_VKEY.replace("c74f", "c74e")])
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(FormatError, match="no public key"):
        notes.parse_vkey(text)


def test_a_note_of_a_key() -> None:
    assert notes.parse_key(notes.build_key(KEY.public, 3)) == (3, KEY.public)
    with pytest.raises(FormatError):
        notes.parse_key(notes.build_key(KEY.public, 3).replace(ORIGIN, "other", 1))
