"""What is made of names and arguments of a whole segment, beside what is made of them one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pythonaudit.archive.columns import build_events
from pythonaudit.archive.typed import describe
from pythonaudit.journal import layout
from pythonaudit.journal.decode import SegmentDecoder
from pythonaudit.journal.reader import Journal
from tests.journal_writer import SegmentWriter

_SOUND = [
    *(b"[]", b'["/etc/passwd","r",524288]', b'["/a","w",null]', b'[3,"r",0]', b'["\xc3\xa4 \\" \\u00e4",1]'),
    *(
        b'[{"order":7,"amount":12.5}]',
        b"[{}]",
        b'[{"$bytes":"/b"},"rb",0]',
        b'[{"$type":"socket"},["10.0.0.7",5432]]',
    ),
    *(b'[{"a":1},2]', b'[["/x","/y"]]', b"[[[[[[1]]]]]]"),
]
# Each nothing by itself, and together with its neighbour an array.
_UNSOUND = [
    b"",
    b"[1",
    b"2]",
    b"[1],[2]",
    b"{}",
    b'"x"',
    b'["',
    b'"]',
    b"[" * 40 + b"]" * 40,
    b"[\xff]",
    b'[1,"',
    b"][",
]
_NAMES = [
    "open",
    "os.rename",
    "socket.connect",
    "import",
    "shop.order.paid",
    "login: user=a, id=7",
    "nothing here",
]


def _load(directory: Path, args: list[bytes], inline: bool) -> tuple[Journal, SegmentDecoder]:
    writer = SegmentWriter()
    thread = writer.thread()
    for name in _NAMES:
        for text in args:
            thread.event(name, text, source=layout.SOURCE_APPLICATION, inline=inline)
    writer.save(directory)
    journal = Journal(directory)
    decoder = journal.load(journal.heads()[0])
    assert decoder is not None
    return journal, decoder


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("args", [_SOUND, _UNSOUND, [*_SOUND, *_UNSOUND], [*_UNSOUND, *_UNSOUND[::-1]]])
def test_as_one_by_one(tmp_path: Path, args: list[bytes], inline: bool) -> None:
    journal, decoder = _load(tmp_path, args, inline)
    rows = build_events(decoder, None, "batch").to_pylist()
    events = list(journal.events())
    assert len(rows) == len(events) == len(args) * len(_NAMES)
    for row, event in zip(rows, events, strict=True):
        values = event.values
        assert row["args"] == (event.args.decode() if values else None)
        assert row["template"] == event.template
        if event.info is None:
            said = decoder.describe(event._name, event.args)[1].decode()
            assert row["fields"] == (said or None)
        else:
            assert row["fields"] is None
            typed = describe(event.event, values, event.process.python_version)
            assert {name: row[name] for name in typed._fields} == typed._asdict()


def test_what_is_no_array_is_told(tmp_path: Path) -> None:
    journal, decoder = _load(tmp_path, [*_SOUND, b"[1", b"2]"], False)
    build_events(decoder, None, "batch")
    assert {one.reason for one in journal.damage()} == {"arguments that are not a JSON array"}
    assert sorted(one.length for one in journal.damage()) == [2, 2]
