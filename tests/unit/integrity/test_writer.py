"""The log as its writers leave it: several of them, epochs, and what somebody changed in between."""

import gzip
from pathlib import Path

import pytest

from pythonaudit.errors import FormatError, StoreError
from pythonaudit.integrity import log as logs
from pythonaudit.integrity import notes
from pythonaudit.integrity.log import Log, parse_record
from pythonaudit.integrity.writer import Writer

ORIGIN = "pythonaudit/web-1/1f0a7c3e"
NOTHING: dict[str, object] = {"batches": [], "segments": 0}


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    writer = Writer(tmp_path)
    writer.begin(ORIGIN, "0", NOTHING)
    return writer


def kinds(directory: Path) -> list[str]:
    return [parse_record(line)["record"] for line in Log(directory).lines()]


def checkpoint(writer: Writer, directory: Path) -> int:
    """The size that the newest checkpoint covers, which the key of the epoch has signed."""
    note = Log(directory).read_checkpoint()
    assert note and writer.state.public
    return notes.parse_checkpoint(writer.state.public.open(note), ORIGIN)[0]


def test_a_log_begins_with_a_key(writer: Writer, tmp_path: Path) -> None:
    assert kinds(tmp_path) == ["begin", "key", "found"]
    assert checkpoint(writer, tmp_path) == 3
    assert [path.name for path in (tmp_path / "keys" / "private").iterdir()] == ["0"]
    assert (tmp_path / "keys" / "private" / "0").stat().st_mode & 0o777 == 0o600
    with pytest.raises(StoreError, match="sealed already"):
        Writer(tmp_path).begin(ORIGIN, "0", NOTHING)


def test_writers_take_turns(writer: Writer, tmp_path: Path) -> None:
    other = Writer(tmp_path)
    for one in (other, writer, other):
        with one.lock():
            one.append("quiet")
            one.checkpoint()
    assert kinds(tmp_path)[3:] == ["quiet"] * 3
    assert other.state.tree.root() == Writer(tmp_path).state.tree.root() or checkpoint(other, tmp_path) == 6


