"""Bundles of evidence: what is in them, and that nothing of it can be changed unseen."""

from __future__ import annotations

import copy
import json
import random
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pythonaudit.errors import PythonAuditError, StoreError
from pythonaudit.export.offline.events import IN_THE_HASH, IN_THE_ROW, NOT_PROVEN
from pythonaudit.integrity import merkle, notes
from pythonaudit.integrity.log import Log
from pythonaudit.journal import layout
from pythonaudit.journal.filters import EventFilter
from tests import sealed
from tests.archives import archived_journal
from tests.sealed import Files, Verdict

#: One event of each kind: few enough to change everything of everything.
FEW = EventFilter(names=("User*", "compile", "line*", "shop*", "an.event", "at the end"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    directory = tmp_path_factory.mktemp("store")
    return directory, sealed.build_store(directory)


@pytest.fixture(scope="module")
def few(store: tuple[Path, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Files:
    path = tmp_path_factory.mktemp("few") / "evidence.zip"
    report = sealed.export(store[0], path, FEW)
    assert (report.events, report.segments, report.open, report.differing) == (24, 4, 0, 0)
    return sealed.unpack(path)


@pytest.fixture
def verdict(store: tuple[Path, list[str]], few: Files, tmp_path: Path) -> Callable[..., Verdict]:
    """What verify.py says of the small bundle with other files in it."""

    def verify(keys: list[str] | None = None, **changed: Any) -> Verdict:
        files = few | {name.replace("_", "."): content for name, content in changed.items()}
        return sealed.verify(sealed.pack(files, tmp_path / "bundle.zip"), store[1][:1] if keys is None else keys)

    return verify


def test_every_event_is_proven(store: tuple[Path, list[str]], tmp_path: Path) -> None:
    directory, keys = store
    report = sealed.export(directory, tmp_path / "all.zip")
    events = [event.to_json() for event in archived_journal(directory).events()]
    assert report.events == len(events) == 116
    files = sealed.unpack(tmp_path / "all.zip")
    assert files["events.jsonl"].splitlines() == events
    found = sealed.verify(tmp_path / "all.zip", keys[:1])
    assert found.problems == []
    shown = [{name: value for name, value in json.loads(e).items() if name not in NOT_PROVEN} for e in events]
    for event in shown:
        if event["event"] == "compile":
            assert event["args"][0].pop("$text") == 'print("é\\n")\n'
    assert found.proven == shown
    assert not any("$text" in json.dumps(event) for event in found.proven)


def test_the_same_events_give_the_same_bundle(store: tuple[Path, list[str]], tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.zip", "b.zip")]
    for path in paths:
        sealed.export(store[0], path, FEW)
        assert path.stat().st_mode & 0o777 == 0o600
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "b.zip"]


def test_compaction_changes_no_proof(tmp_path: Path) -> None:
    sealed.start_sealing(tmp_path)
    for process in (1, 2, 3):
        sealed.hostile(process).save(tmp_path)
        sealed.archive(tmp_path)
    sealed.export(tmp_path, tmp_path / "before.zip", FEW)
    sealed.put_together(tmp_path)
    sealed.export(tmp_path, tmp_path / "after.zip", FEW)
    before, after = (sealed.unpack(tmp_path / name) for name in ("before.zip", "after.zip"))
    assert before["events.jsonl"] == after["events.jsonl"]
    assert [line["index"] for line in sealed.lines(before["proofs.jsonl"])] == [
        line["index"] for line in sealed.lines(after["proofs.jsonl"])
    ]
    assert before["segments.jsonl"] == after["segments.jsonl"]


def test_what_is_not_sealed_is_left_out_and_counted(tmp_path: Path) -> None:
    sealed.hostile(1).save(tmp_path)
    with pytest.raises(StoreError, match="nothing is sealed"):
        sealed.export(tmp_path, tmp_path / "e.zip")
    from tests.archives import move

    move(tmp_path)
    key = sealed.start_sealing(tmp_path)
    with pytest.raises(PythonAuditError, match="no event that matches is sealed") as caught:
        sealed.export(tmp_path, tmp_path / "e.zip")
    assert caught.value.hint == "those that match were archived before sealing began"
    assert not list(tmp_path.glob("e.zip*"))
    sealed.hostile(2).save(tmp_path)
    sealed.archive(tmp_path)
    sealed.hostile(3).save(tmp_path, state=layout.STATE_OPEN)
    report = sealed.export(tmp_path, tmp_path / "e.zip")
    assert (report.events, report.earlier, report.open, report.differing) == (29, 29, 29, 0)
    sealed.seal_open(tmp_path)  # sealed, but it has not ended
    report = sealed.export(tmp_path, tmp_path / "e.zip")
    assert (report.events, report.open) == (29, 29)
    assert sealed.verify(tmp_path / "e.zip", [key]).problems == []
    about = json.loads(sealed.unpack(tmp_path / "e.zip")["bundle.json"])
    assert about["left_out"] == {"open": 29, "earlier": 29, "differing": 0}


def test_a_changed_archive_gives_no_evidence(tmp_path: Path) -> None:
    """Whoever can write to the archive cannot have made up events proven."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    sealed.start_sealing(tmp_path)
    sealed.hostile(1).save(tmp_path)
    sealed.hostile(2).save(tmp_path)
    sealed.archive(tmp_path, batch_bytes=1)
    path = sorted((tmp_path / "archive" / "events").rglob("*.parquet"))[0]
    table = pq.read_table(path, partitioning=None)
    changed = pc.replace_substring(table["args"], "/etc/passwd", "/etc/shadow")
    at = table.schema.get_field_index("args")
    pq.write_table(table.set_column(at, "args", pa.chunked_array(changed.chunks)), path)
    report = sealed.export(tmp_path, tmp_path / "e.zip")
    assert (report.events, report.differing) == (29, 29)


# -- what somebody changes


def leaves_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where every value within a value is."""
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves_of(inner, (*path, key))


def other(value: Any) -> Iterator[Any]:
    """Values that are not this one."""
    if isinstance(value, bool):
        yield from (not value, int(value))
    elif isinstance(value, int):
        yield from (value + 1, -value - 1, float(value), str(value))
    elif isinstance(value, str):
        yield from (value + "x", value[:-1] if value else "y", None)
    elif isinstance(value, list):
        yield from ([*value, value[-1] if value else 0], value[1:] if value else {}, {})
    elif isinstance(value, dict):
        yield from (value | {"x": 1}, dict(list(value.items())[1:]) if value else [])
    else:
        yield from (0, "")


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy with another value at a place."""
    if not path:
        return new
    copied = copy.copy(value)
    copied[path[0]] = put(value[path[0]], path[1:], new)
    return copied


def test_every_value_of_every_event(few: Files, verdict: Callable[..., Verdict]) -> None:
    lines, seen = few["events.jsonl"].splitlines(), set()
    for number, line in enumerate(lines[:6]):
        event = json.loads(line)
        for path in leaves_of(event):
            if not path:
                continue
            found: Any = event
            for key in path:
                found = found[key]
            if path[0] == "args" and "$text" in path:
                continue
            for new in other(found):
                changed = put(event, path, new)
                if changed == event and json.dumps(changed) == json.dumps(event):
                    continue
                content = sealed.write_lines([changed])[:-1]
                result = verdict(events_jsonl=b"\n".join([*lines[:number], content, *lines[number + 1 :], b""]))
                is_proven = path[0] not in NOT_PROVEN
                assert bool(result.problems) == is_proven, (path, new)
                if is_proven:
                    assert result.problems[0].startswith(f"events.jsonl, line {number + 1}: "), result.problems
                seen.add(path[0])
        for name in event:
            without = {key: value for key, value in event.items() if key != name}
            content = sealed.write_lines([without])[:-1]
            result = verdict(events_jsonl=b"\n".join([*lines[:number], content, *lines[number + 1 :], b""]))
            assert bool(result.problems) == (name not in NOT_PROVEN), name
    assert seen >= {*IN_THE_HASH, *IN_THE_ROW, *NOT_PROVEN} - {"run", "package"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'{"time"', b'{"event":"forged","time"'),
        (b'{"time"', b'{ "time"'),
        (b'"user":"root"}', b'"user":"root","pid":1}'),
        (b'"user":"root"', b'"user":"root","colour":"red"'),
        (b'"pid":123', b'"pid":123.0'),
        (b'"pid":123', b'"pid":1.23e2'),
        (b'{"file"', b'{"file":"forged","file"'),
        (b'"slot"', b'"slot"'),
        (b"Z", b"z"),
        (b'"tid":101', '"tid":１０１'.encode()),
        (b'"args":[{', b'"args":[ {'),
        (b"}\n", b"}\r\n"),
        (b"}\n", b"}}\n"),
    ],
)
def test_what_others_could_read_in_two_ways(
    few: Files, verdict: Callable[..., Verdict], old: bytes, new: bytes
) -> None:
    content = few["events.jsonl"].replace(old, new, 1)
    changed = content != few["events.jsonl"]
    assert bool(verdict(events_jsonl=content).problems) == changed


def test_events_come_and_go(few: Files, verdict: Callable[..., Verdict]) -> None:
    events, proofs = few["events.jsonl"].splitlines(True), few["proofs.jsonl"].splitlines(True)

    def found(which: list[int], other: list[int] | None = None, count: int | None = None) -> list[str]:
        said = len(events) if count is None else count
        about = json.dumps(json.loads(few["bundle.json"]) | {"events": said}).encode()
        files = {
            "events_jsonl": b"".join(events[at] for at in which),
            "proofs_jsonl": b"".join(proofs[at] for at in (which if other is None else other)),
        }
        return verdict(bundle_json=about, **files).problems

    every = list(range(len(events)))
    assert found(every) == []
    fewer = every[:5] + every[6:]
    assert found(fewer) == ["events.jsonl: bundle.json says that there are 24 events, not 23"]
    assert found(fewer, count=23) == []  # it is a selection
    assert found(fewer, every) == [
        *(f"events.jsonl, line {at + 1}: the proof in the same line is of another event" for at in every[5:-1]),
        "events.jsonl, line 24: is not there",
    ]
    assert found([*every, 3], count=25) == ["events.jsonl, line 25: is there twice"]
    assert len(found([1, 0, *every[2:]], every)) == 2
    assert found(list(reversed(every))) == []


def test_proofs_are_of_one_event(few: Files, verdict: Callable[..., Verdict]) -> None:
    proofs = sealed.lines(few["proofs.jsonl"])
    for number, proof in enumerate(proofs):
        following = proofs[(number + 1) % len(proofs)]
        for name in ("record", "index", "path"):
            if proof[name] == following[name]:
                continue
            changed = [*proofs[:number], proof | {name: following[name]}, *proofs[number + 1 :]]
            [problem] = verdict(proofs_jsonl=sealed.write_lines(changed)).problems
            assert problem.startswith(f"events.jsonl, line {number + 1}: "), problem
    at = next(
        at for at, event in enumerate(sealed.lines(few["events.jsonl"])) if {"stack", "context"} <= event.keys()
    )
    odd: list[dict[str, Any]] = [{"args": "[]"}, {"context": "{}"}, {"unknown": [0]}, {"record": "4"}, {"path": 7}]
    for more in (*odd, {"index": None}, {"index": True}, {"id": "x"}, {"record": []}):
        changed = [*proofs[:at], proofs[at] | more, *proofs[at + 1 :]]
        [problem] = verdict(proofs_jsonl=sealed.write_lines(changed)).problems
        assert problem.startswith(f"events.jsonl, line {at + 1}: "), problem


def test_every_record_and_path(few: Files, verdict: Callable[..., Verdict]) -> None:
    records = sealed.lines(few["log.jsonl"])
    for number, said in enumerate(records):
        for path in leaves_of(json.loads(said["line"])):
            record = json.loads(said["line"])
            found: Any = record
            for key in path:
                found = found[key]
            line = json.dumps(put(record, path, next(other(found))), ensure_ascii=False, separators=(",", ":"))
            changed = [*records[:number], said | {"line": line}, *records[number + 1 :]]
            assert (
                verdict(log_jsonl=sealed.write_lines(changed))
                .problems[0]
                .startswith(f"log.jsonl, line {number + 1}: ")
            )
        for name in ("number", "path", "closed"):
            if name in said:
                changed = [*records[:number], said | {name: next(other(said[name]))}, *records[number + 1 :]]
                assert verdict(log_jsonl=sealed.write_lines(changed)).problems
        without = sealed.write_lines([*records[:number], *records[number + 1 :]])
        assert verdict(log_jsonl=without).problems, said
        assert verdict(log_jsonl=sealed.write_lines([*records, said])).problems, said
    for number, row in enumerate(sealed.lines(few["segments.jsonl"])):
        for name, value in row.items():
            changed = sealed.lines(few["segments.jsonl"])
            changed[number] = row | {name: next(other(value))}
            problems = verdict(segments_jsonl=sealed.write_lines(changed)).problems
            assert problems == [
                f"segments.jsonl, line {number + 1}: no record of the log has the hash of this segment"
            ]
    assert verdict(segments_jsonl=b"").problems


def test_every_byte_of_the_checkpoint(few: Files, verdict: Callable[..., Verdict]) -> None:
    for at in range(len(few["checkpoint"])):
        changed = bytearray(few["checkpoint"])
        changed[at] ^= 1
        assert verdict(checkpoint=bytes(changed)).problems, at


def test_random_changes_prove_nothing_new(few: Files, verdict: Callable[..., Verdict]) -> None:
    """No change of a few bytes anywhere makes verify.py fail otherwise than by saying no, or show other events."""
    known = [json.dumps(event) for event in verdict().proven]
    rng = random.Random("evidence")
    accepted = 0
    for _ in range(700):
        name = rng.choice(
            ["bundle.json", "checkpoint", "log.jsonl", "segments.jsonl", "events.jsonl", "proofs.jsonl"]
        )
        content = bytearray(few[name])
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(content))
            if rng.random() < 0.5:
                content[at] = rng.randrange(256)
            else:
                content[at : at + rng.randint(0, 3)] = rng.choice(
                    [b"", b"0", b"null", b'"', b"[", b"{}", b"\n", b"-"]
                )
        result = verdict(**{name.replace(".", "_"): bytes(content)})
        accepted += not result.problems
        assert set(map(json.dumps, result.proven)) <= set(known)
    assert accepted < 280  # those that hit what is not proven, such as fields


@pytest.mark.parametrize(
    "name", ["bundle.json", "checkpoint", "log.jsonl", "segments.jsonl", "events.jsonl", "proofs.jsonl"]
)
def test_missing_and_empty_files(few: Files, tmp_path: Path, name: str) -> None:
    files = {key: value for key, value in few.items() if key != name}
    assert sealed.verify(sealed.pack(files, tmp_path / "a.zip")).problems == [f"{name}: is not there"]
    for content in (b"", b"{}\n", b"[]\n", b"null\n", b"\xff\n", b"[" * 100_000 + b"\n", few[name].rstrip(b"\n")):
        if name == "bundle.json" and content == few[name].rstrip(b"\n"):
            continue
        assert sealed.verify(sealed.pack(files | {name: content}, tmp_path / "b.zip")).problems


# -- who may vouch


def test_each_key_vouches_for_what_follows(store: tuple[Path, list[str]], verdict: Callable[..., Verdict]) -> None:
    keys = store[1]
    first, second, third = (verdict([key]) for key in keys)
    assert first.problems == second.problems == third.problems == []
    assert not any("older" in line for line in first.lines)
    assert [line[:45] for line in second.lines + third.lines if "older" in line] == [
        "older than the key that was given: 2 records,",
        "older than the key that was given: 3 records,",
    ]
    nobody = verdict([])
    assert nobody.problems == [] and f"first key of the log: {keys[0]}" in nobody.lines
    stranger = notes.PrivateKey.generate(sealed.ORIGIN).public.vkey
    assert verdict([stranger]).problems == [f"log.jsonl: '{stranger}' is no key of this log"]
    assert verdict([keys[0], stranger]).problems
    mistaken = keys[0][:-2] + ("A=" if keys[0][-2] != "A" else "B=")
    assert verdict([mistaken]).problems[0].startswith("--key: ")


def test_a_lost_key_begins_a_chain_of_its_own(tmp_path: Path) -> None:
    from pythonaudit.integrity.writer import Writer

    first = sealed.start_sealing(tmp_path)
    sealed.hostile(1).save(tmp_path)
    sealed.archive(tmp_path)
    (tmp_path / "keys" / "private" / "0").unlink()
    writer = Writer(tmp_path)
    writer.begin_again()
    assert writer.state.public
    second = writer.state.public.vkey
    sealed.hostile(2).save(tmp_path)
    sealed.archive(tmp_path)
    sealed.export(tmp_path, tmp_path / "e.zip", FEW)
    assert sealed.verify(tmp_path / "e.zip", [first, second]).problems == []
    refused = sealed.verify(tmp_path / "e.zip", [first]).problems
    assert refused and all("vouch for neither" in problem for problem in refused)
    assert sealed.verify(tmp_path / "e.zip", [second]).problems == []
    assert sealed.verify(tmp_path / "e.zip", []).problems == []


def test_a_log_made_up_needs_another_key(tmp_path: Path, store: tuple[Path, list[str]]) -> None:
    """The whole store made anew, with an event changed, under the same name."""
    sealed.build_store(tmp_path)
    sealed.export(tmp_path, tmp_path / "e.zip", FEW)
    assert sealed.verify(tmp_path / "e.zip", []).problems == []
    assert sealed.verify(tmp_path / "e.zip", store[1][:1]).problems != []


def test_the_key_of_today_cannot_rewrite_yesterday(
    store: tuple[Path, list[str]], few: Files, verdict: Callable[..., Verdict], tmp_path: Path
) -> None:
    """Somebody has the store and the key of this epoch, changes a record of the first one, and signs anew."""
    directory = tmp_path / "stolen"
    shutil.copytree(store[0], directory)
    lines = list(Log(directory).lines())
    records = sealed.lines(few["log.jsonl"])
    said = next(one for one in records if json.loads(one["line"])["record"] == "events")
    forged = json.loads(said["line"]) | {"uid": 1000}
    lines[said["number"]] = said["line"] = json.dumps(forged).encode()
    said["line"] = said["line"].decode()
    hashes = [merkle.hash_leaf(line) for line in lines]
    private = notes.PrivateKey(sealed.ORIGIN, (directory / "keys" / "private" / "2").read_bytes())
    checkpoint = private.sign(notes.build_checkpoint(sealed.ORIGIN, len(lines), merkle.find_root(hashes)))
    for one in records:
        one["path"] = [other.hex() for other in merkle.prove(hashes, one["number"])]
        if "closed" in one:
            end = next(
                number
                for number, line in enumerate(lines)
                if number > one["number"] and json.loads(line)["record"] == "closed"
            )
            one["closed"] = [other.hex() for other in merkle.prove(hashes[:end], one["number"])]
    result = verdict(log_jsonl=sealed.write_lines(records), checkpoint=checkpoint.encode())
    [problem] = result.problems
    assert problem.endswith("is not what the checkpoint at the end of epoch 0 covers")


def test_a_file_twice_in_the_bundle(few: Files, tmp_path: Path) -> None:
    path = sealed.pack(few, tmp_path / "e.zip")
    with zipfile.ZipFile(path, "a") as bundle, pytest.warns(UserWarning, match="Duplicate name"):
        bundle.writestr("evidence/events.jsonl", "")
    assert sealed.verify(path).problems == [f"{path}: a file is in it twice"]


def test_a_batch_that_never_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its records are in the log for good; those of the batch that came instead are the evidence."""
    from pythonaudit.archive.manifest import Archive
    from pythonaudit.integrity.writer import Writer

    key = sealed.start_sealing(tmp_path)
    sealed.hostile(1).save(tmp_path)
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr(Archive, "commit", lambda *_: 1 / 0)
        sealed.archive(tmp_path)
    with pytest.raises(PythonAuditError, match="no event that matches"):
        sealed.export(tmp_path, tmp_path / "e.zip")
    sealed.archive(tmp_path)
    writer = Writer(tmp_path)
    with writer.lock():
        writer.append("quiet")  # which no checkpoint covers
    report = sealed.export(tmp_path, tmp_path / "e.zip")
    assert (report.events, report.records, report.open) == (29, 2, 0)
    records = [json.loads(one["line"]) for one in sealed.lines(sealed.unpack(tmp_path / "e.zip")["log.jsonl"])]
    assert [record["record"] for record in records] == ["begin", "key", "events", "segment"]
    assert sealed.verify(tmp_path / "e.zip", [key]).problems == []
