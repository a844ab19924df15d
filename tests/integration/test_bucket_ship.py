"""What `s3://…` ships: the archive as it is, each object once, whoever is killed or at work beside it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from botocore.exceptions import ClientError

from pythonaudit.archive.address import parse_bucket
from pythonaudit.archive.bucket import Sealed, parse_listed, parse_sealed
from pythonaudit.archive.manifest import Archive
from pythonaudit.errors import UsageError
from pythonaudit.export.targets import Misconfigured, Shipped, Unavailable, open_target, parse_address
from pythonaudit.export.targets.s3 import BucketTarget
from pythonaudit.integrity.log import Log, parse_record
from pythonaudit.integrity.verify import parse_outside
from tests import commands
from tests.archives import move, write
from tests.buckets import LOCKED, Cut, Proxy, Store, bucket, running_proxy, target, variables
from tests.conftest import ROOT
from tests.sealed import archive, build_store, put_together, seal_open, start_sealing


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed store; nobody changes it."""
    directory = tmp_path_factory.mktemp("kept")
    build_store(directory)
    return directory


@pytest.fixture
def own(kept: Path, tmp_path: Path) -> Path:
    """The same to be changed."""
    return Path(shutil.copytree(kept, tmp_path / "own"))


@pytest.fixture(autouse=True)
def environment(object_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables(object_store.endpoint).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def proxy(object_store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with running_proxy(object_store.endpoint) as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL", found.endpoint)
        yield found


def check_whole(found: dict[str, bytes], directory: Path) -> None:
    """What is in the bucket is what is in the directory: parts, manifest, log, byte by byte."""
    check_consistent(found)
    entries = Archive(directory).entries()
    texts = {(directory / f"archive/manifest/{entry.batch}.json").read_bytes() for entry in entries}
    listed = [parse_listed(body) for key, body in found.items() if key.startswith("manifest/")]
    assert len(listed) == len({one.entry.batch for one in listed})
    assert texts <= {one.text for one in listed}
    lines = [line for sealed in seals(found) for line in sealed.lines]
    note = Log(directory).read_checkpoint()
    assert note
    assert lines == list(Log(directory).lines())[: parse_outside(note)[1]]
    assert seals(found)[-1].checkpoint == note


def seals(found: dict[str, bytes]) -> list[Sealed]:
    return [parse_sealed(body) for key, body in sorted(found.items()) if key.startswith("seal/")]


def check_consistent(found: dict[str, bytes]) -> None:
    """What a reader may count on at any moment."""
    batches, replaced = set(), set()
    for key, body in found.items():
        if key.startswith("parts/"):
            assert hashlib.sha256(body).hexdigest() == key.split(".")[-2]
        elif key.startswith("manifest/"):
            entry = parse_listed(body).entry
            batches.add(entry.batch)
            replaced.update(entry.replaces)
            for part in entry.parts:
                assert f"parts/web-1/{part.path.removesuffix('.parquet')}.{part.sha256}.parquet" in found
    wanted: set[str] = set()
    number = 0
    for sealed in seals(found):
        assert sealed.first == number
        number = sealed.end
        for record in map(parse_record, sealed.lines):
            if record["record"] == "batch":
                wanted = wanted - set(record["replaces"]) | {record["batch"]}
    assert wanted <= batches


def test_everything_is_shipped_once(object_store: Store, kept: Path) -> None:
    address = object_store.new_prefix()
    shipped = target(address, name="web-1").ship(kept)
    found = object_store.keys(address)
    check_whole(found, kept)
    parts = [part for entry in Archive(kept).entries() for part in entry.parts]
    assert shipped.is_done and shipped.files == len(found)
    assert shipped.events == sum(part.rows for part in parts if part.table == "events") == 116
    assert shipped.bytes == sum(map(len, found.values()))
    assert found["hosts/web-1/web-1"] == b""
    assert target(address, name="web-1").ship(kept) == Shipped()
    assert object_store.keys(address) == found


def test_it_goes_on_where_it_was_cut_off(object_store: Store, kept: Path, proxy: Proxy) -> None:
    """The connection ends before, or behind, each single request; somebody new goes on."""

    def cut(number: int) -> None:
        if number == last:
            raise Cut

    def proceed(number: int) -> None:
        pass

    last = 0
    address = object_store.new_prefix()
    shared = bucket(address)  # to make a client takes longer than all that it does here

    def new_target() -> BucketTarget:
        shared.address = parse_bucket(address)
        return BucketTarget(shared, "web-1", 300, None)

    new_target().ship(kept)
    names = list(object_store.names(address))
    total = len(proxy.requests)
    assert total > len(names)
    for at in range(1, total + 1):
        address, last = object_store.new_prefix(), at
        proxy.requests.clear()
        # Both sides of it: one is cut off before the store hears of it, the next when it has done it.
        proxy.before, proxy.after = (cut, proceed) if at % 2 else (proceed, cut)
        with pytest.raises(Unavailable, match=r"^s3://audit/test-"):
            new_target().ship(kept)
        check_consistent(object_store.keys(address))
        last = 0
        assert new_target().ship(kept).is_done
        assert list(object_store.names(address)) == names
    check_whole(object_store.keys(address), kept)


def test_a_sender_that_is_killed(object_store: Store, kept: Path, proxy: Proxy) -> None:
    address = object_store.new_prefix()
    code = "import sys; from pathlib import Path; from tests.buckets import target\n"
    code += "target(sys.argv[1], name='web-1').ship(Path(sys.argv[2]))"
    killed: list[subprocess.Popen[bytes]] = []
    begun = threading.Event()

    def kill(number: int) -> None:
        if number == 6:
            assert begun.wait(60)
            killed[0].kill()
            raise Cut

    proxy.after = kill
    command = [sys.executable, "-c", code, address, str(kept)]
    environment = commands.environment() | variables(proxy.endpoint)
    environment["PYTHONPATH"] += f"{os.pathsep}{ROOT}"
    killed.append(subprocess.Popen(command, env=environment))
    begun.set()
    assert killed[0].wait() == -signal.SIGKILL
    check_consistent(object_store.keys(address))
    assert target(address, name="web-1").ship(kept).is_done
    check_whole(object_store.keys(address), kept)


def test_two_at_once(object_store: Store, kept: Path) -> None:
    address = object_store.new_prefix()
    barrier = threading.Barrier(2)
    shipped: list[Shipped] = []

    def ship() -> None:
        barrier.wait()
        mine = target(address, name="web-1")
        while not shipped or not shipped[-1].is_done:
            shipped.append(mine.ship(kept))

    threads = [threading.Thread(target=ship) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = object_store.keys(address)
    check_whole(found, kept)
    assert sum(one.events for one in shipped) == 116
    assert sum(one.files for one in shipped) == len(found)


def test_what_comes_later(object_store: Store, own: Path) -> None:
    address = object_store.new_prefix()
    first = target(address, name="web-1")
    assert first.ship(own).events == 116
    write(own, 50)
    archive(own)
    assert first.ship(own) == Shipped()  # before the interval is over
    first.close()  # the last pass
    found = object_store.keys(address)
    check_whole(found, own)
    assert [sealed.end - sealed.first > 0 for sealed in seals(found)] == [True, True]
    assert {sealed.interval for sealed in seals(found)} == {300}
    write(own, 51)
    archive(own)
    assert target(address, name="web-1", interval="30s").ship(own).events == 3
    found = object_store.keys(address)
    check_whole(found, own)
    assert seals(found)[-1].interval == 30


def test_what_is_put_together_comes_when_it_is_settled(object_store: Store, tmp_path: Path) -> None:
    """Events that are there already come a second time, in larger parts, once; not with each compaction."""
    address = object_store.new_prefix()
    start_sealing(tmp_path)
    today = datetime.now(timezone.utc).timestamp() * 1e9
    for process in (1, 2):
        write(tmp_path, process, begin_ns=int(today))
        archive(tmp_path)
    first = target(address, name="web-1", interval="1s")
    assert first.ship(tmp_path).events == 6
    put_together(tmp_path)
    again = target(address, name="web-1").ship(tmp_path)
    assert again.events == 0 and again.files == 1  # the records that tell of it
    write(tmp_path, 3, begin_ns=int(today))
    archive(tmp_path)
    put_together(tmp_path)  # before the third was sent
    assert target(address, name="web-1").ship(tmp_path).events == 9
    entries = [parse_listed(body).entry for key, body in object_store.keys(address).items() if "manifest" in key]
    assert len(entries) == 3
    for process in (4, 5):  # of a day that is over
        write(tmp_path, process)
        archive(tmp_path)
    assert target(address, name="web-1").ship(tmp_path).events == 6
    put_together(tmp_path)
    assert target(address, name="web-1").ship(tmp_path).events == 6


def test_a_part_that_is_damaged_here_is_left_out(object_store: Store, own: Path) -> None:
    address = object_store.new_prefix()
    part = next(part for entry in Archive(own).entries() for part in entry.of("events"))
    path = Archive(own).path(part)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert target(address, name="web-1").ship(own).is_done
    found = object_store.keys(address)
    assert not any(part.sha256 in key for key in found)
    assert sum(key.startswith("manifest/") for key in found) == len(Archive(own).entries())


def test_without_keys_there_is_no_seal(object_store: Store, tmp_path: Path) -> None:
    address = object_store.new_prefix()
    write(tmp_path, 1)
    move(tmp_path)
    assert target(address, name="web-1").ship(tmp_path).events == 3
    assert not any(key.startswith("seal/") for key in object_store.keys(address))


def test_another_log_under_the_same_name(object_store: Store, own: Path, tmp_path: Path) -> None:
    """A directory that was put back from a backup would write another history over what is there."""
    address = object_store.new_prefix()
    backup = Path(shutil.copytree(own, tmp_path / "backup"))
    write(own, 50, state=0)
    seal_open(own)
    target(address, name="web-1").ship(own)
    write(backup, 51, state=0)
    seal_open(backup)
    with pytest.raises(Misconfigured, match="from record 0 on, the bucket has others than"):
        target(address, name="web-1").ship(backup)


def test_what_is_locked_stays(object_store: Store, kept: Path) -> None:
    address = object_store.new_prefix(LOCKED)
    assert target(address, name="web-1", lock="1d").ship(kept).is_done
    prefix = address.removeprefix(f"s3://{LOCKED}/")
    client = object_store.client
    versions = client.list_object_versions(Bucket=LOCKED, Prefix=prefix + "/")["Versions"]
    found = object_store.keys(address)
    assert len(versions) == len(found)
    for one in versions:
        state = client.get_object_retention(Bucket=LOCKED, Key=one["Key"], VersionId=one["VersionId"])["Retention"]
        assert state["Mode"] == "COMPLIANCE" and state["RetainUntilDate"] > datetime.now(timezone.utc)
        with pytest.raises(ClientError, match="AccessDenied"):
            client.delete_object(Bucket=LOCKED, Key=one["Key"], VersionId=one["VersionId"])
    key = versions[0]["Key"]
    client.put_object(Bucket=LOCKED, Key=key, Body=b"something else")  # on top of it: the first stays
    body = client.get_object(Bucket=LOCKED, Key=key, VersionId=versions[0]["VersionId"])["Body"].read()
    assert body == found[key.removeprefix(prefix + "/")]


def test_a_bucket_without_object_lock(object_store: Store, kept: Path) -> None:
    with pytest.raises(Misconfigured, match=r"^s3://audit/test-[0-9]+: the bucket has no object lock$"):
        target(object_store.new_prefix(), name="web-1", lock="30d").ship(kept)


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("lock=30", "lock='30': it takes a time such as"),
        ("interval=2d", "interval='2d': a day at most"),
        ("name=../x", "name='../x': letters, digits"),
        ("lok=1d", "no option lok"),
        ("endpoint=here", "endpoint='here'"),
        ("timeout=0", "timeout='0'"),
    ],
)
def test_options_that_make_no_sense(query: str, complaint: str) -> None:
    with pytest.raises(UsageError) as raised:
        open_target(parse_address(f"s3://audit/fleet?{query}"))
    assert complaint in str(raised.value)


def test_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(Misconfigured, match=r"^s3://audit/fleet: there are no credentials$"):
        target("s3://audit/fleet")


def test_the_digest_is_checked_by_the_store(object_store: Store, tmp_path: Path) -> None:
    path = tmp_path / "part"
    path.write_bytes(b"other bytes")
    with pytest.raises(ValueError, match="its SHA-256 is not"):
        bucket(object_store.new_prefix()).put("key", path, hashlib.sha256(b"bytes").hexdigest())


def policy() -> list[dict[str, Any]]:
    """What docs/guide/fleet.md allows the sender web-1."""
    text = (ROOT / "docs" / "guide" / "fleet.md").read_text()
    (found,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    statements: list[dict[str, Any]] = json.loads(found)["Statement"]
    return statements


def listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def is_allowed(statements: list[dict[str, Any]], action: str, resource: str, prefix: str | None) -> bool:
    for one in statements:
        prefixes = listed(one.get("Condition", {}).get("StringLike", {}).get("s3:prefix", "*"))
        if (
            action in listed(one["Action"])
            and any(fnmatchcase(resource, f"{glob}") for glob in listed(one["Resource"]))
            and any(fnmatchcase(prefix or "", glob) for glob in prefixes)
        ):
            return True
    return False


def test_it_does_no_more_than_its_policy_allows(object_store: Store, own: Path, proxy: Proxy) -> None:
    address = object_store.new_prefix()
    statements = policy()
    for process in (50, 51):
        write(own, process)
        archive(own)
        target(address, name="web-1").ship(own)
    assert {method for method, _ in proxy.requests} == {"PUT", "GET"}
    for method, url in proxy.requests:
        parts = urlsplit(url)
        key = unquote(parts.path).replace(address.removeprefix("s3:/"), "/audit/fleet").strip("/")
        query = dict(parse_qsl(parts.query))
        prefix = (
            query["prefix"].replace(address.removeprefix("s3://audit/"), "fleet") if "prefix" in query else None
        )
        action = "s3:ListBucket" if prefix else f"s3:{method.title()}Object"
        resource = "arn:aws:s3:::" + ("audit" if prefix else key)
        assert is_allowed(statements, action, resource, prefix), (method, url)
    assert not is_allowed(statements, "s3:PutObject", "arn:aws:s3:::audit/fleet/parts/web-2/x", None)
    assert not is_allowed(statements, "s3:GetObject", "arn:aws:s3:::audit/fleet/parts/web-1/x", None)
