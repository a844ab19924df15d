"""The emulations of attacks: all are described, none starts by accident, and what they do stays in the sandbox."""

from __future__ import annotations

import ast
import datetime
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from pythonaudit.cli.interpreters import unrecorded

EVALS = Path(__file__).resolve().parents[2] / "evals"
PROGRAMS = sorted(EVALS.glob("attacks/*/attack.py"))
#: One has itself started by cron, one by every Python, and one calls home and leaves a service.
CHOSEN = ("crontab-persistence", "litellm-pth", "upstyle-pth")
#: Where these three write.
TOUCHED = ("/etc", "/var/spool/cron", "/var/log/nginx", "/usr/local/bin", "/home/alice", "/srv")
MARKS = ("/.sandbox", "/tmp/.pg_state", "/tmp/tpcp.tar.gz", "/tmp/collected")


@pytest.fixture(scope="module")
def load() -> Iterator[ModuleType]:
    """evals/attacks.py, as its own scripts see it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EVALS))
        yield importlib.import_module("attacks")


def look(places: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """Every file below, its size, and when it was changed."""
    found = {}
    for place in places:
        for folder, _, names in os.walk(place):
            for name in names:
                state = os.lstat(os.path.join(folder, name))
                found[os.path.join(folder, name)] = state.st_size, state.st_mtime_ns
    return found


def test_every_emulation_is_described(load: ModuleType) -> None:
    emulations = load.load_emulations()  # checks what each of them says
    assert len(emulations) >= 44
    assert [emulation.name for emulation in emulations] == [program.parent.name for program in PROGRAMS]
    for emulation in emulations:
        assert emulation.date <= datetime.date.today(), emulation.name
        assert emulation.kind in ("supply-chain", "post-exploitation"), emulation.name
    titles = [emulation.title for emulation in emulations]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ('reports = ["http://one.example/"]', "is no address of a report"),
        ("reports = []", "reports is empty"),
        ('techniques = ["execution"]', "is no technique of ATT&CK"),
        ('kind = "other"', "kind is none of"),
        ('date = "2026"', "date is no date"),
        ('colour = "red"', "'colour'"),
    ],
)
def test_a_bad_description_is_refused(load: ModuleType, tmp_path: Path, change: str, complaint: str) -> None:
    lines = (PROGRAMS[0].parent / "about.toml").read_text()
    kept = [line for line in lines.splitlines() if not line.startswith(change.split()[0])]
    if change.startswith("reports"):
        kept = [line for line in kept if not line.startswith(("    ", "]"))]
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "about.toml").write_text("\n".join([change, *kept]))
    with pytest.raises(ValueError, match=complaint):
        load.load_emulations(tmp_path)


def test_nothing_starts_outside_the_sandbox() -> None:
    """The first thing that a program does is to look where it is; all else cannot be started or imported."""
    guard = ast.dump(
        ast.parse(
            'if not os.path.exists("/.sandbox"):\n'
            '    raise SystemExit("runs in the sandbox only: evals/README.md")'
        ).body[0]
    )
    for program in PROGRAMS:
        body = ast.parse(program.read_text()).body
        before = body[1 : [ast.dump(node) for node in body].index(guard)]
        assert all(isinstance(node, ast.Import | ast.ImportFrom) for node in before), program
        names = {alias.name for node in before if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in before if isinstance(node, ast.ImportFrom)}
        assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names, program
    others = [path for path in EVALS.glob("attacks/*/**/*") if path.is_file() and path.name != "attack.py"]
    assert {path.suffix for path in others} <= {".in", ".txt", ".toml"}


def test_what_is_packed_is_in_the_repository(load: ModuleType, tmp_path: Path) -> None:
    packing = importlib.import_module("packing")
    (tmp_path / "inner.in").write_text("inner = 1")
    (tmp_path / "outer.in").write_text("exec('@@hex inner.in@@')")
    filled = packing.fill(b"'@@base64 outer.in@@'", tmp_path)
    outer = importlib.import_module("base64").b64decode(filled.strip(b"'")).decode()
    assert outer == f"exec('{b'inner = 1'.hex()}')"


def test_the_table_of_what_is_detected(load: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """A rule that a control fires says nothing, and an emulation that failed is not found."""
    first, second, third = load.load_emulations()[:3]
    control = load.Result(first, rules={"1": "noisy"})
    results = [
        load.Result(first, rules={"1": "noisy", "2": "sharp"}),
        load.Result(second, rules={"1": "noisy"}),
        load.Result(third, rules={"2": "sharp"}, problem="incomplete: no os.system"),
    ]
    load.print_detected(results, [control])
    said = capsys.readouterr().out
    assert f"| {first.name} | {first.kind} | yes | sharp |" in said
    assert f"| {second.name} | {second.kind} | **no** |  |" in said
    assert f"| {third.name} | {third.kind} | incomplete: no os.system | sharp |" in said
    assert "- all: 1 of 3 detected at level medium or above, recall 33.3 %" in said
    assert f"- not counted: 'noisy', which fires on the control {first.name} too" in said


def test_three_are_recorded_and_leave_nothing(load: ModuleType, tmp_path: Path) -> None:
    if obstacle := importlib.import_module("sandbox").obstacle():
        pytest.skip(obstacle)
    before = look(TOUCHED)
    only = [word for name in CHOSEN for word in ("--only", name)]
    done = subprocess.run(
        [sys.executable, EVALS / "attacks.py", "--record-only", *only],
        env=unrecorded(os.environ) | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    _, _, *lines = done.stdout.splitlines()
    rows = {cells[0]: cells for cells in ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)}
    assert list(rows) == list(CHOSEN)
    for emulation in load.load_emulations():
        if emulation.name in CHOSEN:
            _, events, names, expected, problem = rows[emulation.name]
            assert problem == ""
            assert int(events) > int(names) >= len(emulation.raises)
            counts = dict(part.rsplit(" ", 1) for part in expected.split(", "))
            assert list(counts) == list(emulation.raises)
            assert all(int(count) > 0 for count in counts.values())
    assert list(tmp_path.iterdir()) == []
    assert look(TOUCHED) == before
    assert [mark for mark in MARKS if os.path.exists(mark)] == []


def test_ordinary_programs_are_described(load: ModuleType) -> None:
    entries = importlib.import_module("benign").load_entries()
    names = [entry.name for entry in entries]
    assert len(set(names)) == len(names)
    assert len([entry for entry in entries if entry.work]) >= 110
    for entry in entries:
        assert [bool(entry.work), bool(entry.program), bool(entry.suite)].count(True) == 1, entry.name
        text = (EVALS / entry.program).read_text() if entry.program else entry.work
        compile(text, entry.name, "exec")


def test_wrong_words() -> None:
    done = subprocess.run(
        [sys.executable, EVALS / "attacks.py", "--record-only", "--only", "no-such"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "--only: there is no no-such in" in done.stderr
