"""`pythonaudit doctor`, on real interpreters, with things that are really broken."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import Installed


def examine(
    installed: Installed, directory: Path, *, status: int, settings: Mapping[str, str | Path] | None = None
) -> list[dict[str, str]]:
    """What doctor finds, as its JSON lines; other interpreters are left out of the search."""
    variables: dict[str, str | Path] = {"PYTHONAUDIT_DIR": directory, "PATH": "/nowhere", "PYENV_ROOT": "/nowhere"}
    variables |= {"VIRTUAL_ENV": "", "CONDA_PREFIX": ""} | dict(settings or {})
    env = installed.environment(**variables)
    done = installed.run("-m", "pythonaudit", "doctor", "--format", "jsonl", env=env, status=status)
    return [json.loads(line) for line in done.stdout.splitlines()]


def with_status(findings: list[dict[str, str]], status: str) -> list[str]:
    return [finding["text"] for finding in findings if finding["status"] == status]


def test_all_is_well(installed: Installed, tmp_path: Path) -> None:
    findings = examine(installed, tmp_path / "audit", status=0, settings={"PYTHONAUDIT": "1"})
    assert with_status(findings, "broken") == []
    assert with_status(findings, "warning") == []
    (site,) = [f["text"] for f in findings if f["subject"] == "PYTHONAUDIT=1"]
    (preload,) = [f["text"] for f in findings if f["subject"] == "pythonaudit run"]
    assert "hook in, canary seen" in site
    assert "modules and" in site
    assert "from event zero (preload): nothing ran before; hook in, canary seen" in preload
    early, later = (int(text.split("canary seen; ")[1].split()[0]) for text in (preload, site))
    assert early > later > 0  # by preload, the events of the interpreter's own start are there too
    (directory,) = [f["text"] for f in findings if f["subject"] == "directory"]
    assert "private (mode 0700)" in directory


def test_not_switched_on_is_no_defect(installed_here: Installed, tmp_path: Path) -> None:
    findings = examine(installed_here, tmp_path / "audit", status=0)
    assert any("PYTHONAUDIT is not set here" in text for text in with_status(findings, "note"))


def test_no_pth(installed_here: Installed, tmp_path: Path) -> None:
    copy = Installed(installed_here.interpreter, tmp_path / "copy", installed_here.new_directory)
    shutil.copytree(installed_here.prefix, copy.prefix, symlinks=True)
    (copy.purelib / "pythonaudit.pth").unlink()
    broken = with_status(examine(copy, tmp_path / "audit", status=1), "broken")
    assert any("no pythonaudit.pth" in text for text in broken)
    assert any("left no journal: the recorder is off in it" in text for text in broken)


def test_a_broken_recorder(installed_here: Installed, tmp_path: Path) -> None:
    copy = Installed(installed_here.interpreter, tmp_path / "copy", installed_here.new_directory)
    shutil.copytree(installed_here.prefix, copy.prefix, symlinks=True)
    (copy.purelib / "pythonaudit" / "_recorder.abi3.so").write_bytes(b"garbage")
    broken = with_status(examine(copy, tmp_path / "audit", status=1), "broken")
    assert any("left no journal: ImportError" in text for text in broken)


def test_settings_that_make_no_sense(installed_here: Installed, tmp_path: Path) -> None:
    settings = {"PYTHONAUDIT_STACK": "deep"}
    findings = examine(installed_here, tmp_path / "audit", status=1, settings=settings)
    assert any("PYTHONAUDIT_STACK='deep'" in text for text in with_status(findings, "broken"))
    assert any("hook in, canary seen" in text for text in with_status(findings, "ok"))


def test_another_hook_keeps_ours_out(installed_here: Installed, tmp_path: Path) -> None:
    copy = Installed(installed_here.interpreter, tmp_path / "copy", installed_here.new_directory)
    shutil.copytree(installed_here.prefix, copy.prefix, symlinks=True)
    (copy.purelib / "jealous.py").write_text(
        "import sys\n"
        "def hook(event, args):\n"
        "    if event == 'sys.addaudithook':\n"
        "        raise RuntimeError\n"
        "sys.addaudithook(hook)\n"
    )
    (copy.purelib / "a.pth").write_text("import jealous\n")
    # From 3.15 on nobody is asked before the interpreter is initialised, and `site` runs before that.
    kept_out = installed_here.interpreter.version < (3, 15)
    findings = examine(copy, tmp_path / "audit", status=1 if kept_out else 0)
    (text,) = [f["text"] for f in findings if f["subject"] == "PYTHONAUDIT=1"]
    assert ("the hook is not in" if kept_out else "hook in, canary seen") in text
    (text,) = [f["text"] for f in findings if f["subject"] == "pythonaudit run"]
    assert "canary seen" in text


def test_a_directory_that_is_open_to_others(installed_here: Installed, tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    installed_here.record("pass", directory=directory)
    (directory / "journal").chmod(0o755)
    findings = examine(installed_here, directory, status=1)
    (finding,) = [f for f in findings if "open to others (mode 0755)" in f["text"]]
    assert finding["remedy"] == f"chmod 700 {directory}/journal"
    subprocess.run(["sh", "-c", finding["remedy"]], check=True)
    examine(installed_here, directory, status=0)


def test_a_directory_that_cannot_be_written(installed_here: Installed, tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("no directory")
    settings = {"XDG_RUNTIME_DIR": "/nowhere"}
    findings = examine(installed_here, tmp_path / "audit", status=1, settings=settings)
    subjects = {f["subject"] for f in findings if f["status"] == "broken"}
    assert "directory" in subjects


def test_journals_in_the_runtime_directory(installed_here: Installed, tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("no directory")
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    settings = {"XDG_RUNTIME_DIR": runtime}
    findings = examine(installed_here, tmp_path / "audit", status=1, settings=settings)
    warnings = with_status(findings, "warning")
    assert any(f"its journal is in {runtime}/pythonaudit/journal/" in text for text in warnings)
    assert any("has journals too" in text for text in warnings)


def test_a_damaged_journal(installed_here: Installed, tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    installed_here.record("pass", directory=directory)
    (segment,) = directory.glob("journal/*/*.pyaudit")
    content = bytearray(segment.read_bytes())
    content[4096:4200] = b"\xff" * 104  # the first chunk's header
    segment.write_bytes(content)
    broken = with_status(examine(installed_here, directory, status=1), "broken")
    assert any(str(segment) in text for text in broken)


def test_a_trap_in_the_journal(installed_here: Installed, tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    installed_here.record("pass", directory=directory)
    (box,) = directory.glob("journal/u*")
    os.mkfifo(box / f"{0:016x}-{0:032x}-000000.pyaudit")
    findings = examine(installed_here, directory, status=1)
    (found,) = [f for f in findings if "not a regular file" in f["text"]]
    assert found["remedy"].endswith("nothing of it is read")


def test_an_end_that_goes_wrong(installed_here: Installed, tmp_path: Path) -> None:
    copy = Installed(installed_here.interpreter, tmp_path / "copy", installed_here.new_directory)
    shutil.copytree(installed_here.prefix, copy.prefix, symlinks=True)
    (copy.purelib / "a.pth").write_text(
        "import atexit, os; os.environ.get('PYTHONAUDIT') and atexit.register(os.abort)\n"
    )
    broken = [f for f in examine(copy, tmp_path / "audit", status=1) if f["status"] == "broken"]
    assert [(f["subject"], f["text"]) for f in broken] == [
        ("PYTHONAUDIT=1", "a child that does nothing ended by SIGABRT")
    ]


def test_events_that_find_no_room(installed_here: Installed, tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    installed_here.record("pass", directory=directory)
    (segment,) = directory.glob("journal/*/*.pyaudit")
    segment.with_name(f"{0:016x}-{0:032x}-000000.pyaudit").write_bytes(b"x" * (1 << 20))
    (segment.parent / "usage").unlink()
    settings = {"PYTHONAUDIT_MAX_BYTES": "1M", "PYTHONAUDIT_ON_FULL": "stop"}
    findings = examine(installed_here, directory, status=1, settings=settings)
    (text,) = [f["text"] for f in findings if "a child's events are lost" in f["text"]][:1]
    assert text.endswith(f"{segment.parent} has reached PYTHONAUDIT_MAX_BYTES (1048576 bytes)")


def test_losses_are_told(installed_here: Installed, tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    code = "import sys\nfor i in range(30000): sys.audit('x.y', 'z' * 200)"
    settings = {"PYTHONAUDIT_MAX_BYTES": "1M", "PYTHONAUDIT_ON_FULL": "stop"}
    installed_here.record(code, directory=directory, settings=settings)
    findings = examine(installed_here, directory, status=0)
    assert any("lost: limit" in text for text in with_status(findings, "warning"))


def test_other_environments(installed: Installed, installed_here: Installed, tmp_path: Path) -> None:
    if installed is installed_here:
        pytest.skip("the same environment is none of the others")
    settings: dict[str, str | Path] = {
        "VIRTUAL_ENV": installed.prefix,
        "PATH": str(installed.interpreter.base.parent),
    }
    findings = examine(installed_here, tmp_path / "audit", status=0, settings=settings)
    others = {f["text"]: f["status"] for f in findings if f["subject"] == "other interpreters"}
    assert others[f"cpython {installed.interpreter.version_text}, {installed.prefix}/bin/python: covered"] == "ok"
    bare = [text for text, status in others.items() if status == "note" and "not covered" in text]
    assert any(str(installed.interpreter.base.parent) in text for text in bare)


def test_for_people(installed_here: Installed, tmp_path: Path) -> None:
    env = installed_here.environment(PYTHONAUDIT_DIR=tmp_path / "audit", PATH="/nowhere", PYENV_ROOT="/nowhere")
    done = installed_here.run("-m", "pythonaudit", "doctor", env=env)
    lines = done.stdout.splitlines()
    assert lines[0] == "this environment"
    assert any(line.startswith("  ok       a child recorded from event zero") for line in lines)
    assert "\x1b" not in done.stdout
    assert done.stderr == ""
