"""`pythonaudit verify` as a command: what it says, how it ends, what it does not touch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.verify import verify
from pythonaudit.errors import StoreError
from pythonaudit.integrity.verify import Anchors
from tests import tampered
from tests.archives import process_of
from tests.commands import environment, run

VERDICT = {"subject", "kind", "verdict", "anchor", "reason", "events"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sealed")
    tampered.build(directory)
    return directory


@pytest.fixture
def store(built: Path, tmp_path: Path) -> Path:
    shutil.copytree(built, tmp_path / "store")
    return tmp_path / "store"


def said(done: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_what_is_fine(store: Path, tmp_path: Path) -> None:
    key, checkpoint = tmp_path / "key", tmp_path / "checkpoint"
    assert run(store, "keys", "export", str(key)).returncode == 0
    shutil.copy(store / "seal" / "checkpoint", checkpoint)
    text = key.read_text().strip()
    cases = [
        ((), "none", "self-consistent", "No anchor: who replaced keys and signatures"),
        (("--key", text), "key", "intact", "Held against a key. Had the newest files been removed"),
        (("--key", str(key)), "key", "intact", "Held against a key."),
        (("--checkpoint", str(checkpoint)), "checkpoint", "intact", "Held against a checkpoint."),
        (("--key", text, "--checkpoint", str(checkpoint)), "checkpoint", "intact", "Held against a checkpoint."),
    ]
    for options, anchor, verdict, sentence in cases:
        whole, *others = said(run(store, "verify", *options, "--format", "jsonl"))
        assert whole.keys() > VERDICT and all(other.keys() == VERDICT for other in others)
        assert {(one["verdict"], one["anchor"]) for one in (whole, *others)} == {(verdict, anchor)}
        assert (whole["kind"], whole["subject"], whole["events"]) == ("archive", tampered.ORIGIN, 23)
        assert {one["subject"] for one in others if one["kind"] == "journal"} == {
            process_of(number).hex() for number in (2, 3, 4, 5)
        }
        parts = {part.path for entry in Archive(store).entries() for part in entry.parts}
        assert {one["subject"] for one in others if one["kind"] == "part"} == parts
        if verdict == "self-consistent":
            assert all("would not be seen" in str(one["reason"]) for one in (whole, *others))
        done = run(store, "verify", *options)
        assert (done.returncode, done.stderr) == (0, "")
        lines = done.stdout.splitlines()
        assert lines[0].startswith(f"{verdict}: 23 events of 4 journals, 6 parts, 24 records; newest of ")
        assert lines[1].startswith("what was recorded before sealing began is vouched for from")
        assert lines[2] == "not sealed yet: 1 event of 1 segment of the journal"
        assert lines[3].startswith(sentence) and len(lines) == 4


def test_what_is_not(store: Path) -> None:
    [entry, *_] = Archive(store).entries()
    path = Archive(store).path(entry.of("events")[0])
    path.write_bytes(path.read_bytes()[:-1])
    done = run(store, "verify")
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("tampered: 23 events of 4 journals, 6 parts")
    assert f"  tampered    part     {entry.of('events')[0].path}: " in done.stdout
    assert "No anchor:" in lines[-1]
    found = said(run(store, "verify", "--format", "jsonl"))
    assert {one["subject"] for one in found if one["verdict"] == "tampered"} >= {
        tampered.ORIGIN,
        process_of(2).hex(),
    }


def test_wrong_usage(store: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "other").write_text("name+00000000+AA==\n")
    cases = {
        (
            "--key",
            "x",
        ): "--key 'x': no public key: it looks like NAME+8 hexadecimal digits+base64; nor is there such a file",
        ("--key", str(tmp_path / "empty")): f"--key {tmp_path}/empty: there is no key in it",
        ("--key", str(tmp_path / "binary")): f"--key '{tmp_path}/binary': no text",
        ("--key", str(tmp_path)): f"--key '{tmp_path}': Is a directory",
        ("--key", str(tmp_path / "other")): f"--key {tmp_path}/other: no public key of Ed25519, or not all of it",
        ("--checkpoint", str(tmp_path / "other")): f"--checkpoint {tmp_path}/other: this is no checkpoint",
        ("--checkpoint", str(tmp_path / "binary")): f"--checkpoint {tmp_path}/binary: this is no checkpoint",
        ("--checkpoint", "/nowhere"): "--checkpoint /nowhere: No such file or directory",
    }
    for options, message in cases.items():
        done = run(store, "verify", *options)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert done.stderr.startswith(f"pythonaudit: {message}")


def test_nothing_is_sealed(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "nowhere"):
        done = run(directory, "verify")
        assert (done.returncode, done.stdout) == (3, "")
        assert (
            done.stderr == f"pythonaudit: nothing is sealed in {directory}; begin with 'pythonaudit keys init'\n"
        )


@pytest.mark.skipif(os.geteuid() != 0, reason="needs several users")
def test_what_may_not_be_read(built: Path) -> None:
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        store = Path(place, "store")
        shutil.copytree(built, store)
        for path in (store, *store.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        for hidden in ("seal", "archive/manifest", "archive/events"):
            (store / hidden).chmod(0)
            assert verify_as(54321, store).startswith(f"{store / hidden}"), hidden
            (store / hidden).chmod(0o755)


def verify_as(user: int, directory: Path) -> str:
    """What is said to another user who verifies."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setuid(user)
        try:
            tampered.check(directory)
        except StoreError as error:
            os.write(writing, str(error).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with open(reading) as said:
        return said.read()


WATCH = """
import os, sys
opened = []
def hook(event, args):
    if event == "open" and isinstance(args[0], str):
        opened.append((args[0], args[2]))
    elif event in ("os.mkdir", "os.rename", "os.remove", "os.chmod", "os.truncate", "fcntl.flock"):
        opened.append((event, os.O_RDWR))
sys.addaudithook(hook)
from pythonaudit.cli import main
status = main(["--dir", sys.argv[1], "verify"])
mine = [(path, flags) for path, flags in opened if path.startswith(sys.argv[1]) or flags & (os.O_RDWR | os.O_WRONLY)]
print(len(mine) > 5, [path for path, flags in mine if "private" in path or flags & (os.O_RDWR | os.O_WRONLY | os.O_CREAT)])
sys.exit(status)
"""


def test_nothing_is_written_and_no_private_key_read(store: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WATCH, str(store)], env=environment(), capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.splitlines()[-1], done.stderr) == (0, "True []", "")


def test_on_all_processors(store: Path) -> None:
    """The same is found."""
    path = Archive(store).path(Archive(store).entries()[0].of("segments")[0])
    for _ in range(2):
        alone, together = (verify(store, Anchors(), workers=workers) for workers in (1, 2))
        assert sorted(map(repr, alone.verdicts)) == sorted(map(repr, together.verdicts))
        path.write_bytes(b"")
