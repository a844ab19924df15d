"""verify.py as an outsider runs it: a bare Python, a bundle, the program openssl."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from pythonaudit.cli.interpreters import find_interpreters
from pythonaudit.export import offline
from pythonaudit.journal.filters import EventFilter
from tests import sealed

#: The oldest at hand that it is for.
OLDEST = str(min((i for i in find_interpreters() if i.version >= (3, 8)), key=lambda i: i.version).base)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A bundle, unpacked, with the zip file beside it; and the keys of its log."""
    directory = tmp_path_factory.mktemp("store")
    keys = sealed.build_store(directory)
    place = tmp_path_factory.mktemp("elsewhere")
    sealed.export(directory, place / "evidence.zip", EventFilter(names=("User*", "compile", "line*")))
    with zipfile.ZipFile(place / "evidence.zip") as file:
        file.extractall(place)
    return place, keys


def run(place: Path, *words: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    """verify.py, by an interpreter that sees nothing but its standard library."""
    command = [python, "-I", "-S", "-W", "error", str(place / "evidence" / "verify.py"), *words]
    return subprocess.run(command, capture_output=True, encoding="ascii", cwd="/")


def test_it_is_one_file_of_the_standard_library() -> None:
    text = offline.source()
    tree = ast.parse(text, feature_version=(3, 8))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names])
    }
    assert imported <= sys.stdlib_module_names
    assert text.startswith('#!/usr/bin/env python3\nr"""Verifies a bundle') and "pythonaudit.export" not in text


def test_no_name_means_two_things() -> None:
    names: Counter[str] = Counter()
    for node in ast.parse(offline.source()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names[node.name] += 1
        elif isinstance(node, ast.Assign):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("python", (OLDEST, sys.executable))
def test_a_bare_python_verifies(bundle: tuple[Path, list[str]], python: str, tmp_path: Path) -> None:
    place, keys = bundle
    done = run(place, "--key", keys[0], python=python)
    assert (done.returncode, done.stderr) == (0, "")
    said = done.stdout.splitlines()
    assert said[0] == "log: pythonaudit/web-1/1f0a7c3e, 19 records, 3 epochs"
    assert said[1] == "events: 12, of 2026-11-22T14:30:33Z to 2026-11-23T14:30:33Z"
    assert said[2].endswith(", by 4 records")
    assert said[3] == "there are 116 events in all in 4 segments; a bundle is a selection"
    assert said[-1].startswith("INTACT: ")
    (tmp_path / "log.vkey").write_text("\n".join(keys))
    for words in (["--key", str(tmp_path / "log.vkey")], [str(place / "evidence.zip"), "--key", keys[1]]):
        assert run(place, *words, python=python).stdout.splitlines()[-1] == said[-1]
    done = run(place, python=python)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith("self-consistent, not authenticated")
    assert "INTACT" not in done.stdout


def test_what_is_proven_can_be_had_alone(bundle: tuple[Path, list[str]]) -> None:
    place, keys = bundle
    done = run(place, "--key", keys[0], "--proven")
    assert done.returncode == 0 and done.stderr.splitlines()[-1].startswith("INTACT")
    assert list(map(json.loads, done.stdout.splitlines())) == sealed.verify(place / "evidence.zip").proven


def test_signatures_are_looked_at(bundle: tuple[Path, list[str]], tmp_path: Path) -> None:
    place, keys = bundle
    files = sealed.unpack(place / "evidence.zip")
    note = files["checkpoint"].decode()
    at = note.rindex(" ") + 20
    forged = note[:at] + ("A" if note[at] != "A" else "B") + note[at + 1 :]
    path = sealed.pack(files | {"checkpoint": forged.encode()}, tmp_path / "forged.zip")
    done = run(place, str(path), "--key", keys[0])
    assert done.returncode == 1
    assert done.stdout == (
        "no: checkpoint: its signature is not right\nNOT VERIFIED: this is not what was sealed, or not all of it\n"
    )


def test_without_openssl(bundle: tuple[Path, list[str]], tmp_path: Path) -> None:
    place, keys = bundle
    needs = "verify.py: cannot verify: signatures need OpenSSL 3.0 or later; say where it is with --openssl; "
    done = run(place, "--key", keys[0], "--openssl", "/nowhere/openssl")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"{needs}/nowhere/openssl: No such file or directory\n"
    for name, body in (("old", "exit 1"), ("yes", "exit 0")):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\n[ "$1" = version ] && echo LibreSSL 3.3.6 && exit 0\n{body}\n')
        program.chmod(0o755)
        done = run(place, "--key", keys[0], "--openssl", str(program))
        assert (done.returncode, done.stderr) == (3, f"{needs}{program} says 'LibreSSL 3.3.6'\n")


def test_wrong_usage(bundle: tuple[Path, list[str]], tmp_path: Path) -> None:
    place, keys = bundle
    done = run(place, "--key", keys[0][:-4])
    assert done.returncode == 2
    assert done.stderr.startswith("verify.py: --key: no public key of Ed25519")
    assert run(place, "--colour").returncode == 2
    assert run(place, str(tmp_path / "nothing.zip")).returncode == 3
    (tmp_path / "no.zip").write_text("no zip")
    assert run(place, str(tmp_path / "no.zip")).returncode == 3
    done = run(place, str(tmp_path))
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, "no: bundle.json: is not there")


def test_what_it_prints_of_a_bundle_prints(bundle: tuple[Path, list[str]], tmp_path: Path) -> None:
    """Names in a forged bundle cannot move the cursor of whoever verifies it."""
    place, _ = bundle
    files = sealed.unpack(place / "evidence.zip")
    changed = files["events.jsonl"].replace(b'"user"', '"\x9b31m\\u001b]0;x"'.encode())
    path = sealed.pack(files | {"events.jsonl": changed}, tmp_path / "forged.zip")
    done = run(place, str(path))
    assert done.returncode == 1
    assert done.stdout.replace("\n", "").isprintable()