def test_files_follow_each_other(writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pythonaudit.integrity.writer.FILE_BYTES", 1000)
    for _ in range(40):
        with writer.lock():
            writer.append("quiet")
            writer.checkpoint()
    paths = [path for _, path in Log(tmp_path).files()]
    assert len(paths) > 2
    assert [path.suffix for path in paths] == [".gz"] * (len(paths) - 1) + [".jsonl"]
    with Writer(tmp_path).lock() as state:
        assert state.tree.size == 43
    assert len(kinds(tmp_path)) == 43


def test_another_writer_comes_late(writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pythonaudit.integrity.writer.FILE_BYTES", 1000)
    other = Writer(tmp_path)
    with other.lock():
        other.append("quiet")
        other.checkpoint()
    for _ in range(40):
        with writer.lock():
            writer.append("quiet")
            writer.checkpoint()
    with other.lock() as state:
        assert state.tree.root() == writer.state.tree.root()


def test_a_file_that_is_there_both_ways(writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pythonaudit.integrity.writer.FILE_BYTES", 1000)
    for _ in range(40):
        with writer.lock():
            writer.append("quiet")
            writer.checkpoint()
    first = tmp_path / "seal" / "0000000000000000.jsonl.gz"
    first.with_suffix("").write_bytes(gzip.decompress(first.read_bytes()))
    assert len(kinds(tmp_path)) == 43
    with Writer(tmp_path).lock():
        assert not first.with_suffix("").exists()
    assert len(kinds(tmp_path)) == 43
    first.write_bytes(first.read_bytes()[:-20])
    with pytest.raises(FormatError):
        kinds(tmp_path)


def test_an_epoch_ends_and_its_key_is_gone(writer: Writer, tmp_path: Path) -> None:
    first = writer.state.public
    with writer.lock():
        writer.rotate()
        writer.checkpoint()
    assert kinds(tmp_path)[3:] == ["key", "closed"]
    closed = parse_record(list(Log(tmp_path).lines())[4])
    assert first and notes.parse_checkpoint(first.open(closed["note"]), ORIGIN)[0] == 4
    assert [path.name for path in (tmp_path / "keys" / "private").iterdir()] == ["1"]
    assert checkpoint(writer, tmp_path) == 5


def test_epochs_end_with_time(tmp_path: Path) -> None:
    writer = Writer(tmp_path, epoch_seconds=0)
    writer.begin(ORIGIN, "0", NOTHING)
    with writer.lock() as state:
        writer.checkpoint()
        assert state.epoch == 2


@pytest.mark.parametrize("step", ["key", "signed", "destroyed"])
def test_an_epoch_whose_end_was_interrupted(
    writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    class KilledError(Exception):
        pass

    def killed(*_: object, **__: object) -> None:
        raise KilledError

    if step == "key":
        monkeypatch.setattr(writer, "_sign", killed)
    elif step == "signed":
        monkeypatch.setattr(writer.keys, "destroy", killed)
    else:
        append = writer.append
        monkeypatch.setattr(
            writer, "append", lambda kind, **more: (killed if kind == "closed" else append)(kind, **more)
        )
    with pytest.raises(KilledError), writer.lock():
        writer.rotate()
    later = Writer(tmp_path)
    with later.lock():
        later.append("quiet")
        later.checkpoint()
    assert kinds(tmp_path)[3:] == ["key", "closed", "quiet"]
    assert [path.name for path in (tmp_path / "keys" / "private").iterdir()] == ["1"]
    assert checkpoint(later, tmp_path) == 6


def test_a_line_cut_short_is_nothing(writer: Writer, tmp_path: Path) -> None:
    [(_, path)] = Log(tmp_path).files()
    with path.open("ab") as file:
        file.write(b'{"record":"qui')
    with writer.lock():
        writer.append("quiet")
        writer.checkpoint()
    assert kinds(tmp_path)[3:] == ["quiet"]


@pytest.mark.parametrize("change", ["changed", "cut", "gone"])
def test_a_log_that_is_not_what_was_signed_is_not_gone_on_with(
    writer: Writer, tmp_path: Path, change: str
) -> None:
    [(_, path)] = Log(tmp_path).files()
    lines = path.read_bytes().splitlines(keepends=True)
    if change == "changed":
        lines[2] = lines[2].replace(b'"segments":0', b'"segments":1')
    elif change == "cut":
        lines.pop()
    path.write_bytes(b"".join(lines))
    if change == "gone":
        path.unlink()
    with pytest.raises(StoreError), Writer(tmp_path).lock():
        pass


def test_a_lost_key_is_replaced_only_when_asked(writer: Writer, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="the key of this epoch is there"):
        writer.begin_again()
    (tmp_path / "keys" / "private" / "0").unlink()
    later = Writer(tmp_path)
    with pytest.raises(StoreError, match="is not there"), later.lock():
        later.append("quiet")
        later.checkpoint()
    later.begin_again()
    with later.lock():
        later.append("quiet")
        later.checkpoint()
    assert kinds(tmp_path)[3:] == ["quiet", "key", "quiet"]
    assert checkpoint(later, tmp_path) == 6


@pytest.mark.parametrize("lost", [{"0", "1"}, {"0"}, {"1"}], ids=["both", "first", "second"])
def test_keys_are_lost_while_an_epoch_ends(
    writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: set[str]
) -> None:
    """The machine dies between the record of a key and the last checkpoint of the one before; keys were in memory."""
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError), writer.lock():
        patched.setattr(writer, "_sign", lambda _: 1 / 0)
        writer.rotate()
    for name in lost:
        (tmp_path / "keys" / "private" / name).unlink()
    later = Writer(tmp_path)
    with pytest.raises(StoreError) as caught, later.lock():
        later.append("quiet")
        later.checkpoint()
    assert "keys init --again" in str(caught.value.hint)
    later.begin_again()
    for one in (later, Writer(tmp_path)):
        with one.lock():
            one.append("quiet")
            one.checkpoint()
    ended = ["closed"] if "0" not in lost else []
    assert [kind for kind in kinds(tmp_path) if kind != "quiet"][3:] == ["key", *ended, "key"]
    with Writer(tmp_path).lock() as state:
        assert (state.epoch, state.closing) == (2, None)
    with later.lock():
        later.rotate()
        later.checkpoint()
    assert kinds(tmp_path)[-2:] == ["key", "closed"]


def test_a_key_that_others_can_read_is_refused(writer: Writer, tmp_path: Path) -> None:
    (tmp_path / "keys" / "private" / "0").chmod(0o640)
    later = Writer(tmp_path)
    with pytest.raises(StoreError, match="others may read"), later.lock():
        later.checkpoint()


def test_where_nothing_is_sealed(tmp_path: Path) -> None:
    assert not Log(tmp_path).exists
    with pytest.raises(StoreError, match="nothing is sealed"), Writer(tmp_path).lock():
        pass


def test_files_are_large() -> None:
    assert logs.FILE_BYTES >= 1 << 20
