"""Which interpreters are found, and that looking for them harms nobody."""

import os
import sys
from pathlib import Path

import pytest

from pythonaudit.cli.interpreters import find_interpreters, probe, unrecorded


def paths(environment: dict[str, str]) -> list[Path]:
    return [one.executable for one in find_interpreters({"PYENV_ROOT": "/nowhere", **environment})]


def test_this_one_comes_first_and_once() -> None:
    found = paths({"PATH": str(Path(sys.executable).parent)})
    assert found[0] == Path(sys.executable)
    assert len(found) == 1


def test_each_name_in_path_that_is_another_python(tmp_path: Path) -> None:
    base = os.path.realpath(sys.executable)
    for name in ("python3", "python3.99"):
        (tmp_path / name).symlink_to(base)
    (tmp_path / "pythonic").write_text("#!/bin/sh\ntouch started")
    (tmp_path / "python").write_text("#!/bin/sh\necho no json\n")
    (tmp_path / "python").chmod(0o755)
    found = paths({"PATH": str(tmp_path)})
    assert found[1:] in ([tmp_path / "python3"], [])  # []: this interpreter is its own base


@pytest.mark.parametrize("path", ["", ".", "relative", "/nowhere", "/proc/1/root"])
def test_what_is_no_directory_of_programs_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    trap = "#!/bin/sh\ntouch sprung\n"
    for place in (tmp_path, tmp_path / "relative"):
        place.mkdir(exist_ok=True)
        (place / "python3").write_text(trap)
        (place / "python3").chmod(0o755)
    assert paths({"PATH": path}) == [Path(sys.executable)]
    assert not list(tmp_path.rglob("sprung"))


def test_what_is_no_python_is_none(tmp_path: Path) -> None:
    assert probe(Path("/bin/true")) is None
    assert probe(tmp_path / "absent") is None


def test_looking_is_not_recorded() -> None:
    environment = {"PYTHONAUDIT": "1", "PYTHONAUDIT_DIR": "/srv", "PATH": "/bin"}
    assert unrecorded(environment) == {"PATH": "/bin"}
