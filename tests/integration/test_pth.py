"""The line that every start of Python runs: it does nothing when off, and no harm when broken."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pythonaudit.cli.interpreters import Interpreter
from tests.conftest import Installed

PROGRAM = ["-c", "import sys; print('ran'); sys.exit(7)"]
OFF = [{}, {"PYTHONAUDIT": ""}, {"PYTHONAUDIT": "0"}]


@pytest.mark.parametrize("variables", OFF, ids=["unset", "empty", "zero"])
def test_off_imports_nothing_of_ours(installed: Installed, variables: dict[str, str]) -> None:
    code = (
        "import sys\n"
        "print(*(name for name in sys.modules if 'pythonaudit' in name))\n"
        "print('pythonaudit/_' in open('/proc/self/maps').read())\n"
    )
    done = installed.run("-X", "importtime", "-c", code, env=installed.environment(**variables))
    assert done.stdout == "\nFalse\n"
    assert "import time:" in done.stderr
    assert "pythonaudit" not in done.stderr


def test_on_says_nothing_either(installed: Installed) -> None:
    done = installed.record(PROGRAM, status=7).completed
    assert (done.stdout, done.stderr) == ("ran\n", "")


def remove_package(recorder: Path) -> None:
    shutil.rmtree(recorder.parent)


def remove_startup(recorder: Path) -> None:
    (recorder.parent / "recorder" / "startup.py").unlink()


def remove_recorder(recorder: Path) -> None:
    recorder.unlink()


def cut_source(recorder: Path) -> None:
    (recorder.parent / "recorder" / "startup.py").write_text("def start(:\n")


def empty_recorder(recorder: Path) -> None:
    recorder.write_bytes(b"")


def garbage_for_recorder(recorder: Path) -> None:
    recorder.write_bytes(bytes(range(256)) * 64)


def recorder_of_another_machine(recorder: Path) -> None:
    content = bytearray(recorder.read_bytes())
    content[18:20] = (0xF3).to_bytes(2, "little")  # e_machine: RISC-V
    recorder.write_bytes(content)


def recorder_of_another_word_size(recorder: Path) -> None:
    content = bytearray(recorder.read_bytes())
    content[4] = 1  # EI_CLASS: 32 bit
    recorder.write_bytes(content)


def directory_for_recorder(recorder: Path) -> None:
    recorder.unlink()
    recorder.mkdir()


def dangling_link_for_recorder(recorder: Path) -> None:
    recorder.unlink()
    recorder.symlink_to("nowhere")


def foreign_library_for_recorder(recorder: Path) -> None:
    shutil.copy(recorder.parent / "_preload.abi3.so", recorder)


BREAKERS = [
    remove_package,
    remove_startup,
    remove_recorder,
    cut_source,
    empty_recorder,
    garbage_for_recorder,
    recorder_of_another_machine,
    recorder_of_another_word_size,
    directory_for_recorder,
    dangling_link_for_recorder,
    foreign_library_for_recorder,
]


@pytest.fixture
def broken(installed: Installed, tmp_path: Path, request: pytest.FixtureRequest) -> Installed:
    """A copy of the environment in which one thing is broken."""
    copy = Installed(installed.interpreter, tmp_path / "copy", installed.new_directory)
    shutil.copytree(installed.prefix, copy.prefix, symlinks=True)
    request.param(copy.recorder)
    return copy


@pytest.mark.parametrize("broken", BREAKERS, indirect=True, ids=lambda f: f.__name__)
def test_a_broken_installation_does_not_break_python(broken: Installed) -> None:
    done = broken.record(PROGRAM, status=7).completed
    assert (done.stdout, done.stderr) == ("ran\n", "")


@pytest.mark.parametrize("broken", [remove_package, garbage_for_recorder], indirect=True)
def test_a_broken_installation_stops_those_who_ask_for_it(broken: Installed) -> None:
    done = broken.record(PROGRAM, settings={"PYTHONAUDIT_ON_FAILURE": "stop"}, status=78).completed
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("pythonaudit: this process cannot be recorded (")
    assert line.endswith("run: pythonaudit doctor")


def test_an_interrupted_installation_does_not_break_python(
    install: Callable[[Interpreter], Installed], installed_here: Installed, wheel: Path
) -> None:
    """After each file of the wheel that an installer writes, and in the middle of each."""
    environment = install(installed_here.interpreter)
    shutil.rmtree(environment.purelib)
    with zipfile.ZipFile(wheel) as archive:
        # As pip goes: in the order of the archive, what is under .data afterwards.
        members = sorted(archive.namelist(), key=lambda name: ".data/" in name)
        assert members[-1].endswith(".data/purelib/pythonaudit.pth")
        for member in members:
            content = archive.read(member)
            target, half = environment.purelib / member, content[: len(content) // 2]
            if ".data/" in member:
                target = environment.purelib / "pythonaudit.pth"
                half = b""  # one write(2) fills so short a file
            target.parent.mkdir(parents=True, exist_ok=True)
            for written in (half, content):
                target.write_bytes(written)
                done = environment.record(PROGRAM, status=7).completed
                assert (done.stdout, done.stderr) == ("ran\n", ""), f"{member}: {len(written)} bytes"


def test_what_ran_before_is_cut_and_says_so(
    installed: Installed, install: Callable[[Interpreter], Installed]
) -> None:
    """More modules than there is room for: the first ones are told, and how many are not."""
    own = install(installed.interpreter)
    line = "import sys; sys.modules.update({f'made_{n:04}_' + 'x' * 40: sys for n in range(2000)})\n"
    (own.purelib / "aaa.pth").write_text(line)
    recording = own.record("pass")
    (trail,) = recording.journal.processes()
    began = trail.process.attributes["began"]
    assert 100 < len(began["modules"]) < 2000 < len(began["modules"]) + began["left_out"]
    assert began["modules"][0] == "sys"
