"""What is changed, removed or held back in a bucket of two hosts is found, with public keys alone."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from pythonaudit import cli
from pythonaudit.archive.fleet_verify import verify_fleet
from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.retention import apply
from pythonaudit.archive.sealer import Sealer
from pythonaudit.archive.verify import Report
from pythonaudit.integrity.log import Log
from pythonaudit.integrity.notes import parse_vkey
from pythonaudit.integrity.verify import Anchors
from pythonaudit.integrity.writer import Writer
from pythonaudit.journal.reader import Journal
from tests import sealed
from tests.archives import move, write
from tests.buckets import Store, bucket, target, variables
from tests.retained import DAY, NOW_NS, limits

SECOND_NS = 1_000_000_000
Objects = dict[str, bytes]
Change = Callable[[Objects], None]


@dataclass(frozen=True)
class Fleet:
    """Two hosts in a bucket, and what is kept elsewhere of them.

    Attributes:
        address: of the bucket. `objects`: what is in it.
        directories, keys: of each host.
        newest_ns: when the last of them has sealed something.
    """

    address: str
    objects: Objects
    directories: tuple[Path, Path]
    keys: tuple[str, str]
    newest_ns: int

    @property
    def anchors(self) -> Anchors:
        return Anchors(tuple(map(parse_vkey, self.keys)))

    def newest(self, host: int) -> str:
        """The newest checkpoint of a host."""
        note = Log(self.directories[host - 1]).read_checkpoint()
        assert note
        return note


def tell(directory: Path, kind: str, **values: object) -> None:
    """A record of the agent."""
    writer = Writer(directory)
    with writer.lock():
        writer.append(kind, **values)
        writer.checkpoint()


@pytest.fixture(scope="module")
def fleet(object_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables(object_store.endpoint).items():
            patch.setenv(name, value)
        address = object_store.new_prefix()
        found = []
        for host in (1, 2):
            directory = tmp_path_factory.mktemp(f"web-{host}")
            with mock.patch.object(sealed, "ORIGIN", f"pythonaudit/web-{host}/0000000{host}"):
                key = sealed.start_sealing(directory)
            tell(directory, "agent", action="start", version="0")
            shipping = target(address, name=f"web-{host}")
            for process in (1, 2):
                sealed.hostile(16 * host + process).save(directory)
                sealed.archive(directory)
                shipping.ship(directory)
                shipping.close()
            found.append((directory, key))
        (one, key_one), (two, key_two) = found
        yield Fleet(address, object_store.keys(address), (one, two), (key_one, key_two), newest_of(two))


def newest_of(directory: Path) -> int:
    return max(json.loads(line)["time_ns"] for line in Log(directory).lines())


def reports(fleet: Fleet, address: str | None = None, now_ns: int = 0, **given: Anchors) -> dict[str, Report]:
    """What is found, by sender."""
    anchors = given.get("anchors", fleet.anchors)
    return dict(verify_fleet(bucket(address or fleet.address), anchors, now_ns or fleet.newest_ns))


def problems(report: Report) -> dict[str, str]:
    """What is not fine: verdict and reason, by subject."""
    return {one.subject: f"{one.verdict}: {one.reason}" for one in report.verdicts if not one.is_fine}


@contextmanager
def changed(store: Store, fleet: Fleet, change: Change) -> Iterator[str]:
    """A bucket with the same objects, but for what is changed."""
    address, objects = store.new_prefix(), dict(fleet.objects)
    change(objects)
    store.fill(address, objects)
    yield address


def test_nothing_is_wrong(fleet: Fleet) -> None:
    found = reports(fleet)
    assert {sender: report.verdicts[0].verdict for sender, report in found.items()} == {
        "web-1": "intact",
        "web-2": "intact",
    }
    assert not any(map(problems, found.values()))
    assert [report.verdicts[0].events for report in found.values()] == [58, 58]
    kinds = {one.kind for one in found["web-1"].verdicts}
    assert kinds == {"archive", "journal", "part"}
    unheld = reports(fleet, anchors=Anchors())
    assert {report.verdicts[0].verdict for report in unheld.values()} == {"self-consistent"}


def some(found: Objects, beginning: str, at: int = 0) -> str:
    """A key that begins so."""
    return sorted(key for key in found if key.startswith(beginning))[at]


def of_host_1(found: Objects) -> list[str]:
    """All that a host has sent."""
    return [key for key in found if key.split("/")[1] == "web-1" and not key.startswith("hosts/")]


def remove(beginning: str, at: int = 0) -> Change:
    def change(found: Objects) -> None:
        del found[some(found, beginning, at)]

    return change


def replace(beginning: str, content: Callable[[bytes], bytes], at: int = 0) -> Change:
    def change(found: Objects) -> None:
        key = some(found, beginning, at)
        found[key] = content(found[key])

    return change


def forge_entry(found: Objects) -> None:
    """An entry that nobody has sealed, for events that somebody made up: what web-2 has, as if web-1 had it."""
    key, other = some(found, "manifest/web-1"), some(found, "manifest/web-2")
    said = json.loads(found[other])
    old = json.loads(said["entry"])["batch"]
    new = f"{int(old[:16], 16) - 3600 * SECOND_NS:016x}-00000000"
    said["entry"] = said["entry"].replace(old, new)
    found[f"manifest/web-1/{new}.{key.split('.', 1)[1]}"] = json.dumps(said).encode()


def two_entries(found: Objects) -> None:
    """A second object for a batch, with other parts, that is listed after the first."""
    key = some(found, "manifest/web-1")
    said = json.loads(found[key])
    said["entry"] = said["entry"].replace('"rows": 29', '"rows": 28')
    batch = key.split("/")[-1].split(".")[0]
    found[f"manifest/web-1/{batch}.0000000000000000-7fffffffffffffff.json"] = json.dumps(said).encode()


def reseal(found: Objects) -> None:
    """A record is written in another way, and its object anew."""
    key = some(found, "seal/web-1", -1)
    text = gzip.decompress(found[key])
    found[key] = gzip.compress(text.replace(b'"events":29', b'"events": 29'))


def promise_less(found: Objects) -> None:
    """The host is made to promise nothing."""
    for key in (key for key in found if key.startswith("seal/web-1")):
        head, lines = gzip.decompress(found[key]).split(b"\n", 1)
        said = json.loads(head) | {"interval": 10**9}
        found[key] = gzip.compress(json.dumps(said).encode() + b"\n" + lines)


@pytest.mark.parametrize(
    ("change", "subject", "reason"),
    [
        (remove("parts/web-1/events"), "web-1/events/", "incomplete: not there: 29 rows"),
        (remove("parts/web-1/stacks"), "web-1/stacks/", "incomplete: not there"),
        (remove("parts/web-1/segments"), "web-1/segments/", "incomplete: not there: 1 row"),
        (
            replace("parts/web-1/events", lambda body: body[:-9] + b"forgedPAR"),
            "web-1/events/",
            "tampered: changed: its SHA-256",
        ),
        (replace("parts/web-1/events", lambda body: body[:100]), "web-1/events/", "tampered: 100 bytes, where"),
        (replace("parts/web-1/events", lambda body: body + b"more"), "web-1/events/", "tampered: "),
        (remove("manifest/web-1"), "web-1/manifest/", "incomplete: not there: 29 events are not shown"),
        (
            replace("manifest/web-1", lambda body: body.replace(b"written_ns", b"Written_ns")),
            "web-1/manifest/",
            "tampered: cannot be read: ",
        ),
        (
            replace("manifest/web-1", lambda body: body.replace(b'\\"rows\\": 29', b'\\"rows\\": 28')),
            "web-1/manifest/",
            "tampered: changed: its SHA-256",
        ),
        (forge_entry, "web-1/manifest/", "tampered: no record names it"),
        (two_entries, "web-1/manifest/", "tampered: cannot be read: there are two, and they differ"),
        (remove("seal/web-1"), "pythonaudit/web-1/", "tampered: records 0 to 6 are not there"),
        (replace("seal/web-1", lambda body: b"nonsense"), "pythonaudit/web-1/", "no records: error"),
        (replace("seal/web-1", lambda body: body[:-20]), "pythonaudit/web-1/", "cut off, or too long"),
        (reseal, "pythonaudit/web-1/", "tampered: checkpoint: records 0 to "),
    ],
)
def test_each_change_is_found(
    object_store: Store, fleet: Fleet, change: Change, subject: str, reason: str
) -> None:
    def alone(found: Objects) -> None:
        change(found)
        for key in [key for key in found if "/web-2" in key]:
            del found[key]

    with changed(object_store, fleet, alone) as address:
        found = reports(fleet, address)
    said = problems(found["web-1"])
    assert any(name.startswith(subject) and reason in why for name, why in said.items()), said
    assert found["web-1"].verdicts[0].verdict in ("incomplete", "tampered")


def test_the_end_that_is_cut_off(object_store: Store, fleet: Fleet) -> None:
    """The last records, and what they are about: only a checkpoint from outside tells at once; in time, silence does."""

    def cut(found: Objects) -> None:
        for beginning in ("seal/web-1", "manifest/web-1", "parts/web-1/events"):
            del found[some(found, beginning, -1)]

    with changed(object_store, fleet, cut) as address:
        assert problems(reports(fleet, address)["web-1"]) == {}
        held = Anchors(fleet.anchors.keys, (fleet.newest(1),))
        (said,) = problems(reports(fleet, address, anchors=held)["web-1"]).values()
        assert "incomplete: the given checkpoint of" in said and "gone: the log ends with" in said
        later = problems(reports(fleet, address, fleet.newest_ns + 3600 * SECOND_NS)["web-1"])
        assert "it has stopped sending" in next(iter(later.values()))


def test_a_host_that_is_gone(object_store: Store, fleet: Fleet) -> None:
    def forget(found: Objects) -> None:
        for key in of_host_1(found):
            del found[key]

    with changed(object_store, fleet, forget) as address:
        found = reports(fleet, address)
        assert found["web-2"].verdicts[0].verdict == "intact"
        (said,) = problems(found[""]).items()
        assert said == (
            "pythonaudit/web-1/00000001",
            "incomplete: nothing of this log is in the bucket: it was removed, or was never sent",
        )


def test_a_host_that_was_signed_anew(object_store: Store, fleet: Fleet, tmp_path: Path) -> None:
    """Whoever has all rights to the bucket replaces a host by one of his own making."""

    def forget(found: Objects) -> None:
        for key in of_host_1(found):
            del found[key]

    with changed(object_store, fleet, forget) as address:
        with mock.patch.object(sealed, "ORIGIN", "pythonaudit/web-1/00000001"):
            sealed.start_sealing(tmp_path)
        sealed.hostile(99).save(tmp_path)
        sealed.archive(tmp_path)
        target(address, name="web-1").ship(tmp_path)
        said = problems(reports(fleet, address)["web-1"])
        assert "no key of this log is the given one" in said["pythonaudit/web-1/00000001"]


def test_a_host_that_has_stopped_sending(object_store: Store, fleet: Fleet) -> None:
    newest_ns = fleet.newest_ns
    for after, is_told in ((700, False), (740, True)):  # twice 300 seconds and 2 minutes
        for report in reports(fleet, now_ns=newest_ns + after * SECOND_NS).values():
            said = problems(report)
            assert bool(said) is is_told
            assert all("promised to be heard every 300 seconds" in why for why in said.values())
    with changed(object_store, fleet, promise_less) as address:  # nobody is believed who promises years
        said = problems(reports(fleet, address, newest_ns + 3 * 86400 * SECOND_NS)["web-1"])
        assert "promised to be heard every 86400 seconds" in next(iter(said.values()))


def test_what_changes_by_itself_is_no_tampering(object_store: Store, fleet: Fleet, tmp_path: Path) -> None:
    """Put together, removed by retention, stopped in order; an entry that is ahead of its seal."""
    address = object_store.new_prefix()
    key = parse_vkey(sealed.start_sealing(tmp_path))
    tell(tmp_path, "agent", action="start", version="0")
    for process in (1, 2, 3):
        write(tmp_path, process, begin_ns=NOW_NS)
        sealed.archive(tmp_path)
    shipping = target(address, name="web-1")

    def verdict(now_ns: int = 0) -> Report:
        shipping.ship(tmp_path)
        shipping.close()
        (found,) = verify_fleet(bucket(address), Anchors((key,)), now_ns or newest_of(tmp_path))
        assert problems(found[1]) == {}
        return found[1]

    assert verdict().verdicts[0].events == 9
    with mock.patch("pythonaudit.archive.sending._is_settled", return_value=False):
        sealed.put_together(tmp_path)  # not sent: what it is made of is there
        assert verdict().verdicts[0].events == 9
        write(tmp_path, 4, begin_ns=NOW_NS)
        sealed.archive(tmp_path)
        sealed.put_together(tmp_path)
        assert verdict().verdicts[0].events == 12
    assert verdict().verdicts[0].verdict == "intact"  # now it is sent, and stands for all before it
    dropped = apply(
        Archive(tmp_path), Journal(tmp_path), limits(age=DAY), (), Sealer(Writer(tmp_path)), NOW_NS * 2
    )
    assert dropped.events == 12
    assert "retention dropped 12 events, as records say" in verdict().notes
    assert len(object_store.keys(address)) > 12  # the bucket keeps its own
    write(tmp_path, 5)
    sealed.archive(tmp_path)
    with mock.patch("pythonaudit.archive.sending.Sender._send_records", return_value=True):
        assert verdict().notes[-1] == "1 batches came ahead of the records that seal them"
    tell(tmp_path, "agent", action="stop", version="0")
    verdict(NOW_NS * 2)


def test_without_a_seal(object_store: Store, fleet: Fleet, tmp_path: Path) -> None:
    address = object_store.new_prefix()
    write(tmp_path, 1)
    move(tmp_path)
    target(address, name="web-3").ship(tmp_path)
    (whole, *parts) = reports(fleet, address, anchors=Anchors())["web-3"].verdicts
    assert (whole.verdict, whole.events, len(parts)) == ("self-consistent", 3, 3)
    assert whole.reason.startswith("nothing is sealed")
    object_store.put(address, some(object_store.keys(address), "parts/web-3/events"), b"other")
    assert "tampered: 5 bytes" in str(problems(reports(fleet, address, anchors=Anchors())["web-3"]))


@pytest.mark.parametrize("form", ["table", "jsonl"])
def test_the_command(
    object_store: Store, fleet: Fleet, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = tmp_path / "fleet.vkey"
    keys.write_text("\n".join(fleet.keys))
    words = ["verify", "--key", str(keys), "--format", form]
    assert cli.main(["--dir", fleet.address, *words]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    if form == "table":
        assert said.out.count("intact           web-") == 2
        assert said.out.endswith("2 logs: 2 intact\n")
    else:
        lines = [json.loads(line) for line in said.out.splitlines()]
        assert {line["sender"] for line in lines} == {"web-1", "web-2"}
        assert {line["verdict"] for line in lines} == {"intact"}
    with changed(object_store, fleet, remove("parts/web-2/events")) as address:
        assert cli.main(["--dir", address, *words]) == 1
    out = capsys.readouterr().out
    assert "web-2/events/" in out and "not there: 29 rows" in out
    assert form == "jsonl" or out.endswith("2 logs: 1 intact, 1 incomplete\n")
